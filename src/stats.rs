//! Statistics over samples: pure functions, no clocks, no files.
//!
//! Benchmark samples are skewed (interruptions only ever slow a batch down), so the centre is the median and its interval
//! comes from order statistics, which assume nothing of the distribution.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the samples of one metric say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// How many samples were summarised.
    pub count: usize,
    /// The middle value.
    pub median: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The sample standard deviation; absent with fewer than two samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stddev: Option<f64>,
    /// The smallest sample.
    pub min: f64,
    /// The largest sample.
    pub max: f64,
    /// The 95 % interval of the median; absent with fewer than six samples, which can't bound it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// How many samples lie far outside the rest (modified Z-score above 3.5). They are kept in the samples.
    pub outliers: usize,
}

/// A confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Half the width divided by the centre: the "± 1 %" of a figure.
    pub fn relative_half_width(self, centre: f64) -> f64 {
        if centre == 0.0 { f64::INFINITY } else { (self.high - self.low) / 2.0 / centre.abs() }
    }
}

impl Summary {
    /// Summarises finite samples; `None` when there are none.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let sorted = sorted_finite(samples);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let median = quantile(&sorted, 0.5)?;
        let count = sorted.len();
        let mean = (sorted.iter().sum::<f64>() / count as f64).clamp(min, max);
        Some(Self {
            count,
            median,
            mean,
            stddev: stddev(&sorted, mean),
            min,
            max,
            interval: median_interval(&sorted),
            outliers: outliers(&sorted).len(),
        })
    }

    /// Half the width of the interval relative to the median, if there is an interval.
    pub fn relative_half_width(&self) -> Option<f64> {
        self.interval.map(|interval| interval.relative_half_width(self.median))
    }
}

/// The finite values in ascending order.
pub fn sorted_finite(samples: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = samples.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The `share` quantile of ascending values, linear between neighbours (type 7 of Hyndman and Fan, 1996).
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = share.clamp(0.0, 1.0) * last as f64;
    let below = *sorted.get(position.floor() as usize)?;
    let above = *sorted.get(position.ceil() as usize)?;
    // Written so that equal neighbours give exactly themselves and extremes can't overflow.
    let weight = position.fract();
    Some(if below == above { below } else { below * (1.0 - weight) + above * weight })
}

fn stddev(values: &[f64], mean: f64) -> Option<f64> {
    let count = values.len();
    (count >= 2).then(|| {
        let sum: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (sum / (count - 1) as f64).sqrt()
    })
}

/// The narrowest symmetric pair of order statistics that holds the median with at least 95 % confidence.
///
/// The number of samples below the true median is Binomial(n, ½), whatever the distribution, so
/// [x₍ₖ₎, x₍ₙ₊₁₋ₖ₎] covers it with probability 1 − 2·P(B < k) (Conover, *Practical Nonparametric Statistics*, § 3.2).
/// With fewer than six samples even the extremes cover less than 95 %.
pub fn median_interval(sorted: &[f64]) -> Option<Interval> {
    let count = sorted.len();
    let mut tail = 0.0;
    let mut rank = 0;
    // P(B = i) by its logarithm: 0.5ⁿ underflows for a thousand samples.
    let mut log_choose = -(count as f64) * std::f64::consts::LN_2;
    while rank < count / 2 {
        let next = tail + log_choose.exp();
        if 2.0 * next > 0.05 {
            break;
        }
        tail = next;
        log_choose += ((count - rank) as f64 / (rank + 1) as f64).ln();
        rank += 1;
    }
    let index = rank.checked_sub(1)?;
    Some(Interval { low: *sorted.get(index)?, high: *sorted.get(count - 1 - index)? })
}

