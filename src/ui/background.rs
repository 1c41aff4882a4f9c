//! What the window waits for from the background lane; nothing here blocks.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
    time::{Duration, Instant},
};

use super::{
    action::View,
    session::Session,
    state::{Devices, State},
};
use crate::{
    engine::{Engine, EngineId},
    machine::{self, Conditions, Machine},
    model::resolve,
    record::{LoadError, SaveError, Store},
    run::{FoundDevice, ListedModel, Plan, PlanError, Request, Runner, catalogue},
};

/// What one look at the machine gives.
struct Facts {
    machine: Machine,
    conditions: Conditions,
    devices: Devices,
    absent: Vec<(EngineId, String)>,
}

/// More files than these are not looked at together.
const ADDING_MAX: usize = 64;

/// Devices that were found, and the engines that have none with the reason.
type Found = (Vec<FoundDevice>, Vec<(EngineId, String)>);

/// A saved run that was read, with the charts and the comparison that are shown of it: finding those takes a while too.
pub(super) type Opened = Result<Box<Session>, LoadError>;

/// Everything under way.
#[derive(Default)]
pub(super) struct Background {
    facts: Option<Receiver<Facts>>,
    conditions: Option<Receiver<Conditions>>,
    /// When the conditions were read.
    looked: Option<Instant>,
    /// What engines outside the program have: their frameworks take seconds to say so.
    others: Option<Receiver<Found>>,
    writable: Option<Receiver<Result<(), SaveError>>>,
    opening: Option<Receiver<Opened>>,
    plan: Option<Receiver<Result<Plan, PlanError>>>,
    models: Option<Receiver<Vec<ListedModel>>>,
    adding: Vec<(PathBuf, Receiver<Result<(), String>>)>,
}

/// What has arrived, if anything; the receiver is dropped when it has, or when its work died.
pub(super) fn taken<T>(waiting: &mut Option<Receiver<T>>) -> Option<Result<T, ()>> {
    let got = match waiting.as_ref()?.try_recv() {
        Ok(value) => Ok(value),
        Err(TryRecvError::Empty) => return None,
        Err(TryRecvError::Disconnected) => Err(()),
    };
    *waiting = None;
    Some(got)
}

impl Background {
    /// Looks at the machine and asks every engine for its devices: those of the program first.
    pub(super) fn look(&mut self, runner: &Runner, engines: &Arc<[Box<dyn Engine>]>) {
        let (own, all) = (Arc::clone(engines), Arc::clone(engines));
        // Drivers may be slow to answer: no list waits for them.
        self.facts = Some(runner.aside(move || {
            let (found, absent) = find(&own, true);
            let reasons: Vec<&str> = absent.iter().map(|(_, reason)| reason.as_str()).collect();
            let devices = if found.is_empty() { Devices::Missing(reasons.join("; ")) } else { Devices::Found(found) };
            Facts { machine: machine::detect(), conditions: machine::conditions(true), devices, absent }
        }));
        self.others = Some(runner.aside(move || find(&all, false)));
    }

    /// Reads the machine's conditions anew, if they were read some seconds ago and nothing is measured: what is shown of them
    /// is as old as the last frame.
    pub(super) fn renew_conditions(&mut self, runner: &Runner, state: &State) {
        const OLD: Duration = Duration::from_secs(5);
        let idle = !state.running() && !state.starting && self.conditions.is_none();
        let is_shown = matches!(state.choices.view, View::Run | View::Machine);
        if idle && is_shown && self.looked.is_some_and(|looked| looked.elapsed() >= OLD) {
            self.conditions = Some(runner.ask(|| machine::conditions(true)));
        }
    }

    /// Proves that runs can be saved.
    pub(super) fn check_writable(&mut self, runner: &Runner, store: &Store) {
        let store = store.clone();
        self.writable = Some(runner.background(move || store.check_writable()));
    }

    /// Reads a saved run.
    pub(super) fn open(&mut self, runner: &Runner, path: PathBuf) {
        let read = move || Store::load(&path).map(|run| Box::new(Session::saved(run, path)));
        self.opening = Some(runner.background(read));
    }

    /// Lists the models.
    pub(super) fn list_models(&mut self, runner: &Runner, state: &State) {
        let (found, hub) = (state.found().to_vec(), state.hub.clone());
        let paths = state.choices.model_paths.clone();
        self.models = Some(runner.ask(move || catalogue(&found, hub.as_deref(), &paths)));
    }

