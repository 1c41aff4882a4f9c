//! A chart as data, whoever draws it: lines over time, the curve over sizes, bars relative to a baseline, a metric over many
//! runs, and thinning to what a screen can show.

mod beside;
mod catalogue;
mod compare;
mod curves;
mod figure;
mod lines;
mod origin;
pub mod palette;
mod relative;
mod roof;
mod trend;

pub(crate) use self::trend::{SHORT_DAYS, padded};
pub use self::{
    beside::{bandwidth, tokens},
    catalogue::{Absent, Chart, figure_with, figures},
    compare::{compare_figure, compared_figure},
    curves::{Curve, Over, curves},
    figure::{
        Axis, Bars, Body, Dash, Figure, Group, Mark, Marker, Origin, Place, Plot, Spacing, Tint, Trace, ValueBar,
        Values,
    },
    lines::{are_several, tint_of},
    relative::{Bar, BarGroup, BarSide, GROUPS_MAX, RelativeAxis, RelativeBars, Standing},
    roof::roofline_chart,
    trend::{FIGURES_MAX, TrendChart, TrendPoint, day_label, trend_figure},
};
use crate::{
    engine::EngineId,
    measure::{Measurement, StopReason},
    record::{Entry, Run},
    units::Unit,
    workload::{Dtype, InferencePhase, MemoryOp, Workload},
};

/// A point as (x, y).
pub type Point = [f64; 2];

/// The most points that a line is drawn with; more can't be told apart on a screen.
pub const POINTS_MAX: usize = 2000;

/// A segment that grows beyond this is thinned, so that a run of any length stays small.
const SEGMENT_POINTS_MAX: usize = 4 * POINTS_MAX;

/// A line: whose, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Series {
    /// What it shows.
    pub what: What,
    /// Who did it.
    pub engine: EngineId,
}

impl Series {
    /// The line an entry is drawn as; `None` for what is no rate.
    pub fn of(entry: &Entry) -> Option<Self> {
        Some(Self { what: What::of(&entry.workload)?, engine: entry.engine })
    }

    /// The name beside the line: "f16", or "PyTorch f16" where there are several engines.
    pub fn label(self, several: bool) -> String {
        if several { format!("{} {}", self.engine.title(), self.what.label()) } else { self.what.label() }
    }
}

/// What a line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// GEMM throughput of one element type.
    Gemm(Dtype),
    /// Attention throughput of one element type.
    Attention(Dtype),
    /// Bandwidth of one operation at one size.
    Bandwidth(MemoryOp),
    /// Bandwidth of one operation over sizes.
    Sweep(MemoryOp),
    /// Tokens a second of reading prompts.
    Prefill,
    /// Tokens a second of writing.
    Decode,
    /// Tokens a second of training.
    Training,
}

impl What {
    /// What a workload is drawn as; `None` for those that are no rate.
    pub const fn of(workload: &Workload) -> Option<Self> {
        match workload {
            Workload::Gemm(gemm) => Some(Self::Gemm(gemm.dtype)),
            Workload::Attention(attention) => Some(Self::Attention(attention.dtype)),
            Workload::Bandwidth(bandwidth) => Some(Self::Bandwidth(bandwidth.op)),
            Workload::BandwidthSweep(sweep) => Some(Self::Sweep(sweep.op)),
            Workload::Inference(inference) => match inference.phase {
                InferencePhase::Prefill { .. } => Some(Self::Prefill),
                InferencePhase::Decode { .. } => Some(Self::Decode),
            },
            Workload::Training(_) => Some(Self::Training),
            Workload::TensorLimit(_) | Workload::ModelLoad(_) => None,
        }
    }

    /// Whether values of a metric are drawn on this line: of models only the headline's, which is what batches do.
    pub fn shows(self, metric: &str, unit: Unit) -> bool {
        unit == self.unit() && (unit != Unit::TokenPerSecond || metric == "throughput")
    }

