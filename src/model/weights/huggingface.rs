//! Writes a model as a folder in Hugging Face's layout, which transformers and mlx-lm read: one tensor after the other, in files
//! of a size that every disk and browser bears.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use candle_core::quantized::GgmlDType;
use serde_json::{Value, json};

use super::{
    LoadProgress, OnLoad,
    convert::convert,
    finite,
    safetensors::INDEX,
    source::{Source, open, room},
    tensors::{TensorId, bytes, dense},
};
use crate::{
    model::{
        ModelError, config_json, files,
        library::{Format, Stamp},
        tokenizer,
    },
    workload::{ModelRef, Precision},
};

/// The most bytes of one file with weights, unless a single tensor is larger.
const SHARD_BYTES: u64 = 5_000_000_000;
/// Bytes written between two looks at whether to go on.
const STRETCH: usize = 16 << 20;

/// Writes a model in its precision, one that is not quantised, as a folder in Hugging Face's layout. Synthetic models get a
/// tokenizer of their vocabulary's size; others take theirs along.
///
/// The folder appears when it is whole. One that is there already is used if it holds this very model, and never replaced.
pub fn export_huggingface(model: &ModelRef, folder: &Path, progress: &mut OnLoad<'_>) -> Result<(), ModelError> {
    let stamp = Stamp::of(model, Format::HuggingFace)?;
    if stamp.is_in(folder) {
        return Ok(());
    }
    free_place(folder)?;
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: io::Error| ModelError::io(folder, "write the folder", &io::Error::from(error.kind()));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".roofline-").suffix(".partial");
    // The rights that any new folder gets here.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o777));
    }
    let partial = builder.tempdir_in(parent).map_err(failed)?;
    write(model, partial.path(), progress)?;
    stamp.put(partial.path())?;
    std::fs::rename(partial.path(), folder).map_err(failed)?;
    // It has another name now, under which nothing is to be deleted.
    _ = partial.keep();
    files::settle(parent);
    Ok(())
}

/// Only what isn't there can be written: no folder with something in it, and no file.
fn free_place(folder: &Path) -> Result<(), ModelError> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
        return Err(ModelError::file(
            parent,
            "could not write the model's folder: there is no such folder to put it into; make it first",
        ));
    }
    let is_empty = |folder: &Path| std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if folder.symlink_metadata().is_err() || is_empty(folder) {
        return Ok(());
    }
    Err(ModelError::file(folder, "there is something else in this place, and it is not replaced; name a new folder"))
}

/// Writes everything into a folder that is there and empty.
pub(crate) fn write(model: &ModelRef, folder: &Path, progress: &mut OnLoad<'_>) -> Result<(), ModelError> {
    let target = target(&model.precision)?;
    let source = open(model)?;
    let config = source.config();
    let total_bytes = shards(source.as_ref(), target, SHARD_BYTES).iter().map(|shard| shard.bytes).sum();
    files::require_space(folder, total_bytes, "the model in Hugging Face's layout")?;
    let special = tokenizer::write_beside(model, config, folder)?;
    let text = config_json::written(config, &model.precision, &special);
    files::put_json(&folder.join("config.json"), &text)?;
    let [bos, eos] = &special;
    files::put_json(
        &folder.join("generation_config.json"),
        &json!({ "bos_token_id": bos, "eos_token_id": eos, "do_sample": false }),
    )?;
    write_weights(source.as_ref(), (target, SHARD_BYTES), folder, progress)
}

/// The type of all tensors.
fn target(precision: &Precision) -> Result<GgmlDType, ModelError> {
    match precision {
        Precision::F32 => Ok(GgmlDType::F32),
        Precision::F16 => Ok(GgmlDType::F16),
        Precision::Bf16 => Ok(GgmlDType::BF16),
        other => Err(ModelError::Unsupported(format!(
            "Hugging Face's layout is written in f32, f16 and bf16, not in {other}; choose one of them"
        ))),
    }
}

