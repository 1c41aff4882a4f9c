//! Loading a model: the time until its weights are resident on the device, from the system's file cache and, where the
//! system allows it, from the disk.

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use candle_core::{DType, Device, Tensor};

use super::{
    aside, cold, compute,
    memory::{Watch, tell_peak},
    stop,
};
use crate::{
    measure::{Check, Context, Measurement, Phase, Report, Sample, Stop, StopReason},
    model::{Model, ModelError, Weights, weights},
    units::{Unit, duration},
    workload::{ModelLoad, ModelRef, Origin, Precision},
};

/// The most samples of either kind, and how many are wanted.
const SAMPLES: u32 = 10;
const SAMPLES_COLD: u32 = 5;

/// Models up to this size run a token on the processor for the check.
const RUN_ON_PROCESSOR: u64 = 2_000_000_000;

/// Loads the model again and again.
pub(super) fn run(device: &Device, workload: &ModelLoad, context: &mut Context) -> Result<Report, Stop> {
    let model = &workload.model;
    context.phase(Phase::Preparing)?;
    let files = weights::stored_in(model).map_err(stop)?;
    // Once untimed: brings the files into the system's cache, warms the device up, and shows the memory.
    let start = Instant::now();
    let watch = Watch::start(device);
    let loaded = load(model, device, context)?;
    let peak = watch.finish(device);
    let once_s = start.elapsed().as_secs_f64();
    context.phase(Phase::Checking)?;
    let check = verify(model, &loaded, context)?;
    check.require()?;
    let widened = model.precision == Precision::Bf16 && loaded.dtype == DType::F32;
    run_a_token(model, loaded, context)?;
    let left_s = context.remaining().as_secs_f64();
    if once_s > left_s {
        let (needed, left) = (duration(once_s), duration(left_s));
        let reason =
            format!("loading takes about {needed}, and {left} of the time budget are left; raise it with --budget");
        return Err(Stop::Skipped { reason, estimate_s: Some(once_s * 4.0) });
    }
    let mut report = describe(model, &files);
    let (warm, ended) = timed(model, device, SAMPLES, context, || Ok(()))?;
    report.measurements.extend(measurements(model, "", &warm, ended));
    if !files.is_empty() {
        match cold_samples(model, device, &files, once_s, context)? {
            Ok((samples, ended)) => report.measurements.extend(measurements(model, "cold-", &samples, ended)),
            Err(why) => report.notes.push(why),
        }
    }
    tell_peak(&mut report, peak, device);
    report.check = Some(check);
    if widened {
        report.notes.push("bf16 weights are widened to f32, which the processor multiplies faster.".to_owned());
    }
    Ok(report)
}

/// The weights, resident on the device.
fn load(model: &ModelRef, device: &Device, context: &Context) -> Result<Weights, Stop> {
    let mut progress = |_: weights::LoadProgress| context.check().map_err(|_stop| ModelError::Cancelled);
    weights::load(model, device, &mut progress).map_err(stop)
}

/// Compares some rows with where they come from.
fn verify(model: &ModelRef, loaded: &Weights, context: &Context) -> Result<Check, Stop> {
    let pairs = aside(context, |point| weights::spot_check(model, loaded, point))?;
    let method = match model.origin {
        Origin::Files => "rows on the device against those in the files",
        Origin::Synthetic => "rows on the device against those of the generator",
    };
    // The same numbers, or rounded once to the activations' type.
    Ok(Check::of(method, &pairs, 1e-3, true))
}

