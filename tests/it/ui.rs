//! The window, found and driven by role and label as a person or a screen reader would.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use eframe::egui::{self, Event, Key, Modifiers, accesskit::Role};
use egui_kittest::{
    Harness,
    kittest::{NodeT as _, Queryable as _},
};
use roofline::{
    record::{Listed, RunHeader, Store},
    run::SuiteName,
    ui::{Action, App, Devices, Download, DownloadState, View},
};

use crate::scenes::{
    USUAL, finished_run, model_run, open_finished, pictured, ready, set_doubts, set_finished, set_models, set_running,
    settle, window,
};

#[test]
fn until_devices_are_known_nothing_can_be_run() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Arc::new(AtomicBool::new(false));
    let mut harness = window(USUAL, folder.path(), &gate);
    harness.run();
    assert!(harness.query_all_by_label("Looking for devices…").count() > 0);
    assert!(harness.get_by_role_and_label(Role::Button, "Run suite").accesskit_node().is_disabled());
    gate.store(true, Ordering::Release);
}

#[test]
fn without_a_device_it_says_why_and_offers_to_look_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    harness.state_mut().state_mut().devices = Devices::Missing("no Vulkan driver answers; install one".to_owned());
    harness.run();
    harness.get_by_label("No Vulkan driver answers; install one");
    harness.get_by_role_and_label(Role::Button, "Look for devices again").click();
    // The answer arrives in one of the frames after it.
    harness.run_steps(2);
    assert_eq!(harness.state().performed(), Some(&Action::LookAgain));
}

#[test]
fn idle_shows_what_will_be_measured_and_starts_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    harness.get_by_label("Quick suite");
    harness.get_by_label_contains("up to 50 s");
    assert_eq!(harness.query_all_by_label("Ready").count(), 10);
    harness.get_by_role_and_label(Role::Button, "Standard").click();
    harness.run();
    assert_eq!(harness.state().state().choices.suite(), SuiteName::Standard);
    harness.get_by_role_and_label(Role::Button, "Run suite").click();
    harness.step();
    assert_eq!(harness.state().performed(), Some(&Action::RunSuite));
}

#[test]
fn a_click_runs_the_suite_saves_it_and_lists_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    harness.get_by_role_and_label(Role::Button, "Run suite").click();
    let start = Instant::now();
    let listed = |app: &App| app.state().history.as_ref().is_some_and(|list| !list.is_empty());
    while !listed(harness.state()) && start.elapsed() < Duration::from_secs(30) {
        harness.step();
        std::thread::sleep(Duration::from_millis(2));
    }
    harness.run();
    assert!(!harness.state().state().running());
    assert!(harness.query_all_by_label_contains("Unsupported: the fake device can do nothing").count() > 0);
    harness.get_by_label_contains(&folder.path().display().to_string());
    assert!(harness.state().state().banners.is_empty(), "{:?}", harness.state().state().banners);
}

#[test]
fn a_run_that_starts_can_be_cancelled_and_not_started_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    let context = harness.ctx.clone();
    let press = |app: &mut App, action: &Action| app.perform(&context, action.clone());
    // Every frame until the run is listed asks for it again: only one is ever started.
    let listed = |app: &App| app.state().history.as_ref().is_some_and(|list| !list.is_empty());
    let start = Instant::now();
    while !listed(harness.state()) && start.elapsed() < Duration::from_secs(30) {
        let app = harness.state_mut();
        if app.state().current.is_none() {
            press(app, &Action::RunSuite);
        }
        harness.step();
    }
    assert!(harness.state().state().banners.is_empty(), "{:?}", harness.state().state().banners);
    // Cancelled before it is planned, it never begins.
    settle(&mut harness);
    let app = harness.state_mut();
    press(app, &Action::RunSuite);
    assert!(app.state().starting);
    press(app, &Action::Cancel);
    assert!(!app.state().starting);
    settle(&mut harness);
    assert_eq!(std::fs::read_dir(Store::at(folder.path()).folder()).unwrap().count(), 2, "one run and the lock");
}

#[test]
fn running_shows_progress_and_cancel_takes_the_place_of_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    set_running(harness.state_mut());
    harness.step();
    assert!(harness.query_by_role_and_label(Role::Button, "Run suite").is_none());
    harness.get_by_label("Sample 7 of 10");
    harness.get_by_label("5 of 11 done · GEMM f32 n = 2048 · sample 7 of 10");
    harness.get_by_role_and_label(Role::Image, "Bandwidth over the time measured, at most 141.2 GB/s");
    harness.get_by_role_and_label(Role::Button, "Cancel").click();
    harness.step();
    harness.step();
    assert_eq!(harness.state().performed(), Some(&Action::Cancel));
    harness.get_by_label_contains("Cancelling — finishing the current batch");
    assert!(harness.get_by_role_and_label(Role::Button, "Cancel").accesskit_node().is_disabled());
}

