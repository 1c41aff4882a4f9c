//! candle's devices: the processor always, Metal on macOS, CUDA in builds that have it.

use std::time::Instant;

use candle_core::{DType, Device as Candle, Tensor};

use super::compute;
use crate::{
    machine::{self, Device, DeviceKind, DeviceLimits},
    measure::Stop,
};

/// The id of the processor.
const CPU: &str = "cpu";

/// Every device, best first.
pub(super) fn list() -> Vec<Device> {
    let mut devices = Vec::new();
    #[cfg(target_os = "macos")]
    devices.extend(metal());
    #[cfg(feature = "cuda")]
    devices.extend(cuda());
    devices.push(cpu());
    devices
}

/// Opens a device of [`list`] by its id.
pub(super) fn open(id: &str) -> Result<Candle, Stop> {
    match id.split_once(':') {
        #[cfg(target_os = "macos")]
        Some(("metal", ordinal)) => Candle::new_metal(ordinal.parse().unwrap_or(0)).map_err(compute),
        #[cfg(feature = "cuda")]
        Some(("cuda", ordinal)) => open_cuda(ordinal.parse().unwrap_or(0)),
        None if id == CPU => Ok(Candle::Cpu),
        _ => Err(Stop::Failed(format!("candle has no device \"{id}\""))),
    }
}

fn cpu() -> Device {
    let machine = machine::detect();
    describe(CPU.to_owned(), machine.chip, DeviceKind::Cpu, "CPU", machine.memory_bytes)
}

#[cfg(target_os = "macos")]
fn metal() -> Option<Device> {
    let Candle::Metal(metal) = Candle::new_metal(0).ok()? else { return None };
    let device = metal.metal_device();
    let memory = device.recommended_max_working_set_size() as u64;
    Some(describe("metal:0".to_owned(), machine::detect().chip, DeviceKind::IntegratedGpu, "Metal", memory))
}

#[cfg(feature = "cuda")]
fn cuda() -> Vec<Device> {
    use candle_core::cuda_backend::cudarc::driver::CudaContext;
    let count = CudaContext::device_count().unwrap_or(0).max(0) as usize;
    let one = |ordinal: usize| {
        let context = CudaContext::new(ordinal).ok()?;
        let memory = context.total_mem().ok()? as u64;
        Some(describe(format!("cuda:{ordinal}"), context.name().ok()?, DeviceKind::DiscreteGpu, "CUDA", memory))
    };
    (0..count).filter_map(one).collect()
}

/// A CUDA device with one stream of its own. candle's default stream is another one for every thread, and jobs run on
/// different threads.
#[cfg(feature = "cuda")]
#[expect(unsafe_code, reason = "events between streams are switched off")]
fn open_cuda(ordinal: usize) -> Result<Candle, Stop> {
    let device = Candle::new_cuda_with_stream(ordinal).map_err(compute)?;
    // SAFETY: the device has this one stream, and no tensor is used on another.
    unsafe { device.as_cuda_device().map_err(compute)?.disable_event_tracking() };
    Ok(device)
}

fn describe(id: String, name: String, kind: DeviceKind, backend: &str, memory_bytes: u64) -> Device {
    Device {
        id,
        name,
        kind,
        backend: backend.to_owned(),
        driver: "candle".to_owned(),
        driver_info: String::new(),
        pci: None,
        software: false,
        limits: DeviceLimits {
            max_buffer_bytes: memory_bytes,
            max_binding_bytes: memory_bytes,
            ..DeviceLimits::default()
        },
        features: Vec::new(),
    }
}

/// Times ten products of two fixed matrices, in seconds: on a GPU 17 GFLOP each, so that the device and not its driver
/// decides.
pub(super) fn canary(device: &Candle) -> Result<f64, Stop> {
    let n = if device.is_cpu() { 512 } else { 2048 };
    let a = Tensor::ones((n, n), DType::F32, device).map_err(compute)?;
    a.matmul(&a).map_err(compute)?;
    device.synchronize().map_err(compute)?;
    let start = Instant::now();
    for _ in 0..10 {
        a.matmul(&a).map_err(compute)?;
    }
    device.synchronize().map_err(compute)?;
    Ok(start.elapsed().as_secs_f64())
}
