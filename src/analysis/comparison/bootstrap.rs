//! The interval of a ratio of two medians, from the samples themselves.
//!
//! Percentile bootstrap (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, § 13.3): each side is drawn from its
//! own samples with replacement, again and again, and the interval holds the middle 95 % of the ratios. The percentile method
//! rather than BCa, because BCa's acceleration comes from leaving samples out one by one, which is wrong for medians: they
//! hardly move (ibid., § 11.6). The draws are seeded: equal samples give equal intervals, on every machine.

use std::collections::BTreeMap;

use crate::{stats::Interval, workload::random::pcg};

/// How many times each side is drawn. One less than a round number puts both ends of the interval on a draw.
pub(super) const RESAMPLES: usize = 1999;

/// The share of the draws outside the interval, on each side.
const TAIL: f64 = 0.025;

/// Of more samples than this so many are used, evenly spread over the ordered ones. It can only widen the interval.
const SAMPLES_USED: usize = 200;

/// The places of the two middle values of every draw, which depend on nothing but the number of samples.
type Places = Vec<(usize, usize)>;

/// Draws medians; what it learns of one number of samples serves all rows that have as many.
#[derive(Debug, Default)]
pub(super) struct Bootstrap {
    places: BTreeMap<(u32, usize), Places>,
    ratios: Vec<f64>,
}

impl Bootstrap {
    /// The 95 % interval of the candidate's median ÷ the baseline's. Both are ascending and positive; `None` where one is
    /// empty.
    pub(super) fn ratio(&mut self, baseline: &[f64], candidate: &[f64]) -> Option<Interval> {
        let (baseline, candidate) = (thinned(baseline), thinned(candidate));
        if baseline.is_empty() || candidate.is_empty() {
            return None;
        }
        let mut ratios = std::mem::take(&mut self.ratios);
        ratios.clear();
        ratios.extend(self.medians(2, &candidate));
        for (ratio, median) in ratios.iter_mut().zip(self.medians(1, &baseline)) {
            *ratio /= median;
        }
        let rank = (TAIL * (RESAMPLES + 1) as f64) as usize - 1;
        let low = *ratios.select_nth_unstable_by(rank, f64::total_cmp).1;
        let high = *ratios.select_nth_unstable_by(RESAMPLES - 1 - rank, f64::total_cmp).1;
        self.ratios = ratios;
        (low.is_finite() && high.is_finite()).then_some(Interval { low, high })
    }

    /// The medians of all draws from ascending samples.
    fn medians<'a>(&'a mut self, seed: u32, sorted: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        let places = self.places.entry((seed, sorted.len())).or_insert_with(|| draw(seed, sorted.len()));
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        places.iter().map(move |(low, high)| f64::midpoint(at(*low), at(*high)))
    }
}

/// So many of the ordered samples as are used.
fn thinned(sorted: &[f64]) -> std::borrow::Cow<'_, [f64]> {
    if sorted.len() <= SAMPLES_USED {
        return sorted.into();
    }
    let step = (sorted.len() - 1) as f64 / (SAMPLES_USED - 1) as f64;
    (0..SAMPLES_USED).filter_map(|index| sorted.get((index as f64 * step).round() as usize).copied()).collect()
}

/// The places of the middle values of `RESAMPLES` draws of `count` from `count`.
fn draw(seed: u32, count: usize) -> Places {
    let mut state = pcg(seed ^ (count as u32).rotate_left(8));
    let mut drawn = vec![0; count];
    let mut places = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        for place in &mut drawn {
            state = pcg(state.wrapping_add(0x9E37_79B9));
            *place = ((u64::from(state) * count as u64) >> 32) as usize;
        }
        // Only the middle is put in its place.
        let (below, high, _) = drawn.select_nth_unstable(count / 2);
        let low = if count.is_multiple_of(2) { below.iter().copied().max().unwrap_or(*high) } else { *high };
        places.push((low, *high));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_holds_the_ratio_and_is_the_same_every_time() {
        let (baseline, candidate): (Vec<f64>, Vec<f64>) =
            (0..15).map(|i| (100.0 + f64::from(i), 200.0 + 2.0 * f64::from(i))).unzip();
        let interval = Bootstrap::default().ratio(&baseline, &candidate).unwrap();
        assert!(interval.low < 2.0 && 2.0 < interval.high, "{interval:?}");
        assert!(interval.high - interval.low < 0.3, "{interval:?}");
        let mut used = Bootstrap::default();
        used.ratio(&candidate, &baseline).unwrap();
        assert_eq!(used.ratio(&baseline, &candidate), Some(interval), "nothing is left of the row before");
        assert_eq!(used.ratio(&[], &candidate), None);
    }

    #[test]
    fn the_interval_covers_the_true_ratio_as_often_as_it_says() {
        // Uniform noise of ± 3 % around equal medians, ten samples a side.
        let mut state = 7;
        let mut noisy = || {
            let mut values: Vec<f64> = (0..10)
                .map(|_| {
                    state = pcg(state + 1);
                    1.0 + 0.06 * (f64::from(state) / f64::from(u32::MAX) - 0.5)
                })
                .collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let mut bootstrap = Bootstrap::default();
        let covers = (0..400).filter(|_| {
            let interval = bootstrap.ratio(&noisy(), &noisy()).unwrap();
            interval.low <= 1.0 && 1.0 <= interval.high
        });
        let covered = covers.count();
        assert!((372..=396).contains(&covered), "{covered} of 400");
    }

    #[test]
    fn many_samples_are_thinned_from_end_to_end() {
        let many: Vec<f64> = (0..10_000).map(f64::from).collect();
        let few = thinned(&many);
        assert_eq!((few.len(), few[0], few[SAMPLES_USED - 1]), (SAMPLES_USED, 0.0, 9999.0));
    }
}
