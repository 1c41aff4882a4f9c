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
    workload::{LEARNING_RATE_MILLIONTHS, ModelShape, Precision, Target, Training, Workload},
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
    Training {
        model,
        rank: 8,
        targets,
        sequence: 24,
        batch: 2,
        clipping: true,
        checkpointing: false,
        learning_rate_millionths: LEARNING_RATE_MILLIONTHS,
    }
}

fn run(device: &str, training: Training, context: &mut Context) -> Result<Report, Stop> {
    CandleEngine.open(device)?.run(&Workload::Training(training), context)
}

/// The result and the losses told on the way, within a time that does for a tiny model, or on a busy machine within more.
fn outcome(device: &str, training: &Training) -> (Report, Vec<f64>) {
    for seconds in [2, 8, 32] {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let hear = move |progress| match progress {
            Progress::Value { metric, value, .. } if metric == "loss" => heard.lock().unwrap().push(value),
            _ => {}
        };
        let budget = Duration::from_secs(seconds);
        let mut context = Context::new(Cancel::default(), budget, Paints::default(), Box::new(hear));
        match run(device, training.clone(), &mut context) {
            Err(Stop::Skipped { .. }) => {}
            Ok(report) if report.settings["loss-fell"] == "too few steps" => {}
            outcome => return (outcome.unwrap(), told.lock().unwrap().clone()),
        }
    }
    panic!("there was no time for a tiny model");
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
            let (report, told) = outcome(&device, &training);
            assert_eq!(report.measurements[0].metric, "throughput");
            assert_eq!(report.measurements[0].unit, Unit::TokenPerSecond);
            let loss = measured(&report, "loss");
            assert_eq!(loss.unit, Unit::Nat);
            assert_eq!(report.settings["steps"], loss.samples.len().to_string());
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
    let training = Training { clipping: false, learning_rate_millionths: 30_000, ..training(Precision::F16) };
    let (report, _) = outcome("cpu", &training);
    assert_eq!(report.settings["learning-rate"], "0.03");
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
    let mut context = Context::new(cancel, Duration::from_mins(1), Paints::default(), Box::new(report));
    assert_eq!(run("cpu", training(Precision::F32), &mut context).unwrap_err(), Stop::Cancelled);
}

#[test]
fn a_sequence_without_a_target_is_refused() {
    let training = Training { sequence: 1, ..training(Precision::F16) };
    let stop = run("cpu", training, &mut Context::detached(Duration::from_mins(1))).unwrap_err();
    assert!(matches!(&stop, Stop::Failed(reason) if reason.contains("longer")), "{stop:?}");
}
