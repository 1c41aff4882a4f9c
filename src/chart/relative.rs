//! Bars relative to a baseline: how every side of a comparison does beside it, and how sure that is.
//!
//! All bars point one way, so that a chart can hold rates and times: the value is the speed as a share of the baseline's. A rate
//! is divided by the baseline's, a time (or what memory was taken) the other way round, which a group says of itself.

use super::ticks;
use crate::{
    analysis::comparison::{Cell, Compared, Row, Verdict, Why},
    engine::EngineId,
    stats::Interval,
    units::Unit,
};

/// More groups than this are no picture; the table has them.
pub const GROUPS_MAX: usize = 16;

/// From this many times the baseline on, the axis is logarithmic.
const LINEAR_MAX: f64 = 4.0;

/// Beyond this many times the baseline, either way, a bar ends at the edge: such figures are broken or of other things.
const EDGE: f64 = 10_000.0;

/// A bar chart relative to a baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct RelativeBars {
    /// What stands side by side, in order.
    pub sides: Vec<BarSide>,
    /// The side that is 1.
    pub baseline: usize,
    /// One for each row that has a bar beside the baseline's.
    pub groups: Vec<BarGroup>,
    /// How many rows have bars and found no room.
    pub left_out: usize,
}

/// Whose bars: a run, or an engine of the one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarSide {
    /// "A", "B"; "PyTorch".
    pub label: String,
    /// The engine, which has a colour of its own; absent for runs, whose colours are those of their places.
    pub engine: Option<EngineId>,
}

/// The bars of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct BarGroup {
    /// The row's place in [`Compared::rows`].
    pub row: usize,
    /// "GEMM f16".
    pub title: String,
    /// "n = 4096".
    pub detail: String,
    /// Whose figures they are, where rows are of several engines.
    pub engine: Option<EngineId>,
    /// What was measured.
    pub unit: Unit,
    /// Less is better of this unit, so the baseline's figure was divided by the side's.
    pub inverted: bool,
    /// One for each side; absent where there is nothing that may be drawn.
    pub bars: Vec<Option<Bar>>,
}

/// One bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// The speed as a share of the baseline's: 1 is as fast, 2 twice as fast.
    pub value: f64,
    /// Its 95 % interval, where there are samples.
    pub interval: Option<Interval>,
    /// What it means.
    pub standing: Standing,
}

/// What a bar means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is what all others are held against.
    Baseline,
    /// Better, beyond noise.
    Faster,
    /// Worse, beyond noise.
    Slower,
    /// No change beyond noise is shown.
    Same,
    /// The figures are there, but don't decide: no or too few samples, or too much noise.
    Undecided,
}

/// The axis that all bars of a chart share.
#[derive(Clone, Debug, PartialEq)]
pub struct RelativeAxis {
    /// Where bars end at the bottom: 0, or above it where the axis is logarithmic.
    pub low: f64,
    /// The top.
    pub high: f64,
    /// Equal steps are equal ratios, and bars begin at 1.
    pub logarithmic: bool,
    /// Where lines are drawn, ascending.
    pub ticks: Vec<f64>,
}

impl RelativeBars {
    /// The bars of these rows of a comparison, as many as fit a picture.
    pub fn of(compared: &Compared, rows: impl IntoIterator<Item = usize>) -> Self {
        let side =
            |side: &crate::analysis::comparison::Side| BarSide { label: side.label.clone(), engine: side.engine };
        let first = compared.rows.first().and_then(|row| row.engine);
        let engines = compared.rows.iter().any(|row| row.engine != first);
        let mut chart = Self {
            sides: compared.sides.iter().map(side).collect(),
            baseline: compared.baseline,
            groups: Vec::new(),
            left_out: 0,
        };
        for place in rows {
            let Some(row) = compared.rows.get(place) else { continue };
            if !row.cells.iter().any(|cell| drawn(compared, row, cell).is_some()) {
                continue;
            }
            if chart.groups.len() == GROUPS_MAX {
                chart.left_out += 1;
            } else {
                chart.groups.push(group(compared, place, row, engines));
            }
        }
        chart
    }

