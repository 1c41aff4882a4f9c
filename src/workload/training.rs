//! Training of low-rank adapters.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ModelRef, ModelShape};

/// A matrix of a block that LoRA can adapt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Queries.
    Q,
    /// Keys.
    K,
    /// Values.
    V,
    /// The attention's output.
    O,
    /// The MLP's gate.
    Gate,
    /// The MLP's first half.
    Up,
    /// The MLP's second half.
    Down,
}

impl Target {
    /// Every one in the order of a block.
    pub const ALL: [Self; 7] = [Self::Q, Self::K, Self::V, Self::O, Self::Gate, Self::Up, Self::Down];

    /// The name used in run files and on the command line.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Q => "q",
            Self::K => "k",
            Self::V => "v",
            Self::O => "o",
            Self::Gate => "gate",
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    /// Outputs and inputs of the matrix.
    pub fn dims(self, shape: &ModelShape) -> (u64, u64) {
        let (hidden, inner) = (u64::from(shape.hidden), u64::from(shape.intermediate));
        match self {
            Self::Q => (shape.query_width(), hidden),
            Self::K | Self::V => (shape.kv_width(), hidden),
            Self::O => (hidden, shape.query_width()),
            Self::Gate | Self::Up => (inner, hidden),
            Self::Down => (hidden, inner),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|target| target.id() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|target| target.id()).collect();
            format!("unknown LoRA target; choose from {}", known.join(", "))
        })
    }
}

/// Trains low-rank adapters (LoRA) of a frozen model with AdamW; QLoRA where the model is quantised.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Training {
    /// The model.
    pub model: ModelRef,
    /// The adapters' rank.
    pub rank: u32,
    /// The matrices that are adapted.
    pub targets: Vec<Target>,
    /// Positions a sequence.
    pub sequence: u32,
    /// Sequences a step.
    pub batch: u32,
    /// Gradients are scaled to a global norm of at most 1.
    pub clipping: bool,
    /// Activations are computed again in the backward pass instead of being kept.
    pub checkpointing: bool,
    /// AdamW's learning rate in millionths.
    #[serde(default = "learning_rate")]
    pub learning_rate_millionths: u32,
}

/// The learning rate of training in millionths, unless another is asked for.
///
/// Twenty times that of the PyTorch script that Roofline is compared with, so that the loss falls within the steps that a measurement takes. The 100m preset with synthetic weights loses a tenth of its loss in some
/// ten steps at 1e-3, and is thrown about at 1e-2.
pub const LEARNING_RATE_MILLIONTHS: u32 = 2000;

const fn learning_rate() -> u32 {
    LEARNING_RATE_MILLIONTHS
}

impl Training {
    /// "LoRA 1 × 512": batch and sequence; QLoRA on quantised weights.
    pub fn title(&self) -> String {
        let method = if self.model.precision.dense_bytes().is_some() { "LoRA" } else { "QLoRA" };
        format!("{method} {} × {}", self.batch, self.sequence)
    }

    /// The rank and the targets, what was left out, and the model.
    pub fn parameters(&self) -> String {
        let targets: Vec<_> = self.targets.iter().map(|target| target.id()).collect();
        let clipping = if self.clipping { "" } else { " · no clipping" };
        let checkpointing = if self.checkpointing { " · checkpointing" } else { "" };
        let rate = match self.learning_rate_millionths {
            LEARNING_RATE_MILLIONTHS => String::new(),
            _ => format!(" · learning rate {}", self.learning_rate()),
        };
        format!("r = {} on {}{clipping}{checkpointing}{rate} · {}", self.rank, targets.join(", "), self.model.label())
    }

    /// AdamW's learning rate.
    pub fn learning_rate(&self) -> f64 {
        f64::from(self.learning_rate_millionths) / 1e6
    }

    /// Tokens of one step.
    pub fn tokens(&self) -> u64 {
        u64::from(self.sequence) * u64::from(self.batch)
    }

    /// Parameters that are trained.
    pub fn trained_parameters(&self) -> u64 {
        let one = |target: &Target| {
            let (outputs, inputs) = target.dims(&self.model.shape);
            u64::from(self.rank).saturating_mul(outputs.saturating_add(inputs))
        };
        let a_block = self.targets.iter().map(one).fold(0, u64::saturating_add);
        u64::from(self.model.shape.layers).saturating_mul(a_block)
    }

    /// FLOPs of one step: forward, as much again for the gradients of the inputs, and attention once more, whose products
    /// have two inputs each. Frozen weights need no gradients of their own. The adapters' three products are counted, what
    /// checkpointing computes again is not.
    pub fn flops(&self) -> f64 {
        let (shape, sequence) = (&self.model.shape, u64::from(self.sequence));
        let each = 2.0 * shape.forward_flops(sequence, 0, sequence) + shape.attention_flops(sequence, 0);
        each * f64::from(self.batch) + 6.0 * self.trained_parameters() as f64 * self.tokens() as f64
    }

    /// Bytes that one step must move at the least: the frozen weights once forward and once backward as they are stored, and
    /// the adapters with AdamW's two moments in f32, each read and written. Activations may stay in a cache, or be kept.
    pub fn bytes(&self) -> f64 {
        const ADAPTER: f64 = 3.0 * 2.0 * 4.0;
        2.0 * self.model.token_bytes as f64 + ADAPTER * self.trained_parameters() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Location, Origin, Precision};

    fn training() -> Training {
        let shape = ModelShape::MISTRAL_7B;
        let model = ModelRef {
            name: "mistral-7b".into(),
            origin: Origin::Synthetic,
            precision: Precision::F16,
            shape,
            weight_bytes: 2 * shape.parameters(),
            token_bytes: 2 * (shape.parameters() - shape.embedding_elements()),
            location: Location::default(),
        };
        Training {
            model,
            rank: 8,
            targets: vec![Target::Q, Target::V],
            sequence: 512,
            batch: 2,
            clipping: true,
            checkpointing: false,
            learning_rate_millionths: LEARNING_RATE_MILLIONTHS,
        }
    }

    #[test]
    fn a_step_goes_twice_through_the_matrices_and_three_times_through_attention() {
        let training = training();
        let matrices = 4.0 * training.model.shape.active_elements() as f64 * 1024.0;
        // 512 · 513 ÷ 2 pairs in each of two sequences, 4 · 4096 in each of 32 blocks.
        let attention = 3.0 * 2.0 * (512.0 * 513.0 / 2.0) * 4.0 * 4096.0 * 32.0;
        let adapters = 6.0 * 3_407_872.0 * 1024.0;
        assert!((training.flops() / (matrices + attention + adapters) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_learning_rate_is_told_where_it_is_not_the_usual_one_and_files_without_one_load() {
        let usual = training();
        assert!(!usual.parameters().contains("learning rate"));
        let high = Training { learning_rate_millionths: 30_000, ..usual.clone() };
        assert!(high.parameters().contains("learning rate 0.03"), "{}", high.parameters());
        let mut old = serde_json::to_value(&usual).unwrap();
        old.as_object_mut().unwrap().remove("learning_rate_millionths");
        assert_eq!(serde_json::from_value::<Training>(old).unwrap(), usual);
    }
}
