//! llama.cpp, built from the source that the Python package llama-cpp-python ships whole.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    InstallError, InstallPlan,
    place::Site,
    plan::{self, Ground, base_python, has_nvidia, shown},
    python,
    requirements::LLAMA_CPP_BUILD,
    tool::{Measure, Work},
};
use crate::engine::{
    Surroundings,
    find::{self, FoundIn, Located, python as find_python},
    is_executable,
    supervise::Program,
};

/// The package whose source is taken.
const PACKAGE: &str = "llama-cpp-python==0.3.36";
/// Its file, with its size and checksum.
const ARCHIVE: (&str, u64, &str) =
    ("llama_cpp_python-0.3.36.tar.gz", 76_589_250, "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e");
/// Where llama.cpp lies in it.
const SOURCE: &str = "llama_cpp_python-0.3.36/vendor/llama.cpp";
/// What is built.
const PROGRAMS: [&str; 4] = ["llama-bench", "llama-quantize", "test-backend-ops", "llama-simple"];
/// The commit that the package took, which a build outside its repository can't tell.
const COMMIT: &str = "-DLLAMA_BUILD_COMMIT=0c1e570";

/// How it is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    /// What brings CMake and Ninja.
    tools: python::Recipe,
    /// CUDA's compiler, if the build uses it.
    nvcc: Option<PathBuf>,
}

/// What is built, whatever the machine.
pub(super) fn pinned() -> String {
    format!("{PACKAGE} {}", ARCHIVE.2)
}

/// The folders that the build uses, all among the downloads: a build that was cut off is gone on with.
struct Yard {
    archive: PathBuf,
    tools: PathBuf,
    unpacked: PathBuf,
    build: PathBuf,
}

impl Yard {
    fn new(downloads: &Path) -> Self {
        Self {
            archive: downloads.join(ARCHIVE.0),
            tools: downloads.join("tools"),
            unpacked: downloads.join("source"),
            build: downloads.join("build"),
        }
    }

    fn tool(&self, name: &str) -> PathBuf {
        self.tools.join("bin").join(name)
    }
}

pub(super) fn plan(ground: Ground, asked: Option<&Path>) -> Result<InstallPlan, InstallError> {
    let here = ground.surroundings.clone();
    if compiler(&here).is_none() {
        const PACKAGES: [(&str, &str); 4] = [("dnf", "gcc-c++"), ("zypper", "gcc-c++"), ("pacman", "gcc"), ("", "g++")];
        let command = if cfg!(target_os = "macos") {
            "xcode-select --install".to_owned()
        } else {
            find_python::package_command(&here, &PACKAGES)
        };
        return Err(InstallError::Impossible(format!(
            "llama.cpp is built from its source, and there is no C++ compiler; get one with: {command}"
        )));
    }
    let base = base_python(&here, asked, LLAMA_CPP_BUILD)?;
    let maker = python::Maker::choose(&base, &here)?;
    let steps = vec![python::Step::hashed(LLAMA_CPP_BUILD.name, LLAMA_CPP_BUILD.without(&[]))];
    let tools = python::Recipe { maker, base: base.executable.clone(), steps };
    let nvidia = has_nvidia(&here);
    let recipe = Recipe { tools, nvcc: nvcc(&here).filter(|_| nvidia) };
    let variant = match (&recipe.nvcc, cfg!(target_os = "macos")) {
        (Some(_), _) => "built with CUDA",
        (None, true) => "built with Metal",
        (None, false) => "built for the processor",
    };
    let yard = Yard::new(&ground.downloads());
    let mut plan = ground.into_plan(variant, plan::Recipe::LlamaCpp(recipe.clone()));
    plan.commands = commands(&recipe, &yard, &plan);
    plan.steps = vec![
        format!("get CMake and Ninja into an environment of {} that is deleted afterwards", base.title()),
        format!("download the source of {PACKAGE}, checked by SHA-256, and unpack llama.cpp"),
        format!("build {}: 8 to 14 minutes of one core", PROGRAMS.join(", ")),
        "keep the programs and delete the rest".to_owned(),
    ];
    plan.notes = notes(&recipe, nvidia, &here);
    let download = LLAMA_CPP_BUILD.download_bytes() + ARCHIVE.1;
    plan.download_bytes = download;
    // Static programs; with CUDA each holds its kernels.
    (plan.disk_bytes, plan.peak_bytes) = match recipe.nvcc {
        Some(_) => (700_000_000, 3_000_000_000),
        None => (30_000_000, 500_000_000),
    };
    Ok(plan)
}

