//! Whether a device's gradients are right: those of the first blocks, compared with a second way to them.

use candle_core::{DType, Device, Tensor};

use super::{Check, TrainSettings, Trainer, ids_tensor};
use crate::model::{
    LayerWeights, Linear, Model, ModelError, Weights,
    lora::{Lora, LoraSettings},
    weights::Stacked,
};

/// Blocks that are compared: two, so that the gradient of a block's input counts too.
const BLOCKS: usize = 2;

/// Tokens of all sequences together.
const TOKENS: usize = 64;

/// Rows of the embedding that are used; the output head is whole.
const VOCABULARY: usize = 256;

/// What B is moved by, so that A has a gradient: about what some hundred steps would.
const MOVED: f64 = 0.02;

/// Gradients and what they should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// What they were compared with.
    pub method: &'static str,
    /// (ours, reference).
    pub pairs: Vec<(f64, f64)>,
    /// The relative error that right gradients stay below.
    pub tolerance: f64,
}

/// Compares the gradients of all adapters in the model's first two blocks, with its whole head, on a short text.
///
/// The reference is the same in f32 on the processor, from dequantised weights. Where the model itself is that, the
/// reference is the slope of the loss along each target's gradient, by finite differences.
pub fn compare_gradients(
    model: &Model,
    settings: &LoraSettings,
    batch: usize,
    check: &mut Check<'_>,
) -> Result<Comparison, ModelError> {
    let short = first_blocks(&model.weights)?;
    let batch = batch.clamp(1, 2);
    let vocabulary = short.config.vocabulary();
    let sequence = |index: usize| (0..TOKENS / batch).map(|at| ((7 * at + 31 * index) % vocabulary) as u32).collect();
    let sequences: Vec<Vec<u32>> = (0..batch).map(sequence).collect();
    let is_reference = short.device().is_cpu() && short.dtype == DType::F32 && !short.is_quantized();
    let tolerance = match short.dtype {
        // Products with quantised weights round activations to 8 bits on some devices.
        _ if short.is_quantized() => 0.1,
        DType::F32 => 1e-2,
        DType::F16 => 0.03,
        _ => 0.15,
    };
    let lora = |device: &Device| Lora::new(&short.config, settings.clone(), device)?.with_moved_b(MOVED);
    let device = short.device().clone();
    let adapters = lora(&device)?;
    if is_reference {
        let model = Model::new(short.clone())?;
        let pairs = slopes(&model, adapters, &ids_tensor(&sequences, &device)?, check)?;
        return Ok(Comparison {
            method: "finite differences of the loss along each target's gradient",
            pairs,
            tolerance,
        });
    }
    let host = lora(&Device::Cpu)?;
    let wide = Model::new(in_f32(&short, check)?)?;
    let expected = finite_gradient(&wide, host, &ids_tensor(&sequences, &Device::Cpu)?, check)?;
    drop(wide);
    let ours = finite_gradient(&Model::new(short)?, adapters, &ids_tensor(&sequences, &device)?, check)?;
    let pairs = ours.into_iter().zip(expected).map(|(ours, expected)| (f64::from(ours), f64::from(expected))).collect();
    Ok(Comparison { method: "f32 gradients of the first two blocks on the processor", pairs, tolerance })
}

/// The model cut off after its first blocks, with a small embedding.
fn first_blocks(weights: &Weights) -> Result<Weights, ModelError> {
    let mut config = weights.config.clone();
    config.shape.layers = config.shape.layers.min(BLOCKS as u32);
    let rows = VOCABULARY.min(config.vocabulary());
    config.shape.vocabulary = rows as u32;
    config.max_positions = config.max_positions.min(TOKENS);
    let ids = Tensor::arange(0, rows as u32, weights.device())?;
    let embedding = crate::model::ops::embed(&weights.embedding, &ids, weights.dtype)?;
    Ok(Weights {
        layers: weights.layers.iter().take(BLOCKS).cloned().collect(),
        embedding: Linear::Dense(embedding),
        norm: weights.norm.clone(),
        head: weights.head.clone(),
        dtype: weights.dtype,
        config,
    })
}

