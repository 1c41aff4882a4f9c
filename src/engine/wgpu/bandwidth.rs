//! Memory bandwidth: one operation over arrays of one size, and over a range of sizes.

use super::{
    gpu::{Gpu, Params, Use},
    matrix::Layout,
    memory,
    work::Work,
};
use crate::{
    measure::{Check, Context, Measurement, Phase, Policy, Rate, Report, Stop, afford, sample},
    units::{Unit, binary_size},
    workload::{Bandwidth, BandwidthSweep, Dtype, MemoryOp, random},
};

/// Bytes in a row of the kernels: 256 invocations × 16 bytes.
const ROW_BYTES: u64 = 4096;

/// Rows in a workgroup's chunk: what is tried, and what is taken where nothing is.
const CHUNK_ROWS: [u32; 7] = [1, 2, 4, 8, 16, 32, 128];
const CHUNK_ROWS_DEFAULT: u32 = 16;

/// The most walks through the arrays in one dispatch.
const WALKS_MAX: u32 = 16;

/// Arrays below this may stay in a cache between passes.
const LARGE_BYTES: u64 = 256 << 20;

/// How a pass over an array is shared out; see the head of the shaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    rows: u32,
    chunk_rows: u32,
    groups: u32,
    passes: u32,
    shift: u32,
}

impl Shape {
    /// Every element `walks` times, one walk through the arrays after the other: one chunk of `chunk_rows` rows a workgroup.
    fn walks(bytes: u64, chunk_rows: u32, walks: u32) -> Self {
        let rows = (bytes / ROW_BYTES) as u32;
        Self { rows, chunk_rows, groups: rows.div_ceil(chunk_rows) * walks, passes: 1, shift: 0 }
    }

    /// As many workgroups as fill a device, and enough passes over the array that launching costs nothing beside them.
    ///
    /// From pass to pass a workgroup moves by about 0.618 of the array, so that its chunks spread over all of it, and so do
    /// those of any few workgroups that run at the same time: between two readings of a chunk lie as many bytes as the array
    /// has. A short step would let neighbours reread what is still in a cache, and show a cache larger than it is.
    fn repeated(bytes: u64, software: bool) -> Self {
        let (most_groups, least_bytes) = if software { (64, 16 << 20) } else { (2048, 4 << 30) };
        let rows = (bytes / ROW_BYTES) as u32;
        let chunk_rows = 8.min(rows.max(1));
        let chunks = rows.div_ceil(chunk_rows);
        let pass_bytes = u64::from(most_groups * chunk_rows) * ROW_BYTES;
        let enough = (least_bytes / pass_bytes).max(1) as u32;
        // Twice the array at least, so that nearly every chunk is taken.
        let passes = enough.max((2 * chunks).div_ceil(most_groups));
        Self { rows, chunk_rows, groups: most_groups, passes, shift: golden_step(chunks) }
    }

    /// The most workgroups that any sharing of these rows has, for the buffer of sums.
    fn most_groups(&self) -> u32 {
        self.groups.max(self.rows.div_ceil(CHUNK_ROWS.into_iter().min().unwrap_or(1)) * WALKS_MAX)
    }

    /// What the shaders are told.
    fn params(&self) -> Params {
        let Self { rows, chunk_rows, passes, shift, .. } = *self;
        [rows, chunk_rows, self.chunks(), passes, shift, 0, Bandwidth::TRIAD_SCALE.to_bits(), 0]
    }

    const fn chunks(&self) -> u32 {
        self.rows.div_ceil(self.chunk_rows)
    }

    /// The rows of one chunk.
    fn chunk(&self, chunk: u32) -> std::ops::Range<u32> {
        let first = chunk * self.chunk_rows;
        first..(first + self.chunk_rows).min(self.rows)
    }

    /// The chunks that a workgroup takes, one a pass.
    fn chunks_of(&self, group: u32) -> impl Iterator<Item = u32> {
        let shape = *self;
        (0..self.passes).map(move |pass| group.wrapping_add(pass.wrapping_mul(shape.shift)) % shape.chunks())
    }

    /// How often a dispatch walks through the arrays, where it does so in order.
    fn in_order(&self) -> u32 {
        self.groups / self.chunks().max(1)
    }

    /// Bytes of one array that a dispatch moves.
    fn moved(&self) -> u64 {
        if self.shift == 0 {
            return u64::from(self.rows) * ROW_BYTES * u64::from(self.in_order());
        }
        let taken = (0..self.groups).flat_map(|group| self.chunks_of(group));
        taken.map(|chunk| self.chunk(chunk).len() as u64 * ROW_BYTES).sum()
    }
}

