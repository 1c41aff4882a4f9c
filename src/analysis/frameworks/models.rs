//! The models' summary: for each engine its memory, load time and tokens a second, like with like.

use super::{Contender, Figure, Place, View, best_of, doubt, reason_of, work};
use crate::{
    measure::Measurement,
    record::{Entry, Outcome, Run, RunState},
    units::Unit,
    workload::{InferencePhase, ModelLoad, ModelRef, ModelShape, Precision, Workload, WorkloadKind},
};

/// What the summary tells of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelColumn {
    /// Bytes of the weights.
    Memory,
    /// The most bytes held while it ran.
    Peak,
    /// Seconds until it can be used.
    Load,
    /// Tokens a second of reading a prompt.
    Prefill,
    /// Tokens a second of writing.
    Decode,
    /// Tokens a second of training.
    Training,
}

impl ModelColumn {
    /// Every one in display order.
    pub const ALL: [Self; 6] = [Self::Memory, Self::Peak, Self::Load, Self::Prefill, Self::Decode, Self::Training];

    /// The heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Memory => "Model memory",
            Self::Peak => "Peak memory",
            Self::Load => "Load time",
            Self::Prefill => "Prefill",
            Self::Decode => "Decode",
            Self::Training => "Training",
        }
    }

    const fn higher_is_better(self) -> bool {
        matches!(self, Self::Prefill | Self::Decode | Self::Training)
    }
}

/// Rows that may be compared: the same shape of model at about the same bits a weight, on the same device.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelGroup {
    /// The device.
    pub place: Place,
    /// Bits a weight in round numbers: 32, 16, 8, 4.
    pub bits: u32,
    /// The prefill that is compared, as "Prefill 512".
    pub prefill: Option<String>,
    /// The decode, as "Decode 128 at depth 0".
    pub decode: Option<String>,
    /// The training, as "LoRA 1 × 512".
    pub training: Option<String>,
    /// Engines mean different things by their peak of memory, so that none is the best.
    pub peaks_differ: bool,
    /// One for each engine, model and precision.
    pub rows: Vec<ModelRow>,
}

/// One engine with one model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRow {
    /// The engine's column in the comparison.
    pub column: usize,
    /// The model's name.
    pub model: String,
    /// Its precision.
    pub precision: Precision,
    /// Its true bits a weight.
    pub bits_per_weight: f64,
    /// In the order of [`ModelColumn::ALL`].
    pub slots: [Slot; 6],
    /// Whether it works.
    pub status: Status,
    /// Why its figures are shown but not compared.
    pub barred: Option<String>,
}

/// One figure of the summary.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slot {
    /// The entry it comes from.
    pub entry: Option<usize>,
    /// The figure.
    pub figure: Option<Figure>,
    /// Why there is none.
    pub absence: Option<String>,
    /// Clearly the best of its group.
    pub best: bool,
}

/// Whether an engine runs a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Everything that was asked.
    Works,
    /// A part of it; the sentence says what doesn't.
    Partly(String),
    /// What was measured; the sentence says what was skipped, for want of time or memory, or was cancelled.
    Cut(String),
    /// Nothing; the sentence says why.
    Fails(String),
    /// All of it was skipped or cancelled; the sentence says why.
    Unmeasured(String),
    /// Nothing yet.
    Waits,
}

impl Status {
    /// "works", "works in part", "measured in part", "does not work", "not measured", "waits".
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Partly(_) => "works in part",
            Self::Cut(_) => "measured in part",
            Self::Fails(_) => "does not work",
            Self::Unmeasured(_) => "not measured",
            Self::Waits => "waits",
        }
    }

    /// What doesn't work, and why.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Partly(reason) | Self::Cut(reason) | Self::Fails(reason) | Self::Unmeasured(reason) => Some(reason),
            Self::Works | Self::Waits => None,
        }
    }
}

/// Bits a weight in round numbers, so that 4 is compared with 4: scales make 4.25 to 5 of them.
pub fn class(bits_per_weight: f64) -> u32 {
    match bits_per_weight {
        bits if (3.5..5.2).contains(&bits) => 4,
        bits if (7.5..9.2).contains(&bits) => 8,
        bits if bits.is_finite() => bits.round().clamp(0.0, 64.0) as u32,
        _ => 0,
    }
}

/// The shape that figures depend on. Tokens of the vocabulary differ between versions of a model, and are a part of it.
type Key = (Place, ModelShape, u32);

