//! Virtual environments: by uv if it is there, else by Python's own venv and pip.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    InstallError, InstallPlan,
    place::Site,
    plan::shown,
    tool::{Measure, Work},
};
use crate::engine::{
    Surroundings,
    find::{FoundIn, Located, Place, python as find_python},
    supervise::Program,
};

/// How an environment is made and filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) maker: Maker,
    /// The Python that the environment is made of.
    pub(super) base: PathBuf,
    pub(super) steps: Vec<Step>,
}

/// Who makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Maker {
    Uv(PathBuf),
    Pip,
}

/// A list of packages that is installed at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The file that is written for it.
    pub(super) name: &'static str,
    pub(super) text: String,
    /// Another index than the person's; its files have other checksums than those pinned.
    pub(super) index: Option<&'static str>,
}

impl Step {
    pub(super) const fn hashed(name: &'static str, text: String) -> Self {
        Self { name, text, index: None }
    }
}

impl Maker {
    /// uv if it is there; else pip, which needs a Python that can make environments.
    pub(super) fn choose(base: &find_python::Python, surroundings: &Surroundings) -> Result<Self, InstallError> {
        if let Some(uv) = surroundings.program("uv") {
            return Ok(Self::Uv(uv));
        }
        if base.has("venv") && base.has("ensurepip") {
            return Ok(Self::Pip);
        }
        let (major, minor, _) = base.version;
        let packages = format!("python{major}.{minor}-venv");
        let command = find_python::package_command(surroundings, &[("apt-get", &packages), ("", "python3-pip")]);
        Err(InstallError::Impossible(format!(
            "{} lacks what makes virtual environments; get it with \"{command}\", or install uv: {}",
            base.title(),
            base.file.display()
        )))
    }

    /// What makes an environment at `root`.
    pub(super) fn environment(&self, base: &Path, root: &Path) -> Program {
        match self {
            Self::Uv(uv) => {
                let mut program = Program::new(uv, ["venv", "--no-project", "--python"]);
                program.arguments.extend([base.into(), root.into()]);
                program
            }
            Self::Pip => {
                let mut program = Program::new(base, ["-I", "-m", "venv"]);
                program.arguments.push(root.into());
                program
            }
        }
    }

    /// What installs a list that was written to a file.
    pub(super) fn packages(&self, step: &Step, root: &Path, downloads: &Path) -> Program {
        const EXACTLY: [&str; 3] = ["--no-deps", "--only-binary", ":all:"];
        let python = root.join("bin/python");
        let mut program = match self {
            Self::Uv(uv) => {
                let mut program = Program::new(uv, ["pip", "install", "--no-progress"]);
                program.arguments.extend(["--python".into(), python.into()]);
                program.arguments.extend(["--cache-dir".into(), downloads.join("uv").into()]);
                program
            }
            Self::Pip => {
                let quiet =
                    ["-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar"];
                let mut program = Program::new(&python, quiet);
                program.arguments.extend(["off".into(), "--cache-dir".into(), downloads.join("pip").into()]);
                program
            }
        };
        program.arguments.extend(EXACTLY.map(Into::into));
        match step.index {
            Some(index) => program.arguments.extend(["--index-url".into(), index.into()]),
            None => program.arguments.push("--require-hashes".into()),
        }
        program.arguments.extend(["-r".into(), root.join(step.name).into()]);
        program
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Uv(_) => "uv",
            Self::Pip => "pip",
        }
    }

    /// Bytes on the disk at most: pip keeps what it downloads and copies it once more, uv unpacks as it comes.
    pub(super) const fn peak(&self, download_bytes: u64, disk_bytes: u64) -> u64 {
        match self {
            Self::Uv(_) => disk_bytes + download_bytes / 4,
            Self::Pip => disk_bytes + 2 * download_bytes,
        }
    }
}

impl Recipe {
    /// Everything that is pinned.
    pub(super) fn pinned(&self) -> String {
        self.steps.iter().map(|step| step.text.as_str()).collect()
    }

    pub(super) fn peak(&self, download_bytes: u64, disk_bytes: u64) -> u64 {
        self.maker.peak(download_bytes, disk_bytes)
    }

    /// What is done, in words.
    pub(super) fn words(&self, base: &str) -> Vec<String> {
        let mut words = vec![format!("make a virtual environment of {base} ({})", self.base.display())];
        for step in &self.steps {
            let count = step.text.lines().filter(|line| !line.starts_with([' ', '#']) && line.contains("==")).count();
            let checked = if step.index.is_some() { "pinned" } else { "pinned and checked by SHA-256" };
            words.push(format!("install {count} packages with {}, {checked}", self.maker.name()));
        }
        words.push("ask the environment whether it holds everything".to_owned());
        words
    }

    /// The commands, as a shell would take them.
    pub(super) fn commands(&self, root: &Path, downloads: &Path) -> Vec<String> {
        let environment = self.maker.environment(&self.base, root);
        let packages = self.steps.iter().map(|step| self.maker.packages(step, root, downloads));
        std::iter::once(environment).chain(packages).map(|program| shown(&program)).collect()
    }
}

/// Makes the environment, fills it and asks it what it holds.
pub(super) fn make(
    plan: &InstallPlan,
    recipe: &Recipe,
    site: &Site,
    work: &mut Work<'_>,
) -> Result<Located, InstallError> {
    let measure = Measure::Growth { folders: vec![site.root.clone(), site.downloads.clone()], total: plan.peak_bytes };
    fill(recipe, &site.root, &site.downloads, &measure, work)?;
    let failed = |said: String| InstallError::Failed { what: "checking the environment".to_owned(), said };
    let file = find_python::in_path(&site.root);
    let python = find_python::probe(&file, &plan.surroundings, find_python::LIMIT * 4).map_err(failed)?;
    let versions = python.holds(plan.engine).map_err(failed)?;
    // Not another build than the one that was asked for.
    let asked =
        recipe.steps.iter().find(|step| step.index.is_some()).and_then(|step| step.text.trim().split_once("=="));
    if let Some((package, version)) =
        asked.filter(|(package, version)| versions.get(*package).is_none_or(|v| v != version))
    {
        let found = versions.get(package).map_or("none", String::as_str);
        return Err(failed(format!("{package} {version} was asked for and {found} came")));
    }
    Ok(Located { engine: plan.engine, place: Place::Python { python: file }, origin: FoundIn::Installed, versions })
}

/// Makes an environment at `root` and installs the recipe's lists in it.
pub(super) fn fill(
    recipe: &Recipe,
    root: &Path,
    downloads: &Path,
    measure: &Measure,
    work: &mut Work<'_>,
) -> Result<(), InstallError> {
    work.run("making a virtual environment", &recipe.maker.environment(&recipe.base, root), measure)?;
    for step in &recipe.steps {
        let file = root.join(step.name);
        fs::write(&file, &step.text).map_err(InstallError::io("write the list of packages", &file))?;
        work.run("installing packages", &recipe.maker.packages(step, root, downloads), measure)?;
    }
    Ok(())
}
