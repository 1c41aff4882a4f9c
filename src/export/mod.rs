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
    raw::{RawFile, raw, raw_folder, raw_leftovers},
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

/// The reports of runs, to be drawn. `names` are the words by which a command line finds each again; empty where none do.
pub(crate) fn documents(runs: &[Run], names: &[String]) -> Vec<Document> {
    let name = |place: usize| names.get(place).map_or("", String::as_str);
    runs.iter().enumerate().map(|(place, run)| sections::document(run, name(place))).collect()
}

/// The same report as PDF, on sheets of A4. `names` are as for [`report`].
///
/// # Errors
///
/// If a font can't be read or the file can't be put together.
pub fn pdf(runs: &[Run], names: &[String]) -> Result<Vec<u8>, PictureError> {
    pdf::file(&documents(runs, names))
}

/// The report of a run, or of several one after the other.
///
/// `names` are the words by which a command line finds each again, quoted
/// for a shell where they must be; of a run whose name is absent or empty no command is told.
pub fn report(runs: &[Run], names: &[String], format: ReportFormat) -> Result<String, HtmlError> {
    let documents = documents(runs, names);
    match format {
        ReportFormat::Markdown => {
            let texts: Vec<String> = documents.iter().map(markdown::text).collect();
            Ok(texts.join("\n---\n\n"))
        }
        ReportFormat::Html => html::page(&documents),
    }
}
