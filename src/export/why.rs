//! Why the speeds differ: each sentence is worked out from figures of the run, and left out where there are none.

use super::{
    cells::TableCell,
    document::Document,
    models::{Candidate, candidates, is_doubtful},
};
use crate::{
    analysis::{
        CeilingKind, Ceilings, Share,
        frameworks::{Comparison, ModelColumn, Place, times},
        rooflines,
    },
    record::{Entry, Run},
    units::{Quantity, Unit, percent},
    workload::{Dtype, Gemm, Layout, Workload},
};

/// The section, if there is anything to say.
pub(super) fn section(run: &Run, comparison: &Comparison, document: &mut Document) {
    let lists = [ModelColumn::Prefill, ModelColumn::Decode, ModelColumn::Training]
        .map(|column| (column, candidates(run, comparison, column)));
    let ceilings = Ceilings::of(run);
    let rows: Vec<Vec<TableCell>> =
        lists.iter().flat_map(|(_, lists)| lists.iter().flatten().filter_map(|one| row(run, &ceilings, one))).collect();
    let mut lines: Vec<String> = rooflines(run)
        .iter()
        .filter(|chart| !chart.roofs().is_empty())
        .map(|chart| format!("{}.", chart.text()))
        .collect();
    lines.extend(half_over_single(run, comparison));
    for (column, lists) in &lists {
        for list in lists {
            match column {
                ModelColumn::Decode => lines.extend(writing(run, &ceilings, list)),
                ModelColumn::Training => lines.extend(list.iter().filter_map(|one| training(run, one))),
                _ => {}
            }
        }
    }
    if rows.is_empty() && lines.is_empty() {
        return;
    }
    document.heading(2, "Why the speeds differ");
    if !rows.is_empty() {
        document.text(
            "Writing one token after the other reads all weights for each of them: memory bounds it. Reading a prompt and \
             training multiply the weights by many tokens at once: arithmetic bounds them. The limit is the device's \
             bandwidth ÷ bytes a token, or its arithmetic ÷ operations a token: the bandwidth as measured, the arithmetic by \
             the data sheet where it is published.",
        );
    }
    let headings = ["Framework", "Task", "Bound by", "Reached", "Limit", "Share", "The limit is"];
    document.table(&headings, 3, rows);
    document.list(lines);
}

fn token_share(run: &Run, ceilings: &Ceilings<'_>, index: usize) -> Option<(Share, Quantity, f64, bool)> {
    let share = ceilings.share(index).filter(|_| run.entries.get(index).is_some_and(|e| !e.is_implausible()))?;
    match share.kind {
        CeilingKind::Token { rate, cost, published } => Some((share, rate, cost, published)),
        CeilingKind::Theoretical | CeilingKind::Measured | CeilingKind::Traffic { .. } => None,
    }
}

fn row(run: &Run, ceilings: &Ceilings<'_>, one: &Candidate<'_>) -> Option<Vec<TableCell>> {
    let (share, rate, cost, published) = token_share(run, ceilings, one.index)?;
    let bound = share.bound.word();
    let cost = match rate.unit {
        Unit::BytePerSecond => Quantity::new(cost, Unit::Byte).to_string(),
        _ => format!("{} GFLOP", crate::units::number(cost / 1e9)),
    };
    let source = if published { "data sheet" } else { "measured here" };
    let cells = [
        one.name(),
        one.entry.workload.title(),
        bound.to_owned(),
        one.figure.text(),
        format!("{} t/s", crate::units::number(share.ceiling.value)),
        percent(share.fraction),
        format!("{rate} ({source}) ÷ {cost}"),
    ];
    Some(cells.into_iter().map(TableCell::from).collect())
}

