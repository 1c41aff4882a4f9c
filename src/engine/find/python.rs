//! Finds a Python and asks it, in a process of its own and without importing anything, what it holds.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Deserialize;

use super::{FoundIn, Located, Missing, Place, chosen, install_command, installed, origin_of};
use crate::engine::{
    EngineId, Surroundings, is_executable,
    supervise::{Program, Said, Supervised},
};

/// How long a Python may take to answer.
pub const LIMIT: Duration = Duration::from_secs(15);
/// The oldest that the engines' packages run on.
pub const OLDEST: (u32, u32) = (3, 10);
/// What it is asked; prints one line of JSON.
const SCRIPT: &str = include_str!("../../../assets/engines/roofline_probe.py");
/// Beside what each engine needs, modules that an installation needs.
const MODULES: [&str; 3] = ["venv", "ensurepip", "pip"];

/// What a Python says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// The file that was asked.
    pub file: PathBuf,
    /// The interpreter behind it, which a shim may only start.
    pub executable: PathBuf,
    /// Its version, as (3, 11, 7).
    pub version: (u32, u32, u32),
    /// "CPython", or another.
    pub implementation: String,
    /// The kind of processor that it was built for, as "x86_64".
    pub machine: String,
    /// Built for Intel and translated by Rosetta on an Apple chip.
    pub translated: bool,
    /// The version of the C library on Linux, as "2.36".
    pub libc: String,
    packages: BTreeMap<String, Option<String>>,
    modules: BTreeMap<String, bool>,
}

/// The line that the script prints.
#[derive(Deserialize)]
struct Answer {
    version: (u32, u32, u32),
    implementation: String,
    machine: String,
    #[serde(default)]
    translated: bool,
    executable: Option<String>,
    #[serde(default)]
    libc: String,
    packages: BTreeMap<String, Option<String>>,
    modules: BTreeMap<String, bool>,
}

/// A package that an engine needs, and the module that it brings.
type Need = (&'static str, &'static str);

/// What an engine needs in its Python.
const fn needs(engine: EngineId) -> &'static [Need] {
    match engine {
        EngineId::Pytorch => {
            &[("torch", "torch"), ("transformers", "transformers"), ("peft", "peft"), ("safetensors", "safetensors")]
        }
        EngineId::Mlx => &[("mlx", "mlx.core"), ("mlx-lm", "mlx_lm")],
        _ => &[],
    }
}

/// Packages of which any one holds what MLX calculates with.
const MLX_BACKENDS: [&str; 4] = ["mlx-metal", "mlx-cpu", "mlx-cuda-13", "mlx-cuda-12"];
/// Packages whose versions are told if they are there.
const ALSO: [&str; 2] = ["numpy", "tokenizers"];

impl Python {
    /// "Python 3.11.7".
    pub fn title(&self) -> String {
        let (major, minor, patch) = self.version;
        let kind = if self.implementation == "CPython" { "Python" } else { &self.implementation };
        format!("{kind} {major}.{minor}.{patch}")
    }

    /// Whether it has a module.
    pub fn has(&self, module: &str) -> bool {
        self.modules.get(module).copied().unwrap_or(false)
    }

    fn package(&self, name: &str) -> Option<&str> {
        self.packages.get(name)?.as_deref()
    }

    /// Why no engine can use it.
    pub fn unfit(&self) -> Option<String> {
        let (major, minor, _) = self.version;
        if (major, minor) < OLDEST {
            return Some(format!("{} is too old, {}.{} is needed", self.title(), OLDEST.0, OLDEST.1));
        }
        let foreign = cfg!(all(target_os = "macos", target_arch = "aarch64")) && self.machine == "x86_64";
        if self.translated || foreign {
            return Some(format!(
                "{} is built for Intel processors and runs under Rosetta; one for Apple silicon is needed",
                self.title()
            ));
        }
        if self.implementation != "CPython" {
            return Some(format!("{} is not CPython, for which the packages are built", self.title()));
        }
        None
    }

