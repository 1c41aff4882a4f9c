//! Text to tokens and back, for models with real weights.
//!
//! A SentencePiece vocabulary, from `tokenizer.model` or from GGUF metadata, is turned into the byte pairs that the
//! `tokenizers` crate knows; a `tokenizer.json` is read by that crate itself.

use std::{collections::HashMap, io::Cursor, path::Path};

use candle_core::quantized::{gguf_file::Content, tokenizer::TokenizerFromGguf as _};
use serde_json::{Value, json};
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper,
    decoders::{byte_fallback::ByteFallback, fuse::Fuse, sequence::Sequence as Decoders, strip::Strip},
    models::bpe::BPE,
    normalizers::{Prepend, Replace, Sequence as Normalizers},
    processors::template::TemplateProcessing,
};

use super::{
    ModelConfig, ModelError, config_json, files,
    gguf::Gguf,
    pieces::{Piece, PieceKind, Vocabulary},
    sentencepiece,
};
use crate::workload::{ModelRef, Origin};

/// A model's tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    eos: Option<u32>,
}

impl Tokenizer {
    /// The tokenizer beside a model's weights; `None` where they are synthetic, since their tokens mean nothing.
    ///
    /// One with more tokens than the model has is an error: its ids would reach beyond the embedding table.
    pub fn of(model: &ModelRef) -> Result<Option<Self>, ModelError> {
        let Some(path) = &model.location.0 else { return Ok(None) };
        let tokenizer = Self::open(path)?;
        let (own, models) = (tokenizer.len(), model.shape.vocabulary as usize);
        if own > models {
            let message = format!(
                "the tokenizer has {own} tokens and the model {models}: they don't belong together; download the model again"
            );
            return Err(ModelError::file(path, message));
        }
        Ok(Some(tokenizer))
    }

    /// Says so where the model has tokens that this tokenizer has no text for, such as those that pad its tables.
    pub fn unnamed(&self, model: &ModelRef) -> Option<String> {
        let (own, models) = (self.len(), model.shape.vocabulary as usize);
        (models > own).then(|| format!("the model has {models} tokens, and its tokenizer names {own} of them"))
    }

