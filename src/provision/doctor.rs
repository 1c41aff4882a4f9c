//! Looks an engine over: one line a check, and what to do about what is wrong.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{installed_bytes, place, size};
use crate::{
    engine::{
        Engine as _, EngineId, Surroundings, external_engine,
        find::{self, Located, Place, installed, settings::Settings},
        supervise::{Program, Supervised},
    },
    units::duration,
};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at, as "settings".
    pub what: &'static str,
    /// What was found, or what is wrong.
    pub found: Result<String, String>,
    /// What to do about it; nothing where all is well.
    pub remedy: Option<String>,
}

impl Check {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, found: Ok(found.into()), remedy: None }
    }

    fn bad(what: &'static str, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what, found: Err(reason.into()), remedy: Some(remedy.into()) }
    }
}

/// Looks at the settings, the installation, what is found and what that holds, and starts it: `hello` says in a sentence
/// what it answered, or why it didn't.
pub fn doctor(
    engine: EngineId,
    surroundings: &Surroundings,
    hello: &mut dyn FnMut(&Located) -> Result<String, String>,
) -> Vec<Check> {
    let mut checks = vec![settings(engine, surroundings), installation(engine, surroundings)];
    match find::find(engine, surroundings) {
        Err(missing) => checks.push(Check::bad("found", missing.reason, missing.command)),
        Ok(located) => {
            let place = located.place.file().display();
            checks.push(Check::good("found", format!("{}: {place}", located.origin.words())));
            checks.push(holds(&located));
            checks.push(match hello(&located) {
                Ok(said) => Check::good("starts", said),
                Err(why) => Check::bad("starts", why, again(engine, &located)),
            });
        }
    }
    checks
}

fn settings(engine: EngineId, surroundings: &Surroundings) -> Check {
    match Settings::read(surroundings).and_then(|settings| settings.path(engine)) {
        Ok(Some(path)) => Check::good("settings", format!("chosen: {}", path.display())),
        Ok(None) => Check::good("settings", "nothing is chosen; the first that is found is used"),
        Err(why) => Check::bad("settings", why, "correct or delete the file"),
    }
}

fn installation(engine: EngineId, surroundings: &Surroundings) -> Check {
    let folder = installed::folder_of(engine, surroundings).filter(|folder| folder.is_dir());
    match (installed_bytes(engine, surroundings), folder) {
        (Some(bytes), Some(folder)) => {
            Check::good("installation", format!("Roofline's own, {}: {}", size(bytes), folder.display()))
        }
        (_, Some(folder)) if place::is_busy(engine, surroundings) => {
            Check::good("installation", format!("one is going on: {}", folder.display()))
        }
        (_, Some(folder)) => Check::bad(
            "installation",
            format!("one was begun and not finished: {}", folder.display()),
            format!("roofline engines install {engine}, or roofline engines remove {engine}"),
        ),
        (_, None) => Check::good("installation", "Roofline installed none"),
    }
}

fn holds(located: &Located) -> Check {
    let versions = located.versions.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>();
    let versions = if versions.is_empty() { "it tells no versions".to_owned() } else { versions.join(", ") };
    let Place::LlamaCpp { ops, quantize, simple, .. } = &located.place else { return Check::good("holds", versions) };
    let programs: [(&str, &Option<PathBuf>); 3] =
        [("test-backend-ops", ops), ("llama-quantize", quantize), ("llama-simple", simple)];
    let missing: Vec<&str> = programs.iter().filter(|(_, file)| file.is_none()).map(|(name, _)| *name).collect();
    let beside = if missing.is_empty() { String::new() } else { format!("; not beside it: {}", missing.join(", ")) };
    Check::good("holds", format!("{versions}{beside}"))
}

/// What to do about one that is there and doesn't start.
fn again(engine: EngineId, located: &Located) -> String {
    match located.origin {
        find::FoundIn::Setting => format!("roofline engines use {engine} --default"),
        find::FoundIn::EnginesFolder => "see docs/engine-protocol.md for what it must answer".to_owned(),
        find::FoundIn::Installed => format!("roofline engines remove {engine}, then roofline engines install {engine}"),
        _ => format!("roofline engines install {engine}"),
    }
}

/// Starts an engine and asks it for its devices, after importing all that its entries need: one that says hello may still fail
/// at its first model.
pub fn hello(located: &Located, surroundings: &Surroundings) -> Result<String, String> {
    let started = start(located, surroundings)?;
    if located.engine == EngineId::LlamaCpp {
        return Ok(started);
    }
    let began = Instant::now();
    let devices = external_engine(located.engine, located.clone(), surroundings).devices()?;
    let names: Vec<String> = devices.iter().map(|device| format!("{} ({})", device.name, device.id)).collect();
    Ok(format!("{} (in {})", names.join(", "), duration(began.elapsed().as_secs_f64())))
}

/// Starts an engine to see whether it does: imports its packages, or lists llama.cpp's devices. Returns what it said.
pub fn start(located: &Located, surroundings: &Surroundings) -> Result<String, String> {
    /// Reading torch from a cold disk takes a minute on a busy machine.
    const LIMIT: Duration = Duration::from_mins(3);
    const IMPORTS: &str = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\nprint('imported ' + ', '.join(sys.argv[1:]))";
    let mut program = match (&located.place, located.engine) {
        (Place::Python { python }, EngineId::Mlx) => Program::new(python, ["-I", "-c", IMPORTS, "mlx.core", "mlx_lm"]),
        (Place::Python { python }, _) => {
            Program::new(python, ["-I", "-c", IMPORTS, "torch", "transformers", "peft", "safetensors"])
        }
        (Place::LlamaCpp { bench, .. }, _) => Program::new(bench, ["--list-devices"]),
        (Place::Custom { .. }, _) => return Ok("it is there; a run says hello to it".to_owned()),
    };
    program.environment = Some(surroundings.environment.clone());
    let began = Instant::now();
    let mut child = Supervised::start(&program)?;
    child.close_input();
    let (said, closed) = find::python::all_it_says(&mut child, LIMIT);
    if !closed {
        return Err(format!("it did not start within {}", duration(LIMIT.as_secs_f64())));
    }
    match child.wait(Duration::from_secs(5)) {
        Some(status) if status.success() => {
            let said = said.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect::<Vec<_>>();
            let all = said.join(" · ").replace("Available devices: · (none)", "no device beside the processor");
            let first: String = all.chars().take(200).collect();
            Ok(format!("{first} (in {})", duration(began.elapsed().as_secs_f64())))
        }
        _ => Err(child.obituary()),
    }
}
