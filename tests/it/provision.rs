//! Finding, installing and removing engines, with small shell scripts in place of Python, uv, pip and llama-bench, in folders
//! with spaces and quotes. The scripts answer as the real ones do.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use roofline::{
    engine::{
        EngineId, Surroundings,
        find::{self, FoundIn, Place, python, settings::Settings},
    },
    measure::Cancel,
    provision::{self, InstallError, InstallPlan},
};

use crate::program::write_program;

/// What a Python says that holds everything.
const FULL: &str = r#"{"roofline": 1, "version": [3, 12, 1], "implementation": "CPython", "machine": "x86_64", "translated": false,
 "executable": "", "libc": "2.39", "packages": {"torch": "2.15.0", "transformers": "5.23.0", "peft": "0.21.2", "safetensors":
 "0.8.0", "mlx": "0.32.4", "mlx-lm": "0.32.2", "mlx-cpu": "0.32.4", "numpy": null}, "modules": {"torch": true, "transformers": true,
 "peft": true, "safetensors": true, "mlx.core": true, "mlx_lm": true, "venv": true, "ensurepip": true}}"#;

/// A Python that answers with the file beside it, makes environments that hold everything, and installs by the script beside it.
const PYTHON: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
here=$(dirname "$0")
case "$2 $3" in
"-c "*) cat "$here/answer.json" ;;
"-m venv") mkdir -p "$4/bin" && cp "$0" "$4/bin/python" && cp "$here/full.json" "$4/bin/answer.json" && cp "$here/pip.sh" "$4/bin" ;;
"-m pip") . "$here/pip.sh" ;;
esac
"#;

