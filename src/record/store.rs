//! The store: one JSON file a run, in the data folder.
//!
//! A save writes a temporary file, flushes it to the disk and renames it, so that whatever fails leaves the file before it
//! whole. Files that can't be read are listed as such and left alone.

use std::{
    fs::{self, File},
    io::{self, BufReader, Write as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::Deserialize;

use super::{FORMAT_VERSION, Outcome, Run, RunState};
use crate::units::{Quantity, Unit};

/// A run file larger than this is not read: a full suite takes under 1 MiB.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// The folder that holds saved runs.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// Why a run could not be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The folder or file can't be written.
    #[error("the run could not be saved ({source}); free some space or choose another data folder: {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another copy is measuring.
    #[error(
        "another copy of Roofline is measuring; wait until it has ended, since two at once would disturb each other"
    )]
    Busy,
    /// This copy is measuring, or an entry that it gave up has not returned.
    #[error("the measurement before has not let go of the device; wait a moment, or start Roofline anew")]
    Occupied,
}

/// Why a run file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can't be opened or read.
    #[error("the run file could not be read ({source}): {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is larger than any run.
    #[error("the file is {} MB, larger than any run file; it is not one of Roofline's: {}", bytes / 1_000_000, path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// A newer program made it.
    #[error(
        "the run file has format {found}, this Roofline reads up to {FORMAT_VERSION}; update Roofline to open it: {}",
        path.display()
    )]
    Future {
        /// Which.
        path: PathBuf,
        /// Its format version.
        found: u64,
    },
    /// It is empty, cut off, or not a run.
    #[error("the file is not a whole run file ({reason}); it was left alone: {}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
}

/// What a list of runs shows of one.
#[derive(Clone, Debug, PartialEq)]
pub struct RunHeader {
    /// Its file.
    pub path: PathBuf,
    /// Its id.
    pub id: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// How long it took in seconds, if it ended.
    pub duration_s: Option<f64>,
    /// How it ended.
    pub state: RunState,
    /// The suite's name.
    pub suite: String,
    /// The device's or machine's name.
    pub device: String,
    /// The best plausible GEMM rate in FLOP/s.
    pub best_flops: Option<f64>,
    /// The best plausible bandwidth in B/s.
    pub best_bandwidth: Option<f64>,
    /// How many entries are done, and how many there are.
    pub done: (usize, usize),
}

/// A file in the store.
#[derive(Clone, Debug, PartialEq)]
pub enum Listed {
    /// A readable run.
    Run(RunHeader),
    /// A file that can't be read, with the reason.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why, as a whole sentence.
        reason: String,
    },
}