/// The tensors of one file, in their order.
#[derive(Default)]
struct Shard {
    tensors: Vec<TensorId>,
    bytes: u64,
}

/// Shares the tensors out to files of at most so many bytes, unless a single one is larger.
fn shards(source: &dyn Source, target: GgmlDType, most: u64) -> Vec<Shard> {
    shared(TensorId::all(&source.config().shape), most, |tensor| size(source, tensor, target) as u64)
}

fn shared(tensors: Vec<TensorId>, most: u64, size: impl Fn(TensorId) -> u64) -> Vec<Shard> {
    let mut shards: Vec<Shard> = Vec::new();
    for tensor in tensors {
        let size = size(tensor);
        match shards.last_mut() {
            Some(last) if last.bytes + size <= most => {
                last.tensors.push(tensor);
                last.bytes += size;
            }
            _ => shards.push(Shard { tensors: vec![tensor], bytes: size }),
        }
    }
    shards
}

fn size(source: &dyn Source, tensor: TensorId, target: GgmlDType) -> usize {
    let (rows, columns) = tensor.dims(&source.config().shape);
    bytes(target, rows * columns)
}

fn write_weights(
    source: &dyn Source,
    (target, most): (GgmlDType, u64),
    folder: &Path,
    progress: &mut OnLoad<'_>,
) -> Result<(), ModelError> {
    let shards = shards(source, target, most);
    let total_bytes = shards.iter().map(|shard| shard.bytes).sum();
    let mut writing = Writing {
        source,
        target,
        progress,
        done: LoadProgress { done_bytes: 0, total_bytes },
        room: Default::default(),
    };
    let mut map = BTreeMap::new();
    for (index, shard) in shards.iter().enumerate() {
        let name = match shards.len() {
            1 => "model.safetensors".to_owned(),
            count => format!("model-{:05}-of-{count:05}.safetensors", index + 1),
        };
        writing.shard(shard, &folder.join(&name))?;
        map.extend(shard.tensors.iter().map(|tensor| (tensor.hugging_face(), Value::from(name.clone()))));
    }
    if shards.len() > 1 {
        let index = json!({ "metadata": { "total_size": total_bytes }, "weight_map": map });
        files::put_json(&folder.join(INDEX), &index)?;
    }
    Ok(())
}

struct Writing<'a, 'p> {
    source: &'a dyn Source,
    target: GgmlDType,
    progress: &'a mut OnLoad<'p>,
    done: LoadProgress,
    /// Room for a tensor as it is read, and as it is written, kept from one to the next.
    room: (Vec<u8>, Vec<u8>),
}

impl Writing<'_, '_> {
    fn shard(&mut self, shard: &Shard, path: &Path) -> Result<(), ModelError> {
        let failed = |error: io::Error| ModelError::io(path, "write the file", &error);
        let file = File::create_new(path).map_err(failed)?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        out.write_all(&header(self.source, &shard.tensors, self.target)).map_err(failed)?;
        for tensor in &shard.tensors {
            self.tensor(*tensor, &mut out, path)?;
        }
        let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)
    }

    fn tensor(&mut self, tensor: TensorId, out: &mut impl Write, path: &Path) -> Result<(), ModelError> {
        let (read, converted) = (&mut self.room.0, &mut self.room.1);
        let (progress, done) = (&mut *self.progress, &mut self.done);
        let mut check = || progress(*done);
        let kind = self.source.kind(tensor)?;
        let mut raw = self.source.read(tensor, read, &mut check)?;
        if kind != self.target {
            raw = as_target(self.source, tensor, raw, converted, self.target, &mut check)?;
        }
        for stretch in raw.chunks(STRETCH) {
            out.write_all(stretch).map_err(|error| ModelError::io(path, "write the file", &error))?;
            done.done_bytes += stretch.len() as u64;
            progress(*done)?;
        }
        Ok(())
    }
}

