//! Language models: the shape of one, and what loading, running and training it means. Shapes are those of Mistral and Llama:
//! RMS norms, rotary positions, grouped-query attention, and an MLP gated by SiLU.

use std::{
    fmt,
    hash::{Hash, Hasher},
    path::PathBuf,
    str::FromStr,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The sizes of a model that decide how much is computed, moved and held. A file may claim any: sums stop at the largest number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ModelShape {
    /// Tokens in the vocabulary.
    pub vocabulary: u32,
    /// Elements of a token's hidden state.
    pub hidden: u32,
    /// Elements between the two halves of the MLP.
    pub intermediate: u32,
    /// Blocks of attention and MLP.
    pub layers: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads; each serves `heads ÷ kv_heads` query heads.
    pub kv_heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// The output head is the embedding table itself.
    #[serde(default)]
    pub tied_head: bool,
}

impl ModelShape {
    /// Mistral-7B v0.1 and Instruct v0.2: 7.24·10⁹ parameters.
    pub const MISTRAL_7B: Self = Self {
        vocabulary: 32_000,
        hidden: 4096,
        intermediate: 14_336,
        layers: 32,
        heads: 32,
        kv_heads: 8,
        head_dim: 128,
        tied_head: false,
    };

    /// Elements of all query heads together.
    pub const fn query_width(&self) -> u64 {
        self.heads as u64 * self.head_dim as u64
    }

    /// Elements of all key heads together, and of all value heads.
    pub const fn kv_width(&self) -> u64 {
        self.kv_heads as u64 * self.head_dim as u64
    }

    /// Elements of the matrices in one block: q, k, v, o, gate, up, down.
    pub const fn block_matrix_elements(&self) -> u64 {
        let attention = self.query_width().saturating_add(self.kv_width()).saturating_mul(2);
        attention.saturating_add(3 * self.intermediate as u64).saturating_mul(self.hidden as u64)
    }

    /// Elements of the embedding table, and of the output head.
    pub const fn embedding_elements(&self) -> u64 {
        self.vocabulary as u64 * self.hidden as u64
    }

    /// Every parameter.
    pub const fn parameters(&self) -> u64 {
        let norms = (2 * self.layers as u64 + 1).saturating_mul(self.hidden as u64);
        let tables = if self.tied_head { 1 } else { 2 };
        let blocks = (self.layers as u64).saturating_mul(self.block_matrix_elements());
        blocks.saturating_add(self.embedding_elements().saturating_mul(tables)).saturating_add(norms)
    }

    /// Elements multiplied for one token: the blocks' matrices and the output head. The embedding is only looked up.
    pub const fn active_elements(&self) -> u64 {
        (self.layers as u64).saturating_mul(self.block_matrix_elements()).saturating_add(self.embedding_elements())
    }

    /// FLOPs of the forward pass for `tokens` positions after `depth` others, with logits for `logits` of them.
    ///
    /// Two for each multiplied element, and for attention 4·width for each pair of query and key that it looks at.
    pub fn forward_flops(&self, tokens: u64, depth: u64, logits: u64) -> f64 {
        let blocks = 2.0 * self.layers as f64 * self.block_matrix_elements() as f64 * tokens as f64;
        let head = 2.0 * self.embedding_elements() as f64 * logits as f64;
        blocks + head + self.attention_flops(tokens, depth)
    }

    /// FLOPs of the products of queries with keys, and of their scores with values, for `tokens` positions after `depth`
    /// others.
    pub fn attention_flops(&self, tokens: u64, depth: u64) -> f64 {
        // Position i looks at depth + i + 1 keys.
        let pairs = tokens as f64 * (depth as f64 + f64::midpoint(tokens as f64, 1.0));
        4.0 * self.layers as f64 * self.query_width() as f64 * pairs
    }

    /// Bytes of keys and values for one position, at `element_bytes` an element.
    pub const fn kv_bytes_per_token(&self, element_bytes: u64) -> u64 {
        (2 * self.layers as u64).saturating_mul(self.kv_width()).saturating_mul(element_bytes)
    }
}

/// How weights are stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", from = "String")]
#[schemars(with = "String")]
pub enum Precision {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of a single.
    Bf16,
    /// Blocks of 32 with one scale: 8.5 bits a weight.
    Q8_0,
    /// Blocks of 32 with one scale: 4.5 bits a weight.
    Q4_0,
    /// llama.cpp's mix of Q4_K and Q6_K: about 4.9 bits a weight.
    Q4KM,
    /// MLX's own 4 bits: groups of 64 along a row with a scale and a bias in 16 bits each: 4.5 bits a weight. mlx-lm makes and
    /// runs it; norms stay in 16 bits.
    Mlx4,
    /// As found in the file, by the name that llama.cpp gives the mix, such as "Q5_K_S".
    Stored(String),
}

impl Precision {
    /// Those that candle runs and that synthetic weights are made in.
    pub const NAMED: [Self; 6] = [Self::F32, Self::F16, Self::Bf16, Self::Q8_0, Self::Q4_0, Self::Q4KM];

    /// Those that can be asked for by name: [`Precision::NAMED`], and what only MLX runs.
    pub const ASKED: [Self; 7] = [Self::F32, Self::F16, Self::Bf16, Self::Q8_0, Self::Q4_0, Self::Q4KM, Self::Mlx4];

    /// The name used in run files and on the command line.
    pub fn id(&self) -> &str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "Q8_0",
            Self::Q4_0 => "Q4_0",
            Self::Q4KM => "Q4_K_M",
            Self::Mlx4 => "mlx-4bit",
            Self::Stored(name) => name,
        }
    }

    /// Bytes an element, of those that are not quantised.
    pub const fn dense_bytes(&self) -> Option<u64> {
        match self {
            Self::F32 => Some(4),
            Self::F16 | Self::Bf16 => Some(2),
            Self::Q8_0 | Self::Q4_0 | Self::Q4KM | Self::Mlx4 | Self::Stored(_) => None,
        }
    }
}

