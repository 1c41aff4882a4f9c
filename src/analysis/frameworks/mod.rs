//! The framework comparison of a run as data: equal work of several engines side by side, models in the form of a summary, and
//! whether engines that run the same model say the same.
//!
//! Only figures of the same device are held against each other, and only those that may be ranked. What is shown but not
//! compared says why.

mod agreement;
mod fast_path;
mod kernels;
mod models;
mod ratios;
#[cfg(test)]
pub(crate) mod tests;
mod words;

pub use self::{
    agreement::{Agreement, Party, agreement, disagreement},
    fast_path::{FastPath, Verdict},
    kernels::{Cell, Row},
    models::{ModelColumn, ModelGroup, ModelRow, Slot, Status, class, peak_meaning},
    ratios::{Ratio, Versus, times},
    words::BARRED,
};
use super::judge;
use crate::{
    engine::EngineId,
    machine::{Device, DeviceKind},
    measure::Measurement,
    record::{Entry, Mark, MarkKind, Outcome, Run},
    units::{Quantity, Unit},
    workload::{Workload, WorkloadKind},
};

/// Figures nearer than this are the same: a device's own canary drifts as much before it counts as throttled.
const SAME: f64 = 0.03;

/// A figure that is doubted may truly be better by less than this: what slows a device down, or leaves too few samples, has not
/// been seen to cost a third of its speed. One that is beaten by more is beaten whatever the doubt.
const DOUBT_MAX: f64 = 1.5;

/// What engines share when they run on the same device, whatever each calls it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// A GPU or the like, by its name.
    Accelerator(String),
    /// The machine's processor.
    Processor,
    /// A device that is emulated on the processor, by its name.
    Emulated(String),
}

impl Place {
    pub(in crate::analysis) fn of(device: Option<&Device>, id: &str) -> Self {
        match device {
            Some(device) if device.software => Self::Emulated(device.name.clone()),
            Some(device) if device.kind == DeviceKind::Cpu => Self::Processor,
            Some(device) => Self::Accelerator(device.name.trim().to_owned()),
            None => Self::Accelerator(id.to_owned()),
        }
    }

    /// "NVIDIA H100 80GB HBM3", "processor", "llvmpipe (software)".
    pub fn label(&self) -> String {
        match self {
            Self::Accelerator(name) => name.clone(),
            Self::Processor => "processor".to_owned(),
            // Mesa's adds the compiler's version.
            Self::Emulated(name) => format!("{} (software)", name.split(" (").next().unwrap_or(name)),
        }
    }
}

/// An engine on a device: one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The engine.
    pub engine: EngineId,
    /// The id of the device.
    pub device: String,
    /// The device's label.
    pub device_label: String,
    /// The device it is, for all engines alike.
    pub place: Place,
    /// "PyTorch", with the device's id where the engine has several columns.
    pub title: String,
}

/// A figure with the range that holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The median.
    pub value: f64,
    /// The lower end of its 95 % interval; of few samples, the lowest.
    pub low: f64,
    /// The upper end; of few samples, the highest.
    pub high: f64,
    /// The unit.
    pub unit: Unit,
}

impl Figure {
    /// What a measurement says.
    pub fn of(measurement: &Measurement) -> Self {
        let summary = &measurement.summary;
        let (low, high) = summary.interval.map_or((summary.min, summary.max), |interval| (interval.low, interval.high));
        Self { value: summary.median, low, high, unit: measurement.unit }
    }

    /// One that is known and not measured.
    const fn exact(value: f64, unit: Unit) -> Self {
        Self { value, low: value, high: value, unit }
    }

    /// The value with its unit.
    pub const fn quantity(&self) -> Quantity {
        Quantity::new(self.value, self.unit)
    }

    /// Neither is better: their intervals overlap, or they are too near to each other.
    pub fn ties(&self, other: &Self) -> bool {
        let overlap = self.low <= other.high && other.low <= self.high;
        let (small, large) = (self.value.min(other.value), self.value.max(other.value));
        overlap || large - small < SAME * large
    }

