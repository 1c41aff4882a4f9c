//! Random operand values that a shader and the host compute alike.
//!
//! Every element is a pure function of a seed and its index, so that a device fills gigabytes itself and the host
//! knows any element exactly without reading it back. Values are multiples of 2⁻¹⁰ in [−1, 1): exact in f16 and f32.
//! Real data matters: matrix products of zeros run up to 13 % faster than those of random values.

/// The PCG hash of `input` (Jarzynski and Olano, *Hash Functions for GPU Rendering*, JCGT 9(3), 2020).
///
/// `shaders/fill.wgsl` computes the same; a test compares them.
pub const fn pcg(input: u32) -> u32 {
    let state = input.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
    (word >> 22) ^ word
}

/// The value in [−1, 1) at `index` of the array that `seed` names: a multiple of 2⁻¹⁰.
pub fn unit(seed: u32, index: u32) -> f64 {
    let bits = pcg(index ^ seed) >> 21;
    f64::from(bits) / 1024.0 - 1.0
}

/// `count` indices below `len`, spread by hashing and always with the first and last: which outputs to check.
pub fn spots(len: u64, count: u32, seed: u32) -> Vec<u64> {
    let Some(last) = len.checked_sub(1) else { return Vec::new() };
    let hashed = (0..count).map(|i| {
        let wide = (u64::from(pcg(i ^ seed)) << 32) | u64::from(pcg(i.wrapping_add(seed)));
        wide % len
    });
    let mut all: Vec<u64> = hashed.chain([0, last]).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_spread_over_the_interval_and_exact_in_f16() {
        let values: Vec<f64> = (0..10_000).map(|index| unit(7, index)).collect();
        let mean = values.iter().sum::<f64>() / 10_000.0;
        assert!(mean.abs() < 0.03, "mean {mean}");
        assert!(values.iter().all(|v| (-1.0..1.0).contains(v)));
        assert!(values.iter().all(|v| f64::from(half::f16::from_f64(*v)) == *v));
        let distinct: std::collections::BTreeSet<i64> = values.iter().map(|v| (v * 1024.0) as i64).collect();
        assert!(distinct.len() > 1900);
    }

    #[test]
    fn spots_hold_both_ends_and_stay_inside() {
        let spots = spots(1 << 33, 64, 3);
        assert_eq!(spots.first(), Some(&0));
        assert_eq!(spots.last(), Some(&((1 << 33) - 1)));
        assert!(spots.len() > 60);
        assert!(super::spots(0, 8, 1).is_empty());
        assert_eq!(super::spots(1, 8, 1), vec![0]);
    }
}
