//! The store keeps what it is given and survives what it finds.

use std::fs::{self, File};

use roofline::record::{Listed, LoadError, SaveError, Store};

use crate::sample;

/// A store in a folder of its own, with that folder made.
fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    fs::create_dir_all(store.folder()).unwrap();
    (folder, store)
}

/// The error of loading a file with these contents, and the sentence it says.
fn loading(contents: &[u8]) -> (LoadError, String) {
    let (_folder, store) = store();
    let path = store.path_of("odd");
    fs::write(&path, contents).unwrap();
    let error = Store::load(&path).unwrap_err();
    let sentence = error.to_string();
    assert!(sentence.ends_with(&path.display().to_string()), "the path comes last: {sentence}");
    assert_eq!(fs::read(&path).unwrap(), contents, "the file is left alone");
    (error, sentence)
}

/// The names of the files in the store.
fn names(store: &Store) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(store.folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_run_is_saved_loaded_and_replaced() {
    let (_folder, store) = store();
    let mut run = sample::run("first", 0);
    let path = store.save(&run).unwrap();
    assert_eq!(path, store.path_of("first"));
    assert_eq!(Store::load(&path).unwrap(), run);
    run.entries.truncate(1);
    store.save(&run).unwrap();
    assert_eq!(Store::load(&path).unwrap(), run);
    assert_eq!(names(&store), ["first.json"], "no temporary file is left");
}

#[test]
fn every_sample_is_read_as_it_was_measured_to_the_last_bit() {
    let (_folder, store) = store();
    let mut run = sample::run("exact", 0);
    let samples = &mut run.entries[0].measurements[0].samples;
    // Among these are some that a parser which is content with nearly all digits reads one bit off.
    let value = |index: u32| (f64::from(index) * 1.1e12 + 0.1).sqrt() * f64::from(index).exp2();
    for (index, sample) in (1..).zip(samples.iter_mut()) {
        (sample.value, sample.host_s) = (value(index), value(index) / 3e9);
    }
    let more = samples[0];
    samples.extend((100..600).map(|index| roofline::measure::Sample { value: value(index), ..more }));
    let path = store.save(&run).unwrap();
    let read = Store::load(&path).unwrap();
    let pairs = run.entries[0].measurements[0].samples.iter().zip(&read.entries[0].measurements[0].samples);
    assert!(pairs.clone().count() > 500);
    for (saved, read) in pairs {
        assert_eq!([saved.value, saved.host_s].map(f64::to_bits), [read.value, read.host_s].map(f64::to_bits));
    }
}

#[test]
fn runs_are_listed_newest_first_and_unreadable_files_last() {
    let (_folder, store) = store();
    for (id, second) in [("old", 0), ("new", 20), ("middle", 10)] {
        store.save(&sample::run(id, second)).unwrap();
    }
    fs::write(store.path_of("broken"), "{").unwrap();
    fs::create_dir(store.path_of("folder")).unwrap();
    fs::write(store.folder().join("notes.txt"), "not a run").unwrap();
    let listed = store.list();
    let ids: Vec<String> = listed
        .iter()
        .map(|item| match item {
            Listed::Run(header) => header.id.clone(),
            Listed::Unreadable { path, .. } => path.file_name().unwrap().to_string_lossy().into_owned(),
        })
        .collect();
    assert_eq!(ids, ["new", "middle", "old", "broken.json", "folder.json"]);
}

#[test]
fn a_header_tells_the_best_plausible_figures() {
    let (_folder, store) = store();
    store.save(&sample::run("one", 0)).unwrap();
    let listed = store.list();
    let [Listed::Run(header)] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((header.done, header.suite.as_str(), header.device.as_str()), ((2, 11), "custom", "Apple M5"));
    assert_eq!(header.duration_s, Some(41.5));
    assert_eq!(header.best_flops, Some(3.56e12));
    assert_eq!(header.best_bandwidth, None, "an implausible figure is no best");
}

#[test]
fn a_store_without_a_folder_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Store::at(&folder.path().join("nowhere")).list(), []);
    assert!(matches!(Store::load(&folder.path().join("nothing.json")), Err(LoadError::Io { .. })));
}

#[test]
fn files_that_are_no_whole_run_are_malformed() {
    let whole = serde_json::to_vec(&sample::run("whole", 0)).unwrap();
    let cut = &whole[..whole.len() / 2];
    for contents in [b"".as_slice(), cut, b"a line of text", b"[]", b"{}", b"{\"format_version\":1}", b"\xff\xfe\x00"] {
        let (error, sentence) = loading(contents);
        assert!(matches!(error, LoadError::Malformed { .. } | LoadError::Io { .. }), "{sentence}");
    }
    let (_, sentence) = loading(b"");
    assert!(sentence.contains("it is empty"), "{sentence}");
}

