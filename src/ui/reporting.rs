//! The report's runs, its preview and its exports, made beside the window. Nothing here blocks.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
};

use super::{
    action::{Action, View},
    background::{Opened, taken},
    choosing::{self, Answer},
    comparing::{RunSource, name_of},
    exporting::{self, ExportFormat},
    session::Session,
    state::State,
};
use crate::{
    export::{self, Document},
    record::{self, About, Listed, Run, RunState, Store},
    run::Runner,
};

/// More runs than these are no report that anyone reads.
pub const REPORT_RUNS_MAX: usize = 6;

/// A run that can be reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportRun {
    /// The one that is open, else the latest.
    Shown,
    /// The reference that comes along.
    Reference,
    /// A saved one, by its file.
    Saved(PathBuf),
}

/// The report as the window knows it.
#[derive(Debug)]
pub struct Report {
    /// The runs, in order.
    pub chosen: Vec<ReportRun>,
    /// What was made of them last.
    pub(super) preview: Option<Preview>,
    /// How often one was made: tells a new one from the last.
    pub(super) made: u64,
    /// The newest saved run is being read for it.
    pub reading_latest: bool,
    /// It is being made.
    pub making: bool,
    /// Why it could not be.
    pub problem: Option<String>,
    /// Something is being written.
    pub writing: Option<ExportFormat>,
    /// What was written last, until it is dismissed.
    pub written: Option<PathBuf>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            chosen: vec![ReportRun::Shown],
            preview: None,
            made: 0,
            reading_latest: false,
            making: false,
            problem: None,
            writing: None,
            written: None,
        }
    }
}

/// A report that can be looked at and written.
#[derive(Debug)]
pub(super) struct Preview {
    key: Key,
    /// Its runs.
    pub(super) runs: Arc<Vec<Run>>,
    /// What a command line calls them; empty where it can't.
    names: Vec<String>,
    /// What is drawn.
    pub(super) documents: Vec<Document>,
}

impl Report {
    /// Whether it can be written so now.
    pub(super) fn can_export(&self, format: ExportFormat) -> bool {
        let fits = |preview: &Preview| match preview.runs.len() {
            0 => false,
            1 => true,
            _ => !format.is_of_one(),
        };
        self.writing.is_none() && !self.making && self.preview.as_ref().is_some_and(fits)
    }

    /// Takes a run in, or leaves it out; the last one stays.
    fn toggle(&mut self, run: ReportRun) {
        if let Some(place) = self.chosen.iter().position(|chosen| *chosen == run) {
            if self.chosen.len() > 1 {
                self.chosen.remove(place);
            }
        } else if self.chosen.len() < REPORT_RUNS_MAX {
            self.chosen.push(run);
        }
    }
}

/// What a preview was made of: the runs, the open run's id, and what a person wrote about each.
type Key = (Vec<ReportRun>, Option<(String, PathBuf)>, Vec<About>);

type Made = Result<(Arc<Vec<Run>>, Vec<String>, Vec<Document>), String>;

/// Everything under way; at most one of each.
#[derive(Default)]
pub(super) struct Reporting {
    latest: Option<Receiver<Opened>>,
    /// The file that was read as the latest, whatever came of it.
    tried: Option<PathBuf>,
    opening: Option<Receiver<Opened>>,
    making: Option<(Key, Receiver<Made>)>,
    asking: Option<(ExportFormat, Receiver<Answer>)>,
    writing: Option<Receiver<Result<PathBuf, String>>>,
}

impl Reporting {
    /// Whether anything is under way that ends by itself.
    pub(super) const fn waits(&self) -> bool {
        self.latest.is_some() || self.opening.is_some() || self.making.is_some() || self.writing.is_some()
    }

    /// The reference is wanted no longer, if it was being opened.
    pub(super) fn forget_opening(&mut self) {
        self.opening = None;
    }