/// The same weights in f32 on the processor.
fn in_f32(weights: &Weights, check: &mut Check<'_>) -> Result<Weights, ModelError> {
    let tensor = |tensor: &Tensor| tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32);
    let mut dense = |linear: &Linear| -> Result<Tensor, ModelError> {
        check()?;
        Ok(match linear {
            Linear::Dense(weight) => tensor(weight)?,
            Linear::Quantized { weight, .. } => tensor(&weight.dequantize(weights.device())?)?,
        })
    };
    let mut layers = Vec::new();
    for layer in &weights.layers {
        let mut stacked = |stacked: &Stacked| -> Result<Stacked, ModelError> {
            let parts = stacked.parts.iter().map(&mut dense).collect::<Result<Vec<_>, _>>()?;
            Ok(Stacked::one(Linear::Dense(Tensor::cat(&parts, 0)?)))
        };
        let (qkv, gate_up) = (stacked(&layer.qkv)?, stacked(&layer.gate_up)?);
        layers.push(LayerWeights {
            attention_norm: tensor(&layer.attention_norm)?,
            qkv,
            o: Linear::Dense(dense(&layer.o)?),
            mlp_norm: tensor(&layer.mlp_norm)?,
            gate_up,
            down: Linear::Dense(dense(&layer.down)?),
        });
    }
    Ok(Weights {
        embedding: Linear::Dense(dense(&weights.embedding)?),
        head: Linear::Dense(dense(&weights.head)?),
        norm: tensor(&weights.norm)?,
        config: weights.config.clone(),
        dtype: DType::F32,
        layers,
    })
}

/// The gradient of every parameter; in f16 with as large a loss scale as it bears.
fn finite_gradient(model: &Model, lora: Lora, ids: &Tensor, check: &mut Check<'_>) -> Result<Vec<f32>, ModelError> {
    let mut trainer = Trainer::new(model, lora, TrainSettings::default())?;
    loop {
        let scale = trainer.loss_scale();
        let gradient = trainer.gradient(ids, check)?;
        let vector = gradient.vector.affine(1.0 / gradient.scale, 0.0)?.to_vec1::<f32>()?;
        trainer.scale.update(vector.iter().all(|value| value.is_finite()));
        if trainer.loss_scale() >= scale {
            return Ok(vector);
        }
    }
}

/// For A and B of each target: the norm of its gradient, and how steeply the loss rises in its direction.
fn slopes(model: &Model, lora: Lora, ids: &Tensor, check: &mut Check<'_>) -> Result<Vec<(f64, f64)>, ModelError> {
    /// Far above the rounding of the loss; the formula of fourth order leaves no curvature in the slope.
    const STEP: f64 = 0.02;
    let start = lora.parameters().to_vec1::<f32>()?;
    let gradient = finite_gradient(model, lora.clone(), ids, check)?;
    let mut trainer = Trainer::new(model, lora, TrainSettings::default())?;
    let mut pairs = Vec::new();
    for (from, len) in trainer.lora().all_ranges() {
        let Some(part) = gradient.get(from..from + len) else { continue };
        let norm = part.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let mut loss_at = |step: f64| {
            let mut moved = start.clone();
            let factor = step / norm.max(1e-30);
            for (value, g) in moved.iter_mut().skip(from).zip(part) {
                *value += (factor * f64::from(*g)) as f32;
            }
            trainer.lora.set_parameters(Tensor::from_vec(moved, start.len(), ids.device())?)?;
            trainer.loss(ids, check)
        };
        let near = loss_at(STEP)? - loss_at(-STEP)?;
        let far = loss_at(2.0 * STEP)? - loss_at(-2.0 * STEP)?;
        pairs.push((norm, (8.0 * near - far) / (12.0 * STEP)));
    }
    Ok(pairs)
}
