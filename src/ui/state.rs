//! What the window shows, as plain data: changed only by events and by [`super::App::perform`], read by the views.

use std::{collections::BTreeMap, path::PathBuf, str::FromStr as _};

use eframe::egui::ThemePreference;
use serde::{Deserialize, Serialize};

use super::{
    action::{Action, View},
    comparing::{CompareAction, Comparing},
    engine_state::{EngineStage, EngineWork, ListedEngine},
    listing::{Listing, RunsAction},
    reporting::Report,
    rows::capitalised,
    session::Session,
};
use crate::{
    analysis::comparison::SIDES_MAX,
    engine::EngineId,
    machine::{Conditions, Device, Machine},
    record::{Listed, RunHeader, RunState},
    run::{Event, FoundDevice, ListedModel, Plan, PlannedJob, Request, SuiteName},
    units::duration,
    workload::WorkloadKind,
};

/// More banners than this push the oldest out.
const BANNERS_MAX: usize = 4;

/// The choices that are remembered from one start to the next. Unknown values fall back to the usual ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Choices {
    /// The screen.
    pub view: View,
    /// The suite's id.
    pub suite: String,
    /// The device's id; each engine's best device if absent or gone.
    pub device: Option<String>,
    /// Engines that were taken in or left out, by name; the others are as the suite has them.
    pub engines: BTreeMap<String, bool>,
    /// The model's name, file or folder; the one that suits the device if absent.
    pub model: Option<String>,
    /// Files and folders with models that were added.
    pub model_paths: Vec<PathBuf>,
    /// Light, dark, or the system's.
    pub theme: ThemeChoice,
}

/// Light, dark, or the system's, as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ThemeChoice {
    /// As the system.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl From<ThemeChoice> for ThemePreference {
    fn from(choice: ThemeChoice) -> Self {
        match choice {
            ThemeChoice::System => Self::System,
            ThemeChoice::Light => Self::Light,
            ThemeChoice::Dark => Self::Dark,
        }
    }
}

impl From<ThemePreference> for ThemeChoice {
    fn from(preference: ThemePreference) -> Self {
        match preference {
            ThemePreference::System => Self::System,
            ThemePreference::Light => Self::Light,
            ThemePreference::Dark => Self::Dark,
        }
    }
}

impl Choices {
    /// The chosen suite.
    pub fn suite(&self) -> SuiteName {
        SuiteName::from_str(&self.suite).unwrap_or_default()
    }

    /// Whether the chosen suite runs an engine that nobody chose or left out.
    fn has_engine(&self, engine: EngineId) -> bool {
        engine.is_built_in() || self.suite().has_external_engines()
    }

    /// Takes an engine in, or leaves it out.
    pub(super) fn use_engine(&mut self, engine: EngineId, on: bool) {
        self.engines.remove(engine.id());
        if on != self.has_engine(engine) {
            self.engines.insert(engine.id().to_owned(), on);
        }
    }
}

/// The devices that can be measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Devices {
    /// The drivers are being asked.
    #[default]
    Looking,
    /// These, best first.
    Found(Vec<FoundDevice>),
    /// None; the sentence says why and what to do.
    Missing(String),
}

/// A download of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// What was asked for: "org/name".
    pub asked: String,
    /// How it stands.
    pub state: DownloadState,
    /// The file that is being loaded.
    pub file: String,
    /// Bytes that are there.
    pub done_bytes: u64,
    /// Bytes of all files; 0 until it is known.
    pub total_bytes: u64,
}

/// How a download stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownloadState {
    /// It goes on.
    Going,
    /// All is there and whole.
    Done,
    /// The person stopped it.
    Cancelled,
    /// It went wrong; the sentence says what to do.
    Failed(String),
}

