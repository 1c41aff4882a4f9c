//! What an installation would do, how much it downloads and what it takes on the disk: shown before anything happens.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use super::{
    InstallError, llama_cpp, place, python,
    requirements::{
        List, MLX_CPU, MLX_CUDA, MLX_MACOS, PYTORCH_CPU, PYTORCH_CPU_INDEX, PYTORCH_CPU_WHEEL, PYTORCH_CUDA,
        PYTORCH_MACOS,
    },
    size,
};
use crate::engine::{
    EngineId, Surroundings,
    find::{installed, python as find_python},
    supervise::{Environment, Program, Supervised},
};

/// What will be done.
#[derive(Clone, Debug)]
pub struct InstallPlan {
    /// Which engine.
    pub engine: EngineId,
    /// What is installed, as "CUDA wheels".
    pub variant: String,
    /// What is done, step by step, in words.
    pub steps: Vec<String>,
    /// What should be known before: what is missing for more, or another way.
    pub notes: Vec<String>,
    /// The commands that are run, as a shell would take them.
    pub commands: Vec<String>,
    /// Bytes that are downloaded, at most.
    pub download_bytes: u64,
    /// Bytes on the disk afterwards.
    pub disk_bytes: u64,
    /// Bytes on the disk at most, while it is installed.
    pub peak_bytes: u64,
    /// The engine's folder.
    pub folder: PathBuf,
    /// How free bytes are asked for; `None` where the system doesn't tell.
    pub free_bytes: fn(&Path) -> Option<u64>,
    pub(super) slot: String,
    pub(super) recipe: Recipe,
    pub(super) surroundings: Surroundings,
}

/// How it is done.
#[derive(Clone, Debug)]
pub(super) enum Recipe {
    Python(python::Recipe),
    LlamaCpp(llama_cpp::Recipe),
}

/// Plans an installation with the first Python that will do.
///
/// May start programs that answer within a moment, and asks once
/// whether PyTorch's own index can be reached where that decides what is downloaded.
pub fn plan(engine: EngineId, surroundings: &Surroundings) -> Result<InstallPlan, InstallError> {
    plan_with(engine, surroundings, None)
}

/// The same with a certain Python, or that of an environment's folder.
pub fn plan_with(
    engine: EngineId,
    surroundings: &Surroundings,
    python: Option<&Path>,
) -> Result<InstallPlan, InstallError> {
    let impossible = |why: String| Err(InstallError::Impossible(why));
    if engine.is_built_in() {
        return impossible(format!("{engine} is part of Roofline; there is nothing to install"));
    }
    if matches!(engine, EngineId::Other(_)) {
        return impossible(format!(
            "{engine} is none of the engines that Roofline installs: pytorch, mlx, llama.cpp; put its program or script into the \
             folder engines/custom of the data folder"
        ));
    }
    let Some(folder) = installed::folder_of(engine, surroundings) else {
        return impossible("without a data folder nothing is installed; name one with --data-dir".to_owned());
    };
    let slot = format!("{}-{}", jiff::Timestamp::now().as_millisecond(), std::process::id());
    let site = Ground { engine, surroundings: surroundings.clone(), folder, slot };
    match engine {
        EngineId::LlamaCpp => llama_cpp::plan(site, python),
        _ => plan_python(site, python),
    }
}

/// What every plan begins with.
pub(super) struct Ground {
    pub(super) engine: EngineId,
    pub(super) surroundings: Surroundings,
    pub(super) folder: PathBuf,
    pub(super) slot: String,
}

impl Ground {
    /// The folder that will be made.
    pub(super) fn root(&self) -> PathBuf {
        self.folder.join(&self.slot)
    }

    /// Where downloads are kept.
    pub(super) fn downloads(&self) -> PathBuf {
        place::downloads(self.engine, &self.surroundings).unwrap_or_default()
    }

    /// A plan without steps and commands.
    pub(super) fn into_plan(self, variant: &str, recipe: Recipe) -> InstallPlan {
        InstallPlan {
            engine: self.engine,
            variant: variant.to_owned(),
            steps: Vec::new(),
            notes: Vec::new(),
            commands: Vec::new(),
            download_bytes: 0,
            disk_bytes: 0,
            peak_bytes: 0,
            folder: self.folder,
            free_bytes: place::free_bytes,
            slot: self.slot,
            recipe,
            surroundings: self.surroundings,
        }
    }
}

impl InstallPlan {
    /// Whether the installation that is there is the same as this one would be.
    pub fn is_current(&self) -> bool {
        let there = installed::Installed::read(self.engine, &self.surroundings);
        there.is_some_and(|there| there.recipe == self.fingerprint())
    }

