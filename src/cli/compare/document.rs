//! A comparison as a Markdown document.

use super::{legend, plain, remarks, table::difference_cells, varies};
use crate::{
    analysis::comparison::{Cell, Compared, Kind, Row},
    export::NONE,
    record::Run,
};

/// Everything: the runs, the rows, what differs, how it was compared.
pub(super) fn text(runs: &[Run], compared: &Compared) -> String {
    let title = if compared.kind == Kind::Runs { "# Runs beside each other" } else { "# Engines beside each other" };
    let run = |[label, id, origin]: [String; 3]| {
        let label = if label.is_empty() { String::new() } else { format!("**{label}** ") };
        format!("- {label}{}: {}", escaped(&id), escaped(&origin))
    };
    let runs_list: Vec<String> = legend(runs, compared).into_iter().map(run).collect();
    let mut parts = vec![title.to_owned(), runs_list.join("\n")];
    if !compared.rows.is_empty() {
        parts.push(rows(compared));
    }
    parts.push(format!("**{}**", compared.summary()));
    parts.push(compared.method().join(" "));
    if !compared.conditions.is_empty() {
        let labels = (0..compared.sides.len()).map(|side| compared.label(side).to_owned());
        let headings: Vec<String> = std::iter::once("Condition".to_owned()).chain(labels).collect();
        let lines: Vec<Vec<String>> = compared.conditions.iter().map(difference_cells).collect();
        parts.push("## What differs beside the figures".to_owned());
        parts.push(table(&headings, &lines, headings.len()));
    }
    let remarks: Vec<String> = remarks(runs, compared).iter().map(|line| format!("- {}", escaped(line))).collect();
    if !remarks.is_empty() {
        parts.push("## Notes".to_owned());
        parts.push(remarks.join("\n"));
    }
    parts.join("\n\n") + "\n"
}

/// A column a side, and beside it its change and verdict.
fn rows(compared: &Compared) -> String {
    let engines = varies(compared.rows.iter().map(|row| row.engine));
    let places = varies(compared.rows.iter().map(|row| &row.place));
    let names = [Some("Workload"), Some("Parameters"), engines.then_some("Engine"), places.then_some("On")];
    let mut headings: Vec<String> = names.into_iter().flatten().map(str::to_owned).collect();
    let words = headings.len();
    for side in 0..compared.sides.len() {
        headings.push(compared.label(side).to_owned());
        if let Some(ratio) = compared.ratio_title(side) {
            headings.extend([ratio, "Verdict".to_owned()]);
        }
    }
    let line = |row: &Row| {
        let engine = row.engine.map(|engine| engine.title().to_owned()).filter(|_| engines);
        let place = Some(row.place.clone()).filter(|_| places);
        let mut line: Vec<String> =
            [Some(row.title()), Some(row.parameters()), engine, place].into_iter().flatten().collect();
        for cell in &row.cells {
            line.extend(cells(compared.kind, row, cell));
        }
        line
    };
    let lines: Vec<Vec<String>> = compared.rows.iter().map(line).collect();
    table(&headings, &lines, words)
}

/// The figure, and of all but the baseline the change and the verdict.
fn cells(kind: Kind, row: &Row, cell: &Cell) -> Vec<String> {
    let figure = cell.figure.map_or_else(|| NONE.to_owned(), |figure| figure.text());
    let Some(verdict) = &cell.verdict else { return vec![figure] };
    let change = cell.change.map_or_else(|| NONE.to_owned(), |change| change.text(kind));
    vec![figure, change, verdict.word(row.unit).to_owned()]
}

/// A table; the first columns are words, the rest are numbers.
fn table(headings: &[String], rows: &[Vec<String>], words: usize) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| escaped(cell)).collect();
        format!("| {} |", cells.join(" | "))
    };
    let rule = (0..headings.len()).map(|index| if index < words { "---" } else { "---:" });
    let rule = format!("| {} |", rule.collect::<Vec<_>>().join(" | "));
    let mut lines = vec![line(headings), rule];
    lines.extend(rows.iter().map(|row| line(row)));
    lines.join("\n")
}

/// Text on one line in which nothing is markup, neither Markdown's nor HTML's.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in plain(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '!' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_is_markup() {
        assert_eq!(
            escaped("<script>a|b</script>\n# [x](y) `z` **b**"),
            "&lt;script&gt;a\\|b&lt;/script&gt; \\# \\[x\\](y) \\`z\\` \\*\\*b\\*\\*"
        );
    }
}
