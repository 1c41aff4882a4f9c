//! Memory that is free for new work, for devices that share the machine's.

use super::gpu::Gpu;
use crate::{measure::Stop, units::binary_size};

/// Memory that this process can take without driving others out, container limits respected; `None` where the system
/// doesn't tell.
pub(super) fn available_bytes() -> Option<u64> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    let group = system.cgroup_limits().map_or(u64::MAX, |limits| limits.free_memory);
    Some(system.available_memory().min(group)).filter(|bytes| *bytes > 0)
}

/// Skips work on a device that shares the machine's memory when it would take more than nine tenths of what is free.
pub(super) fn require(gpu: &Gpu, bytes: u64) -> Result<(), Stop> {
    let Some(free) = available_bytes().filter(|free| gpu.shares_memory() && bytes > free / 10 * 9) else {
        return Ok(());
    };
    let reason = format!("needs {} of memory, and {} are free", binary_size(bytes), binary_size(free));
    Err(Stop::Skipped { reason, estimate_s: None })
}