    /// The axis on which every bar and interval fits.
    pub fn axis(&self) -> RelativeAxis {
        let bars = || self.groups.iter().flat_map(|group| group.bars.iter().flatten());
        // An interval far wider than its bar says nothing but that; the bar is what must be seen.
        let top = |bar: &Bar| bar.interval.map_or(bar.value, |interval| interval.high.min(bar.value * 1.5));
        let bottom = |bar: &Bar| bar.interval.map_or(bar.value, |interval| interval.low.max(bar.value / 1.5));
        let high = bars().map(top).fold(1.0, f64::max).min(EDGE);
        let low = bars().map(bottom).fold(1.0, f64::min).max(1.0 / EDGE);
        if high <= LINEAR_MAX {
            let high = (high * 1.05).max(1.2);
            return RelativeAxis { low: 0.0, high, logarithmic: false, ticks: ticks(0.0, high, 5) };
        }
        let (low, high) = (low / 1.15, high * 1.15);
        let powers = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
        let digits: &[f64] = if high / low < 30.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let all = powers.flat_map(|power| digits.iter().map(move |digit| digit * 10_f64.powi(power)));
        let ticks = all.filter(|tick| (low..=high).contains(tick)).collect();
        RelativeAxis { low, high, logarithmic: true, ticks }
    }
}

impl RelativeAxis {
    /// Where a value lies between the bottom, 0, and the top, 1.
    pub fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.logarithmic { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let (low, high) = (scale(self.low), scale(self.high));
        ((scale(value) - low) / (high - low)).clamp(0.0, 1.0)
    }

    /// Where bars begin: nothing at all, or the baseline.
    pub fn origin(&self) -> f64 {
        if self.logarithmic { 1.0 } else { 0.0 }
    }
}

fn group(compared: &Compared, place: usize, row: &Row, engines: bool) -> BarGroup {
    let base = Bar { value: 1.0, interval: None, standing: Standing::Baseline };
    let bar = |(side, cell): (usize, &Cell)| {
        if side == compared.baseline { cell.figure.map(|_| base) } else { drawn(compared, row, cell) }
    };
    BarGroup {
        row: place,
        title: row.title(),
        detail: row.parameters(),
        engine: row.engine.filter(|_| engines),
        unit: row.unit,
        inverted: !row.higher_is_better(),
        bars: row.cells.iter().enumerate().map(bar).collect(),
    }
}

