//! Dense matrix multiplication C = A · B.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Dtype, random};

/// C (m × n) = A (m × k) · B (k × n), all row-major, accumulated in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Gemm {
    /// Rows of A and C.
    pub m: u32,
    /// Columns of B and C.
    pub n: u32,
    /// Columns of A, rows of B.
    pub k: u32,
    /// The type of A and B. C is f32 for f32 and f16 for f16.
    pub dtype: Dtype,
}

impl Gemm {
    /// The seed of A's values for [`random::unit`].
    pub const SEED_A: u32 = 0x51ed_270b;
    /// The seed of B's values for [`random::unit`].
    pub const SEED_B: u32 = 0xb529_7a4d;

    /// m = n = k.
    pub const fn square(n: u32, dtype: Dtype) -> Self {
        Self { m: n, n, k: n, dtype }
    }

    /// 2·m·n·k: one multiplication and one addition for each term of each element.
    pub fn flops(&self) -> f64 {
        2.0 * f64::from(self.m) * f64::from(self.n) * f64::from(self.k)
    }

    /// (m·k + k·n + m·n) elements.
    pub fn bytes(&self) -> f64 {
        let [m, n, k] = [self.m, self.n, self.k].map(f64::from);
        (m * k + k * n + m * n) * self.dtype.size() as f64
    }

    /// The bytes of the largest of A, B and C.
    pub fn largest_operand_bytes(&self) -> u64 {
        let [m, n, k] = [self.m, self.n, self.k].map(u64::from);
        (m * k).max(k * n).max(m * n) * self.dtype.size()
    }

    /// "n = 4096", or "1000 × 200 × 3000" (m × n × k) when it is not square.
    pub fn shape(&self) -> String {
        if self.m == self.n && self.n == self.k {
            format!("n = {}", self.n)
        } else {
            format!("{} × {} × {}", self.m, self.n, self.k)
        }
    }

    /// The exact element of A at (`row`, `column`), as it is stored in `dtype`.
    pub fn a(&self, row: u32, column: u32) -> f64 {
        random::unit(self.dtype, Self::SEED_A, row.wrapping_mul(self.k).wrapping_add(column))
    }

    /// The exact element of B at (`row`, `column`), as it is stored in `dtype`.
    pub fn b(&self, row: u32, column: u32) -> f64 {
        random::unit(self.dtype, Self::SEED_B, row.wrapping_mul(self.n).wrapping_add(column))
    }

    /// The element of C at (`row`, `column`), computed in f64.
    pub fn expected(&self, row: u32, column: u32) -> f64 {
        (0..self.k).map(|term| self.a(row, term) * self.b(term, column)).sum()
    }

    /// The relative error ‖out − ref‖ ÷ ‖ref‖ that a right result stays below.
    ///
    /// Rounding errors of a k-term f32 sum grow like ε·√k for random signs (Higham, *Accuracy and Stability of Numerical
    /// Algorithms*, § 4.2), 8× that leaves room for any order of summation; storing C adds half an ε of its type. Operands
    /// rounded to TF32 (ε = 2⁻¹⁰) fail this for f32, as they should.
    pub fn tolerance(&self) -> f64 {
        8.0 * f64::from(f32::EPSILON) * f64::from(self.k).sqrt() + self.dtype.epsilon()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_the_algorithms() {
        let gemm = Gemm { m: 2, n: 3, k: 5, dtype: Dtype::F16 };
        assert_eq!(gemm.flops(), 60.0);
        assert_eq!(gemm.bytes(), (10.0 + 15.0 + 6.0) * 2.0);
        assert_eq!(gemm.shape(), "2 × 3 × 5");
        assert_eq!(Gemm::square(8, Dtype::F32).shape(), "n = 8");
    }

    #[test]
    fn expected_is_the_dot_product() {
        let gemm = Gemm { m: 4, n: 4, k: 3, dtype: Dtype::F32 };
        let by_hand = gemm.a(1, 0) * gemm.b(0, 2) + gemm.a(1, 1) * gemm.b(1, 2) + gemm.a(1, 2) * gemm.b(2, 2);
        assert_eq!(gemm.expected(1, 2), by_hand);
    }

    #[test]
    fn tolerance_tells_f32_from_tf32() {
        // Rounded to ten bits of fraction.
        let tf32 = |value: f64| f64::from(f32::from_bits(((value as f32).to_bits() + 0x1000) & !0x1fff));
        for k in [33, 512, 8192] {
            let gemm = Gemm { m: 8, n: 8, k, dtype: Dtype::F32 };
            let (mut error, mut size) = (0.0, 0.0);
            for (row, column) in (0..8).flat_map(|row| (0..8).map(move |column| (row, column))) {
                let rounded: f64 = (0..k).map(|term| tf32(gemm.a(row, term)) * tf32(gemm.b(term, column))).sum();
                let expected = gemm.expected(row, column);
                error += (rounded - expected).powi(2);
                size += expected.powi(2);
            }
            let relative = (error / size).sqrt();
            assert!(relative > gemm.tolerance(), "k = {k}: {relative:.1e} against {:.1e}", gemm.tolerance());
        }
    }
}