/// The groups of a run: one device after another, the widest weights first.
pub(super) fn groups(view: &View<'_>) -> Vec<ModelGroup> {
    let mut keys: Vec<Key> = Vec::new();
    for entry in &view.run.entries {
        if let Some(key) = key(view, entry)
            && !keys.contains(&key)
        {
            keys.push(key);
        }
    }
    keys.sort_by(|a, b| (&a.0, b.1.parameters(), b.2).cmp(&(&b.0, a.1.parameters(), a.2)));
    keys.iter().map(|key| group(view, key)).collect()
}

fn key(view: &View<'_>, entry: &Entry) -> Option<Key> {
    let (model, column) = (entry.workload.model()?, view.columns.get(view.column_of(entry)?)?);
    Some((column.place.clone(), model.shape, class(model.bits_per_weight())))
}

fn group(view: &View<'_>, wanted: &Key) -> ModelGroup {
    let all = view.run.entries.iter().enumerate();
    let entries: Vec<(usize, &Entry)> = all.filter(|(_, entry)| key(view, entry).as_ref() == Some(wanted)).collect();
    let chosen = [ModelColumn::Prefill, ModelColumn::Decode, ModelColumn::Training].map(|of| choose(&entries, of));
    let mut rows: Vec<ModelRow> = Vec::new();
    for (_, entry) in &entries {
        let (Some(column), Some(model)) = (view.column_of(entry), entry.workload.model()) else { continue };
        let is_new = !rows.iter().any(|row| row.column == column && row.is_of(model));
        if is_new {
            rows.push(row(view, column, model, &entries, &chosen));
        }
    }
    rows.sort_by(|a, b| (a.column, &a.model, &a.precision).cmp(&(b.column, &b.model, &b.precision)));
    let peaks_differ = mark_best(&mut rows, view.run);
    let [prefill, decode, training] = chosen.map(|task| task.map(|task| task.label()));
    ModelGroup { place: wanted.0.clone(), bits: wanted.2, prefill, decode, training, peaks_differ, rows }
}

impl ModelRow {
    fn is_of(&self, model: &ModelRef) -> bool {
        self.model == model.name && self.precision == model.precision
    }

    /// One figure of it.
    pub fn slot(&self, column: ModelColumn) -> &Slot {
        let [memory, peak, load, prefill, decode, training] = &self.slots;
        match column {
            ModelColumn::Memory => memory,
            ModelColumn::Peak => peak,
            ModelColumn::Load => load,
            ModelColumn::Prefill => prefill,
            ModelColumn::Decode => decode,
            ModelColumn::Training => training,
        }
    }
}

/// A task whatever the model: only figures of the same one are compared.
#[derive(Clone, Debug, PartialEq)]
enum Task {
    Prefill {
        tokens: u32,
        batch: u32,
    },
    Decode {
        tokens: u32,
        depth: u32,
        batch: u32,
    },
    /// Another model in the same place, to compare all that is left.
    Training(Box<Workload>),
}

impl Task {
    fn of(workload: &Workload, like: &ModelRef) -> Option<Self> {
        match workload {
            Workload::Inference(inference) => Some(match inference.phase {
                InferencePhase::Prefill { tokens } => Self::Prefill { tokens, batch: inference.batch },
                InferencePhase::Decode { tokens, depth } => Self::Decode { tokens, depth, batch: inference.batch },
            }),
            Workload::Training(training) => {
                let mut same = training.clone();
                same.model = like.clone();
                Some(Self::Training(Box::new(work(&Workload::Training(same)))))
            }
            _ => None,
        }
    }

    const fn column(&self) -> ModelColumn {
        match self {
            Self::Prefill { .. } => ModelColumn::Prefill,
            Self::Decode { .. } => ModelColumn::Decode,
            Self::Training(_) => ModelColumn::Training,
        }
    }

    fn label(&self) -> String {
        let batched = |batch: u32| if batch == 1 { String::new() } else { format!(", batch {batch}") };
        match self {
            Self::Prefill { tokens, batch } => format!("Prefill {tokens}{}", batched(*batch)),
            Self::Decode { tokens, depth, batch } => format!("Decode {tokens} at depth {depth}{}", batched(*batch)),
            Self::Training(workload) => workload.title(),
        }
    }

