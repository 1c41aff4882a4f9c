//! Ten thousand runs: the index, what a person writes about runs, the trash, trends, and what goes wrong with them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use roofline::record::{
    About, ChangeError, Edit, Listed, Listing, NameError, Run, RunHeader, RunState, Store, named, saved,
};

use crate::sample;

/// How many runs a store of thousands holds in tests that run each time.
const SOME: usize = 300;

/// Fills a store with valid runs, each an hour after the one before it, and gives their files.
pub(crate) fn generate(store: &Store, count: usize) -> Vec<PathBuf> {
    fs::create_dir_all(store.folder()).unwrap();
    let mut run = sample::run("run-00000", 0);
    run.about = None;
    run.state = RunState::Finished;
    let chips = ["Apple M5", "AMD EPYC 9R14", "NVIDIA H100 80GB HBM3"];
    let one = |number: usize| {
        let mut run = run.clone();
        run.id = format!("run-{number:05}");
        run.started_at += jiff::SignedDuration::from_hours(i64::try_from(number).unwrap());
        run.ended_at = Some(run.started_at + jiff::SignedDuration::from_secs(40));
        chips[number % 3].clone_into(&mut run.machine.chip);
        chips[number % 3].clone_into(&mut run.devices[0].name);
        let share = 1.0 + 0.01 * (number % 7) as f64;
        let summary = &mut run.entries[0].measurements[0].summary;
        summary.median *= share;
        summary.interval = summary
            .interval
            .map(|interval| roofline::stats::Interval { low: interval.low * share, high: interval.high * share });
        let path = store.path_of(&run.id);
        fs::write(&path, serde_json::to_vec(&run).unwrap()).unwrap();
        path
    };
    (0..count).map(one).collect()
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    fs::create_dir_all(store.folder()).unwrap();
    (folder, store)
}

/// Lists everything, and says how.
fn listed(store: &Store) -> (Vec<Listed>, Listing) {
    let mut all = Vec::new();
    let summary = store.list_with(&mut |some, _| {
        all.extend(some);
        true
    });
    roofline::record::sort_listed(&mut all);
    (all, summary)
}

fn header<'a>(listed: &'a [Listed], path: &Path) -> &'a RunHeader {
    listed.iter().filter_map(Listed::header).find(|header| header.path == path).unwrap()
}

#[test]
fn what_is_indexed_is_not_read_again() {
    let (folder, store) = store();
    let paths = generate(&store, SOME);
    let (first, summary) = listed(&store);
    assert_eq!(summary, Listing { files: SOME, read: SOME, left: 0 });
    assert_eq!(header(&first, &paths[9]).machine, "Apple M5");
    let (second, summary) = listed(&store);
    assert_eq!(summary, Listing { files: SOME, read: 0, left: 0 });
    assert_eq!(second, first, "the index tells the same as the files");
    // One is changed, one comes, one goes: no other is read.
    let mut changed = Store::load(&paths[5]).unwrap();
    changed.suite.name = "full".to_owned();
    store.save(&changed).unwrap();
    store.save(&sample::run("new", 0)).unwrap();
    fs::remove_file(&paths[7]).unwrap();
    let (third, summary) = listed(&store);
    assert_eq!((summary.files, summary.read), (SOME, 2));
    assert_eq!(header(&third, &paths[5]).suite, "full");
    assert!(!third.iter().any(|one| one.path() == paths[7]));
    assert_eq!(listed(&store).1.read, 0);
    // Moved as a whole, with a run that can't be read.
    fs::write(store.path_of("broken"), "{").unwrap();
    listed(&store);
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("data");
    fs::rename(folder.path(), &moved).unwrap();
    let (all, _) = listed(&Store::at(&moved));
    let Some(Listed::Unreadable { path, reason }) = all.last() else { panic!("{all:?}") };
    assert!(path.starts_with(&moved) && reason.ends_with(&path.display().to_string()), "{reason}");
    fs::create_dir(folder.path()).unwrap();
}

