//! A report as Markdown. Text of a run is escaped: it can neither mark anything up nor end a table's row.

use super::document::{Block, Document, Table};

/// The whole document.
pub(super) fn text(document: &Document) -> String {
    let title = format!("# {}", escaped(&document.title));
    let parts: Vec<String> = std::iter::once(title).chain(document.blocks.iter().filter_map(block)).collect();
    parts.join("\n\n") + "\n"
}

fn block(block: &Block) -> Option<String> {
    Some(match block {
        Block::Heading { level, text } => format!("{} {}", "#".repeat(usize::from(*level)), escaped(text)),
        Block::Text { text } => paragraph(text),
        Block::Note { text } => format!("> **Note:** {}", escaped(text)),
        Block::List { lines } => {
            lines.iter().map(|line| format!("- {}", paragraph(line))).collect::<Vec<_>>().join("\n")
        }
        Block::Table(content) => table(content),
        Block::Code { language, text } => {
            let fence = fence(text);
            format!("{fence}{language}\n{text}\n{fence}")
        }
        Block::Chart(_) => return None,
    })
}

fn table(table: &Table) -> String {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let headings: Vec<String> = table.headings.iter().map(|heading| escaped(heading)).collect();
    let rule = |numeric: &bool| if *numeric { "---:" } else { "---" }.to_owned();
    let rule: Vec<String> = table.numeric.iter().map(rule).collect();
    let mut lines = vec![line(&headings), line(&rule)];
    for row in &table.rows {
        let cell = |cell: &super::TableCell| {
            let text = escaped(&cell.text);
            if cell.best { format!("**{text}**") } else { text }
        };
        lines.push(line(&row.iter().map(cell).collect::<Vec<_>>()));
    }
    lines.join("\n")
}

/// A table of plain cells for another program's clipboard; `numeric` columns stand right.
pub fn markdown_table(headings: &[&str], numeric: std::ops::Range<usize>, rows: &[Vec<String>]) -> String {
    let content = Table {
        headings: headings.iter().map(|&heading| heading.to_owned()).collect(),
        numeric: (0..headings.len()).map(|column| numeric.contains(&column)).collect(),
        rows: rows.iter().map(|row| row.iter().map(|cell| cell.as_str().into()).collect()).collect(),
    };
    table(&content) + "\n"
}

/// A fence that the text can't end.
fn fence(text: &str) -> String {
    let runs = text.split(|c| c != '`').map(str::len);
    "`".repeat(runs.max().unwrap_or(0).max(2) + 1)
}

/// Escaped, and its first characters make neither a list nor a heading of it.
pub(super) fn paragraph(text: &str) -> String {
    let escaped = escaped(text);
    let digits = escaped.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
    let numbered = digits > 0 && escaped.get(digits..).is_some_and(|rest| rest.starts_with(['.', ')']));
    match escaped.chars().next() {
        Some('#' | '+' | '-' | '=' | '~') => format!("\\{escaped}"),
        Some(_) if numbered => {
            let (number, rest) = escaped.split_at(digits);
            format!("{number}\\{rest}")
        }
        _ => escaped,
    }
}

/// Text that shows itself and marks nothing up, on one line.
pub(super) fn escaped(text: &str) -> String {
    let letters: Vec<char> = text.trim().chars().collect();
    let mut out = String::with_capacity(text.len());
    for (place, c) in letters.iter().enumerate() {
        let word = |at: Option<usize>| at.and_then(|at| letters.get(at)).is_some_and(|c| c.is_alphanumeric());
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '[' | ']' | '|' => out.extend(['\\', *c]),
            // Within a word it is one more letter.
            '_' if !(word(place.checked_sub(1)) && word(Some(place + 1))) => out.push_str("\\_"),
            '~' if letters.get(place + 1) == Some(&'~') => out.push_str("\\~"),
            c if c.is_control() => out.push(' '),
            c => out.push(*c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::cells::TableCell;

    #[test]
    fn text_marks_nothing_up() {
        assert_eq!(escaped("mistral-7b Q4_K_M"), "mistral-7b Q4_K_M");
        assert_eq!(escaped("<script>alert(1)</script>"), "&lt;script&gt;alert(1)&lt;/script&gt;");
        assert_eq!(escaped("_a_ **b** [c](d) `e`"), "\\_a\\_ \\*\\*b\\*\\* \\[c\\](d) \\`e\\`");
        assert_eq!(escaped("a\r\nb|c"), "a  b\\|c");
        assert_eq!(paragraph("# a"), "\\# a");
        assert_eq!(paragraph("1. a"), "1\\. a");
        assert_eq!(paragraph("26.5 t/s"), "26\\.5 t/s");
    }

    #[test]
    fn nothing_in_a_cell_breaks_a_table() {
        let headings = vec!["a|b".to_owned(), "c".to_owned()];
        let best = TableCell { text: "1".into(), best: true };
        let content = Table { headings, numeric: vec![false, true], rows: vec![vec!["x\ny".into(), best]] };
        assert_eq!(table(&content), "| a\\|b | c |\n| --- | ---: |\n| x y | **1** |");
    }

    #[test]
    fn code_does_not_end_its_fence() {
        assert_eq!(fence("echo a"), "```");
        assert_eq!(fence("a ````b``"), "`````");
    }
}
