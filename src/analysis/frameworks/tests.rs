//! The comparison over synthetic runs, among them the figures of the Apple M5 document that Roofline began with.

use super::*;
use crate::{
    machine::{Conditions, Device, DeviceKind, Machine},
    measure::{Fingerprint, Sample, StopReason},
    record::{AppInfo, FORMAT_VERSION, Mark, MarkKind, RunState, SuiteInfo},
    workload::{
        Dtype, Gemm, Inference, InferencePhase, LEARNING_RATE_MILLIONTHS, Layout, Location, ModelLoad, ModelRef,
        ModelShape, Origin, Precision, Target, Training,
    },
};

const GPU: &str = "gpu";

fn run(entries: Vec<Entry>) -> Run {
    let cpu = Device { kind: DeviceKind::Cpu, ..Device::example("cpu", "Apple M5") };
    Run {
        format_version: FORMAT_VERSION,
        id: "a".into(),
        started_at: "2026-11-12T14:02:00Z".parse().unwrap(),
        ended_at: None,
        state: RunState::Finished,
        app: AppInfo::current(),
        suite: SuiteInfo { name: "standard".into(), budget_s: 600.0 },
        machine: Machine::default(),
        conditions: Conditions::default(),
        devices: vec![Device::example(GPU, "Apple M5"), Device::example("vulkan:0", "Apple M5"), cpu],
        entries,
        notes: Vec::new(),
        about: None,
    }
}

/// Done, with one value.
fn done(workload: Workload, engine: EngineId, value: f64) -> Entry {
    let mut entry = Entry::pending(workload, engine, GPU);
    entry.outcome = Outcome::Done;
    let unit = entry.workload.unit();
    entry.measurements = vec![Measurement::single("throughput", unit, value, 1.0).unwrap()];
    entry
}

/// Done, with these samples.
fn sampled(workload: Workload, engine: EngineId, values: &[f64]) -> Entry {
    let mut entry = done(workload, engine, 1.0);
    let sample = |value: &f64| Sample { value: *value, iterations: 1, host_s: 0.1, device_s: None, disturbed: false };
    let samples = values.iter().map(sample).collect();
    let unit = entry.workload.unit();
    entry.measurements = vec![Measurement::of_samples("throughput", unit, samples, StopReason::Converged).unwrap()];
    entry
}

fn with(mut entry: Entry, metric: &str, unit: Unit, value: f64) -> Entry {
    entry.measurements.push(Measurement::single(metric, unit, value, 1.0).unwrap());
    entry
}

fn gemm(n: u32, dtype: Dtype) -> Workload {
    Workload::Gemm(Gemm::square(n, dtype))
}

fn model(precision: Precision, bits: f64) -> ModelRef {
    let shape = ModelShape::MISTRAL_7B;
    let weight_bytes = (shape.parameters() as f64 * bits / 8.0) as u64;
    ModelRef {
        name: "mistral-7b".into(),
        origin: Origin::Synthetic,
        precision,
        shape,
        weight_bytes,
        token_bytes: weight_bytes,
        location: Location::default(),
    }
}

fn four(name: &str) -> ModelRef {
    if name == "Q4_K_M" { model(Precision::Q4KM, 4.9) } else { model(Precision::Stored(name.into()), 4.5) }
}

fn decode(model: &ModelRef, depth: u32) -> Workload {
    let phase = InferencePhase::Decode { tokens: 128, depth };
    Workload::Inference(Inference { model: model.clone(), phase, batch: 1 })
}

fn prefill(model: &ModelRef) -> Workload {
    let phase = InferencePhase::Prefill { tokens: 512 };
    Workload::Inference(Inference { model: model.clone(), phase, batch: 1 })
}

fn training(model: &ModelRef) -> Workload {
    Workload::Training(Training {
        model: model.clone(),
        rank: 8,
        targets: vec![Target::Q, Target::V],
        sequence: 512,
        batch: 1,
        clipping: true,
        checkpointing: false,
        learning_rate_millionths: LEARNING_RATE_MILLIONTHS,
    })
}

