//! Engines beside each other as bars, for the window, pictures and reports alike.

use super::{Bars, Body, Group, Marker, Tint, ValueBar};
use crate::{
    analysis::{
        Comparison,
        frameworks::{Cell, Column, Figure, ModelColumn, ModelGroup, ModelRow, Row},
    },
    record::{Entry, Run},
    units::{Quantity, Unit},
    workload::{Dtype, InferencePhase, Workload, WorkloadKind},
};

/// What a figure shows, and what must be known of it.
pub(super) type Found = Option<(String, Body)>;

/// More groups than this are no picture; tables have them all.
const GROUPS_MAX: usize = 40;
/// More bars in a group than this are none either.
const BARS_MAX: usize = 24;

/// Bandwidth of each operation: one group a row of the comparison.
pub fn bandwidth(comparison: &Comparison) -> Vec<Group> {
    let rows = comparison.rows.iter().filter(|row| row.workload.kind() == WorkloadKind::Bandwidth);
    let group = |row: &Row| {
        let cells = row.cells.iter().enumerate().filter_map(|(column, cell)| Some((column, cell.as_ref()?)));
        let bar = |(column, cell): (usize, &Cell)| {
            let column = comparison.columns.get(column)?;
            let figure = cell.figure?;
            Some(ValueBar {
                best: cell.best,
                barred: cell.barred.clone(),
                ..bar_of(column, column.place.label(), &figure)?
            })
        };
        let op = match &row.workload {
            Workload::Bandwidth(bandwidth) => bandwidth.op.to_string(),
            other => other.title(),
        };
        Group { title: format!("{op} · {}", row.workload.parameters()), bars: cells.filter_map(bar).collect() }
    };
    rows.map(group).filter(|group| !group.bars.is_empty()).collect()
}

/// Tokens a second of one task, model by model of as many bits.
pub fn tokens(comparison: &Comparison, task: ModelColumn) -> Vec<Group> {
    let groups = comparison.models.iter().filter_map(|group| model_group(comparison, group, task));
    groups.filter(|group| !group.bars.is_empty()).collect()
}

fn model_group(comparison: &Comparison, group: &ModelGroup, task: ModelColumn) -> Option<Group> {
    let title = match task {
        ModelColumn::Prefill => group.prefill.as_ref(),
        ModelColumn::Decode => group.decode.as_ref(),
        _ => group.training.as_ref(),
    }?;
    let bar = |row: &ModelRow| {
        let slot = row.slot(task);
        let column = comparison.columns.get(row.column)?;
        Some(ValueBar {
            best: slot.best,
            barred: row.barred.clone(),
            ..bar_of(column, row.model_label(), &slot.figure?)?
        })
    };
    let several = comparison.columns.iter().any(|column| column.place != group.place);
    let place = if several { format!(" · {}", group.place.label()) } else { String::new() };
    let title = format!("{title} · {} bits{place}", group.bits);
    Some(Group { title, bars: group.rows.iter().filter_map(bar).collect() })
}

fn bar_of(column: &Column, detail: String, figure: &Figure) -> Option<ValueBar> {
    let range = [figure.low, figure.high];
    let is_range = range.iter().all(|end| end.is_finite()) && figure.high > figure.low;
    (figure.value.is_finite() && figure.value >= 0.0).then(|| ValueBar {
        label: column.engine.title().to_owned(),
        detail,
        value: figure.value,
        text: figure.text(),
        range: is_range.then_some(range),
        tint: Tint::of(column.engine),
        marker: Some(Marker::of(column.engine)),
        best: false,
        barred: None,
    })
}

