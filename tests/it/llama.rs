//! llama.cpp as an engine, with shell scripts in the place of its programs: what they say becomes figures, or a sentence.
#![cfg(unix)]

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use roofline::{
    engine::{
        Engine as _, Surroundings,
        external::{Oracle, Services, Shelf, protocol::ModelFiles},
        llama::{LlamaCpp, LlamaCppEngine},
    },
    measure::{Cancel, Context, Fingerprint, Paints, Report, Stop, StopReason},
    workload::{
        Dtype, Gemm, Inference, InferencePhase, LEARNING_RATE_MILLIONTHS, Layout, Location, ModelLoad, ModelRef,
        Precision, Target, Training, Workload,
    },
};
use tempfile::TempDir;

use crate::{
    program::write_program,
    weights::{SHAPE, synthetic},
};

/// What every fake llama-bench begins with: its list of devices, and what it is asked for as `$p`, `$n`, `$d`, `$r`.
const BEGIN: &str = r#"#!/bin/sh
case "$*" in *--list-devices*) printf 'Available devices:\n  (none)\n'; exit 0;; esac
while [ $# -gt 0 ]; do
  case "$1" in -m) m=$2;; -p) p=$2;; -n) n=$2;; -d) d=$2;; -r) r=$2;; esac
  shift
done
[ -f "$m" ] || { echo "there is no $m" >&2; exit 1; }
"#;

/// One that takes 20 ms for whatever it is asked.
const STEADY: &str = r#"
one() {
  times=''; i=0
  while [ $i -lt $r ]; do sleep 0.02; times="$times${times:+,}20000000"; i=$((i + 1)); done
  printf '{"backends":"CPU","model_type":"llama test","n_threads":2,"type_k":"f16","n_prompt":%s,"n_gen":%s,"n_depth":%s,"avg_ts":%s,"samples_ns":[%s]}\n' \
    $1 $2 $d $((($1 + $2) * 50)) "$times"
}
IFS=,
for x in $p; do [ $x -gt 0 ] && one $x 0; done
for x in $n; do [ $x -gt 0 ] && one 0 $x; done
printf 'llama_perf_context_print:        load time =      21.50 ms\n' >&2
exit 0
"#;

/// A folder with programs and a file that stands for a model. Its name is one that careless code trips over.
struct Place {
    folder: PathBuf,
    _kept: TempDir,
}

impl Place {
    fn new() -> Self {
        let kept = tempfile::tempdir().unwrap();
        let folder = kept.path().join("it's a \"folder\", really");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("tiny model.gguf"), "GGUF").unwrap();
        Self { folder, _kept: kept }
    }

    fn with_bench(script: &str) -> Self {
        let place = Self::new();
        place.script("llama-bench", &format!("{BEGIN}{script}"));
        place
    }

    fn script(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.join(name);
        write_program(&file, text);
        file
    }

    fn engine(&self) -> LlamaCppEngine {
        let found = |name: &str| Some(self.folder.join(name)).filter(|file| file.exists());
        let programs = LlamaCpp {
            bench: self.folder.join("llama-bench"),
            ops: found("test-backend-ops"),
            quantize: None,
            simple: found("llama-simple"),
        };
        let variable = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let environment = vec![("PATH".into(), path), variable("KEPT", "yes"), variable("GGML_SLOW", "1")];
        LlamaCppEngine::new(Ok(programs), Surroundings { environment, data: None }, services())
    }

    fn model(&self) -> ModelRef {
        let location = Location(Some(self.folder.join("tiny model.gguf")));
        ModelRef { location, ..synthetic(SHAPE, Precision::Q4KM) }
    }

    fn run_with(&self, workload: &Workload, context: &mut Context) -> Result<Report, Stop> {
        self.engine().open("cpu").unwrap().run(workload, context)
    }

    fn run(&self, workload: &Workload) -> Result<Report, Stop> {
        self.run_with(workload, &mut Context::detached(Duration::from_mins(2)))
    }

    fn prefill(&self) -> Workload {
        self.inference(InferencePhase::Prefill { tokens: 64 }, 1)
    }

    fn inference(&self, phase: InferencePhase, batch: u32) -> Workload {
        Workload::Inference(Inference { model: self.model(), phase, batch })
    }
}

