//! The window where room is short, and where what a person does is done again, elsewhere or too early.

use std::{fs, path::Path};

use eframe::egui::{
    Event, Key, Modifiers, MouseWheelSource, MouseWheelUnit, PointerButton, Pos2, Rect, TouchPhase, Vec2,
    accesskit::Role,
};
use egui_kittest::{
    Harness,
    kittest::{NodeT as _, Queryable as _},
};
use roofline::{
    engine::EngineId,
    machine::DeviceKind,
    record::{About, Edit, RunHeader, Store},
    ui::{Action, App, CompareAction, EngineStage, ExportFormat, Pick, ReportRun, RunsAction, Session, View},
};

use crate::{
    engine_scenes::{PLAN, set_engine_list},
    history::generate,
    scenes::{USUAL, device, finished_run, ready, settle, window},
};

/// The smallest window, and one as narrow.
const SMALL: [f32; 2] = [900.0, 600.0];
const NARROW: [f32; 2] = [900.0, 3000.0];

/// Where the views' content ends in them.
const RIGHT: f32 = 876.5;

fn perform(harness: &mut Harness<'static, App>, action: Action) {
    let context = harness.ctx.clone();
    harness.state_mut().perform(&context, action);
    harness.step();
    settle(harness);
    harness.run();
}

/// A window on a folder with so many runs, on its History view.
fn history(folder: &Path, runs: usize, size: [f32; 2]) -> (Harness<'static, App>, Vec<std::path::PathBuf>) {
    let paths = generate(&Store::at(folder), runs);
    let gate = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let mut harness = window(size, folder, &gate);
    settle(&mut harness);
    harness.state_mut().state_mut().choices.view = View::History;
    harness.run();
    (harness, paths)
}

fn picked(harness: &Harness<'static, App>) -> Vec<String> {
    let stem = |path: &std::path::PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    harness.state().state().runs.picked.iter().map(stem).collect()
}

/// The buttons whose names begin so.
fn buttons(harness: &Harness<'static, App>, begins: &str) -> Vec<Rect> {
    let nodes = harness.query_all_by_role(Role::Button);
    let named = nodes.filter(|node| node.accesskit_node().label().is_some_and(|label| label.starts_with(begins)));
    named.map(|node| node.rect()).collect()
}

#[test]
fn results_of_several_engines_are_whole_in_the_smallest_window() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(NARROW, folder.path());
    let mut run = finished_run();
    run.entries[0].engine = EngineId::Candle;
    harness.state_mut().state_mut().current = Some(Session::saved(run, "a.json".into()));
    harness.run();
    let right = |name: &str| {
        let nodes: Vec<f32> = harness.query_all_by_label(name).map(|node| node.rect().right()).collect();
        assert!(!nodes.is_empty(), "{name}");
        nodes.into_iter().fold(0.0, f32::max)
    };
    for name in ["State", "Done", "candle", "wgpu"] {
        assert!(right(name) <= RIGHT - 16.0, "{name}: {}", right(name));
    }
    let title = harness.get_by_role_and_label(Role::Button, "GEMM f32, n = 512").rect();
    let mut engines = harness.get_all_by_label("wgpu").map(|node| node.rect());
    let is_under = |engine: Rect| (engine.left() - title.left()).abs() < 1.0 && engine.top() >= title.bottom() - 2.0;
    assert!(engines.any(|engine| is_under(engine) && engine.top() < title.bottom() + 4.0), "{title:?}");
}

#[test]
fn the_runs_of_a_report_can_all_be_left_out_in_the_smallest_window() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let paths = generate(&store, 3);
    store.edit(&paths[1], &[Edit::Name("A name of many words ".repeat(4))]).unwrap();
    let mut harness = ready(SMALL, folder.path());
    let state = harness.state_mut().state_mut();
    (state.history, state.choices.view) = (Some(store.list()), View::Report);
    for path in &paths {
        perform(&mut harness, Action::ReportRun(ReportRun::Saved(path.clone())));
    }
    let crosses = buttons(&harness, "Leave out ");
    assert!(crosses.len() == 4 && crosses.iter().all(|cross| cross.right() <= RIGHT), "{crosses:?}");
    assert_eq!(buttons(&harness, "Leave out A name of many words").len(), 1, "its name comes first");
    assert!(harness.get_by_role_and_label(Role::Button, "Add run").rect().right() <= RIGHT);
}