/// Fewer bytes a token are the reason where the fast one and the slow one are both near what memory allows.
fn writing(run: &Run, ceilings: &Ceilings<'_>, list: &[Candidate<'_>]) -> Vec<String> {
    /// From here on memory counts as what bounds it.
    const NEAR: f64 = 0.5;
    let mut lines = Vec::new();
    let share = |one: &Candidate<'_>| {
        token_share(run, ceilings, one.index)
            .filter(|(_, rate, ..)| rate.unit == Unit::BytePerSecond && !is_doubtful(one.entry))
    };
    for one in list {
        let Some((share, ..)) = share(one) else { continue };
        if share.fraction < NEAR {
            lines.push(format!(
                "{} writes at {} of what memory allows: something else than reading the weights takes most of its time.",
                one.name(),
                percent(share.fraction)
            ));
        }
    }
    let near: Vec<&Candidate<'_>> =
        list.iter().filter(|one| share(one).is_some_and(|(share, ..)| share.fraction >= NEAR)).collect();
    let (Some(fast), Some(slow)) = (near.first(), near.last()) else { return lines };
    let (Some((_, _, few, _)), Some((_, _, many, _))) = (share(fast), share(slow)) else { return lines };
    if many > few * 1.05 && !fast.figure.ties(&slow.figure) {
        lines.push(format!(
            "{} reads {} a token, {} {}, {} as much: that is why the first writes {} as fast.",
            fast.name(),
            Quantity::new(few, Unit::Byte),
            slow.name(),
            Quantity::new(many, Unit::Byte),
            times(many / few),
            times(fast.figure.value / slow.figure.value)
        ));
    }
    lines
}

/// How near training comes to the same framework's own matrix products.
fn training(run: &Run, one: &Candidate<'_>) -> Option<String> {
    let Workload::Training(training) = &one.entry.workload else { return None };
    let dtype = if training.model.precision == crate::workload::Precision::F32 { Dtype::F32 } else { Dtype::F16 };
    let own = run.best(|entry: &Entry| {
        let product = matches!(&entry.workload, Workload::Gemm(gemm) if gemm.dtype == dtype);
        product && entry.engine == one.entry.engine && entry.device == one.entry.device
    });
    let own = own.filter(|own| !is_doubtful(own) && !is_doubtful(one.entry));
    let best = own?.headline()?.summary.median;
    let rate = one.figure.value * training.flops() / training.tokens() as f64;
    Some(format!(
        "{} trains at {}, {} of the {} that its own {dtype} products reach.",
        one.name(),
        Quantity::new(rate, Unit::FlopPerSecond),
        percent(rate / best),
        Quantity::new(best, Unit::FlopPerSecond)
    ))
}

/// What each engine gains by multiplying in f16 instead of f32, at the largest size that it did in both.
fn half_over_single(run: &Run, comparison: &Comparison) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, column) in comparison.columns.iter().enumerate().filter(|(_, column)| is_device(&column.place)) {
        let rate = |wanted: Dtype| {
            let rates = comparison.rows.iter().filter_map(move |row| match &row.workload {
                Workload::Gemm(gemm) if gemm.dtype == wanted && gemm.layout == Layout::Ab => {
                    let cell = row.cells.get(index)?.as_ref().filter(|cell| cell.barred.is_none())?;
                    let sure = run.entries.get(cell.entry).is_some_and(|entry| !is_doubtful(entry));
                    Some((*gemm, cell.figure.filter(|_| sure)?))
                }
                _ => None,
            });
            rates.collect::<Vec<_>>()
        };
        let (half, single) = (rate(Dtype::F16), rate(Dtype::F32));
        let both = half.iter().filter_map(|(gemm, fast)| {
            let same = Gemm { dtype: Dtype::F32, ..*gemm };
            Some((gemm, fast, &single.iter().find(|(other, _)| *other == same)?.1))
        });
        let Some((gemm, fast, slow)) = both.max_by(|a, b| a.0.flops().total_cmp(&b.0.flops())) else { continue };
        let gain = fast.value / slow.value;
        if gain.is_finite() {
            lines.push(format!(
                "{} on {} multiplies f16 {} as fast as f32 ({} and {} at {}).",
                column.engine.title(),
                column.place.phrase(),
                times(gain),
                fast.text(),
                slow.text(),
                gemm.shape()
            ));
        }
    }
    lines
}

/// An emulated device explains nothing.
const fn is_device(place: &Place) -> bool {
    !matches!(place, Place::Emulated(_))
}
