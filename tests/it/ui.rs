//! The window, found and driven by role and label as a person or a screen reader would.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use eframe::egui::{self, Key, Modifiers, accesskit::Role};
use egui_kittest::{
    Harness,
    kittest::{NodeT as _, Queryable as _},
};
use roofline::{
    engine::{Engine, EngineId, Session as EngineSession},
    machine::{Conditions, Device, DeviceKind, DeviceLimits, Machine, PowerSource},
    measure::{Check, Clock, Measurement, Phase, Progress, Sample, Stop, StopReason, WarmUp},
    record::{AppInfo, Canary, Entry, Listed, Mark, MarkKind, Outcome, Run, RunHeader, RunState, Store, SuiteInfo},
    run::{Event, SuiteName},
    stats::Summary,
    ui::{Action, App, Choices, Devices, View},
    units::Unit,
    workload::{Bandwidth, BandwidthSweep, Dtype, Gemm, MemoryOp, Workload},
};

/// An engine with one device that can do nothing; its driver answers once the gate is open.
struct Fake(Arc<AtomicBool>);

impl Engine for Fake {
    fn id(&self) -> EngineId {
        EngineId::Wgpu
    }

    fn devices(&self) -> Result<Vec<Device>, String> {
        while !self.0.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(vec![device("metal:0", "Apple M5", false)])
    }

    fn open(&self, _device_id: &str) -> Result<Box<dyn EngineSession>, Stop> {
        Err(Stop::Unsupported("the fake device can do nothing".to_owned()))
    }
}

fn device(id: &str, name: &str, software: bool) -> Device {
    Device {
        id: id.to_owned(),
        name: name.to_owned(),
        kind: if software { DeviceKind::Cpu } else { DeviceKind::IntegratedGpu },
        backend: if software { "Vulkan" } else { "Metal" }.to_owned(),
        driver: "Apple".to_owned(),
        driver_info: "26.1".to_owned(),
        pci: None,
        software,
        limits: DeviceLimits {
            max_buffer_bytes: 9 << 30,
            max_binding_bytes: 4 << 30,
            workgroup_memory_bytes: 32 << 10,
            workgroup_invocations: 1024,
            subgroup_sizes: (32, 32),
        },
        features: ["f16", "subgroups", "timestamps"].map(str::to_owned).to_vec(),
    }
}

fn machine() -> Machine {
    Machine {
        chip: "Apple M5".to_owned(),
        architecture: "aarch64".to_owned(),
        logical_cpus: 10,
        memory_bytes: 24 << 30,
        ..Machine::default()
    }
}

/// Samples that scatter a little around `value`, the same every time.
fn measurement(unit: Unit, value: f64, at_bytes: Option<u64>) -> Measurement {
    let scatter = |place: u32| value * (1.0 + 0.004 * f64::from((place * 7) % 5) - 0.008);
    let values: Vec<f64> = (0..12).map(scatter).collect();
    let sample = |value: &f64| Sample { value: *value, iterations: 8, host_s: 0.1, device_s: None, disturbed: false };
    Measurement {
        metric: "rate".to_owned(),
        unit,
        at_bytes,
        summary: Summary::of(&values).unwrap(),
        clock: Clock::DeviceTimestamps,
        stop: StopReason::Converged,
        warm_up: Some(WarmUp { seconds: 0.4, batches: 4, steady: true }),
        repeated_batches: 0,
        samples: values.iter().map(sample).collect(),
    }
}

fn gemm(n: u32, dtype: Dtype) -> Workload {
    Workload::Gemm(Gemm::square(n, dtype))
}

fn bandwidth(op: MemoryOp) -> Workload {
    Workload::Bandwidth(Bandwidth { op, array_bytes: 512 << 20 })
}

fn sweep() -> BandwidthSweep {
    BandwidthSweep { op: MemoryOp::Read, min_bytes: 64 << 10, max_bytes: 1 << 30 }
}

fn workloads() -> Vec<Workload> {
    let mut list: Vec<Workload> = MemoryOp::ALL.map(bandwidth).to_vec();
    for dtype in Dtype::ALL {
        list.extend([512, 2048, 4096].map(|n| gemm(n, dtype)));
    }
    list.push(Workload::BandwidthSweep(sweep()));
    list
}

