//! Attention of one position a sequence, as decoding needs it: keys and values are read once, whatever their number of
//! query heads, and no scores are kept.

use candle_core::{
    CpuStorage, CustomOp3, DType, Error, Layout, Result, Shape, WithDType, backend::BackendStorage as _, bail,
};
use half::f16;

use super::{
    Element, contiguous, share,
    simd::{self, Kernel},
    softmax::exp_less,
};

/// Keys that are looked at together: with their values a few dozen KB, which stay in the nearest caches.
const TOGETHER: usize = 32;

/// The least keys of a task, where a head's keys are shared out.
const TASK_KEYS: usize = 256;

/// A [`CustomOp3`] of q (batch × heads × 1 × d), keys and values (batch × `kv_heads` × n × d, rows d apart), all of which
/// are looked at. Gives batch × heads·d.
pub(in super::super) struct DecodeAttention {
    /// Multiplies the scores.
    pub(in super::super) scale: f32,
}

impl CustomOp3 for DecodeAttention {
    fn name(&self) -> &'static str {
        "decode-attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        keys: &CpuStorage,
        keys_layout: &Layout,
        values: &CpuStorage,
        values_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let &[batch, heads, 1, dim] = q_layout.dims() else { bail!("one query a head, not {:?}", q_layout.dims()) };
        let cache = ((keys, keys_layout), (values, values_layout));
        let out = match (q.dtype(), keys.dtype()) {
            (DType::F32, DType::F32) => self.forward::<f32, f32>(contiguous(q, q_layout)?, dim, heads, cache)?,
            (DType::F32, DType::F16) => self.forward::<f32, f16>(contiguous(q, q_layout)?, dim, heads, cache)?,
            (DType::F16, DType::F16) => self.forward::<f16, f16>(contiguous(q, q_layout)?, dim, heads, cache)?,
            (q, keys) => bail!("attention of {q:?} over {keys:?} on the processor"),
        };
        Ok((out, Shape::from((batch, heads * dim))))
    }
}

type Side<'a> = (&'a CpuStorage, &'a Layout);

impl DecodeAttention {
    fn forward<Q: Element, C: Element>(
        &self,
        q: &[Q],
        dim: usize,
        heads: usize,
        (keys, values): (Side<'_>, Side<'_>),
    ) -> Result<CpuStorage> {
        let (keys, values) = (Kept::<C>::of(keys)?, Kept::<C>::of(values)?);
        let group = heads / keys.heads.max(1);
        if keys.heads * group != heads || keys.dim != dim || values.dim != dim || keys.count != values.count {
            bail!("{heads} query heads of {dim} over {} of {}", keys.heads, keys.dim);
        }
        let mut query = vec![0.0; q.len()];
        Q::widen(q, &mut query);
        let pairs = q.len() / (group * dim).max(1);
        // Where the heads don't occupy all cores, each one's keys are shared out.
        let splits = (4 * candle_core::utils::get_num_threads()).div_ceil(pairs.max(1));
        let splits = splits.min(keys.count.div_ceil(TASK_KEYS)).max(1);
        let each = keys.count.div_ceil(splits);
        let mut parts: Vec<_> = (0..pairs * splits).map(|_| Part::new(group, dim)).collect();
        let items: Vec<_> = parts.iter_mut().enumerate().collect();
        share(items, keys.count * pairs * dim, |(index, part)| {
            let (pair, split) = (index / splits, index % splits);
            let range = split * each..((split + 1) * each).min(keys.count);
            let query = query.get(pair * group * dim..).unwrap_or_default();
            let (keys, values) = (keys.rows(pair, &range), values.rows(pair, &range));
            simd::run(Task { query, keys, values, scale: self.scale, part });
        });
        let mut out = vec![0.0_f32; q.len()];
        for (parts, out) in parts.chunks_mut(splits).zip(out.chunks_mut((group * dim).max(1))) {
            Part::merge(parts, dim, out);
        }
        let mut narrow = vec![Q::zero(); out.len()];
        Q::narrow(&out, &mut narrow);
        Ok(Q::to_cpu_storage_owned(narrow))
    }
}

/// Keys or values of all heads.
struct Kept<'a, T> {
    data: &'a [T],
    heads: usize,
    count: usize,
    dim: usize,
    start: usize,
    strides: (usize, usize),
}

impl<'a, T: WithDType> Kept<'a, T> {
    fn of((storage, layout): Side<'a>) -> Result<Self> {
        let (&[_, heads, count, dim], &[sequence, head, row, 1]) = (layout.dims(), layout.stride()) else {
            bail!("keys and values of heads, not {layout:?}")
        };
        if row != dim && count > 1 {
            return Err(Error::Msg("the rows of a head must lie one after another".to_owned()));
        }
        let (data, start) = (storage.as_slice::<T>()?, layout.start_offset());
        Ok(Self { data, heads, count, dim, start, strides: (sequence, head) })
    }

