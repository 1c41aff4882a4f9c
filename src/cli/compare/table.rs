//! A comparison for people, in a terminal.

use std::fmt::Write as _;

use comfy_table::{Cell as TableCell, CellAlignment, Table, presets};

use crate::{
    analysis::comparison::{Cell, Compared, Kind, Row},
    export::{NONE, difference_cells, legend, plain, remarks, varies},
    record::Run,
};

/// Everything: the runs, the rows, what differs, how it was compared.
pub(super) fn text(runs: &[&Run], compared: &Compared) -> String {
    let mut text = String::new();
    for [label, id, origin] in legend(runs, compared) {
        writeln!(text, "{}", format!("{label}  {id}  {origin}").trim_start()).ok();
    }
    if !compared.rows.is_empty() {
        writeln!(text, "\n{}", rows(compared)).ok();
    }
    writeln!(text, "{}", compared.summary()).ok();
    for line in compared.method() {
        writeln!(text, "{line}").ok();
    }
    if !compared.conditions.is_empty() {
        writeln!(text, "\nWhat differs beside the figures:\n{}", conditions(compared)).ok();
    }
    let remarks = remarks(runs, compared);
    if !remarks.is_empty() {
        writeln!(text, "\n{}", remarks.join("\n")).ok();
    }
    text
}

fn rows(compared: &Compared) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    let engines = varies(compared.rows.iter().map(|row| row.engine));
    let places = varies(compared.rows.iter().map(|row| &row.place));
    let names = [Some("Workload"), Some("Parameters"), engines.then_some("Engine"), places.then_some("On")];
    let mut headings: Vec<String> = names.iter().flatten().map(|name| (*name).to_owned()).collect();
    let first = headings.len();
    headings.extend((0..compared.sides.len()).map(|side| heading(compared, side)));
    let columns = headings.len();
    table.set_header(headings);
    for index in first..columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in &compared.rows {
        let engine = row.engine.map(|engine| engine.title().to_owned());
        let words = [
            Some(row.title()),
            Some(row.parameters()),
            engine.filter(|_| engines),
            Some(row.place.clone()).filter(|_| places),
        ];
        let words = words.into_iter().flatten().map(|word| plain(&word));
        table
            .add_row(words.chain(row.cells.iter().map(|cell| cell_text(compared.kind, row, cell))).map(TableCell::new));
    }
    table
}

/// "A", and "B" over what its changes are.
fn heading(compared: &Compared, side: usize) -> String {
    let label = plain(compared.label(side));
    compared.ratio_title(side).map_or_else(|| label.clone(), |ratio| format!("{label}\n{}", plain(&ratio)))
}

/// The figure over its change and verdict. Between engines the ratio is the leading one's ÷ this one's; the verdict is this one's.
fn cell_text(kind: Kind, row: &Row, cell: &Cell) -> String {
    let figure = cell.figure.map_or_else(|| NONE.to_owned(), |figure| figure.text());
    let verdict = cell.verdict.as_ref().map(|verdict| verdict.word(row.unit));
    let change = cell.change.map(|change| change.text(kind));
    let second: Vec<&str> = change.as_deref().into_iter().chain(verdict).collect();
    if second.is_empty() { figure } else { format!("{figure}\n{}", second.join(" ")) }
}

fn conditions(compared: &Compared) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    let labels = (0..compared.sides.len()).map(|side| compared.label(side).to_owned());
    table.set_header(std::iter::once(String::new()).chain(labels));
    for difference in &compared.conditions {
        table.add_row(difference_cells(difference));
    }
    debug_assert!(compared.kind == Kind::Runs, "engines of one run share its conditions");
    table
}