fn pending_run() -> Run {
    let entries = workloads().into_iter().map(|workload| Entry::pending(workload, EngineId::Wgpu, "metal:0"));
    Run {
        format_version: 1,
        id: "20261112T140200-1a2b".to_owned(),
        started_at: "2026-11-12T14:02:00Z".parse().unwrap(),
        ended_at: None,
        state: RunState::Running,
        app: AppInfo::current(),
        suite: SuiteInfo { name: "quick".to_owned(), budget_s: 45.0 },
        machine: machine(),
        conditions: Conditions::default(),
        devices: vec![device("metal:0", "Apple M5", false)],
        entries: entries.collect(),
    }
}

/// The figure of each entry in [`workloads`].
const VALUES: [f64; 11] =
    [141.2e9, 118.6e9, 134.0e9, 131.9e9, 0.912e12, 3.31e12, 3.642e12, 1.207e12, 6.9e12, 7.155e12, 402.0e9];

fn done(run: &Run, index: usize) -> Entry {
    let mut entry = run.entries[index].clone();
    let unit = entry.workload.unit();
    let started_s = 3 * i64::try_from(index).unwrap();
    entry.outcome = Outcome::Done;
    entry.started_at = Some(run.started_at + jiff::SignedDuration::from_secs(started_s));
    entry.duration_s = Some(2.6);
    entry.measurements = if let Workload::BandwidthSweep(sweep) = &entry.workload {
        let at = |size: u64| if size <= 8 << 20 { 402.0e9 - size as f64 * 1e3 } else { 140.0e9 };
        sweep.sizes().into_iter().map(|size| measurement(unit, at(size), Some(size))).collect()
    } else {
        vec![measurement(unit, VALUES[index], None)]
    };
    entry.check = Some(Check::of("f64 dot products on the host", &[(1.0, 1.0 + 3e-7)], 1e-4, true));
    entry.precision = Some("f32 operands, f32 accumulation".to_owned());
    entry.variant = Some("tile 128 × 128 × 8".to_owned());
    entry.canary = Some(Canary { before_s: 1.00e-3, after_s: 1.004e-3 });
    entry
}

fn finished_run() -> Run {
    let mut run = pending_run();
    for index in 0..run.entries.len() {
        run.entries[index] = done(&run, index);
    }
    run.entries[3]
        .marks
        .push(Mark { kind: MarkKind::Throttled, reason: "the canary was 4.1 % slower after the entry".to_owned() });
    run.entries[7].outcome =
        Outcome::Failed("wrong result: relative error 2.1e-1 against 1.0e-3 allowed (f64 dot products)".to_owned());
    run.entries[7].measurements.clear();
    run.entries[8].outcome = Outcome::Skipped("an estimated 3 min 05 s is more than the 8 s of this suite".to_owned());
    run.entries[8].measurements.clear();
    run.entries[8].check = None;
    run.state = RunState::Finished;
    run.ended_at = Some(run.started_at + jiff::SignedDuration::from_secs(34));
    run
}

/// The window's program on a folder, with a fake engine.
fn app(context: &egui::Context, theme: egui::ThemePreference, folder: &Path, gate: &Arc<AtomicBool>) -> App {
    let choices = Choices { theme: theme.into(), ..Choices::default() };
    App::new(context, vec![Box::new(Fake(Arc::clone(gate)))], Store::at(folder), choices).unwrap()
}

/// A window of this size on this folder.
fn window(size: [f32; 2], folder: &Path, gate: &Arc<AtomicBool>) -> Harness<'static, App> {
    let build =
        |creation: &mut eframe::CreationContext<'_>| app(&creation.egui_ctx, egui::ThemePreference::Dark, folder, gate);
    Harness::builder().with_size(size).with_os(egui::os::OperatingSystem::Nix).build_eframe(build)
}

