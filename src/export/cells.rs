//! Engines beside each other as cells of a table, for terminals and documents alike.

use serde::Serialize;

use crate::{
    analysis::frameworks::{BARRED, Comparison, ModelColumn, ModelGroup, ModelRow, Ratio, Slot, Versus},
    record::{Outcome, Run},
    workload::{Dtype, Workload},
};

/// What stands for a value that isn't there.
pub(crate) const NONE: &str = "—";

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct TableCell {
    /// Its text.
    pub(crate) text: String,
    /// It is the best of its column.
    pub(crate) best: bool,
}

impl From<String> for TableCell {
    fn from(text: String) -> Self {
        Self { text, best: false }
    }
}

impl From<&str> for TableCell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// The headings of the models' summary.
pub(crate) fn model_headings() -> Vec<&'static str> {
    let columns = ModelColumn::ALL.map(ModelColumn::title);
    ["Framework", "Model", "Bits a weight"].into_iter().chain(columns).chain(["Status"]).collect()
}

/// One row of it.
pub(crate) fn model_cells(comparison: &Comparison, group: &ModelGroup, row: &ModelRow) -> Vec<TableCell> {
    let title = comparison.title(row.column);
    let barred = if row.barred.is_some() { format!(" {BARRED}") } else { String::new() };
    let first = [format!("{title}{barred} on {}", group.place.phrase()), row.model_label(), row.bits_text()];
    let figures = row.slots.iter().map(|slot| TableCell { text: slot_text(slot), best: slot.best });
    let last = row.status.word().to_owned();
    first.into_iter().map(TableCell::from).chain(figures).chain([last.into()]).collect()
}

fn slot_text(slot: &Slot) -> String {
    match (slot.figure, slot.absence.as_deref()) {
        (Some(figure), _) => figure.text(),
        (None, Some(reason)) if reason.starts_with("unsupported") => "n/a".to_owned(),
        (None, _) => NONE.to_owned(),
    }
}

/// The headings of a table of ratios.
pub(crate) fn versus_headings(comparison: &Comparison, versus: &Versus) -> [String; 5] {
    let title = |index: usize| comparison.title(index).to_owned();
    ["Precision".to_owned(), "Size".to_owned(), title(versus.baseline), title(versus.other), "Ratio".to_owned()]
}

/// Its rows.
pub(crate) fn versus_rows(versus: &Versus) -> Vec<[String; 5]> {
    let row = |ratio: &Ratio| {
        let rates = [ratio.baseline, ratio.other].map(|figure| figure.quantity().to_string());
        let [ours, theirs] = rates;
        [ratio.gemm.dtype.to_string(), ratio.gemm.parameters(), ours, theirs, ratio.text()]
    };
    versus.ratios.iter().map(row).collect()
}

/// The arithmetic that each engine really used, once for each: "PyTorch, GEMM f16: f16 operands, f32 accumulation".
pub(crate) fn precisions(run: &Run, comparison: &Comparison) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for column in &comparison.columns {
        let own = run.entries.iter().filter(|entry| entry.engine == column.engine && entry.device == column.device);
        for entry in own.filter(|entry| !entry.workload.kind().is_model() && entry.outcome == Outcome::Done) {
            let line =
                entry.precision.as_ref().map(|used| format!("{}, {}: {used}", column.title, family(&entry.workload)));
            lines.extend(line.filter(|line| !lines.contains(line)));
        }
    }
    lines
}

fn family(workload: &Workload) -> String {
    match workload {
        Workload::Bandwidth(_) | Workload::BandwidthSweep(_) => "bandwidth".to_owned(),
        other => other.title(),
    }
}

/// Element types that a run multiplied matrices of.
pub(crate) fn gemm_dtypes(comparison: &Comparison) -> Vec<Dtype> {
    let has = |dtype: &Dtype| {
        comparison.rows.iter().any(|row| matches!(&row.workload, Workload::Gemm(gemm) if gemm.dtype == *dtype))
    };
    Dtype::ALL.into_iter().filter(has).collect()
}
