//! Language models: loading, prefill, decode and training by an engine outside this program, and whether it runs the same
//! model as this program does.

use super::{
    protocol::ProbeWish,
    session::{Ending, ExternalSession, Needs, Underway, time},
};
use crate::{
    engine::parity::Parity,
    machine,
    measure::{
        Check, Context, Fingerprint, Measurement, Phase, Policy, Rate, Report, Sample, Stop, StopReason, afford,
        sample, time_to_first_token, token_percentiles,
    },
    model::{
        Tokenizer,
        estimate::{self, Place},
        train::{
            curve::{Learning, spikes},
            text::{TEXT, TextSet},
        },
    },
    units::{Quantity, Unit},
    workload::{Inference, InferencePhase, ModelLoad, ModelRef, Origin, Training, Workload},
};

/// The most loads that are timed.
const LOADS: usize = 10;
/// The fewest steps of a pass of decoding, and how many passes are wanted: as candle's.
const STEPS_LEAST: u32 = 8;
const PASSES: f64 = 15.0;
/// Tokens of the prompt by which engines are compared.
const PARITY_PROMPT: u32 = 32;
/// How far logits of the same f32 model may lie apart, whoever computes them.
const PARITY_TOLERANCE: f64 = 1e-3;

/// Loads, again and again.
pub(super) fn load(session: &mut ExternalSession, load: &ModelLoad, context: &mut Context) -> Result<Report, Stop> {
    let workload = Workload::ModelLoad(load.clone());
    let model = &load.model;
    let needs = needs(session, &workload, context)?;
    let weight_bytes = weight_bytes(&needs, model);
    let mut underway = session.prepare(&workload, needs, context)?;
    // The first one brings the files into the system's cache.
    let first = session.batch(&mut underway, 1, None, context)?;
    afford_once(context, first.host_s)?;
    let mut times: Vec<Sample> = Vec::new();
    let stop = loop {
        context.phase(Phase::Sampling { done: times.len() as u32, target: LOADS as u32 })?;
        context.let_window_paint();
        let paints = context.paints_begun();
        let batch = session.batch(&mut underway, 1, None, context)?;
        let disturbed = context.paints_begun() != paints;
        context.value("load", Unit::BytePerSecond, weight_bytes as f64 / batch.host_s, false);
        times.push(Sample { value: batch.host_s, iterations: 1, host_s: batch.host_s, device_s: None, disturbed });
        match () {
            () if times.len() >= LOADS => break StopReason::SampleLimit,
            () if context.remaining().as_secs_f64() < batch.host_s => break StopReason::TimeBudget,
            () => {}
        }
    };
    let ending = session.finish(&underway, &workload, context)?;
    let mut report = session.report(underway, ending);
    let rate = |sample: &Sample| Sample { value: weight_bytes as f64 / sample.host_s, ..*sample };
    let rates = Measurement::of_samples("load", Unit::BytePerSecond, times.iter().map(rate).collect(), stop);
    let times = Measurement::of_samples("load-time", Unit::Second, times, stop);
    report.measurements.splice(0..0, rates.into_iter().chain(times));
    report.notes.push("Loaded from the system's file cache by the framework's own loader.".to_owned());
    describe(&mut report, model, weight_bytes);
    Ok(report)
}

/// Prefill or decode.
pub(super) fn inference(
    session: &mut ExternalSession,
    asked: &Inference,
    context: &mut Context,
) -> Result<Report, Stop> {
    let parity = parity(session, context)?;
    let workload = Workload::Inference(asked.clone());
    let mut needs = needs(session, &workload, context)?;
    let (prompt, probe) = prompt(asked);
    let weight_bytes = weight_bytes(&needs, &asked.model);
    (needs.prompt, needs.probe) = (Some(prompt), Some(probe));
    let mut underway = session.prepare(&workload, needs, context)?;
    let (mut measurements, cut) = match asked.phase {
        InferencePhase::Prefill { .. } => (prefill(session, asked, &mut underway, context)?, None),
        InferencePhase::Decode { tokens, .. } => {
            let (measured, steps) = decode(session, asked, tokens, &mut underway, context)?;
            (measured, Some((steps, tokens)))
        }
    };
    let ending = session.finish(&underway, &workload, context)?;
    let fingerprint = ending.fingerprint.clone();
    let mut report = session.report(underway, ending);
    measurements.append(&mut report.measurements);
    report.measurements = measurements;
    report.check = Some(spoke(fingerprint.as_ref(), asked)?);
    if let Some((steps, tokens)) = cut.filter(|(steps, tokens)| steps < tokens) {
        report.settings.insert("tokens-per-pass".to_owned(), steps.to_string());
        report.notes.push(format!("A pass is {steps} tokens instead of {tokens}, so that ten fit into the time."));
    }
    parity.tell(&mut report);
    describe(&mut report, &asked.model, weight_bytes);
    Ok(report)
}