/// Everything that the views read.
#[derive(Debug, Default)]
pub struct State {
    /// What the person chose.
    pub choices: Choices,
    /// The devices of all engines.
    pub devices: Devices,
    /// Engines that have no device here, each with the reason and what to do about it.
    pub absent: Vec<(EngineId, String)>,
    /// The machine, once it was looked at.
    pub machine: Option<Machine>,
    /// Its state then.
    pub conditions: Option<Conditions>,
    /// The models that can be run, once they were listed.
    pub models: Option<Vec<ListedModel>>,
    /// The engines outside the program, once they were looked for.
    pub engines: Option<Vec<ListedEngine>>,
    /// What is done with one of them, or was done last.
    pub engine_work: Option<EngineWork>,
    /// The download that goes on, or the last one.
    pub download: Option<Download>,
    /// The folder of Hugging Face's cache.
    pub hub: Option<PathBuf>,
    /// The saved runs, once they were listed.
    pub history: Option<Vec<Listed>>,
    /// Which of them are shown and picked.
    pub runs: Listing,
    /// What is compared, and how.
    pub comparing: Comparing,
    /// The run made in this window.
    pub current: Option<Session>,
    /// The newest saved run, read where none is open and a view needs one.
    pub latest: Option<Session>,
    /// The report.
    pub report: Report,
    /// A saved run being looked at.
    pub opened: Option<Session>,
    /// The file of the one that is being read to be looked at.
    pub opening: Option<PathBuf>,
    /// What went wrong beside the runs themselves, oldest first.
    pub banners: Vec<String>,
    /// A word about what was done last, where nothing else shows it.
    pub said: Option<&'static str>,
    /// A run was asked for and is being planned.
    pub starting: bool,
    /// The models or the devices may have changed.
    pub stale_models: bool,
    /// The list of saved runs or a condition may have changed.
    pub stale: bool,
}

impl State {
    /// The run to show: an opened one first.
    pub fn shown(&self) -> Option<&Session> {
        self.opened.as_ref().or(self.current.as_ref())
    }

    /// The run to show, to change what is selected.
    pub fn shown_mut(&mut self) -> Option<&mut Session> {
        self.opened.as_mut().or(self.current.as_mut())
    }

    /// Whether a run goes on.
    pub fn running(&self) -> bool {
        self.current.as_ref().is_some_and(|session| session.live.is_some())
    }

    /// Whether Cancel was asked for and the run has not ended.
    pub fn cancelling(&self) -> bool {
        let live = self.current.as_ref().and_then(|session| session.live.as_ref());
        live.is_some_and(|live| live.cancelling)
    }

    /// Every device, those of one engine after another.
    pub fn found(&self) -> &[FoundDevice] {
        match &self.devices {
            Devices::Found(devices) => devices,
            Devices::Looking | Devices::Missing(_) => &[],
        }
    }

    /// Takes in what engines outside the program have.
    pub(super) fn add_devices(&mut self, found: Vec<FoundDevice>, absent: Vec<(EngineId, String)>) {
        match &mut self.devices {
            Devices::Found(devices) => devices.extend(found),
            Devices::Looking | Devices::Missing(_) if !found.is_empty() => self.devices = Devices::Found(found),
            Devices::Looking | Devices::Missing(_) => {}
        }
        self.absent.extend(absent);
    }

    /// Every engine, in display order, and why it is absent.
    pub fn known_engines(&self) -> Vec<(EngineId, Option<&str>)> {
        let mut known: Vec<(EngineId, Option<&str>)> = self.found().iter().map(|found| (found.engine, None)).collect();
        known.extend(self.absent.iter().map(|(engine, reason)| (*engine, Some(reason.as_str()))));
        known.sort_unstable();
        known.dedup_by_key(|(engine, _)| *engine);
        known
    }

    /// Whether an engine is taken in.
    pub fn wants_engine(&self, engine: EngineId) -> bool {
        let chosen = self.choices.engines.get(engine.id()).copied();
        chosen.unwrap_or_else(|| self.choices.has_engine(engine))
    }

    /// The engines that are there and taken in; empty if they are the suite's own.
    fn wanted_engines(&self) -> Vec<EngineId> {
        let mut there: Vec<EngineId> = self.found().iter().map(|found| found.engine).collect();
        there.dedup();
        let usual = there.iter().all(|engine| self.wants_engine(*engine) == self.choices.has_engine(*engine));
        there.retain(|engine| !usual && self.wants_engine(*engine));
        there
    }

    /// The id of the device that was chosen, if it is there.
    pub fn chosen_device(&self) -> Option<&FoundDevice> {
        let chosen = self.choices.device.as_ref()?;
        self.found().iter().find(|found| found.device.id == *chosen)
    }

    /// The devices that take part: the chosen one, else each engine's best.
    pub fn taking_part(&self) -> Vec<&Device> {
        let chosen = self.chosen_device().map(|found| found.device.id.clone());
        let mut engines = Vec::new();
        let mut devices: Vec<&Device> = Vec::new();
        for found in self.found() {
            let wanted = chosen.as_ref().is_none_or(|id| *id == found.device.id) && self.wants_engine(found.engine);
            if wanted && !engines.contains(&found.engine) {
                engines.push(found.engine);
                devices.push(&found.device);
            }
        }
        devices
    }

    /// The first device that takes part.
    pub fn device(&self) -> Option<&Device> {
        self.taking_part().into_iter().next()
    }

