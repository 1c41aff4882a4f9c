//! How much memory is in use, watched while work runs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use candle_core::Device;

use crate::{
    measure::{Measurement, Report},
    units::Unit,
};

/// How often is looked.
const EVERY: Duration = Duration::from_millis(5);

/// Bytes in use now, on the device or, where it shares the machine's memory through the processor, by this process. What is
/// counted differs: on CUDA all that is taken on the device, on Metal what this process allocated there, on the processor
/// the process's resident memory. `None` where the system doesn't tell.
pub(super) fn used_bytes(device: &Device) -> Option<u64> {
    match device {
        Device::Cpu => resident_bytes(),
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) => {
            let (free, total) = cuda.cuda_stream().context().mem_get_info().ok()?;
            Some(total.saturating_sub(free) as u64)
        }
        #[cfg(target_os = "macos")]
        Device::Metal(metal) => Some(metal.metal_device().current_allocated_size() as u64),
        // Backends that this build doesn't have.
        _ => None,
    }
}

/// Adds the most that was seen to a report, and what is meant by it: engines mean different things.
pub(super) fn tell_peak(report: &mut Report, peak: Option<u64>, device: &Device) {
    let Some(peak) = peak.and_then(|bytes| Measurement::single("peak-memory", Unit::Byte, bytes as f64, 0.0)) else {
        return;
    };
    report.measurements.push(peak);
    let meaning = match device {
        Device::Cpu => "the resident memory of this whole program, pages of mapped files included",
        Device::Cuda(_) => "all that is taken on the device, by the driver and by other programs too",
        Device::Metal(_) => "what this program allocated on the device",
    };
    report.notes.push(format!("Peak memory is {meaning}."));
}

/// Resident memory of this process.
fn resident_bytes() -> Option<u64> {
    use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, get_current_pid};
    let (mut system, pid) = (System::new().ok()?, get_current_pid().ok()?);
    let kind = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, kind);
    system.process(pid).map(sysinfo::Process::memory)
}

/// Looks at the memory in use until it is told to stop. It must not run while something is timed.
pub(super) struct Watch {
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to look.
    pub(super) fn start(device: &Device) -> Self {
        let (peak, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (peak, stop, device) = (Arc::clone(&peak), Arc::clone(&stop), device.clone());
            let look = move || {
                while !stop.load(Ordering::Acquire) {
                    peak.fetch_max(used_bytes(&device).unwrap_or(0), Ordering::AcqRel);
                    std::thread::park_timeout(EVERY);
                }
            };
            std::thread::Builder::new().name("memory".to_owned()).spawn(look).ok()
        };
        Self { peak, stop, thread }
    }

    /// Stops and says the most that was seen.
    pub(super) fn finish(mut self, device: &Device) -> Option<u64> {
        self.end();
        let peak = self.peak.load(Ordering::Acquire).max(used_bytes(device).unwrap_or(0));
        Some(peak).filter(|bytes| *bytes > 0)
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            _ = thread.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_holds_what_was_freed_again() {
        let watch = Watch::start(&Device::Cpu);
        let before = used_bytes(&Device::Cpu).unwrap();
        let large = vec![1_u8; 64 << 20];
        // Until the watch must have seen it.
        while watch.peak.load(Ordering::Acquire) < before + (60 << 20) {
            std::hint::black_box(&large);
            std::thread::sleep(EVERY);
        }
        drop(large);
        assert!(watch.finish(&Device::Cpu).unwrap() >= before + (60 << 20));
    }
}