fn notes(recipe: &Recipe, nvidia: bool, surroundings: &Surroundings) -> Vec<String> {
    let mut notes = Vec::new();
    if nvidia && recipe.nvcc.is_none() {
        notes.push(
            "there is an NVIDIA GPU and no nvcc: without the CUDA toolkit it is built for the processor".to_owned(),
        );
    }
    if recipe.nvcc.is_some() {
        notes.push("building CUDA's kernels takes several times as long".to_owned());
    }
    if cfg!(target_os = "macos") && surroundings.program("brew").is_some() {
        notes.push("a ready build comes with: brew install llama.cpp".to_owned());
    }
    notes
}

/// The C++ compiler, if there is one. macOS has a placeholder that only offers to install one.
fn compiler(surroundings: &Surroundings) -> Option<PathBuf> {
    let tools = ["/Library/Developer/CommandLineTools/usr/bin/clang++", "/Applications/Xcode.app"];
    if cfg!(target_os = "macos") && !tools.iter().any(|path| Path::new(path).exists()) {
        return None;
    }
    ["c++", "g++", "clang++"].iter().find_map(|name| surroundings.program(name))
}

fn nvcc(surroundings: &Surroundings) -> Option<PathBuf> {
    let usual = PathBuf::from("/usr/local/cuda/bin/nvcc");
    surroundings.program("nvcc").or_else(|| Some(usual).filter(|file| is_executable(file)))
}

/// The commands, as a shell would take them.
fn commands(recipe: &Recipe, yard: &Yard, plan: &InstallPlan) -> Vec<String> {
    let downloads = yard.archive.parent().unwrap_or(Path::new(""));
    let mut commands = recipe.tools.commands(&yard.tools, downloads);
    let rest = [fetch(yard, downloads), unpack(yard, &yard.unpacked), configure(recipe, yard), build(yard)];
    commands.extend(rest.iter().map(shown));
    let mut copy = Program::new(Path::new("cp"), PROGRAMS.map(|name| yard.build.join("bin").join(name)));
    copy.arguments.push(plan.folder.join(&plan.slot).join("bin").into());
    commands.push(shown(&copy));
    commands
}

