//! Where a model's tensors come from, one at a time.

use std::borrow::Cow;

use candle_core::quantized::GgmlDType;

use super::{synthetic::Synthetic, tensors::TensorId};
use crate::{
    model::{ModelConfig, ModelError},
    workload::{ModelRef, Origin},
};

/// Asked within long work; an error ends it.
pub(crate) type Check<'a> = dyn FnMut() -> Result<(), ModelError> + 'a;

/// A model's tensors on the host.
///
/// Rows of queries and keys are in the order of rotary positions over the two halves of a head.
pub(crate) trait Source {
    /// What the model is.
    fn config(&self) -> &ModelConfig;

    /// The type that [`Source::read`] gives a tensor in.
    fn kind(&self, tensor: TensorId) -> Result<GgmlDType, ModelError>;

    /// A tensor row by row, in its type, little-endian: as many bytes as its dimensions need.
    fn read(&self, tensor: TensorId, check: &mut Check<'_>) -> Result<Cow<'_, [u8]>, ModelError>;
}

/// The source of a model's weights, of which nothing but headers has been read yet.
pub(crate) fn open(model: &ModelRef) -> Result<Box<dyn Source>, ModelError> {
    match model.origin {
        Origin::Synthetic => Ok(Box::new(Synthetic::of(model)?)),
        Origin::Files => Err(ModelError::Unsupported("files".to_owned())),
    }
}
