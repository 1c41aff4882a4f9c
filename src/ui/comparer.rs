//! Reads the runs that are compared and compares them, both on the background lane; nothing here blocks.
//!
//! While something is measured nothing is read and nothing compared: the choice is kept, and answered when the run has ended.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc::Receiver},
};

use super::{
    action::View,
    background::taken,
    comparing::{Chosen, CompareAction, RunSource, Shown, name_of},
    state::State,
};
use crate::{
    analysis::comparison::SIDES_MAX,
    record::{self, Listed, Run, Store},
    run::Runner,
};

/// More files at once than this are a mistake.
const FILES_MAX: usize = 64;

/// More requests than this don't wait for a run to end.
const REQUESTS_MAX: usize = 16;

/// So many files that can't be read are named one by one.
const NAMED_MAX: usize = 2;

/// Runs to be read.
struct Wanted {
    sources: Vec<RunSource>,
    /// They take the place of what was compared.
    replace: bool,
}

/// What reading gave.
struct Read {
    runs: Vec<(RunSource, Run)>,
    failed: Vec<String>,
    /// How many found no room.
    left_out: usize,
    replace: bool,
}

/// What is under way for the Compare view.
#[derive(Default)]
pub(super) struct Comparer {
    wanted: Vec<Wanted>,
    reading: Option<Receiver<Read>>,
    comparing: Option<(u64, Receiver<Result<Shown, String>>)>,
}

impl Comparer {
    /// Whether anything is under way.
    pub(super) fn waits(&self) -> bool {
        self.reading.is_some() || self.comparing.is_some() || !self.wanted.is_empty()
    }

    /// Compares these files: several take the place of what is compared, one joins it.
    pub(super) fn compare(&mut self, state: &mut State, paths: Vec<PathBuf>) {
        let replace = paths.len() > 1;
        self.want(state, paths.into_iter().map(RunSource::File).collect(), replace);
    }

    /// Holds a saved run against the pinned one, which then takes the first place. Where none is pinned, or it is the run itself
    /// or leads already, the run joins what is compared.
    pub(super) fn hold_against_baseline(&mut self, state: &mut State, file: PathBuf) {
        let mut headers = state.history.iter().flatten().filter_map(Listed::header);
        let pinned = headers.find(|header| header.pinned).map(|header| header.path.clone());
        let comparing = &mut state.comparing;
        comparing.change(&CompareAction::Engines(None));
        let pinned = pinned.filter(|pinned| *pinned != file && comparing.baseline_file() != Some(pinned));
        let source = RunSource::of(file);
        if let Some(pinned) = pinned {
            return self.want(state, vec![RunSource::File(pinned), source], true);
        }
        let is_new = !comparing.holds(&source);
        self.want(state, is_new.then_some(source).into_iter().collect(), false);
    }

    /// Takes in runs, to be read: what is compared stays as it is until they have been.
    pub(super) fn want(&mut self, state: &mut State, sources: Vec<RunSource>, replace: bool) {
        state.choices.view = View::Compare;
        if sources.len() > FILES_MAX {
            state.warn(&format!(
                "{} files were given, and {SIDES_MAX} runs can be compared; choose some",
                sources.len()
            ));
        } else if self.wanted.len() >= REQUESTS_MAX {
            state.warn("too many runs wait to be read; wait for the run that goes on to end");
        } else if !sources.is_empty() {
            self.wanted.push(Wanted { sources, replace });
        }
    }

    /// Changes what is compared.
    pub(super) fn change(&mut self, state: &mut State, action: CompareAction) {
        match action {
            CompareAction::Add(sources) => self.want(state, sources, false),
            other => state.comparing.change(&other),
        }
    }

