//! From tensors on the host to weights on a device, one matrix at a time.

use std::borrow::Cow;

use candle_core::{
    DType, Device, Tensor,
    quantized::{GgmlDType, QStorage, QTensor},
};
use half::{bf16, f16};
use rayon::prelude::*;

use super::{
    LayerWeights, LoadProgress, OnLoad, Stacked, Weights,
    source::Source,
    tensors::{Part, TensorId, activations, bytes, dense},
};
use crate::model::{Linear, ModelError};

/// Reads every tensor and brings it onto the device. `total_bytes` is only told on.
pub(super) fn assemble(
    source: &dyn Source,
    device: &Device,
    total_bytes: u64,
    progress: &mut OnLoad<'_>,
) -> Result<Weights, ModelError> {
    let config = source.config().clone();
    // The products of the blocks decide the activations' type; the table and the head follow.
    let dtype = activations(source.kind(TensorId::Block(0, Part::Gate))?, device);
    let mut loading = Loading { source, device, dtype, done: LoadProgress { done_bytes: 0, total_bytes }, progress };
    let embedding = loading.linear(&[TensorId::Embedding])?;
    let layers = (0..config.shape.layers).map(|layer| loading.layer(layer)).collect::<Result<Vec<_>, _>>()?;
    let norm = loading.norm(TensorId::Norm)?;
    let head = if config.shape.tied_head { embedding.clone() } else { loading.linear(&[TensorId::Head])? };
    device.synchronize()?;
    Ok(Weights { config, embedding, layers, norm, head, dtype })
}

struct Loading<'a, 'p> {
    source: &'a dyn Source,
    device: &'a Device,
    dtype: DType,
    done: LoadProgress,
    progress: &'a mut OnLoad<'p>,
}