#[test]
fn a_date_opens_its_run_and_picks_it_with_ctrl_or_shift() {
    let folder = tempfile::tempdir().unwrap();
    let (mut harness, _) = history(folder.path(), 6, USUAL);
    let click = |harness: &mut Harness<'static, App>, row: usize, modifiers: Modifiers| {
        let nodes = harness.query_all_by_role(Role::Button);
        let dates = nodes.filter(|node| node.accesskit_node().label().is_some_and(|name| name.starts_with("Open ")));
        dates.collect::<Vec<_>>()[row].click_modifiers(modifiers);
        harness.run();
        harness.run_steps(4);
    };
    click(&mut harness, 1, Modifiers::COMMAND);
    click(&mut harness, 4, Modifiers::COMMAND);
    assert_eq!(picked(&harness), ["run-00001", "run-00004"]);
    click(&mut harness, 2, Modifiers::SHIFT);
    assert_eq!(picked(&harness), ["run-00001", "run-00002", "run-00003"]);
    assert!(harness.state().state().opened.is_none() && harness.state().state().choices.view == View::History);
    click(&mut harness, 0, Modifiers::NONE);
    settle(&mut harness);
    assert_eq!(harness.state().state().choices.view, View::Run);
}

#[test]
fn what_could_not_be_kept_is_kept_when_it_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut harness, paths) = history(folder.path(), 2, USUAL);
    perform(&mut harness, Action::Runs(RunsAction::Pick(paths[0].clone(), Pick::Only)));
    // Where what is written should go, there is a folder.
    let way = paths[0].with_extension("about");
    fs::create_dir(&way).unwrap();
    let leave = |harness: &mut Harness<'static, App>| {
        harness.key_press(Key::Enter);
        harness.step();
        settle(harness);
        harness.run();
    };
    harness.get_by_role_and_label(Role::TextInput, "Name").focus();
    harness.run();
    harness.get_by_role_and_label(Role::TextInput, "Name").type_text("Fans off");
    harness.run();
    leave(&mut harness);
    assert!(!harness.state().state().banners.is_empty(), "it is told");
    fs::remove_dir(&way).unwrap();
    harness.get_by_role_and_label(Role::TextInput, "Name").focus();
    harness.run();
    leave(&mut harness);
    assert_eq!(Store::load(&paths[0]).unwrap().about.unwrap_or_default().name.as_deref(), Some("Fans off"));
}

#[test]
fn a_run_is_called_by_the_device_that_was_measured() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = finished_run();
    run.machine.chip = "Intel(R) Xeon(R) Processor".to_owned();
    run.devices = vec![device("cpu", "Intel(R) Xeon(R) Processor", true), device("cuda:0", "NVIDIA H100", false)];
    run.devices[0].kind = DeviceKind::Cpu;
    run.entries.iter_mut().for_each(|entry| entry.device = "cuda:0".to_owned());
    let mut harness = ready(USUAL, folder.path());
    let state = harness.state_mut().state_mut();
    (state.opened, state.choices.view) = (Some(Session::saved(run.clone(), "a.json".into())), View::Explain);
    harness.run();
    harness.get_by_label_contains("NVIDIA H100 · 12 Nov 2026");
    run.about = Some(About { name: Some("Fans off".to_owned()), ..About::default() });
    harness.state_mut().state_mut().opened = Some(Session::saved(run, "a.json".into()));
    perform(&mut harness, Action::Show(View::Report));
    harness.get_by_label_contains("Open run: Fans off · NVIDIA H100 · 12 Nov 2026");
}

#[test]
fn what_a_search_hides_is_neither_picked_nor_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (mut harness, paths) = history(folder.path(), 4, USUAL);
    let store = Store::at(folder.path());
    store.edit(&paths[1], &[Edit::Name("Fans off".into())]).unwrap();
    perform(&mut harness, Action::Runs(RunsAction::PickAll));
    harness.state_mut().state_mut().history = Some(store.list());
    perform(&mut harness, Action::Runs(RunsAction::Search("fans".into())));
    assert_eq!(picked(&harness), ["run-00001"]);
    perform(&mut harness, Action::Runs(RunsAction::Delete));
    assert_eq!(store.list().len(), 3);
    perform(&mut harness, Action::Runs(RunsAction::Everything));
    assert!(picked(&harness).is_empty());
    // Nothing is seen of what is picked while a metric is shown over time.
    perform(&mut harness, Action::Runs(RunsAction::PickAll));
    perform(&mut harness, Action::Runs(RunsAction::Trend(true)));
    assert!(!harness.state().state().allows(&Action::Runs(RunsAction::Delete)));
}

