//! The History view, driven by role and label and by the keyboard, on real files.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use eframe::egui::{Event, Key, Modifiers, PointerButton, accesskit::Role};
use egui_kittest::{
    Harness,
    kittest::{NodeT as _, Queryable as _},
};
use roofline::{
    record::{Edit, Listed, RunHeader, Sort, Store},
    ui::{Action, App, RunsAction, View},
};

use crate::{
    history::generate,
    sample,
    scenes::{USUAL, ready, settle, window},
};

/// A window on a folder with so many runs, on its History view.
fn shown(folder: &Path, runs: usize) -> (Harness<'static, App>, Store, Vec<PathBuf>) {
    let store = Store::at(folder);
    let paths = generate(&store, runs);
    (open(folder), store, paths)
}

fn open(folder: &Path) -> Harness<'static, App> {
    let gate = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let mut harness = window(USUAL, folder, &gate);
    settle(&mut harness);
    harness.state_mut().state_mut().choices.view = View::History;
    harness.run();
    harness
}

/// Steps until something is so.
#[track_caller]
fn until(harness: &mut Harness<'static, App>, what: &str, is_so: impl Fn(&Harness<'static, App>) -> bool) {
    let start = Instant::now();
    while !is_so(harness) {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        harness.step();
        std::thread::sleep(Duration::from_millis(2));
    }
    harness.run();
}

fn act(harness: &mut Harness<'static, App>, action: RunsAction) {
    let context = harness.ctx.clone();
    harness.state_mut().perform(&context, Action::Runs(action));
    harness.run();
}

fn headers<'a>(harness: &'a Harness<'static, App>) -> Vec<&'a RunHeader> {
    let state = harness.state().state();
    let history = state.history.as_ref().unwrap();
    state.runs.shown().iter().filter_map(|place| history[*place].header()).collect()
}

fn ids(harness: &Harness<'static, App>) -> Vec<String> {
    headers(harness).iter().map(|header| header.id.clone()).collect()
}

fn picked(harness: &Harness<'static, App>) -> Vec<String> {
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    harness.state().state().runs.picked.iter().map(stem).collect()
}

#[test]
fn runs_are_found_by_words_and_filters_and_sorted_by_a_heading() {
    let folder = tempfile::tempdir().unwrap();
    let (mut harness, store, paths) = shown(folder.path(), 30);
    assert_eq!(ids(&harness)[0], "run-00029", "the newest first");
    harness.get_by_label("30 saved runs");
    store.edit(&paths[4], &[Edit::Name("With the new fan".into())]).unwrap();
    until(&mut harness, "what another program writes is noticed", |harness| {
        harness.query_by_label("With the new fan").is_some()
            || headers(harness).iter().any(|header| header.about.name.is_some())
    });
    harness.key_press_modifiers(Modifiers::COMMAND, Key::F);
    harness.run();
    harness.get_by_role_and_label(Role::TextInput, "Find runs").type_text("FAN new");
    harness.run();
    assert_eq!(ids(&harness), ["run-00004"]);
    harness.get_by_label("1 of 30");
    harness.get_by_role_and_label(Role::Button, "Show all").click();
    harness.run();
    assert_eq!(ids(&harness).len(), 30);
    harness.get_by_role_and_label(Role::ComboBox, "Machine, All machines").click();
    harness.run();
    harness.get_by_role_and_label(Role::Button, "AMD EPYC 9R14").click();
    harness.run();
    assert_eq!(ids(&harness).len(), 10);
    act(&mut harness, RunsAction::Everything);
    harness.get_by_role_and_label(Role::Button, "Best GEMM, not sorted by").click();
    harness.run();
    let best = |harness: &Harness<'static, App>| headers(harness)[0].best_flops.unwrap();
    let highest = best(&harness);
    harness.get_by_role_and_label(Role::Button, "Best GEMM, sorted").click();
    harness.run();
    harness.get_by_role_and_label(Role::Button, "Best GEMM, sorted the other way round");
    assert!(best(&harness) < highest);
    act(&mut harness, RunsAction::Search("no such words".into()));
    harness.get_by_label("No saved run fits; look for other words, or show all");
}

