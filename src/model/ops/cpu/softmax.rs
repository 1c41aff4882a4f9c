//! The softmax between attention's two products.

use candle_core::{CpuStorage, Error, InplaceOp1, Layout, Result, bail};

use super::{
    rows_each, share,
    simd::{self, Kernel},
};

/// Softmax, in place, over what a position may look at; 0 elsewhere. Scores are f32: … × g·t × keys, the t queries of one
/// head after those of another.
pub(in super::super) struct MaskedSoftmax {
    /// Multiplies the scores first.
    pub(in super::super) scale: f32,
    /// Queries of a head.
    pub(in super::super) queries: usize,
    /// The key that the first query stands at.
    pub(in super::super) first: usize,
    /// How many keys a query looks at, its own included.
    pub(in super::super) window: Option<usize>,
}

impl InplaceOp1 for MaskedSoftmax {
    fn name(&self) -> &'static str {
        "masked-softmax"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let CpuStorage::F32(scores) = storage else { bail!("scores are f32 on the processor") };
        let keys = *layout.dims().last().unwrap_or(&1);
        let range = layout.contiguous_offsets().map(|(start, end)| start..end);
        let scores = range.and_then(|range| scores.get_mut(range));
        let scores = scores.ok_or_else(|| Error::Msg("scores are not contiguous".to_owned()))?;
        let each = rows_each(scores.len() / keys.max(1));
        let elements = scores.len();
        let items: Vec<_> = scores.chunks_mut(each * keys.max(1)).enumerate().collect();
        share(items, elements, |(index, rows)| simd::run(Rows { op: self, keys, row: index * each, scores: rows }));
        Ok(())
    }
}

struct Rows<'a> {
    op: &'a MaskedSoftmax,
    keys: usize,
    /// The number of the first row.
    row: usize,
    scores: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for (row, scores) in self.scores.chunks_mut(self.keys.max(1)).enumerate() {
            let end = self.op.first + (self.row + row) % self.op.queries.max(1) + 1;
            let start = self.op.window.map_or(0, |window| end.saturating_sub(window));
            let end = end.min(scores.len());
            scores.get_mut(..start).unwrap_or_default().fill(0.0);
            scores.get_mut(end..).unwrap_or_default().fill(0.0);
            softmax::<FUSED>(scores.get_mut(start..end).unwrap_or_default(), self.op.scale);
        }
    }
}

#[inline(always)]
fn softmax<const FUSED: bool>(scores: &mut [f32], scale: f32) {
    let max = scale * simd::max(scores);
    let sum = exp_less::<FUSED>(scores, scale, max);
    let inverse = 1.0 / sum;
    for score in scores {
        *score *= inverse;
    }
}

/// scores = e^(scale·score − max), and their sum.
#[inline(always)]
pub(super) fn exp_less<const FUSED: bool>(scores: &mut [f32], scale: f32, max: f32) -> f32 {
    let mut sums = [0.0_f32; simd::LANES];
    let (whole, rest) = scores.as_chunks_mut::<{ simd::LANES }>();
    for scores in whole {
        for (score, sum) in scores.iter_mut().zip(&mut sums) {
            *score = simd::exp::<FUSED>(*score * scale - max);
            *sum += *score;
        }
    }
    let mut sum = simd::total(sums);
    for score in rest {
        *score = simd::exp::<FUSED>(*score * scale - max);
        sum += *score;
    }
    sum
}