/// The figures of the document's GEMM tables and executive summary.
pub(crate) fn document() -> Run {
    let mut entries = Vec::new();
    let sizes = [1024, 2048, 4096];
    let tables = [
        (EngineId::Pytorch, Dtype::F32, [2.59, 3.43, 3.16]),
        (EngineId::Pytorch, Dtype::F16, [6.32, 12.62, 13.84]),
        (EngineId::Mlx, Dtype::F32, [2.58, 3.32, 3.25]),
        (EngineId::Mlx, Dtype::F16, [2.67, 3.59, 3.62]),
    ];
    for (engine, dtype, rates) in tables {
        entries.extend(sizes.iter().zip(rates).map(|(n, rate)| done(gemm(*n, dtype), engine, rate * 1e12)));
    }
    let half = model(Precision::F16, 16.0);
    let (native, gguf) = (four("MLX-4bit"), four("Q4_K_M"));
    let load = |model: &ModelRef, engine, seconds| {
        let rate = model.weight_bytes as f64 / seconds;
        let load = done(Workload::ModelLoad(ModelLoad { model: model.clone() }), engine, rate);
        with(load, "load-time", Unit::Second, seconds)
    };
    let peak = |entry, bytes| with(entry, "peak-memory", Unit::Byte, bytes);
    let mut refused = Entry::pending(training(&gguf), EngineId::LlamaCpp, GPU);
    refused.outcome = Outcome::Unsupported("llama.cpp trains no adapters".into());
    entries.extend([
        load(&half, EngineId::Pytorch, 48.0),
        peak(done(decode(&half, 0), EngineId::Pytorch, 7.7), 14.48e9),
        done(training(&half), EngineId::Pytorch, 174.0),
        load(&native, EngineId::Mlx, 0.8),
        peak(done(decode(&native, 0), EngineId::Mlx, 26.5), 7.5e9),
        done(training(&native), EngineId::Mlx, 130.0),
        load(&gguf, EngineId::LlamaCpp, 1.6),
        peak(done(decode(&gguf, 0), EngineId::LlamaCpp, 24.0), 6.0e9),
        refused,
    ]);
    run(entries)
}

#[test]
fn the_document_s_gemm_ratios_come_out() {
    let comparison = Comparison::of(&document());
    let [versus] = comparison.versus.as_slice() else { panic!("{:?}", comparison.versus) };
    assert_eq!(comparison.columns[versus.baseline].engine, EngineId::Pytorch);
    let told: Vec<_> = versus.ratios.iter().map(|r| (r.gemm.dtype, r.gemm.m, r.text())).collect();
    assert_eq!(told, [(Dtype::F32, 4096, "0.97× (same)".into()), (Dtype::F16, 4096, "3.82×".into())]);
}

#[test]
fn the_document_s_summary_compares_four_bits_with_four_bits() {
    let comparison = Comparison::of(&document());
    let bits: Vec<u32> = comparison.models.iter().map(|group| group.bits).collect();
    assert_eq!(bits, [16, 4]);
    let [half, quarter] = comparison.models.as_slice() else { panic!() };
    assert!(half.rows[0].slots.iter().all(|slot| !slot.best), "nothing to be better than");
    assert!((half.rows[0].slot(ModelColumn::Memory).figure.unwrap().value / 14.48e9 - 1.0).abs() < 0.01);
    let titles: Vec<_> = quarter.rows.iter().map(|row| comparison.columns[row.column].title.as_str()).collect();
    assert_eq!(titles, ["MLX", "llama.cpp"]);
    let best = |column| quarter.rows.iter().position(|row| row.slot(column).best);
    assert_eq!(best(ModelColumn::Decode), Some(0), "26.5 against 24.0");
    assert_eq!(best(ModelColumn::Load), Some(0), "0.8 s against 1.6 s");
    assert_eq!(best(ModelColumn::Peak), Some(1), "6.0 GB against 7.5 GB");
    assert_eq!(best(ModelColumn::Training), None, "only one trains");
    assert_eq!(quarter.rows[1].status, Status::Works);
    let refused = quarter.rows[1].slot(ModelColumn::Training);
    assert_eq!(refused.absence.as_deref(), Some("unsupported: llama.cpp trains no adapters"));
    assert_eq!(
        (half.decode.as_deref(), half.training.as_deref()),
        (Some("Decode 128 at depth 0"), Some("LoRA 1 × 512"))
    );
    assert_eq!(quarter.training.as_deref(), Some("QLoRA 1 × 512"));
}