#[test]
fn a_file_written_over_in_place_is_noticed() {
    let (_folder, store) = store();
    let paths = generate(&store, 2);
    listed(&store);
    let text = fs::read_to_string(&paths[0]).unwrap();
    let other = text.replace("\"custom\"", "\"cust0m\"");
    assert_eq!(other.len(), text.len());
    fs::write(&paths[0], other).unwrap();
    // The clock of files may stand still for some milliseconds.
    let later = SystemTime::now() + Duration::from_millis(20);
    fs::File::options().write(true).open(&paths[0]).unwrap().set_modified(later).unwrap();
    let (all, summary) = listed(&store);
    assert_eq!((summary.read, header(&all, &paths[0]).suite.as_str()), (1, "cust0m"));
}

#[test]
fn a_damaged_index_is_made_anew_and_never_trusted() {
    let (folder, store) = store();
    generate(&store, 5);
    let (first, _) = listed(&store);
    let index = folder.path().join("runs.index");
    let whole = fs::read_to_string(&index).unwrap();
    let other_version = whole.replacen(" headers ", " headers 9", 1);
    assert_ne!(other_version, whole);
    for damaged in ["", "x", &whole[..whole.len() / 2], &whole.replace("custom", "cooked"), &other_version] {
        fs::write(&index, damaged).unwrap();
        let (again, summary) = listed(&store);
        assert_eq!((summary.read, &again), (5, &first));
        assert_eq!(fs::read_to_string(&index).unwrap().len(), whole.len(), "it is whole again");
    }
    fs::remove_file(&index).unwrap();
    fs::create_dir(&index).unwrap();
    assert_eq!(listed(&store), (first, Listing { files: 5, read: 5, left: 0 }), "an index that can't be written");
}

#[test]
fn a_listing_tells_what_it_knows_first_and_stops_when_asked() {
    let (_folder, store) = store();
    generate(&store, SOME);
    let mut told = Vec::new();
    let summary = store.list_with(&mut |some, left| {
        told.push((some.len(), left));
        told.len() < 3
    });
    assert_eq!(told[0], (0, SOME), "nothing is known at first");
    assert!(summary.left > 0 && summary.read + summary.left == SOME, "{summary:?}");
    let mut first = None;
    store.list_with(&mut |some, left| {
        first.get_or_insert((some, left));
        true
    });
    let (known, left) = first.unwrap();
    assert_eq!((known.len(), left), (summary.read, summary.left), "what was read before the stop is known");
    let newest = known.iter().filter_map(Listed::header).map(|header| header.id.as_str()).max();
    assert_eq!(newest, Some("run-00299"), "the newest are read first");
}

#[test]
fn two_programs_list_and_save_at_once() {
    let (_folder, store) = store();
    generate(&store, 60);
    std::thread::scope(|scope| {
        for copy in 0..3 {
            let store = store.clone();
            scope.spawn(move || {
                for round in 0..6 {
                    store.save(&sample::run(&format!("other-{copy}-{round}"), round)).unwrap();
                    let all = store.list();
                    assert!(all.len() > 60 && all.iter().all(|one| one.header().is_some()));
                }
            });
        }
    });
    let (all, _) = listed(&store);
    assert_eq!(all.len(), 78);
    let (again, summary) = listed(&store);
    assert_eq!((summary.read, again), (0, all));
}