/// Takes news until the background lane owes nothing.
fn settle(harness: &mut Harness<'static, App>) {
    let start = Instant::now();
    while harness.state().waits() && start.elapsed() < Duration::from_secs(20) {
        harness.step();
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A window that knows its device.
fn ready(size: [f32; 2], folder: &Path) -> Harness<'static, App> {
    let mut harness = window(size, folder, &Arc::new(AtomicBool::new(true)));
    settle(&mut harness);
    set_ready(harness.state_mut());
    harness.run();
    harness
}

const USUAL: [f32; 2] = [1200.0, 780.0];

fn set_ready(app: &mut App) {
    let state = app.state_mut();
    state.devices = Devices::Found(vec![device("metal:0", "Apple M5", false)]);
    state.machine = Some(machine());
    state.conditions = Some(Conditions { power_source: PowerSource::Mains, ..Conditions::default() });
    state.history = Some(Vec::new());
}

/// Begins a run that is in the middle of its sixth entry.
fn set_running(app: &mut App) {
    let state = app.state_mut();
    let run = pending_run();
    state.apply(Event::Begun(Box::new(run.clone())));
    for (index, rate) in VALUES.into_iter().enumerate().take(5) {
        state.apply(Event::Started { index });
        let unit = run.entries[index].workload.unit();
        for batch in 0..16 {
            let value = rate * if batch < 4 { 0.8 + 0.05 * f64::from(batch) } else { 1.0 };
            let progress = Progress::Value { metric: "rate".to_owned(), unit, value, warm_up: batch < 4 };
            state.apply_at(Event::Progress { index, progress }, 3.0 * index as f64 + 0.5 + 0.15 * f64::from(batch));
        }
        state.apply(Event::Finished { index, entry: Box::new(done(&run, index)) });
    }
    state.apply(Event::Started { index: 5 });
    let phase = Phase::Sampling { done: 7, target: 10 };
    state.apply(Event::Progress { index: 5, progress: Progress::Phase(phase) });
}

fn set_finished(app: &mut App) {
    set_running(app);
    app.state_mut().apply(Event::Saved("/data/runs/20261112T140200-1a2b.json".into()));
    app.state_mut().apply(Event::Ended(Box::new(finished_run())));
    // Nothing is read again, so that the scene stays as it is.
    app.state_mut().stale = false;
}

/// Everything that speaks against a start.
fn set_doubts(app: &mut App) {
    let state = app.state_mut();
    state.devices = Devices::Found(vec![device("vulkan:0", "llvmpipe", true), device("metal:0", "Apple M5", false)]);
    state.conditions = Some(Conditions {
        power_source: PowerSource::Battery,
        low_power_mode: Some(true),
        load_average: Some(6.3),
        ..Conditions::default()
    });
    state.warn("the run could not be saved (disk full); free some space");
}

fn open_finished(harness: &mut Harness<'static, App>, selected: Option<usize>) {
    let mut session = roofline::ui::Session::saved(finished_run(), "/data/runs/20261112T140200-1a2b.json".into());
    session.selected = selected;
    harness.state_mut().state_mut().current = Some(session);
}

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
    harness.run();
    assert_eq!(harness.state().performed(), Some(&Action::LookAgain));
}

#[test]
fn idle_shows_what_will_be_measured_and_starts_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    harness.get_by_label("Quick suite");
    harness.get_by_label_contains("up to 45 s");
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
fn running_shows_progress_and_cancel_takes_the_place_of_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    set_running(harness.state_mut());
    harness.step();
    assert!(harness.query_by_role_and_label(Role::Button, "Run suite").is_none());
    harness.get_by_label("Sample 7 of 10");
    harness.get_by_label("5 of 11 done · GEMM f32 n = 2048 · sample 7 of 10");
    harness.get_by_role_and_label(Role::Image, "Bandwidth over time, at most 141.2 GB/s");
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
    harness.get_by_role_and_label(Role::Button, "Show Machine Ctrl+3");
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
    harness.run();
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
    harness.get_by_role_and_label(Role::ComboBox, "Device, llvmpipe · Vulkan (software)");
    harness.get_by_role_and_label(Role::Button, "Dismiss").click();
    harness.run();
    assert!(harness.query_by_label_contains("could not be saved").is_none());
}

#[test]
fn every_view_fits_the_smallest_window() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready([900.0, 600.0], folder.path());
    set_finished(harness.state_mut());
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
    let scenes: [Scene; 9] = [
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
            let preference = match theme {
                egui::Theme::Dark => egui::ThemePreference::Dark,
                egui::Theme::Light => egui::ThemePreference::Light,
            };
            let gate = Arc::new(AtomicBool::new(true));
            let build =
                |creation: &mut eframe::CreationContext<'_>| app(&creation.egui_ctx, preference, folder.path(), &gate);
            let builder = Harness::builder().with_size(size).with_pixels_per_point(scale).with_theme(theme);
            let mut harness = builder.wgpu().build_eframe(build);
            settle(&mut harness);
            set_ready(harness.state_mut());
            scene(&mut harness);
            harness.run_steps(4);
            let file = format!("{pictures}/{name}-{theme:?}-{}-{scale}x.png", size[0]);
            harness.render().unwrap().save(file).unwrap();
        }
    }
}
