//! What a model's name means: a preset, files on this machine, or a repository in Hugging Face's cache. Only headers are
//! read here.

use std::path::{Path, PathBuf};

use super::{
    ModelConfig, ModelError,
    config::PRESETS,
    files::has_extension,
    weights::{
        gguf::GgufSource,
        safetensors::{INDEX, SafetensorsSource},
        source::Source as _,
        tensors::{TensorId, bytes, mlx_bytes},
    },
};
use crate::workload::{Location, ModelRef, Origin, Precision};

/// What `asked` means: the name of a preset, the path of a GGUF file, of a safetensors file or of a folder with them, or
/// `org/name[@revision][/file.gguf]` in Hugging Face's cache, whose folder is `hub`.
///
/// Synthetic weights are made in `precision`, F16 without; dense files are converted to it while they are loaded.
pub fn resolve(asked: &str, precision: Option<&Precision>, hub: Option<&Path>) -> Result<ModelRef, ModelError> {
    if let Some(config) = ModelConfig::preset(asked) {
        return synthetic(asked, &config, precision.cloned().unwrap_or(Precision::F16));
    }
    let path = Path::new(asked);
    match std::fs::metadata(path) {
        Ok(_) => return local(path, None, precision),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(ModelError::io(path, "open the model", &error));
        }
        Err(_) => {}
    }
    let presets = PRESETS.map(|(name, _)| name).join(", ");
    let Some(repository) = Repository::parse(asked) else {
        return Err(ModelError::Asked(format!(
            "no model is called \"{asked}\", and there is no such file; choose {presets}, the path of a GGUF file or of a \
             folder with safetensors, or org/name from Hugging Face"
        )));
    };
    match hub.and_then(|hub| repository.snapshot(hub)) {
        Some(snapshot) => {
            let path = repository.file.as_ref().map_or_else(|| snapshot.clone(), |file| snapshot.join(file));
            local(&path, Some(asked), precision)
        }
        None => Err(ModelError::Asked(format!(
            "{asked} is not on this machine; get it with \"roofline models download {asked}\", or choose {presets}"
        ))),
    }
}

/// A repository of Hugging Face's, and what of it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its owner and its name, with a slash between them.
    pub id: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// One file of it, where not the whole model is wanted.
    pub file: Option<String>,
}

impl Repository {
    /// Reads `org/name`, `org/name@revision`, and `org/name/file.gguf`.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |word: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !word.is_empty() && word.len() <= 96 && word.chars().all(known) && !word.starts_with('.')
        };
        let mut words = text.splitn(3, '/');
        let (owner, name) = (words.next()?, words.next()?);
        let file = words.next().map(str::to_owned);
        let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
        let files_fit = file.as_ref().is_none_or(|file| file.split('/').all(plain));
        let fits = plain(owner) && plain(name) && plain(revision) && files_fit;
        fits.then(|| Self { id: format!("{owner}/{name}"), revision: revision.to_owned(), file })
    }

    /// Its folder in Hugging Face's cache.
    pub(crate) fn folder(&self, hub: &Path) -> PathBuf {
        hub.join(format!("models--{}", self.id.replace('/', "--")))
    }

    /// The folder with the files of the wanted revision, if it is in the cache.
    pub(crate) fn snapshot(&self, hub: &Path) -> Option<PathBuf> {
        let folder = self.folder(hub);
        let named = std::fs::read_to_string(folder.join("refs").join(&self.revision));
        let commit = named.map_or_else(|_| self.revision.clone(), |commit| commit.trim().to_owned());
        let is_plain = !commit.is_empty() && commit.chars().all(|c| c.is_ascii_alphanumeric());
        Some(folder.join("snapshots").join(commit)).filter(|snapshot| is_plain && snapshot.is_dir())
    }
}

/// A model that is on this machine, or that can be made on it.
#[derive(Clone, Debug)]
pub struct Found {
    /// What [`resolve`] is asked for it.
    pub asked: String,
    /// Where its files lie; absent for presets.
    pub path: Option<PathBuf>,
    /// The model, or why it can't be used.
    pub model: Result<ModelRef, String>,
}

