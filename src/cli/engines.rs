//! `roofline engines`: which are there, and getting, updating, removing and looking over those that are not part of the program.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, IsTerminal as _},
    path::{Path, PathBuf},
    time::Instant,
};

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use serde::Serialize;

use super::{
    output::{self, Error, Exit},
    shown::{Counted, Shown},
    surroundings,
};
use crate::{
    engine::{
        EngineId, Surroundings,
        find::{self, FoundIn, Located, Missing, Place, settings::Settings},
    },
    provision::{self, InstallError, InstallPlan, InstallProgress, ProgressUnit},
    units::{Quantity, Unit, duration},
};

/// What `engines` does.
#[derive(Debug, Args)]
pub struct EnginesArguments {
    /// What to do; the engines are listed without one
    #[command(subcommand)]
    pub command: Option<EnginesCommand>,
}

/// What to do with engines.
#[derive(Debug, Subcommand)]
pub enum EnginesCommand {
    /// List the engines: where each was found, or why it is missing and what gets it
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Install an engine into Roofline's own folder, after showing what that does and how large it is
    Install {
        /// pytorch, mlx or llama.cpp
        name: EngineId,
        /// Don't ask
        #[arg(long)]
        yes: bool,
        /// The Python to start from, or an environment's folder; the first that will do without it
        #[arg(long, value_name = "PATH")]
        python: Option<PathBuf>,
    },
    /// Bring an engine that Roofline installed to the versions that this Roofline pins
    Update {
        /// pytorch, mlx or llama.cpp
        name: EngineId,
        /// Don't ask
        #[arg(long)]
        yes: bool,
        /// The Python to start from, or an environment's folder
        #[arg(long, value_name = "PATH")]
        python: Option<PathBuf>,
    },
    /// Remove an engine that Roofline installed, with its downloads and what was left half installed
    Remove {
        /// pytorch, mlx or llama.cpp
        name: EngineId,
    },
    /// Look over an engine, or all of them: settings, installation, what is found, and whether it starts
    Doctor {
        /// The engine; all that are not part of Roofline without it
        name: Option<EngineId>,
    },
    /// Choose where an engine is: a Python or its environment's folder, or llama-bench or its folder
    Use {
        /// The engine
        name: EngineId,
        /// The file or folder
        #[arg(required_unless_present = "default")]
        path: Option<PathBuf>,
        /// Forget the choice; the first that is found is used again
        #[arg(long, conflicts_with = "path")]
        default: bool,
    },
}

/// Does it.
pub(super) fn engines(arguments: &EnginesArguments, data_dir: PathBuf) -> Result<Exit, Error> {
    let here = surroundings(data_dir);
    match &arguments.command {
        None => list(false, &here),
        Some(EnginesCommand::List { json }) => list(*json, &here),
        Some(EnginesCommand::Install { name, yes, python }) => install(*name, *yes, python.as_deref(), &here),
        Some(EnginesCommand::Update { name, yes, python }) => update(*name, *yes, python.as_deref(), &here),
        Some(EnginesCommand::Remove { name }) => remove(*name, &here),
        Some(EnginesCommand::Doctor { name }) => doctor(*name, &here),
        Some(EnginesCommand::Use { name, path, .. }) => choose(*name, path.as_deref(), &here),
    }
}

/// One engine, or what is none.
#[derive(Serialize)]
struct Listed {
    name: String,
    description: String,
    available: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<FoundIn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    versions: std::collections::BTreeMap<String, String>,
    /// Bytes of Roofline's own installation, used or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    installed_bytes: Option<u64>,
    /// Why it is missing, or why a file is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What gets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
}

impl Listed {
    fn new(engine: EngineId) -> Self {
        Self {
            name: engine.id().to_owned(),
            description: engine.description().to_owned(),
            available: false,
            found: None,
            path: None,
            versions: std::collections::BTreeMap::new(),
            installed_bytes: None,
            reason: None,
            command: None,
        }
    }

    fn built_in(engine: EngineId) -> Self {
        let versions = [("roofline".to_owned(), env!("CARGO_PKG_VERSION").to_owned())].into();
        Self { available: true, versions, ..Self::new(engine) }
    }