/// The indices of ascending values whose modified Z-score exceeds 3.5.
///
/// M = 0.6745·(x − median) / MAD, threshold 3.5: Iglewicz and Hoaglin, *How to Detect and Handle Outliers*, 1993.
/// When more than half of the values are equal the MAD is zero and nothing can be called an outlier.
pub fn outliers(sorted: &[f64]) -> Vec<usize> {
    const THRESHOLD: f64 = 3.5;
    let Some(median) = quantile(sorted, 0.5) else { return Vec::new() };
    let deviations = sorted_finite(&sorted.iter().map(|value| (value - median).abs()).collect::<Vec<_>>());
    let mad = quantile(&deviations, 0.5).unwrap_or(0.0);
    if mad == 0.0 {
        return Vec::new();
    }
    let is_far = |value: f64| (0.6745 * (value - median) / mad).abs() > THRESHOLD;
    sorted.iter().enumerate().filter(|(_, value)| is_far(**value)).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values() {
        let summary = Summary::of(&[3.0, 1.0, 2.0, 4.0]).unwrap();
        assert_eq!((summary.median, summary.mean, summary.min, summary.max), (2.5, 2.5, 1.0, 4.0));
        assert!((summary.stddev.unwrap() - 1.290994).abs() < 1e-6);
        assert_eq!(summary.interval, None);
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[f64::NAN]), None);
        assert_eq!(Summary::of(&[5.0]).unwrap().stddev, None);
    }

    #[test]
    fn interval_ranks_match_the_published_table() {
        // Conover's table A3 for p = 0.5: n = 6 → (1, 6), n = 10 → (2, 9), n = 20 → (6, 15), n = 30 → (10, 21).
        for (count, low, high) in [(6, 1, 6), (10, 2, 9), (20, 6, 15), (30, 10, 21)] {
            let sorted: Vec<f64> = (1..=count).map(f64::from).collect();
            let interval = median_interval(&sorted).unwrap();
            assert_eq!((interval.low, interval.high), (f64::from(low), f64::from(high)), "n = {count}");
        }
        assert_eq!(median_interval(&[1.0, 2.0, 3.0, 4.0, 5.0]), None);
    }

    #[test]
    fn one_slow_batch_is_an_outlier_and_equal_samples_are_not() {
        assert_eq!(outliers(&[10.0, 10.1, 10.2, 10.3, 30.0]), vec![4]);
        assert!(outliers(&[1.0, 1.0, 1.0, 9.0]).is_empty());
    }

    fn samples() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(1e-6..1e15_f64, 1..200)
    }

    proptest! {
        #[test]
        fn summary_is_ordered(values in samples()) {
            let s = Summary::of(&values).unwrap();
            prop_assert!(s.min <= s.median && s.median <= s.max);
            prop_assert!(s.min <= s.mean && s.mean <= s.max);
            if let Some(i) = s.interval {
                prop_assert!(s.min <= i.low && i.low <= s.median && s.median <= i.high && i.high <= s.max);
            }
            prop_assert!(s.outliers < s.count);
        }

        #[test]
        fn summary_ignores_order(values in samples()) {
            let mut reversed = values.clone();
            reversed.reverse();
            prop_assert_eq!(Summary::of(&values), Summary::of(&reversed));
        }

        #[test]
        fn scaling_by_a_power_of_two_scales_the_summary(values in samples()) {
            let scaled: Vec<f64> = values.iter().map(|v| v * 4.0).collect();
            let (a, b) = (Summary::of(&values).unwrap(), Summary::of(&scaled).unwrap());
            prop_assert_eq!(a.median * 4.0, b.median);
            prop_assert_eq!(a.interval.map(|i| (i.low * 4.0, i.high * 4.0)), b.interval.map(|i| (i.low, i.high)));
            prop_assert_eq!(a.outliers, b.outliers);
        }

        #[test]
        fn interval_of_more_samples_exists_and_is_not_degenerate(count in 6_usize..2000) {
            let sorted: Vec<f64> = (0..count).map(|i| i as f64).collect();
            let interval = median_interval(&sorted).unwrap();
            let median = quantile(&sorted, 0.5).unwrap();
            prop_assert!(interval.low < median && median < interval.high);
            // The half width of an order-statistic interval is about 0.98·√n ranks.
            prop_assert!(interval.high - interval.low <= 2.0 * (count as f64).sqrt() + 2.0);
        }

        #[test]
        fn quantiles_stay_inside_and_rise(values in samples(), a in 0.0..1.0_f64, b in 0.0..1.0_f64) {
            let sorted = sorted_finite(&values);
            let (low, high) = (quantile(&sorted, a.min(b)).unwrap(), quantile(&sorted, a.max(b)).unwrap());
            prop_assert!(low <= high * (1.0 + 1e-12));
            prop_assert!(sorted[0] <= low * (1.0 + 1e-12));
        }
    }
}
