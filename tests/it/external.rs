//! Engines outside the program: one that keeps to the protocol, and all the ways in which others don't.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use roofline::{
    engine::{
        Engine as _, EngineId, Surroundings,
        external::{ExternalEngine, Launch, Services},
        find,
        supervise::Program,
    },
    measure::{Cancel, Context, Paints, Report, Stop},
    record::{Outcome, Store},
    run::{FoundDevice, Plan, Request, Runner, SuiteName, collect},
    workload::{Bandwidth, Dtype, Gemm, MemoryOp, Workload, WorkloadKind},
};

fn python() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("python3")).find(|file| file.is_file());
    found.expect("the tests need python3")
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/engines/example.py")
}

fn services() -> Services {
    Services {
        shelf: Arc::new(|_, _, _| Err(Stop::Unsupported("there are no models here".to_owned()))),
        oracle: Arc::new(|_, _, _| Err(Stop::Unsupported("there are no models here".to_owned()))),
        tiny: None,
    }
}

fn started_by(program: Program) -> ExternalEngine {
    let launch =
        Launch { title: "Example".to_owned(), program, scripts: None, settings: std::collections::BTreeMap::new() };
    ExternalEngine::new("example".parse().unwrap(), Arc::new(move |_| Ok(launch.clone())), services())
}

fn the_example() -> ExternalEngine {
    started_by(Program::new(&python(), [std::ffi::OsStr::new("-I"), example().as_os_str()]))
}

/// An engine whose answers are those of a shell script, which gets the questions one by one.
fn scripted(script: &str) -> ExternalEngine {
    started_by(Program::new(Path::new("/bin/sh"), ["-c", script]))
}

const SMALL: Workload = Workload::Gemm(Gemm::square(24, Dtype::F32));

fn run(engine: &ExternalEngine, workload: &Workload) -> Result<Report, Stop> {
    let device = engine.devices().map_err(Stop::Failed)?.remove(0);
    let mut session = engine.open(&device.id)?;
    session.run(workload, &mut Context::detached(Duration::from_secs(4)))
}

#[test]
fn an_engine_in_one_file_is_measured_and_its_results_are_checked() {
    let engine = the_example();
    let devices = engine.devices().unwrap();
    assert!(!devices.is_empty());
    let kinds = engine.abilities(&devices[0]).kinds;
    assert!(kinds.contains(&WorkloadKind::Gemm) && kinds.contains(&WorkloadKind::Bandwidth), "{kinds:?}");
    let report = run(&engine, &SMALL).unwrap();
    let check = report.check.unwrap();
    assert!(check.passed() && check.compared >= 200, "{check:?}");
    let headline = &report.measurements[0];
    assert!(headline.samples.len() >= 3 && headline.summary.median > 0.0);
    assert!(report.settings.contains_key("python"), "{:?}", report.settings);
    for op in MemoryOp::ALL {
        let report = run(&engine, &Workload::Bandwidth(Bandwidth { op, array_bytes: 1 << 16 })).unwrap();
        assert!(report.check.unwrap().passed(), "{op}");
    }
}

#[test]
fn what_an_engine_can_not_do_is_a_reason() {
    let engine = the_example();
    let half = run(&engine, &Workload::Gemm(Gemm::square(24, Dtype::F16)));
    assert!(matches!(&half, Err(Stop::Unsupported(reason)) if !reason.is_empty()), "{half:?}");
    let large = run(&engine, &Workload::Gemm(Gemm::square(4096, Dtype::F32)));
    assert!(matches!(&large, Err(Stop::Skipped { .. })), "{large:?}");
}

