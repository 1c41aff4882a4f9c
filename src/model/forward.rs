//! The forward pass.

use candle_core::{D, DType, Device, Result as Candle, Tensor};

use super::{
    Cache, LayerWeights, ModelError, Weights,
    ops::{self, Rope, Span},
};

const CUDA_BETWEEN: &str = "cuBLAS products, Roofline's CUDA kernels for the steps between";

/// A model that can run.
#[derive(Debug)]
pub struct Model {
    /// Its weights.
    pub weights: Weights,
    /// The angles of its positions.
    pub rope: Rope,
}

/// Called between blocks, and on the processor between products: the cancellation point of long passes.
pub type Check<'a> = dyn FnMut() -> Result<(), ModelError> + 'a;

/// What a streamed position gives.
#[cfg(feature = "cuda")]
struct Streamed<'c> {
    logits: Tensor,
    step: &'c super::cuda::Decode,
}

/// What a block gives to the next.
struct Stream {
    /// The sum so far: batch·t × hidden.
    residual: Tensor,
    /// Its norm, with the next step's scale.
    normed: Tensor,
}

impl Model {
    /// A model of these weights.
    pub fn new(weights: Weights) -> Result<Self, ModelError> {
        let rope = Rope::new(&weights.config, weights.dtype, weights.device())?;
        Ok(Self { weights, rope })
    }

    /// A cache for `positions` of `batch` sequences, in the type that is fastest here.
    pub fn cache(&self, batch: usize, positions: usize) -> Result<Cache, ModelError> {
        self.weights_fit(positions)?;
        Cache::new(&self.weights.config, batch, positions, self.kept(), self.weights.device())
    }

