//! `roofline report`: runs as a document.

use std::path::Path;

use clap::{Args, ValueEnum};

use super::output::{self, Error, Exit};
use crate::{
    export::{self, ReportFormat},
    record::{self, Run, Store},
};

/// Which runs, and where the report goes.
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// The runs: apple-m5 (the reference that comes along), the id of a saved run or its beginning, or a run file
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<String>,
    /// How it is written; html if FILE ends in .html, pdf if in .pdf, else md
    #[arg(long)]
    pub format: Option<DocumentFormat>,
    /// Where it goes; "-" is standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub output: String,
    /// Replace a file that is there already
    #[arg(long)]
    pub force: bool,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DocumentFormat {
    /// Markdown
    Md,
    /// One page with charts that needs no other file
    Html,
    /// The same on sheets of A4
    Pdf,
}

impl ReportArguments {
    fn format(&self) -> DocumentFormat {
        let end = Path::new(&self.output).extension().map(|end| end.to_string_lossy().to_lowercase());
        self.format.unwrap_or(match end.as_deref() {
            Some("html" | "htm") => DocumentFormat::Html,
            Some("pdf") => DocumentFormat::Pdf,
            _ => DocumentFormat::Md,
        })
    }
}

/// Finds the runs and writes their report.
pub(super) fn report(arguments: &ReportArguments, data_dir: &Path) -> Result<Exit, Error> {
    let format = arguments.format();
    if format == DocumentFormat::Pdf && arguments.output == "-" {
        return Err(Error::usage("a PDF is no text for a terminal; name a file with --output"));
    }
    let store = Store::at(data_dir);
    let runs: Result<Vec<Run>, _> = arguments.runs.iter().map(|name| record::named(&store, name)).collect();
    let runs = runs.map_err(|error| Error::of_name(&error))?;
    if format == DocumentFormat::Pdf {
        let bytes = export::pdf(&runs).map_err(Error::failure)?;
        output::write_new(Path::new(&arguments.output), &bytes, arguments.force)?;
        return Ok(Exit::Success);
    }
    let form = if format == DocumentFormat::Md { ReportFormat::Markdown } else { ReportFormat::Html };
    let text = export::report(&runs, form).map_err(Error::failure)?;
    if arguments.output == "-" {
        output::write("-", &text)?;
        return Ok(Exit::Success);
    }
    output::write_new(Path::new(&arguments.output), text.as_bytes(), arguments.force)?;
    Ok(Exit::Success)
}
