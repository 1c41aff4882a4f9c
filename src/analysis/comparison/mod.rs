//! Runs beside each other, or the engines of one run: which rows are the same work, by how much they differ, and whether that
//! is more than noise.
//!
//! A row is faster or slower if three things agree: the 95 % interval of the ratio of medians (`bootstrap`) lies wholly beyond
//! the noise threshold; a rank test says that a change beyond the threshold is no chance (`ranks`), corrected for the number
//! of rows; and nothing speaks against holding the two figures against each other at all (`judge`). Everything else is the
//! same, or not comparable with its reason.

mod bootstrap;
mod conditions;
mod judge;
mod matching;
mod ranks;
mod steadiness;
#[cfg(test)]
mod tests;
mod words;

use serde::Serialize;

pub use self::{conditions::Difference, judge::Why, steadiness::Cause};
use crate::{engine::EngineId, record::Run, stats::Interval, units::Unit, workload::Workload};

/// The least change that can count, as a share.
///
/// Sampling ends when the interval of a median is within ± 1 %, so that two such medians of one machine may be 1.4 % apart by
/// chance alone, before anything else of a second run differs.
pub const THRESHOLD: f64 = 0.02;

/// How many runs can stand beside each other.
pub const SIDES_MAX: usize = 6;

/// How it is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The least change that can count, as a share: 0.02 is 2 %. A row that was unsteady gets a higher one: its rate drifted, its
    /// device was throttled or varied from run to run, other programs waited for its processors.
    pub threshold: f64,
    /// Every metric gets a row, not only each entry's first.
    pub all_metrics: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { threshold: THRESHOLD, all_metrics: false }
    }
}

/// "1 run was".
fn given(runs: usize) -> String {
    format!("{runs} {}", if runs == 1 { "run was" } else { "runs were" })
}

/// Why nothing can be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// One run, or more than fit.
    #[error("{} given; name from two to {SIDES_MAX}, or one with --engines", given(*.0))]
    Runs(usize),
    /// The run has figures of one engine only, or none.
    #[error("run {id} holds {engines}; engines can be compared in a run with at least two")]
    Engines {
        /// Which run.
        id: String,
        /// "one engine", "no engine".
        engines: &'static str,
    },
    /// The engine that others should be held against isn't in the run.
    #[error("run {id} has no engine {engine}; choose from {known}")]
    Baseline {
        /// Which run.
        id: String,
        /// What was asked for.
        engine: String,
        /// What there is.
        known: String,
    },
}

/// What stands side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Runs: each against the baseline.
    Runs,
    /// Engines of one run: the leading one against each of the others, as "PyTorch ÷ MLX".
    Engines,
}

/// A column: a run, or an engine of the one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The place of its run among those that were given.
    pub run: usize,
    /// The engine, where engines are compared.
    pub engine: Option<EngineId>,
    /// "A", "B" for runs, "PyTorch" for engines.
    pub label: String,
}

/// Everything that a comparison says.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// What stands side by side.
    pub kind: Kind,
    /// The columns.
    pub sides: Vec<Side>,
    /// The column that all others are held against.
    pub baseline: usize,
    /// Equal work, one row each.
    pub rows: Vec<Row>,
    /// Every condition that isn't the same on all sides; none where engines of one run are compared.
    pub conditions: Vec<Difference>,
    /// How it was compared.
    pub options: Options,
    /// Engines of the run that found no room.
    pub left_out: Vec<EngineId>,
}

/// One figure on every side.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What was measured.
    pub workload: Workload,
    /// Who did it, where runs are compared.
    pub engine: Option<EngineId>,
    /// On what: "GPU", "processor", "emulated GPU"; the device's name where engines are compared.
    pub place: String,
    /// The metric, where it isn't the entry's first.
    pub metric: Option<String>,
    /// Where on a sweep, in bytes.
    pub at_bytes: Option<u64>,
    /// What tells it from other rows of the same work in the same run, as ("threads", "8").
    pub apart: Vec<(String, String)>,
    /// The unit of the baseline's figure, or of the first that there is.
    pub unit: Unit,
    /// One for each side.
    pub cells: Vec<Cell>,
}

/// One side of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The entry in the side's run; absent where it has none.
    pub entry: Option<usize>,
    /// Entries of the same work on the same side that were passed over: worse, or not done.
    pub also: Vec<usize>,
    /// What it says.
    pub figure: Option<Figure>,
    /// Why there is no figure.
    pub absence: Option<String>,
    /// What a reader must know beside the figure: doubts, another code path than the baseline's.
    pub notes: Vec<String>,
    /// How it stands to the baseline's; absent for the baseline itself, and where there is no number to give.
    pub change: Option<Change>,
    /// What that means; absent for the baseline itself.
    pub verdict: Option<Verdict>,
    /// What moved most beside the change itself.
    cause: Cause,
}

