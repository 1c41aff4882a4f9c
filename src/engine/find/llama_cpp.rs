//! llama.cpp: its benchmark program and what lies beside it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{FoundIn, Located, Missing, Place, chosen, install_command, installed, is_brewed, origin_of};
use crate::engine::{
    EngineId, Surroundings, is_executable,
    supervise::{Program, Supervised},
};

/// How long the program may take to say its version.
const LIMIT: Duration = Duration::from_secs(15);

pub(super) fn find(surroundings: &Surroundings) -> Result<Located, Missing> {
    const ENGINE: EngineId = EngineId::LlamaCpp;
    if let Some(path) = chosen(ENGINE, surroundings)? {
        return locate(&in_path(&path), FoundIn::Setting, surroundings).map_err(|why| Missing {
            reason: format!("the llama.cpp of the settings can't be used: {why}"),
            command: "roofline engines use llama.cpp --default".to_owned(),
        });
    }
    let mut reasons = Vec::new();
    let own = installed::Installed::read(ENGINE, surroundings).and_then(|own| own.root(ENGINE, surroundings));
    let own = own.map(|root| (root.join("bin/llama-bench"), FoundIn::Installed));
    let found = surroundings.program("llama-bench").map(|file| (file.clone(), origin_of(&file)));
    for (file, origin) in own.into_iter().chain(found) {
        match locate(&file, origin, surroundings) {
            Ok(located) => return Ok(located),
            Err(why) => reasons.push(why),
        }
    }
    if reasons.is_empty() {
        let unfinished = installed::is_unfinished(ENGINE, surroundings);
        let more = if unfinished { ", and an installation was not finished" } else { "" };
        reasons.push(format!("there is no llama-bench on PATH{more}"));
    }
    Err(Missing { reason: reasons.join("; "), command: command(surroundings) })
}

/// Homebrew's where it is, else our own.
fn command(surroundings: &Surroundings) -> String {
    let brew = cfg!(target_os = "macos") && surroundings.program("brew").is_some_and(|brew| is_brewed(&brew));
    if brew { "brew install llama.cpp".to_owned() } else { install_command(EngineId::LlamaCpp) }
}

/// llama-bench where a path names it or a folder that holds it.
fn in_path(path: &Path) -> PathBuf {
    if !path.is_dir() {
        return path.to_owned();
    }
    let places = [path.join("llama-bench"), path.join("bin/llama-bench"), path.join("build/bin/llama-bench")];
    let [first, ..] = &places;
    places.iter().find(|file| file.exists()).unwrap_or(first).clone()
}

/// Makes sure that a file is llama-bench, and finds what lies beside it. The error says what is wrong with it, path last.
pub fn locate(bench: &Path, origin: FoundIn, surroundings: &Surroundings) -> Result<Located, String> {
    let version = version(bench, surroundings)?;
    let beside = |name: &str| {
        let real = std::fs::canonicalize(bench).unwrap_or_else(|_| bench.to_owned());
        let mut folders = [bench, &real].into_iter().filter_map(Path::parent).map(|folder| folder.join(name));
        folders.find(|file| is_executable(file))
    };
    Ok(Located {
        engine: EngineId::LlamaCpp,
        place: Place::LlamaCpp {
            bench: bench.to_owned(),
            ops: beside("test-backend-ops"),
            quantize: beside("llama-quantize"),
            simple: beside("llama-simple"),
        },
        origin,
        versions: BTreeMap::from([("llama.cpp".to_owned(), version)]),
    })
}

/// What llama-bench says of its version; older ones know no such flag, but list it or not in their help.
fn version(bench: &Path, surroundings: &Surroundings) -> Result<String, String> {
    let ask = |flag: &str| {
        let environment = Some(surroundings.environment.clone());
        let mut child = Supervised::start(&Program { environment, ..Program::new(bench, [flag]) })?;
        let (said, closed) = super::python::all_it_says(&mut child, LIMIT);
        if !closed {
            return Err(format!("it did not answer within {} s: {}", LIMIT.as_secs(), bench.display()));
        }
        // Its version goes to standard error in some releases and to standard output in others, and what was written there
        // before the end may still be on its way.
        let start = Instant::now();
        while said.is_empty() && child.errors().is_empty() && start.elapsed() < Duration::from_millis(500) {
            child.wait(Duration::from_millis(10));
            std::thread::sleep(Duration::from_millis(5));
        }
        let text = format!("{}\n{}", said.join("\n"), child.errors());
        Ok((text, child))
    };
    let (text, _) = ask("--version")?;
    if let Some(version) = text.lines().find_map(|line| line.trim().strip_prefix("version:")) {
        return Ok(version.trim().chars().take(80).collect());
    }
    let (text, mut child) = ask("--help")?;
    if text.contains("--n-prompt") || text.contains("usage:") {
        return Ok("unknown".to_owned());
    }
    Err(format!("it does not behave as llama-bench: {}: {}", child.obituary(), bench.display()))
}
