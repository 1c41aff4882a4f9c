//! One run as the window shows it: while it goes on, when it has ended, or opened from the history.

use std::{path::PathBuf, time::Instant};

use crate::{
    chart::{Series, Timeline},
    measure::{Phase, Progress},
    record::{Entry, Outcome, Run, RunState},
    run::Event,
    workload::{Dtype, Workload},
};

/// A run with what is only shown.
#[derive(Debug)]
pub struct Session {
    /// The run as far as it is.
    pub run: Run,
    /// The lines of its charts.
    pub timeline: Timeline,
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
}

impl Session {
    /// A run that begins now.
    pub fn begin(run: Run) -> Self {
        let live = Live { began: Instant::now(), current: None, cancelling: false };
        Self { run, timeline: Timeline::default(), live: Some(live), selected: None, file: None }
    }

    /// A run read from a file.
    pub fn saved(run: Run, file: PathBuf) -> Self {
        Self { timeline: Timeline::of(&run), run, live: None, selected: None, file: Some(file) }
    }

    /// Takes over what the runner told. Indices that are not in the run are ignored.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Begun(run) => *self = Self::begin(*run),
            Event::Started { index } => self.set_phase(index, Phase::Preparing),
            Event::Progress { index, progress: Progress::Phase(phase) } => self.set_phase(index, phase),
            Event::Progress { index, progress: Progress::Value { unit, value, warm_up, at, .. } } => {
                let series = self.run.entries.get(index).and_then(|entry| Series::of(&entry.workload));
                if let Some(series) = series.filter(|series| series.unit() == unit) {
                    let began = self.live.as_ref().map_or(at, |live| live.began);
                    let at_s = at.saturating_duration_since(began).as_secs_f64();
                    self.timeline.push(index, series, [at_s, value], warm_up);
                }
            }
            Event::Finished { index, entry } => {
                if let Some(place) = self.run.entries.get_mut(index) {
                    *place = *entry;
                }
                if let Some(live) = &mut self.live {
                    live.current = None;
                }
            }
            Event::Saved(path) => self.file = Some(path),
            Event::SaveFailed(_) => {}
            Event::Ended(run) => {
                self.run = *run;
                self.live = None;
            }
        }
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
