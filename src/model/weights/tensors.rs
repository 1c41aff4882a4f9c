//! The tensors of a model: what each is called in its files, its dimensions, and in which type llama.cpp stores it.

use candle_core::{DType, Device, quantized::GgmlDType};

use crate::{
    model::ModelConfig,
    workload::{ModelShape, Precision},
};

/// One tensor of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TensorId {
    /// The embedding table: vocabulary × hidden.
    Embedding,
    /// The scale of the last norm: hidden.
    Norm,
    /// The output head: vocabulary × hidden.
    Head,
    /// One of a block.
    Block(u32, Part),
}

/// A tensor of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// The scale of the norm before attention.
    AttentionNorm,
    /// Queries.
    Q,
    /// Keys.
    K,
    /// Values.
    V,
    /// The attention's output.
    O,
    /// The scale of the norm before the MLP.
    MlpNorm,
    /// The MLP's gate.
    Gate,
    /// The MLP's first half.
    Up,
    /// The MLP's second half.
    Down,
}

impl Part {
    /// Every one in the order of a block.
    pub(crate) const ALL: [Self; 9] =
        [Self::AttentionNorm, Self::Q, Self::K, Self::V, Self::O, Self::MlpNorm, Self::Gate, Self::Up, Self::Down];

    /// Its names in a block: Hugging Face's, llama.cpp's, Mistral's own.
    const fn names(self) -> [&'static str; 3] {
        match self {
            Self::AttentionNorm => ["input_layernorm", "attn_norm", "attention_norm"],
            Self::Q => ["self_attn.q_proj", "attn_q", "attention.wq"],
            Self::K => ["self_attn.k_proj", "attn_k", "attention.wk"],
            Self::V => ["self_attn.v_proj", "attn_v", "attention.wv"],
            Self::O => ["self_attn.o_proj", "attn_output", "attention.wo"],
            Self::MlpNorm => ["post_attention_layernorm", "ffn_norm", "ffn_norm"],
            Self::Gate => ["mlp.gate_proj", "ffn_gate", "feed_forward.w1"],
            Self::Up => ["mlp.up_proj", "ffn_up", "feed_forward.w3"],
            Self::Down => ["mlp.down_proj", "ffn_down", "feed_forward.w2"],
        }
    }
}

impl TensorId {
    /// Every tensor of a model, in the order of its arithmetic.
    pub(crate) fn all(shape: &ModelShape) -> Vec<Self> {
        let mut all = vec![Self::Embedding];
        for layer in 0..shape.layers {
            all.extend(Part::ALL.map(|part| Self::Block(layer, part)));
        }
        all.push(Self::Norm);
        if !shape.tied_head {
            all.push(Self::Head);
        }
        all
    }

    /// Its name in Hugging Face's safetensors.
    pub(crate) fn hugging_face(self) -> String {
        match self {
            Self::Embedding => "model.embed_tokens.weight".to_owned(),
            Self::Norm => "model.norm.weight".to_owned(),
            Self::Head => "lm_head.weight".to_owned(),
            Self::Block(layer, part) => {
                let [name, ..] = part.names();
                format!("model.layers.{layer}.{name}.weight")
            }
        }
    }

    /// Its name in GGUF files.
    pub(crate) fn gguf(self) -> String {
        match self {
            Self::Embedding => "token_embd.weight".to_owned(),
            Self::Norm => "output_norm.weight".to_owned(),
            Self::Head => "output.weight".to_owned(),
            Self::Block(layer, part) => {
                let [_, name, _] = part.names();
                format!("blk.{layer}.{name}.weight")
            }
        }
    }

    /// Its name in `consolidated.safetensors`, as Mistral publishes them.
    pub(crate) fn mistral(self) -> String {
        match self {
            Self::Embedding => "tok_embeddings.weight".to_owned(),
            Self::Norm => "norm.weight".to_owned(),
            Self::Head => "output.weight".to_owned(),
            Self::Block(layer, part) => {
                let [_, _, name] = part.names();
                format!("layers.{layer}.{name}.weight")
            }
        }
    }

    /// Rows (outputs) and columns (inputs). A norm is one row.
    pub(crate) fn dims(self, shape: &ModelShape) -> (usize, usize) {
        let hidden = shape.hidden as usize;
        let inner = shape.intermediate as usize;
        let (query, kv) = (shape.query_width() as usize, shape.kv_width() as usize);
        match self {
            Self::Embedding | Self::Head => (shape.vocabulary as usize, hidden),
            Self::Norm | Self::Block(_, Part::AttentionNorm | Part::MlpNorm) => (1, hidden),
            Self::Block(_, Part::Q) => (query, hidden),
            Self::Block(_, Part::K | Part::V) => (kv, hidden),
            Self::Block(_, Part::O) => (hidden, query),
            Self::Block(_, Part::Gate | Part::Up) => (inner, hidden),
            Self::Block(_, Part::Down) => (hidden, inner),
        }
    }

