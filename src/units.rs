//! Units and how a value is written: SI values inside, "12.84 TFLOPS" only at the edge.
//!
//! Prefixes are decimal everywhere (1 TFLOPS = 10¹² FLOP/s, 1 GB = 10⁹ bytes); only the sizes of arrays and buffers,
//! which people choose as powers of two, are written in KiB, MiB and GiB and say so.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The unit of a stored value, always without a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Unit {
    /// Floating-point operations per second.
    #[serde(rename = "FLOP/s", alias = "flop-per-second")]
    FlopPerSecond,
    /// Bytes per second.
    #[serde(rename = "B/s", alias = "byte-per-second")]
    BytePerSecond,
    /// Tokens per second.
    #[serde(rename = "token/s", alias = "token-per-second")]
    TokenPerSecond,
    /// Bytes.
    #[serde(rename = "B", alias = "byte")]
    Byte,
    /// Seconds.
    #[serde(rename = "s", alias = "second")]
    Second,
    /// Information in natural units: the loss of a language model, a token.
    #[serde(rename = "nat")]
    Nat,
}

impl Unit {
    /// The steps of this unit from largest to smallest: the factor and the name people know.
    const fn steps(self) -> &'static [(f64, &'static str)] {
        match self {
            Self::FlopPerSecond => {
                &[(1e15, "PFLOPS"), (1e12, "TFLOPS"), (1e9, "GFLOPS"), (1e6, "MFLOPS"), (1.0, "FLOP/s")]
            }
            Self::BytePerSecond => &[(1e12, "TB/s"), (1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1.0, "B/s")],
            Self::TokenPerSecond => &[(1.0, "tokens/s")],
            Self::Byte => &[(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")],
            Self::Second => &[(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")],
            Self::Nat => &[(1.0, "nats")],
        }
    }

    /// No device of this decade comes near this, and no file that a model is loaded from: a figure above is a wrong clock, a
    /// skipped kernel, or a file's mistake.
    pub const fn beyond_any_device(self) -> f64 {
        match self {
            Self::FlopPerSecond => 1e17,
            Self::BytePerSecond => 1e15,
            Self::TokenPerSecond => 1e12,
            Self::Byte => 1e16,
            Self::Second | Self::Nat => 1e9,
        }
    }

    /// The step that people expect in charts and tables for a value of this size.
    ///
    /// Bandwidth stays in GB/s above a terabyte per second: data sheets and peers write 3 350 GB/s.
    pub fn scale_for(self, value: f64) -> Scale {
        let steps = self.steps();
        let size = value.abs();
        let skip = usize::from(self == Self::BytePerSecond);
        let chosen = steps.iter().skip(skip).find(|(factor, _)| size >= *factor).or_else(|| steps.last());
        let (factor, name) = chosen.copied().unwrap_or((1.0, ""));
        Scale { factor, name }
    }
}

/// One step of a unit: values divided by `factor` are in `name`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// What a value in the base unit is divided by.
    pub factor: f64,
    /// The name with its prefix, as "TFLOPS".
    pub name: &'static str,
}

impl Scale {
    /// A value in the base unit as a number in this step, without the name.
    pub fn number(self, value: f64) -> String {
        number(value / self.factor)
    }
}

/// A value with its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantity {
    /// In the unit's base, without a prefix.
    pub value: f64,
    /// What the value counts.
    pub unit: Unit,
}

impl Quantity {
    /// A value in the base of `unit`.
    pub const fn new(value: f64, unit: Unit) -> Self {
        Self { value, unit }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.value.is_finite() {
            return f.write_str("—");
        }
        let scale = self.unit.scale_for(self.value);
        write!(f, "{} {}", scale.number(self.value), scale.name)
    }
}

/// Four significant digits below 10 000, thin-spaced thousands above, a power of ten where they would be too many; "—" for
/// what is no number.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "—".to_owned();
    }
    let size = value.abs();
    // No machine has such figures; a file may.
    if size >= 1e15 {
        return format!("{value:.3e}");
    }
    if size >= 9999.5 {
        return thousands(value);
    }
    let digits = match size {
        s if s >= 999.95 => 0,
        s if s >= 99.995 => 1,
        s if s >= 9.9995 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

fn thousands(value: f64) -> String {
    let plain = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) {
            out.push('\u{2009}');
        }
        out.push(digit);
    }
    if value < 0.0 { format!("−{out}") } else { out }
}

