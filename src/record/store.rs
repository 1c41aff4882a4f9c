//! The store: one JSON file a run, in the data folder.
//!
//! A save writes a temporary file, flushes it to the disk and renames it, so that whatever fails leaves the file before it
//! whole. Files that can't be read are listed as such and left alone.

use std::{
    fs::{self, File},
    io::{self, BufReader, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::error::Category;

use super::{About, FORMAT_VERSION, Run};

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

/// Held while measuring: only one copy of the program measures at a time.
#[derive(Debug)]
#[expect(dead_code, reason = "the locks last as long as the files are open")]
pub struct RunLock {
    /// Who has it measures.
    lock: File,
    /// Says so to whoever asks; absent where the file can't be had.
    told: Option<File>,
}

/// How long the one that measures waits for those that ask whether it does: they need microseconds.
const ASKING_WAIT: Duration = Duration::from_secs(1);

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
            Ok(()) => Ok(RunLock { lock: file, told: self.tell_measuring().ok() }),
            Err(fs::TryLockError::WouldBlock) => Err(SaveError::Busy),
            Err(fs::TryLockError::Error(source)) => Err(error(source)),
        }
    }

    /// Writes down that something is measured from now on. This is a lock of its own: asking for it never keeps a run from
    /// starting.
    fn tell_measuring(&self) -> io::Result<File> {
        let path = self.measuring_path();
        let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        let start = Instant::now();
        while let Err(error) = file.try_lock() {
            match error {
                fs::TryLockError::Error(error) => return Err(error),
                fs::TryLockError::WouldBlock if start.elapsed() >= ASKING_WAIT => {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                fs::TryLockError::WouldBlock => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        file.set_len(0)?;
        (&file).write_all(Timestamp::now().to_string().as_bytes())?;
        Ok(file)
    }

    /// Since when a copy of the program measures, this one or another; `None` if none does. Where it can't be read since when,
    /// since ever.
    pub(super) fn measuring_since(&self) -> Option<Timestamp> {
        let path = self.measuring_path();
        let file = File::open(&path).ok()?;
        // Shared, so that those who ask are not taken for one that measures.
        if !matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)) {
            return None;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        Some(text.parse().unwrap_or(Timestamp::MIN))
    }

    fn measuring_path(&self) -> PathBuf {
        self.folder.with_file_name("measuring.since")
    }

    /// Writes the run to its file in the store.
    pub fn save(&self, run: &Run) -> Result<PathBuf, SaveError> {
        let path = self.path_of(&run.id);
        write_whole(&path, run).map_err(|source| SaveError::Io { path: path.clone(), source })?;
        Ok(path)
    }

    /// Reads one run file, in the store or not, with what was written about it beside it. What was written and can't be read is
    /// no reason not to read the run.
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
        let mut run = Self::parse(&text, path)?;
        let own = run.about.take().and_then(About::cleaned);
        run.about = About::beside(path).ok().flatten().or(own).filter(|about| !about.is_empty());
        Ok(run)
    }

    /// Reads the text of a run file; errors name it `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Run, LoadError> {
        let malformed = |reason: String| LoadError::Malformed { path: path.to_owned(), reason };
        // The version is read on its own first: a newer format may differ in anything else.
        #[derive(Deserialize)]
        struct Version {
            format_version: u64,
        }
        let unsaid = |error: serde_json::Error| match error.classify() {
            Category::Data => "it has no number named format_version".to_owned(),
            _ => error.to_string(),
        };
        let version: Version = serde_json::from_str(text).map_err(|error| malformed(unsaid(error)))?;
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
    write_bytes(path, &text)
}

/// Writes a file of the store whole or not at all.
pub(super) fn write_bytes(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = temporary_in(path.parent().unwrap_or(Path::new(".")))?;
    file.as_file().write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A temporary file, whose errors don't tell its name: the sentence around them names the file that matters.
pub(super) fn temporary_in(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".saving-").suffix(".tmp").tempfile_in(folder).map_err(|error| io::Error::from(error.kind()))
}