fn prefill(
    session: &mut ExternalSession,
    asked: &Inference,
    underway: &mut Underway,
    context: &mut Context,
) -> Result<Vec<Measurement>, Stop> {
    let first = session.batch(underway, 1, None, context)?;
    session.learn(&Workload::Inference(asked.clone()), first.host_s);
    afford(context, first.host_s)?;
    let rate = Rate { metric: "throughput", unit: Unit::TokenPerSecond, amount: asked.tokens() as f64 };
    let throughput = sample(context, &Policy::default(), rate, |context, iterations| {
        session.batch(underway, iterations, None, context).map(|batch| time(&batch))
    })?;
    let first = time_to_first_token(&throughput);
    Ok(std::iter::once(throughput).chain(first).collect())
}

/// Passes of decoding, and how many steps each had.
fn decode(
    session: &mut ExternalSession,
    asked: &Inference,
    tokens: u32,
    underway: &mut Underway,
    context: &mut Context,
) -> Result<(Vec<Measurement>, u32), Stop> {
    let short = STEPS_LEAST.min(tokens.max(1));
    // The first pass may still build kernels.
    session.batch(underway, 1, Some(short), context)?;
    let each_s = session.batch(underway, 1, Some(short), context)?.host_s / f64::from(short);
    session.learn(&Workload::Inference(asked.clone()), each_s * 8.0);
    afford(context, each_s * f64::from(short))?;
    let fit = (0.8 * context.remaining().as_secs_f64() / (PASSES * each_s)) as u32;
    let steps = tokens.max(1).min(fit.max(STEPS_LEAST));
    let amount = f64::from(steps) * f64::from(asked.batch);
    let rate = Rate { metric: "throughput", unit: Unit::TokenPerSecond, amount };
    let (mut gaps, mut total_s) = (Vec::new(), 0.0);
    let throughput = sample(context, &Policy::default(), rate, |context, iterations| {
        let batch = session.batch(underway, iterations, Some(steps), context)?;
        if let Some(times) = &batch.token_s {
            gaps.extend_from_slice(times);
            total_s += times.iter().sum::<f64>();
        }
        Ok(time(&batch))
    })?;
    let mut all = vec![throughput];
    all.append(&mut token_percentiles(gaps, total_s));
    Ok((all, steps))
}

/// LoRA steps on the fixed text.
pub(super) fn training(session: &mut ExternalSession, asked: &Training, context: &mut Context) -> Result<Report, Stop> {
    let parity = parity(session, context)?;
    let workload = Workload::Training(asked.clone());
    let mut needs = needs(session, &workload, context)?;
    needs.sequences = Some(sequences(asked)?);
    let weight_bytes = weight_bytes(&needs, &asked.model);
    let mut underway = session.prepare(&workload, needs, context)?;
    let check = trained(asked, underway.prepared.trainable_parameters);
    check.require()?;
    let once = session.batch(&mut underway, 1, None, context)?;
    let mut losses = told_losses(once.losses.clone(), 1)?;
    session.learn(&workload, once.host_s);
    afford(context, once.host_s)?;
    let rate = Rate { metric: "throughput", unit: Unit::TokenPerSecond, amount: asked.tokens() as f64 };
    let throughput = sample(context, &Policy::default(), rate, |context, iterations| {
        let batch = session.batch(&mut underway, iterations, None, context)?;
        let told = told_losses(batch.losses.clone(), iterations)?;
        for loss in told.iter().filter(|loss| loss.is_finite()) {
            context.value("loss", Unit::Nat, *loss, false);
        }
        losses.extend(told);
        Ok(time(&batch))
    })?;
    let ending = session.finish(&underway, &workload, context)?;
    let mut report = session.report(underway, ending);
    let curve = |value: &f64| Sample { value: *value, iterations: 1, host_s: 0.0, device_s: None, disturbed: false };
    let curve: Vec<Sample> = losses.iter().filter(|loss| loss.is_finite()).map(curve).collect();
    let curve = Measurement::of_samples("loss", Unit::Nat, curve, throughput.stop);
    report.measurements.splice(0..0, std::iter::once(throughput).chain(curve));
    report.check = Some(check);
    let learning = Learning::of(&losses);
    report.settings.insert("loss-fell".to_owned(), learning.answer().to_owned());
    report.settings.insert("steps".to_owned(), losses.len().to_string());
    report.notes.push(learning.sentence(losses.len()));
    let spikes = spikes(&losses);
    if spikes > 0 {
        report.notes.push(format!("Of the losses, {spikes} stood more than 10 % above the least before."));
    }
    parity.tell(&mut report);
    describe(&mut report, &asked.model, weight_bytes);
    Ok(report)
}