#[test]
fn equal_work_is_one_row_and_the_best_must_be_clear() {
    let work = || gemm(4096, Dtype::F16);
    let steady = |value: f64| [value; 10];
    let wide: Vec<f64> = (0..10).map(|i| 90.0 + 4.0 * f64::from(i)).collect();
    let three = |last: &[f64]| {
        let entries = vec![
            sampled(work(), EngineId::Mlx, last),
            sampled(work(), EngineId::Pytorch, &steady(100.0)),
            sampled(work(), EngineId::Wgpu, &steady(50.0)),
        ];
        Comparison::of(&run(entries)).rows.remove(0)
    };
    let row = three(&steady(120.0));
    let cell = |row: &Row, column: usize| row.cells[column].clone().unwrap();
    // Columns stand in display order: wgpu, PyTorch, MLX.
    assert_eq!([0, 1, 2].map(|column| cell(&row, column).best), [false, false, true]);
    assert_eq!([0, 1, 2].map(|column| cell(&row, column).ratio), [Some(0.5), None, Some(1.2)]);
    let tie = three(&wide);
    assert_eq!([0, 1, 2].map(|column| cell(&tie, column).best), [false; 3], "the intervals overlap");
    let near = three(&steady(102.0));
    assert!(!cell(&near, 2).best, "2 % are no difference");
}

#[test]
fn a_processor_is_not_held_against_a_gpu_nor_one_layout_against_the_other() {
    let fast = done(gemm(1024, Dtype::F32), EngineId::Wgpu, 9e12);
    let slow = |engine, value| Entry { device: "cpu".into(), ..done(gemm(1024, Dtype::F32), engine, value) };
    let turned = Workload::Gemm(Gemm { layout: Layout::Abt, ..Gemm::square(1024, Dtype::F32) });
    let entries = vec![
        fast,
        slow(EngineId::Candle, 1e11),
        slow(EngineId::Pytorch, 2e11),
        Entry { device: "cpu".into(), ..done(turned, EngineId::Pytorch, 5e11) },
    ];
    let comparison = Comparison::of(&run(entries));
    let places: Vec<String> = comparison.columns.iter().map(|column| column.place.label()).collect();
    assert_eq!(places, ["Apple M5", "processor", "processor"]);
    assert_eq!(comparison.rows.len(), 2);
    let cells: Vec<_> = comparison.rows[0].cells.iter().flatten().map(|cell| (cell.best, cell.ratio)).collect();
    assert_eq!(cells, [(false, None), (false, Some(0.5)), (true, None)]);
    let [versus] = comparison.versus.as_slice() else { panic!("{:?}", comparison.versus) };
    assert_eq!(versus.ratios.len(), 1, "A·Bᵀ is no match for A·B");
    assert!(comparison.absence(0, &prefill(&four("Q4_K_M"))).contains("wgpu has no inference"));
}

#[test]
fn marked_figures_are_shown_and_never_best_or_a_ratio() {
    let mut functional = done(gemm(512, Dtype::F32), EngineId::Mlx, 9e12);
    functional.marks.push(Mark { kind: MarkKind::Functional, reason: "its BLAS is a reference one".into() });
    let entries = vec![
        done(gemm(512, Dtype::F32), EngineId::Candle, 1e12),
        done(gemm(512, Dtype::F32), EngineId::Pytorch, 2e12),
        functional,
    ];
    let comparison = Comparison::of(&run(entries));
    let cell = comparison.rows[0].cells[2].as_ref().unwrap();
    assert_eq!((cell.best, cell.ratio), (false, None));
    assert!(cell.barred.as_ref().unwrap().contains("reference one") && cell.figure.is_some());
    assert!(comparison.rows[0].cells[1].as_ref().unwrap().best);
    assert_eq!(comparison.versus.len(), 1, "candle only");
}

#[test]
fn a_second_path_of_the_same_framework_stays_beside_the_faster_one() {
    let failed = |mut entry: Entry| {
        entry.measurements.clear();
        entry.outcome = Outcome::Failed("it broke".into());
        entry
    };
    let work = || decode(&model(Precision::F16, 16.0), 0);
    let entries = vec![
        done(work(), EngineId::Pytorch, 40.0),
        done(work(), EngineId::Pytorch, 60.0),
        failed(done(work(), EngineId::Pytorch, 90.0)),
    ];
    let comparison = Comparison::of(&run(entries));
    let cell = comparison.rows[0].cells[0].as_ref().unwrap();
    assert_eq!((cell.entry, cell.also.as_slice()), (1, &[0, 2][..]));
    assert_eq!(comparison.place_of(2), Some((0, 0)));
    let row = &comparison.models[0].rows[0];
    assert_eq!(row.slot(ModelColumn::Decode).figure.unwrap().value, 60.0);
    assert_eq!(row.status, Status::Partly("Decode 128: failed: it broke".into()));
}

