//! A run for other people and programs: the report as Markdown, HTML and PDF, tables, and the folder of raw results.

mod bars;
mod beside;
mod beside_csv;
mod cells;
mod document;
mod flat;
mod html;
mod markdown;
mod memory;
mod models;
mod names;
mod pdf;
mod raw;
mod recommend;
mod sections;
mod why;
mod words;

pub(crate) use self::{
    beside::{Columns, difference_cells, legend, origin, plain, remarks, varies},
    cells::{NONE, TableCell, model_cells, model_headings, precisions, versus_headings, versus_rows},
    words::{footnotes, name, warnings},
};
pub use self::{
    beside::{comparison_markdown, comparison_tsv},
    beside_csv::comparison_csv,
    flat::{csv, json, json_line, jsonl},
    html::HtmlError,
    names::safe_name,
    pdf::{PdfError, pdf},
    raw::{RawFile, raw, raw_folder},
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
