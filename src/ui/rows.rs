//! The rows of the results table as text: the same for the screen and the clipboard.

use super::session::Session;
use crate::{
    analysis::{Ceilings, marks},
    export::markdown_table,
    measure::Phase,
    record::{Entry, Outcome},
    run::PlannedJob,
    units::{number, percent, relative_error},
    workload::Workload,
};

/// What stands for a value that isn't there.
pub(super) const NONE: &str = "—";

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// What was measured.
    pub(super) title: String,
    /// With which parameters.
    pub(super) parameters: String,
    /// Who did it, or will do it.
    pub(super) engines: String,
    /// The number without its unit, or "—".
    pub(super) number: String,
    /// The unit with its prefix.
    pub(super) unit: &'static str,
    /// "± 0.4 %": half the 95 % interval.
    pub(super) interval: String,
    /// The relative error of the result.
    pub(super) error: String,
    /// The share of this machine's ceiling.
    pub(super) ceiling: String,
    /// How it stands.
    pub(super) state: RowState,
    /// Doubts, each as a word and a reason.
    pub(super) marks: Vec<(&'static str, String)>,
}

/// How an entry stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RowState {
    /// The words.
    pub(super) text: String,
    /// What they mean for the colour.
    pub(super) tone: Tone,
    /// How far it is, from 0 to 1.
    pub(super) share: f32,
    /// The reason in full, where there is one.
    pub(super) reason: Option<String>,
}

/// What a text means; the words never depend on it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Waits or doesn't apply.
    Faint,
    /// Explains.
    Dim,
    /// Goes on.
    Active,
    /// Is right.
    Good,
    /// Is doubtful.
    Warn,
    /// Is wrong.
    Bad,
}

impl Row {
    /// The row of the entry at `index`. The ceilings are those of its run: to find them, every entry is looked at.
    pub(super) fn of(session: &Session, ceilings: &Ceilings<'_>, index: usize) -> Option<Self> {
        let entry = session.run.entries.get(index)?;
        let mut row = Self::waiting(&entry.workload, entry.engine.title());
        row.state = state(entry, session.phase_of(index));
        let marks = marks(&session.run, entry);
        row.marks = marks.into_iter().map(|mark| (mark.kind.word(), mark.reason)).collect();
        if let Some(headline) = entry.headline() {
            let summary = &headline.summary;
            let scale = headline.unit.scale_for(summary.median);
            row.number = scale.number(summary.median);
            row.unit = scale.name;
            row.interval = summary.relative_half_width().map_or(NONE.to_owned(), |half| format!("± {}", percent(half)));
            row.ceiling = ceilings.share(index).map_or(NONE.to_owned(), |share| share.text());
        }
        let error = entry.check.as_ref().and_then(|check| check.relative_error);
        row.error = error.map_or(NONE.to_owned(), relative_error);
        Some(row)
    }

    /// A row of which nothing is known yet.
    pub(super) fn waiting(workload: &Workload, engines: &str) -> Self {
        let (title, parameters, engines) = (workload.title(), workload.parameters(), engines.to_owned());
        let none = || NONE.to_owned();
        let state = RowState { text: "Ready".to_owned(), tone: Tone::Faint, share: 0.0, reason: None };
        let (number, interval, error, ceiling) = (none(), none(), none(), none());
        Self { title, parameters, engines, number, unit: "", interval, error, ceiling, state, marks: Vec::new() }
    }

    /// What a plan will measure: equal work of several engines is one row.
    pub(super) fn planned(jobs: &[PlannedJob]) -> Vec<Self> {
        let mut rows: Vec<(&Workload, Vec<&str>)> = Vec::new();
        for job in jobs {
            match rows.iter_mut().find(|(workload, _)| **workload == job.workload) {
                Some((_, engines)) => engines.push(job.engine.title()),
                None => rows.push((&job.workload, vec![job.engine.title()])),
            }
        }
        rows.into_iter().map(|(workload, engines)| Self::waiting(workload, &engines.join(", "))).collect()
    }

    /// The name of the whole row.
    pub(super) fn name(&self) -> String {
        format!("{}, {}", self.title, self.parameters)
    }