#[test]
fn what_was_skipped_says_nothing_of_whether_an_engine_works() {
    let work = || decode(&model(Precision::F16, 16.0), 0);
    let skipped = |mut entry: Entry| {
        entry.measurements.clear();
        entry.outcome = Outcome::Skipped("it would take an hour".into());
        entry
    };
    let status = |entries| Comparison::of(&run(entries)).models[0].rows[0].status.clone();
    let (done, skipped) = (done(work(), EngineId::Pytorch, 40.0), skipped(done(work(), EngineId::Pytorch, 90.0)));
    let why = "Decode 128: skipped: it would take an hour".to_owned();
    assert_eq!(status(vec![skipped.clone()]), Status::Unmeasured(why.clone()));
    assert_eq!(status(vec![done, skipped]), Status::Cut(why));
}

#[test]
fn a_cancelled_model_neither_waits_nor_works() {
    let work = |depth| decode(&model(Precision::F16, 16.0), depth);
    let unmeasured = |outcome: Outcome| {
        let mut entry = done(work(64), EngineId::Pytorch, 90.0);
        entry.measurements.clear();
        entry.outcome = outcome;
        entry
    };
    let status = |entries: Vec<Entry>, state| {
        let run = Run { state, ..run(entries) };
        Comparison::of(&run).models[0].rows[0].status.clone()
    };
    let (done, cancelled) = (done(work(0), EngineId::Pytorch, 4.0), unmeasured(Outcome::Cancelled));
    let why = "Decode 128: cancelled".to_owned();
    assert_eq!(status(vec![cancelled.clone()], RunState::Cancelled), Status::Unmeasured(why.clone()));
    assert_eq!(status(vec![done.clone(), cancelled.clone()], RunState::Cancelled), Status::Cut(why));
    let pending = unmeasured(Outcome::Pending);
    let never = "Decode 128: its turn never came".to_owned();
    assert_eq!(status(vec![done.clone(), pending.clone()], RunState::Cancelled), Status::Cut(never.clone()));
    assert_eq!(status(vec![pending.clone()], RunState::Cancelled), Status::Unmeasured(never));
    assert_eq!(status(vec![pending], RunState::Running), Status::Waits);
}

#[test]
fn the_best_is_certain_and_a_doubted_second_is_beaten_by_far() {
    let best = |values: [f64; 2], doubted: Option<usize>| {
        let work = || gemm(4096, Dtype::F32);
        let mut entries = vec![done(work(), EngineId::Pytorch, values[0]), done(work(), EngineId::Mlx, values[1])];
        if let Some(entry) = doubted.and_then(|place| entries.get_mut(place)) {
            entry.marks.push(Mark { kind: MarkKind::Uncertain, reason: "few samples".into() });
        }
        let comparison = Comparison::of(&run(entries));
        comparison.rows[0].cells.iter().flatten().position(|cell| cell.best)
    };
    assert_eq!(best([2e12, 1e12], None), Some(0));
    assert_eq!(best([2e12, 1e12], Some(0)), None, "the first is doubted");
    assert_eq!(best([2e12, 1e12], Some(1)), Some(0), "beaten by far, whatever the doubt");
    assert_eq!(best([1.2e12, 1e12], Some(1)), None, "the doubt may explain it");
}

#[test]
fn figures_beyond_any_device_or_its_data_sheet_are_no_best_though_nothing_marks_them() {
    for value in [1e18, 1e293] {
        let entries = vec![
            done(gemm(4096, Dtype::F32), EngineId::Pytorch, value),
            done(gemm(4096, Dtype::F32), EngineId::Mlx, 1e12),
        ];
        let run = run(entries);
        let comparison = Comparison::of(&run);
        assert!(comparison.rows[0].cells.iter().flatten().all(|cell| !cell.best), "{value}");
        assert_eq!(run.best_gemm(None).unwrap().engine, EngineId::Mlx);
    }
    let mut run = run(vec![
        done(decode(&model(Precision::F16, 16.0), 0), EngineId::Pytorch, 176_178.0),
        done(decode(&model(Precision::F16, 16.0), 0), EngineId::Mlx, 90.0),
    ]);
    run.devices.iter_mut().for_each(|device| "NVIDIA H100 80GB HBM3".clone_into(&mut device.name));
    let comparison = Comparison::of(&run);
    let barred = comparison.models[0].rows.iter().map(|row| row.barred.is_some()).collect::<Vec<_>>();
    assert_eq!(barred, [true, false], "{:?}", comparison.models[0]);
}