/// The presets, the models in Hugging Face's cache, and those in `folders`: each folder itself, and what lies in it.
pub fn list(hub: Option<&Path>, folders: &[PathBuf]) -> Vec<Found> {
    /// More than anybody keeps; a folder with more is no folder of models.
    const MOST: usize = 500;
    let preset = |(name, config): (&str, ModelConfig)| {
        let model = synthetic(name, &config, Precision::F16).map_err(|error| error.to_string());
        Found { asked: name.to_owned(), path: None, model }
    };
    let mut found: Vec<Found> = PRESETS.into_iter().map(preset).collect();
    for folder in hub.map(entries).unwrap_or_default() {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(id) = name.strip_prefix("models--").map(|id| id.replacen("--", "/", 1)) else { continue };
        let snapshot = Repository::parse(&id).zip(hub).and_then(|(repository, hub)| repository.snapshot(hub));
        let Some(snapshot) = snapshot else { continue };
        let model = local(&snapshot, Some(&id), None).map_err(|error| error.to_string());
        found.push(Found { asked: id, path: Some(snapshot), model });
    }
    for folder in folders {
        let inside = entries(folder).into_iter();
        let candidates = std::iter::once(folder.clone()).chain(inside).filter(|path| holds_weights(path));
        for path in candidates.take(MOST) {
            let model = local(&path, None, None).map_err(|error| error.to_string());
            found.push(Found { asked: path.display().to_string(), path: Some(path), model });
        }
    }
    found.truncate(MOST);
    found
}

/// What lies in a folder, in order; nothing where it can't be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// Whether a path looks like a model: a GGUF file, or a folder with weights of which a configuration tells.
fn holds_weights(path: &Path) -> bool {
    if path.is_dir() {
        return path.join("config.json").exists() || path.join("params.json").exists();
    }
    has_extension(path, "gguf")
}

/// The model at a path.
fn local(path: &Path, name: Option<&str>, precision: Option<&Precision>) -> Result<ModelRef, ModelError> {
    let path = &std::path::absolute(path).map_err(|error| ModelError::io(path, "find the model", &error))?;
    let about = std::fs::metadata(path).map_err(|error| ModelError::io(path, "open the model", &error))?;
    if about.is_dir() {
        return folder(path, name, precision);
    }
    if has_extension(path, "gguf") {
        return gguf(path, name, precision);
    }
    if has_extension(path, "safetensors") {
        return dense(path, name, precision);
    }
    if is_pickle(path) {
        return Err(pickle(path));
    }
    Err(ModelError::file(path, "this is neither a GGUF nor a safetensors file"))
}

fn folder(path: &Path, name: Option<&str>, precision: Option<&Precision>) -> Result<ModelRef, ModelError> {
    let files = std::fs::read_dir(path).map_err(|error| ModelError::io(path, "list the folder", &error))?;
    let mut files: Vec<PathBuf> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    files.sort();
    let indexed = path.join(INDEX).exists();
    if indexed || files.iter().any(|file| has_extension(file, "safetensors")) {
        return dense(path, name, precision);
    }
    let ggufs: Vec<&PathBuf> = files.iter().filter(|file| has_extension(file, "gguf")).collect();
    match ggufs.as_slice() {
        [one] => gguf(one, name, precision),
        [] => match files.iter().find(|file| is_pickle(file)) {
            Some(file) => Err(pickle(file)),
            None => Err(ModelError::file(path, "the folder holds no weights: neither safetensors nor a GGUF file")),
        },
        several => {
            let names = several.iter().filter_map(|file| file.file_name()).map(|name| name.to_string_lossy());
            let names = names.collect::<Vec<_>>().join(", ");
            Err(ModelError::file(path, format!("the folder holds several models, name one of them: {names}")))
        }
    }
}

fn is_pickle(path: &Path) -> bool {
    ["bin", "pt", "pth", "pkl", "ckpt"].iter().any(|extension| has_extension(path, extension))
}

fn pickle(path: &Path) -> ModelError {
    let message = "this is a pickle, which can run any code when it is opened, and so never is; take the model's \
                   safetensors or a GGUF file";
    ModelError::file(path, message)
}

fn gguf(path: &Path, name: Option<&str>, precision: Option<&Precision>) -> Result<ModelRef, ModelError> {
    let source = GgufSource::open(path)?;
    let stored = source.precision()?;
    if let Some(wanted) = precision.filter(|wanted| **wanted != stored) {
        let message = format!("the file's weights are {stored}, and {wanted} is asked for; take a file that has it");
        return Err(ModelError::file(path, message));
    }
    let config = source.config();
    let (mut weight_bytes, mut table) = (0, 0);
    for tensor in TensorId::all(&config.shape) {
        let size = source.stored_bytes(tensor)?;
        weight_bytes += size;
        table += if tensor == TensorId::Embedding && !config.shape.tied_head { size } else { 0 };
    }
    Ok(ModelRef {
        name: name.map_or_else(|| stem(path), str::to_owned),
        origin: Origin::Files,
        precision: stored,
        shape: config.shape,
        weight_bytes,
        token_bytes: weight_bytes - table,
        location: Location(Some(path.to_owned())),
    })
}

