//! Runs, or engines, beside each other for other people: a Markdown document, a table for a spreadsheet, and the pieces of both.

use super::{
    NONE,
    beside_csv::safe,
    markdown::{escaped, markdown_table, paragraph},
};
use crate::{
    analysis::comparison::{Cell, Compared, Difference, Kind, Row},
    record::Run,
};

/// Everything: the runs, the rows, what differs, how it was compared.
pub fn comparison_markdown(runs: &[&Run], compared: &Compared) -> String {
    let title = if compared.kind == Kind::Runs { "# Runs beside each other" } else { "# Engines beside each other" };
    let run = |[label, id, origin]: [String; 3]| {
        let label = if label.is_empty() { String::new() } else { format!("**{label}** ") };
        format!("- {label}{}: {}", paragraph(&plain(&id)), escaped(&plain(&origin)))
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
    let remarks: Vec<String> =
        remarks(runs, compared).iter().map(|line| format!("- {}", paragraph(&plain(line)))).collect();
    if !remarks.is_empty() {
        parts.push("## Notes".to_owned());
        parts.push(remarks.join("\n"));
    }
    parts.join("\n\n") + "\n"
}

/// All rows as tab-separated values with a header line, for a spreadsheet: the figures with their units, and why a row isn't
/// comparable.
pub fn comparison_tsv(compared: &Compared) -> String {
    let (mut headings, words) = headings(compared);
    headings.push("Why".to_owned());
    let mut text = headings.iter().map(|heading| safe(heading)).collect::<Vec<_>>().join("\t") + "\n";
    let columns = Columns::of(compared);
    for row in &compared.rows {
        let line = line(compared, row, columns);
        // Figures and changes are the program's own words, and begin with a sign.
        let cells = line.iter().enumerate().map(|(place, cell)| if place < words { safe(cell) } else { plain(cell) });
        let why =
            row.cells.iter().enumerate().filter_map(|(side, cell)| {
                Some(format!("{}: {}", compared.label(side), cell.verdict.as_ref()?.reason()?))
            });
        let why = safe(&why.collect::<Vec<_>>().join("; "));
        text.push_str(&cells.chain([why]).collect::<Vec<_>>().join("\t"));
        text.push('\n');
    }
    text
}

/// A column a side, and beside it its change and verdict.
fn rows(compared: &Compared) -> String {
    let (headings, words) = headings(compared);
    let columns = Columns::of(compared);
    let lines: Vec<Vec<String>> = compared.rows.iter().map(|row| line(compared, row, columns)).collect();
    table(&headings, &lines, words)
}

/// Which columns beside the workload's are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    /// Rows are of several engines.
    pub engines: bool,
    /// Rows are of several devices.
    pub places: bool,
}

impl Columns {
    pub(crate) fn of(compared: &Compared) -> Self {
        Self {
            engines: varies(compared.rows.iter().map(|row| row.engine)),
            places: varies(compared.rows.iter().map(|row| &row.place)),
        }
    }

    /// What tells a row from one of the same work, where there is no column for it: "PyTorch", "on processor".
    fn words(self, row: &Row) -> Vec<String> {
        let engine = row.engine.filter(|_| self.engines).map(|engine| engine.title().to_owned());
        engine.into_iter().chain(self.places.then(|| format!("on {}", row.place))).collect()
    }
}

/// The columns' names, and how many of them are words.
fn headings(compared: &Compared) -> (Vec<String>, usize) {
    let columns = Columns::of(compared);
    let names =
        [Some("Workload"), Some("Parameters"), columns.engines.then_some("Engine"), columns.places.then_some("On")];
    let mut headings: Vec<String> = names.into_iter().flatten().map(str::to_owned).collect();
    let words = headings.len();
    for side in 0..compared.sides.len() {
        headings.push(compared.label(side).to_owned());
        if let Some(ratio) = compared.ratio_title(side) {
            headings.extend([ratio, "Verdict".to_owned()]);
        }
    }
    (headings, words)
}

fn line(compared: &Compared, row: &Row, columns: Columns) -> Vec<String> {
    let engine = row.engine.map(|engine| engine.title().to_owned()).filter(|_| columns.engines);
    let place = Some(row.place.clone()).filter(|_| columns.places);
    let mut line: Vec<String> =
        [Some(row.title()), Some(row.parameters()), engine, place].into_iter().flatten().collect();
    for cell in &row.cells {
        line.extend(cells(compared.kind, row, cell));
    }
    line
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
    let headings: Vec<String> = headings.iter().map(|heading| plain(heading)).collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    markdown_table(&headings, words..headings.len(), &rows).trim_end().to_owned()
}