/// The files, if memory suffices.
fn needs(session: &ExternalSession, workload: &Workload, context: &mut Context) -> Result<Needs, Stop> {
    let Some(model) = workload.model() else { return Ok(Needs::default()) };
    fits(session, workload)?;
    context.phase(Phase::Working(format!("bringing {} into the engine's format", model.label())))?;
    let files = (session.services.shelf)(session.engine, model, context)?;
    Ok(Needs { model: Some(files), ..Needs::default() })
}

/// The bytes of the weights in the files as they were made, or as their precision lets expect.
fn weight_bytes(needs: &Needs, model: &ModelRef) -> u64 {
    needs.model.as_ref().and_then(|files| files.weight_bytes).unwrap_or(model.weight_bytes)
}

/// Skips what can't fit, before it hurts.
fn fits(session: &ExternalSession, workload: &Workload) -> Result<(), Stop> {
    let place = match session.device.kind.as_str() {
        "cpu" => Place::processor(),
        "integrated-gpu" => Place::Metal,
        _ => Place::Cuda,
    };
    let Some(needed) = estimate::memory(workload, place) else { return Ok(()) };
    // The estimate knows this program's own activations; frameworks keep more of them.
    let wanted = needed.total + needed.total / 10;
    let whole = session.device.memory_bytes.map(|bytes| bytes as u64);
    let shares = session.device.kind != "discrete-gpu";
    let free = Some(machine::available_memory_bytes()).filter(|free| shares && *free > 0);
    match whole.into_iter().chain(free).min() {
        Some(room) if wanted > room => Err(Stop::Skipped {
            reason: format!(
                "needs about {} of memory, of {}: choose a smaller model, precision, batch or depth",
                Quantity::new(wanted as f64, Unit::Byte),
                Quantity::new(room as f64, Unit::Byte)
            ),
            estimate_s: None,
        }),
        _ => Ok(()),
    }
}

/// The prompt, and what is asked after it.
fn prompt(asked: &Inference) -> (Vec<Vec<u32>>, ProbeWish) {
    let logits = asked.model.shape.probed_ids(Fingerprint::LOGITS);
    (asked.prompts(), ProbeWish { logits, tokens: Fingerprint::TOKENS })
}

/// The engine gave as many finite logits and tokens as were asked for.
fn spoke(fingerprint: Option<&Fingerprint>, asked: &Inference) -> Result<Check, Stop> {
    let none = || Stop::Failed("the engine did not show what its model says".to_owned());
    let said = fingerprint.ok_or_else(none)?;
    let wanted = asked.model.shape.probed_ids(Fingerprint::LOGITS);
    let logit = |id: &u32| said.logits.iter().find(|(known, _)| known == id).map(|(_, logit)| *logit);
    let finite = wanted.iter().all(|id| logit(id).is_some_and(f64::is_finite));
    let inside = said.tokens.iter().all(|token| *token < asked.model.shape.vocabulary);
    if !finite || !inside {
        return Err(Stop::Failed(
            "wrong result: logits are missing or not finite, or tokens are none of the vocabulary".to_owned(),
        ));
    }
    // Zeros would be finite too.
    let size: f64 = said.logits.iter().map(|(_, logit)| logit * logit).sum();
    if size <= 0.0 {
        return Err(Stop::Failed("wrong result: every logit is zero".to_owned()));
    }
    let (tokens, method) = (said.tokens.len() as u64, "as many greedy tokens as were asked for, and finite logits");
    let check = Check::of_count(method, tokens, u64::from(Fingerprint::TOKENS));
    check.require().map(|()| check)
}

/// As many parameters are trained as the adapters have.
fn trained(asked: &Training, told: Option<u64>) -> Check {
    let each = |target: &crate::workload::Target| {
        let (outputs, inputs) = target.dims(&asked.model.shape);
        u64::from(asked.rank) * (outputs + inputs)
    };
    let wanted = asked.targets.iter().map(each).sum::<u64>() * u64::from(asked.model.shape.layers);
    Check::of_count("as many trainable parameters as the adapters have", told.unwrap_or(0), wanted)
}