    /// Takes over what has arrived, and asks for what is needed next.
    pub(super) fn poll(&mut self, runner: &Runner, store: &Store, state: &mut State) {
        if let Some(read) = taken(&mut self.reading) {
            match read {
                Ok(read) => take(read, store.folder(), state),
                Err(()) => {
                    state.warn("the runs could not be read; try again, or run `roofline compare` for the reason");
                }
            }
        }
        self.take_answer(state);
        let busy = state.running() || state.starting;
        if !busy && self.reading.is_none() && !self.wanted.is_empty() {
            let wanted = self.wanted.remove(0);
            let room = if wanted.replace { SIDES_MAX } else { state.comparing.room() };
            let kept = state.comparing.chosen.iter().filter(|_| !wanted.replace);
            let known: Vec<RunSource> = kept.map(|chosen| chosen.source.clone()).collect();
            self.reading = Some(runner.background(move || read(wanted, &known, room)));
        }
        state.comparing.reading = self.reading.is_some() || !self.wanted.is_empty();
        let is_idle = !busy && self.comparing.is_none() && state.comparing.pending;
        if let Some(question) = state.comparing.question().filter(|_| is_idle) {
            let choice = question.choice;
            self.comparing = Some((choice, runner.background(move || question.answer())));
        }
    }

    /// An answer to a choice that was changed meanwhile is dropped, and the new one is asked.
    fn take_answer(&mut self, state: &mut State) {
        let Some((choice, receiver)) = self.comparing.take() else { return };
        let mut waiting = Some(receiver);
        let answer = taken(&mut waiting);
        self.comparing = waiting.map(|receiver| (choice, receiver));
        let comparing = &mut state.comparing;
        if choice != comparing.choice {
            return;
        }
        match answer {
            None => {}
            Some(Ok(Ok(shown))) => {
                comparing.shown = Some(shown);
                comparing.pending = false;
            }
            Some(Ok(Err(error))) => {
                (comparing.shown, comparing.pending, comparing.error) = (None, false, Some(error));
            }
            Some(Err(())) => {
                (comparing.shown, comparing.pending) = (None, false);
                comparing.error = Some("the runs could not be compared; take one out, or report this".to_owned());
            }
        }
    }
}

/// Reads what fits, one after another.
fn read(wanted: Wanted, known: &[RunSource], room: usize) -> Read {
    let mut read = Read { runs: Vec::new(), failed: Vec::new(), left_out: 0, replace: wanted.replace };
    for source in wanted.sources {
        if known.contains(&source) || read.runs.iter().any(|(other, _)| *other == source) {
            read.failed.push(format!("this run is compared already: {}", place(&source)));
        } else if read.runs.len() >= room {
            read.left_out += 1;
        } else {
            let run = match &source {
                RunSource::Reference => record::reference(),
                RunSource::File(path) => record::open(path),
            };
            match run {
                Ok(run) => read.runs.push((source, run)),
                Err(error) => read.failed.push(error.to_string()),
            }
        }
    }
    read
}

/// Takes in what was read; what was compared before is lost only if something takes its place.
fn take(read: Read, folder: &Path, state: &mut State) {
    let mut failed = read.failed;
    if read.replace && !read.runs.is_empty() {
        state.comparing.chosen.clear();
        state.comparing.engines = None;
    }
    for (source, run) in read.runs {
        let chosen = &mut state.comparing.chosen;
        let twin = chosen.iter().position(|chosen| chosen.run.id == run.id && *chosen.run == run);
        if twin.is_some() {
            failed.push(format!("this run is compared already, from another file: {}", place(&source)));
        } else if chosen.len() < SIDES_MAX {
            let name = name_of(&source, folder);
            let given = run.about.as_ref().and_then(|about| about.name.clone());
            chosen.push(Chosen { name, source, run: Arc::new(run), given });
        }
    }
    if read.left_out > 0 {
        let these = if read.left_out == 1 { "a run was".to_owned() } else { format!("{} runs were", read.left_out) };
        state.warn(&format!("{these} not taken in, for {SIDES_MAX} are compared at most; take one out first"));
    }
    let more = failed.len().saturating_sub(NAMED_MAX);
    for sentence in failed.iter().take(NAMED_MAX) {
        state.warn(sentence);
    }
    if more > 0 {
        state.warn(&format!("{more} more files could not be taken in"));
    }
    state.comparing.touch();
}

fn place(source: &RunSource) -> String {
    match source {
        RunSource::Reference => record::REFERENCE.to_owned(),
        RunSource::File(path) => path.display().to_string(),
    }
}
