//! One metric over many runs as a chart: figures by date, with their intervals.

use jiff::{Timestamp, tz::TimeZone};

use super::{Axis, Body, Chart, Marker, Plot, Point, Spacing, Tint, Trace, Values, ticks};
use crate::{
    record::{Figure, Metric},
    units::number,
};

/// So many figures are drawn; of more, the newest.
pub const FIGURES_MAX: usize = 10_000;

/// One figure: where it stands, how wide its interval is, and whether it is doubted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrendPoint {
    /// Days since the first, and the median in the unit's base.
    pub at: Point,
    /// The 95 % interval of the median.
    pub interval: Option<(f64, f64)>,
    /// It has a mark.
    pub doubted: bool,
    /// It may never stand beside others.
    pub barred: bool,
    /// Its place among the figures.
    pub place: usize,
}

/// A chart of a metric over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrendChart {
    /// The figures, oldest first.
    pub points: Vec<TrendPoint>,
    /// The second since 1970 that the days are counted from.
    pub start_s: i64,
    /// The last day.
    pub days: f64,
    /// The lowest and the highest value that the chart has to hold, zero included where it is near.
    pub range: (f64, f64),
    /// Figures that are too far from all others to be drawn with them.
    pub outside: usize,
}

/// Figures so many times higher than the median of all say nothing on a common scale: they are counted, not drawn.
const OUTSIDE: f64 = 1000.0;

