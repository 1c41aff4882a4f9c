//! Writing a file that a person asked for: whole or not at all, in the place and with the rights that it had.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Writes it beside its place first, then into it, so that a full disk leaves what was there. A link stays one, and what it
/// points at is replaced; a device or a pipe is written to as it stands.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if is_special(path) {
        return fs::OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    let path = target_of(path)?;
    let file = temporary_beside(&path)?;
    file.as_file().write_all(bytes)?;
    file.as_file().sync_all()?;
    if let Ok(old) = fs::metadata(&path) {
        file.as_file().set_permissions(old.permissions())?;
    }
    file.persist(path)?;
    Ok(())
}

/// Whether a file could be written there; nothing is.
pub(crate) fn check_place(path: &Path) -> io::Result<()> {
    if is_special(path) { Ok(()) } else { temporary_beside(&target_of(path)?).map(drop) }
}

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A device or a pipe: it is written to as it stands. A file in its place would take it away from everyone.
pub(crate) fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// What a link points at is replaced, not the link, whether there is anything yet or not.
fn target_of(path: &Path) -> io::Result<PathBuf> {
    /// As systems have it; more are a circle.
    const LINKS_MAX: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            Ok(next) => path = folder_of(&path).join(next),
            Err(_not_a_link) => return Ok(path),
        }
    }
    Err(io::Error::other("the link leads to itself"))
}

/// A new file with the rights that any new file gets here. Its errors don't tell its name, which nobody chose.
fn temporary_beside(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder_of(path)).map_err(|error| io::Error::from(error.kind()))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn links_and_rights_stay() {
        let folder = tempfile::tempdir().unwrap();
        let [real, link] = ["real", "link"].map(|name| folder.path().join(name));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&real, &link).unwrap();
        write_whole(&link, b"new").unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert_eq!(real.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        write_whole(Path::new("/dev/null"), b"new").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left over");
        fs::remove_file(&real).unwrap();
        symlink("link", folder.path().join("far")).unwrap();
        write_whole(&folder.path().join("far"), b"through two links").unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink(), "a link to nothing stays one too");
        assert_eq!(fs::read_to_string(&real).unwrap(), "through two links");
        symlink("circle", folder.path().join("circle")).unwrap();
        assert!(write_whole(&folder.path().join("circle"), b"new").unwrap_err().to_string().contains("itself"));
    }
}
