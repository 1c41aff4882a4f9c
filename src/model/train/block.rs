//! One block of the model, forward and backward, by hand.
//!
//! The frozen matrices need no gradients of their own, and the steps are always the same: so nothing is recorded but what
//! the backward pass reads, and each gradient is one function.

use candle_core::{DType, Device, Result as Candle, Tensor};

#[cfg(feature = "cuda")]
use crate::model::cuda;
use crate::model::{
    Check, LayerWeights, ModelConfig, ModelError,
    lora::{Adapters, Gradients, Site, Through},
    ops::{
        self, Rope,
        attention_backward::{Causal, attention, attention_backward},
        backward::{rms_norm_backward, rope_backward, swiglu_backward},
    },
};

/// What all blocks share in a pass over `batch` sequences of `t` positions.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) batch: usize,
    pub(super) t: usize,
    config: ModelConfig,
    /// Angles that turn gradients back: t × `head_dim`/2 in the activations' type.
    cos: Tensor,
    minus_sin: Tensor,
    #[cfg(feature = "cuda")]
    sin: Tensor,
    causal: Causal,
}

impl Layout {
    pub(super) fn new(
        config: &ModelConfig,
        rope: &Rope,
        (batch, t): (usize, usize),
        dtype: DType,
        device: &Device,
    ) -> Candle<Self> {
        let (cos, sin) = rope.angles(0, t)?;
        // Our CUDA kernels read the angles as they are, in f32.
        let dtype = if device.is_cuda() { cos.dtype() } else { dtype };
        Ok(Self {
            batch,
            t,
            config: config.clone(),
            cos: cos.to_dtype(dtype)?.contiguous()?,
            minus_sin: sin.neg()?.to_dtype(dtype)?.contiguous()?,
            #[cfg(feature = "cuda")]
            sin: sin.contiguous()?,
            causal: Causal::new(t, config.window, device)?,
        })
    }

    /// Columns of m rows as heads: batch × heads × t × `head_dim`.
    fn heads(&self, rows: &Tensor, start: usize, heads: usize) -> Candle<Tensor> {
        let head_dim = self.config.head_dim();
        let columns = rows.narrow(1, start, heads * head_dim)?;
        columns.reshape((self.batch, self.t, heads, head_dim))?.transpose(1, 2)?.contiguous()
    }

    /// Heads as m rows again.
    fn rows(&self, heads: &Tensor) -> Candle<Tensor> {
        heads.transpose(1, 2)?.reshape((self.batch * self.t, ()))
    }

    /// The gradient of the stacked product from those of q, k and v.
    fn merge(&self, dq: &Tensor, dk: &Tensor, dv: &Tensor) -> Candle<Tensor> {
        #[cfg(feature = "cuda")]
        if dq.device().is_cuda() {
            let places = cuda::Places { cos: &self.cos, sin: &self.sin, position: 0, offset: 0 };
            return cuda::gather(dq, dk, dv, places);
        }
        let dq = rope_backward(dq, &self.cos, &self.minus_sin)?;
        let dk = rope_backward(dk, &self.cos, &self.minus_sin)?;
        Tensor::cat(&[self.rows(&dq)?, self.rows(&dk)?, self.rows(dv)?], 1)
    }
}

/// A block with its adapters, ready for a pass.
pub(super) struct Block<'a> {
    pub(super) index: usize,
    pub(super) weights: &'a LayerWeights,
    pub(super) adapters: &'a Adapters,
    pub(super) layout: &'a Layout,
    pub(super) rope: &'a Rope,
}

/// What the backward pass of a block reads. Norms and the gated product are computed again from it; so are the attention's
/// probabilities.
#[derive(Debug)]
pub(super) struct Tape {
    /// The block's input: m × hidden.
    x: Tensor,
    /// With positions turned in.
    qkv: [Tensor; 3],
    /// What attention gives: m × query width.
    attended: Tensor,
    /// After attention, before the MLP: m × hidden.
    middle: Tensor,
    /// Before the gate: m × 2·inner.
    gate_up: Tensor,
    /// x·Aᵀ of the sites in order, where they have adapters.
    inner: [Option<Tensor>; 4],
}

