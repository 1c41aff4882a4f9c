//! Times submissions by the device's timestamps and by the wall clock.

use std::time::Instant;

use super::gpu::{Gpu, Kernel};
use crate::measure::{BatchTime, Context, Stop};

/// Submissions whose timestamps are kept before they are read.
const SLOTS: u32 = 64;
const SLOT_BYTES: u64 = 16;

/// Timestamp queries, where the device has them, and the cost of an empty submission.
pub(super) struct Timer {
    queries: Option<Queries>,
    pub(super) empty_s: f64,
}

struct Queries {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    tick_s: f64,
}

/// One dispatch.
pub(super) struct Step<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) bind: &'a wgpu::BindGroup,
    /// Which [`super::gpu::Params`] it takes: a byte offset.
    pub(super) params_at: u32,
    /// Workgroups as (columns, rows): one dimension alone holds too few of them.
    pub(super) grid: (u32, u32),
}

impl Timer {
    pub(super) fn new(device: &wgpu::Device, queue: &wgpu::Queue, available: bool) -> Self {
        let queries = available.then(|| Queries {
            set: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timer"),
                ty: wgpu::QueryType::Timestamp,
                count: 2 * SLOTS,
            }),
            resolved: device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timer"),
                size: u64::from(SLOTS) * SLOT_BYTES,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            }),
            tick_s: f64::from(queue.get_timestamp_period()) * 1e-9,
        });
        Self { queries, empty_s: 0.0 }
    }
}

/// The submissions of one batch and their times so far.
pub(super) struct Batch<'g> {
    gpu: &'g Gpu,
    pending: u32,
    host_s: f64,
    device_s: Option<f64>,
}

impl<'g> Batch<'g> {
    pub(super) fn new(gpu: &'g Gpu) -> Self {
        Self { gpu, pending: 0, host_s: 0.0, device_s: gpu.timer.queries.as_ref().map(|_| 0.0) }
    }

    /// Runs the steps `repeats` times in one submission and waits for it.
    pub(super) fn submit(&mut self, context: &Context, steps: &[Step<'_>], repeats: u32) -> Result<(), Stop> {
        if self.pending == SLOTS {
            self.collect(context)?;
        }
        let timestamp_writes = self.gpu.timer.queries.as_ref().map(|queries| wgpu::ComputePassTimestampWrites {
            query_set: &queries.set,
            beginning_of_pass_write_index: Some(2 * self.pending),
            end_of_pass_write_index: Some(2 * self.pending + 1),
        });
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
        for _ in 0..repeats {
            for step in steps {
                pass.set_pipeline(&step.kernel.pipeline);
                pass.set_bind_group(0, step.bind, &[step.params_at]);
                pass.dispatch_workgroups(step.grid.0, step.grid.1, 1);
            }
        }
        drop(pass);
        let commands = encoder.finish();
        let start = Instant::now();
        let index = self.gpu.queue.submit([commands]);
        self.gpu.wait(Some(context), Some(&index))?;
        self.host_s += (start.elapsed().as_secs_f64() - self.gpu.timer.empty_s).max(0.0);
        self.pending += 1;
        Ok(())
    }

    /// Reads the timestamps. They are resolved in a submission of their own after the work is complete: resolved beside
    /// it they read zero on macOS 26 (gfx-rs/wgpu#9414).
    fn collect(&mut self, context: &Context) -> Result<(), Stop> {
        let pending = std::mem::take(&mut self.pending);
        let Some(queries) = self.gpu.timer.queries.as_ref().filter(|_| pending > 0) else { return Ok(()) };
        self.gpu.submit(context, |encoder| {
            encoder.resolve_query_set(&queries.set, 0..2 * pending, &queries.resolved, 0);
        })?;
        let bytes = self.gpu.read(context, &queries.resolved, &[(0, u64::from(pending) * SLOT_BYTES)])?;
        let ticks: Vec<u64> = bytes.chunks_exact(8).map(bytemuck::pod_read_unaligned).collect();
        for pair in ticks.chunks_exact(2) {
            let ticks = if let [begin, end] = pair { end.checked_sub(*begin).filter(|ticks| *ticks > 0) } else { None };
            // One that makes no sense spoils the batch: the wall clock is used instead.
            self.device_s = self.device_s.zip(ticks).map(|(sum, ticks)| sum + ticks as f64 * queries.tick_s);
        }
        Ok(())
    }

    /// Both times of everything submitted.
    pub(super) fn finish(mut self, context: &Context) -> Result<BatchTime, Stop> {
        self.collect(context)?;
        Ok(BatchTime { host_s: self.host_s, device_s: self.device_s })
    }
}