/// One loss for each step.
fn told_losses(losses: Option<Vec<f64>>, steps: u32) -> Result<Vec<f64>, Stop> {
    let losses = losses.unwrap_or_default();
    if losses.len() == steps as usize {
        return Ok(losses);
    }
    Err(Stop::Failed(format!("the engine told {} losses of {steps} steps", losses.len())))
}

/// The sequences of the fixed text, in the model's own tokens where it has a tokenizer.
fn sequences(asked: &Training) -> Result<Vec<Vec<u32>>, Stop> {
    let failed = |error: crate::model::ModelError| Stop::Failed(error.to_string());
    let length = asked.sequence as usize;
    let set = match Tokenizer::of(&asked.model).map_err(failed)? {
        Some(tokenizer) => TextSet::new(&tokenizer.encode(TEXT).map_err(failed)?, length),
        None => TextSet::of_bytes(asked.model.shape.vocabulary as usize, length),
    };
    let set = set.map_err(failed)?;
    Ok(set.batch(0, set.len()))
}

/// Loading is timed even if there is time for no more than one.
fn afford_once(context: &Context, seconds: f64) -> Result<(), Stop> {
    if seconds <= context.remaining().as_secs_f64() {
        return Ok(());
    }
    let shown = crate::units::duration(seconds);
    let reason = format!("loading takes about {shown}, and the time budget is spent; raise it with --budget");
    Err(Stop::Skipped { reason, estimate_s: Some(seconds * 4.0) })
}

/// Whether the engine runs the same model as this program: the small one in f32, its logits and its greedy tokens. Found once
/// a session.
fn parity(session: &mut ExternalSession, context: &mut Context) -> Result<Parity, Stop> {
    if let Some(known) = &session.parity {
        return Ok(known.clone());
    }
    let found = find_parity(session, context);
    // What the small model cost too much for says nothing of the next entry, which may have more time or memory.
    let lasts = !matches!(found, Err(Stop::Skipped { .. }));
    let found = Parity::of(found)?;
    session.parity = Some(found.clone()).filter(|_| lasts);
    Ok(found)
}

fn find_parity(session: &mut ExternalSession, context: &mut Context) -> Result<Parity, Stop> {
    let Some(model) = session.services.tiny.clone() else {
        return Ok(Parity::Unknown("there is no small model to compare by".to_owned()));
    };
    context.phase(Phase::Working("comparing a small model's tokens".to_owned()))?;
    let phase = InferencePhase::Prefill { tokens: PARITY_PROMPT };
    let asked = Inference { model: model.clone(), phase, batch: 1 };
    let (prompt, probe) = prompt(&asked);
    let first = prompt.first().cloned().unwrap_or_default();
    let reference = (session.services.oracle)(&model, &first, context)?;
    let workload = Workload::Inference(asked);
    let files = (session.services.shelf)(session.engine, &model, context)?;
    let needs = Needs { model: Some(files), prompt: Some(prompt), probe: Some(probe), ..Needs::default() };
    let mut underway = session.prepare(&workload, needs, context)?;
    session.batch(&mut underway, 1, None, context)?;
    let ending: Ending = session.finish(&underway, &workload, context)?;
    let Some(said) = ending.fingerprint else {
        return Ok(Parity::Unknown("the engine did not show what its model says".to_owned()));
    };
    let (agreeing, wanted) = (said.agreeing_tokens(&reference), reference.tokens.len());
    let distance = said.distance(&reference).unwrap_or(f64::INFINITY);
    let numbers = format!(
        "{agreeing} of {wanted} greedy tokens are candle's, logits differ by {distance:.1e} (at most {PARITY_TOLERANCE:.0e})"
    );
    let same = agreeing == wanted && distance <= PARITY_TOLERANCE;
    Ok(if same { Parity::Same(numbers) } else { Parity::Other(numbers) })
}

/// What a reader must know of the model.
fn describe(report: &mut Report, model: &ModelRef, weight_bytes: u64) {
    // What the engine counted is truer than what follows from the name of a precision: scales may be wider.
    let bits = || crate::units::number(model.bits_per_weight());
    report.settings.entry("bits-per-weight".to_owned()).or_insert_with(bits);
    report.settings.insert("weight-bytes".to_owned(), weight_bytes.to_string());
    if model.origin == Origin::Synthetic {
        report
            .notes
            .push("The weights are synthetic: random values at the true shapes, as fast as real ones.".to_owned());
    }
}
