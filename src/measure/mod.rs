//! How a figure is taken: warm-up to a steady rate, calibrated batches, samples until the interval is narrow.
//!
//! An engine hands [`sample`] a closure that runs a number of iterations and says how long they took; everything else
//! (how many, how often, which clock, when to stop, when to give way to Cancel) is decided here, alike for all engines.

mod context;
mod sampler;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    context::{Cancel, Context, Hush, Paints, Phase, Progress, Spared},
    sampler::{BatchTime, Policy, Rate, afford, sample},
};
use crate::{
    stats::Summary,
    units::{Quantity, Unit},
};

/// Why a job ended without a full result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Stop {
    /// The person asked for it.
    #[error("cancelled")]
    Cancelled,
    /// This engine or device can't do it.
    #[error("{0}")]
    Unsupported(String),
    /// It could be done but would cost more time or memory than allowed.
    #[error("{reason}")]
    Skipped {
        /// The reason with its numbers.
        reason: String,
        /// The predicted duration in seconds, when time was the reason.
        estimate_s: Option<f64>,
    },
    /// It was tried and went wrong, or gave a wrong result.
    #[error("{0}")]
    Failed(String),
    /// The device went away; the session is of no more use.
    #[error("the device was lost: {0}; the next entry opens it again")]
    DeviceLost(String),
}

/// Which clock a measurement's values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// Timestamps that the device wrote around the work.
    DeviceTimestamps,
    /// Wall time of submitting and waiting, less that of an empty submission.
    HostWall,
}

/// One timed batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// The rate or quantity, in the measurement's unit.
    pub value: f64,
    /// How many iterations the batch held.
    pub iterations: u32,
    /// Wall time of the batch in seconds, the cost of an empty submission taken off.
    pub host_s: f64,
    /// Time by the device's own clock in seconds, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_s: Option<f64>,
    /// The window painted while this batch was timed, and no undisturbed repeat could be had.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disturbed: bool,
}

/// Why sampling ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// The 95 % interval of the median is within the wanted width.
    Converged,
    /// The most samples wanted were taken before the interval was narrow enough.
    SampleLimit,
    /// The entry's time was spent; there may be fewer than ten samples.
    TimeBudget,
    /// The figure is found once, by search or count, and not sampled.
    Single,
    /// The figure was published without its samples, and is kept as it stands.
    Published,
}

/// How the device was brought to a steady rate before the first sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WarmUp {
    /// How long it took in seconds.
    pub seconds: f64,
    /// How many batches ran untimed.
    pub batches: u32,
    /// The last batches agreed with each other; false when the time allowed ran out before.
    pub steady: bool,
}

impl WarmUp {
    /// Both, one after a pause in the sampling.
    fn and(self, again: Self) -> Self {
        Self {
            seconds: self.seconds + again.seconds,
            batches: self.batches + again.batches,
            steady: self.steady && again.steady,
        }
    }
}

/// All samples of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    /// What is measured, as "throughput", "read" or "largest-buffer".
    pub metric: String,
    /// The unit of the values.
    pub unit: Unit,
    /// Where on a sweep this was taken: the array size in bytes. Absent outside sweeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_bytes: Option<u64>,
    /// What the samples say.
    pub summary: Summary,
    /// The clock that the values come from.
    pub clock: Clock,
    /// Why sampling ended.
    pub stop: StopReason,
    /// How the device was warmed up; absent for what is found once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<WarmUp>,
    /// How many batches were thrown away and repeated because the window painted during them.
    #[serde(default)]
    pub repeated_batches: u32,
    /// Every sample in the order taken.
    pub samples: Vec<Sample>,
}

impl Measurement {
    /// A figure of samples that the host timed without warming up; `None` without samples.
    pub fn of_samples(metric: &str, unit: Unit, samples: Vec<Sample>, stop: StopReason) -> Option<Self> {
        let values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
        Some(Self {
            metric: metric.to_owned(),
            unit,
            at_bytes: None,
            summary: Summary::of(&values)?,
            clock: Clock::HostWall,
            stop,
            warm_up: None,
            repeated_batches: 0,
            samples,
        })
    }

