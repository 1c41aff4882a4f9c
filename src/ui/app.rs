//! The window's program: takes news, performs actions, draws. The only place where the state changes.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, mpsc::TryRecvError},
    time::{Duration, Instant},
};

use eframe::egui::{Context, ThemePreference, Ui, ViewportCommand};

use super::{
    action::{Action, COPIED, EnginePath, View, pressed},
    background::Background,
    choosing::{Choosing, Wanted},
    comparer::Comparer,
    comparing::{CompareAction, CompareText, RunSource},
    engine_state::{EngineStage, EngineWork},
    fetching::Fetching,
    keeping::Keeping,
    librarian::Librarian,
    listing::RunsAction,
    machine_text,
    open::Models,
    palette::Palette,
    picturing::Picturing,
    reporting::Reporting,
    rows::{table_markdown, table_text},
    shell,
    state::{Choices, State},
    theme,
    views::models::Forms,
};
use crate::{
    engine::{self, Engine, Surroundings},
    measure::Paints,
    record::Store,
    run::{ActiveRun, Event, Plan, Request, Runner, Wake},
};

/// News taken in one frame; the rest waits for the next.
const EVENTS_A_FRAME: usize = 1024;

/// How long a closing window waits for the run to end and be saved.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// The window's program.
pub struct App {
    state: State,
    engines: Arc<[Box<dyn Engine>]>,
    store: Store,
    runner: Runner,
    paints: Paints,
    active: Option<ActiveRun>,
    background: Background,
    fetching: Fetching,
    keeping: Keeping,
    choosing: Choosing,
    picturing: Picturing,
    comparer: Comparer,
    reporting: Reporting,
    librarian: Librarian,
    palette: Option<Palette>,
    forms: Forms,
    actions: Vec<Action>,
    performed: Option<Action>,
    closing: Option<Instant>,
}

impl App {
    /// The program over `engines`, saving into `store`. Fails only if its threads can't be started.
    pub fn new(context: &Context, engines: Vec<Box<dyn Engine>>, store: Store, choices: Choices) -> io::Result<Self> {
        theme::apply(context);
        context.set_theme(ThemePreference::from(choices.theme));
        let paints = Paints::default();
        let asked = context.clone();
        paints.set_request(Arc::new(move || asked.request_repaint()));
        paints.set_open(true);
        let engines: Arc<[Box<dyn Engine>]> = engines.into();
        let (woken, quiet) = (context.clone(), paints.clone());
        // While something is timed, news waits for the paint that the lane asks for.
        let wake = Arc::new(move || {
            if !quiet.hushed() {
                woken.request_repaint();
            }
        });
        let fetching = Fetching::new(Arc::clone(&wake) as Wake);
        let keeping = Keeping::new(Arc::clone(&wake) as Wake);
        let mut librarian = Librarian::new(store.clone(), Arc::clone(&wake) as Wake)?;
        let runner = Runner::new(Arc::clone(&engines), store.clone(), wake)?;
        let mut background = Background::default();
        background.look(&runner, &engines);
        background.check_writable(&runner, &store);
        librarian.list(&runner);
        Ok(Self {
            state: State { choices, ..State::default() },
            engines,
            store,
            runner,
            paints,
            active: None,
            background,
            fetching,
            keeping,
            choosing: Choosing::default(),
            picturing: Picturing::default(),
            comparer: Comparer::default(),
            reporting: Reporting::default(),
            librarian,
            palette: None,
            forms: Forms::default(),
            actions: Vec::new(),
            performed: None,
            closing: None,
        })
    }

    /// Says where models come from, and where downloaded ones lie.
    pub fn set_models(&mut self, models: Models) {
        self.state.hub = models.hub;
        self.fetching.token = models.token;
        self.fetching.endpoint = models.endpoint;
        self.state.stale_models = true;
    }

