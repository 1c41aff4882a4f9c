//! The folders of installations, and the lock that keeps two of one engine apart.

use std::{
    collections::HashSet,
    fs::{self, File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use super::{InstallError, InstallPlan};
use crate::engine::{
    EngineId, Surroundings,
    find::{
        Located,
        installed::{self, Installed},
    },
};

/// Where one installation is made. As long as it lives, no other program installs or removes this engine.
#[derive(Debug)]
pub(super) struct Site {
    /// The engine's folder.
    pub(super) folder: PathBuf,
    /// What is made: a folder in it that no other installation ever had.
    pub(super) root: PathBuf,
    /// Downloads and what they are unpacked to; kept when something fails.
    pub(super) downloads: PathBuf,
    _lock: Lock,
}

impl Site {
    /// Takes the lock, clears away what was cut off before, makes sure of room on the disk, and makes the folders.
    pub(super) fn open(plan: &InstallPlan) -> Result<Self, InstallError> {
        let lock = Lock::take(plan.engine, &plan.surroundings)?;
        let site = Self {
            folder: plan.folder.clone(),
            root: plan.folder.join(&plan.slot),
            downloads: downloads(plan.engine, &plan.surroundings).unwrap_or_default(),
            _lock: lock,
        };
        site.clear_leftovers(plan);
        site.require_space(plan)?;
        for folder in [&site.folder, &site.temporary()] {
            fs::create_dir_all(folder).map_err(InstallError::io("make a folder for the installation", folder))?;
        }
        Ok(site)
    }

    /// Where installers put what they need for a moment. On the disk whose room was checked, which the system's may not be.
    pub(super) fn temporary(&self) -> PathBuf {
        self.downloads.join("tmp")
    }

    /// Everything in the engine's folder but the installation in use.
    fn clear_leftovers(&self, plan: &InstallPlan) {
        let current = Installed::read(plan.engine, &plan.surroundings).map(|installed| installed.folder);
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let kept = name == "installed.json" || current.as_deref().is_some_and(|current| name == current);
            if !kept {
                delete(&entry.path()).ok();
            }
        }
        delete(&self.temporary()).ok();
    }

    fn require_space(&self, plan: &InstallPlan) -> Result<(), InstallError> {
        const SPARE: u64 = 64 << 20;
        let kept = bytes_on_disk(&[&self.downloads]).min(plan.peak_bytes);
        let needs = plan.peak_bytes - kept + SPARE;
        match (plan.free_bytes)(&self.folder).filter(|free| *free < needs) {
            Some(free) => Err(InstallError::Space { needs, free, path: self.folder.clone() }),
            None => Ok(()),
        }
    }

    /// Makes what was made the engine's installation, and deletes what it no longer needs.
    pub(super) fn finish(&self, plan: &InstallPlan, located: &Located) -> Result<(), InstallError> {
        let made = Installed {
            folder: plan.slot.clone(),
            recipe: plan.fingerprint(),
            variant: plan.variant.clone(),
            bytes: bytes_on_disk(&[&self.root]),
            versions: located.versions.clone(),
        };
        let written = made.write(plan.engine, &plan.surroundings);
        if let Err(error) = written {
            self.abandon();
            return Err(InstallError::io("note the installation", &self.folder)(error));
        }
        delete(&self.downloads).ok();
        self.remove_empty();
        self.clear_leftovers(plan);
        Ok(())
    }

    /// Deletes what was made so far; downloads are kept. The engine's folder goes if nothing else is in it.
    pub(super) fn abandon(&self) {
        delete(&self.root).ok();
        delete(&self.temporary()).ok();
        self.remove_empty();
    }

    /// Folders that hold nothing go.
    fn remove_empty(&self) {
        for folder in [Some(self.folder.as_path()), Some(self.downloads.as_path()), self.downloads.parent()] {
            folder.map(fs::remove_dir);
        }
    }
}

/// Where the downloads of an engine's installation are kept.
pub(super) fn downloads(engine: EngineId, surroundings: &Surroundings) -> Option<PathBuf> {
    Some(surroundings.engines()?.join("downloads").join(engine.id()))
}

/// Bytes that Roofline's own installation of an engine takes on the disk, as it was noted; `None` where there is none.
pub fn installed_bytes(engine: EngineId, surroundings: &Surroundings) -> Option<u64> {
    Installed::read(engine, surroundings).map(|installed| installed.bytes)
}

/// Whether an installation or a removal of this engine goes on, here or in another copy of the program.
pub(super) fn is_busy(engine: EngineId, surroundings: &Surroundings) -> bool {
    matches!(Lock::take(engine, surroundings), Err(InstallError::Busy { .. }))
}

/// Removes Roofline's own installation of an engine with everything that belongs to it: downloads, and what was cut off.
///
/// Returns how many bytes that were. Installations that Roofline didn't make are not touched.
pub fn remove(engine: EngineId, surroundings: &Surroundings) -> Result<u64, InstallError> {
    if engine.is_built_in() || matches!(engine, EngineId::Other(_)) {
        return Err(InstallError::Impossible(format!(
            "{engine} was not installed by Roofline and can't be removed by it"
        )));
    }
    let folders = [installed::folder_of(engine, surroundings), downloads(engine, surroundings)];
    let folders: Vec<PathBuf> = folders.into_iter().flatten().filter(|folder| folder.exists()).collect();
    if folders.is_empty() {
        return Ok(0);
    }
    let lock = Lock::take(engine, surroundings)?;
    let bytes = bytes_on_disk(&folders);
    // What says that it is whole goes first: if the rest can't be deleted, it is not found again.
    if let Some(folder) = installed::folder_of(engine, surroundings) {
        fs::remove_file(folder.join("installed.json")).ok();
    }
    for folder in &folders {
        delete(folder).map_err(InstallError::io("delete the installation", folder))?;
    }
    if let Some(all) = folders.last().and_then(|folder| folder.parent()) {
        fs::remove_dir(all).ok();
    }
    lock.delete();
    Ok(bytes)
}

/// Deletes a file, a link or a folder with all that is in it.
fn delete(path: &Path) -> std::io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => {
            // A program that is just being ended may still add a file.
            fs::remove_dir_all(path).or_else(|_| {
                std::thread::sleep(std::time::Duration::from_millis(200));
                fs::remove_dir_all(path)
            })
        }
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// What folders take on the disk; a file with two names counts once.
pub(super) fn bytes_on_disk(folders: &[impl AsRef<Path>]) -> u64 {
    let mut waiting: Vec<PathBuf> = folders.iter().map(|folder| folder.as_ref().to_owned()).collect();
    let (mut seen, mut bytes) = (HashSet::new(), 0);
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() {
                waiting.push(entry.path());
                continue;
            }
            #[cfg(unix)]
            {
                use std::os::unix::fs::MetadataExt as _;
                if about.nlink() == 1 || seen.insert((about.dev(), about.ino())) {
                    bytes += about.blocks() * 512;
                }
            }
            #[cfg(not(unix))]
            if seen.insert(entry.path()) {
                bytes += about.len();
            }
        }
    }
    bytes
}

