//! Engines beside each other as text: one column an engine, the models' summary, the ratios, who agrees with whom.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::{
    analysis::{
        frameworks::{
            self, Agreement, BARRED, Column, Comparison, ModelColumn, ModelGroup, ModelRow, Ratio, Slot, Versus,
        },
        share_of_ceiling,
    },
    record::{Entry, MarkKind, Outcome, Run},
    units::{Scale, percent, relative_error},
    workload::{Dtype, Workload},
};

/// What stands for a value that isn't there.
pub(super) const NONE: &str = "—";

/// Beside the best of a device.
const BEST: &str = "*";

/// The results with one column an engine, and what the signs mean.
pub(super) fn matrix(run: &Run, comparison: &Comparison) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    let names = ["Workload", "Parameters", "Unit"].map(str::to_owned);
    table.set_header(names.into_iter().chain(headings(comparison)));
    for index in 3..3 + comparison.columns.len() {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in &comparison.rows {
        let scale = row.scale();
        let names = [row.workload.title(), row.workload.parameters(), scale.name.to_owned()];
        let cells = row.cells.iter().map(|cell| cell_text(run, cell.as_ref(), scale));
        table.add_row(names.into_iter().chain(cells).map(Cell::new));
    }
    let signs = format!(
        "± half the 95 % interval; {BEST} clearly the best of its device; {BARRED} shown, not compared; {DOUBT} doubtful; \
         second line: share of the ceiling, relative error"
    );
    format!("{table}\n{signs}\n")
}

/// Beside a doubtful figure.
const DOUBT: &str = "?";

/// The columns' titles, with the device where there are several.
fn headings(comparison: &Comparison) -> Vec<String> {
    let first = comparison.columns.first().map(|column| &column.place);
    let several = comparison.columns.iter().any(|column| Some(&column.place) != first);
    let heading = |column: &Column| {
        if several { format!("{}\n{}", column.title, column.place.label()) } else { column.title.clone() }
    };
    comparison.columns.iter().map(heading).collect()
}

fn cell_text(run: &Run, cell: Option<&frameworks::Cell>, scale: Scale) -> String {
    let Some((cell, entry)) = cell.and_then(|cell| Some((cell, run.entries.get(cell.entry)?))) else {
        return NONE.to_owned();
    };
    let Some(figure) = cell.figure else { return entry.outcome.word().to_lowercase() };
    let width = entry.headline().and_then(|m| m.summary.relative_half_width());
    let width = width.map_or_else(String::new, |width| format!(" ± {}", percent(width)));
    let mut text = format!("{}{}{width}", scale.number(figure.value), signs(cell, entry));
    if !entry.workload.kind().is_model() {
        let share = share_of_ceiling(run, cell.entry).map(|share| percent(share.fraction));
        let error = entry.check.as_ref().and_then(|check| check.relative_error).map(relative_error);
        let second: Vec<String> = share.into_iter().chain(error).collect();
        if !second.is_empty() {
            write!(text, "\n{}", second.join(" · ")).ok();
        }
    }
    text
}

fn signs(cell: &frameworks::Cell, entry: &Entry) -> String {
    let doubtful = entry.is_marked(MarkKind::Throttled) || entry.is_marked(MarkKind::Uncertain);
    let all = [(cell.best, BEST), (cell.barred.is_some(), BARRED), (doubtful, DOUBT)];
    all.into_iter().filter(|(on, _)| *on).map(|(_, sign)| sign).collect()
}

/// What stands under the results of several engines: the models' summary, the ratios, agreement.
pub(super) fn summary(comparison: &Comparison) -> String {
    if !comparison.has_several() {
        return String::new();
    }
    let mut text = String::new();
    if comparison.models.iter().map(|group| group.rows.len()).sum::<usize>() > 1 {
        writeln!(text, "\nLanguage models\n{}", models(comparison)).ok();
        for line in comparison.model_notes() {
            writeln!(text, "{line}").ok();
        }
    }
    for versus in &comparison.versus {
        writeln!(text, "\n{}\n{}", comparison.versus_title(versus), versus_table(comparison, versus)).ok();
    }
    let sentences: Vec<String> = comparison.agreement.iter().flat_map(Agreement::sentences).collect();
    if !sentences.is_empty() {
        writeln!(text, "\n{}", sentences.join("\n")).ok();
    }
    text
}