    /// Says where engines outside the program are looked for, so that they can be installed and chosen.
    pub fn set_surroundings(&mut self, here: Surroundings) {
        self.keeping.set_surroundings(here);
        self.keeping.list(&self.runner);
    }

    /// What the window shows.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What the window shows, to set up a scene without hardware.
    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// The last action that was performed.
    pub fn performed(&self) -> Option<&Action> {
        self.performed.as_ref()
    }

    /// Whether the background lane still owes something.
    pub fn waits(&self) -> bool {
        let lists = self.background.waits() || self.librarian.waits() || self.keeping.waits();
        let work = self.comparer.waits() || self.picturing.waits() || self.reporting.waits();
        lists || work || self.state.comparing.pending
    }

    /// Does what the person wants, if it makes sense now.
    pub fn perform(&mut self, context: &Context, action: Action) {
        if !self.state.allows(&action) {
            return;
        }
        self.performed = Some(action.clone());
        self.state.said = action.copies().then_some(COPIED);
        if action.shows_a_run() {
            self.forget_opening();
        }
        match action {
            Action::RunSuite => self.plan_run(self.state.request()),
            Action::RunModel { asked, precision } => {
                let request = self.state.request_of(asked, precision.as_deref());
                self.plan_run(request);
            }
            Action::Model(model) => self.state.choices.model = model,
            Action::AddModel => {
                let path = std::mem::take(&mut self.forms.path);
                self.add_model(PathBuf::from(path.trim()));
            }
            Action::ChooseFiles => self.choosing.open(&self.runner, Wanted::ModelFiles),
            Action::ChooseFolder => self.choosing.open(&self.runner, Wanted::ModelFolder),
            Action::OpenFolder(folder) => self.keeping.open_folder(&self.runner, folder),
            Action::AddPath(path) => self.add_model(path),
            Action::ForgetPath(path) => {
                self.state.choices.model_paths.retain(|kept| *kept != path);
                self.state.stale_models = true;
            }
            Action::Download => self.download(),
            Action::CancelDownload => self.fetching.cancel(),
            Action::Cancel => self.cancel(),
            Action::Show(view) => self.state.choices.view = view,
            Action::Suite(suite) => suite.id().clone_into(&mut self.state.choices.suite),
            Action::Device(id) => self.state.choices.device = id,
            Action::UseEngine(engine, on) => self.state.choices.use_engine(engine, on),
            Action::Theme(theme) => self.take_theme(context, theme),
            Action::Compare(paths) => self.comparer.compare(&mut self.state, paths),
            Action::Comparing(action) => self.compare(context, action),
            Action::Runs(action) => self.keep_runs(context, action),
            Action::CopyResults => context.copy_text(self.results_text()),
            Action::CopyMarkdown => context.copy_text(self.results_markdown()),
            Action::ExportChart(_) | Action::CopyChart(_) | Action::SaveChart | Action::SaveChartTo(_) => {
                self.picturing.perform(&self.runner, context, &self.state, self.store.folder(), action);
            }
            Action::CopyMachine => context.copy_text(machine_text::text(&self.state)),
            Action::CopyText(text) => context.copy_text(text),
            Action::LookAgain => self.renew_engines(),
            Action::OpenRun(path) => self.open_run(path),
            Action::CloseRun => self.state.opened = None,
            Action::Select(entry) => self.state.select(entry),
            Action::DismissBanner(place) => {
                self.state.banners.remove(place);
            }
            Action::Palette => {
                self.palette = if self.palette.is_some() { None } else { Some(Palette::default()) };
            }
            other if other.is_of_report() => self.reporting.perform(&self.runner, &mut self.state, other),
            other => self.keep(&other),
        }
    }

    fn take_theme(&mut self, context: &Context, theme: ThemePreference) {
        self.state.choices.theme = theme.into();
        context.set_theme(theme);
    }

    fn open_run(&mut self, path: PathBuf) {
        self.state.choices.view = View::Run;
        self.state.opening = Some(path.clone());
        self.background.open(&self.runner, path);
    }

