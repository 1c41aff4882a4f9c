//! Dense weights written in another precision while they are loaded, a stretch of rows at a time.

use std::path::Path;

use candle_core::{
    Device, Tensor,
    quantized::{GgmlDType, QTensor},
};
use rayon::prelude::*;

use super::{
    assemble::decode,
    finite,
    source::{Check, Source, room},
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

    fn read<'a>(
        &'a self,
        tensor: TensorId,
        scratch: &'a mut Vec<u8>,
        check: &mut Check<'_>,
    ) -> Result<&'a [u8], ModelError> {
        let (from, to) = (self.inner.kind(tensor)?, self.kind(tensor)?);
        if from == to {
            return self.inner.read(tensor, scratch, check);
        }
        let mut inner = Vec::new();
        let raw = self.inner.read(tensor, &mut inner, check)?;
        let (rows, columns) = tensor.dims(&self.config().shape);
        let converted = room(scratch, bytes(to, rows * columns));
        convert(raw, converted, [from, to], columns, check)?;
        if !finite::all(to, converted, check)? {
            let (name, path) = (tensor.hugging_face(), self.files().first().map_or(Path::new(""), |path| path));
            let message =
                format!("the tensor {name} holds weights beyond the range of {}; choose bf16", self.precision);
            return Err(ModelError::file(path, message));
        }
        Ok(converted)
    }
}

/// Writes rows of `columns` values of a dense type in any type.
pub(crate) fn convert(
    raw: &[u8],
    out: &mut [u8],
    [from, to]: [GgmlDType; 2],
    columns: usize,
    check: &mut Check<'_>,
) -> Result<(), ModelError> {
    /// Values converted between two looks at whether to go on: about a tenth of a second in the slowest type.
    const STRETCH: usize = 1 << 20;
    let (row, row_out) = (columns * from.type_size(), bytes(to, columns));
    let stretch_rows = (STRETCH / columns).max(1);
    // Rows on all cores.
    let piece_rows = stretch_rows.div_ceil(rayon::current_num_threads().max(1));
    for (raw, out) in raw.chunks(stretch_rows * row).zip(out.chunks_mut(stretch_rows * row_out)) {
        check()?;
        let pieces = raw.par_chunks(piece_rows * row).zip(out.par_chunks_mut(piece_rows * row_out));
        pieces.try_for_each(|(raw, out)| {
            let values: Vec<f32> = raw.chunks_exact(from.type_size()).map(|raw| decode(from, raw)).collect();
            let encoded = encode(to, &values)?;
            if encoded.len() != out.len() {
                return Err(ModelError::Compute("rows were quantised to another length than theirs".to_owned()));
            }
            out.copy_from_slice(&encoded);
            Ok(())
        })?;
    }
    Ok(())
}

/// Values as they are stored in a type: whole blocks.
pub(crate) fn encode(kind: GgmlDType, values: &[f32]) -> Result<Vec<u8>, ModelError> {
    let tensor = Tensor::from_slice(values, (1, values.len()), &Device::Cpu)?;
    Ok(QTensor::quantize(&tensor, kind)?.data()?.into_owned())
}
