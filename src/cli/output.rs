//! How a command ends: its error on standard error, its exit status, and writing that survives a closed pipe.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
};

use crate::{
    export::{check_place, folder_of, is_special, plain, write_whole},
    record::NameError,
};

/// The exit status of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything worked.
    Success,
    /// An entry failed, or something could not be done.
    Failure,
    /// The flags make no sense.
    Usage,
    /// A row is slower than the baseline's, and that was asked to be a failure.
    Slower,
    /// Ctrl-C: what was done is saved.
    Interrupted,
}

impl Exit {
    /// The number for the shell.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Slower => 3,
            Self::Interrupted => 130,
        }
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub(super) struct Error {
    message: String,
    exit: Exit,
}

impl Error {
    pub(super) fn failure(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), exit: Exit::Failure }
    }

    pub(super) fn usage(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), exit: Exit::Usage }
    }

    /// A name that no run has makes no sense; a run that can't be read is a failure. Names may hold anything.
    pub(super) fn of_name(error: &NameError) -> Self {
        let message = plain(&error.to_string());
        if matches!(error, NameError::Load(_)) { Self::failure(message) } else { Self::usage(message) }
    }
}

/// Says the error, if there is one, and gives the exit status.
pub(super) fn finish(result: Result<Exit, Error>) -> Exit {
    result.unwrap_or_else(|error| {
        complain(&error.message);
        error.exit
    })
}

/// One line on standard error. A closed standard error is nobody's loss.
pub(super) fn complain(message: &str) {
    writeln!(io::stderr(), "roofline: {message}").ok();
}

/// Writes text to standard output, or whole to a file. A reader that closed the pipe has what it wanted.
pub(super) fn write(output: &str, text: &str) -> Result<(), Error> {
    let result = if output == "-" {
        io::stdout().write_all(text.as_bytes())
    } else {
        write_whole(Path::new(output), text.as_bytes())
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe && output == "-" => Ok(()),
        other => other.map_err(|error| cannot_write(output, &error)),
    }
}

/// Makes sure, before anything is measured, that the output can be written.
pub(super) fn check_writable(output: &str) -> Result<(), Error> {
    if output == "-" {
        return Ok(());
    }
    if output.is_empty() {
        return Err(Error::usage("--output has no name; give a file, or \"-\" for standard output"));
    }
    let path = Path::new(output);
    if path.is_dir() {
        return Err(Error::failure(format!("the results can't be written over a folder; name a file: {output}")));
    }
    check_place(path).map_err(|error| cannot_write(output, &error))
}

/// That the name of a file doesn't end as if it held something else. `fitting` are the endings of `what` is written.
pub(super) fn check_ending(path: &Path, what: &str, fitting: &[&str]) -> Result<(), Error> {
    const KNOWN: [&str; 17] = [
        "md", "markdown", "html", "htm", "pdf", "json", "jsonl", "csv", "tsv", "svg", "png", "jpg", "jpeg", "gif",
        "webp", "xlsx", "docx",
    ];
    let end = path.extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default();
    if fitting.contains(&end.as_str()) || !KNOWN.contains(&end.as_str()) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "what would be written is {what}, but the file's name ends in .{end}; end it in .{}, or choose another --format: {}",
        fitting.first().copied().unwrap_or_default(),
        plain(&path.display().to_string())
    )))
}

/// Writes whole to a file that isn't there yet, or may be replaced.
pub(super) fn write_new(path: &Path, bytes: &[u8], force: bool) -> Result<(), Error> {
    allow_new(path, force)?;
    write_allowed(path, bytes)
}

/// Writes whole to a file that [`allow_new`] allowed.
pub(super) fn write_allowed(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_whole(path, bytes).map_err(|error| cannot_write(&path.display().to_string(), &error))
}

/// That a file can be written there: none is yet, or it may be replaced, by `--force` or by a word at the terminal.
pub(super) fn allow_new(path: &Path, force: bool) -> Result<(), Error> {
    let shown = path.display();
    if path.as_os_str().is_empty() {
        return Err(Error::usage("--output has no name; give a file"));
    }
    if path.is_dir() {
        return Err(Error::failure(format!("a folder can't be written over; name a file: {shown}")));
    }
    if !folder_of(path).is_dir() {
        return Err(Error::failure(format!(
            "the folder to write to isn't there, or not any more; make it, or choose another --output: {shown}"
        )));
    }
    let is_there = path.symlink_metadata().is_ok() && !is_special(path);
    if is_there && !force && !may_replace(path) {
        return Err(Error::failure(format!(
            "the file is there already and was left alone; add --force to replace it: {shown}"
        )));
    }
    Ok(())
}

/// Asks, where there is someone to answer.
fn may_replace(path: &Path) -> bool {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return false;
    }
    write!(io::stderr(), "{} is there already. Replace it? [y/N] ", path.display()).ok();
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

fn cannot_write(output: &str, error: &io::Error) -> Error {
    Error::failure(format!("the results could not be written ({error}); choose another --output: {output}"))
}
