//! A run of five engines on one GPU, with everything that can happen to an entry.

use roofline::{
    engine::{
        EngineId,
        find::{FoundIn, Located, Missing, Place},
    },
    machine::{Device, DeviceKind},
    measure::{Check, Fingerprint, Measurement},
    model::resolve,
    record::{Entry, Load, Mark, MarkKind, Outcome, Run, RunState},
    run::FoundDevice,
    ui::{App, Devices, EngineStage, EngineWork, ListedEngine, Session, View},
    units::Unit,
    workload::{
        Attention, Dtype, Gemm, Inference, InferencePhase, LEARNING_RATE_MILLIONTHS, MemoryOp, ModelLoad, ModelRef,
        Precision, Target, Training, Workload,
    },
};

use crate::scenes::{abilities, bandwidth, device, measurement, pending_run};

pub(crate) const ENGINES: [EngineId; 5] = EngineId::ALL;

/// What the engine calls the GPU.
pub(crate) fn device_of(engine: EngineId) -> Device {
    let cuda = Device {
        kind: DeviceKind::DiscreteGpu,
        backend: "CUDA".to_owned(),
        ..device("cuda:0", "NVIDIA H100 80GB HBM3", false)
    };
    match engine {
        EngineId::Wgpu => Device { id: "vulkan:0".to_owned(), backend: "Vulkan".to_owned(), ..cuda },
        _ => cuda,
    }
}

/// How fast an engine multiplies, beside the fastest.
fn share(engine: EngineId, dtype: Dtype) -> Option<f64> {
    match (engine, dtype) {
        (EngineId::Wgpu, Dtype::F32) => Some(0.97),
        (EngineId::Wgpu, Dtype::F16) => Some(0.61),
        (EngineId::Wgpu, _) => None,
        (EngineId::Candle, _) => Some(0.93),
        (EngineId::Pytorch, _) => Some(1.0),
        (EngineId::Mlx, Dtype::F32) => Some(0.995),
        (EngineId::Mlx, _) => Some(0.81),
        _ => Some(0.7),
    }
}

fn rate(n: u32, dtype: Dtype) -> f64 {
    let peak = match dtype {
        Dtype::F32 => 52e12,
        Dtype::Tf32 => 380e12,
        Dtype::F16 | Dtype::Bf16 => 760e12,
    };
    peak / (1.0 + (1400.0 / f64::from(n)).powi(2))
}

/// Everything of one run, while it is filled.
struct Filling {
    run: Run,
}

impl Filling {
    fn add(&mut self, workload: Workload, engine: EngineId, value: Option<f64>) -> &mut Entry {
        let index = self.run.entries.len();
        let mut entry = Entry::pending(workload, engine, &device_of(engine).id);
        let seconds = 2 * i64::try_from(index).unwrap();
        entry.started_at = Some(self.run.started_at + jiff::SignedDuration::from_secs(seconds));
        entry.duration_s = Some(1.8);
        match value {
            Some(value) => {
                entry.outcome = Outcome::Done;
                let unit = entry.workload.unit();
                let first = Measurement { metric: "throughput".to_owned(), ..measurement(unit, value, None) };
                entry.measurements = vec![first];
            }
            None => entry.outcome = Outcome::Unsupported(format!("{} has no such operation", engine.title())),
        }
        let settings = [("torch", "2.15.0"), ("python", "3.11.7"), ("threads", "16"), ("tf32", "off")];
        if engine == EngineId::Pytorch {
            entry.settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        }
        let used = (!engine.is_built_in()).then_some(0.98);
        entry.load = Some(Load { average_before: Some(0.4), average_after: Some(1.1), processors_used: used });
        self.run.entries.push(entry);
        self.run.entries.last_mut().unwrap()
    }