    /// Does what is wanted of the report.
    pub(super) fn perform(&mut self, runner: &Runner, state: &mut State, action: Action) {
        match action {
            Action::ReportRun(run) => state.report.toggle(run),
            Action::Export(format) => self.ask(runner, state, format),
            Action::ExportTo(format, path) => self.write(runner, state, format, path),
            Action::DismissExport => state.report.written = None,
            Action::OpenReference => {
                // Elsewhere nothing of it would be seen.
                if !matches!(state.choices.view, View::Run | View::Explain | View::Report) {
                    state.choices.view = View::Run;
                }
                let file = PathBuf::from(record::REFERENCE);
                state.opening = Some(file.clone());
                let read = move || record::reference().map(|run| Box::new(Session::saved(run, file)));
                self.opening = Some(runner.background(read));
            }
            _ => {}
        }
    }

    /// Opens the system's dialog for where it goes, unless one is open.
    fn ask(&mut self, runner: &Runner, state: &State, format: ExportFormat) {
        let Some(preview) = state.report.preview.as_ref().filter(|_| self.asking.is_none()) else { return };
        let title = format!("Export as {}", format.title());
        let dialog = rfd::AsyncFileDialog::new().set_title(title);
        let receiver = if let Some(end) = format.extension() {
            let name = exporting::file_name(&preview.runs, format);
            let dialog = dialog.add_filter(format.title(), &[end]).set_file_name(name);
            choosing::wait(runner, choosing::single(dialog.save_file()))
        } else {
            choosing::wait(runner, choosing::single(dialog.pick_folder()))
        };
        self.asking = Some((format, receiver));
    }

    fn write(&mut self, runner: &Runner, state: &mut State, format: ExportFormat, path: PathBuf) {
        let Some(preview) = &state.report.preview else { return };
        let (runs, names) = (Arc::clone(&preview.runs), preview.names.clone());
        state.report.writing = Some(format);
        state.report.written = None;
        let work = move || exporting::write(&runs, &names, format, &path);
        self.writing = Some(runner.background(work));
    }

    /// Takes over what has arrived, and begins what the view that is shown needs.
    pub(super) fn poll(&mut self, runner: &Runner, folder: &Path, state: &mut State) {
        self.poll_latest(state);
        if let Some(opened) = taken(&mut self.opening) {
            state.opening = None;
            match opened {
                Ok(Ok(session)) => state.opened = Some(*session),
                Ok(Err(error)) => state.warn(&error.to_string()),
                Err(()) => {}
            }
        }
        self.poll_making(state);
        self.poll_asking(runner, state);
        if let Some(result) = taken(&mut self.writing) {
            state.report.writing = None;
            match result {
                Ok(Ok(path)) => state.report.written = Some(path),
                Ok(Err(why)) => state.warn(&why),
                Err(()) => state.warn("the export ended without a word; try again"),
            }
        }
        if matches!(state.choices.view, View::Explain | View::Report) {
            self.read_latest(runner, state);
        }
        if state.choices.view == View::Report {
            self.make(runner, folder, state);
        }
    }

    fn poll_latest(&mut self, state: &mut State) {
        let Some(read) = taken(&mut self.latest) else { return };
        match read {
            Ok(Ok(session)) => state.latest = Some(*session),
            Ok(Err(error)) => state.warn(&error.to_string()),
            Err(()) => {}
        }
        state.report.reading_latest = false;
    }

    /// Reads the newest saved run, where none is open.
    fn read_latest(&mut self, runner: &Runner, state: &mut State) {
        if state.shown().is_some() || self.latest.is_some() {
            return;
        }
        let newest = state.history.iter().flatten().find_map(|listed| match listed {
            Listed::Run(header) if header.state != RunState::Running => Some(header.path.clone()),
            _ => None,
        });
        if newest.is_none() {
            state.latest = None;
        }
        let Some(path) = newest.filter(|path| self.tried.as_ref() != Some(path)) else { return };
        self.tried = Some(path.clone());
        state.report.reading_latest = true;
        let read = move || Store::load(&path).map(|run| Box::new(Session::saved(run, path)));
        self.latest = Some(runner.background(read));
    }

