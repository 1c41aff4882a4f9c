//! Reads SentencePiece's `tokenizer.model`: a protobuf message with the pieces and a few settings.

use super::pieces::{Piece, PieceKind, Vocabulary};

/// The vocabulary in a `tokenizer.model`; else a sentence without the path.
pub(crate) fn parse(file: &[u8]) -> Result<Vocabulary, String> {
    let mut pieces = Vec::new();
    let mut settings = Settings { bpe: false, unknown: 0, bos: 1, eos: 2, add_space: true, normalised: false };
    for field in Fields(file) {
        match field? {
            (1, Field::Bytes(raw)) => pieces.push(piece(raw)?),
            (2, Field::Bytes(raw)) => settings.trainer(raw)?,
            (3, Field::Bytes(raw)) => settings.normalizer(raw)?,
            _ => {}
        }
    }
    if pieces.is_empty() {
        return Err("this is no SentencePiece model: it holds no pieces".to_owned());
    }
    if !settings.bpe {
        return Err("this SentencePiece model is not of byte pairs; only those can be used here".to_owned());
    }
    if settings.normalised {
        return Err("this SentencePiece model rewrites characters first, which can't be done here".to_owned());
    }
    // An id of −1 means that there is no such token.
    let id = |id: u64, usual: u32| u32::try_from(id).ok().filter(|id| (*id as usize) < pieces.len()).unwrap_or(usual);
    Ok(Vocabulary {
        bos: id(settings.bos, 1),
        eos: id(settings.eos, 2),
        unknown: id(settings.unknown, 0),
        add_bos: true,
        add_space: settings.add_space,
        pieces,
    })
}

struct Settings {
    bpe: bool,
    unknown: u64,
    bos: u64,
    eos: u64,
    add_space: bool,
    normalised: bool,
}

impl Settings {
    fn trainer(&mut self, raw: &[u8]) -> Result<(), String> {
        for field in Fields(raw) {
            match field? {
                (3, Field::Number(kind)) => self.bpe = kind == 2,
                (40, Field::Number(id)) => self.unknown = id,
                (41, Field::Number(id)) => self.bos = id,
                (42, Field::Number(id)) => self.eos = id,
                _ => {}
            }
        }
        Ok(())
    }

    fn normalizer(&mut self, raw: &[u8]) -> Result<(), String> {
        for field in Fields(raw) {
            match field? {
                (2, Field::Bytes(table)) => self.normalised = !table.is_empty(),
                (3, Field::Number(flag)) => self.add_space = flag != 0,
                _ => {}
            }
        }
        Ok(())
    }
}

fn piece(raw: &[u8]) -> Result<Piece, String> {
    let mut piece = Piece { text: String::new(), score: 0.0, kind: PieceKind::Normal };
    for field in Fields(raw) {
        match field? {
            (1, Field::Bytes(text)) => {
                let text = std::str::from_utf8(text).map_err(|_not_text| "a piece of the vocabulary is no text")?;
                text.clone_into(&mut piece.text);
            }
            (2, Field::Word(word)) => piece.score = f32::from_le_bytes(word),
            (3, Field::Number(number)) => {
                let kind = PieceKind::from_number(number);
                piece.kind = kind.ok_or_else(|| format!("a piece of the vocabulary has the unknown type {number}"))?;
            }
            _ => {}
        }
    }
    if !piece.score.is_finite() {
        return Err("a piece of the vocabulary has a score that is no number".to_owned());
    }
    Ok(piece)
}

/// A field of a message.
enum Field<'a> {
    /// A varint.
    Number(u64),
    /// Four bytes.
    Word([u8; 4]),
    /// Text, or a message within.
    Bytes(&'a [u8]),
    /// Eight bytes, which nothing here has.
    Other,
}

/// The fields of a message, with their numbers; what is left of it. Ends after the first error.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Number(self.varint()?),
            1 => {
                self.take(8)?;
                Field::Other
            }
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Word(self.take(4)?.try_into().ok()?),
            _ => return None,
        };
        Some((tag >> 3, field))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Field<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| "this is no SentencePiece model, or it is cut off; download it again".to_owned()))
    }
}
