//! What each metric means, in plain words.

use crate::{
    record::Entry,
    units::Unit,
    workload::{InferencePhase, Workload},
};

/// A metric that a person may ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// TFLOPS.
    Arithmetic,
    /// GB/s.
    Bandwidth,
    /// FLOP/B.
    Intensity,
    /// The share of the limit.
    Share,
    /// The ridge point.
    Ridge,
    /// Prefill tokens a second.
    Prefill,
    /// Decode tokens a second.
    Decode,
    /// Training tokens a second.
    Training,
    /// Time to first token.
    FirstToken,
    /// Inter-token latency.
    BetweenTokens,
    /// Load time.
    Load,
    /// Memory.
    Memory,
    /// The largest tensor.
    TensorLimit,
    /// Bits a weight.
    Bits,
    /// The interval of the median.
    Interval,
}

impl Meaning {
    /// Every one in the order in which they are explained.
    pub const ALL: [Self; 15] = [
        Self::Arithmetic,
        Self::Bandwidth,
        Self::Intensity,
        Self::Ridge,
        Self::Share,
        Self::Prefill,
        Self::Decode,
        Self::Training,
        Self::FirstToken,
        Self::BetweenTokens,
        Self::Load,
        Self::Memory,
        Self::TensorLimit,
        Self::Bits,
        Self::Interval,
    ];

    /// The metric of an entry's headline.
    pub const fn of(entry: &Entry) -> Self {
        match &entry.workload {
            Workload::Gemm(_) | Workload::Attention(_) => Self::Arithmetic,
            Workload::Bandwidth(_) | Workload::BandwidthSweep(_) => Self::Bandwidth,
            Workload::TensorLimit(_) => Self::TensorLimit,
            Workload::ModelLoad(_) => Self::Load,
            Workload::Training(_) => Self::Training,
            Workload::Inference(inference) => match inference.phase {
                InferencePhase::Prefill { .. } => Self::Prefill,
                InferencePhase::Decode { .. } => Self::Decode,
            },
        }
    }

    /// The metric of a measurement beside the headline, by its name; `None` for one that needs no explanation.
    pub fn of_metric(metric: &str, unit: Unit) -> Option<Self> {
        match metric {
            "ttft" => Some(Self::FirstToken),
            "load-time" | "load-rate" => Some(Self::Load),
            "largest-buffer" | "largest-binding" | "total-held" => Some(Self::TensorLimit),
            "streaming" => Some(Self::Decode),
            name if name.starts_with("inter-token") => Some(Self::BetweenTokens),
            name if name.ends_with("-memory") && unit == Unit::Byte => Some(Self::Memory),
            _ => None,
        }
    }

    /// Its name, with the unit that people know it by.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Arithmetic => "TFLOPS",
            Self::Bandwidth => "Bandwidth, GB/s",
            Self::Intensity => "Arithmetic intensity, FLOP/B",
            Self::Ridge => "Ridge point",
            Self::Share => "Share of the limit",
            Self::Prefill => "Prefill, tokens/s",
            Self::Decode => "Decode, tokens/s",
            Self::Training => "Training, tokens/s",
            Self::FirstToken => "Time to first token",
            Self::BetweenTokens => "Time between tokens",
            Self::Load => "Load time",
            Self::Memory => "Memory",
            Self::TensorLimit => "Tensor limit",
            Self::Bits => "Bits a weight",
            Self::Interval => "95 % interval",
        }
    }

    /// One to three sentences for someone who never met it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Arithmetic => {
                "Trillions of floating-point operations a second: a multiplication and the addition of its product count \
                 as two. It decides how fast prompts are read and models are trained. Narrow types such as f16 usually \
                 have more of it than f32."
            }
            Self::Bandwidth => {
                "Billions of bytes a second between the device and its memory. It decides how fast a model writes, since \
                 each token needs all weights once. Copying counts what is read and what is written."
            }
            Self::Intensity => {
                "Operations that are done for each byte that must be moved. Little of it, and the device waits for its \
                 memory; much of it, and its arithmetic is the limit. It belongs to the work, not to the device."
            }
            Self::Ridge => {
                "The arithmetic intensity at which both limits meet: arithmetic ÷ bandwidth. Work to its left is bounded \
                 by memory, work to its right by arithmetic. It belongs to the device and the element type."
            }
            Self::Share => {
                "The figure ÷ the most that bandwidth or arithmetic of this device allow for the same work. Near 100 % \
                 only other hardware, fewer bytes or fewer operations make it faster; far below, better software may."
            }
            Self::Prefill => {
                "Tokens of a prompt that are read in a second, all at once. It decides how long one waits before a long \
                 prompt is answered. Arithmetic bounds it."
            }
            Self::Decode => {
                "Tokens of an answer that are written in a second, one after the other. From about 10 on it keeps up \
                 with someone who reads along. Reading the weights from memory bounds it."
            }
            Self::Training => {
                "Tokens a second that go through a training step: forward, backward, and the update of the adapters. A \
                 data set's tokens ÷ this is the time for one pass over it. Arithmetic bounds it."
            }
            other => other.text_of_the_rest(),
        }
    }

    /// The same of times, sizes and intervals.
    const fn text_of_the_rest(self) -> &'static str {
        match self {
            Self::FirstToken => {
                "How long it takes from handing over the prompt until the first token of the answer is there: reading \
                 the prompt, and one step of writing."
            }
            Self::BetweenTokens => {
                "How long it takes from one token of the answer to the next. Beside the middle value stand those that 95 \
                 and 99 of 100 tokens stay within: large ones are felt as stutter."
            }
            Self::Load => {
                "How long it takes from the files until the weights lie on the device and can be used. A second load is \
                 faster where the system still has the files in memory."
            }
            Self::Memory => {
                "Bytes that are held while the model runs: weights, the keys and values of the conversation so far, and \
                 what one step computes. Training keeps more. What is predicted stands beside what was reached."
            }
            Self::TensorLimit => {
                "The largest single array that can be made and used. A model is made of many, so that one larger than \
                 this limit runs if each of its tensors is smaller and memory holds all of them."
            }
            Self::Bits => {
                "What a weight takes on average, scales included. Fewer bits mean less memory and faster writing, and a \
                 model that is a little less exact."
            }
            _ => {
                "Between these values the true median lies with a probability of 95 %. Two figures whose intervals \
                 overlap can't be told apart."
            }
        }
    }
}
