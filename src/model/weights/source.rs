//! Where a model's tensors come from, one at a time.

use std::path::Path;

use candle_core::{DType, Device, Tensor, quantized::GgmlDType};

use super::{
    convert::Converted, gguf::GgufSource, safetensors::SafetensorsSource, synthetic::Synthetic, tensors::TensorId,
};
use crate::{
    model::{ModelConfig, ModelError, files::has_extension},
    workload::{ModelRef, Origin, Precision},
};

/// Asked within long work; an error ends it.
pub(crate) type Check<'a> = dyn FnMut() -> Result<(), ModelError> + 'a;

/// A model's tensors on the host.
///
/// Rows of queries and keys are in the order of rotary positions over the two halves of a head.
pub(crate) trait Source {
    /// The files that hold the weights; none where they are made.
    fn files(&self) -> Vec<&Path> {
        Vec::new()
    }

    /// What the model is.
    fn config(&self) -> &ModelConfig;

    /// The type that [`Source::read`] gives a tensor in.
    fn kind(&self, tensor: TensorId) -> Result<GgmlDType, ModelError>;

    /// A tensor row by row, in its type, little-endian: as many bytes as its dimensions need. They lie in a file or in
    /// `scratch`, which is kept from tensor to tensor: fresh memory of that size costs more than filling it.
    fn read<'a>(
        &'a self,
        tensor: TensorId,
        scratch: &'a mut Vec<u8>,
        check: &mut Check<'_>,
    ) -> Result<&'a [u8], ModelError>;

    /// The same tensor in `dtype`, made on the device where that is faster; `None` where it must be read.
    fn make(&self, _tensor: TensorId, _dtype: DType, _device: &Device) -> Result<Option<Tensor>, ModelError> {
        Ok(None)
    }
}

/// The first `length` bytes of a scratch, which holds anything.
pub(crate) fn room(scratch: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if scratch.len() < length {
        scratch.resize(length, 0);
    }
    scratch.get_mut(..length).unwrap_or_default()
}

/// The source of a model's weights, of which nothing but headers has been read yet.
pub(crate) fn open(model: &ModelRef) -> Result<Box<dyn Source>, ModelError> {
    if model.precision == Precision::Mlx4 {
        let message = "mlx-4bit is MLX's own format; choose Q4_0 or Q4_K_M for candle";
        return Err(ModelError::Unsupported(message.to_owned()));
    }
    match model.origin {
        Origin::Synthetic => Ok(Box::new(Synthetic::of(model)?)),
        Origin::Files => files(model),
    }
}

/// The files of a model; dense ones in another precision where the model is wanted in one.
fn files(model: &ModelRef) -> Result<Box<dyn Source>, ModelError> {
    let Some(path) = &model.location.0 else {
        return Err(ModelError::Asked(format!("where the files of {} lie is not known; give their path", model.name)));
    };
    if path.is_file() && has_extension(path, "gguf") {
        let stored = GgufSource::open(path)?;
        same_shape(&stored, model, path)?;
        return Ok(Box::new(stored));
    }
    let stored = SafetensorsSource::open(path)?;
    same_shape(&stored, model, path)?;
    match model.precision {
        Precision::Stored(_) => Ok(Box::new(stored)),
        _ => Ok(Box::new(Converted::new(stored, model.precision.clone()))),
    }
}

/// The type that most of a model's matrices are stored in.
pub(crate) fn commonest(source: &dyn Source) -> Result<GgmlDType, ModelError> {
    let shape = &source.config().shape;
    let mut counted: Vec<(GgmlDType, usize)> = Vec::new();
    for tensor in TensorId::all(shape).into_iter().filter(|tensor| !tensor.is_norm()) {
        let (kind, (rows, columns)) = (source.kind(tensor)?, tensor.dims(shape));
        match counted.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, elements)) => *elements += rows * columns,
            None => counted.push((kind, rows * columns)),
        }
    }
    Ok(counted.into_iter().max_by_key(|(_, elements)| *elements).map_or(GgmlDType::F32, |(kind, _)| kind))
}

/// Files can be replaced between the choice of a model and its loading.
fn same_shape(source: &dyn Source, model: &ModelRef, path: &Path) -> Result<(), ModelError> {
    if source.config().shape == model.shape {
        return Ok(());
    }
    Err(ModelError::file(path, "the model's sizes are not what they were when it was chosen; choose it again"))
}
