//! `roofline report`: runs as a document.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, ValueEnum};

use super::{
    named::{Named, Saved},
    output::{self, Error, Exit},
};
use crate::{
    export::{self, ReportFormat},
    record::Run,
};

/// Which runs, and where the report goes.
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// The runs: apple-m5 (the reference that comes along), the id of a saved run or its beginning, or a run file
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<OsString>,
    /// How it is written; html if FILE ends in .html, pdf if in .pdf, else md
    #[arg(long)]
    pub format: Option<DocumentFormat>,
    /// Where it goes; "-" is standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
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
        let end = self.output.extension().map(|end| end.to_string_lossy().to_lowercase());
        self.format.unwrap_or(match end.as_deref() {
            Some("html" | "htm") => DocumentFormat::Html,
            Some("pdf") => DocumentFormat::Pdf,
            _ => DocumentFormat::Md,
        })
    }
}

/// Finds the runs and writes their report.
pub(super) fn report(arguments: &ReportArguments, saved: &Saved<'_>) -> Result<Exit, Error> {
    let (format, is_standard) = (arguments.format(), arguments.output.as_os_str() == "-");
    if format == DocumentFormat::Pdf && is_standard {
        return Err(Error::usage("a PDF is no text for a terminal; name a file with --output"));
    }
    let (what, endings): (_, &[&str]) = match format {
        DocumentFormat::Md => ("Markdown", &["md", "markdown"]),
        DocumentFormat::Html => ("HTML", &["html", "htm"]),
        DocumentFormat::Pdf => ("PDF", &["pdf"]),
    };
    output::check_ending(&arguments.output, what, endings)?;
    let found = saved.find_all(&arguments.runs)?;
    let names: Vec<String> = found.iter().map(Named::words).collect();
    let runs: Vec<Run> = found.into_iter().map(|named| named.run).collect();
    if format == DocumentFormat::Pdf {
        let bytes = export::pdf(&runs, &names).map_err(Error::failure)?;
        output::write_new(&arguments.output, &bytes, arguments.force)?;
        return Ok(Exit::Success);
    }
    let form = if format == DocumentFormat::Md { ReportFormat::Markdown } else { ReportFormat::Html };
    let text = export::report(&runs, &names, form).map_err(Error::failure)?;
    if is_standard {
        output::write("-", &text)?;
        return Ok(Exit::Success);
    }
    output::write_new(&arguments.output, text.as_bytes(), arguments.force)?;
    Ok(Exit::Success)
}
