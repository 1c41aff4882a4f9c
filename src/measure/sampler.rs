//! Warm-up, calibration and sampling.

use std::time::{Duration, Instant};

use super::{Clock, Context, Measurement, Phase, Sample, Stop, StopReason, WarmUp};
use crate::{
    stats::Summary,
    units::{Unit, duration},
};

/// How long one batch took, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchTime {
    /// Wall time in seconds, the cost of an empty submission taken off.
    pub host_s: f64,
    /// Time by the device's clock in seconds, if it wrote timestamps.
    pub device_s: Option<f64>,
}

impl BatchTime {
    /// Which clock to believe, and its time.
    ///
    /// The device's is used while it is sane: positive and at least 1 % of the wall time (timestamps read zero on some
    /// systems); and not above the wall time by more than 2 % and 50 µs, which only a wrong timestamp period explains.
    pub fn best(self) -> (Clock, f64) {
        let sane =
            |device: &f64| *device > 0.0 && *device >= 0.01 * self.host_s && *device <= 1.02 * self.host_s + 50e-6;
        match self.device_s.filter(sane) {
            Some(device) => (Clock::DeviceTimestamps, device),
            None => (Clock::HostWall, self.host_s.max(1e-9)),
        }
    }

    /// The sum of two batches run one after the other.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let device_s = self.device_s.zip(other.device_s).map(|(a, b)| a + b);
        Self { host_s: self.host_s + other.host_s, device_s }
    }
}

/// When to stop warming up and sampling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// The warm-up lasts at least this long, in seconds.
    pub warm_up_min_s: f64,
    /// The warm-up ends after this long even if the rate is not steady, in seconds.
    pub warm_up_max_s: f64,
    /// The length a batch is calibrated to, in seconds.
    pub batch_s: f64,
    /// The least number of samples.
    pub samples_min: u32,
    /// The most samples.
    pub samples_max: u32,
    /// The wanted half width of the 95 % interval, relative to the median.
    pub half_width: f64,
}

impl Default for Policy {
    /// The rules of measurement: batches of 50–200 ms, at least ten samples, an interval within 1 %.
    fn default() -> Self {
        Self {
            warm_up_min_s: 0.5,
            warm_up_max_s: 3.0,
            batch_s: 0.1,
            samples_min: 10,
            samples_max: 60,
            half_width: 0.01,
        }
    }
}

impl Policy {
    /// A lighter policy for one of many points, such as a size in a sweep.
    pub fn sweep_point() -> Self {
        Self { warm_up_min_s: 0.1, warm_up_max_s: 0.5, batch_s: 0.05, samples_max: 20, ..Self::default() }
    }
}

/// What one iteration counts for: the metric, its unit, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate<'a> {
    /// The metric's name.
    pub metric: &'a str,
    /// The unit of the rate.
    pub unit: Unit,
    /// FLOPs, bytes or tokens of one iteration.
    pub amount: f64,
}

/// Below this many samples the median means little, and the job is skipped instead.
const SAMPLES_LEAST: u32 = 3;

/// After a longer pause between batches clocks and caches are cold again.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The most batches of one measurement that are repeated because the window painted.
const REPEAT_LIMIT: u32 = 20;

/// Says whether work of `iteration_s` seconds an iteration fits in the time left; if not, it is skipped with its estimate.
pub fn afford(context: &Context, iteration_s: f64) -> Result<(), Stop> {
    let least_s = iteration_s * f64::from(SAMPLES_LEAST + 1);
    let left_s = context.remaining().as_secs_f64();
    if least_s <= left_s {
        return Ok(());
    }
    let full_s = iteration_s * f64::from(Policy::default().samples_min + 1);
    let reason = if left_s > 0.0 {
        let [full, one, left] = [full_s, iteration_s, left_s].map(duration);
        format!(
            "would take about {full} (one iteration {one}), and {left} of the time budget are left; raise it with --budget"
        )
    } else {
        "getting ready took all of its time budget; raise it with --budget".to_owned()
    };
    Err(Stop::Skipped { reason, estimate_s: Some(full_s) })
}

/// Warms up, calibrates and samples `batch`, which runs a number of iterations and says how long they took.
///
/// `batch` must check the context about every 100 ms, and return when the work is complete on the device. It may tell values
/// of its own, as a loss.
pub fn sample(
    context: &mut Context,
    policy: &Policy,
    rate: Rate<'_>,
    mut batch: impl FnMut(&mut Context, u32) -> Result<BatchTime, Stop>,
) -> Result<Measurement, Stop> {
    let (mut iterations, mut warmed) = warm_up(context, policy, rate, &mut batch)?;
    let mut taken = Taken::default();
    let mut last_end = Instant::now();
    let stop = loop {
        let target = policy.samples_min;
        context.phase(Phase::Sampling { done: taken.samples.len() as u32, target })?;
        context.let_window_paint();
        if last_end.elapsed() > PAUSE_MAX {
            match warm_up(context, policy, rate, &mut batch) {
                Ok(again) => (iterations, warmed) = (again.0, warmed.and(again.1)),
                // The pause took the time; the samples there are stay.
                Err(Stop::Skipped { .. }) if taken.samples.len() as u32 >= SAMPLES_LEAST => {
                    break StopReason::TimeBudget;
                }
                Err(other) => return Err(other),
            }
        }
        taken.one(context, rate, iterations, &mut batch)?;
        last_end = Instant::now();
        if let Some(stop) = finished(context, policy, &taken) {
            break stop;
        }
    };
    taken.into_measurement(rate, warmed, stop)
}