    /// A figure that is found once, such as a limit.
    pub fn single(metric: &str, unit: Unit, value: f64, host_s: f64) -> Option<Self> {
        let sample = Sample { value, iterations: 1, host_s, device_s: None, disturbed: false };
        Self::of_samples(metric, unit, vec![sample], StopReason::Single)
    }
}

impl From<&Measurement> for Quantity {
    /// The median with its unit.
    fn from(measurement: &Measurement) -> Self {
        Self::new(measurement.summary.median, measurement.unit)
    }
}

/// The percentiles of the times from token to token that so many times can tell: a hundredth needs a hundred. `total_s` is how
/// long all passes took.
pub fn token_percentiles(mut gaps: Vec<f64>, total_s: f64) -> Vec<Measurement> {
    const PERCENTILES: [(&str, f64, usize); 3] =
        [("inter-token-p50", 0.5, 1), ("inter-token-p95", 0.95, 20), ("inter-token-p99", 0.99, 100)];
    gaps.sort_by(f64::total_cmp);
    let told = PERCENTILES.into_iter().filter(|(_, _, least)| gaps.len() >= *least);
    let one =
        |(metric, share, _)| Measurement::single(metric, Unit::Second, crate::stats::quantile(&gaps, share)?, total_s);
    told.filter_map(one).collect()
}

/// The time to the first token, from the samples of a prefill's throughput: each timed pass is one.
pub fn time_to_first_token(throughput: &Measurement) -> Option<Measurement> {
    let one = |sample: &Sample| Sample { value: sample.host_s / f64::from(sample.iterations.max(1)), ..*sample };
    let samples: Vec<Sample> = throughput.samples.iter().map(one).collect();
    let values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
    Some(Measurement {
        metric: "ttft".to_owned(),
        unit: Unit::Second,
        summary: Summary::of(&values)?,
        clock: Clock::HostWall,
        samples,
        ..throughput.clone()
    })
}

/// The comparison of a timed result with its reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What the result was compared with, as "f64 dot products on the host".
    pub method: String,
    /// How many outputs were compared.
    pub compared: u64,
    /// ‖out − ref‖ ÷ ‖ref‖ over the compared outputs; infinite ones and NaN fail and are stored as null. Results that were
    /// counted have none.
    pub relative_error: Option<f64>,
    /// The error that a right result stays below.
    pub tolerance: f64,
    /// The outputs were poisoned before, and no poison was left.
    pub all_written: bool,
    /// It was looked at whether there are as many results as must be, and no values were compared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counted: bool,
}

impl Check {
    /// So many results were there, and as many were wanted.
    pub fn of_count(method: &str, found: u64, wanted: u64) -> Self {
        Self {
            method: method.to_owned(),
            compared: found,
            relative_error: None,
            tolerance: 0.0,
            all_written: found == wanted,
            counted: true,
        }
    }

    /// Compares pairs of (output, reference).
    pub fn of(method: &str, pairs: &[(f64, f64)], tolerance: f64, all_written: bool) -> Self {
        let error: f64 = pairs.iter().map(|(out, reference)| (out - reference).powi(2)).sum();
        let size: f64 = pairs.iter().map(|(_, reference)| reference.powi(2)).sum();
        let relative = if size > 0.0 { (error / size).sqrt() } else { error.sqrt() };
        Self {
            method: method.to_owned(),
            compared: pairs.len() as u64,
            relative_error: Some(relative).filter(|value| value.is_finite()),
            tolerance,
            all_written,
            counted: false,
        }
    }

    /// Whether the result is right.
    pub fn passed(&self) -> bool {
        let right = self.counted || self.relative_error.is_some_and(|error| error <= self.tolerance);
        self.compared > 0 && self.all_written && right
    }