#[test]
fn words_about_a_run_survive_its_being_written_and_go_with_its_export() {
    let (_folder, store) = store();
    let mut run = sample::run("going", 0);
    (run.state, run.about) = (RunState::Running, None);
    let path = store.save(&run).unwrap();
    let samples = fs::read(&path).unwrap();
    let words = [Edit::Name("Before / after".into()), Edit::Tag("desk".into()), Edit::Note("Two\nlines".into())];
    store.edit(&path, &words).unwrap();
    assert_eq!(fs::read(&path).unwrap(), samples, "the run's own file is left alone");
    assert_eq!(header(&listed(&store).0, &path).about.name.as_deref(), Some("Before / after"));
    // The runner, which knows nothing of it, writes the next entry.
    run.state = RunState::Finished;
    store.save(&run).unwrap();
    let read = named(&store, "Before / after").unwrap();
    let about = read.about.clone().unwrap();
    assert_eq!((about.tags, about.note.as_deref()), (vec!["desk".to_owned()], Some("Two\nlines")));
    // Exported and brought into another store, it keeps them, and they can be changed there.
    let (_other_folder, other) = store_with(&read);
    let copied = other.path_of("going");
    assert_eq!(Store::load(&copied).unwrap(), read);
    other.edit(&copied, &[Edit::Untag("DESK".into())]).unwrap();
    let about = Store::load(&copied).unwrap().about.unwrap();
    assert_eq!((about.name.as_deref(), about.tags.len()), (Some("Before / after"), 0));
    // All taken away, nothing of the file's own words comes back.
    other.edit(&copied, &[Edit::Name(String::new()), Edit::Note(String::new())]).unwrap();
    assert_eq!(Store::load(&copied).unwrap().about, None);
}

fn store_with(run: &Run) -> (tempfile::TempDir, Store) {
    let (folder, store) = store();
    store.save(run).unwrap();
    (folder, store)
}

#[test]
fn unreadable_words_are_left_alone_and_hide_no_run() {
    let (_folder, store) = store();
    let path = generate(&store, 1).remove(0);
    let side = path.with_extension("about");
    for damaged in ["{", "3", "{\"name\": 3}"] {
        fs::write(&side, damaged).unwrap();
        assert!(Store::load(&path).is_ok() && store.list()[0].header().is_some());
        let error = store.edit(&path, &[Edit::Name("x".into())]).unwrap_err();
        assert!(matches!(error, ChangeError::Unreadable { .. }), "{error}");
        assert!(error.to_string().ends_with("run-00000.about"), "{error}");
        assert_eq!(fs::read_to_string(&side).unwrap(), damaged);
    }
    let gone = store.path_of("gone");
    for path in [&gone, &store.folder().join("../runs/run-00000.json"), Path::new("/etc/hosts")] {
        assert!(matches!(store.edit(path, &[Edit::Name("x".into())]), Err(ChangeError::Gone(_))));
        assert!(matches!(store.pin(Some(path)), Err(ChangeError::Gone(_))));
    }
}

#[test]
fn one_run_is_the_baseline() {
    let (_folder, store) = store();
    let paths = generate(&store, 3);
    assert!(matches!(named(&store, "baseline"), Err(NameError::Unpinned)));
    store.pin(Some(&paths[0])).unwrap();
    store.pin(Some(&paths[2])).unwrap();
    assert_eq!(named(&store, "baseline").unwrap().id, "run-00002");
    let all = store.list();
    let pinned: Vec<&str> =
        all.iter().filter_map(Listed::header).filter(|header| header.pinned).map(|header| header.id.as_str()).collect();
    assert_eq!(pinned, ["run-00002"]);
    let deleted = store.delete(&[paths[2].clone()]).unwrap();
    assert_eq!(store.baseline(), None, "it isn't there");
    store.restore(&deleted.folder.unwrap()).unwrap();
    assert_eq!(store.baseline(), Some(paths[2].clone()), "it is back");
    for wrong in ["../../etc/passwd", "", "nothing.json", "x/y.json"] {
        fs::write(store.folder().join("baseline"), wrong).unwrap();
        assert_eq!(store.baseline(), None, "{wrong}");
    }
    store.pin(None).unwrap();
    store.pin(None).unwrap();
}