/// The number nearest to 0.618 · `count` that shares no divisor with it: steps of it visit all before they repeat one,
/// and every run of visits is spread evenly (the three-gap theorem).
fn golden_step(count: u32) -> u32 {
    const fn divisor(a: u32, b: u32) -> u32 {
        if b == 0 { a } else { divisor(b, a % b) }
    }
    let wanted = (f64::from(count) * 0.618_034).round().max(1.0) as u32;
    (wanted..=wanted.saturating_add(count)).find(|step| divisor(count, *step) == 1).unwrap_or(1)
}

/// The arrays of one operation on the device and the kernel over them.
struct Stream {
    op: MemoryOp,
    shape: Shape,
    layout: Layout,
    work: Work,
    /// What the kernel writes: an array, or the sums of read.
    output: (Layout, wgpu::Buffer),
}

impl Stream {
    fn new(gpu: &Gpu, context: &Context, op: MemoryOp, bytes: u64, shape: Shape) -> Result<Self, Stop> {
        let layout = Layout::array(bytes)?;
        if bytes <= gpu.limits.max_storage_buffer_binding_size {
            memory::require(gpu, op.arrays() * bytes)?;
        }
        let inputs = match op {
            MemoryOp::Write => 0,
            MemoryOp::Read | MemoryOp::Copy => 1,
            MemoryOp::Triad => 2,
        };
        let mut buffers = Vec::new();
        for seed in Bandwidth::SEEDS.iter().take(inputs) {
            let buffer = gpu.storage("input", layout.bytes())?;
            layout.fill(gpu, context, &buffer, *seed)?;
            buffers.push(buffer);
        }
        let sums = Layout::array(u64::from(shape.most_groups()) * 4)?;
        let written = if op == MemoryOp::Read { sums } else { layout };
        let output = gpu.storage("output", written.bytes())?;
        let mut uses = vec![Use::Read; inputs];
        uses.push(Use::Write);
        let kernel = gpu.kernel(&format!("bandwidth_{op}"), "main", &uses)?;
        let bound: Vec<&wgpu::Buffer> = buffers.iter().chain([&output]).collect();
        let work = Work::new(gpu, kernel, &bound, shape.params(), shape.groups)?;
        Ok(Self { op, shape, layout, work, output: (written, output) })
    }

    /// Takes the chunk size that streams fastest here: how a device spreads neighbouring workgroups over its memory channels
    /// decides, and no data sheet tells. Slow devices keep the default.
    fn tune(&mut self, gpu: &Gpu, context: &mut Context) -> Result<(), Stop> {
        const RUN_S: f64 = 0.02;
        // Starting a dispatch and draining the device after it take some microseconds: nothing beside a few milliseconds.
        const DISPATCH_S: f64 = 4e-3;
        context.phase(Phase::Tuning)?;
        let once_s = self.work.probe(gpu, context)?.max(1e-6);
        if once_s > RUN_S {
            return Ok(());
        }
        let walks = (DISPATCH_S / once_s).ceil().clamp(1.0, f64::from(WALKS_MAX)) as u32;
        let iterations = (RUN_S / (once_s * f64::from(walks))).clamp(1.0, 1000.0) as u32;
        let mut best = (self.shape, f64::INFINITY);
        for chunk_rows in CHUNK_ROWS {
            context.check()?;
            self.reshape(Shape::walks(self.layout.bytes(), chunk_rows, walks));
            let time = self.time_once(gpu, context, iterations)?;
            if time < best.1 {
                best = (self.shape, time);
            }
        }
        self.reshape(best.0);
        Ok(())
    }

    /// The best of two short batches.
    fn time_once(&self, gpu: &Gpu, context: &Context, iterations: u32) -> Result<f64, Stop> {
        let first = self.work.batch(gpu, context, iterations)?.best().1;
        Ok(first.min(self.work.batch(gpu, context, iterations)?.best().1))
    }

    /// Shares the arrays out anew.
    fn reshape(&mut self, shape: Shape) {
        self.shape = shape;
        self.work.reshape(shape.params(), shape.groups);
    }

    /// Samples the work, with what it writes poisoned before every batch, so that the check sees what the last one wrote.
    fn sample(&mut self, gpu: &Gpu, context: &mut Context, policy: &Policy) -> Result<Measurement, Stop> {
        if self.op == MemoryOp::Read {
            self.output.0 = Layout::array(u64::from(self.shape.groups) * 4)?;
        }
        afford(context, self.work.probe(gpu, context)?)?;
        let amount = (self.op.arrays() * self.shape.moved()) as f64;
        let rate = Rate { metric: "bandwidth", unit: Unit::BytePerSecond, amount };
        sample(context, policy, rate, |context, iterations| {
            self.output.0.poison(gpu, context, &self.output.1)?;
            self.work.batch(gpu, context, iterations)
        })
    }