/// Bytes that are free where a folder lies, or will lie.
#[cfg(unix)]
pub(super) fn free_bytes(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|folder| folder.exists())?;
    let about = rustix::fs::statvfs(existing).ok()?;
    about.f_bavail.checked_mul(about.f_frsize)
}

/// The same, where the system is not asked.
#[cfg(not(unix))]
pub(super) fn free_bytes(_folder: &Path) -> Option<u64> {
    None
}

/// Held while an engine is installed or removed. The system lets it go when the program ends, however it ends.
#[derive(Debug)]
struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    fn take(engine: EngineId, surroundings: &Surroundings) -> Result<Self, InstallError> {
        let Some(folder) = surroundings.engines() else {
            return Err(InstallError::Impossible("without a data folder nothing is installed; name one".to_owned()));
        };
        let path = folder.join(format!("{engine}.lock"));
        fs::create_dir_all(&folder).map_err(InstallError::io("make the folder of engines", &folder))?;
        loop {
            let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
            let mut file = file.map_err(InstallError::io("lock the installation", &path))?;
            match file.try_lock() {
                Ok(()) if !is_still(&file, &path) => {}
                Ok(()) => {
                    // For whoever finds it taken.
                    file.set_len(0).ok();
                    file.rewind().ok();
                    write!(
                        file,
                        "process {}, since {}",
                        std::process::id(),
                        jiff::Timestamp::now().strftime("%F %T UTC")
                    )
                    .ok();
                    return Ok(Self { file, path });
                }
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    file.take(100).read_to_string(&mut holder).ok();
                    return Err(InstallError::Busy { engine, holder });
                }
                Err(TryLockError::Error(error)) => {
                    return Err(InstallError::io("lock the installation", &path)(error));
                }
            }
        }
    }

    /// Deletes the lock's file too, while it is held.
    fn delete(self) {
        fs::remove_file(&self.path).ok();
    }
}

impl Drop for Lock {
    /// Closing the file would do, but for a program that another thread is just starting: it holds the file for a moment too.
    fn drop(&mut self) {
        self.file.unlock().ok();
    }
}

/// Whether a path still means an open file: one who removed an engine deleted the lock too.
#[cfg(unix)]
fn is_still(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let (Ok(open), Ok(named)) = (file.metadata(), fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

#[cfg(not(unix))]
fn is_still(_file: &File, _path: &Path) -> bool {
    true
}
