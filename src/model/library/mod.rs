//! One model in the layouts that different engines read, each made once and kept.
//!
//! Every layout of a model is a folder of its own, with a stamp that says what it was made of. It appears under its name when it
//! is whole, so that what was cut off is never taken for a model. A lock keeps two programs from making the same one at once.

mod stamp;

use std::{
    fmt,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub(crate) use self::stamp::Stamp;
use super::{
    ModelError, files,
    weights::{
        self, LoadProgress, OnLoad, huggingface,
        safetensors::{INDEX, SafetensorsSource},
    },
};
use crate::workload::{ModelRef, Origin, Precision};

/// A layout of a model's files. The ids are those of the engine protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Format {
    /// A folder with `config.json`, safetensors and a tokenizer.
    #[serde(rename = "huggingface")]
    HuggingFace,
    /// One file for llama.cpp.
    #[serde(rename = "gguf")]
    Gguf,
    /// A folder as Hugging Face's, its weights quantised by mlx-lm.
    #[serde(rename = "mlx")]
    MlxQuantised,
}

impl Format {
    /// Its name in the engine protocol and in the names of folders.
    pub const fn id(self) -> &'static str {
        match self {
            Self::HuggingFace => "huggingface",
            Self::Gguf => "gguf",
            Self::MlxQuantised => "mlx",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// Makes an MLX folder of one in Hugging Face's layout.
///
/// As `mlx_lm.convert -q` does: 4 bits, groups of 64. The second path is the folder to make, which doesn't exist before. The error
/// is a sentence.
pub type Convert<'a> = dyn FnMut(&Path, &Path) -> Result<(), String> + 'a;

/// A folder with models in the layouts of all engines.
#[derive(Clone, Debug)]
pub struct Library {
    folder: PathBuf,
}

/// A model of the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What [`Library::remove`] is given.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// The model; absent where the folder doesn't say, as one that was left half-made.
    pub model: Option<ModelRef>,
    /// Its layout, where the folder says.
    pub format: Option<Format>,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Whether it is still used: a newer version of Roofline may make other synthetic weights.
    pub current: bool,
}

impl Library {
    /// In a folder, which needs not be there yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a model's files in a layout: its own where they have it, else made now unless they are kept. MLX's are only
    /// found here; [`Library::have_quantised`] makes them.
    pub fn have(&self, model: &ModelRef, format: Format, progress: &mut OnLoad<'_>) -> Result<PathBuf, ModelError> {
        if let Some(path) = own_files(model, format) {
            return Ok(path);
        }
        possible(model, format)?;
        self.kept(model, format, progress, &mut |folder, progress| match format {
            Format::HuggingFace => {
                create(folder)?;
                huggingface::write(model, folder, progress)
            }
            Format::Gguf => {
                create(folder)?;
                weights::export(model, &folder.join(file_name(model)), progress)
            }
            Format::MlxQuantised => Err(ModelError::Unsupported(format!(
                "{} is not quantised for MLX yet, which mlx-lm does",
                model.label()
            ))),
        })
    }

    /// The path of the folder with a model in MLX's 4 bits. mlx-lm makes it of the model in 16 bits, through `convert`; that
    /// one is made for it and stays.
    pub fn have_quantised(
        &self,
        model: &ModelRef,
        convert: &mut Convert<'_>,
        progress: &mut OnLoad<'_>,
    ) -> Result<PathBuf, ModelError> {
        let format = Format::MlxQuantised;
        possible(model, format)?;
        self.kept(model, format, progress, &mut |folder, progress| {
            let plain = plain(model)?;
            let whole = self.have(&plain, Format::HuggingFace, progress)?;
            files::require_space(&self.folder, model.weight_bytes, "the model in MLX's 4 bits")?;
            progress(LoadProgress { done_bytes: 0, total_bytes: model.weight_bytes })?;
            convert(&whole, folder).map_err(|what| ModelError::file(folder, what))?;
            let made = folder.join("config.json").is_file();
            made.then_some(()).ok_or_else(|| ModelError::file(folder, "the conversion left no config.json"))
        })
    }

