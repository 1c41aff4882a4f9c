//! Who does the work: one folder or file an engine, behind one small trait.
//!
//! An engine lists its devices and opens a session on one; a session runs workloads one at a time on the measuring lane.
//! A session that panics or loses its device is dropped, and the next entry opens a new one.

pub mod candle;
pub mod external;
pub mod find;
mod id;
pub mod llama;
mod parity;
mod present;
pub mod supervise;
mod surroundings;
pub mod wgpu;

use self::wgpu::WgpuEngine;
pub use self::{
    id::{EngineId, EngineName},
    present::{all, external as external_engine},
    surroundings::{Surroundings, is_executable},
};
use crate::{
    machine::Device,
    measure::{Context, Report, Stop},
    workload::{Dtype, Precision, Workload, WorkloadKind},
};

/// What an engine can do on a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// The kinds of workload that it measures.
    pub kinds: Vec<WorkloadKind>,
    /// The types of operands that it multiplies.
    pub dtypes: Vec<Dtype>,
    /// The precisions of weights that it runs; empty where it runs no models, or all that there are.
    pub precisions: Vec<Precision>,
}

/// Who does the work: finds devices and opens them.
pub trait Engine: Send + Sync {
    /// Its name.
    fn id(&self) -> EngineId;

    /// Every device it can measure, best first; or why there is none and what to do about it.
    fn devices(&self) -> Result<Vec<Device>, String>;

    /// What it can do on a device.
    fn abilities(&self, _device: &Device) -> Abilities {
        Abilities { kinds: self.id().kinds().to_vec(), dtypes: Dtype::SHADERS.to_vec(), precisions: Vec::new() }
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
    fn canary(&mut self, context: &mut Context) -> Result<Option<f64>, Stop>;
}