/// Files are those that a model has; what the small model must write are three words.
fn services() -> Services {
    let shelf: Shelf = Arc::new(|_, model, _| {
        let own = model.location.0.clone().ok_or_else(|| Stop::Unsupported("there is no file".to_owned()))?;
        ModelFiles::new(&own, "gguf")
    });
    let oracle: Oracle = Arc::new(|_, _, _| Ok(Fingerprint { logits: Vec::new(), tokens: vec![300, 301, 302] }));
    let tiny = ModelRef { location: Location(Some("tiny.gguf".into())), ..synthetic(SHAPE, Precision::F32) };
    Services { shelf, oracle, tiny: Some(tiny) }
}

fn median(report: &Report, metric: &str) -> f64 {
    let found = report.measurements.iter().find(|measurement| measurement.metric == metric);
    found.unwrap_or_else(|| panic!("no {metric} in {report:?}")).summary.median
}

#[test]
fn what_llama_bench_says_becomes_the_figures() {
    let place = Place::with_bench(STEADY);
    let report = place.run(&place.prefill()).unwrap();
    let throughput = &report.measurements[0];
    assert_eq!((throughput.metric.as_str(), throughput.summary.median), ("throughput", 3200.0));
    assert_eq!(throughput.stop, StopReason::Converged);
    assert!(throughput.samples.len() >= 10 && throughput.warm_up.unwrap().steady);
    assert_eq!(median(&report, "ttft"), 0.02);
    assert!(median(&report, "peak-memory") > 1e5, "{report:?}");
    assert_eq!(report.settings["threads"], "2");
    assert!(report.notes.iter().any(|note| note.contains("samples no token")));

    let report = place.run(&place.inference(InferencePhase::Decode { tokens: 32, depth: 8 }, 1)).unwrap();
    assert_eq!(median(&report, "throughput"), 1600.0);
    assert!(!report.settings.contains_key("tokens-per-pass"));
}

#[test]
fn the_load_time_is_the_logs_less_a_token() {
    let place = Place::with_bench(STEADY);
    let report = place.run(&Workload::ModelLoad(ModelLoad { model: place.model() })).unwrap();
    assert!((median(&report, "load-time") - 0.0015).abs() < 1e-9);
    let rate = place.model().weight_bytes as f64 / 0.0015;
    assert!((median(&report, "load") / rate - 1.0).abs() < 1e-6);
    assert_eq!(report.measurements[0].samples.len(), 10);
}

#[test]
fn what_it_must_not_say_fails_the_entry_with_a_sentence() {
    let line = |from: &str, to: &str| STEADY.replace(from, to);
    let cases = [
        (line("20000000", "2000000000").replace("* 50", "/ 2"), "had passed"),
        (line("20000000", "-1"), "no positive time"),
        (line("20000000", "NaN"), "no JSON"),
        (line("* 50", "* 5000"), "not that of its samples"),
        (line("\"n_prompt\":%s", "\"n_prompt\":1%s"), "not that of its samples"),
        (line("$1 $2 $d", "$1 $2 1$d"), "at depth 10"),
        (line("[%s]", "[]"), "no samples"),
        (line("[%s]", "[%s"), "no JSON"),
        (line("\"backends\"", "\"model_n_params\":7000000000,\"backends\""), "were meant"),
        ("head -c 3000000 /dev/zero | tr '\\0' a; echo".to_owned(), "a line longer than"),
        ("printf '\\377\\376\\n'".to_owned(), "no text"),
        ("exit 0".to_owned(), "llama-bench ended with status 0"),
        ("echo 'error loading model: bad magic' >&2; exit 1".to_owned(), "status 1: error loading model: bad magic"),
        ("kill -SEGV $$".to_owned(), "signal 11"),
    ];
    for (script, reason) in cases {
        let place = Place::with_bench(&script);
        match place.run(&place.prefill()) {
            Err(Stop::Failed(why)) => assert!(why.contains(reason), "{script}\n{why}"),
            other => panic!("{script}\n{other:?}"),
        }
    }
}