    /// Looks whether a file or folder holds a model. False where too many are being looked at.
    pub(super) fn add_model(&mut self, runner: &Runner, path: PathBuf) -> bool {
        if self.adding.len() >= ADDING_MAX {
            return false;
        }
        let looked = path.clone();
        let look = move || {
            let beside = catalogue(&[], None, std::slice::from_ref(&looked));
            let holds_some = beside.iter().any(|listed| listed.path.is_some() && listed.forms.is_ok());
            let asked = looked.to_string_lossy();
            let resolved = resolve(&asked, None, None).map(drop).map_err(|error| error.to_string());
            if holds_some { Ok(()) } else { resolved }
        };
        self.adding.push((path, runner.ask(look)));
        true
    }

    /// Makes the plan for a request.
    pub(super) fn plan(&mut self, runner: &Runner, engines: &Arc<[Box<dyn Engine>]>, request: Request) {
        let engines = Arc::clone(engines);
        self.plan = Some(runner.background(move || Plan::make(&request, &engines)));
    }

    /// What is being opened is wanted no longer.
    pub(super) fn forget_opening(&mut self) {
        self.opening = None;
    }

    /// Forgets the plan that is being made.
    pub(super) fn drop_plan(&mut self) {
        self.plan = None;
    }

    /// Whether anything is under way.
    pub(super) fn waits(&self) -> bool {
        let listing = self.writable.is_some() || self.opening.is_some();
        let models = self.models.is_some() || !self.adding.is_empty();
        listing || models || self.facts.is_some() || self.others.is_some() || self.plan.is_some()
    }

    /// Takes over what has arrived. A plan that has is returned, to be started.
    pub(super) fn poll(&mut self, state: &mut State) -> Option<Plan> {
        match taken(&mut self.facts) {
            Some(Ok(facts)) => {
                state.machine = Some(facts.machine);
                state.conditions = Some(facts.conditions);
                state.devices = facts.devices;
                state.absent = facts.absent;
                state.stale_models = true;
                self.looked = Some(Instant::now());
            }
            Some(Err(())) => state.devices = Devices::Missing("the drivers could not be asked; look again".to_owned()),
            None => {}
        }
        if let Some(Ok(conditions)) = taken(&mut self.conditions) {
            state.conditions = Some(conditions);
            self.looked = Some(Instant::now());
        }
        if self.facts.is_none()
            && let Some(Ok((found, absent))) = taken(&mut self.others)
        {
            state.add_devices(found, absent);
        }
        if let Some(Ok(models)) = taken(&mut self.models) {
            state.models = Some(models);
        }
        self.poll_adding(state);
        if let Some(Ok(Err(error))) = taken(&mut self.writable) {
            state.warn(&error.to_string());
        }
        self.poll_opening(state);
        // Nothing is measured while frameworks are still being started to ask them for their devices.
        if self.others.is_some() {
            return None;
        }
        match taken(&mut self.plan)? {
            Ok(Ok(plan)) => return Some(plan),
            Ok(Err(error)) => state.warn(&error.to_string()),
            Err(()) => state.warn("the run could not be planned; look for devices again"),
        }
        state.starting = false;
        None
    }

    fn poll_adding(&mut self, state: &mut State) {
        self.adding.retain(|(path, receiver)| {
            match receiver.try_recv() {
                Err(TryRecvError::Empty) => return true,
                Ok(Ok(())) => {
                    if !state.choices.model_paths.contains(path) {
                        state.choices.model_paths.push(path.clone());
                    }
                    state.stale_models = true;
                }
                Ok(Err(error)) => state.warn(&error),
                Err(TryRecvError::Disconnected) => state.warn("the model could not be looked at; try again"),
            }
            false
        });
    }

    fn poll_opening(&mut self, state: &mut State) {
        let opened = taken(&mut self.opening);
        if opened.is_some() {
            state.opening = None;
        }
        match opened {
            Some(Ok(Ok(session))) => state.opened = Some(*session),
            Some(Ok(Err(error))) => state.warn(&error.to_string()),
            Some(Err(())) => state.warn("the run could not be opened; try again"),
            None => {}
        }
    }
}

/// The devices of engines, those of the program or the others, best first.
fn find(engines: &[Box<dyn Engine>], built_in: bool) -> Found {
    let (mut found, mut absent) = (Vec::new(), Vec::new());
    for engine in engines.iter().filter(|engine| engine.id().is_built_in() == built_in) {
        match FoundDevice::all(engine.as_ref()) {
            Ok(devices) => found.extend(devices),
            Err(reason) => absent.push((engine.id(), reason)),
        }
    }
    (found, absent)
}
