//! Engines that others wrote: programs and Python scripts in `engines/custom` of the data folder.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{FoundIn, Located, Missing, Place, python, settings::Settings};
use crate::engine::{EngineId, EngineName, Surroundings, is_executable};

/// More than so many are not looked at.
const MOST: usize = 32;

/// A file of the folder that is no engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Which.
    pub file: PathBuf,
    /// Why, and what to do.
    pub reason: String,
}

/// A file of the folder that may be one.
struct Candidate {
    name: EngineName,
    file: PathBuf,
    script: bool,
}

/// The engines in the folder, by name. Scripts for which there is no Python are not among them; [`ignored`] tells of those.
pub fn custom(surroundings: &Surroundings) -> Vec<(EngineId, Located)> {
    look(surroundings).0
}

/// What lies in the folder and is no engine, with the reason.
pub fn ignored(surroundings: &Surroundings) -> Vec<Ignored> {
    look(surroundings).1
}

pub(super) fn find(engine: EngineId, surroundings: &Surroundings) -> Result<Located, Missing> {
    let (found, ignored) = look(surroundings);
    if let Some((_, located)) = found.into_iter().find(|(name, _)| *name == engine) {
        return Ok(located);
    }
    let folder = folder(surroundings).unwrap_or_default();
    let of_this_name = |ignored: &&Ignored| {
        ignored.file.file_name().is_some_and(|name| name == engine.id() || name == format!("{engine}.py").as_str())
    };
    let reason = match ignored.iter().find(of_this_name) {
        Some(Ignored { file, reason }) => format!("{reason}: {}", file.display()),
        None => format!("there is no program {engine} and no script {engine}.py in {}", folder.display()),
    };
    Err(Missing { reason, command: "roofline engines list".to_owned() })
}

fn folder(surroundings: &Surroundings) -> Option<PathBuf> {
    Some(surroundings.engines()?.join("custom"))
}

fn look(surroundings: &Surroundings) -> (Vec<(EngineId, Located)>, Vec<Ignored>) {
    let entries = folder(surroundings).and_then(|folder| fs::read_dir(folder).ok());
    let mut files: Vec<PathBuf> = entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let (mut found, mut ignored) = (BTreeMap::new(), Vec::new());
    let mut ignore = |file: &Path, reason: String| ignored.push(Ignored { file: file.to_owned(), reason });
    let over = files.split_off(files.len().min(MOST));
    if let Some(first) = over.first() {
        ignore(first, format!("the folder holds more than {MOST} files, and the rest is not looked at"));
    }
    let mut python: Option<Result<PathBuf, String>> = None;
    for file in files {
        let candidate = match classify(&file) {
            Ok(Some(candidate)) => candidate,
            Ok(None) => continue,
            Err(reason) => {
                ignore(&file, reason);
                continue;
            }
        };
        let engine = EngineId::Other(candidate.name);
        if found.contains_key(&engine) {
            ignore(&file, format!("there is another file for the engine {engine}; rename one of them"));
            continue;
        }
        // One Python for all scripts, unless the settings name one.
        let interpreter = candidate.script.then(|| match chosen_python(engine, surroundings) {
            Some(chosen) => chosen,
            None => python.get_or_insert_with(|| python::any(surroundings).map(|python| python.file)).clone(),
        });
        match interpreter.transpose() {
            Ok(python) => drop(found.insert(engine, located(engine, candidate.file, python))),
            Err(why) => ignore(&file, format!("a script needs a Python: {why}")),
        }
    }
    (found.into_iter().collect(), ignored)
}

fn located(engine: EngineId, program: PathBuf, python: Option<PathBuf>) -> Located {
    let place = Place::Custom { program, python };
    Located { engine, place, origin: FoundIn::EnginesFolder, versions: BTreeMap::new() }
}

/// The Python that the settings name for a script.
fn chosen_python(engine: EngineId, surroundings: &Surroundings) -> Option<Result<PathBuf, String>> {
    let path = Settings::read(surroundings).and_then(|settings| settings.path(engine)).transpose()?;
    Some(
        path.and_then(|path| {
            python::probe(&python::in_path(&path), surroundings, python::LIMIT).map(|found| found.file)
        }),
    )
}

/// What a file is by its name and rights. Hidden files and those that scripts leave behind are passed over in silence.
fn classify(file: &Path) -> Result<Option<Candidate>, String> {
    let Some(name) = file.file_name().and_then(|name| name.to_str()) else {
        return Err("its name is no UTF-8; rename it".to_owned());
    };
    if name.starts_with('.') || name == "__pycache__" {
        return Ok(None);
    }
    if !file.is_file() {
        return Err("it is no file; put the program itself into the folder".to_owned());
    }
    let script = name.strip_suffix(".py");
    let stem = script.unwrap_or(name);
    let name = EngineName::new(stem)
        .ok_or("its name is no name of an engine: letters, digits, -, _ and ., at most 24; rename it")?;
    // In any letters: some file systems don't tell them apart, and nor do readers.
    let same = |name: &str| name.eq_ignore_ascii_case(stem);
    if EngineId::ALL.iter().any(|engine| same(engine.id()) || same(engine.title())) {
        return Err("its name is that of an engine that Roofline knows; rename it".to_owned());
    }
    if script.is_none() && !is_executable(file) {
        return Err(
            "it may not be executed; change its permissions, or end its name in .py if it is a script".to_owned()
        );
    }
    Ok(Some(Candidate { name, file: file.to_owned(), script: script.is_some() }))
}