#[test]
fn the_keyboard_picks_opens_deletes_and_gets_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut harness, store, _) = shown(folder.path(), 12);
    harness.key_press(Key::ArrowDown);
    harness.run();
    assert_eq!(picked(&harness), ["run-00011"]);
    for _ in 0..2 {
        harness.key_press_modifiers(Modifiers::SHIFT, Key::ArrowDown);
        harness.run();
    }
    assert_eq!(picked(&harness), ["run-00009", "run-00010", "run-00011"]);
    harness.get_by_label("3 runs selected");
    let state = harness.state().state();
    let text = state.runs.text(state.history.as_ref().unwrap());
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 4 && lines[0].starts_with("Run\tStarted") && lines[1].starts_with("run-00011\t"), "{text}");
    assert!(state.allows(&Action::CopyResults));
    harness.key_press(Key::Delete);
    until(&mut harness, "deleted", |harness| ids(harness).len() == 9);
    harness.get_by_label("3 runs were deleted; the trash keeps them for 30 days");
    assert_eq!(store.list().len(), 9);
    harness.get_by_role_and_label(Role::Button, "Undo").click();
    until(&mut harness, "restored", |harness| ids(harness).len() == 12);
    assert!(harness.query_by_role_and_label(Role::Button, "Undo").is_none());
    harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    harness.run();
    assert_eq!(picked(&harness).len(), 12);
    let compares = harness.get_by_role_and_label(Role::Button, "Compare runs");
    assert!(compares.accesskit_node().is_disabled(), "more than can be compared");
    harness.key_press(Key::End);
    harness.run();
    assert_eq!(picked(&harness), ["run-00000"]);
    harness.key_press(Key::Enter);
    until(&mut harness, "opened", |harness| harness.state().state().opened.is_some());
    assert_eq!(harness.state().state().opened.as_ref().unwrap().run.id, "run-00000");
    assert_eq!(harness.state().state().choices.view, View::Run);
}

#[test]
fn keys_in_a_field_are_not_meant_for_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let (mut harness, store, _) = shown(folder.path(), 3);
    act(&mut harness, RunsAction::PickAll);
    act(&mut harness, RunsAction::Find);
    for key in [Key::Delete, Key::Backspace, Key::Enter] {
        harness.key_press(key);
        harness.run();
    }
    settle(&mut harness);
    assert_eq!((store.list().len(), store.deleted().len()), (3, 0));
    assert_eq!(harness.state().state().choices.view, View::History);
}

#[test]
fn clicks_pick_alone_beside_and_through() {
    let folder = tempfile::tempdir().unwrap();
    let (mut harness, store, paths) = shown(folder.path(), 6);
    let cells = |harness: &Harness<'static, App>| -> Vec<eframe::egui::Pos2> {
        harness.query_all_by_label("Finished, 2 of 11").map(|node| node.rect().center()).collect()
    };
    let places = cells(&harness);
    assert_eq!(places.len(), 6);
    let click = |harness: &mut Harness<'static, App>, row: usize, modifiers: Modifiers| {
        harness.event(Event::ModifiersChanged(modifiers));
        harness.event(Event::PointerMoved(places[row]));
        for pressed in [true, false] {
            let button = PointerButton::Primary;
            harness.event(Event::PointerButton { pos: places[row], button, pressed, modifiers });
        }
        harness.event(Event::ModifiersChanged(Modifiers::NONE));
        harness.run();
        // Two clicks soon after each other would open the run.
        harness.run_steps(4);
    };
    click(&mut harness, 1, Modifiers::NONE);
    assert_eq!(picked(&harness), ["run-00004"]);
    click(&mut harness, 3, Modifiers::SHIFT);
    assert_eq!(picked(&harness), ["run-00002", "run-00003", "run-00004"]);
    click(&mut harness, 2, Modifiers::COMMAND);
    assert_eq!(picked(&harness), ["run-00002", "run-00004"]);
    // The pinned one is the baseline, whatever its age.
    store.pin(Some(&paths[4])).unwrap();
    until(&mut harness, "the pin is noticed", |harness| headers(harness).iter().any(|header| header.pinned));
    harness.get_by_role_and_label(Role::Button, "Compare runs").click();
    harness.step();
    harness.step();
    assert_eq!(harness.state().performed(), Some(&Action::Compare(vec![paths[4].clone(), paths[2].clone()])));
}

