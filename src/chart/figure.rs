//! A chart before it is drawn: title, axes, lines, bars and named marks, with nothing of how any of it looks but the place among
//! the colours. A picture, a page and a window draw the same figure.

use super::Point;
use crate::{
    engine::EngineId,
    units::Unit,
    workload::{Dtype, MemoryOp},
};

/// One chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What it is called on the command line, as "gemm".
    pub name: &'static str,
    /// Its heading.
    pub title: String,
    /// What a reader must know of it, in one line; may be empty.
    pub note: String,
    /// What is drawn.
    pub body: Body,
    /// The runs that its figures come from, the first is the baseline where there is one.
    pub origins: Vec<Origin>,
}

impl Figure {
    /// Whether there is more to see than one value, which a sentence says as well.
    pub fn shows_several(&self) -> bool {
        match &self.body {
            Body::Plot(plot) => plot.traces.iter().map(|trace| trace.points.len()).sum::<usize>() > 1,
            Body::Bars(bars) => bars.groups.iter().map(|group| group.bars.len()).sum::<usize>() > 1,
        }
    }
}

/// Where figures come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The run's id.
    pub run: String,
    /// The machine in a few words: "Apple M5, 24 GB".
    pub machine: String,
    /// The day, as 2026-11-25; empty where it isn't known.
    pub date: String,
    /// The program that measured, with its version; absent where the figures were published elsewhere.
    pub program: Option<String>,
}

/// What a figure shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Something over something.
    Plot(Plot),
    /// Things beside each other.
    Bars(Bars),
}

/// Lines and points between two axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// The lines, in the order of the legend.
    pub traces: Vec<Trace>,
    /// Points and levels with a name of their own.
    pub marks: Vec<Mark>,
}

/// One axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// What it counts: "Size of the matrices (n)". The unit is added by who draws.
    pub label: String,
    /// What is written at its ticks.
    pub values: Values,
    /// How it is divided.
    pub spacing: Spacing,
}

/// What the numbers of an axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Of a unit, in its base; written in the step that suits the largest.
    Of(Unit),
    /// Counts, written out: 4096.
    Count,
    /// Sizes of arrays in bytes: 64 MiB.
    Bytes,
    /// Shares, 1 being all; written in percent.
    Share,
    /// FLOPs a byte.
    Intensity,
    /// Days after this second since 1970; written as dates, with the hour where all is from two days.
    Days(i64),
}

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Evenly, from zero.
    Linear,
    /// Evenly, around the values alone; from zero where they come near it.
    Fitted,
    /// By powers of two.
    Log2,
    /// By powers of ten.
    Log10,
}

impl Spacing {
    /// Equal steps are equal differences, and any number has a place.
    pub const fn is_even(self) -> bool {
        matches!(self, Self::Linear | Self::Fitted)
    }
}

/// One line, or one kind of points.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Its name; may be empty, and is then in no legend.
    pub label: String,
    /// Its colour.
    pub tint: Tint,
    /// The kind of its line; absent where only points are drawn.
    pub dash: Option<Dash>,
    /// What is drawn at its points; absent where only the line is.
    pub marker: Option<Marker>,
    /// Its points, in base units; x rises along a line.
    pub points: Vec<Point>,
    /// The ranges that hold the values, as (x, low, high); may be empty.
    pub ranges: Vec<[f64; 3]>,
}

/// A point or a level with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// The name.
    pub label: String,
    /// Where it is.
    pub at: Place,
    /// Its colour.
    pub tint: Tint,
    /// What is drawn there.
    pub marker: Marker,
}

/// Where a mark is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// At a point.
    Point(Point),
    /// At a height, all across.
    Level(f64),
}

/// Bars from zero, in groups with one scale for all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bars {
    /// What the bars count, with its unit: "Bandwidth, GB/s".
    pub label: String,
    /// The groups.
    pub groups: Vec<Group>,
    /// A level to hold the bars against, with its name, such as 1 for "the baseline".
    pub level: Option<(f64, String)>,
    /// Equal steps are equal ratios, and bars begin at 1.
    pub logarithmic: bool,
}

/// Bars under one heading.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The heading; may be empty.
    pub title: String,
    /// The bars from top to bottom.
    pub bars: Vec<ValueBar>,
}

/// One bar.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueBar {
    /// Whose or what.
    pub label: String,
    /// What tells it from another of the same label, for a closer look.
    pub detail: String,
    /// How long it is, in the unit's base.
    pub value: f64,
    /// The value with its unit.
    pub text: String,
    /// The range that holds it.
    pub range: Option<[f64; 2]>,
    /// Its colour.
    pub tint: Tint,
    /// The marker beside its label.
    pub marker: Option<Marker>,
    /// Clearly the best of its group.
    pub best: bool,
    /// Why it is shown but not compared; it is drawn hollow then.
    pub barred: Option<String>,
}

/// A colour, by what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tint {
    /// A place among the colours of data.
    Data(usize),
    /// In the background: warm-up, limits.
    Faint,
    /// As text.
    Ink,
    /// Better.
    Good,
    /// Worse.
    Bad,
}

impl Tint {
    /// The colour of an engine, the same in every chart.
    pub const fn of(engine: EngineId) -> Self {
        Self::Data(match engine {
            EngineId::Wgpu => 0,
            EngineId::Candle => 1,
            EngineId::LlamaCpp => 2,
            EngineId::Mlx => 3,
            EngineId::Pytorch => 4,
            EngineId::Other(_) => 5,
        })
    }
}

/// What is drawn at a point, for who can't tell the colours apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Marker {
    /// A disc.
    Circle,
    /// A square.
    Square,
    /// A square on its corner.
    Diamond,
    /// A triangle that points upwards.
    Up,
    /// A triangle that points downwards.
    Down,
    /// A cross of two lines.
    Plus,
}

impl Marker {
    /// The marker of an engine.
    pub const fn of(engine: EngineId) -> Self {
        match engine {
            EngineId::Wgpu => Self::Circle,
            EngineId::Candle => Self::Square,
            EngineId::Pytorch => Self::Diamond,
            EngineId::Mlx => Self::Up,
            EngineId::LlamaCpp => Self::Down,
            EngineId::Other(_) => Self::Plus,
        }
    }
}

/// The kind of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dash {
    /// Unbroken.
    Solid,
    /// In short pieces.
    Dashed,
    /// In long pieces.
    Long,
    /// In dots.
    Dotted,
}

impl Dash {
    /// The kind of line of an element type, an operation or a task.
    pub const fn of(what: super::What) -> Self {
        use super::What;
        match what {
            What::Gemm(Dtype::F32)
            | What::Attention(Dtype::F32)
            | What::Bandwidth(MemoryOp::Read)
            | What::Sweep(MemoryOp::Read)
            | What::Prefill => Self::Solid,
            What::Gemm(Dtype::F16)
            | What::Attention(Dtype::F16)
            | What::Bandwidth(MemoryOp::Write)
            | What::Sweep(MemoryOp::Write)
            | What::Decode => Self::Dashed,
            What::Gemm(Dtype::Bf16)
            | What::Attention(Dtype::Bf16)
            | What::Bandwidth(MemoryOp::Copy)
            | What::Sweep(MemoryOp::Copy)
            | What::Training => Self::Dotted,
            What::Gemm(Dtype::Tf32)
            | What::Attention(Dtype::Tf32)
            | What::Bandwidth(MemoryOp::Triad)
            | What::Sweep(MemoryOp::Triad) => Self::Long,
        }
    }
}
