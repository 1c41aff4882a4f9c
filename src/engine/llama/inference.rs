//! Prefill and decoding by llama-bench.
//!
//! A first short run shows that the model loads, how fast it is, and what it holds on a GPU. Then one process runs the same
//! test again and again: `-p 512,512,512 -r 3` loads the model once and prints each test of three repetitions as it ends, so
//! that the figure is seen to come, and the process is simply ended when the samples are enough, the time is over or
//! somebody cancels. llama-bench itself runs each test once untimed before its repetitions, since it sets up its context
//! anew.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{
    LlamaSession,
    bench::{self, Asked, Tested},
    process::{Child, Usage},
};
use crate::{
    machine::{self, DeviceKind},
    measure::{
        Context, Measurement, Phase, Policy, Report, Sample, Stop, StopReason, WarmUp, afford, time_to_first_token,
    },
    stats::Summary,
    units::{Quantity, Unit, duration},
    workload::{Inference, InferencePhase, ModelRef, Origin},
};

/// Positions and steps that the first run takes on the processor, where a whole pass can take minutes.
const PROBE: (u32, u32) = (16, 8);

/// The fewest steps of a pass of decoding. Below that, a pass says little.
const STEPS_LEAST: u32 = 8;

/// Passes of decoding that are wanted: warm-up, ten samples and what llama-bench runs untimed.
const PASSES: f64 = 15.0;

/// How long a test should last, in seconds, and the fewest and most repetitions that it may be made of.
const TEST_S: f64 = 1.0;
const REPETITIONS: (u32, u32) = (3, 20);

/// The most tests that warm up: passes of a tiny model take less than a millisecond.
const WARM_UP_TESTS: u32 = 30;

/// How long nothing may be heard beside what the work is expected to take.
const SILENCE: Duration = Duration::from_mins(10);

/// Samples below which a figure is not given.
const SAMPLES_LEAST: usize = 3;

/// What the first run showed.
struct Probed {
    /// Seconds a position of a prompt, and a step of decoding.
    prompt_s: f64,
    step_s: f64,
    /// Time of the process that went into neither: starting, loading, untimed passes, ending.
    beside_s: f64,
    /// Bytes that llama.cpp says it holds on the GPU.
    device_bytes: Option<u64>,
}

impl Probed {
    /// Seconds that one pass of a test takes.
    fn pass_s(&self, asked: Asked) -> f64 {
        self.prompt_s * f64::from(asked.prompt) + self.step_s * f64::from(asked.generated)
    }
}

/// Measures the workload with the model in `file`.
pub(super) fn run(
    session: &LlamaSession,
    workload: &Inference,
    file: &Path,
    context: &mut Context,
) -> Result<Report, Stop> {
    let predicted = fits(session, workload)?;
    context.phase(Phase::Preparing)?;
    let probed = probe(session, workload, file, context)?;
    let asked = plan(workload, &probed, context)?;
    let measured = measure(session, workload, file, (asked, &probed), context)?;
    Ok(describe(session, workload, measured, (asked, predicted, probed.device_bytes)))
}

/// What the model, its keys and values and some scratch need, in bytes; skipped if that isn't free.
fn fits(session: &LlamaSession, workload: &Inference) -> Result<u64, Stop> {
    const SCRATCH: u64 = 256 << 20;
    let cache = workload.model.shape.kv_bytes_per_token(2).saturating_mul(workload.positions());
    let needed = workload.model.weight_bytes.saturating_add(cache).saturating_add(SCRATCH);
    let free = match session.device.kind {
        DeviceKind::Cpu => machine::available_memory_bytes(),
        _ => session.device.limits.max_buffer_bytes,
    };
    if free == 0 || needed <= free {
        return Ok(needed);
    }
    let text = |bytes: u64| Quantity::new(bytes as f64, Unit::Byte).to_string();
    Err(Stop::Skipped {
        reason: format!("needs about {}, and {} are free; choose a smaller model", text(needed), text(free)),
        estimate_s: None,
    })
}

