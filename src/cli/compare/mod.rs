//! `roofline compare`: runs beside each other, or the engines of one run.

mod data;
mod document;
mod table;

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use super::output::{self, Error, Exit};
use crate::{
    analysis::comparison::{CompareError, Compared, Kind, Options, THRESHOLD},
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
    /// End with status 3 if a row is slower than the baseline's
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
    let text = match arguments.format() {
        CompareFormat::Table => table::text(&runs, &compared),
        CompareFormat::Json => data::json(&runs, &compared),
        CompareFormat::Md => document::text(&runs, &compared),
        CompareFormat::Csv => data::csv(&runs, &compared).map_err(Error::failure)?,
    };
    output::write(&arguments.output, &text)?;
    let slower = compared.counts().slower > 0;
    Ok(if slower && arguments.fail_on == Some(FailOn::Slower) { Exit::Slower } else { Exit::Success })
}

/// Nothing is compared for an output that can't be written, and no file is lost.
fn check_output(arguments: &CompareArguments) -> Result<(), Error> {
    let path = Path::new(&arguments.output);
    if arguments.output != STANDARD && path.is_file() && !arguments.force {
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
    let mut names: Vec<&str> = arguments.runs.iter().map(String::as_str).collect();
    let mut runs = loader.load_all(&names)?;
    let mut baseline = 0;
    if let Some(wanted) = arguments.baseline.as_deref() {
        let of_name = names.iter().position(|name| *name == wanted);
        let of_id = || runs.iter().position(|run| !wanted.is_empty() && run.id.starts_with(wanted));
        baseline = of_name.or_else(of_id).unwrap_or(runs.len());
        if baseline == runs.len() {
            runs.push(loader.load(wanted)?);
            names.push(wanted);
        }
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

    fn load(&mut self, name: &str) -> Result<Run, Error> {
        if name == STANDARD {
            return self.read_input();
        }
        named(&self.store, name).map_err(|error| match &error {
            NameError::Load(_) => Error::failure(plain(&error.to_string())),
            _ => Error::usage(plain(&error.to_string())),
        })
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

/// Text that came from a file or a command line, on one line and without anything that steers a terminal.
fn plain(text: &str) -> String {
    const SHOWN: usize = 600;
    let steers = |c: &char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let line = text.chars().filter(|c| !steers(c)).map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = line.take(SHOWN + 1).collect();
    if let Some((end, _)) = shown.char_indices().nth(SHOWN) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

/// What a reader needs to know of a run's origin, in one line: "20261125T…: Apple M5 · macOS 26.1 · 2026-11-25 10:53 UTC".
fn origin(run: &Run) -> String {
    let os = format!("{} {}", run.machine.os.name, run.machine.os.version);
    let devices = super::table::devices(run);
    let devices = if run.machine.chip.is_empty() { devices } else { run.machine.chip.clone() };
    let mut parts = vec![devices, os];
    if run.started_at != jiff::Timestamp::UNIX_EPOCH {
        parts.push(run.started_at.strftime("%Y-%m-%d %H:%M UTC").to_string());
    }
    let program = &run.app.version;
    let is_own = program.starts_with(|first: char| first.is_ascii_digit());
    parts.push(if is_own { format!("Roofline {program}") } else { program.clone() });
    if run.is_published() {
        parts.push("published figures, no samples".to_owned());
    }
    let parts: Vec<&str> = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
    plain(&parts.join(" · "))
}

/// The runs with their labels, and which is the baseline.
fn legend(runs: &[Run], compared: &Compared) -> Vec<[String; 3]> {
    let line = |(index, run): (usize, &Run)| {
        let label = if compared.kind == Kind::Runs { compared.label(index).to_owned() } else { String::new() };
        let is_base = compared.kind == Kind::Runs && index == compared.baseline;
        let text = if is_base { format!("{} (baseline)", origin(run)) } else { origin(run) };
        [label, plain(&run.id), text]
    };
    runs.iter().enumerate().map(line).collect()
}

/// What must be known beside the rows: why some aren't comparable, what is doubtful. Equal reasons stand together.
fn remarks(runs: &[Run], compared: &Compared) -> Vec<String> {
    let mut found: Vec<((usize, String), Vec<usize>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (number, row) in compared.rows.iter().enumerate() {
        for (side, cell) in row.cells.iter().enumerate() {
            let reason = cell
                .verdict
                .as_ref()
                .and_then(|verdict| Some(format!("{}: {}", verdict.word(row.unit), verdict.reason()?)));
            for text in reason.into_iter().chain(cell.notes.iter().cloned()) {
                let place = *places.entry((side, text)).or_insert_with_key(|key| {
                    found.push((key.clone(), Vec::new()));
                    found.len() - 1
                });
                found.get_mut(place).into_iter().for_each(|(_, rows)| rows.push(number));
            }
        }
    }
    let name = |row: &usize| {
        let row = compared.rows.get(*row)?;
        Some(format!("{} {}", row.title(), row.parameters()))
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

/// Whether rows have different values of something, so that it needs a column.
fn varies<T: PartialEq>(mut values: impl Iterator<Item = T>) -> bool {
    values.next().is_some_and(|first| values.any(|other| other != first))
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

    #[test]
    fn what_comes_from_files_is_one_plain_line() {
        assert_eq!(plain("a\nb\u{1b}[31m\u{202e}c\t"), "a b [31mc ");
        assert_eq!(plain(&"ä".repeat(1000)).chars().count(), 601);
    }
}
