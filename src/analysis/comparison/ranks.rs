//! Whether a difference could be chance, and what that is worth among many rows.
//!
//! The rank-sum test of Mann and Whitney (*On a Test of Whether one of Two Random Variables is Stochastically Larger than the
//! Other*, Annals of Mathematical Statistics 18, 1947) asks how often so many pairs would be ordered alike if both sides were
//! the same. It knows the true tail however few the samples, where a bootstrap's tail ends at one over the number of draws:
//! among a thousand rows that is where the question lies.
//!
//! Rows are corrected by Benjamini and Hochberg (*Controlling the False Discovery Rate*, J. R. Statist. Soc. B 57, 1995): of the
//! rows that are called faster or slower, at most one in twenty is expected to be so by chance, and where nothing changed at
//! all, the chance of any such row is at most one in twenty. Holm's correction is stricter, and would find nothing in a long
//! table of short entries even if every row of it changed.

use std::collections::BTreeMap;

/// Up to so many samples of both sides together their true distribution is used; beyond, the normal one.
const EXACT_MAX: usize = 50;

/// The rank-sum test; the distribution for two numbers of samples is computed once.
#[derive(Debug, Default)]
pub(super) struct RankSum {
    /// The chance of at least so many ordered pairs, by the numbers of samples.
    tails: BTreeMap<(usize, usize), Vec<f64>>,
}

impl RankSum {
    /// How probable it is that `larger` lies so far above `smaller` × `factor` by chance, if it is no more than that. Both are
    /// ascending.
    pub(super) fn above(&mut self, larger: &[f64], smaller: &[f64], factor: f64) -> f64 {
        let scaled: Vec<f64> = smaller.iter().map(|value| value * factor).collect();
        let (pairs, ties) = ordered_pairs(larger, &scaled);
        if ties == 0.0 && larger.len() + scaled.len() <= EXACT_MAX {
            let tails = self.tails.entry((larger.len(), scaled.len()));
            let tails = tails.or_insert_with(|| tail_table(larger.len(), scaled.len()));
            return tails.get(pairs as usize).copied().unwrap_or(1.0);
        }
        normal_tail(pairs, ties, larger.len() as f64, scaled.len() as f64)
    }
}

/// How many pairs have the first above the second, equal ones half; and Σ (t³ − t) over groups of t equal values.
fn ordered_pairs(first: &[f64], second: &[f64]) -> (f64, f64) {
    let (mut below, mut pairs) = (0, 0.0);
    let mut equal_end = 0;
    for value in first {
        while second.get(below).is_some_and(|other| other < value) {
            below += 1;
        }
        equal_end = equal_end.max(below);
        while second.get(equal_end).is_some_and(|other| other == value) {
            equal_end += 1;
        }
        pairs += below as f64 + (equal_end - below) as f64 / 2.0;
    }
    let mut all: Vec<f64> = first.iter().chain(second).copied().collect();
    all.sort_by(f64::total_cmp);
    let ties = all.chunk_by(|a, b| a == b).map(|group| (group.len() as f64).powi(3) - group.len() as f64).sum();
    (pairs, ties)
}

/// The chance of at least u ordered pairs among n and m samples of one distribution, for each u from 0 to n·m.
///
/// The number of orderings with u pairs is f(n, m, u) = f(n − 1, m, u − m) + f(n, m − 1, u), by which side has the largest.
fn tail_table(n: usize, m: usize) -> Vec<f64> {
    // Of i samples on the first side: for each j on the second, the orderings by their number of pairs.
    let mut counts: Vec<Vec<f64>> = vec![vec![1.0]; m + 1];
    for i in 1..=n {
        let mut next: Vec<Vec<f64>> = Vec::with_capacity(m + 1);
        for j in 0..=m {
            let mut row = vec![0.0; i * j + 1];
            // The first side's largest stands above all j.
            for (u, count) in counts.get(j).into_iter().flatten().enumerate() {
                row.get_mut(u + j).into_iter().for_each(|slot| *slot += count);
            }
            for (slot, count) in row.iter_mut().zip(j.checked_sub(1).and_then(|j| next.get(j)).into_iter().flatten()) {
                *slot += count;
            }
            next.push(row);
        }
        counts = next;
    }
    let row = counts.pop().unwrap_or_default();
    let all: f64 = row.iter().sum();
    let mut tail = 0.0;
    let mut tails: Vec<f64> = row
        .iter()
        .rev()
        .map(|count| {
            tail += count / all;
            tail
        })
        .collect();
    tails.reverse();
    tails
}