    /// The plan in words, for people, ending with the sizes.
    pub fn text(&self) -> String {
        let mut text =
            format!("{} ({}) will be installed in {}\n", self.engine.title(), self.variant, self.folder.display());
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(text, "  {}. {step}", number + 1).ok();
        }
        for command in &self.commands {
            writeln!(text, "     $ {command}").ok();
        }
        for note in &self.notes {
            writeln!(text, "  note: {note}").ok();
        }
        let sizes = format!(
            "about {} to download, {} on the disk (up to {} while it is installed)",
            size(self.download_bytes),
            size(self.disk_bytes),
            size(self.peak_bytes)
        );
        writeln!(text, "  {sizes}").ok();
        text
    }

    /// What is installed, as a checksum of all that is pinned.
    pub(super) fn fingerprint(&self) -> String {
        let pinned = match &self.recipe {
            Recipe::Python(recipe) => recipe.pinned(),
            Recipe::LlamaCpp(_) => llama_cpp::pinned(),
        };
        let sum = Sha256::digest(format!("{}\n{pinned}", self.variant).as_bytes());
        hexadecimal(sum.get(..16).unwrap_or_default())
    }

    /// The environment for what installs: the person's, without what would lead files elsewhere or change how a program is
    /// built, and with temporary files on the disk whose room is checked.
    pub(super) fn environment(&self) -> Environment {
        const AWAY: [&str; 22] = [
            "PYTHON",
            "PIP_TARGET",
            "PIP_PREFIX",
            "PIP_ROOT",
            "PIP_USER",
            "PIP_REQUIRE",
            "PIP_CONSTRAINT",
            "PIP_NO_BINARY",
            "PIP_ONLY_BINARY",
            "PIP_LOG",
            "PIP_REPORT",
            "PIP_DRY_RUN",
            "PIP_CACHE_DIR",
            "UV_PROJECT",
            "UV_PYTHON",
            "UV_CACHE_DIR",
            "VIRTUAL_ENV",
            "CONDA_",
            "__PYVENV_LAUNCHER__",
            "CFLAGS",
            "CXXFLAGS",
            "TMPDIR",
        ];
        let mut environment = self.surroundings.without(&AWAY);
        if let Some(downloads) = place::downloads(self.engine, &self.surroundings) {
            environment.push(("TMPDIR".into(), downloads.join("tmp").into()));
        }
        environment
    }
}

/// The Python that an installation starts from: one for which a list has files.
pub(super) fn base_python(
    surroundings: &Surroundings,
    asked: Option<&Path>,
    list: List,
) -> Result<find_python::Python, InstallError> {
    let pythons = list.pythons();
    let suits = |python: &find_python::Python| {
        let (major, minor, _) = python.version;
        match python.unfit() {
            None if !pythons.contains(&(major, minor)) => {
                let known = pythons.iter().map(|(major, minor)| format!("{major}.{minor}")).collect::<Vec<_>>();
                Some(format!("{} is none of {}", python.title(), known.join(", ")))
            }
            other => other,
        }
    };
    let python = match asked {
        Some(path) => find_python::probe(&find_python::in_path(path), surroundings, find_python::LIMIT)
            .and_then(|python| suits(&python).map_or(Ok(python), |why| Err(format!("{why}: {}", path.display())))),
        None => find_python::first(surroundings, &suits),
    };
    python.map_err(InstallError::Impossible)
}

/// What suits a machine.
struct Choice {
    variant: &'static str,
    steps: Vec<python::Step>,
    download_bytes: u64,
    disk_bytes: u64,
}

impl Choice {
    fn of(list: List, variant: &'static str) -> Self {
        let steps = vec![python::Step::hashed(list.name, list.without(&[]))];
        Self { variant, steps, download_bytes: list.download_bytes(), disk_bytes: list.disk_bytes() }
    }
}

/// Which packages suit this machine.
fn plan_python(ground: Ground, asked: Option<&Path>) -> Result<InstallPlan, InstallError> {
    let here = ground.surroundings.clone();
    let nvidia = has_nvidia(&here);
    let (list, variant) = match (ground.engine, std::env::consts::OS, std::env::consts::ARCH) {
        (EngineId::Pytorch, "macos", "aarch64") => (PYTORCH_MACOS, "wheels with MPS"),
        (EngineId::Pytorch, "linux", "x86_64") if nvidia => (PYTORCH_CUDA, "CUDA wheels"),
        (EngineId::Pytorch, "linux", "x86_64") => (PYTORCH_CPU, ""),
        (EngineId::Mlx, "macos", "aarch64") => (MLX_MACOS, "wheels with Metal"),
        (EngineId::Mlx, "linux", "x86_64") if nvidia => (MLX_CUDA, "CUDA wheels"),
        (EngineId::Mlx, "linux", "x86_64") => (MLX_CPU, "CPU wheels"),
        (engine, os, arch) => {
            return Err(InstallError::Impossible(format!(
                "there is no pinned list of {}'s packages for {os} on {arch}; install them into an environment of your own and \
                 choose it with: roofline engines use {engine} FOLDER",
                engine.title()
            )));
        }
    };
    let base = base_python(&here, asked, list)?;
    let maker = python::Maker::choose(&base, &here)?;
    let mut notes = Vec::new();
    if ground.engine == EngineId::Mlx && cfg!(target_os = "linux") {
        require_glibc(&base, (2, 35))?;
        if !nvidia {
            let slow = "MLX on a Linux processor shows that it works; its speed there says nothing of MLX";
            notes.push(slow.to_owned());
        }
    }
    let choice = match list {
        PYTORCH_CPU => pytorch_for_processor(&base, &here, &mut notes),
        list => Choice::of(list, variant),
    };
    let (root, downloads) = (ground.root(), ground.downloads());
    let recipe = python::Recipe { maker, base: base.executable.clone(), steps: choice.steps };
    let mut plan = ground.into_plan(choice.variant, Recipe::Python(recipe.clone()));
    plan.steps = recipe.words(&base.title());
    plan.commands = recipe.commands(&root, &downloads);
    plan.notes = notes;
    plan.download_bytes = choice.download_bytes;
    plan.disk_bytes = choice.disk_bytes + recipe.maker.bare_bytes();
    plan.peak_bytes = recipe.peak(plan.download_bytes, plan.disk_bytes);
    Ok(plan)
}