#[test]
fn a_picked_row_stays_in_sight_beside_its_details() {
    let folder = tempfile::tempdir().unwrap();
    let (mut harness, _) = history(folder.path(), 40, SMALL);
    let last = |harness: &Harness<'static, App>| {
        let rects = harness.query_all_by_label("Finished, 2 of 11").map(|node| node.rect());
        rects.filter(|rect| rect.bottom() < 540.0).max_by(|a, b| a.top().total_cmp(&b.top())).unwrap()
    };
    let place = last(&harness).center();
    harness.event(Event::PointerMoved(place));
    for pressed in [true, false] {
        let (button, modifiers) = (PointerButton::Primary, Modifiers::NONE);
        harness.event(Event::PointerButton { pos: place, button, pressed, modifiers });
    }
    harness.run();
    harness.run_steps(4);
    let state = harness.state().state();
    let path = state.runs.picked.first().unwrap().clone();
    let header: &RunHeader = state.runs.only(state.history.as_ref().unwrap()).unwrap();
    assert_eq!(header.path, path);
    let card = harness.get_by_role_and_label(Role::TextInput, "Name").rect();
    let name = format!("Open {}", header.started_at.to_zoned(jiff::tz::TimeZone::system()).strftime("%-d %b %Y %H:%M"));
    let row = buttons(&harness, &name);
    assert!(row.len() == 1 && row[0].bottom() < card.top() - 60.0, "{row:?} {card:?}");
}

#[test]
fn a_double_click_opens_its_run_though_the_details_come_between() {
    let folder = tempfile::tempdir().unwrap();
    let (mut harness, _) = history(folder.path(), 40, SMALL);
    harness.ctx.options_mut(|options| options.input_options.max_double_click_delay = 60.0);
    let rects = harness.query_all_by_label("Finished, 2 of 11").map(|node| node.rect());
    let places: Vec<Pos2> = rects.map(|rect| rect.center()).filter(|place| place.y < 540.0).collect();
    // Where the buttons of the details come, of which one deletes.
    let place = places.into_iter().max_by(|a, b| a.y.total_cmp(&b.y)).unwrap();
    let click = |harness: &mut Harness<'static, App>| {
        harness.event(Event::PointerMoved(place));
        for pressed in [true, false] {
            let (button, modifiers) = (PointerButton::Primary, Modifiers::NONE);
            harness.event(Event::PointerButton { pos: place, button, pressed, modifiers });
        }
        harness.run();
    };
    click(&mut harness);
    let first = harness.state().state().runs.picked.first().unwrap().clone();
    let field = harness.get_by_role_and_label(Role::TextInput, "Name").rect();
    assert!(place.y > field.top() - 60.0, "it has come: {place} {field:?}");
    click(&mut harness);
    assert_eq!(harness.state().performed(), Some(&Action::OpenRun(first)));
}

#[test]
fn the_reference_is_shown_from_any_view() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [(View::Machine, View::Run), (View::History, View::Run), (View::Explain, View::Explain)] {
        let mut harness = ready(USUAL, folder.path());
        harness.state_mut().state_mut().choices.view = from;
        perform(&mut harness, Action::OpenReference);
        assert_eq!(harness.state().state().choices.view, to);
        assert!(harness.state().state().opened.is_some() && harness.state().state().opening.is_none());
    }
}