fn telling(engine: EngineId, precision: Precision, shift: f64, tokens: [u32; 4]) -> Entry {
    let model = model(precision, 16.0);
    let mut entry = done(prefill(&model), engine, if engine == EngineId::Mlx { 900.0 } else { 500.0 });
    let logits = (0..8).map(|id| (id, f64::from(id) - 3.5 + shift)).collect();
    entry.fingerprint = Some(Fingerprint { logits, tokens: tokens.to_vec() });
    entry
}

#[test]
fn engines_that_say_something_else_are_shown_and_not_compared() {
    let run = run(vec![
        telling(EngineId::Candle, Precision::F32, 0.0, [1, 2, 3, 4]),
        telling(EngineId::Pytorch, Precision::F32, 1e-6, [1, 2, 3, 4]),
        telling(EngineId::Mlx, Precision::F32, 1.0, [9, 9, 9, 9]),
        done(decode(&model(Precision::F32, 16.0), 0), EngineId::Mlx, 1e3),
        done(decode(&model(Precision::F32, 16.0), 0), EngineId::Candle, 1e2),
    ]);
    let comparison = Comparison::of(&run);
    let [told] = comparison.agreement.as_slice() else { panic!("{:?}", comparison.agreement) };
    assert_eq!(told.reference, EngineId::Candle);
    let sentences = told.sentences();
    assert!(sentences[0].contains("PyTorch agrees with candle: 4 of 4 tokens, logits within"), "{sentences:?}");
    assert!(sentences[1].contains("MLX disagrees with candle: 0 of 4 tokens, logits apart by"), "{sentences:?}");
    let rows = &comparison.models[0].rows;
    let mlx = rows.iter().find(|row| comparison.columns[row.column].engine == EngineId::Mlx).unwrap();
    assert!(mlx.barred.as_ref().unwrap().starts_with("disagrees: the logits are"), "{mlx:?}");
    assert!(mlx.slot(ModelColumn::Prefill).figure.is_some() && !mlx.slot(ModelColumn::Prefill).best);
    let decode = comparison.rows.iter().find(|row| row.workload.title() == "Decode 128").unwrap();
    assert!(decode.cells.iter().flatten().all(|cell| !cell.best), "its decode is another model's too");
}

#[test]
fn what_rounding_explains_is_agreement() {
    let of = |shift: f64, precision: Precision, tokens: [u32; 4]| {
        let entries = vec![
            telling(EngineId::Candle, precision.clone(), 0.0, [1, 2, 3, 4]),
            telling(EngineId::Pytorch, precision, shift, tokens),
        ];
        agreement(&run(entries)).remove(0).parties.remove(0).objection
    };
    assert_eq!(of(0.02, Precision::F16, [1, 2, 9, 9]), None, "near logits may choose other tokens");
    assert!(of(0.02, Precision::F32, [1, 2, 3, 4]).is_some());
    let silent = |tokens: [u32; 4]| Fingerprint { logits: Vec::new(), tokens: tokens.to_vec() };
    let objection = |a, b, precision| disagreement(&silent(a), &silent(b), &precision);
    assert!(objection([1, 2, 3, 4], [1, 2, 3, 5], Precision::F32).is_some(), "without logits, every token counts");
    assert_eq!(objection([1, 2, 3, 4], [1, 2, 3, 5], Precision::Q4KM), None);
    assert!(objection([1, 2, 3, 4], [2, 2, 3, 4], Precision::Q4KM).is_some());
}