    /// Whether the better of two is clearly so, the doubts about both considered: nothing is concluded from one that is doubted
    /// itself, and one that is doubted must be beaten by more than the doubt can explain.
    pub fn is_clear_of(&self, other: &Self, (own, others): (Option<MarkKind>, Option<MarkKind>)) -> bool {
        let (small, large) = (self.value.min(other.value), self.value.max(other.value));
        own.is_none() && !self.ties(other) && (others.is_none() || large >= DOUBT_MAX * small)
    }
}

/// All that a run says of the engines beside each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Who took part, in display order.
    pub columns: Vec<Column>,
    /// Equal work, one row each, those of one family together.
    pub rows: Vec<Row>,
    /// The models' summary: what may be compared is one group.
    pub models: Vec<ModelGroup>,
    /// The GEMM rates of two engines each.
    pub versus: Vec<Versus>,
    /// Whether engines that run the same model say the same.
    pub agreement: Vec<Agreement>,
    /// Which engines use the matrix units of their device, as far as their speed shows it.
    pub fast_paths: Vec<FastPath>,
}

impl Comparison {
    /// Compares what a run holds so far.
    pub fn of(run: &Run) -> Self {
        let columns = columns(run);
        let agreement = agreement(run);
        let view = View { run, columns: &columns, agreement: &agreement };
        let rows = kernels::rows(&view);
        let models = models::groups(&view);
        let versus = ratios::versus(&view, &rows);
        let fast_paths = fast_path::fast_paths(&view, &rows);
        Self { columns, rows, models, versus, agreement, fast_paths }
    }

    /// More than one engine took part.
    pub fn has_several(&self) -> bool {
        let mut engines = self.columns.iter().map(|column| column.engine);
        engines.next().is_some_and(|first| engines.any(|engine| engine != first))
    }

    /// Equal work of several engines stands in one row at least once.
    pub fn is_shared(&self) -> bool {
        self.rows.iter().any(|row| row.cells.iter().flatten().count() > 1)
    }

    /// The column that another is held against; none for the baseline itself.
    pub fn baseline_of(&self, column: usize) -> Option<usize> {
        baseline(&self.columns, &self.columns.get(column)?.place).filter(|baseline| *baseline != column)
    }

    /// Where the entry at `index` is shown, as row and column.
    pub fn place_of(&self, index: usize) -> Option<(usize, usize)> {
        let in_row = |row: &Row| row.cells.iter().position(|cell| cell.as_ref().is_some_and(|cell| cell.holds(index)));
        self.rows.iter().enumerate().find_map(|(place, row)| Some((place, in_row(row)?)))
    }

    /// Why a column has nothing in a row, in words.
    pub fn absence(&self, column: usize, workload: &Workload) -> String {
        let Some(column) = self.columns.get(column) else { return String::new() };
        let title = column.engine.title();
        if column.engine.kinds().contains(&workload.kind()) {
            format!("not measured with {title} in this run")
        } else {
            format!("{title} has no {} here", workload.kind().id().replace('-', " "))
        }
    }
}

/// The framework comparison of a run.
pub fn compare(run: &Run) -> Comparison {
    Comparison::of(run)
}

/// What the parts of a comparison look at.
struct View<'a> {
    run: &'a Run,
    columns: &'a [Column],
    agreement: &'a [Agreement],
}

impl View<'_> {
    fn column_of(&self, entry: &Entry) -> Option<usize> {
        self.columns.iter().position(|column| column.engine == entry.engine && column.device == entry.device)
    }

    /// The headline of an entry that is done.
    fn figure(entry: &Entry) -> Option<Figure> {
        entry.headline().map(Figure::of)
    }

    /// Why an entry that has a figure is not compared.
    fn barred(&self, entry: &Entry) -> Option<String> {
        let said = |mark: &Mark| format!("{}: {}", mark.kind.word(), mark.reason);
        let marked = entry.marks.iter().find(|mark| mark.kind.bars_from_ranking()).map(said);
        // How long a model takes to load is told as a time or as a rate.
        let is_other = |figure: &&Measurement| {
            figure.unit != entry.workload.unit() && entry.workload.kind() != WorkloadKind::ModelLoad
        };
        let marked = marked.or_else(|| entry.headline().filter(is_other).map(|_| "in another unit".to_owned()));
        let marked = marked.or_else(|| judge::bar(self.run, entry).as_ref().map(said));
        marked.or_else(|| agreement::objection(self.agreement, entry))
    }

    fn baseline(&self, place: &Place) -> Option<usize> {
        baseline(self.columns, place)
    }
}

