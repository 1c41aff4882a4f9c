//! A run by the name that a person gives it: the bundled reference, an id or the beginning of one, or a file.

use std::path::{Path, PathBuf};

use super::{Listed, LoadError, Run, RunHeader, Store};

/// The name of the reference that is part of the program.
pub const REFERENCE: &str = "apple-m5";

/// What names the run that is pinned as the baseline.
pub const BASELINE: &str = "baseline";

/// The figures published for an Apple M5, that Roofline began with.
const APPLE_M5: &str = include_str!("../../assets/reference/apple-m5.json");

/// Why a name is no run.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// The file or the saved run can't be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Several saved runs begin so.
    #[error("{count} saved runs begin with \"{name}\", among them {first} and {second}; write more of the id")]
    Ambiguous {
        /// What was given.
        name: String,
        /// How many there are.
        count: usize,
        /// The newest of them.
        first: String,
        /// The one before it.
        second: String,
    },
    /// Several saved runs were given this name.
    #[error("{count} saved runs are called \"{name}\", among them {first} and {second}; give the id of one")]
    Shared {
        /// What was given.
        name: String,
        /// How many there are.
        count: usize,
        /// The id of the newest of them.
        first: String,
        /// That of the one before it.
        second: String,
    },
    /// The reference is part of the program.
    #[error("{REFERENCE} comes along with Roofline, and can't be changed or deleted; name a saved run")]
    Bundled,
    /// No run is pinned.
    #[error("no saved run is pinned as the {BASELINE}; pin one with `roofline runs pin RUN`")]
    Unpinned,
    /// There is nothing of this name.
    #[error(
        "no run is called \"{name}\"; give {REFERENCE}, {BASELINE}, the id of a saved run or its beginning, its name, or a \
         run file; saved runs are kept in {}",
        folder.display()
    )]
    Unknown {
        /// What was given.
        name: String,
        /// Where saved runs are.
        folder: PathBuf,
    },
}

/// The bundled reference.
pub fn reference() -> Result<Run, LoadError> {
    let malformed =
        |error: serde_json::Error| LoadError::Malformed { path: REFERENCE.into(), reason: error.to_string() };
    serde_json::from_str(APPLE_M5).map_err(malformed)
}

/// The run of this name: [`REFERENCE`], [`BASELINE`], the id of a saved run or a beginning that only one has, the name that a
/// person gave it, or the path of a file.
///
/// What looks like a path is one; ids are never paths. A file of the folder that one is in comes after saved runs.
pub fn named(store: &Store, name: &str) -> Result<Run, NameError> {
    if name == REFERENCE {
        return Ok(reference()?);
    }
    if looks_like_a_path(name) && Path::new(name).symlink_metadata().is_ok() {
        return load(store, name);
    }
    match saved(store, name) {
        Ok(path) => Ok(Store::load(&path)?),
        Err(NameError::Unknown { .. }) => load(store, name),
        Err(error) => Err(error),
    }
}

/// A name by which the run that `name` names now is found later too, whatever is pinned, named or saved by then: the
/// reference's, the whole id of a saved run, or the path of a file.
pub fn lasting_name(store: &Store, name: &str) -> String {
    if name == REFERENCE || (looks_like_a_path(name) && Path::new(name).symlink_metadata().is_ok()) {
        return name.to_owned();
    }
    let Ok(path) = saved(store, name) else { return name.to_owned() };
    // An id that a command line takes for something else is named by its file.
    let is_one = |id: &&str| {
        let is_word = *id != BASELINE && !id.starts_with('-');
        is_word && saved(store, id).is_ok_and(|found| found == path)
    };
    let id = path.file_stem().and_then(std::ffi::OsStr::to_str).filter(is_one);
    id.map_or_else(|| path.to_string_lossy().into_owned(), str::to_owned)
}

/// The file of the saved run of this name: [`BASELINE`], an id or a beginning that only one has, or the name that a person gave
/// it.
pub fn saved(store: &Store, name: &str) -> Result<PathBuf, NameError> {
    if name == REFERENCE {
        return Err(NameError::Bundled);
    }
    if name == BASELINE {
        return store.baseline().ok_or(NameError::Unpinned);
    }
    let ids = if name.is_empty() || looks_like_a_path(name) { Vec::new() } else { ids(store, name) };
    match ids.as_slice() {
        [] => called(store, name),
        [one] => Ok(store.path_of(one)),
        _ if ids.iter().any(|id| id == name) => Ok(store.path_of(name)),
        [.., second, first] => {
            let (first, second) = (first.clone(), second.clone());
            Err(NameError::Ambiguous { name: name.to_owned(), count: ids.len(), first, second })
        }
    }
}

