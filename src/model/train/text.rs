//! The fixed small text that is learnt, so that loss curves of all machines can be compared.

use super::ModelError;

/// Written for this purpose: plain English prose, all of it ASCII.
pub const TEXT: &str = "\
The keeper of the lighthouse wrote down the weather three times a day. In the morning she noted the wind, the height of \
the water, and how far she could see. At noon she noted them again, and once more before she lit the lamp. Nobody had \
asked her to do it so often. One entry a day was what the harbour office wanted, and one entry a day was what the keeper \
before her had given them. But she had found that a single number tells little. The wind at noon may be the strongest of \
the day or the weakest, and whoever reads it in the book a year later can't know which.\n\
\n\
Her instruments were simple. There was a brass barometer that had come with the house, a glass tube of mercury beside the \
door, and a staff with painted marks at the foot of the rock. She trusted the staff most, because it had no parts that \
could wear. The barometer she trusted least. When a ship came in she asked the captain for his reading, and wrote his \
number next to hers. Over the years the two columns drew a line, and the line showed that her barometer lost a little \
every winter and never got it back. She did not correct the old entries. She wrote on the last page of the book how much \
was lost and how she knew, so that others could do the sum themselves.\n\
\n\
Sailors laughed at the book until the spring of the great flood. Then the engineers came and asked how high the water had \
stood in other years, and how fast it had risen, and for how many hours. The harbour office could show them one number a \
day, always taken after breakfast. The keeper could show them the whole curve. They built the new wall a foot higher than \
they had meant to, and it held.\n\
\n\
When she was old, a visitor asked what the secret of good measuring was. She said that there was none. Read the scale \
twice. Say what you read it with. Write down the bad days too, those most of all. And never let the pen run ahead of the \
eye, for the hand that writes what it expects to see will sooner or later be believed.\n";

/// The sequences that a text is cut into.
#[derive(Clone, Debug)]
pub struct TextSet {
    sequences: Vec<Vec<u32>>,
}

impl TextSet {
    /// Cuts token ids into as many whole sequences of `length` as there are; a text that is shorter than one is repeated.
    pub fn new(ids: &[u32], length: usize) -> Result<Self, ModelError> {
        if ids.is_empty() || length == 0 {
            return Err(ModelError::Asked(
                "there is no text to learn; choose a sequence of at least 2 tokens".to_owned(),
            ));
        }
        let count = (ids.len() / length).max(1);
        let one = |index: usize| ids.iter().copied().cycle().skip(index * length).take(length).collect();
        Ok(Self { sequences: (0..count).map(one).collect() })
    }

    /// [`TEXT`] by bytes, as SentencePiece vocabularies hold them: byte b has the id b + 3, after the three special tokens.
    /// Models whose vocabulary is smaller take the remainder.
    pub fn of_bytes(vocabulary: usize, length: usize) -> Result<Self, ModelError> {
        let most = u32::try_from(vocabulary).unwrap_or(u32::MAX).max(1);
        let ids: Vec<u32> = TEXT.bytes().map(|byte| (u32::from(byte) + 3) % most).collect();
        Self::new(&ids, length)
    }

    /// The sequences of a step, one after another in turn.
    pub fn batch(&self, step: usize, batch: usize) -> Vec<Vec<u32>> {
        let first = step.wrapping_mul(batch);
        self.sequences.iter().cycle().skip(first % self.sequences.len().max(1)).take(batch).cloned().collect()
    }

    /// How many sequences there are.
    pub fn len(&self) -> usize {
        self.sequences.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_into_sequences_that_come_in_turn() {
        assert!(TEXT.is_ascii());
        let set = TextSet::new(&[1, 2, 3, 4, 5, 6, 7], 3).unwrap();
        assert_eq!(set.len(), 2);
        assert_eq!(set.batch(0, 1), [[1, 2, 3]]);
        assert_eq!(set.batch(1, 1), [[4, 5, 6]]);
        assert_eq!(set.batch(1, 3), [[4, 5, 6], [1, 2, 3], [4, 5, 6]]);
        assert_eq!(TextSet::new(&[1, 2], 5).unwrap().batch(9, 1), [[1, 2, 1, 2, 1]]);
        assert!(TextSet::new(&[], 5).is_err());
        let bytes = TextSet::of_bytes(32_000, 512).unwrap();
        assert!(bytes.len() >= 3);
        assert_eq!(bytes.batch(0, 1)[0][..3], [u32::from(b'T') + 3, u32::from(b'h') + 3, u32::from(b'e') + 3]);
    }
}
