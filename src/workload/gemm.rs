//! Dense matrix multiplication C = A · B.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Dtype, random};

/// How B lies in memory. On some processors this alone changes the speed twentyfold, so it is part of what is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// B is stored k × n, as a matrix product is written.
    #[default]
    Ab,
    /// B is stored n × k and used transposed, as the weights of a layer are.
    Abt,
}

impl Layout {
    /// "A·B" or "A·Bᵗ", which unlike a raised capital is in the window's font.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Ab => "A·B",
            Self::Abt => "A·Bᵗ",
        }
    }
}

impl std::str::FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ab" => Ok(Self::Ab),
            "abt" => Ok(Self::Abt),
            _ => Err("unknown layout; choose from ab, abt".to_owned()),
        }
    }
}

/// C (m × n) = A (m × k) · B (k × n), A and C row-major, B as its layout says, accumulated in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Gemm {
    /// Rows of A and C.
    pub m: u32,
    /// Columns of B and C.
    pub n: u32,
    /// Columns of A, rows of B.
    pub k: u32,
    /// The type of A, B and C.
    pub dtype: Dtype,
    /// How B lies in memory.
    #[serde(default)]
    pub layout: Layout,
}

impl Gemm {
    /// The seed of A's values for [`random::unit`].
    pub const SEED_A: u32 = 0x51ed_270b;
    /// The seed of B's values for [`random::unit`].
    pub const SEED_B: u32 = 0xb529_7a4d;

    /// m = n = k, A·B.
    pub const fn square(n: u32, dtype: Dtype) -> Self {
        Self::new((n, n, n), dtype)
    }

    /// (m, n, k), A·B.
    pub const fn new((m, n, k): (u32, u32, u32), dtype: Dtype) -> Self {
        Self { m, n, k, dtype, layout: Layout::Ab }
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
        (m * k).max(k * n).max(m * n).saturating_mul(self.dtype.size())
    }

    /// "n = 4096", or "1000 × 200 × 3000" (m × n × k) when it is not square.
    pub fn shape(&self) -> String {
        if self.m == self.n && self.n == self.k {
            format!("n = {}", self.n)
        } else {
            format!("{} × {} × {}", self.m, self.n, self.k)
        }
    }

    /// The shape, and the layout where it is not A·B.
    pub fn parameters(&self) -> String {
        match self.layout {
            Layout::Ab => self.shape(),
            Layout::Abt => format!("{} · {}", self.shape(), self.layout.title()),
        }
    }

    /// The exact element of A at (`row`, `column`), as it is stored in `dtype`.
    pub fn a(&self, row: u32, column: u32) -> f64 {
        random::unit(self.dtype, Self::SEED_A, row.wrapping_mul(self.k).wrapping_add(column))
    }

    /// The exact element of B at (`row`, `column`), as it is stored in `dtype`.
    pub fn b(&self, row: u32, column: u32) -> f64 {
        let index = match self.layout {
            Layout::Ab => row.wrapping_mul(self.n).wrapping_add(column),
            Layout::Abt => column.wrapping_mul(self.k).wrapping_add(row),
        };
        random::unit(self.dtype, Self::SEED_B, index)
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
        let gemm = Gemm::new((2, 3, 5), Dtype::F16);
        assert_eq!(gemm.flops(), 60.0);
        assert_eq!(gemm.bytes(), (10.0 + 15.0 + 6.0) * 2.0);
        assert_eq!(gemm.shape(), "2 × 3 × 5");
        assert_eq!(Gemm::square(8, Dtype::F32).shape(), "n = 8");
    }

    #[test]
    fn expected_is_the_dot_product() {
        let gemm = Gemm::new((4, 4, 3), Dtype::F32);
        let by_hand = gemm.a(1, 0) * gemm.b(0, 2) + gemm.a(1, 1) * gemm.b(1, 2) + gemm.a(1, 2) * gemm.b(2, 2);
        assert_eq!(gemm.expected(1, 2), by_hand);
        let turned = Gemm { layout: Layout::Abt, ..gemm };
        assert_eq!(turned.b(1, 2), random::unit(Dtype::F32, Gemm::SEED_B, 2 * 3 + 1));
        assert_eq!(turned.parameters(), "4 × 4 × 3 · A·Bᵗ");
    }

    #[test]
    fn tolerance_tells_f32_from_tf32() {
        // Rounded to ten bits of fraction.
        let tf32 = |value: f64| f64::from(f32::from_bits(((value as f32).to_bits() + 0x1000) & !0x1fff));
        for k in [33, 512, 8192] {
            let gemm = Gemm::new((8, 8, k), Dtype::F32);
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
