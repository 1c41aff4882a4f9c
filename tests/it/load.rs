//! Loading as a workload: what it reports for synthetic models and for files.

use std::time::Duration;

use roofline::{
    engine::{Engine as _, candle::CandleEngine},
    measure::{Cancel, Context, Paints, Report, Stop},
    model::{resolve, weights},
    units::Unit,
    workload::{Inference, InferencePhase, ModelLoad, ModelRef, Precision, Workload},
};

use crate::weights::{Folder, SHAPE, synthetic};

/// On the best device that is there.
fn run(model: ModelRef, context: &mut Context) -> Result<Report, Stop> {
    let device = CandleEngine.devices().unwrap().remove(0).id;
    let mut session = CandleEngine.open(&device).unwrap();
    session.run(&Workload::ModelLoad(ModelLoad { model }), context)
}

fn measured(model: ModelRef) -> Report {
    run(model, &mut Context::detached(Duration::from_mins(1))).unwrap()
}

#[test]
fn synthetic_weights_are_made_and_the_report_says_so() {
    for precision in Precision::NAMED {
        let model = synthetic(SHAPE, precision);
        let report = measured(model.clone());
        let [rate, time, ..] = report.measurements.as_slice() else { panic!("no measurements") };
        assert_eq!((rate.metric.as_str(), rate.unit), ("load", Unit::BytePerSecond));
        assert_eq!((time.metric.as_str(), time.unit), ("load-time", Unit::Second));
        for (rate, time) in rate.samples.iter().zip(&time.samples) {
            assert!((rate.value * time.value / model.weight_bytes as f64 - 1.0).abs() < 1e-9);
        }
        assert!(report.check.unwrap().passed());
        assert!(report.variant.unwrap().contains("made, not read"));
        assert!(report.measurements.iter().any(|m| m.metric == "peak-memory"));
        assert!(report.notes.iter().any(|note| note.starts_with("Peak memory is ")), "{:?}", report.notes);
        assert!(!report.measurements.iter().any(|m| m.metric.starts_with("cold")));
    }
}

#[test]
fn files_are_loaded_warm_and_cold_or_it_is_said_why_not() {
    let folder = Folder::new(SHAPE, candle_core::DType::F16);
    let gguf = folder.path().join("tiny.gguf");
    weights::export(&synthetic(SHAPE, Precision::Q4KM), &gguf, &mut |_| Ok(())).unwrap();
    for asked in [gguf, folder.path().join("model.safetensors")] {
        let report = measured(resolve(asked.to_str().unwrap(), None, None).unwrap());
        let cold = report.measurements.iter().find(|m| m.metric == "cold-load");
        let said = report.notes.iter().any(|note| note.starts_with("cold reading is not measured"));
        assert!(cold.is_some() != said, "{:?}", report.notes);
        assert_eq!(report.settings["files"], "1");
        assert!(report.check.unwrap().method.contains("files"));
    }
}

#[test]
fn cancelling_and_a_spent_budget_end_the_loading() {
    let cancel = Cancel::default();
    cancel.request();
    let mut context = Context::new(cancel, Duration::from_mins(1), Paints::default(), Box::new(|_| {}));
    assert_eq!(run(synthetic(SHAPE, Precision::F16), &mut context), Err(Stop::Cancelled));
    let spent = run(synthetic(SHAPE, Precision::F16), &mut Context::detached(Duration::ZERO));
    assert!(matches!(spent, Err(Stop::Skipped { .. })), "{spent:?}");
}

#[test]
fn a_session_loads_again_what_is_another_file_or_was_written_since() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let files: Vec<_> = folders.iter().map(|folder| folder.path().join("tiny.gguf")).collect();
    let made = synthetic(SHAPE, Precision::Q4KM);
    let models: Vec<ModelRef> = files
        .iter()
        .map(|file| {
            weights::export(&made, file, &mut |_| Ok(())).unwrap();
            resolve(file.to_str().unwrap(), None, None).unwrap()
        })
        .collect();
    assert_eq!(models[0], models[1], "they differ in nothing but their place");
    let mut session = CandleEngine.open("cpu").unwrap();
    let mut prefill = |model: &ModelRef| {
        let phase = InferencePhase::Prefill { tokens: 4 };
        let workload = Workload::Inference(Inference { model: model.clone(), phase, batch: 1 });
        // More time on a busy machine.
        let mut outcome = session.run(&workload, &mut Context::detached(Duration::from_secs(3)));
        if matches!(outcome, Err(Stop::Skipped { .. })) {
            outcome = session.run(&workload, &mut Context::detached(Duration::from_mins(2)));
        }
        outcome
    };
    prefill(&models[0]).unwrap();
    std::fs::remove_file(&files[1]).unwrap();
    assert!(prefill(&models[1]).unwrap_err().to_string().contains("tiny.gguf"));
    prefill(&models[0]).unwrap();
    std::fs::write(&files[0], b"GGUF").unwrap();
    assert!(prefill(&models[0]).unwrap_err().to_string().contains("tiny.gguf"));
}