#[test]
fn names_find_runs_and_shared_ones_say_so() {
    let (_folder, store) = store();
    let paths = generate(&store, 3);
    for path in &paths[..2] {
        store.edit(path, &[Edit::Name("twice".into())]).unwrap();
    }
    let odd = "a/b <script>.json \"quoted\"";
    store.edit(&paths[2], &[Edit::Name(odd.into())]).unwrap();
    assert_eq!(saved(&store, odd).unwrap(), paths[2]);
    let sentence = named(&store, "twice").unwrap_err().to_string();
    assert!(sentence.contains("2 saved runs are called") && sentence.contains("run-00001"), "{sentence}");
    // What names something else is no name for a run; its own id's beginning is.
    for (wrong, why) in [
        ("apple-m5", "names the reference"),
        ("baseline", "names the run that is pinned"),
        ("run-00000", "the id of another saved run, run-00000, begins with"),
        ("run-0", "choose another name"),
    ] {
        let error = store.edit(&paths[2], &[Edit::Name(wrong.into())]).unwrap_err();
        assert!(matches!(error, ChangeError::Words(_)) && error.to_string().contains(why), "{error}");
        assert_eq!(saved(&store, odd).unwrap(), paths[2], "nothing was changed");
    }
    store.edit(&paths[2], &[Edit::Name("run-00002".into())]).unwrap();
    // Brought along in a file all the same, an id comes before a name.
    fs::write(paths[2].with_extension("about"), "{\"name\": \"run-00000\"}").unwrap();
    assert_eq!(saved(&store, "run-00000").unwrap(), paths[0]);
}

#[test]
fn what_is_deleted_comes_back_with_its_words() {
    let (_folder, store) = store();
    let paths = generate(&store, 4);
    store.edit(&paths[1], &[Edit::Name("kept".into())]).unwrap();
    fs::write(store.path_of("broken"), "{").unwrap();
    let wanted = [paths[0].clone(), paths[1].clone(), store.path_of("gone")];
    let deleted = store.delete(&wanted).unwrap();
    assert_eq!((deleted.runs.len(), deleted.kept.len()), (2, 1));
    assert_eq!(store.list().len(), 3);
    assert_eq!(fs::read_to_string(store.path_of("broken")).unwrap(), "{");
    // A run of the same name was saved meanwhile: neither is lost.
    store.save(&sample::run("run-00000", 0)).unwrap();
    let folder = deleted.folder.unwrap();
    let restored = store.restore(&folder).unwrap();
    assert_eq!((restored.runs.len(), restored.in_the_way.len()), (1, 1));
    assert_eq!(named(&store, "kept").unwrap().id, "run-00001");
    assert_eq!(store.deleted(), restored.in_the_way);
    assert!(store.restore_named("run-0").unwrap_err().contains("there is a run of this id now"));
    fs::remove_file(&paths[0]).unwrap();
    assert_eq!(store.restore_named("run-0").unwrap(), paths[0]);
    assert!(matches!(store.restore(&folder), Err(ChangeError::Gone(_))));
    assert!(matches!(store.restore(store.folder()), Err(ChangeError::Gone(_))), "no folder but a deletion's");
}

#[test]
fn a_run_that_goes_on_is_not_deleted() {
    let (_folder, store) = store();
    let mut run = sample::run("left-behind", 0);
    run.state = RunState::Running;
    let left = store.save(&run).unwrap();
    let held = store.lock().unwrap();
    (run.id, run.started_at) = ("going".to_owned(), jiff::Timestamp::now());
    let going = store.save(&run).unwrap();
    let deleted = store.delete(&[going.clone(), left.clone()]).unwrap();
    assert!(matches!(deleted.kept.as_slice(), [ChangeError::Running(path)] if *path == going), "{deleted:?}");
    assert_eq!(deleted.runs, [left], "what another measuring left behind does not go on");
    drop(held);
    assert_eq!(store.delete(&[going]).unwrap().runs.len(), 1, "one that was left behind is");
}

#[test]
fn deleting_never_keeps_a_run_from_starting() {
    let (_folder, store) = store();
    let mut run = sample::run("left-behind", 0);
    run.state = RunState::Running;
    let path = store.save(&run).unwrap();
    std::thread::scope(|scope| {
        let deleting = scope.spawn(|| {
            for _ in 0..200 {
                let deleted = store.delete(std::slice::from_ref(&path)).unwrap();
                if let Some(folder) = deleted.folder {
                    store.restore(&folder).unwrap();
                }
            }
        });
        while !deleting.is_finished() {
            let lock = store.lock();
            assert!(lock.is_ok(), "{lock:?}");
        }
    });
}

