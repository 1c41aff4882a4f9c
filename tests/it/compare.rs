//! `roofline compare` from the outside: exit statuses, formats, what is given to it, and bad input.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use roofline::{
    engine::EngineId,
    measure::{Measurement, Sample, StopReason},
    record::{Entry, Outcome, Store},
    units::Unit,
    workload::{Dtype, Gemm, Workload},
};

use crate::sample;

fn roofline(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roofline"));
    command.args(arguments).current_dir(folder).env("ROOFLINE_DATA_DIR", folder).env_remove("RUST_BACKTRACE");
    command
}

fn compare(folder: &Path, arguments: &[&str]) -> Output {
    roofline(folder, &[&["compare"], arguments].concat()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Fails unless the program ended so and said so, in one sentence and without a panic.
#[track_caller]
fn refuses(folder: &Path, arguments: &[&str], code: i32, hint: &str) {
    let out = compare(folder, arguments);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(hint), "{arguments:?}: {said}");
    assert!(!said.contains("internal error") && out.stdout.is_empty(), "{arguments:?}: {said}");
}

fn entry(n: u32, engine: EngineId, factor: f64) -> Entry {
    let mut entry = Entry::pending(Workload::Gemm(Gemm::square(n, Dtype::F32)), engine, "metal:1");
    entry.outcome = Outcome::Done;
    let value = |index: u32| 1e12 * factor * (1.0 + 0.001 * f64::from(index % 4));
    let sample = |index| Sample { value: value(index), iterations: 1, host_s: 0.1, device_s: None, disturbed: false };
    let samples = (0..10).map(sample).collect();
    entry.measurements.extend(Measurement::of_samples(
        "throughput",
        Unit::FlopPerSecond,
        samples,
        StopReason::Converged,
    ));
    entry
}

/// A saved run whose rates are those of others times `factor`.
fn save(folder: &Path, id: &str, factor: f64) -> PathBuf {
    let mut run = sample::run(id, 0);
    run.entries = vec![entry(512, EngineId::Wgpu, factor), entry(1024, EngineId::Wgpu, 1.0)];
    Store::at(folder).save(&run).unwrap()
}

/// A folder with the runs "aa-fast" and "bb-slow", whose second is a fifth slower in one of two rows.
fn two() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "aa-fast", 1.0);
    save(folder.path(), "bb-slow", 0.8);
    folder
}

#[test]
fn a_slower_row_is_told_and_fails_where_that_is_asked() {
    let folder = two();
    let out = compare(folder.path(), &["aa", "bb"]);
    let shown = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(shown.contains("−20.0 %") && shown.contains("slower") && shown.contains("1 slower, 1 same"), "{shown}");
    assert!(shown.contains("A  aa-fast") && shown.contains("(baseline)") && shown.contains("B ÷ A"), "{shown}");
    let code = |arguments: &[&str]| compare(folder.path(), arguments).status.code();
    assert_eq!(code(&["aa", "bb", "--fail-on", "slower"]), Some(3));
    assert_eq!(code(&["bb", "aa", "--fail-on", "slower"]), Some(0), "faster");
    assert_eq!(code(&["aa", "bb", "--fail-on", "slower", "--baseline", "bb"]), Some(0));
    assert_eq!(code(&["aa", "bb", "--fail-on", "slower", "--threshold", "25%"]), Some(0));
    assert_eq!(code(&["aa", "aa", "--fail-on", "slower"]), Some(0));
    // One that is beside others already is no column more, whatever it is called.
    let file = Store::at(folder.path()).path_of("bb-slow");
    for baseline in ["bb", "bb-slow", file.to_str().unwrap()] {
        let shown = text(&compare(folder.path(), &["aa", "bb", "--baseline", baseline]).stdout);
        assert!(shown.contains("A  bb-slow") && shown.contains("B  aa-fast"), "{shown}");
        assert!(!shown.contains("C  "), "{baseline}: {shown}");
    }
    let shown = text(&compare(folder.path(), &["aa", "aa"]).stdout);
    assert!(shown.contains("2 same") && shown.contains("A and B have the same id"), "{shown}");
}

#[test]
fn a_gate_is_not_passed_by_comparing_nothing() {
    let folder = two();
    let mut other = sample::run("cc-other", 0);
    other.entries = vec![entry(2048, EngineId::Wgpu, 1.0)];
    Store::at(folder.path()).save(&other).unwrap();
    let out = compare(folder.path(), &["aa", "cc", "--fail-on", "slower"]);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stdout));
    assert!(text(&out.stderr).contains("nothing could be compared"), "{}", text(&out.stderr));
    assert_eq!(compare(folder.path(), &["aa", "cc"]).status.code(), Some(0), "nobody asked");
}

