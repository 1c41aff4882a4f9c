//! Bars as data: what the template draws as SVG.

use serde::Serialize;

/// More bars than this are no picture; the table has them.
const BARS_MAX: usize = 48;
/// How long the longest bar is drawn, of a width of 720.
const LONGEST: f64 = 420.0;
const STEP: usize = 22;

/// A bar chart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Chart {
    title: String,
    height: usize,
    bars: Vec<Bar>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Bar {
    label: String,
    value: String,
    y: usize,
    width: String,
    /// Of the longest.
    #[serde(skip)]
    share: f32,
    /// Where the value is written.
    at: String,
    /// Bars of a framework look alike.
    colour: usize,
}

/// One bar to come: its label, its figure as a number and in words, and whose it is.
pub(super) struct Value {
    pub label: String,
    pub amount: f64,
    pub text: String,
    pub series: usize,
}

impl Chart {
    /// What it is of.
    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    /// Each bar: its label, its value, its share of the longest, and whose it is.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, &str, f32, usize)> {
        self.bars.iter().map(|bar| (bar.label.as_str(), bar.value.as_str(), bar.share, bar.colour))
    }

    /// Bars from zero; `None` where there is nothing to compare, or too much to see.
    pub(super) fn of(title: &str, values: Vec<Value>) -> Option<Self> {
        let drawn: Vec<Value> = values.into_iter().filter(|bar| bar.amount.is_finite() && bar.amount > 0.0).collect();
        let longest = drawn.iter().map(|bar| bar.amount).fold(0.0, f64::max);
        if !(2..=BARS_MAX).contains(&drawn.len()) {
            return None;
        }
        let bar = |(place, bar): (usize, Value)| {
            let width = bar.amount / longest * LONGEST;
            Bar {
                label: bar.label,
                value: bar.text,
                y: place * STEP,
                width: format!("{width:.1}"),
                share: (bar.amount / longest) as f32,
                at: format!("{:.1}", width + 206.0),
                colour: bar.series % 6,
            }
        };
        let height = drawn.len() * STEP;
        Some(Self { title: title.to_owned(), height, bars: drawn.into_iter().enumerate().map(bar).collect() })
    }
}