#[test]
fn finished_rows_say_value_unit_doubt_and_failure() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready([1200.0, 1200.0], folder.path());
    set_finished(harness.state_mut());
    harness.run();
    assert_eq!(harness.query_all_by_label_contains("3.642").count(), 2, "as the best and in its row");
    harness.get_by_label("throttled");
    harness.get_by_label_contains("Failed: wrong result: relative error 2.1e-1");
    harness.get_by_label_contains("Skipped: an estimated 3 min 05 s");
    harness.get_by_label("1 entry failed; the table says why");
    harness.get_by_role_and_label(Role::Image, "Bandwidth read by size, at most 401.9 GB/s");
    harness.get_by_role_and_label(Role::Button, "GEMM f16, n = 512").click();
    harness.run();
    harness.get_by_label_contains("Wrong result: relative error 2.1e-1");
    harness.get_by_label("Took");
    harness.get_by_role_and_label(Role::Button, "Copy results").click();
    harness.step();
    assert_eq!(harness.state().performed(), Some(&Action::CopyResults));
}

#[test]
fn the_palette_opens_by_keys_filters_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    harness.key_press_modifiers(Modifiers::COMMAND, Key::K);
    harness.run();
    harness.get_by_role(Role::TextInput).type_text("machine show");
    harness.run();
    harness.get_by_role_and_label(Role::Button, "Show Machine Ctrl+6");
    harness.key_press(Key::Enter);
    harness.run();
    assert_eq!(harness.state().state().choices.view, View::Machine);
    assert!(harness.query_by_role(Role::TextInput).is_none(), "it closes after running a command");
    harness.key_press_modifiers(Modifiers::COMMAND, Key::K);
    harness.run();
    harness.key_press(Key::Escape);
    harness.run();
    assert!(harness.query_by_role(Role::TextInput).is_none(), "Esc closes it");
}

#[test]
fn what_is_typed_together_with_enter_runs_what_it_names_and_enter_alone_runs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    let press = |key, modifiers| Event::Key { key, physical_key: None, pressed: true, repeat: false, modifiers };
    // As they come while frames are rare: all of it between two of them.
    let input = &mut harness.input_mut().events;
    input.push(press(Key::K, Modifiers::COMMAND));
    input.extend(["show ", "history"].map(|text| Event::Text(text.to_owned())));
    input.push(press(Key::Enter, Modifiers::NONE));
    harness.run();
    assert_eq!(harness.state().performed(), Some(&Action::Show(View::History)));
    harness.key_press_modifiers(Modifiers::COMMAND, Key::K);
    harness.run();
    harness.key_press(Key::Enter);
    harness.run();
    assert_eq!(harness.state().performed(), Some(&Action::Palette), "nothing was named");
    // Arrows between two frames are as many as were pressed.
    let down = || press(Key::ArrowDown, Modifiers::NONE);
    let events = [down(), down(), down(), press(Key::ArrowUp, Modifiers::NONE), press(Key::Enter, Modifiers::NONE)];
    harness.input_mut().events.extend(events);
    harness.run();
    assert_eq!(harness.state().performed(), Some(&Action::Show(View::Run)), "the second of the list");
}

#[test]
fn the_keyboard_alone_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Num2);
    harness.run();
    assert_eq!(harness.state().state().choices.view, View::History);
    harness.get_by_label_contains("Nothing was measured yet");
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Num1);
    harness.run();
    set_finished(harness.state_mut());
    harness.run();
    for _ in 0..40 {
        if harness.get_by_role_and_label(Role::Button, "GEMM f32, n = 4096").is_focused() {
            break;
        }
        harness.key_press(Key::Tab);
        harness.run();
    }
    harness.key_press(Key::Enter);
    harness.run();
    assert_eq!(harness.state().state().current.as_ref().unwrap().selected, Some(6));
    harness.key_press(Key::ArrowDown);
    harness.run();
    assert_eq!(harness.state().state().current.as_ref().unwrap().selected, Some(7));
    harness.get_by_label_contains("Wrong result: relative error 2.1e-1");
    harness.key_press_modifiers(Modifiers::COMMAND, Key::R);
    harness.step();
    harness.step();
    assert_eq!(harness.state().performed(), Some(&Action::RunSuite));
}

