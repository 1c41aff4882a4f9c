//! Curves and lines of a run as figures.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Axis, Body, Dash, Marker, Over, Plot, Point, Segment, Series, Spacing, Timeline, Tint, Trace, Values, What,
    beside::Found, curves, loss_curve, without_pauses,
};
use crate::{
    engine::EngineId,
    measure::Measurement,
    record::{Entry, Outcome, Run},
    units::Unit,
    workload::Workload,
};

/// What is left of the pauses between jobs, in seconds.
const PAUSE_S: f64 = 0.4;

/// More lines than this can't be told apart.
const TRACES_MAX: usize = 30;

/// The lines are of more than one engine.
pub fn are_several(series: &[Series]) -> bool {
    series.first().is_some_and(|first| series.iter().any(|series| series.engine != first.engine))
}

/// The colour of a line: the engine's where there are several.
pub fn tint_of(series: Series, several: bool) -> Tint {
    if several { Tint::of(series.engine) } else { Tint::Data(series.what.colour()) }
}

fn axis(label: &str, values: Values, spacing: Spacing) -> Axis {
    Axis { label: label.to_owned(), values, spacing }
}

fn plot(note: String, x: Axis, y: Axis, mut traces: Vec<Trace>) -> Found {
    traces.retain(|trace| !trace.points.is_empty());
    traces.truncate(TRACES_MAX);
    (!traces.is_empty()).then(|| (note, Body::Plot(Plot { x, y, traces, marks: Vec::new() })))
}

/// All types on one chart.
pub(super) fn gemm(run: &Run) -> Found {
    curves_plot(run, &[Over::Singles, Over::Halves])
}

/// Rates over sizes.
pub(super) fn curves_plot(run: &Run, over: &[Over]) -> Found {
    let mut found: Vec<_> = over.iter().flat_map(|over| curves(run, *over)).collect();
    found.sort_by_key(|curve| (curve.series.engine, curve.series.what));
    let series: Vec<Series> = found.iter().map(|curve| curve.series).collect();
    let several = are_several(&series);
    let trace = |curve: super::Curve| Trace {
        label: curve.series.label(several),
        tint: tint_of(curve.series, several),
        dash: Some(if several { Dash::of(curve.series.what) } else { Dash::Solid }),
        marker: Some(if several { Marker::of(curve.series.engine) } else { Marker::Circle }),
        points: curve.points.iter().map(|[x, y]| [x.exp2().round(), *y]).collect(),
        ranges: curve.ranges.iter().map(|[x, low, high]| [x.exp2().round(), *low, *high]).collect(),
    };
    let label =
        if over == [Over::Sequence] { "Positions of the sequence" } else { "Rows and columns of the matrices (n)" };
    let x = axis(label, Values::Count, Spacing::Log2);
    let y = axis("Rate", Values::Of(Unit::FlopPerSecond), Spacing::Linear);
    plot(String::new(), x, y, found.into_iter().map(trace).collect())
}

/// Bandwidth over the sizes of arrays, one line a sweep.
pub(super) fn sweeps(run: &Run) -> Found {
    let done = |entry: &&Entry| {
        entry.outcome == Outcome::Done && matches!(entry.workload, Workload::BandwidthSweep(_)) && entry.is_ranked()
    };
    let entries: Vec<&Entry> = run.entries.iter().filter(done).collect();
    let series: Vec<Series> = entries.iter().filter_map(|entry| Series::of(entry)).collect();
    let several = are_several(&series);
    let trace = |entry: &&Entry| {
        let own = Series::of(entry)?;
        let mut points: Vec<(Point, Option<[f64; 3]>)> = entry.measurements.iter().filter_map(sized).collect();
        points.sort_by(|a, b| a.0[0].total_cmp(&b.0[0]));
        let name = match (own.what, several) {
            (What::Sweep(op), false) => op.to_string(),
            (What::Sweep(op), true) => format!("{} {op}", own.engine.title()),
            _ => own.label(several),
        };
        Some(Trace {
            label: name,
            tint: tint_of(own, several),
            dash: Some(if several { Dash::of(own.what) } else { Dash::Solid }),
            marker: Some(if several { Marker::of(own.engine) } else { Marker::Circle }),
            points: points.iter().map(|(point, _)| *point).collect(),
            ranges: points.iter().filter_map(|(_, range)| *range).collect(),
        })
    };
    let x = axis("Size of the array", Values::Bytes, Spacing::Log2);
    let y = axis("Bandwidth", Values::Of(Unit::BytePerSecond), Spacing::Linear);
    plot(String::new(), x, y, entries.iter().filter_map(trace).collect())
}

