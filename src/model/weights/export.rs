//! Writes a model as a GGUF file that llama.cpp runs, one tensor after the other.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

use candle_core::quantized::GgmlDType;

use super::{
    LoadProgress, OnLoad,
    convert::convert,
    gguf::{mix_number, pairs_from_halves},
    source::{Source, open, room},
    tensors::{TensorId, bytes},
};
use crate::{
    model::{ModelConfig, ModelError, files, gguf::number_of, pieces::Vocabulary},
    workload::{ModelRef, Origin},
};

/// Tensors begin at multiples of this, as llama.cpp writes them.
const ALIGNMENT: usize = 32;

/// Writes a model in its precision to `path`, which is replaced when all is written. Synthetic models get a vocabulary of
/// their size; others take theirs along.
pub fn export(model: &ModelRef, path: &Path, progress: &mut OnLoad<'_>) -> Result<(), ModelError> {
    replaceable(path)?;
    let source = open(model)?;
    let vocabulary = vocabulary(model, source.config())?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    files::require_space(folder, model.weight_bytes, "the GGUF file")?;
    let failed = |error: &io::Error| ModelError::io(path, "write the file", error);
    let mut builder = tempfile::Builder::new();
    // The rights that any new file gets here.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(|error| failed(&io::Error::from(error.kind())))?;
    let mut out = Counted { inner: BufWriter::with_capacity(1 << 20, file.as_file_mut()), at: 0 };
    let tensors = TensorId::all(&source.config().shape);
    write_header(&mut out, source.as_ref(), model, &vocabulary, &tensors)?.map_err(|error| failed(&error))?;
    write_tensors(&mut out, source.as_ref(), &tensors, progress, &failed)?;
    out.inner.flush().map_err(|error| failed(&error))?;
    drop(out);
    file.as_file().sync_all().map_err(|error| failed(&error))?;
    file.persist(path).map_err(|error| failed(&error.error))?;
    Ok(())
}

/// Only a file is replaced: a folder can't be, and a device such as `/dev/null` must not.
fn replaceable(path: &Path) -> Result<(), ModelError> {
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(ModelError::file(path, "this is no file that can be replaced; name the file to write"));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder {
        Some(folder) if !folder.exists() => {
            Err(ModelError::file(folder, "could not write the file: there is no such folder; make it first"))
        }
        _ => Ok(()),
    }
}

fn vocabulary(model: &ModelRef, config: &ModelConfig) -> Result<Vocabulary, ModelError> {
    match (&model.location.0, model.origin) {
        (Some(path), Origin::Files) => crate::model::tokenizer::vocabulary(path, config),
        _ => Vocabulary::synthetic(config.vocabulary()).map_err(ModelError::Asked),
    }
}

/// The type a tensor is written in: norms are always f32, since llama.cpp multiplies by no others.
fn written_kind(source: &dyn Source, tensor: TensorId) -> Result<GgmlDType, ModelError> {
    if tensor.is_norm() { Ok(GgmlDType::F32) } else { source.kind(tensor) }
}

/// Everything before the first tensor. The outer error is the model's, the inner one the file's.
fn write_header(
    out: &mut Counted<impl Write>,
    source: &dyn Source,
    model: &ModelRef,
    vocabulary: &Vocabulary,
    tensors: &[TensorId],
) -> Result<io::Result<()>, ModelError> {
    let config = source.config();
    let values = metadata(config, model, vocabulary);
    let mut header = Vec::new();
    header.extend_from_slice(b"GGUF");
    put(&mut header, &3_u32.to_le_bytes());
    put(&mut header, &(tensors.len() as u64).to_le_bytes());
    put(&mut header, &(values.len() as u64).to_le_bytes());
    for (key, value) in &values {
        text(&mut header, key);
        value.write(&mut header);
    }
    let mut offset = 0_usize;
    for tensor in tensors {
        let (rows, columns) = tensor.dims(&config.shape);
        let kind = written_kind(source, *tensor)?;
        let number = number_of(kind)
            .ok_or_else(|| ModelError::Unsupported(format!("GGUF files can't hold {kind:?} tensors written here")))?;
        text(&mut header, &tensor.gguf());
        let dims = if tensor.is_norm() { vec![columns] } else { vec![columns, rows] };
        put(&mut header, &(dims.len() as u32).to_le_bytes());
        for dim in dims {
            put(&mut header, &(dim as u64).to_le_bytes());
        }
        put(&mut header, &number.to_le_bytes());
        put(&mut header, &(offset as u64).to_le_bytes());
        offset = (offset + bytes(kind, rows * columns)).next_multiple_of(ALIGNMENT);
    }
    Ok(out.write_all(&header).and_then(|()| out.align()))
}