    /// Among tasks that as many engines did: one sequence, a prompt of 512 tokens, an empty cache, the longest training.
    fn preference(&self) -> (u32, u32) {
        const fn below(value: u32) -> u32 {
            u32::MAX - value
        }
        match self {
            Self::Prefill { tokens, batch } => (below(*batch), below(tokens.abs_diff(512))),
            Self::Decode { depth, batch, .. } => (below(*batch), below(*depth)),
            Self::Training(workload) => match workload.as_ref() {
                Workload::Training(training) => (below(training.batch), training.sequence),
                _ => (0, 0),
            },
        }
    }
}

/// The task of a kind that most engines of a group did.
fn choose(entries: &[(usize, &Entry)], column: ModelColumn) -> Option<Task> {
    let like = entries.first()?.1.workload.model()?;
    let tasks = || entries.iter().filter_map(|(_, entry)| Some((Task::of(&entry.workload, like)?, *entry)));
    let done = |task: &Task| tasks().filter(|(other, entry)| other == task && entry.headline().is_some()).count();
    let wanted = tasks().map(|(task, _)| task).filter(|task| task.column() == column);
    wanted.max_by_key(|task| (done(task), task.preference()))
}

fn row(
    view: &View<'_>,
    column: usize,
    model: &ModelRef,
    entries: &[(usize, &Entry)],
    chosen: &[Option<Task>; 3],
) -> ModelRow {
    let same = |entry: &Entry| {
        let named = entry.workload.model().is_some_and(|m| m.name == model.name && m.precision == model.precision);
        named && view.column_of(entry) == Some(column)
    };
    let own: Vec<(usize, &Entry)> = entries.iter().filter(|(_, entry)| same(entry)).copied().collect();
    let like = entries.first().and_then(|(_, entry)| entry.workload.model()).unwrap_or(model);
    let [prefill, decode, training] = chosen.each_ref().map(|task| rate(&own, task.as_ref(), like));
    let loads = own.iter().filter(|(_, entry)| matches!(entry.workload, Workload::ModelLoad(_)));
    let load = loads.map(|(index, entry)| slot(*index, entry, load_time(entry))).next();
    let peak = peak(&own, [prefill.entry, decode.entry]);
    let barred = own.iter().filter(|(_, entry)| entry.headline().is_some()).find_map(|(_, entry)| view.barred(entry));
    ModelRow {
        column,
        model: model.name.clone(),
        precision: model.precision.clone(),
        bits_per_weight: model.bits_per_weight(),
        status: status(&own, view.run.state != RunState::Running),
        slots: [memory(&own, model), peak, load.unwrap_or_default(), prefill, decode, training],
        barred,
    }
}

fn slot(index: usize, entry: &Entry, figure: Option<Figure>) -> Slot {
    let absence = figure.is_none().then(|| reason_of(entry));
    Slot { entry: Some(index), figure, absence, best: false }
}

/// The rate of a task, the fastest path of several.
fn rate(own: &[(usize, &Entry)], task: Option<&Task>, like: &ModelRef) -> Slot {
    let Some(task) = task else { return Slot::default() };
    let of_task = own.iter().filter(|(_, entry)| Task::of(&entry.workload, like).as_ref() == Some(task));
    let slots = of_task.map(|(index, entry)| slot(*index, entry, View::figure(entry)));
    let value = |slot: &Slot| slot.figure.map_or(f64::NEG_INFINITY, |figure| figure.value);
    let none = Slot { absence: Some("not measured in this run".to_owned()), ..Slot::default() };
    slots.max_by(|a, b| value(a).total_cmp(&value(b))).unwrap_or(none)
}

fn named<'a>(entry: &'a Entry, metric: &str) -> Option<&'a Measurement> {
    entry.headline()?;
    entry.measurements.iter().find(|measurement| measurement.metric == metric)
}

fn load_time(entry: &Entry) -> Option<Figure> {
    named(entry, "load-time").or_else(|| entry.headline().filter(|first| first.unit == Unit::Second)).map(Figure::of)
}

/// What the framework says its weights take, else their bytes as stored.
fn memory(own: &[(usize, &Entry)], model: &ModelRef) -> Slot {
    let told = own.iter().find_map(|(index, entry)| Some((*index, Figure::of(named(entry, "model-memory")?))));
    let (entry, figure) = match told {
        Some((index, figure)) => (Some(index), figure),
        None => (None, Figure::exact(model.weight_bytes as f64, Unit::Byte)),
    };
    Slot { entry, figure: Some(figure), absence: None, best: false }
}

