//! How large a tensor may be, and how much can be held at once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::percent;

/// Finds by allocating, binding, writing and reading back: the largest single buffer, and the total of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct TensorLimit {
    /// The share of the memory free at the start, in percent, beyond which nothing more is taken.
    pub max_percent: u32,
}

impl Default for TensorLimit {
    /// Four fifths: the desktop and other programs keep the rest.
    fn default() -> Self {
        Self { max_percent: 80 }
    }
}

impl TensorLimit {
    /// "up to 80.0 % of free memory".
    pub fn parameters(&self) -> String {
        format!("up to {} of free memory", percent(f64::from(self.max_percent) / 100.0))
    }
}