    fn poll_making(&mut self, state: &mut State) {
        let Some((key, receiver)) = self.making.take() else { return };
        let made = match receiver.try_recv() {
            Ok(made) => made,
            Err(TryRecvError::Empty) => {
                self.making = Some((key, receiver));
                return;
            }
            Err(TryRecvError::Disconnected) => Err("the report could not be made of these runs".to_owned()),
        };
        state.report.making = false;
        state.report.made += 1;
        match made {
            Ok((runs, names, documents)) => {
                state.report.problem = None;
                state.report.preview = Some(Preview { key, runs, names, documents });
            }
            Err(why) => {
                state.report.problem = Some(why);
                state.report.preview =
                    Some(Preview { key, runs: Arc::default(), names: Vec::new(), documents: Vec::new() });
            }
        }
    }

    /// Begins to make the report, if what it is made of has changed.
    fn make(&mut self, runner: &Runner, folder: &Path, state: &mut State) {
        let shown = state.shown().or(state.latest.as_ref());
        let wants_shown = state.report.chosen.contains(&ReportRun::Shown);
        // A run that goes on is reported when it has ended: nothing is worked out beside what is measured.
        let going = state.running();
        if self.making.is_some() || going || (wants_shown && shown.is_none()) {
            return;
        }
        let open = shown.filter(|_| wants_shown);
        let named = open.map(|session| (session.run.id.clone(), session.file.clone().unwrap_or_default()));
        let about = state.report.chosen.iter().map(|run| about(state, run, open)).collect();
        let key: Key = (state.report.chosen.clone(), named, about);
        if state.report.preview.as_ref().is_some_and(|preview| preview.key == key) {
            return;
        }
        let file = open.and_then(|session| session.file.clone());
        let words = key.0.iter().map(|run| word_for(run, file.as_deref(), folder)).collect();
        let (chosen, open) = (key.0.clone(), open.map(|session| session.run.clone()));
        state.report.making = true;
        self.making = Some((key, runner.background(move || made(&chosen, words, open))));
    }

    fn poll_asking(&mut self, runner: &Runner, state: &mut State) {
        let Some((format, receiver)) = self.asking.take() else { return };
        match receiver.try_recv() {
            Ok(answer) => {
                if let Some(path) = answer.paths(state).pop() {
                    self.write(runner, state, format, path);
                }
            }
            Err(TryRecvError::Empty) => self.asking = Some((format, receiver)),
            Err(TryRecvError::Disconnected) => {}
        }
    }
}

/// What is written about a run, as far as it is known here.
fn about(state: &State, run: &ReportRun, open: Option<&Session>) -> About {
    let about = match run {
        ReportRun::Shown => open.and_then(|session| session.run.about.clone()),
        ReportRun::Reference => None,
        ReportRun::Saved(path) => {
            let mut headers = state.history.iter().flatten().filter_map(Listed::header);
            headers.find(|header| header.path == *path).map(|header| header.about.clone())
        }
    };
    about.unwrap_or_default()
}

/// What a command line writes for a run; empty of one that lies nowhere, or whose name nobody can type.
fn word_for(run: &ReportRun, open: Option<&Path>, folder: &Path) -> String {
    let source = match run {
        ReportRun::Shown => open.map(|file| RunSource::of(file.to_owned())),
        ReportRun::Reference => Some(RunSource::Reference),
        ReportRun::Saved(path) => Some(RunSource::File(path.clone())),
    };
    source.and_then(|source| export::shell_word(&name_of(&source, folder))).unwrap_or_default()
}

/// Reads the runs, and makes what is drawn.
fn made(chosen: &[ReportRun], names: Vec<String>, mut open: Option<Run>) -> Made {
    let mut runs = Vec::new();
    for run in chosen {
        runs.extend(match run {
            ReportRun::Shown => open.take(),
            ReportRun::Reference => Some(record::reference().map_err(|error| error.to_string())?),
            ReportRun::Saved(path) => Some(Store::load(path).map_err(|error| error.to_string())?),
        });
    }
    let documents = export::documents(&runs, &names);
    Ok((Arc::new(runs), names, documents))
}
