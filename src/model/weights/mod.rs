//! A model's weights on a device, and where they come from: safetensors, GGUF, or made here.

mod assemble;
mod convert;
mod export;
mod finite;
pub(crate) mod gguf;
pub(crate) mod huggingface;
pub(crate) mod safetensors;
pub(crate) mod source;
pub(crate) mod synthetic;
pub(crate) mod tensors;
mod verify;

use candle_core::{DType, Device, Tensor};

pub use self::{
    export::export,
    huggingface::export_huggingface,
    safetensors::safetensors_files,
    verify::{spot_check, stored_in},
};
use super::{Linear, ModelConfig, ModelError};
use crate::workload::ModelRef;

/// All weights of a model on one device, in the layout that the forward pass wants.
#[derive(Clone, Debug)]
pub struct Weights {
    /// What the model is.
    pub config: ModelConfig,
    /// Vocabulary × hidden. A dense tensor is looked up in the activations' type; a quantised one row by row.
    pub embedding: Linear,
    /// The blocks in order.
    pub layers: Vec<LayerWeights>,
    /// The scale of the last norm: hidden, in the activations' type.
    pub norm: Tensor,
    /// Vocabulary × hidden. A clone of the embedding where the model ties them.
    pub head: Linear,
    /// The type of activations, keys and values: that of dense weights; f32 beside quantised ones, f16 on CUDA.
    pub dtype: DType,
}

/// One block.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// The scale of the norm before attention: hidden, in the activations' type.
    pub attention_norm: Tensor,
    /// Queries, keys and values, their outputs one after another: `query_width + 2·kv_width` × hidden.
    pub qkv: Stacked,
    /// The attention's output: hidden × `query_width`.
    pub o: Linear,
    /// The scale of the norm before the MLP: hidden, in the activations' type.
    pub mlp_norm: Tensor,
    /// Gate, then up: 2·intermediate × hidden.
    pub gate_up: Stacked,
    /// The MLP's second half: hidden × intermediate.
    pub down: Linear,
}

/// Matrices over the same input, whose outputs lie one after another.
///
/// One part where all have the same type: one product instead of several. llama.cpp's mixes quantise values finer than
/// queries and keys; such matrices stay apart.
///
/// Rows of queries and keys are ordered for rotary positions over the two halves of a head, as in safetensors. GGUF files
/// interleave them; loading puts them in order, and exporting back again.
#[derive(Clone, Debug)]
pub struct Stacked {
    /// In the order of their outputs.
    pub parts: Vec<Linear>,
}

impl Stacked {
    /// A single part.
    pub fn one(part: Linear) -> Self {
        Self { parts: vec![part] }
    }

    /// x (m × k) to m × n, n the sum of the parts'.
    pub fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        match self.parts.as_slice() {
            [one] => one.forward(x),
            parts => {
                let outputs = parts.iter().map(|part| part.forward(x)).collect::<candle_core::Result<Vec<_>>>()?;
                Tensor::cat(&outputs, 1)
            }
        }
    }

    /// The gradient of x from that of the output (m × n).
    pub fn backward(&self, dy: &Tensor) -> candle_core::Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        let mut start = 0;
        for part in &self.parts {
            let (rows, _) = part.dims()?;
            let slice = if self.parts.len() == 1 { dy.clone() } else { dy.narrow(1, start, rows)?.contiguous()? };
            let dx = part.backward(&slice)?;
            sum = Some(match sum {
                Some(before) => (before + dx)?,
                None => dx,
            });
            start += rows;
        }
        sum.ok_or_else(|| candle_core::Error::Msg("a projection without matrices".to_owned()))
    }

    /// Bytes of all parts.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(Linear::bytes).sum()
    }
}

impl Weights {
    /// The device they lie on.
    pub fn device(&self) -> &Device {
        self.norm.device()
    }

    /// Bytes of all weights as they are held.
    pub fn bytes(&self) -> u64 {
        let tensor = |tensor: &Tensor| (tensor.elem_count() * tensor.dtype().size_in_bytes()) as u64;
        let layer = |layer: &LayerWeights| {
            let norms = tensor(&layer.attention_norm) + tensor(&layer.mlp_norm);
            norms + layer.qkv.bytes() + layer.o.bytes() + layer.gate_up.bytes() + layer.down.bytes()
        };
        let head = if self.config.shape.tied_head { 0 } else { self.head.bytes() };
        self.embedding.bytes() + tensor(&self.norm) + head + self.layers.iter().map(layer).sum::<u64>()
    }

    /// Whether any matrix of a block is quantised.
    pub fn is_quantized(&self) -> bool {
        self.layers.iter().any(|layer| matches!(layer.down, Linear::Quantized { .. }))
    }
}

/// How far loading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadProgress {
    /// Bytes of weights that are on the device, or on their way there.
    pub done_bytes: u64,
    /// Bytes of all weights.
    pub total_bytes: u64,
}

/// Told after each tensor, and within long ones; an error ends the loading.
pub type OnLoad<'a> = dyn FnMut(LoadProgress) -> Result<(), ModelError> + 'a;

/// Brings a model's weights onto a device: reads its files, or makes synthetic ones.
pub fn load(model: &ModelRef, device: &Device, progress: &mut OnLoad<'_>) -> Result<Weights, ModelError> {
    let source = source::open(model)?;
    assemble::assemble(source.as_ref(), device, model.weight_bytes, (Path::Host, None), progress)
}

/// The same weights as [`load`] brings, as fast as they can be had: synthetic ones may be made on the device. For work that
/// doesn't measure the loading.
pub fn have(model: &ModelRef, device: &Device, progress: &mut OnLoad<'_>) -> Result<Weights, ModelError> {
    let source = source::open(model)?;
    assemble::assemble(source.as_ref(), device, model.weight_bytes, (Path::Shortest, None), progress)
}

/// The same with weights that aren't quantised widened to f32, and all arithmetic in it: what others are compared with.
pub fn have_in_f32(model: &ModelRef, device: &Device, progress: &mut OnLoad<'_>) -> Result<Weights, ModelError> {
    let source = source::open(model)?;
    assemble::assemble(source.as_ref(), device, model.weight_bytes, (Path::Shortest, Some(DType::F32)), progress)
}

/// How tensors come onto a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// From files or a generator through the host's memory.
    Host,
    /// Made on the device where their source can.
    Shortest,
}
