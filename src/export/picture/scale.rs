//! From values to places on an axis, and the ticks that stand there.

use crate::{
    chart::{Axis, SHORT_DAYS, Spacing, Values, day_label, padded, ticks},
    units::{Unit, binary_size},
};

/// An axis that is laid out: values become shares of its length.
pub(super) struct Scale {
    spacing: Spacing,
    low: f64,
    high: f64,
    values: Values,
    /// What ticks are divided by, and the name of the unit then.
    factor: f64,
    unit: &'static str,
}

/// The largest number that is drawn: beyond it differences of floats are none.
const MOST: f64 = 1e300;

impl Scale {
    /// Over all values; each end has `margin` of the length more where the axis doesn't begin at zero.
    pub(super) fn of(axis: &Axis, values: impl Iterator<Item = f64>, headroom: f64) -> Self {
        let fits = |value: &f64| value.is_finite() && value.abs() < MOST && (axis.spacing.is_even() || *value > 0.0);
        let (low, high) = values
            .filter(fits)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low <= high { (low, high) } else { (1.0, 1.0) };
        let (factor, unit) = match axis.values {
            Values::Of(unit) => {
                // Over many powers of ten the middle one is written without needless zeros.
                let typical = match axis.spacing {
                    Spacing::Linear | Spacing::Fitted => high.abs().max(low.abs()),
                    Spacing::Log2 | Spacing::Log10 => (low.ln() + (high.ln() - low.ln()) * 0.6).exp(),
                };
                let scale = unit.scale_for(typical);
                (scale.factor, scale.name)
            }
            Values::Share => (0.01, "%"),
            Values::Intensity => (1.0, "FLOP/byte"),
            Values::Count | Values::Bytes | Values::Days(_) => (1.0, ""),
        };
        let (low, high) = match axis.spacing {
            Spacing::Linear => {
                let top = if high > 0.0 { rounded_up(high * (1.0 + headroom), factor) } else { 0.0 };
                let low = low.min(0.0) * (1.0 + headroom);
                if top > low { (low, top) } else { (low, low + 1.0) }
            }
            Spacing::Fitted if matches!(axis.values, Values::Days(_)) => {
                let room = ((high - low) * 0.03).max(0.02);
                (low - room, high + room)
            }
            Spacing::Fitted => padded(low, high),
            // At least two steps apart, so that one point has an axis too.
            spacing @ (Spacing::Log2 | Spacing::Log10) => {
                let (a, b) = (log(spacing, low), log(spacing, high));
                let pad = ((b - a) * 0.04).max(if spacing == Spacing::Log2 { 0.3 } else { 0.1 });
                (a - pad, b + pad)
            }
        };
        Self { spacing: axis.spacing, low, high, values: axis.values, factor, unit }
    }

    /// The share of the length at which a value stands; `None` for what the axis can't hold.
    pub(super) fn share(&self, value: f64) -> Option<f64> {
        let place = match self.spacing {
            Spacing::Linear | Spacing::Fitted => value,
            spacing => (value > 0.0).then(|| log(spacing, value))?,
        };
        let share = (place - self.low) / (self.high - self.low);
        share.is_finite().then_some(share)
    }

    /// The name of the unit of its ticks; empty where they name it themselves.
    pub(super) const fn unit(&self) -> &'static str {
        self.unit
    }

    /// Ticks as (share of the length, words), at most so many where they are evenly spaced.
    pub(super) fn ticks(&self, most: u32) -> Vec<(f64, String)> {
        let values: Vec<f64> = match self.spacing {
            Spacing::Linear | Spacing::Fitted => {
                let (low, high) = (self.low / self.factor, self.high / self.factor);
                ticks(low, high, most).into_iter().map(|tick| tick * self.factor).collect()
            }
            Spacing::Log2 => powers(self.low, self.high, 2.0),
            Spacing::Log10 => powers(self.low, self.high, 10.0),
        };
        let by_hours = self.high - self.low < SHORT_DAYS;
        let is_whole = match self.values {
            Values::Count => true,
            Values::Days(_) => !by_hours,
            _ => false,
        };
        let whole = |value: &f64| !is_whole || (value - value.round()).abs() < 1e-6;
        let tick = |value: f64| Some((self.share(value)?, self.words(value)));
        values.into_iter().filter(whole).filter_map(tick).collect()
    }

    fn words(&self, value: f64) -> String {
        match self.values {
            Values::Bytes => binary_size(value.round().clamp(0.0, 2_f64.powi(62)) as u64),
            Values::Days(start_s) => day_label(start_s, value, self.high - self.low < SHORT_DAYS),
            Values::Count => format!("{:.0}", value.round()),
            Values::Of(_) | Values::Share | Values::Intensity => short(value / self.factor),
        }
    }
}

