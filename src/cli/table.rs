//! Results as text for people.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::comparison;
use crate::{
    analysis::{Ceilings, Comparison},
    export::{footnotes, name, precisions},
    record::{Entry, Outcome, Run},
    units::{Quantity, percent, relative_error},
};

/// The whole of a run: machine, table, notes. Equal work of several engines stands side by side.
pub(super) fn results(run: &Run) -> String {
    let comparison = Comparison::of(run);
    let several = comparison.has_several();
    let table = if comparison.is_shared() {
        comparison::matrix(run, &comparison)
    } else {
        format!("{}\n", entries_table(run, several))
    };
    let mut text = format!("{}\n{table}", heading(run));
    let precisions = if several { precisions(run, &comparison) } else { Vec::new() };
    for line in footnotes(run, several).into_iter().chain(precisions) {
        writeln!(text, "{line}").ok();
    }
    text + &comparison::summary(&comparison)
}

/// One row an entry, with its engine where there are several.
fn entries_table(run: &Run, several: bool) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    let names = ["Workload", "Parameters", "Value", "95 % ±", "Rel. error", "Of ceiling", "State"];
    let engine = several.then_some("Engine");
    table.set_header(engine.into_iter().chain(names));
    let first = 2 + usize::from(several);
    for column in first..=first + 3 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let ceilings = Ceilings::of(run);
    for (index, entry) in run.entries.iter().enumerate() {
        let engine = several.then(|| entry.engine.title().to_owned());
        table.add_row(engine.into_iter().chain(row(&ceilings, index, entry)).map(Cell::new));
    }
    table
}

fn heading(run: &Run) -> String {
    let os = [&run.machine.os.name, &run.machine.os.version].map(String::as_str).join(" ");
    format!("{} · {} · {} · Roofline {}", devices(run), run.machine.chip, os.trim(), run.app.version)
}

/// The devices' labels.
pub(super) fn devices(run: &Run) -> String {
    run.devices.iter().map(crate::machine::Device::label).collect::<Vec<_>>().join(", ")
}

fn row(ceilings: &Ceilings<'_>, index: usize, entry: &Entry) -> [String; 7] {
    let dash = || "—".to_owned();
    let headline = entry.headline();
    let value = headline.map_or_else(dash, |m| Quantity::new(m.summary.median, m.unit).to_string());
    let width = headline.and_then(|m| m.summary.relative_half_width()).map_or_else(dash, percent);
    let error = entry.check.as_ref().and_then(|check| check.relative_error);
    let share = ceilings.share(index).map_or_else(dash, |share| share.text());
    [
        entry.workload.title(),
        entry.workload.parameters(),
        value,
        width,
        error.map_or_else(dash, relative_error),
        share,
        state(entry),
    ]
}

/// The outcome and the doubts in a few words.
fn state(entry: &Entry) -> String {
    let marks = entry.marks.iter().map(|mark| mark.kind.word().to_owned());
    std::iter::once(entry.outcome.word().to_owned()).chain(marks).collect::<Vec<_>>().join(", ")
}

/// One finished entry in a line: "GEMM f32 n = 4096: 44.41 TFLOPS ± 0.2 %", with its engine where there are several.
pub(super) fn one_line(entry: &Entry, several: bool) -> String {
    let title = name(entry, several);
    let Some(headline) = entry.headline() else {
        let reason = entry.outcome.reason().map_or_else(String::new, |reason| format!(": {reason}"));
        return format!("{title}: {}{reason}", entry.outcome.word().to_lowercase());
    };
    let value = Quantity::new(headline.summary.median, headline.unit);
    let width = headline.summary.relative_half_width().map_or_else(String::new, |w| format!(" ± {}", percent(w)));
    let doubts = if entry.outcome == Outcome::Done && !entry.marks.is_empty() { state(entry) } else { String::new() };
    let doubts = doubts.strip_prefix("Done").unwrap_or_default();
    format!("{title}: {value}{width}{doubts}")
}
