//! Inference as the engine runs it: a tiny synthetic model on every candle device of this machine.

use std::time::Duration;

use roofline::{
    engine::{
        Engine as _,
        candle::{CandleEngine, reference},
    },
    measure::{Cancel, Context, Fingerprint, Paints, Report, Stop},
    model::{ModelConfig, config::TINY_NAME, resolve, source},
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

/// The result within a time that does for a tiny model, or on a busy machine within more.
fn measured(device: &str, workload: &Workload) -> Report {
    for seconds in [2, 8, 32] {
        match run(device, workload, &mut Context::detached(Duration::from_secs(seconds))) {
            Err(Stop::Skipped { .. }) => {}
            outcome => return outcome.unwrap(),
        }
    }
    panic!("there was no time for a tiny model");
}

fn devices() -> Vec<String> {
    CandleEngine.devices().unwrap().into_iter().map(|device| device.id).collect()
}

fn metrics(report: &Report) -> Vec<&str> {
    report.measurements.iter().map(|measurement| measurement.metric.as_str()).collect()
}

#[test]
fn entries_show_what_the_model_says_as_the_reference_has_it() {
    let model = resolve(TINY_NAME, Some(&Precision::F32), None).unwrap();
    let ids = model.shape.probed_ids(Fingerprint::LOGITS);
    let phases = [
        InferencePhase::Prefill { tokens: 24 },
        InferencePhase::Decode { tokens: 12, depth: 24 },
        InferencePhase::Decode { tokens: 12, depth: 0 },
    ];
    let device = devices().pop().unwrap();
    let mut said = Vec::new();
    for phase in phases {
        let asked = Inference { model: model.clone(), phase, batch: 2 };
        let prompt = asked.prompts().swap_remove(0);
        let (logits, tokens) = reference(&model, &prompt, &ids, Fingerprint::TOKENS, &mut || Ok(())).unwrap();
        let logits = ids.iter().copied().zip(logits).collect();
        let found = measured(&device, &Workload::Inference(asked)).fingerprint.unwrap();
        let reference = Fingerprint { logits, tokens };
        assert!(found.distance(&reference).unwrap() < 1e-4, "{found:?} {reference:?}");
        assert_eq!((found.agreeing_tokens(&reference), found.tokens.len()), (12, 12));
        said.push(found);
    }
    assert_eq!(said[0].tokens, said[1].tokens, "a decode goes on where its prompt ends");
    assert_ne!(said[0].tokens, said[2].tokens);
}

#[test]
fn a_prompt_is_measured_and_checked() {
    for device in devices() {
        let workload = workload(Precision::F16, InferencePhase::Prefill { tokens: 20 }, 2);
        let report = measured(&device, &workload);
        assert_eq!(metrics(&report), ["throughput", "ttft", "peak-memory", "predicted-memory"], "{device}");
        let [throughput, ttft, memory, _] = report.measurements.as_slice() else { panic!("four were counted") };
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
            let report = measured(&device, &workload);
            // A busy machine writes too few tokens for some percentiles.
            let is_gap = |metric: &&str| metric.starts_with("inter-token-");
            let (gaps, others): (Vec<&str>, Vec<&str>) = metrics(&report).into_iter().partition(is_gap);
            assert!(["inter-token-p50", "inter-token-p95", "inter-token-p99"].starts_with(&gaps), "{gaps:?}");
            assert!(!gaps.is_empty());
            assert_eq!(others, ["throughput", "streaming", "peak-memory", "predicted-memory"], "{device}");
            let percentiles = &report.measurements[2..2 + gaps.len()];
            assert!(percentiles.is_sorted_by_key(|percentile| percentile.summary.median));
            assert!(report.check.as_ref().unwrap().passed());
            assert_eq!(report.settings["read-every"], "16 tokens");
        }
    }
}

#[test]
fn a_depth_that_takes_too_long_to_fill_is_skipped_with_its_estimate() {
    let config = ModelConfig::preset("mistral-100m").unwrap();
    let model = source::synthetic("mistral-100m", &config, Precision::Q8_0).unwrap();
    let phase = InferencePhase::Decode { tokens: 8, depth: 30_000 };
    let workload = Workload::Inference(Inference { model, phase, batch: 1 });
    for milliseconds in [1, 4000] {
        let stop = run("cpu", &workload, &mut Context::detached(Duration::from_millis(milliseconds))).unwrap_err();
        let Stop::Skipped { reason, estimate_s } = stop else { panic!("{stop:?}") };
        assert!(reason.contains("--budget") && estimate_s.unwrap() > 4.0, "{reason}");
    }
}

#[test]
fn more_positions_than_the_model_was_made_for_are_refused() {
    let workload = workload(Precision::F16, InferencePhase::Prefill { tokens: 40_000 }, 1);
    let stop = run("cpu", &workload, &mut Context::detached(Duration::from_mins(10))).unwrap_err();
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