    /// The results of the view, for a spreadsheet.
    fn results_text(&self) -> String {
        match self.state.choices.view {
            View::Compare => self.state.comparing.text(CompareText::Tsv),
            View::History => self.state.runs.text(self.state.history.as_deref().unwrap_or_default()),
            _ => self.state.shown().map(table_text).unwrap_or_default(),
        }
    }

    /// The same as a table in Markdown.
    fn results_markdown(&self) -> String {
        match self.state.choices.view {
            View::Compare => self.state.comparing.text(CompareText::Markdown),
            _ => self.state.shown().map(table_markdown).unwrap_or_default(),
        }
    }

    /// Does what is wanted of the saved runs.
    fn keep_runs(&mut self, context: &Context, action: RunsAction) {
        if action == RunsAction::Export {
            self.choosing.open(&self.runner, Wanted::ExportFolder);
        } else if let Some(then) = self.librarian.act(&self.runner, &mut self.state, action) {
            self.perform(context, then);
        }
    }

    /// Does what is wanted of the comparison.
    fn compare(&mut self, context: &Context, action: CompareAction) {
        match action {
            CompareAction::ChooseFiles => self.choosing.open(&self.runner, Wanted::RunFiles),
            CompareAction::Pick => {
                self.state.choices.view = View::Compare;
                self.forms.compare.toggle_picker();
            }
            CompareAction::Copy(text) => context.copy_text(self.state.comparing.text(text)),
            CompareAction::Shown => {
                if let Some(file) = self.state.shown().and_then(|session| session.file.clone()) {
                    self.comparer.hold_against_baseline(&mut self.state, file);
                }
            }
            other => self.comparer.change(&mut self.state, other),
        }
    }

    /// Does what is wanted of an engine outside the program.
    fn keep(&mut self, action: &Action) {
        let work = match action {
            Action::PlanEngine(engine) => self.keeping.prepare(&self.runner, *engine),
            Action::InstallEngine => self.keeping.install(&self.runner),
            Action::RemoveEngine(engine) => self.keeping.remove(&self.runner, *engine),
            Action::CheckEngine(engine) => self.keeping.check(&self.runner, *engine),
            Action::AskRemoveEngine(engine) => {
                let listed = self.state.engines.iter().flatten().find(|listed| listed.engine == *engine);
                let bytes = listed.and_then(|listed| listed.installed_bytes).unwrap_or_default();
                Some(EngineWork { engine: *engine, stage: EngineStage::AskRemove(bytes) })
            }
            Action::CloseEngineWork => {
                self.state.engine_work = None;
                None
            }
            Action::ChooseEngine(engine, path) => {
                let wanted = match path {
                    EnginePath::File => Wanted::EngineFile(*engine),
                    EnginePath::Folder => Wanted::EngineFolder(*engine),
                };
                self.choosing.open(&self.runner, wanted);
                None
            }
            Action::ForgetEngine(engine) => {
                self.keeping.choose(&self.runner, *engine, None);
                None
            }
            Action::CancelInstall => {
                self.keeping.cancel();
                None
            }
            _ => None,
        };
        if work.is_some() {
            self.state.engine_work = work;
        }
    }

    /// Puts the engines together anew, since some may have come or gone, and asks them for their devices.
    fn renew_engines(&mut self) {
        if let Some(here) = self.keeping.surroundings() {
            self.engines = engine::all(here).into();
            self.runner.set_engines(Arc::clone(&self.engines));
        }
        self.keeping.list(&self.runner);
        self.background.look(&self.runner, &self.engines);
    }

    fn add_model(&mut self, path: PathBuf) {
        if path.as_os_str().is_empty() {
            self.state.warn("no file or folder is named; write its path, or drop it on the window");
        } else if !self.background.add_model(&self.runner, path) {
            self.state.warn("too many files at once; add the folder that holds them");
        }
    }

