//! Who does the work: one folder or file an engine, behind one small trait.
//!
//! An engine lists its devices and opens a session on one; a session runs workloads one at a time on the measuring lane.
//! A session that panics or loses its device is dropped, and the next entry opens a new one.

pub mod candle;
pub mod find;
mod id;
pub mod supervise;
mod surroundings;
pub mod wgpu;

use std::path::PathBuf;

pub use self::{
    id::{EngineId, EngineName},
    surroundings::{Surroundings, is_executable},
};
use crate::{
    machine::Device,
    measure::{Context, Report, Stop},
    workload::{Workload, WorkloadKind},
};

/// Who does the work: finds devices and opens them.
pub trait Engine: Send + Sync {
    /// Its name.
    fn id(&self) -> EngineId;

    /// Every device it can measure, best first; or why there is none and what to do about it.
    fn devices(&self) -> Result<Vec<Device>, String>;

    /// The kinds of workload that it measures on a device.
    fn measures(&self, _device: &Device) -> Vec<WorkloadKind> {
        self.id().kinds().to_vec()
    }

    /// Opens a device of [`Engine::devices`] by its id.
    fn open(&self, device_id: &str) -> Result<Box<dyn Session>, Stop>;
}

/// An open device.
pub trait Session: Send {
    /// Measures one workload: prepares, warms up, samples, checks. Memory is given back before it returns.
    fn run(&mut self, workload: &Workload, context: &mut Context) -> Result<Report, Stop>;

    /// Times one fixed short kernel, in seconds: the canary that shows whether the device slowed down between jobs.
    /// `None` where the engine has none.
    fn canary(&mut self) -> Result<Option<f64>, Stop>;
}

/// The engines of this build. `cache` is the folder where tuning results are kept, if there is one.
pub fn all(cache: Option<PathBuf>) -> Vec<Box<dyn Engine>> {
    vec![Box::new(wgpu::WgpuEngine::new(cache)), Box::new(candle::CandleEngine)]
}
