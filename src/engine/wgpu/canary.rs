//! The canary: a fixed amount of arithmetic whose time shows whether the device slowed down.

use super::{
    gpu::{Gpu, Use},
    work::Work,
};
use crate::measure::{Context, Stop};

/// Workgroups: several for every core of the largest GPUs.
const GROUPS: u32 = 1024;

/// The kernel with its amount of work, chosen once when the device is opened.
pub(super) struct Canary {
    work: Work,
    rounds: u32,
}

impl Canary {
    /// Grows the work until it takes at least 5 ms.
    pub(super) fn new(gpu: &Gpu) -> Result<Self, Stop> {
        const LEAST_S: f64 = 0.005;
        const MOST_ROUNDS: u32 = 1 << 20;
        let context = Context::detached(std::time::Duration::from_secs(10));
        let out = gpu.storage("canary", u64::from(GROUPS) * 256 * 4)?;
        let mut rounds = 1;
        loop {
            let kernel = gpu.kernel("canary", "main", &[Use::Write])?;
            let work = Work::new(gpu, kernel, &[&out], [rounds, 0, 0, 0, 0, 0, 0, 0], GROUPS)?;
            let mut canary = Self { work, rounds };
            canary.work.probe(gpu, &context)?;
            let seconds = canary.time(gpu)?;
            if seconds >= LEAST_S || canary.rounds >= MOST_ROUNDS {
                return Ok(canary);
            }
            // Launch cost hides in short runs, so the last steps are doublings.
            rounds *= if seconds < LEAST_S / 32.0 { 8 } else { 2 };
        }
    }

    /// The median time of five runs in seconds.
    pub(super) fn time(&self, gpu: &Gpu) -> Result<f64, Stop> {
        let context = Context::detached(std::time::Duration::from_secs(10));
        let mut times = Vec::new();
        for _ in 0..5 {
            times.push(self.work.batch(gpu, &context, 1)?.best().1);
        }
        times.sort_by(f64::total_cmp);
        Ok(times.get(times.len() / 2).copied().unwrap_or(0.0))
    }
}