#[test]
fn a_run_is_named_tagged_noted_and_pinned() {
    let folder = tempfile::tempdir().unwrap();
    let (mut harness, store, paths) = shown(folder.path(), 4);
    act(&mut harness, RunsAction::Pick(paths[2].clone(), roofline::ui::Pick::Only));
    for (field, role, words) in [
        ("Name", Role::TextInput, "Desk <b>/\u{1b}x"),
        ("Tags", Role::TextInput, "fan, desk,, fan"),
        ("Note", Role::MultilineTextInput, "Lid open"),
    ] {
        harness.get_by_role_and_label(role, field).focus();
        harness.run();
        harness.get_by_role_and_label(role, field).type_text(words);
        harness.run();
    }
    // Another place is clicked, another run is picked: what was written is kept.
    act(&mut harness, RunsAction::Pick(paths[1].clone(), roofline::ui::Pick::Only));
    settle(&mut harness);
    harness.run();
    let about = Store::load(&paths[2]).unwrap().about.unwrap();
    assert_eq!(about.name.as_deref().map(|name| name.starts_with("Desk <b>/")), Some(true));
    assert_eq!((about.tags.join(" "), about.note.as_deref()), ("fan desk".to_owned(), Some("Lid open")));
    harness.get_by_label("#fan #desk");
    harness.get_by_role_and_label(Role::Button, "Pin as baseline").click();
    until(&mut harness, "pinned", |harness| headers(harness).iter().any(|header| header.pinned));
    assert_eq!(store.baseline().as_ref(), Some(&paths[1]));
    harness.get_by_label("baseline");
    harness.get_by_role_and_label(Role::Button, "Unpin").click();
    until(&mut harness, "unpinned", |harness| !headers(harness).iter().any(|header| header.pinned));
    assert_eq!(store.baseline(), None);
}

#[test]
fn what_cannot_be_written_is_said_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut harness, store, paths) = shown(folder.path(), 2);
    fs::remove_file(&paths[0]).unwrap();
    act(&mut harness, RunsAction::Edit(paths[0].clone(), vec![Edit::Name("x".into())]));
    until(&mut harness, "said", |harness| !harness.state().state().banners.is_empty());
    harness.get_by_label_contains("There is no such saved run, or not any more");
    until(&mut harness, "gone from the list", |harness| ids(harness).len() == 1);
    // Opened while it vanishes.
    fs::remove_file(&paths[1]).unwrap();
    let context = harness.ctx.clone();
    harness.state_mut().perform(&context, Action::OpenRun(paths[1].clone()));
    until(&mut harness, "said", |harness| harness.query_by_label_contains("could not be read").is_some());
    assert!(store.list().is_empty());
}

#[test]
fn unreadable_files_are_listed_last_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    generate(&store, 2);
    fs::write(store.path_of("broken"), "{").unwrap();
    let mut harness = open(folder.path());
    harness.get_by_label("Unreadable");
    harness.get_by_label_contains("The file is not a whole run file");
    act(&mut harness, RunsAction::PickAll);
    assert_eq!(picked(&harness).len(), 2);
    act(&mut harness, RunsAction::Delete);
    settle(&mut harness);
    assert_eq!(fs::read_to_string(store.path_of("broken")).unwrap(), "{");
}

#[test]
fn a_metric_is_shown_over_time_and_a_click_opens_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let (mut harness, _, _) = shown(folder.path(), 30);
    harness.get_by_role_and_label(Role::Button, "Over time").click();
    until(&mut harness, "read", |harness| harness.state().state().runs.trend.is_some());
    let metrics = harness.state().state().runs.trend.as_ref().unwrap().metrics.clone();
    let gemm = metrics.iter().find(|metric| metric.title == "GEMM f32" && metric.device == "Apple M5").unwrap();
    act(&mut harness, RunsAction::Metric(gemm.id));
    settle(&mut harness);
    harness.run();
    let label = "GEMM f32, n = 4096 · wgpu · Apple M5 over time, 10 figures";
    let chart = harness.get_by_label_contains(label).rect();
    // Between which the axis and the room beside the points lie.
    let figures = harness.state().state().runs.figures().to_vec();
    assert!(figures.is_sorted_by_key(|figure| figure.at));
    for step in (0..chart.height() as usize).step_by(8) {
        let at = eframe::egui::pos2(chart.right() - 0.03 / 1.06 * chart.width(), chart.bottom() - step as f32);
        harness.hover_at(at);
        for pressed in [true, false] {
            let (button, modifiers) = (PointerButton::Primary, Modifiers::NONE);
            harness.event(Event::PointerButton { pos: at, button, pressed, modifiers });
        }
        harness.step();
        if harness.state().state().choices.view == View::Run {
            break;
        }
    }
    let newest = figures.last().unwrap().path.clone();
    assert_eq!(harness.state().performed(), Some(&Action::OpenRun(newest)));
    act(&mut harness, RunsAction::Find);
    harness.get_by_role_and_label(Role::Group, "Chart trend").click_secondary();
    harness.run();
    harness.get_by_label("Export chart…").click();
    harness.run_steps(2);
    settle(&mut harness);
    harness.run();
    harness.get_by_role_and_label(Role::ComboBox, "Chart: GEMM f32 over time");
    harness.get_by_role_and_label(Role::Button, "Close").click();
    harness.run();
    act(&mut harness, RunsAction::Search("no such words".into()));
    assert!(harness.state().state().runs.figures().is_empty(), "only runs that are found");
    assert!(!harness.state().state().allows(&Action::ExportChart(None)), "there is none to export");
}

