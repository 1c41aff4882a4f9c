//! A run built by hand that holds every variant of every type a file can hold.

use std::collections::BTreeMap;

use roofline::{
    engine::EngineId,
    machine::{Conditions, CoreGroup, Device, DeviceKind, DeviceLimits, Machine, OperatingSystem, PowerSource},
    measure::{Check, Clock, Measurement, Sample, StopReason, WarmUp},
    record::{About, AppInfo, Canary, Entry, FORMAT_VERSION, Mark, MarkKind, Outcome, Run, RunState, SuiteInfo},
    stats::Summary,
    units::Unit,
    workload::{
        Bandwidth, BandwidthSweep, Dtype, Gemm, Inference, InferencePhase, LEARNING_RATE_MILLIONTHS, Location,
        MemoryOp, ModelLoad, ModelRef, ModelShape, Origin, Precision, Target, TensorLimit, Training, Workload,
    },
};

/// The run, started at this second of a fixed day.
pub(crate) fn run(id: &str, second: i64) -> Run {
    let start = jiff::Timestamp::from_second(1_760_000_000 + second).unwrap();
    Run {
        format_version: FORMAT_VERSION,
        id: id.to_owned(),
        started_at: start,
        ended_at: Some(start + jiff::SignedDuration::from_millis(41_500)),
        state: RunState::Cancelled,
        app: AppInfo {
            version: "0.1.0".to_owned(),
            commit: "0123456789ab+".to_owned(),
            target: "aarch64-apple-darwin".to_owned(),
            optimised: true,
        },
        suite: SuiteInfo { name: "custom".to_owned(), budget_s: 45.0 },
        machine: machine(),
        conditions: Conditions {
            power_source: PowerSource::Battery,
            low_power_mode: Some(false),
            load_average: Some(0.25),
            available_memory_bytes: 20 << 30,
            window_open: true,
        },
        devices: vec![device(DeviceKind::IntegratedGpu), device(DeviceKind::Cpu)],
        entries: entries(start),
        notes: vec!["The cooling was changed between entries.".to_owned()],
        about: Some(About {
            name: Some("Before the new fan".to_owned()),
            note: Some("Lid open.\nOn the desk.".to_owned()),
            tags: vec!["desk".to_owned()],
        }),
    }
}

fn machine() -> Machine {
    Machine {
        chip: "Apple M5".to_owned(),
        model: Some("Mac17,2".to_owned()),
        architecture: "aarch64".to_owned(),
        cpu_cores: vec![
            CoreGroup { kind: "Performance".to_owned(), count: 4 },
            CoreGroup { kind: "Efficiency".to_owned(), count: 6 },
        ],
        logical_cpus: 10,
        memory_bytes: 24 << 30,
        last_level_cache_bytes: Some(16 << 20),
        gpu_cores: Some(10),
        os: OperatingSystem { name: "macOS".to_owned(), version: "26.1".to_owned(), build: Some("25B78".to_owned()) },
    }
}

fn device(kind: DeviceKind) -> Device {
    Device {
        id: format!("metal:{}", kind as u8),
        name: "Apple M5".to_owned(),
        kind,
        backend: "Metal".to_owned(),
        driver: String::new(),
        driver_info: String::new(),
        pci: (kind == DeviceKind::Cpu).then(|| "106b:0001".to_owned()),
        software: kind == DeviceKind::Cpu,
        limits: DeviceLimits {
            max_buffer_bytes: 14 << 30,
            max_binding_bytes: 4 << 30,
            workgroup_memory_bytes: 32 << 10,
            workgroup_invocations: 1024,
            subgroup_sizes: (4, 64),
        },
        features: vec!["f16".to_owned(), "timestamps".to_owned()],
    }
}