impl From<Precision> for String {
    fn from(precision: Precision) -> Self {
        precision.id().to_owned()
    }
}

impl From<String> for Precision {
    fn from(text: String) -> Self {
        text.parse().unwrap_or(Self::Stored(text))
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ASKED.into_iter().find(|precision| precision.id().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let known: Vec<_> = Self::ASKED.iter().map(|precision| precision.id().to_owned()).collect();
            format!("unknown precision; choose from {}", known.join(", "))
        })
    }
}

/// Where a model's weights come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Seeded random values at the true shapes: as fast as real ones, and nothing to download.
    Synthetic,
    /// Files of a trained model.
    Files,
}

/// Where the files lie on this machine. It is neither saved nor part of what is measured: equal to any other.
#[derive(Clone, Debug, Default)]
pub struct Location(pub Option<PathBuf>);

impl PartialEq for Location {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Location {}

impl Hash for Location {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// A model as a workload names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ModelRef {
    /// The preset's name, or that of the file or folder.
    pub name: String,
    /// Whether its weights are synthetic.
    pub origin: Origin,
    /// How its weights are stored.
    pub precision: Precision,
    /// Its sizes.
    pub shape: ModelShape,
    /// Bytes of all its weights as stored.
    pub weight_bytes: u64,
    /// Bytes of weights that one decoded token reads: all but the embedding table, of which it reads a row.
    pub token_bytes: u64,
    /// Where its files lie.
    #[serde(skip)]
    #[schemars(skip)]
    pub location: Location,
}

impl ModelRef {
    /// "mistral-7b Q4_K_M", with "synthetic" where the weights are.
    pub fn label(&self) -> String {
        let synthetic = if self.origin == Origin::Synthetic { ", synthetic" } else { "" };
        format!("{} {}{synthetic}", self.name, self.precision)
    }

    /// Bits a weight.
    pub fn bits_per_weight(&self) -> f64 {
        8.0 * self.weight_bytes as f64 / self.shape.parameters() as f64
    }
}

/// Loads a model's weights until they are resident on the device.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ModelLoad {
    /// The model.
    pub model: ModelRef,
}

impl ModelLoad {
    /// The variant of an entry whose weights were made up in memory: its time is no time of loading.
    pub const MADE: &str = "synthetic weights: made, not read";
}

/// Runs a model forward, greedily.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Inference {
    /// The model.
    pub model: ModelRef,
    /// Which half of it.
    pub phase: InferencePhase,
    /// Sequences at once.
    pub batch: u32,
}

