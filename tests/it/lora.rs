//! LoRA training as the engine runs it: a tiny synthetic model on every candle device of this machine.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use roofline::{
    engine::{Engine as _, candle::CandleEngine},
    measure::{Cancel, Context, Measurement, Paints, Progress, Report, Stop},
    model::{ModelConfig, source},
    units::Unit,
    workload::{ModelShape, Precision, Target, Training, Workload},
};

fn training(precision: Precision) -> Training {
    let shape = ModelShape {
        vocabulary: 300,
        hidden: 256,
        intermediate: 512,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 64,
        tied_head: false,
    };
    let model = source::synthetic("tiny", &ModelConfig::synthetic(shape), precision).unwrap();
    let targets = vec![Target::Q, Target::V];
    Training { model, rank: 8, targets, sequence: 24, batch: 2, clipping: true, checkpointing: false }
}

fn run(device: &str, training: Training, context: &mut Context) -> Result<Report, Stop> {
    CandleEngine.open(device)?.run(&Workload::Training(training), context)
}

fn devices() -> Vec<String> {
    CandleEngine.devices().unwrap().into_iter().map(|device| device.id).collect()
}

fn measured<'a>(report: &'a Report, metric: &str) -> &'a Measurement {
    report.measurements.iter().find(|measurement| measurement.metric == metric).unwrap()
}

#[test]
fn steps_are_timed_the_loss_falls_and_gradients_are_checked() {
    for device in devices() {
        for (precision, checkpointing) in [(Precision::F32, false), (Precision::F16, true), (Precision::Q4KM, false)] {
            let training = Training { checkpointing, ..training(precision.clone()) };
            let values = Arc::new(Mutex::new(Vec::new()));
            let heard = Arc::clone(&values);
            let report = move |progress| {
                if let Progress::Value { metric, value, .. } = progress {
                    heard.lock().unwrap().push((metric, value));
                }
            };
            let budget = Duration::from_secs(2);
            let mut context = Context::new(Cancel::default(), budget, Paints::default(), Box::new(report));
            let report = run(&device, training, &mut context).unwrap();
            assert_eq!(report.measurements[0].metric, "throughput");
            assert_eq!(report.measurements[0].unit, Unit::TokenPerSecond);
            let loss = measured(&report, "loss");
            assert_eq!(loss.unit, Unit::Nat);
            assert_eq!(report.settings["steps"], loss.samples.len().to_string());
            let told: Vec<f64> =
                values.lock().unwrap().iter().filter(|(metric, _)| metric == "loss").map(|(_, value)| *value).collect();
            assert_eq!(told, loss.samples.iter().map(|sample| sample.value).collect::<Vec<_>>(), "live and saved");
            assert_eq!(report.settings["loss-fell"], "yes", "{precision}: {told:?}");
            assert!((told[0] - 300.0_f64.ln()).abs() < 1.0, "an untaught model knows nothing: {}", told[0]);
            assert!(measured(&report, "peak-memory").summary.median > 0.0);
            let check = report.check.as_ref().unwrap();
            assert!(check.passed() && check.compared > 3, "{check:?}");
            assert!(report.notes.iter().any(|note| note.contains("as it should")));
            assert_eq!(report.settings["checkpointing"], if checkpointing { "every block" } else { "none" });
        }
    }
}

#[test]
fn training_without_clipping_says_what_it_led_to() {
    let training = Training { clipping: false, ..training(Precision::F16) };
    let report = run("cpu", training, &mut Context::detached(Duration::from_secs(2))).unwrap();
    assert_eq!(report.settings["clip"], "none");
    assert!(report.notes.iter().any(|note| note.starts_with("Without clipping")), "{:?}", report.notes);
}

#[test]
fn training_that_takes_too_long_is_skipped_with_its_estimate() {
    let training = Training { sequence: 512, ..training(Precision::F32) };
    let stop = run("cpu", training, &mut Context::detached(Duration::from_millis(1))).unwrap_err();
    let Stop::Skipped { reason, estimate_s } = stop else { panic!("{stop:?}") };
    assert!(reason.contains("--budget") && estimate_s.unwrap() > 0.0, "{reason}");
}

#[test]
fn training_is_cancelled_within_a_step() {
    let cancel = Cancel::default();
    let mine = cancel.clone();
    // Asked for as soon as the first step is told: the next one stops.
    let report = move |progress| {
        if matches!(progress, Progress::Value { .. }) {
            mine.request();
        }
    };
    let mut context = Context::new(cancel, Duration::from_secs(60), Paints::default(), Box::new(report));
    assert_eq!(run("cpu", training(Precision::F32), &mut context).unwrap_err(), Stop::Cancelled);
}

#[test]
fn sequences_that_can_not_be_are_refused() {
    for (sequence, word) in [(1, "longer"), (2_000_000, "shorter")] {
        let training = Training { sequence, ..training(Precision::F16) };
        let stop = run("cpu", training, &mut Context::detached(Duration::from_secs(60))).unwrap_err();
        assert!(matches!(&stop, Stop::Failed(reason) if reason.contains(word)), "{stop:?}");
    }
}