impl<'a> Loading<'a, '_> {
    fn layer(&mut self, layer: u32) -> Result<LayerWeights, ModelError> {
        let id = |part| TensorId::Block(layer, part);
        Ok(LayerWeights {
            attention_norm: self.norm(id(Part::AttentionNorm))?,
            qkv: self.stacked(&[id(Part::Q), id(Part::K), id(Part::V)])?,
            o: self.linear(&[id(Part::O)])?,
            mlp_norm: self.norm(id(Part::MlpNorm))?,
            gate_up: self.stacked(&[id(Part::Gate), id(Part::Up)])?,
            down: self.linear(&[id(Part::Down)])?,
        })
    }

    /// One part for each run of tensors of the same type.
    fn stacked(&mut self, tensors: &[TensorId]) -> Result<Stacked, ModelError> {
        let kinds = tensors.iter().map(|tensor| self.held(*tensor)).collect::<Result<Vec<_>, _>>()?;
        let mut parts = Vec::new();
        let mut rest = tensors;
        for run in kinds.chunk_by(|a, b| a == b) {
            let (same, after) = rest.split_at(run.len());
            parts.push(self.linear(same)?);
            rest = after;
        }
        Ok(Stacked { parts })
    }

    /// The type a tensor is held in: its own where it is quantised, the activations' where it is not.
    fn held(&self, tensor: TensorId) -> Result<GgmlDType, ModelError> {
        let kind = self.source.kind(tensor)?;
        Ok(match (dense(kind), self.dtype) {
            (None, _) => kind,
            (Some(_), DType::F16) => GgmlDType::F16,
            (Some(_), DType::BF16) => GgmlDType::BF16,
            (Some(_), _) => GgmlDType::F32,
        })
    }

    fn norm(&mut self, tensor: TensorId) -> Result<Tensor, ModelError> {
        Ok(self.dense(&[tensor])?.flatten_all()?)
    }

    /// Tensors of the same held type and the same columns, one after another.
    fn linear(&mut self, tensors: &[TensorId]) -> Result<Linear, ModelError> {
        let first = tensors.first().copied().unwrap_or(TensorId::Norm);
        let kind = self.held(first)?;
        if dense(kind).is_some() {
            return Ok(Linear::Dense(self.dense(tensors)?));
        }
        let (rows, columns) = self.dims(tensors);
        let blocks = match tensors {
            [one] => self.read(*one)?,
            several => {
                let mut joined = Vec::with_capacity(bytes(kind, rows * columns));
                for tensor in several {
                    joined.extend_from_slice(&self.read(*tensor)?);
                }
                Cow::Owned(joined)
            }
        };
        let storage = QStorage::from_data(aligned(blocks), self.device, kind)?;
        Ok(Linear::quantized(QTensor::new(storage, (rows, columns))?)?)
    }

    /// The same, in the activations' type.
    fn dense(&mut self, tensors: &[TensorId]) -> Result<Tensor, ModelError> {
        match self.dtype {
            DType::F16 => self.typed(tensors, f16::from_f32),
            DType::BF16 => self.typed(tensors, bf16::from_f32),
            _ => self.typed(tensors, |value| value),
        }
    }

    fn typed<T: candle_core::WithDType + bytemuck::Pod + Send>(
        &mut self,
        tensors: &[TensorId],
        from: fn(f32) -> T,
    ) -> Result<Tensor, ModelError> {
        let (rows, columns) = self.dims(tensors);
        let mut values = vec![T::zeroed(); rows * columns];
        let mut rest = values.as_mut_slice();
        for tensor in tensors {
            let (rows, columns) = tensor.dims(&self.source.config().shape);
            let kind = self.source.kind(*tensor)?;
            let raw = self.read(*tensor)?;
            let (target, after) = rest.split_at_mut(rows * columns);
            fill(target, kind, &raw, from);
            rest = after;
        }
        Ok(Tensor::from_vec(values, (rows, columns), self.device)?)
    }

    fn dims(&self, tensors: &[TensorId]) -> (usize, usize) {
        let dims = |tensor: &TensorId| tensor.dims(&self.source.config().shape);
        (tensors.iter().map(|tensor| dims(tensor).0).sum(), tensors.first().map_or(0, |tensor| dims(tensor).1))
    }

    /// Reads a tensor, tells of it, and makes sure that it is as long as it must be: candle panics otherwise.
    fn read(&mut self, tensor: TensorId) -> Result<Cow<'a, [u8]>, ModelError> {
        let source = self.source;
        let (done, progress) = (self.done, &mut *self.progress);
        let raw = source.read(tensor, &mut || progress(done))?;
        let (rows, columns) = tensor.dims(&source.config().shape);
        if raw.len() != bytes(source.kind(tensor)?, rows * columns) {
            return Err(ModelError::Compute(format!("{} has a wrong length", tensor.gguf())));
        }
        self.done.done_bytes += raw.len() as u64;
        progress(self.done)?;
        Ok(raw)
    }
}

/// Values of a dense type in another; copied where it is the same.
fn fill<T: candle_core::WithDType + bytemuck::Pod + Send>(
    target: &mut [T],
    kind: GgmlDType,
    raw: &[u8],
    from: fn(f32) -> T,
) {
    const STRETCH: usize = 1 << 16;
    let width = kind.type_size();
    target.par_chunks_mut(STRETCH).zip(raw.par_chunks(STRETCH * width)).for_each(|(target, raw)| {
        if dense(kind) == Some(T::DTYPE) {
            bytemuck::cast_slice_mut::<T, u8>(target).copy_from_slice(raw);
            return;
        }
        for (value, raw) in target.iter_mut().zip(raw.chunks_exact(width)) {
            *value = from(decode(kind, raw));
        }
    });
}

/// One value of a dense type.
pub(super) fn decode(kind: GgmlDType, raw: &[u8]) -> f32 {
    match (kind, raw) {
        (GgmlDType::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
        (GgmlDType::BF16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
        (_, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        _ => f32::NAN,
    }
}

/// The same bytes where candle can read blocks, which it wants at addresses that are multiples of four.
pub(super) fn aligned(raw: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if (raw.as_ptr() as usize).is_multiple_of(4) { raw } else { Cow::Owned(raw.into_owned()) }
}