    /// Reads the tokenizer of a GGUF file, of a folder, or from beside a safetensors file; `tokenizer.json` or
    /// `tokenizer.model` may also be named themselves.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let wrong = |path: &Path, what: String| ModelError::file(path, what);
        let named = |name: &str| path.file_name().is_some_and(|file| file == name);
        if files::has_extension(path, "gguf") {
            return Self::from_gguf(path);
        }
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        let json = if files::has_extension(path, "json") { path.to_owned() } else { folder.join("tokenizer.json") };
        if json.exists() && !named("tokenizer.model") {
            return Self::from_json(&json);
        }
        let model = if named("tokenizer.model") { path.to_owned() } else { folder.join("tokenizer.model") };
        if model.exists() {
            let raw = files::map(&model)?;
            let vocabulary = sentencepiece::parse(&raw).map_err(|what| wrong(&model, what))?;
            return Self::from_vocabulary(&vocabulary).map_err(|what| wrong(&model, what));
        }
        Err(ModelError::file(
            folder,
            "there is no tokenizer.json and no tokenizer.model beside the weights; download one",
        ))
    }

    fn from_json(path: &Path) -> Result<Self, ModelError> {
        let text = files::text(path)?;
        let inner = tokenizers::Tokenizer::from_bytes(text.as_bytes()).map_err(|error| {
            ModelError::file(path, format!("this tokenizer can't be read ({error}); download it again"))
        })?;
        let eos = ["</s>", "<|end_of_text|>", "<|im_end|>"].into_iter().find_map(|name| inner.token_to_id(name));
        Ok(Self { inner, eos })
    }

    fn from_gguf(path: &Path) -> Result<Self, ModelError> {
        let file = Gguf::open(path)?;
        if let Some(vocabulary) = Vocabulary::from_gguf(&file).map_err(|what| file.error(what))? {
            return Self::from_vocabulary(&vocabulary).map_err(|what| file.error(what));
        }
        let kind = file.text("tokenizer.ggml.model").unwrap_or("none").to_owned();
        if kind != "gpt2" {
            return Err(file.error(format!("the file's tokenizer is \"{kind}\"; llama's and gpt2's can be used here")));
        }
        let unreadable =
            |error: candle_core::Error| ModelError::file(path, format!("its tokenizer can't be read ({error})"));
        let content = Content::read(&mut Cursor::new(&files::map(path)?[..])).map_err(unreadable)?;
        let inner = tokenizers::Tokenizer::from_gguf(&content).map_err(unreadable)?;
        let eos = file.integer("tokenizer.ggml.eos_token_id").and_then(|id| u32::try_from(id).ok());
        Ok(Self { inner, eos })
    }

    /// Byte pairs that tokenise as SentencePiece does.
    ///
    /// Every way of cutting a piece in two known ones is a merge; the better the piece's score, the earlier it is tried.
    pub(crate) fn from_vocabulary(vocabulary: &Vocabulary) -> Result<Self, String> {
        let pieces = &vocabulary.pieces;
        let failed = |error: tokenizers::Error| format!("the vocabulary can't be used ({error})");
        let ids: HashMap<&str, u32> = pieces.iter().zip(0..).map(|(piece, id)| (piece.text.as_str(), id)).collect();
        if ids.len() != pieces.len() {
            return Err("the vocabulary holds a piece twice".to_owned());
        }
        let text_of = |id: u32| pieces.get(id as usize).map(|piece| piece.text.clone()).unwrap_or_default();
        let unknown = text_of(vocabulary.unknown);
        let merges = merges(pieces, &ids).into_iter().map(|(left, right)| (text_of(left), text_of(right))).collect();
        let vocab = pieces
            .iter()
            .zip(0..)
            .map(|(piece, id)| (piece.text.clone(), id))
            .collect::<tokenizers::models::bpe::Vocab>();
        let bpe = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .unk_token(unknown)
            .fuse_unk(true)
            .byte_fallback(true)
            .build()
            .map_err(failed)?;
        let mut inner = tokenizers::Tokenizer::new(bpe);
        let mut steps: Vec<NormalizerWrapper> = Vec::new();
        if vocabulary.add_space {
            steps.push(Prepend::new("▁".to_owned()).into());
        }
        steps.push(Replace::new(" ", "▁").map_err(failed)?.into());
        inner.with_normalizer(Some(Normalizers::new(steps))).map_err(failed)?;
        let strip = usize::from(vocabulary.add_space);
        let steps: [DecoderWrapper; 4] = [
            Replace::new("▁", " ").map_err(failed)?.into(),
            ByteFallback::new().into(),
            Fuse::new().into(),
            Strip::new(' ', strip, 0).into(),
        ];
        inner.with_decoder(Some(Decoders::new(steps.to_vec())));
        if vocabulary.add_bos {
            let bos = text_of(vocabulary.bos);
            let template = TemplateProcessing::builder()
                .try_single(format!("{bos} $A"))
                .map_err(|error| format!("the vocabulary can't be used ({error})"))?
                .special_tokens(vec![(bos, vocabulary.bos)])
                .build()
                .map_err(|error| format!("the vocabulary can't be used ({error})"))?;
            inner.with_post_processor(Some(template));
        }
        add_tokens(&mut inner, pieces).map_err(failed)?;
        Ok(Self { inner, eos: Some(vocabulary.eos) })
    }

    /// Writes it as a `tokenizer.json`.
    fn write(&self, folder: &Path) -> Result<(), ModelError> {
        let text = self.inner.to_string(true);
        let text = text.map_err(|error| ModelError::Compute(format!("the tokenizer can't be written ({error})")))?;
        files::put(&folder.join("tokenizer.json"), text.as_bytes())
    }

    /// Tokens that it knows.
    pub fn len(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The token that ends a text.
    pub const fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// A text's tokens, beginning with the one that begins a text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let encoding = self.inner.encode(text, true);
        let encoding =
            encoding.map_err(|error| ModelError::Compute(format!("the text can't be tokenised ({error})")))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of tokens, without those that only begin or end it. Ids that the tokenizer doesn't know are an error: the
    /// model's vocabulary is larger than its.
    pub fn decode(&self, ids: &[u32]) -> Result<String, ModelError> {
        if let Some(id) = ids.iter().find(|id| self.inner.id_to_token(**id).is_none()) {
            let known = self.len();
            return Err(ModelError::Compute(format!("token {id} has no text: the tokenizer knows {known} tokens")));
        }
        self.inner.decode(ids, true).map_err(|error| ModelError::Compute(format!("the tokens are no text ({error})")))
    }
}

/// Special tokens stay out of texts unless they are put there by their ids, as SentencePiece has it.
fn add_tokens(inner: &mut tokenizers::Tokenizer, pieces: &[Piece]) -> tokenizers::Result<()> {
    let of = |kinds: &[PieceKind], special: bool| -> Vec<AddedToken> {
        let chosen = pieces.iter().filter(|piece| kinds.contains(&piece.kind));
        chosen.map(|piece| AddedToken::from(piece.text.clone(), special).normalized(false)).collect()
    };
    inner.add_special_tokens(of(&[PieceKind::Unknown, PieceKind::Control], true))?;
    inner.add_tokens(of(&[PieceKind::UserDefined], false))?;
    inner.set_encode_special_tokens(true);
    Ok(())
}