#[test]
fn the_trash_is_emptied_of_what_is_old() {
    let (_folder, store) = store();
    let paths = generate(&store, 2);
    let trash = store.folder().join("trash");
    let old = trash.join("20200101T000000.000000000Z");
    let foreign = trash.join("mine");
    for folder in [&old, &foreign] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("a.json"), "{}").unwrap();
    }
    store.empty_trash();
    assert!(old.exists(), "the last deletion stays, however old");
    store.delete(&paths[..1]).unwrap();
    assert!(!old.exists() && foreign.exists());
    store.delete(&paths[1..]).unwrap();
    assert_eq!(store.deleted().len(), 2);
}

#[test]
fn much_is_kept_as_long_as_little() {
    let (_folder, store) = store();
    let paths = generate(&store, 1);
    // A deletion of a moment ago, of more runs than any list shows.
    let now = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(1);
    let many = store.folder().join("trash").join(now.strftime("%Y%m%dT%H%M%S.000000000Z").to_string());
    fs::create_dir_all(&many).unwrap();
    for number in 0..2001 {
        fs::write(many.join(format!("run-{number}.json")), "").unwrap();
    }
    store.delete(&paths).unwrap();
    assert_eq!(store.deleted().len(), 2002, "30 days were promised for each");
}

#[test]
fn the_figures_of_a_metric_come_from_the_index() {
    let (folder, store) = store();
    generate(&store, 40);
    store.list();
    let goes_on = || true;
    let trend = store.trend(None, &goes_on);
    assert_eq!(trend.read, 0, "the listing has read them");
    let gemm = trend.metrics.iter().find(|metric| metric.title == "GEMM f32").unwrap();
    let trend = store.trend(Some(gemm.id), &goes_on);
    assert_eq!((trend.figures.len(), trend.chosen), (14, Some(gemm.id)), "on one of three devices");
    assert!(trend.figures.is_sorted_by_key(|figure| figure.at));
    let mut run = Store::load(&trend.figures[3].path).unwrap();
    let summary = &run.entries[0].headline().unwrap().summary;
    assert_eq!(trend.figures[3].median, summary.median);
    assert_eq!(trend.figures[3].interval, summary.interval.map(|interval| (interval.low, interval.high)));
    let doubted = trend.metrics.iter().find(|metric| metric.title.contains("copy")).unwrap();
    let marks = &store.trend(Some(doubted.id), &goes_on).figures[0].marks;
    assert_eq!(marks.len(), 3);
    // Another figure, a run that is gone, and one that holds nonsense.
    run.entries[0].measurements[0].summary.median = -1e300;
    store.save(&run).unwrap();
    fs::remove_file(&trend.figures[4].path).unwrap();
    fs::write(store.path_of("broken"), "{").unwrap();
    let again = store.trend(Some(gemm.id), &goes_on);
    assert_eq!((again.figures.len(), again.read), (13, 2));
    assert_eq!(again.figures[3].median, -1e300);
    let index = folder.path().join("figures.index");
    fs::write(&index, "damaged").unwrap();
    let made_anew = store.trend(Some(gemm.id), &goes_on);
    assert_eq!((made_anew.figures, made_anew.read), (again.figures, 40));
    fs::remove_file(&index).unwrap();
    fs::create_dir(&index).unwrap();
    assert_eq!(store.trend(Some(gemm.id), &goes_on).figures.len(), 13, "an index that can't be written");
    assert!(store.trend(None, &|| false).figures.is_empty(), "stopped before anything was read");
}