    /// The name beside the line.
    pub fn label(self) -> String {
        match self {
            Self::Gemm(dtype) => dtype.to_string(),
            Self::Attention(dtype) => format!("attention {dtype}"),
            Self::Bandwidth(op) => op.to_string(),
            Self::Sweep(op) => format!("{op} by size"),
            Self::Prefill => "prefill".to_owned(),
            Self::Decode => "decode".to_owned(),
            Self::Training => "training".to_owned(),
        }
    }

    /// The unit of its values.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Gemm(_) | Self::Attention(_) => Unit::FlopPerSecond,
            Self::Bandwidth(_) | Self::Sweep(_) => Unit::BytePerSecond,
            Self::Prefill | Self::Decode | Self::Training => Unit::TokenPerSecond,
        }
    }

    /// Its place among the colours of data, where all lines are of one engine.
    pub const fn colour(self) -> usize {
        match self {
            Self::Gemm(Dtype::F32) | Self::Bandwidth(MemoryOp::Read) | Self::Sweep(MemoryOp::Read) => 0,
            Self::Gemm(Dtype::F16) | Self::Bandwidth(MemoryOp::Write) | Self::Sweep(MemoryOp::Write) => 1,
            Self::Gemm(Dtype::Bf16) | Self::Bandwidth(MemoryOp::Copy) | Self::Sweep(MemoryOp::Copy) | Self::Decode => 2,
            Self::Gemm(Dtype::Tf32) | Self::Bandwidth(MemoryOp::Triad) | Self::Sweep(MemoryOp::Triad) => 3,
            Self::Prefill | Self::Attention(Dtype::F32 | Dtype::Tf32) => 4,
            Self::Training | Self::Attention(Dtype::F16 | Dtype::Bf16) => 5,
        }
    }
}

/// An unbroken piece of line: one job's warm-up, or its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// The entry it belongs to.
    pub entry: usize,
    /// What it shows.
    pub series: Series,
    /// These values are no samples.
    pub warm_up: bool,
    /// Seconds since the run's start, and values in the unit's base.
    pub points: Vec<Point>,
}

/// Rates over the time of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    segments: Vec<Segment>,
}

impl Timeline {
    /// The timeline of a saved run, from the samples' own durations.
    pub fn of(run: &Run) -> Self {
        let mut timeline = Self::default();
        for (index, entry) in run.entries.iter().enumerate() {
            if let Some(series) = Series::of(entry) {
                timeline.add_entry(index, series, entry, run);
            }
        }
        timeline
    }

    fn add_entry(&mut self, index: usize, series: Series, entry: &Entry, run: &Run) {
        let Some(started_at) = entry.started_at else { return };
        // Preparing and tuning come before the first sample, and checking after the last; the samples end the entry.
        let sampled = |measurement: &Measurement| measurement.samples.iter().map(|sample| sample.host_s).sum::<f64>();
        let warmed = |measurement: &Measurement| measurement.warm_up.map_or(0.0, |warm_up| warm_up.seconds);
        // What is derived from the same samples took no time of its own.
        let own = |measurement: &&Measurement| {
            measurement.unit == series.what.unit()
                && !matches!(measurement.stop, StopReason::Single | StopReason::Published)
        };
        let timed = entry.measurements.iter().filter(own).map(|measurement| sampled(measurement) + warmed(measurement));
        let timed: f64 = timed.sum();
        let before = (entry.duration_s.unwrap_or(timed) - timed).max(0.0);
        let mut at = started_at.duration_since(run.started_at).as_secs_f64() + before;
        let drawn = |measurement: &&Measurement| series.what.shows(&measurement.metric, measurement.unit);
        for measurement in entry.measurements.iter().filter(drawn) {
            at += warmed(measurement);
            for sample in &measurement.samples {
                at += sample.host_s;
                self.push(index, series, [at, sample.value], false);
            }
        }
    }

