//! One position of a whole model, in five launches a block. See `shaders/decode.cu`.

use candle_core::{DType, Device, Error, Result, Tensor};

use candle_core::cuda_backend::cudarc::driver::sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR;

use super::{Argument, DECODE, DECODE_EARLY, address, base, int, launch, launch_early, room, suffix};
use crate::model::{LayerWeights, Linear, ModelConfig, Weights};

/// The most parts that the positions of one head are divided into.
const SPLITS: usize = 64;
/// Threads of a block of every kernel but the two small ones: four warps.
const THREADS: u32 = 128;
/// Warps of such a block.
const WARPS: usize = 4;
/// Sequences that the kernels are compiled for.
const BATCHES: [usize; 3] = [1, 2, 4];
/// Query heads for each key head that they are compiled for.
const GROUPS: [usize; 4] = [1, 2, 4, 8];

/// What one position needs room for, kept from position to position.
#[derive(Debug)]
pub struct Decode {
    batch: usize,
    /// Kernels start before the one before them ends.
    early: bool,
    ids: Tensor,
    x: Tensor,
    qkv: Tensor,
    attended: Tensor,
    inner: Tensor,
    logits: Tensor,
    parts: Tensor,
    counters: Tensor,
}

/// Where a step stands, and what it looks at.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Keys of each block: batch × kv × capacity × dim.
    pub keys: &'a [Tensor],
    /// Values of each block, as the keys.
    pub values: &'a [Tensor],
    /// Cosines and sines in f32: positions × `head_dim ÷ 2`.
    pub cos: &'a Tensor,
    /// See `cos`.
    pub sin: &'a Tensor,
    /// The position of the new token: as many are in the cache.
    pub position: usize,
}

impl Decode {
    /// Whether the kernels fit a model: dense in 16 bits, heads of 64 or 128, groups of 1, 2, 4 or 8, and 1, 2 or 4
    /// sequences: beyond, tensor cores are faster.
    pub fn fits(weights: &Weights, batch: usize) -> bool {
        let config = &weights.config;
        let group = config.heads() / config.kv_heads().max(1);
        // Files may mix quantised and dense matrices.
        let all_dense = |layer: &LayerWeights| {
            let stacked = [&layer.qkv, &layer.gate_up].into_iter().all(|stacked| one(&stacked.parts).is_ok());
            stacked && [&layer.o, &layer.down].into_iter().all(|matrix| dense(matrix).is_ok())
        };
        matches!(weights.dtype, DType::F16 | DType::BF16)
            && weights.layers.iter().all(all_dense)
            && [&weights.embedding, &weights.head].into_iter().all(|table| dense(table).is_ok())
            && BATCHES.contains(&batch)
            && GROUPS.contains(&group)
            && matches!(config.head_dim(), 64 | 128)
            && [config.hidden(), config.intermediate()].iter().all(|width| width % 8 == 0)
    }

