//! analysis

mod peaks;

pub use self::peaks::{Peaks, peaks};