#[test]
fn an_empty_history_offers_a_run_and_thousands_draw_only_what_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    harness.state_mut().state_mut().choices.view = View::History;
    harness.run();
    harness.get_by_label("Nothing was measured yet; each run is kept here");
    let header = |number: i64| {
        let mut header = RunHeader::of(Path::new("/data/runs/a.json"), &sample::run("a", number));
        header.path = format!("/data/runs/run-{number:05}.json").into();
        Listed::Run(header)
    };
    harness.state_mut().state_mut().history = Some((0..10_000).map(header).collect());
    harness.run();
    harness.get_by_label_contains("10\u{2009}000 saved runs");
    let rows = harness.query_all_by_label("Cancelled, 2 of 11").count();
    assert!((5..60).contains(&rows), "{rows} rows are drawn");
    harness.key_press(Key::End);
    harness.run();
    assert!(harness.query_all_by_label_contains("Name").count() > 0);
    assert_eq!(picked(&harness), ["run-00000"], "the oldest is last");
    act(&mut harness, RunsAction::Sort(Sort::Started));
    assert_eq!(headers(&harness)[0].path, Path::new("/data/runs/run-00000.json"));
}

/// Measures what is promised for ten thousand runs, and prints it: run it by hand, in a release build.
#[test]
#[ignore = "prints times and memory; run it by hand"]
fn ten_thousand_runs() {
    let folder = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("ROOFLINE_RUNS").map(PathBuf::from);
    let folder = kept.as_deref().unwrap_or(folder.path());
    let store = Store::at(folder);
    if store.list_with(&mut |_, _| false).files < 10_000 {
        generate(&store, 10_000);
    }
    let seconds = |since: Instant| since.elapsed().as_secs_f64();
    for name in ["runs.index", "figures.index"] {
        fs::remove_file(folder.join(name)).ok();
    }
    let start = Instant::now();
    let listing = store.list_with(&mut |_, _| true);
    println!("first listing: {:.2} s, {listing:?}", seconds(start));
    let start = Instant::now();
    let listing = store.list_with(&mut |_, _| true);
    println!("second listing: {:.3} s, {listing:?}", seconds(start));
    let start = Instant::now();
    let trend = store.trend(None, &|| true);
    println!("trend: {:.3} s, {} figures of {} metrics", seconds(start), trend.figures.len(), trend.metrics.len());
    drop(trend);
    let start = Instant::now();
    let gate = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let mut harness = window(USUAL, folder, &gate);
    harness.state_mut().state_mut().choices.view = View::History;
    until(&mut harness, "listed", |harness| harness.state().state().history.is_some());
    println!("launch until the list can be used: {:.3} s", seconds(start));
    for (what, prepare) in [("the list", RunsAction::PickNone), ("all picked", RunsAction::PickAll)] {
        act(&mut harness, prepare);
        harness.hover_at(eframe::egui::pos2(600.0, 400.0));
        let mut times = Vec::new();
        for _ in 0..300 {
            harness.event(Event::MouseWheel {
                unit: eframe::egui::MouseWheelUnit::Point,
                delta: eframe::egui::vec2(0.0, -400.0),
                modifiers: Modifiers::NONE,
                phase: eframe::egui::TouchPhase::Move,
                source: eframe::egui::MouseWheelSource::Trackpad,
            });
            let start = Instant::now();
            harness.step();
            times.push(1e3 * seconds(start));
        }
        times.sort_by(f64::total_cmp);
        println!("scrolling {what}: median {:.2} ms, 99 % within {:.2} ms a frame", times[150], times[297]);
    }
    let context = harness.ctx.clone();
    harness.run_steps(40);
    harness.state_mut().perform(&context, Action::Runs(RunsAction::Search("epyc 2026".into())));
    let start = Instant::now();
    harness.step();
    println!("the frame after a search: {:.1} ms", 1e3 * seconds(start));
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        status
            .lines()
            .filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"))
            .for_each(|l| println!("{l}"));
    }
}
