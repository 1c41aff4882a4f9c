//! Our own WGSL compute shaders through wgpu. The only room, beside the window's own set-up, that knows wgpu.

use std::path::PathBuf;

use super::{Engine, EngineId, Session};
use crate::{machine::Device, measure::Stop};

/// The engine of our own shaders.
#[derive(Debug)]
pub struct WgpuEngine {
    #[expect(dead_code)]
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
        Err("no adapter".to_owned())
    }

    fn open(&self, _device_id: &str) -> Result<Box<dyn Session>, Stop> {
        Err(Stop::Unsupported("no adapter".to_owned()))
    }
}
