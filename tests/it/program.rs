//! Programs for tests: scripts that are started at once.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

/// Writes a script that can be started. A program that this process has open for writing can't be, and a thread that starts
/// another at this moment may hold it open: so it is written by one that has ended.
pub(crate) fn write_program(file: &Path, text: &str) {
    let draft = file.with_extension("draft");
    fs::write(&draft, text).unwrap();
    assert!(Command::new("cp").args([draft.as_path(), file]).status().unwrap().success());
    fs::remove_file(&draft).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}