    /// The versions of all that an engine needs, or what is lacking.
    pub fn holds(&self, engine: EngineId) -> Result<BTreeMap<String, String>, String> {
        if let Some(why) = self.unfit() {
            return Err(why);
        }
        let (mut missing, mut halves) = (Vec::new(), Vec::new());
        for (package, module) in needs(engine) {
            match (self.package(package), self.has(module)) {
                (Some(_), true) => {}
                (None, false) => missing.push(*package),
                (Some(_), false) => halves.push(format!("{package} is half removed (its files are gone)")),
                (None, true) => halves.push(format!("{package} is half removed (its metadata is gone)")),
            }
        }
        let backend = MLX_BACKENDS.iter().any(|package| self.package(package).is_some());
        if engine == EngineId::Mlx && missing.is_empty() && halves.is_empty() && !backend {
            missing.push(if cfg!(target_os = "macos") { "mlx-metal" } else { "mlx-cpu" });
        }
        let halves = halves.join(" and ");
        match (missing.is_empty(), halves.is_empty()) {
            (true, true) => {}
            (true, false) => return Err(format!("in {} {halves}", self.title())),
            (false, none) => {
                let also = if none { halves } else { format!(", and {halves}") };
                return Err(format!("{} has no {}{also}", self.title(), missing.join(", no ")));
            }
        }
        let (major, minor, patch) = self.version;
        let python = ("python".to_owned(), format!("{major}.{minor}.{patch}"));
        let held = self.packages.iter().filter_map(|(name, version)| Some((name.clone(), version.clone()?)));
        Ok(held.chain([python]).collect())
    }
}

/// Pythons that did not answer, and when: each engine looks at the same ones, and one that hangs is waited for once.
static MUTE: Mutex<Vec<(PathBuf, Instant)>> = Mutex::new(Vec::new());
/// After this time one that hung is asked again.
const MUTE_FOR: Duration = Duration::from_mins(1);
/// Of more, the oldest are forgotten.
const MUTE_MOST: usize = 16;

fn is_mute(file: &Path) -> bool {
    let mute = MUTE.lock().unwrap_or_else(PoisonError::into_inner);
    mute.iter().any(|(known, at)| known == file && at.elapsed() < MUTE_FOR)
}

fn remember_mute(file: &Path) {
    let mut mute = MUTE.lock().unwrap_or_else(PoisonError::into_inner);
    mute.retain(|(known, at)| known != file && at.elapsed() < MUTE_FOR);
    if mute.len() >= MUTE_MOST {
        mute.remove(0);
    }
    mute.push((file.to_owned(), Instant::now()));
}

/// Asks a Python what it holds. The error says what is wrong with it, path last.
pub fn probe(file: &Path, surroundings: &Surroundings, limit: Duration) -> Result<Python, String> {
    let engines = [EngineId::Pytorch, EngineId::Mlx];
    let needed = engines.iter().flat_map(|engine| needs(*engine));
    let packages: Vec<&str> = needed.clone().map(|need| need.0).chain(MLX_BACKENDS).chain(ALSO).collect();
    let modules: Vec<&str> = needed.map(|need| need.1).chain(MODULES).collect();
    let asked = serde_json::json!([packages, modules]).to_string();
    let program = Program {
        environment: Some(surroundings.environment.clone()),
        ..Program::new(file, ["-I", "-c", SCRIPT, &asked])
    };
    let silent = || format!("a broken Python (it did not answer within {} s): {}", limit.as_secs_f64(), file.display());
    if is_mute(file) {
        return Err(silent());
    }
    let mut child = Supervised::start(&program)?;
    child.close_input();
    let (said, closed) = all_it_says(&mut child, limit);
    if !closed {
        remember_mute(file);
    }
    // What its start-up files print comes before.
    let answer = said.iter().rev().find_map(|line| serde_json::from_str::<Answer>(line).ok());
    let Some(answer) = answer else {
        let why = match (closed, said.last()) {
            (false, _) => return Err(silent()),
            (true, Some(line)) if child.wait(LIMIT).is_some_and(|status| status.success()) => {
                format!("it is no Python, it said \"{}\"", line.chars().take(60).collect::<String>())
            }
            (true, _) => child.obituary(),
        };
        return Err(format!("a broken Python ({why}): {}", file.display()));
    };
    let executable = answer.executable.filter(|path| !path.is_empty()).map_or_else(|| file.to_owned(), PathBuf::from);
    Ok(Python {
        file: file.to_owned(),
        executable,
        version: answer.version,
        implementation: answer.implementation,
        machine: answer.machine,
        translated: answer.translated,
        libc: answer.libc,
        packages: answer.packages,
        modules: answer.modules,
    })
}