#[test]
fn history_lists_runs_and_unreadable_files_and_opens_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    let path = Path::new("/data/runs/a.json");
    let broken = "the file is not a whole run file (EOF while parsing); it was left alone: /data/runs/b.json";
    let state = harness.state_mut().state_mut();
    state.history = Some(vec![
        Listed::Run(RunHeader::of(path, &finished_run())),
        Listed::Unreadable { path: "/data/runs/b.json".into(), reason: broken.to_owned() },
    ]);
    harness.run();
    harness.get_by_label_contains("about 34 s");
    harness.get_by_role_and_label(Role::Button, "History").click();
    harness.run();
    harness.get_by_label("Unreadable");
    harness.get_by_label_contains("The file is not a whole run file");
    harness.get_by_label("7.155 TFLOPS");
    harness
        .query_all_by_role(Role::Button)
        .find(|node| node.accesskit_node().label().is_some_and(|l| l.starts_with("Open ")))
        .unwrap()
        .click();
    // The file isn't there, which is told whenever that is found out: the window may not settle at once.
    harness.run_steps(2);
    assert_eq!(harness.state().performed(), Some(&Action::OpenRun(path.to_owned())));
}

#[test]
fn an_opened_run_can_be_closed_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let path = store.save(&finished_run()).unwrap();
    let mut harness = ready(USUAL, folder.path());
    harness.state_mut().state_mut().opened = Some(roofline::ui::Session::saved(Store::load(&path).unwrap(), path));
    harness.run();
    harness.get_by_label_contains("12 Nov 2026");
    harness.get_by_role_and_label(Role::Button, "Back to this machine").click();
    harness.run();
    assert!(harness.state().state().opened.is_none());
}

#[test]
fn doubts_before_the_start_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    set_doubts(harness.state_mut());
    harness.run();
    harness.get_by_label_contains("emulated in software");
    harness.get_by_label_contains("runs on battery");
    harness.get_by_label_contains("Low-power mode is on");
    harness.get_by_label_contains("6.3 on 10 processors");
    harness.get_by_label_contains("The run could not be saved (disk full)");
    harness.get_by_role_and_label(Role::ComboBox, "Device, Automatic");
    harness.get_by_role_and_label(Role::Button, "Dismiss").click();
    harness.run();
    assert!(harness.query_by_label_contains("could not be saved").is_none());
}

#[test]
fn models_are_listed_with_what_fits_and_run_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready([1200.0, 1200.0], folder.path());
    set_models(harness.state_mut());
    harness.run();
    harness.get_by_label("Presets");
    assert!(harness.query_all_by_label_contains("No: needs 14.5").count() > 0);
    harness.get_by_label_contains("The file is cut off");
    harness.get_by_role_and_label(Role::Button, "Run mistral-1b Q4_K_M").click();
    harness.step();
    let wanted = Action::RunModel { asked: "mistral-1b".into(), precision: Some("Q4_K_M".into()) };
    assert_eq!(harness.state().performed(), Some(&wanted));
}

#[test]
fn a_model_is_added_by_path_and_what_is_none_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready([1200.0, 1200.0], folder.path());
    set_models(harness.state_mut());
    harness.run();
    let missing = folder.path().join("no-such.gguf");
    harness.get_by_role_and_label(Role::TextInput, "File or folder").focus();
    harness.run();
    harness.get_by_role_and_label(Role::TextInput, "File or folder").type_text(missing.to_str().unwrap());
    harness.run();
    harness.get_by_role_and_label(Role::Button, "Add file or folder").click();
    harness.step();
    settle(&mut harness);
    harness.run();
    assert_eq!(harness.state().performed(), Some(&Action::AddModel));
    harness.get_by_label_contains("no-such.gguf");
    assert_eq!(harness.state().state().choices.model_paths.len(), 1, "what is no model is not kept");
}

#[test]
fn a_download_needs_a_name_shows_how_far_it_is_and_ends_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready([1200.0, 1200.0], folder.path());
    set_models(harness.state_mut());
    harness.run();
    harness.get_by_role_and_label(Role::Button, "Download model").click();
    harness.run();
    harness.get_by_label_contains("write org/name");
    let download = |state| Download {
        asked: "mistralai/Mistral-7B-v0.3".into(),
        state,
        file: "model-00001-of-00003.safetensors".into(),
        done_bytes: 3_000_000_000,
        total_bytes: 14_500_000_000,
    };
    harness.state_mut().state_mut().download = Some(download(DownloadState::Going));
    harness.run();
    harness.get_by_label_contains("20.7 %");
    assert!(harness.get_by_role_and_label(Role::Button, "Run mistral-1b Q4_K_M").accesskit_node().is_disabled());
    harness.get_by_role_and_label(Role::Button, "Cancel download").click();
    harness.run();
    assert_eq!(harness.state().performed(), Some(&Action::CancelDownload));
    let failed = DownloadState::Failed("access is refused; accept the licence, and give a token".into());
    harness.state_mut().state_mut().download = Some(download(failed));
    harness.run();
    harness.get_by_label("Access is refused; accept the licence, and give a token");
}

