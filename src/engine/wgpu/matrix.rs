//! Matrices and arrays on the device: filled, poisoned, counted and sampled there.

use half::f16;

use super::{
    gpu::{Gpu, Params, Use},
    work::Work,
};
use crate::{
    measure::{Context, Stop},
    workload::Dtype,
};

/// Words that a workgroup of fill.wgsl and count.wgsl handles.
const GROUP_WORDS: u64 = 4096;

/// Workgroups of them in one submission: 64 MiB, a fraction of a second even on a software device.
const GROUPS_AT_ONCE: u32 = 4096;

/// Not a number in f32 and in both halves as f16.
const POISON: u32 = 0x7fc1_7fc1;

/// How values lie in a buffer: rows of `ld` words, the first `columns` elements of the first `rows` rows are values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) rows: u32,
    pub(super) columns: u32,
    pub(super) dtype: Dtype,
    ld: u32,
    words: u32,
}

impl Layout {
    /// A matrix padded to multiples of `pad` (rows, columns), both even.
    pub(super) fn matrix(rows: u32, columns: u32, dtype: Dtype, pad: (u32, u32)) -> Result<Self, Stop> {
        let [stored_rows, stored_columns] =
            [(rows, pad.0), (columns, pad.1)].map(|(side, pad)| u64::from(side).next_multiple_of(u64::from(pad)));
        let ld = stored_columns * dtype.size() / 4;
        Ok(Self { rows, columns, dtype, ld: ld as u32, words: words(stored_rows * ld)? })
    }

    /// A flat array of f32.
    pub(super) fn array(bytes: u64) -> Result<Self, Stop> {
        let words = words(bytes / 4)?;
        Ok(Self { rows: 1, columns: words, dtype: Dtype::F32, ld: words, words })
    }

    /// Bytes in the buffer.
    pub(super) const fn bytes(&self) -> u64 {
        self.words as u64 * 4
    }

    /// Groups of four elements in a stored row.
    pub(super) const fn ld_vec4(&self) -> u32 {
        match self.dtype {
            Dtype::F32 | Dtype::Tf32 => self.ld / 4,
            Dtype::F16 | Dtype::Bf16 => self.ld / 2,
        }
    }

    fn work(
        &self,
        gpu: &Gpu,
        source: &str,
        entry: &str,
        buffers: &[(&wgpu::Buffer, Use)],
        seed: u32,
    ) -> Result<Work, Stop> {
        let uses: Vec<Use> = buffers.iter().map(|(_, using)| *using).collect();
        let buffers: Vec<&wgpu::Buffer> = buffers.iter().map(|(buffer, _)| *buffer).collect();
        let half = u32::from(self.dtype == Dtype::F16);
        let values: Params = [seed, self.rows, self.columns, self.ld, self.words, 0, half, 0];
        let groups = u64::from(self.words).div_ceil(GROUP_WORDS) as u32;
        Work::new(gpu, gpu.kernel(source, entry, &uses)?, &buffers, values, groups)
    }

    /// Writes the values of [`random::unit`](crate::workload::random::unit) and zeros around them.
    pub(super) fn fill(&self, gpu: &Gpu, context: &Context, buffer: &wgpu::Buffer, seed: u32) -> Result<(), Stop> {
        self.work(gpu, "fill", "fill", &[(buffer, Use::Write)], seed)?.once(gpu, context, GROUPS_AT_ONCE)
    }

    /// Writes poison everywhere, padding too.
    pub(super) fn poison(&self, gpu: &Gpu, context: &Context, buffer: &wgpu::Buffer) -> Result<(), Stop> {
        self.work(gpu, "fill", "poison", &[(buffer, Use::Write)], POISON)?.once(gpu, context, GROUPS_AT_ONCE)
    }

    /// Counts values that are poison, NaN or infinite.
    pub(super) fn count_bad(&self, gpu: &Gpu, context: &Context, buffer: &wgpu::Buffer) -> Result<u32, Stop> {
        let counter = gpu.storage("counter", 4)?;
        let work = self.work(gpu, "count", "main", &[(buffer, Use::Read), (&counter, Use::Write)], 0)?;
        work.once(gpu, context, GROUPS_AT_ONCE)?;
        let bytes = gpu.read(context, &counter, &[(0, 4)])?;
        Ok(bytes.first_chunk().map_or(u32::MAX, |word| u32::from_le_bytes(*word)))
    }

    /// Reads single values back.
    pub(super) fn read(
        &self,
        gpu: &Gpu,
        context: &Context,
        buffer: &wgpu::Buffer,
        spots: &[(u32, u32)],
    ) -> Result<Vec<f64>, Stop> {
        let per_word = (4 / self.dtype.size()) as u32;
        let word = |(row, column): &(u32, u32)| u64::from(*row) * u64::from(self.ld) + u64::from(column / per_word);
        let parts: Vec<(u64, u64)> = spots.iter().map(|spot| (word(spot) * 4, 4)).collect();
        let bytes = gpu.read(context, buffer, &parts)?;
        let value = |((_, column), bytes): (&(u32, u32), &[u8])| match (self.dtype, bytes) {
            (Dtype::F32, [a, b, c, d]) => f64::from(f32::from_le_bytes([*a, *b, *c, *d])),
            (Dtype::F16, [a, b, _, _]) if column % 2 == 0 => f64::from(f16::from_le_bytes([*a, *b])),
            (Dtype::F16, [_, _, c, d]) => f64::from(f16::from_le_bytes([*c, *d])),
            _ => f64::NAN,
        };
        Ok(spots.iter().zip(bytes.chunks_exact(4)).map(value).collect())
    }
}

/// Shaders count words in 32 bits.
fn words(count: u64) -> Result<u32, Stop> {
    u32::try_from(count).map_err(|_too_large| {
        Stop::Unsupported("needs a buffer above 16 GiB, which the kernels can't address".to_owned())
    })
}