/// A buffer or array size in binary steps, as "64 KiB" or "1.5 GiB".
pub fn binary_size(bytes: u64) -> String {
    const STEPS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let Some((factor, name)) = STEPS.into_iter().find(|(factor, _)| bytes >= *factor) else {
        return format!("{bytes} B");
    };
    if bytes.is_multiple_of(factor) {
        format!("{} {name}", bytes / factor)
    } else {
        format!("{:.2} {name}", bytes as f64 / factor as f64)
    }
}

/// A machine's memory in whole GiB, as it is sold and known by: "24 GiB". A system keeps some of it to itself.
pub fn memory_size(bytes: u64) -> String {
    const GIB: u64 = 1 << 30;
    if bytes < GIB { binary_size(bytes) } else { format!("{} GiB", bytes / GIB + u64::from(bytes % GIB >= GIB / 2)) }
}

/// A share as a percentage with one digit, as "92.4 %"; with two below one percent, as "0.04 %"; as a power of ten where it would
/// be long.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        p if !p.is_finite() => "—".to_owned(),
        p if p.abs() < 0.995 => format!("{p:.2} %"),
        // No machine has such shares; a file may.
        p if p.abs() >= 99_999.95 => format!("{p:.1e} %"),
        p => format!("{p:.1} %"),
    }
}

/// A relative error as "3.0e-7", or "0" for an exact result.
pub fn relative_error(error: f64) -> String {
    if error == 0.0 { "0".to_owned() } else { format!("{error:.1e}") }
}

/// A duration for people: "0.8 s", "42 s", "3 min 05 s".
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "—".to_owned();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_as_the_field_writes_them() {
        let cases = [
            (Quantity::new(12.84e12, Unit::FlopPerSecond), "12.84 TFLOPS"),
            (Quantity::new(3.06e12, Unit::BytePerSecond), "3060 GB/s"),
            (Quantity::new(354.2e9, Unit::BytePerSecond), "354.2 GB/s"),
            (Quantity::new(2.5e9, Unit::FlopPerSecond), "2.500 GFLOPS"),
            (Quantity::new(85.0e9, Unit::Byte), "85.00 GB"),
            (Quantity::new(0.0123, Unit::Second), "12.30 ms"),
            (Quantity::new(f64::NAN, Unit::Second), "—"),
        ];
        for (quantity, text) in cases {
            assert_eq!(quantity.to_string(), text);
        }
    }

    #[test]
    fn sizes_durations_and_large_numbers() {
        assert_eq!(binary_size(65536), "64 KiB");
        assert_eq!(binary_size(128 << 20), "128 MiB");
        assert_eq!(binary_size(2147483644), "2.00 GiB");
        assert_eq!(binary_size(12), "12 B");
        assert_eq!(number(16178.0), "16\u{2009}178");
        assert_eq!([999e12, -1e308].map(number), ["999\u{2009}000\u{2009}000\u{2009}000\u{2009}000", "-1.000e308"]);
        assert_eq!(duration(0.84), "0.8 s");
        assert_eq!(duration(185.0), "3 min 05 s");
        assert_eq!(duration(7500.0), "2 h 05 min");
        assert_eq!([0.924, 0.0004, 0.00996, f64::NAN].map(percent), ["92.4 %", "0.04 %", "1.0 %", "—"]);
        assert_eq!([751.881, 1e300, -1e305].map(percent), ["75188.1 %", "1.0e302 %", "-1.0e307 %"]);
    }
}