/// The first run: on the processor a piece of the work, on a GPU all of it.
fn probe(session: &LlamaSession, workload: &Inference, file: &Path, context: &Context) -> Result<Probed, Stop> {
    let on_processor = session.device.kind == DeviceKind::Cpu;
    let short = |whole: u32, piece: u32| if on_processor { whole.min(piece) } else { whole };
    let (prompt, generated, depth) = match workload.phase {
        InferencePhase::Prefill { tokens } => (short(tokens, PROBE.0), 0, 0),
        InferencePhase::Decode { tokens, depth } => {
            (short(depth, PROBE.0), short(tokens, PROBE.1), if on_processor { 0 } else { depth })
        }
    };
    let tests: Vec<Asked> = [(prompt, 0), (0, generated)]
        .into_iter()
        .filter(|(prompt, generated)| prompt + generated > 0)
        .map(|(prompt, generated)| Asked { prompt, generated, depth, repetitions: 2 })
        .collect();
    let arguments = session.arguments(file, &tests, &["-v"])?;
    let mut child = Child::start_with_log(&session.bench, &arguments.list, arguments.folder.as_deref())?;
    let (mut waiting, mut log, mut told) = (tests.iter(), String::new(), Instant::now());
    let (mut each_s, mut inside_s) = ([0.0; 2], 0.0);
    // The entry's time is for its figure; told again and again, a slow load does not count as hanging.
    let mut aside = || {
        context.spare(told.elapsed());
        told = Instant::now();
        Ok(())
    };
    while let Some(line) = child.line(context, SILENCE, &mut aside)? {
        aside()?;
        if line.starts_with('{') {
            let asked = waiting.next().ok_or_else(|| child.wrong("it ran more tests than were asked for"))?;
            let tested =
                accept(&line, *asked, child.passed_s() - inside_s, &workload.model).map_err(|why| child.wrong(&why))?;
            inside_s += tested.seconds.iter().sum::<f64>();
            // The other may have been cold, or disturbed.
            let best_s = tested.seconds.iter().copied().fold(f64::INFINITY, f64::min);
            if let Some(slot) = each_s.get_mut(usize::from(asked.generated > 0)) {
                *slot = best_s / asked.tokens();
            }
        } else if line.contains(" buffer size =") && log.len() < 1 << 16 {
            log.push_str(&line);
            log.push('\n');
        } else {
            child.remember(&line);
        }
    }
    let beside_s = (child.passed_s() - inside_s).max(0.0);
    if waiting.next().is_some() {
        return Err(child.failed());
    }
    child.finish(context)?;
    let [prompt_s, step_s] = each_s;
    let device_bytes = session.listed.as_ref().and_then(|listed| bench::buffer_bytes(&log, &listed.name));
    Ok(Probed { prompt_s, step_s, beside_s, device_bytes })
}

/// A test that was printed, if it is what was asked for and can be true.
fn accept(line: &str, asked: Asked, passed_s: f64, model: &ModelRef) -> Result<Tested, String> {
    let tested = Tested::parse(line)?;
    tested.answers(asked, passed_s)?;
    tested.is_of(&model.shape)?;
    Ok(tested)
}