/// What was loaded gives finite logits. Left out where it would take seconds.
fn run_a_token(model: &ModelRef, loaded: Weights, context: &Context) -> Result<(), Stop> {
    if matches!(loaded.device(), Device::Cpu) && model.weight_bytes > RUN_ON_PROCESSOR {
        return Ok(());
    }
    let device = loaded.device().clone();
    let runs = Model::new(loaded).map_err(stop)?;
    let mut cache = runs.cache(1, 8).map_err(stop)?;
    let id = Tensor::zeros((1, 1), DType::U32, &device).map_err(compute)?;
    let logits = aside(context, |point| runs.last_logits(&id, &mut cache, point))?;
    let logits =
        logits.to_dtype(DType::F32).and_then(|logits| logits.flatten_all()?.to_vec1::<f32>()).map_err(compute)?;
    if logits.iter().all(|logit| logit.is_finite()) {
        return Ok(());
    }
    Err(Stop::Failed("wrong result: the loaded model's logits are not finite".to_owned()))
}

/// Timed loads, as many as are wanted and the time allows; one at least.
fn timed(
    model: &ModelRef,
    device: &Device,
    wanted: u32,
    context: &mut Context,
    mut before: impl FnMut() -> Result<(), Stop>,
) -> Result<(Vec<Sample>, StopReason), Stop> {
    let mut samples: Vec<Sample> = Vec::new();
    while (samples.len() as u32) < wanted {
        context.phase(Phase::Sampling { done: samples.len() as u32, target: wanted })?;
        context.let_window_paint();
        before()?;
        let paints = context.paints_begun();
        let start = Instant::now();
        let loaded = load(model, device, context)?;
        let host_s = start.elapsed().as_secs_f64().max(1e-9);
        let disturbed = context.paints_begun() != paints;
        drop(loaded);
        device.synchronize().map_err(compute)?;
        context.value("load", Unit::BytePerSecond, model.weight_bytes as f64 / host_s, false);
        samples.push(Sample { value: host_s, iterations: 1, host_s, device_s: None, disturbed });
        if context.remaining().as_secs_f64() < host_s {
            return Ok((samples, StopReason::TimeBudget));
        }
    }
    Ok((samples, StopReason::SampleLimit))
}

/// The same from the disk; else why not.
type Cold = Result<(Vec<Sample>, StopReason), String>;

fn cold_samples(
    model: &ModelRef,
    device: &Device,
    files: &[PathBuf],
    once_s: f64,
    context: &mut Context,
) -> Result<Cold, Stop> {
    if once_s > context.remaining().as_secs_f64() {
        return Ok(Err("cold reading is not measured: the time budget is spent".to_owned()));
    }
    if let Err(why) = cold::drop_cached(files) {
        return Ok(Err(why));
    }
    let mut kept = None;
    let drop_again = || {
        kept = cold::drop_cached(files).err();
        Ok(())
    };
    let samples = timed(model, device, SAMPLES_COLD, context, drop_again)?;
    Ok(kept.map_or(Ok(samples), Err))
}

/// The rate, and the time, of the same loads.
fn measurements(model: &ModelRef, prefix: &str, times: &[Sample], stop: StopReason) -> Vec<Measurement> {
    let rate = |sample: &Sample| Sample { value: model.weight_bytes as f64 / sample.host_s, ..*sample };
    let of = |metric: &str, unit, samples| Measurement::of_samples(&format!("{prefix}{metric}"), unit, samples, stop);
    let rates = of("load", Unit::BytePerSecond, times.iter().map(rate).collect());
    let times = of("load-time", Unit::Second, times.to_vec());
    rates.into_iter().chain(times).collect()
}

fn describe(model: &ModelRef, files: &[PathBuf]) -> Report {
    let mut settings = BTreeMap::new();
    settings.insert("weight-bytes".to_owned(), model.weight_bytes.to_string());
    let mut notes = Vec::new();
    let variant = if files.is_empty() {
        notes.push("The weights are synthetic: they were made in memory and not read from files.".to_owned());
        ModelLoad::MADE
    } else {
        settings.insert("files".to_owned(), files.len().to_string());
        "memory-mapped files, one tensor at a time"
    };
    Report {
        precision: Some(format!("{} weights", model.precision)),
        variant: Some(variant.to_owned()),
        settings,
        notes,
        ..Report::default()
    }
}