    /// What a click on Run suite asks for.
    pub fn request(&self) -> Request {
        let mut request = Request {
            suite: self.choices.suite(),
            engines: self.wanted_engines(),
            device: self.chosen_device().map(|found| found.device.id.clone()),
            hub: self.hub.clone(),
            ..Request::default()
        };
        request.models.model.clone_from(&self.choices.model);
        request
    }

    /// What a click on Run beside a model asks for: the suite's part for language models.
    pub fn request_of(&self, model: String, precision: Option<&str>) -> Request {
        let mut request = self.request();
        request.models.model = Some(model);
        request.models.precisions = precision.and_then(|precision| precision.parse().ok()).into_iter().collect();
        // A device that no engine runs models on can't run it.
        let runs = |found: &FoundDevice| found.abilities.kinds.contains(&WorkloadKind::Inference);
        let chosen = self.choices.device.as_ref();
        if !self.found().iter().any(|found| chosen == Some(&found.device.id) && runs(found)) {
            request.device = None;
        }
        request
    }

    /// What a click on Run suite would measure. No file is read.
    pub fn planned(&self) -> Vec<PlannedJob> {
        if self.taking_part().is_empty() {
            return Vec::new();
        }
        let plan = Plan::preview(&self.request(), self.found(), self.models.as_deref().unwrap_or_default());
        plan.map_or_else(|_none| Vec::new(), |plan| plan.jobs)
    }

    /// Whether an action makes sense now.
    pub fn allows(&self, action: &Action) -> bool {
        let busy = self.running() || self.starting;
        match action {
            Action::RunSuite => self.device().is_some() && !busy && !self.downloading() && !self.keeping(),
            Action::RunModel { .. } => {
                let runs = |found: &FoundDevice| {
                    found.abilities.kinds.contains(&WorkloadKind::Inference) && self.wants_engine(found.engine)
                };
                !busy && !self.downloading() && !self.keeping() && self.found().iter().any(runs)
            }
            // Nothing is loaded from the net beside what is measured.
            Action::Download => !busy && !self.downloading(),
            Action::CancelDownload => self.downloading(),
            // Engines are started to be looked over, and measure nothing meanwhile.
            Action::PlanEngine(_)
            | Action::AskRemoveEngine(_)
            | Action::CheckEngine(_)
            | Action::ChooseEngine(..)
            | Action::ForgetEngine(_) => !busy && !self.keeping() && self.engines.is_some(),
            Action::InstallEngine => !busy && self.has_stage(|stage| matches!(stage, EngineStage::Planned(_))),
            Action::RemoveEngine(_) => !busy && self.has_stage(|stage| matches!(stage, EngineStage::AskRemove(_))),
            Action::CancelInstall => self.has_stage(|stage| matches!(stage, EngineStage::Installing(_))),
            Action::CloseEngineWork => self.engine_work.is_some() && !self.keeping(),
            Action::Cancel => self.starting || self.running() && !self.cancelling(),
            Action::Suite(_)
            | Action::Device(_)
            | Action::UseEngine(..)
            | Action::Model(_)
            | Action::LookAgain
            | Action::ChooseFiles
            | Action::ChooseFolder
            | Action::AddModel
            | Action::AddPath(_)
            | Action::ForgetPath(_)
            | Action::SaveChart
            | Action::SaveChartTo(_) => !busy,
            Action::CopyResults if self.choices.view == View::History => !self.runs.picked.is_empty(),
            Action::CopyResults | Action::CopyMarkdown if self.choices.view == View::Compare => {
                self.comparing.shown.is_some()
            }
            Action::CopyResults | Action::CopyMarkdown => self.shown().is_some(),
            // Nothing is drawn beside what is measured.
            Action::ExportChart(_) | Action::CopyChart(_) => !busy && self.has_charts(),
            Action::Comparing(CompareAction::Shown) => {
                self.shown().is_some_and(|session| session.file.is_some() && session.live.is_none())
            }
            Action::Comparing(action) => self.comparing.allows(action),
            Action::Runs(action) => self.allows_runs(action),
            Action::CopyMachine => self.machine.is_some(),
            Action::CloseRun => self.opened.is_some(),
            Action::Export(format) | Action::ExportTo(format, _) => !busy && self.report.can_export(*format),
            Action::DismissExport => self.report.written.is_some(),
            Action::DismissBanner(place) => *place < self.banners.len(),
            Action::Show(_)
            | Action::Theme(_)
            | Action::CopyText(_)
            | Action::OpenRun(_)
            | Action::Compare(_)
            | Action::OpenReference
            | Action::ReportRun(_)
            | Action::OpenFolder(_)
            | Action::Select(_)
            | Action::Palette => true,
        }
    }

