//! Who does the work: one folder or file an engine, behind one small trait.
//!
//! An engine lists its devices and opens a session on one; a session runs workloads one at a time on the measuring lane.
//! A session that panics or loses its device is dropped, and the next entry opens a new one.

pub mod candle;
pub mod wgpu;

use std::{fmt, path::PathBuf, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    machine::Device,
    measure::{Context, Report, Stop},
    workload::{Workload, WorkloadKind},
};

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EngineId {
    /// Our own compute shaders.
    Wgpu,
    /// Language models in candle.
    Candle,
}

impl EngineId {
    /// Every engine in display order.
    pub const ALL: [Self; 2] = [Self::Wgpu, Self::Candle];

    /// The name used in run files and on the command line.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Wgpu => "wgpu",
            Self::Candle => "candle",
        }
    }

    /// The kinds of workload that it measures.
    pub const fn kinds(self) -> &'static [WorkloadKind] {
        match self {
            Self::Wgpu => &WorkloadKind::KERNELS,
            Self::Candle => &WorkloadKind::MODELS,
        }
    }

    /// What it is, in a few words.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Wgpu => "Roofline's own WGSL compute shaders through wgpu (Vulkan, Metal)",
            Self::Candle => "Roofline's own Mistral on Hugging Face's candle (processor, Metal, CUDA)",
        }
    }
}

impl fmt::Display for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for EngineId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|engine| engine.id() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|engine| engine.id()).collect();
            format!("unknown engine; choose from {}", known.join(", "))
        })
    }
}

/// Who does the work: finds devices and opens them.
pub trait Engine: Send + Sync {
    /// Its name.
    fn id(&self) -> EngineId;

    /// Every device it can measure, best first; or why there is none and what to do about it.
    fn devices(&self) -> Result<Vec<Device>, String>;

    /// The kinds of workload that it measures on a device.
    fn measures(&self, _device: &Device) -> &'static [WorkloadKind] {
        self.id().kinds()
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
