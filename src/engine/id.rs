//! The names of engines.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::workload::WorkloadKind;

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String")]
pub enum EngineId {
    /// Our own compute shaders.
    Wgpu,
    /// Language models and matrix products in candle.
    Candle,
    /// PyTorch with transformers and peft, in a Python process.
    Pytorch,
    /// Apple's MLX with mlx-lm, in a Python process.
    Mlx,
    /// llama.cpp's own benchmark program.
    LlamaCpp,
    /// Any other that speaks the engine protocol.
    Other(EngineName),
}

/// The name of an engine that Roofline doesn't know: letters, digits, `-`, `_` and `.`, at most 24.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EngineName {
    bytes: [u8; Self::MOST],
    length: u8,
}

impl EngineName {
    const MOST: usize = 24;

    /// The name, if it is one.
    pub fn new(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let fits = text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(plain);
        let mut bytes = [0; Self::MOST];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        fits.then_some(Self { bytes, length: text.len() as u8 })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.bytes.get(..usize::from(self.length)).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl fmt::Debug for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl EngineId {
    /// Every engine that Roofline brings along or knows how to get, in display order.
    pub const ALL: [Self; 5] = [Self::Wgpu, Self::Candle, Self::Pytorch, Self::Mlx, Self::LlamaCpp];

    /// Those that are part of the program.
    pub const BUILT_IN: [Self; 2] = [Self::Wgpu, Self::Candle];

    /// The name used in run files and on the command line.
    pub fn id(&self) -> &str {
        match self {
            Self::Wgpu => "wgpu",
            Self::Candle => "candle",
            Self::Pytorch => "pytorch",
            Self::Mlx => "mlx",
            Self::LlamaCpp => "llama.cpp",
            Self::Other(name) => name.as_str(),
        }
    }

    /// The name as its makers write it.
    pub fn title(&self) -> &str {
        match self {
            Self::Wgpu => "wgpu",
            Self::Candle => "candle",
            Self::Pytorch => "PyTorch",
            Self::Mlx => "MLX",
            Self::LlamaCpp => "llama.cpp",
            Self::Other(name) => name.as_str(),
        }
    }

    /// Whether it is part of the program; others are looked for on the machine.
    pub const fn is_built_in(&self) -> bool {
        matches!(self, Self::Wgpu | Self::Candle)
    }

    /// The kinds of workload that it measures, on some device at least.
    pub const fn kinds(&self) -> &'static [WorkloadKind] {
        use WorkloadKind::{Attention, Bandwidth, BandwidthSweep, Gemm, Inference, ModelLoad, TensorLimit, Training};
        match self {
            Self::Wgpu => &[Gemm, Bandwidth, BandwidthSweep, TensorLimit],
            Self::Candle => &[Gemm, Attention, ModelLoad, Inference, Training],
            Self::Pytorch => &[Gemm, Attention, Bandwidth, TensorLimit, ModelLoad, Inference, Training],
            Self::Mlx => &[Gemm, Attention, Bandwidth, ModelLoad, Inference, Training],
            Self::LlamaCpp => &[Gemm, ModelLoad, Inference, Training],
            Self::Other(_) => &WorkloadKind::ALL,
        }
    }

    /// What it is, in a few words.
    pub const fn description(&self) -> &'static str {
        match self {
            Self::Wgpu => "Roofline's own WGSL compute shaders through wgpu (Vulkan, Metal)",
            Self::Candle => "Roofline's own Mistral on Hugging Face's candle (processor, Metal, CUDA)",
            Self::Pytorch => "PyTorch with transformers and peft (processor, MPS, CUDA)",
            Self::Mlx => "Apple's MLX with mlx-lm (Metal, CUDA; on a Linux processor to show that it works)",
            Self::LlamaCpp => "llama.cpp's llama-bench and operator test (processor, Metal, CUDA)",
            Self::Other(_) => "an engine of the engines folder, by the engine protocol",
        }
    }
}

impl fmt::Display for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for EngineId {
    type Err = String;

    /// Any well-formed name is one: whether such an engine is there is seen when it is looked for.
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|engine| engine.id() == text);
        known.or_else(|| EngineName::new(text).map(Self::Other)).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|engine| engine.id().to_owned()).collect();
            format!("no engine has such a name; choose from {}, or one of the engines folder", known.join(", "))
        })
    }
}

impl From<EngineId> for String {
    fn from(engine: EngineId) -> Self {
        engine.id().to_owned()
    }
}

impl TryFrom<String> for EngineId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_went() {
        for engine in EngineId::ALL {
            assert_eq!(engine.id().parse(), Ok(engine));
            assert_eq!(serde_json::from_str::<EngineId>(&serde_json::to_string(&engine).unwrap()).unwrap(), engine);
        }
        let other: EngineId = "tinygrad-0.9".parse().unwrap();
        assert_eq!((other.id(), other.to_string()), ("tinygrad-0.9", "tinygrad-0.9".to_owned()));
        for wrong in ["", "-x", "a b", "../x", "a/b", "ä", "a-name-that-is-longer-than-24"] {
            assert!(wrong.parse::<EngineId>().is_err(), "{wrong}");
        }
    }
}