#[test]
fn a_cancelled_run_ends_at_once_and_so_does_its_process() {
    let place = Place::with_bench("echo $$ > id; sleep 1000");
    let cancel = Cancel::default();
    let mut context = Context::new(cancel.clone(), Duration::from_mins(2), Paints::default(), Box::new(|_| {}));
    let id = place.folder.join("id");
    let watch = {
        let id = id.clone();
        let wait = move || {
            while fs::read_to_string(&id).unwrap_or_default().trim().is_empty() {
                std::thread::sleep(Duration::from_millis(5));
            }
            cancel.request();
            Instant::now()
        };
        std::thread::Builder::new().name("canceller".to_owned()).spawn(wait).unwrap()
    };
    assert_eq!(place.run_with(&place.prefill(), &mut context), Err(Stop::Cancelled));
    let took = watch.join().unwrap().elapsed();
    // Without Cancel it would be 1000 s.
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(!runs(fs::read_to_string(id).unwrap().trim()));
}

/// Whether a process goes on; one that ended and was not waited for does not.
fn runs(id: &str) -> bool {
    let listed = std::process::Command::new("ps").args(["-o", "stat=", "-p", id]).output().unwrap();
    let state = String::from_utf8(listed.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

#[test]
fn variables_that_change_llama_cpp_do_not_reach_it() {
    let place = Place::with_bench(&format!("[ \"$KEPT$GGML_SLOW\" = yes ] || exit 7\n{STEADY}"));
    place.run(&place.prefill()).unwrap();
}

#[test]
fn devices_are_those_of_its_list_and_the_processor() {
    let place = Place::new();
    let list =
        "#!/bin/sh\nprintf 'Available devices:\\n  CUDA0: NVIDIA H100 (81079 MiB, 80572 MiB free)\\n'; echo x >&2";
    place.script("llama-bench", list);
    let devices = place.engine().devices().unwrap();
    let ids: Vec<_> = devices.iter().map(|device| device.id.as_str()).collect();
    assert_eq!(ids, ["cuda:0", "cpu"]);
    assert_eq!(devices[0].limits.max_buffer_bytes, 81_079 << 20);
    let Err(Stop::Failed(why)) = place.engine().open("cuda:1") else { panic!("opened") };
    assert!(why.contains("no device \"cuda:1\""));
}

#[test]
fn a_program_that_can_not_be_used_is_told_with_what_to_do() {
    let place = Place::new();
    let why = |place: &Place| place.engine().devices().unwrap_err();
    let said = why(&place);
    assert!(said.contains("no such program") && said.contains("roofline engines install llama.cpp"), "{said}");
    place.script("llama-bench", "#!/bin/sh\nkill -ILL $$");
    assert!(why(&place).contains("built for another processor"), "{}", why(&place));
    // A program for a machine that doesn't exist: an ELF header of type 0xffff, or a Mach-O of another kind.
    fs::write(place.folder.join("llama-bench"), b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xff\xff\x01\0\0\0")
        .unwrap();
    assert!(why(&place).contains("another kind of processor"), "{}", why(&place));
    fs::set_permissions(place.folder.join("llama-bench"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(why(&place).contains("may not be executed"), "{}", why(&place));
}

/// A fake operator test that takes 50 ms for two products of 512 × 4096 × 14336.
const OPERATOR: &str = r#"#!/bin/sh
case "$*" in *"m=4096,n=512,k=14336"*) ;; *) echo 'CREATE TABLE x ('; exit 0;; esac
sleep 0.05
echo "INSERT INTO test_backend_ops (build_commit, op_params, test_mode, supported, time_us, flops, n_runs) VALUES ('0c1e570', 'type_a=f16,type_b=f32,m=4096,n=512,k=14336,bs=[1,1]', 'perf', '1', '25000.000000', '2405181685760.0', '2');"
"#;

#[test]
fn the_operator_test_measures_the_products_that_it_has() {
    let place = Place::with_bench(STEADY);
    let gemm = |m| Workload::Gemm(Gemm { m, n: 4096, k: 14_336, dtype: Dtype::F16, layout: Layout::Abt });
    let Err(Stop::Unsupported(why)) = place.run(&gemm(512)) else { panic!("measured by nothing") };
    assert!(why.contains("roofline engines install llama.cpp"), "{why}");
    place.script("test-backend-ops", OPERATOR);
    let report = place.run(&gemm(512)).unwrap();
    let throughput = &report.measurements[0];
    assert!((throughput.summary.median / 2.405_181_685_76e12 - 1.0).abs() < 1e-9);
    assert_eq!((throughput.samples[0].iterations, report.check.is_none()), (2, true));
    assert!(report.notes.iter().any(|note| note.contains("not checked")));
    let Err(Stop::Unsupported(why)) = place.run(&gemm(513)) else { panic!("measured what isn't there") };
    assert!(why.contains("513 × 4096 × 14336"), "{why}");
}

#[test]
fn what_llama_cpp_can_not_do_has_its_reason() {
    let place = Place::with_bench(STEADY);
    let why = |workload: &Workload| match place.run(workload) {
        Err(Stop::Unsupported(why)) => why,
        other => panic!("{other:?}"),
    };
    let phase = InferencePhase::Prefill { tokens: 64 };
    assert!(why(&place.inference(phase, 4)).contains("one sequence at a time, not 4"));
    let model = ModelRef { location: Location(None), ..place.model() };
    assert!(why(&Workload::Inference(Inference { model, phase, batch: 1 })).contains("there is no file"));
    let training = Workload::Training(Training {
        model: place.model(),
        rank: 8,
        targets: vec![Target::Q, Target::V],
        sequence: 16,
        batch: 1,
        clipping: true,
        checkpointing: false,
        learning_rate_millionths: LEARNING_RATE_MILLIONTHS,
    });
    assert!(why(&training).contains("no LoRA"));
}

#[test]
fn one_that_writes_something_else_disagrees() {
    let place = Place::with_bench(STEADY);
    let simple = |words: &str| {
        place.script("llama-simple", &format!("#!/bin/sh\nprintf '<s>\\342\\226\\201roofline{words}\\n'"));
        place.run(&place.prefill()).unwrap()
    };
    let report = place.run(&place.prefill()).unwrap();
    assert!(report.unproven.as_ref().is_some_and(|why| why.contains("no llama-simple")), "{report:?}");
    let report = simple(" w300 w301 w302");
    assert_eq!((report.settings["parity"].contains("3 of 3"), report.disagrees.is_none()), (true, true), "{report:?}");
    let report = simple(" w300 w301 w303");
    assert!(report.disagrees.unwrap().contains("2 of 3"));
    // A byte that is no text is no reason to fail.
    assert!(simple("\\377").disagrees.unwrap().contains("0 of 3"));
}

#[test]
fn greedy_text_comes_without_its_prompt() {
    let place = Place::with_bench(STEADY);
    let greedy = |place: &Place| {
        let context = Context::detached(Duration::from_mins(1));
        place.engine().greedy(Path::new("m.gguf"), "say it's \"so\"", 3, &context)
    };
    assert!(matches!(greedy(&place), Err(Stop::Unsupported(why)) if why.contains("llama-simple")));
    place.script("llama-simple", "#!/bin/sh\n[ \"$6\" = 0 ] && echo \"<s>$7 a b c\"");
    assert_eq!(greedy(&place).unwrap(), " a b c");
}