/// The same for many samples, or equal ones: the normal distribution with the corrections for ties and continuity.
fn normal_tail(pairs: f64, ties: f64, n: f64, m: f64) -> f64 {
    let all = n + m;
    let variance = n * m / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    if variance.is_nan() || variance <= 0.0 {
        return 1.0;
    }
    upper_tail((pairs - n * m / 2.0 - 0.5) / variance.sqrt())
}

/// The normal distribution above `z` (Abramowitz and Stegun, *Handbook of Mathematical Functions*, 26.2.17).
fn upper_tail(z: f64) -> f64 {
    const FACTORS: [f64; 5] = [0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429];
    if z < 0.0 {
        return 1.0 - upper_tail(-z);
    }
    let t = 1.0 / (1.0 + 0.2316419 * z);
    let series = FACTORS.iter().rev().fold(0.0, |sum, factor| (sum + factor) * t);
    (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt() * series
}

/// The p-values of many rows, corrected by Benjamini and Hochberg: a row counts if its own is at most the share of false ones
/// that is allowed.
pub(super) fn corrected(p_values: &[f64]) -> Vec<f64> {
    let count = p_values.len() as f64;
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    let at = |index: &usize| p_values.get(*index).copied().unwrap_or(1.0);
    order.sort_by(|a, b| at(a).total_cmp(&at(b)));
    let mut corrected = vec![1.0; p_values.len()];
    let mut least: f64 = 1.0;
    for (rank, index) in order.iter().enumerate().rev() {
        least = least.min(at(index) * count / (rank + 1) as f64);
        corrected.get_mut(*index).into_iter().for_each(|slot| *slot = least);
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_the_published_tables() {
        // n = m = 5: P(U ≤ 2) = 4/252 one-sided, whose critical value at 2.5 % is 2; at n = m = 10 it is 23.
        let tails = tail_table(5, 5);
        assert_eq!(tails.len(), 26);
        assert!((tails[25] - 1.0 / 252.0).abs() < 1e-12 && (tails[23] - 4.0 / 252.0).abs() < 1e-12);
        assert!(tails[22] > 0.025 && tails[23] < 0.025);
        let tails = tail_table(10, 10);
        assert!(tails[77] <= 0.025 && tails[76] > 0.025, "{} {}", tails[77], tails[76]);
        assert!((tails[0] - 1.0).abs() < 1e-12);
        // n = 3, m = 8: critical value 2.
        let tails = tail_table(3, 8);
        assert!(tails[22] <= 0.025 && tails[21] > 0.025);
    }

    #[test]
    fn apart_is_no_chance_and_mixed_is() {
        let low: Vec<f64> = (0..10).map(|i| 1.0 + 0.001 * f64::from(i)).collect();
        let high: Vec<f64> = low.iter().map(|value| value * 1.1).collect();
        let mut test = RankSum::default();
        assert!(test.above(&high, &low, 1.02) < 1e-5);
        assert!(test.above(&low, &high, 1.02) > 0.999);
        assert!(test.above(&low, &low, 1.0) > 0.4, "ties count half");
        assert_eq!(test.above(&[1.0; 8], &[1.0; 8], 1.0), 1.0, "nothing but ties tells nothing");
        assert_eq!(test.above(&[], &low, 1.0), 1.0);
    }

    #[test]
    fn the_normal_distribution_joins_the_exact_one() {
        assert!((upper_tail(1.959964) - 0.025).abs() < 1e-6);
        assert!((upper_tail(-1.0) - 0.841345).abs() < 1e-6);
        let exact = tail_table(25, 25)[400];
        let near = normal_tail(400.0, 0.0, 25.0, 25.0);
        assert!((exact / near - 1.0).abs() < 0.05, "{exact} {near}");
    }

    #[test]
    fn correction_is_that_of_the_paper() {
        // The fifteen p-values of Benjamini and Hochberg's own example: four are kept at 5 %.
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
            0.7590, 1.0,
        ];
        let kept = corrected(&p).iter().filter(|p| **p <= 0.05).count();
        assert_eq!(kept, 4);
        assert_eq!(corrected(&[0.04, 0.01]), [0.04, 0.02]);
        assert!(corrected(&[]).is_empty());
    }
}