    /// Adds a value of the entry at `index`.
    pub fn push(&mut self, index: usize, series: Series, point: Point, warm_up: bool) {
        if !point.iter().all(|value| value.is_finite()) {
            return;
        }
        let last = self.segments.last_mut().filter(|last| last.entry == index);
        match last {
            Some(last) if last.warm_up == warm_up => {
                last.points.push(point);
                if last.points.len() > SEGMENT_POINTS_MAX {
                    last.points = thin(&last.points, POINTS_MAX);
                }
            }
            // The samples go on where the warm-up ended, as one line in two colours.
            Some(last) => {
                let joint = last.points.last().copied();
                let points = joint.into_iter().chain([point]).collect();
                self.segments.push(Segment { entry: index, series, warm_up, points });
            }
            None => self.segments.push(Segment { entry: index, series, warm_up, points: vec![point] }),
        }
    }

    /// The pieces of all lines of `unit`, in the order of time.
    pub fn segments(&self, unit: Unit) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(move |segment| segment.series.what.unit() == unit)
    }

    /// The lines of `unit` in display order.
    pub fn series(&self, unit: Unit) -> Vec<Series> {
        let mut list: Vec<Series> = self.segments(unit).map(|segment| segment.series).collect();
        list.sort_unstable();
        list.dedup();
        list
    }
}

/// The round numbers (1, 2 or 5 times a power of ten) from `low` to `high` that make at most `most` steps.
pub fn ticks(low: f64, high: f64, most: u32) -> Vec<f64> {
    let least = (high - low) / f64::from(most.max(1));
    if !least.is_finite() || least <= 0.0 {
        return Vec::new();
    }
    let power = 10_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|step| *step >= least * (1.0 - 1e-9));
    let step = step.unwrap_or(10.0 * power);
    let places = (low / step - 1e-9).ceil() as i64..=(high / step + 1e-9).floor() as i64;
    places.map(|place| place as f64 * step).collect()
}

/// The curve of a finished sweep from the smallest array to the largest: (log₂ of the array's bytes, median).
pub fn sweep_curve(entry: &Entry) -> Vec<Point> {
    let at = |measurement: &Measurement| Some([(measurement.at_bytes? as f64).log2(), measurement.summary.median]);
    let mut curve: Vec<Point> = entry.measurements.iter().filter_map(at).collect();
    curve.sort_by(|a, b| a[0].total_cmp(&b[0]));
    curve
}

/// The loss of a training: (step, nats a token), steps counted from 1.
pub fn loss_curve(entry: &Entry) -> Vec<Point> {
    let losses = entry.measurements.iter().filter(|measurement| measurement.unit == Unit::Nat);
    let values = losses.flat_map(|measurement| &measurement.samples).map(|sample| sample.value);
    let points = values.enumerate().map(|(step, value)| [(step + 1) as f64, value]);
    points.filter(|[_, value]| value.is_finite()).collect()
}

/// The pieces with the pauses between jobs cut to `pause_s`. The x of the result is time spent measuring, in seconds.
///
/// Preparing and tuning show no rate, and on a fast device they take longer than what is measured.
pub fn without_pauses(segments: &[&Segment], pause_s: f64) -> Vec<Segment> {
    let mut kept: Vec<Segment> = Vec::with_capacity(segments.len());
    let mut offset = 0.0;
    for segment in segments {
        let (Some(first), previous) = (segment.points.first(), kept.last()) else { continue };
        if previous.is_none_or(|previous| previous.entry != segment.entry) {
            let end = previous.and_then(|previous| previous.points.last()).map_or(0.0, |last| last[0] + pause_s);
            offset = first[0] - end;
        }
        let points = segment.points.iter().map(|[x, y]| [x - offset, *y]).collect();
        kept.push(Segment { points, ..(*segment).clone() });
    }
    kept
}

