//! Loops compiled for the vector units of several processors, the best chosen when they run.
//!
//! A kernel is plain code over slices; the compiler turns it into vectors. The same code is compiled once for every kind of
//! unit, so that one binary is fast on all of them.

use std::sync::OnceLock;

/// Work over slices. `FUSED` tells whether the unit multiplies and adds in one instruction; without one, asking for it would
/// be a slow call.
pub(super) trait Kernel {
    /// What it gives back.
    type Output;

    /// The work. It must be `#[inline(always)]`, down to its last loop.
    fn run<const FUSED: bool>(self) -> Self::Output;
}

/// The vector units that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Base,
}

fn unit() -> Unit {
    static UNIT: OnceLock<Unit> = OnceLock::new();
    *UNIT.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                return Unit::Avx512;
            }
            if avx2 {
                return Unit::Avx2;
            }
        }
        Unit::Base
    })
}

/// Runs the kernel on the best unit there is.
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "code for vector units that not every processor has"))]
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    match unit() {
        // SAFETY: `unit` found the processor to have these features.
        #[cfg(target_arch = "x86_64")]
        Unit::Avx512 => unsafe { avx512(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Unit::Avx2 => unsafe { avx2(kernel) },
        // Every arm64 processor has fused multiply-add.
        Unit::Base => kernel.run::<{ cfg!(target_arch = "aarch64") }>(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<true>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<true>()
}

/// Elements that the loops below take at once: two registers of AVX-512, four of AVX2, eight of NEON.
pub(super) const LANES: usize = 32;

/// a · b + c.
#[inline(always)]
pub(super) fn madd<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// The sum of all lanes, halves upon halves: one after the other, each addition would wait for the one before.
#[inline(always)]
pub(super) fn total(mut sums: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        let (low, high) = sums.split_at_mut(half);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
        half /= 2;
    }
    let [sum, ..] = sums;
    sum
}

/// Σ a·b.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "of arrays, below their lengths: iterators here are not made into vectors")]
pub(super) fn dot<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [[0.0_f32; LANES / 2]; 2];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for i in 0..LANES / 2 {
            sums[0][i] = madd::<FUSED>(a[i], b[i], sums[0][i]);
        }
        for i in 0..LANES / 2 {
            sums[1][i] = madd::<FUSED>(a[LANES / 2 + i], b[LANES / 2 + i], sums[1][i]);
        }
    }
    let mut all = [0.0_f32; LANES];
    for i in 0..LANES / 2 {
        all[i] = sums[0][i];
        all[LANES / 2 + i] = sums[1][i];
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    total(all) + rest
}

/// The largest; −∞ of none.
#[inline(always)]
pub(super) fn max(x: &[f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for x in whole {
        for (most, x) in most.iter_mut().zip(x) {
            *most = if *x > *most { *x } else { *most };
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        let (low, high) = most.split_at_mut(half);
        for (low, high) in low.iter_mut().zip(high) {
            *low = if *high > *low { *high } else { *low };
        }
        half /= 2;
    }
    let [most, ..] = most;
    rest.iter().copied().fold(most, f32::max)
}

/// y += a · x.
#[inline(always)]
pub(super) fn axpy<const FUSED: bool>(a: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = madd::<FUSED>(a, *x, *y);
    }
}

/// The same with four rows of x, for one reading and writing of y.
#[inline(always)]
pub(super) fn axpy_4<const FUSED: bool>(a: [f32; 4], x: [&[f32]; 4], y: &mut [f32]) {
    let rows = x[0].iter().zip(x[1]).zip(x[2]).zip(x[3]);
    for (y, (((p, q), r), s)) in y.iter_mut().zip(rows) {
        let first = madd::<FUSED>(a[1], *q, madd::<FUSED>(a[0], *p, *y));
        *y = madd::<FUSED>(a[3], *s, madd::<FUSED>(a[2], *r, first));
    }
}

/// eˣ to about two units in the last place, without branches so that it becomes vectors. Below −87 it gives about 1e−38,
/// above 88 about 1e38.
#[inline(always)]
pub(super) fn exp<const FUSED: bool>(x: f32) -> f32 {
    // Cephes' expf: x = n·ln 2 + r, |r| ≤ ½ ln 2; ln 2 in two parts; a polynomial for e^r.
    const ROUND: f32 = 12_582_912.0; // 1.5·2²³: adding it rounds to an integer
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let rounded = madd::<FUSED>(x, std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = madd::<FUSED>(n, -LN2_HIGH, x);
    let r = madd::<FUSED>(n, -LN2_LOW, r);
    let mut p = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = madd::<FUSED>(p, r, c);
    }
    let p = madd::<FUSED>(p * r, r, r) + 1.0;
    // 2ⁿ, put together from its exponent: n is what the lowest bits of `rounded` hold.
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    p * f32::from_bits(exponent << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Exp<'a>(&'a [f32], &'a mut [f32]);

    impl Kernel for Exp<'_> {
        type Output = ();

        #[inline(always)]
        fn run<const FUSED: bool>(self) {
            for (y, x) in self.1.iter_mut().zip(self.0) {
                *y = exp::<FUSED>(*x);
            }
        }
    }

    #[test]
    fn the_exponential_is_right_on_every_unit() {
        let x: Vec<f32> = (-8600..8700).map(|i| i as f32 * 0.01).collect();
        let mut y = vec![0.0; x.len()];
        run(Exp(&x, &mut y));
        let mut plain = vec![0.0; x.len()];
        Exp(&x, &mut plain).run::<false>();
        for ((x, y), plain) in x.iter().zip(&y).zip(&plain) {
            let right = f64::from(*x).exp();
            for y in [y, plain] {
                assert!((f64::from(*y) / right - 1.0).abs() < 3e-7, "e^{x} = {right}, not {y}");
            }
        }
        assert_eq!(exp::<false>(f32::NEG_INFINITY), exp::<false>(-87.0));
    }

    struct Dot<'a>(&'a [f32], &'a [f32]);

    impl Kernel for Dot<'_> {
        type Output = f32;

        #[inline(always)]
        fn run<const FUSED: bool>(self) -> f32 {
            dot::<FUSED>(self.0, self.1)
        }
    }

    #[test]
    fn a_dot_product_of_any_length_is_whole() {
        for len in [0, 1, 31, 32, 33, 100, 128] {
            let a: Vec<f32> = (0..len).map(|i| i as f32).collect();
            assert_eq!(run(Dot(&a, &vec![1.0; len])), (0..len).sum::<usize>() as f32);
        }
    }
}
