//! What a folder of the library was made of, so that it is not taken for something else.

use std::{
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};

use super::Format;
use crate::{
    model::{
        ModelError, config_json, files,
        weights::{source, stored_in, synthetic::GENERATOR},
    },
    workload::{ModelRef, Precision},
};

/// The file that holds it, within the folder.
const FILE: &str = "roofline.json";

/// What a folder was made of. Equal stamps mean equal contents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// The version of the generator of synthetic weights.
    generator: u32,
    /// The layout.
    pub(crate) format: Format,
    /// The model, its precision and its shape.
    pub(crate) model: ModelRef,
    /// Its constants, as a configuration has them. Text, so that no number changes on its way.
    constants: String,
    /// The files that it was made from, as they were; none for synthetic weights.
    made_from: Vec<Made>,
    /// The files that were made. A stamp without them says what is wanted.
    #[serde(default)]
    files: Vec<Made>,
}

/// A file, as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Made {
    path: PathBuf,
    bytes: u64,
    /// Seconds after 1970, of files that something was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    written_s: Option<u64>,
}

impl Stamp {
    /// Of a model in a layout. Headers of its files are read.
    pub(crate) fn of(model: &ModelRef, format: Format) -> Result<Self, ModelError> {
        // MLX's weights are made from those in 16 bits.
        let plain = ModelRef { precision: super::base(model, format), ..model.clone() };
        let config = source::open(&plain)?.config().clone();
        let seen = |path: PathBuf| {
            let about = fs::metadata(&path).map_err(|error| ModelError::io(&path, "open the model", &error))?;
            let written = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            Ok(Made { path, bytes: about.len(), written_s: written.map(|since| since.as_secs()) })
        };
        Ok(Self {
            generator: GENERATOR,
            format,
            model: model.clone(),
            constants: config_json::written(&config, &Precision::F32, &Default::default()).to_string(),
            made_from: stored_in(&plain)?.into_iter().map(seen).collect::<Result<_, ModelError>>()?,
            files: Vec::new(),
        })
    }

    /// The stamp in a folder, if it has one.
    pub(crate) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_str(&files::text(&folder.join(FILE)).ok()?).ok()
    }

    /// Whether a folder was made of exactly this, and still holds all that was made.
    pub(crate) fn is_in(&self, folder: &Path) -> bool {
        let Some(found) = Self::read(folder) else { return false };
        let whole = !found.files.is_empty() && found.files.iter().all(|file| file.is_whole_in(folder));
        whole && Self { files: Vec::new(), ..found } == *self
    }

    /// Whether this very version of Roofline would make the same synthetic weights.
    pub(crate) const fn is_current(&self) -> bool {
        self.generator == GENERATOR
    }

    /// Puts it into a folder in which everything is made.
    pub(crate) fn put(&self, folder: &Path) -> Result<(), ModelError> {
        let mut made = Vec::new();
        for (path, bytes) in listed(folder)? {
            let path = path.strip_prefix(folder).unwrap_or(&path).to_owned();
            made.push(Made { path, bytes, written_s: None });
        }
        made.sort();
        let stamp = Self { files: made, ..self.clone() };
        let value = serde_json::to_value(&stamp);
        let value = value.map_err(|error| ModelError::Compute(format!("what was made can't be noted ({error})")))?;
        files::put_json(&folder.join(FILE), &value)
    }
}

impl Made {
    fn is_whole_in(&self, folder: &Path) -> bool {
        fs::metadata(folder.join(&self.path)).is_ok_and(|about| about.is_file() && about.len() == self.bytes)
    }
}

/// The files in a folder and in the folders within, with their sizes. Links are not followed.
pub(super) fn listed(folder: &Path) -> Result<Vec<(PathBuf, u64)>, ModelError> {
    /// More than any model has.
    const MOST: usize = 10_000;
    let failed = |error: &std::io::Error| ModelError::io(folder, "list the folder", error);
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| failed(&error))?.take(MOST) {
            let entry = entry.map_err(|error| failed(&error))?;
            let about = entry.metadata().map_err(|error| failed(&error))?;
            if about.is_dir() && open.len() < MOST {
                open.push(entry.path());
            } else if found.len() < MOST {
                found.push((entry.path(), about.len()));
            }
        }
    }
    Ok(found)
}