    fn kernels(&mut self) {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
            for n in [512, 1024, 2048, 4096, 8192] {
                for engine in ENGINES.into_iter().filter(|engine| *engine != EngineId::LlamaCpp) {
                    let Some(share) = share(engine, dtype) else { continue };
                    let workload = Workload::Gemm(Gemm::square(n, dtype));
                    let entry = self.add(workload, engine, Some(share * rate(n, dtype)));
                    let error = if dtype == Dtype::F32 { 3e-7 } else { 3e-4 };
                    entry.check = Some(Check::of("f64 dot products", &[(1.0, 1.0 + error)], 1e-2, true));
                    entry.precision = Some(format!("{dtype} operands, f32 accumulation"));
                }
            }
        }
        for sequence in [1024, 4096] {
            let work = || Workload::Attention(Attention::mistral(sequence, Dtype::F16, true));
            for (engine, value) in [(EngineId::Candle, 190e12), (EngineId::Pytorch, 410e12), (EngineId::Mlx, 330e12)] {
                self.add(work(), engine, Some(value * f64::from(sequence) / 4096.0));
            }
        }
        for (place, op) in MemoryOp::ALL.into_iter().enumerate() {
            for (engine, value) in [(EngineId::Wgpu, 2.96e12), (EngineId::Pytorch, 2.92e12), (EngineId::Mlx, 1.9e12)] {
                self.add(bandwidth(op), engine, Some(value * (1.0 - 0.02 * place as f64)));
            }
        }
    }

    /// Prefill, decode, load and training: in tokens a second, seconds and tokens a second.
    fn model(&mut self, model: &ModelRef, engine: EngineId, [prefill, decode, load, training]: [Option<f64>; 4]) {
        let infer = |phase| Workload::Inference(Inference { model: model.clone(), phase, batch: 1 });
        let rate = load.map(|seconds| model.weight_bytes as f64 / seconds);
        let entry = self.add(Workload::ModelLoad(ModelLoad { model: model.clone() }), engine, rate);
        if let Some(seconds) = load {
            let time = Measurement { metric: "load-time".into(), ..measurement(Unit::Second, seconds, None) };
            entry.measurements.push(time);
        }
        let peak = model.weight_bytes as f64 * if engine == EngineId::Pytorch { 1.12 } else { 1.05 };
        let peak = Measurement { metric: "peak-memory".into(), ..measurement(Unit::Byte, peak, None) };
        let first = self.add(infer(InferencePhase::Prefill { tokens: 512 }), engine, prefill);
        first.fingerprint = Some(said(engine));
        first.measurements.push(peak.clone());
        for depth in [0, 512] {
            let phase = InferencePhase::Decode { tokens: 128, depth };
            let entry = self.add(infer(phase), engine, decode.map(|rate| rate * (1.0 - f64::from(depth) / 8192.0)));
            if decode.is_some() {
                entry.measurements.push(peak.clone());
            }
        }
        let work = Workload::Training(Training {
            model: model.clone(),
            rank: 8,
            targets: vec![Target::Q, Target::V],
            sequence: 512,
            batch: 1,
            clipping: true,
            checkpointing: false,
            learning_rate_millionths: LEARNING_RATE_MILLIONTHS,
        });
        self.add(work, engine, training);
    }
}

/// All say the same but MLX.
fn said(engine: EngineId) -> Fingerprint {
    let shift = if engine == EngineId::Mlx { 1.5 } else { 1e-3 };
    let tokens = if engine == EngineId::Mlx { vec![7; 12] } else { (0..12).collect() };
    Fingerprint { logits: (0..32).map(|id| (id, f64::from(id) - 15.0 + shift)).collect(), tokens }
}