    /// The number padded so that, in a monospace face, the decimal points of a column stand under each other.
    pub(super) fn aligned_number(&self) -> String {
        let (whole, fraction) = self.number.split_once('.').unwrap_or((&self.number, ""));
        let dot = if fraction.is_empty() { "" } else { "." };
        let tail = format!("{dot}{fraction}");
        format!("{whole:>6}{tail:<4}")
    }
}

/// How the entry at `index` stands.
pub(super) fn row_state(session: &Session, index: usize) -> Option<RowState> {
    Some(state(session.run.entries.get(index)?, session.phase_of(index)))
}

fn state(entry: &Entry, phase: Option<&Phase>) -> RowState {
    let (text, tone, share) = match (&entry.outcome, phase) {
        (Outcome::Pending, Some(phase)) => {
            let share = match phase {
                Phase::Sampling { done, target } => *done as f32 / (*done).max(*target).max(1) as f32,
                Phase::Checking => 1.0,
                Phase::Preparing | Phase::Working(_) | Phase::Tuning | Phase::WarmUp => 0.0,
            };
            (capitalised(&phase.to_string()), Tone::Active, share)
        }
        (Outcome::Pending, None) => (entry.outcome.word().to_owned(), Tone::Faint, 0.0),
        (Outcome::Done, _) => (entry.outcome.word().to_owned(), Tone::Good, 1.0),
        (Outcome::Failed(message), _) => (format!("Failed: {message}"), Tone::Bad, 0.0),
        (Outcome::Unsupported(reason) | Outcome::Skipped(reason), _) => {
            (format!("{}: {reason}", entry.outcome.word()), Tone::Dim, 0.0)
        }
        (Outcome::Cancelled, _) => (entry.outcome.word().to_owned(), Tone::Dim, 0.0),
    };
    RowState { text, tone, share, reason: entry.outcome.reason().map(str::to_owned) }
}

/// A sentence with a capital first letter, as it stands on the screen.
pub(super) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

const HEADINGS: [&str; 11] = [
    "Workload",
    "Parameters",
    "Engine",
    "Device",
    "Value",
    "Unit",
    "95 % interval",
    "Relative error",
    "Of ceiling",
    "State",
    "Marks",
];

/// All rows as tab-separated values with a header line, for a spreadsheet.
pub(super) fn table_text(session: &Session) -> String {
    tsv(&HEADINGS, &table_cells(session))
}

/// Rows of any table as tab-separated values with a header line.
pub(super) fn tsv(headings: &[&str], rows: &[Vec<String>]) -> String {
    let plain = |cell: &String| cell.replace(['\t', '\n', '\r'], " ");
    let rows = rows.iter().map(|cells| cells.iter().map(plain).collect::<Vec<_>>().join("\t"));
    [headings.join("\t")].into_iter().chain(rows).map(|line| line + "\n").collect()
}

/// All rows as a Markdown table, for a document.
pub(super) fn table_markdown(session: &Session) -> String {
    markdown_table(&HEADINGS, 4..6, &table_cells(session))
}

fn table_cells(session: &Session) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    let ceilings = Ceilings::of(&session.run);
    let rows = session.run.entries.iter().enumerate();
    for (row, entry) in rows.filter_map(|(index, entry)| Some((Row::of(session, &ceilings, index)?, entry))) {
        let marks: Vec<String> = row.marks.iter().map(|(word, reason)| format!("{word}: {reason}")).collect();
        let (unit, marks) = (row.unit.to_owned(), marks.join("; "));
        let whose = [row.title, row.parameters, row.engines, entry.device.clone()];
        let figures = [row.number, unit, row.interval, row.error, row.ceiling, row.state.text, marks];
        lines.push(whose.into_iter().chain(figures).collect());
    }
    lines
}

/// The median, the interval and the extremes of an entry's headline, for its details.
pub(super) fn figures(entry: &Entry) -> Vec<(&'static str, String)> {
    let Some(headline) = entry.headline() else { return Vec::new() };
    let summary = &headline.summary;
    let scale = headline.unit.scale_for(summary.median);
    let range = |low: f64, high: f64| format!("{} to {} {}", scale.number(low), scale.number(high), scale.name);
    let mut list = vec![("Median", format!("{} {}", number(summary.median / scale.factor), scale.name))];
    if let Some(interval) = summary.interval {
        list.push(("95 % interval", range(interval.low, interval.high)));
    }
    if summary.count > 1 {
        list.push(("Lowest to highest", range(summary.min, summary.max)));
    }
    list
}
