//! `roofline export`: a run for other programs.

use std::{fs, path::Path};

use clap::{Args, ValueEnum};

use super::output::{self, Error, Exit};
use crate::{
    export,
    record::{self, Run, Store},
};

/// Which run, and what becomes of it.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// The run: apple-m5 (the reference that comes along), the id of a saved run or its beginning, or a run file
    pub run: String,
    /// How it is written
    #[arg(long)]
    pub format: DataFormat,
    /// The file, or "-" for standard output; for raw the folder in which results/raw/CHIP is made
    #[arg(long, value_name = "PATH", default_value = "-")]
    pub output: String,
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
pub(super) fn export(arguments: &ExportArguments, data_dir: &Path) -> Result<Exit, Error> {
    let run = record::named(&Store::at(data_dir), &arguments.run).map_err(|error| Error::of_name(&error))?;
    let text = match arguments.format {
        DataFormat::Json => export::json(&run).map_err(Error::failure)?,
        DataFormat::Jsonl => export::jsonl(&run).map_err(Error::failure)?,
        DataFormat::Csv => export::csv(&run).map_err(Error::failure)?,
        DataFormat::Raw => return raw(&run, arguments),
    };
    if arguments.output == "-" {
        output::write("-", &text)?;
    } else {
        output::write_new(Path::new(&arguments.output), text.as_bytes(), arguments.force)?;
    }
    Ok(Exit::Success)
}

/// The folder is made where it is wanted, in one that is there.
fn raw(run: &Run, arguments: &ExportArguments) -> Result<Exit, Error> {
    if arguments.output == "-" {
        return Err(Error::usage("raw results are a folder of files; name where it goes with --output"));
    }
    let parent = Path::new(&arguments.output);
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
    for file in export::raw(run) {
        let text = serde_json::to_string_pretty(&file.content).map_err(Error::failure)? + "\n";
        let path = folder.join(&file.name);
        output::write_new(&path, text.as_bytes(), arguments.force)?;
        output::complain(&format!("written: {}", path.display()));
    }
    Ok(Exit::Success)
}