    /// What is kept here, by name.
    pub fn list(&self) -> Result<Vec<Kept>, ModelError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(ModelError::io(&self.folder, "list the models", &error)),
        };
        let mut all = Vec::new();
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()) {
            let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
            let stamp = Stamp::read(&path);
            all.push(Kept {
                name,
                bytes: stamp::listed(&path)?.into_iter().map(|(_, bytes)| bytes).sum(),
                model: stamp.as_ref().map(|stamp| stamp.model.clone()),
                format: stamp.as_ref().map(|stamp| stamp.format),
                current: stamp.is_some_and(|stamp| stamp.is_current()),
                path,
            });
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    /// Removes one of [`Library::list`] by its name, and says how many bytes that frees.
    pub fn remove(&self, name: &str) -> Result<u64, ModelError> {
        let known = self.list()?.into_iter().find(|kept| kept.name == name);
        let kept = known.ok_or_else(|| ModelError::Asked(format!("no model called \"{name}\" is kept here")))?;
        let entry = name.trim_start_matches('.').trim_end_matches(".partial");
        // Not while another program is making it.
        let _lock = self.try_lock(entry)?.ok_or_else(|| {
            ModelError::file(&kept.path, "another program is making this model; wait until it is done")
        })?;
        self.discard(&kept.path, entry)?;
        Ok(kept.bytes)
    }

    /// The contents of the folder for a model and a layout, made by `make` unless they are there. `make` gets the path of a
    /// folder that doesn't exist yet.
    fn kept(
        &self,
        model: &ModelRef,
        format: Format,
        progress: &mut OnLoad<'_>,
        make: &mut dyn FnMut(&Path, &mut OnLoad<'_>) -> Result<(), ModelError>,
    ) -> Result<PathBuf, ModelError> {
        let entry = entry_name(model, format);
        let folder = self.folder.join(&entry);
        let inside = || if format == Format::Gguf { folder.join(file_name(model)) } else { folder.clone() };
        let stamp = Stamp::of(model, format)?;
        if stamp.is_in(&folder) {
            return Ok(inside());
        }
        create(&self.folder)?;
        let _lock = self.lock(&entry, model.weight_bytes, progress)?;
        // It may have been made while the lock was waited for.
        if stamp.is_in(&folder) {
            return Ok(inside());
        }
        if folder.symlink_metadata().is_ok() && Stamp::read(&folder).is_none() {
            let message = "this was not made by Roofline, and is where a model should be kept; move it away";
            return Err(ModelError::file(&folder, message));
        }
        // Nobody else writes there while the lock is held: what is there was cut off.
        let partial = self.partial(&entry);
        clear(&partial)?;
        let outcome = make(&partial, progress).and_then(|()| stamp.put(&partial));
        if let Err(error) = outcome {
            clear(&partial).ok();
            return Err(error);
        }
        clear(&folder)?;
        fs::rename(&partial, &folder).map_err(|error| ModelError::io(&folder, "keep the model", &error))?;
        files::settle(&self.folder);
        Ok(inside())
    }

    fn partial(&self, entry: &str) -> PathBuf {
        self.folder.join(format!(".{entry}.partial"))
    }

    /// Takes it away at once, however long deleting takes.
    fn discard(&self, path: &Path, entry: &str) -> Result<(), ModelError> {
        let partial = self.partial(entry);
        if path != partial {
            clear(&partial)?;
            fs::rename(path, &partial).map_err(|error| ModelError::io(path, "remove the model", &error))?;
        }
        clear(&partial)
    }

    /// Waits until no other program makes this.
    fn lock(&self, entry: &str, total_bytes: u64, progress: &mut OnLoad<'_>) -> Result<File, ModelError> {
        loop {
            if let Some(lock) = self.try_lock(entry)? {
                return Ok(lock);
            }
            progress(LoadProgress { done_bytes: 0, total_bytes })?;
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn try_lock(&self, entry: &str) -> Result<Option<File>, ModelError> {
        let path = self.folder.join(format!(".{entry}.lock"));
        let failed = |error: &std::io::Error| ModelError::io(&path, "lock the model", error);
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|error| failed(&error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(&error)),
        }
    }
}

/// The precision of the weights that a layout is made from.
fn base(model: &ModelRef, format: Format) -> Precision {
    match format {
        Format::MlxQuantised => plain(model).map_or(Precision::F16, |plain| plain.precision),
        Format::HuggingFace | Format::Gguf => model.precision.clone(),
    }
}

/// The model that MLX's 4 bits are made from: in 16 bits, so that the scales are too.
fn plain(model: &ModelRef) -> Result<ModelRef, ModelError> {
    let stored = match (&model.location.0, model.origin) {
        (Some(path), Origin::Files) if !files::has_extension(path, "gguf") => {
            SafetensorsSource::open(path)?.precision()?
        }
        _ => Precision::F16,
    };
    let precision = if stored == Precision::Bf16 { stored } else { Precision::F16 };
    Ok(ModelRef { weight_bytes: 2 * model.shape.parameters(), precision, ..model.clone() })
}

/// Whether a model can be had in a layout at all.
fn possible(model: &ModelRef, format: Format) -> Result<(), ModelError> {
    let fits = match format {
        Format::HuggingFace => model.precision.dense_bytes().is_some(),
        Format::Gguf => model.precision != Precision::Mlx4,
        Format::MlxQuantised => model.precision == Precision::Mlx4,
    };
    if fits {
        return Ok(());
    }
    let precision = &model.precision;
    Err(ModelError::Unsupported(match format {
        Format::HuggingFace => format!("Hugging Face's layout holds f32, f16 and bf16, not {precision}"),
        Format::Gguf => format!("GGUF files hold no {precision}; choose Q4_0 or Q4_K_M"),
        Format::MlxQuantised => format!("MLX quantises to mlx-4bit, not to {precision}"),
    }))
}

/// A model's own files, where they have this layout and precision already.
fn own_files(model: &ModelRef, format: Format) -> Option<PathBuf> {
    let path = model.location.0.as_ref().filter(|_| model.origin == Origin::Files)?;
    match format {
        // A GGUF file is only ever taken in the precision that it has.
        Format::Gguf => Some(path.clone()).filter(|path| files::has_extension(path, "gguf")),
        Format::MlxQuantised => None,
        Format::HuggingFace => {
            let single = path.file_name().is_some_and(|name| name == "model.safetensors");
            let folder = if path.is_dir() { path.as_path() } else { path.parent().filter(|_| single)? };
            let named = ["model.safetensors", INDEX].iter().any(|name| folder.join(name).is_file());
            let described = ["config.json", "tokenizer.json"].iter().all(|name| folder.join(name).is_file());
            let stored = SafetensorsSource::open(path).and_then(|source| source.precision()).ok()?;
            (named && described && stored == model.precision).then(|| folder.to_owned())
        }
    }
}

/// "mistral-7b-f16-huggingface". Two models of files may have the same name: theirs ends with a digest of where they lie.
fn entry_name(model: &ModelRef, format: Format) -> String {
    let name = format!("{}-{}", stem(model), format);
    match (&model.location.0, model.origin) {
        (Some(path), Origin::Files) => {
            let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
            let start = digest.iter().take(4).fold(0_u32, |start, byte| start << 8 | u32::from(*byte));
            format!("{name}-{start:08x}")
        }
        _ => name,
    }
}

/// A GGUF file's name.
fn file_name(model: &ModelRef) -> String {
    format!("{}.gguf", stem(model))
}

/// "mistral-7b-f16", with letters that every file system takes.
fn stem(model: &ModelRef) -> String {
    const LONGEST: usize = 80;
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name: String = model.name.chars().map(safe).take(LONGEST).collect();
    let name = name.trim_matches(['.', '-']);
    let name = if name.is_empty() { "model" } else { name };
    let precision: String = model.precision.id().chars().map(safe).take(LONGEST).collect();
    format!("{name}-{precision}")
}

fn create(folder: &Path) -> Result<(), ModelError> {
    fs::create_dir_all(folder).map_err(|error| ModelError::io(folder, "make the folder", &error))
}

/// Removes a folder, if it is there.
fn clear(folder: &Path) -> Result<(), ModelError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ModelError::io(folder, "remove the folder", &error))
        }
        _ => Ok(()),
    }
}