/// The test that is repeated, if it fits into the time.
fn plan(workload: &Inference, probed: &Probed, context: &Context) -> Result<Asked, Stop> {
    let (mut asked, pass_s) = match workload.phase {
        InferencePhase::Prefill { tokens } => {
            let asked = Asked { prompt: tokens, generated: 0, depth: 0, repetitions: 0 };
            (asked, probed.prompt_s * f64::from(tokens))
        }
        InferencePhase::Decode { tokens, depth } => {
            let left_s = context.remaining().as_secs_f64();
            let fill_s = probed.prompt_s * f64::from(depth);
            if fill_s > 0.8 * left_s {
                let (fill, left) = (duration(fill_s), duration(left_s));
                let reason = format!(
                    "would take about {fill} to fill the cache to depth {depth}, and {left} of the time budget are left; \
                     raise it with --budget"
                );
                return Err(Stop::Skipped { reason, estimate_s: Some(fill_s) });
            }
            let fit = (0.8 * left_s / (PASSES * probed.step_s)) as u32;
            let steps = tokens.min(fit.max(STEPS_LEAST));
            (Asked { prompt: 0, generated: steps, depth, repetitions: 0 }, probed.step_s * f64::from(steps))
        }
    };
    afford(context, pass_s)?;
    let (least, most) = REPETITIONS;
    asked.repetitions = ((TEST_S / pass_s.max(1e-9)).ceil() as u32).clamp(least, most);
    Ok(asked)
}

/// What came of the repeated test.
struct Measured {
    throughput: Measurement,
    /// One of the tests, for its settings.
    tested: Tested,
    usage: Usage,
    processors_used: Option<f64>,
}

/// Repeats the test until the samples are enough or the time is over.
fn measure(
    session: &LlamaSession,
    workload: &Inference,
    file: &Path,
    (asked, probed): (Asked, &Probed),
    context: &mut Context,
) -> Result<Measured, Stop> {
    let policy = Policy::default();
    // Enough for all samples and the longest warm-up, as far as short passes allow.
    let test_s = probed.pass_s(asked) * f64::from(asked.repetitions);
    let warm_up = ((policy.warm_up_max_s / test_s.max(1e-9)) as u32 + 1).min(WARM_UP_TESTS);
    let count = policy.samples_max / asked.repetitions + 2 + warm_up;
    let arguments = session.arguments(file, &vec![asked; count as usize], &[])?;
    context.phase(Phase::WarmUp)?;
    let mut child = Child::start(&session.bench, &arguments.list, arguments.folder.as_deref())?;
    let mut taken = Taken::new(asked.tokens(), (count * asked.repetitions) as usize);
    let (mut kept, mut usage, mut busy) = (None, Usage::default(), Busy::default());
    let (mut inside_s, mut paints) = (0.0, context.paints_begun());
    let mut beside = Beside::new(asked, probed);
    loop {
        let line = child.line(context, beside.silence(), &mut || {
            beside.spare(context);
            Ok(())
        })?;
        let Some(line) = line else { break };
        beside.over();
        let tested =
            accept(&line, asked, child.passed_s() - inside_s, &workload.model).map_err(|why| child.wrong(&why))?;
        usage = usage.and(child.usage());
        busy.look(child.passed_s(), usage);
        inside_s += tested.seconds.iter().sum::<f64>();
        let disturbed = context.paints_begun() != paints;
        taken.test(&tested.seconds, disturbed, context);
        kept = Some(tested);
        if let Some(stop) = taken.finished(context) {
            child.end();
            return done(taken, stop, kept, usage, &busy);
        }
        context.phase(Phase::Sampling { done: taken.samples.len() as u32, target: policy.samples_min })?;
        context.let_window_paint();
        paints = context.paints_begun();
    }
    if kept.is_none() {
        return Err(child.failed());
    }
    child.finish(context)?;
    done(taken, StopReason::SampleLimit, kept, usage, &busy)
}

fn done(taken: Taken, stop: StopReason, tested: Option<Tested>, usage: Usage, busy: &Busy) -> Result<Measured, Stop> {
    let nothing = || Stop::Failed("llama-bench ended before it had given a sample".to_owned());
    let throughput = taken.into_measurement(stop).ok_or_else(nothing)?;
    Ok(Measured { throughput, tested: tested.ok_or_else(nothing)?, usage, processors_used: busy.processors() })
}

/// Time that goes into no figure before the first test is there: loading, filling the cache, an untimed pass.
struct Beside {
    left_s: f64,
    expected_s: f64,
    told: Instant,
    is_over: bool,
}

