//! What a model is: its shape, and the constants of its arithmetic. The presets are here too.

use crate::workload::ModelShape;

/// The models that are known by name and need no files: true shapes, synthetic weights.
///
/// `mistral-7b` has the sizes of v0.1, whose window of 4096 is left out, as v0.2 and v0.3 do: a depth of 4096 then looks at
/// all of it. The smaller ones keep its proportions (an MLP 3.5 times as wide, four query heads a key head).
pub const PRESETS: [(&str, ModelConfig); 3] = [
    ("mistral-7b", ModelConfig::synthetic(ModelShape::MISTRAL_7B)),
    (
        "mistral-1b",
        ModelConfig::synthetic(ModelShape {
            vocabulary: 32_000,
            hidden: 2048,
            intermediate: 7168,
            layers: 18,
            heads: 16,
            kv_heads: 4,
            head_dim: 128,
            tied_head: false,
        }),
    ),
    (
        "mistral-100m",
        ModelConfig::synthetic(ModelShape {
            vocabulary: 32_000,
            hidden: 512,
            intermediate: 1792,
            layers: 20,
            heads: 8,
            kv_heads: 2,
            head_dim: 64,
            tied_head: false,
        }),
    ),
];

/// The name of [`TINY`].
pub const TINY_NAME: &str = "tiny";

/// The model that engines are compared by before their speeds are. It is in no list of models.
///
/// It is small enough for any engine, and has grouped queries and the rotary base of Mistral-7B v0.2: an engine that takes the
/// usual base says something else.
pub const TINY: ModelConfig = ModelConfig {
    shape: ModelShape {
        vocabulary: 512,
        hidden: 256,
        intermediate: 512,
        layers: 3,
        heads: 8,
        kv_heads: 2,
        head_dim: 32,
        tied_head: false,
    },
    rope_theta: 1_000_000.0,
    norm_eps: 1e-5,
    window: None,
    max_positions: 2048,
};

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

/// The largest sizes that are believed, far above any model of this kind: what is larger is a broken or hostile file.
const LAYERS_MAX: u32 = 1024;
const WIDTH_MAX: u32 = 1 << 20;
const HEADS_MAX: u32 = 4096;
const HEAD_DIM_MAX: u32 = 4096;
const VOCABULARY_MAX: u32 = 1 << 23;

impl ModelConfig {
    /// The constants of Mistral-7B v0.1 at any shape, without its window.
    pub const fn synthetic(shape: ModelShape) -> Self {
        Self { shape, rope_theta: 10_000.0, norm_eps: 1e-5, window: None, max_positions: 32_768 }
    }

    /// A preset by its name, [`TINY`] among them.
    pub fn preset(name: &str) -> Option<Self> {
        PRESETS.into_iter().chain([(TINY_NAME, TINY)]).find(|(known, _)| *known == name).map(|(_, config)| config)
    }

    /// The same, if its numbers can be a model's; else which can't. After this no product of its sizes overflows.
    pub fn checked(self) -> Result<Self, String> {
        let shape = &self.shape;
        for (name, value, most) in [
            ("vocabulary", shape.vocabulary, VOCABULARY_MAX),
            ("hidden size", shape.hidden, WIDTH_MAX),
            ("intermediate size", shape.intermediate, WIDTH_MAX),
            ("number of layers", shape.layers, LAYERS_MAX),
            ("number of heads", shape.heads, HEADS_MAX),
            ("number of key heads", shape.kv_heads, HEADS_MAX),
            ("size of a head", shape.head_dim, HEAD_DIM_MAX),
        ] {
            if !(1..=most).contains(&value) {
                return Err(format!("the {name} is {value}, not within 1 to {most}"));
            }
        }
        if !shape.heads.is_multiple_of(shape.kv_heads) {
            return Err(format!("{} heads can't share {} key heads evenly", shape.heads, shape.kv_heads));
        }
        if !shape.head_dim.is_multiple_of(2) {
            return Err(format!("the size of a head is {}, and rotary positions need an even one", shape.head_dim));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta >= 1.0) {
            return Err(format!("the rotary base is {}, not a number of at least 1", self.rope_theta));
        }
        if !(self.norm_eps > 0.0 && self.norm_eps < 1.0) {
            return Err(format!("the epsilon of the norms is {}, not between 0 and 1", self.norm_eps));
        }
        if self.window == Some(0) || !(1..=1 << 30).contains(&self.max_positions) {
            return Err("the window or the number of positions is no length".to_owned());
        }
        Ok(self)
    }

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