#[test]
fn every_format_holds_every_row() {
    let folder = two();
    let json: serde_json::Value =
        serde_json::from_slice(&compare(folder.path(), &["aa", "bb", "--format", "json"]).stdout).unwrap();
    assert_eq!(json["rows"].as_array().unwrap().len(), 2);
    let cell = &json["rows"][0]["cells"][1];
    assert_eq!(cell["verdict"], "slower");
    assert!((cell["change"]["ratio"].as_f64().unwrap() - 0.8).abs() < 1e-9, "{cell}");
    assert!(cell["change"]["interval"]["high"].as_f64().unwrap() < 0.81, "{cell}");
    assert_eq!(json["counts"]["slower"], 1);
    let csv = text(&compare(folder.path(), &["aa", "bb", "--format", "csv"]).stdout);
    assert_eq!(csv.lines().count(), 3, "{csv}");
    let first = csv.lines().nth(1).unwrap();
    assert!(first.contains(",B ÷ A,0.79999") || first.contains(",B ÷ A,0.8"), "{csv}");
    assert!(first.ends_with(",0.02,slower,"), "{csv}");
    let markdown = text(&compare(folder.path(), &["aa", "bb", "--format", "md"]).stdout);
    assert!(
        markdown.starts_with("# Runs beside each other") && markdown.contains("| GEMM f32 | n = 512 |"),
        "{markdown}"
    );
    assert!(markdown.contains(" | slower |") && markdown.contains(" | same |"), "{markdown}");
}

#[test]
fn engines_of_one_run_and_the_reference_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let shown = text(&compare(folder.path(), &["apple-m5", "--engines"]).stdout);
    let row = |size: &str, dtype: &str| {
        let mut lines =
            shown.lines().skip_while(|line| !(line.contains(&format!("GEMM {dtype}")) && line.contains(size)));
        lines.next().and(lines.next()).unwrap_or_default().to_owned()
    };
    assert!(shown.contains("PyTorch ÷ MLX"), "{shown}");
    assert!(row("4096", "f32").contains("0.97× no samples"), "{shown}");
    assert!(row("4096", "f16").contains("3.82× no samples"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_slice(&compare(folder.path(), &["apple-m5", "--engines", "--format", "json"]).stdout).unwrap();
    assert_eq!((&json["kind"], &json["baseline"]), (&"engines".into(), &"PyTorch".into()));
    refuses(folder.path(), &["apple-m5", "--engines", "--baseline", "candle"], 2, "no engine candle; choose from");
    refuses(folder.path(), &["apple-m5", "apple-m5", "--engines"], 2, "one run");
    refuses(folder.path(), &["apple-m5"], 2, "name from two to 6");
}

/// A test of llama-bench's, as it prints one.
fn llama(rate: f64) -> String {
    let times: Vec<String> = (0..5).map(|i| format!("{}", 128e9 / rate * (1.0 + 0.001 * f64::from(i)))).collect();
    format!(
        r#"{{"build_commit":"0c1e570","build_number":1,"cpu_info":"AMD EPYC","gpu_info":"","backends":"CPU",
        "model_filename":"/a/tiny.gguf","model_type":"llama ?B F16","model_size":120096768,"model_n_params":60039680,
        "n_threads":2,"n_prompt":128,"n_gen":0,"n_depth":0,"test_time":"2026-11-25T09:45:02Z","avg_ts":{rate},
        "samples_ns":[{}]}}"#,
        times.join(",")
    )
}

#[test]
fn files_of_llama_bench_are_compared_and_one_may_come_by_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("before.json"), format!("[\n{}\n]", llama(100.0))).unwrap();
    fs::write(path("after.jsonl"), llama(80.0).replace('\n', " ") + "\n").unwrap();
    let out = compare(folder.path(), &["before.json", "after.jsonl", "--fail-on", "slower"]);
    let shown = text(&out.stdout);
    assert_eq!(out.status.code(), Some(3), "{shown}{}", text(&out.stderr));
    assert!(
        shown.contains("Prefill 128") && shown.contains("−20.0 %") && shown.contains("llama-bench-before"),
        "{shown}"
    );
    let piped = |arguments: &[&str], input: &[u8]| {
        let mut child = roofline(folder.path(), &[&["compare"], arguments].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that refuses its arguments reads nothing.
        child.stdin.take().unwrap().write_all(input).ok();
        child.wait_with_output().unwrap()
    };
    let out = piped(&["before.json", "-"], llama(100.0).as_bytes());
    assert!(text(&out.stdout).contains("1 same"), "{}", text(&out.stderr));
    let file = save(folder.path(), "aa", 1.0);
    let out = piped(&["aa", "-"], &fs::read(file).unwrap());
    assert!(text(&out.stdout).contains("2 same"), "{}", text(&out.stderr));
    let out = piped(&["-", "-"], llama(100.0).as_bytes());
    assert!(out.status.code() == Some(2) && text(&out.stderr).contains("given twice"), "{}", text(&out.stderr));
    for rubbish in [&b""[..], b"{}", b"\xff\xfe\x00", b"[[[[[[", "{".repeat(100_000).as_bytes()] {
        let out = piped(&["aa", "-"], rubbish);
        assert_eq!(out.status.code(), Some(1), "{}", text(&out.stderr));
        assert!(text(&out.stderr).contains("not a whole run file"), "{}", text(&out.stderr));
    }
}

