//! LoRA training: forward, loss, backward, clipping, AdamW, with the forward and backward of a block written by hand.
//!
//! No step of candle's automatic differentiation is used: its graph would compute and keep gradients of the frozen weights,
//! and many of its fused steps have none. The host reads once a step: the loss and the gradients' norm.

mod block;
mod check;
pub mod curve;
mod optimizer;
pub mod text;

use candle_core::{DType, Device, Tensor};

pub use self::check::{Comparison, compare_gradients};
use self::{
    block::{Block, Layout, Tape},
    optimizer::{AdamW, LossScale},
};
use super::{
    Check, Model, ModelError,
    lora::{Adapters, Gradients, Lora},
    ops::{self, backward},
};

/// How a model is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSettings {
    /// AdamW's learning rate.
    pub learning_rate: f64,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f64,
    /// Gradients are scaled to this global norm at most; none leaves them as they are.
    pub clip: Option<f64>,
    /// Only the blocks' inputs are kept, and the rest is computed again in the backward pass.
    pub checkpointing: bool,
}

impl Default for TrainSettings {
    /// The reference's learning rate and clipping, and no weight decay: the work of all engines is the same.
    fn default() -> Self {
        Self { learning_rate: 1e-4, weight_decay: 0.0, clip: Some(1.0), checkpointing: false }
    }
}

/// What one step gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepResult {
    /// The mean cross entropy of the targets before the step, in nats.
    pub loss: f64,
    /// The global norm of all gradients before clipping.
    pub grad_norm: f64,
    /// A gradient was not finite, so that nothing was changed.
    pub skipped: bool,
}

/// The gradient of every parameter, and what it was computed at.
#[derive(Clone, Debug)]
pub struct Gradient {
    /// The mean cross entropy in nats: a scalar on the device, f32.
    pub loss: Tensor,
    /// `scale` times the gradient, in the layout of [`Lora::parameters`], f32.
    pub vector: Tensor,
    /// What the loss was multiplied by.
    pub scale: f64,
}

/// Logits of so many rows are held at once.
const LOGIT_ROWS: usize = 512;

/// Trains the adapters of a frozen model.
#[derive(Debug)]
pub struct Trainer<'a> {
    model: &'a Model,
    lora: Lora,
    settings: TrainSettings,
    optimizer: AdamW,
    scale: LossScale,
    layout: Option<Layout>,
}

impl<'a> Trainer<'a> {
    /// A trainer that has done no step.
    pub fn new(model: &'a Model, lora: Lora, settings: TrainSettings) -> Result<Self, ModelError> {
        let optimizer = AdamW::new(lora.parameters(), settings.learning_rate, settings.weight_decay)?;
        let scale = LossScale::new(model.weights.dtype);
        Ok(Self { model, lora, settings, optimizer, scale, layout: None })
    }

    /// The adapters as they are now.
    pub const fn lora(&self) -> &Lora {
        &self.lora
    }

    /// The adapters, to change them by hand.
    pub const fn lora_mut(&mut self) -> &mut Lora {
        &mut self.lora
    }

    /// What the loss is multiplied by; 1 unless activations are f16.
    pub const fn loss_scale(&self) -> f64 {
        self.scale.value()
    }

    /// One step on `ids` (batch × sequence, u32): every position but the last of a sequence predicts the one after it, as
    /// transformers does with `labels = input_ids`.
    ///
    /// A gradient that is not finite skips the step; so does nothing else. `check` is called between blocks.
    pub fn step(&mut self, ids: &Tensor, check: &mut Check<'_>) -> Result<StepResult, ModelError> {
        let gradient = self.gradient(ids, check)?;
        let square = gradient.vector.sqr()?.sum_all()?;
        let read = Tensor::stack(&[&gradient.loss, &square], 0)?.to_vec1::<f32>()?;
        let [loss, square] = read.as_slice() else {
            return Err(ModelError::Compute("the loss and the norm could not be read".to_owned()));
        };
        let (loss, grad_norm) = (f64::from(*loss), f64::from(*square).sqrt() / gradient.scale);
        let finite = grad_norm.is_finite() && loss.is_finite();
        self.scale.update(finite);
        if finite {
            // As PyTorch's clip_grad_norm_, which adds 1e-6 below.
            let clip = self.settings.clip.map_or(1.0, |most| (most / (grad_norm + 1e-6)).min(1.0));
            let updated = self.optimizer.step(self.lora.parameters(), &gradient.vector, clip / gradient.scale)?;
            self.lora.set_parameters(updated)?;
        }
        Ok(StepResult { loss, grad_norm, skipped: !finite })
    }

    /// The loss of `ids` without its gradient, in nats.
    pub fn loss(&mut self, ids: &Tensor, check: &mut Check<'_>) -> Result<f64, ModelError> {
        let batch = self.batch(ids)?;
        let adapters = self.lora.prepare(self.model.weights.dtype)?;
        let mut x = self.embed(&batch)?;
        for index in 0..self.model.weights.layers.len() {
            check()?;
            x = self.block(index, &adapters)?.forward(x, check)?.0;
        }
        let (loss, _) = self.head(&x, &batch, 1.0, check)?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    }

