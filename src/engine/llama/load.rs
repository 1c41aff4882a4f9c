//! Loading a model: llama.cpp's own load time, from its log.
//!
//! It counts from the moment the file is open until the first token is computed, so that pages which the mapped file brings
//! in only when they are used are in it, as are weights rearranged for the processor or copied to a GPU. More tokens in the
//! same process say what computing one costs, and the fastest is taken off. Starting the program, and what its drivers do before
//! the file is opened, are not in it.

use std::{path::Path, time::Duration};

use super::{
    LlamaSession,
    bench::{self, Asked, Tested},
    process::{Child, Usage},
};
use crate::{
    measure::{Context, Measurement, Phase, Report, Sample, Stop, StopReason},
    units::{Unit, duration},
    workload::{ModelLoad, Origin},
};

/// The most samples, and the fewest that are wanted.
const SAMPLES: (usize, usize) = (10, 3);

/// How long a load may take.
const SILENCE_MAX: Duration = Duration::from_mins(30);

/// One token, and some more.
const TOKENS: Asked = Asked { prompt: 0, generated: 1, depth: 0, repetitions: 4 };

/// One load.
struct Loaded {
    load_s: f64,
    process_s: f64,
    usage: Usage,
    tested: Tested,
}

/// Loads the model in `file` again and again.
pub(super) fn run(
    session: &LlamaSession,
    workload: &ModelLoad,
    file: &Path,
    context: &mut Context,
) -> Result<Report, Stop> {
    context.phase(Phase::Preparing)?;
    // Once untimed: it brings the file into the system's cache.
    let first = once(session, workload, file, true, context)?;
    let left_s = context.remaining().as_secs_f64();
    if first.process_s > left_s {
        let (needed, left) = (duration(first.process_s), duration(left_s));
        let reason =
            format!("loading takes about {needed}, and {left} of the time budget are left; raise it with --budget");
        return Err(Stop::Skipped { reason, estimate_s: Some(first.process_s * 4.0) });
    }
    let (most, least) = SAMPLES;
    let (mut times, mut usage, mut ended) = (Vec::new(), first.usage, StopReason::SampleLimit);
    while times.len() < most {
        context.phase(Phase::Sampling { done: times.len() as u32, target: most as u32 })?;
        context.let_window_paint();
        let paints = context.paints_begun();
        let loaded = once(session, workload, file, false, context)?;
        let (host_s, disturbed) = (loaded.load_s, context.paints_begun() != paints);
        usage = usage.and(loaded.usage);
        context.value("load", Unit::BytePerSecond, workload.model.weight_bytes as f64 / host_s, false);
        times.push(Sample { value: host_s, iterations: 1, host_s, device_s: None, disturbed });
        let left_s = context.remaining().as_secs_f64();
        if left_s < loaded.process_s && (times.len() >= least || left_s <= 0.0) {
            ended = StopReason::TimeBudget;
            break;
        }
    }
    Ok(describe(session, workload, times, ended, (first.tested, usage)))
}

/// One process that loads the model and computes a few tokens.
fn once(
    session: &LlamaSession,
    workload: &ModelLoad,
    file: &Path,
    aside: bool,
    context: &Context,
) -> Result<Loaded, Stop> {
    let arguments = session.arguments(file, &[TOKENS], &["--no-warmup", "-v"])?;
    let mut child = Child::start(&session.bench, &arguments.list, arguments.folder.as_deref())?;
    let mut told = std::time::Instant::now();
    let mut spare = || {
        if aside {
            context.spare(told.elapsed());
            told = std::time::Instant::now();
        }
        Ok(())
    };
    let (mut tested, mut usage) = (None, Usage::default());
    while let Some(line) = child.line(context, SILENCE_MAX, &mut spare)? {
        let one = Tested::parse(&line).map_err(|why| child.wrong(&why))?;
        one.answers(TOKENS, child.passed_s()).map_err(|why| child.wrong(&why))?;
        one.is_of(&workload.model.shape).map_err(|why| child.wrong(&why))?;
        usage = child.usage();
        tested = Some(one);
    }
    let process_s = child.passed_s();
    let Some(tested) = tested else { return Err(child.failed()) };
    let log = child.finish(context)?;
    let load_s = load_s(&log, &tested, process_s).map_err(Stop::Failed)?;
    Ok(Loaded { load_s, process_s, usage, tested })
}

/// The load time, if the log tells one that can be true.
fn load_s(log: &str, tested: &Tested, process_s: f64) -> Result<f64, String> {
    let with_token_s = bench::load_seconds(log).ok_or("this version of llama-bench doesn't tell its load time")?;
    let token_s = tested.seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let load_s = with_token_s - token_s;
    if load_s > 0.0 && with_token_s <= process_s {
        return Ok(load_s);
    }
    Err(format!(
        "llama-bench says that it loaded for {with_token_s:.3} s with a token of {token_s:.3} s, in a process of \
         {process_s:.3} s: that can't be"
    ))
}

fn describe(
    session: &LlamaSession,
    workload: &ModelLoad,
    times: Vec<Sample>,
    ended: StopReason,
    (tested, usage): (Tested, Usage),
) -> Report {
    let weight_bytes = workload.model.weight_bytes;
    let rates = times.iter().map(|sample| Sample { value: weight_bytes as f64 / sample.host_s, ..*sample }).collect();
    let mut report = Report {
        precision: Some(format!("{} weights", workload.model.precision)),
        variant: Some(format!("llama-bench, {}", tested.model_type)),
        settings: tested.settings,
        ..Report::default()
    };
    report.measurements.extend(Measurement::of_samples("load", Unit::BytePerSecond, rates, ended));
    report.measurements.extend(Measurement::of_samples("load-time", Unit::Second, times, ended));
    session.memory(&mut report, usage.resident_bytes, None);
    report.notes.push(
        "Load time is llama.cpp's own, from the system's file cache: from opening the file until the first token is \
         computed, less the time of computing a token. Starting the program is not in it."
            .to_owned(),
    );
    if workload.model.origin == Origin::Synthetic {
        report.notes.push("The weights are synthetic, and were read from a file made of them.".to_owned());
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tested() -> Tested {
        let line = r#"{"backends":"CPU","model_type":"llama","n_prompt":0,"n_gen":1,"n_depth":0,"avg_ts":61.111,
            "samples_ns":[20000000,10000000,30000000]}"#;
        Tested::parse(line).unwrap()
    }

    #[test]
    fn the_fastest_token_is_taken_off() {
        let log = "x\nllama_perf_context_print:        load time =      85.19 ms\nllama_perf_context_print: total";
        assert!((load_s(log, &tested(), 1.0).unwrap() - 0.07519).abs() < 1e-9);
    }

    #[test]
    fn a_load_time_that_can_not_be_is_refused() {
        let log = |time: &str| format!("load time = {time} ms");
        assert!(load_s(&log("2000.00"), &tested(), 1.0).unwrap_err().contains("can't be"));
        assert!(load_s(&log("5.00"), &tested(), 1.0).unwrap_err().contains("can't be"));
        for wrong in ["nan", "-3", "inf", "", "0.00"] {
            assert!(load_s(&log(wrong), &tested(), 1.0).unwrap_err().contains("doesn't tell"), "{wrong}");
        }
    }
}
