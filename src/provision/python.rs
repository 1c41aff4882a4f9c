//! Virtual environments: by uv if it is there, else by Python's own venv and pip.

use std::{
    ffi::OsString,
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

    /// The packages of the list and nothing else, built and unchanged.
    fn exactly(&self, list: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = ["--no-deps", "--only-binary", ":all:"].map(Into::into).into();
        arguments.extend(self.index.is_none().then(|| "--require-hashes".into()));
        arguments.extend(["-r".into(), list.into()]);
        arguments
    }

    fn index_arguments(&self) -> Vec<OsString> {
        self.index.map_or_else(Vec::new, |index| vec!["--index-url".into(), index.into()])
    }

    /// The list in parts that are downloaded one after another: each large package alone, so that those which arrived are kept
    /// when the next is cut off, and all others together.
    fn parts(&self) -> Vec<String> {
        const LARGE: [&str; 6] = ["torch", "nvidia-", "triton", "mlx-", "transformers", "cmake"];
        let (mut large, mut rest): (Vec<String>, String) = (Vec::new(), String::new());
        let mut alone = false;
        for line in self.text.lines().filter(|line| !line.starts_with('#')) {
            if !line.starts_with([' ', '\t']) {
                alone = LARGE.iter().any(|name| line.starts_with(name));
                if alone {
                    large.push(String::new());
                }
            }
            let part = if alone { large.last_mut().unwrap_or(&mut rest) } else { &mut rest };
            part.push_str(line);
            part.push('\n');
        }
        large.insert(0, rest);
        large.retain(|part| !part.trim().is_empty());
        large
    }
}

/// Where pip's downloads lie.
fn wheels(downloads: &Path) -> PathBuf {
    downloads.join("wheels")
}

/// The pip of an environment, with what every use of it needs.
fn pip(root: &Path, what: &str) -> Program {
    let quiet = ["-I", "-m", "pip", what, "--no-input", "--disable-pip-version-check", "--progress-bar", "off"];
    Program::new(&root.join("bin/python"), quiet)
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

    /// What installs a list that was written to a file: from the index by uv, from what was downloaded by pip.
    pub(super) fn packages(&self, step: &Step, root: &Path, downloads: &Path) -> Program {
        let mut program = match self {
            Self::Uv(uv) => {
                let mut program = Program::new(uv, ["pip", "install", "--no-progress"]);
                program.arguments.extend(["--python".into(), root.join("bin/python").into()]);
                program.arguments.extend(["--cache-dir".into(), downloads.join("uv").into()]);
                program.arguments.extend(step.index_arguments());
                program
            }
            Self::Pip => {
                let mut program = pip(root, "install");
                // Python compiles what is imported when it is imported, which is a small part, and uv does no more.
                program.arguments.extend([
                    "--no-compile".into(),
                    "--no-index".into(),
                    "--find-links".into(),
                    wheels(downloads).into(),
                ]);
                program
            }
        };
        program.arguments.extend(step.exactly(&root.join(step.name)));
        program
    }

    /// What downloads a list that was written to a file, for pip. Its own cache keeps only what a server allows it to keep.
    fn download(&self, step: &Step, list: &Path, root: &Path, downloads: &Path) -> Option<Program> {
        let Self::Pip = self else { return None };
        let mut program = pip(root, "download");
        program.arguments.extend(["--no-cache-dir".into(), "--dest".into(), wheels(downloads).into()]);
        program.arguments.extend(step.index_arguments());
        program.arguments.extend(step.exactly(list));
        Some(program)
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Uv(_) => "uv",
            Self::Pip => "pip",
        }
    }

    /// Bytes of an environment that holds nothing yet: Python's own venv brings pip along.
    pub(super) const fn bare_bytes(&self) -> u64 {
        match self {
            Self::Uv(_) => 0,
            Self::Pip => 40_000_000,
        }
    }

    /// Bytes on the disk at most: what is downloaded, by pip one package twice for a moment; uv unpacks as it comes.
    pub(super) const fn peak(&self, download_bytes: u64, disk_bytes: u64) -> u64 {
        match self {
            Self::Uv(_) => disk_bytes + download_bytes / 4,
            Self::Pip => disk_bytes + download_bytes + download_bytes / 4,
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
            words.push(format!("download and install {count} packages with {}, {checked}", self.maker.name()));
        }
        words.push("ask the environment whether it holds everything".to_owned());
        words
    }

    /// The commands, as a shell would take them.
    pub(super) fn commands(&self, root: &Path, downloads: &Path) -> Vec<String> {
        let environment = self.maker.environment(&self.base, root);
        let packages = self.steps.iter().flat_map(|step| {
            let download = self.maker.download(step, &root.join(step.name), root, downloads);
            download.into_iter().chain([self.maker.packages(step, root, downloads)])
        });
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
    let write =
        |file: &Path, text: &str| fs::write(file, text).map_err(InstallError::io("write the list of packages", file));
    for step in &recipe.steps {
        write(&root.join(step.name), &step.text)?;
        let parts = step.parts();
        let part = root.join("part.txt");
        for (number, text) in parts.iter().enumerate() {
            let Some(program) = recipe.maker.download(step, &part, root, downloads) else { break };
            write(&part, text)?;
            work.run(&format!("downloading, part {} of {}", number + 1, parts.len()), &program, measure)?;
        }
        work.run("installing packages", &recipe.maker.packages(step, root, downloads), measure)?;
        fs::remove_file(&part).ok();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_packages_are_downloaded_alone_and_none_is_forgotten() {
        let text = "# head\na==1 \\\n    --hash=x\ntorch==2 \\\n    --hash=y\nb==1 ; z\nnvidia-c==3 \\\n    --hash=w\n";
        let parts = Step::hashed("x.txt", text.to_owned()).parts();
        assert_eq!(
            parts,
            ["a==1 \\\n    --hash=x\nb==1 ; z\n", "torch==2 \\\n    --hash=y\n", "nvidia-c==3 \\\n    --hash=w\n"]
        );
        let one = Step { name: "x.txt", text: "torch==2+cpu\n".to_owned(), index: Some("y") };
        assert_eq!(one.parts(), ["torch==2+cpu\n"]);
    }
}