/// The first lines of a short answer, and whether it ended in time.
pub fn all_it_says(child: &mut Supervised, limit: Duration) -> (Vec<String>, bool) {
    const LINES: usize = 400;
    let (start, mut lines) = (Instant::now(), Vec::new());
    while lines.len() < LINES {
        match child.hear(limit.saturating_sub(start.elapsed())) {
            Said::Line(line) => lines.push(line),
            Said::Rubbish(why) => lines.push(why),
            Said::Closed => return (lines, true),
            Said::Nothing => return (lines, false),
        }
    }
    (lines, true)
}

/// The interpreter where a path names it or an environment's folder.
pub fn in_path(path: &Path) -> PathBuf {
    if !path.is_dir() {
        return path.to_owned();
    }
    let places = [path.join("bin/python3"), path.join("bin/python"), path.join("Scripts/python.exe")];
    let [first, ..] = &places;
    places.iter().find(|file| file.exists()).unwrap_or(first).clone()
}

pub(super) fn find(engine: EngineId, surroundings: &Surroundings) -> Result<Located, Missing> {
    if let Some(path) = chosen(engine, surroundings)? {
        let file = in_path(&path);
        let found = probe(&file, surroundings, LIMIT).and_then(|python| located(engine, &python, FoundIn::Setting));
        return found.map_err(|why| Missing {
            reason: format!("the Python of the settings can't be used for {}: {why}", engine.title()),
            command: format!("roofline engines use {engine} --default"),
        });
    }
    let own = installed::Installed::read(engine, surroundings).and_then(|own| own.root(engine, surroundings));
    let own = own.map(|root| (in_path(&root), FoundIn::Installed));
    let mut reasons = Vec::new();
    for (file, origin) in own.into_iter().chain(candidates(surroundings)) {
        match probe(&file, surroundings, LIMIT).and_then(|python| located(engine, &python, origin)) {
            Ok(located) => return Ok(located),
            Err(why) => reasons.push(why),
        }
    }
    Err(missing(engine, &reasons, surroundings))
}

fn located(engine: EngineId, python: &Python, origin: FoundIn) -> Result<Located, String> {
    let versions = python.holds(engine).map_err(|why| format!("{why}: {}", python.file.display()))?;
    Ok(Located { engine, place: Place::Python { python: python.file.clone() }, origin, versions })
}

fn missing(engine: EngineId, reasons: &[String], surroundings: &Surroundings) -> Missing {
    const REASONS: usize = 4;
    const EACH: usize = 240;
    if reasons.is_empty() {
        return Missing {
            reason: format!("{} needs a Python, and there is none", engine.title()),
            command: get_python(surroundings),
        };
    }
    let mut told: Vec<String> =
        reasons.iter().take(REASONS).map(|reason| reason.chars().take(EACH).collect()).collect();
    if reasons.len() > REASONS {
        told.push(format!("and {} more", reasons.len() - REASONS));
    }
    if installed::is_unfinished(engine, surroundings) {
        told.push("an installation was not finished".to_owned());
    }
    Missing {
        reason: format!("no Python here holds {}: {}", engine.title(), told.join("; ")),
        command: install_command(engine),
    }
}

