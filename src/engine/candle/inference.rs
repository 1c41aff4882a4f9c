//! Prefill, and what it shares with decoding.

use std::{collections::BTreeMap, time::Instant};

use candle_core::{DType, Tensor};

use super::{
    aside, compute, decode, fingerprint,
    memory::{Watch, tell_peak},
    products, stop,
};
use crate::{
    measure::{
        BatchTime, Check, Context, Fingerprint, Phase, Policy, Rate, Report, Stop, afford, sample, time_to_first_token,
    },
    model::{Cache, Model, ModelError},
    units::Unit,
    workload::{Inference, InferencePhase, Origin, Precision},
};

/// Positions at a prompt's end that are run one at a time for the check.
const CHECKED: usize = 4;

/// Runs the workload on a model that is loaded.
pub(super) fn run(model: &Model, workload: &Inference, context: &mut Context) -> Result<Report, Stop> {
    // On the processor, inside candle's own pool: its products then need not enter it one by one.
    model.weights.device().with_context(|| {
        context.phase(Phase::Preparing)?;
        match workload.phase {
            InferencePhase::Prefill { tokens } => prefill(model, workload, tokens as usize, context),
            InferencePhase::Decode { tokens, depth } => {
                decode::run(model, workload, (tokens as usize, depth as usize), context)
            }
        }
    })
}

fn prefill(model: &Model, workload: &Inference, tokens: usize, context: &mut Context) -> Result<Report, Stop> {
    let device = model.weights.device();
    let watch = Watch::start(device);
    let batch = workload.batch as usize;
    // Some more, for the tokens that the model is known by.
    let positions = workload.positions() as usize;
    let most = model.weights.config.max_positions.max(positions);
    let mut cache = model.cache(batch, most.min(positions + Fingerprint::TOKENS as usize)).map_err(stop)?;
    let ids = prompt(model, workload)?;
    let per_token_s = probe(model, &ids, &mut cache, context)?;
    afford(context, per_token_s * tokens as f64)?;
    // The memory of a whole pass, untimed: nothing may look on while samples are taken.
    request(model, &ids, &mut cache, context)?;
    let peak = watch.finish(device);
    let rate = Rate { metric: "throughput", unit: Unit::TokenPerSecond, amount: workload.tokens() as f64 };
    let throughput = sample(context, &Policy::default(), rate, |context, iterations| {
        let start = Instant::now();
        for _ in 0..iterations {
            request(model, &ids, &mut cache, context)?;
        }
        Ok(BatchTime { host_s: start.elapsed().as_secs_f64(), device_s: None })
    })?;
    context.phase(Phase::Checking)?;
    let check = check_prefill(model, &ids, &mut cache, context)?;
    check.require()?;
    let mut report = describe(model, workload, &cache);
    report.fingerprint = Some(fingerprint::after(model, &ids, &mut cache, context)?);
    report.settings.insert("chunk".to_owned(), model.chunk().min(tokens).to_string());
    report.check = Some(check);
    report.measurements.extend(time_to_first_token(&throughput));
    report.measurements.insert(0, throughput);
    tell_peak(&mut report, peak, device);
    report
        .notes
        .push("Each timed pass ends with the next token read back, so that its length is the time to it.".to_owned());
    Ok(report)
}

/// One request: the whole prompt into an empty cache, and the next tokens read back.
fn request(model: &Model, ids: &Tensor, cache: &mut Cache, context: &Context) -> Result<Vec<u32>, Stop> {
    cache.clear();
    let next = model.next(ids, cache, &mut cancel(context)).map_err(stop)?;
    next.to_vec1().map_err(compute)
}

/// Compares the logits after the prompt with those found by running its last positions one at a time.
fn check_prefill(model: &Model, ids: &Tensor, cache: &mut Cache, context: &Context) -> Result<Check, Stop> {
    let (_, tokens) = ids.dims2().map_err(compute)?;
    let from = tokens.saturating_sub(CHECKED);
    let (whole, stepped) = aside(context, |point| {
        cache.clear();
        let whole = model.last_logits(ids, cache, point)?;
        cache.rewind(from);
        let mut stepped = None;
        for position in from..tokens {
            let id = ids.narrow(1, position, 1)?.contiguous()?;
            stepped = Some(model.last_logits(&id, cache, point)?);
        }
        Ok((whole, stepped))
    })?;
    let stepped = stepped.ok_or_else(|| Stop::Failed("the prompt is empty; give it a token at least".to_owned()))?;
    compare("logits after the last positions run one at a time", model, (&whole, &stepped), model.chunk().min(tokens))
}