fn write_tensors(
    out: &mut Counted<impl Write>,
    source: &dyn Source,
    tensors: &[TensorId],
    progress: &mut OnLoad<'_>,
    failed: &impl Fn(&io::Error) -> ModelError,
) -> Result<(), ModelError> {
    /// Bytes written between two looks at whether to go on.
    const STRETCH: usize = 16 << 20;
    let shape = source.config().shape;
    let mut total_bytes = 0;
    for tensor in tensors {
        let (rows, columns) = tensor.dims(&shape);
        total_bytes += bytes(written_kind(source, *tensor)?, rows * columns) as u64;
    }
    let (mut done_bytes, mut scratch, mut other) = (0, Vec::new(), Vec::new());
    for tensor in tensors {
        let (rows, columns) = tensor.dims(&shape);
        let (kind, written) = (source.kind(*tensor)?, written_kind(source, *tensor)?);
        let mut check = || progress(LoadProgress { done_bytes, total_bytes });
        let mut raw = source.read(*tensor, &mut scratch, &mut check)?;
        if kind != written {
            let converted = room(&mut other, bytes(written, rows * columns));
            convert(raw, converted, [kind, written], columns, &mut check)?;
            raw = converted;
        } else if let Some(heads) = tensor.rotary_heads(&shape) {
            let ordered = room(&mut other, raw.len());
            pairs_from_halves(raw, ordered, bytes(kind, columns), rows / heads);
            raw = ordered;
        }
        for stretch in raw.chunks(STRETCH) {
            out.write_all(stretch).map_err(|error| failed(&error))?;
            done_bytes += stretch.len() as u64;
            progress(LoadProgress { done_bytes, total_bytes })?;
        }
        out.align().map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// What the file says about the model.
fn metadata(config: &ModelConfig, model: &ModelRef, vocabulary: &Vocabulary) -> Vec<(String, Value)> {
    let shape = &config.shape;
    let mut values = vec![
        ("general.architecture".to_owned(), Value::Text("llama".to_owned())),
        ("general.name".to_owned(), Value::Text(model.name.clone())),
        ("general.file_type".to_owned(), Value::U32(mix_number(&model.precision))),
        ("general.quantization_version".to_owned(), Value::U32(2)),
    ];
    let mut llama = |name: &str, value| values.push((format!("llama.{name}"), value));
    llama("vocab_size", Value::U32(shape.vocabulary));
    llama("context_length", Value::U32(config.max_positions as u32));
    llama("embedding_length", Value::U32(shape.hidden));
    llama("block_count", Value::U32(shape.layers));
    llama("feed_forward_length", Value::U32(shape.intermediate));
    llama("rope.dimension_count", Value::U32(shape.head_dim));
    llama("rope.freq_base", Value::F32(config.rope_theta as f32));
    llama("attention.head_count", Value::U32(shape.heads));
    llama("attention.head_count_kv", Value::U32(shape.kv_heads));
    llama("attention.key_length", Value::U32(shape.head_dim));
    llama("attention.value_length", Value::U32(shape.head_dim));
    llama("attention.layer_norm_rms_epsilon", Value::F32(config.norm_eps as f32));
    if let Some(window) = config.window {
        llama("attention.sliding_window", Value::U32(window as u32));
    }
    let pieces = &vocabulary.pieces;
    let mut tokenizer = |name: &str, value| values.push((format!("tokenizer.ggml.{name}"), value));
    tokenizer("model", Value::Text("llama".to_owned()));
    tokenizer("tokens", Value::Texts(pieces.iter().map(|piece| piece.text.clone()).collect()));
    tokenizer("scores", Value::F32s(pieces.iter().map(|piece| piece.score).collect()));
    tokenizer("token_type", Value::I32s(pieces.iter().map(|piece| piece.kind as i32).collect()));
    tokenizer("bos_token_id", Value::U32(vocabulary.bos));
    tokenizer("eos_token_id", Value::U32(vocabulary.eos));
    tokenizer("unknown_token_id", Value::U32(vocabulary.unknown));
    tokenizer("add_bos_token", Value::Bool(vocabulary.add_bos));
    tokenizer("add_eos_token", Value::Bool(false));
    tokenizer("add_space_prefix", Value::Bool(vocabulary.add_space));
    values
}

/// A value of the metadata in the type that llama.cpp expects.
enum Value {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    F32s(Vec<f32>),
    I32s(Vec<i32>),
}

impl Value {
    fn write(&self, out: &mut Vec<u8>) {
        let kind = |out: &mut Vec<u8>, number: u32| put(out, &number.to_le_bytes());
        let array = |out: &mut Vec<u8>, number: u32, length: usize| {
            put(out, &9_u32.to_le_bytes());
            put(out, &number.to_le_bytes());
            put(out, &(length as u64).to_le_bytes());
        };
        match self {
            Self::U32(value) => {
                kind(out, 4);
                put(out, &value.to_le_bytes());
            }
            Self::F32(value) => {
                kind(out, 6);
                put(out, &value.to_le_bytes());
            }
            Self::Bool(value) => {
                kind(out, 7);
                put(out, &[u8::from(*value)]);
            }
            Self::Text(value) => {
                kind(out, 8);
                text(out, value);
            }
            Self::Texts(values) => {
                array(out, 8, values.len());
                for value in values {
                    text(out, value);
                }
            }
            Self::F32s(values) => {
                array(out, 6, values.len());
                for value in values {
                    put(out, &value.to_le_bytes());
                }
            }
            Self::I32s(values) => {
                array(out, 5, values.len());
                for value in values {
                    put(out, &value.to_le_bytes());
                }
            }
        }
    }
}

fn put(out: &mut Vec<u8>, raw: &[u8]) {
    out.extend_from_slice(raw);
}

fn text(out: &mut Vec<u8>, text: &str) {
    put(out, &(text.len() as u64).to_le_bytes());
    put(out, text.as_bytes());
}

/// A writer that knows how far it is.
struct Counted<W> {
    inner: W,
    at: usize,
}

impl<W: Write> Counted<W> {
    fn write_all(&mut self, raw: &[u8]) -> io::Result<()> {
        self.at += raw.len();
        self.inner.write_all(raw)
    }

    /// Fills up with zeros to where the next tensor begins.
    fn align(&mut self) -> io::Result<()> {
        let padding = self.at.next_multiple_of(ALIGNMENT) - self.at;
        self.write_all(&vec![0; padding])
    }
}
