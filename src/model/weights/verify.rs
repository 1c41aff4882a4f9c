//! Whether what lies on the device is what the files, or the generator, hold.

use std::path::PathBuf;

use candle_core::{
    DType, Device,
    quantized::{GgmlDType, QStorage, QTensor},
};

use super::{
    LayerWeights, Stacked, Weights,
    assemble::{aligned, decode},
    source::open,
    tensors::{Part, TensorId, bytes, dense},
};
use crate::{
    model::{Linear, ModelError},
    workload::{ModelRef, Origin},
};

/// The files that hold a model's weights; none where they are made.
pub fn stored_in(model: &ModelRef) -> Result<Vec<PathBuf>, ModelError> {
    if model.origin == Origin::Synthetic {
        return Ok(Vec::new());
    }
    Ok(open(model)?.files().into_iter().map(PathBuf::from).collect())
}

/// Some values of some matrices: as they lie on the device, and as the model's source holds them. `check` is the
/// cancellation point.
pub fn spot_check(
    model: &ModelRef,
    weights: &Weights,
    check: &mut dyn FnMut() -> Result<(), ModelError>,
) -> Result<Vec<(f64, f64)>, ModelError> {
    let source = open(model)?;
    let shape = source.config().shape;
    let middle = shape.layers / 2;
    let last = shape.layers.saturating_sub(1);
    let chosen = [
        TensorId::Embedding,
        TensorId::Block(0, Part::K),
        TensorId::Block(middle, Part::Down),
        TensorId::Block(last, Part::Up),
        TensorId::Block(last, Part::V),
        if shape.tied_head { TensorId::Embedding } else { TensorId::Head },
    ];
    let (mut pairs, mut scratch) = (Vec::new(), Vec::new());
    for tensor in chosen {
        let (rows, columns) = tensor.dims(&shape);
        let kind = source.kind(tensor)?;
        let raw = source.read(tensor, &mut scratch, check)?;
        for row in [0, rows / 3, rows - 1] {
            check()?;
            let width = bytes(kind, columns);
            let held = row_on_device(weights, tensor, row)?;
            let stored = dequantized(kind, raw.get(row * width..(row + 1) * width).unwrap_or_default(), columns)?;
            pairs.extend(held.into_iter().zip(stored).map(|(held, stored)| (f64::from(held), f64::from(stored))));
        }
    }
    Ok(pairs)
}

/// A row of a tensor, brought back from the device.
fn row_on_device(weights: &Weights, tensor: TensorId, row: usize) -> Result<Vec<f32>, ModelError> {
    let shape = &weights.config.shape;
    let (query, kv) = (shape.query_width() as usize, shape.kv_width() as usize);
    let missing = || ModelError::Compute(format!("{} is not on the device", tensor.gguf()));
    let layer =
        |layer: u32| -> Result<&LayerWeights, ModelError> { weights.layers.get(layer as usize).ok_or_else(missing) };
    match tensor {
        TensorId::Embedding => row_of(&weights.embedding, row),
        TensorId::Head => row_of(&weights.head, row),
        TensorId::Norm => Ok(weights.norm.to_dtype(DType::F32)?.to_vec1()?),
        TensorId::Block(index, part) => {
            let layer = layer(index)?;
            match part {
                Part::Q => row_of_stack(&layer.qkv, row),
                Part::K => row_of_stack(&layer.qkv, query + row),
                Part::V => row_of_stack(&layer.qkv, query + kv + row),
                Part::Gate => row_of_stack(&layer.gate_up, row),
                Part::Up => row_of_stack(&layer.gate_up, shape.intermediate as usize + row),
                Part::O => row_of(&layer.o, row),
                Part::Down => row_of(&layer.down, row),
                Part::AttentionNorm => Ok(layer.attention_norm.to_dtype(DType::F32)?.to_vec1()?),
                Part::MlpNorm => Ok(layer.mlp_norm.to_dtype(DType::F32)?.to_vec1()?),
            }
        }
    }
}

fn row_of_stack(stack: &Stacked, mut row: usize) -> Result<Vec<f32>, ModelError> {
    for part in &stack.parts {
        let (rows, _) = part.dims()?;
        if row < rows {
            return row_of(part, row);
        }
        row -= rows;
    }
    Err(ModelError::Compute("a row lies beyond its matrices".to_owned()))
}

fn row_of(linear: &Linear, row: usize) -> Result<Vec<f32>, ModelError> {
    match linear {
        Linear::Dense(weight) => {
            Ok(weight.narrow(0, row, 1)?.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
        }
        Linear::Quantized { weight, .. } => {
            let (_, columns) = weight.shape().dims2()?;
            let width = bytes(weight.dtype(), columns);
            let raw = weight.data()?;
            dequantized(weight.dtype(), raw.get(row * width..(row + 1) * width).unwrap_or_default(), columns)
        }
    }
}

/// The values of a stored row.
fn dequantized(kind: GgmlDType, raw: &[u8], columns: usize) -> Result<Vec<f32>, ModelError> {
    if raw.len() != bytes(kind, columns) {
        return Err(ModelError::Compute("a row is shorter than it should be".to_owned()));
    }
    if dense(kind).is_some() {
        return Ok(raw.chunks_exact(kind.type_size()).map(|raw| decode(kind, raw)).collect());
    }
    let storage = QStorage::from_data(aligned(raw), &Device::Cpu, kind)?;
    Ok(QTensor::new(storage, (1, columns))?.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()?)
}
