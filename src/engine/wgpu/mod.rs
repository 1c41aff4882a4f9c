//! Our own WGSL compute shaders through wgpu. The only room, beside the window's own set-up, that knows wgpu.
//!
//! `adapter` lists devices and `gpu` opens one; `work` runs a kernel whole or in parts, `timer` times it; the other files
//! are the workloads. The shaders stand in `shaders/`; build.rs renders them and proves that they translate.

mod adapter;
mod bandwidth;
mod canary;
mod gemm;
mod gpu;
mod kernels;
mod matrix;
mod memory;
mod tensor_limit;
#[cfg(test)]
mod tests;
mod timer;
mod tune;
mod work;

use std::path::PathBuf;

pub use self::kernels::{Source, gemm_variants, sources};
use self::{canary::Canary, gpu::Gpu, tune::TuningCache};
use super::{Engine, EngineId, Session};
use crate::{
    machine::Device,
    measure::{Context, Report, Stop},
    workload::Workload,
};

/// The engine of our own shaders.
#[derive(Debug)]
pub struct WgpuEngine {
    cache: Option<PathBuf>,
}

impl WgpuEngine {
    /// `cache` is the folder where tuning results are kept; without one they last as long as the session.
    pub fn new(cache: Option<PathBuf>) -> Self {
        Self { cache }
    }
}

impl Engine for WgpuEngine {
    fn id(&self) -> EngineId {
        EngineId::Wgpu
    }

    fn devices(&self) -> Result<Vec<Device>, String> {
        let devices: Vec<Device> = adapter::list(&adapter::instance(None)).iter().map(adapter::describe).collect();
        if devices.is_empty() { Err(adapter::none()) } else { Ok(devices) }
    }

    fn open(&self, device_id: &str) -> Result<Box<dyn Session>, Stop> {
        Ok(Box::new(WgpuSession::open(device_id, self.cache.clone())?))
    }
}

/// An open device with its canary and its tuning results.
struct WgpuSession {
    device_id: String,
    gpu: Gpu,
    canary: Canary,
    cache: TuningCache,
}

impl WgpuSession {
    fn open(device_id: &str, cache: Option<PathBuf>) -> Result<Self, Stop> {
        let gpu = Gpu::open(&adapter::find(&adapter::instance(None), device_id)?)?;
        let canary = Canary::new(&gpu)?;
        Ok(Self { device_id: device_id.to_owned(), gpu, canary, cache: TuningCache::open(cache) })
    }
}

impl Session for WgpuSession {
    fn run(&mut self, workload: &Workload, context: &mut Context) -> Result<Report, Stop> {
        // An entry that was cancelled may have left work behind.
        self.gpu.wait(None, None)?;
        let outcome = match workload {
            Workload::Gemm(gemm) => gemm::run(&self.gpu, &mut self.cache, *gemm, context),
            Workload::Bandwidth(bandwidth) => bandwidth::run(&self.gpu, *bandwidth, context),
            Workload::BandwidthSweep(sweep) => bandwidth::sweep(&self.gpu, *sweep, context),
            Workload::TensorLimit(limit) => tensor_limit::run(&self.device_id, *limit, context),
            Workload::Attention(_) => Err(Stop::Unsupported(
                "Roofline's own shaders hold no attention kernel; candle and PyTorch measure it".to_owned(),
            )),
            Workload::ModelLoad(_) | Workload::Inference(_) | Workload::Training(_) => {
                Err(Stop::Unsupported("wgpu measures kernels; candle runs language models".to_owned()))
            }
        };
        if outcome != Err(Stop::Cancelled) {
            // Dropped buffers are freed when the device is polled.
            self.gpu.wait(Some(context), None)?;
        }
        outcome
    }

    fn canary(&mut self, _context: &mut Context) -> Result<Option<f64>, Stop> {
        self.gpu.wait(None, None)?;
        self.canary.time(&self.gpu).map(Some)
    }
}