    fn download(&mut self) {
        let (asked, token) = (self.forms.asked.trim().to_owned(), self.forms.token.trim().to_owned());
        match self.fetching.start(&self.runner, &asked, token, self.state.hub.clone()) {
            Ok(download) => self.state.download = Some(download),
            Err(sentence) => self.state.warn(&sentence),
        }
    }

    /// Whatever was being opened would cover what is wanted now.
    fn forget_opening(&mut self) {
        self.background.forget_opening();
        self.reporting.forget_opening();
        self.state.opening = None;
    }

    fn plan_run(&mut self, request: Request) {
        self.state.choices.view = View::Run;
        self.state.opened = None;
        self.state.starting = true;
        self.background.plan(&self.runner, &self.engines, request);
    }

    fn start(&mut self, plan: Plan) {
        // It starts until it tells that it has begun: the machine is looked at before.
        match self.runner.start(plan, self.paints.clone()) {
            Ok(active) => self.active = Some(active),
            Err(error) => {
                self.state.starting = false;
                self.state.warn(&error.to_string());
            }
        }
    }

    fn cancel(&mut self) {
        if let Some(active) = &self.active {
            active.cancel.request();
        } else if self.state.starting {
            self.background.drop_plan();
            self.state.starting = false;
        }
        if let Some(live) = self.state.current.as_mut().and_then(|session| session.live.as_mut()) {
            live.cancelling = true;
        }
    }

    /// Takes the news of the run.
    fn drain(&mut self) {
        let Some(active) = &self.active else { return };
        let mut events: Vec<Event> = Vec::new();
        let mut lost = false;
        while events.len() < EVENTS_A_FRAME {
            match active.events.try_recv() {
                Ok(event) => events.push(event),
                Err(error) => {
                    lost = error == TryRecvError::Disconnected;
                    break;
                }
            }
        }
        for event in events {
            self.state.apply(event);
        }
        // Cancelled while it started, it shows so as soon as it has begun.
        if active.cancel.requested()
            && let Some(live) = self.state.current.as_mut().and_then(|session| session.live.as_mut())
        {
            live.cancelling = true;
        }
        if lost {
            self.active = None;
            self.state.end_lost_run();
        }
    }

    /// Takes all news: the run's and the background lane's.
    fn take_news(&mut self) {
        self.drain();
        if let Some(plan) = self.background.poll(&mut self.state) {
            for reason in &plan.missing {
                self.state.warn(reason);
            }
            self.start(plan);
        }
        self.reporting.poll(&self.runner, self.store.folder(), &mut self.state);
        if let Some((wanted, answer)) = self.choosing.poll() {
            let paths = answer.paths(&mut self.state);
            self.take_chosen(wanted, paths);
        }
        if self.keeping.surroundings().is_some() {
            self.background.renew_conditions(&self.runner, &self.state);
        }
        if self.keeping.poll(&mut self.state) {
            self.renew_engines();
        }
        self.librarian.poll(&self.runner, &mut self.state);
        self.comparer.poll(&self.runner, &self.store, &mut self.state);
        if self.fetching.poll(&mut self.state) {
            self.state.stale_models = true;
        }
        if std::mem::take(&mut self.state.stale_models) {
            self.background.list_models(&self.runner, &self.state);
        }
        if std::mem::take(&mut self.state.stale) {
            self.librarian.list(&self.runner);
            self.background.look(&self.runner, &self.engines);
        }
    }

    fn take_chosen(&mut self, wanted: Wanted, paths: Vec<PathBuf>) {
        if wanted == Wanted::RunFiles {
            return self.comparer.want(&mut self.state, paths.into_iter().map(RunSource::File).collect(), false);
        }
        for path in paths {
            match wanted {
                Wanted::ModelFiles | Wanted::ModelFolder | Wanted::RunFiles => self.add_model(path),
                Wanted::ExportFolder => self.librarian.export(&self.runner, &mut self.state, path),
                Wanted::EngineFile(engine) | Wanted::EngineFolder(engine) => {
                    self.keeping.choose(&self.runner, engine, Some(path));
                }
            }
        }
    }

