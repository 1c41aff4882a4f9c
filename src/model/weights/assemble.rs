//! From tensors on the host to weights on a device, one matrix at a time.

use std::borrow::Cow;

use candle_core::{
    DType, Device, Tensor,
    quantized::{GgmlDType, QStorage, QTensor},
};
use half::{bf16, f16, vec::HalfBitsVecExt as _};
use rayon::prelude::*;

use super::{
    LayerWeights, LoadProgress, OnLoad, Path, Stacked, Weights,
    source::Source,
    tensors::{Part, TensorId, activations, bytes, dense},
};
use crate::model::{Linear, ModelError};

/// Reads every tensor and brings it onto the device. `total_bytes` is only told on; `dtype` is that of the activations, if not
/// the one that suits the weights.
pub(super) fn assemble(
    source: &dyn Source,
    device: &Device,
    total_bytes: u64,
    (path, dtype): (Path, Option<DType>),
    progress: &mut OnLoad<'_>,
) -> Result<Weights, ModelError> {
    let config = source.config().clone();
    // The products of the blocks decide the activations' type; the table and the head follow.
    let suited = activations(source.kind(TensorId::Block(0, Part::Gate))?, device);
    let dtype = dtype.unwrap_or(suited);
    let done = LoadProgress { done_bytes: 0, total_bytes };
    let (scratch, joined) = (Vec::new(), Vec::new());
    let mut loading = Loading { source, device, dtype, path, done, progress, scratch, joined };
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
    path: Path,
    done: LoadProgress,
    progress: &'a mut OnLoad<'p>,
    /// Room for one tensor, and for several put together, kept from one to the next.
    scratch: Vec<u8>,
    joined: Vec<u8>,
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
        let mut scratch = std::mem::take(&mut self.scratch);
        let storage = match tensors {
            [one] => QStorage::from_data(aligned(self.read(*one, &mut scratch)?), self.device, kind)?,
            several => {
                let mut joined = std::mem::take(&mut self.joined);
                joined.clear();
                for tensor in several {
                    joined.extend_from_slice(self.read(*tensor, &mut scratch)?);
                }
                let storage = QStorage::from_data(aligned(&joined), self.device, kind)?;
                self.joined = joined;
                storage
            }
        };
        self.scratch = scratch;
        Ok(Linear::quantized(QTensor::new(storage, (rows, columns))?)?)
    }

    /// The same, in the activations' type.
    fn dense(&mut self, tensors: &[TensorId]) -> Result<Tensor, ModelError> {
        if let Some(made) = self.made(tensors)? {
            return Ok(made);
        }
        let mut stored = tensors.iter().map(|tensor| self.source.kind(*tensor));
        let as_stored = stored.all(|kind| kind.is_ok_and(|kind| dense(kind) == Some(self.dtype)));
        match self.dtype {
            dtype if as_stored && self.device.is_cuda() => self.uploaded(tensors, dtype),
            DType::F16 => self.typed(tensors, |length| vec![0_u16; length].reinterpret_into(), f16::from_f32),
            DType::BF16 => self.typed(tensors, |length| vec![0_u16; length].reinterpret_into(), bf16::from_f32),
            _ => self.typed(tensors, |length| vec![0.0_f32; length], |value| value),
        }
    }

    /// Straight to the device, and put together there. Metal would round what it puts together up to a power of two.
    fn uploaded(&mut self, tensors: &[TensorId], dtype: DType) -> Result<Tensor, ModelError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut parts = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            let (rows, columns) = tensor.dims(&self.source.config().shape);
            let raw = self.read(*tensor, &mut scratch)?;
            parts.push(Tensor::from_raw_buffer(raw, dtype, &[rows, columns], self.device)?);
        }
        self.scratch = scratch;
        match parts.as_slice() {
            [one] => Ok(one.clone()),
            several => Ok(Tensor::cat(several, 0)?),
        }
    }

    fn typed<T: candle_core::WithDType + bytemuck::Pod + Send>(
        &mut self,
        tensors: &[TensorId],
        zeros: fn(usize) -> Vec<T>,
        from: fn(f32) -> T,
    ) -> Result<Tensor, ModelError> {
        let (rows, columns) = self.dims(tensors);
        // Zeroed memory comes from the system as it is: it is first touched, on all cores, when it is filled.
        let mut values = zeros(rows * columns);
        let mut rest = values.as_mut_slice();
        let mut scratch = std::mem::take(&mut self.scratch);
        for tensor in tensors {
            let (rows, columns) = tensor.dims(&self.source.config().shape);
            let kind = self.source.kind(*tensor)?;
            let raw = self.read(*tensor, &mut scratch)?;
            let (target, after) = rest.split_at_mut(rows * columns);
            fill(target, kind, raw, from);
            rest = after;
        }
        self.scratch = scratch;
        Ok(Tensor::from_vec(values, (rows, columns), self.device)?)
    }

    /// The same where the source can make all of them on the device.
    fn made(&mut self, tensors: &[TensorId]) -> Result<Option<Tensor>, ModelError> {
        let mut parts = Vec::new();
        if self.path == Path::Host {
            return Ok(None);
        }
        for tensor in tensors {
            let Some(part) = self.source.make(*tensor, self.dtype, self.device)? else { return Ok(None) };
            self.done.done_bytes += (part.elem_count() * part.dtype().size_in_bytes()) as u64;
            (self.progress)(self.done)?;
            parts.push(part);
        }
        Ok(Some(Tensor::cat(&parts, 0)?))
    }

    fn dims(&self, tensors: &[TensorId]) -> (usize, usize) {
        let dims = |tensor: &TensorId| tensor.dims(&self.source.config().shape);
        (tensors.iter().map(|tensor| dims(tensor).0).sum(), tensors.first().map_or(0, |tensor| dims(tensor).1))
    }

    /// Reads a tensor, tells of it, and makes sure that it is as long as it must be: candle panics otherwise.
    fn read<'s>(&mut self, tensor: TensorId, scratch: &'s mut Vec<u8>) -> Result<&'s [u8], ModelError>
    where
        'a: 's,
    {
        let source = self.source;
        let (done, progress) = (self.done, &mut *self.progress);
        let raw = source.read(tensor, scratch, &mut || progress(done))?;
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
pub(super) fn aligned(raw: &[u8]) -> Cow<'_, [u8]> {
    if (raw.as_ptr() as usize).is_multiple_of(4) { Cow::Borrowed(raw) } else { Cow::Owned(raw.to_vec()) }
}
