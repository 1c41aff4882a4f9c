//! Decoding: one position after the other.

use std::time::Instant;

use candle_core::Tensor;

use super::{
    aside, compute, fingerprint,
    inference::{cancel, compare, describe, probe, prompt},
    memory::{Watch, tell_peak},
    stop,
};
use crate::{
    measure::{
        self, BatchTime, Context, Measurement, Phase, Policy, Rate, Report, Sample, Stop, StopReason, afford, sample,
        token_percentiles,
    },
    model::{Cache, Check, Model, ModelError, Tokenizer},
    units::{Unit, duration},
    workload::Inference,
};

/// Tokens between two readings in throughput mode.
const READ_EVERY: usize = 16;

/// The fewest steps of a pass. Below that, a pass says little.
const STEPS_LEAST: usize = 8;

/// Passes that are wanted: one to warm up, ten samples, and a few with every token read.
const PASSES: f64 = 15.0;

/// Samples below which a figure says that time was short.
const SAMPLES_WANTED: u32 = 10;

/// The most passes with every token read.
const STREAMED: usize = 5;

/// How the next tokens come to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// They stay on the device and are read together.
    Throughput,
    /// Each is read at once, as one who watches it being written wants.
    Streaming,
}

/// Decoding from one place, again and again.
struct Decoding<'a> {
    model: &'a Model,
    cache: Cache,
    /// The tokens of the first step: batch × 1.
    first: Tensor,
    /// What was read before: batch × depth; the first step's token where nothing was.
    prompt: Tensor,
    /// Positions before the first step's.
    depth: usize,
    steps: usize,
}

/// What a pass wrote.
#[derive(Default)]
struct Written {
    /// The tokens, those of all sequences step by step.
    tokens: Vec<u32>,
    /// When each step's tokens were read, in seconds after the reading before.
    gaps: Vec<f64>,
}

/// Fills the cache and times passes.
pub(super) fn run(
    model: &Model,
    workload: &Inference,
    (tokens, depth): (usize, usize),
    context: &mut Context,
) -> Result<Report, Stop> {
    let device = model.weights.device();
    let watch = Watch::start(device);
    let mut decoding = Decoding::fill(model, workload, depth, context)?;
    let step_s = decoding.step_seconds(context)?;
    let peak = watch.finish(device);
    afford(context, step_s * STEPS_LEAST.min(tokens) as f64)?;
    let fit = (0.8 * context.remaining().as_secs_f64() / (PASSES * step_s)) as usize;
    decoding.steps = tokens.min(fit.max(STEPS_LEAST));
    let pass_s = step_s * decoding.steps as f64;

    let mut written = Written::default();
    let amount = (decoding.steps * decoding.cache.batch()) as f64;
    let rate = Rate { metric: "throughput", unit: Unit::TokenPerSecond, amount };
    let mut throughput = sample(context, &policy(context, pass_s), rate, |context, iterations| {
        let start = Instant::now();
        for _ in 0..iterations {
            written = decoding.pass(Mode::Throughput, &mut cancel(context)).map_err(stop)?;
        }
        Ok(BatchTime { host_s: start.elapsed().as_secs_f64(), device_s: None })
    })?;
    if throughput.samples.len() < SAMPLES_WANTED as usize {
        // As many as the policy allowed, which allowed no more because of the time.
        throughput.stop = StopReason::TimeBudget;
    }
    let mut streams = decoding.stream(amount, pass_s, &written.tokens, context)?;
    context.phase(Phase::Checking)?;
    let check = decoding.check(&written.tokens, context)?;
    check.require()?;

    let mut report = describe(model, workload, &decoding.cache);
    report.fingerprint = Some(fingerprint::after(model, &decoding.prompt, &mut decoding.cache, context)?);
    report.settings.insert("read-every".to_owned(), format!("{READ_EVERY} tokens"));
    report.check = Some(check);
    report.measurements.push(throughput);
    report.measurements.append(&mut streams);
    tell_peak(&mut report, peak, device);
    report.notes.extend(sample_text(model, workload, &mut decoding.cache, context)?);
    if decoding.steps < tokens {
        report.settings.insert("tokens-per-pass".to_owned(), decoding.steps.to_string());
        report
            .notes
            .push(format!("A pass is {} tokens instead of {tokens}, so that ten fit into the time.", decoding.steps));
    }
    Ok(report)
}