fn found(unit: Unit, what: &str, groups: Vec<Group>) -> Found {
    let shown = groups.len().min(GROUPS_MAX);
    let bars_left = groups.iter().map(|group| group.bars.len().saturating_sub(BARS_MAX)).sum::<usize>();
    let groups_left = groups.len() - shown;
    let cut = |group: Group| Group { bars: group.bars.into_iter().take(BARS_MAX).collect(), ..group };
    let groups: Vec<Group> = groups.into_iter().take(GROUPS_MAX).map(cut).collect();
    let bars = || groups.iter().flat_map(|group| &group.bars);
    let most = bars().map(|bar| bar.value).fold(0.0, f64::max);
    let mut notes = vec![what.to_owned()];
    notes.extend(bars().any(|bar| bar.barred.is_some()).then(|| "hollow: shown, not compared".to_owned()));
    if bars_left + groups_left > 0 {
        notes.push("the rest is in the tables".to_owned());
    }
    notes.retain(|note| !note.is_empty());
    let label = unit.scale_for(most).name.to_owned();
    (!groups.is_empty())
        .then(|| (notes.join(" · "), Body::Bars(Bars { label, groups, level: None, logarithmic: false })))
}

pub(super) fn bandwidth_bars(comparison: &Comparison) -> Found {
    found(Unit::BytePerSecond, "", bandwidth(comparison))
}

pub(super) fn prefill(comparison: &Comparison) -> Found {
    found(Unit::TokenPerSecond, "", tokens(comparison, ModelColumn::Prefill))
}

pub(super) fn decode(comparison: &Comparison) -> Found {
    found(Unit::TokenPerSecond, "", tokens(comparison, ModelColumn::Decode))
}

pub(super) fn training(comparison: &Comparison) -> Found {
    found(Unit::TokenPerSecond, "", tokens(comparison, ModelColumn::Training))
}

/// The best product of each engine and type that may be ranked.
pub(super) fn gemm_best(run: &Run, comparison: &Comparison) -> Found {
    let group = |dtype: Dtype| {
        let bar = |column: &Column| {
            let own = |entry: &Entry| {
                let product = matches!(&entry.workload, Workload::Gemm(gemm) if gemm.dtype == dtype);
                product && entry.engine == column.engine && entry.device == column.device
            };
            let best = run.best(own)?;
            let figure = best.headline().map(Figure::of)?;
            Some(ValueBar { label: column.title.clone(), ..bar_of(column, best.workload.parameters(), &figure)? })
        };
        Group { title: dtype.to_string(), bars: comparison.columns.iter().filter_map(bar).collect() }
    };
    let groups = Dtype::ALL.into_iter().map(group).filter(|group| !group.bars.is_empty());
    found(Unit::FlopPerSecond, "", groups.collect())
}

/// The percentiles of the times from token to token, one group a decode.
pub(super) fn latency(run: &Run) -> Found {
    let several = run.entries.iter().any(|entry| Some(entry.engine) != run.entries.first().map(|first| first.engine));
    let groups = run.entries.iter().filter_map(|entry| latency_group(entry, several));
    found(Unit::Second, "half, 95 % and 99 % of the tokens came within these times", groups.collect())
}

fn latency_group(entry: &Entry, several: bool) -> Option<Group> {
    entry.headline()?;
    let is_decode =
        matches!(&entry.workload, Workload::Inference(one) if matches!(one.phase, InferencePhase::Decode { .. }));
    let bar = |measurement: &crate::measure::Measurement| {
        let label = measurement.metric.strip_prefix("inter-token-")?.to_owned();
        let value = measurement.summary.median;
        (value.is_finite() && value >= 0.0).then(|| ValueBar {
            label,
            detail: String::new(),
            value,
            text: Quantity::from(measurement).to_string(),
            range: None,
            tint: Tint::of(entry.engine),
            marker: None,
            best: false,
            barred: None,
        })
    };
    let bars: Vec<ValueBar> = entry.measurements.iter().filter_map(bar).collect();
    let engine = if several { format!("{} · ", entry.engine.title()) } else { String::new() };
    let title = format!("{engine}{} · {}", entry.workload.title(), entry.workload.parameters());
    (is_decode && !bars.is_empty()).then_some(Group { title, bars })
}
