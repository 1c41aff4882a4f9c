//! The types of operands' elements.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The type of an operand's elements, and what products of them may be rounded to. Sums are asked for in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE 754 single precision, and multiplied as such: TF32 and the like are off.
    F32,
    /// Stored as f32; operands may be rounded to NVIDIA's TF32 (10 bits of fraction) before they are multiplied.
    Tf32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of a single.
    Bf16,
}

impl Dtype {
    /// Every type in display order.
    pub const ALL: [Self; 4] = [Self::F32, Self::Tf32, Self::F16, Self::Bf16];

    /// Those that our own shaders multiply.
    pub const SHADERS: [Self; 2] = [Self::F32, Self::F16];

    /// Bytes an element.
    pub const fn size(self) -> u64 {
        match self {
            Self::F32 | Self::Tf32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// The distance from 1 to the next value that takes part in a product (2⁻²³, 2⁻¹⁰, 2⁻⁷).
    pub const fn epsilon(self) -> f64 {
        match self {
            Self::F32 => f32::EPSILON as f64,
            Self::Tf32 | Self::F16 => 1.0 / 1024.0,
            Self::Bf16 => 1.0 / 128.0,
        }
    }

    /// The name used in run files and on the command line.
    pub const fn id(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for Dtype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|dtype| dtype.id() == text)
            .ok_or_else(|| "unknown dtype; choose from f32, tf32, f16, bf16".to_owned())
    }
}
