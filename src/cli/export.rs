//! `roofline export`: a run for other programs.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use super::{
    named::Saved,
    output::{self, Error, Exit},
};
use crate::{export, record::Run};

/// Which run, and what becomes of it.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// The run: apple-m5 (the reference that comes along), the id of a saved run or its beginning, or a run file
    pub run: OsString,
    /// How it is written
    #[arg(long)]
    pub format: DataFormat,
    /// The file, or "-" for standard output; for raw the folder in which results/raw/CHIP is made
    #[arg(long, value_name = "PATH", default_value = "-")]
    pub output: PathBuf,
    /// Replace files that are there already
    #[arg(long)]
    pub force: bool,
}

/// How a run is written for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DataFormat {
    /// The run file
    Json,
    /// One row a measurement
    Csv,
    /// One JSON line an entry
    Jsonl,
    /// A folder of JSON files, by subject
    Raw,
}

/// Finds the run and writes it.
pub(super) fn export(arguments: &ExportArguments, saved: &Saved<'_>) -> Result<Exit, Error> {
    match arguments.format {
        DataFormat::Json => output::check_ending(&arguments.output, "JSON", &["json"])?,
        DataFormat::Csv => output::check_ending(&arguments.output, "CSV", &["csv"])?,
        DataFormat::Jsonl => output::check_ending(&arguments.output, "JSON lines", &["jsonl"])?,
        DataFormat::Raw => {}
    }
    let run = saved.find(&arguments.run)?.run;
    let text = match arguments.format {
        DataFormat::Json => export::json(&run).map_err(Error::failure)?,
        DataFormat::Jsonl => export::jsonl(&run).map_err(Error::failure)?,
        DataFormat::Csv => export::csv(&run).map_err(Error::failure)?,
        DataFormat::Raw => return raw(&run, arguments),
    };
    if arguments.output.as_os_str() == "-" {
        output::write("-", &text)?;
    } else {
        output::write_new(&arguments.output, text.as_bytes(), arguments.force)?;
    }
    Ok(Exit::Success)
}

/// The folder is made where it is wanted, in one that is there. Nothing is written before all of it may be; what is replaced is
/// replaced wholly, so that the folder never holds results of two runs.
fn raw(run: &Run, arguments: &ExportArguments) -> Result<Exit, Error> {
    if arguments.output.as_os_str() == "-" {
        return Err(Error::usage("raw results are a folder of files; name where it goes with --output"));
    }
    let parent = arguments.output.as_path();
    if !parent.is_dir() {
        return Err(Error::failure(format!(
            "the folder to write to isn't there, or not any more; make it, or choose another --output: {}",
            parent.display()
        )));
    }
    let folder = parent.join(export::raw_folder(run));
    let failed = |error: std::io::Error| {
        Error::failure(format!(
            "the folder could not be made ({}); choose another --output: {}",
            error.kind(),
            folder.display()
        ))
    };
    fs::create_dir_all(&folder).map_err(failed)?;
    let files = export::raw(run);
    let left = export::raw_leftovers(&folder, &files);
    if let Some(first) = left.first().filter(|_| !arguments.force) {
        return Err(Error::failure(format!(
            "there are raw results of another run, which were left alone; add --force to replace them: {}",
            first.display()
        )));
    }
    for file in &files {
        output::allow_new(&folder.join(&file.name), arguments.force)?;
    }
    for file in files {
        let text = serde_json::to_string_pretty(&file.content).map_err(Error::failure)? + "\n";
        let path = folder.join(&file.name);
        output::write_allowed(&path, text.as_bytes())?;
        output::complain(&format!("written: {}", path.display()));
    }
    left.iter().try_for_each(|path| remove(path))?;
    Ok(Exit::Success)
}

fn remove(path: &Path) -> Result<(), Error> {
    fs::remove_file(path).map_err(|error| {
        Error::failure(format!("results of another run could not be removed ({}): {}", error.kind(), path.display()))
    })?;
    output::complain(&format!("removed: {}", path.display()));
    Ok(())
}
