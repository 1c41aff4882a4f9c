//! How it is run: suites, the plan, the runner with its lanes. The only room that knows tokio.

mod catalogue;
mod job;
mod models;
mod plan;
mod request;
mod runner;
mod suite;

use std::{path::PathBuf, sync::Arc};

pub use self::{
    catalogue::{ListedModel, ModelForm, catalogue},
    models::{BATCH_MAX, ModelOptions, POSITIONS_MAX, RANK_MAX},
    plan::{FoundDevice, Plan, PlanError, PlannedJob},
    request::{Request, Sizes},
    runner::{Events, Runner, collect},
    suite::SuiteName,
};
use crate::{
    measure::{Cancel, Progress},
    record::{Entry, Run},
};

/// Called after events were sent, from any thread: the window asks for a repaint here. It must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What the runner tells, in order. Progress is dropped when nobody listens; everything else is kept.
#[derive(Clone, Debug)]
pub enum Event {
    /// The run began; all its entries wait.
    Begun(Box<Run>),
    /// The entry at this index began.
    Started {
        /// Its place in the run.
        index: usize,
    },
    /// The entry at this index tells how it goes.
    Progress {
        /// Its place in the run.
        index: usize,
        /// What it tells.
        progress: Progress,
    },
    /// The entry at this index ended.
    Finished {
        /// Its place in the run.
        index: usize,
        /// What came of it.
        entry: Box<Entry>,
    },
    /// The run was written to this file.
    Saved(PathBuf),
    /// The run could not be written; it is tried again after the next entry. The sentence says what to do.
    SaveFailed(String),
    /// The run ended; this is all of it.
    Ended(Box<Run>),
}

/// A run that goes on.
#[derive(Debug)]
pub struct ActiveRun {
    /// What it tells; closed after [`Event::Ended`].
    pub events: Events,
    /// Asks it to stop; felt within half a second.
    pub cancel: Cancel,
}
