//! The window in every state, without hardware.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use eframe::egui;
use egui_kittest::Harness;
use roofline::{
    engine::{Abilities, Engine, EngineId, Session as EngineSession},
    machine::{Conditions, Device, DeviceKind, DeviceLimits, Machine, PowerSource},
    measure::{Check, Clock, Measurement, Phase, Progress, Sample, Stop, StopReason, WarmUp},
    model::resolve,
    record::{AppInfo, Canary, Entry, Mark, MarkKind, Outcome, Run, RunState, Store, SuiteInfo},
    run::{Event, FoundDevice, ListedModel, catalogue},
    stats::Summary,
    ui::{App, Choices, Devices, View},
    units::Unit,
    workload::{
        Bandwidth, BandwidthSweep, Dtype, Gemm, Inference, InferencePhase, LEARNING_RATE_MILLIONTHS, MemoryOp,
        Precision, Target, Training, Workload,
    },
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

pub(crate) fn device(id: &str, name: &str, software: bool) -> Device {
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

/// A device of the shaders'.
pub(crate) fn abilities(engine: EngineId) -> Abilities {
    Abilities { kinds: engine.kinds().to_vec(), dtypes: Dtype::SHADERS.to_vec(), precisions: Vec::new() }
}

pub(crate) fn found(device: Device) -> FoundDevice {
    FoundDevice { engine: EngineId::Wgpu, abilities: abilities(EngineId::Wgpu), device }
}

/// A device that runs language models.
pub(crate) fn found_for_models(device: Device) -> FoundDevice {
    FoundDevice { engine: EngineId::Candle, abilities: abilities(EngineId::Candle), device }
}

pub(crate) fn machine() -> Machine {
    Machine {
        chip: "Apple M5".to_owned(),
        architecture: "aarch64".to_owned(),
        logical_cpus: 10,
        memory_bytes: 24 << 30,
        ..Machine::default()
    }
}

/// Samples that scatter a little around `value`, the same every time.
pub(crate) fn measurement(unit: Unit, value: f64, at_bytes: Option<u64>) -> Measurement {
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

pub(crate) fn gemm(n: u32, dtype: Dtype) -> Workload {
    Workload::Gemm(Gemm::square(n, dtype))
}

pub(crate) fn bandwidth(op: MemoryOp) -> Workload {
    Workload::Bandwidth(Bandwidth { op, array_bytes: 512 << 20 })
}

pub(crate) fn sweep() -> BandwidthSweep {
    BandwidthSweep { op: MemoryOp::Read, min_bytes: 64 << 10, max_bytes: 1 << 30 }
}

pub(crate) fn workloads() -> Vec<Workload> {
    let mut list: Vec<Workload> = MemoryOp::ALL.map(bandwidth).to_vec();
    for dtype in Dtype::SHADERS {
        list.extend([512, 2048, 4096].map(|n| gemm(n, dtype)));
    }
    list.push(Workload::BandwidthSweep(sweep()));
    list
}

pub(crate) fn pending_run() -> Run {
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
        notes: Vec::new(),
        about: None,
    }
}

/// The figure of each entry in [`workloads`].
pub(crate) const VALUES: [f64; 11] =
    [141.2e9, 118.6e9, 134.0e9, 131.9e9, 0.912e12, 3.31e12, 3.642e12, 1.207e12, 6.9e12, 7.155e12, 402.0e9];

pub(crate) fn done(run: &Run, index: usize) -> Entry {
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
    entry.canary = Some(Canary { before_s: 1.00e-3, after_s: 1.004e-3, first_s: None });
    entry
}

pub(crate) fn finished_run() -> Run {
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

/// A machine whose processor runs models, with presets and files of all kinds.
pub(crate) fn set_models(app: &mut App) {
    let processor = Device { kind: DeviceKind::Cpu, ..device("cpu", "AMD EPYC", false) };
    let found = vec![found(device("vulkan:0", "llvmpipe", true)), found_for_models(processor)];
    let mut models = catalogue(&found, None, &[]);
    let mut file = models[0].clone();
    file.asked =
        "/home/someone/models/a-rather-long-name-of-a-model-that-somebody-gave-it-v0.3-instruct.Q4_K_M.gguf".into();
    file.path = Some(file.asked.clone().into());
    let broken = ListedModel {
        asked: "mistralai/Mistral-7B-v0.3".into(),
        path: Some("/home/someone/.cache/huggingface/hub/models--mistralai--Mistral-7B-v0.3".into()),
        forms: Err("the file is cut off; download it again: /home/someone/model.safetensors".into()),
    };
    models.extend([file.clone(), broken]);
    let state = app.state_mut();
    state.choices.model_paths = vec![file.asked.into()];
    state.devices = Devices::Found(found);
    state.models = Some(models);
    state.choices.view = View::Models;
}

/// A run of language models that is done, with a loss curve.
pub(crate) fn model_run() -> Run {
    let synthetic = |precision| resolve("mistral-1b", Some(&precision), None).unwrap();
    let inference = |phase| Workload::Inference(Inference { model: synthetic(Precision::Q4KM), phase, batch: 1 });
    let list = [
        (inference(InferencePhase::Prefill { tokens: 512 }), 61.2),
        (inference(InferencePhase::Decode { tokens: 128, depth: 512 }), 9.4),
        (
            Workload::Training(Training {
                model: synthetic(Precision::F32),
                rank: 8,
                targets: vec![Target::Q, Target::V],
                sequence: 128,
                batch: 1,
                clipping: true,
                checkpointing: false,
                learning_rate_millionths: LEARNING_RATE_MILLIONTHS,
            }),
            14.8,
        ),
    ];
    let mut run = pending_run();
    run.devices = vec![Device { kind: DeviceKind::Cpu, ..device("cpu", "AMD EPYC", false) }];
    run.entries = list.iter().map(|(workload, _)| Entry::pending(workload.clone(), EngineId::Candle, "cpu")).collect();
    for (index, (_, rate)) in list.iter().enumerate() {
        let started_at = run.started_at + jiff::SignedDuration::from_secs(4 * i64::try_from(index).unwrap());
        let entry = &mut run.entries[index];
        let named =
            |metric: &str, unit, value| Measurement { metric: metric.to_owned(), ..measurement(unit, value, None) };
        entry.outcome = Outcome::Done;
        (entry.started_at, entry.duration_s) = (Some(started_at), Some(3.5));
        entry.measurements = vec![
            named("throughput", Unit::TokenPerSecond, *rate),
            named("peak-memory", Unit::Byte, 2.1e9),
            named("predicted-memory", Unit::Byte, 2.4e9),
        ];
    }
    run.entries[0].measurements.push(Measurement { metric: "ttft".into(), ..measurement(Unit::Second, 8.4, None) });
    let losses: Vec<f64> = (0..40).map(|step| 0.4 + 8.0 * (-f64::from(step) / 9.0).exp()).collect();
    let mut loss = measurement(Unit::Nat, 1.0, None);
    loss.samples = losses.iter().map(|value| Sample { value: *value, ..loss.samples[0] }).collect();
    loss.summary = Summary::of(&losses).unwrap();
    run.entries[2].measurements.push(loss);
    run.state = RunState::Finished;
    run.ended_at = Some(run.started_at + jiff::SignedDuration::from_secs(14));
    run
}

/// The window's program on a folder, with a fake engine.
pub(crate) fn app(context: &egui::Context, theme: egui::ThemePreference, folder: &Path, gate: &Arc<AtomicBool>) -> App {
    let choices = Choices { theme: theme.into(), ..Choices::default() };
    App::new(context, vec![Box::new(Fake(Arc::clone(gate)))], Store::at(folder), choices).unwrap()
}

/// How many frames a window may go on painting before a test calls that endless. The program's threads ask for frames
/// when they have news; on a busy machine that comes in pieces, so that egui_kittest's usual four are too few.
const MOST_STEPS: u64 = 200;

/// A window of this size on this folder.
pub(crate) fn window(size: [f32; 2], folder: &Path, gate: &Arc<AtomicBool>) -> Harness<'static, App> {
    let build =
        |creation: &mut eframe::CreationContext<'_>| app(&creation.egui_ctx, egui::ThemePreference::Dark, folder, gate);
    let builder = Harness::builder().with_size(size).with_max_steps(MOST_STEPS);
    builder.with_os(egui::os::OperatingSystem::Nix).build_eframe(build)
}

/// How a picture of the window is taken: theme, size in points and pixels a point.
pub(crate) type Look = (egui::Theme, [f32; 2], f32);

/// A window on this folder that knows its device and can be rendered.
pub(crate) fn pictured((theme, size, scale): Look, folder: &Path) -> Harness<'static, App> {
    let preference = match theme {
        egui::Theme::Dark => egui::ThemePreference::Dark,
        egui::Theme::Light => egui::ThemePreference::Light,
    };
    let gate = Arc::new(AtomicBool::new(true));
    let build = |creation: &mut eframe::CreationContext<'_>| app(&creation.egui_ctx, preference, folder, &gate);
    let builder = Harness::builder().with_size(size).with_pixels_per_point(scale).with_theme(theme);
    let mut harness = builder.with_max_steps(MOST_STEPS).wgpu().build_eframe(build);
    settle(&mut harness);
    set_ready(harness.state_mut());
    harness
}

/// Takes news until the background lane owes nothing.
pub(crate) fn settle(harness: &mut Harness<'static, App>) {
    let start = Instant::now();
    while harness.state().waits() && start.elapsed() < Duration::from_secs(20) {
        harness.step();
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A window that knows its device.
pub(crate) fn ready(size: [f32; 2], folder: &Path) -> Harness<'static, App> {
    let mut harness = window(size, folder, &Arc::new(AtomicBool::new(true)));
    settle(&mut harness);
    set_ready(harness.state_mut());
    harness.run();
    harness
}

pub(crate) const USUAL: [f32; 2] = [1200.0, 780.0];

pub(crate) fn set_ready(app: &mut App) {
    let state = app.state_mut();
    state.devices = Devices::Found(vec![found(device("metal:0", "Apple M5", false))]);
    state.machine = Some(machine());
    state.conditions = Some(Conditions { power_source: PowerSource::Mains, ..Conditions::default() });
    state.history = Some(Vec::new());
}

/// Begins a run that is in the middle of its sixth entry.
pub(crate) fn set_running(app: &mut App) {
    let state = app.state_mut();
    let run = pending_run();
    state.apply(Event::Begun(Box::new(run.clone())));
    let began = Instant::now();
    for (index, rate) in VALUES.into_iter().enumerate().take(5) {
        state.apply(Event::Started { index });
        let unit = run.entries[index].workload.unit();
        for batch in 0..16 {
            let value = rate * if batch < 4 { 0.8 + 0.05 * f64::from(batch) } else { 1.0 };
            let at = began + Duration::from_secs_f64(3.0 * index as f64 + 0.5 + 0.15 * f64::from(batch));
            let progress = Progress::Value { metric: "rate".to_owned(), unit, value, warm_up: batch < 4, at };
            state.apply(Event::Progress { index, progress });
        }
        state.apply(Event::Finished { index, entry: Box::new(done(&run, index)) });
    }
    state.apply(Event::Started { index: 5 });
    let phase = Phase::Sampling { done: 7, target: 10 };
    state.apply(Event::Progress { index: 5, progress: Progress::Phase(phase) });
}

pub(crate) fn set_finished(app: &mut App) {
    set_running(app);
    app.state_mut().apply(Event::Saved("/data/runs/20261112T140200-1a2b.json".into()));
    app.state_mut().apply(Event::Ended(Box::new(finished_run())));
    // Nothing is read again, so that the scene stays as it is.
    app.state_mut().stale = false;
}

/// Everything that speaks against a start.
pub(crate) fn set_doubts(app: &mut App) {
    let state = app.state_mut();
    state.devices =
        Devices::Found(vec![found(device("vulkan:0", "llvmpipe", true)), found(device("metal:0", "Apple M5", false))]);
    state.conditions = Some(Conditions {
        power_source: PowerSource::Battery,
        low_power_mode: Some(true),
        load_average: Some(6.3),
        ..Conditions::default()
    });
    state.warn("the run could not be saved (disk full); free some space");
}

pub(crate) fn open_finished(harness: &mut Harness<'static, App>, selected: Option<usize>) {
    let mut session = roofline::ui::Session::saved(finished_run(), "/data/runs/20261112T140200-1a2b.json".into());
    session.selected = selected;
    harness.state_mut().state_mut().current = Some(session);
}
