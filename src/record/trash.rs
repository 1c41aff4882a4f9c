//! Deleting saved runs, and getting them back.
//!
//! What is deleted is moved into a folder of its own in `trash`, beside the runs, so that it is always one rename away on the same
//! file system. The last deletion is always kept; what was deleted before goes for good after a month, and never earlier: a
//! person was promised that, however much there is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{ChangeError, FILE_BYTES_MAX, RunState, Store, about::side_of};

/// Deleted runs are kept so long.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How the time stands in the name of a deletion's folder.
const STAMP: &str = "%Y%m%dT%H%M%S";

/// What was deleted.
#[derive(Debug, Default)]
pub struct Deleted {
    /// Where it is now; absent where nothing was.
    pub folder: Option<PathBuf>,
    /// The runs that were, by the files that they had.
    pub runs: Vec<PathBuf>,
    /// Why others weren't, one reason for each.
    pub kept: Vec<ChangeError>,
}

/// What was restored.
#[derive(Debug, Default)]
pub struct Restored {
    /// The runs that are back.
    pub runs: Vec<PathBuf>,
    /// Those that were not, since there are runs of the same name now.
    pub in_the_way: Vec<PathBuf>,
}

impl Store {
    /// Moves saved runs to the trash. One that is being made is kept.
    pub fn delete(&self, paths: &[PathBuf]) -> Result<Deleted, ChangeError> {
        let _lock = self.lock_changes()?;
        let mut deleted = Deleted::default();
        let since = self.measuring_since();
        let folder = self.new_deletion()?;
        for path in paths {
            let moved = if since.is_some_and(|since| is_going_on(path, since)) {
                Err(ChangeError::Running(path.clone()))
            } else {
                self.check_here(path).and_then(|()| move_run(path, &folder))
            };
            match moved {
                Ok(_) => deleted.runs.push(path.clone()),
                Err(error) => deleted.kept.push(error),
            }
        }
        if deleted.runs.is_empty() {
            fs::remove_dir(&folder).ok();
        } else {
            deleted.folder = Some(folder);
            self.empty_trash();
        }
        Ok(deleted)
    }

    /// Moves everything of a deletion back. A run is never put over one that is there.
    pub fn restore(&self, folder: &Path) -> Result<Restored, ChangeError> {
        let _lock = self.lock_changes()?;
        if folder.parent() != Some(self.trash().as_path()) {
            return Err(ChangeError::Gone(folder.to_owned()));
        }
        let mut restored = Restored::default();
        let mut runs: Vec<PathBuf> = runs_in(folder).collect();
        runs.sort();
        if runs.is_empty() {
            return Err(ChangeError::Gone(folder.to_owned()));
        }
        for run in runs {
            let there = run.file_name().is_some_and(|name| self.folder().join(name).symlink_metadata().is_ok());
            if there {
                restored.in_the_way.push(run);
            } else {
                restored.runs.push(move_run(&run, self.folder())?);
            }
        }
        fs::remove_dir(folder).ok();
        Ok(restored)
    }

    /// Moves one deleted run back, by its id or a beginning that only one has.
    pub fn restore_named(&self, name: &str) -> Result<PathBuf, String> {
        let _lock = self.lock_changes().map_err(|error| error.to_string())?;
        let is_named = |run: &PathBuf| run.file_stem().is_some_and(|id| id.to_string_lossy().starts_with(name));
        let deleted = self.deletions().into_iter().flat_map(|folder| runs_in(&folder).collect::<Vec<_>>());
        let mut found: Vec<PathBuf> = deleted.filter(|run| !name.is_empty() && is_named(run)).collect();
        found.sort();
        let (Some(run), count) = (found.pop(), found.len()) else {
            return Err(format!("no deleted run has an id that begins with \"{name}\"; see `roofline runs deleted`"));
        };
        if count > 0 {
            return Err(format!("{} deleted runs have ids that begin with \"{name}\"; write more of one", count + 1));
        }
        let there = run.file_name().map(|name| self.folder().join(name)).filter(|path| path.symlink_metadata().is_ok());
        if let Some(there) = there {
            return Err(format!("there is a run of this id now, which was left alone: {}", there.display()));
        }
        let back = move_run(&run, self.folder()).map_err(|error| error.to_string())?;
        run.parent().map(fs::remove_dir);
        Ok(back)
    }

