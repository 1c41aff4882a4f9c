//! Weights in safetensors files: one, or several with an index.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ::safetensors::{
    SafeTensors,
    tensor::{Dtype, Metadata, TensorInfo},
};
use candle_core::quantized::GgmlDType;
use memmap2::Mmap;

use super::{
    finite, gguf,
    source::{Check, Source, commonest, room},
    tensors::{TensorId, bytes},
};
use crate::{
    model::{ModelConfig, ModelError, config_json, files},
    workload::Precision,
};

/// The index of a model in several files.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// The tensors of safetensors files.
pub(crate) struct SafetensorsSource {
    config: ModelConfig,
    shards: Vec<Shard>,
    /// Mistral's own files: other names, and rows of queries and keys as GGUF has them.
    consolidated: bool,
    /// Which shard holds a tensor, where an index says so.
    index: Option<BTreeMap<String, usize>>,
}

struct Shard {
    path: PathBuf,
    map: Mmap,
    metadata: Metadata,
    data_start: usize,
}

impl SafetensorsSource {
    /// Opens the files of a folder, or a single one with its configuration beside it, reads their headers, and makes sure
    /// that all tensors are there.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        let (files, index) = if path.is_dir() { listed(path)? } else { (vec![path.to_owned()], None) };
        let shards = files.iter().map(|file| Shard::open(file)).collect::<Result<Vec<_>, _>>()?;
        let consolidated = shards.iter().any(|shard| shard.metadata.info("tok_embeddings.weight").is_some());
        let mut source = Self { config: configuration(folder, consolidated)?, shards, consolidated, index };
        source.settle_head()?;
        for tensor in TensorId::all(&source.config.shape) {
            source.check(tensor)?;
        }
        Ok(source)
    }

    /// The type of most of the weights.
    pub(crate) fn precision(&self) -> Result<Precision, ModelError> {
        Ok(match commonest(self)? {
            GgmlDType::F32 => Precision::F32,
            GgmlDType::BF16 => Precision::Bf16,
            _ => Precision::F16,
        })
    }

    /// Where a head is absent it must be the embedding table; where a tied one is there all the same, it is not needed.
    fn settle_head(&mut self) -> Result<(), ModelError> {
        let head = self.name(TensorId::Head);
        if !self.config.shape.tied_head && self.locate(&head).is_err() {
            let message = format!(
                "the output head {head} is missing, and the configuration doesn't say that it is the embedding table \
                 (tie_word_embeddings)"
            );
            let path = self.shards.first().map(|shard| shard.path.clone()).unwrap_or_default();
            return Err(ModelError::file(&path, message));
        }
        Ok(())
    }

    fn name(&self, tensor: TensorId) -> String {
        if self.consolidated { tensor.mistral() } else { tensor.hugging_face() }
    }

    /// The file that holds a tensor, and what its header says.
    fn locate(&self, name: &str) -> Result<(&Shard, &TensorInfo), ModelError> {
        let missing = |shard: Option<&Shard>| {
            let path = shard.or(self.shards.first()).map(|shard| shard.path.clone()).unwrap_or_default();
            ModelError::file(&path, format!("the tensor {name} is missing"))
        };
        if let Some(index) = &self.index {
            let shard = index.get(name).and_then(|shard| self.shards.get(*shard));
            let found = shard.and_then(|shard| Some((shard, shard.metadata.info(name)?)));
            return found.ok_or_else(|| missing(shard));
        }
        let mut found = self.shards.iter().filter_map(|shard| Some((shard, shard.metadata.info(name)?)));
        found.next().ok_or_else(|| missing(None))
    }

    fn check(&self, tensor: TensorId) -> Result<(), ModelError> {
        let name = self.name(tensor);
        let (shard, info) = self.locate(&name)?;
        let (rows, columns) = tensor.dims(&self.config.shape);
        let wanted = if tensor.is_norm() { vec![columns] } else { vec![rows, columns] };
        if info.shape != wanted {
            let found = &info.shape;
            let message = format!("the tensor {name} has the shape {found:?}, and the configuration says {wanted:?}");
            return Err(ModelError::file(&shard.path, message));
        }
        self.data(tensor).map(|_| ())
    }

    /// A tensor's bytes as they lie in the file.
    fn data(&self, tensor: TensorId) -> Result<(&Shard, GgmlDType, &[u8]), ModelError> {
        let name = self.name(tensor);
        let (shard, info) = self.locate(&name)?;
        let kind = match info.dtype {
            Dtype::F32 => GgmlDType::F32,
            Dtype::F16 => GgmlDType::F16,
            Dtype::BF16 => GgmlDType::BF16,
            other => {
                let message = format!("the tensor {name} is stored as {other:?}; F32, F16 and BF16 can be read here");
                return Err(ModelError::file(&shard.path, message));
            }
        };
        let (rows, columns) = tensor.dims(&self.config.shape);
        let (start, end) = info.data_offsets;
        let range = shard.data_start.checked_add(start).zip(shard.data_start.checked_add(end));
        let raw = range.and_then(|(start, end)| shard.map.get(start..end));
        let raw = raw.filter(|raw| raw.len() == bytes(kind, rows * columns));
        let raw = raw.ok_or_else(|| {
            let message = format!("the tensor {name} doesn't lie where the header says; the file is damaged");
            ModelError::file(&shard.path, message)
        })?;
        Ok((shard, kind, raw))
    }
}

