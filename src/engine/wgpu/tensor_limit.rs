//! How large one tensor may be, and how much can be held: found by allocating, writing and reading back.

use std::time::{Duration, Instant};

use super::{
    adapter,
    gpu::{Gpu, Use},
    matrix::Layout,
    memory,
    work::Work,
};
use crate::{
    measure::{Context, Measurement, Phase, Report, Stop},
    units::{Unit, binary_size},
    workload::{Dtype, TensorLimit, random},
};

/// The search for the largest size ends at this precision.
const STEP: u64 = 1 << 20;

/// The smallest size worth trying.
const LEAST: u64 = 16 << 20;

/// What the kernels can address, counting words in 32 bits.
const ADDRESSABLE: u64 = u32::MAX as u64 * 4;

/// Part of the time left that each of the two searches and the filling may take.
const SHARE: u32 = 3;

/// Finds `largest-binding` (allocated, bound whole, written at both ends by a kernel: the largest tensor; the headline),
/// `largest-buffer` (allocated, written and read back at its end) and `total-held` (chunks that are all held at once,
/// every byte of them written). Everything is freed before it returns.
///
/// The device is opened again with a budget, so that the driver's own count of free memory bounds every allocation.
pub(super) fn run(device_id: &str, limit: TensorLimit, context: &mut Context) -> Result<Report, Stop> {
    context.phase(Phase::Preparing)?;
    let percent = limit.max_percent.clamp(1, 100);
    let instance = adapter::instance(Some(percent as u8));
    let gpu = Gpu::open(&adapter::find(&instance, device_id)?)?;
    // A software device only pretends to own the memory that the processor's other programs need.
    let percent = if gpu.software() { percent.div_ceil(2) } else { percent };
    let allowed = if gpu.shares_memory() {
        let unknown = || Stop::Failed("the system does not tell how much memory is free".to_owned());
        memory::available_bytes().ok_or_else(unknown)? / 100 * u64::from(percent)
    } else {
        u64::MAX
    };
    let search = Search { gpu: &gpu, allowed };
    let binding = search.largest(context, Probe::Binding)?;
    let buffer = search.largest(context, Probe::Buffer)?;
    let total = search.total(context)?;
    let mut report = Report { variant: Some("fill".to_owned()), ..Report::default() };
    for (metric, found) in [("largest-binding", &binding), ("largest-buffer", &buffer), ("total-held", &total)] {
        let measurement = Measurement::single(metric, Unit::Byte, found.bytes as f64, found.seconds);
        report.measurements.extend(measurement);
        report.notes.push(format!("{metric}: {}", found.why));
    }
    let (most_binding, most_buffer) = (gpu.limits.max_storage_buffer_binding_size, gpu.limits.max_buffer_size);
    report.settings.insert("share of free memory taken at most".to_owned(), format!("{percent} %"));
    report.settings.insert("reported binding limit".to_owned(), binary_size(most_binding));
    report.settings.insert("reported buffer limit".to_owned(), binary_size(most_buffer));
    Ok(report)
}

const TOO_MUCH: &str = "more would exceed the share of free memory that may be taken";

/// What a search came to.
struct Found {
    bytes: u64,
    seconds: f64,
    why: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Probe {
    Binding,
    Buffer,
}

struct Search<'g> {
    gpu: &'g Gpu,
    /// More than this is not taken from the machine's memory.
    allowed: u64,
}

