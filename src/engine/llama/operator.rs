//! Matrix products by llama.cpp's own test of operators, `test-backend-ops perf`.
//!
//! Its shapes are compiled in. One process times one of them for a second, after one product to warm up, and prints the mean
//! of all products in it: so every process is a sample. What comes out is not seen: the tool compares results with the
//! processor's in another mode, at other shapes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    bench::cut,
    process::{Child, Tool},
};
use crate::{
    measure::{Context, Measurement, Phase, Policy, Report, Sample, Stop, StopReason, WarmUp, afford},
    stats::Summary,
    units::Unit,
    workload::{Dtype, Gemm, Layout},
};

/// How long the tool may take to set up a product, at most: it fills the matrices and quantises some on few threads.
const SILENCE_MAX: Duration = Duration::from_mins(5);

/// Fewer samples than this say little, and more than this are not taken: a second each is already a mean.
const SAMPLES: (usize, usize) = (3, 10);

/// How one product of the test was timed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Timed {
    /// Seconds a product, the mean over all.
    pub(super) each_s: f64,
    /// Products in that mean.
    pub(super) runs: u32,
    /// The commit that the tool was built from, where it tells.
    build: Option<String>,
}

/// Why the tool can't time this product, whatever its shape: types that it hasn't, or names for others.
pub(super) fn refuse(gemm: &Gemm, backend: &str) -> Result<&'static str, Stop> {
    let unsupported = |reason: &str| Err(Stop::Unsupported(reason.to_owned()));
    if gemm.layout != Layout::Abt {
        return unsupported("llama.cpp multiplies by weights stored transposed (A · Bᵗ) only");
    }
    match gemm.dtype {
        // Its CUDA backend lets cuBLAS round f32 operands.
        Dtype::F32 if matches!(backend, "CUDA" | "MUSA") => {
            unsupported("llama.cpp's CUDA backend rounds f32 operands to TF32; measure tf32 instead")
        }
        Dtype::F32 => Ok("f32"),
        Dtype::Tf32 if matches!(backend, "CUDA" | "MUSA") => Ok("f32"),
        Dtype::Tf32 => unsupported("llama.cpp rounds to TF32 on CUDA only"),
        Dtype::F16 => Ok("f16"),
        Dtype::Bf16 => Ok("bf16"),
    }
}

/// The pattern that picks this product alone, in the words of the tool: its m are rows of weights, its n are tokens.
fn pattern(gemm: &Gemm, weights: &str) -> String {
    format!(r"type_a={weights},type_b=f32,m={},n={},k={},bs=\[1,1\],nr=\[1,1\],per=\[0,1,2,3\]", gemm.n, gemm.m, gemm.k)
}

/// Times the product on the backend that llama.cpp calls `device`, as "CPU" or "CUDA0".
pub(super) fn run(
    tool: &Tool,
    gemm: &Gemm,
    (device, backend): (&str, &str),
    context: &mut Context,
) -> Result<Report, Stop> {
    let weights = refuse(gemm, backend)?;
    let pattern = pattern(gemm, weights);
    let arguments = ["perf", "-o", "MUL_MAT", "-b", device, "-p", &pattern, "--output", "sql"];
    context.phase(Phase::WarmUp)?;
    let start = Instant::now();
    let first = once(tool, &arguments, gemm, context)?;
    let each_process_s = start.elapsed().as_secs_f64();
    context.value("throughput", Unit::FlopPerSecond, gemm.flops() / first.each_s, true);
    afford(context, each_process_s)?;
    let warm_up = WarmUp { seconds: each_process_s, batches: 1, steady: false };
    let (samples, stop) = sampled(tool, &arguments, gemm, context)?;
    let mut throughput = Measurement::of_samples("throughput", Unit::FlopPerSecond, samples, stop)
        .ok_or_else(|| Stop::Failed("no finite sample was measured".to_owned()))?;
    throughput.warm_up = Some(warm_up);
    Ok(describe(throughput, &first, gemm, (weights, backend)))
}

/// A process a sample, until the interval is narrow, there are enough, or the time is over.
fn sampled(
    tool: &Tool,
    arguments: &[&str],
    gemm: &Gemm,
    context: &mut Context,
) -> Result<(Vec<Sample>, StopReason), Stop> {
    let (least, most) = SAMPLES;
    let (mut samples, mut longest): (Vec<Sample>, _) = (Vec::new(), Duration::ZERO);
    loop {
        context.phase(Phase::Sampling { done: samples.len() as u32, target: most as u32 })?;
        context.let_window_paint();
        let (paints, start) = (context.paints_begun(), Instant::now());
        let timed = once(tool, arguments, gemm, context)?;
        longest = longest.max(start.elapsed());
        let disturbed = context.paints_begun() != paints;
        let (value, host_s) = (gemm.flops() / timed.each_s, timed.each_s * f64::from(timed.runs));
        context.value("throughput", Unit::FlopPerSecond, value, false);
        samples.push(Sample { value, iterations: timed.runs, host_s, device_s: None, disturbed });
        let values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
        let width = Summary::of(&values).and_then(|summary| summary.relative_half_width());
        if width.is_some_and(|width| width <= Policy::default().half_width) {
            return Ok((samples, StopReason::Converged));
        }
        if samples.len() >= most {
            return Ok((samples, StopReason::SampleLimit));
        }
        if samples.len() >= least && context.remaining() < longest {
            return Ok((samples, StopReason::TimeBudget));
        }
    }
}