#[test]
fn what_no_run_has_measured_any_more_leaves_the_index() {
    let (folder, store) = store();
    let paths = generate(&store, 3);
    let index = || fs::read_to_string(folder.path().join("figures.index")).unwrap();
    store.trend(None, &|| true);
    assert!(index().contains("AMD EPYC 9R14"));
    fs::remove_file(&paths[1]).unwrap();
    let mut other = Store::load(&paths[0]).unwrap();
    "another chip".clone_into(&mut other.devices[0].name);
    store.save(&other).unwrap();
    let metrics = store.trend(None, &|| true).metrics;
    let index = index();
    assert!(!index.contains("AMD EPYC 9R14") && !index.contains("Apple M5"), "{index}");
    assert!(index.contains("another chip") && index.contains("NVIDIA H100"), "{index}");
    assert_eq!(index.lines().filter(|line| line.starts_with("M\t")).count(), metrics.len());
}

#[test]
fn headers_stay_small_whatever_is_in_the_files() {
    let (_folder, store) = store();
    let mut run = sample::run("wild", 0);
    let long = "<b>/\n\u{1b}[31m".repeat(2000);
    (run.suite.name, run.machine.chip) = (long.clone(), long.clone());
    run.devices[0].name.clone_from(&long);
    run.about = Some(About { name: Some(long.clone()), note: Some(long.clone()), tags: vec![long; 500] });
    run.entries[0].measurements[0].summary.median = -5e300;
    store.save(&run).unwrap();
    let mut twin = sample::run("twin", 0);
    twin.id = "wild".to_owned();
    fs::write(store.path_of("twin"), serde_json::to_vec(&twin).unwrap()).unwrap();
    for _ in 0..2 {
        let all = store.list();
        let files: BTreeSet<&Path> = all.iter().map(Listed::path).collect();
        assert_eq!(files.len(), 2, "the same id twice is two files");
        let header = header(&all, &store.path_of("wild"));
        assert!(header.suite.len() < 700 && !header.suite.contains(['\n', '\u{1b}']));
        assert_eq!((header.about.tags.len(), header.best_flops), (1, None), "a rate below zero is no best");
    }
}

#[cfg(unix)]
#[test]
fn a_folder_without_rights_says_so_and_why_nothing_can_be_changed() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_folder, store) = store();
    let path = generate(&store, 1).remove(0);
    fs::set_permissions(store.folder(), fs::Permissions::from_mode(0o000)).unwrap();
    let may_all = fs::read_dir(store.folder()).is_ok();
    let (all, edited) = (store.list(), store.edit(&path, &[Edit::Name("x".into())]));
    fs::set_permissions(store.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    if may_all {
        eprintln!("SKIPPED: who runs the tests may read everything");
        return;
    }
    assert!(matches!(&all[..], [Listed::Unreadable { path, .. }] if path == store.folder()), "{all:?}");
    assert!(edited.unwrap_err().to_string().contains("rights"));
}

#[test]
fn a_folder_that_can_not_be_listed_is_told_of_and_its_index_stays() {
    let (folder, store) = store();
    generate(&store, 3);
    listed(&store);
    let index = fs::read_to_string(folder.path().join("runs.index")).unwrap();
    let aside = folder.path().join("aside");
    fs::rename(store.folder(), &aside).unwrap();
    fs::write(store.folder(), "no folder").unwrap();
    let all = store.list();
    assert!(matches!(&all[..], [Listed::Unreadable { path, .. }] if path == store.folder()), "{all:?}");
    let (listed_text, warned, _) = roofline(folder.path(), &["runs"]);
    let said = listed_text + &warned;
    assert!(said.contains("the folder of saved runs can't be read") && !said.contains("no run was saved"), "{said}");
    assert_eq!(fs::read_to_string(folder.path().join("runs.index")).unwrap(), index);
    fs::remove_file(store.folder()).unwrap();
    fs::rename(&aside, store.folder()).unwrap();
    assert_eq!(listed(&store).1, Listing { files: 3, read: 0, left: 0 });
}

/// The program with its data in `folder`: its standard output, its standard error, and its exit status.
fn roofline(folder: &Path, arguments: &[&str]) -> (String, String, i32) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_roofline"));
    let output = command.args(arguments).env("ROOFLINE_DATA_DIR", folder).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_owned()).unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}

