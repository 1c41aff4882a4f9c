//! Roofline's own installations: `engines/NAME/installed.json` names the folder beside it that is whole.
//!
//! An installation is made in a new folder and counts from the moment when that file names it. What was cut off before is
//! never found, and an update leaves the old one in use until the new one is whole.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::settings::write_json;
use crate::engine::{EngineId, Surroundings};

/// What is said of an installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// The folder beside the file.
    pub folder: String,
    /// What was installed: the pinned list, by a checksum. Another one is an update.
    pub recipe: String,
    /// In words, as "CUDA wheels".
    pub variant: String,
    /// Bytes on the disk.
    pub bytes: u64,
    /// What it is made of.
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
}

/// The folder of an engine's own installation, whether it is there or not.
pub fn folder_of(engine: EngineId, surroundings: &Surroundings) -> Option<PathBuf> {
    Some(surroundings.engines()?.join(engine.id()))
}

fn file_of(engine: EngineId, surroundings: &Surroundings) -> Option<PathBuf> {
    Some(folder_of(engine, surroundings)?.join("installed.json"))
}

impl Installed {
    /// The installation of an engine, if there is a whole one.
    pub fn read(engine: EngineId, surroundings: &Surroundings) -> Option<Self> {
        let text = fs::read_to_string(file_of(engine, surroundings)?).ok()?;
        let installed: Self = serde_json::from_str(&text).ok()?;
        // The name of a folder beside it, and of none elsewhere.
        let plain = installed.folder.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (plain && !installed.folder.is_empty() && installed.root(engine, surroundings)?.is_dir()).then_some(installed)
    }

    /// Its folder.
    pub fn root(&self, engine: EngineId, surroundings: &Surroundings) -> Option<PathBuf> {
        Some(folder_of(engine, surroundings)?.join(&self.folder))
    }

    /// Makes it the installation of an engine.
    pub fn write(&self, engine: EngineId, surroundings: &Surroundings) -> io::Result<()> {
        let file = file_of(engine, surroundings).ok_or(io::ErrorKind::NotFound)?;
        write_json(&file, self)
    }
}

/// Whether an installation of this engine was begun and not finished.
pub(super) fn is_unfinished(engine: EngineId, surroundings: &Surroundings) -> bool {
    Installed::read(engine, surroundings).is_none()
        && folder_of(engine, surroundings).is_some_and(|folder| folder.is_dir())
}
