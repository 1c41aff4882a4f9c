//! `roofline run`.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{
    Format, RunArguments,
    output::{self, Error, Exit},
    progress::Bar,
    table,
};
use crate::{
    engine::{self, EngineId, Surroundings, find, supervise},
    export::{self, ReportFormat, json_line},
    measure::{Cancel, Paints},
    record::{Outcome, Run, SaveError, Store},
    run::{Event, Plan, PlanError, Request, Runner, collect},
};

/// Plans, runs, prints.
pub(super) fn run(arguments: &RunArguments, data_dir: PathBuf) -> Result<Exit, Error> {
    let request = arguments.request().map_err(Error::usage)?;
    let interrupt = Interrupt::listen()?;
    output::check_writable(&arguments.output)?;
    // Without a copy in the data folder the run is still saved as it goes, in a folder that is dropped at the end.
    let scratch = arguments.no_save.then(tempfile::tempdir).transpose().map_err(|error| {
        let folder = std::env::temp_dir();
        let kind = error.kind();
        Error::failure(format!("no temporary folder could be made ({kind}); drop --no-save: {}", folder.display()))
    })?;
    // Whatever is saved where: two copies never measure beside each other.
    let lock = scratch.is_some().then(|| Store::at(&data_dir).lock()).transpose();
    let _lock = match lock {
        Err(busy @ (SaveError::Busy | SaveError::Occupied)) => return Err(Error::failure(busy)),
        lock => lock,
    };
    let store_folder = scratch.as_ref().map_or(data_dir.as_path(), |folder| folder.path());
    let store = Store::at(store_folder);
    store
        .check_writable()
        .map_err(|error| Error::failure(format!("no copy can be kept, which --no-save does without: {error}")))?;
    let here = super::surroundings(data_dir);
    if let Some(reason) = unusable(&request, &here) {
        return Err(Error::usage(reason));
    }
    let engines: Arc<[_]> = engine::all(&here).into();
    let plan = Plan::make(&request, &engines);
    if interrupt.heard.requested() {
        return Ok(Exit::Interrupted);
    }
    let plan = plan.map_err(|error| match error {
        PlanError::NoDevice(_) => Error::failure(error),
        PlanError::UnknownDevice { .. } | PlanError::Nothing(_) | PlanError::Usage(_) => Error::usage(error),
    })?;
    for reason in &plan.missing {
        output::complain(reason);
    }
    let runner = Runner::new(engines, store, Arc::new(|| {})).map_err(Error::failure)?;
    let active = runner.start(plan, Paints::default()).map_err(Error::failure)?;
    interrupt.run(&active.cancel);

    let mut follower = Follower::new(arguments);
    let run = collect(&active, |event| follower.see(event))
        .ok_or_else(|| Error::failure("the run ended without a result"))?;
    follower.bar.finish();
    let printed = print(arguments, &run);
    follower.say_where(&run, arguments.no_save);
    printed?;
    let exit = exit_of(&run, &follower, &interrupt.heard);
    follower.stream_error.map_or(Ok(exit), Err)
}

/// Why an engine that is asked for can't be one, though there is a file of its name.
fn unusable(request: &Request, here: &Surroundings) -> Option<String> {
    let asked: Vec<&EngineId> = request.engines.iter().filter(|engine| matches!(engine, EngineId::Other(_))).collect();
    if asked.is_empty() {
        return None;
    }
    let named =
        |file: &Path| asked.iter().find(|engine| file.file_stem().is_some_and(|stem| stem == engine.id())).copied();
    find::ignored(here).into_iter().find_map(|ignored| {
        named(&ignored.file)
            .map(|engine| format!("{engine} is no engine: {}: {}", ignored.reason, ignored.file.display()))
    })
}

/// How long the program has to end in good order after Ctrl-C, where there is nothing to save.
const MOMENT: Duration = Duration::from_millis(500);

/// Ctrl-C asks for the end; the run saves what is done. A second one, or one before anything is measured, ends at once.
struct Interrupt {
    heard: Cancel,
    run: Arc<OnceLock<Cancel>>,
}