#[test]
fn a_newer_format_says_so_whatever_else_is_in_it() {
    let (error, sentence) = loading(b"{\"format_version\": 99, \"runs\": []}");
    assert!(matches!(error, LoadError::Future { found: 99, .. }));
    assert!(sentence.contains("update Roofline"), "{sentence}");
}

#[test]
fn a_huge_file_is_not_read() {
    let (_folder, store) = store();
    let path = store.path_of("huge");
    File::create(&path).unwrap().set_len((64 << 20) + 1).unwrap();
    assert!(matches!(Store::load(&path), Err(LoadError::TooLarge { bytes: 67_108_865, .. })));
    assert!(matches!(store.list().as_slice(), [Listed::Unreadable { .. }]));
}

#[test]
fn a_folder_named_like_a_run_is_malformed() {
    let (_folder, store) = store();
    fs::create_dir(store.path_of("x")).unwrap();
    let sentence = Store::load(&store.path_of("x")).unwrap_err().to_string();
    assert!(sentence.contains("it is a folder"), "{sentence}");
}

#[cfg(unix)]
#[test]
fn a_pipe_named_like_a_run_is_not_waited_for() {
    let (_folder, store) = store();
    let path = store.path_of("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(matches!(store.list().as_slice(), [Listed::Unreadable { reason, .. }] if reason.contains("a pipe")));
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let store = Store::at(&file.join("below"));
    assert!(matches!(store.check_writable(), Err(SaveError::Io { .. })));
    assert!(matches!(store.save(&sample::run("a", 0)), Err(SaveError::Io { .. })));
    assert!(matches!(store.lock(), Err(SaveError::Io { .. })));
    assert_eq!(fs::read_to_string(&file).unwrap(), "in the way");
}

#[test]
fn a_writable_folder_is_proven_without_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(&folder.path().join("new/data"));
    store.check_writable().unwrap();
    assert_eq!(names(&store), Vec::<String>::new());
}

#[test]
fn only_one_measures_at_a_time() {
    let (_folder, store) = store();
    let held = store.lock().unwrap();
    assert!(matches!(store.lock(), Err(SaveError::Busy)));
    drop(held);
    store.lock().unwrap();
    assert_eq!(store.list(), [], "the lock is not listed as a run");
}

/// Needs a small file system of its own, which only root can mount.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_keeps_the_file_that_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::at(folder.path()) else {
        eprintln!("SKIPPED: no file system could be mounted here, so a full disk was not tried");
        return;
    };
    let store = Store::at(folder.path());
    let mut run = sample::run("kept", 0);
    let path = store.save(&run).unwrap();
    let before = fs::read(&path).unwrap();
    let filling = folder.path().join("filling");
    while fs::OpenOptions::new().create(true).append(true).open(&filling).is_ok_and(|file| grows(&file)) {}
    run.entries.iter_mut().for_each(|entry| entry.notes = vec!["long ".repeat(100_000)]);
    let sentence = store.save(&run).unwrap_err().to_string();
    assert!(sentence.contains("free some space"), "{sentence}");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(names(&store), ["kept.json"], "no temporary file is left");
    // Lists work without an index, and what can't be written about a run is said.
    assert_eq!(store.list().len(), 1);
    assert!(!fs::exists(folder.path().join("runs.index")).unwrap());
    let refused = store.edit(&path, &[roofline::record::Edit::Note("long ".repeat(700))]).unwrap_err().to_string();
    assert!(refused.contains("free space"), "{refused}");
    assert!(!names(&store).iter().any(|name| name.contains(".about") || name.contains(".tmp")));
}

#[cfg(target_os = "linux")]
fn grows(mut file: &File) -> bool {
    std::io::Write::write_all(&mut file, &[1; 4096]).is_ok()
}

/// A 1 MiB file system in memory, taken away at the end.
#[cfg(target_os = "linux")]
struct Mounted(std::path::PathBuf);

#[cfg(target_os = "linux")]
impl Mounted {
    fn at(folder: &std::path::Path) -> Option<Self> {
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(folder.to_owned()))
    }
}

#[cfg(target_os = "linux")]
impl Drop for Mounted {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg("--lazy").arg(&self.0).status().ok();
    }
}
