//! Gets the engines that are not part of the program: shows what an installation would do and how large it is, then does it
//! in Roofline's own folder, updates it, and removes it without a trace.
//!
//! An installation is made in a folder of its own and counts only once `installed.json` names it (see
//! [`crate::engine::find::installed`]): one that was cut off is never found, and is cleared away by the next.

mod doctor;
mod llama_cpp;
mod place;
mod plan;
mod python;
mod requirements;
mod tool;

use std::path::PathBuf;

pub use self::{
    doctor::{Check, doctor, hello, start},
    place::{installed_bytes, remove},
    plan::{InstallPlan, plan, plan_with},
};
use crate::{
    engine::{EngineId, find::Located},
    measure::Cancel,
    units::{Quantity, Unit},
};

/// How far an installation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallProgress {
    /// What is being done, as "installing packages: Downloading torch".
    pub what: String,
    /// How much of it.
    pub done: u64,
    /// Of how much; 0 where that isn't known. Bytes are an estimate.
    pub total: u64,
    /// What is counted.
    pub unit: ProgressUnit,
}

/// What an installation's progress counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressUnit {
    /// Bytes on the disk.
    Bytes,
    /// Steps of a build.
    Steps,
}

/// Why an engine could not be installed or removed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The person asked for it.
    #[error("cancelled; nothing was installed, and what was downloaded is kept for the next time")]
    Cancelled,
    /// This machine lacks something, or there is nothing of the kind for it. A whole sentence with what to do.
    #[error("{0}")]
    Impossible(String),
    /// Another copy of the program is at it.
    #[error("{engine} is being installed or removed by another program ({holder}); wait until it is done")]
    Busy {
        /// Which engine.
        engine: EngineId,
        /// Who, as far as the lock tells.
        holder: String,
    },
    /// The disk has no room for it.
    #[error("the installation needs {}, and {} are free on the disk; free some space or choose another data folder: {}",
        size(*needs), size(*free), path.display())]
    Space {
        /// Bytes that are needed while it is installed.
        needs: u64,
        /// Bytes that are free.
        free: u64,
        /// Where.
        path: PathBuf,
    },
    /// No connection.
    #[error(
        "could not reach the package index; check the network and run it again: what was downloaded is kept ({said})"
    )]
    Offline {
        /// The end of what the installer said.
        said: String,
    },
    /// A program that installs or builds failed.
    #[error("{what} failed: {said}")]
    Failed {
        /// What was being done.
        what: String,
        /// The end of what it said.
        said: String,
    },
    /// A file or folder could not be written or deleted.
    #[error("could not {what} ({source}): {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl InstallError {
    fn io(what: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// Does what a plan says. An installation that is there stays in use until the new one is whole, and is then deleted.
///
/// Cancelled, it ends within a moment with everything that it started.
pub fn install(
    plan: &InstallPlan,
    cancel: &Cancel,
    progress: &mut dyn FnMut(InstallProgress),
) -> Result<Located, InstallError> {
    let site = place::Site::open(plan)?;
    let mut work = tool::Work { cancel, progress, environment: plan.environment(), folder: site.folder.clone() };
    let made = match &plan.recipe {
        plan::Recipe::Python(recipe) => python::make(plan, recipe, &site, &mut work),
        plan::Recipe::LlamaCpp(recipe) => llama_cpp::make(plan, recipe, &site, &mut work),
    };
    match made {
        Ok(located) => site.finish(plan, &located).map(|()| located),
        Err(error) => {
            site.abandon();
            Err(error)
        }
    }
}

/// "5.6 GB".
fn size(bytes: u64) -> String {
    Quantity::new(bytes as f64, Unit::Byte).to_string()
}
