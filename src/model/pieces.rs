//! The pieces of a SentencePiece vocabulary: read from `tokenizer.model` or GGUF metadata, or made for synthetic models.

use super::gguf::{Gguf, Value};

/// One token of a vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece {
    /// Its text, with "▁" for a space.
    pub(crate) text: String,
    /// The logarithm of its likelihood: of two possible merges the one with the higher score comes first.
    pub(crate) score: f32,
    /// What it is.
    pub(crate) kind: PieceKind,
}

/// What a piece is, by SentencePiece's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PieceKind {
    /// Text.
    Normal = 1,
    /// Stands for what can't be written.
    Unknown = 2,
    /// Begins or ends a text.
    Control = 3,
    /// Added by a user; matched whole.
    UserDefined = 4,
    /// Never produced.
    Unused = 5,
    /// One byte.
    Byte = 6,
}

impl PieceKind {
    /// By SentencePiece's number.
    pub(crate) const fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }
}

/// A vocabulary with the tokens that begin and end a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Vocabulary {
    /// The tokens in the order of their ids.
    pub(crate) pieces: Vec<Piece>,
    /// The id of the token that begins a text.
    pub(crate) bos: u32,
    /// The id of the token that ends it.
    pub(crate) eos: u32,
    /// The id of the token that stands for what can't be written.
    pub(crate) unknown: u32,
    /// A text is tokenised with a token that begins it.
    pub(crate) add_bos: bool,
    /// A text is tokenised as if a space stood before it.
    pub(crate) add_space: bool,
}

impl Vocabulary {
    /// `size` tokens for a model that has none of its own: unknown, begin, end, the 256 bytes, and words that mean nothing.
    /// At least 259.
    pub(crate) fn synthetic(size: usize) -> Result<Self, String> {
        const LEAST: usize = 259;
        if size < LEAST {
            return Err(format!("a vocabulary of {size} tokens can't hold every byte; at least {LEAST} are needed"));
        }
        let special = [("<unk>", PieceKind::Unknown), ("<s>", PieceKind::Control), ("</s>", PieceKind::Control)];
        let special = special.map(|(text, kind)| Piece { text: text.to_owned(), score: 0.0, kind });
        let byte = |byte: u8| Piece { text: format!("<0x{byte:02X}>"), score: 0.0, kind: PieceKind::Byte };
        let word = |index: usize| Piece {
            text: format!("▁w{index}"),
            score: -((index - LEAST) as f32),
            kind: PieceKind::Normal,
        };
        let pieces = special.into_iter().chain((0..=255).map(byte)).chain((LEAST..size).map(word)).collect();
        Ok(Self { pieces, bos: 1, eos: 2, unknown: 0, add_bos: true, add_space: true })
    }

    /// The vocabulary in a GGUF file; `None` where it is not one of SentencePiece's.
    pub(crate) fn from_gguf(file: &Gguf) -> Result<Option<Self>, String> {
        if file.text("tokenizer.ggml.model") != Some("llama") {
            return Ok(None);
        }
        let array = |key: &str| file.array(key).ok_or_else(|| format!("the metadata has no {key}"));
        let tokens = array("tokenizer.ggml.tokens")?;
        let (scores, kinds) = (array("tokenizer.ggml.scores")?, file.array("tokenizer.ggml.token_type"));
        if scores.len() != tokens.len() || kinds.is_some_and(|kinds| kinds.len() != tokens.len()) {
            return Err(format!("the metadata has {} tokens and {} scores", tokens.len(), scores.len()));
        }
        let mut pieces = Vec::with_capacity(tokens.len());
        for (index, (text, score)) in tokens.iter().zip(scores).enumerate() {
            let (Value::Text(text), Value::Float(score)) = (text, score) else {
                return Err(format!("token {index} of the metadata has no text or no score"));
            };
            let kind = match kinds.and_then(|kinds| kinds.get(index)) {
                Some(Value::Integer(number)) => u64::try_from(*number).ok().and_then(PieceKind::from_number),
                _ => Some(PieceKind::Normal),
            };
            let kind = kind.unwrap_or(PieceKind::Unused);
            pieces.push(Piece { text: text.clone(), score: *score as f32, kind });
        }
        let id = |key: &str, usual: u32| {
            file.integer(key)
                .and_then(|id| u32::try_from(id).ok())
                .filter(|id| (*id as usize) < pieces.len())
                .unwrap_or(usual)
        };
        let flag = |key: &str| !matches!(file.value(key), Some(Value::Bool(false)));
        Ok(Some(Self {
            bos: id("tokenizer.ggml.bos_token_id", 1),
            eos: id("tokenizer.ggml.eos_token_id", 2),
            unknown: id("tokenizer.ggml.unknown_token_id", 0),
            add_bos: flag("tokenizer.ggml.add_bos_token"),
            add_space: flag("tokenizer.ggml.add_space_prefix"),
            pieces,
        }))
    }
}