/// PyTorch where there is no NVIDIA GPU: its own index has wheels without CUDA; where it can't be reached, the large wheel
/// without what it doesn't need.
fn pytorch_for_processor(base: &find_python::Python, surroundings: &Surroundings, notes: &mut Vec<String>) -> Choice {
    let torch = PYTORCH_CPU.version_of("torch").unwrap_or_default();
    if reaches(&base.executable, &format!("{PYTORCH_CPU_INDEX}/torch/"), surroundings) {
        notes.push(format!(
            "torch {torch} comes from PyTorch's own index, which tells the checksum of its file; all others are pinned by theirs"
        ));
        let rest = PYTORCH_CPU.without(&["torch", "nvidia-*"]);
        let torch = python::Step {
            name: "pytorch-cpu-wheel.txt",
            text: format!("torch=={torch}+cpu\n"),
            index: Some(PYTORCH_CPU_INDEX),
        };
        let (download_bytes, disk_bytes) = PYTORCH_CPU_WHEEL;
        let steps = vec![torch, python::Step::hashed("other-packages.txt", rest)];
        return Choice { variant: "CPU wheels", steps, download_bytes, disk_bytes };
    }
    notes.push(format!(
        "PyTorch's own index, which has a wheel without CUDA, could not be reached; the large one is linked against CUDA's \
         libraries and takes {} for the processor alone",
        size(PYTORCH_CPU.disk_bytes())
    ));
    let step = python::Step::hashed(PYTORCH_CPU.name, PYTORCH_CPU.without(&[]));
    Choice {
        variant: "CUDA wheels for the processor",
        steps: vec![step],
        download_bytes: PYTORCH_CPU.download_bytes(),
        disk_bytes: PYTORCH_CPU.disk_bytes(),
    }
}

fn require_glibc(base: &find_python::Python, needed: (u32, u32)) -> Result<(), InstallError> {
    let version = base
        .libc
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.split('.').next()?.parse::<u32>().ok()?)));
    match version {
        Some(version) if version < needed => Err(InstallError::Impossible(format!(
            "MLX's packages need glibc {}.{}, and this system has {}; use a newer system",
            needed.0, needed.1, base.libc
        ))),
        _ => Ok(()),
    }
}

/// Whether a server answers to a question for the head of a page, within a few seconds.
fn reaches(python: &Path, url: &str, surroundings: &Surroundings) -> bool {
    const LIMIT: Duration = Duration::from_secs(12);
    const SCRIPT: &str = "import sys, urllib.request as r\n\
                          r.urlopen(r.Request(sys.argv[1], method='HEAD'), timeout=5)\nprint('there')";
    let environment = Some(surroundings.environment.clone());
    let program = Program { environment, ..Program::new(python, ["-I", "-c", SCRIPT, url]) };
    let Ok(mut child) = Supervised::start(&program) else { return false };
    child.close_input();
    child.hear(LIMIT) == crate::engine::supervise::Said::Line("there".to_owned())
}

/// Whether the driver of an NVIDIA GPU is there.
pub(super) fn has_nvidia(surroundings: &Surroundings) -> bool {
    if Path::new("/proc/driver/nvidia/version").exists() {
        return true;
    }
    let Some(file) = surroundings.program("nvidia-smi") else { return false };
    let program = Program { environment: Some(surroundings.environment.clone()), ..Program::new(&file, ["-L"]) };
    let Ok(mut child) = Supervised::start(&program) else { return false };
    matches!(child.hear(Duration::from_secs(10)), crate::engine::supervise::Said::Line(line) if line.starts_with("GPU "))
}

/// Bytes as checksums are written.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// A command as a shell would take it.
pub(super) fn shown(program: &Program) -> String {
    let words = std::iter::once(program.file.as_os_str()).chain(program.arguments.iter().map(AsRef::as_ref));
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_a_shell_takes_them() {
        let program = Program::new(Path::new("/a b/it's"), ["-r", "x", ""]);
        assert_eq!(shown(&program), r"'/a b/it'\''s' -r x ''");
    }
}