/// Held while measuring: only one copy of the program measures at a time.
#[derive(Debug)]
pub struct RunLock(#[expect(dead_code, reason = "the lock lasts as long as the file is open")] File);

impl Store {
    /// A store in `data_folder`; nothing is touched yet.
    pub fn at(data_folder: &Path) -> Self {
        Self { folder: data_folder.join("runs") }
    }

    /// Where the runs are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the run with this id is kept.
    pub fn path_of(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    /// Makes the folder and proves that a file can be written there.
    pub fn check_writable(&self) -> Result<(), SaveError> {
        let error = |source| SaveError::Io { path: self.folder.clone(), source };
        fs::create_dir_all(&self.folder).map_err(error)?;
        temporary_in(&self.folder).map_err(error)?;
        Ok(())
    }

    /// Takes the lock that only one measuring program can hold. The system lets it go when the program ends, however it ends.
    pub fn lock(&self) -> Result<RunLock, SaveError> {
        let path = self.folder.join("measuring.lock");
        let error = |source| SaveError::Io { path: path.clone(), source };
        fs::create_dir_all(&self.folder).map_err(error)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(error)?;
        match file.try_lock() {
            Ok(()) => Ok(RunLock(file)),
            Err(fs::TryLockError::WouldBlock) => Err(SaveError::Busy),
            Err(fs::TryLockError::Error(source)) => Err(error(source)),
        }
    }

    /// Writes the run to its file in the store.
    pub fn save(&self, run: &Run) -> Result<PathBuf, SaveError> {
        let path = self.path_of(&run.id);
        write_whole(&path, run).map_err(|source| SaveError::Io { path: path.clone(), source })?;
        Ok(path)
    }

    /// Every file in the store, newest first, unreadable ones last.
    pub fn list(&self) -> Vec<Listed> {
        let Ok(folder) = fs::read_dir(&self.folder) else { return Vec::new() };
        let paths = folder.filter_map(|file| Some(file.ok()?.path()));
        let runs = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        let mut listed: Vec<Listed> = runs.map(|path| list_one(&path)).collect();
        listed.sort_by(|a, b| match (a, b) {
            (Listed::Run(a), Listed::Run(b)) => b.started_at.cmp(&a.started_at).then_with(|| a.id.cmp(&b.id)),
            (Listed::Run(_), Listed::Unreadable { .. }) => std::cmp::Ordering::Less,
            (Listed::Unreadable { .. }, Listed::Run(_)) => std::cmp::Ordering::Greater,
            (Listed::Unreadable { path: a, .. }, Listed::Unreadable { path: b, .. }) => a.cmp(b),
        });
        listed
    }

    /// Reads one run file, in the store or not.
    pub fn load(path: &Path) -> Result<Run, LoadError> {
        let io_error = |source| LoadError::Io { path: path.to_owned(), source };
        let malformed = |reason: String| LoadError::Malformed { path: path.to_owned(), reason };
        // Before it is opened: opening a pipe would wait for its writer.
        let metadata = fs::metadata(path).map_err(io_error)?;
        if metadata.is_dir() {
            return Err(malformed("it is a folder".to_owned()));
        }
        if !metadata.is_file() {
            return Err(malformed("it is a device or a pipe".to_owned()));
        }
        let file = File::open(path).map_err(io_error)?;
        let bytes = metadata.len();
        if bytes > FILE_BYTES_MAX {
            return Err(LoadError::TooLarge { path: path.to_owned(), bytes });
        }
        if bytes == 0 {
            return Err(malformed("it is empty".to_owned()));
        }
        let text = io::read_to_string(BufReader::new(file)).map_err(io_error)?;
        Self::parse(&text, path)
    }

    /// Reads the text of a run file; errors name it `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Run, LoadError> {
        let malformed = |reason: String| LoadError::Malformed { path: path.to_owned(), reason };
        // The version is read on its own first: a newer format may differ in anything else.
        #[derive(Deserialize)]
        struct Version {
            format_version: u64,
        }
        let version: Version = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
        if version.format_version > u64::from(FORMAT_VERSION) {
            return Err(LoadError::Future { path: path.to_owned(), found: version.format_version });
        }
        serde_json::from_str(text).map_err(|error| malformed(error.to_string()))
    }
}

/// Writes a run as JSON through a temporary file beside `path`.
pub(super) fn write_whole(path: &Path, run: &Run) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut text = serde_json::to_vec_pretty(run)?;
    text.push(b'\n');
    let file = temporary_in(folder)?;
    file.as_file().write_all(&text)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A temporary file, whose errors don't tell its name: the sentence around them names the file that matters.
fn temporary_in(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".saving-").suffix(".tmp").tempfile_in(folder).map_err(|error| io::Error::from(error.kind()))
}

fn list_one(path: &Path) -> Listed {
    match Store::load(path) {
        Ok(run) => Listed::Run(RunHeader::of(path, &run)),
        Err(error) => Listed::Unreadable { path: path.to_owned(), reason: error.to_string() },
    }
}

impl RunHeader {
    /// What a list shows of `run`.
    pub fn of(path: &Path, run: &Run) -> Self {
        let median = |best: Option<&super::Entry>| Some(best?.headline()?.summary.median);
        let done = run.entries.iter().filter(|entry| entry.outcome == Outcome::Done).count();
        Self {
            path: path.to_owned(),
            id: run.id.clone(),
            started_at: run.started_at,
            duration_s: run.ended_at.map(|end| end.duration_since(run.started_at).as_secs_f64()),
            state: run.state,
            suite: run.suite.name.clone(),
            device: run.devices.first().map_or_else(|| run.machine.chip.clone(), |device| device.name.clone()),
            best_flops: median(run.best_gemm(None)),
            best_bandwidth: median(run.best_bandwidth()),
            done: (done, run.entries.len()),
        }
    }

    /// The headline of a list's row, as "44.41 TFLOPS · 3060 GB/s".
    pub fn headline(&self) -> String {
        let flops = self.best_flops.map(|value| Quantity::new(value, Unit::FlopPerSecond).to_string());
        let bandwidth = self.best_bandwidth.map(|value| Quantity::new(value, Unit::BytePerSecond).to_string());
        let parts: Vec<String> = flops.into_iter().chain(bandwidth).collect();
        if parts.is_empty() { "—".to_owned() } else { parts.join(" · ") }
    }
}
