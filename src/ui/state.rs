//! What the window shows, as plain data: changed only by events and by [`super::App::perform`], read by the views.

use std::str::FromStr as _;

use eframe::egui::ThemePreference;
use serde::{Deserialize, Serialize};

use super::{
    action::{Action, View},
    rows::capitalised,
    session::Session,
};
use crate::{
    machine::{Conditions, Device, Machine},
    record::{Listed, RunHeader, RunState},
    run::{Event, Request, SuiteName},
    units::duration,
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
    /// The device's id; the best device if absent or gone.
    pub device: Option<String>,
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
}

/// The devices that can be measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Devices {
    /// The drivers are being asked.
    #[default]
    Looking,
    /// These, best first.
    Found(Vec<Device>),
    /// None; the sentence says why and what to do.
    Missing(String),
}

/// Everything that the views read.
#[derive(Debug, Default)]
pub struct State {
    /// What the person chose.
    pub choices: Choices,
    /// The devices of all engines.
    pub devices: Devices,
    /// The machine, once it was looked at.
    pub machine: Option<Machine>,
    /// Its state then.
    pub conditions: Option<Conditions>,
    /// The saved runs, once they were listed.
    pub history: Option<Vec<Listed>>,
    /// The run made in this window.
    pub current: Option<Session>,
    /// A saved run being looked at.
    pub opened: Option<Session>,
    /// What went wrong beside the runs themselves, oldest first.
    pub banners: Vec<String>,
    /// A run was asked for and is being planned.
    pub starting: bool,
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

    /// The chosen device, else the best.
    pub fn device(&self) -> Option<&Device> {
        let Devices::Found(devices) = &self.devices else { return None };
        let chosen = self.choices.device.as_ref();
        devices.iter().find(|device| Some(&device.id) == chosen).or_else(|| devices.first())
    }

    /// What a click on Run suite asks for.
    pub fn request(&self) -> Request {
        Request {
            suite: self.choices.suite(),
            device: self.device().map(|device| device.id.clone()),
            ..Request::default()
        }
    }

    /// Whether an action makes sense now.
    pub fn allows(&self, action: &Action) -> bool {
        let busy = self.running() || self.starting;
        match action {
            Action::RunSuite => self.device().is_some() && !busy,
            Action::Cancel => self.starting || self.running() && !self.cancelling(),
            Action::Suite(_) | Action::Device(_) | Action::LookAgain => !busy,
            Action::CopyResults => self.shown().is_some(),
            Action::CopyMachine => self.machine.is_some(),
            Action::CloseRun => self.opened.is_some(),
            Action::DismissBanner(place) => *place < self.banners.len(),
            Action::Show(_)
            | Action::Theme(_)
            | Action::CopyText(_)
            | Action::OpenRun(_)
            | Action::Select(_)
            | Action::Palette => true,
        }
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
        let runs = self.history.as_ref()?.iter().filter_map(|listed| match listed {
            Listed::Run(header) => Some(header),
            Listed::Unreadable { .. } => None,
        });
        runs.filter(|run| run.suite == suite && run.device == device.name).find(|run| run.state == RunState::Finished)
    }
}
