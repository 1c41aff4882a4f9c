//! The comparison in words, alike in a window, in a terminal and in a document.

use super::{
    Cause, Change, Compared, Figure, Kind, Row, SIDES_MAX, Verdict, Why, bootstrap::RESAMPLES, judge::SAMPLES_MIN,
};
use crate::{
    analysis::frameworks::times,
    engine::EngineId,
    units::{Quantity, Unit, binary_size, number, percent},
};

impl Verdict {
    /// A sign that says the same as the word: up is better.
    pub const fn sign(&self) -> &'static str {
        match self {
            Self::Faster => "▲",
            Self::Slower => "▼",
            Self::Same => "=",
            Self::NotComparable(_) => "–",
        }
    }

    /// The word in a row of this unit: what is no rate is higher or lower, not faster.
    pub const fn word(&self, unit: Unit) -> &'static str {
        match (self, unit) {
            (Self::Faster, Unit::Byte | Unit::Nat) => "better",
            (Self::Slower, Unit::Byte | Unit::Nat) => "worse",
            (Self::Faster, _) => "faster",
            (Self::Slower, _) => "slower",
            (Self::Same, _) => "same",
            (Self::NotComparable(Why::NoSamples), _) => "no samples",
            (Self::NotComparable(Why::Missing(_)), _) => "missing",
            (Self::NotComparable(_), _) => "not comparable",
        }
    }

    /// The name used in files and by programs.
    pub const fn id(&self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Same => "same",
            Self::NotComparable(_) => "not-comparable",
        }
    }

    /// Why not, where it isn't comparable.
    pub fn reason(&self) -> Option<String> {
        if let Self::NotComparable(why) = self { Some(why.sentence()) } else { None }
    }
}

impl Why {
    /// The reason as a clause.
    pub fn sentence(&self) -> String {
        match self {
            Self::Missing(reason) | Self::Marked(reason) => reason.clone(),
            Self::Units(before, now) => format!("the units differ: {} before, {} now", unit(*before), unit(*now)),
            Self::Invalid => "a figure is not a positive number".to_owned(),
            Self::Absurd => "implausible: a figure is beyond any device".to_owned(),
            Self::Precision(before, now) => format!("the arithmetic differs: {before} before, {now} now"),
            Self::Clocks => "one was timed by the device's clock and the other by the host's".to_owned(),
            Self::NoSamples => "no samples: compared by value alone, so noise can't be told from a change".to_owned(),
            Self::FewSamples(count) => {
                format!(
                    "too few samples: {count} on one side, and {SAMPLES_MIN} are needed; run it again with more time"
                )
            }
            Self::Unsteady(share, cause) => {
                let share = percent(*share);
                let what = match cause {
                    Cause::Rate => format!("the rate moved by {share} while it was measured"),
                    Cause::Throttled => format!("the device's fixed kernel moved by {share} while it was measured"),
                    Cause::Device => format!("the device's fixed kernel varied by {share} from run to run"),
                    Cause::Load => {
                        format!("other programs waited for the processors, which alone may change a rate by {share}")
                    }
                    Cause::Launch => {
                        format!("the kernel is so short that its launch alone may change the rate by {share}")
                    }
                };
                let then =
                    if *cause == Cause::Launch { "compare larger ones" } else { "run both again on a quiet machine" };
                format!("unsteady: {what}; a smaller change can't be told from that; {then}")
            }
            Self::Uncertain(interval) => format!(
                "too noisy: the ratio lies anywhere from {} to {}; run both again on a quiet machine",
                times(interval.low),
                times(interval.high)
            ),
        }
    }
}

/// The unit by its plainest name.
fn unit(unit: Unit) -> &'static str {
    unit.scale_for(0.0).name
}

impl Change {
    /// "+3.2 % (+1.0 % to +5.4 %)"; no number in it is longer than a dozen characters; as "3.82× (3.80× to 3.84×)" between engines, and beyond a half or double.
    pub fn text(&self, kind: Kind) -> String {
        let as_ratio = kind == Kind::Engines || !(0.5..=2.0).contains(&self.ratio);
        let one = |ratio: f64| if as_ratio { times(ratio) } else { signed(ratio - 1.0) };
        let range = self.interval.map(|interval| format!(" ({} to {})", one(interval.low), one(interval.high)));
        format!("{}{}", one(self.ratio), range.unwrap_or_default())
    }
}