    /// Whether the view shows something that can be drawn.
    fn has_charts(&self) -> bool {
        match self.choices.view {
            View::Compare => self.comparing.shown.is_some(),
            _ if self.shows_trend() => !self.runs.figures().is_empty(),
            _ => self.charted().is_some(),
        }
    }

    /// Whether one metric of the saved runs is shown over time.
    pub(super) fn shows_trend(&self) -> bool {
        self.choices.view == View::History && self.runs.trends
    }

    /// The run whose charts are in sight: the one that is shown, where the view needs one the newest.
    pub(super) fn charted(&self) -> Option<&Session> {
        let latest = self.latest.as_ref().filter(|_| self.choices.view == View::Explain);
        self.shown().or(latest)
    }

    /// Whether something can be done with the saved runs now.
    fn allows_runs(&self, action: &RunsAction) -> bool {
        // Where they are not seen, nothing is done with them.
        let is_seen = self.choices.view == View::History && !self.shows_trend();
        let picked = if is_seen { self.runs.picked.len() } else { 0 };
        match action {
            RunsAction::Open | RunsAction::Pin | RunsAction::Reveal => picked == 1,
            RunsAction::Compare => (1..=SIDES_MAX).contains(&picked),
            RunsAction::Export => picked > 0 && !self.running() && !self.starting,
            RunsAction::Delete => picked > 0,
            RunsAction::Undo | RunsAction::CloseUndo => self.runs.undo.is_some(),
            RunsAction::PickAll => self.choices.view == View::History && !self.runs.shown().is_empty(),
            RunsAction::Everything => self.runs.query.is_narrow(),
            _ => true,
        }
    }

    /// Shows the details of an entry of the run that is shown, or of none.
    pub(super) fn select(&mut self, entry: Option<usize>) {
        if let Some(session) = self.shown_mut() {
            session.selected = entry;
        }
    }

    /// Finds and sorts the saved runs anew, if they or what is looked for have changed.
    pub(super) fn refresh_runs(&mut self) {
        self.runs.refresh(self.history.as_deref().unwrap_or_default());
    }

    /// Whether work with an engine goes on.
    pub fn keeping(&self) -> bool {
        self.engine_work.as_ref().is_some_and(EngineWork::goes_on)
    }

    fn has_stage(&self, wanted: impl Fn(&EngineStage) -> bool) -> bool {
        self.engine_work.as_ref().is_some_and(|work| wanted(&work.stage))
    }

    /// Whether a download goes on.
    pub fn downloading(&self) -> bool {
        self.download.as_ref().is_some_and(|download| download.state == DownloadState::Going)
    }

    /// Takes over what the runner told.
    pub fn apply(&mut self, event: Event) {
        match &event {
            Event::Begun(run) => {
                self.opened = None;
                self.starting = false;
                self.current = Some(Session::begin((**run).clone()));
                return;
            }
            Event::SaveFailed(sentence) => self.warn(sentence),
            Event::Ended(_) => self.stale = true,
            Event::Started { .. } | Event::Progress { .. } | Event::Finished { .. } | Event::Saved(_) => {}
        }
        if let Some(current) = &mut self.current {
            current.apply(event);
        }
    }

    /// The runner told its last. Usually the run ended before; if not, it went away in its middle.
    pub fn end_lost_run(&mut self) {
        self.starting = false;
        if let Some(current) = self.current.as_mut().filter(|current| current.live.is_some()) {
            current.live = None;
            self.stale = true;
            self.warn("the run ended without a word; what was done is kept, start it again for the rest");
        }
    }

    /// Shows a sentence until it is dismissed; the same one only once.
    pub fn warn(&mut self, sentence: &str) {
        let sentence = capitalised(sentence);
        if !self.banners.contains(&sentence) {
            self.banners.push(sentence);
        }
        if self.banners.len() > BANNERS_MAX {
            self.banners.remove(0);
        }
    }

    /// How long the chosen suite takes: as the last time on this device, else at most its budget.
    pub fn expected(&self) -> String {
        let suite = self.choices.suite();
        let last = self.last_run().filter(|run| run.state == RunState::Finished);
        match last.and_then(|run| run.duration_s) {
            Some(seconds) => format!("about {}", duration(seconds.round().max(1.0))),
            None => format!("up to {}", duration(suite.budget_s())),
        }
    }

    /// The last finished run of the chosen suite on the chosen device.
    pub fn last_run(&self) -> Option<&RunHeader> {
        let (device, suite) = (self.device()?, self.choices.suite().id());
        let runs = self.history.as_ref()?.iter().filter_map(Listed::header);
        runs.filter(|run| run.suite == suite && run.device == device.name).find(|run| run.state == RunState::Finished)
    }
}
