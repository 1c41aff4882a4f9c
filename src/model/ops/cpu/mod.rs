//! The steps of a block on the processor, each in one pass over its data, and on all cores where there is enough of it.
#![expect(
    clippy::inline_always,
    reason = "a kernel is compiled for a vector unit only where it is inlined into its code"
)]

mod attention;
mod backward;
mod norm;
#[cfg(target_arch = "x86_64")]
mod q4k;
mod rope;
mod simd;
mod softmax;
mod swiglu;

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, Error, Layout, Result, WithDType, bail};
use half::{f16, slice::HalfFloatSliceExt as _};

#[cfg(target_arch = "x86_64")]
pub(super) use self::q4k::RowByQ4K;
pub(super) use self::{
    attention::DecodeAttention,
    backward::{CrossEntropy, CrossEntropyBackward, NormBackward, SoftmaxBackward, SwiGluBackward},
    norm::Norm,
    rope::Split,
    softmax::MaskedSoftmax,
    swiglu::SwiGlu,
};

/// Below so many elements, waking the other cores takes longer than the work.
const ALONE: usize = 1 << 14;

/// What activations are held in. All arithmetic is in f32.
pub(super) trait Element: WithDType {
    /// As f32.
    fn widen(from: &[Self], to: &mut [f32]);

    /// Back again, rounded.
    fn narrow(from: &[f32], to: &mut [Self]);

    /// One of them as f32.
    fn single(self) -> f32;

    /// One of them, rounded.
    fn of(value: f32) -> Self;
}

impl Element for f32 {
    fn widen(from: &[Self], to: &mut [f32]) {
        to.copy_from_slice(from);
    }

    fn narrow(from: &[f32], to: &mut [Self]) {
        to.copy_from_slice(from);
    }

    fn single(self) -> f32 {
        self
    }

    fn of(value: f32) -> Self {
        value
    }
}

impl Element for f16 {
    fn widen(from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }

    fn narrow(from: &[f32], to: &mut [Self]) {
        to.convert_from_f32_slice(from);
    }

    fn single(self) -> f32 {
        self.to_f32()
    }

    fn of(value: f32) -> Self {
        Self::from_f32(value)
    }
}

/// The elements of a contiguous tensor.
fn contiguous<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let all = storage.as_slice::<T>()?;
    let range = layout.contiguous_offsets().map(|(start, end)| start..end);
    range.and_then(|range| all.get(range)).ok_or_else(|| Error::Msg("a tensor is not contiguous".to_owned()))
}

/// The sizes of a tensor with two dimensions.
fn rows_of(layout: &Layout) -> Result<(usize, usize)> {
    match layout.dims() {
        [rows, columns] => Ok((*rows, *columns)),
        other => bail!("rows were expected, not {other:?}"),
    }
}

/// Does all items, on all cores if `elements` of work are worth it.
fn share<I: Send>(items: Vec<I>, elements: usize, work: impl Fn(I) + Sync) {
    if elements < ALONE || items.len() < 2 {
        items.into_iter().for_each(work);
        return;
    }
    let slots: Vec<_> = items.into_iter().map(|item| Mutex::new(Some(item))).collect();
    // candle's quantised products run on this pool too: one pool, so that none spins beside another.
    candle_core::utils::barrier_pool().execute_chunked(slots.len(), |range| {
        for slot in slots.get(range).unwrap_or_default() {
            let item = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(item) = item {
                work(item);
            }
        }
    });
}

/// How many of `rows` belong into one item of [`share`], so that there are a few dozen.
fn rows_each(rows: usize) -> usize {
    rows.div_ceil(64).max(1)
}