/// At most `most` points that keep every visible peak: the lowest and the highest of each stretch, in order.
pub fn thin(points: &[Point], most: usize) -> Vec<Point> {
    if points.len() <= most || most < 4 {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(most / 2);
    let mut kept = Vec::with_capacity(most);
    for chunk in points.chunks(stretch) {
        let by_height = |(_, a): &(usize, &Point), (_, b): &(usize, &Point)| a[1].total_cmp(&b[1]);
        let low = chunk.iter().enumerate().min_by(by_height);
        let high = chunk.iter().enumerate().max_by(by_height);
        if let (Some((low_at, low)), Some((high_at, high))) = (low, high) {
            match low_at.cmp(&high_at) {
                std::cmp::Ordering::Less => kept.extend([*low, *high]),
                std::cmp::Ordering::Equal => kept.push(*low),
                std::cmp::Ordering::Greater => kept.extend([*high, *low]),
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn line(what: What) -> Series {
        Series { what, engine: EngineId::Wgpu }
    }

    #[test]
    fn thinning_keeps_peaks_order_and_the_limit() {
        let mut points: Vec<Point> = (0..50_000).map(|x| [f64::from(x), 1.0]).collect();
        points[31_415][1] = 9.0;
        points[27_182][1] = -9.0;
        let thinned = thin(&points, POINTS_MAX);
        assert!(thinned.len() <= POINTS_MAX);
        assert!(thinned.contains(&[31_415.0, 9.0]) && thinned.contains(&[27_182.0, -9.0]));
        assert!(thinned.is_sorted_by(|a, b| a[0] < b[0]));
        assert_eq!(thin(&points[..10], POINTS_MAX), points[..10]);
    }

    #[test]
    fn a_new_job_breaks_the_line_and_warm_up_joins_its_samples() {
        let mut timeline = Timeline::default();
        let (gemm, read) = (line(What::Gemm(Dtype::F32)), line(What::Bandwidth(MemoryOp::Read)));
        timeline.push(0, read, [0.5, 7.0], false);
        timeline.push(1, gemm, [1.0, 1.0], true);
        timeline.push(1, gemm, [2.0, 2.0], false);
        timeline.push(1, gemm, [3.0, f64::NAN], false);
        timeline.push(2, gemm, [4.0, 4.0], false);
        let pieces: Vec<_> = timeline.segments(Unit::FlopPerSecond).map(|piece| piece.points.clone()).collect();
        assert_eq!(pieces, [vec![[1.0, 1.0]], vec![[1.0, 1.0], [2.0, 2.0]], vec![[4.0, 4.0]]]);
        assert_eq!(timeline.series(Unit::BytePerSecond), [read]);
    }

    #[test]
    fn pauses_between_jobs_are_cut_and_jobs_keep_their_length() {
        let mut timeline = Timeline::default();
        let gemm = line(What::Gemm(Dtype::F32));
        for (entry, x, warm_up) in [(0, 5.0, true), (0, 6.0, false), (3, 90.0, false), (3, 92.0, false)] {
            timeline.push(entry, gemm, [x, 1.0], warm_up);
        }
        let pieces: Vec<&Segment> = timeline.segments(Unit::FlopPerSecond).collect();
        let xs: Vec<Vec<f64>> =
            without_pauses(&pieces, 0.5).iter().map(|piece| piece.points.iter().map(|p| p[0]).collect()).collect();
        assert_eq!(xs, [vec![0.0], vec![0.0, 1.0], vec![1.5, 3.5]]);
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(0.0, 155.3, 4), [0.0, 50.0, 100.0, 150.0]);
        assert_eq!(ticks(0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(0.0, 34.0, 6), [0.0, 10.0, 20.0, 30.0]);
        assert!(ticks(1.0, 1.0, 4).is_empty() && ticks(0.0, f64::NAN, 4).is_empty());
    }

    #[test]
    fn a_long_job_stays_small() {
        let mut timeline = Timeline::default();
        for x in 0..100_000 {
            timeline.push(0, line(What::Gemm(Dtype::F16)), [f64::from(x), f64::from(x % 7)], false);
        }
        assert!(timeline.segments[0].points.len() <= SEGMENT_POINTS_MAX);
    }
}
