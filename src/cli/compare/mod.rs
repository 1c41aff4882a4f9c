//! `roofline compare`: runs beside each other, or the engines of one run.

mod data;
mod table;

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use super::output::{self, Error, Exit};
use crate::{
    analysis::comparison::{CompareError, Compared, Options, THRESHOLD},
    export::{comparison_csv, comparison_markdown, is_special, plain},
    record::{FILE_BYTES_MAX, NameError, Run, Store, named, parse},
    units::percent,
};

/// What stands for standard input and output.
const STANDARD: &str = "-";

/// What `compare` holds against what.
#[derive(Debug, Args)]
pub struct CompareArguments {
    /// Two to six runs, or one with --engines: apple-m5, the id of a saved run or its beginning, a run file, a file that
    /// llama-bench -o json or -o jsonl wrote, or "-" for either from standard input
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<String>,
    /// What all others are held against, instead of the first: a run, or an engine with --engines
    #[arg(long, value_name = "RUN|ENGINE")]
    pub baseline: Option<String>,
    /// Compare the engines of one run
    #[arg(long)]
    pub engines: bool,
    /// A row for every metric, not only for each entry's first
    #[arg(long)]
    pub all_metrics: bool,
    /// The least change that counts, as 2% or 0.02
    #[arg(long, value_name = "SHARE", default_value = "2%", allow_hyphen_values = true, value_parser = parse_threshold)]
    pub threshold: f64,
    /// End with status 3 if a row is slower than the baseline's, and with 1 if no row can be compared
    #[arg(long, value_name = "VERDICT")]
    pub fail_on: Option<FailOn>,
    /// How it is written; json, md or csv if FILE ends so, else a table
    #[arg(long)]
    pub format: Option<CompareFormat>,
    /// Where it goes; "-" is standard output
    #[arg(long, value_name = "FILE", default_value = STANDARD)]
    pub output: String,
    /// Write over a file that is there already
    #[arg(long)]
    pub force: bool,
}

/// How a comparison is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompareFormat {
    /// For people
    Table,
    /// For programs: all rows, changes with their intervals, conditions
    Json,
    /// A Markdown document
    #[value(alias = "markdown")]
    Md,
    /// One line a row and side
    Csv,
}

/// What ends with status 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Any row that is slower than the baseline's
    Slower,
}

/// A share from 0 to 1, as "2%" or "0.02".
fn parse_threshold(text: &str) -> Result<f64, String> {
    let (number, scale) = text.trim().strip_suffix('%').map_or((text.trim(), 1.0), |number| (number.trim(), 100.0));
    let share = number.parse::<f64>().ok().map(|number| number / scale).filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("\"{text}\" is no threshold: choose one from 0% to 100%, as {}", percent(THRESHOLD)))
}

impl CompareArguments {
    /// How it is written.
    pub fn format(&self) -> CompareFormat {
        let extension = Path::new(&self.output).extension().map(std::ffi::OsStr::to_ascii_lowercase);
        self.format.unwrap_or(match extension.as_deref().and_then(std::ffi::OsStr::to_str) {
            Some("json") => CompareFormat::Json,
            Some("md" | "markdown") => CompareFormat::Md,
            Some("csv") => CompareFormat::Csv,
            _ => CompareFormat::Table,
        })
    }
}

/// Loads, compares, prints.
pub(super) fn compare(arguments: &CompareArguments, data_dir: &Path) -> Result<Exit, Error> {
    check_output(arguments)?;
    let (runs, compared) = if arguments.engines { engines(arguments, data_dir)? } else { beside(arguments, data_dir)? };
    let all: Vec<&Run> = runs.iter().collect();
    let text = match arguments.format() {
        CompareFormat::Table => table::text(&all, &compared),
        CompareFormat::Json => data::json(&all, &compared),
        CompareFormat::Md => comparison_markdown(&all, &compared),
        CompareFormat::Csv => comparison_csv(&all, &compared)
            .map_err(|error| Error::failure(format!("the comparison could not be written as CSV ({error})")))?,
    };
    output::write(&arguments.output, &text)?;
    let counts = compared.counts();
    Ok(match arguments.fail_on {
        Some(FailOn::Slower) if counts.slower > 0 => Exit::Slower,
        Some(FailOn::Slower) if counts.faster + counts.same == 0 => {
            output::complain("nothing could be compared, so that nothing can be said to be no slower");
            Exit::Failure
        }
        Some(FailOn::Slower) | None => Exit::Success,
    })
}

/// Nothing is compared for an output that can't be written, and no file is lost.
fn check_output(arguments: &CompareArguments) -> Result<(), Error> {
    let path = Path::new(&arguments.output);
    let (what, endings): (_, &[&str]) = match arguments.format() {
        CompareFormat::Table => ("a table for people", &["txt"]),
        CompareFormat::Json => ("JSON", &["json"]),
        CompareFormat::Md => ("Markdown", &["md", "markdown"]),
        CompareFormat::Csv => ("CSV", &["csv"]),
    };
    output::check_ending(path, what, endings)?;
    // A link is there, whether it leads to anything or not.
    let is_there = path.symlink_metadata().is_ok() && !path.is_dir() && !is_special(path);
    if arguments.output != STANDARD && is_there && !arguments.force {
        return Err(Error::failure(format!(
            "the comparison was not written, for there is such a file; name another, or replace it with --force: {}",
            plain(&arguments.output)
        )));
    }
    output::check_writable(&arguments.output)
}

