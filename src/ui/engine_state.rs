//! The engines outside the program as the window shows them.

use std::path::PathBuf;

use crate::{
    engine::{
        EngineId,
        find::{Located, Missing},
    },
    provision::{Check, InstallProgress},
};

/// An engine that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedEngine {
    /// Which.
    pub engine: EngineId,
    /// Where it is, or why it isn't there.
    pub found: Result<Located, Missing>,
    /// The person chose where it is.
    pub chosen: bool,
    /// Bytes of Roofline's own installation, if there is one.
    pub installed_bytes: Option<u64>,
    /// Roofline's folder of it, if there is one.
    pub folder: Option<PathBuf>,
}

/// What is done, or was done last, with an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineWork {
    /// Which.
    pub engine: EngineId,
    /// How far it is.
    pub stage: EngineStage,
}

/// How far work with an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineStage {
    /// What an installation would do is being found out.
    Planning,
    /// This is what it would do; the person is asked.
    Planned(String),
    /// What it would install is there already.
    Current,
    /// It goes on.
    Installing(Option<InstallProgress>),
    /// It is done; these are the versions.
    Installed(String),
    /// The person stopped it.
    Cancelled,
    /// The person is asked whether to remove so many bytes.
    AskRemove(u64),
    /// It is being removed.
    Removing,
    /// So many bytes are gone.
    Removed(u64),
    /// It is being looked over.
    Checking,
    /// What was found.
    Checked(Vec<Check>),
    /// It went wrong; the sentence says what to do.
    Failed(String),
}

impl EngineWork {
    /// Whether it goes on by itself: nothing else is begun meanwhile.
    pub const fn goes_on(&self) -> bool {
        use EngineStage::{Checking, Installing, Planning, Removing};
        matches!(self.stage, Planning | Installing(_) | Removing | Checking)
    }
}