impl Beside {
    fn new(asked: Asked, probed: &Probed) -> Self {
        let each_s = if asked.generated > 0 { probed.step_s } else { probed.prompt_s };
        let pass_s = each_s * asked.tokens();
        let left_s = 1.5 * probed.beside_s + probed.prompt_s * f64::from(asked.depth) + pass_s;
        let expected_s = left_s + pass_s * f64::from(asked.repetitions + 1);
        Self { left_s, expected_s, told: Instant::now(), is_over: false }
    }

    /// Puts the entry's deadline off by what passed.
    fn spare(&mut self, context: &Context) {
        let passed = self.told.elapsed();
        self.told = Instant::now();
        if !self.is_over && self.left_s > 0.0 {
            context.spare(passed.min(Duration::from_secs_f64(self.left_s)));
            self.left_s -= passed.as_secs_f64();
        }
    }

    fn over(&mut self) {
        self.is_over = true;
    }

    /// How long nothing may be heard.
    fn silence(&self) -> Duration {
        SILENCE + Duration::from_secs_f64((3.0 * self.expected_s).clamp(0.0, 86_400.0))
    }
}

/// How many processors the process kept busy from its first test to its last.
#[derive(Default)]
struct Busy {
    looks: Option<[(f64, f64); 2]>,
}

impl Busy {
    fn look(&mut self, at_s: f64, usage: Usage) {
        let Some(spent_s) = usage.processor_s else { return };
        let first = self.looks.map_or((at_s, spent_s), |[first, _]| first);
        self.looks = Some([first, (at_s, spent_s)]);
    }

    fn processors(&self) -> Option<f64> {
        let [(from_s, before_s), (to_s, after_s)] = self.looks?;
        (to_s - from_s > 0.5).then(|| (after_s - before_s) / (to_s - from_s)).filter(|used| used.is_finite())
    }
}

/// The repetitions so far: those of the warm-up, then samples.
struct Taken {
    tokens: f64,
    /// How many come in all.
    expected: usize,
    warm_up_times: Vec<f64>,
    warm_up: Option<WarmUp>,
    samples: Vec<Sample>,
}

impl Taken {
    fn new(tokens: f64, expected: usize) -> Self {
        Self { tokens, expected, warm_up_times: Vec::new(), warm_up: None, samples: Vec::new() }
    }

    /// The repetitions of one test.
    fn test(&mut self, seconds: &[f64], disturbed: bool, context: &mut Context) {
        for &host_s in seconds {
            let value = self.tokens / host_s;
            if self.warm_up.is_none() {
                self.warm_up = self.warmed(host_s, context);
            }
            let is_sample = self.warm_up.is_some();
            context.value("throughput", Unit::TokenPerSecond, value, !is_sample);
            if is_sample {
                self.samples.push(Sample { value, iterations: 1, host_s, device_s: None, disturbed });
            } else {
                self.warm_up_times.push(host_s);
            }
        }
    }

    /// The warm-up, if it is over before the repetition that took `next_s`. Where time is short it is over at once: an
    /// untimed pass went before; and it leaves as many repetitions as there are samples at the most.
    fn warmed(&self, next_s: f64, context: &Context) -> Option<WarmUp> {
        const AGREE: f64 = 0.02;
        let policy = Policy::default();
        // An empty sum of floats is −0.
        let seconds = self.warm_up_times.iter().fold(0.0, |sum, time| sum + time);
        let last = self.warm_up_times.len().checked_sub(3).and_then(|from| self.warm_up_times.get(from..));
        let steady = last.is_some_and(|last| {
            let low = last.iter().copied().fold(f64::INFINITY, f64::min);
            last.iter().all(|time| time - low <= AGREE * low)
        });
        let scarce = context.remaining().as_secs_f64() < next_s * f64::from(policy.samples_min + 1);
        let few = self.expected.saturating_sub(self.warm_up_times.len()) <= policy.samples_max as usize;
        let over = seconds >= policy.warm_up_max_s || (seconds >= policy.warm_up_min_s && steady) || scarce || few;
        over.then_some(WarmUp { seconds, batches: self.warm_up_times.len() as u32, steady })
    }