fn models(comparison: &Comparison) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(model_headings());
    for index in 2..=8 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for group in &comparison.models {
        for row in &group.rows {
            let best = |text: &str| format!("{text}{BEST}");
            table.add_row(model_cells(comparison, group, row, best));
        }
    }
    table
}

/// The headings of the models' summary.
pub(super) fn model_headings() -> Vec<&'static str> {
    let columns = ModelColumn::ALL.map(ModelColumn::title);
    ["Framework", "Model", "Bits a weight"].into_iter().chain(columns).chain(["Status"]).collect()
}

/// One row of it; `best` dresses the best of a column.
pub(super) fn model_cells(
    comparison: &Comparison,
    group: &ModelGroup,
    row: &ModelRow,
    best: impl Fn(&str) -> String,
) -> Vec<String> {
    let title = comparison.columns.get(row.column).map_or("", |column| column.title.as_str());
    let barred = if row.barred.is_some() { format!(" {BARRED}") } else { String::new() };
    let first = [format!("{title}{barred} on {}", group.place.phrase()), row.model_label(), row.bits_text()];
    let figures = row.slots.iter().map(|slot| slot_text(slot, &best));
    first.into_iter().chain(figures).chain([row.status.word().to_owned()]).collect()
}

fn slot_text(slot: &Slot, best: &impl Fn(&str) -> String) -> String {
    let Some(figure) = slot.figure else {
        return match slot.absence.as_deref() {
            Some(reason) if reason.starts_with("unsupported") => "n/a".to_owned(),
            _ => NONE.to_owned(),
        };
    };
    let text = figure.text();
    if slot.best { best(&text) } else { text }
}

/// The headings of a table of ratios.
pub(super) fn versus_headings(comparison: &Comparison, versus: &Versus) -> [String; 5] {
    let title = |index: usize| comparison.columns.get(index).map_or("", |column| column.title.as_str()).to_owned();
    ["Precision".to_owned(), "Size".to_owned(), title(versus.baseline), title(versus.other), "Ratio".to_owned()]
}

/// Its rows.
pub(super) fn versus_rows(versus: &Versus) -> Vec<[String; 5]> {
    let row = |ratio: &Ratio| {
        let rates = [ratio.baseline, ratio.other].map(|figure| figure.quantity().to_string());
        let [ours, theirs] = rates;
        [ratio.gemm.dtype.to_string(), ratio.gemm.parameters(), ours, theirs, ratio.text()]
    };
    versus.ratios.iter().map(row).collect()
}

fn versus_table(comparison: &Comparison, versus: &Versus) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(versus_headings(comparison, versus));
    for index in 2..=4 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in versus_rows(versus) {
        table.add_row(row);
    }
    table
}

/// The arithmetic that each engine really used, once for each: "PyTorch, GEMM f16: f16 operands, f32 accumulation".
pub(super) fn precisions(run: &Run, comparison: &Comparison) -> Vec<String> {
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
pub(super) fn gemm_dtypes(comparison: &Comparison) -> Vec<Dtype> {
    let has = |dtype: &Dtype| {
        comparison.rows.iter().any(|row| matches!(&row.workload, Workload::Gemm(gemm) if gemm.dtype == *dtype))
    };
    Dtype::ALL.into_iter().filter(has).collect()
}

#[cfg(test)]
mod tests {
    use crate::{analysis::frameworks::tests::document, cli::table::results};

    #[test]
    fn engines_stand_in_columns_and_their_summary_under_them() {
        let text = results(&document());
        let row = |start: &str| text.lines().find(|line| line.trim_start().starts_with(start)).unwrap_or_default();
        let header = row("Workload");
        let places: Vec<_> = ["PyTorch", "MLX", "llama.cpp"].iter().map(|name| header.find(name).unwrap()).collect();
        assert!(places.is_sorted(), "{header}");
        let f16 = text.lines().find(|line| line.contains("GEMM f16") && line.contains("n = 4096")).unwrap();
        assert!(f16.contains("13.84*") && f16.contains("3.620 ") && !f16.contains("3.620*"), "{f16}");
        let f32 = text.lines().find(|line| line.contains("GEMM f32") && line.contains("n = 4096")).unwrap();
        assert!(!f32.contains('*'), "3 % are no difference: {f32}");
        assert!(text.contains("llama.cpp, QLoRA 1 × 512"), "footnotes name the engine: {text}");
        assert!(text.contains("26.50 t/s*") && text.contains("n/a") && text.contains("0.97× (same)"), "{text}");
    }
}