    /// Turns a wrong result into the message of a failed entry.
    pub fn require(&self) -> Result<(), Stop> {
        if self.passed() {
            return Ok(());
        }
        if self.counted {
            return Err(Stop::Failed(format!("wrong result: {} where there must be {}", self.compared, self.method)));
        }
        let error = self.relative_error.map_or("not a number".to_owned(), |error| format!("{error:.1e}"));
        let unwritten = if self.all_written { "" } else { "; some outputs were never written" };
        Err(Stop::Failed(format!(
            "wrong result: relative error {error} against {:.1e} allowed ({}){unwritten}",
            self.tolerance, self.method
        )))
    }
}

/// What an engine gives back for one workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The headline first.
    pub measurements: Vec<Measurement>,
    /// The check of the result that was timed.
    pub check: Option<Check>,
    /// The arithmetic really used, as "f16 operands, f32 accumulation".
    pub precision: Option<String>,
    /// The kernel or code path that was measured.
    pub variant: Option<String>,
    /// Settings that change the speed, by name.
    pub settings: BTreeMap<String, String>,
    /// Sentences that a reader of the figure should know.
    pub notes: Vec<String>,
    /// What the model said, of entries that ran one.
    pub fingerprint: Option<Fingerprint>,
    /// Why the figure says nothing of the engine's speed, where it only shows that the engine works.
    pub functional: Option<String>,
    /// How its results differ from those of this program's own code on the same model, where they do.
    pub disagrees: Option<String>,
    /// What of it is not known: whether its results are those of this program's own code on the same model, or how long its
    /// work took.
    pub unproven: Option<String>,
    /// Processor time ÷ wall time while samples were taken, where the engine works in a process of its own.
    pub processors_used: Option<f64>,
}

/// What a model said after the fixed prompt: engines that run the same model say the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fingerprint {
    /// Logits after the prompt, as (id of the vocabulary, logit).
    pub logits: Vec<(u32, f64)>,
    /// The greedy tokens that follow.
    pub tokens: Vec<u32>,
}

impl Fingerprint {
    /// How many logits are kept.
    pub const LOGITS: u32 = 32;
    /// How many tokens are kept.
    pub const TOKENS: u32 = 12;

    /// ‖a − b‖ ÷ ‖b‖ over the logits that both have; `None` where they share none.
    pub fn distance(&self, reference: &Self) -> Option<f64> {
        let of = |id: u32| self.logits.iter().find(|(known, _)| *known == id).map(|(_, logit)| *logit);
        let pairs = reference.logits.iter().filter_map(|(id, logit)| Some((of(*id)?, *logit)));
        let (error, size) = pairs.fold((0.0, 0.0), |(error, size), (a, b)| (error + (a - b) * (a - b), size + b * b));
        (size > 0.0).then(|| (error / size).sqrt())
    }

    /// How many of the first tokens are the same.
    pub fn agreeing_tokens(&self, other: &Self) -> usize {
        self.tokens.iter().zip(&other.tokens).take_while(|(a, b)| a == b).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_fails_on_error_poison_nan_and_nothing() {
        let right = [(1.0, 1.0), (2.0, 2.0 + 1e-9)];
        assert!(Check::of("t", &right, 1e-6, true).passed());
        assert!(!Check::of("t", &right, 1e-12, true).passed());
        assert!(!Check::of("t", &right, 1e-6, false).passed());
        assert!(!Check::of("t", &[], 1e-6, true).passed());
        let nan = Check::of("t", &[(f64::NAN, 1.0)], 1e-6, true);
        assert!(nan.require().unwrap_err().to_string().contains("not a number"));
    }

    #[test]
    fn what_is_counted_has_no_error() {
        let check = Check::of_count("as many tokens as were asked for", 12, 12);
        assert!(check.passed() && check.relative_error.is_none() && check.require().is_ok());
        assert!(!Check::of_count("as many tokens as were asked for", 11, 12).passed());
        assert!(!Check::of_count("as many tokens as were asked for", 0, 0).passed());
    }
}
