//! The runner: one measuring lane, one background lane.

use std::{
    io,
    sync::{Arc, mpsc::Receiver},
};

use super::{ActiveRun, Plan, Wake};
use crate::{
    engine::Engine,
    measure::Paints,
    record::{SaveError, Store},
};

/// Runs plans and background work.
pub struct Runner {
    #[expect(dead_code)]
    engines: Arc<[Box<dyn Engine>]>,
}

impl Runner {
    /// A runner over `engines` that saves into `store`.
    pub fn new(engines: Arc<[Box<dyn Engine>]>, _store: Store, _wake: Wake) -> io::Result<Self> {
        Ok(Self { engines })
    }

    /// Starts a run; `Busy` if one goes on here or in another copy of the program.
    pub fn start(&self, _plan: Plan, _paints: Paints) -> Result<ActiveRun, SaveError> {
        Err(SaveError::Busy)
    }

    /// Runs `work` on the background lane, one at a time, never beside a measurement of this program; its result arrives on the receiver and wakes the window.
    pub fn background<T: Send + 'static>(&self, _work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
        std::sync::mpsc::sync_channel(1).1
    }
}
