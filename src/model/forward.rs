//! The forward pass.

use candle_core::{DType, Device, Tensor};

use super::{ModelConfig, ModelError, Weights};

/// A model that can run.
#[derive(Debug)]
pub struct Model {
    /// Its weights.
    pub weights: Weights,
}

/// Keys and values of the positions seen so far.
#[derive(Debug)]
pub struct Cache {
    len: usize,
}

/// Called between blocks: the cancellation point of long passes.
pub type Check<'a> = dyn FnMut() -> Result<(), ModelError> + 'a;

impl Model {
    /// A model of these weights.
    pub fn new(weights: Weights) -> Result<Self, ModelError> {
        Ok(Self { weights })
    }

    /// Runs `ids` (batch × t, u32) after the positions in `cache`, and adds theirs to it. Returns hidden states after the
    /// last norm: batch × t × hidden.
    pub fn forward(&self, _ids: &Tensor, _cache: &mut Cache, _check: &mut Check<'_>) -> Result<Tensor, ModelError> {
        Err(ModelError::Unsupported("being written".to_owned()))
    }

    /// Logits of hidden states: m × hidden to m × vocabulary.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor, ModelError> {
        Ok(self.weights.head.forward(hidden)?)
    }

    /// Runs `ids` and returns the most likely next token of each sequence, on the device: batch, u32.
    pub fn next(&self, _ids: &Tensor, _cache: &mut Cache, _check: &mut Check<'_>) -> Result<Tensor, ModelError> {
        Err(ModelError::Unsupported("being written".to_owned()))
    }
}

impl Cache {
    /// Room for `positions` of `batch` sequences, allocated now.
    pub fn new(
        _config: &ModelConfig,
        _batch: usize,
        _positions: usize,
        _dtype: DType,
        _device: &Device,
    ) -> Result<Self, ModelError> {
        Ok(Self { len: 0 })
    }

    /// Positions in it.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Nothing is in it.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets all positions; the memory stays.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}
