//! What engines outside this program are found in: the environment as the person has it, and Roofline's own folder. Read at
//! the program's edge and handed in, so that tests can have their own.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use super::supervise::Environment;

/// Where engines are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Every variable of the environment.
    pub environment: Environment,
    /// Roofline's data folder; without one nothing is kept.
    pub data: Option<PathBuf>,
}

impl Surroundings {
    /// A variable's value, if it is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        let found = self.environment.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
    }

    /// The environment without the variables whose names begin with one of these: they would change what is measured, or
    /// which files are found.
    pub fn without(&self, prefixes: &[&str]) -> Environment {
        let kept = |name: &OsString| !prefixes.iter().any(|prefix| name.to_string_lossy().starts_with(prefix));
        self.environment.iter().filter(|(name, _)| kept(name)).cloned().collect()
    }

    /// The folders of PATH in their order, and Homebrew's, which programs started from the desktop don't have there.
    pub fn program_folders(&self) -> Vec<PathBuf> {
        const HOMEBREW: [&str; 2] = ["/opt/homebrew/bin", "/usr/local/bin"];
        let path =
            self.variable("PATH").map(|path| std::env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
        let mut folders: Vec<PathBuf> = path.into_iter().filter(|folder| folder.is_absolute()).collect();
        let brewed = HOMEBREW.iter().map(PathBuf::from).filter(|folder| cfg!(target_os = "macos") && folder.is_dir());
        for folder in brewed {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders
    }

    /// A program by its name in those folders.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        self.program_folders().into_iter().map(|folder| folder.join(name)).find(|file| is_executable(file))
    }

    /// Roofline's folder of engines.
    pub fn engines(&self) -> Option<PathBuf> {
        self.data.as_ref().map(|data| data.join("engines"))
    }
}

/// Whether it is a file that may be executed.
pub fn is_executable(file: &Path) -> bool {
    let Ok(found) = std::fs::metadata(file) else { return false };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        found.is_file() && found.permissions().mode() & 0o111 != 0
    }
    #[cfg(not(unix))]
    found.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_and_taken_away_by_prefix() {
        let set = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        let here = Surroundings {
            environment: vec![set("PATH", "/usr/bin:relative:/bin"), set("GGML_X", "1"), set("EMPTY", "")],
            data: None,
        };
        assert_eq!(here.variable("EMPTY"), None);
        assert_eq!(here.without(&["GGML_", "EM"]).len(), 1);
        assert_eq!(here.program_folders()[..2], [PathBuf::from("/usr/bin"), PathBuf::from("/bin")]);
        if cfg!(unix) {
            assert!(here.program("sh").is_some());
        }
        assert_eq!(here.program("no such program"), None);
    }
}
