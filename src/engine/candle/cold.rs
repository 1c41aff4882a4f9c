//! Files out of the system's cache, so that reading them is reading the disk.

use std::path::PathBuf;

/// Drops the files from the system's cache and makes sure that they are gone; else why reading them can't be cold.
#[cfg(target_os = "linux")]
pub(super) fn drop_cached(files: &[PathBuf]) -> Result<(), String> {
    use rustix::fs::{Advice, fadvise};
    for path in files {
        let failed = |error: std::io::Error| format!("cold reading is not measured: {error}: {}", path.display());
        let file = std::fs::File::open(path).map_err(failed)?;
        // Pages that were never written to the disk can't be dropped.
        file.sync_all().ok();
        fadvise(&file, 0, None, Advice::DontNeed).map_err(|error| failed(error.into()))?;
        if still_cached(&file, path)? {
            return Err("cold reading is not measured: the system kept the files in its cache".to_owned());
        }
    }
    Ok(())
}

/// Whether a tenth of the places looked at can be read without the disk.
#[cfg(target_os = "linux")]
fn still_cached(file: &std::fs::File, path: &std::path::Path) -> Result<bool, String> {
    use std::io::IoSliceMut;

    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    const PLACES: u64 = 64;
    let length = file.metadata().map_or(0, |about| about.len());
    let mut cached = 0;
    for place in 0..PLACES {
        let mut byte = [0];
        match preadv2(file, &mut [IoSliceMut::new(&mut byte)], length / PLACES * place, ReadWriteFlags::NOWAIT) {
            Ok(_) => cached += 1,
            Err(Errno::AGAIN) => {}
            Err(error) => {
                let what = "cold reading is not measured: the file system doesn't say what it has cached";
                return Err(format!("{what} ({error}): {}", path.display()));
            }
        }
    }
    Ok(cached * 10 > PLACES)
}

/// Other systems have no way to do it.
#[cfg(not(target_os = "linux"))]
pub(super) fn drop_cached(_files: &[PathBuf]) -> Result<(), String> {
    Err("cold reading is not measured: this system has no way to drop files from its cache".to_owned())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn files_are_dropped_or_it_is_said_that_they_are_not() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, &vec![7; 1 << 20]).unwrap();
        let path = file.path().to_owned();
        if let Err(why) = drop_cached(std::slice::from_ref(&path)) {
            assert!(why.starts_with("cold reading is not measured"), "{why}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), vec![7; 1 << 20]);
        let missing = drop_cached(&[path.join("missing")]).unwrap_err();
        assert!(missing.contains("missing"), "{missing}");
    }
}
