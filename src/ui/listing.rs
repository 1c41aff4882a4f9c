//! The saved runs as the window shows them: which are found, in which order, and which are picked.

use std::{
    collections::{BTreeSet, HashSet},
    path::{Path, PathBuf},
};

use crate::{
    engine::EngineId,
    record::{Edit, Figure, Listed, Metric, Query, RunHeader, Sort, Trend},
    workload::WorkloadKind,
};

/// More machines than this are not offered to choose from; the search finds them.
const MACHINES_MAX: usize = 40;

/// What the person wants of the saved runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunsAction {
    /// Only those with these words.
    Search(String),
    /// Write into the search field.
    Find,
    /// Only those of a machine.
    Machine(Option<String>),
    /// Only those with an engine.
    Engine(Option<EngineId>),
    /// Only those with a kind of workload.
    Workload(Option<WorkloadKind>),
    /// All of them again.
    Everything,
    /// Sort by this; the other way round if they are already.
    Sort(Sort),
    /// Pick a run: alone, beside others, or with all between.
    Pick(PathBuf, Pick),
    /// Pick all that are shown.
    PickAll,
    /// Pick none.
    PickNone,
    /// Pick the run so many rows further down.
    Move(i64, Pick),
    /// Show the picked run.
    Open,
    /// Compare the picked runs.
    Compare,
    /// Write the picked runs into a folder, chosen in the system's dialog.
    Export,
    /// Move the picked runs to the trash.
    Delete,
    /// Get back what was deleted last.
    Undo,
    /// Forget that something can be got back.
    CloseUndo,
    /// Change what is written about a run.
    Edit(PathBuf, Vec<Edit>),
    /// Pin the picked run as the baseline, or take the pin away.
    Pin,
    /// Show the picked run's file in the file manager.
    Reveal,
    /// Show one metric over time instead of the list, or the list.
    Trend(bool),
    /// The metric to show over time.
    Metric(u64),
}

/// How a run is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// It and no other.
    Only,
    /// It too, or not any more.
    Toggle,
    /// All from the one before to it.
    Through,
}

/// A deletion that can be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    /// Where the deleted runs are.
    pub folder: PathBuf,
    /// How many there are.
    pub runs: usize,
}

/// What is found, sorted and picked.
#[derive(Debug, Default)]
pub struct Listing {
    /// What is looked for, and the order.
    pub query: Query,
    /// The files of the picked runs.
    pub picked: BTreeSet<PathBuf>,
    /// The last one that was picked.
    pub cursor: Option<PathBuf>,
    /// Where a row of picks begins.
    anchor: Option<PathBuf>,
    /// The places in the history of what is shown.
    shown: Vec<usize>,
    /// What `shown` was made for.
    made_for: Option<(usize, usize, u64)>,
    /// Counts the changes.
    revision: u64,
    /// Files that are still being read.
    pub left: usize,
    /// The history is being filled for the first time.
    pub(super) filling: bool,
    /// The row to bring into sight.
    pub bring: Option<usize>,
    /// The search field is to be written into.
    pub find: bool,
    /// The run of which what was written last could not be kept, and how often that happened.
    pub(super) refused: Option<(PathBuf, u64)>,
    /// What can be got back.
    pub undo: Option<Undo>,
    /// The trend is shown instead of the list.
    pub trends: bool,
    /// The metric that was chosen.
    pub metric: Option<u64>,
    /// The metrics and the figures of one, once they were read.
    pub trend: Option<Trend>,
    /// The figures of the runs that are found.
    figures: Vec<Figure>,
    /// What there is to choose from.
    pub machines: Vec<String>,
    /// The engines in any run.
    pub engines: Vec<EngineId>,
    /// The kinds of workload in any run.
    pub kinds: Vec<WorkloadKind>,
}

impl Listing {
    /// Something that is shown has changed.
    pub(super) const fn touch(&mut self) {
        self.revision += 1;
    }

    /// What was written about a run could not be kept.
    pub(super) fn refuse(&mut self, path: PathBuf) {
        let times = self.refused.as_ref().map_or(0, |(_, times)| *times);
        self.refused = Some((path, times + 1));
    }

    /// The places of what is shown, in order.
    pub fn shown(&self) -> &[usize] {
        &self.shown
    }

