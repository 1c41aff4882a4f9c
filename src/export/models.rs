//! Models of one build on one device beside each other, whatever their precision: what a person chooses from.

use crate::{
    analysis::frameworks::{Comparison, Figure, ModelColumn, ModelRow, Place, doubt},
    record::{Entry, MarkKind, Run},
    workload::{ModelRef, ModelShape},
};

/// One framework with one model, and one figure of it.
#[derive(Clone)]
pub(super) struct Candidate<'a> {
    /// Its group and row in the models' summary.
    pub at: (usize, usize),
    /// The row.
    pub row: &'a ModelRow,
    /// The framework's title.
    pub title: &'a str,
    /// The device.
    pub place: &'a Place,
    /// The model.
    pub model: &'a ModelRef,
    /// The figure.
    pub figure: Figure,
    /// The entry that it, or another figure of the row, comes from.
    pub entry: &'a Entry,
    /// Where the entry is in the run.
    pub index: usize,
}

impl Candidate<'_> {
    /// "MLX with mistral-7b mlx-4bit".
    pub(super) fn name(&self) -> String {
        format!("{} with {}", self.title, self.row.model_label())
    }

    /// What speaks against relying on its figure.
    pub(super) fn doubt(&self) -> Option<MarkKind> {
        doubt(self.entry, &self.figure)
    }
}

/// Blocks of the same size and number: versions of a model differ in their vocabulary alone.
type Build = (u32, u32, u32);

const fn build(shape: &ModelShape) -> Build {
    (shape.layers, shape.hidden, shape.intermediate)
}

/// All that have a figure that may be compared, one list for each device and build of model, best first.
pub(super) fn candidates<'a>(run: &'a Run, comparison: &'a Comparison, column: ModelColumn) -> Vec<Vec<Candidate<'a>>> {
    let mut lists: Vec<Vec<Candidate<'_>>> = Vec::new();
    for (group_place, group) in comparison.models.iter().enumerate() {
        for (row_place, row) in group.rows.iter().enumerate().filter(|(_, row)| row.barred.is_none()) {
            let slot = row.slot(column);
            let index = slot.entry.or_else(|| row.slots.iter().find_map(|slot| slot.entry));
            let found = index.and_then(|index| Some((index, run.entries.get(index)?)));
            let Some((figure, (index, entry))) = slot.figure.filter(is_sound).zip(found) else { continue };
            let Some(model) = entry.workload.model() else { continue };
            let at = (group_place, row_place);
            let (title, place) = (comparison.title(row.column), &group.place);
            let new = Candidate { at, row, title, place, model, figure, entry, index };
            let same = |list: &&mut Vec<Candidate<'_>>| {
                let first = list.first().map(|first| (first.place, build(&first.model.shape)));
                first == Some((place, build(&model.shape)))
            };
            match lists.iter_mut().find(same) {
                Some(list) => list.push(new),
                None => lists.push(vec![new]),
            }
        }
    }
    let sign = if is_less_better(column) { -1.0 } else { 1.0 };
    for list in &mut lists {
        list.sort_by(|a, b| (sign * b.figure.value).total_cmp(&(sign * a.figure.value)));
    }
    lists
}

/// A number that can be compared.
fn is_sound(figure: &Figure) -> bool {
    let all = [figure.value, figure.low, figure.high];
    all.into_iter().all(f64::is_finite) && figure.value > 0.0
}

const fn is_less_better(column: ModelColumn) -> bool {
    matches!(column, ModelColumn::Memory | ModelColumn::Peak | ModelColumn::Load)
}

/// A figure that nothing is concluded from: something slowed the device, its samples say too little, or it can't be true.
pub(super) fn is_doubtful(entry: &Entry) -> bool {
    entry.is_marked(MarkKind::Throttled) || entry.is_marked(MarkKind::Uncertain) || !entry.is_ranked()
}

/// The first and the second of a list in order, if the first is clearly better than all others: by the rule that makes a figure
/// bold in its table.
pub(super) fn winner<'l, 'a>(list: &'l [Candidate<'a>]) -> Option<(&'l Candidate<'a>, &'l Candidate<'a>)> {
    let [first, second, ..] = list else { return None };
    let mut others = list.iter().skip(1);
    let clear = others.all(|other| first.figure.is_clear_of(&other.figure, (first.doubt(), other.doubt())));
    (clear && first.entry.is_ranked()).then_some((first, second))
}
