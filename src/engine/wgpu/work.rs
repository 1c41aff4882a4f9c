//! A piece of work made of many alike workgroups, run whole where the device is fast and in parts where it is slow.

use super::{
    gpu::{Gpu, Kernel, Params},
    timer::{Batch, Step},
};
use crate::measure::{BatchTime, Context, Stop};

/// The place in [`Params`] where every shader finds the number of its dispatch's first workgroup.
const FIRST: usize = 5;

/// Distance of one [`Params`] from the next: no device aligns uniforms more coarsely.
const STRIDE: u64 = 256;

/// Dispatches with parameters of their own in one submission.
const SLOTS: u32 = 64;

/// The length that a submission is kept to in seconds, so that Cancel is felt and no watchdog bites.
const SUBMISSION_S: f64 = 0.12;

/// One iteration: `groups` workgroups of a kernel.
pub(super) struct Work {
    kernel: Kernel,
    bind: wgpu::BindGroup,
    params: wgpu::Buffer,
    values: Params,
    groups: u32,
    /// How long one iteration takes, as far as known.
    seconds: f64,
}

impl Work {
    /// Work on `buffers`. It counts as slow until [`Work::probe`] finds out.
    pub(super) fn new(
        gpu: &Gpu,
        kernel: Kernel,
        buffers: &[&wgpu::Buffer],
        values: Params,
        groups: u32,
    ) -> Result<Self, Stop> {
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let params = gpu.buffer("parameters", STRIDE * u64::from(SLOTS), usage)?;
        let bind = gpu.bind(&kernel, buffers, &params);
        Ok(Self { kernel, bind, params, values, groups, seconds: f64::INFINITY })
    }

    /// Shares the same work out anew; how long it takes stays as probed.
    pub(super) fn reshape(&mut self, values: Params, groups: u32) {
        self.values = values;
        self.groups = groups;
    }

    /// How many workgroups one iteration has.
    pub(super) const fn groups(&self) -> u32 {
        self.groups
    }

    /// Splits workgroups into dispatches that the device allows, writes their parameters, and gives the steps.
    fn steps(&self, gpu: &Gpu, first: u32, count: u32) -> Vec<Step<'_>> {
        let mut steps = Vec::new();
        let mut bytes = Vec::new();
        let mut done = 0;
        for slot in 0..SLOTS {
            let (columns, rows) = grid(count - done, gpu.limits.max_compute_workgroups_per_dimension.max(1));
            if columns * rows == 0 {
                break;
            }
            let mut values = self.values;
            if let Some(value) = values.get_mut(FIRST) {
                *value = first + done;
            }
            bytes.extend_from_slice(bytemuck::bytes_of(&values));
            bytes.resize(((slot + 1) as u64 * STRIDE) as usize, 0);
            let params_at = slot * STRIDE as u32;
            steps.push(Step { kernel: &self.kernel, bind: &self.bind, params_at, grid: (columns, rows) });
            done += columns * rows;
        }
        gpu.queue.write_buffer(&self.params, 0, &bytes);
        steps
    }

    /// Finds how long an iteration takes from a part of it that grows until it takes 20 ms, after one cold run.
    pub(super) fn probe(&mut self, gpu: &Gpu, context: &Context) -> Result<f64, Stop> {
        const ENOUGH_S: f64 = 0.02;
        self.part(gpu, context, 1)?;
        let mut count = self.groups.min(1);
        loop {
            let (_, seconds) = self.part(gpu, context, count)?.best();
            self.seconds = seconds * f64::from(self.groups) / f64::from(count.max(1));
            if seconds >= ENOUGH_S || count >= self.groups {
                return Ok(self.seconds);
            }
            // A small part leaves cores idle and predicts too much: it must not end the search, only slow it down.
            let growth = (ENOUGH_S / seconds.max(1e-9)).clamp(2.0, 16.0);
            count = (f64::from(count) * growth).min(f64::from(self.groups)) as u32;
        }
    }

    /// Runs the first `count` workgroups once.
    pub(super) fn part(&self, gpu: &Gpu, context: &Context, count: u32) -> Result<BatchTime, Stop> {
        context.check()?;
        let mut batch = Batch::new(gpu);
        batch.submit(context, &self.steps(gpu, 0, count.min(self.groups)), 1)?;
        batch.finish(context)
    }

    /// Runs and times whole iterations.
    pub(super) fn batch(&self, gpu: &Gpu, context: &Context, iterations: u32) -> Result<BatchTime, Stop> {
        let mut batch = Batch::new(gpu);
        if self.seconds <= SUBMISSION_S {
            let most = (SUBMISSION_S / self.seconds.max(1e-9)).clamp(1.0, 65536.0) as u32;
            let steps = self.steps(gpu, 0, self.groups);
            let mut left = iterations;
            while left > 0 {
                context.check()?;
                let now = left.min(most);
                batch.submit(context, &steps, now)?;
                left -= now;
            }
        } else {
            let share = SUBMISSION_S / self.seconds;
            let most = if share > 0.0 { (share * f64::from(self.groups)).max(1.0) as u32 } else { 1024 };
            for _ in 0..iterations {
                self.in_parts(gpu, context, &mut batch, most)?;
            }
        }
        batch.finish(context)
    }

    fn in_parts(&self, gpu: &Gpu, context: &Context, batch: &mut Batch<'_>, most: u32) -> Result<(), Stop> {
        let mut first = 0;
        while first < self.groups {
            context.check()?;
            let now = most.min(self.groups - first);
            batch.submit(context, &self.steps(gpu, first, now), 1)?;
            first += now;
        }
        Ok(())
    }

    /// Runs `count` workgroups from `first` on, untimed.
    pub(super) fn only(&self, gpu: &Gpu, context: &Context, first: u32, count: u32) -> Result<(), Stop> {
        Batch::new(gpu).submit(context, &self.steps(gpu, first, count), 1)
    }

    /// Runs one iteration untimed, `most` workgroups a submission.
    pub(super) fn once(&self, gpu: &Gpu, context: &Context, most: u32) -> Result<(), Stop> {
        self.in_parts(gpu, context, &mut Batch::new(gpu), most)
    }
}

/// The columns and rows of a grid of at most `count` workgroups with at most `most` a side: all of them where a few more
/// rows divide them evenly, else nearly all, and the rest is another dispatch. Each dispatch waits for the one before.
fn grid(count: u32, most: u32) -> (u32, u32) {
    let least = count.div_ceil(most).clamp(1, most);
    let even = (least..least.saturating_add(64).min(most)).find(|rows| count.is_multiple_of(*rows));
    let rows = even.unwrap_or(least);
    ((count / rows).min(most), rows)
}

#[cfg(test)]
mod tests {
    use super::grid;

    #[test]
    fn grids_hold_all_workgroups_or_leave_few() {
        assert_eq!(grid(0, 65535), (0, 1));
        assert_eq!(grid(7, 65535), (7, 1));
        assert_eq!(grid(131_072, 65535), (32768, 4));
        for count in [65_535, 65_536, 65_537, 131_071, 1_000_003] {
            let (columns, rows) = grid(count, 65535);
            assert!(columns <= 65535 && rows <= 65535 && columns * rows <= count);
            assert!(count - columns * rows < rows, "{count}");
        }
    }
}