impl Source for SafetensorsSource {
    fn files(&self) -> Vec<&Path> {
        self.shards.iter().map(|shard| shard.path.as_path()).collect()
    }

    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn kind(&self, tensor: TensorId) -> Result<GgmlDType, ModelError> {
        self.data(tensor).map(|(_, kind, _)| kind)
    }

    fn read<'a>(
        &'a self,
        tensor: TensorId,
        scratch: &'a mut Vec<u8>,
        check: &mut Check<'_>,
    ) -> Result<&'a [u8], ModelError> {
        let (shard, kind, raw) = self.data(tensor)?;
        files::fetch(&shard.map, raw);
        if !finite::all(kind, raw, check)? {
            let name = self.name(tensor);
            let message = format!("the tensor {name} holds NaN or infinite weights; the file is damaged");
            return Err(ModelError::file(&shard.path, message));
        }
        let (rows, columns) = tensor.dims(&self.config.shape);
        let heads = tensor.rotary_heads(&self.config.shape).filter(|_| self.consolidated);
        let Some(heads) = heads else { return Ok(raw) };
        let ordered = room(scratch, raw.len());
        gguf::halves_from_pairs(raw, ordered, bytes(kind, columns), rows / heads);
        Ok(ordered)
    }
}

impl Shard {
    fn open(path: &Path) -> Result<Self, ModelError> {
        let map = files::map(path)?;
        // The offsets in the header are checked against each other and against the length of the file.
        let read = SafeTensors::read_metadata(&map);
        let (header, metadata) = read.map_err(|error| {
            let message = format!("this is no whole safetensors file ({error}); it is cut off or damaged");
            ModelError::file(path, message)
        })?;
        let data_start = header.saturating_add(8);
        if data_start.checked_add(metadata.data_len()).is_none_or(|end| end > map.len()) {
            return Err(ModelError::file(path, "the safetensors file is cut off; download it again"));
        }
        Ok(Self { path: path.to_owned(), map, metadata, data_start })
    }
}

/// The shards of a folder, and which tensor each holds.
type Listed = (Vec<PathBuf>, Option<BTreeMap<String, usize>>);

/// The files that hold the model of a folder: a copy in another layout beside them is none of them.
pub fn safetensors_files(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    Ok(listed(folder)?.0)
}

/// The files of a folder: those that the index names, else the one that there is.
fn listed(folder: &Path) -> Result<Listed, ModelError> {
    let index = folder.join(INDEX);
    if index.exists() {
        return indexed(&index, folder);
    }
    let usual = ["model.safetensors", "consolidated.safetensors"].map(|name| folder.join(name));
    if let Some(single) = usual.into_iter().find(|path| path.exists()) {
        return Ok((vec![single], None));
    }
    let entries = std::fs::read_dir(folder).map_err(|error| ModelError::io(folder, "list the folder", &error))?;
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|path| files::has_extension(path, "safetensors"));
    found.sort();
    match found.as_slice() {
        [_] => Ok((found, None)),
        [] => Err(ModelError::file(folder, "the folder holds no safetensors file")),
        _ => Err(ModelError::file(folder, format!("the folder holds several safetensors files and no {INDEX}"))),
    }
}

fn indexed(index: &Path, folder: &Path) -> Result<Listed, ModelError> {
    let broken =
        |what: &str| ModelError::file(index, format!("this is no index of weights: {what}; download it again"));
    let json: serde_json::Value =
        serde_json::from_str(&files::text(index)?).map_err(|error| broken(&error.to_string()))?;
    let weights = json.get("weight_map").and_then(serde_json::Value::as_object);
    let weights = weights.ok_or_else(|| broken("it has no weight_map"))?;
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut shards = BTreeMap::new();
    for (tensor, file) in weights {
        let name = file.as_str().filter(|name| !name.is_empty() && !name.contains(['/', '\\']) && *name != "..");
        let path = folder.join(name.ok_or_else(|| broken("a file in it has no plain name"))?);
        let shard = match paths.iter().position(|known| *known == path) {
            Some(shard) => shard,
            None if !path.exists() => {
                let message = format!("this part of the model, which holds {tensor}, is missing; download it");
                return Err(ModelError::file(&path, message));
            }
            None if paths.len() >= 1024 => return Err(broken("it names more than 1024 files")),
            None => {
                paths.push(path);
                paths.len() - 1
            }
        };
        shards.insert(tensor.clone(), shard);
    }
    Ok((paths, Some(shards)))
}

/// The configuration beside the weights.
fn configuration(folder: &Path, consolidated: bool) -> Result<ModelConfig, ModelError> {
    type Parse = fn(&str) -> Result<ModelConfig, String>;
    let known: [(&str, Parse); 2] = if consolidated {
        [("params.json", config_json::mistral), ("config.json", config_json::hugging_face)]
    } else {
        [("config.json", config_json::hugging_face), ("params.json", config_json::mistral)]
    };
    let found = known.into_iter().map(|(name, parse)| (folder.join(name), parse)).find(|(path, _)| path.exists());
    let Some((path, parse)) = found else {
        let message = "there is no config.json beside the weights, so their meaning is unknown; download it too";
        return Err(ModelError::file(folder, message));
    };
    parse(&files::text(&path)?).map_err(|what| ModelError::file(&path, what))
}
