//! Engines beside each other as text: one column an engine, the models' summary, the ratios, who agrees with whom.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::{
    analysis::{
        Ceilings,
        frameworks::{self, Agreement, BARRED, Column, Comparison, Versus},
    },
    export::{NONE, TableCell, model_cells, model_headings, versus_headings, versus_rows},
    record::{Entry, MarkKind, Run},
    units::{Scale, percent, relative_error},
};

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
    let ceilings = Ceilings::of(run);
    for row in &comparison.rows {
        let scale = row.scale();
        let names = [row.workload.title(), row.workload.parameters(), scale.name.to_owned()];
        let cells = row.cells.iter().map(|cell| cell_text(run, &ceilings, cell.as_ref(), scale));
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

fn cell_text(run: &Run, ceilings: &Ceilings<'_>, cell: Option<&frameworks::Cell>, scale: Scale) -> String {
    let Some((cell, entry)) = cell.and_then(|cell| Some((cell, run.entries.get(cell.entry)?))) else {
        return NONE.to_owned();
    };
    let Some(figure) = cell.figure else { return entry.outcome.word().to_lowercase() };
    let width = entry.headline().and_then(|m| m.summary.relative_half_width());
    let width = width.map_or_else(String::new, |width| format!(" ± {}", percent(width)));
    let mut text = format!("{}{}{width}", scale.number(figure.value), signs(cell, entry));
    if !entry.workload.kind().is_model() {
        let share = ceilings.share(cell.entry).map(|share| share.short());
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

/// What stands under the results of several engines: the models' summary, the ratios, agreement, fast paths.
pub(super) fn summary(comparison: &Comparison) -> String {
    let mut text = String::new();
    let fast_paths = comparison.fast_path_sentences();
    if !comparison.has_several() {
        return fast_paths.iter().flat_map(|sentence| [sentence.as_str(), "\n"]).collect();
    }
    if comparison.models.iter().map(|group| group.rows.len()).sum::<usize>() > 1 {
        writeln!(text, "\nLanguage models\n{}", models(comparison)).ok();
        for line in comparison.model_notes() {
            writeln!(text, "{line}").ok();
        }
    }
    for versus in &comparison.versus {
        writeln!(text, "\n{}\n{}", comparison.versus_title(versus), versus_table(comparison, versus)).ok();
    }
    let agreement = comparison.agreement.iter().flat_map(Agreement::sentences);
    let sentences: Vec<String> = agreement.chain(fast_paths).collect();
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
            let dressed = |cell: TableCell| if cell.best { format!("{}{BEST}", cell.text) } else { cell.text };
            table.add_row(model_cells(comparison, group, row).into_iter().map(dressed));
        }
    }
    table
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