#[test]
fn a_file_in_the_engines_folder_is_found_planned_and_run() {
    let folder = tempfile::Builder::new().prefix("it's a \"data\" folder ").tempdir().unwrap();
    let custom = folder.path().join("engines/custom");
    std::fs::create_dir_all(&custom).unwrap();
    std::fs::copy(example(), custom.join("pure-python.py")).unwrap();
    let surroundings =
        Surroundings { environment: std::env::vars_os().collect(), data: Some(folder.path().to_owned()) };
    let id: EngineId = "pure-python".parse().unwrap();
    assert!(find::find(id, &surroundings).is_ok());
    let engines = roofline::engine::all(&surroundings);
    let mut request =
        Request { engines: vec![id], suite: SuiteName::Quick, budget_s: Some(20.0), ..Request::default() };
    request.sizes.add("16").unwrap();
    request.sizes.add("24x8x8").unwrap();
    let plan = Plan::make(&request, &engines).unwrap();
    assert_eq!(plan.jobs.len(), 2, "{plan:?}");
    let runner = Runner::new(engines.into(), Store::at(folder.path()), Arc::new(|| {})).unwrap();
    let run = collect(&runner.start(plan, Paints::default()).unwrap(), |_| {}).unwrap();
    assert!(run.entries.iter().all(|entry| entry.outcome == Outcome::Done), "{:#?}", run.entries);
    assert!(run.entries.iter().all(|entry| entry.engine == id && entry.load.is_some()));
    let text = serde_json::to_string(&run).unwrap();
    assert_eq!(serde_json::from_str::<roofline::record::Run>(&text).unwrap(), *run);
}

const HELLO: &str = r#"read q; echo '{"type":"hello","protocol":1,"engine":"e","devices":[{"id":"cpu","kind":"cpu"}],"workloads":["gemm"],"dtypes":["f32"]}'; "#;
const READY: &str = r#"read q; id=$(printf %s "$q" | sed 's/.*"id":\([0-9]*\).*/\1/'); echo "{\"type\":\"prepared\",\"id\":$id}"; read q; "#;

/// How an entry ends that is measured by an engine which goes on so after its hello; its first process only says that.
fn ends(rest: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    // Asked who it is, it ends with its input; run, it does what is to be tried.
    let engine =
        scripted(&format!("{HELLO} if [ ! -e '{0}' ]; then : > '{0}'; read q; exit 0; fi; {rest}", seen.display()));
    let start = Instant::now();
    let outcome = run(&engine, &SMALL);
    assert!(start.elapsed() < Duration::from_mins(1), "{rest}");
    match outcome {
        Err(Stop::Failed(message)) => message,
        other => panic!("{rest}: {other:?}"),
    }
}