    /// A window closed during a run cancels it and stays a moment, so that what is done is saved.
    fn close_when_saved(&mut self, context: &Context) {
        if context.input(|input| input.viewport().close_requested()) && self.closing.is_none() && self.active.is_some()
        {
            context.send_viewport_cmd(ViewportCommand::CancelClose);
            self.closing = Some(Instant::now());
            self.cancel();
        }
        let Some(since) = self.closing else { return };
        if self.active.is_none() || since.elapsed() >= CLOSE_WAIT {
            context.send_viewport_cmd(ViewportCommand::Close);
        } else {
            context.request_repaint_after(Duration::from_millis(50));
        }
    }
}

/// What becomes of the files and folders that were dropped on the window in this frame: runs to compare, or models.
fn dropped(context: &Context, view: View) -> Vec<Action> {
    let paths: Vec<PathBuf> =
        context.input(|input| input.raw.dropped_files.iter().map(|file| file.path().to_owned()).collect());
    let is_run = |path: &PathBuf| {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        view == View::Compare || view != View::Models && (extension == "json" || extension == "jsonl")
    };
    let (runs, models): (Vec<PathBuf>, Vec<PathBuf>) = paths.into_iter().partition(is_run);
    let runs: Vec<RunSource> = runs.into_iter().map(RunSource::File).collect();
    let runs = (!runs.is_empty()).then_some(Action::Comparing(CompareAction::Add(runs)));
    runs.into_iter().chain(models.into_iter().map(Action::AddPath)).collect()
}

impl eframe::App for App {
    fn logic(&mut self, context: &Context, _frame: &mut eframe::Frame) {
        self.take_news();
        if let Some(path) = self.picturing.poll(context, &mut self.state) {
            self.perform(context, Action::SaveChartTo(path));
        }
        self.close_when_saved(context);
    }

    fn ui(&mut self, ui: &mut Ui, frame: &mut eframe::Frame) {
        self.paints.begin(Duration::from_secs_f32(frame.info().cpu_usage.unwrap_or(0.0).max(0.0)));
        let context = ui.ctx().clone();
        let mut actions = std::mem::take(&mut self.actions);
        for action in pressed(&context) {
            // Open from this frame on, so that it takes what is typed in it.
            if action == Action::Palette {
                self.perform(&context, action);
            } else if self.palette.is_none() {
                actions.push(action);
            }
        }
        actions.extend(dropped(&context, self.state.choices.view));
        self.state.refresh_runs();
        self.forms.runs.flush_unless(self.state.choices.view == View::History, &mut actions);
        shell::ui(ui, &self.state, &mut self.forms, &mut actions);
        (self.state.runs.bring, self.state.runs.find) = (None, false);
        if let Some(palette) = &mut self.palette
            && !palette.ui(ui, &self.state, &mut actions)
        {
            self.palette = None;
        }
        self.picturing.ui(ui, &mut actions);
        // What was done shows in the next frame at once.
        if !actions.is_empty() {
            context.request_repaint();
        }
        for action in actions.drain(..) {
            self.perform(&context, action);
        }
        self.actions = actions;
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        eframe::set_value(storage, eframe::APP_KEY, &self.state.choices);
    }

    /// Nothing is written while something may be measured: the choices are kept when the window closes.
    fn auto_save_interval(&self) -> Duration {
        Duration::from_hours(1)
    }

    fn on_exit(&mut self) {
        if let Some((path, edits)) = self.forms.runs.take() {
            self.librarian.edit_now(&path, &edits);
        }
        self.cancel();
        self.fetching.cancel();
        self.keeping.end();
        self.paints.set_open(false);
    }
}