/// Runs untimed batches until three in a row agree within 2 % or the time allowed is over, and finds how many iterations
/// fill a batch.
fn warm_up(
    context: &mut Context,
    policy: &Policy,
    rate: Rate<'_>,
    batch: &mut impl FnMut(&mut Context, u32) -> Result<BatchTime, Stop>,
) -> Result<(u32, WarmUp), Stop> {
    const AGREE: f64 = 0.02;
    context.phase(Phase::WarmUp)?;
    let start = Instant::now();
    let mut recent: Vec<f64> = Vec::new();
    let mut iterations = 1;
    let mut batches = 0;
    loop {
        context.let_window_paint();
        let (_, seconds) = batch(context, iterations)?.best();
        batches += 1;
        let each = seconds / f64::from(iterations);
        if batches == 1 {
            afford(context, each)?;
        }
        context.value(rate.metric, rate.unit, rate.amount / each, true);
        recent.push(each);
        iterations = calibrated(each, policy.batch_s, iterations);
        let elapsed = start.elapsed().as_secs_f64();
        let steady = is_steady(&recent, AGREE);
        // Samples matter more than warm-up: a slow device keeps the time for them.
        let share =
            context.remaining().as_secs_f64() < each * f64::from(iterations) * f64::from(policy.samples_min + 1);
        if elapsed >= policy.warm_up_max_s || (elapsed >= policy.warm_up_min_s && steady) || share {
            return Ok((iterations, WarmUp { seconds: elapsed, batches, steady }));
        }
    }
}

/// How many iterations of `each` seconds fill a batch; grows at most tenfold a step, since the first batches run cold.
fn calibrated(each: f64, batch_s: f64, before: u32) -> u32 {
    let wanted = (batch_s / each.max(1e-9)).round().clamp(1.0, 1e6) as u32;
    wanted.min(before.saturating_mul(10))
}

/// Whether the last three rates are within `agree` of each other.
fn is_steady(recent: &[f64], agree: f64) -> bool {
    let Some(last) = recent.len().checked_sub(3).and_then(|from| recent.get(from..)) else { return false };
    let low = last.iter().copied().fold(f64::INFINITY, f64::min);
    let high = last.iter().copied().fold(0.0, f64::max);
    high - low <= agree * low
}

/// The samples so far.
#[derive(Default)]
struct Taken {
    samples: Vec<(BatchTime, Sample)>,
    repeated: u32,
}

impl Taken {
    fn one(
        &mut self,
        context: &mut Context,
        rate: Rate<'_>,
        iterations: u32,
        batch: &mut impl FnMut(&mut Context, u32) -> Result<BatchTime, Stop>,
    ) -> Result<(), Stop> {
        loop {
            let paints = context.paints_begun();
            let time = batch(context, iterations)?;
            let disturbed = context.paints_begun() != paints;
            let left = context.remaining();
            if disturbed && self.repeated < REPEAT_LIMIT && left > Duration::from_secs_f64(time.host_s.max(0.0)) {
                self.repeated += 1;
                context.check()?;
                continue;
            }
            let (_, seconds) = time.best();
            let value = rate.amount * f64::from(iterations) / seconds;
            context.value(rate.metric, rate.unit, value, false);
            let sample = Sample { value, iterations, host_s: time.host_s, device_s: time.device_s, disturbed };
            self.samples.push((time, sample));
            return Ok(());
        }
    }

    fn values(&self) -> Vec<f64> {
        self.samples.iter().map(|(_, sample)| sample.value).collect()
    }

    /// One clock for all samples: the device's only if it was sane in every one.
    fn into_measurement(self, rate: Rate<'_>, warm_up: WarmUp, stop: StopReason) -> Result<Measurement, Stop> {
        let all_device = self.samples.iter().all(|(time, _)| time.best().0 == Clock::DeviceTimestamps);
        let clock = if all_device { Clock::DeviceTimestamps } else { Clock::HostWall };
        let settle = |(time, mut sample): (BatchTime, Sample)| {
            if clock == Clock::HostWall {
                sample.value = rate.amount * f64::from(sample.iterations) / time.host_s.max(1e-9);
            }
            sample
        };
        let samples: Vec<Sample> = self.samples.into_iter().map(settle).collect();
        let values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
        let summary = Summary::of(&values).ok_or_else(|| Stop::Failed("no finite sample was measured".to_owned()))?;
        Ok(Measurement {
            metric: rate.metric.to_owned(),
            unit: rate.unit,
            at_bytes: None,
            summary,
            clock,
            stop,
            warm_up: Some(warm_up),
            repeated_batches: self.repeated,
            samples,
        })
    }
}

fn finished(context: &Context, policy: &Policy, taken: &Taken) -> Option<StopReason> {
    let count = taken.samples.len() as u32;
    if count >= policy.samples_min {
        let summary = Summary::of(&taken.values());
        let width = summary.and_then(|summary| summary.relative_half_width());
        if width.is_some_and(|width| width <= policy.half_width) {
            return Some(StopReason::Converged);
        }
        if count >= policy.samples_max {
            return Some(StopReason::SampleLimit);
        }
    }
    let last_s = taken.samples.last().map_or(0.0, |(time, _)| time.host_s.max(0.0));
    let fits = Duration::from_secs_f64(last_s) < context.remaining();
    (!fits && count >= SAMPLES_LEAST).then_some(StopReason::TimeBudget)
}

#[cfg(test)]
#[path = "sampler_tests.rs"]
mod tests;