/// Text that came from a file or a command line, on one line and without anything that steers a terminal.
pub(crate) fn plain(text: &str) -> String {
    const SHOWN: usize = 600;
    let mut shown: String = steady_chars(text).take(SHOWN + 1).collect();
    if let Some((end, _)) = shown.char_indices().nth(SHOWN) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

/// The same, however long it is.
pub(super) fn without_steering(text: &str) -> String {
    steady_chars(text).collect()
}

fn steady_chars(text: &str) -> impl Iterator<Item = char> {
    let steers = |c: &char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    text.chars().filter(move |c| !steers(c)).map(|c| if c.is_control() { ' ' } else { c })
}

/// What a reader needs to know of a run's origin, in one line: "20261125T…: Apple M5 · macOS 26.1 · 2026-11-25 10:53 UTC".
pub(crate) fn origin(run: &Run) -> String {
    let os = format!("{} {}", run.machine.os.name, run.machine.os.version);
    let devices = run.devices.iter().map(crate::machine::Device::label).collect::<Vec<_>>().join(", ");
    let devices = if run.machine.chip.is_empty() { devices } else { run.measured() };
    let given = run.about.as_ref().and_then(|about| about.name.clone()).unwrap_or_default();
    let mut parts = vec![given, devices, os];
    if run.started_at != jiff::Timestamp::UNIX_EPOCH {
        parts.push(run.started_at.strftime("%Y-%m-%d %H:%M UTC").to_string());
    }
    // Whoever published figures took them without this program.
    let by = if run.is_published() { "published figures, no samples".to_owned() } else { run.app.program() };
    parts.push(by);
    let parts: Vec<&str> = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
    plain(&parts.join(" · "))
}

/// The runs with their labels, and which is the baseline.
pub(crate) fn legend(runs: &[&Run], compared: &Compared) -> Vec<[String; 3]> {
    let line = |(index, run): (usize, &&Run)| {
        let label = if compared.kind == Kind::Runs { compared.label(index).to_owned() } else { String::new() };
        let is_base = compared.kind == Kind::Runs && index == compared.baseline;
        let text = if is_base { format!("{} (baseline)", origin(run)) } else { origin(run) };
        [label, plain(&run.id), text]
    };
    runs.iter().enumerate().map(line).collect()
}

/// What must be known beside the rows: why some aren't comparable, what is doubtful. Equal reasons stand together.
pub(crate) fn remarks(runs: &[&Run], compared: &Compared) -> Vec<String> {
    let mut found: Vec<((usize, String), Vec<usize>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (number, row) in compared.rows.iter().enumerate() {
        for (side, cell) in row.cells.iter().enumerate() {
            let reason =
                cell.verdict.as_ref().and_then(|verdict| Some(with_word(verdict.word(row.unit), verdict.reason()?)));
            for text in reason.into_iter().chain(cell.notes.iter().cloned()) {
                let place = *places.entry((side, text)).or_insert_with_key(|key| {
                    found.push((key.clone(), Vec::new()));
                    found.len() - 1
                });
                found.get_mut(place).into_iter().for_each(|(_, rows)| rows.push(number));
            }
        }
    }
    let columns = Columns::of(compared);
    let name = |row: &usize| {
        let row = compared.rows.get(*row)?;
        Some([vec![format!("{} {}", row.title(), row.parameters())], columns.words(row)].concat().join(", "))
    };
    let line = |((side, text), rows): &((usize, String), Vec<usize>)| {
        const NAMED: usize = 3;
        let named: Vec<String> = rows.iter().take(NAMED).filter_map(name).collect();
        let more = if rows.len() > NAMED { format!(" and {} more", rows.len() - NAMED) } else { String::new() };
        plain(&format!("{}, {}{more}: {text}", compared.label(*side), named.join("; ")))
    };
    let same = runs.iter().enumerate().filter_map(|(index, run)| {
        let first = runs.iter().take(index).position(|other| other.id == run.id)?;
        Some(format!("{} and {} have the same id", compared.label(first), compared.label(index)))
    });
    let of_runs = runs.iter().enumerate().flat_map(|(index, run)| {
        let label = if compared.kind == Kind::Runs { format!("{}: ", compared.label(index)) } else { String::new() };
        run.notes.iter().map(move |note| plain(&format!("{label}{note}")))
    });
    same.chain(of_runs).chain(found.iter().map(line)).collect()
}

/// "missing: not in this run"; once where the reason begins with the word.
fn with_word(word: &str, reason: String) -> String {
    if reason.strip_prefix(word).is_some_and(|rest| rest.starts_with(':')) {
        reason
    } else {
        format!("{word}: {reason}")
    }
}

/// Whether rows have different values of something, so that it needs a column.
pub(crate) fn varies<T: PartialEq>(mut values: impl Iterator<Item = T>) -> bool {
    values.next().is_some_and(|first| values.any(|other| other != first))
}

/// The name of a condition, and its value in each run.
pub(crate) fn difference_cells(difference: &Difference) -> Vec<String> {
    let value = |value: &Option<String>| value.as_deref().map_or_else(|| NONE.to_owned(), plain);
    std::iter::once(plain(&difference.name)).chain(difference.values.iter().map(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_files_is_one_plain_line() {
        assert_eq!(plain("a\nb\u{1b}[31m\u{202e}c\t"), "a b [31mc ");
        assert_eq!(plain(&"ä".repeat(1000)).chars().count(), 601);
    }
}