    /// Rows of the head `pair`, counted through all sequences.
    fn rows(&self, pair: usize, range: &std::ops::Range<usize>) -> &'a [T] {
        let (sequence, head) = (pair / self.heads.max(1), pair % self.heads.max(1));
        let first = self.start + sequence * self.strides.0 + head * self.strides.1;
        self.data.get(first + range.start * self.dim..first + range.end * self.dim).unwrap_or_default()
    }
}

/// What some keys give to the queries of their group.
struct Part {
    /// For each query the largest score and the sum of the exponentials less it.
    max_sum: Vec<(f32, f32)>,
    /// The values so weighted: group × d.
    out: Vec<f32>,
}

impl Part {
    fn new(group: usize, dim: usize) -> Self {
        Self { max_sum: vec![(f32::NEG_INFINITY, 0.0); group], out: vec![0.0; group * dim] }
    }

    /// All keys' together, into `out`.
    fn merge(parts: &mut [Self], dim: usize, out: &mut [f32]) {
        for (query, out) in out.chunks_mut(dim).enumerate() {
            let of = |part: &Self| part.max_sum.get(query).copied().unwrap_or((f32::NEG_INFINITY, 0.0));
            let max = parts.iter().map(|part| of(part).0).fold(f32::NEG_INFINITY, f32::max);
            let total: f32 = parts.iter().map(|part| of(part).1 * (of(part).0 - max).exp()).sum();
            for part in parts.iter() {
                let weight = (of(part).0 - max).exp() / total;
                let values = part.out.get(query * dim..).unwrap_or_default();
                for (out, value) in out.iter_mut().zip(values) {
                    *out += weight * value;
                }
            }
        }
    }
}

/// The queries of a group over some keys.
struct Task<'a, C> {
    query: &'a [f32],
    keys: &'a [C],
    values: &'a [C],
    scale: f32,
    part: &'a mut Part,
}

impl<C: Element> Kernel for Task<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let dim = self.part.out.len() / self.part.max_sum.len().max(1);
        let mut wide = vec![0.0_f32; TOGETHER * dim];
        let mut scores = vec![0.0_f32; self.part.max_sum.len() * TOGETHER];
        let blocks = self.keys.chunks((TOGETHER * dim).max(1)).zip(self.values.chunks((TOGETHER * dim).max(1)));
        for (keys, values) in blocks {
            let count = keys.len() / dim.max(1);
            let Some(rows) = wide.get_mut(..keys.len()) else { continue };
            C::widen(keys, rows);
            for (query, scores) in self.query.chunks(dim).zip(scores.chunks_mut(TOGETHER)) {
                for (key, score) in rows.chunks(dim).zip(scores) {
                    *score = simd::dot::<FUSED>(query, key);
                }
            }
            C::widen(values, rows);
            let queries = self.part.max_sum.iter_mut().zip(self.part.out.chunks_mut(dim));
            for ((max_sum, out), scores) in queries.zip(scores.chunks_mut(TOGETHER)) {
                let scores = scores.get_mut(..count).unwrap_or_default();
                let max = max_sum.0.max(self.scale * simd::max(scores));
                let fade = (max_sum.0 - max).exp();
                if fade != 1.0 {
                    for out in out.iter_mut() {
                        *out *= fade;
                    }
                }
                *max_sum = (max, max_sum.1 * fade + exp_less::<FUSED>(scores, self.scale, max));
                weigh::<FUSED>(scores, rows, out);
            }
        }
    }
}

/// out += Σ weight · row.
#[inline(always)]
fn weigh<const FUSED: bool>(weights: &[f32], rows: &[f32], out: &mut [f32]) {
    let dim = out.len().max(1);
    let (fours, rest) = weights.as_chunks::<4>();
    let mut blocks = rows.chunks(4 * dim);
    for (weights, block) in fours.iter().zip(&mut blocks) {
        let (ab, cd) = block.split_at(block.len() / 2);
        let ((a, b), (c, d)) = (ab.split_at(ab.len() / 2), cd.split_at(cd.len() / 2));
        simd::axpy_4::<FUSED>(*weights, [a, b, c, d], out);
    }
    let last = blocks.next().unwrap_or_default();
    for (weight, row) in rest.iter().zip(last.chunks(dim)) {
        simd::axpy::<FUSED>(*weight, row, out);
    }
}