fn fetch(yard: &Yard, downloads: &Path) -> Program {
    let mut program = Program::new(
        &yard.tool("python"),
        ["-I", "-m", "pip", "download", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"],
    );
    // The build's own tools stand in for those that it would download unpinned to name itself.
    let exactly = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--require-hashes", "--no-cache-dir"];
    program.arguments.extend(exactly.map(Into::into));
    program.arguments.extend(["-r".into(), yard.tools.join("source.txt").into()]);
    program.arguments.extend(["--dest".into(), downloads.into()]);
    program
}

fn unpack(yard: &Yard, into: &Path) -> Program {
    let mut program = Program::new(Path::new("tar"), ["--no-same-owner", "-xzf"]);
    program.arguments.extend([yard.archive.clone().into(), "-C".into(), into.into(), SOURCE.into()]);
    program
}

fn configure(recipe: &Recipe, yard: &Yard) -> Program {
    const SETTINGS: [&str; 12] = [
        "-DCMAKE_BUILD_TYPE=Release",
        "-DGGML_NATIVE=ON",
        "-DBUILD_SHARED_LIBS=OFF",
        "-DLLAMA_BUILD_TOOLS=ON",
        "-DLLAMA_BUILD_TESTS=ON",
        "-DLLAMA_BUILD_EXAMPLES=ON",
        "-DLLAMA_BUILD_SERVER=OFF",
        "-DLLAMA_CURL=OFF",
        "-DLLAMA_OPENSSL=OFF",
        "-Wno-dev",
        // Not those of a repository that the data folder may lie in.
        COMMIT,
        "-DLLAMA_BUILD_NUMBER=0",
    ];
    let mut program = Program::new(&yard.tool("cmake"), ["-G", "Ninja", "-S"]);
    program.arguments.extend([yard.unpacked.join(SOURCE).into(), "-B".into(), yard.build.clone().into()]);
    program.arguments.extend(SETTINGS.map(Into::into));
    let mut set = |name: &str, file: &Path| {
        let mut argument = std::ffi::OsString::from(format!("-D{name}="));
        argument.push(file);
        program.arguments.push(argument);
    };
    set("CMAKE_MAKE_PROGRAM", &yard.tool("ninja"));
    // CMake reads OpenMP's libraries off a compiler's command line, and loses them where a path in it holds a quote.
    if cfg!(target_os = "linux") && yard.build.to_string_lossy().contains(['\'', '"', '\\']) {
        set("CMAKE_EXE_LINKER_FLAGS", Path::new("-fopenmp"));
    }
    if let Some(nvcc) = &recipe.nvcc {
        set("CMAKE_CUDA_COMPILER", nvcc);
        program.arguments.extend(["-DGGML_CUDA=ON".into(), "-DCMAKE_CUDA_ARCHITECTURES=native".into()]);
    }
    program
}

fn build(yard: &Yard) -> Program {
    let mut program = Program::new(&yard.tool("ninja"), ["-C"]);
    program.arguments.push(yard.build.clone().into());
    program.arguments.extend(PROGRAMS.map(Into::into));
    program
}

/// Builds it and keeps the programs.
pub(super) fn make(
    plan: &InstallPlan,
    recipe: &Recipe,
    site: &Site,
    work: &mut Work<'_>,
) -> Result<Located, InstallError> {
    let yard = Yard::new(&site.downloads);
    let download = LLAMA_CPP_BUILD.download_bytes() + ARCHIVE.1;
    let measure =
        Measure::Growth { folders: vec![site.downloads.clone()], total: LLAMA_CPP_BUILD.disk_bytes() + download };
    fs::remove_dir_all(&yard.tools).ok();
    // What the source's own build rules look for.
    let path = std::iter::once(yard.tools.join("bin")).chain(plan.surroundings.program_folders());
    if let Ok(path) = std::env::join_paths(path) {
        work.environment.retain(|(name, _)| name != "PATH");
        work.environment.push(("PATH".into(), path));
    }
    python::fill(&recipe.tools, &yard.tools, &site.downloads, &measure, work)?;
    get_source(&yard, site, &measure, work)?;
    work.run("configuring the build", &configure(recipe, &yard), &Measure::None)?;
    work.run("building", &build(&yard), &Measure::Steps)?;
    keep(&yard, site)?;
    let located = find::locate_llama_cpp(&site.root.join("bin/llama-bench"), FoundIn::Installed, &plan.surroundings);
    located.map_err(|said| InstallError::Failed { what: "starting what was built".to_owned(), said })
}

/// The unpacked source, from the archive that is there if it is the right one.
fn get_source(yard: &Yard, site: &Site, measure: &Measure, work: &mut Work<'_>) -> Result<(), InstallError> {
    if !is_whole(&yard.archive, work)? {
        let list = yard.tools.join("source.txt");
        let text = format!("{PACKAGE} --hash=sha256:{}\n", ARCHIVE.2);
        fs::write(&list, text).map_err(InstallError::io("write the list of packages", &list))?;
        work.run("downloading the source", &fetch(yard, &site.downloads), measure)?;
        if !is_whole(&yard.archive, work)? {
            let said = format!("another file came than {}; run it again", ARCHIVE.0);
            return Err(InstallError::Failed { what: "downloading the source".to_owned(), said });
        }
    }
    if yard.unpacked.is_dir() {
        return Ok(());
    }
    let partial = site.downloads.join("source.partial");
    fs::remove_dir_all(&partial).ok();
    fs::create_dir_all(&partial).map_err(InstallError::io("make a folder for the source", &partial))?;
    work.run("unpacking the source", &unpack(yard, &partial), &Measure::None)?;
    fs::rename(&partial, &yard.unpacked).map_err(InstallError::io("put the source in its place", &yard.unpacked))
}

/// Whether the archive is there and has the right checksum; one that hasn't is deleted.
fn is_whole(archive: &Path, work: &mut Work<'_>) -> Result<bool, InstallError> {
    let io = |error| InstallError::io("read the download", archive)(error);
    let mut file = match fs::File::open(archive) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io(error)),
    };
    let (mut sum, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        work.check()?;
        let count = file.read(&mut buffer).map_err(io)?;
        if count == 0 {
            break;
        }
        sum.update(buffer.get(..count).unwrap_or_default());
    }
    if plan::hexadecimal(&sum.finalize()) == ARCHIVE.2 {
        return Ok(true);
    }
    fs::remove_file(archive).map_err(InstallError::io("delete a damaged download", archive))?;
    Ok(false)
}

/// Copies the programs to their place, with the licence that asks to go with them.
fn keep(yard: &Yard, site: &Site) -> Result<(), InstallError> {
    let folder = site.root.join("bin");
    fs::create_dir_all(&folder).map_err(InstallError::io("make a folder for the programs", &folder))?;
    for name in PROGRAMS {
        let (from, to) = (yard.build.join("bin").join(name), folder.join(name));
        fs::copy(&from, &to).map_err(InstallError::io("keep what was built", &to))?;
    }
    fs::copy(yard.unpacked.join(SOURCE).join("LICENSE"), site.root.join("LICENSE")).ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_one() {
        assert!(ARCHIVE.2.len() == 64 && ARCHIVE.2.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(SOURCE.starts_with(ARCHIVE.0.trim_end_matches(".tar.gz")));
    }
}