/// The relative error of logits that were timed and those found in another way, and what it may be. `rows` is how many
/// positions the timed pass took at once, of which quantised products depend.
pub(super) fn compare(
    method: &str,
    model: &Model,
    (timed, other): (&Tensor, &Tensor),
    rows: usize,
) -> Result<Check, Stop> {
    let values =
        |tensor: &Tensor| -> candle_core::Result<Vec<f32>> { tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1() };
    let (timed, other) = (values(timed).map_err(compute)?, values(other).map_err(compute)?);
    let pairs: Vec<_> = timed.iter().zip(&other).map(|(a, b)| (f64::from(*a), f64::from(*b))).collect();
    if model.weights.is_quantized() {
        Check::of(method, &pairs, UNRELATED, true).require()?;
        return products::check(model, rows).map_err(compute);
    }
    Ok(Check::of(method, &pairs, tolerance(model), true))
}

/// Logits that have nothing to do with each other lie √2 apart.
const UNRELATED: f64 = 0.7;

/// How far two right ways to the same logits lie apart: sums in another order, rounded to the activations' type between
/// steps, and through tens of blocks.
fn tolerance(model: &Model) -> f64 {
    match model.weights.dtype {
        DType::F32 => 1e-3,
        DType::F16 => 0.03,
        _ => 0.15,
    }
}

/// Runs a short piece of the prompt twice, untimed and timed: seconds a position.
pub(super) fn probe(model: &Model, ids: &Tensor, cache: &mut Cache, context: &Context) -> Result<f64, Stop> {
    let (_, tokens) = ids.dims2().map_err(compute)?;
    let length = if model.weights.device().is_cpu() { 16 } else { model.chunk() }.min(tokens);
    let piece = ids.narrow(1, 0, length).and_then(|piece| piece.contiguous()).map_err(compute)?;
    let seconds = aside(context, |point| {
        let mut seconds = 0.0;
        for _ in 0..2 {
            let start = Instant::now();
            cache.clear();
            model.next(&piece, cache, point)?.to_vec1::<u32>()?;
            seconds = start.elapsed().as_secs_f64();
        }
        Ok(seconds)
    })?;
    cache.clear();
    Ok(seconds / length as f64)
}

/// The prompts of all sequences: batch × count.
pub(super) fn prompt(model: &Model, workload: &Inference) -> Result<Tensor, Stop> {
    let shape = (workload.batch as usize, workload.prompt_tokens() as usize);
    Tensor::from_vec(workload.prompts().concat(), shape, model.weights.device()).map_err(compute)
}

/// The cancellation point that a model calls.
pub(super) fn cancel(context: &Context) -> impl FnMut() -> Result<(), ModelError> {
    || context.check().map_err(|_stop| ModelError::Cancelled)
}

/// What a reader must know of how it was run.
pub(super) fn describe(model: &Model, workload: &Inference, cache: &Cache) -> Report {
    let weights = &model.weights;
    let kept = cache.dtype().unwrap_or(weights.dtype);
    let mut settings = BTreeMap::new();
    let mut set = |name: &str, value: String| _ = settings.insert(name.to_owned(), value);
    set("activations", weights.dtype.as_str().to_owned());
    set("cache", kept.as_str().to_owned());
    if weights.device().is_cpu() {
        set("threads", candle_core::utils::get_num_threads().to_string());
    }
    let single = matches!(workload.phase, InferencePhase::Decode { .. });
    let variant = model.path(workload.batch as usize, single);
    let precision = format!(
        "{} weights, {} activations, {} keys and values",
        workload.model.precision,
        weights.dtype.as_str(),
        kept.as_str()
    );
    let mut notes = Vec::new();
    if workload.model.origin == Origin::Synthetic {
        notes.push("The weights are synthetic: random values at the true shapes, as fast as real ones.".to_owned());
    }
    if workload.model.precision == Precision::Bf16 && weights.dtype == DType::F32 {
        notes.push("bf16 weights are widened to f32, which the processor multiplies faster.".to_owned());
    }
    Report { precision: Some(precision), variant: Some(variant.to_owned()), settings, notes, ..Report::default() }
}