    fn finished(&self, context: &Context) -> Option<StopReason> {
        let (policy, count) = (Policy::default(), self.samples.len());
        if count >= policy.samples_min as usize {
            let values: Vec<f64> = self.samples.iter().map(|sample| sample.value).collect();
            let width = Summary::of(&values).and_then(|summary| summary.relative_half_width());
            if width.is_some_and(|width| width <= policy.half_width) {
                return Some(StopReason::Converged);
            }
            if count >= policy.samples_max as usize {
                return Some(StopReason::SampleLimit);
            }
        }
        // The next ones come together, after an untimed pass.
        let last_s = self.samples.last().map_or(0.0, |sample| sample.host_s);
        let fits = Duration::from_secs_f64(last_s * f64::from(REPETITIONS.0 + 1)) < context.remaining();
        (!fits && count >= SAMPLES_LEAST).then_some(StopReason::TimeBudget)
    }

    fn into_measurement(self, stop: StopReason) -> Option<Measurement> {
        let mut measurement = Measurement::of_samples("throughput", Unit::TokenPerSecond, self.samples, stop)?;
        measurement.warm_up = self.warm_up;
        Some(measurement)
    }
}

fn describe(
    session: &LlamaSession,
    workload: &Inference,
    measured: Measured,
    (asked, predicted, device_bytes): (Asked, u64, Option<u64>),
) -> Report {
    let Measured { throughput, tested, usage, processors_used } = measured;
    let mut report = Report { processors_used, ..Report::default() };
    report.precision = Some(precision(&workload.model, &tested));
    report.variant = Some(format!("llama-bench, {}", tested.model_type));
    report.notes = notes(workload);
    if let InferencePhase::Decode { tokens, .. } = workload.phase
        && asked.generated < tokens
    {
        let steps = asked.generated;
        report.settings.insert("tokens-per-pass".to_owned(), steps.to_string());
        report.notes.push(format!("A pass is {steps} tokens instead of {tokens}, so that ten fit into the time."));
    }
    report.settings.insert("repetitions-per-test".to_owned(), asked.repetitions.to_string());
    report.settings.extend(tested.settings);
    if asked.prompt > 0 {
        report.measurements.extend(time_to_first_token(&throughput));
    }
    report.measurements.insert(0, throughput);
    session.memory(&mut report, usage.resident_bytes, device_bytes);
    report.measurements.extend(Measurement::single("predicted-memory", Unit::Byte, predicted as f64, 0.0));
    report
}

/// The arithmetic as far as llama.cpp tells.
fn precision(model: &ModelRef, tested: &Tested) -> String {
    let setting = |name: &str| tested.settings.get(name).map_or("f16", String::as_str);
    let rounded = if model.precision.dense_bytes().is_none() { " (rounded to 8 bits in products)" } else { "" };
    format!(
        "{} weights, f32 activations{rounded}, {} keys, {} values",
        model.precision,
        setting("keys"),
        setting("values")
    )
}