#[test]
fn rubbish_nan_negative_times_and_silence_end_the_entry_with_the_reason() {
    let sample = |fields: &str| {
        format!(r#"{READY} echo "{{\"type\":\"sample\",\"id\":$id,\"iterations\":1,{fields}}}"; read q"#)
    };
    for (rest, expected) in [
        ("read q; echo 'Loading checkpoint shards: 100%'; read q".to_owned(), "doesn't have"),
        ("read q; printf '\\377\\376\\n'; read q".to_owned(), "no text"),
        ("read q; echo '{\"type\":\"prepared\",\"id\":999}'; read q".to_owned(), "not asked"),
        (sample(r#"\"host_s\":NaN"#), "doesn't have"),
        (sample(r#"\"host_s\":-1.0"#), "can't be"),
        (sample(r#"\"host_s\":5000.0"#), "can't be"),
        (sample(r#"\"host_s\":\"0.1\""#), "doesn't have"),
        (READY.replace("prepared", "cancelled"), "another question"),
        (format!(r#"{READY} echo "{{\"type\":\"end\",\"id\":$id}}"; read q"#), "another question"),
        ("exit 7".to_owned(), "status 7"),
        ("read q; echo 'RuntimeError: no kernel image' >&2; exit 1".to_owned(), "no kernel image"),
        ("read q; kill -KILL $$".to_owned(), "signal 9"),
        // Something that it started holds its output open.
        ("read q; sleep 1000 & exit 7".to_owned(), "status 7"),
        ("read q; kill -SEGV $$".to_owned(), "segmentation fault"),
        ("read q; while :; do echo '{\"type\":\"phase\",\"text\":\"x\"}'; done".to_owned(), "without end"),
        ("read q; head -c 3000000 /dev/zero | tr '\\0' a; read q".to_owned(), "longer than"),
    ] {
        let message = ends(&rest);
        assert!(message.contains(expected), "{rest}: {message}");
    }
}

/// An engine whose first process says hello and ends with its input, and whose second goes on with `rest`.
fn second(folder: &Path, rest: &str) -> ExternalEngine {
    let seen = folder.join("seen");
    scripted(&format!("if [ ! -e '{0}' ]; then : > '{0}'; {HELLO} read q; exit 0; fi; {rest}", seen.display()))
}

#[test]
fn a_device_that_is_gone_when_the_engine_starts_again_ends_the_entry() {
    for other in
        [HELLO.replace("\"id\":\"cpu\"", "\"id\":\"gpu\""), HELLO.replace("\"kind\":\"cpu\"", "\"kind\":\"other\"")]
    {
        let folder = tempfile::tempdir().unwrap();
        let outcome = run(&second(folder.path(), &format!("{other} read q")), &SMALL);
        assert!(
            matches!(&outcome, Err(Stop::Failed(why)) if why.contains("no longer has the device \"cpu\"")),
            "{outcome:?}"
        );
    }
}

#[test]
fn an_engine_that_hangs_in_a_batch_until_its_time_is_over_failed_and_was_not_slow() {
    let folder = tempfile::tempdir().unwrap();
    let engine = second(folder.path(), &format!("{HELLO} {READY} kill -STOP $$"));
    let device = engine.devices().unwrap().remove(0);
    let mut session = engine.open(&device.id).unwrap();
    let cancel = Cancel::default();
    let mut context = Context::new(cancel.clone(), Duration::ZERO, Paints::default(), Box::new(|_| {}));
    let late = std::thread::Builder::new().spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        cancel.request();
    });
    let outcome = session.run(&SMALL, &mut context);
    late.unwrap().join().unwrap();
    assert!(matches!(&outcome, Err(Stop::Failed(why)) if why.contains("did not answer within")), "{outcome:?}");
}

#[test]
fn what_is_known_of_how_it_was_started_wins_over_what_it_says() {
    let program = Program::new(&python(), [std::ffi::OsStr::new("-I"), example().as_os_str()]);
    let settings = [("python".to_owned(), "known".to_owned())].into();
    let launch = Launch { title: "Example".to_owned(), program, scripts: None, settings };
    let engine = ExternalEngine::new("example".parse().unwrap(), Arc::new(move |_| Ok(launch.clone())), services());
    assert_eq!(run(&engine, &SMALL).unwrap().settings["python"], "known");
}

#[test]
fn no_file_takes_the_name_of_an_engine_that_is_known_in_any_letters() {
    let folder = tempfile::tempdir().unwrap();
    let custom = folder.path().join("engines/custom");
    std::fs::create_dir_all(&custom).unwrap();
    for name in ["PyTorch.py", "MLX.py", "Llama.cpp.py", "mine.py"] {
        std::fs::copy(example(), custom.join(name)).unwrap();
    }
    let surroundings =
        Surroundings { environment: std::env::vars_os().collect(), data: Some(folder.path().to_owned()) };
    let names: Vec<String> = find::custom(&surroundings).iter().map(|(engine, _)| engine.id().to_owned()).collect();
    assert_eq!(names, ["mine"]);
    let ignored = find::ignored(&surroundings);
    assert!(ignored.len() == 3 && ignored.iter().all(|file| file.reason.contains("rename")), "{ignored:?}");
}

#[test]
fn measurements_without_end_are_not_kept() {
    let (timed, more) = (
        r#"echo "{\"type\":\"sample\",\"id\":$id,\"iterations\":$n,\"host_s\":0.1}""#,
        r#"echo "{\"type\":\"measurement\",\"id\":$id,\"metric\":\"m\",\"unit\":\"second\",\"samples\":[1]}""#,
    );
    let rest = format!(
        r#"{READY} while :; do case "$q" in *batch*) n=$(printf %s "$q" | sed 's/.*"iterations":\([0-9]*\).*/\1/')
        sleep 0.1; {timed}; read q;; *) break;; esac; done
        i=0; while [ $i -lt 100 ]; do {more}; i=$((i + 1)); done; echo "{{\"type\":\"end\",\"id\":$id}}"; read q"#
    );
    assert!(ends(&rest).contains("more than 64 measurements"), "{rest}");
}

#[test]
fn a_time_far_shorter_than_the_answer_took_is_not_believed() {
    let rest = format!(
        r#"{READY} sleep 2; echo "{{\"type\":\"sample\",\"id\":$id,\"iterations\":1,\"host_s\":0.0001}}"; read q"#
    );
    assert!(ends(&rest).contains("can't be"), "{rest}");
}

#[test]
fn a_silent_engine_is_cancelled_within_half_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    let script = format!("{HELLO} if [ ! -e '{0}' ]; then : > '{0}'; read q; exit 0; fi; sleep 1000", seen.display());
    let engine = scripted(&script);
    let device = engine.devices().unwrap().remove(0);
    let mut session = engine.open(&device.id).unwrap();
    let cancel = Cancel::default();
    let heard = cancel.clone();
    let wait = move || {
        std::thread::sleep(Duration::from_millis(300));
        heard.request();
        Instant::now()
    };
    let waits = std::thread::Builder::new().name("canceller".to_owned()).spawn(wait).unwrap();
    let mut context = Context::new(cancel, Duration::from_mins(1), Paints::default(), Box::new(|_| {}));
    assert_eq!(session.run(&SMALL, &mut context), Err(Stop::Cancelled));
    let asked_at = waits.join().unwrap();
    // Far above the half second that is promised, since machines that test are busy; without it this would be 1000 s.
    assert!(asked_at.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_canary_that_says_nothing_is_cancelled() {
    let hello = HELLO.replace("\"kind\":\"cpu\"", "\"kind\":\"cpu\",\"canary\":true");
    let refusal = READY.replace("prepared\\\"", "unsupported\\\",\\\"reason\\\":\\\"no\\\"");
    let engine = scripted(&format!("{hello} {refusal} sleep 1000"));
    let device = engine.devices().unwrap().remove(0);
    let mut session = engine.open(&device.id).unwrap();
    let refused = session.run(&SMALL, &mut Context::detached(Duration::from_secs(4)));
    assert_eq!(refused, Err(Stop::Unsupported("no".to_owned())));
    let cancel = Cancel::default();
    let mut context = Context::new(cancel.clone(), Duration::from_mins(1), Paints::default(), Box::new(|_| {}));
    let later = std::thread::Builder::new().spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        cancel.request();
    });
    assert_eq!(session.canary(&mut context), Err(Stop::Cancelled));
    later.unwrap().join().unwrap();
}

#[test]
fn an_engine_that_dies_is_started_again_for_the_next_entry() {
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count");
    // The second process dies when it is asked to work; all others are the example.
    let script = format!(
        "echo x >> '{0}'; if [ $(wc -l < '{0}') -eq 2 ]; then {HELLO} read q; exit 3; fi; exec '{1}' -I '{2}'",
        count.display(),
        python().display(),
        example().display()
    );
    let engine = scripted(&script);
    let device = engine.devices().unwrap().remove(0);
    let mut session = engine.open(&device.id).unwrap();
    let mut context = Context::detached(Duration::from_secs(4));
    assert!(matches!(session.run(&SMALL, &mut context), Err(Stop::Failed(why)) if why.contains("status 3")));
    let mut context = Context::detached(Duration::from_secs(4));
    assert!(session.run(&SMALL, &mut context).is_ok());
}

#[test]
fn an_engine_that_is_not_there_is_missing_with_what_to_do() {
    let engine = started_by(Program::new(Path::new("/no/such/engine"), std::iter::empty::<&str>()));
    assert!(engine.devices().unwrap_err().contains("no such program"));
    assert!(FoundDevice::all(&engine).is_err());
    let mute = scripted("exit 0");
    assert!(mute.devices().unwrap_err().contains("ended"));
}
