//! What models are given to read, and which of their logits are compared. All engines get the same.

use super::{Inference, InferencePhase, ModelShape, random};

/// What seeds the prompt's tokens.
const PROMPT_SEED: u32 = 0x7a11_5eed;
/// What seeds the choice of logits.
const PROBE_SEED: u32 = 0x11c3_9b05;
/// The token that begins a text in Mistral's and Llama's vocabularies.
const BOS: u32 = 1;

impl Inference {
    /// Tokens of a prompt: what prefill reads, or what lies before that which decode writes, one at least.
    pub const fn prompt_tokens(&self) -> u32 {
        match self.phase {
            InferencePhase::Prefill { tokens } => tokens,
            InferencePhase::Decode { depth: 0, .. } => 1,
            InferencePhase::Decode { depth, .. } => depth,
        }
    }

    /// The prompt of each sequence: random tokens of the vocabulary, the same in every run. Where nothing comes before what is
    /// written, the token that begins a text.
    pub fn prompts(&self) -> Vec<Vec<u32>> {
        let vocabulary = self.model.shape.vocabulary.max(1);
        if matches!(self.phase, InferencePhase::Decode { depth: 0, .. }) {
            return vec![vec![BOS.min(vocabulary - 1)]; self.batch as usize];
        }
        let count = self.prompt_tokens();
        let token = |index: u32| random::pcg(index ^ PROMPT_SEED) % vocabulary;
        (0..self.batch)
            .map(|sequence| (0..count).map(|i| token(sequence.wrapping_mul(count).wrapping_add(i))).collect())
            .collect()
    }
}

impl ModelShape {
    /// Ids of the vocabulary, at most `count` and spread over it, whose logits tell a model from another.
    pub fn probed_ids(&self, count: u32) -> Vec<u32> {
        let ids = random::spots(u64::from(self.vocabulary), count.saturating_sub(2), PROBE_SEED);
        ids.into_iter().take(count as usize).map(|id| id as u32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Location, ModelRef, Origin, Precision};

    fn inference(phase: InferencePhase, batch: u32) -> Inference {
        let model = ModelRef {
            name: "mistral-7b".into(),
            origin: Origin::Synthetic,
            precision: Precision::F16,
            shape: ModelShape::MISTRAL_7B,
            weight_bytes: 0,
            token_bytes: 0,
            location: Location::default(),
        };
        Inference { model, phase, batch }
    }

    #[test]
    fn prompts_are_as_long_as_asked_and_of_the_vocabulary() {
        let prompts = inference(InferencePhase::Prefill { tokens: 100 }, 3).prompts();
        assert_eq!(prompts.iter().map(Vec::len).collect::<Vec<_>>(), [100; 3]);
        assert!(prompts.iter().flatten().all(|id| *id < 32_000));
        assert_ne!(prompts[0], prompts[1]);
        // A decode at this depth reads the same.
        assert_eq!(inference(InferencePhase::Decode { tokens: 8, depth: 100 }, 3).prompts(), prompts);
        assert_eq!(inference(InferencePhase::Decode { tokens: 8, depth: 0 }, 2).prompts(), [[1], [1]]);
    }

    #[test]
    fn probed_ids_are_of_the_vocabulary_and_no_more_than_asked() {
        let ids = ModelShape::MISTRAL_7B.probed_ids(32);
        assert!((30..=32).contains(&ids.len()) && ids.iter().all(|id| *id < 32_000), "{ids:?}");
        let few = ModelShape { vocabulary: 3, ..ModelShape::MISTRAL_7B };
        assert!(few.probed_ids(32).iter().all(|id| *id < 3));
    }
}