#[test]
fn bits_fall_into_classes_and_nothing_is_a_comparison_of_nothing() {
    let cases = [(32.0, 32), (16.0, 16), (8.5, 8), (4.25, 4), (4.9, 4), (5.7, 6), (6.56, 7), (f64::NAN, 0)];
    for (bits, wanted) in cases {
        assert_eq!(class(bits), wanted, "{bits}");
    }
    let nothing = Comparison::of(&run(Vec::new()));
    assert_eq!(nothing, Comparison::default());
    assert!(!nothing.has_several());
    assert_eq!([0.97231, 3.8232, 12.34, 250.4, 0.0123].map(times), ["0.97×", "3.82×", "12.3×", "250×", "0.012×"]);
}

/// Products of n = 4096 in f32 and f16 of one engine, in TFLOPS, on a GPU of this name.
fn products(gpu: &str, rates: &[(EngineId, f64, f64)]) -> Run {
    let entries = rates.iter().flat_map(|(engine, single, half)| {
        [(Dtype::F32, single), (Dtype::F16, half)].map(|(dtype, rate)| done(gemm(4096, dtype), *engine, rate * 1e12))
    });
    let mut run = run(entries.collect());
    run.devices[0].name = gpu.into();
    run
}

fn fast_paths(run: &Run) -> Vec<(Verdict, String)> {
    let comparison = Comparison::of(run);
    comparison.fast_paths.iter().map(|path| path.verdict).zip(comparison.fast_path_sentences()).collect()
}

#[test]
fn the_document_s_figures_show_that_one_engine_misses_the_accelerators_that_another_uses() {
    let told = fast_paths(&document());
    let [(Verdict::Used, pytorch), (Verdict::Unused, mlx)] = told.as_slice() else { panic!("{told:?}") };
    assert!(
        pytorch.starts_with("PyTorch uses the Neural Accelerators of Apple M5: f16 at n = 4096 runs at 13.84 TFLOPS")
    );
    assert!(pytorch.contains("4.38× as fast as f32"), "{pytorch}");
    assert!(mlx.contains("no sign of the Neural Accelerators of Apple M5, which PyTorch uses"), "{mlx}");
    assert!(mlx.contains("1.11× as fast as f32"), "{mlx}");
}

#[test]
fn the_data_sheet_tells_matrix_units_from_packed_arithmetic() {
    let verdicts = |gpu: &str, rates: &[_]| -> Vec<Verdict> {
        fast_paths(&products(gpu, rates)).into_iter().map(|(verdict, _)| verdict).collect()
    };
    let (wgpu, pytorch) = (EngineId::Wgpu, EngineId::Pytorch);
    // Four times f32 is what an A100 does without them; twice f32 is what an RTX 3090 does with them.
    assert_eq!(verdicts("NVIDIA A100-SXM4-80GB", &[(pytorch, 18.0, 70.0)]), [Verdict::Unused]);
    assert_eq!(verdicts("NVIDIA GeForce RTX 3090", &[(pytorch, 30.0, 60.0)]), [Verdict::Used]);
    assert_eq!(
        verdicts("NVIDIA H100 80GB HBM3", &[(wgpu, 47.0, 60.0), (pytorch, 51.0, 700.0)]),
        [Verdict::Unused, Verdict::Used]
    );
    // Of a device that isn't known, nothing is missed unless another engine finds it there.
    assert_eq!(verdicts("Some GPU", &[(wgpu, 3.0, 5.9)]), [Verdict::Unseen]);
    assert_eq!(verdicts("Some GPU", &[(wgpu, 3.0, 5.9), (pytorch, 3.0, 9.0)]), [Verdict::Unused, Verdict::Used]);
    assert_eq!(verdicts("Apple M4", &[(pytorch, 2.9, 3.3)]), [Verdict::Unseen]);
}

#[test]
fn small_slowed_and_emulated_products_show_nothing() {
    let small =
        vec![done(gemm(1024, Dtype::F32), EngineId::Mlx, 3e12), done(gemm(1024, Dtype::F16), EngineId::Mlx, 3e12)];
    assert_eq!(fast_paths(&run(small)), []);
    let mut slowed = products("Apple M5", &[(EngineId::Mlx, 3.0, 3.3)]);
    slowed.entries[1].marks.push(Mark { kind: MarkKind::Throttled, reason: "hot".into() });
    assert_eq!(fast_paths(&slowed), []);
    let mut emulated = products("llvmpipe", &[(EngineId::Wgpu, 0.1, 0.1)]);
    emulated.devices[0].software = true;
    assert_eq!(fast_paths(&emulated), []);
    let mut processor = products("AMD EPYC", &[(EngineId::Pytorch, 0.1, 0.1)]);
    processor.devices[0].kind = DeviceKind::Cpu;
    assert_eq!(fast_paths(&processor), []);
}