    fn looked_for(engine: EngineId, found: Result<Located, Missing>, here: &Surroundings) -> Self {
        let installed_bytes = provision::installed_bytes(engine, here);
        match found {
            Ok(located) => Self {
                available: true,
                found: Some(located.origin),
                path: Some(located.place.file().clone()),
                versions: located.versions,
                installed_bytes,
                ..Self::new(engine)
            },
            Err(Missing { reason, command }) => {
                Self { installed_bytes, reason: Some(reason), command: Some(command), ..Self::new(engine) }
            }
        }
    }

    /// The version of what gives the engine its name.
    fn version(&self) -> String {
        const FIRST: [&str; 4] = ["torch", "mlx", "llama.cpp", "roofline"];
        let version = FIRST.iter().find_map(|name| self.versions.get(*name));
        version.cloned().unwrap_or_else(|| "—".to_owned())
    }

    fn place(&self) -> String {
        if let (Some(reason), command) = (&self.reason, &self.command) {
            let command = command.as_ref().map_or_else(String::new, |command| format!("\nget it with: {command}"));
            return format!("{reason}{command}");
        }
        let path = self.path.as_ref().map_or_else(String::new, |path| path.display().to_string());
        match self.found {
            Some(found) => format!("{}: {path}", found.words()),
            None => "part of Roofline".to_owned(),
        }
    }
}

fn list(json: bool, here: &Surroundings) -> Result<Exit, Error> {
    let looked_for = |engine: &EngineId| {
        if engine.is_built_in() {
            return Listed::built_in(*engine);
        }
        Listed::looked_for(*engine, find::find(*engine, here), here)
    };
    let mut listed: Vec<Listed> = EngineId::ALL.iter().map(looked_for).collect();
    listed.extend(find::custom(here).into_iter().map(|(engine, found)| Listed::looked_for(engine, Ok(found), here)));
    listed.extend(find::ignored(here).into_iter().map(|ignored| Listed {
        name: ignored.file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        description: "a file in the engines folder that is no engine".to_owned(),
        path: Some(ignored.file),
        reason: Some(ignored.reason),
        ..Listed::new(EngineId::Wgpu)
    }));
    let text =
        if json { serde_json::to_string_pretty(&listed).map_err(Error::failure)? + "\n" } else { table(&listed) };
    output::write("-", &text)?;
    Ok(Exit::Success)
}

fn table(listed: &[Listed]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
    if !io::stdout().is_terminal() {
        // Reasons are sentences.
        table.set_width(140);
    }
    table.set_header(["Engine", "Version", "Installed", "Where, or why it is missing"]);
    for engine in listed {
        let size = engine.installed_bytes.map_or_else(|| "—".to_owned(), size);
        table.add_row([engine.name.clone(), engine.version(), size, engine.place()]);
    }
    format!("{table}\n")
}

fn size(bytes: u64) -> String {
    Quantity::new(bytes as f64, Unit::Byte).to_string()
}

fn error(error: InstallError) -> Error {
    Error::failure(error)
}

fn install(engine: EngineId, yes: bool, python: Option<&Path>, here: &Surroundings) -> Result<Exit, Error> {
    let plan = provision::plan_with(engine, here, python).map_err(error)?;
    if provision::installed_bytes(engine, here).is_some() && plan.is_current() {
        output::complain(&format!("{} is installed already; remove it first to install it anew", engine.title()));
        return Ok(Exit::Success);
    }
    carry_out(&plan, yes)
}

fn update(engine: EngineId, yes: bool, python: Option<&Path>, here: &Surroundings) -> Result<Exit, Error> {
    if provision::installed_bytes(engine, here).is_none() {
        let what =
            format!("Roofline has not installed {}; do so with: roofline engines install {engine}", engine.title());
        return Err(Error::failure(what));
    }
    let plan = provision::plan_with(engine, here, python).map_err(error)?;
    if plan.is_current() {
        output::complain(&format!("{} is up to date", engine.title()));
        return Ok(Exit::Success);
    }
    carry_out(&plan, yes)
}

