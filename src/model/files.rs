//! Files of weights, read where they lie.

use std::{fs::File, io::Write as _, path::Path};

use memmap2::{Advice, Mmap};

use super::ModelError;
use crate::units::{Quantity, Unit};

/// A file's bytes, which the system reads as they are looked at.
#[expect(unsafe_code, reason = "reading gigabytes where they lie needs a map of the file")]
pub(crate) fn map(path: &Path) -> Result<Mmap, ModelError> {
    let about = std::fs::metadata(path).map_err(|error| ModelError::io(path, "open the model", &error))?;
    if about.is_dir() {
        return Err(ModelError::file(path, "a folder stands where a file of weights should be"));
    }
    if about.len() == 0 {
        return Err(ModelError::file(path, "the file is empty; download it again"));
    }
    let file = File::open(path).map_err(|error| ModelError::io(path, "open the model", &error))?;
    // SAFETY: the map is only read. Should another program cut the file off meanwhile, the system ends this one; nothing
    // short of copying the file prevents that, and nobody edits weights in place.
    let map = unsafe { Mmap::map(&file) }.map_err(|error| ModelError::io(path, "read the model", &error))?;
    // Tensors are read from their beginning to their end. A system that can't be told reads them all the same.
    map.advise(Advice::Sequential).ok();
    Ok(map)
}

/// Lets the system begin to read a part of a map. One that can't be told reads it when it is looked at.
pub(crate) fn fetch(map: &Mmap, part: &[u8]) {
    let start = (part.as_ptr() as usize).saturating_sub(map.as_ptr() as usize);
    #[cfg(unix)]
    map.advise_range(Advice::WillNeed, start.min(map.len()), part.len()).ok();
}

/// A small text file beside the weights, of at most 64 MiB.
pub(crate) fn text(path: &Path) -> Result<String, ModelError> {
    const MOST: u64 = 64 << 20;
    let about = std::fs::metadata(path).map_err(|error| ModelError::io(path, "open the file", &error))?;
    if about.is_dir() || about.len() > MOST {
        return Err(ModelError::file(path, "this is no configuration: a folder, or far too large"));
    }
    std::fs::read_to_string(path).map_err(|error| ModelError::io(path, "read the file", &error))
}

/// Whether two paths mean the same file name, whatever the case.
pub(crate) fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

/// Makes sure that the disk of a folder, or of the one that it will lie in, has room for so many bytes and some more. `what`
/// begins the sentence.
pub(crate) fn require_space(folder: &Path, needed: u64, what: &str) -> Result<(), ModelError> {
    const SPARE: u64 = 64 << 20;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let free = super::download::free_bytes(folder).filter(|free| *free < needed.saturating_add(SPARE));
    let Some(free) = free else { return Ok(()) };
    let shown = |bytes: u64| Quantity::new(bytes as f64, Unit::Byte).to_string();
    let message = format!("{what} needs {}, and {} are free on the disk; free some space", shown(needed), shown(free));
    Err(ModelError::file(folder, message))
}

/// Writes a file that is not there yet, to the disk itself.
pub(crate) fn put(path: &Path, raw: &[u8]) -> Result<(), ModelError> {
    let written = File::create_new(path).and_then(|mut file| file.write_all(raw).and_then(|()| file.sync_all()));
    written.map_err(|error| ModelError::io(path, "write the file", &error))
}

/// The same for JSON, indented.
pub(crate) fn put_json(path: &Path, value: &serde_json::Value) -> Result<(), ModelError> {
    put(path, format!("{value:#}\n").as_bytes())
}

/// Brings what was renamed in a folder to the disk. Where that can't be done, a failing machine may lose the new name, and
/// nothing else.
pub(crate) fn settle(folder: &Path) {
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).ok();
    #[cfg(not(unix))]
    let _ = folder;
}
