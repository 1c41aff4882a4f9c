//! One run as the window shows it: while it goes on, when it has ended, or opened from the history.

use std::{path::PathBuf, time::Instant};

use crate::{
    analysis::Comparison,
    chart::{Point, Series, Timeline, loss_curve},
    measure::{Phase, Progress},
    record::{Entry, Outcome, Run, RunState},
    run::Event,
    units::Unit,
    workload::{Dtype, Workload},
};

/// A run with what is only shown.
#[derive(Debug)]
pub struct Session {
    /// The run as far as it is.
    pub run: Run,
    /// The lines of its charts.
    pub timeline: Timeline,
    /// Its engines beside each other.
    pub comparison: Comparison,
    /// Present while it goes on.
    pub live: Option<Live>,
    /// The entry whose details are shown.
    pub selected: Option<usize>,
    /// Its file, once it was written or read.
    pub file: Option<PathBuf>,
}

/// What is known only while a run goes on.
#[derive(Debug)]
pub struct Live {
    /// When it began.
    pub began: Instant,
    /// The entry being measured, and what it does.
    pub current: Option<(usize, Phase)>,
    /// Cancel was asked for.
    pub cancelling: bool,
    /// The loss of a training as it goes on: its entry, and (step, nats).
    pub losses: (usize, Vec<Point>),
}

/// More steps than a training takes while it is measured.
const LOSSES_MAX: usize = 10_000;

impl Session {
    /// A run that begins now.
    pub fn begin(run: Run) -> Self {
        let live = Live { began: Instant::now(), current: None, cancelling: false, losses: Default::default() };
        let comparison = Comparison::of(&run);
        Self { run, timeline: Timeline::default(), comparison, live: Some(live), selected: None, file: None }
    }

    /// A run read from a file.
    pub fn saved(run: Run, file: PathBuf) -> Self {
        let (timeline, comparison) = (Timeline::of(&run), Comparison::of(&run));
        Self { timeline, comparison, run, live: None, selected: None, file: Some(file) }
    }

    /// Takes over what the runner told. Indices that are not in the run are ignored.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Begun(run) => *self = Self::begin(*run),
            Event::Started { index } => self.set_phase(index, Phase::Preparing),
            Event::Progress { index, progress: Progress::Phase(phase) } => self.set_phase(index, phase),
            Event::Progress { index, progress: Progress::Value { metric, unit, value, warm_up, at } } => {
                if unit == Unit::Nat {
                    self.add_loss(index, value);
                }
                let series = self.run.entries.get(index).and_then(Series::of);
                if let Some(series) = series.filter(|series| series.what.shows(&metric, unit)) {
                    let began = self.live.as_ref().map_or(at, |live| live.began);
                    let at_s = at.saturating_duration_since(began).as_secs_f64();
                    self.timeline.push(index, series, [at_s, value], warm_up);
                }
            }
            Event::Finished { index, entry } => {
                if let Some(place) = self.run.entries.get_mut(index) {
                    *place = *entry;
                    self.comparison = Comparison::of(&self.run);
                }
                if let Some(live) = &mut self.live {
                    live.current = None;
                }
            }
            Event::Saved(path) => self.file = Some(path),
            Event::SaveFailed(_) => {}
            Event::Ended(run) => {
                self.run = *run;
                self.comparison = Comparison::of(&self.run);
                self.live = None;
            }
        }
    }

    fn add_loss(&mut self, index: usize, value: f64) {
        let Some(live) = &mut self.live else { return };
        if live.losses.0 != index {
            live.losses = (index, Vec::new());
        }
        let step = live.losses.1.len() + 1;
        if value.is_finite() && step <= LOSSES_MAX {
            live.losses.1.push([step as f64, value]);
        }
    }

    /// The loss of the training that goes on, and what it is called; else of the selected one, else of the last that is done.
    pub fn loss(&self) -> Option<(String, Vec<Point>)> {
        let named = |index: usize, curve: Vec<Point>| {
            let entry = self.run.entries.get(index)?;
            let engine = if self.comparison.has_several() { entry.engine.title() } else { "" };
            let title = format!("{engine} {}", entry.workload.title()).trim_start().to_owned();
            (!curve.is_empty()).then_some((title, curve))
        };
        let of = |index: usize| named(index, loss_curve(self.run.entries.get(index)?));
        let going = self.live.as_ref().and_then(|live| live.current.as_ref()).map(|(index, _)| *index);
        let live = self.live.as_ref().filter(|live| going == Some(live.losses.0));
        live.and_then(|live| named(live.losses.0, live.losses.1.clone()))
            .or_else(|| self.selected.and_then(of))
            .or_else(|| (0..self.run.entries.len()).rev().find_map(of))
    }

    fn set_phase(&mut self, index: usize, phase: Phase) {
        if let Some(live) = &mut self.live
            && index < self.run.entries.len()
        {
            live.current = Some((index, phase));
        }
    }

    /// How long it has taken so far, or took.
    pub fn elapsed_s(&self) -> Option<f64> {
        match &self.live {
            Some(live) => Some(live.began.elapsed().as_secs_f64()),
            None => self.run.ended_at.map(|end| end.duration_since(self.run.started_at).as_secs_f64()),
        }
    }

    /// What the entry at `index` does now.
    pub fn phase_of(&self, index: usize) -> Option<&Phase> {
        let (current, phase) = self.live.as_ref()?.current.as_ref()?;
        (*current == index).then_some(phase)
    }

    /// How many entries have ended, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        let ended = self.run.entries.iter().filter(|entry| entry.outcome != Outcome::Pending).count();
        (ended, self.run.entries.len())
    }

    /// The work a byte at which the limit changes from memory to arithmetic, in FLOP/B: best f32 rate ÷ best bandwidth.
    pub fn ridge(&self) -> Option<f64> {
        let median = |entry: Option<&Entry>| entry?.headline().map(|headline| headline.summary.median);
        Some(median(self.run.best_gemm(Some(Dtype::F32)))? / median(self.run.best_bandwidth())?)
    }

    /// The finished sweep whose curve is shown: the selected one, else the first.
    pub fn sweep(&self) -> Option<&Entry> {
        let is_sweep =
            |entry: &&Entry| entry.outcome == Outcome::Done && matches!(entry.workload, Workload::BandwidthSweep(_));
        let selected = self.selected.and_then(|index| self.run.entries.get(index));
        selected.filter(is_sweep).or_else(|| self.run.entries.iter().find(is_sweep))
    }

    /// The words for how it ended.
    pub fn state_word(&self) -> &'static str {
        match (&self.live, self.run.state) {
            (Some(live), _) if live.cancelling => "Cancelling — finishing the current batch",
            (Some(_), _) => "Running",
            (None, state) => run_state_word(state),
        }
    }
}

/// How a saved run ended, in a word.
pub(super) const fn run_state_word(state: RunState) -> &'static str {
    match state {
        RunState::Running => "Not ended",
        RunState::Finished => "Finished",
        RunState::Cancelled => "Cancelled",
    }
}
