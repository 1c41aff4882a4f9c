//! Scaled dot-product attention, the part of a transformer whose cost grows with the square of the sequence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Dtype, random};

/// O = softmax(Q · Kᵀ ÷ √head_dim) · V. Q and O are batch × heads × sequence × head_dim; K and V have `kv_heads` instead, each
/// serving `heads ÷ kv_heads` query heads. All row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Attention {
    /// The type of all four.
    pub dtype: Dtype,
    /// Sequences at once.
    pub batch: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Positions of queries and of keys.
    pub sequence: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Each query looks at the keys up to its own position only.
    pub causal: bool,
}

impl Attention {
    /// The seeds of Q, K and V for [`random::unit`].
    pub const SEEDS: [u32; 3] = [0x3c6e_f372, 0xa54f_f53a, 0x510e_527f];

    /// Mistral-7B's heads (32 of 128, 8 for keys and values), one sequence.
    pub const fn mistral(sequence: u32, dtype: Dtype, causal: bool) -> Self {
        Self { dtype, batch: 1, heads: 32, kv_heads: 8, sequence, head_dim: 128, causal }
    }

    /// 4·batch·heads·sequence²·head_dim for both products, half of it if causal (as FlashAttention counts).
    pub fn flops(&self) -> f64 {
        let [batch, heads, sequence, dim] = [self.batch, self.heads, self.sequence, self.head_dim].map(f64::from);
        let dense = 4.0 * batch * heads * sequence * sequence * dim;
        if self.causal { dense / 2.0 } else { dense }
    }

    /// Q, K, V read once and O written once.
    pub fn bytes(&self) -> f64 {
        2.0 * (self.query_elements() as f64 + self.key_elements() as f64) * self.dtype.size() as f64
    }

    /// Elements of Q, and of O.
    pub const fn query_elements(&self) -> u64 {
        (self.batch as u64 * self.heads as u64)
            .saturating_mul(self.sequence as u64)
            .saturating_mul(self.head_dim as u64)
    }

    /// Elements of K, and of V.
    pub const fn key_elements(&self) -> u64 {
        let heads = self.batch as u64 * self.kv_heads as u64;
        heads.saturating_mul(self.sequence as u64).saturating_mul(self.head_dim as u64)
    }

    /// "1 × 32 × 4096 × 128, 8 key heads, causal".
    pub fn parameters(&self) -> String {
        let shape = [self.batch, self.heads, self.sequence, self.head_dim].map(|side| side.to_string()).join(" × ");
        let grouped =
            if self.kv_heads == self.heads { String::new() } else { format!(", {} key heads", self.kv_heads) };
        let causal = if self.causal { ", causal" } else { "" };
        format!("{shape}{grouped}{causal}")
    }

    /// The shape makes sense: no side is 0, and the heads share the key heads evenly.
    pub const fn is_sound(&self) -> bool {
        let sides = [self.batch, self.heads, self.kv_heads, self.sequence, self.head_dim];
        let none = sides[0] == 0 || sides[1] == 0 || sides[2] == 0 || sides[3] == 0 || sides[4] == 0;
        !none && self.heads.is_multiple_of(self.kv_heads)
    }

    /// The exact element of Q (0), K (1) or V (2) at the row-major `index`.
    pub fn element(&self, which: usize, index: u64) -> f64 {
        let seed = Self::SEEDS.get(which).copied().unwrap_or_default();
        random::unit(self.dtype, seed, index as u32)
    }

    /// The element of O at the row-major `index`, computed in f64.
    pub fn expected(&self, index: u64) -> f64 {
        let (dim, sequence) = (u64::from(self.head_dim), u64::from(self.sequence));
        let (column, row) = (index % dim, index / dim);
        let (position, head) = (row % sequence, row / sequence);
        let (batch, head) = (head / u64::from(self.heads), head % u64::from(self.heads));
        let key_head = batch * u64::from(self.kv_heads) + head / u64::from(self.heads / self.kv_heads);
        let keys = key_head * sequence;
        let seen = if self.causal { position + 1 } else { sequence };
        let query: Vec<f64> = (0..dim).map(|d| self.element(0, row * dim + d)).collect();
        let score = |key: u64| {
            let products = query.iter().zip(0..).map(|(q, d)| q * self.element(1, (keys + key) * dim + d));
            products.sum::<f64>() / f64::from(self.head_dim).sqrt()
        };
        let scores: Vec<f64> = (0..seen).map(score).collect();
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut weights, mut sum) = (0.0, 0.0);
        for (key, score) in (0..).zip(&scores) {
            let weight = (score - most).exp();
            weights += weight;
            sum += weight * self.element(2, (keys + key) * dim + column);
        }
        sum / weights
    }

    /// The relative error that a right result stays below.
    ///
    /// Weights and their sums are kept in f32, but scores and weights are rounded to the operands' type before they are
    /// multiplied by the values, and so is O: a few ε of the type. An average of many values is small beside each of them,
    /// so that what is rounded off weighs more the longer the sequence: √sequence, as for a sum of random signs (Higham,
    /// *Accuracy and Stability of Numerical Algorithms*, § 4.2), damped since the weights are all positive.
    pub fn tolerance(&self) -> f64 {
        let summed = 8.0 * f64::from(f32::EPSILON) * f64::from(self.sequence).sqrt();
        summed + 4.0 * self.dtype.epsilon()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Attention =
        Attention { dtype: Dtype::F32, batch: 2, heads: 4, kv_heads: 2, sequence: 3, head_dim: 2, causal: true };

    #[test]
    fn counts_are_the_algorithms() {
        assert_eq!(SMALL.flops(), 4.0 * 2.0 * 4.0 * 9.0 * 2.0 / 2.0);
        assert_eq!(SMALL.bytes(), (2.0 * 48.0 + 2.0 * 24.0) * 4.0);
        assert_eq!(SMALL.parameters(), "2 × 4 × 3 × 2, 2 key heads, causal");
        assert!(SMALL.is_sound() && !Attention { kv_heads: 3, ..SMALL }.is_sound());
    }

    #[test]
    fn the_first_query_of_a_causal_head_sees_the_first_value_alone() {
        // Batch 1, head 3, position 0, column 1; key head 1 of batch 1 serves heads 2 and 3.
        let index = ((4 + 3) * 3) * 2 + 1;
        let value = SMALL.element(2, ((2 + 1) * 3) * 2 + 1);
        assert!((SMALL.expected(index) - value).abs() < 1e-15);
        let all = Attention { causal: false, ..SMALL };
        assert!((all.expected(index) - value).abs() > 1e-6);
        // The last position sees the same, masked or not.
        assert_eq!(SMALL.expected(index + 4), all.expected(index + 4));
    }
}