    /// Compares what was written with what the host computes, and looks through all of it for poison.
    fn check(&self, gpu: &Gpu, context: &Context) -> Result<Check, Stop> {
        const SEED: u32 = 0x1a9e_77c3;
        let (layout, buffer) = &self.output;
        // A sum takes the host as long as thousands of elements.
        let sum_elements = u64::from(self.shape.passes * self.shape.chunk_rows) * ROW_BYTES / 4;
        let count = if self.op == MemoryOp::Read { ((1 << 20) / sum_elements).clamp(2, 64) as u32 } else { 256 };
        let places = random::spots(layout.bytes() / 4, count, SEED);
        let spots: Vec<(u32, u32)> = places.iter().map(|place| (0, *place as u32)).collect();
        let out = layout.read(gpu, context, buffer, &spots)?;
        let mut pairs = Vec::new();
        for (place, out) in places.iter().zip(out) {
            context.check()?;
            pairs.push((out, self.expected(*place as u32)));
        }
        let bad = layout.count_bad(gpu, context, buffer)?;
        let method = if self.op == MemoryOp::Read { "f64 sums on the host" } else { "elements computed on the host" };
        // Sums in f32 of this many random values are off by some 10⁻⁷, a multiply-add by a rounding or two.
        Ok(Check::of(method, &pairs, 1e-5, bad == 0))
    }

    /// The output at `index`: an element, or the sum of a workgroup.
    fn expected(&self, index: u32) -> f64 {
        let [first, second] = Bandwidth::SEEDS;
        match self.op {
            MemoryOp::Write => f64::from(index % 2048) / 1024.0 - 1.0,
            MemoryOp::Copy => random::unit(Dtype::F32, first, index),
            MemoryOp::Triad => {
                random::unit(Dtype::F32, first, index)
                    + f64::from(Bandwidth::TRIAD_SCALE) * random::unit(Dtype::F32, second, index)
            }
            MemoryOp::Read => {
                let row = (ROW_BYTES / 4) as u32;
                let rows = self.shape.chunks_of(index).flat_map(|chunk| self.shape.chunk(chunk));
                let elements = rows.flat_map(|at| at * row..(at + 1) * row);
                elements.map(|index| random::unit(Dtype::F32, first, index)).sum()
            }
        }
    }
}

/// Measures one operation over arrays of one size.
pub(super) fn run(gpu: &Gpu, bandwidth: Bandwidth, context: &mut Context) -> Result<Report, Stop> {
    context.phase(Phase::Preparing)?;
    let Bandwidth { op, array_bytes } = bandwidth;
    let array_bytes = whole_rows(array_bytes)?;
    let mut stream = Stream::new(gpu, context, op, array_bytes, Shape::walks(array_bytes, CHUNK_ROWS_DEFAULT, 1))?;
    stream.tune(gpu, context)?;
    let mut measurement = stream.sample(gpu, context, &Policy::default())?;
    // The workload's iteration is one walk through the arrays, whatever a dispatch holds.
    let walks = stream.shape.in_order();
    for sample in &mut measurement.samples {
        sample.iterations *= walks;
    }
    context.phase(Phase::Checking)?;
    let check = stream.check(gpu, context)?;
    check.require()?;
    let mut report = report(vec![measurement], check, op);
    let chunk = binary_size(u64::from(stream.shape.chunk_rows) * ROW_BYTES);
    report.settings.insert("read or written by a workgroup".to_owned(), chunk);
    report.settings.insert("walks through the arrays in a dispatch".to_owned(), walks.to_string());
    let binding = gpu.limits.max_storage_buffer_binding_size;
    if stream.layout.bytes() < LARGE_BYTES {
        let size = binary_size(stream.layout.bytes());
        let why = if 2 * stream.layout.bytes() > binding {
            format!("the array is {size} because this device binds no more than {}", binary_size(binding))
        } else {
            format!("the array is only {size}")
        };
        report.notes.push(format!("{why}; a cache of that size would raise the figure"));
    }
    Ok(report)
}