/// A few words that the model writes, for one whose weights mean something; untimed.
fn sample_text(
    model: &Model,
    workload: &Inference,
    cache: &mut Cache,
    context: &Context,
) -> Result<Option<String>, Stop> {
    const PROMPT: &str = "The roofline model of computer performance says that";
    if workload.batch != 1 {
        return Ok(None);
    }
    // A model without a tokenizer, or with one that doesn't fit, can be measured all the same.
    let tokenizer = match Tokenizer::of(&workload.model) {
        Ok(Some(tokenizer)) => tokenizer,
        Ok(None) => return Ok(None),
        Err(error) => return Ok(Some(format!("There is no sample of its text: {error}"))),
    };
    if let Some(unnamed) = tokenizer.unnamed(&workload.model) {
        return Ok(Some(format!("There is no sample of its text: {unnamed}.")));
    }
    let ids = tokenizer.encode(PROMPT).map_err(stop)?;
    let room = cache.capacity().saturating_sub(ids.len()).min(24);
    if ids.is_empty() || room < STEPS_LEAST {
        return Ok(None);
    }
    cache.clear();
    let device = model.weights.device();
    let (mut id, mut written) = (Tensor::from_slice(&ids, (1, ids.len()), device).map_err(compute)?, Vec::new());
    aside(context, |point| {
        for _ in 0..room {
            let next = model.next(&id, cache, point)?;
            written.extend(next.to_vec1::<u32>()?);
            id = next.reshape((1, 1))?;
        }
        Ok(())
    })?;
    let text = tokenizer.decode(&written).map_err(stop)?;
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Ok(Some(format!("It continues \"{PROMPT}\" with \"{}\".", text.trim())))
}

/// As many samples as fit, with time kept for what comes after.
fn policy(context: &Context, pass_s: f64) -> Policy {
    let fit = (0.65 * context.remaining().as_secs_f64() / pass_s.max(1e-6)) as u32;
    let most = fit.saturating_sub(1).clamp(3, 30);
    Policy { samples_min: most.min(SAMPLES_WANTED), samples_max: most, ..Policy::default() }
}

impl<'a> Decoding<'a> {
    /// A cache with `depth` positions, and the token after them.
    fn fill(model: &'a Model, workload: &Inference, depth: usize, context: &Context) -> Result<Self, Stop> {
        let batch = workload.batch as usize;
        let mut cache = model.cache(batch, workload.positions() as usize).map_err(stop)?;
        let ids = prompt(model, workload)?;
        if depth == 0 {
            return Ok(Self { model, cache, first: ids.clone(), prompt: ids, depth, steps: 0 });
        }
        let per_token_s = probe(model, &ids, &mut cache, context)?;
        let predicted_s = per_token_s * depth as f64;
        if predicted_s > 0.8 * context.remaining().as_secs_f64() {
            return Err(Stop::Skipped {
                reason: format!(
                    "would take about {} to fill the cache to depth {depth}, and {} of the time budget are left; raise it \
                     with --budget",
                    duration(predicted_s),
                    duration(context.remaining().as_secs_f64())
                ),
                estimate_s: Some(predicted_s),
            });
        }
        let first = model.next(&ids, &mut cache, &mut cancel(context)).map_err(stop)?;
        let first = first.reshape((batch, 1)).map_err(compute)?;
        Ok(Self { model, cache, first, prompt: ids, depth, steps: 0 })
    }

    /// How long a step takes: the best of a few after two that make everything ready.
    fn step_seconds(&mut self, context: &Context) -> Result<f64, Stop> {
        let mut best = f64::INFINITY;
        self.steps = 1;
        for attempt in 0..6 {
            let start = Instant::now();
            self.pass(Mode::Streaming, &mut cancel(context)).map_err(stop)?;
            let seconds = start.elapsed().as_secs_f64();
            if attempt >= 2 {
                best = best.min(seconds);
            }
            // One slow step says enough.
            if seconds > 2.0 && attempt > 0 {
                return Ok(best.min(seconds));
            }
        }
        Ok(best)
    }

    /// One pass from the cache as it was filled.
    fn pass(&mut self, mode: Mode, check: &mut Check<'_>) -> Result<Written, ModelError> {
        self.cache.rewind(self.depth);
        let mut written = Written::default();
        let mut waiting = Vec::with_capacity(READ_EVERY);
        let mut id = self.first.clone();
        let mut before = Instant::now();
        for step in 0..self.steps {
            check()?;
            let next = self.model.next(&id, &mut self.cache, check)?;
            id = next.reshape((self.cache.batch(), 1))?;
            waiting.push(next);
            let full = mode == Mode::Streaming || waiting.len() == READ_EVERY || step + 1 == self.steps;
            if full {
                written.tokens.extend(read(&waiting)?);
                waiting.clear();
                let now = Instant::now();
                written.gaps.push(now.duration_since(before).as_secs_f64());
                before = now;
            }
        }
        Ok(written)
    }