#[test]
fn the_command_line_lists_finds_and_changes_runs() {
    let (folder, store) = store();
    let folder = folder.path();
    assert!(roofline(folder, &["runs"]).1.contains("no run was saved yet"));
    let paths = generate(&store, 60);
    let (out, err, _) = roofline(folder, &["runs"]);
    assert!(out.contains("run-00059") && !out.contains("run-00009") && err.contains("10 more"), "{out}{err}");
    for arguments in [
        ["runs", "rename", "run-00007", "With the fan"].as_slice(),
        &["runs", "tag", "With the fan", "desk", "lid"],
        &["runs", "untag", "run-00007", "LID"],
        &["runs", "note", "run-00007", "one\ntwo"],
        &["runs", "pin", "With the fan"],
    ] {
        let (_, err, code) = roofline(folder, arguments);
        assert_eq!(code, 0, "{arguments:?}: {err}");
    }
    let (out, _, _) = roofline(folder, &["runs", "--tag", "desk", "--machine", "epyc", "--json"]);
    let rows: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((rows[0]["about"]["name"].as_str(), rows[0]["baseline"].as_bool()), (Some("With the fan"), Some(true)));
    assert_eq!(rows.as_array().unwrap().len(), 1);
    let (out, _, code) = roofline(folder, &["export", "baseline", "--format", "json"]);
    let exported: Run = serde_json::from_str(&out).unwrap();
    assert_eq!((exported.about.unwrap().note.as_deref(), code), (Some("one\ntwo"), 0));
    let best = |arguments: &[&str]| {
        let rows: serde_json::Value = serde_json::from_str(&roofline(folder, arguments).0).unwrap();
        rows[0]["best_flops"].as_f64().unwrap()
    };
    let sorted = ["runs", "--sort", "gemm", "--limit", "1", "--json"];
    assert!(best(&sorted) > best(&[&sorted[..], &["--reverse"]].concat()));
    let (_, err, code) = roofline(folder, &["runs", "delete", "With the fan", "run-00008"]);
    assert!(code == 0 && err.contains("2 runs deleted") && !paths[7].exists(), "{err}");
    assert_eq!(roofline(folder, &["runs", "deleted"]).0, "run-00007\nrun-00008\n");
    assert_eq!(roofline(folder, &["runs", "restore", "run-00007"]).2, 0);
    assert_eq!(Store::load(&paths[7]).unwrap().about.unwrap().tags, ["desk"]);
}

#[test]
fn the_command_line_refuses_what_makes_no_sense() {
    let (folder, store) = store();
    let path = generate(&store, 1).remove(0);
    let long = "x".repeat(10_000);
    for (arguments, code, words) in [
        (["runs", "rename", "nowhere", "x"].as_slice(), 2, "no run is called"),
        (&["runs", "rename", "run-00000", &long], 2, "at most 120 characters"),
        (&["runs", "rename", "../run-00000", "x"], 2, "no run is called"),
        (&["runs", "rename", "apple-m5", "x"], 2, "apple-m5 comes along"),
        (&["runs", "delete", "baseline"], 2, "no saved run is pinned"),
        (&["runs", "--engine", "bogus"], 2, "no saved run has an engine called \"bogus\"; choose from wgpu, "),
        (&["runs", "rename", "run-00000", "baseline"], 2, "choose another name"),
        (&["runs", "restore", "run"], 1, "no deleted run"),
        (&["runs", "--sort", "colour"], 2, "started"),
        (&["runs", "--search", "x", "delete", "run-00000"], 2, "are for the list"),
        (&["compare", "baseline", "run-00000"], 2, "no saved run is pinned"),
    ] {
        let (_, err, got) = roofline(folder.path(), arguments);
        assert!(got == code && err.contains(words), "{arguments:?}: {got}: {err}");
    }
    assert_eq!(Store::load(&path).unwrap().about, None);
    let elsewhere = tempfile::tempdir().unwrap();
    let there = ["runs", "--data-dir", folder.path().to_str().unwrap(), "delete", "run-00000"];
    let (_, err, code) = roofline(elsewhere.path(), &there);
    assert!(code == 0 && !path.exists(), "the folder can be named before what is done: {err}");
}