#[test]
fn a_file_that_is_there_is_not_written_over() {
    let folder = two();
    let file = folder.path().join("out.csv");
    fs::write(&file, "mine").unwrap();
    refuses(folder.path(), &["aa", "bb", "--output", "out.csv"], 1, "replace it with --force: out.csv");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let out = compare(folder.path(), &["aa", "bb", "--output", "out.csv", "--force"]);
    assert!(out.status.success() && out.stdout.is_empty(), "{}", text(&out.stderr));
    assert!(fs::read_to_string(&file).unwrap().starts_with("workload,parameters,"));
    refuses(folder.path(), &["aa", "bb", "--output", "no/such/folder/x.md"], 1, "no/such/folder/x.md");
}

#[test]
fn wrong_arguments_are_said_with_what_to_write() {
    let folder = two();
    save(folder.path(), "aa-other", 1.0);
    for (arguments, hint) in [
        (&["aa", "bb"][..], "2 saved runs begin with \"aa\""),
        (&["zz", "bb"], "no run is called \"zz\""),
        (&["bb"], "name from two to 6"),
        (&["bb"; 7], "7 runs were given"),
        (&["bb", "../../nothing-of-this-name"], "no run is called"),
        (&["bb", "a\nb\u{1b}[31m"], "no run is called \"a b [31m\""),
        (&["bb", ""], "no run is called \"\""),
        (&["bb", "bb", "--threshold", "2"], "choose one from 0% to 100%"),
        (&["bb", "bb", "--threshold", "-1%"], "choose one from 0% to 100%"),
        (&["bb", "bb", "--fail-on", "faster"], "slower"),
        (&["bb", "bb", "--format", "xml"], "csv"),
        (&["bb", "bb", "--baseline", "zz"], "no run is called \"zz\""),
        (&["zz-no", "bb", "--baseline", "aa"], "no run is called"),
        (&["bb", "bb", "--baseline", "aa"], "2 saved runs begin with \"aa\""),
        (&[], "RUN"),
    ] {
        refuses(folder.path(), arguments, 2, hint);
    }
}

#[test]
fn files_that_are_no_runs_are_said_to_be_none() {
    let folder = two();
    let good = fs::read_to_string(Store::at(folder.path()).path_of("bb-slow")).unwrap();
    let cases = [
        (String::new(), "it is empty"),
        ("{".to_owned(), "not a whole run file"),
        ("[]".to_owned(), "not a whole run file"),
        (good[..good.len() / 2].to_owned(), "not a whole run file"),
        (good.replace("\"format_version\": 1", "\"format_version\": 99"), "update Roofline"),
        (good.replacen("800000000000.0", "NaN", 1), "not a whole run file"),
        (good.replacen("800000000000.0", "null", 1), "not a whole run file"),
        (good.replacen("800000000000.0", "1e999", 1), "not a whole run file"),
        (llama(100.0).replace("avg_ts\":100", "avg_ts\":100000"), "not that of its samples"),
    ];
    for (contents, hint) in cases {
        fs::write(folder.path().join("odd.json"), &contents).unwrap();
        refuses(folder.path(), &["bb", "odd.json"], 1, hint);
    }
    refuses(folder.path(), &["bb", "."], 1, "it is a folder");
}

#[test]
fn a_reason_is_said_once_and_one_run_is_no_plural() {
    let folder = tempfile::tempdir().unwrap();
    let same = compare(folder.path(), &["apple-m5", "apple-m5"]);
    let told = text(&same.stdout);
    assert!(told.contains("no samples: compared by value") && !told.contains("no samples: no samples"), "{told}");
    assert!(!told.contains("Roofline 0"), "the reference's figures are not this program's: {told}");
    refuses(folder.path(), &["apple-m5"], 2, "1 run was given");
}