/// The run: kernels and Mistral-7B in 16 and 4 bits.
pub(crate) fn five_engines_run() -> Run {
    let mut run = pending_run();
    run.entries.clear();
    run.suite.name = "standard".to_owned();
    run.machine.chip = "Intel Xeon Platinum 8480C".to_owned();
    run.devices = vec![device_of(EngineId::Wgpu), device_of(EngineId::Pytorch)];
    let mut filling = Filling { run };
    filling.kernels();
    let half = resolve("mistral-7b", Some(&Precision::F16), None).unwrap();
    let quarter = resolve("mistral-7b", Some(&Precision::Q4KM), None).unwrap();
    filling.model(&half, EngineId::Candle, [Some(16_100.0), Some(164.2), Some(4.1), Some(5100.0)]);
    filling.model(&half, EngineId::Pytorch, [Some(15_400.0), Some(131.0), Some(6.3), Some(4630.0)]);
    filling.model(&half, EngineId::Mlx, [Some(9_800.0), Some(118.0), Some(3.2), Some(2900.0)]);
    filling.model(&quarter, EngineId::Candle, [Some(9_120.0), Some(232.0), Some(2.0), None]);
    filling.model(&quarter, EngineId::LlamaCpp, [Some(10_870.0), Some(214.0), Some(1.6), None]);
    let mut run = filling.run;
    let of = |run: &Run, engine, title: &str, size: &str| {
        let found =
            |e: &Entry| e.engine == engine && e.workload.title() == title && e.workload.parameters().contains(size);
        run.entries.iter().position(found).unwrap()
    };
    let mark = |kind, reason: &str| Mark { kind, reason: reason.to_owned() };
    let slow = of(&run, EngineId::Pytorch, "GEMM bf16", "8192");
    run.entries[slow].marks.push(mark(MarkKind::Throttled, "a fixed kernel ran 4.1 % slower after this"));
    let wrong = of(&run, EngineId::Candle, "GEMM f16", "n = 512");
    run.entries[wrong].outcome =
        Outcome::Failed("wrong result: relative error 2.1e-1 against 1.0e-3 allowed".to_owned());
    run.entries[wrong].measurements.clear();
    let functional = of(&run, EngineId::Mlx, "Bandwidth triad", "");
    run.entries[functional].marks.push(mark(MarkKind::Functional, "it allocates its result anew each time"));
    run.state = RunState::Finished;
    run.ended_at = Some(run.started_at + jiff::SignedDuration::from_secs(420));
    run
}

/// Shows it as a finished run.
pub(crate) fn set_five_engines(app: &mut App, selected: Option<usize>) {
    set_engines(app);
    let mut session = Session::saved(five_engines_run(), "/data/runs/20261112T140200-1a2b.json".into());
    session.selected = selected;
    app.state_mut().current = Some(session);
}

/// Four engines are there, and one is not.
pub(crate) fn set_engines(app: &mut App) {
    let there = [EngineId::Wgpu, EngineId::Candle, EngineId::Pytorch, EngineId::LlamaCpp];
    let found = there.map(|engine| FoundDevice { engine, abilities: abilities(engine), device: device_of(engine) });
    let state = app.state_mut();
    state.devices = Devices::Found(found.to_vec());
    let reason = "MLX was not found; get it with: roofline engines install mlx";
    state.absent = vec![(EngineId::Mlx, reason.to_owned())];
}

/// The Engines view: one found, one missing that is being planned, one installed.
pub(crate) fn set_engine_list(app: &mut App, stage: Option<(EngineId, EngineStage)>) {
    set_engines(app);
    let versions = |list: &[(&str, &str)]| list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let pytorch = Located {
        engine: EngineId::Pytorch,
        place: Place::Python { python: "/home/someone/venv/bin/python".into() },
        origin: FoundIn::ActiveEnvironment,
        versions: versions(&[("peft", "0.21.2"), ("torch", "2.15.0"), ("transformers", "5.23.0")]),
    };
    let llama = Located {
        engine: EngineId::LlamaCpp,
        place: Place::LlamaCpp {
            bench: "/data/engines/llama.cpp/1/llama-bench".into(),
            ops: None,
            quantize: None,
            simple: None,
        },
        origin: FoundIn::Installed,
        versions: versions(&[("llama.cpp", "0c1e570")]),
    };
    let missing = Missing {
        reason: "no Python holds mlx and mlx_lm: /usr/bin/python3 lacks both".to_owned(),
        command: "roofline engines install mlx".to_owned(),
    };
    let one = |engine, found, installed_bytes: Option<u64>| ListedEngine {
        engine,
        found,
        chosen: engine == EngineId::Pytorch,
        installed_bytes,
        folder: installed_bytes.map(|_| "/data/engines/llama.cpp".into()),
    };
    let state = app.state_mut();
    state.engines = Some(vec![
        one(EngineId::Pytorch, Ok(pytorch), None),
        one(EngineId::Mlx, Err(missing), None),
        one(EngineId::LlamaCpp, Ok(llama), Some(31_000_000)),
    ]);
    state.engine_work = stage.map(|(engine, stage)| EngineWork { engine, stage });
    state.choices.view = View::Engines;
}

/// What an installation of MLX shows before it begins.
pub(crate) const PLAN: &str = "MLX (CPU wheels) will be installed in /data/engines/mlx\n  1. a virtual environment\n     $ uv venv\n  \
                               about 110.0 MB to download, 352.0 MB on the disk (up to 470.0 MB while it is installed)\n";
