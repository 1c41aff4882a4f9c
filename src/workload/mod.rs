//! What is measured: parameters, floating-point operations, bytes and reference values. No clocks, no GPU.

mod attention;
mod bandwidth;
mod dtype;
mod gemm;
mod model;
mod prompt;
pub mod random;
mod tensor_limit;
mod training;

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    attention::Attention,
    bandwidth::{Bandwidth, BandwidthSweep, MemoryOp},
    dtype::Dtype,
    gemm::{Gemm, Layout},
    model::{Inference, InferencePhase, Location, ModelLoad, ModelRef, ModelShape, Origin, Precision},
    tensor_limit::TensorLimit,
    training::{LEARNING_RATE_MILLIONTHS, Target, Training},
};
use crate::units::Unit;

/// One thing to measure with all its parameters. Two entries are comparable only if their workloads are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Workload {
    /// Matrix multiplication.
    Gemm(Gemm),
    /// Scaled dot-product attention.
    Attention(Attention),
    /// Memory bandwidth at one array size.
    Bandwidth(Bandwidth),
    /// Memory bandwidth over array sizes, whose plateaus show the caches.
    BandwidthSweep(BandwidthSweep),
    /// The largest buffer and the total that can be held.
    TensorLimit(TensorLimit),
    /// Loading a language model.
    ModelLoad(ModelLoad),
    /// Running a language model.
    Inference(Inference),
    /// Training adapters of a language model.
    Training(Training),
}

/// The family of a workload, as named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkloadKind {
    /// Matrix multiplication.
    Gemm,
    /// Scaled dot-product attention.
    Attention,
    /// Memory bandwidth at one array size.
    Bandwidth,
    /// Memory bandwidth over array sizes.
    BandwidthSweep,
    /// The largest buffer and the total that can be held.
    TensorLimit,
    /// Loading a language model.
    ModelLoad,
    /// Running a language model: prefill and decode.
    Inference,
    /// Training LoRA adapters of a language model.
    Training,
}

impl WorkloadKind {
    /// Every kind in display order.
    pub const ALL: [Self; 8] = [
        Self::Gemm,
        Self::Attention,
        Self::Bandwidth,
        Self::BandwidthSweep,
        Self::TensorLimit,
        Self::ModelLoad,
        Self::Inference,
        Self::Training,
    ];

    /// Those that single kernels are measured by.
    pub const KERNELS: [Self; 5] =
        [Self::Gemm, Self::Attention, Self::Bandwidth, Self::BandwidthSweep, Self::TensorLimit];

    /// Those that need a language model.
    pub const MODELS: [Self; 3] = [Self::ModelLoad, Self::Inference, Self::Training];

    /// Whether it needs a language model.
    pub const fn is_model(self) -> bool {
        matches!(self, Self::ModelLoad | Self::Inference | Self::Training)
    }

    /// The name used in run files and on the command line.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Gemm => "gemm",
            Self::Attention => "attention",
            Self::Bandwidth => "bandwidth",
            Self::BandwidthSweep => "bandwidth-sweep",
            Self::TensorLimit => "tensor-limit",
            Self::ModelLoad => "model-load",
            Self::Inference => "inference",
            Self::Training => "training",
        }
    }

    /// What the figure means, in one plain sentence.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Gemm => {
                "How fast two dense matrices are multiplied, the operation that dominates training and prompt processing"
            }
            Self::Attention => {
                "How fast queries are weighed against keys and values, which comes to dominate long prompts"
            }
            Self::Bandwidth => {
                "How fast arrays far larger than the caches are read and written, which bounds token generation"
            }
            Self::BandwidthSweep => {
                "Read bandwidth from 64 KiB to 1 GiB, whose plateaus show the caches and the memory"
            }
            Self::TensorLimit => {
                "The largest single buffer that can be allocated and bound, and the total that can be held"
            }
            Self::ModelLoad => "How fast a language model's weights come onto the device, until they can be used",
            Self::Inference => {
                "How fast a language model reads a prompt (prefill) and writes an answer (decode), in tokens per second"
            }
            Self::Training => "How fast low-rank adapters (LoRA) of a language model are trained, in tokens per second",
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for WorkloadKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.id() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|kind| kind.id()).collect();
            format!("unknown workload; choose from {}", known.join(", "))
        })
    }
}