/// What a reader must know of how llama-bench measures.
fn notes(workload: &Inference) -> Vec<String> {
    let mut notes = Vec::new();
    if workload.model.origin == Origin::Synthetic {
        notes.push("The weights are synthetic: random values at the true shapes, as fast as real ones.".to_owned());
    }
    notes.push(match workload.phase {
        InferencePhase::Prefill { .. } => {
            "llama-bench reads a prompt of random tokens; a pass ends with the logits after it, and samples no token."
                .to_owned()
        }
        InferencePhase::Decode { .. } => {
            "llama-bench feeds random tokens and samples none; each step is waited for, as in streaming.".to_owned()
        }
    });
    notes.push("Each test of some repetitions begins with a pass that llama-bench doesn't time.".to_owned());
    notes.push("llama-bench shows no results: those that were timed were not checked.".to_owned());
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_ends_when_the_rate_is_steady_and_is_left_out_where_time_is_short() {
        let mut context = Context::detached(Duration::from_mins(10));
        let mut taken = Taken::new(100.0, 1000);
        taken.test(&[0.4, 0.2, 0.2, 0.2, 0.2, 0.2], false, &mut context);
        let warm_up = taken.warm_up.unwrap();
        assert_eq!((warm_up.batches, warm_up.steady, taken.samples.len()), (4, true, 2));
        assert_eq!(taken.samples[0].value, 500.0);

        let mut context = Context::detached(Duration::from_millis(500));
        let mut taken = Taken::new(100.0, 1000);
        taken.test(&[0.4, 0.2, 0.2], false, &mut context);
        assert_eq!((taken.warm_up.unwrap().batches, taken.samples.len()), (0, 3));
        assert_eq!(taken.finished(&context), Some(StopReason::TimeBudget));
    }

    #[test]
    fn passes_that_are_short_and_never_steady_give_samples_all_the_same() {
        let mut context = Context::detached(Duration::from_mins(10));
        let mut taken = Taken::new(16.0, 180);
        let noisy: Vec<f64> = (0..180).map(|i| if i % 2 == 0 { 0.001 } else { 0.003 }).collect();
        noisy.chunks(20).for_each(|test| taken.test(test, false, &mut context));
        assert_eq!((taken.warm_up.unwrap().batches, taken.samples.len()), (120, 60));
    }

    #[test]
    fn samples_end_when_they_agree_or_are_enough() {
        let mut context = Context::detached(Duration::from_mins(10));
        let mut taken = Taken::new(100.0, 1000);
        taken.test(&[0.2; 13], false, &mut context);
        assert_eq!((taken.samples.len(), taken.finished(&context)), (10, Some(StopReason::Converged)));
        let mut taken = Taken::new(100.0, 1000);
        let noisy: Vec<f64> = (0..80).map(|i| if i % 2 == 0 { 0.1 } else { 0.3 }).collect();
        taken.test(&noisy[..20], false, &mut context);
        assert_eq!(taken.finished(&context), None);
        taken.test(&noisy, false, &mut context);
        assert_eq!(taken.finished(&context), Some(StopReason::SampleLimit));
    }

    #[test]
    fn a_test_lasts_about_a_second_and_a_pass_that_is_too_long_is_skipped() {
        let probed = |step_s| Probed { prompt_s: 0.01, step_s, beside_s: 1.0, device_bytes: None };
        let workload = |phase| Inference { model: example(), phase, batch: 1 };
        let context = Context::detached(Duration::from_mins(1));
        let decode = workload(InferencePhase::Decode { tokens: 128, depth: 0 });
        let asked = plan(&decode, &probed(0.001), &context).unwrap();
        assert_eq!((asked.generated, asked.repetitions), (128, 8));
        // 0.8 · 60 s ÷ 15 passes ÷ 0.2 s.
        let asked = plan(&decode, &probed(0.2), &context).unwrap();
        assert!((15..=16).contains(&asked.generated) && asked.repetitions == 3, "{asked:?}");
        let prefill = workload(InferencePhase::Prefill { tokens: 4096 });
        assert!(matches!(plan(&prefill, &probed(1.0), &context), Err(Stop::Skipped { .. })));
        let deep = workload(InferencePhase::Decode { tokens: 16, depth: 8192 });
        let Err(Stop::Skipped { reason, .. }) = plan(&deep, &probed(0.001), &context) else { panic!("not skipped") };
        assert!(reason.contains("depth 8192"), "{reason}");
    }

    fn example() -> ModelRef {
        ModelRef {
            name: "m".into(),
            origin: Origin::Synthetic,
            precision: crate::workload::Precision::F16,
            shape: crate::workload::ModelShape::MISTRAL_7B,
            weight_bytes: 1,
            token_bytes: 1,
            location: crate::workload::Location(None),
        }
    }
}
