//! Looks for the engines outside the program, and installs, removes and checks them beside the window. Nothing here blocks.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, TryRecvError},
    },
    time::{Duration, Instant},
};

use super::{
    background::taken,
    engine_state::{EngineStage, EngineWork, ListedEngine},
    state::State,
};
use crate::{
    engine::{
        EngineId, Surroundings,
        find::{self, Located, installed, settings::Settings},
    },
    measure::Cancel,
    provision::{self, Check, InstallError, InstallPlan, InstallProgress},
    run::{Runner, Wake},
    units::{Quantity, Unit},
};

/// The window is told of progress this often.
const TELL: Duration = Duration::from_millis(250);

/// A plan, and whether what it would install is there already.
type Prepared = Result<(InstallPlan, bool), InstallError>;

/// Everything under way; at most one of each.
#[derive(Default)]
pub(super) struct Keeping {
    /// Where engines are looked for; nothing is done without.
    here: Option<Surroundings>,
    /// Asks the window for a paint.
    wake: Option<Wake>,
    listing: Option<Receiver<Vec<ListedEngine>>>,
    planning: Option<Receiver<Prepared>>,
    plan: Option<InstallPlan>,
    going: Option<Going>,
    removing: Option<Receiver<Result<u64, InstallError>>>,
    checking: Option<Receiver<Vec<Check>>>,
    choosing: Option<Receiver<Result<(), String>>>,
    opening: Option<Receiver<Result<(), String>>>,
}

struct Going {
    cancel: Cancel,
    told: Arc<Mutex<Option<InstallProgress>>>,
    result: Receiver<Result<Located, InstallError>>,
}

impl Keeping {
    /// Nothing is known yet; `wake` is called when there is news.
    pub(super) fn new(wake: Wake) -> Self {
        Self { wake: Some(wake), ..Self::default() }
    }

    /// Says where engines are looked for.
    pub(super) fn set_surroundings(&mut self, here: Surroundings) {
        self.here = Some(here);
    }

    /// Where engines are looked for.
    pub(super) const fn surroundings(&self) -> Option<&Surroundings> {
        self.here.as_ref()
    }

    /// Whether anything is under way that ends by itself.
    pub(super) const fn waits(&self) -> bool {
        let looks = self.listing.is_some() || self.planning.is_some() || self.checking.is_some();
        looks || self.removing.is_some() || self.choosing.is_some()
    }

    /// Looks for all engines.
    pub(super) fn list(&mut self, runner: &Runner) {
        if let Some(here) = self.here.clone() {
            self.listing = Some(runner.ask(move || listed(&here)));
        }
    }

    /// Finds out what an installation would do.
    pub(super) fn prepare(&mut self, runner: &Runner, engine: EngineId) -> Option<EngineWork> {
        let here = self.here.clone()?;
        let work = move || {
            let plan = provision::plan(engine, &here)?;
            let current = provision::installed_bytes(engine, &here).is_some() && plan.is_current();
            Ok((plan, current))
        };
        self.planning = Some(runner.ask(work));
        Some(EngineWork { engine, stage: EngineStage::Planning })
    }

    /// Does what the plan says that was shown.
    pub(super) fn install(&mut self, runner: &Runner) -> Option<EngineWork> {
        let plan = self.plan.take()?;
        let (engine, cancel, told) = (plan.engine, Cancel::default(), Arc::new(Mutex::new(None)));
        let (heard, teller, wake) = (cancel.clone(), Arc::clone(&told), self.wake.clone());
        let work = move || {
            let mut last: Option<Instant> = None;
            let mut progress = |progress: InstallProgress| {
                *teller.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
                if last.is_none_or(|last| last.elapsed() >= TELL) {
                    last = Some(Instant::now());
                    if let Some(wake) = &wake {
                        wake();
                    }
                }
            };
            provision::install(&plan, &heard, &mut progress)
        };
        self.going = Some(Going { cancel, told, result: runner.download(work) });
        Some(EngineWork { engine, stage: EngineStage::Installing(None) })
    }

    /// Asks the installation to stop.
    pub(super) fn cancel(&self) {
        if let Some(going) = &self.going {
            going.cancel.request();
        }
    }

    /// Stops the installation for the end of the program, and gives it a moment to clear away what it began.
    pub(super) fn end(&self) {
        const MOMENT: Duration = Duration::from_secs(2);
        self.cancel();
        if let Some(going) = &self.going {
            going.result.recv_timeout(MOMENT).ok();
        }
    }

    /// Removes what Roofline installed of an engine.
    pub(super) fn remove(&mut self, runner: &Runner, engine: EngineId) -> Option<EngineWork> {
        let here = self.here.clone()?;
        self.removing = Some(runner.ask(move || provision::remove(engine, &here)));
        Some(EngineWork { engine, stage: EngineStage::Removing })
    }