/// The figure of one side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The median.
    pub median: f64,
    /// Its own 95 % interval, where there are enough samples.
    pub interval: Option<Interval>,
    /// How many samples there are; none of what is found once or was published.
    pub samples: usize,
    /// The unit.
    pub unit: Unit,
}

/// Two figures held against each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The ratio of medians: this side ÷ the baseline; where engines are compared, the leading one ÷ this.
    pub ratio: f64,
    /// Its 95 % interval; absent without samples.
    pub interval: Option<Interval>,
    /// The probability that so much beyond the threshold is chance, corrected for the number of rows; absent without samples.
    pub p: Option<f64>,
    /// The change that would have been too small to count in this row.
    pub threshold: f64,
}

/// What a change means.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Better than the baseline.
    Faster,
    /// Worse than the baseline.
    Slower,
    /// No change beyond the threshold is seen.
    Same,
    /// The figures can't be held against each other.
    NotComparable(Why),
}

/// How many rows and sides came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    /// Better.
    pub faster: usize,
    /// Worse.
    pub slower: usize,
    /// The same.
    pub same: usize,
    /// Neither.
    pub not_comparable: usize,
}

impl Compared {
    /// Compares two to six runs with the one at `baseline`.
    pub fn of_runs(runs: &[&Run], baseline: usize, options: Options) -> Result<Self, CompareError> {
        if runs.len() < 2 || runs.len() > SIDES_MAX || baseline >= runs.len() {
            return Err(CompareError::Runs(runs.len()));
        }
        let label = |index: usize| char::from(b'A' + index as u8).to_string();
        let sides = (0..runs.len()).map(|run| Side { run, engine: None, label: label(run) }).collect();
        Ok(Self::fill(Kind::Runs, runs, sides, baseline, options))
    }

    /// Compares the engines of a run with `lead`; without it, with PyTorch, or the first where it isn't there.
    pub fn of_engines(run: &Run, lead: Option<EngineId>, options: Options) -> Result<Self, CompareError> {
        let mut engines: Vec<EngineId> = run.entries.iter().map(|entry| entry.engine).collect();
        engines.sort_unstable();
        engines.dedup();
        if engines.len() < 2 {
            let engines = if engines.is_empty() { "no engine" } else { "one engine" };
            return Err(CompareError::Engines { id: run.id.clone(), engines });
        }
        let place = |wanted: EngineId| engines.iter().position(|engine| *engine == wanted);
        let baseline = match lead {
            Some(lead) => place(lead).ok_or_else(|| CompareError::Baseline {
                id: run.id.clone(),
                engine: lead.to_string(),
                known: engines.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            })?,
            None => place(EngineId::Pytorch).unwrap_or(0),
        };
        // Whatever finds no room, the one that others are held against is there.
        let (baseline, left_out) = if engines.len() > SIDES_MAX {
            engines.get_mut(..=baseline).into_iter().for_each(|list| list.rotate_right(1));
            (0, engines.split_off(SIDES_MAX))
        } else {
            (baseline, Vec::new())
        };
        let side = |engine: &EngineId| Side { run: 0, engine: Some(*engine), label: engine.title().to_owned() };
        let sides = engines.iter().map(side).collect();
        Ok(Self { left_out, ..Self::fill(Kind::Engines, &[run], sides, baseline, options) })
    }

    fn fill(kind: Kind, runs: &[&Run], sides: Vec<Side>, baseline: usize, options: Options) -> Self {
        let mut rows = matching::rows(kind, runs, &sides, baseline, options.all_metrics);
        judge::rows(&mut rows, kind, runs, &sides, baseline, options.threshold);
        let conditions = if kind == Kind::Runs { conditions::differences(runs) } else { Vec::new() };
        Self { kind, sides, baseline, rows, conditions, options, left_out: Vec::new() }
    }

    /// The speed of a side as a share of the baseline's, and its interval: more is better, whatever the unit and whichever way the
    /// ratio is written.
    pub fn speed(&self, row: &Row, cell: &Cell) -> Option<(f64, Option<Interval>)> {
        let change = cell.change?;
        // Engines' ratios are the baseline's ÷ the side's.
        let turned = (self.kind == Kind::Engines) == row.higher_is_better();
        let turn = |ratio: f64| if turned { 1.0 / ratio } else { ratio };
        let interval = change.interval.map(|interval| {
            let (one, other) = (turn(interval.low), turn(interval.high));
            Interval { low: one.min(other), high: one.max(other) }
        });
        Some((turn(change.ratio), interval))
    }

    /// How many verdicts of each kind there are.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for verdict in self.rows.iter().flat_map(|row| &row.cells).filter_map(|cell| cell.verdict.as_ref()) {
            match verdict {
                Verdict::Faster => counts.faster += 1,
                Verdict::Slower => counts.slower += 1,
                Verdict::Same => counts.same += 1,
                Verdict::NotComparable(_) => counts.not_comparable += 1,
            }
        }
        counts
    }
}