    /// Whether it is the scale of a norm, a vector.
    pub(crate) const fn is_norm(self) -> bool {
        matches!(self, Self::Norm | Self::Block(_, Part::AttentionNorm | Part::MlpNorm))
    }

    /// The heads whose rows llama.cpp interleaves: those of queries and keys.
    pub(crate) const fn rotary_heads(self, shape: &ModelShape) -> Option<usize> {
        match self {
            Self::Block(_, Part::Q) => Some(shape.heads as usize),
            Self::Block(_, Part::K) => Some(shape.kv_heads as usize),
            _ => None,
        }
    }

    /// The type it is stored in when a model is written in `precision`, one of [`Precision::NAMED`], by llama.cpp's rules.
    ///
    /// Norms are f32 beside quantised matrices. The output head is finer than the rest; so are values and the MLP's second
    /// half in some of the blocks of Q4_K_M. Rows that the blocks of a type don't divide get another type.
    pub(crate) fn stored_as(self, precision: &Precision, config: &ModelConfig) -> GgmlDType {
        let shape = &config.shape;
        let (_, columns) = self.dims(shape);
        let dense = match precision {
            Precision::F32 => Some(GgmlDType::F32),
            Precision::F16 => Some(GgmlDType::F16),
            Precision::Bf16 => Some(GgmlDType::BF16),
            _ => None,
        };
        if let Some(dense) = dense {
            return dense;
        }
        if self.is_norm() {
            return GgmlDType::F32;
        }
        let usual = match precision {
            Precision::Q8_0 => GgmlDType::Q8_0,
            Precision::Q4_0 => GgmlDType::Q4_0,
            _ => GgmlDType::Q4K,
        };
        let output = self == Self::Head || (self == Self::Embedding && shape.tied_head);
        let finer = match self {
            _ if output => usual != GgmlDType::Q8_0,
            Self::Block(layer, Part::V | Part::Down) => usual == GgmlDType::Q4K && more_bits(layer, shape.layers),
            _ => false,
        };
        fitting(if finer { GgmlDType::Q6K } else { usual }, columns)
    }
}

/// Bytes of a tensor in [`Precision::Mlx4`]: groups of 64 along a row where they divide it, two bytes an element where they
/// don't, as in norms.
pub(crate) fn mlx_bytes(tensor: TensorId, shape: &ModelShape) -> u64 {
    const GROUP: usize = 64;
    /// 64 values in 4 bits, a scale and a bias in 16 bits.
    const GROUP_BYTES: usize = GROUP / 2 + 2 + 2;
    let (rows, columns) = tensor.dims(shape);
    let row =
        if tensor.is_norm() || !columns.is_multiple_of(GROUP) { 2 * columns } else { columns / GROUP * GROUP_BYTES };
    (rows * row) as u64
}

/// The blocks in which Q4_K_M spends more bits: the first and the last eighth, and every third between them.
const fn more_bits(layer: u32, layers: u32) -> bool {
    layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2
}

/// The type itself where its blocks divide a row, else the one that llama.cpp takes instead.
fn fitting(kind: GgmlDType, columns: usize) -> GgmlDType {
    if columns.is_multiple_of(kind.block_size()) {
        return kind;
    }
    let smaller = match kind {
        GgmlDType::Q4K => GgmlDType::Q5_0,
        GgmlDType::Q6K => GgmlDType::Q8_0,
        _ => GgmlDType::F16,
    };
    fitting(smaller, columns)
}

/// The type of a tensor that is not quantised.
pub(crate) const fn dense(kind: GgmlDType) -> Option<DType> {
    match kind {
        GgmlDType::F32 => Some(DType::F32),
        GgmlDType::F16 => Some(DType::F16),
        GgmlDType::BF16 => Some(DType::BF16),
        _ => None,
    }
}

/// The type of activations beside weights of this type.
pub(crate) fn activations(kind: GgmlDType, device: &Device) -> DType {
    match (dense(kind), device) {
        // candle's processor has no product of bf16 that is worth timing.
        (Some(DType::BF16), Device::Cpu) => DType::F32,
        (Some(dense), _) => dense,
        (None, Device::Cuda(_)) => DType::F16,
        (None, _) => DType::F32,
    }
}

/// Bytes of `elements` elements, a whole number of blocks.
pub(crate) fn bytes(kind: GgmlDType, elements: usize) -> usize {
    elements / kind.block_size() * kind.type_size()
}