/// A file may say anything: a product in seconds is neither a ceiling nor a best, and nor is one of 10^300 FLOP/s.
#[test]
fn figures_in_other_units_and_absurd_ones_are_no_ceilings() {
    let mut run = roofline::record::reference().unwrap();
    let best = run.best_gemm(Some(Dtype::F16)).unwrap().clone();
    let is_best = |entry: &Entry| entry.workload == best.workload && entry.engine == best.engine;
    let place = run.entries.iter().position(is_best).unwrap();
    let ceiling = |run: &roofline::record::Run| {
        let found = roofline::analysis::Ceilings::of(run);
        let device = found.devices()[found.device_of(&run.entries[place]).unwrap()].clone();
        (device.arithmetic_of(Dtype::F16).measured.unwrap().rate, found.share(place))
    };
    assert_eq!(ceiling(&run).0, 13.84e12);
    run.entries[place].measurements[0].unit = Unit::Second;
    assert_eq!(
        (ceiling(&run), run.best_gemm(Some(Dtype::F16)).unwrap().headline().unwrap().summary.median),
        ((12.62e12, None), 12.62e12)
    );
    let cells = &roofline::analysis::Comparison::of(&run).rows;
    let mut cells = cells.iter().filter(|row| row.workload == best.workload).flat_map(|row| row.cells.iter().flatten());
    assert_eq!(cells.find(|cell| cell.entry == place).unwrap().barred.as_deref(), Some("in another unit"));
    run.entries[place].measurements[0].unit = Unit::FlopPerSecond;
    run.entries[place].measurements[0].summary.median = 1e300;
    assert_eq!(ceiling(&run).0, 12.62e12);
    let charts = roofline::analysis::rooflines(&run);
    assert!(charts.iter().flat_map(|chart| &chart.points).all(|point| point.rate < 1e20 && point.entry != place));
}

#[test]
fn names_with_markup_and_newlines_are_shown_and_do_nothing() {
    let folder = two();
    let mut run = sample::run("<img src=x>|\n# b", 0);
    run.machine.chip = "<script>alert(1)</script>\u{1b}[2J\n| *x* |".to_owned();
    run.app.commit = "=HYPERLINK(\"x\")".to_owned();
    run.entries = vec![entry(512, EngineId::Wgpu, 1.0)];
    run.entries[0].settings.insert("a|b\n".to_owned(), "\u{202e}<b>".to_owned());
    run.entries[0].outcome = Outcome::Failed("=cmd|' /C calc'!A0\n<b>".to_owned());
    fs::write(folder.path().join("odd.json"), serde_json::to_string(&run).unwrap()).unwrap();
    let of = |format: &str| {
        let out = compare(folder.path(), &["aa", "odd.json", "--format", format]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        text(&out.stdout)
    };
    let (table, markdown, csv) = (of("table"), of("md"), of("csv"));
    assert!(!table.contains('\u{1b}') && !markdown.contains('\u{1b}') && !csv.contains('\u{1b}'));
    assert!(table.contains("<script>alert(1)</script> [2J | *x* |"), "{table}");
    assert!(!markdown.contains("<script") && !markdown.contains("<img") && !markdown.contains("<b>"), "{markdown}");
    assert!(markdown.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{markdown}");
    let pipes = |line: &str| line.replace("\\|", "").matches('|').count();
    for start in ["| GEMM", "| Chip"] {
        let line = markdown.lines().find(|line| line.starts_with(start)).unwrap();
        let rule = markdown
            .lines()
            .skip_while(|l| !l.contains(if start == "| Chip" { "Condition" } else { "Workload" }))
            .nth(1);
        assert_eq!(pipes(line), pipes(rule.unwrap()), "{line}");
    }
    assert!(csv.lines().nth(1).unwrap().contains("failed: =cmd"), "a reason begins with its word: {csv}");
    serde_json::from_str::<serde_json::Value>(&of("json")).unwrap();
}

#[test]
fn ten_thousand_entries_are_compared_while_one_waits() {
    let folder = tempfile::tempdir().unwrap();
    for (id, factor) in [("a", 1.0), ("b", 0.9)] {
        let mut run = sample::run(id, 0);
        run.entries = (0..10_000).map(|n| entry(n + 1, EngineId::Wgpu, factor)).collect();
        fs::write(folder.path().join(format!("{id}.json")), serde_json::to_string(&run).unwrap()).unwrap();
    }
    let begin = Instant::now();
    let out = compare(folder.path(), &["a.json", "b.json", "--format", "csv"]);
    let took = begin.elapsed();
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(text(&out.stdout).matches(",slower,").count(), 10_000);
    // A build without optimisation on a busy machine takes a few seconds; the square of the rows would take hours.
    assert!(took < Duration::from_mins(1), "{took:?}");
}

#[test]
fn ten_thousand_entries_of_one_work_are_one_row() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = sample::run("a", 0);
    run.entries = (0..10_000).map(|_| entry(8, EngineId::Wgpu, 1.0)).collect();
    fs::write(folder.path().join("a.json"), serde_json::to_string(&run).unwrap()).unwrap();
    let out = compare(folder.path(), &["a.json", "a.json"]);
    assert!(text(&out.stdout).contains("1 same") && text(&out.stdout).contains("the best of 10000 entries"));
}