/// The runs that are named and how they stand to each other.
fn beside(arguments: &CompareArguments, data_dir: &Path) -> Result<(Vec<Run>, Compared), Error> {
    let mut loader = Loader { store: Store::at(data_dir), has_read_input: false };
    let names: Vec<&str> = arguments.runs.iter().map(String::as_str).collect();
    let mut runs = loader.load_all(&names)?;
    let mut baseline = 0;
    if let Some(wanted) = arguments.baseline.as_deref() {
        baseline = match names.iter().position(|name| *name == wanted) {
            Some(place) => place,
            None => loader.baseline(wanted, &mut runs)?,
        };
        // The baseline is the first column.
        if let Some(list) = runs.get_mut(..=baseline) {
            list.rotate_right(1);
        }
        baseline = 0;
    }
    let all: Vec<&Run> = runs.iter().collect();
    let compared = Compared::of_runs(&all, baseline, options(arguments)).map_err(|error| usage(&error))?;
    Ok((runs, compared))
}

/// The one run that is named, and how its engines stand to each other.
fn engines(arguments: &CompareArguments, data_dir: &Path) -> Result<(Vec<Run>, Compared), Error> {
    let [name] = arguments.runs.as_slice() else {
        return Err(Error::usage("--engines compares the engines of one run; name one"));
    };
    let lead = arguments.baseline.as_deref().map(str::parse).transpose().map_err(Error::usage)?;
    let run = Loader { store: Store::at(data_dir), has_read_input: false }.load(name)?;
    let compared = Compared::of_engines(&run, lead, options(arguments)).map_err(|error| usage(&error))?;
    Ok((vec![run], compared))
}

fn options(arguments: &CompareArguments) -> Options {
    Options { threshold: arguments.threshold, all_metrics: arguments.all_metrics }
}

fn usage(error: &CompareError) -> Error {
    Error::usage(plain(&error.to_string()))
}

/// Finds runs by what they are called. Standard input holds one.
struct Loader {
    store: Store,
    has_read_input: bool,
}

impl Loader {
    fn load_all(&mut self, names: &[&str]) -> Result<Vec<Run>, Error> {
        // Before anything is read: a hundred names are a mistake.
        if names.len() > crate::analysis::comparison::SIDES_MAX {
            return Err(usage(&CompareError::Runs(names.len())));
        }
        names.iter().map(|name| self.load(name)).collect()
    }

    /// The place of the run that is named as the baseline among those that are beside each other, where it is added if it isn't
    /// one of them. One that is in no store is known by the beginning of its id, if no other has the same.
    fn baseline(&mut self, wanted: &str, runs: &mut Vec<Run>) -> Result<usize, Error> {
        if wanted == STANDARD {
            runs.push(self.read_input()?);
            return Ok(runs.len() - 1);
        }
        // One of those that are given is meant before any other.
        let begins = |run: &Run| !wanted.is_empty() && run.id.starts_with(wanted);
        let given: Vec<usize> = (0..runs.len()).filter(|place| runs.get(*place).is_some_and(begins)).collect();
        if let [place] = *given {
            return Ok(place);
        }
        let run = match named(&self.store, wanted) {
            Ok(run) => run,
            Err(error @ NameError::Unknown { .. }) => {
                let mut ids = given.iter().filter_map(|place| runs.get(*place)).map(|run| &run.id);
                return Err(match (ids.next(), ids.next()) {
                    (Some(first), Some(second)) => Error::usage(plain(&format!(
                        "several of the runs have ids that begin with \"{wanted}\", among them {first} and {second}; write more \
                         of it"
                    ))),
                    _ => Error::of_name(&error),
                });
            }
            Err(error) => return Err(Error::of_name(&error)),
        };
        // Two files of one id may hold different figures; the same figures are the same run, whatever is written about it.
        let same = |other: &Run| other.id == run.id && other.entries == run.entries;
        if let Some(place) = runs.iter().position(same) {
            return Ok(place);
        }
        runs.push(run);
        Ok(runs.len() - 1)
    }

    fn load(&mut self, name: &str) -> Result<Run, Error> {
        if name == STANDARD {
            return self.read_input();
        }
        named(&self.store, name).map_err(|error| Error::of_name(&error))
    }

    fn read_input(&mut self) -> Result<Run, Error> {
        if std::mem::replace(&mut self.has_read_input, true) {
            return Err(Error::usage("\"-\" was given twice, and standard input holds one run"));
        }
        let mut bytes = Vec::new();
        let read = io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
        read.map_err(|error| Error::failure(format!("standard input could not be read ({error})")))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let most = FILE_BYTES_MAX >> 20;
            return Err(Error::failure(format!("standard input holds more than {most} MiB, and no run does")));
        }
        parse(&String::from_utf8_lossy(&bytes), &PathBuf::from("standard input"))
            .map_err(|error| Error::failure(plain(&error.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_shares() {
        assert_eq!(parse_threshold("2%"), Ok(0.02));
        assert_eq!(parse_threshold(" 0.05 "), Ok(0.05));
        assert_eq!(parse_threshold("0"), Ok(0.0));
        for wrong in ["2", "-1%", "nan", "inf%", "", "%", "two"] {
            assert!(parse_threshold(wrong).unwrap_err().contains("choose one from 0%"), "{wrong}");
        }
    }
}