    /// Looks an engine over.
    pub(super) fn check(&mut self, runner: &Runner, engine: EngineId) -> Option<EngineWork> {
        let here = self.here.clone()?;
        let work = move || provision::doctor(engine, &here, &mut |located| provision::hello(located, &here));
        self.checking = Some(runner.ask(work));
        Some(EngineWork { engine, stage: EngineStage::Checking })
    }

    /// Chooses where an engine is; without a path, the first that is found is used again.
    pub(super) fn choose(&mut self, runner: &Runner, engine: EngineId, path: Option<PathBuf>) {
        let Some(here) = self.here.clone() else { return };
        let work = move || Settings::read(&here)?.choose(engine, path.as_deref());
        self.choosing = Some(runner.ask(work));
    }

    /// Opens a folder in the system's file manager.
    pub(super) fn open_folder(&mut self, runner: &Runner, folder: PathBuf) {
        self.opening = Some(runner.aside(move || open_folder(&folder)));
    }

    /// Takes over what has arrived. True when engines may have come or gone.
    pub(super) fn poll(&mut self, state: &mut State) -> bool {
        if let Some(Ok(list)) = taken(&mut self.listing) {
            state.engines = Some(list);
        }
        if let Some(Ok(Err(why))) = taken(&mut self.opening) {
            state.warn(&why);
        }
        self.poll_plan(state);
        match taken(&mut self.checking) {
            Some(Ok(checks)) => set_stage(state, EngineStage::Checked(checks)),
            Some(Err(())) => set_stage(state, EngineStage::Failed("it could not be looked over; try again".to_owned())),
            None => {}
        }
        let mut changed = self.poll_going(state);
        match taken(&mut self.removing) {
            Some(Ok(Ok(bytes))) => {
                set_stage(state, EngineStage::Removed(bytes));
                changed = true;
            }
            Some(Ok(Err(error))) => set_stage(state, EngineStage::Failed(error.to_string())),
            Some(Err(())) => set_stage(state, EngineStage::Failed("it could not be removed; try again".to_owned())),
            None => {}
        }
        match taken(&mut self.choosing) {
            Some(Ok(Ok(()))) => changed = true,
            Some(Ok(Err(why))) => state.warn(&why),
            Some(Err(())) | None => {}
        }
        changed
    }

    fn poll_plan(&mut self, state: &mut State) {
        match taken(&mut self.planning) {
            Some(Ok(Ok((_, true)))) => set_stage(state, EngineStage::Current),
            Some(Ok(Ok((plan, false)))) => {
                set_stage(state, EngineStage::Planned(plan.text()));
                self.plan = Some(plan);
            }
            Some(Ok(Err(error))) => set_stage(state, EngineStage::Failed(error.to_string())),
            Some(Err(())) => set_stage(state, EngineStage::Failed("it could not be planned; try again".to_owned())),
            None => {}
        }
    }

    fn poll_going(&mut self, state: &mut State) -> bool {
        let Some(install) = &self.going else { return false };
        if let Some(told) = install.told.lock().unwrap_or_else(PoisonError::into_inner).take() {
            set_stage(state, EngineStage::Installing(Some(told)));
        }
        let reached = match install.result.try_recv() {
            Err(TryRecvError::Empty) => return false,
            Ok(Ok(located)) => EngineStage::Installed(versions(&located)),
            Ok(Err(InstallError::Cancelled)) => EngineStage::Cancelled,
            Ok(Err(error)) => EngineStage::Failed(error.to_string()),
            Err(TryRecvError::Disconnected) => EngineStage::Failed("the installation ended without a word".to_owned()),
        };
        self.going = None;
        let changed = matches!(reached, EngineStage::Installed(_));
        set_stage(state, reached);
        changed
    }
}

fn set_stage(state: &mut State, reached: EngineStage) {
    if let Some(work) = &mut state.engine_work {
        work.stage = reached;
    }
}

/// "torch 2.15.0, transformers 5.23.0".
pub(super) fn versions(located: &Located) -> String {
    located.versions.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", ")
}

/// Every engine that is not part of the program, in display order, then those of the engines folder.
fn listed(here: &Surroundings) -> Vec<ListedEngine> {
    let one = |engine: EngineId, found| ListedEngine {
        engine,
        found,
        chosen: Settings::read(here).and_then(|settings| settings.path(engine)).is_ok_and(|path| path.is_some()),
        installed_bytes: provision::installed_bytes(engine, here),
        folder: installed::folder_of(engine, here).filter(|folder| folder.is_dir()),
    };
    let known = EngineId::ALL.into_iter().filter(|engine| !engine.is_built_in());
    let known = known.map(|engine| one(engine, find::find(engine, here)));
    let custom = find::custom(here).into_iter().map(|(engine, found)| one(engine, Ok(found)));
    known.chain(custom).collect()
}

fn open_folder(folder: &Path) -> Result<(), String> {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let done = Command::new(program).arg(folder).status();
    match done {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!("the folder could not be opened with {program}; open it by its path: {}", folder.display())),
    }
}

/// "5.600 GB".
pub(super) fn size(bytes: u64) -> String {
    Quantity::new(bytes as f64, Unit::Byte).to_string()
}
