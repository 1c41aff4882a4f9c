//! Random operand values that a shader and the host compute alike.
//!
//! Every element is a pure function of a seed and its index, so that a device fills gigabytes itself and the host
//! knows any element exactly without reading it back. Values fill the mantissa of their type: a product of f32 values that
//! are exact in f16 or TF32 would be right in those too, and switch fewer wires. Products of zeros run up to 13 % faster.

use super::Dtype;

/// The PCG hash of `input` (Jarzynski and Olano, *Hash Functions for GPU Rendering*, JCGT 9(3), 2020).
///
/// `shaders/fill.wgsl` computes the same; a test compares them.
pub const fn pcg(input: u32) -> u32 {
    let state = input.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
    (word >> 22) ^ word
}

/// The value in [−1, 1) at `index` of the array that `seed` names: a multiple of 2⁻²³ for f32, of 2⁻¹⁰ for f16 and of
/// 2⁻⁷ for bf16, and so exact in its type.
pub fn unit(dtype: Dtype, seed: u32, index: u32) -> f64 {
    let bits = match dtype {
        Dtype::F32 | Dtype::Tf32 => 24,
        Dtype::F16 => 11,
        Dtype::Bf16 => 8,
    };
    let steps = pcg(index ^ seed) >> (32 - bits);
    f64::from(steps) / f64::from(1 << (bits - 1)) - 1.0
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
    fn values_are_spread_over_the_interval_and_exact_in_their_type() {
        for (dtype, least_distinct) in [(Dtype::Bf16, 250), (Dtype::F16, 1900), (Dtype::F32, 9900)] {
            let values: Vec<f64> = (0..10_000).map(|index| unit(dtype, 7, index)).collect();
            let mean = values.iter().sum::<f64>() / 10_000.0;
            assert!(mean.abs() < 0.03, "mean {mean}");
            assert!(values.iter().all(|v| (-1.0..1.0).contains(v)));
            let stored = |v: f64| match dtype {
                Dtype::F32 | Dtype::Tf32 => f64::from(v as f32),
                Dtype::Bf16 => f64::from(half::bf16::from_f64(v)),
                Dtype::F16 => f64::from(half::f16::from_f64(v)),
            };
            assert!(values.iter().all(|v| stored(*v) == *v));
            let distinct: std::collections::BTreeSet<u64> = values.iter().map(|v| v.to_bits()).collect();
            assert!(distinct.len() > least_distinct, "{dtype} {}", distinct.len());
        }
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