/// Shows the plan, asks, and does it.
fn carry_out(plan: &InstallPlan, yes: bool) -> Result<Exit, Error> {
    for line in plan.text().lines() {
        output::complain(line);
    }
    if !yes && !agreed()? {
        output::complain("nothing was done");
        return Ok(Exit::Success);
    }
    let mut shown = Shown::begin()?;
    let (cancel, start) = (shown.cancel.clone(), Instant::now());
    let outcome = provision::install(plan, &cancel, &mut |progress: InstallProgress| {
        let counted = if progress.unit == ProgressUnit::Bytes { Counted::Bytes } else { Counted::Steps };
        shown.tell(&progress.what, progress.done, progress.total, counted);
    });
    shown.clear();
    match outcome {
        Ok(located) => {
            let versions = located.versions.iter().map(|(name, version)| format!("{name} {version}"));
            output::complain(&format!(
                "installed in {}: {}: {}",
                duration(start.elapsed().as_secs_f64()),
                versions.collect::<Vec<_>>().join(", "),
                located.place.file().display()
            ));
            Ok(Exit::Success)
        }
        Err(cancelled @ InstallError::Cancelled) => {
            output::complain(&cancelled.to_string());
            Ok(Exit::Interrupted)
        }
        Err(other) => Err(error(other)),
    }
}

/// Whether the person says yes. Without a terminal there is nobody to ask.
fn agreed() -> Result<bool, Error> {
    if !io::stdin().is_terminal() {
        return Err(Error::usage("nobody can be asked here; give --yes to install it"));
    }
    output::complain("install it? [y/N]");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(Error::failure)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn remove(engine: EngineId, here: &Surroundings) -> Result<Exit, Error> {
    let bytes = provision::remove(engine, here).map_err(error)?;
    let title = engine.title();
    output::complain(&match bytes {
        0 => format!("Roofline has not installed {title}; there was nothing to remove"),
        bytes => format!("{title} was removed: {}", size(bytes)),
    });
    Ok(Exit::Success)
}

fn doctor(engine: Option<EngineId>, here: &Surroundings) -> Result<Exit, Error> {
    let all = || {
        let known = EngineId::ALL.into_iter().filter(|engine| !engine.is_built_in());
        known.chain(find::custom(here).into_iter().map(|(engine, _)| engine)).collect()
    };
    if engine.is_some_and(|engine| engine.is_built_in()) {
        return Err(Error::usage("this engine is part of Roofline; see its devices with: roofline list"));
    }
    let (mut text, mut well) = (String::new(), true);
    for engine in engine.map_or_else(all, |engine| vec![engine]) {
        text.push_str(engine.title());
        text.push('\n');
        for check in provision::doctor(engine, here, &mut |located| provision::hello(located, here)) {
            let (mark, found) = match check.found {
                Ok(found) => ("ok", found),
                Err(wrong) => ("wrong", wrong),
            };
            well &= mark == "ok";
            writeln!(text, "  {:<12}  {mark:<5}  {found}", check.what).ok();
            if let Some(remedy) = check.remedy {
                writeln!(text, "  {:<12}  do     {remedy}", "").ok();
            }
        }
    }
    output::write("-", &text)?;
    Ok(if well { Exit::Success } else { Exit::Failure })
}

fn choose(engine: EngineId, path: Option<&Path>, here: &Surroundings) -> Result<Exit, Error> {
    if engine.is_built_in() {
        return Err(Error::usage(format!("{engine} is part of Roofline; there is nothing to choose")));
    }
    let is_custom = |engine| find::custom(here).iter().any(|(known, _)| *known == engine);
    if matches!(engine, EngineId::Other(_)) && path.is_some() && !is_custom(engine) {
        let known: Vec<&str> = EngineId::ALL.iter().filter(|engine| !engine.is_built_in()).map(EngineId::id).collect();
        return Err(Error::usage(format!(
            "no engine is called \"{engine}\"; choose from {}, or put it into the engines folder first",
            known.join(", ")
        )));
    }
    let path = path.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    if let Some(missing) = path.as_ref().filter(|path| !path.exists()) {
        return Err(Error::failure(format!("there is no such file or folder: {}", missing.display())));
    }
    let mut settings = Settings::read(here).map_err(Error::failure)?;
    settings.choose(engine, path.as_deref()).map_err(Error::failure)?;
    match find::find(engine, here) {
        Ok(Located { place, origin, .. }) => {
            let place = match place {
                Place::Custom { python: Some(python), program } => {
                    format!("{} with {}", program.display(), python.display())
                }
                other => other.file().display().to_string(),
            };
            output::complain(&format!("{} is {}: {place}", engine.title(), origin.words()));
            Ok(Exit::Success)
        }
        Err(missing) if path.is_some() => Err(Error::failure(format!("the choice is kept, but {missing}"))),
        Err(missing) => {
            output::complain(&format!("the choice is forgotten; {missing}"));
            Ok(Exit::Success)
        }
    }
}