fn sized(measurement: &Measurement) -> Option<(Point, Option<[f64; 3]>)> {
    let (x, y) = (measurement.at_bytes.filter(|bytes| *bytes > 0)? as f64, measurement.summary.median);
    let range = measurement.summary.interval.map(|interval| [x, interval.low, interval.high]);
    y.is_finite().then(|| ([x, y], range.filter(|range| range.iter().all(|end| end.is_finite()))))
}

/// The loss of every training over its steps.
pub(super) fn losses(run: &Run) -> Found {
    let trained = |entry: &&Entry| matches!(entry.workload, Workload::Training(_)) && !loss_curve(entry).is_empty();
    let entries: Vec<&Entry> = run.entries.iter().filter(trained).collect();
    let engines: BTreeSet<EngineId> = entries.iter().map(|entry| entry.engine).collect();
    let distinct = engines.len() == entries.len();
    let single = entries.len() == 1;
    let labels = entries.iter().map(|entry| match distinct {
        _ if single => String::new(),
        true => entry.engine.title().to_owned(),
        // Batch and length stand in the title.
        false => [entry.engine.title(), &entry.workload.title(), &entry.workload.parameters()].join(" "),
    });
    let labels = told_apart(labels.collect());
    let trace = |(place, entry): (usize, &&Entry)| Trace {
        label: labels.get(place).cloned().unwrap_or_default(),
        tint: if distinct { Tint::of(entry.engine) } else { Tint::Data(place) },
        dash: Some(Dash::Solid),
        marker: None,
        points: loss_curve(entry),
        ranges: Vec::new(),
    };
    let note = match (entries.as_slice(), engines.first()) {
        ([entry], Some(engine)) => {
            format!("{} · {} · {}", engine.title(), entry.workload.title(), entry.workload.parameters())
        }
        _ => String::new(),
    };
    let x = axis("Step", Values::Count, Spacing::Linear);
    let y = axis("Loss, a token", Values::Of(Unit::Nat), Spacing::Linear);
    plot(note, x, y, entries.iter().enumerate().map(trace).collect())
}

/// The same names, with a number where one was there before.
fn told_apart(names: Vec<String>) -> Vec<String> {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let number = |name: String| {
        let count = known.entry(name.clone()).or_default();
        *count += 1;
        if *count > 1 && !name.is_empty() { format!("{name} ({count})") } else { name }
    };
    names.into_iter().map(number).collect()
}

/// Rates of one unit over the time spent measuring.
pub(super) fn timeline(run: &Run, unit: Unit) -> Found {
    let timeline = Timeline::of(run);
    // A sweep has a chart of its own; its caches would only press the other lines down here.
    let shown: Vec<&Segment> =
        timeline.segments(unit).filter(|segment| !matches!(segment.series.what, What::Sweep(_))).collect();
    let mut series = timeline.series(unit);
    series.retain(|series| !matches!(series.what, What::Sweep(_)));
    let several = are_several(&series);
    let segments = without_pauses(&shown, PAUSE_S);
    let mut traces: Vec<Trace> = Vec::new();
    let mut named = BTreeSet::new();
    for series in series {
        for segment in segments.iter().filter(|segment| segment.series == series) {
            let label = series.label(several);
            traces.push(Trace {
                label: if named.insert(label.clone()) { label } else { String::new() },
                tint: tint_of(series, several),
                dash: Some(if several { Dash::of(series.what) } else { Dash::Solid }),
                marker: (several && segment.points.len() < 2).then(|| Marker::of(series.engine)),
                points: super::thin(&segment.points, super::POINTS_MAX),
                ranges: Vec::new(),
            });
        }
    }
    traces.retain(|trace| !trace.points.is_empty());
    traces.truncate(SEGMENTS_MAX);
    let label = match unit {
        Unit::FlopPerSecond => "Rate",
        Unit::BytePerSecond => "Bandwidth",
        _ => "Speed",
    };
    let x = axis("Time measured", Values::Of(Unit::Second), Spacing::Linear);
    let y = axis(label, Values::Of(unit), Spacing::Linear);
    (!traces.is_empty()).then(|| (String::new(), Body::Plot(Plot { x, y, traces, marks: Vec::new() })))
}

/// A run of thousands of entries draws so many of them.
const SEGMENTS_MAX: usize = 600;