    /// Passes with every token read: their throughput, and the percentiles of the time from token to token. `expected` is
    /// what the throughput's passes wrote.
    fn stream(
        &mut self,
        amount: f64,
        pass_s: f64,
        expected: &[u32],
        context: &mut Context,
    ) -> Result<Vec<Measurement>, Stop> {
        let fit = (0.9 * context.remaining().as_secs_f64() / pass_s.max(1e-6)) as usize;
        let rounds = fit.clamp(1, STREAMED);
        let (mut samples, mut gaps) = (Vec::new(), Vec::new());
        for done in 0..rounds {
            context.phase(Phase::Sampling { done: done as u32, target: rounds as u32 })?;
            context.let_window_paint();
            let paints = context.paints_begun();
            let start = Instant::now();
            let mut written = if fit == 0 {
                // The one that is always wanted goes on beyond the time.
                aside(context, |point| self.pass(Mode::Streaming, point))?
            } else {
                self.pass(Mode::Streaming, &mut cancel(context)).map_err(stop)?
            };
            let host_s = start.elapsed().as_secs_f64();
            let disturbed = context.paints_begun() != paints;
            require_same(&written.tokens, expected, self.cache.batch())?;
            let value = amount / host_s.max(1e-9);
            context.value("streaming", Unit::TokenPerSecond, value, false);
            samples.push(Sample { value, iterations: 1, host_s, device_s: None, disturbed });
            gaps.append(&mut written.gaps);
        }
        Ok(streamed(samples, gaps))
    }

    /// Compares the logits of the last step, over the keys and values that the timed passes left, with those of the same
    /// tokens run at once.
    fn check(&mut self, tokens: &[u32], context: &Context) -> Result<measure::Check, Stop> {
        let batch = self.cache.batch();
        let written = Tensor::from_slice(tokens, (self.steps, batch), self.first.device()).map_err(compute)?;
        let inputs = || -> candle_core::Result<Tensor> {
            if self.steps == 1 {
                return Ok(self.first.clone());
            }
            let after = written.t()?.narrow(1, 0, self.steps - 1)?;
            Tensor::cat(&[&self.first, &after.contiguous()?], 1)?.contiguous()
        };
        let ids = inputs().map_err(compute)?;
        let last = ids.narrow(1, self.steps - 1, 1).and_then(|id| id.contiguous()).map_err(compute)?;
        let (stepwise, at_once) = aside(context, |point| {
            self.cache.rewind(self.depth + self.steps - 1);
            let stepwise = self.model.last_logits(&last, &mut self.cache, point)?;
            self.cache.rewind(self.depth);
            Ok((stepwise, self.model.last_logits(&ids, &mut self.cache, point)?))
        })?;
        compare("logits of the same tokens run at once", self.model, (&stepwise, &at_once), batch)
    }
}

/// The tokens of some steps, in one reading.
fn read(steps: &[Tensor]) -> candle_core::Result<Vec<u32>> {
    match steps {
        [one] => one.to_vec1(),
        many => Tensor::cat(many, 0).and_then(|all| all.to_vec1()),
    }
}

/// Both modes take the same steps and must write the same.
fn require_same(streamed: &[u32], expected: &[u32], batch: usize) -> Result<(), Stop> {
    let different = streamed.iter().zip(expected).position(|(a, b)| a != b);
    match different {
        None if streamed.len() == expected.len() => Ok(()),
        place => Err(Stop::Failed(format!(
            "wrong result: read one by one, the tokens differ from those read together from token {} on",
            place.unwrap_or(streamed.len().min(expected.len())) / batch.max(1) + 1
        ))),
    }
}

/// The throughput of such passes, and those percentiles of the time from token to token that so many times can tell: a
/// hundredth needs a hundred.
fn streamed(samples: Vec<Sample>, gaps: Vec<f64>) -> Vec<Measurement> {
    let total_s = samples.iter().map(|sample| sample.host_s).sum();
    let mut all = Vec::new();
    all.extend(Measurement::of_samples("streaming", Unit::TokenPerSecond, samples, StopReason::SampleLimit));
    all.append(&mut token_percentiles(gaps, total_s));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_told_that_the_count_of_tokens_can_tell() {
        let sample = Sample { value: 10.0, iterations: 1, host_s: 1.0, device_s: None, disturbed: false };
        let told = |count| streamed(vec![sample], vec![0.1; count]).len();
        assert_eq!([told(8), told(20), told(99), told(100)], [2, 3, 3, 4]);
    }
}