    /// The deleted runs that can be had back, the last deletion first.
    pub fn deleted(&self) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for folder in self.deletions().iter().rev() {
            let mut runs: Vec<PathBuf> = runs_in(folder).collect();
            runs.sort();
            all.extend(runs);
        }
        all
    }

    /// Deletes for good what was deleted long ago, and nothing else. The last deletion stays, whatever its age.
    pub fn empty_trash(&self) {
        let now = Timestamp::now();
        for folder in self.deletions().iter().rev().skip(1) {
            if deleted_at(folder).is_some_and(|at| now.duration_since(at) > KEPT) {
                fs::remove_dir_all(folder).ok();
            }
        }
    }

    fn trash(&self) -> PathBuf {
        self.folder().join("trash")
    }

    /// The folders of all deletions, the oldest first.
    fn deletions(&self) -> Vec<PathBuf> {
        let folders = fs::read_dir(self.trash()).into_iter().flatten().filter_map(Result::ok);
        let mut folders: Vec<PathBuf> =
            folders.map(|entry| entry.path()).filter(|path| deleted_at(path).is_some()).collect();
        folders.sort();
        folders
    }

    /// An empty folder named by this moment, after all that are there.
    fn new_deletion(&self) -> Result<PathBuf, ChangeError> {
        let now = Timestamp::now();
        let name = format!("{}.{:09}Z", now.strftime(STAMP), now.subsec_nanosecond().unsigned_abs());
        let folder = self.trash().join(name);
        fs::create_dir_all(&folder).map_err(|source| ChangeError::Io { path: folder.clone(), source })?;
        Ok(folder)
    }
}

/// Whether a run is the one that has been measured since then: it says that it goes on, and was not started before. One that
/// says so and was started before belongs to a program that died.
fn is_going_on(path: &Path, since: Timestamp) -> bool {
    #[derive(Deserialize)]
    struct Beginning {
        state: RunState,
        started_at: Timestamp,
    }
    let file = fs::metadata(path).ok().filter(|metadata| metadata.is_file() && metadata.len() <= FILE_BYTES_MAX);
    let file = file.and_then(|_| fs::File::open(path).ok());
    let beginning = file.and_then(|file| serde_json::from_reader::<_, Beginning>(io::BufReader::new(file)).ok());
    beginning.is_some_and(|run| run.state == RunState::Running && run.started_at >= since)
}

/// When what is in a deletion's folder was deleted; `None` for any other folder.
fn deleted_at(folder: &Path) -> Option<Timestamp> {
    let name = folder.file_name()?.to_str()?;
    let (seconds, rest) = name.split_once('.')?;
    rest.ends_with('Z').then_some(())?;
    let civil = jiff::civil::DateTime::strptime(STAMP, seconds).ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

fn runs_in(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let files = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "json"))
}

/// Moves a run, and what was written about it, into a folder where there is none of its name.
fn move_run(run: &Path, folder: &Path) -> Result<PathBuf, ChangeError> {
    let name = run.file_name().ok_or_else(|| ChangeError::Gone(run.to_owned()))?;
    let to = folder.join(name);
    fs::rename(run, &to).map_err(|source| ChangeError::Io { path: run.to_owned(), source })?;
    match fs::rename(side_of(run), side_of(&to)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            // Both or neither.
            fs::rename(&to, run).ok();
            Err(ChangeError::Io { path: side_of(run), source: error })
        }
        _ => Ok(to),
    }
}