/// A share with its sign.
fn signed(share: f64) -> String {
    let text = percent(share.abs());
    if share < 0.0 { format!("−{text}") } else { format!("+{text}") }
}

impl Figure {
    /// "12.84 TFLOPS".
    pub fn value_text(&self) -> String {
        match self.unit {
            Unit::TokenPerSecond => format!("{} t/s", number(self.median)),
            unit => Quantity::new(self.median, unit).to_string(),
        }
    }

    /// "± 0.4 %": half its own interval, as a share.
    pub fn width_text(&self) -> Option<String> {
        self.interval.map(|interval| format!("± {}", percent(interval.relative_half_width(self.median))))
    }

    /// "12.84 TFLOPS", with the share of half its interval where there is one.
    pub fn text(&self) -> String {
        let width = self.width_text().map(|width| format!(" {width}")).unwrap_or_default();
        format!("{}{width}", self.value_text())
    }
}

impl Row {
    /// "GEMM f32", with the metric where it isn't the first: "Decode 128: peak memory".
    pub fn title(&self) -> String {
        let metric = self.metric.as_deref().map(|metric| format!(": {}", metric.replace('-', " ")));
        let at = self.at_bytes.map(|bytes| format!(" at {}", binary_size(bytes)));
        format!("{}{}{}", self.workload.title(), metric.unwrap_or_default(), at.unwrap_or_default())
    }

    /// The workload's parameters, and what tells the row from others of the same work.
    pub fn parameters(&self) -> String {
        let apart = self.apart.iter().map(|(name, value)| format!("{name} {value}"));
        std::iter::once(self.workload.parameters()).chain(apart).collect::<Vec<_>>().join(" · ")
    }
}

impl Compared {
    /// The label of a column.
    pub fn label(&self, side: usize) -> &str {
        self.sides.get(side).map_or("", |side| side.label.as_str())
    }

    /// What a column's changes are: "B ÷ A", "PyTorch ÷ MLX"; nothing for the baseline's own.
    pub fn ratio_title(&self, side: usize) -> Option<String> {
        let (own, base) = (self.label(side), self.label(self.baseline));
        let (above, below) = if self.kind == Kind::Engines { (base, own) } else { (own, base) };
        (side != self.baseline).then(|| format!("{above} ÷ {below}"))
    }

    /// How it was compared, in a line; [`Compared::method`] says it in full.
    pub fn method_line(&self) -> String {
        let rows = if self.rows.len() == 1 { "1 row".to_owned() } else { format!("{} rows", self.rows.len()) };
        format!(
            "Noise threshold {}, more where a rate or the device was unsteady · 95 % bootstrap interval of the ratio of medians \
             · rank test, corrected for {rows}",
            percent(self.options.threshold)
        )
    }

    /// How it was compared, in sentences.
    pub fn method(&self) -> Vec<String> {
        let mut sentences = vec![
            format!(
                "A change is the ratio of medians with its 95 % bootstrap interval (percentile, {RESAMPLES} seeded draws). It counts if the \
                 interval lies wholly beyond {} and a rank test finds it no chance (5 %, Benjamini and Hochberg's correction \
                 for all rows). A row must change by more than that where more moved for other reasons: its rate while it was \
                 measured, a throttled device, the fixed kernel beside its entries from run to run, other programs that waited \
                 for its processors.",
                percent(self.options.threshold)
            ),
            "\"same\" means that no change beyond that was shown, and that the interval is narrower than ± 10 %."
                .to_owned(),
        ];
        if self.kind == Kind::Engines {
            let lead = self.label(self.baseline);
            sentences.push(format!(
                "The ratio is {lead}'s figure ÷ the engine's; the verdict is of the engine, beside {lead}."
            ));
        }
        if !self.left_out.is_empty() {
            let names: Vec<&str> = self.left_out.iter().map(EngineId::title).collect();
            sentences
                .push(format!("No more than {SIDES_MAX} stand beside each other; left out: {}.", names.join(", ")));
        }
        sentences
    }

    /// "2 faster, 1 slower, 10 same, 3 not comparable".
    pub fn summary(&self) -> String {
        let counts = self.counts();
        let all = [
            (counts.faster, "faster"),
            (counts.slower, "slower"),
            (counts.same, "same"),
            (counts.not_comparable, "not comparable"),
        ];
        let some: Vec<String> =
            all.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
        if some.is_empty() { "nothing to compare".to_owned() } else { some.join(", ") }
    }
}