impl Workload {
    /// The family this belongs to.
    pub const fn kind(&self) -> WorkloadKind {
        match self {
            Self::Gemm(_) => WorkloadKind::Gemm,
            Self::Attention(_) => WorkloadKind::Attention,
            Self::Bandwidth(_) => WorkloadKind::Bandwidth,
            Self::BandwidthSweep(_) => WorkloadKind::BandwidthSweep,
            Self::TensorLimit(_) => WorkloadKind::TensorLimit,
            Self::ModelLoad(_) => WorkloadKind::ModelLoad,
            Self::Inference(_) => WorkloadKind::Inference,
            Self::Training(_) => WorkloadKind::Training,
        }
    }

    /// The language model, of those that need one.
    pub const fn model(&self) -> Option<&ModelRef> {
        match self {
            Self::ModelLoad(load) => Some(&load.model),
            Self::Inference(inference) => Some(&inference.model),
            Self::Training(training) => Some(&training.model),
            Self::Gemm(_)
            | Self::Attention(_)
            | Self::Bandwidth(_)
            | Self::BandwidthSweep(_)
            | Self::TensorLimit(_) => None,
        }
    }

    /// The name of the row, as "GEMM f32" or "Bandwidth copy".
    pub fn title(&self) -> String {
        match self {
            Self::Gemm(gemm) => format!("GEMM {}", gemm.dtype),
            Self::Attention(attention) => format!("Attention {}", attention.dtype),
            Self::Bandwidth(bandwidth) => format!("Bandwidth {}", bandwidth.op),
            Self::BandwidthSweep(sweep) => format!("Bandwidth {} by size", sweep.op),
            Self::TensorLimit(_) => "Tensor limit".to_owned(),
            Self::ModelLoad(_) => "Model load".to_owned(),
            Self::Inference(inference) => inference.title(),
            Self::Training(training) => training.title(),
        }
    }

    /// The parameters that are not in the title, as "4096 × 4096 × 4096" or "1 GiB an array".
    pub fn parameters(&self) -> String {
        match self {
            Self::Gemm(gemm) => gemm.parameters(),
            Self::Attention(attention) => attention.parameters(),
            Self::Bandwidth(bandwidth) => bandwidth.parameters(),
            Self::BandwidthSweep(sweep) => sweep.parameters(),
            Self::TensorLimit(limit) => limit.parameters(),
            Self::ModelLoad(load) => load.model.label(),
            Self::Inference(inference) => inference.parameters(),
            Self::Training(training) => training.parameters(),
        }
    }

    /// The unit of the headline figure.
    pub const fn unit(&self) -> Unit {
        match self {
            Self::Gemm(_) | Self::Attention(_) => Unit::FlopPerSecond,
            Self::Bandwidth(_) | Self::BandwidthSweep(_) | Self::ModelLoad(_) => Unit::BytePerSecond,
            Self::TensorLimit(_) => Unit::Byte,
            Self::Inference(_) | Self::Training(_) => Unit::TokenPerSecond,
        }
    }

    /// Floating-point operations of one iteration: the algorithm's, whatever the implementation does.
    pub fn flops(&self) -> Option<f64> {
        match self {
            Self::Gemm(gemm) => Some(gemm.flops()),
            Self::Attention(attention) => Some(attention.flops()),
            Self::Bandwidth(bandwidth) => Some(bandwidth.flops()),
            Self::Inference(inference) => Some(inference.flops()),
            Self::Training(training) => Some(training.flops()),
            Self::BandwidthSweep(_) | Self::TensorLimit(_) | Self::ModelLoad(_) => None,
        }
    }

    /// Bytes that one iteration must move at least: each input read once, each output written once.
    pub fn bytes(&self) -> Option<f64> {
        match self {
            Self::Gemm(gemm) => Some(gemm.bytes()),
            Self::Attention(attention) => Some(attention.bytes()),
            Self::Bandwidth(bandwidth) => Some(bandwidth.moved_bytes()),
            Self::Inference(inference) => Some(inference.bytes()),
            Self::ModelLoad(load) => Some(load.model.weight_bytes as f64),
            Self::Training(training) => Some(training.bytes()),
            Self::BandwidthSweep(_) | Self::TensorLimit(_) => None,
        }
    }
}