/// The two halves of inference, as llama-bench names them pp and tg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum InferencePhase {
    /// Reads a prompt: all its positions at once.
    Prefill {
        /// Positions a sequence.
        tokens: u32,
    },
    /// Writes: one position after the other.
    Decode {
        /// Positions written in one timed pass.
        tokens: u32,
        /// Positions already in the cache when it begins.
        depth: u32,
    },
}

impl Inference {
    /// "Prefill 512" or "Decode 128".
    pub fn title(&self) -> String {
        match self.phase {
            InferencePhase::Prefill { tokens } => format!("Prefill {tokens}"),
            InferencePhase::Decode { tokens, .. } => format!("Decode {tokens}"),
        }
    }

    /// The depth, the batch and the model.
    pub fn parameters(&self) -> String {
        let depth = match self.phase {
            InferencePhase::Decode { depth, .. } => format!("depth {depth} · "),
            InferencePhase::Prefill { .. } => String::new(),
        };
        format!("{depth}{}{}", batch_text(self.batch), self.model.label())
    }

    /// Tokens of all sequences in one timed pass.
    pub fn tokens(&self) -> u64 {
        let each = match self.phase {
            InferencePhase::Prefill { tokens } | InferencePhase::Decode { tokens, .. } => tokens,
        };
        u64::from(each) * u64::from(self.batch)
    }

    /// Positions of a sequence that the cache must hold.
    pub fn positions(&self) -> u64 {
        match self.phase {
            InferencePhase::Prefill { tokens } => u64::from(tokens) + 1,
            InferencePhase::Decode { tokens, depth } => u64::from(tokens) + u64::from(depth.max(1)),
        }
    }

    /// FLOPs of one timed pass.
    pub fn flops(&self) -> f64 {
        let shape = &self.model.shape;
        let one = match self.phase {
            InferencePhase::Prefill { tokens } => shape.forward_flops(u64::from(tokens), 0, 1),
            InferencePhase::Decode { tokens, depth } => {
                shape.forward_flops(u64::from(tokens), u64::from(depth), u64::from(tokens))
            }
        };
        one * f64::from(self.batch)
    }

    /// Bytes that one timed pass must read at the least: the weights once a step as they are stored, and the keys and
    /// values of each sequence in 16 bits (32 with f32 weights). Devices that widen either read more.
    pub fn bytes(&self) -> f64 {
        let weights = self.model.token_bytes as f64;
        let kv = self.model.shape.kv_bytes_per_token(self.model.precision.dense_bytes().unwrap_or(2)) as f64;
        match self.phase {
            InferencePhase::Prefill { tokens } => weights + kv * f64::from(tokens) * f64::from(self.batch),
            InferencePhase::Decode { tokens, depth } => {
                let steps = f64::from(tokens);
                let positions = steps * (f64::from(depth) + f64::midpoint(steps, 1.0));
                weights * steps + kv * positions * f64::from(self.batch)
            }
        }
    }
}

fn batch_text(batch: u32) -> String {
    if batch == 1 { String::new() } else { format!("batch {batch} · ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistral_7b_has_its_published_size() {
        let shape = ModelShape::MISTRAL_7B;
        assert_eq!(shape.parameters(), 7_241_732_096);
        assert_eq!(shape.kv_bytes_per_token(2), 128 << 10);
        // Two FLOPs a weight, and a little attention.
        let decode = shape.forward_flops(1, 0, 1);
        assert!((decode / (2.0 * 7.11e9) - 1.0).abs() < 0.01, "{decode}");
    }

    #[test]
    fn precisions_are_told_apart_by_name_and_kept_when_unknown() {
        for precision in Precision::ASKED {
            assert_eq!(Precision::from(precision.id().to_lowercase()), precision);
        }
        assert_eq!(Precision::from("Q5_K_S".to_owned()), Precision::Stored("Q5_K_S".into()));
        assert!("q9".parse::<Precision>().unwrap_err().contains("Q4_K_M"));
    }

    #[test]
    fn a_forward_pass_in_two_parts_counts_the_same() {
        let shape = ModelShape::MISTRAL_7B;
        let whole = shape.forward_flops(512, 0, 512);
        let parts = shape.forward_flops(200, 0, 200) + shape.forward_flops(312, 200, 312);
        assert!((whole / parts - 1.0).abs() < 1e-12);
    }
}
