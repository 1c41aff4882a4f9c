//! Memory bandwidth: streaming reads and writes of large arrays.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::binary_size;

/// What is done with the arrays. Bytes are counted as BabelStream does: no write-allocate traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MemoryOp {
    /// Every element of one array is read and summed: N bytes.
    Read,
    /// Every element of one array is written: N bytes.
    Write,
    /// b = a: 2 N bytes.
    Copy,
    /// a = b + s · c: 3 N bytes.
    Triad,
}

impl MemoryOp {
    /// Every operation in display order.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Copy, Self::Triad];

    /// How many arrays take part; each moves its size once.
    pub const fn arrays(self) -> u64 {
        match self {
            Self::Read | Self::Write => 1,
            Self::Copy => 2,
            Self::Triad => 3,
        }
    }

    /// The name used in run files and on the command line.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Copy => "copy",
            Self::Triad => "triad",
        }
    }
}

impl fmt::Display for MemoryOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for MemoryOp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|op| op.id() == text)
            .ok_or_else(|| "unknown memory operation; choose from read, write, copy, triad".to_owned())
    }
}

/// One operation over arrays of one size, of f32 values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Bandwidth {
    /// What is done.
    pub op: MemoryOp,
    /// The size of each array in bytes, a multiple of 4 KiB.
    pub array_bytes: u64,
}

impl Bandwidth {
    /// The factor s of the triad: exact in f32 and not one that a compiler could simplify.
    pub const TRIAD_SCALE: f32 = 0.40625;

    /// Seeds of the arrays that are read, for [`super::random::unit`] in f32.
    pub const SEEDS: [u32; 2] = [0x2c1b_3c6d, 0x8f14_45fb];

    /// What engines outside this program write.
    pub const WRITTEN: f64 = 1.5;

    /// Bytes that one pass moves.
    pub fn moved_bytes(&self) -> f64 {
        self.op.arrays() as f64 * self.array_bytes as f64
    }

    /// Floating-point operations of one pass: one addition an element for read, two for triad.
    pub fn flops(&self) -> f64 {
        let elements = (self.array_bytes / 4) as f64;
        match self.op {
            MemoryOp::Read => elements,
            MemoryOp::Write | MemoryOp::Copy => 0.0,
            MemoryOp::Triad => 2.0 * elements,
        }
    }

    /// Arrays so large that their bandwidth is the memory's, not a cache's.
    pub const fn is_beyond_caches(&self) -> bool {
        const ARRAY_BYTES_MIN: u64 = 64 << 20;
        self.array_bytes >= ARRAY_BYTES_MIN
    }

    /// "1 GiB an array".
    pub fn parameters(&self) -> String {
        format!("{} an array", binary_size(self.array_bytes))
    }
}

/// One operation over a range of array sizes, doubling from the smallest to the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct BandwidthSweep {
    /// What is done.
    pub op: MemoryOp,
    /// The smallest array in bytes.
    pub min_bytes: u64,
    /// The largest array in bytes.
    pub max_bytes: u64,
}

impl BandwidthSweep {
    /// The sizes in ascending order: powers of two times the smallest, and the largest.
    pub fn sizes(&self) -> Vec<u64> {
        let doubling = std::iter::successors(Some(self.min_bytes.max(1)), |size| size.checked_mul(2));
        let mut sizes: Vec<u64> = doubling.take_while(|size| *size < self.max_bytes).collect();
        sizes.push(self.max_bytes);
        sizes
    }

    /// "64 KiB to 1 GiB".
    pub fn parameters(&self) -> String {
        format!("{} to {}", binary_size(self.min_bytes), binary_size(self.max_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_as_the_field_does() {
        let moved = |op| Bandwidth { op, array_bytes: 4096 }.moved_bytes();
        assert_eq!(MemoryOp::ALL.map(moved), [4096.0, 4096.0, 8192.0, 12288.0]);
        // A run file may say anything.
        assert!(Bandwidth { op: MemoryOp::Triad, array_bytes: u64::MAX }.moved_bytes() > 5e19);
    }

    #[test]
    fn sweep_doubles_and_ends_at_the_largest() {
        let sweep = BandwidthSweep { op: MemoryOp::Read, min_bytes: 64 << 10, max_bytes: 1 << 30 };
        let sizes = sweep.sizes();
        assert_eq!((sizes.len(), sizes[0], sizes[14]), (15, 64 << 10, 1 << 30));
        let odd = BandwidthSweep { op: MemoryOp::Read, min_bytes: 1024, max_bytes: 3000 };
        assert_eq!(odd.sizes(), [1024, 2048, 3000]);
    }
}
