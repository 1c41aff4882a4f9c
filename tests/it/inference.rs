//! Inference as the engine runs it: a tiny synthetic model on every candle device of this machine.

use std::time::Duration;

use roofline::{
    engine::{Engine as _, candle::CandleEngine},
    measure::{Cancel, Context, Paints, Report, Stop},
    model::{ModelConfig, source},
    units::Unit,
    workload::{Inference, InferencePhase, ModelShape, Precision, Workload},
};

use super::tiny;

fn workload(precision: Precision, phase: InferencePhase, batch: u32) -> Workload {
    let config = ModelConfig::synthetic(ModelShape { layers: 2, ..tiny::wide(&tiny::config(4, 2, None)).shape });
    let model = source::synthetic("tiny", &config, precision).unwrap();
    Workload::Inference(Inference { model, phase, batch })
}

fn run(device: &str, workload: &Workload, context: &mut Context) -> Result<Report, Stop> {
    CandleEngine.open(device)?.run(workload, context)
}

/// Enough for a tiny model, and no more samples than it takes.
fn context() -> Context {
    Context::detached(Duration::from_secs(2))
}

fn devices() -> Vec<String> {
    CandleEngine.devices().unwrap().into_iter().map(|device| device.id).collect()
}

fn metrics(report: &Report) -> Vec<&str> {
    report.measurements.iter().map(|measurement| measurement.metric.as_str()).collect()
}

#[test]
fn a_prompt_is_measured_and_checked() {
    for device in devices() {
        let workload = workload(Precision::F16, InferencePhase::Prefill { tokens: 20 }, 2);
        let report = run(&device, &workload, &mut context()).unwrap();
        assert_eq!(metrics(&report), ["throughput", "ttft", "peak-memory"], "{device}");
        let [throughput, ttft, memory] = report.measurements.as_slice() else { panic!("three were counted") };
        assert_eq!((throughput.unit, ttft.unit, memory.unit), (Unit::TokenPerSecond, Unit::Second, Unit::Byte));
        for (throughput, ttft) in throughput.samples.iter().zip(&ttft.samples) {
            assert!((throughput.value * ttft.value / 40.0 - 1.0).abs() < 1e-6, "two sequences of 20 tokens");
        }
        assert!(report.check.as_ref().unwrap().passed());
        assert_eq!(report.settings["chunk"], "20");
        assert!(report.notes.iter().any(|note| note.contains("synthetic")));
    }
}

#[test]
fn decoding_is_measured_in_both_modes_and_checked() {
    for device in devices() {
        for (precision, depth, batch) in [(Precision::Q4KM, 0, 1), (Precision::F32, 150, 2), (Precision::Q8_0, 3, 4)] {
            let workload = workload(precision, InferencePhase::Decode { tokens: 20, depth }, batch);
            let report = run(&device, &workload, &mut context()).unwrap();
            let expected =
                ["throughput", "streaming", "inter-token-p50", "inter-token-p95", "inter-token-p99", "peak-memory"];
            assert_eq!(metrics(&report), expected, "{device}");
            let median = |index: usize| report.measurements[index].summary.median;
            assert!(median(2) <= median(3) && median(3) <= median(4));
            assert!(report.check.as_ref().unwrap().passed());
            assert_eq!(report.settings["read-every"], "16 tokens");
        }
    }
}

#[test]
fn what_the_time_does_not_allow_is_skipped_with_its_estimate() {
    let config = ModelConfig::preset("mistral-100m").unwrap();
    let model = source::synthetic("mistral-100m", &config, Precision::Q8_0).unwrap();
    let phase = InferencePhase::Decode { tokens: 8, depth: 30_000 };
    let workload = Workload::Inference(Inference { model, phase, batch: 1 });
    let stop = run("cpu", &workload, &mut Context::detached(Duration::from_millis(1))).unwrap_err();
    let Stop::Skipped { reason, estimate_s } = stop else { panic!("{stop:?}") };
    assert!(reason.contains("depth 30000") && estimate_s.unwrap() > 0.0, "{reason}");
}

#[test]
fn more_positions_than_the_model_was_made_for_are_refused() {
    let workload = workload(Precision::F16, InferencePhase::Prefill { tokens: 2_000_000 }, 1);
    let stop = run("cpu", &workload, &mut context()).unwrap_err();
    assert!(matches!(&stop, Stop::Failed(reason) if reason.contains("shorter")), "{stop:?}");
}

#[test]
fn inference_ends_when_it_is_cancelled() {
    let cancel = Cancel::default();
    cancel.request();
    let mut context = Context::new(cancel, Duration::from_secs(4), Paints::default(), Box::new(|_| {}));
    let workload = workload(Precision::F16, InferencePhase::Prefill { tokens: 20 }, 1);
    assert_eq!(run("cpu", &workload, &mut context).unwrap_err(), Stop::Cancelled);
}
