//! Limits and shares of them in words: what a ceiling is, where it comes from, and how near to it a figure is.

use crate::units::{Quantity, Unit, number, percent};

/// Where a ceiling comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CeilingKind {
    /// The hardware's data sheet.
    Theoretical,
    /// The best figure of its kind in the same run, on the same device.
    Measured,
    /// What a token must move or compute, at a rate of this device's.
    Token {
        /// Bandwidth or arithmetic rate.
        rate: Quantity,
        /// Bytes or FLOPs a token.
        cost: f64,
        /// The rate is the data sheet's; else the best measured in this run.
        published: bool,
    },
    /// The bandwidth allows no more operations than so many a byte.
    Traffic {
        /// Bandwidth.
        rate: Quantity,
        /// Arithmetic intensity in FLOP/B.
        intensity: f64,
        /// The rate is the data sheet's; else the best measured in this run.
        published: bool,
    },
}

/// What holds a workload back: reading and writing, or multiplying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The memory's bandwidth.
    Memory,
    /// Arithmetic.
    Compute,
}

impl Bound {
    /// "memory" or "arithmetic".
    pub const fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Compute => "arithmetic",
        }
    }
}

/// The most that a device allows of a workload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// In the unit of the workload's headline.
    pub ceiling: Quantity,
    /// Where it comes from.
    pub kind: CeilingKind,
    /// What sets it.
    pub bound: Bound,
}

/// A figure as a share of its ceiling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// 1 is all of it.
    pub fraction: f64,
    /// The ceiling.
    pub ceiling: Quantity,
    /// Where the ceiling comes from.
    pub kind: CeilingKind,
    /// What sets it.
    pub bound: Bound,
}

impl Share {
    /// Beyond the limit by more than this, the limit is the one that is wrong.
    pub(crate) const ROOM: f64 = 1.03;

    /// What was measured by itself was slower than it could be, as a short product is, or one with other programs beside it:
    /// then it is no limit.
    pub(crate) fn is_beyond(&self) -> bool {
        let measured = match self.kind {
            CeilingKind::Theoretical => false,
            CeilingKind::Measured => true,
            CeilingKind::Token { published, .. } | CeilingKind::Traffic { published, .. } => !published,
        };
        measured && self.fraction > Self::ROOM
    }

    /// "92.4 %", with "of best" where the ceiling is only the best measured, and "of limit" where it is worked out.
    pub fn text(&self) -> String {
        match self.kind {
            CeilingKind::Theoretical => percent(self.fraction),
            _ if self.is_beyond() => "over best".to_owned(),
            CeilingKind::Measured => format!("{} of best", percent(self.fraction)),
            CeilingKind::Token { .. } | CeilingKind::Traffic { .. } => format!("{} of limit", percent(self.fraction)),
        }
    }

    /// "92.4 %", where a heading says of what; "over best" where the limit is none.
    pub(crate) fn short(&self) -> String {
        if self.is_beyond() { "over best".to_owned() } else { percent(self.fraction) }
    }

    /// "92.4 % of 3350 GB/s by the data sheet"; "62.1 % of 209 tokens/s: 3350 GB/s by the data sheet ÷ 16.0 GB a token".
    pub fn explanation(&self) -> String {
        format!("{} of {}", percent(self.fraction), self.limit().text())
    }

    /// What it is a share of.
    pub const fn limit(&self) -> Limit {
        Limit { ceiling: self.ceiling, kind: self.kind, bound: self.bound }
    }
}

impl Limit {
    /// "3350 GB/s by the data sheet"; "209 tokens/s: 3350 GB/s by the data sheet ÷ 16.0 GB a token".
    pub fn text(&self) -> String {
        let source = |published| if published { "by the data sheet" } else { "as measured in this run" };
        match self.kind {
            CeilingKind::Theoretical => format!("{} by the data sheet", self.ceiling),
            CeilingKind::Measured => format!("{}, the best of its kind in this run", self.ceiling),
            CeilingKind::Token { rate, cost, published } => {
                format!("{}: {rate} {} ÷ {} a token", self.ceiling, source(published), cost_text(rate, cost))
            }
            CeilingKind::Traffic { rate, intensity, published } => {
                let each = number(intensity);
                format!("{}: {rate} {} × {each} FLOP a byte", self.ceiling, source(published))
            }
        }
    }
}

/// "14.2 GB" or "14.5 GFLOP".
fn cost_text(rate: Quantity, cost: f64) -> String {
    match rate.unit {
        Unit::FlopPerSecond => format!("{} GFLOP", number(cost / 1e9)),
        _ => Quantity::new(cost, Unit::Byte).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_faster_than_a_measured_limit_is_told_in_words_and_a_published_one_in_figures() {
        let (rate, ceiling) = (Quantity::new(26e9, Unit::FlopPerSecond), Quantity::new(190.0, Unit::TokenPerSecond));
        let share = |fraction, published| {
            let kind = CeilingKind::Token { rate, cost: 0.14e9, published };
            Share { fraction, ceiling, kind, bound: Bound::Compute }
        };
        assert_eq!(share(4.3, false).text(), "over best");
        assert!(share(4.3, false).is_beyond() && !share(0.9, false).is_beyond() && !share(1.02, false).is_beyond());
        assert_eq!(share(0.9, false).text(), "90.0 % of limit");
        assert_eq!(share(1.1, true).text(), "110.0 % of limit", "a data sheet that is passed is seen to be");
    }
}
