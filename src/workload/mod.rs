//! What is measured: parameters, floating-point operations, bytes and reference values. No clocks, no GPU.

mod bandwidth;
mod gemm;
mod model;
pub mod random;
mod tensor_limit;
mod training;

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    bandwidth::{Bandwidth, BandwidthSweep, MemoryOp},
    gemm::Gemm,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WorkloadKind {
    /// Matrix multiplication.
    Gemm,
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
    pub const ALL: [Self; 7] = [
        Self::Gemm,
        Self::Bandwidth,
        Self::BandwidthSweep,
        Self::TensorLimit,
        Self::ModelLoad,
        Self::Inference,
        Self::Training,
    ];

    /// Those that single kernels are measured by.
    pub const KERNELS: [Self; 4] = [Self::Gemm, Self::Bandwidth, Self::BandwidthSweep, Self::TensorLimit];

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
            Self::Gemm(_) | Self::Bandwidth(_) | Self::BandwidthSweep(_) | Self::TensorLimit(_) => None,
        }
    }

    /// The name of the row, as "GEMM f32" or "Bandwidth copy".
    pub fn title(&self) -> String {
        match self {
            Self::Gemm(gemm) => format!("GEMM {}", gemm.dtype),
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
            Self::Gemm(gemm) => gemm.shape(),
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
            Self::Gemm(_) => Unit::FlopPerSecond,
            Self::Bandwidth(_) | Self::BandwidthSweep(_) | Self::ModelLoad(_) => Unit::BytePerSecond,
            Self::TensorLimit(_) => Unit::Byte,
            Self::Inference(_) | Self::Training(_) => Unit::TokenPerSecond,
        }
    }

    /// Floating-point operations of one iteration: the algorithm's, whatever the implementation does.
    pub fn flops(&self) -> Option<f64> {
        match self {
            Self::Gemm(gemm) => Some(gemm.flops()),
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
            Self::Bandwidth(bandwidth) => Some(bandwidth.moved_bytes()),
            Self::Inference(inference) => Some(inference.bytes()),
            Self::ModelLoad(load) => Some(load.model.weight_bytes as f64),
            Self::BandwidthSweep(_) | Self::TensorLimit(_) | Self::Training(_) => None,
        }
    }
}

/// The type of an operand's elements. Accumulation is f32 for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
}

impl Dtype {
    /// Every type in display order.
    pub const ALL: [Self; 2] = [Self::F32, Self::F16];

    /// Bytes an element.
    pub const fn size(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// The distance from 1 to the next representable value (2⁻²³, 2⁻¹⁰).
    pub const fn epsilon(self) -> f64 {
        match self {
            Self::F32 => f32::EPSILON as f64,
            Self::F16 => 1.0 / 1024.0,
        }
    }

    /// The name used in run files and on the command line.
    pub const fn id(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for Dtype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|dtype| dtype.id() == text)
            .ok_or_else(|| "unknown dtype; choose from f32, f16".to_owned())
    }
}