fn looks_like_a_path(name: &str) -> bool {
    name.contains(['/', '\\']) || Path::new(name).extension().is_some_and(|extension| extension == "json")
}

/// The saved run that a person gave this name.
fn called(store: &Store, name: &str) -> Result<PathBuf, NameError> {
    let unknown = || NameError::Unknown { name: name.to_owned(), folder: store.folder().to_owned() };
    if name.is_empty() {
        return Err(unknown());
    }
    let listed = store.list();
    let headers = listed.iter().filter_map(Listed::header);
    let found: Vec<&RunHeader> = headers.filter(|header| header.about.name.as_deref() == Some(name)).collect();
    match found.as_slice() {
        [] => Err(unknown()),
        [one] => Ok(one.path.clone()),
        [first, second, ..] => {
            let (first, second) = (first.file_id(), second.file_id());
            Err(NameError::Shared { name: name.to_owned(), count: found.len(), first, second })
        }
    }
}

fn load(store: &Store, name: &str) -> Result<Run, NameError> {
    let path = Path::new(name);
    if !name.is_empty() && path.symlink_metadata().is_ok() {
        return Ok(super::open(path)?);
    }
    Err(NameError::Unknown { name: name.to_owned(), folder: store.folder().to_owned() })
}

/// Why the saved run in `path` can't be called so: the words would name something else, and never find it.
pub(super) fn taken(store: &Store, path: &Path, name: &str) -> Option<String> {
    if name == REFERENCE {
        return Some(format!("\"{name}\" names the reference that comes along with Roofline; choose another name"));
    }
    if name == BASELINE {
        return Some(format!("\"{name}\" names the run that is pinned as the baseline; choose another name"));
    }
    let other = |id: &String| !name.is_empty() && store.path_of(id) != path;
    let other = ids(store, name).into_iter().find(other)?;
    Some(format!("the id of another saved run, {other}, begins with \"{name}\", which names that; choose another name"))
}

/// Ids of saved runs that begin so, oldest first. Names of files tell them: nothing is read.
fn ids(store: &Store, start: &str) -> Vec<String> {
    let files = std::fs::read_dir(store.folder()).into_iter().flatten().filter_map(Result::ok);
    let id = |file: std::fs::DirEntry| Some(file.file_name().to_str()?.strip_suffix(".json")?.to_owned());
    let mut ids: Vec<String> = files.filter_map(id).filter(|id| id.starts_with(start)).collect();
    ids.sort();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(store: &Store, name: &str) -> String {
        named(store, name).unwrap_err().to_string()
    }

    #[test]
    fn a_run_is_found_by_name_id_beginning_and_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let mut run = reference().unwrap();
        for id in ["20260101T000000Z-aaaa", "20260101T000000Z-ab", "20260101T000000Z-a"] {
            run.id = id.to_owned();
            store.save(&run).unwrap();
        }
        assert_eq!(named(&store, REFERENCE).unwrap(), reference().unwrap());
        assert_eq!(named(&store, "20260101T000000Z-aa").unwrap().id, "20260101T000000Z-aaaa");
        assert_eq!(named(&store, "20260101T000000Z-a").unwrap().id, "20260101T000000Z-a", "a whole id wins");
        assert_eq!(lasting_name(&store, "20260101T000000Z-aa"), "20260101T000000Z-aaaa");
        assert_eq!(lasting_name(&store, REFERENCE), REFERENCE);
        assert_eq!(lasting_name(&store, "nothing"), "nothing");
        let file = store.path_of("20260101T000000Z-ab");
        assert_eq!(lasting_name(&store, file.to_str().unwrap()), file.to_str().unwrap());
        std::fs::copy(&file, store.path_of("-rf")).unwrap();
        assert!(Path::new(&lasting_name(&store, "-rf")).is_file(), "an id that looks like a flag");
        std::fs::remove_file(store.path_of("-rf")).unwrap();
        assert_eq!(named(&store, file.to_str().unwrap()).unwrap().id, "20260101T000000Z-ab");
        assert!(error(&store, "2026").contains("3 saved runs begin with \"2026\""), "{}", error(&store, "2026"));
        assert!(error(&store, "").contains("no run is called"));
        assert!(error(&store, "x.json").contains("no run is called"));
        assert!(error(&store, "../runs").contains("no run is called"));
        assert!(error(&store, folder.path().to_str().unwrap()).contains("it is a folder"));
    }

    #[test]
    fn a_file_of_json_that_is_no_run_is_said_to_be_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.json");
        std::fs::write(&file, "{}").unwrap();
        assert!(error(&Store::at(folder.path()), file.to_str().unwrap()).contains("not a whole run file"));
    }
}