impl Interrupt {
    fn listen() -> Result<Self, Error> {
        let this = Self { heard: Cancel::default(), run: Arc::default() };
        let (heard, run) = (this.heard.clone(), Arc::clone(&this.run));
        ctrlc::set_handler(move || match run.get() {
            Some(cancel) if !heard.requested() => {
                heard.request();
                cancel.request();
            }
            _ => {
                // Nothing is measured yet, or all that is finished is saved. Engines that are asked who they are end at once,
                // and with them the wait for their answer.
                heard.request();
                supervise::end_all();
                std::thread::sleep(MOMENT);
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
        })
        .map_err(Error::failure)?;
        Ok(this)
    }

    /// From now on Ctrl-C asks this run to end.
    fn run(&self, cancel: &Cancel) {
        self.run.set(cancel.clone()).ok();
    }
}

/// Writes the results. What can't be written to its file goes to standard output: it may be kept nowhere else.
fn print(arguments: &RunArguments, run: &Run) -> Result<(), Error> {
    let text = match arguments.format() {
        Format::Table => table::results(run),
        Format::Markdown => {
            let name = if arguments.no_save { String::new() } else { run.id.clone() };
            export::report(std::slice::from_ref(run), &[name], ReportFormat::Markdown).map_err(Error::failure)?
        }
        Format::Json => export::json(run).map_err(Error::failure)?,
        // On standard output the lines went out as the entries ended.
        Format::Jsonl if arguments.output == "-" => return Ok(()),
        Format::Jsonl => export::jsonl(run).map_err(Error::failure)?,
    };
    let written = output::write(&arguments.output, &text);
    if written.is_err() && arguments.output != "-" {
        output::write("-", &text).ok();
    }
    written
}

fn exit_of(run: &Run, follower: &Follower, interrupt: &Cancel) -> Exit {
    let failed = run.entries.iter().any(|entry| matches!(entry.outcome, Outcome::Failed(_)));
    if interrupt.requested() {
        Exit::Interrupted
    } else if failed || follower.save_error.is_some() {
        Exit::Failure
    } else {
        Exit::Success
    }
}

/// Follows the events of a run: progress on standard error, JSON lines on standard output.
struct Follower {
    bar: Bar,
    stream: bool,
    run_id: String,
    saved: Option<PathBuf>,
    save_error: Option<String>,
    /// Why a line could not be written; those after it are not tried.
    stream_error: Option<Error>,
}

impl Follower {
    fn new(arguments: &RunArguments) -> Self {
        let stream = arguments.format() == Format::Jsonl && arguments.output == "-";
        Self { bar: Bar::new(), stream, run_id: String::new(), saved: None, save_error: None, stream_error: None }
    }

    fn see(&mut self, event: &Event) {
        match event {
            Event::Begun(run) => {
                self.run_id.clone_from(&run.id);
                self.bar.begin(run);
            }
            Event::Started { index } => self.bar.start(*index),
            Event::Progress { progress, .. } => self.bar.progress(progress),
            Event::Finished { entry, .. } => {
                self.bar.entry(entry);
                if self.stream && self.stream_error.is_none() {
                    let line = json_line(&self.run_id, entry).map_err(Error::failure);
                    self.stream_error = line.and_then(|line| output::write("-", &line)).err();
                }
            }
            Event::Saved(path) => {
                self.saved = Some(path.clone());
                self.save_error = None;
            }
            Event::SaveFailed(message) => {
                if self.save_error.is_none() {
                    self.bar.say(message);
                }
                self.save_error = Some(message.clone());
            }
            Event::Ended(run) => {
                let cancelled = run.entries.iter().filter(|entry| entry.outcome == Outcome::Cancelled).count();
                if cancelled > 0 {
                    self.bar.say(&format!("cancelled; {cancelled} of {} entries were not measured", run.entries.len()));
                }
            }
        }
    }

    fn say_where(&self, run: &Run, no_save: bool) {
        match (&self.saved, &self.save_error) {
            (_, Some(error)) => {
                output::complain(error);
                if let Some(path) = rescue(run) {
                    output::complain(&format!("the whole run was kept here instead: {}", path.display()));
                }
            }
            (Some(path), None) if !no_save => self.bar.say(&format!("saved: {}", path.display())),
            _ => {}
        }
    }
}

/// Saves a run among the temporary files, which often lie on another disk than the one that is full.
fn rescue(run: &Run) -> Option<PathBuf> {
    // A folder of its own: what is temporary belongs to everybody.
    let folder = tempfile::Builder::new().prefix("roofline-").tempdir().ok()?;
    let path = Store::at(folder.path()).save(run).ok()?;
    let _kept = folder.keep();
    Some(path)
}

/// How long the bar's text stays before it is drawn again, at most.
pub(super) const REDRAW: Duration = Duration::from_millis(200);