/// The merges that make each piece, best piece first; among those of one piece, and of equal scores, by ids.
fn merges(pieces: &[Piece], ids: &HashMap<&str, u32>) -> Vec<(u32, u32)> {
    let mut merges: Vec<(f32, u32, u32)> = Vec::new();
    for piece in pieces.iter().filter(|piece| piece.kind == PieceKind::Normal) {
        let cuts = piece.text.char_indices().skip(1).filter_map(|(at, _)| piece.text.split_at_checked(at));
        let halves = cuts.filter_map(|(left, right)| Some((*ids.get(left)?, *ids.get(right)?)));
        let mut own: Vec<(u32, u32)> = halves.collect();
        own.sort_unstable();
        merges.extend(own.into_iter().map(|(left, right)| (piece.score, left, right)));
    }
    // Stable, so that equal scores stay in the order of their pieces.
    merges.sort_by(|one, other| other.0.total_cmp(&one.0));
    merges.into_iter().map(|(_, left, right)| (left, right)).collect()
}

/// The SentencePiece vocabulary beside a model's weights, padded with unused tokens to the model's size, as GGUF files need
/// it.
pub(crate) fn vocabulary(path: &Path, config: &ModelConfig) -> Result<Vocabulary, ModelError> {
    let found = if files::has_extension(path, "gguf") {
        let file = Gguf::open(path)?;
        Vocabulary::from_gguf(&file).map_err(|what| file.error(what))?
    } else {
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        let model = folder.join("tokenizer.model");
        if model.exists() {
            let raw = files::map(&model)?;
            Some(sentencepiece::parse(&raw).map_err(|what| ModelError::file(&model, what))?)
        } else {
            None
        }
    };
    let message = "the model is written with its SentencePiece vocabulary, and there is no tokenizer.model beside the \
                   weights; put it there";
    let mut vocabulary = found.ok_or_else(|| ModelError::file(path, message))?;
    let (own, wanted) = (vocabulary.pieces.len(), config.vocabulary());
    if own > wanted {
        return Err(ModelError::file(path, format!("the tokenizer has {own} tokens and the model only {wanted}")));
    }
    let unused = |id: usize| Piece { text: format!("<unused{id}>"), score: 0.0, kind: PieceKind::Unused };
    vocabulary.pieces.extend((own..wanted).map(unused));
    Ok(vocabulary)
}

/// Files of a model's folder that say how text becomes tokens, and how it is asked for.
const BESIDE: [&str; 6] = [
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
];

/// Writes the tokenizer of a model into a folder in Hugging Face's layout: that of its files, or one for synthetic weights.
/// Returns the ids that begin and end a text, as a `config.json` has them.
pub(crate) fn write_beside(model: &ModelRef, config: &ModelConfig, folder: &Path) -> Result<[Value; 2], ModelError> {
    let made = |vocabulary: &Vocabulary, path: &Path| {
        let tokenizer = Tokenizer::from_vocabulary(vocabulary).map_err(|what| ModelError::file(path, what))?;
        tokenizer.write(folder)?;
        write_config(vocabulary, config, folder)?;
        Ok([json!(vocabulary.bos), json!(vocabulary.eos)])
    };
    let Some(path) = model.location.0.as_ref().filter(|_| model.origin == Origin::Files) else {
        let vocabulary = Vocabulary::synthetic(config.vocabulary()).map_err(ModelError::Asked)?;
        return made(&vocabulary, folder);
    };
    if files::has_extension(path, "gguf") {
        return made(&vocabulary(path, config)?, path);
    }
    let own = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    if !own.join("tokenizer.json").exists() {
        return made(&vocabulary(path, config)?, path);
    }
    for name in BESIDE {
        let (from, to) = (own.join(name), folder.join(name));
        if from.exists() {
            files::put(&to, &files::map(&from)?)?;
        }
    }
    let about = own.join("config.json");
    if !about.exists() {
        return Ok([json!(1), json!(2)]);
    }
    config_json::special_ids(&files::text(&about)?).map_err(|what| ModelError::file(&about, what))
}

/// What transformers and mlx-lm want to know of a tokenizer.
fn write_config(vocabulary: &Vocabulary, config: &ModelConfig, folder: &Path) -> Result<(), ModelError> {
    let text = |id: u32| vocabulary.pieces.get(id as usize).map(|piece| piece.text.as_str());
    let about = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": text(vocabulary.bos),
        "eos_token": text(vocabulary.eos),
        "unk_token": text(vocabulary.unknown),
        "model_max_length": config.max_positions,
        "clean_up_tokenization_spaces": false,
    });
    files::put_json(&folder.join("tokenizer_config.json"), &about)
}