#[test]
fn a_run_of_models_shows_tokens_loss_and_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready([1200.0, 1200.0], folder.path());
    let session = roofline::ui::Session::saved(model_run(), "/data/runs/a.json".into());
    harness.state_mut().state_mut().current = Some(session);
    harness.run();
    harness.get_by_label("Best decode");
    harness.get_by_role_and_label(Role::Image, "Tokens over the time measured, at most 61.69 tokens/s");
    harness.get_by_role_and_label(Role::Image, "Loss of LoRA 1 × 128, 0.505 nats after 40 steps");
    assert!(harness.query_by_label_contains("Best GEMM").is_none(), "no kernel was measured");
    let context = harness.ctx.clone();
    harness.state_mut().perform(&context, Action::Select(Some(0)));
    harness.run();
    harness.get_by_label("2.100 GB, 2.400 GB predicted");
}

#[test]
fn the_suite_s_model_is_chosen_beside_its_device() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    set_models(harness.state_mut());
    harness.state_mut().state_mut().choices.view = View::Run;
    harness.run();
    let planned = harness.state().state().planned();
    assert!(planned.iter().filter(|job| job.workload.model().is_some()).count() == 2, "prefill and decode");
    harness.get_by_label_contains(&format!("{} entries", planned.len()));
    harness.get_by_role_and_label(Role::ComboBox, "Model, Automatic").click();
    harness.run();
    harness.get_by_role_and_label(Role::Button, "mistral-1b").click();
    harness.run();
    assert_eq!(harness.state().state().choices.model.as_deref(), Some("mistral-1b"));
    assert!(harness.query_all_by_label_contains("mistral-1b Q4_K_M").count() > 0);
}

#[test]
fn every_view_fits_the_smallest_window() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready([900.0, 600.0], folder.path());
    set_finished(harness.state_mut());
    set_models(harness.state_mut());
    for view in View::ALL {
        harness.state_mut().state_mut().choices.view = view;
        harness.run();
        let inside = egui::Rect::from_min_size(egui::Pos2::ZERO, egui::vec2(900.0, 600.0)).expand(0.5);
        for button in harness.query_all_by_role(Role::Button) {
            let rect = button.rect();
            assert!(rect.left() >= inside.left() && rect.right() <= inside.right(), "{button:?} in {view:?}");
        }
    }
}

/// Pictures to look at, written into the folder that `ROOFLINE_PICTURES` names.
#[test]
#[ignore = "needs a graphics driver, and an eye"]
fn pictures() {
    let Ok(pictures) = std::env::var("ROOFLINE_PICTURES") else { return };
    let folder = tempfile::tempdir().unwrap();
    type Scene = (&'static str, fn(&mut Harness<'static, App>));
    let scenes: [Scene; 11] = [
        ("idle", |_| {}),
        ("running", |harness| set_running(harness.state_mut())),
        ("finished", |harness| open_finished(harness, None)),
        ("detail", |harness| open_finished(harness, Some(3))),
        ("history", |harness| {
            let run = finished_run();
            let path = Path::new("/data/runs/a.json");
            let mut list: Vec<Listed> = (0..9).map(|_| Listed::Run(RunHeader::of(path, &run))).collect();
            let reason = "the file is not a whole run file (EOF at line 1); it was left alone: /data/runs/b.json";
            list.push(Listed::Unreadable { path: "/data/runs/b.json".into(), reason: reason.to_owned() });
            harness.state_mut().state_mut().history = Some(list);
            harness.state_mut().state_mut().choices.view = View::History;
        }),
        ("models", |harness| set_models(harness.state_mut())),
        ("model-run", |harness| {
            let session = roofline::ui::Session::saved(model_run(), "/data/runs/a.json".into());
            harness.state_mut().state_mut().current = Some(session);
        }),
        ("machine", |harness| harness.state_mut().state_mut().choices.view = View::Machine),
        ("palette", |harness| harness.key_press_modifiers(Modifiers::COMMAND, Key::K)),
        ("doubts", |harness| set_doubts(harness.state_mut())),
        ("missing", |harness| {
            let sentence =
                "no Vulkan driver answers; install your GPU's driver, or mesa-vulkan-drivers for a software one";
            harness.state_mut().state_mut().devices = Devices::Missing(sentence.to_owned());
        }),
    ];
    for (name, scene) in scenes {
        for (theme, size, scale) in [
            (egui::Theme::Dark, [1200.0, 780.0], 1.0),
            (egui::Theme::Light, [1200.0, 780.0], 1.0),
            (egui::Theme::Dark, [900.0, 600.0], 1.0),
            (egui::Theme::Light, [1200.0, 780.0], 2.0),
        ] {
            let mut harness = pictured((theme, size, scale), folder.path());
            scene(&mut harness);
            harness.run_steps(4);
            let file = format!("{pictures}/{name}-{theme:?}-{}-{scale}x.png", size[0]);
            harness.render().unwrap().save(file).unwrap();
        }
    }
}