    /// The code that runs here, for `batch` sequences: `single` positions, or many at once.
    pub fn path(&self, batch: usize, single: bool) -> &'static str {
        #[cfg(feature = "cuda")]
        if single && self.weights.device().is_cuda() && super::cuda::Decode::fits(&self.weights, batch) {
            return "Roofline's CUDA kernels, five launches a block";
        }
        match self.weights.device() {
            Device::Cpu if single && batch == 1 && ops::has_own_product(&self.weights) => {
                "Roofline's products by Q4_K, candle's by the rest; Roofline's norms, rotation, gates and attention"
            }
            Device::Cpu => "candle's products; Roofline's norms, rotation, gates and attention",
            Device::Metal(_) => "candle's products, norms, rotation and fused attention on Metal",
            Device::Cuda(_) if self.weights.is_quantized() => {
                "candle's quantised products, Roofline's CUDA kernels for the steps between"
            }
            Device::Cuda(_) => CUDA_BETWEEN,
        }
    }

    /// The code that training runs here.
    pub fn training_path(&self) -> &'static str {
        match self.weights.device() {
            Device::Cpu => "candle's products, Roofline's steps between",
            Device::Metal(_) => "candle's products and steps on Metal",
            // Quantised weights are widened for the backward pass.
            Device::Cuda(_) if self.weights.is_quantized() => {
                "candle's quantised products forward, cuBLAS products backward, Roofline's CUDA kernels for the steps between"
            }
            Device::Cuda(_) => CUDA_BETWEEN,
        }
    }

    /// The type of keys and values: that of activations, but f16 beside quantised weights on the processor, where half the
    /// bytes count for more than widening them.
    fn kept(&self) -> DType {
        let narrow = self.weights.device().is_cpu() && self.weights.is_quantized();
        if narrow { DType::F16 } else { self.weights.dtype }
    }

    /// Positions that one pass takes at most; longer prompts are taken piece by piece. It bounds the memory of the scores,
    /// and on the processor the time between two cancellation points.
    pub fn chunk(&self) -> usize {
        ops::chunk(self.weights.device())
    }

    /// Runs `ids` (batch × t, u32) after the positions in `cache`, and adds theirs to it. Returns hidden states after the
    /// last norm: batch × t × hidden.
    pub fn forward(&self, ids: &Tensor, cache: &mut Cache, check: &mut Check<'_>) -> Result<Tensor, ModelError> {
        let mut parts = Vec::new();
        self.pieces(ids, cache, check, &mut |stream| {
            let hidden = self.weights.config.hidden();
            parts.push(stream.normed.reshape((ids.dim(0)?, (), hidden))?);
            Ok(())
        })?;
        match parts.as_slice() {
            [one] => Ok(one.clone()),
            parts => Ok(Tensor::cat(parts, 1)?),
        }
    }

    /// Logits of hidden states: m × hidden to m × vocabulary.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor, ModelError> {
        Ok(ops::product(&self.weights.head, hidden)?)
    }

    /// Runs `ids` (batch × t, u32) and returns the logits after the last position of each sequence: batch × vocabulary.
    pub fn last_logits(&self, ids: &Tensor, cache: &mut Cache, check: &mut Check<'_>) -> Result<Tensor, ModelError> {
        #[cfg(feature = "cuda")]
        if let Some(decode) = self.streaming(ids, cache)? {
            // The next step writes over them.
            return Ok(decode.logits.copy()?);
        }
        let mut last = None;
        self.pieces(ids, cache, check, &mut |stream| {
            last = Some(stream.normed);
            Ok(())
        })?;
        let last = last.ok_or_else(|| ModelError::Asked("no tokens were given to run".to_owned()))?;
        let (rows, hidden) = last.dims2()?;
        let batch = ids.dim(0)?;
        let t = rows / batch.max(1);
        let last = if t == 1 {
            last
        } else {
            last.reshape((batch, t, hidden))?.narrow(1, t - 1, 1)?.contiguous()?.reshape((batch, hidden))?
        };
        self.logits(&last)
    }

    /// Runs `ids` and returns the most likely next token of each sequence, on the device: batch, u32.
    pub fn next(&self, ids: &Tensor, cache: &mut Cache, check: &mut Check<'_>) -> Result<Tensor, ModelError> {
        #[cfg(feature = "cuda")]
        if let Some(decode) = self.streaming(ids, cache)? {
            return Ok(decode.step.highest()?);
        }
        Ok(self.last_logits(ids, cache, check)?.argmax(D::Minus1)?)
    }

    /// One position by the kernels that stream the weights, where they fit: its logits in f32, and the step to go on with.
    #[cfg(feature = "cuda")]
    fn streaming<'c>(&self, ids: &Tensor, cache: &'c mut Cache) -> Result<Option<Streamed<'c>>, ModelError> {
        use super::cuda::{Decode, Step};
        let (batch, t) = ids.dims2()?;
        let weights = &self.weights;
        if t != 1 || !ids.device().is_cuda() || cache.dtype() != Some(weights.dtype) || !Decode::fits(weights, batch) {
            return Ok(None);
        }
        self.room(batch, t, cache)?;
        if cache.decode.is_none() {
            cache.decode = Some(Decode::new(&weights.config, batch, weights.dtype, weights.device())?);
        }
        let position = cache.len();
        cache.advance(1);
        let layers = cache.layers();
        let (keys, values): (Vec<_>, Vec<_>) =
            layers.iter().map(|layer| (layer.keys.clone(), layer.values.clone())).unzip();
        let Some(step) = &cache.decode else { return Ok(None) };
        let place = Step { keys: &keys, values: &values, cos: &self.rope.cos, sin: &self.rope.sin, position };
        let logits = step.logits(weights, &ids.flatten_all()?, place)?;
        Ok(Some(Streamed { logits, step }))
    }

    /// Runs `ids` in pieces of at most [`Model::chunk`] positions and hands what each gives to `take`.
    fn pieces(
        &self,
        ids: &Tensor,
        cache: &mut Cache,
        check: &mut Check<'_>,
        take: &mut dyn FnMut(Stream) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let (batch, total) = ids.dims2()?;
        self.room(batch, total, cache)?;
        let mut from = 0;
        while from < total {
            let t = self.chunk().min(total - from);
            let piece = if t == total { ids.clone() } else { ids.narrow(1, from, t)? };
            take(self.piece(&piece.flatten_all()?, cache, check)?)?;
            cache.advance(t);
            from += t;
            if from < total && ids.device().is_metal() {
                // What is queued can't be taken back: the next cancellation point waits until this piece is computed.
                ids.device().synchronize()?;
            }
        }
        Ok(())
    }

    /// Whether `t` more positions of `batch` sequences can be run.
    fn room(&self, batch: usize, t: usize, cache: &Cache) -> Result<(), ModelError> {
        if batch != cache.batch() || batch == 0 {
            return Err(ModelError::Asked(format!(
                "{batch} sequences were given to a cache for {}; make one for as many",
                cache.batch()
            )));
        }
        let wanted = cache.len() + t;
        if wanted > cache.capacity() {
            return Err(ModelError::Asked(format!(
                "{wanted} positions don't fit into a cache for {}; make a longer one",
                cache.capacity()
            )));
        }
        self.weights_fit(wanted)
    }

    /// Whether the model was made for so many positions.
    fn weights_fit(&self, positions: usize) -> Result<(), ModelError> {
        if positions <= self.rope.positions() {
            return Ok(());
        }
        Err(ModelError::Asked(format!(
            "{positions} positions are more than the {} that this model was made for; choose a shorter prompt, depth or length",
            self.rope.positions()
        )))
    }

    /// Runs one piece: `ids` (batch·t, flat) through all blocks.
    fn piece(&self, ids: &Tensor, cache: &Cache, check: &mut Check<'_>) -> Result<Stream, ModelError> {
        let (weights, eps) = (&self.weights, self.weights.config.norm_eps);
        let t = ids.elem_count() / cache.batch().max(1);
        let span = Span::new(cache.len(), t, weights.config.window);
        let residual = ops::embed(&weights.embedding, ids, weights.dtype)?;
        let first = weights.layers.first().map_or(&weights.norm, |layer| &layer.attention_norm);
        let mut stream = Stream { normed: ops::rms_norm(&residual, first, eps)?, residual };
        for (index, layer) in weights.layers.iter().enumerate() {
            check()?;
            let after = weights.layers.get(index + 1).map_or(&weights.norm, |layer| &layer.attention_norm);
            let mixed = self.mix(layer, &stream.normed, cache, index, &span)?;
            between(weights.device(), check)?;
            let projected = ops::product(&layer.o, &mixed)?;
            let (residual, normed) = ops::add_rms_norm(&stream.residual, &projected, &layer.mlp_norm, eps)?;
            let gate_up = ops::project(&layer.gate_up, &normed)?;
            between(weights.device(), check)?;
            let down = ops::product(&layer.down, &ops::swiglu(&gate_up)?)?;
            let (residual, normed) = ops::add_rms_norm(&residual, &down, after, eps)?;
            stream = Stream { residual, normed };
        }
        Ok(stream)
    }

    /// Attention of one block up to its output projection: batch·t × hidden to batch·t × heads·d.
    fn mix(&self, layer: &LayerWeights, x: &Tensor, cache: &Cache, index: usize, span: &Span) -> Candle<Tensor> {
        let qkv = ops::project(&layer.qkv, x)?;
        let Some(kept) = cache.layers().get(index) else {
            candle_core::bail!("the cache has no block {index}; make one for this model")
        };
        #[cfg(feature = "cuda")]
        if qkv.device().is_cuda() && kept.keys.dtype() == qkv.dtype() {
            // Keys and values go straight to their places.
            let (cos, sin, position) = (&self.rope.cos, &self.rope.sin, span.start());
            let places = super::cuda::Places { cos, sin, position, offset: position };
            let q = super::cuda::split(&qkv, self.weights.config.heads(), &kept.keys, &kept.values, places)?;
            return ops::attention(&q, &kept.keys, &kept.values, span);
        }
        let (q, k, v) = ops::rope_and_split(&qkv, cache.batch(), &self.weights.config, &self.rope, span.start())?;
        kept.write(&k, &v, span.start())?;
        ops::attention(&q, &kept.keys, &kept.values, span)
    }
}

/// A cancellation point between products: the processor computes at once, the others only note what is to be done.
fn between(device: &Device, check: &mut Check<'_>) -> Result<(), ModelError> {
    if device.is_cpu() { check() } else { Ok(()) }
}