/// A machine of its own: a folder for programs, and a data folder.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("it's a \"machine\" ü ").tempdir().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        Self { folder }
    }

    /// One with a Python that holds nothing itself, and a pip that succeeds.
    fn with_python() -> Self {
        let machine = Self::new();
        machine.python(
            "bin/python3",
            &FULL.replace("\"torch\": \"2.15.0\", ", "").replace("\"torch\": true", "\"torch\": false"),
        );
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str, executable: bool) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if executable {
            write_program(&path, text);
        } else {
            fs::write(&path, text).unwrap();
        }
        path
    }

    fn python(&self, name: &str, answer: &str) -> PathBuf {
        let folder = Path::new(name).parent().unwrap().to_str().unwrap();
        self.write(&format!("{folder}/answer.json"), &answer.replace('\n', ""), false);
        self.write(&format!("{folder}/full.json"), &FULL.replace('\n', ""), false);
        self.write(&format!("{folder}/pip.sh"), "echo Collecting torch; echo > \"$here/installed\"", false);
        self.write(name, PYTHON, true)
    }

    fn pip(&self, script: &str) {
        self.write("bin/pip.sh", script, false);
    }

    fn here(&self) -> Surroundings {
        let environment = vec![("PATH".into(), self.path("bin").into()), ("HOME".into(), self.path("home").into())];
        Surroundings { environment, data: Some(self.path("data")) }
    }

    fn with(&self, name: &str, value: &Path) -> Surroundings {
        let mut here = self.here();
        here.environment.push((name.into(), value.into()));
        here
    }

    fn plan(&self) -> InstallPlan {
        provision::plan(EngineId::Pytorch, &self.here()).unwrap()
    }

    fn install(&self) -> Result<find::Located, InstallError> {
        provision::install(&self.plan(), &Cancel::default(), &mut |_| {})
    }

    /// What is left in the folder of engines.
    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("data/engines")).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roofline"));
        command.arg("--data-dir").arg(self.path("data")).arg("engines").args(arguments);
        command
            .env_clear()
            .env("PATH", self.path("bin"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

fn text(raw: &[u8]) -> String {
    String::from_utf8(raw.to_vec()).unwrap()
}

fn wait_for(what: &str, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_mins(1), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn without_a_python_the_command_that_gets_one_is_told() {
    let machine = Machine::new();
    let missing = find::find(EngineId::Pytorch, &machine.here()).unwrap_err();
    assert!(missing.reason.contains("there is none") && missing.command.contains("install"), "{missing}");
    let error = provision::plan(EngineId::Mlx, &machine.here()).unwrap_err().to_string();
    assert!(error.contains("there is no Python"), "{error}");
    let missing = find::find(EngineId::LlamaCpp, &machine.here()).unwrap_err();
    assert_eq!(missing.command, "roofline engines install llama.cpp");
}

#[test]
fn a_python_that_will_not_do_is_told_with_the_reason() {
    let without = |package: &str| FULL.replace(&format!("\"{package}\": \""), &format!("\"no-{package}\": \""));
    for (answer, reason) in [
        (FULL.replace("[3, 12, 1]", "[3, 9, 6]"), "Python 3.9.6 is too old, 3.10 is needed"),
        (FULL.replace("\"translated\": false", "\"translated\": true"), "runs under Rosetta"),
        (FULL.replace("CPython", "PyPy"), "PyPy 3.12.1 is not CPython"),
        (without("peft"), "peft is half removed (its metadata is gone)"),
        (
            FULL.replace("\"transformers\": true", "\"transformers\": false"),
            "transformers is half removed (its files are gone)",
        ),
        (without("torch").replace("\"torch\": true", "\"torch\": false"), "has no torch"),
        ("hello, I am no Python".to_owned(), "it is no Python, it said \"hello, I am no Python\""),
        (String::new(), "a broken Python"),
        ("[1, 2".to_owned(), "it is no Python"),
    ] {
        let machine = Machine::new();
        machine.python("bin/python3", &answer);
        let missing = find::find(EngineId::Pytorch, &machine.here()).unwrap_err();
        assert!(missing.reason.contains(reason), "{missing}");
        assert_eq!(missing.command, "roofline engines install pytorch");
    }
    let machine = Machine::new();
    machine.write("bin/python3", "#!/bin/sh\necho 'cannot load libpython' >&2\nexit 1\n", true);
    let missing = find::find(EngineId::Pytorch, &machine.here()).unwrap_err();
    assert!(missing.reason.contains("cannot load libpython") && missing.reason.contains("status 1"), "{missing}");
}

#[test]
fn a_python_that_hangs_is_given_up() {
    let machine = Machine::new();
    let file = machine.write("bin/python3", "#!/bin/sh\nexec /bin/sleep 1000\n", true);
    let error = python::probe(&file, &machine.here(), Duration::from_millis(200)).unwrap_err();
    assert!(error.contains("did not answer within 0.2 s"), "{error}");
}

#[test]
fn the_python_of_this_machine_answers_as_the_scripts_here_do() {
    let here = Surroundings { environment: std::env::vars_os().collect(), data: None };
    let Some(file) = here.program("python3") else { return };
    let python = python::probe(&file, &here, python::LIMIT).unwrap();
    assert!(python.version >= (3, 0, 0) && python.executable.is_absolute(), "{python:?}");
    assert_eq!(python.machine, std::env::consts::ARCH);
}

#[test]
fn what_the_person_chose_comes_first_and_is_never_passed_over() {
    let machine = Machine::with_python();
    let chosen = machine.python("my \"env\"/bin/python3", FULL);
    let active = machine.python("active/bin/python3", FULL);
    let here = machine.with("VIRTUAL_ENV", &machine.path("active"));
    let found = |here: &Surroundings| find::find(EngineId::Pytorch, here);
    let located = found(&here).unwrap();
    assert_eq!((located.origin, located.place), (FoundIn::ActiveEnvironment, Place::Python { python: active }));
    let mut settings = Settings::read(&here).unwrap();
    settings.choose(EngineId::Pytorch, Some(&machine.path("my \"env\""))).unwrap();
    let located = found(&here).unwrap();
    assert_eq!((located.origin, located.place.file()), (FoundIn::Setting, &chosen));
    assert_eq!((located.versions["torch"].as_str(), located.versions["python"].as_str()), ("2.15.0", "3.12.1"));
    machine.python("my \"env\"/bin/python3", "rubbish");
    let broken = found(&here).unwrap_err();
    assert!(broken.reason.contains("of the settings") && broken.command.ends_with("use pytorch --default"), "{broken}");
    fs::remove_dir_all(machine.path("my \"env\"")).unwrap();
    let gone = found(&here).unwrap_err();
    assert!(gone.reason.contains("where nothing is") && gone.reason.ends_with("my \"env\""), "{gone}");
    fs::write(machine.path("data/engines/settings.json"), "{").unwrap();
    let unreadable = found(&here).unwrap_err();
    assert!(unreadable.reason.contains("could not be read"), "{unreadable}");
    assert!(Settings::read(&here).is_err());
}

#[test]
fn llama_cpp_is_found_with_what_lies_beside_it() {
    let machine = Machine::new();
    let bench = machine.write("bin/llama-bench", "#!/bin/sh\necho 'version: 1 (build 7, commit abc)' >&2\n", true);
    machine.write("bin/llama-quantize", "#!/bin/sh\n", true);
    machine.write("bin/llama-simple", "not executable", false);
    let located = find::find(EngineId::LlamaCpp, &machine.here()).unwrap();
    let Place::LlamaCpp { bench: found, ops, quantize, simple } = &located.place else { panic!("{located:?}") };
    assert_eq!((found, ops, simple), (&bench, &None, &None));
    assert_eq!(quantize.as_deref(), Some(machine.path("bin/llama-quantize").as_path()));
    assert_eq!(located.versions["llama.cpp"], "1 (build 7, commit abc)");
    machine.write("bin/llama-bench", "#!/bin/sh\necho 'libggml.so: not found' >&2\nexit 127\n", true);
    let missing = find::find(EngineId::LlamaCpp, &machine.here()).unwrap_err();
    assert!(missing.reason.contains("libggml.so: not found"), "{missing}");
    let mut settings = Settings::read(&machine.here()).unwrap();
    machine.write("other build/bin/llama-bench", "#!/bin/sh\necho 'version: 2'\n", true);
    settings.choose(EngineId::LlamaCpp, Some(&machine.path("other build"))).unwrap();
    let located = find::find(EngineId::LlamaCpp, &machine.here()).unwrap();
    assert_eq!((located.origin, located.versions["llama.cpp"].as_str()), (FoundIn::Setting, "2"));
}

#[test]
fn engines_of_others_are_found_by_their_names() {
    let machine = Machine::with_python();
    machine.write("data/engines/custom/tiny.py", "", false);
    machine.write("data/engines/custom/fast-1.0", "#!/bin/sh\n", true);
    machine.write("data/engines/custom/notes.txt", "", false);
    machine.write("data/engines/custom/mlx.py", "", false);
    machine.write("data/engines/custom/two words.py", "", false);
    let found = find::custom(&machine.here());
    let names: Vec<&str> = found.iter().map(|(engine, _)| engine.id()).collect();
    assert_eq!(names, ["fast-1.0", "tiny"]);
    let Place::Custom { python, .. } = &found[1].1.place else { panic!("{found:?}") };
    assert_eq!(python.as_deref(), Some(machine.path("bin/python3").as_path()));
    let ignored: Vec<String> = find::ignored(&machine.here()).into_iter().map(|ignored| ignored.reason).collect();
    let has = |words: &str| ignored.iter().any(|reason| reason.contains(words));
    assert!(
        ignored.len() == 3 && has("may not be executed") && has("that Roofline knows") && has("no name"),
        "{ignored:?}"
    );
    let missing = find::find("slow".parse().unwrap(), &machine.here()).unwrap_err();
    assert!(missing.reason.contains("no script slow.py"), "{missing}");
    let list = text(&machine.run(&["list", "--json"]).stdout);
    assert!(list.contains("fast-1.0") && list.contains("mlx.py") && list.contains("that Roofline knows"), "{list}");
}

#[test]
fn doctor_imports_all_that_entries_need_and_not_only_what_says_hello() {
    let machine = Machine::new();
    // Its packages are there, and one of them can't be imported.
    machine.python("bin/python3", FULL);
    let broken = PYTHON.replace(
        "case \"$2 $3\" in",
        "case \"$3\" in *import_module*) echo 'ImportError: libonig.so.5: cannot open it' >&2; exit 1 ;; esac\ncase \"$2 $3\" in",
    );
    write_program(&machine.path("bin/python3"), &broken);
    let doctor = machine.run(&["doctor", "pytorch"]);
    assert_eq!(doctor.status.code(), Some(1));
    assert!(text(&doctor.stdout).contains("libonig.so.5"), "{}", text(&doctor.stdout));
}

#[test]
fn settings_are_written_by_use_and_looked_at_by_doctor() {
    let machine = Machine::with_python();
    machine.python("env/bin/python3", FULL);
    let used = machine.run(&["use", "pytorch", machine.path("env").to_str().unwrap()]);
    assert_eq!(used.status.code(), Some(0), "{}", text(&used.stderr));
    let doctor = machine.run(&["doctor", "pytorch"]);
    assert!(text(&doctor.stdout).contains("chosen in the settings"), "{}", text(&doctor.stdout));
    assert_eq!(machine.run(&["use", "pytorch", "/nowhere"]).status.code(), Some(1));
    assert_eq!(machine.run(&["use", "pytorch"]).status.code(), Some(2));
    assert_eq!(machine.run(&["use", "pytorch", "--default"]).status.code(), Some(0));
    let doctor = machine.run(&["doctor", "pytorch"]);
    assert_eq!(doctor.status.code(), Some(1));
    assert!(text(&doctor.stdout).contains("do     roofline engines install pytorch"), "{}", text(&doctor.stdout));
    fs::write(machine.path("data/engines/settings.json"), "{\"engines").unwrap();
    let refused = machine.run(&["use", "pytorch", "--default"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("could not be read"), "{}", text(&refused.stderr));
    assert_eq!(fs::read_to_string(machine.path("data/engines/settings.json")).unwrap(), "{\"engines");
}

#[cfg(target_arch = "x86_64")]
mod installing {
    use super::*;

    #[test]
    fn an_engine_is_installed_found_updated_and_removed_without_a_trace() {
        let machine = Machine::with_python();
        let plan = machine.plan();
        assert!(plan.download_bytes > 1 << 30 && plan.peak_bytes > plan.disk_bytes, "{plan:?}");
        assert!(
            plan.commands[1].contains("--require-hashes") && plan.text().contains("GB on the disk"),
            "{}",
            plan.text()
        );
        machine.pip("case \"$*\" in *--require-hashes*) echo > \"$here/installed\" ;; *) exit 3 ;; esac");
        let mut told = Vec::new();
        let located = provision::install(&plan, &Cancel::default(), &mut |progress| told.push(progress)).unwrap();
        assert!(told.iter().any(|progress| progress.what.starts_with("installing packages")), "{told:?}");
        assert!(plan.is_current() && machine.plan().is_current());
        assert_eq!(find::find(EngineId::Pytorch, &machine.here()).unwrap(), located);
        assert_eq!(located.origin, FoundIn::Installed);
        assert!(provision::installed_bytes(EngineId::Pytorch, &machine.here()).unwrap() > 0);
        assert_eq!(machine.left(), ["pytorch", "pytorch.lock"]);
        // As if an older Roofline had pinned others.
        let stamp = machine.path("data/engines/pytorch/installed.json");
        let old = fs::read_to_string(&stamp).unwrap().replace("\"recipe\": \"", "\"recipe\": \"0");
        fs::write(&stamp, old).unwrap();
        machine.pip("exit 1");
        assert!(machine.install().is_err());
        assert_eq!(
            find::find(EngineId::Pytorch, &machine.here()).unwrap(),
            located,
            "a failed update leaves the old one"
        );
        machine.pip("true");
        let newer = machine.install().unwrap();
        assert!(newer.place != located.place && !located.place.file().exists());
        assert!(provision::remove(EngineId::Pytorch, &machine.here()).unwrap() > 0);
        assert_eq!(machine.left(), [""; 0]);
        assert_eq!(provision::remove(EngineId::Pytorch, &machine.here()).unwrap(), 0);
        assert!(find::find(EngineId::Pytorch, &machine.here()).is_err());
    }

    #[test]
    fn uv_is_preferred_where_it_is() {
        let machine = Machine::with_python();
        let uv = "#!/bin/sh\nPATH=/usr/bin:/bin\nif [ \"$1\" = venv ]; then mkdir -p \"$5/bin\"; cp \"$4\" \"$5/bin/python\"; cp \
                  \"$(dirname \"$4\")/full.json\" \"$5/bin/answer.json\"; else echo 'Downloading torch' >&2; fi\n";
        machine.write("bin/uv", uv, true);
        assert!(
            machine.plan().commands.iter().all(|command| command.contains("/bin/uv' ")),
            "{:?}",
            machine.plan().commands
        );
        assert_eq!(machine.install().unwrap().origin, FoundIn::Installed);
    }

    #[test]
    fn what_goes_wrong_is_told_and_leaves_nothing() {
        let offline = "echo \"WARNING: Retrying after connection broken by 'NewConnectionError'\" >&2; echo 'ERROR: No matching \
                       distribution found for torch' >&2; exit 1";
        for (pip, hint) in [
            (offline, "check the network and run it again"),
            ("echo 'OSError: [Errno 28] No space left on device' >&2; exit 1", "the disk is full"),
            ("echo 'ERROR: something new' >&2; exit 2", "ERROR: something new"),
            ("kill -KILL $$", "signal 9"),
            ("cp \"$here/../../../../../bin/answer.json\" \"$here/answer.json\"", "has no torch"),
        ] {
            let machine = Machine::with_python();
            machine.pip(pip);
            let error = machine.install().unwrap_err().to_string();
            assert!(error.contains(hint), "{pip}: {error}");
            assert!(find::find(EngineId::Pytorch, &machine.here()).is_err());
            assert!(!machine.path("data/engines/pytorch").exists(), "{:?}", machine.left());
        }
    }

    #[test]
    fn what_was_downloaded_is_kept_for_the_next_time() {
        let machine = Machine::with_python();
        // The folder after --dest is where pip puts what it downloads.
        machine.pip("while [ \"$1\" != --dest ]; do shift; done; mkdir -p \"$2\"; echo x > \"$2/wheel\"; exit 1");
        machine.install().unwrap_err();
        let wheel = machine.path("data/engines/downloads/pytorch/wheels/wheel");
        assert!(wheel.exists());
        machine.pip("true");
        machine.install().unwrap();
        assert!(!wheel.exists(), "an installation that is whole needs no downloads");
    }

    #[test]
    fn a_disk_without_room_is_seen_before_anything_is_done() {
        let machine = Machine::with_python();
        let mut plan = machine.plan();
        plan.free_bytes = |_| Some(5_000_000_000);
        let error = provision::install(&plan, &Cancel::default(), &mut |_| {}).unwrap_err();
        assert!(matches!(error, InstallError::Space { .. }), "{error}");
        assert!(error.to_string().contains("5.000 GB are free"), "{error}");
        assert!(!machine.path("data/engines/pytorch").exists());
    }

    #[test]
    fn of_two_at_once_the_second_is_told_who_is_first_and_cancel_ends_the_first() {
        let machine = Machine::with_python();
        let running = machine.path("running");
        machine.pip(&format!("echo > \"{}\"; sleep 1000", running.display().to_string().replace('"', "\\\"")));
        let (cancel, plan) = (Cancel::default(), machine.plan());
        let first = {
            let cancel = cancel.clone();
            std::thread::Builder::new().spawn(move || provision::install(&plan, &cancel, &mut |_| {})).unwrap()
        };
        wait_for("the first installation", || running.exists());
        let busy = machine.install().unwrap_err();
        assert!(busy.to_string().contains(&format!("process {}", std::process::id())), "{busy}");
        assert!(matches!(provision::remove(EngineId::Pytorch, &machine.here()), Err(InstallError::Busy { .. })));
        let start = Instant::now();
        cancel.request();
        assert!(matches!(first.join().unwrap(), Err(InstallError::Cancelled)));
        assert!(start.elapsed() < Duration::from_secs(20));
        assert!(!machine.path("data/engines/pytorch").exists());
        machine.pip("true");
        machine.install().unwrap();
    }

    #[test]
    fn one_that_was_killed_is_never_found_and_cleared_away() {
        let machine = Machine::with_python();
        // It says nothing, so that it would not notice by itself that nobody hears it any more.
        machine.pip("echo $$ > \"$here/number.tmp\"; mv \"$here/number.tmp\" \"$here/number\"; sleep 1000");
        let mut program = machine.command(&["install", "pytorch", "--yes"]).spawn().unwrap();
        let folder = machine.path("data/engines/pytorch");
        let filled = || {
            fs::read_dir(&folder)
                .is_ok_and(|mut entries| entries.any(|entry| entry.unwrap().path().join("bin/pip.sh").exists()))
        };
        wait_for("the installation", filled);
        let number = || {
            let mut folders = fs::read_dir(&folder).ok()?;
            folders.find_map(|entry| fs::read_to_string(entry.ok()?.path().join("bin/number")).ok())
        };
        wait_for("the installer", || number().is_some());
        let installer = number().unwrap().trim().to_owned();
        program.kill().unwrap();
        program.wait().unwrap();
        wait_for("the installer's end", || {
            let state = Command::new("ps").args(["-o", "stat=", "-p", &installer]).output().unwrap();
            let state = text(&state.stdout).trim().to_owned();
            state.is_empty() || state.starts_with('Z')
        });
        let missing = find::find(EngineId::Pytorch, &machine.here()).unwrap_err();
        assert!(missing.reason.contains("an installation was not finished"), "{missing}");
        machine.pip("true");
        machine.install().unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "the stamp and one installation");
    }

    #[test]
    fn ctrl_c_ends_an_installation_and_nobody_is_asked_without_a_terminal() {
        let machine = Machine::with_python();
        machine.pip("sleep 1000");
        let unasked = machine.run(&["install", "pytorch"]);
        assert_eq!(unasked.status.code(), Some(2));
        let told = text(&unasked.stderr);
        assert!(told.contains("--yes") && told.contains("to download") && told.contains("pip install"), "{told}");
        let program = machine.command(&["install", "pytorch", "--yes"]).spawn().unwrap();
        wait_for("the installation", || machine.path("data/engines/pytorch").exists());
        let id = rustix::process::Pid::from_raw(i32::try_from(program.id()).unwrap()).unwrap();
        // The folder is made once Ctrl-C is listened to.
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        let ended = program.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(130), "{}", text(&ended.stderr));
        assert!(text(&ended.stderr).contains("cancelled; nothing was installed"), "{}", text(&ended.stderr));
        assert!(!machine.path("data/engines/pytorch").exists());
        for (arguments, code) in [
            (["install", "tinygrad"], 1),
            (["install", "candle"], 1),
            (["install", "a b"], 2),
            (["update", "pytorch"], 1),
            (["remove", "pytorch"], 0),
            (["remove", "wgpu"], 1),
        ] {
            let output = machine.run(&arguments);
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        }
    }

    #[test]
    fn llama_cpp_needs_a_compiler_and_says_what_it_will_do() {
        let machine = Machine::with_python();
        let error = provision::plan(EngineId::LlamaCpp, &machine.here()).unwrap_err().to_string();
        assert!(error.contains("no C++ compiler"), "{error}");
        machine.write("bin/c++", "#!/bin/sh\n", true);
        let plan = provision::plan(EngineId::LlamaCpp, &machine.here()).unwrap();
        let commands = plan.commands.join("\n");
        assert!(commands.contains("pip download") && commands.contains("test-backend-ops"), "{commands}");
        assert!(plan.steps.iter().any(|step| step.contains("checked by SHA-256")), "{:?}", plan.steps);
    }
}
