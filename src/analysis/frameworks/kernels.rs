//! Equal work side by side.

use std::collections::HashMap;

use super::{Contender, Figure, View, best_of, doubt, reason_of, work};
use crate::{
    record::Entry,
    workload::{InferencePhase, Workload},
};

/// One workload, and what came of it with each engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What was measured.
    pub workload: Workload,
    /// One for each column of the comparison; absent where an engine has no such entry.
    pub cells: Vec<Option<Cell>>,
}

/// What came of one workload with one engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The entry that is shown.
    pub entry: usize,
    /// Other entries of the same work, such as another path of the same framework; slower, or not done.
    pub also: Vec<usize>,
    /// Its figure, if it has one.
    pub figure: Option<Figure>,
    /// Why there is none.
    pub absence: Option<String>,
    /// Clearly the best on its device.
    pub best: bool,
    /// Its figure ÷ the baseline engine's on the same device.
    pub ratio: Option<f64>,
    /// Why the figure is shown but not compared.
    pub barred: Option<String>,
}

impl Cell {
    /// Whether an entry is shown here, or beside what is shown.
    pub fn holds(&self, index: usize) -> bool {
        self.entry == index || self.also.contains(&index)
    }
}

/// The rows of a run.
pub(super) fn rows(view: &View<'_>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut known: HashMap<Workload, usize> = HashMap::new();
    for (index, entry) in view.run.entries.iter().enumerate() {
        let Some(column) = view.column_of(entry) else { continue };
        let place = *known.entry(work(&entry.workload)).or_insert_with(|| {
            rows.push(Row { workload: entry.workload.clone(), cells: vec![None; view.columns.len()] });
            rows.len() - 1
        });
        let Some(slot) = rows.get_mut(place).and_then(|row| row.cells.get_mut(column)) else { continue };
        put(slot, cell(view, index, entry));
    }
    for row in &mut rows {
        judge(row, view);
    }
    rows.sort_by_cached_key(|row| order(&row.workload));
    rows
}

fn cell(view: &View<'_>, index: usize, entry: &Entry) -> Cell {
    let figure = View::figure(entry);
    Cell {
        entry: index,
        also: Vec::new(),
        figure,
        absence: figure.is_none().then(|| reason_of(entry)),
        best: false,
        ratio: None,
        barred: figure.and_then(|_| view.barred(entry)),
    }
}

/// The best that an engine can do is shown: a figure before none, one that may be compared before one that may not, the
/// higher one.
fn put(slot: &mut Option<Cell>, new: Cell) {
    let Some(old) = slot else {
        *slot = Some(new);
        return;
    };
    let rank =
        |cell: &Cell| (cell.figure.is_some(), cell.barred.is_none(), cell.figure.map_or(0.0, |figure| figure.value));
    let (a, b) = (rank(old), rank(&new));
    if (b.0, b.1).cmp(&(a.0, a.1)).then(b.2.total_cmp(&a.2)).is_gt() {
        let before = std::mem::replace(old, new);
        old.also = before.also;
        old.also.push(before.entry);
    } else {
        old.also.push(new.entry);
    }
}

/// Finds the best of each device, and the ratios to its baseline.
fn judge(row: &mut Row, view: &View<'_>) {
    let ranked = |(place, cell): (usize, &Option<Cell>)| {
        let cell = cell.as_ref().filter(|cell| cell.barred.is_none())?;
        let figure = cell.figure?;
        let doubt = view.run.entries.get(cell.entry).and_then(|entry| doubt(entry, &figure));
        Some(Contender { place, figure, doubt })
    };
    let figures: Vec<Contender> = row.cells.iter().enumerate().filter_map(ranked).collect();
    for Contender { place: column, figure, .. } in &figures {
        let Some(place) = view.columns.get(*column).map(|column| &column.place) else { continue };
        let here = |one: &&Contender| view.columns.get(one.place).is_some_and(|other| other.place == *place);
        let beside: Vec<Contender> = figures.iter().filter(here).copied().collect();
        let base = view.baseline(place).filter(|base| base != column);
        let base = base.and_then(|base| beside.iter().find(|other| other.place == base));
        let Some(Some(cell)) = row.cells.get_mut(*column) else { continue };
        cell.best = best_of(&beside, true) == Some(*column);
        cell.ratio = base.map(|base| figure.value / base.figure.value).filter(|ratio| ratio.is_finite());
    }
}

/// Kernels by family, type, layout and size; then one model after another, the widest weights first.
type Order = (String, u64, String, usize, u8, u8, u64);

fn order(workload: &Workload) -> Order {
    let kind = workload.kind() as usize;
    let (dtype, layout, size) = match workload {
        Workload::Gemm(gemm) => (gemm.dtype as u8, gemm.layout as u8, gemm.flops() as u64),
        Workload::Attention(attention) => (attention.dtype as u8, u8::from(attention.causal), attention.flops() as u64),
        Workload::Bandwidth(bandwidth) => (bandwidth.op as u8, 0, bandwidth.array_bytes),
        Workload::BandwidthSweep(sweep) => (sweep.op as u8, 0, 0),
        Workload::TensorLimit(_) | Workload::ModelLoad(_) => (0, 0, 0),
        Workload::Inference(inference) => match inference.phase {
            InferencePhase::Prefill { tokens } => (0, 0, u64::from(tokens)),
            InferencePhase::Decode { depth, .. } => (1, 0, u64::from(depth)),
        },
        Workload::Training(training) => (0, 0, training.tokens()),
    };
    let Some(model) = workload.model() else {
        return (String::new(), 0, String::new(), kind, dtype, layout, size);
    };
    // Tenths of a bit tell precisions apart; more bits come first.
    let bits = 1000_u64.saturating_sub((model.bits_per_weight() * 10.0) as u64);
    (model.name.clone(), bits, model.precision.to_string(), kind, dtype, layout, size)
}