/// A dense tensor in another type, as norms are beside weights of 16 bits in GGUF files.
fn as_target<'a>(
    source: &dyn Source,
    tensor: TensorId,
    raw: &[u8],
    room_for: &'a mut Vec<u8>,
    target: GgmlDType,
    check: &mut super::source::Check<'_>,
) -> Result<&'a [u8], ModelError> {
    let (kind, name) = (source.kind(tensor)?, tensor.hugging_face());
    if dense(kind).is_none() {
        return Err(ModelError::Unsupported(format!(
            "{name} is quantised ({kind:?}), and quantised weights are not written in Hugging Face's layout; take the model \
             that it was made from"
        )));
    }
    let (_, columns) = tensor.dims(&source.config().shape);
    let converted = room(room_for, size(source, tensor, target));
    convert(raw, converted, [kind, target], columns, check)?;
    if !finite::all(target, converted, check)? {
        return Err(ModelError::Unsupported(format!(
            "{name} holds weights beyond the range of {target:?}; choose bf16"
        )));
    }
    Ok(converted)
}

/// What a safetensors file begins with: the length of the header, and the header, filled up with spaces to whole words.
fn header(source: &dyn Source, tensors: &[TensorId], target: GgmlDType) -> Vec<u8> {
    let dtype = match target {
        GgmlDType::F16 => "F16",
        GgmlDType::BF16 => "BF16",
        _ => "F32",
    };
    let mut fields = serde_json::Map::new();
    fields.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
    let mut start = 0;
    for tensor in tensors {
        let (rows, columns) = tensor.dims(&source.config().shape);
        let shape = if tensor.is_norm() { vec![columns] } else { vec![rows, columns] };
        let end = start + size(source, *tensor, target);
        let about = json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] });
        fields.insert(tensor.hugging_face(), about);
        start = end;
    }
    let mut text = Value::Object(fields).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.append(&mut text);
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{
            config::TINY,
            weights::{safetensors::SafetensorsSource, synthetic::Synthetic},
        },
        workload::ModelShape,
    };

    #[test]
    fn several_files_are_read_back_through_their_index() {
        let folder = tempfile::tempdir().unwrap();
        let source = Synthetic::new(TINY, Precision::F32).unwrap();
        write_weights(&source, (GgmlDType::F32, 1 << 20), folder.path(), &mut |_| Ok(())).unwrap();
        let config = config_json::written(&TINY, &Precision::F32, &Default::default());
        files::put_json(&folder.path().join("config.json"), &config).unwrap();
        let read = SafetensorsSource::open(folder.path()).unwrap();
        assert!(read.files().len() > 5 && folder.path().join(INDEX).exists());
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for tensor in TensorId::all(&TINY.shape) {
            let made = source.read(tensor, &mut ours, &mut || Ok(())).unwrap();
            assert!(made == read.read(tensor, &mut theirs, &mut || Ok(())).unwrap(), "{}", tensor.hugging_face());
        }
    }

    #[test]
    fn files_are_filled_in_order_and_none_is_too_large() {
        let tensors = TensorId::all(&ModelShape::MISTRAL_7B);
        let size = |tensor: TensorId| {
            let (rows, columns) = tensor.dims(&ModelShape::MISTRAL_7B);
            2 * (rows * columns) as u64
        };
        let shards = shared(tensors.clone(), SHARD_BYTES, size);
        assert_eq!(shards.len(), 3);
        assert!(shards.iter().all(|shard| shard.bytes <= SHARD_BYTES));
        assert_eq!(shards.iter().map(|shard| shard.bytes).sum::<u64>(), 2 * ModelShape::MISTRAL_7B.parameters());
        assert_eq!(shards.into_iter().flat_map(|shard| shard.tensors).collect::<Vec<_>>(), tensors);
        // One that is larger than a file may be still gets one.
        assert_eq!(shared(vec![TensorId::Embedding, TensorId::Norm], 10, size).len(), 2);
    }
}
