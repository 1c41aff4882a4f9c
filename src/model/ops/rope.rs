//! Rotary positions over the two halves of a head.

use candle_core::{DType, Device, Result, Tensor};

use super::cpu;
use crate::model::ModelConfig;
#[cfg(feature = "cuda")]
use crate::model::cuda;

/// The most positions that tables are made for. No model of this kind was made for more.
const POSITIONS_MOST: usize = 1 << 17;

/// Cosines and sines of every position's angles.
#[derive(Clone, Debug)]
pub struct Rope {
    /// Positions × d/2; the activations' type on Metal, f32 elsewhere.
    pub cos: Tensor,
    /// The same of the sines.
    pub sin: Tensor,
}

impl Rope {
    /// Tables for all positions of a model whose activations are of `dtype`.
    pub fn new(config: &ModelConfig, dtype: DType, device: &Device) -> Result<Self> {
        let (half, positions) = (config.head_dim() / 2, config.max_positions.min(POSITIONS_MOST));
        let frequencies: Vec<f64> =
            (0..half).map(|i| config.rope_theta.powf(-2.0 * i as f64 / config.head_dim() as f64)).collect();
        let table = |function: fn(f64) -> f64| {
            let angles = (0..positions).flat_map(|p| frequencies.iter().map(move |frequency| p as f64 * frequency));
            let values: Vec<f32> = angles.map(|angle| function(angle) as f32).collect();
            // Our own code reads f32; candle's kernels want one type for all.
            let dtype = if device.is_metal() { dtype } else { DType::F32 };
            Tensor::from_vec(values, (positions, half), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
        };
        Ok(Self { cos: table(f64::cos)?, sin: table(f64::sin)? })
    }

    /// Positions that there are angles for.
    pub fn positions(&self) -> usize {
        self.cos.dims().first().copied().unwrap_or(0)
    }

    /// Angles of `t` positions from `start`: t × d/2 each.
    pub fn angles(&self, start: usize, t: usize) -> Result<(Tensor, Tensor)> {
        Ok((self.cos.narrow(0, start, t)?, self.sin.narrow(0, start, t)?))
    }
}

/// Heads of the rows of `qkv`, rotated: its rows (batch·t × n, the positions of one sequence after those of another) hold
/// queries, keys and values, each head after head, for positions from `start`.
///
/// Gives q (batch × heads × t × d), k and v (batch × `kv_heads` × t × d), all contiguous.
pub fn rope_and_split(
    qkv: &Tensor,
    batch: usize,
    config: &ModelConfig,
    rope: &Rope,
    start: usize,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (rows, _) = qkv.dims2()?;
    let t = rows / batch.max(1);
    let (heads, kv_heads, dim) = (config.heads(), config.kv_heads(), config.head_dim());
    let (cos, sin) = rope.angles(start, t)?;
    if qkv.device().is_cpu() {
        let flat = qkv.apply_op3_no_bwd(&cos, &sin, &cpu::Split { batch, heads, kv_heads })?;
        let (queries, keys) = (rows * heads * dim, rows * kv_heads * dim);
        let kv = (batch, kv_heads, t, dim);
        let q = flat.narrow(0, 0, queries)?.reshape((batch, heads, t, dim))?;
        let k = flat.narrow(0, queries, keys)?.reshape(kv)?;
        return Ok((q, k, flat.narrow(0, queries + keys, keys)?.reshape(kv)?));
    }
    #[cfg(feature = "cuda")]
    if qkv.device().is_cuda() {
        let zeros = || Tensor::zeros((batch, kv_heads, t, dim), qkv.dtype(), qkv.device());
        let (k, v) = (zeros()?, zeros()?);
        let places = cuda::Places { cos: &rope.cos, sin: &rope.sin, position: start, offset: 0 };
        return Ok((cuda::split(qkv, heads, &k, &v, places)?, k, v));
    }
    // q and k lie side by side and turn alike: one rotation for both.
    let turned = heads + kv_heads;
    let qk = heads_of(&qkv.narrow(1, 0, turned * dim)?, (batch, t, turned, dim))?;
    let v = heads_of(&qkv.narrow(1, turned * dim, kv_heads * dim)?, (batch, t, kv_heads, dim))?;
    let qk = candle_nn::rotary_emb::rope(&qk, &cos, &sin)?;
    Ok((qk.narrow(1, 0, heads)?.contiguous()?, qk.narrow(1, heads, kv_heads)?.contiguous()?, v))
}

/// batch·t × heads·d to batch × heads × t × d, contiguous.
fn heads_of(rows: &Tensor, shape: (usize, usize, usize, usize)) -> Result<Tensor> {
    rows.reshape(shape)?.transpose(1, 2)?.contiguous()
}
