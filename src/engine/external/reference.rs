//! What an engine's results must be: hashed operands make every output known here, whoever computed it.

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use crate::{
    measure::{Check, Context, Stop},
    workload::{Bandwidth, Dtype, MemoryOp, Workload, random},
};

/// What seeds the choice of outputs.
const SEED: u32 = 0x1a9e_77c3;
/// How many outputs of a product are compared; each costs k multiplications here.
const PRODUCTS: u32 = 256;
/// How many outputs of attention; each costs sequence · head_dim multiplications here.
const ATTENTIONS: u32 = 48;
/// How many elements of an array.
const ELEMENTS: u32 = 1024;
/// How far a right f32 sum may lie from the f64 one, as a share of the sum of magnitudes.
///
/// Blocked summation in f32 errs by a few ε; leaving out a hundredth of the elements moves the sum of N random values of
/// [−1, 1) by about √(N ÷ 300), which at the 2²⁶ values of the smallest usual array is 1.4e-5 of the magnitudes.
const SUM_TOLERANCE: f64 = 1e-5;

/// The outputs that are asked for.
pub(super) fn spots(workload: &Workload) -> Vec<u64> {
    match workload {
        Workload::Gemm(gemm) => random::spots(u64::from(gemm.m) * u64::from(gemm.n), PRODUCTS, SEED),
        Workload::Attention(attention) => random::spots(attention.query_elements(), ATTENTIONS, SEED),
        Workload::Bandwidth(Bandwidth { op: MemoryOp::Read, .. }) => vec![0],
        Workload::Bandwidth(bandwidth) => random::spots(bandwidth.array_bytes / 4, ELEMENTS, SEED),
        _ => Vec::new(),
    }
}

/// Compares what came with what must have come.
pub(super) fn check(workload: &Workload, asked: &[u64], told: &[(u64, f64)], context: &Context) -> Result<Check, Stop> {
    if let Workload::Bandwidth(bandwidth @ Bandwidth { op: MemoryOp::Read, .. }) = workload {
        return sum(*bandwidth, told, context);
    }
    // Only what was asked for counts, and all of it: an engine can't choose what it is judged by.
    let value = |index: u64| told.iter().find(|(at, _)| *at == index).map(|(_, value)| *value);
    let all = asked.iter().all(|index| value(*index).is_some());
    let mut pairs = Vec::with_capacity(asked.len());
    for part in asked.chunks(16) {
        context.check()?;
        let some: Vec<(f64, f64)> =
            part.into_par_iter().filter_map(|index| Some((value(*index)?, expected(workload, *index)?))).collect();
        pairs.extend(some);
    }
    let (method, tolerance) = match workload {
        Workload::Gemm(gemm) => ("f64 dot products on the host", gemm.tolerance()),
        Workload::Attention(attention) => ("f64 attention on the host", attention.tolerance()),
        _ => ("the f64 values on the host", 1e-6),
    };
    Ok(Check::of(method, &pairs, tolerance, all))
}

fn expected(workload: &Workload, index: u64) -> Option<f64> {
    match workload {
        Workload::Gemm(gemm) => {
            let columns = u64::from(gemm.n);
            Some(gemm.expected((index / columns) as u32, (index % columns) as u32))
        }
        Workload::Attention(attention) => Some(attention.expected(index)),
        Workload::Bandwidth(bandwidth) => {
            let [first, second] = Bandwidth::SEEDS.map(|seed| random::unit(Dtype::F32, seed, index as u32));
            Some(match bandwidth.op {
                MemoryOp::Read => return None,
                MemoryOp::Write => Bandwidth::WRITTEN,
                MemoryOp::Copy => first,
                MemoryOp::Triad => first + f64::from(Bandwidth::TRIAD_SCALE) * second,
            })
        }
        _ => None,
    }
}

/// The sum of all elements. It is near zero beside the magnitudes, so that those are what errors are measured by.
fn sum(bandwidth: Bandwidth, told: &[(u64, f64)], context: &Context) -> Result<Check, Stop> {
    const PART: u64 = 1 << 22;
    let count = bandwidth.array_bytes / 4;
    let [seed, _] = Bandwidth::SEEDS;
    let (mut total, mut magnitudes) = (0.0, 0.0);
    for first in (0..count).step_by(PART as usize) {
        context.check()?;
        let last = (first + PART).min(count);
        let one = |index: u64| random::unit(Dtype::F32, seed, index as u32);
        let both = (first..last).into_par_iter().map(one);
        let (some, sizes) = both.map(|value| (value, value.abs())).reduce(|| (0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        (total, magnitudes) = (total + some, magnitudes + sizes);
    }
    let told = told.iter().find(|(index, _)| *index == 0).map(|(_, value)| *value);
    let pairs: Vec<(f64, f64)> = told.iter().map(|value| (value + magnitudes, total + magnitudes)).collect();
    Ok(Check::of("the f64 sum on the host, by the sum of magnitudes", &pairs, SUM_TOLERANCE, told.is_some()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::workload::{Attention, Gemm};

    fn judged(workload: &Workload, change: impl Fn(u64, f64) -> Option<f64>) -> Check {
        let asked = spots(workload);
        let told = asked.iter().filter_map(|index| Some((*index, change(*index, expected(workload, *index)?)?)));
        let told: Vec<(u64, f64)> = told.collect();
        check(workload, &asked, &told, &Context::detached(Duration::from_mins(1))).unwrap()
    }

    #[test]
    fn right_results_pass_and_wrong_or_missing_ones_do_not() {
        let all = [
            Workload::Gemm(Gemm::new((70, 33, 20), Dtype::F16)),
            Workload::Attention(Attention {
                dtype: Dtype::F32,
                batch: 1,
                heads: 4,
                kv_heads: 2,
                sequence: 32,
                head_dim: 16,
                causal: true,
            }),
            Workload::Bandwidth(Bandwidth { op: MemoryOp::Triad, array_bytes: 1 << 16 }),
            Workload::Bandwidth(Bandwidth { op: MemoryOp::Write, array_bytes: 1 << 16 }),
        ];
        for workload in all {
            assert!(judged(&workload, |_, right| Some(right)).passed(), "{workload:?}");
            assert!(!judged(&workload, |_, right| Some(1.1 * right + 0.01)).passed(), "{workload:?}");
            assert!(!judged(&workload, |_, right| Some(right).filter(|_| false)).passed(), "{workload:?}");
            assert!(!judged(&workload, |index, right| (index > 0).then_some(right)).passed(), "{workload:?}");
        }
    }

    #[test]
    fn a_sum_that_leaves_out_a_tenth_is_found() {
        let read = Bandwidth { op: MemoryOp::Read, array_bytes: 4 << 20 };
        let [seed, _] = Bandwidth::SEEDS;
        let sum_of = |count: u32| (0..count).map(|index| random::unit(Dtype::F32, seed, index)).sum::<f64>();
        let context = Context::detached(Duration::from_mins(1));
        let judged = |told: &[(u64, f64)]| check(&Workload::Bandwidth(read), &[0], told, &context).unwrap().passed();
        assert!(judged(&[(0, sum_of(1 << 20))]));
        assert!(judged(&[(0, f64::from(sum_of(1 << 20) as f32))]));
        assert!(!judged(&[(0, sum_of(943_718))]));
        assert!(!judged(&[]));
    }
}