impl TrendChart {
    /// The chart of `figures`, which are sorted by time.
    pub fn of(figures: &[Figure]) -> Self {
        let skipped = figures.len().saturating_sub(FIGURES_MAX);
        let shown = figures.get(skipped..).unwrap_or_default();
        let Some(first) = shown.first() else { return Self::default() };
        let start_s = first.at.as_second();
        let mut sizes: Vec<f64> = shown.iter().map(|figure| figure.median.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        let usual = sizes.get(sizes.len() / 2).copied().unwrap_or_default();
        let fits = |value: f64| value.is_finite() && (usual == 0.0 || value.abs() <= usual * OUTSIDE);
        let point = |(place, figure): (usize, &Figure)| TrendPoint {
            at: [(figure.at.as_second() - start_s) as f64 / 86_400.0, figure.median],
            interval: figure.interval.filter(|(low, high)| fits(*low) && fits(*high)),
            doubted: !figure.marks.is_empty(),
            barred: figure.marks.iter().any(|mark| mark.bars_from_ranking()),
            place: place + skipped,
        };
        let points: Vec<TrendPoint> = shown.iter().enumerate().map(point).filter(|point| fits(point.at[1])).collect();
        let outside = shown.len() - points.len();
        let ends = points.iter().flat_map(|point| {
            let (low, high) = point.interval.unwrap_or((point.at[1], point.at[1]));
            [low.min(point.at[1]), high.max(point.at[1])]
        });
        let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
        let days = points.last().map_or(0.0, |last| last.at[0]);
        Self { points, start_s, days, range: padded(low, high), outside }
    }

    /// The point nearest to a place, by a distance that `of` measures.
    pub fn nearest(&self, of: impl Fn(&TrendPoint) -> f32) -> Option<(&TrendPoint, f32)> {
        let distances = self.points.iter().map(|point| (point, of(point)));
        distances.min_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    /// Days from the start at which there is a mark at the axis, at most so many: whole ones, unless there are few.
    pub fn day_marks(&self, most: u32) -> Vec<f64> {
        let days = ticks(0.0, self.days.max(1.0 / 24.0), most);
        // Not beyond the room beside the last figure.
        let end = self.days + (self.days * 0.03).max(0.02);
        days.into_iter().filter(|day| *day <= end && (self.is_short() || day.fract() == 0.0)).collect()
    }

    /// All of it is from two days: the hours tell more than the date.
    pub fn is_short(&self) -> bool {
        self.days < SHORT_DAYS
    }

    /// How many of `figures` there are, and what isn't seen of them. `doubted` is how those in doubt are told from the others.
    pub fn summary(&self, figures: &[Figure], doubted: &str) -> String {
        let count = |figures: usize| if figures < 10_000 { figures.to_string() } else { number(figures as f64) };
        let in_doubt = self.points.iter().filter(|point| point.doubted).count();
        let older = figures.len().saturating_sub(self.points.len() + self.outside);
        let of = |some: usize, what: &str| (some > 0).then(|| format!("{} {what}", count(some)));
        let first =
            if figures.len() == 1 { "1 figure".to_owned() } else { format!("{} figures", count(figures.len())) };
        let rest = [
            of(in_doubt, &format!("in doubt, {doubted}")),
            of(older, "older ones are not drawn"),
            of(self.outside, "far beyond all others are not drawn"),
            Some("lines are 95 % intervals of the median".to_owned()),
        ];
        std::iter::once(first).chain(rest.into_iter().flatten()).collect::<Vec<_>>().join(" · ")
    }
}

/// Less than so many days are marked by the hour.
pub(crate) const SHORT_DAYS: f64 = 2.0;

/// "12 Nov 2026", or "12 Nov 14:02" where little time is shown, so many days after a second since 1970; here, not in Greenwich.
pub fn day_label(start_s: i64, days: f64, is_short: bool) -> String {
    let at = Timestamp::from_second(start_s.saturating_add((days * 86_400.0) as i64)).ok();
    let at = at.map(|at| at.to_zoned(TimeZone::system()));
    let format = if is_short { "%-d %b %H:%M" } else { "%-d %b %Y" };
    at.map_or_else(String::new, |at| at.strftime(format).to_string())
}

/// The chart as a figure for a picture; `None` where there is no figure. `figures` are sorted by time.
pub fn trend_figure(metric: &Metric, figures: &[Figure]) -> Option<super::Figure> {
    let chart = TrendChart::of(figures);
    let trace = |label: &str, tint, marker, wanted: (bool, bool)| {
        let own = || chart.points.iter().filter(move |point| (point.doubted, point.barred) == wanted);
        let range = |point: &TrendPoint| point.interval.map(|(low, high)| [point.at[0], low, high]);
        Trace {
            label: label.to_owned(),
            tint,
            dash: None,
            marker: Some(marker),
            points: own().map(|point| point.at).collect(),
            ranges: own().filter_map(range).collect(),
        }
    };
    let engine = metric.engine;
    let traces = [
        trace(engine.title(), Tint::of(engine), Marker::of(engine), (false, false)),
        trace("in doubt", Tint::Faint, Marker::of(engine), (true, false)),
        trace("not comparable", Tint::Bad, Marker::Plus, (true, true)),
    ];
    let traces: Vec<Trace> = traces.into_iter().filter(|trace| !trace.points.is_empty()).collect();
    let summary = chart.summary(figures, "grey or crossed");
    let about = [metric.parameters.as_str(), engine.title(), metric.device.as_str(), summary.as_str()];
    let about: Vec<&str> = about.into_iter().filter(|part| !part.is_empty()).collect();
    let y = Axis { label: String::new(), values: Values::Of(metric.unit), spacing: Spacing::Fitted };
    let x = Axis { label: String::new(), values: Values::Days(chart.start_s), spacing: Spacing::Fitted };
    (!traces.is_empty()).then(|| super::Figure {
        name: Chart::Trend.id(),
        title: format!("{} over time", metric.title),
        note: about.join(" · "),
        body: Body::Plot(Plot { x, y, traces, marks: Vec::new() }),
        // Up to ten thousand runs; their machine and number are in the note.
        origins: Vec::new(),
    })
}

/// Room above and below; from zero on where the values come near it.
pub(crate) fn padded(low: f64, high: f64) -> (f64, f64) {
    if !(low.is_finite() && high.is_finite()) {
        return (0.0, 1.0);
    }
    let span = (high - low).max(high.abs().max(low.abs()) * 0.02).max(f64::MIN_POSITIVE);
    let near_zero = low >= 0.0 && low < high * 0.4;
    (if near_zero { 0.0 } else { low - 0.15 * span }, high + 0.15 * span)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::record::MarkKind;

    fn figure(day: i64, median: f64) -> Figure {
        let interval = Some((median * 0.99, median * 1.01));
        let at = Timestamp::from_second(1_700_000_000 + day * 86_400).unwrap();
        Figure { path: format!("/runs/{day}.json").into(), at, median, interval, marks: Vec::new() }
    }

    #[test]
    fn figures_stand_by_date_with_their_doubts() {
        let mut figures: Vec<Figure> = (0..5).map(|day| figure(day * 2, 100.0 + day as f64)).collect();
        figures[3].marks = vec![MarkKind::Throttled];
        figures[4].marks = vec![MarkKind::Implausible];
        let chart = TrendChart::of(&figures);
        assert_eq!(chart.points.iter().map(|point| point.at[0]).collect::<Vec<_>>(), [0.0, 2.0, 4.0, 6.0, 8.0]);
        let doubts: Vec<_> = chart.points.iter().map(|point| (point.doubted, point.barred)).collect();
        assert_eq!(doubts[2..], [(false, false), (true, false), (true, true)]);
        assert!(chart.range.0 > 90.0 && chart.range.0 < 99.0 && chart.range.1 > 105.0);
        assert_eq!(chart.day_marks(4), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(chart.nearest(|point| (point.at[0] - 5.9).abs() as f32).unwrap().0.place, 3);
    }

    #[test]
    fn absurd_figures_are_counted_and_many_are_the_newest() {
        let mut figures: Vec<Figure> = (0..9).map(|day| figure(day, 3.0)).collect();
        (figures[2].median, figures[4].median, figures[5].interval) = (1e300, -1e300, Some((-1e300, 1e300)));
        let chart = TrendChart::of(&figures);
        assert_eq!((chart.points.len(), chart.outside), (7, 2));
        assert!(chart.range.0 >= 0.0 && chart.range.1 < 4.0, "{:?}", chart.range);
        let many: Vec<Figure> = (0..11_000).map(|day| figure(day, 3.0)).collect();
        let chart = TrendChart::of(&many);
        assert_eq!((chart.points.len(), chart.points[0].place), (FIGURES_MAX, 1000));
        assert_eq!(TrendChart::of(&[]), TrendChart::default());
        let mut hour = [figure(0, 3.0), figure(0, 3.0)];
        hour[1].at = Timestamp::from_second(1_700_000_600).unwrap();
        let (near, last) = (TrendChart::of(&hour), 600.0 / 86_400.0);
        assert!(near.day_marks(6).iter().all(|day| *day <= last + 0.02), "{:?}", near.day_marks(6));
        let one = TrendChart::of(&[figure(0, 0.0)]);
        assert!(one.range.1 > one.range.0 && one.points.len() == 1);
    }
}