/// The command that gets a Python.
pub fn get_python(surroundings: &Surroundings) -> String {
    if cfg!(target_os = "macos") {
        return "brew install python".to_owned();
    }
    if surroundings.program("uv").is_some() {
        return "uv python install".to_owned();
    }
    package_command(surroundings, &[("apt-get", "python3 python3-venv"), ("", "python3")])
}

/// The command of this Linux's package manager that gets packages; each by its manager, "" for all others.
pub fn package_command(surroundings: &Surroundings, packages: &[(&str, &str)]) -> String {
    const MANAGERS: [(&str, &str); 5] = [
        ("apt-get", "sudo apt-get install"),
        ("dnf", "sudo dnf install"),
        ("zypper", "sudo zypper install"),
        ("pacman", "sudo pacman -S"),
        ("apk", "sudo apk add"),
    ];
    let found = MANAGERS.iter().find(|(manager, _)| surroundings.program(manager).is_some());
    let (manager, command) = found.copied().unwrap_or(("apt-get", "sudo apt-get install"));
    let wanted = packages.iter().find(|(name, _)| *name == manager).or_else(|| packages.last());
    format!("{command} {}", wanted.map_or("", |(_, names)| names))
}

/// Pythons in the order in which they are asked.
fn candidates(surroundings: &Surroundings) -> Vec<(PathBuf, FoundIn)> {
    let mut found: Vec<(PathBuf, FoundIn)> = Vec::new();
    for variable in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        let file = surroundings.variable(variable).map(|folder| in_path(Path::new(folder)));
        found.extend(file.filter(|file| is_executable(file)).map(|file| (file, FoundIn::ActiveEnvironment)));
    }
    for folder in surroundings.program_folders() {
        let file = ["python3", "python"].iter().map(|name| folder.join(name)).find(|file| is_executable(file));
        let Some(file) = file.filter(|file| !is_stub(file)) else { continue };
        // /bin is /usr/bin on many systems. Links to files are left: environments are told apart by theirs.
        if !found.iter().any(|(known, _)| resolved(known) == resolved(&file)) {
            found.push((file.clone(), origin_of(&file)));
        }
    }
    const MOST: usize = 8;
    found.truncate(MOST);
    found
}

/// A file with the links in its folder's path resolved.
fn resolved(file: &Path) -> Option<PathBuf> {
    Some(std::fs::canonicalize(file.parent()?).ok()?.join(file.file_name()?))
}

/// macOS's placeholder, which opens a window that offers to install Apple's command-line tools.
fn is_stub(file: &Path) -> bool {
    let tools = ["/Library/Developer/CommandLineTools/usr/bin/python3", "/Applications/Xcode.app"];
    cfg!(target_os = "macos") && file.starts_with("/usr/bin") && !tools.iter().any(|path| Path::new(path).exists())
}

/// The first Python that engines can use.
pub fn any(surroundings: &Surroundings) -> Result<Python, String> {
    first(surroundings, &Python::unfit)
}

/// The first Python with which nothing is wrong, by its usual names and then by those that carry a version.
pub fn first(surroundings: &Surroundings, wrong: &dyn Fn(&Python) -> Option<String>) -> Result<Python, String> {
    const NAMES: [&str; 5] = ["python3.13", "python3.12", "python3.11", "python3.14", "python3.10"];
    let named = NAMES.iter().filter_map(|name| surroundings.program(name));
    let mut reasons = Vec::new();
    for file in candidates(surroundings).into_iter().map(|(file, _)| file).chain(named) {
        match probe(&file, surroundings, LIMIT) {
            Ok(python) => match wrong(&python) {
                None => return Ok(python),
                Some(why) => reasons.push(format!("{why}: {}", file.display())),
            },
            Err(why) => reasons.push(why),
        }
    }
    reasons.truncate(3);
    let command = get_python(surroundings);
    if reasons.is_empty() {
        return Err(format!("there is no Python; get one with: {command}"));
    }
    Err(format!("there is no Python that will do ({}); get one with: {command}", reasons.join("; ")))
}