/// The next tick at or above, so that the grid reaches over the highest value.
fn rounded_up(high: f64, factor: f64) -> f64 {
    let steps = ticks(0.0, high / factor, 5);
    let step = steps.get(1).copied().unwrap_or(high / factor);
    let top = (high / factor / step).ceil() * step * factor;
    if top.is_finite() && top > 0.0 { top } else { high }
}

/// Whole powers between two logarithms; every so many where there are more than can stand on an axis.
fn powers(low: f64, high: f64, base: f64) -> Vec<f64> {
    const MANY: usize = 24;
    let (low, high) = (low.ceil().max(-300.0) as i32, high.floor().min(300.0) as i32);
    let count = usize::try_from(high - low + 1).unwrap_or(0);
    let every = if count > MANY { count.div_ceil(MANY / 2) } else { 1 };
    (low..=high).step_by(every).map(|power| base.powi(power)).collect()
}

fn log(spacing: Spacing, value: f64) -> f64 {
    if spacing == Spacing::Log2 { value.log2() } else { value.log10() }
}

/// A tick's number without needless digits.
fn short(value: f64) -> String {
    let size = value.abs();
    if size >= 1e7 || size > 0.0 && size < 1e-4 {
        return format!("{value:.0e}");
    }
    let digits = if size >= 100.0 { 0 } else { 4 };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// "Rate, TFLOPS": what an axis counts and in which unit.
pub(super) fn heading(axis: &Axis, scale: &Scale) -> String {
    let unit = scale.unit();
    let is_time = axis.values == Values::Of(Unit::Second);
    match (axis.label.is_empty(), unit.is_empty()) {
        (_, true) => axis.label.clone(),
        (true, false) => unit.to_owned(),
        (false, false) if is_time => format!("{} ({unit})", axis.label),
        (false, false) => format!("{}, {unit}", axis.label),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(values: Values, spacing: Spacing) -> Axis {
        Axis { label: "Rate".into(), values, spacing }
    }

    #[test]
    fn an_axis_of_rates_begins_at_zero_and_names_its_unit() {
        let axis = axis(Values::Of(Unit::FlopPerSecond), Spacing::Linear);
        let scale = Scale::of(&axis, [3e12, 13.8e12, f64::NAN].into_iter(), 0.05);
        assert_eq!(heading(&axis, &scale), "Rate, TFLOPS");
        let words: Vec<String> = scale.ticks(4).into_iter().map(|(_, words)| words).collect();
        assert_eq!(words, ["0", "5", "10", "15"]);
        assert_eq!(scale.share(0.0), Some(0.0));
    }

    #[test]
    fn odd_values_make_no_odd_axis() {
        for values in [vec![], vec![0.0], vec![-1.0, 5.0], vec![f64::INFINITY], vec![1e308, 1e-308], vec![7.0]] {
            for spacing in [Spacing::Linear, Spacing::Log2, Spacing::Log10] {
                let scale = Scale::of(&axis(Values::Count, spacing), values.iter().copied(), 0.05);
                assert!(scale.ticks(5).len() <= 24);
                assert!(scale.share(7.0).is_none_or(f64::is_finite), "{values:?} {spacing:?}");
            }
        }
    }

    #[test]
    fn sizes_stand_at_powers_of_two() {
        let scale = Scale::of(&axis(Values::Bytes, Spacing::Log2), [65536.0, 262_144.0].into_iter(), 0.0);
        let words: Vec<String> = scale.ticks(9).into_iter().map(|(_, words)| words).collect();
        assert_eq!(words, ["64 KiB", "128 KiB", "256 KiB"]);
    }
}
