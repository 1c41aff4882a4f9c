//! Every chart that a run may have: its name, its figure, and why it isn't there.

use std::{fmt, str::FromStr};

use super::{Figure, beside, lines, origin::origins, roof};
use crate::{analysis::Comparison, record::Run, units::Unit};

/// One of the charts, by the name that it has on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Chart {
    /// Rates of matrix products over sizes, all types.
    Gemm,
    /// The same in f32 alone.
    GemmSingles,
    /// The same in shorter types.
    GemmHalves,
    /// The best matrix product of each engine and type.
    GemmBest,
    /// Rates of attention over sequence lengths.
    Attention,
    /// Bandwidth of each operation and engine.
    Bandwidth,
    /// Bandwidth over the sizes of arrays.
    BandwidthSweep,
    /// Tokens a second of reading prompts.
    Prefill,
    /// Tokens a second of writing.
    Decode,
    /// Tokens a second of training.
    Training,
    /// The loss over a training's steps.
    Loss,
    /// The times from token to token.
    Latency,
    /// Arithmetic over the time of the run.
    Throughput,
    /// Bandwidth over the time of the run.
    BandwidthTime,
    /// Tokens a second over the time of the run.
    Tokens,
    /// What bandwidth and arithmetic allow, and what is reached.
    Roofline,
    /// The processor's, where another device has the first.
    RooflineProcessor,
    /// Runs beside a baseline.
    Compare,
    /// One metric in all saved runs, by date.
    Trend,
}

impl Chart {
    /// Every one, in the order in which they are listed.
    pub const ALL: [Self; 19] = [
        Self::Gemm,
        Self::GemmSingles,
        Self::GemmHalves,
        Self::GemmBest,
        Self::Attention,
        Self::Bandwidth,
        Self::BandwidthSweep,
        Self::Prefill,
        Self::Decode,
        Self::Training,
        Self::Loss,
        Self::Latency,
        Self::Throughput,
        Self::BandwidthTime,
        Self::Tokens,
        Self::Roofline,
        Self::RooflineProcessor,
        Self::Compare,
        Self::Trend,
    ];

    /// The name on the command line and of files. It never changes.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Gemm => "gemm",
            Self::GemmSingles => "gemm-f32",
            Self::GemmHalves => "gemm-short",
            Self::GemmBest => "gemm-best",
            Self::Attention => "attention",
            Self::Bandwidth => "bandwidth",
            Self::BandwidthSweep => "bandwidth-sweep",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::Training => "training",
            Self::Loss => "loss",
            Self::Latency => "latency",
            Self::Throughput => "throughput-time",
            Self::BandwidthTime => "bandwidth-time",
            Self::Tokens => "tokens-time",
            Self::Roofline => "roofline",
            Self::RooflineProcessor => "roofline-cpu",
            Self::Compare => "compare",
            Self::Trend => "trend",
        }
    }

    /// Its heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Gemm => "Matrix products by size",
            Self::GemmSingles => "Matrix products in f32 by size",
            Self::GemmHalves => "Matrix products in short types by size",
            Self::GemmBest => "The best matrix products",
            Self::Attention => "Attention by length",
            Self::Bandwidth => "Memory bandwidth",
            Self::BandwidthSweep => "Memory bandwidth by size",
            Self::Prefill => "Reading a prompt (prefill)",
            Self::Decode => "Writing tokens (decode)",
            Self::Training => "LoRA training",
            Self::Loss => "Loss of the training",
            Self::Latency => "Time from token to token",
            Self::Throughput => "Arithmetic over the run",
            Self::BandwidthTime => "Bandwidth over the run",
            Self::Tokens => "Tokens over the run",
            Self::Roofline => "Roofline",
            Self::RooflineProcessor => "Roofline of the processor",
            Self::Compare => "Runs compared",
            Self::Trend => "One metric over time",
        }
    }

    /// What a run without it lacks.
    const fn absence(self) -> &'static str {
        match self {
            Self::Gemm => "no square matrices were multiplied",
            Self::GemmSingles => "no square matrices were multiplied in f32",
            Self::GemmHalves => "no square matrices were multiplied in f16, bf16 or tf32",
            Self::GemmBest => "no matrix product gave a figure that may be ranked",
            Self::Attention => "attention gave no figure",
            Self::Bandwidth => "no array was read or written for a figure",
            Self::BandwidthSweep => "bandwidth was not measured over sizes",
            Self::Prefill => "no model read a prompt",
            Self::Decode => "no model wrote tokens",
            Self::Training => "no model was trained",
            Self::Loss => "no training kept the loss of its steps",
            Self::Latency => "no times from token to token were kept",
            Self::Throughput | Self::BandwidthTime | Self::Tokens => {
                "no samples of it were kept, so that nothing can be drawn over time"
            }
            Self::Roofline => "neither a ceiling nor a rate of its devices is known",
            Self::RooflineProcessor => {
                "it is of a processor that was measured beside another device; the chart roofline shows the main one"
            }
            Self::Compare => "it takes two to six runs with figures of equal work, or one and --engines",
            Self::Trend => "it is of all saved runs; export it from History, Over time",
        }
    }

    /// The figure of a run, or why it has none.
    pub fn figure(self, run: &Run) -> Result<Figure, Absent> {
        self.of(run, &Comparison::of(run))
    }

    pub(super) fn of(self, run: &Run, comparison: &Comparison) -> Result<Figure, Absent> {
        let found = match self {
            Self::Gemm => lines::gemm(run),
            Self::GemmSingles => lines::curves_plot(run, &[super::Over::Singles]),
            Self::GemmHalves => lines::curves_plot(run, &[super::Over::Halves]),
            Self::Attention => lines::curves_plot(run, &[super::Over::Sequence]),
            Self::GemmBest => beside::gemm_best(run, comparison),
            Self::Bandwidth => beside::bandwidth_bars(comparison),
            Self::BandwidthSweep => lines::sweeps(run),
            Self::Prefill => beside::prefill(comparison),
            Self::Decode => beside::decode(comparison),
            Self::Training => beside::training(comparison),
            Self::Loss => lines::losses(run),
            Self::Latency => beside::latency(run),
            Self::Throughput => lines::timeline(run, Unit::FlopPerSecond),
            Self::BandwidthTime => lines::timeline(run, Unit::BytePerSecond),
            Self::Tokens => lines::timeline(run, Unit::TokenPerSecond),
            Self::Roofline => roof::main(run),
            Self::RooflineProcessor => roof::processor(run),
            Self::Compare | Self::Trend => None,
        };
        let (note, body) = found.ok_or(Absent { chart: self })?;
        let (name, title) = (self.id(), self.title().to_owned());
        Ok(Figure { name, title, note, body, origins: origins(&[run]) })
    }
}

/// The figure of a run whose engines were compared already.
pub fn figure_with(chart: Chart, run: &Run, comparison: &Comparison) -> Option<Figure> {
    chart.of(run, comparison).ok()
}

/// Every figure of a run.
pub fn figures(run: &Run) -> Vec<Figure> {
    let comparison = Comparison::of(run);
    Chart::ALL.into_iter().filter_map(|chart| chart.of(run, &comparison).ok()).collect()
}

/// A run lacks what a chart would show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this run has no chart \"{chart}\": {}", chart.absence())]
pub struct Absent {
    /// The chart.
    pub chart: Chart,
}

impl fmt::Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for Chart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = || Self::ALL.map(Self::id).join(", ");
        let found = Self::ALL.into_iter().find(|chart| chart.id() == text);
        found.ok_or_else(|| format!("no chart is called \"{text}\"; choose one of {}", all()))
    }
}