impl Block<'_> {
    fn eps(&self) -> f64 {
        self.layout.config.norm_eps
    }

    /// x (m × hidden) to the block's output and what its backward pass wants.
    pub(super) fn forward(&self, x: Tensor, check: &mut Check<'_>) -> Result<(Tensor, Tape), ModelError> {
        let (weights, adapters, layer) = (self.weights, self.adapters, self.index);
        let normed = ops::rms_norm(&x, &weights.attention_norm, self.eps())?;
        let qkv = ops::project(&weights.qkv, &normed)?;
        let (qkv, inner_qkv) = adapters.forward(Site::Qkv, layer, &normed, qkv)?;
        drop(normed);
        let (q, k, v) = ops::rope_and_split(&qkv, self.layout.batch, &self.layout.config, self.rope, 0)?;
        drop(qkv);
        let attended = self.layout.rows(&attention(&q, &k, &v, &self.layout.causal)?)?;
        let (mixed, inner_o) = adapters.forward(Site::O, layer, &attended, weights.o.forward(&attended)?)?;
        let middle = (&x + mixed)?;
        self.pause(check)?;
        let normed = ops::rms_norm(&middle, &weights.mlp_norm, self.eps())?;
        let gate_up = ops::project(&weights.gate_up, &normed)?;
        let (gate_up, inner_gate_up) = adapters.forward(Site::GateUp, layer, &normed, gate_up)?;
        drop(normed);
        self.pause(check)?;
        let gated = ops::swiglu(&gate_up)?;
        let (down, inner_down) = adapters.forward(Site::Down, layer, &gated, weights.down.forward(&gated)?)?;
        let output = (&middle + down)?;
        let inner = [inner_qkv, inner_o, inner_gate_up, inner_down];
        Ok((output, Tape { x, qkv: [q, k, v], attended, middle, gate_up, inner }))
    }

    /// The gradient of the block's input from that of its output; that of its adapters goes into `collected`. The first
    /// block's input needs none, since the embedding is frozen.
    pub(super) fn backward(
        &self,
        tape: &Tape,
        dy: &Tensor,
        collected: &mut Gradients,
        check: &mut Check<'_>,
    ) -> Result<Option<Tensor>, ModelError> {
        let d_middle = self.mlp_backward(tape, dy, collected, check)?;
        self.pause(check)?;
        let weights = self.weights;
        let [inner_qkv, inner_o, ..] = &tape.inner;
        let d_attended = Some(weights.o.backward(&d_middle)?);
        let d_attended =
            self.collect(Site::O, through(&tape.attended, inner_o.as_ref(), &d_middle), d_attended, collected)?;
        let Some(d_attended) = d_attended else { return Ok(None) };
        let [q, k, v] = &tape.qkv;
        let d_attended = self.layout.heads(&d_attended, 0, self.layout.config.heads())?;
        let (dq, dk, dv) = attention_backward(q, k, v, &self.layout.causal, &d_attended)?;
        let d_qkv = self.layout.merge(&dq, &dk, &dv)?;
        self.pause(check)?;
        let d_normed = if self.index == 0 { None } else { Some(weights.qkv.backward(&d_qkv)?) };
        let d_normed = if self.adapters.has(Site::Qkv) {
            let normed = ops::rms_norm(&tape.x, &weights.attention_norm, self.eps())?;
            self.collect(Site::Qkv, through(&normed, inner_qkv.as_ref(), &d_qkv), d_normed, collected)?
        } else {
            d_normed
        };
        let Some(d_normed) = d_normed else { return Ok(None) };
        let d_x = rms_norm_backward(&tape.x, &weights.attention_norm, &d_normed, self.eps())?;
        Ok(Some((d_middle + d_x)?))
    }

    /// From the block's output back to the sum after attention.
    fn mlp_backward(
        &self,
        tape: &Tape,
        dy: &Tensor,
        collected: &mut Gradients,
        check: &mut Check<'_>,
    ) -> Result<Tensor, ModelError> {
        let weights = self.weights;
        let [.., inner_gate_up, inner_down] = &tape.inner;
        let mut d_gated = Some(weights.down.backward(dy)?);
        if self.adapters.has(Site::Down) {
            let gated = ops::swiglu(&tape.gate_up)?;
            d_gated = self.collect(Site::Down, through(&gated, inner_down.as_ref(), dy), d_gated, collected)?;
        }
        let Some(d_gated) = d_gated else { return Ok(dy.clone()) };
        self.pause(check)?;
        let d_gate_up = swiglu_backward(&tape.gate_up, &d_gated)?;
        let mut d_normed = Some(weights.gate_up.backward(&d_gate_up)?);
        if self.adapters.has(Site::GateUp) {
            let normed = ops::rms_norm(&tape.middle, &weights.mlp_norm, self.eps())?;
            d_normed =
                self.collect(Site::GateUp, through(&normed, inner_gate_up.as_ref(), &d_gate_up), d_normed, collected)?;
        }
        let Some(d_normed) = d_normed else { return Ok(dy.clone()) };
        Ok((dy + rms_norm_backward(&tape.middle, &weights.mlp_norm, &d_normed, self.eps())?)?)
    }

    /// A cancellation point between products: the processor computes at once, the others only note what is to be done.
    fn pause(&self, check: &mut Check<'_>) -> Result<(), ModelError> {
        if self.layout.cos.device().is_cpu() { check() } else { Ok(()) }
    }

    fn collect(
        &self,
        site: Site,
        through: Option<Through<'_>>,
        dx: Option<Tensor>,
        collected: &mut Gradients,
    ) -> Candle<Option<Tensor>> {
        match through {
            Some(through) => self.adapters.backward(site, self.index, through, dx, collected),
            None => Ok(dx),
        }
    }
}

/// Nothing where the site has no adapters.
fn through<'a>(x: &'a Tensor, inner: Option<&'a Tensor>, dy: &'a Tensor) -> Option<Through<'a>> {
    inner.map(|inner| Through { x, inner, dy })
}
