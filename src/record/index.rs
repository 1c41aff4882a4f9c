//! The index of the store: what lists show of each run, so that ten thousand of them are listed without reading their files.
//!
//! It is derived data and never trusted over the files: each line of it holds for the file of exactly that size, time and
//! inode. One that is damaged or of another version is thrown away and made anew.

use std::{
    fmt::Write as _,
    fs::{self, Metadata},
    io::{self, Write as _},
    path::Path,
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{RunHeader, store::temporary_in};

/// Rises with whatever is derived from a run differently, or written differently here.
const VERSION: u32 = 3;

/// An index larger than this is none: ten thousand runs take under 20 MB.
const INDEX_BYTES_MAX: u64 = 512 << 20;

/// What tells whether a file is still the one that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    bytes: u64,
    modified_ns: i64,
    /// When the inode was changed, and which it is: a file that is written over within one tick of the clock has another. Zero
    /// where the system has none.
    changed_ns: i64,
    inode: u64,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified_ns = since.map_or(0, |since| since.as_nanos() as i64);
        #[cfg(unix)]
        let (changed_ns, inode) = {
            use std::os::unix::fs::MetadataExt as _;
            (metadata.ctime().wrapping_mul(1_000_000_000).wrapping_add(metadata.ctime_nsec()), metadata.ino())
        };
        #[cfg(not(unix))]
        let (changed_ns, inode) = (0, 0);
        Self { bytes: metadata.len(), modified_ns, changed_ns, inode }
    }
}

/// What the index knows of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Known {
    /// The file's name in the store.
    pub(super) file: String,
    /// The file that this holds for.
    pub(super) stamp: Stamp,
    /// The file of what was written about it, where there is one.
    pub(super) about: Option<Stamp>,
    /// What a list shows, or why it can't be read.
    pub(super) shown: Result<RunHeader, String>,
}

/// All that the index knows; nothing where it is missing, damaged, or of another version.
pub(super) fn read(path: &Path) -> Vec<Known> {
    let body = read_checked(path, "headers");
    body.and_then(|body| serde_json::from_str(&body).ok()).unwrap_or_default()
}

/// Writes the index. It may fail: the next listing takes longer then.
pub(super) fn write(path: &Path, known: &[&Known]) -> io::Result<()> {
    write_checked(path, "headers", &serde_json::to_string(known)?)
}

/// The first line of an index: what it holds, by which program, and the sum of all that follows.
fn head(what: &str, body: &str) -> String {
    let mut head = format!("roofline-index {what} {VERSION} {} ", env!("CARGO_PKG_VERSION"));
    for byte in Sha256::digest(body.as_bytes()) {
        write!(head, "{byte:02x}").ok();
    }
    head
}

/// What follows the first line of an index that is whole.
pub(super) fn read_checked(path: &Path, what: &str) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > INDEX_BYTES_MAX {
        return None;
    }
    let mut text = fs::read_to_string(path).ok()?;
    let first = text.find('\n')?;
    let is_whole = head(what, text.get(first + 1..)?) == text.get(..first)?;
    text.drain(..=first);
    is_whole.then_some(text)
}

/// Writes an index through a temporary file: two programs that write it at once leave the one's or the other's, whole.
pub(super) fn write_checked(path: &Path, what: &str, body: &str) -> io::Result<()> {
    let file = temporary_in(path.parent().unwrap_or(Path::new(".")))?;
    let mut out = io::BufWriter::new(file.as_file());
    writeln!(out, "{}", head(what, body))?;
    out.write_all(body.as_bytes())?;
    out.flush()?;
    drop(out);
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_or_foreign_index_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.index");
        assert_eq!(read_checked(&path, "headers"), None);
        write_checked(&path, "headers", "[1,2,3]").unwrap();
        assert_eq!(read_checked(&path, "headers").as_deref(), Some("[1,2,3]"));
        assert_eq!(read_checked(&path, "figures"), None);
        let whole = fs::read_to_string(&path).unwrap();
        for damaged in [whole.replace("2,3", "2,4"), whole[..whole.len() - 2].to_owned(), String::new()] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(read_checked(&path, "headers"), None);
        }
        fs::write(&path, [0xff; 64]).unwrap();
        assert_eq!(read_checked(&path, "headers"), None);
    }
}