impl Search<'_> {
    /// The largest size that works: what is reported, if it does; else by bisection between what works and what doesn't.
    fn largest(&self, context: &Context, probe: Probe) -> Result<Found, Stop> {
        let start = Instant::now();
        let limits = &self.gpu.limits;
        let reported = match probe {
            Probe::Binding => limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
            Probe::Buffer => limits.max_buffer_size,
        } / 4
            * 4;
        let (allowed, reason) = match probe {
            Probe::Binding if ADDRESSABLE < self.allowed => {
                (ADDRESSABLE, "the kernels of this program can't address more")
            }
            Probe::Binding | Probe::Buffer => (self.allowed / 4 * 4, TOO_MUCH),
        };
        let asked = reported.min(allowed);
        let found = |bytes, why| Ok(Found { bytes, seconds: start.elapsed().as_secs_f64(), why });
        if self.works(context, probe, asked)? {
            return if asked == reported {
                found(asked, "what the device reports as its limit works".to_owned())
            } else {
                found(asked, format!("at least this much; {reason}"))
            };
        }
        let deadline = start + context.remaining() / SHARE;
        let (mut good, mut bad) = (0, asked);
        let mut size = LEAST.min(asked / 2);
        while bad - good > STEP && size > 0 {
            if Instant::now() > deadline {
                return found(good, "at least this much; time allowed no closer search".to_owned());
            }
            if self.works(context, probe, size)? {
                good = size;
            } else {
                bad = size;
            }
            size = (good + (bad - good) / 2) / 4096 * 4096;
        }
        if good == 0 {
            return Err(Stop::Failed(format!("not even a buffer of {} could be allocated", binary_size(bad))));
        }
        found(good, format!("{} more was refused", binary_size(STEP)))
    }

    /// Tries one size and frees it.
    fn works(&self, context: &Context, probe: Probe, bytes: u64) -> Result<bool, Stop> {
        context.check()?;
        let outcome = match probe {
            Probe::Binding => self.bind_ends(context, bytes),
            Probe::Buffer => self.write_end(context, bytes),
        };
        self.gpu.wait(Some(context), None)?;
        match outcome {
            Ok(right) => Ok(right),
            Err(Stop::Failed(_)) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Binds the whole buffer and has a kernel write its first and last workgroup's words.
    fn bind_ends(&self, context: &Context, bytes: u64) -> Result<bool, Stop> {
        const SEED: u32 = 0x0d15_ea5e;
        const GROUP_BYTES: u64 = 16 << 10;
        let gpu = self.gpu;
        let buffer = gpu.storage("largest", bytes)?;
        let words = (bytes / 4) as u32;
        let last_group = (bytes.div_ceil(GROUP_BYTES) - 1) as u32;
        for first in [0, last_group] {
            let values = [SEED, 1, words, words, words, 0, 0, 0];
            let work = Work::new(gpu, gpu.kernel("fill", "fill", &[Use::Write])?, &[&buffer], values, last_group + 1)?;
            work.only(gpu, context, first, 1)?;
        }
        let read = gpu.read(context, &buffer, &[(0, 4), (bytes - 4, 4)])?;
        let expected =
            [0, words - 1].map(|index| random::unit(Dtype::F32, SEED, index) as f32).map(f32::to_le_bytes).concat();
        Ok(read == expected)
    }

    /// Writes the last bytes and reads them back.
    fn write_end(&self, context: &Context, bytes: u64) -> Result<bool, Stop> {
        let pattern = (bytes as u32 ^ 0x5bd1_e995).to_le_bytes();
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = self.gpu.buffer("largest", bytes, usage)?;
        self.gpu.queue.write_buffer(&buffer, bytes - 4, &pattern);
        Ok(self.gpu.read(context, &buffer, &[(bytes - 4, 4)])? == pattern)
    }

    /// Fills chunk after chunk, all held, until one is refused, memory or time is spent.
    fn total(&self, context: &Context) -> Result<Found, Stop> {
        let start = Instant::now();
        let deadline = start + (context.remaining() / SHARE).max(Duration::from_millis(100));
        let limits = &self.gpu.limits;
        let largest = (1 << 30).min(limits.max_storage_buffer_binding_size).min(limits.max_buffer_size) / 4096 * 4096;
        let mut chunk = if self.gpu.shares_memory() { largest.min(256 << 20) } else { largest };
        let mut held = Vec::new();
        let mut total = 0;
        let why = loop {
            if total + chunk > self.allowed {
                chunk = (self.allowed - total) / STEP * STEP;
                if chunk == 0 {
                    break format!("at least this much; {TOO_MUCH}");
                }
            }
            if Instant::now() > deadline {
                break "at least this much; time allowed no more".to_owned();
            }
            match self.fill_chunk(context, chunk) {
                Ok(buffer) => {
                    held.push(buffer);
                    total += chunk;
                }
                // Smaller pieces may still fit.
                Err(Stop::Failed(_)) if chunk > LEAST => chunk = chunk / 2 / 4096 * 4096,
                Err(Stop::Failed(_)) => break "the next buffer was refused".to_owned(),
                Err(other) => return Err(other),
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        let why = format!("{why}; in {} buffers, every byte written", held.len());
        drop(held);
        self.gpu.wait(Some(context), None)?;
        Ok(Found { bytes: total, seconds, why })
    }

    fn fill_chunk(&self, context: &Context, bytes: u64) -> Result<wgpu::Buffer, Stop> {
        let buffer = self.gpu.storage("held", bytes)?;
        Layout::array(bytes)?.fill(self.gpu, context, &buffer, bytes as u32)?;
        Ok(buffer)
    }
}
