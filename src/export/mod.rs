//! A run for other people and programs: the report as Markdown, HTML and PDF, tables, and the folder of raw results.

mod beside;
mod beside_csv;
mod cells;
mod document;
mod file;
mod flat;
mod html;
mod markdown;
mod memory;
mod models;
mod names;
mod pdf;
mod picture;
mod raw;
mod recommend;
mod sections;
mod why;
mod words;

pub(crate) use self::{
    beside::{Columns, difference_cells, legend, origin, plain, remarks, varies},
    cells::{NONE, TableCell, model_cells, model_headings, precisions, versus_headings, versus_rows},
    document::{Block, Document, Table},
    file::{check_place, folder_of, is_special},
    memory::fit_cells,
    names::shell_word,
    picture::{Anchor, Drawing, Element, Paint, Weight, drawing},
    words::{footnotes, name, warnings},
};
pub use self::{
    beside::{comparison_markdown, comparison_tsv},
    beside_csv::comparison_csv,
    file::write_whole,
    flat::{csv, json, json_line, jsonl},
    html::HtmlError,
    markdown::markdown_table,
    names::safe_name,
    picture::{Look, PictureError, PictureFormat, PictureTheme, Pixels, STAMP, Stamp, picture, pixels},
    raw::{RawFile, raw, raw_folder},
    recommend::{Recommendation, recommendations},
};
use crate::record::Run;

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// A text with tables.
    Markdown,
    /// One page that needs no other file, with charts.
    Html,
}

/// The reports of runs, to be drawn.
pub(crate) fn documents(runs: &[Run]) -> Vec<Document> {
    runs.iter().map(sections::document).collect()
}

/// The same report as PDF, on sheets of A4.
///
/// # Errors
///
/// If a font can't be read or the file can't be put together.
pub fn pdf(runs: &[Run]) -> Result<Vec<u8>, PictureError> {
    let documents: Vec<_> = runs.iter().map(sections::document).collect();
    pdf::file(&documents)
}

/// The report of a run, or of several one after the other.
pub fn report(runs: &[Run], format: ReportFormat) -> Result<String, HtmlError> {
    match format {
        ReportFormat::Markdown => {
            let texts: Vec<String> = runs.iter().map(|run| markdown::text(&sections::document(run))).collect();
            Ok(texts.join("\n---\n\n"))
        }
        ReportFormat::Html => {
            let documents: Vec<_> = runs.iter().map(sections::document).collect();
            html::page(&documents)
        }
    }
}