/// The bar of a side that isn't the baseline. What must not be held against the baseline has none.
fn drawn(compared: &Compared, row: &Row, cell: &Cell) -> Option<Bar> {
    let (value, interval) = compared.speed(row, cell)?;
    let standing = match cell.verdict.as_ref()? {
        Verdict::Faster => Standing::Faster,
        Verdict::Slower => Standing::Slower,
        Verdict::Same => Standing::Same,
        Verdict::NotComparable(
            Why::Marked(_) | Why::Precision(..) | Why::Units(..) | Why::Missing(_) | Why::Invalid,
        ) => {
            return None;
        }
        Verdict::NotComparable(_) => Standing::Undecided,
    };
    (value.is_finite() && value > 0.0).then_some(Bar { value, interval, standing })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::comparison::Options,
        record::{Run, reference},
    };

    fn engines(lead: EngineId) -> RelativeBars {
        let run = reference().unwrap();
        let compared = Compared::of_engines(&run, Some(lead), Options::default()).unwrap();
        RelativeBars::of(&compared, 0..compared.rows.len())
    }

    fn side(bars: &RelativeBars, engine: EngineId) -> usize {
        bars.sides.iter().position(|side| side.engine == Some(engine)).unwrap()
    }

    #[test]
    fn a_rate_is_a_share_of_the_baseline_s() {
        let bars = engines(EngineId::Pytorch);
        let (torch, mlx) = (side(&bars, EngineId::Pytorch), side(&bars, EngineId::Mlx));
        assert_eq!(bars.baseline, torch);
        // The document's PyTorch ÷ MLX is 3.82× in f16 at 4096: MLX is at 26 %.
        let f16 = |group: &&BarGroup| group.title == "GEMM f16" && group.detail.contains("4096");
        let group = bars.groups.iter().find(f16).unwrap();
        assert_eq!(group.bars[torch].unwrap().value, 1.0);
        let bar = group.bars[mlx].unwrap();
        assert!((bar.value - 1.0 / 3.82).abs() < 0.001, "{bar:?}");
        assert_eq!((bar.interval, bar.standing), (None, Standing::Undecided), "published figures have no samples");
        assert!(!group.inverted);
    }

    #[test]
    fn a_time_is_turned_round_and_the_rest_is_counted() {
        let run = reference().unwrap();
        let slower = |factor: f64| -> Run {
            let mut slower = run.clone();
            for measurement in slower.entries.iter_mut().flat_map(|entry| &mut entry.measurements) {
                measurement.summary.median *= factor;
                measurement.samples.clear();
            }
            slower
        };
        let (base, other) = (slower(1.0), slower(2.0));
        let options = Options { all_metrics: true, ..Options::default() };
        let compared = Compared::of_runs(&[&base, &other], 0, options).unwrap();
        let rows = compared.rows.len();
        let of = |unit: Unit| (0..rows).filter(|row| compared.rows[*row].unit == unit).collect::<Vec<_>>();
        let rates = RelativeBars::of(&compared, of(Unit::FlopPerSecond));
        assert!(rates.groups.iter().all(|group| !group.inverted && group.bars[1].unwrap().value == 2.0));
        let times = RelativeBars::of(&compared, of(Unit::Second));
        assert!(!times.groups.is_empty());
        assert!(times.groups.iter().all(|group| group.inverted && group.bars[1].unwrap().value == 0.5));
        let all = RelativeBars::of(&compared, 0..rows + 5);
        assert_eq!(all.groups.len(), GROUPS_MAX);
        assert!(all.left_out > 0 && all.left_out <= rows - GROUPS_MAX);
    }

    #[test]
    fn the_axis_holds_every_bar() {
        let chart = |values: &[f64]| {
            let bar = |value: &f64| Some(Bar { value: *value, interval: None, standing: Standing::Same });
            let group = BarGroup {
                row: 0,
                title: String::new(),
                detail: String::new(),
                engine: None,
                unit: Unit::Second,
                inverted: true,
                bars: values.iter().map(bar).collect(),
            };
            RelativeBars { sides: Vec::new(), baseline: 0, groups: vec![group], left_out: 0 }
        };
        let axis = chart(&[1.0, 0.5, 1.4]).axis();
        assert!(!axis.logarithmic && axis.low == 0.0 && axis.high >= 1.4 && axis.ticks.contains(&1.0), "{axis:?}");
        assert_eq!(axis.place(0.0), 0.0);
        let axis = chart(&[1.0, 0.02, 180.0]).axis();
        assert!(axis.logarithmic && axis.low < 0.02 && axis.high > 180.0 && axis.ticks.contains(&1.0), "{axis:?}");
        assert!(axis.place(1.0) > 0.3 && axis.place(1.0) < 0.6);
        let axis = chart(&[1.0, 1e300, f64::MIN_POSITIVE]).axis();
        assert!(axis.high <= 1.2 * EDGE && axis.ticks.len() < 20, "{axis:?}");
        assert_eq!((axis.place(1e300), axis.place(0.0)), (1.0, 0.0));
        assert!(chart(&[]).axis().ticks.contains(&1.0));
    }
}
