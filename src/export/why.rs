//! Why the speeds differ: each sentence is worked out from figures of the run, and left out where there are none.

use super::{
    cells::TableCell,
    document::Document,
    models::{Candidate, candidates, is_doubtful},
};
use crate::{
    analysis::{
        CeilingKind, Ceilings, Share,
        frameworks::{Comparison, ModelColumn, times},
        rooflines,
    },
    record::{Entry, Run},
    units::{Quantity, Unit, percent},
    workload::{Dtype, Workload},
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
    lines.extend(comparison.fast_path_sentences());
    for (column, lists) in &lists {
        for list in lists {
            match column {
                ModelColumn::Decode => lines.extend(writing(&ceilings, list)),
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
             the data sheet where there is one.",
        );
    }
    let headings = ["Framework", "Task", "Bound by", "Reached", "Limit", "Share", "The limit is"];
    document.table(&headings, 3, rows);
    document.list(lines);
}

fn token_share(ceilings: &Ceilings<'_>, one: &Candidate<'_>) -> Option<(Share, Quantity, f64, bool)> {
    let share = ceilings.share(one.index).filter(|_| !one.entry.is_implausible())?;
    match share.kind {
        CeilingKind::Token { rate, cost, published } => Some((share, rate, cost, published)),
        CeilingKind::Theoretical | CeilingKind::Measured | CeilingKind::Traffic { .. } => None,
    }
}

fn row(run: &Run, ceilings: &Ceilings<'_>, one: &Candidate<'_>) -> Option<Vec<TableCell>> {
    let (share, rate, cost, published) = token_share(ceilings, one)?;
    let bound = share.bound.word();
    let cost = match rate.unit {
        Unit::BytePerSecond => Quantity::new(cost, Unit::Byte).to_string(),
        _ => format!("{} GFLOP", crate::units::number(cost / 1e9)),
    };
    let source = match () {
        () if published => "data sheet",
        () if run.is_published() => "as published",
        () if run.is_foreign() => "measured",
        () => "measured here",
    };
    let cells = [
        one.name(),
        one.entry.workload.title(),
        bound.to_owned(),
        one.figure.text(),
        format!("{} t/s", crate::units::number(share.ceiling.value)),
        share.short(),
        format!("{rate} ({source}) ÷ {cost}"),
    ];
    Some(cells.into_iter().map(TableCell::from).collect())
}

/// Fewer bytes a token are the reason where the fast one and the slow one are both near what memory allows.
fn writing(ceilings: &Ceilings<'_>, list: &[Candidate<'_>]) -> Vec<String> {
    /// From here on memory counts as what bounds it.
    const NEAR: f64 = 0.5;
    let mut lines = Vec::new();
    let share = |one: &Candidate<'_>| {
        token_share(ceilings, one).filter(|(_, rate, ..)| rate.unit == Unit::BytePerSecond && !is_doubtful(one.entry))
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
    let beyond = if rate > best { ": no product that was tried alone is as fast as those of the training" } else { "" };
    Some(format!(
        "{} trains at {}, {} of the {} that its own {dtype} products reach{beyond}.",
        one.name(),
        Quantity::new(rate, Unit::FlopPerSecond),
        percent(rate / best),
        Quantity::new(best, Unit::FlopPerSecond)
    ))
}
