//! Causal attention for training: forward without a cache, and its gradient.
//!
//! Probabilities aren't kept: the backward pass computes them again, so that a block holds O(t) and not O(t²).

use candle_core::{DType, Device, Result, Tensor};

use super::{backward::softmax_backward, cpu};
#[cfg(feature = "cuda")]
use crate::model::cuda;

/// Scores of so many bytes in f32 are held at once; larger problems go through some heads at a time.
const SCORES_BYTES: usize = 256 << 20;

/// What each position looks at: itself and those before it, as far as the window goes.
#[derive(Debug)]
pub struct Causal {
    t: usize,
    /// How many positions are looked at, the own one included.
    window: Option<usize>,
    /// t × t in f32, 0 or −∞, where the code for a device needs it.
    mask: Option<Tensor>,
}

impl Causal {
    /// For `t` positions.
    pub fn new(t: usize, window: Option<usize>, device: &Device) -> Result<Self> {
        let mask = if !device.is_metal() { None } else { Some(causal_mask(t, window, device)?) };
        Ok(Self { t, window, mask })
    }
}

fn causal_mask(t: usize, window: Option<usize>, device: &Device) -> Result<Tensor> {
    let window = window.unwrap_or(t).max(1);
    let seen = |query: usize, key: usize| key <= query && query - key < window;
    let value = |at: usize| if seen(at / t, at % t) { 0.0 } else { f32::NEG_INFINITY };
    Tensor::from_vec((0..t * t).map(value).collect::<Vec<f32>>(), (t, t), device)
}

/// softmax(q·kᵀ ÷ √`head_dim`)·v over the positions that `causal` leaves.
///
/// q: batch × heads × t × `head_dim`; k, v: batch × `kv_heads` × t × `head_dim`; all contiguous. Gives the shape of q.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, causal: &Causal) -> Result<Tensor> {
    let parts = Parts::of(q, k)?;
    let (q_rows, k_rows, v_rows) = (parts.queries(q)?, parts.keys(k)?, parts.keys(v)?);
    let mut outputs = Vec::new();
    for (start, len) in parts.chunks() {
        let q = q_rows.narrow(0, start, len)?;
        let p = parts.probabilities(&q, &k_rows.narrow(0, start, len)?, causal)?;
        outputs.push(p.to_dtype(q.dtype())?.matmul(&v_rows.narrow(0, start, len)?)?);
    }
    join(outputs)?.reshape(q.shape())
}

/// The gradients of [`attention`]'s q, k and v from that of its output, in the shapes of each. All contiguous.
pub fn attention_backward(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    causal: &Causal,
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
        let p = parts.probabilities(&q, &k, causal)?;
        #[cfg(feature = "cuda")]
        if q.device().is_cuda() {
            dv.push(p.transpose(1, 2)?.matmul(&dy)?);
            let ds = dy.matmul(&v.transpose(1, 2)?)?;
            cuda::softmax_backward(&p, &ds, parts.scale())?;
            dq.push(ds.matmul(&k)?);
            dk.push(ds.transpose(1, 2)?.matmul(&q)?);
            continue;
        }
        // The rows of a group lie one after another, so that these products also sum over it.
        dv.push(p.to_dtype(dtype)?.transpose(1, 2)?.matmul(&dy)?);
        let dp = dy.matmul(&v.transpose(1, 2)?)?.to_dtype(DType::F32)?;
        let ds = softmax_backward(&p, dp, parts.scale())?.to_dtype(dtype)?;
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

    fn scale(&self) -> f64 {
        1.0 / (self.head_dim as f64).sqrt()
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
    fn probabilities(&self, q: &Tensor, k: &Tensor, causal: &Causal) -> Result<Tensor> {
        let keys = k.transpose(1, 2)?;
        #[cfg(feature = "cuda")]
        if q.device().is_cuda() {
            // In the activations' type, as the products that follow want them.
            let scores = q.matmul(&keys)?;
            let window = causal.window;
            cuda::causal_softmax(&scores, cuda::Causal { queries: self.t, position: 0, window, scale: self.scale() })?;
            return Ok(scores);
        }
        let Some(mask) = &causal.mask else {
            let scores = q.matmul(&keys)?.to_dtype(DType::F32)?;
            let scale = self.scale() as f32;
            let softmax = cpu::MaskedSoftmax { scale, queries: causal.t, first: 0, window: causal.window };
            scores.inplace_op1(&softmax)?;
            return Ok(scores);
        };
        // Scaled first: products of f16 could leave its range.
        let scores = q.affine(self.scale(), 0.0)?.matmul(&keys)?.to_dtype(DType::F32)?;
        let len = q.dim(0)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Dtype, random};

    fn values(seed: u32, dims: (usize, usize, usize, usize)) -> Tensor {
        let count = (dims.0 * dims.1 * dims.2 * dims.3) as u32;
        let values: Vec<f32> = (0..count).map(|at| random::unit(Dtype::F32, seed, at) as f32).collect();
        Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
    }

    #[test]
    fn a_mask_and_the_processor_s_softmax_agree() {
        let (q, dy) = (values(1, (2, 4, 9, 6)), values(2, (2, 4, 9, 6)));
        let (k, v) = (values(3, (2, 2, 9, 6)), values(4, (2, 2, 9, 6)));
        for window in [None, Some(1), Some(4)] {
            let plain = Causal::new(9, window, &Device::Cpu).unwrap();
            let masked = Causal { mask: Some(causal_mask(9, window, &Device::Cpu).unwrap()), ..plain };
            let plain = Causal::new(9, window, &Device::Cpu).unwrap();
            let both = [&plain, &masked].map(|causal| {
                let y = attention(&q, &k, &v, causal).unwrap();
                let (dq, dk, dv) = attention_backward(&q, &k, &v, causal, &dy).unwrap();
                [y, dq, dk, dv].map(|tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()).concat()
            });
            for (plain, masked) in both[0].iter().zip(&both[1]) {
                assert!((plain - masked).abs() < 1e-5, "{plain} {masked}");
            }
        }
    }
}