/// The column that others are held against at a place: PyTorch if it is there, else the first.
fn baseline(columns: &[Column], place: &Place) -> Option<usize> {
    let here = || columns.iter().enumerate().filter(|(_, column)| column.place == *place);
    let pytorch = here().find(|(_, column)| column.engine == EngineId::Pytorch);
    pytorch.or_else(|| here().next()).map(|(index, _)| index)
}

/// Every engine on every device of a run that has entries, in display order.
fn columns(run: &Run) -> Vec<Column> {
    let mut pairs: Vec<(EngineId, &str)> = Vec::new();
    for entry in &run.entries {
        let pair = (entry.engine, entry.device.as_str());
        if !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    pairs.sort_by_key(|(engine, _)| *engine);
    let column = |(engine, id): &(EngineId, &str)| {
        let device = run.device(id);
        let several = pairs.iter().filter(|(other, _)| other == engine).count() > 1;
        let title = if several { format!("{} · {id}", engine.title()) } else { engine.title().to_owned() };
        Column {
            engine: *engine,
            device: (*id).to_owned(),
            device_label: device.map_or_else(|| (*id).to_owned(), Device::label),
            place: Place::of(device, id),
            title,
        }
    };
    pairs.iter().map(column).collect()
}

/// What speaks against relying on a rate or a time of an entry. How many bytes are held is the same at any clock.
pub fn doubt(entry: &Entry, figure: &Figure) -> Option<MarkKind> {
    let doubts = |kind: &MarkKind| matches!(kind, MarkKind::Throttled | MarkKind::Uncertain);
    entry.marks.iter().map(|mark| mark.kind).find(doubts).filter(|_| figure.unit != Unit::Byte)
}

/// A figure that stands beside others, and what speaks against relying on it.
#[derive(Clone, Copy)]
struct Contender {
    place: usize,
    figure: Figure,
    doubt: Option<MarkKind>,
}

/// The place of the best among figures that may be compared, if it is clearly the best of at least two.
fn best_of(all: &[Contender], higher: bool) -> Option<usize> {
    // Nothing is done at no rate or in no time: such a figure comes from a file that is wrong.
    let all: Vec<&Contender> = all.iter().filter(|one| one.figure.value > 0.0).collect();
    let sign = if higher { 1.0 } else { -1.0 };
    let best = all.iter().max_by(|a, b| (sign * a.figure.value).total_cmp(&(sign * b.figure.value)))?;
    let mut others = all.iter().filter(|other| other.place != best.place);
    let clear = others.all(|other| best.figure.is_clear_of(&other.figure, (best.doubt, other.doubt)));
    (all.len() > 1 && clear).then_some(best.place)
}

/// What makes two entries the same work: the workload, whatever a framework's file of the model weighs.
pub(in crate::analysis) fn work(workload: &Workload) -> Workload {
    let mut work = workload.clone();
    let model = match &mut work {
        Workload::ModelLoad(load) => &mut load.model,
        Workload::Inference(inference) => &mut inference.model,
        Workload::Training(training) => &mut training.model,
        Workload::Gemm(_)
        | Workload::Attention(_)
        | Workload::Bandwidth(_)
        | Workload::BandwidthSweep(_)
        | Workload::TensorLimit(_) => return work,
    };
    (model.weight_bytes, model.token_bytes) = (0, 0);
    work
}

/// Why an entry has no figure, as it is said in a table.
pub(in crate::analysis) fn reason_of(entry: &Entry) -> String {
    let word = entry.outcome.word();
    match &entry.outcome {
        Outcome::Done => "it gave no figure".to_owned(),
        outcome => {
            outcome.reason().map_or_else(|| word.to_lowercase(), |reason| format!("{}: {reason}", word.to_lowercase()))
        }
    }
}