#[test]
fn what_an_engine_found_by_itself_stands_in_where_no_products_were_measured() {
    let half = model(Precision::F16, 16.0);
    let mut entry = done(decode(&half, 0), EngineId::Pytorch, 7.7);
    for (name, value) in [("probe-n", "4096"), ("probe-16-bit-tflops", "12.5"), ("probe-f32-tflops", "3.4")] {
        entry.settings.insert(name.into(), value.into());
    }
    let told = fast_paths(&run(vec![entry.clone()]));
    let [(Verdict::Used, sentence)] = told.as_slice() else { panic!("{told:?}") };
    assert!(sentence.contains("a 16-bit product of n = 4096 runs at 12.50 TFLOPS, 3.68× as fast as f32"), "{sentence}");
    for nonsense in ["NaN", "-1", "0", "inf", "fast"] {
        entry.settings.insert("probe-f32-tflops".into(), nonsense.into());
        assert_eq!(fast_paths(&run(vec![entry.clone()])), [], "{nonsense}");
    }
}

#[test]
fn peaks_that_mean_different_things_and_weights_that_were_made_up_are_not_ranked() {
    let mut run = document();
    let told = |run: &Run| {
        let comparison = Comparison::of(run);
        let group = comparison.models[1].clone();
        let best = |column| group.rows.iter().any(|row| row.slot(column).best);
        (best(ModelColumn::Peak), best(ModelColumn::Load), group.explanation().unwrap())
    };
    let (peak, load, text) = told(&run);
    assert!(peak && load && !text.contains("something else"), "{text}");
    for entry in &mut run.entries {
        match (&entry.workload, entry.engine) {
            (Workload::Inference(_), engine) => {
                entry.notes.push(format!("Peak memory is what {} says.", engine.title()));
            }
            (Workload::ModelLoad(_), EngineId::Mlx) => entry.variant = Some(ModelLoad::MADE.to_owned()),
            _ => {}
        }
    }
    let (peak, load, text) = told(&run);
    assert!(!peak && !load && text.contains("something else"), "{text}");
}

#[test]
fn a_model_of_which_only_refused_training_was_asked_is_not_said_to_fail() {
    let half = model(Precision::F16, 16.0);
    let mut refused = Entry::pending(training(&half), EngineId::LlamaCpp, GPU);
    refused.outcome = Outcome::Unsupported("llama.cpp trains no adapters".into());
    let comparison = Comparison::of(&run(vec![refused, done(training(&half), EngineId::Pytorch, 174.0)]));
    let status = |engine| {
        let of = |row: &&ModelRow| comparison.columns[row.column].engine == engine;
        comparison.models[0].rows.iter().find(of).unwrap().status.clone()
    };
    assert!(matches!(status(EngineId::LlamaCpp), Status::Unmeasured(why) if why.contains("trains no adapters")));
    assert_eq!(status(EngineId::Pytorch), Status::Works);
}

#[test]
fn beyond_the_data_sheet_neither_heat_nor_layout_nor_a_missing_f32_hides_matrix_units() {
    let mut run = products("NVIDIA H100 80GB HBM3", &[(EngineId::Pytorch, 50.0, 674.0)]);
    run.entries.remove(0);
    run.entries[0].marks.push(Mark { kind: MarkKind::Throttled, reason: "hot".into() });
    let layer = Gemm { layout: Layout::Abt, ..Gemm::square(4096, Dtype::Bf16) };
    run.entries.push(done(Workload::Gemm(layer), EngineId::LlamaCpp, 555e12));
    let told = fast_paths(&run);
    let [(Verdict::Used, pytorch), (Verdict::Used, llama)] = told.as_slice() else { panic!("{told:?}") };
    assert!(pytorch.contains("f16 at n = 4096 runs at 674.0 TFLOPS; by the data sheet"), "{pytorch}");
    assert!(llama.contains("bf16 at n = 4096 runs at 555.0 TFLOPS;"), "{llama}");
    // Slower than without them, and throttled: nothing is said.
    run.entries.truncate(1);
    run.entries[0].measurements[0].summary.median = 60e12;
    assert_eq!(fast_paths(&run), []);
}
