//! The roofline of a run's device as a figure: what bandwidth and arithmetic allow, and what the workloads reach.

use std::collections::BTreeMap;

use super::{
    Axis, Body, Chart, Dash, Mark, Marker, Place, Plot, Point, Spacing, Tint, Trace, Values, What, beside::Found,
};
use crate::{
    analysis::{Point as Reached, Roof, Roofline, frameworks::Place as Device, rooflines},
    engine::EngineId,
    record::Run,
    units::{Quantity, Unit},
};

/// More names than this are no help.
const NAMES_MAX: usize = 24;
/// More points than this are one stain.
const POINTS_MAX: usize = 2000;

/// The roofline of the device that counts most: an accelerator before the processor, the one with most workloads.
pub(super) fn main(run: &Run) -> Found {
    let all = rooflines(run);
    let main = main_of(&all)?;
    figure(run, main)
}

/// The processor's, where it isn't the main one.
pub(super) fn processor(run: &Run) -> Found {
    let all = rooflines(run);
    let main = main_of(&all)?;
    let own = all.iter().find(|roofline| roofline.place == Device::Processor && roofline.place != main.place)?;
    figure(run, own)
}

/// What the chart of one of a run's devices is called; `None` for those that have no name of their own.
pub fn roofline_chart(all: &[Roofline], one: &Roofline) -> Option<Chart> {
    match main_of(all) {
        Some(main) if main.place == one.place => Some(Chart::Roofline),
        Some(_) if one.place == Device::Processor => Some(Chart::RooflineProcessor),
        _ => None,
    }
}

fn main_of(all: &[Roofline]) -> Option<&Roofline> {
    let rank = |roofline: &&Roofline| {
        let kind = match roofline.place {
            Device::Accelerator(_) => 2,
            Device::Processor => 1,
            Device::Emulated(_) => 0,
        };
        (kind, roofline.points.len())
    };
    all.iter().max_by_key(rank)
}

fn figure(run: &Run, roofline: &Roofline) -> Found {
    let [[low, high], _] = roofline.extent()?;
    let roofs = roofline.roofs();
    // A slope without a level ends a little above everything else, not in the sky.
    let peaks = roofs.iter().filter_map(|roof| roof.peak).chain(roofline.points.iter().map(|point| point.rate));
    let top = peaks.fold(0.0, f64::max) * 2.0;
    let end = |roof: &Roof| match roof.bandwidth {
        Some(bandwidth) if roof.peak.is_none() && top > 0.0 => high.min(top / bandwidth).max(low * 10.0),
        _ => high,
    };
    let mut traces: Vec<Trace> = roofs.iter().map(|roof| roof_trace(roof, low, end(roof))).collect();
    traces.extend(point_traces(roofline));
    traces.retain(|trace| !trace.points.is_empty());
    let plot = Plot {
        x: Axis { label: "Arithmetic intensity".to_owned(), values: Values::Intensity, spacing: Spacing::Log10 },
        y: Axis { label: "Rate".to_owned(), values: Values::Of(Unit::FlopPerSecond), spacing: Spacing::Log10 },
        marks: marks(run, roofline),
        traces,
    };
    (!plot.traces.is_empty()).then(|| (note(roofline), Body::Plot(plot)))
}

/// "Apple M5 · memory: 119.0 GB/s measured, 153.6 GB/s theoretical".
fn note(roofline: &Roofline) -> String {
    let memory = &roofline.memory;
    let measured = memory.measured.map(|best| (best.rate, "measured"));
    let published = memory.published.map(|rate| (rate, "theoretical"));
    let rates = [measured, published].into_iter().flatten();
    let rates: Vec<String> =
        rates.map(|(rate, source)| format!("{} {source}", Quantity::new(rate, Unit::BytePerSecond))).collect();
    let memory = if rates.is_empty() { String::new() } else { format!(" · memory: {}", rates.join(", ")) };
    format!("{}{memory}", roofline.place.label())
}

/// The measured roofs as text, those of a data sheet in the background; the kind of line is the element type's.
fn roof_trace(roof: &Roof, low: f64, high: f64) -> Trace {
    let peak = roof.peak.map(|peak| Quantity::new(peak, Unit::FlopPerSecond).to_string());
    let what = match (roof.dtype, peak) {
        (Some(dtype), Some(peak)) => format!("{dtype} {peak}"),
        _ => "memory".to_owned(),
    };
    Trace {
        label: format!("{what}, {}", roof.source()),
        tint: if roof.published { Tint::Faint } else { Tint::Ink },
        dash: Some(roof.dtype.map_or(Dash::Solid, |dtype| Dash::of(What::Gemm(dtype)))),
        marker: None,
        points: roof.line(low, high),
        ranges: Vec::new(),
    }
}

/// One kind of points an engine; what is doubted stands apart.
fn point_traces(roofline: &Roofline) -> Vec<Trace> {
    let mut points: BTreeMap<(bool, EngineId), Vec<Point>> = BTreeMap::new();
    for point in roofline.points.iter().take(POINTS_MAX) {
        points.entry((point.doubted, point.engine)).or_default().push([point.intensity, point.rate]);
    }
    let trace = |((doubted, engine), points): ((bool, EngineId), Vec<Point>)| Trace {
        label: if doubted { format!("{}, doubted", engine.title()) } else { engine.title().to_owned() },
        tint: if doubted { Tint::Faint } else { Tint::of(engine) },
        dash: None,
        marker: Some(Marker::of(engine)),
        points,
        ranges: Vec::new(),
    };
    points.into_iter().map(trace).collect()
}

/// The name of each kind of work at the fastest point of it.
fn marks(run: &Run, roofline: &Roofline) -> Vec<Mark> {
    let mut best: Vec<(String, &Reached)> = Vec::new();
    for point in &roofline.points {
        let Some(entry) = run.entries.get(point.entry) else { continue };
        let title = entry.workload.title();
        if let Some((_, fastest)) = best.iter_mut().find(|(known, _)| *known == title) {
            *fastest = if fastest.rate < point.rate { point } else { fastest };
        } else if best.len() < NAMES_MAX {
            best.push((title, point));
        }
    }
    let mark = |(label, point): (String, &Reached)| Mark {
        label,
        at: Place::Point([point.intensity, point.rate]),
        tint: if point.doubted { Tint::Faint } else { Tint::of(point.engine) },
        marker: Marker::of(point.engine),
    };
    best.into_iter().map(mark).collect()
}
