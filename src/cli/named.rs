//! Runs by the names that a command line gives them, and what a later command line calls the same runs.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use super::output::Error;
use crate::{
    export::{plain, shell_word},
    record::{self, REFERENCE, Run, Store},
};

/// Where saved runs are.
pub(super) struct Saved<'a> {
    store: Store,
    flag: Option<&'a Path>,
}

/// A run that was found.
pub(super) struct Named {
    pub(super) run: Run,
    /// What finds it again: the reference's name, a whole id or a path; empty where nobody can type it.
    pub(super) name: String,
    /// The flags that are needed for that.
    pub(super) options: Vec<String>,
}

impl Named {
    /// The words for a shell: "20260101T000000Z-a --data-dir elsewhere"; empty where nobody can type them.
    pub(super) fn words(&self) -> String {
        let name = shell_word(&self.name);
        name.map_or_else(String::new, |name| [&[name], self.options.as_slice()].concat().join(" "))
    }
}

impl<'a> Saved<'a> {
    /// `flag` is the folder where the command line named it.
    pub(super) fn new(data_dir: &Path, flag: Option<&'a Path>) -> Self {
        Self { store: Store::at(data_dir), flag }
    }

    /// The run of this name.
    pub(super) fn find(&self, name: &OsStr) -> Result<Named, Error> {
        let Some(text) = name.to_str() else {
            // A path whose letters are no text; no saved run is called so.
            let run = record::open(Path::new(name)).map_err(|error| Error::failure(plain(&error.to_string())))?;
            return Ok(Named { run, name: String::new(), options: Vec::new() });
        };
        let run = record::named(&self.store, text).map_err(|error| Error::of_name(&error))?;
        let name = record::lasting_name(&self.store, text);
        let is_file = name == REFERENCE || Path::new(&name).symlink_metadata().is_ok();
        let options = if is_file { Vec::new() } else { self.options() };
        Ok(Named { run, name, options })
    }

    /// All of these names.
    pub(super) fn find_all(&self, names: &[OsString]) -> Result<Vec<Named>, Error> {
        names.iter().map(|name| self.find(name)).collect()
    }

    /// The data folder as a flag, if it was one.
    fn options(&self) -> Vec<String> {
        let folder = self.flag.and_then(Path::to_str).and_then(shell_word);
        folder.map(|folder| format!("--data-dir {folder}")).into_iter().collect()
    }
}