    /// The figures of the metric in the runs that are found, oldest first.
    pub fn figures(&self) -> &[Figure] {
        &self.figures
    }

    /// The metric that is shown over time: the one that was chosen, else the one that was measured most often.
    pub fn shown_metric(&self) -> Option<&Metric> {
        let metrics = &self.trend.as_ref()?.metrics;
        metrics.iter().find(|metric| Some(metric.id) == self.metric).or_else(|| metrics.first())
    }

    /// The metrics or the figures are others now.
    pub(super) fn set_trend(&mut self, trend: Trend) {
        self.metric = trend.chosen;
        self.trend = Some(trend);
        self.touch();
    }

    /// Finds and sorts anew if anything has changed.
    pub(super) fn refresh(&mut self, history: &[Listed]) {
        let now = Some((history.as_ptr() as usize, history.len(), self.revision));
        if self.made_for == now {
            return;
        }
        let is_other =
            self.made_for.is_none_or(|(start, count, _)| (start, count) != (history.as_ptr() as usize, history.len()));
        self.made_for = now;
        self.shown = self.query.select(history);
        self.keep_picks(history);
        if is_other {
            self.list_choices(history);
        }
        let trend = self.trend.as_ref().filter(|_| self.trends);
        let found: HashSet<&Path> = trend.iter().flat_map(|_| self.paths(history)).collect();
        let figures = trend.into_iter().flat_map(|trend| &trend.figures);
        self.figures = figures.filter(|figure| found.contains(figure.path.as_path())).cloned().collect();
    }

    /// What is gone, or no longer shown, is picked no longer: whatever is done with picked runs is done with what is seen.
    fn keep_picks(&mut self, history: &[Listed]) {
        if self.picked.is_empty() && self.cursor.is_none() && self.anchor.is_none() {
            return;
        }
        let shown: HashSet<PathBuf> = self.paths(history).map(Path::to_owned).collect();
        self.picked.retain(|path| shown.contains(path));
        for place in [&mut self.cursor, &mut self.anchor] {
            if place.as_ref().is_some_and(|path| !shown.contains(path)) {
                *place = None;
            }
        }
    }

    fn list_choices(&mut self, history: &[Listed]) {
        let headers = || history.iter().filter_map(Listed::header);
        let machines: BTreeSet<&str> = headers().map(|header| header.machine.as_str()).collect();
        let machines = machines.into_iter().filter(|machine| !machine.is_empty()).take(MACHINES_MAX);
        self.machines = machines.map(str::to_owned).collect();
        let engines: BTreeSet<EngineId> = headers().flat_map(|header| header.engines.iter().copied()).collect();
        self.engines = engines.into_iter().collect();
        let kinds: BTreeSet<WorkloadKind> = headers().flat_map(|header| header.kinds.iter().copied()).collect();
        self.kinds = kinds.into_iter().collect();
    }

    /// The files of the runs that are shown, in order.
    fn paths<'a>(&'a self, history: &'a [Listed]) -> impl Iterator<Item = &'a Path> {
        self.shown.iter().filter_map(|place| Some(history.get(*place)?.header()?.path.as_path()))
    }