fn dense(path: &Path, name: Option<&str>, precision: Option<&Precision>) -> Result<ModelRef, ModelError> {
    let source = SafetensorsSource::open(path)?;
    let precision = match precision {
        Some(Precision::Stored(other)) => {
            let names = Precision::ASKED.map(|known| known.id().to_owned()).join(", ");
            let message = format!("weights are not converted to {other} here; choose from {names}");
            return Err(ModelError::file(path, message));
        }
        Some(wanted) => wanted.clone(),
        None => source.precision()?,
    };
    let shape = source.config().shape;
    let (weight_bytes, token_bytes) = sizes(source.config(), |tensor| stored_size(tensor, &precision, source.config()));
    Ok(ModelRef {
        name: name.map_or_else(|| stem(path), str::to_owned),
        origin: Origin::Files,
        precision,
        shape,
        weight_bytes,
        token_bytes,
        location: Location(Some(path.to_owned())),
    })
}

/// A model's name by its path: the folder's where the file is called as all are.
fn stem(path: &Path) -> String {
    let usual = ["model", "consolidated"];
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    let name = name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match path.parent().and_then(Path::file_name) {
        Some(parent) if usual.contains(&name.as_str()) => parent.to_string_lossy().into_owned(),
        _ => name,
    }
}

/// A synthetic model of any shape, in one of [`Precision::ASKED`].
pub fn synthetic(name: &str, config: &ModelConfig, precision: Precision) -> Result<ModelRef, ModelError> {
    let config = &config.clone().checked().map_err(|what| ModelError::Asked(format!("no such model: {what}")))?;
    if let Precision::Stored(stored) = &precision {
        let names = Precision::ASKED.map(|known| known.id().to_owned()).join(", ");
        return Err(ModelError::Asked(format!("synthetic weights are not made in {stored}; choose from {names}")));
    }
    let (weight_bytes, token_bytes) = sizes(config, |tensor| stored_size(tensor, &precision, config));
    Ok(ModelRef {
        name: name.to_owned(),
        origin: Origin::Synthetic,
        precision,
        shape: config.shape,
        weight_bytes,
        token_bytes,
        location: Location(None),
    })
}

/// Bytes of a tensor in a precision.
fn stored_size(tensor: TensorId, precision: &Precision, config: &ModelConfig) -> u64 {
    if *precision == Precision::Mlx4 {
        return mlx_bytes(tensor, &config.shape);
    }
    let (rows, columns) = tensor.dims(&config.shape);
    bytes(tensor.stored_as(precision, config), rows * columns) as u64
}

/// Bytes of all weights, and of those that one decoded token reads: all but an embedding table that is only looked up.
fn sizes(config: &ModelConfig, size: impl Fn(TensorId) -> u64) -> (u64, u64) {
    let all = TensorId::all(&config.shape).into_iter().map(&size).sum();
    let table = if config.shape.tied_head { 0 } else { size(TensorId::Embedding) };
    (all, all - table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_sizes_their_names_promise() {
        for (name, least, most) in
            [("mistral-7b", 7.2e9, 7.3e9), ("mistral-1b", 1.0e9, 1.2e9), ("mistral-100m", 0.9e8, 1.1e8)]
        {
            let model = resolve(name, None, None).unwrap();
            let parameters = model.shape.parameters();
            assert!((least..most).contains(&(parameters as f64)), "{name}: {parameters}");
            assert_eq!(model.weight_bytes, 2 * parameters, "{name}");
            assert_eq!(model.weight_bytes - model.token_bytes, 2 * model.shape.embedding_elements());
            assert!(model.shape.hidden.is_multiple_of(256) && model.shape.intermediate.is_multiple_of(256));
        }
        // llama.cpp's own Mistral-7B Q4_K_M is 4.37 GB.
        let q4 = resolve("mistral-7b", Some(&Precision::Q4KM), None).unwrap();
        assert!((4.3e9..4.4e9).contains(&(q4.weight_bytes as f64)), "{}", q4.weight_bytes);
        // 4.5 bits, but 16 for the norms.
        let mlx = resolve("mistral-7b", Some(&Precision::Mlx4), None).unwrap();
        assert_eq!(mlx.weight_bytes, (mlx.shape.parameters() - 65 * 4096) * 9 / 16 + 2 * 65 * 4096);
        assert_eq!(mlx.weight_bytes - mlx.token_bytes, mlx.shape.embedding_elements() * 9 / 16);
    }

    #[test]
    fn the_model_that_engines_are_compared_by_is_known_and_not_listed() {
        let tiny = resolve("tiny", Some(&Precision::F32), None).unwrap();
        assert_eq!(tiny.weight_bytes, 4 * tiny.shape.parameters());
        assert_eq!(ModelConfig::preset("tiny").unwrap().rope_theta, 1e6);
        assert!(list(None, &[]).iter().all(|found| found.asked != "tiny"));
    }
}