/// Measures one operation over a range of sizes, with one measurement a size: the largest first, because it is the
/// headline and because it must not fall to a short budget, then ascending from the smallest.
pub(super) fn sweep(gpu: &Gpu, sweep: BandwidthSweep, context: &mut Context) -> Result<Report, Stop> {
    context.phase(Phase::Preparing)?;
    let mut sizes = sweep.sizes();
    let binding = gpu.limits.max_storage_buffer_binding_size.min(gpu.limits.max_buffer_size);
    let asked = sizes.len();
    sizes.retain(|size| *size <= binding);
    let mut notes = Vec::new();
    if sizes.len() < asked {
        notes.push(format!("sizes above {} are left out: this device binds no more", binary_size(binding)));
    }
    let Some(largest) = sizes.pop() else {
        let needed = binary_size(sweep.min_bytes);
        let reason = format!("needs a binding of {needed}, this device gives {}", binary_size(binding));
        return Err(Stop::Unsupported(reason));
    };
    let (first, check) = point(gpu, context, sweep.op, largest)?;
    let mut measurements = vec![first];
    for size in sizes {
        match point(gpu, context, sweep.op, size) {
            Ok((measurement, _)) => measurements.push(measurement),
            Err(Stop::Skipped { .. }) => {
                notes.push(format!(
                    "the time was spent before {}; larger sizes but the largest are missing",
                    binary_size(size)
                ));
                break;
            }
            Err(other) => return Err(other),
        }
    }
    let mut report = report(measurements, check, sweep.op);
    report.notes = notes;
    Ok(report)
}

/// One size of a sweep, checked.
fn point(gpu: &Gpu, context: &mut Context, op: MemoryOp, bytes: u64) -> Result<(Measurement, Check), Stop> {
    let bytes = whole_rows(bytes)?;
    let mut stream = Stream::new(gpu, context, op, bytes, Shape::repeated(bytes, gpu.software()))?;
    let mut measurement = stream.sample(gpu, context, &Policy::sweep_point())?;
    measurement.at_bytes = Some(bytes);
    let check = stream.check(gpu, context)?;
    check.require()?;
    drop(stream);
    // Freed before the next size is allocated.
    gpu.wait(Some(context), None)?;
    Ok((measurement, check))
}

fn whole_rows(bytes: u64) -> Result<u64, Stop> {
    if bytes < ROW_BYTES {
        return Err(Stop::Unsupported(format!("an array of {bytes} bytes is too small; 4096 is the least")));
    }
    Ok(bytes / ROW_BYTES * ROW_BYTES)
}

fn report(measurements: Vec<Measurement>, check: Check, op: MemoryOp) -> Report {
    Report {
        measurements,
        check: Some(check),
        precision: Some("f32".to_owned()),
        variant: Some(format!("bandwidth_{op}")),
        ..Report::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn few_workgroups_at_a_time_reread_nothing_before_they_went_over_most_of_the_array() {
        // 64 MiB on a GPU that runs 500 workgroups at a time, 16 MiB a pass: three passes must touch three times as much.
        let shape = Shape::repeated(64 << 20, false);
        let touched: BTreeSet<u32> =
            (0..500).flat_map(|group| shape.chunks_of(group).take(3).collect::<Vec<_>>()).collect();
        assert!(touched.len() > 1400, "{} of {}", touched.len(), shape.chunks());
    }

    #[test]
    fn a_golden_step_visits_all() {
        for count in [1, 2, 3, 8, 100, 2048, 32768] {
            let step = golden_step(count);
            let seen: BTreeSet<u32> =
                (0..count).map(|i| (u64::from(i) * u64::from(step) % u64::from(count)) as u32).collect();
            assert_eq!(seen.len() as u32, count);
        }
    }

    #[test]
    fn one_pass_takes_every_row_once() {
        for bytes in [4096, 15 * 4096, 64 << 10, (1 << 20) + 4096] {
            let shape = Shape::walks(bytes, CHUNK_ROWS_DEFAULT, 1);
            let rows: Vec<u32> =
                (0..shape.groups).flat_map(|group| shape.chunks_of(group)).flat_map(|c| shape.chunk(c)).collect();
            assert_eq!(rows, (0..(bytes / ROW_BYTES) as u32).collect::<Vec<_>>());
            assert_eq!(shape.moved(), bytes);
        }
    }

    #[test]
    fn a_repeated_walk_takes_every_chunk_and_counts_what_it_moves() {
        for (bytes, software) in
            [(4096, false), (64 << 10, false), (64 << 10, true), (3 << 20, true), (192 << 20, false)]
        {
            let shape = Shape::repeated(bytes, software);
            let taken: BTreeSet<u32> = (0..shape.groups).flat_map(|group| shape.chunks_of(group)).collect();
            assert_eq!(taken, (0..shape.chunks()).collect(), "{bytes} {software}");
            assert!(shape.moved() >= bytes);
        }
    }
}