    /// The picked run, if it is the only one.
    pub fn only<'a>(&self, history: &'a [Listed]) -> Option<&'a RunHeader> {
        let path = self.picked.first().filter(|_| self.picked.len() == 1)?;
        history.iter().filter_map(Listed::header).find(|header| header.path == *path)
    }

    /// The files of the picked runs in the order shown.
    pub(super) fn picked_in_order(&self, history: &[Listed]) -> Vec<PathBuf> {
        self.paths(history).filter(|path| self.picked.contains(*path)).map(Path::to_owned).collect()
    }

    /// The picked runs in the order shown, as tab-separated values with a header line, for a spreadsheet.
    pub fn text(&self, history: &[Listed]) -> String {
        let mut lines =
            vec!["Run\tStarted\tName\tTags\tSuite\tDevice\tGEMM FLOP/s\tBandwidth B/s\tDecode tokens/s".to_owned()];
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let headers = self.shown.iter().filter_map(|place| history.get(*place)?.header());
        for header in headers.filter(|header| self.picked.contains(&header.path)) {
            let about = &header.about;
            let words = [about.name.clone().unwrap_or_default(), about.tags.join(", "), header.suite.clone()];
            let figures = [header.best_flops, header.best_bandwidth, header.best_decode].map(number);
            let mut cells = vec![header.file_id(), header.started_at.to_string()];
            cells.extend(words);
            cells.push(header.device.clone());
            cells.extend(figures);
            lines.push(cells.join("\t"));
        }
        lines.join("\n") + "\n"
    }

    /// What is compared when the picked runs are: the baseline first, if one of them or the pinned one has to be; else the oldest.
    pub(super) fn to_compare(&self, history: &[Listed]) -> Vec<PathBuf> {
        let headers = || history.iter().filter_map(Listed::header);
        let mut picked: Vec<&RunHeader> = headers().filter(|header| self.picked.contains(&header.path)).collect();
        if let ([one], Some(pinned)) = (picked.as_slice(), headers().find(|header| header.pinned))
            && one.path != pinned.path
        {
            picked.push(pinned);
        }
        picked.sort_by_key(|header| (!header.pinned, header.started_at));
        picked.into_iter().map(|header| header.path.clone()).collect()
    }

    /// Picks a run.
    pub(super) fn pick(&mut self, history: &[Listed], path: PathBuf, how: Pick) {
        match how {
            Pick::Only => self.picked = BTreeSet::from([path.clone()]),
            Pick::Toggle if self.picked.remove(&path) => {}
            Pick::Toggle => drop(self.picked.insert(path.clone())),
            Pick::Through => {
                let place = |wanted: &Path| self.paths(history).position(|path| path == wanted);
                let start = self.anchor.as_deref().and_then(place);
                let end = place(&path);
                let (Some(start), Some(end)) = (start.or(end), end) else { return };
                let (low, high) = (start.min(end), start.max(end));
                let through = self.paths(history).skip(low).take(high - low + 1).map(Path::to_owned);
                self.picked = through.collect();
            }
        }
        if how != Pick::Through || self.anchor.is_none() {
            self.anchor = Some(path.clone());
        }
        // What is told of it takes room from the list.
        let row = self.paths(history).position(|shown| shown == path);
        self.bring = row;
        self.cursor = Some(path);
    }

    /// Picks the run so many rows further down, as far as there are any.
    pub(super) fn step(&mut self, history: &[Listed], rows: i64, how: Pick) {
        let paths: Vec<&Path> = self.paths(history).collect();
        let Some(last) = paths.len().checked_sub(1) else { return };
        let now = self.cursor.as_deref().and_then(|cursor| paths.iter().position(|path| *path == cursor));
        // From before the first or after the last where none is picked.
        let next = match (now, usize::try_from(rows.unsigned_abs()).unwrap_or(usize::MAX)) {
            (Some(now), down) if rows > 0 => now.saturating_add(down).min(last),
            (Some(now), up) => now.saturating_sub(up),
            (None, down) if rows > 0 => (down - 1).min(last),
            (None, up) => (last + 1).saturating_sub(up),
        };
        let path = paths.get(next).map(|path| (*path).to_owned());
        self.bring = Some(next);
        if let Some(path) = path {
            self.pick(history, path, how);
        }
    }

    /// Picks everything that is shown.
    pub(super) fn pick_all(&mut self, history: &[Listed]) {
        self.picked = self.paths(history).map(Path::to_owned).collect();
    }

    /// Changes what is looked for or how it is sorted. False for any other action.
    pub(super) fn look(&mut self, action: &RunsAction) -> bool {
        match action {
            RunsAction::Search(words) => self.query.search.clone_from(words),
            RunsAction::Machine(machine) => self.query.machine.clone_from(machine),
            RunsAction::Engine(engine) => self.query.engine = *engine,
            RunsAction::Workload(kind) => self.query.workload = *kind,
            RunsAction::Everything => {
                self.query = Query { sort: self.query.sort, reversed: self.query.reversed, ..Query::default() };
            }
            RunsAction::Sort(sort) => {
                self.query.reversed = self.query.sort == *sort && !self.query.reversed;
                self.query.sort = *sort;
            }
            _ => return false,
        }
        self.touch();
        true
    }
}
