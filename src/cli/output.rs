//! How a command ends: its error on standard error, its exit status, and writing that survives a closed pipe.

use std::{
    fmt, fs,
    io::{self, Write as _},
    path::Path,
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
    let result =
        if output == "-" { io::stdout().write_all(text.as_bytes()) } else { write_file(Path::new(output), text) };
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
    let path = Path::new(output);
    if path.is_dir() {
        return Err(Error::failure(format!("the results can't be written over a folder; name a file: {output}")));
    }
    tempfile::NamedTempFile::new_in(folder_of(path)).map_err(|error| cannot_write(output, &error))?;
    Ok(())
}

fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder_of(path))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    // A temporary file is private; a result is for everyone that the folder lets in.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path)?;
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn cannot_write(output: &str, error: &io::Error) -> Error {
    Error::failure(format!("the results could not be written ({error}); choose another --output: {output}"))
}