    /// Room for `batch` sequences.
    pub fn new(config: &ModelConfig, batch: usize, dtype: DType, device: &Device) -> Result<Self> {
        let queries = config.heads() * config.head_dim();
        let width = queries + 2 * config.kv_heads() * config.head_dim();
        let context = device.as_cuda_device()?.cuda_stream().context().clone();
        let capability = context.attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR).unwrap_or(0);
        Ok(Self {
            batch,
            early: capability >= 9,
            ids: Tensor::zeros(batch, DType::U32, device)?,
            x: room((batch, config.hidden()), dtype, device)?,
            qkv: room((batch, width), dtype, device)?,
            attended: room((batch, queries), dtype, device)?,
            inner: room((batch, config.intermediate()), dtype, device)?,
            logits: room((batch, config.vocabulary()), DType::F32, device)?,
            parts: room((batch, config.heads(), SPLITS, config.head_dim() + 2), DType::F32, device)?,
            counters: Tensor::zeros((batch, config.kv_heads()), DType::U32, device)?,
        })
    }

    /// Runs `ids` (batch, u32) at `step.position`, adds its keys and values to the cache, and returns the logits in f32
    /// (batch × vocabulary), which stay until the next step.
    pub fn logits(&self, weights: &Weights, ids: &Tensor, step: Step<'_>) -> Result<Tensor> {
        let capacity = step.keys.first().map_or(Ok(0), |keys| keys.dim(2))?;
        if ids.elem_count() != self.batch || step.position >= capacity || step.position >= step.cos.dim(0)? {
            return Err(Error::Msg("a decoding step doesn't fit its cache".to_owned()));
        }
        self.lookup(weights, ids)?;
        let eps = weights.config.norm_eps;
        for (index, layer) in weights.layers.iter().enumerate() {
            let (Some(keys), Some(values)) = (step.keys.get(index), step.values.get(index)) else {
                return Err(Error::Msg("the cache has too few blocks".to_owned()));
            };
            self.product("normed", one(&layer.qkv.parts)?, &self.x, Some((&layer.attention_norm, eps)), &self.qkv)?;
            self.attend(&weights.config, keys, values, step)?;
            self.product("added", dense(&layer.o)?, &self.attended, None, &self.x)?;
            self.product("gated", one(&layer.gate_up.parts)?, &self.x, Some((&layer.mlp_norm, eps)), &self.inner)?;
            self.product("added", dense(&layer.down)?, &self.inner, None, &self.x)?;
        }
        self.product("logits", dense(&weights.head)?, &self.x, Some((&weights.norm, eps)), &self.logits)?;
        Ok(self.logits.clone())
    }

    /// The most likely next token of each sequence after [`Decode::logits`]: batch, u32.
    #[expect(unsafe_code, reason = "starts a kernel")]
    pub fn highest(&self) -> Result<Tensor> {
        let ids = room(self.batch, DType::U32, self.ids.device())?;
        let arguments = [address(&self.logits)?, address(&ids)?, int(self.logits.dim(1)?)?];
        let grid = (self.batch as u32, 1, 1);
        // SAFETY: one block a row of logits, one id a row.
        unsafe { self.start("highest", grid, 1024, &arguments)? };
        Ok(ids)
    }

    /// Starts one of the kernels, each of which waits for the one before it.
    ///
    /// # Safety
    /// As for [`launch`].
    #[expect(unsafe_code, reason = "starts a kernel")]
    unsafe fn start(&self, name: &str, grid: (u32, u32, u32), threads: u32, arguments: &[Argument]) -> Result<()> {
        let device = self.ids.device();
        // SAFETY: promised by the caller; every kernel of the file waits before it touches what others write.
        unsafe {
            if self.early {
                launch_early(device, DECODE_EARLY, name, grid, threads, arguments)
            } else {
                launch(device, DECODE, name, grid, threads, arguments)
            }
        }
    }

    #[expect(unsafe_code, reason = "starts a kernel")]
    fn lookup(&self, weights: &Weights, ids: &Tensor) -> Result<()> {
        let (table, hidden) = (dense(&weights.embedding)?, weights.config.hidden());
        let arguments = [base(ids)?, address(table)?, address(&self.x)?, int(hidden)?];
        let name = format!("lookup_{}", suffix(weights.dtype)?);
        let grid = (hidden.div_ceil(256) as u32, self.batch as u32, 1);
        // SAFETY: ids are below the vocabulary (they come from the tokenizer, a seeded draw below it, or `highest`).
        unsafe { self.start(&name, grid, 256, &arguments) }
    }

    /// One of the streaming products; `norm` is the scale and epsilon of the norm before it.
    #[expect(unsafe_code, reason = "starts a kernel")]
    fn product(&self, kind: &str, w: &Tensor, x: &Tensor, norm: Option<(&Tensor, f64)>, out: &Tensor) -> Result<()> {
        let (outputs, k) = w.dims2()?;
        let n = if kind == "gated" { outputs / 2 } else { outputs };
        if x.elem_count() != self.batch * k || out.elem_count() != self.batch * n {
            return Err(Error::Msg(format!("a matrix of {outputs} × {k} doesn't fit its input or output")));
        }
        let (scale, eps) = match norm {
            Some((scale, eps)) => (address(scale)?, eps as f32),
            None => (Argument::Address(0), 0.0),
        };
        let arguments = [address(w)?, address(x)?, scale, Argument::Float(eps), address(out)?, int(n)?, int(k)?];
        let name = format!("{kind}_{}_{}", suffix(w.dtype())?, self.batch);
        // So many warps share two rows of the matrix: two outputs, or one and its gate.
        let shared = match kind {
            "added" => 4,
            "logits" => 1,
            _ => 2,
        };
        let pairs = if kind == "gated" { n } else { n.div_ceil(2) };
        let grid = ((pairs * shared).div_ceil(WARPS) as u32, 1, 1);
        // SAFETY: the sizes were compared above.
        unsafe { self.start(&name, grid, THREADS, &arguments) }
    }

    #[expect(unsafe_code, reason = "starts a kernel")]
    fn attend(&self, config: &ModelConfig, keys: &Tensor, values: &Tensor, step: Step<'_>) -> Result<()> {
        let (batch, kv_heads, capacity, dim) = keys.dims4()?;
        if batch != self.batch || values.dims() != keys.dims() {
            return Err(Error::Msg("the cache holds another number of sequences".to_owned()));
        }
        let arguments = [
            address(&self.qkv)?,
            address(keys)?,
            address(values)?,
            address(step.cos)?,
            address(step.sin)?,
            address(&self.parts)?,
            address(&self.counters)?,
            address(&self.attended)?,
            int(kv_heads)?,
            int(capacity)?,
            int(step.position)?,
            int(config.window.unwrap_or(0))?,
            Argument::Float((1.0 / (dim as f64).sqrt()) as f32),
        ];
        let name = format!("attend_{}_{dim}_{}", suffix(self.qkv.dtype())?, config.heads() / kv_heads.max(1));
        let grid = (kv_heads as u32, SPLITS as u32, batch as u32);
        // SAFETY: qkv, caches, tables, parts and counters have the sizes that `new` and `logits` made sure of.
        unsafe { self.start(&name, grid, THREADS, &arguments) }
    }
}

fn dense(linear: &Linear) -> Result<&Tensor> {
    match linear {
        Linear::Dense(weight) => Ok(weight),
        Linear::Quantized { .. } => Err(Error::Msg("the kernel takes no quantised matrix".to_owned())),
    }
}

fn one(parts: &[Linear]) -> Result<&Tensor> {
    match parts {
        [part] => dense(part),
        _ => Err(Error::Msg("the kernel takes one matrix".to_owned())),
    }
}
