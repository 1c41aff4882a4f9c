//! Attention over the cache.

use std::cell::OnceCell;

use candle_core::{D, DType, Device, Result, Tensor};

use super::cpu;
#[cfg(feature = "cuda")]
use crate::model::cuda;

/// Which keys the queries of one pass look at. Made once a pass; all blocks share it.
#[derive(Debug)]
pub struct Span {
    /// Positions before the first query's.
    start: usize,
    /// Positions of the pass.
    t: usize,
    /// How many positions a query looks at, its own included.
    window: Option<usize>,
    /// What is added to the scores, where the code for a device needs it.
    mask: OnceCell<Tensor>,
}

impl Span {
    /// Queries at the `t` positions from `start`, each looking back over `window` positions with its own, or over all.
    pub fn new(start: usize, t: usize, window: Option<usize>) -> Self {
        // A window that nothing lies outside of is none.
        let window = window.filter(|window| *window < start + t);
        Self { start, t, window, mask: OnceCell::new() }
    }

    /// Positions before the first query's.
    pub const fn start(&self) -> usize {
        self.start
    }

    /// The window, if it hides anything.
    pub const fn window(&self) -> Option<usize> {
        self.window
    }

    /// Positions that hold keys: those before, and the queries' own.
    pub const fn len(&self) -> usize {
        self.start + self.t
    }

    /// There are no queries.
    pub const fn is_empty(&self) -> bool {
        self.t == 0
    }

    /// The first position that any query looks at.
    pub fn first(&self) -> usize {
        self.window.map_or(0, |window| (self.start + 1).saturating_sub(window))
    }

    /// 0 where query (row) looks at key (column, from [`Span::first`]), −∞ elsewhere: t × keys.
    fn mask(&self, dtype: DType, device: &Device) -> Result<&Tensor> {
        if let Some(mask) = self.mask.get() {
            return Ok(mask);
        }
        let first = self.first();
        let row = |query: usize| {
            let end = self.start + query + 1;
            let begin = self.window.map_or(0, |window| end.saturating_sub(window));
            (first..self.len()).map(move |key| if (begin..end).contains(&key) { 0.0_f32 } else { f32::NEG_INFINITY })
        };
        let values: Vec<f32> = (0..self.t).flat_map(row).collect();
        let mask = Tensor::from_vec(values, (self.t, self.len() - first), &Device::Cpu)?;
        let mask = mask.to_dtype(dtype)?.to_device(device)?;
        Ok(self.mask.get_or_init(|| mask))
    }
}

/// softmax(q · kᵀ ÷ √d) · v, causal.
///
/// q: batch × heads × t × d, contiguous. keys, values: batch × `kv_heads` × positions × d, of which those of the span count;
/// each head of them serves the heads ÷ `kv_heads` query heads that follow one another. Gives batch·t × heads·d.
pub fn attention(q: &Tensor, keys: &Tensor, values: &Tensor, span: &Span) -> Result<Tensor> {
    let (batch, heads, t, dim) = q.dims4()?;
    let scale = 1.0 / (dim as f32).sqrt();
    let (first, count) = (span.first(), span.len() - span.first());
    let (keys, values) = (keys.narrow(2, first, count)?, values.narrow(2, first, count)?);
    // A single query's window is narrowed to; it hides nothing more.
    let masked = t > 1;
    let out = match q.device() {
        Device::Cpu if !masked => return q.apply_op3_no_bwd(&keys, &values, &cpu::DecodeAttention { scale }),
        Device::Metal(_) if fused_on_metal(dim, q, &keys) && (!masked || span.window.is_none()) => {
            candle_nn::ops::sdpa(q, &keys, &values, None, masked, scale, 1.0)?
        }
        _ => grouped(q, &keys, &values, span)?,
    };
    out.transpose(1, 2)?.reshape((batch * t, heads * dim))
}

/// The heads that candle's fused kernel on Metal was written for.
fn fused_on_metal(dim: usize, q: &Tensor, keys: &Tensor) -> bool {
    matches!(dim, 32 | 64 | 72 | 80 | 96 | 128 | 256) && q.dtype() == keys.dtype()
}

/// The two products, a key head's queries as rows of one: nothing is repeated. batch × heads × t × d.
fn grouped(q: &Tensor, keys: &Tensor, values: &Tensor, span: &Span) -> Result<Tensor> {
    let (batch, heads, t, dim) = q.dims4()?;
    let (_, kv_heads, count, _) = keys.dims4()?;
    let scale = 1.0 / (dim as f64).sqrt();
    let cpu = q.device().is_cpu();
    let dtype = if cpu { DType::F32 } else { q.dtype() };
    let (keys, values) = (keys.to_dtype(dtype)?, values.to_dtype(dtype)?);
    let rows = q.to_dtype(dtype)?.reshape((batch, kv_heads, heads / kv_heads * t, dim))?;
    #[cfg(feature = "cuda")]
    if q.device().is_cuda() {
        // Scores are scaled by the softmax: those of f16 are in range up to a hundred times what models reach.
        let scores = rows.matmul(&keys.transpose(2, 3)?)?;
        let position = span.start - span.first();
        cuda::causal_softmax(&scores, cuda::Causal { queries: t, position, window: span.window, scale })?;
        return scores.matmul(&values)?.reshape((batch, heads, t, dim));
    }
    let weights = if cpu {
        let scores = rows.matmul(&keys.transpose(2, 3)?)?;
        let first = span.start - span.first();
        let window = span.window;
        scores.inplace_op1(&cpu::MaskedSoftmax { scale: scale as f32, queries: t, first, window })?;
        scores
    } else {
        // Scaled first: products of f16 could leave its range.
        let scores = (rows * scale)?.matmul(&keys.transpose(2, 3)?)?;
        let scores = if t > 1 {
            let mask = span.mask(dtype, q.device())?;
            let apart = scores.reshape((batch * heads, t, count))?.broadcast_add(mask)?;
            apart.reshape((batch, kv_heads, heads / kv_heads * t, count))?
        } else {
            scores
        };
        candle_nn::ops::softmax_last_dim(&scores)?
    };
    debug_assert_eq!(weights.dim(D::Minus1)?, count);
    weights.matmul(&values)?.reshape((batch, heads, t, dim))?.to_dtype(q.dtype())
}