/// One process, which prints one product.
fn once(tool: &Tool, arguments: &[&str], gemm: &Gemm, context: &Context) -> Result<Timed, Stop> {
    let mut child = Child::start(tool, arguments, None)?;
    let mut found = None;
    while let Some(line) = child.line(context, SILENCE_MAX, &mut || Ok(()))? {
        // Other lines make the table, or say how it went.
        if let Some(row) = row(&line) {
            found = Some(timed(&row, gemm, child.passed_s()).map_err(|why| child.wrong(&why))?);
        }
    }
    child.finish(context)?;
    found.ok_or_else(|| {
        let shape = format!("{} × {} × {}", gemm.m, gemm.n, gemm.k);
        Stop::Unsupported(format!(
            "llama.cpp's operator test has no product of {shape} in {}: its shapes are compiled in",
            gemm.dtype
        ))
    })
}

/// The columns of a row "INSERT INTO test_backend_ops (…) VALUES ('…', …);", by name; `None` for any other line.
fn row(line: &str) -> Option<BTreeMap<&str, &str>> {
    let (names, values) = line.trim().strip_prefix("INSERT INTO test_backend_ops (")?.split_once(") VALUES ('")?;
    let values = values.strip_suffix("');")?;
    let (names, values): (Vec<_>, Vec<_>) = (names.split(", ").collect(), values.split("', '").collect());
    (names.len() == values.len()).then(|| names.into_iter().zip(values).collect())
}

/// The timing in a row, if it is of this product and can be true.
fn timed(row: &BTreeMap<&str, &str>, gemm: &Gemm, passed_s: f64) -> Result<Timed, String> {
    let field = |name: &str| row.get(name).copied().ok_or_else(|| format!("its row has no {name}"));
    if field("supported")? != "1" {
        return Err("its backend doesn't multiply these types".to_owned());
    }
    let of_this = [format!("m={}", gemm.n), format!("n={}", gemm.m), format!("k={}", gemm.k)];
    let parameters = field("op_params")?;
    if field("test_mode")? != "perf" || !of_this.iter().all(|one| parameters.split(',').any(|part| part == one)) {
        return Err(format!("its row is of something else: {}", cut(parameters)));
    }
    let microseconds: f64 = number(field("time_us")?)?;
    let flops: f64 = number(field("flops")?)?;
    let runs: u32 = field("n_runs")?.parse().ok().filter(|runs| *runs > 0).ok_or("its row has no count of runs")?;
    let each_s = microseconds / 1e6;
    let meant = gemm.flops() / each_s;
    if (flops / meant - 1.0).abs() > 0.01 {
        return Err(format!("it says {flops:.3e} FLOP/s, and its time is that of {meant:.3e}"));
    }
    let sum_s = each_s * f64::from(runs);
    if sum_s > passed_s {
        return Err(format!("its products add up to {sum_s:.3} s, and only {passed_s:.3} s had passed"));
    }
    let build = row.get("build_commit").map(|commit| cut(commit)).filter(|commit| !commit.is_empty());
    Ok(Timed { each_s, runs, build })
}

fn number(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite() && *value > 0.0);
    value.ok_or_else(|| format!("its row holds \"{}\" where a positive number must be", cut(text)))
}

fn describe(throughput: Measurement, first: &Timed, gemm: &Gemm, (weights, backend): (&str, &str)) -> Report {
    let mut settings = BTreeMap::new();
    settings.extend(first.build.clone().map(|build| ("build-commit".to_owned(), build)));
    if backend == "CPU" {
        settings.insert("threads".to_owned(), "half of the logical processors".to_owned());
    }
    let rounded = if gemm.dtype == Dtype::Tf32 { ", which cuBLAS may round to TF32" } else { "" };
    let mut notes = vec![
        "Timed by llama.cpp's own operator test, which shows no results: they were not checked.".to_owned(),
        "A sample is the mean over a process of a second or more, after one product to warm up.".to_owned(),
    ];
    if backend == "CPU" {
        notes.push("The operator test takes half of the logical processors, and can't be told otherwise.".to_owned());
    }
    Report {
        measurements: vec![throughput],
        precision: Some(format!("{weights} weights, f32 activations and results{rounded}")),
        variant: Some("test-backend-ops perf, MUL_MAT".to_owned()),
        settings,
        notes,
        ..Report::default()
    }
}

#[cfg(test)]
#[path = "operator_tests.rs"]
mod tests;