/// The highest peak of the compared prefill and decode.
fn peak(own: &[(usize, &Entry)], of: [Option<usize>; 2]) -> Slot {
    let inference = own.iter().filter(|(index, _)| of.contains(&Some(*index)));
    let peaks = inference.filter_map(|(index, entry)| Some((*index, Figure::of(named(entry, "peak-memory")?))));
    match peaks.max_by(|(_, a), (_, b)| a.value.total_cmp(&b.value)) {
        Some((index, figure)) => Slot { entry: Some(index), figure: Some(figure), absence: None, best: false },
        None => Slot { absence: Some("no peak was told".to_owned()), ..Slot::default() },
    }
}

/// What can't be done is said by the engine; what went wrong is a part that doesn't work, and what was skipped or cancelled, or
/// waited in vain in a run that has ended, says nothing of the engine.
fn status(own: &[(usize, &Entry)], has_ended: bool) -> Status {
    let done = own.iter().filter(|(_, entry)| entry.outcome == Outcome::Done).count();
    let first = |wanted: fn(&Outcome) -> bool| own.iter().find(|(_, entry)| wanted(&entry.outcome));
    let failed = first(|outcome| matches!(outcome, Outcome::Failed(_)));
    let skipped = first(|outcome| matches!(outcome, Outcome::Skipped(_)));
    let refused = first(|outcome| matches!(outcome, Outcome::Unsupported(_)));
    let cancelled = first(|outcome| *outcome == Outcome::Cancelled);
    let cancelled = cancelled.or_else(|| first(|outcome| *outcome == Outcome::Pending).filter(|_| has_ended));
    let told = |(_, entry): &(usize, &Entry)| match entry.outcome {
        Outcome::Pending => format!("{}: its turn never came", entry.workload.title()),
        _ => format!("{}: {}", entry.workload.title(), reason_of(entry)),
    };
    match (done > 0, failed, skipped.or(cancelled)) {
        (true, Some(reason), _) => Status::Partly(told(reason)),
        (true, None, Some(reason)) => Status::Cut(told(reason)),
        // Training or the like is not every framework's affair; its cell says so.
        (true, None, None) => Status::Works,
        (false, Some(reason), _) => Status::Fails(told(reason)),
        (false, None, Some(reason)) => Status::Unmeasured(told(reason)),
        // Who was asked for nothing but what it doesn't do was not tried.
        (false, None, None) => match refused {
            None => Status::Waits,
            Some(reason) if own.iter().all(|(_, entry)| entry.workload.kind() == WorkloadKind::Training) => {
                Status::Unmeasured(told(reason))
            }
            Some(reason) => Status::Fails(told(reason)),
        },
    }
}

/// Marks the best of each column, and says whether peaks of memory were left out since engines mean different things by them.
fn mark_best(rows: &mut [ModelRow], run: &Run) -> bool {
    let mut peaks_differ = false;
    for (place, column) in ModelColumn::ALL.into_iter().enumerate() {
        // What weights take as stored is no achievement of a framework's.
        let compared = |(place, row): (usize, &ModelRow)| {
            let slot = row.slot(column);
            let (figure, entry) = slot.figure.zip(slot.entry).filter(|_| row.barred.is_none())?;
            let entry = run.entries.get(entry)?;
            // Weights that are made up in memory are loaded from nowhere.
            let is_made = column == ModelColumn::Load && entry.variant.as_deref() == Some(ModelLoad::MADE);
            (!is_made).then(|| (Contender { place, figure, doubt: doubt(entry, &figure) }, peak_meaning(entry)))
        };
        let (figures, meanings): (Vec<Contender>, Vec<Option<&str>>) =
            rows.iter().enumerate().filter_map(compared).unzip();
        if column == ModelColumn::Peak && meanings.iter().any(|meaning| Some(meaning) != meanings.first()) {
            peaks_differ = true;
            continue;
        }
        let best = best_of(&figures, column.higher_is_better());
        if let Some(slot) = best.and_then(|best| rows.get_mut(best)?.slots.get_mut(place)) {
            slot.best = true;
        }
    }
    peaks_differ
}

/// What an engine means by its peak of memory, in its own words.
pub fn peak_meaning(entry: &Entry) -> Option<&str> {
    entry.notes.iter().map(String::as_str).find(|note| note.starts_with("Peak memory is "))
}