    /// The loss of `ids` and its gradient by every parameter, both left on the device.
    pub fn gradient(&mut self, ids: &Tensor, check: &mut Check<'_>) -> Result<Gradient, ModelError> {
        let batch = self.batch(ids)?;
        let scale = self.scale.value();
        let adapters = self.lora.prepare(self.model.weights.dtype)?;
        let mut kept = Vec::with_capacity(self.model.weights.layers.len());
        let mut x = self.embed(&batch)?;
        for index in 0..self.model.weights.layers.len() {
            check()?;
            let input = x.clone();
            let (y, tape) = self.block(index, &adapters)?.forward(x, check)?;
            kept.push(if self.settings.checkpointing { Kept::Input(input) } else { Kept::Tape(Box::new(tape)) });
            x = y;
        }
        let (loss, d_x) = self.head(&x, &batch, scale, check)?;
        drop(x);
        let mut collected = Gradients::default();
        let mut d_x = Some(d_x);
        for (index, kept) in kept.into_iter().enumerate().rev() {
            check()?;
            let Some(dy) = d_x.take() else { break };
            let block = self.block(index, &adapters)?;
            let tape = match kept {
                Kept::Tape(tape) => *tape,
                Kept::Input(x) => block.forward(x, check)?.1,
            };
            d_x = block.backward(&tape, &dy, &mut collected, check)?;
        }
        Ok(Gradient { loss, vector: self.lora.gradients(&collected)?, scale })
    }

    /// Whether sequences of `t` tokens can be trained on: they need a target, and positions that the model was made for.
    pub fn accepts(&self, t: usize) -> Result<(), ModelError> {
        let most = self.model.rope.positions();
        let asked = |what: String| Err(ModelError::Asked(what));
        match t {
            0 | 1 => asked("training needs sequences of at least 2 tokens; choose a longer one".to_owned()),
            t if t > most => asked(format!(
                "sequences of {t} tokens are longer than the {most} that this model was made for; choose shorter ones"
            )),
            _ => Ok(()),
        }
    }

    /// Checks the ids' shape, and makes what all blocks share unless it is there.
    fn batch(&mut self, ids: &Tensor) -> Result<Batch, ModelError> {
        let (batch, t) = ids.dims2()?;
        self.accepts(if batch == 0 { 0 } else { t })?;
        let weights = &self.model.weights;
        let device = weights.device();
        if self.layout.as_ref().is_none_or(|layout| (layout.batch, layout.t) != (batch, t)) {
            self.layout = Some(Layout::new(&weights.config, &self.model.rope, (batch, t), weights.dtype, device)?);
        }
        let next = Tensor::cat(&[ids.narrow(1, 1, t - 1)?, ids.narrow(1, 0, 1)?], 1)?;
        // The last position of a sequence has no target: its row counts for nothing.
        let each = 1.0 / (batch * (t - 1)) as f32;
        let weight = |at: usize| if at % t == t - 1 { 0.0 } else { each };
        let row_weights = Tensor::from_vec((0..batch * t).map(weight).collect::<Vec<f32>>(), batch * t, device)?;
        Ok(Batch { ids: ids.flatten_all()?, targets: next.flatten_all()?, row_weights })
    }

    fn block<'b>(&'b self, index: usize, adapters: &'b Adapters) -> Result<Block<'b>, ModelError> {
        let missing = || ModelError::Compute(format!("block {index} is missing"));
        let layout = self.layout.as_ref().ok_or_else(missing)?;
        let weights = self.model.weights.layers.get(index).ok_or_else(missing)?;
        Ok(Block { index, weights, adapters, layout, rope: &self.model.rope })
    }

    /// Rows of the embedding: m × hidden in the activations' type.
    fn embed(&self, batch: &Batch) -> Result<Tensor, ModelError> {
        let weights = &self.model.weights;
        Ok(ops::embed(&weights.embedding, &batch.ids, weights.dtype)?)
    }

    /// The loss, and `scale` times its gradient at the output of the last block: m × hidden. Logits are made and used some
    /// rows at a time.
    fn head(
        &self,
        x: &Tensor,
        batch: &Batch,
        scale: f64,
        check: &mut Check<'_>,
    ) -> Result<(Tensor, Tensor), ModelError> {
        let weights = &self.model.weights;
        let eps = weights.config.norm_eps;
        let rows = x.dim(0)?;
        let (mut loss, mut parts) = (Tensor::zeros((), DType::F32, x.device())?, Vec::new());
        for start in (0..rows).step_by(LOGIT_ROWS) {
            check()?;
            let len = LOGIT_ROWS.min(rows - start);
            let x = x.narrow(0, start, len)?;
            let logits = weights.head.forward(&ops::rms_norm(&x, &weights.norm, eps)?)?;
            let (targets, row_weights) =
                (batch.targets.narrow(0, start, len)?, batch.row_weights.narrow(0, start, len)?);
            let (part, d_logits) = backward::cross_entropy(logits, &targets, &row_weights, scale)?;
            loss = (loss + part)?;
            let d_normed = weights.head.backward(&d_logits)?;
            parts.push(backward::rms_norm_backward(&x, &weights.norm, &d_normed, eps)?);
        }
        Ok((loss, Tensor::cat(&parts, 0)?))
    }
}

/// What a block leaves for the backward pass.
enum Kept {
    Input(Tensor),
    Tape(Box<Tape>),
}

/// A step's inputs as rows.
struct Batch {
    /// m, u32.
    ids: Tensor,
    /// The token after each; anything where there is none.
    targets: Tensor,
    /// What each row counts for in the mean loss: m, f32.
    row_weights: Tensor,
}

/// Ids as a tensor: batch × sequence, u32.
pub fn ids_tensor(sequences: &[Vec<u32>], device: &Device) -> Result<Tensor, ModelError> {
    let t = sequences.first().map_or(0, Vec::len);
    if sequences.iter().any(|sequence| sequence.len() != t) {
        return Err(ModelError::Asked("sequences of one batch must have the same length".to_owned()));
    }
    Ok(Tensor::from_vec(sequences.concat(), (sequences.len(), t), device)?)
}
