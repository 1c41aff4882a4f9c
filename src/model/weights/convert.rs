//! Dense weights written in another precision while they are loaded, a stretch of rows at a time.

use std::{borrow::Cow, path::Path};

use candle_core::{
    Device, Tensor,
    quantized::{GgmlDType, QTensor},
};
use rayon::prelude::*;

use super::{
    assemble::decode,
    finite,
    source::{Check, Source},
    tensors::{TensorId, bytes},
};
use crate::{
    model::{ModelConfig, ModelError},
    workload::Precision,
};

/// A source whose dense tensors come in another precision.
pub(crate) struct Converted<S> {
    inner: S,
    precision: Precision,
}

impl<S: Source> Converted<S> {
    /// `precision` is one of [`Precision::NAMED`].
    pub(crate) fn new(inner: S, precision: Precision) -> Self {
        Self { inner, precision }
    }
}

impl<S: Source> Source for Converted<S> {
    fn files(&self) -> Vec<&Path> {
        self.inner.files()
    }

    fn config(&self) -> &ModelConfig {
        self.inner.config()
    }

    fn kind(&self, tensor: TensorId) -> Result<GgmlDType, ModelError> {
        Ok(tensor.stored_as(&self.precision, self.inner.config()))
    }

    fn read(&self, tensor: TensorId, check: &mut Check<'_>) -> Result<Cow<'_, [u8]>, ModelError> {
        let (from, to) = (self.inner.kind(tensor)?, self.kind(tensor)?);
        let raw = self.inner.read(tensor, check)?;
        if from == to {
            return Ok(raw);
        }
        let (_, columns) = tensor.dims(&self.config().shape);
        let converted = convert(&raw, from, to, columns, check)?;
        if !finite::all(to, &converted, check)? {
            let (name, path) = (tensor.hugging_face(), self.files().first().map_or(Path::new(""), |path| path));
            let message =
                format!("the tensor {name} holds weights beyond the range of {}; choose bf16", self.precision);
            return Err(ModelError::file(path, message));
        }
        Ok(Cow::Owned(converted))
    }
}

/// Rows of `columns` values of a dense type in any type.
pub(crate) fn convert(
    raw: &[u8],
    from: GgmlDType,
    to: GgmlDType,
    columns: usize,
    check: &mut Check<'_>,
) -> Result<Vec<u8>, ModelError> {
    /// Values converted between two looks at whether to go on: about a tenth of a second in the slowest type.
    const STRETCH: usize = 1 << 20;
    let row = columns * from.type_size();
    let stretch_rows = (STRETCH / columns).max(1);
    let mut out = Vec::with_capacity(bytes(to, raw.len() / from.type_size()));
    for stretch in raw.chunks(stretch_rows * row) {
        check()?;
        // Rows on all cores.
        let cores = rayon::current_num_threads().max(1);
        let piece = (stretch.len() / row).div_ceil(cores) * row;
        let pieces = stretch.par_chunks(piece.max(row)).map(|rows| {
            let values: Vec<f32> = rows.chunks_exact(from.type_size()).map(|raw| decode(from, raw)).collect();
            encode(to, &values)
        });
        for piece in pieces.collect::<Result<Vec<_>, _>>()? {
            out.extend_from_slice(&piece);
        }
    }
    Ok(out)
}

/// Values as they are stored in a type: whole blocks.
pub(crate) fn encode(kind: GgmlDType, values: &[f32]) -> Result<Vec<u8>, ModelError> {
    let tensor = Tensor::from_slice(values, (1, values.len()), &Device::Cpu)?;
    Ok(QTensor::quantize(&tensor, kind)?.data()?.into_owned())
}
