//! The report's sections on memory: its bandwidth with the share of what the maker gives, and the largest tensor.

use super::{
    cells::{NONE, TableCell},
    document::Document,
};
use crate::{
    analysis::{
        Comparison,
        explain::{Fit, fits},
        frameworks::{BARRED, Column},
        is_barred, peaks,
    },
    chart::{Chart, figure_with},
    record::{Entry, Run},
    units::{Quantity, Unit, percent},
    workload::Workload,
};

/// The highest bandwidth that may be ranked.
pub(super) fn best_of(run: &Run) -> Option<&Entry> {
    let fits = |entry: &Entry| match &entry.workload {
        Workload::Bandwidth(bandwidth) => bandwidth.is_beyond_caches() && !is_barred(run, entry),
        _ => false,
    };
    run.best(fits)
}

/// What the maker gives for the bandwidth of the device that the best was measured on, in B/s, and where it says so.
pub(super) fn published(run: &Run) -> Option<(f64, &'static str)> {
    let best = best_of(run)?;
    let device = run.device(&best.device).filter(|device| !device.software)?;
    let peaks = peaks(&device.name, &run.machine)?;
    Some((peaks.bandwidth?, peaks.source))
}

/// Each operation, then the theoretical figure and the best's share of it.
pub(super) fn bandwidth(run: &Run, comparison: &Comparison, report: &mut Document) {
    let entries: Vec<&Entry> =
        run.entries.iter().filter(|entry| matches!(entry.workload, Workload::Bandwidth(_))).collect();
    if entries.is_empty() {
        return;
    }
    let best = best_of(run);
    let published = published(run);
    let row = |entry: &&Entry| -> Vec<TableCell> {
        let headline = entry.headline();
        let value =
            headline.map_or_else(|| entry.outcome.word().to_lowercase(), |figure| Quantity::from(figure).to_string());
        // Engines have names of their own for the same device.
        let of_it = best.is_some_and(|best| is_same_place(comparison, best, entry));
        let barred = is_barred(run, entry);
        let share = headline.zip(published).filter(|_| of_it && !barred);
        let share = share.map_or_else(|| NONE.to_owned(), |(figure, (peak, _))| percent(figure.summary.median / peak));
        let is_best = best.is_some_and(|best| std::ptr::eq(best, *entry)) && entries.len() > 1;
        let value = if barred && headline.is_some() { format!("{value} {BARRED}") } else { value };
        let figure = TableCell { text: value, best: is_best };
        vec![
            operation(entry).into(),
            entry.engine.title().into(),
            entry.workload.parameters().into(),
            figure,
            share.into(),
        ]
    };
    let mut rows: Vec<Vec<TableCell>> = entries.iter().map(row).collect();
    if let (Some((peak, source)), Some(best)) = (published, best.and_then(Entry::headline)) {
        let none = || TableCell::from(NONE);
        let peak_text = Quantity::new(peak, Unit::BytePerSecond).to_string();
        rows.push(vec!["Theoretical".into(), none(), source.into(), peak_text.into(), none()]);
        let used = percent(best.summary.median / peak);
        rows.push(vec!["Utilisation".into(), none(), "the best ÷ the theoretical".into(), used.into(), none()]);
    }
    report.heading(2, "Memory bandwidth");
    report.table(&["Operation", "Framework", "Parameters", "Bandwidth", "Of theoretical"], 3, rows);
    report.chart(figure_with(Chart::Bandwidth, run, comparison));
    report.chart(figure_with(Chart::BandwidthSweep, run, comparison));
}

/// Whether two entries were measured on the same device, whatever their engines call it.
fn is_same_place(comparison: &Comparison, one: &Entry, other: &Entry) -> bool {
    let place = |entry: &Entry| {
        let own = |column: &&Column| column.engine == entry.engine && column.device == entry.device;
        comparison.columns.iter().find(own).map(|column| &column.place)
    };
    one.device == other.device || place(one).is_some_and(|found| place(other) == Some(found))
}

fn operation(entry: &Entry) -> String {
    let Workload::Bandwidth(bandwidth) = &entry.workload else { return String::new() };
    match bandwidth.op {
        crate::workload::MemoryOp::Read => "Sequential read",
        crate::workload::MemoryOp::Write => "Sequential write",
        crate::workload::MemoryOp::Copy => "Copy (read and write)",
        crate::workload::MemoryOp::Triad => "Triad (two reads, one write)",
    }
    .to_owned()
}

/// What was found of the largest tensor, and which of the run's models stay below it.
pub(super) fn tensor_limit(run: &Run, comparison: &Comparison, report: &mut Document) {
    let limits: Vec<&Entry> =
        run.entries.iter().filter(|entry| matches!(entry.workload, Workload::TensorLimit(_))).collect();
    if limits.is_empty() {
        return;
    }
    let mut rows: Vec<Vec<TableCell>> = Vec::new();
    for entry in &limits {
        let title = comparison.columns.iter().find(|c| c.engine == entry.engine && c.device == entry.device);
        let title = title.map_or_else(|| entry.engine.title().to_owned(), |column| column.title.clone());
        if entry.headline().is_none() {
            rows.push(vec![title.into(), entry.outcome.word().to_lowercase().into(), NONE.into()]);
            continue;
        }
        for figure in &entry.measurements {
            let name = figure.metric.replace('-', " ");
            rows.push(vec![title.clone().into(), name.into(), Quantity::from(figure).to_string().into()]);
        }
    }
    report.heading(2, "Tensor limit");
    report.text("The limit holds for one tensor, not for all together: a model larger than it runs if each of its tensors is smaller and memory holds them all.");
    report.table(&["Framework", "Found", "Bytes"], 2, rows);
}

/// Whether the run's models fit this machine: weights, keys and values, and activations against the memory; the largest
/// tensor against the limit of one.
pub(super) fn fit(run: &Run, report: &mut Document) {
    let all = fits(run);
    if all.is_empty() {
        return;
    }
    report.heading(2, "Do the models fit?");
    report.text(
        "What a model needs is worked out from its shape at the most demanding task of this run; what was held at its \
         peak is what the framework told. A model fits if memory holds all of it and each of its tensors is smaller than \
         the tensor limit.",
    );
    let headings =
        ["Framework", "Model", "Task", "Weights", "Keys and values", "Activations", "Peak", "Memory", "Tensors"];
    report.table(&headings, 3, all.iter().map(|fit| fit_cells(fit).map(TableCell::from).into()).collect());
}

/// One row: who and what, what it needs by part, and whether it fits.
pub(crate) fn fit_cells(fit: &Fit) -> [String; 9] {
    let bytes = |value: f64| Quantity::new(value, Unit::Byte).to_string();
    let kept = fit.needs.activations.saturating_add(fit.needs.training);
    [
        format!("{} on {}", fit.engine.title(), fit.place.phrase()),
        fit.model.clone(),
        fit.task.clone(),
        bytes(fit.needs.weights as f64),
        if fit.needs.cache > 0 { bytes(fit.needs.cache as f64) } else { NONE.to_owned() },
        bytes(kept as f64),
        fit.peak.map_or_else(|| NONE.to_owned(), bytes),
        fit.memory_text(),
        fit.tensor_text(),
    ]
}
