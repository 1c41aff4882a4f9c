//! What a model is: its shape, and the constants of its arithmetic.

use crate::workload::ModelShape;

/// A model's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Its sizes.
    pub shape: ModelShape,
    /// The base of the rotary frequencies: 10 000 for v0.1, 1 000 000 for v0.2 and v0.3.
    pub rope_theta: f64,
    /// Added to the mean square before its root in RMS norms.
    pub norm_eps: f64,
    /// A position looks at so many positions, itself included; at all before it where there is none.
    pub window: Option<usize>,
    /// The most positions that the model was made for.
    pub max_positions: usize,
}

impl ModelConfig {
    /// Elements of a token's hidden state.
    pub const fn hidden(&self) -> usize {
        self.shape.hidden as usize
    }

    /// Elements between the two halves of the MLP.
    pub const fn intermediate(&self) -> usize {
        self.shape.intermediate as usize
    }

    /// Query heads.
    pub const fn heads(&self) -> usize {
        self.shape.heads as usize
    }

    /// Key and value heads.
    pub const fn kv_heads(&self) -> usize {
        self.shape.kv_heads as usize
    }

    /// Elements of a head.
    pub const fn head_dim(&self) -> usize {
        self.shape.head_dim as usize
    }

    /// Blocks.
    pub const fn layers(&self) -> usize {
        self.shape.layers as usize
    }

    /// Tokens in the vocabulary.
    pub const fn vocabulary(&self) -> usize {
        self.shape.vocabulary as usize
    }
}