#[test]
fn what_is_written_about_a_run_reaches_its_export() {
    let folder = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let path = store.save(&finished_run()).unwrap();
    let mut harness = ready(USUAL, folder.path());
    harness.state_mut().state_mut().history = Some(store.list());
    perform(&mut harness, Action::OpenRun(path.clone()));
    for (name, chosen) in [("First", ReportRun::Shown), ("Second", ReportRun::Saved(path.clone()))] {
        harness.state_mut().state_mut().report.chosen = vec![chosen];
        perform(&mut harness, Action::Show(View::Report));
        perform(&mut harness, Action::Runs(RunsAction::Edit(path.clone(), vec![Edit::Name(name.into())])));
        perform(&mut harness, Action::Show(View::Report));
        let file = out.path().join(format!("{name}.json"));
        perform(&mut harness, Action::ExportTo(ExportFormat::Json, file.clone()));
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(&format!("\"name\": \"{name}\"")), "{name}");
    }
}

#[test]
fn each_view_keeps_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(SMALL, folder.path());
    set_engine_list(harness.state_mut(), None);
    harness.run();
    let top = |harness: &Harness<'static, App>| harness.get_by_role_and_label(Role::Button, "Check MLX").rect().top();
    let before = top(&harness);
    harness.event(Event::PointerMoved(Pos2::new(500.0, 400.0)));
    let (unit, delta, phase) = (MouseWheelUnit::Point, Vec2::new(0.0, -120.0), TouchPhase::Move);
    let (modifiers, source) = (Modifiers::NONE, MouseWheelSource::Unknown);
    harness.event(Event::MouseWheel { unit, delta, phase, modifiers, source });
    harness.run();
    let scrolled = top(&harness);
    assert!(scrolled < before - 50.0, "{before} {scrolled}");
    for view in View::ALL {
        perform(&mut harness, Action::Show(view));
    }
    perform(&mut harness, Action::Show(View::Engines));
    assert!((top(&harness) - scrolled).abs() < 1.0, "{scrolled} {}", top(&harness));
}

#[test]
fn the_plan_of_an_installation_comes_into_sight() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(SMALL, folder.path());
    set_engine_list(harness.state_mut(), None);
    harness.run();
    set_engine_list(harness.state_mut(), Some((EngineId::LlamaCpp, EngineStage::Planned(PLAN.to_owned()))));
    harness.run();
    harness.run_steps(2);
    let install = harness.get_by_role_and_label(Role::Button, "Install llama.cpp now").rect();
    assert!(install.bottom() < SMALL[1] - 28.0, "{install:?}");
}

#[test]
fn an_opened_run_says_what_it_is_under_its_buttons() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(SMALL, folder.path());
    harness.state_mut().state_mut().opened = Some(Session::saved(finished_run(), "a.json".into()));
    harness.run();
    let title = harness.get_by_label("Quick suite").rect();
    let subject = harness.get_by_label_contains("12 Nov 2026").rect();
    assert!(subject.top() >= title.bottom() - 4.0 && subject.left() < title.right(), "{title:?} {subject:?}");
}

#[test]
fn a_long_name_makes_no_row_wider_than_the_list_to_choose_from() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let paths = generate(&store, 2);
    let name = "A_name_without_a_space".repeat(5);
    store.edit(&paths[0], &[Edit::Name(name)]).unwrap();
    let mut harness = ready(SMALL, folder.path());
    harness.state_mut().state_mut().history = Some(store.list());
    perform(&mut harness, Action::Comparing(CompareAction::Pick));
    let field = harness.get_by_role_and_label(Role::TextInput, "Find a run").rect();
    let rows = buttons(&harness, "A_name_without");
    assert!(rows.len() == 1 && rows[0].right() <= field.right() + 0.5, "{rows:?} {field:?}");
    assert!((field.center().x - SMALL[0] / 2.0).abs() < 2.0, "in the middle: {field:?}");
}

#[test]
fn a_run_that_is_being_opened_and_words_on_the_clipboard_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    harness.state_mut().state_mut().opening = Some("a.json".into());
    harness.run();
    harness.get_by_label("Opening the run…");
    harness.state_mut().state_mut().current = Some(Session::saved(finished_run(), "a.json".into()));
    harness.run();
    harness.get_by_label_contains("another run is being opened");
    perform(&mut harness, Action::OpenRun(folder.path().join("gone.json")));
    assert!(harness.state().state().opening.is_none(), "it could not be opened");
    assert!(harness.query_by_label("Copied").is_none());
    perform(&mut harness, Action::CopyResults);
    harness.get_by_label("Copied");
    perform(&mut harness, Action::Show(View::Machine));
    assert!(harness.query_by_label("Copied").is_none());
}
