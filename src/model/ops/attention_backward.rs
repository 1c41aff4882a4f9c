//! Causal attention for training: forward without a cache, and its gradient.
//!
//! Probabilities aren't kept: the backward pass computes them again, so that a block holds O(t) and not O(t²).

use candle_core::{DType, Device, Result, Tensor};

use super::backward::softmax_backward;

/// Scores of so many bytes in f32 are held at once; larger problems go through some heads at a time.
const SCORES_BYTES: usize = 256 << 20;

/// What a position may look at: t × t in f32, zero or −∞. `window` counts the position itself.
pub fn causal_mask(t: usize, window: Option<usize>, device: &Device) -> Result<Tensor> {
    let window = window.unwrap_or(t).max(1);
    let seen = |query: usize, key: usize| key <= query && query - key < window;
    let value = |at: usize| if seen(at / t, at % t) { 0.0 } else { f32::NEG_INFINITY };
    Tensor::from_vec((0..t * t).map(value).collect::<Vec<f32>>(), (t, t), device)
}

/// Attention of queries over keys and values at the same positions, each at those that `mask` leaves.
///
/// q: batch × heads × t × `head_dim`, already scaled by 1 ÷ √`head_dim`; k, v: batch × `kv_heads` × t × `head_dim`; all
/// contiguous. Gives the shape of q.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let parts = Parts::of(q, k)?;
    let (q_rows, k_rows, v_rows) = (parts.queries(q)?, parts.keys(k)?, parts.keys(v)?);
    let mut outputs = Vec::new();
    for (start, len) in parts.chunks() {
        let q = q_rows.narrow(0, start, len)?;
        let p = parts.probabilities(&q, &k_rows.narrow(0, start, len)?, mask)?;
        outputs.push(p.to_dtype(q.dtype())?.matmul(&v_rows.narrow(0, start, len)?)?);
    }
    join(outputs)?.reshape(q.shape())
}

/// The gradients of [`attention`]'s q, k and v from that of its output, in the shapes of each.
pub fn attention_backward(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: &Tensor,
    dy: &Tensor,
) -> Result<(Tensor, Tensor, Tensor)> {
    let parts = Parts::of(q, k)?;
    let dtype = q.dtype();
    let (q_rows, dy_rows) = (parts.queries(q)?, parts.queries(dy)?);
    let (k_rows, v_rows) = (parts.keys(k)?, parts.keys(v)?);
    let (mut dq, mut dk, mut dv) = (Vec::new(), Vec::new(), Vec::new());
    for (start, len) in parts.chunks() {
        let (q, dy) = (q_rows.narrow(0, start, len)?, dy_rows.narrow(0, start, len)?);
        let (k, v) = (k_rows.narrow(0, start, len)?, v_rows.narrow(0, start, len)?);
        let p = parts.probabilities(&q, &k, mask)?;
        // The rows of a group lie one after another, so that these products also sum over it.
        dv.push(p.to_dtype(dtype)?.transpose(1, 2)?.matmul(&dy)?);
        let dp = dy.matmul(&v.transpose(1, 2)?)?.to_dtype(DType::F32)?;
        let ds = softmax_backward(&p, &dp)?.to_dtype(dtype)?;
        dq.push(ds.matmul(&k)?);
        dk.push(ds.transpose(1, 2)?.matmul(&q)?);
    }
    Ok((join(dq)?.reshape(q.shape())?, join(dk)?.reshape(k.shape())?, join(dv)?.reshape(v.shape())?))
}

/// How queries fold onto the heads of keys: one batch entry a key head, with the rows of all its query heads.
struct Parts {
    entries: usize,
    group: usize,
    t: usize,
    head_dim: usize,
}

impl Parts {
    fn of(q: &Tensor, k: &Tensor) -> Result<Self> {
        let (batch, heads, t, head_dim) = q.dims4()?;
        let kv_heads = k.dim(1)?;
        Ok(Self { entries: batch * kv_heads, group: heads / kv_heads.max(1), t, head_dim })
    }

    fn queries(&self, q: &Tensor) -> Result<Tensor> {
        q.reshape((self.entries, self.group * self.t, self.head_dim))
    }

    fn keys(&self, k: &Tensor) -> Result<Tensor> {
        k.reshape((self.entries, self.t, self.head_dim))
    }

    /// First entry and number of entries of each chunk.
    fn chunks(&self) -> Vec<(usize, usize)> {
        let one = self.group * self.t * self.t * DType::F32.size_in_bytes();
        let len = (SCORES_BYTES / one.max(1)).clamp(1, self.entries.max(1));
        (0..self.entries).step_by(len).map(|start| (start, len.min(self.entries - start))).collect()
    }

    /// Softmax of the masked scores of some entries, in f32: len × group·t × t.
    fn probabilities(&self, q: &Tensor, k: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let len = q.dim(0)?;
        let scores = q.matmul(&k.transpose(1, 2)?)?.to_dtype(DType::F32)?;
        let scores = scores.reshape((len * self.group, self.t, self.t))?.broadcast_add(mask)?;
        candle_nn::ops::softmax_last_dim(&scores)?.reshape((len, self.group * self.t, self.t))
    }
}

fn join(mut parts: Vec<Tensor>) -> Result<Tensor> {
    match parts.len() {
        1 => Ok(parts.swap_remove(0)),
        _ => Tensor::cat(&parts, 0),
    }
}
