//! Finds the engines that are not part of the program: in the settings, in Roofline's own folder, in the active environment,
//! on PATH, with Homebrew, and in the folder of engines that others wrote.
//!
//! Nothing is imported and nothing is measured here: a Python is asked what it holds, llama.cpp for its version.

mod custom;
pub mod installed;
mod llama_cpp;
pub mod python;
pub mod settings;

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;

pub use self::{
    custom::{Ignored, custom, ignored},
    llama_cpp::locate as locate_llama_cpp,
};
use super::{EngineId, Surroundings};

/// An engine that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Which.
    pub engine: EngineId,
    /// What is started.
    pub place: Place,
    /// Where it was found.
    pub origin: FoundIn,
    /// What it is made of, by the names of the packages; empty where it doesn't tell.
    pub versions: BTreeMap<String, String>,
}

/// What is started for an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A Python that holds its packages.
    Python {
        /// The interpreter.
        python: PathBuf,
    },
    /// llama.cpp's programs; those beside `bench` if they are there.
    LlamaCpp {
        /// llama-bench.
        bench: PathBuf,
        /// test-backend-ops.
        ops: Option<PathBuf>,
        /// llama-quantize.
        quantize: Option<PathBuf>,
        /// llama-simple.
        simple: Option<PathBuf>,
    },
    /// An engine that someone else wrote.
    Custom {
        /// The program or the script.
        program: PathBuf,
        /// What a script is started with.
        python: Option<PathBuf>,
    },
}

impl Place {
    /// The file that stands for all: the interpreter, llama-bench, or the program.
    pub const fn file(&self) -> &PathBuf {
        match self {
            Self::Python { python } => python,
            Self::LlamaCpp { bench, .. } => bench,
            Self::Custom { program, .. } => program,
        }
    }
}

/// Where an engine was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FoundIn {
    /// Where the person said.
    Setting,
    /// Where Roofline installed it.
    Installed,
    /// The virtual or conda environment that is active.
    ActiveEnvironment,
    /// PATH.
    Path,
    /// Homebrew's folders.
    Homebrew,
    /// The folder of engines that others wrote.
    EnginesFolder,
}

impl FoundIn {
    /// In words, as "by PATH".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Setting => "chosen in the settings",
            Self::Installed => "installed by Roofline",
            Self::ActiveEnvironment => "in the active environment",
            Self::Path => "on PATH",
            Self::Homebrew => "from Homebrew",
            Self::EnginesFolder => "in the engines folder",
        }
    }
}

/// Why an engine is not there, and what gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What was looked at and what each lacks, in one sentence.
    pub reason: String,
    /// One command that gets it.
    pub command: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; get it with: {}", self.reason, self.command)
    }
}

/// Looks for an engine. Starts programs that answer within a moment; what hangs is given up after
/// [`python::LIMIT`] each.
pub fn find(engine: EngineId, surroundings: &Surroundings) -> Result<Located, Missing> {
    match engine {
        EngineId::Wgpu | EngineId::Candle => Err(Missing {
            reason: format!("{} is part of Roofline and is not looked for", engine.title()),
            command: "roofline list".to_owned(),
        }),
        EngineId::Pytorch | EngineId::Mlx => python::find(engine, surroundings),
        EngineId::LlamaCpp => llama_cpp::find(surroundings),
        EngineId::Other(_) => custom::find(engine, surroundings),
    }
}

/// The path that the settings name for an engine; an error where they can't be read or name what is not there.
fn chosen(engine: EngineId, surroundings: &Surroundings) -> Result<Option<PathBuf>, Missing> {
    let wrong = |reason: String| Missing { reason, command: format!("roofline engines use {engine} --default") };
    let path = settings::Settings::read(surroundings).and_then(|settings| settings.path(engine)).map_err(wrong)?;
    match path {
        Some(path) if !path.exists() => Err(wrong(format!(
            "the settings name a path for {} where nothing is; choose another or clear it: {}",
            engine.title(),
            path.display()
        ))),
        found => Ok(found),
    }
}

/// The command that installs an engine.
fn install_command(engine: EngineId) -> String {
    format!("roofline engines install {engine}")
}

/// Whether a file is one of Homebrew's.
fn is_brewed(file: &std::path::Path) -> bool {
    let cellar = || {
        let real = std::fs::canonicalize(file).unwrap_or_default();
        real.components().any(|part| part.as_os_str() == "Cellar")
    };
    file.starts_with("/opt/homebrew") || cellar()
}

/// PATH or Homebrew.
fn origin_of(file: &std::path::Path) -> FoundIn {
    if is_brewed(file) { FoundIn::Homebrew } else { FoundIn::Path }
}