fn entries(start: jiff::Timestamp) -> Vec<Entry> {
    let entry = |workload, outcome| Entry { outcome, ..Entry::pending(workload, EngineId::Wgpu, "metal:1") };
    let gemm = |dtype| Workload::Gemm(Gemm::square(4096, dtype));
    let bandwidth = |op| Workload::Bandwidth(Bandwidth { op, array_bytes: 512 << 20 });
    let sweep = BandwidthSweep { op: MemoryOp::Read, min_bytes: 64 << 10, max_bytes: 1 << 30 };
    let mut all = vec![
        entry(gemm(Dtype::F32), Outcome::Done),
        entry(gemm(Dtype::F16), Outcome::Unsupported("the device has no f16".to_owned())),
        entry(bandwidth(MemoryOp::Copy), Outcome::Done),
        entry(bandwidth(MemoryOp::Triad), Outcome::Skipped("it would take 90 s of the 8 s allowed".to_owned())),
        entry(bandwidth(MemoryOp::Write), Outcome::Failed("wrong result: relative error 0.5".to_owned())),
        entry(Workload::BandwidthSweep(sweep), Outcome::Cancelled),
        entry(Workload::TensorLimit(TensorLimit::default()), Outcome::Pending),
    ];
    all.extend(models().map(|workload| Entry::pending(workload, EngineId::Candle, "metal:0")));
    fill_done(&mut all[0], start);
    all[2].measurements = vec![measurement("copy", Unit::BytePerSecond, Some(1 << 20), StopReason::TimeBudget)];
    all[2].marks = [MarkKind::Throttled, MarkKind::Implausible, MarkKind::Uncertain]
        .map(|kind| Mark { kind, reason: "the canary slowed by 4.1 %".to_owned() })
        .to_vec();
    all[3].estimate_s = Some(90.0);
    all[4].check = Some(Check::of("f64 values on the host", &[(f64::NAN, 1.0)], 1e-6, false));
    all
}

/// Every workload of a language model, from synthetic weights and from files.
fn models() -> [Workload; 4] {
    let model = |origin, precision| ModelRef {
        name: "mistral-7b".to_owned(),
        origin,
        precision,
        shape: ModelShape::MISTRAL_7B,
        weight_bytes: 4_370_000_000,
        token_bytes: 4_300_000_000,
        location: Location::default(),
    };
    let stored = || model(Origin::Files, Precision::Stored("Q5_K_S".to_owned()));
    let inference =
        |phase| Workload::Inference(Inference { model: model(Origin::Synthetic, Precision::Q4KM), phase, batch: 4 });
    [
        Workload::ModelLoad(ModelLoad { model: stored() }),
        inference(InferencePhase::Prefill { tokens: 512 }),
        inference(InferencePhase::Decode { tokens: 128, depth: 4096 }),
        Workload::Training(Training {
            model: model(Origin::Synthetic, Precision::Bf16),
            rank: 8,
            targets: Target::ALL.to_vec(),
            sequence: 512,
            batch: 1,
            clipping: true,
            checkpointing: false,
            learning_rate_millionths: LEARNING_RATE_MILLIONTHS,
        }),
    ]
}

fn fill_done(entry: &mut Entry, start: jiff::Timestamp) {
    entry.started_at = Some(start);
    entry.duration_s = Some(7.25);
    entry.measurements = vec![
        measurement("throughput", Unit::FlopPerSecond, None, StopReason::Converged),
        measurement("time", Unit::Second, None, StopReason::SampleLimit),
        Measurement::single("largest-buffer", Unit::Byte, 1e9, 0.1).unwrap(),
        measurement("decode", Unit::TokenPerSecond, None, StopReason::TimeBudget),
        measurement("loss", Unit::Nat, None, StopReason::SampleLimit),
    ];
    entry.check = Some(Check::of("f64 dot products on the host", &[(1.0, 1.0)], 1e-5, true));
    entry.precision = Some("f32".to_owned());
    entry.variant = Some("gemm_f32_128x128x16".to_owned());
    entry.settings = BTreeMap::from([("bounds checks".to_owned(), "off".to_owned())]);
    entry.canary = Some(Canary { before_s: 0.010, after_s: 0.0101, first_s: Some(0.0099) });
    entry.notes = vec!["The device's clock could not be used".to_owned()];
}

fn measurement(metric: &str, unit: Unit, at_bytes: Option<u64>, stop: StopReason) -> Measurement {
    let values = [3.5e12, 3.6e12, 3.55e12, 3.58e12, 3.52e12, 3.57e12, 3.56e12];
    let sample = |value: &f64| Sample {
        value: *value,
        iterations: 3,
        host_s: 0.125,
        device_s: at_bytes.is_none().then_some(0.1249),
        disturbed: at_bytes.is_some(),
    };
    Measurement {
        metric: metric.to_owned(),
        unit,
        at_bytes,
        summary: Summary::of(&values).unwrap(),
        clock: if at_bytes.is_some() { Clock::HostWall } else { Clock::DeviceTimestamps },
        stop,
        warm_up: Some(WarmUp { seconds: 0.5, batches: 4, steady: true }),
        repeated_batches: 1,
        samples: values.iter().map(sample).collect(),
    }
}
