//! Reports and exports: the founding document's own figures, names that are markup, values that are none, files that are there.

use std::{path::Path, process::Output};

use roofline::{
    engine::EngineId,
    export::{self, ReportFormat},
    measure::Measurement,
    record::{Entry, Outcome, Run, reference, schema_text},
    units::Unit,
    workload::{Dtype, Gemm, Workload, WorkloadKind},
};

use crate::sample;

fn markdown(run: &Run) -> String {
    export::report(std::slice::from_ref(run), &["apple-m5".to_owned()], ReportFormat::Markdown).unwrap()
}

fn html(run: &Run) -> String {
    export::report(std::slice::from_ref(run), &["apple-m5".to_owned()], ReportFormat::Html).unwrap()
}

/// The cells of the first table row that begins so, without what makes them bold.
fn row(text: &str, start: &str) -> Vec<String> {
    let line = text.lines().find(|line| line.starts_with(start));
    let line = line.unwrap_or_else(|| panic!("no row begins with {start} in\n{text}"));
    line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
}

#[test]
fn the_reference_is_a_run_of_the_format_and_marks_itself() {
    let run = reference().unwrap();
    let document = serde_json::to_value(&run).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema_text()).unwrap()).unwrap();
    assert!(validator.is_valid(&document));
    assert!(run.is_published() && !sample::run("a", 0).is_published());
    assert!(run.entries.iter().all(|entry| entry.marks.is_empty()), "nothing is doubted for want of samples");
    for entry in run.entries.iter().filter(|entry| entry.outcome == Outcome::Done) {
        assert!(entry.measurements.iter().all(|measurement| measurement.samples.len() == 1));
        assert_eq!(entry.bytes.or(entry.workload.bytes()), entry.workload.bytes(), "{entry:?}");
    }
    let text = markdown(&run);
    assert!(text.contains("> **Note:** Published figures, no samples"), "{text}");
    assert!(!text.contains("uncertain"));
}

#[test]
fn the_report_of_the_reference_has_the_document_s_tables() {
    let text = markdown(&reference().unwrap());
    // Size, f32, f16 for each framework, in TFLOPS.
    let (pytorch, mlx) = text.split_once("### MLX (").unwrap();
    for (part, rows) in [
        (pytorch, [("1024", 2.59, 6.32), ("2048", 3.43, 12.62), ("4096", 3.16, 13.84)]),
        (mlx, [("1024", 2.58, 2.67), ("2048", 3.32, 3.59), ("4096", 3.25, 3.62)]),
    ] {
        for (n, single, half) in rows {
            let cells = row(part, &format!("| {n}×{n} | "));
            let number = |cell: &str| cell.trim_matches('*').replace(" TFLOPS", "").parse::<f64>().unwrap();
            assert_eq!((number(&cells[1]), number(&cells[2])), (single, half), "{n}");
        }
    }
    assert!(row(&text, "| 4096×4096 | ")[2].starts_with("**13.84"), "PyTorch's f16 is marked as the best");
    assert_eq!(row(&text, "| f32 | n = 4096 |")[4], "0.97× (same)");
    assert_eq!(row(&text, "| f16 | n = 4096 |")[4], "3.82×");
    for (operation, rate) in
        [("Sequential read", "113.0 GB/s"), ("Sequential write", "113.0 GB/s"), ("Copy", "**119.0 GB/s**")]
    {
        assert_eq!(row(&text, &format!("| {operation}"))[3], rate);
    }
}

#[test]
fn the_report_of_the_reference_has_the_document_s_models() {
    let text = markdown(&reference().unwrap());
    // Memory, peak, load, prefill, decode, training.
    for (start, figures) in [
        ("| PyTorch on Apple M5", ["14.48 GB", "14.48 GB", "48.00 s", "—", "7.700 t/s", "174.0 t/s ★"]),
        ("| MLX on Apple M5", ["4.500 GB", "7.500 GB", "800.0 ms", "—", "26.50 t/s ★", "130.0 t/s"]),
        ("| llama.cpp on Apple M5", ["5.000 GB", "6.000 GB", "1.600 s", "—", "24.00 t/s", "n/a"]),
    ] {
        let cells: Vec<String> = row(&text, start).iter().map(|cell| cell.replace("**", "")).collect();
        assert_eq!(cells[3..9], figures);
        assert_eq!(cells[9], "works");
    }
    for line in [
        // 15.3 GB of training, the 12 GB of one tensor, 174 ÷ 130 and 26.5 ÷ 7.7.
        "peak memory 15.30 GB",
        "| PyTorch | largest buffer | 12.00 GB |",
        "1.34× as fast as MLX",
        "3.44× as fast as PyTorch",
        "mlx_lm.generate --model mlx-community/Mistral-7B-Instruct-v0.2-4bit --prompt \"Hello\"",
        "from_pretrained(\"mistralai/Mistral-7B-v0.1\", dtype=torch.float16).to(\"mps\")",
        "| GPU cores | 12 |",
        "| Processor cores | 10 (4 Performance, 6 Efficiency) |",
        "| Memory | 25.77 GB (24 GiB) |",
        "unsupported: llama.cpp trains no adapters",
        "results/raw/M5/",
        "153 GB/s",
        "122 to 133",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    for name in [
        "system_info.json",
        "pytorch_mps_benchmarks.json",
        "pytorch_vs_mlx_detailed.json",
        "memory_benchmarks.json",
        "framework_comparison.json",
        "pytorch_mps_mistral_finetune.json",
    ] {
        assert!(text.contains(&format!("| {name} | ")), "{name} is not in\n{text}");
    }
    // Memory-bound: 119 of 153.6 GB/s, and 7.7 tokens of 14.22 GB each of the 119 GB/s that were measured.
    assert_eq!(row(&text, "| Utilisation")[3], "77.5 %");
    assert!(row(&text, "| PyTorch with mistralai/Mistral-7B-v0.1 f16 | Decode 128")[5].starts_with("92."), "{text}");
}

/// A run in which everything that a person or another program names is markup.
fn hostile() -> Run {
    const MARKUP: &str =
        "<script>alert('x')</script>\n| [a](javascript:b) **c** `d` & \"e\" ../../f \u{1b}[31m\0\u{202e}g";
    let mut run = reference().unwrap();
    MARKUP.clone_into(&mut run.id);
    MARKUP.clone_into(&mut run.app.version);
    MARKUP.clone_into(&mut run.machine.chip);
    run.machine.model = Some(MARKUP.to_owned());
    MARKUP.clone_into(&mut run.machine.os.name);
    MARKUP.clone_into(&mut run.suite.name);
    run.notes = vec![MARKUP.to_owned()];
    for device in &mut run.devices {
        MARKUP.clone_into(&mut device.name);
        MARKUP.clone_into(&mut device.backend);
    }
    for entry in &mut run.entries {
        entry.notes = vec![MARKUP.to_owned()];
        entry.precision = Some(MARKUP.to_owned());
        entry.settings.insert(MARKUP.to_owned(), MARKUP.to_owned());
        match &mut entry.workload {
            Workload::ModelLoad(load) => MARKUP.clone_into(&mut load.model.name),
            Workload::Inference(inference) => MARKUP.clone_into(&mut inference.model.name),
            Workload::Training(training) => MARKUP.clone_into(&mut training.model.name),
            _ => {}
        }
    }
    let last = run.entries.last_mut().unwrap();
    last.outcome = Outcome::Failed(MARKUP.to_owned());
    run
}

#[test]
fn markup_in_names_stays_text() {
    let run = hostile();
    let page = html(&run);
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    assert!(page.contains("default-src 'none'"), "and nothing would run if it got in");
    let text = markdown(&run);
    for steered in [&page, &text] {
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!steered.contains(steers), "nothing steers a terminal or turns the text around");
    }
    assert!(!text.contains("<script") && text.contains("\\[a\\](javascript:b)"), "{text}");
    let tables = text.lines().filter(|line| line.starts_with('|')).collect::<Vec<_>>();
    for pair in tables.windows(2).filter(|pair| pair[1].starts_with("| ---")) {
        let columns = |line: &str| line.replace("\\|", "").matches('|').count();
        assert_eq!(columns(pair[0]), columns(pair[1]), "{pair:?}");
    }
    let folder = export::raw_folder(&run);
    assert!(folder.components().count() == 3 && folder.starts_with("results/raw"), "{}", folder.display());
    for file in export::raw(&run) {
        assert!(!file.name.contains(['/', '\\', '<', '\n', ' ']), "{}", file.name);
    }
}

fn rate(run: &mut Run, value: f64) {
    let workload = Workload::Gemm(Gemm::square(64, Dtype::F32));
    let mut entry = Entry::pending(workload, EngineId::Candle, "mps");
    entry.outcome = Outcome::Done;
    let mut measurement = Measurement::single("throughput", Unit::FlopPerSecond, 1.0, 0.1).unwrap();
    let summary = &mut measurement.summary;
    (summary.median, summary.mean, summary.min, summary.max) = (value, value, value, value);
    entry.measurements = vec![measurement];
    run.entries.push(entry);
}

#[test]
fn values_that_are_none_are_written_as_none() {
    let mut run = reference().unwrap();
    run.entries.clear();
    for value in [f64::NAN, f64::INFINITY, -1e12, 0.0, 1e300] {
        rate(&mut run, value);
    }
    for text in [markdown(&run), html(&run), export::csv(&run).unwrap()] {
        assert!(!text.contains("NaN") && !text.contains(" inf"), "{text}");
    }
    assert!(!markdown(&run).contains("000\u{2009}000\u{2009}000\u{2009}000\u{2009}000\u{2009}000"));
    let mut absurd = run.clone();
    absurd.entries.drain(..4);
    let text = markdown(&absurd);
    assert!(text.contains("1.000e285 PFLOPS †"), "shown, not hundreds of digits long, and not compared: {text}");
    assert!(!text.contains("| Arithmetic, f32"), "and the best of nothing: {text}");
    run.entries.retain(|entry| entry.headline().is_some_and(|figure| figure.summary.median <= 0.0));
    assert!(run.best_gemm(None).is_none(), "a rate below zero is no best");
    run.entries = reference().unwrap().entries;
    for entry in &mut run.entries {
        match &mut entry.workload {
            Workload::Inference(inference) => (inference.model.weight_bytes, inference.model.shape.layers) = (0, 0),
            Workload::Training(training) => (training.model.weight_bytes, training.model.shape.layers) = (0, 0),
            _ => {}
        }
    }
    let emptied = markdown(&run);
    assert!(!emptied.contains("NaN"), "{emptied}");
    run.entries.clear();
    assert!(markdown(&run).contains("## Hardware"), "a run without entries has a report");
    assert_eq!(export::csv(&run).unwrap().lines().count(), 1);
}

#[test]
fn ten_thousand_entries_are_written_in_time() {
    let mut run = sample::run("a", 0);
    let mut entries = Vec::new();
    for n in 1..=10_000 {
        let mut entry = run.entries[usize::from(n % 2 == 0) * 2].clone();
        entry.workload = Workload::Gemm(Gemm::new((n, 8, 8), Dtype::F32));
        entries.push(entry);
    }
    run.entries = entries;
    let start = std::time::Instant::now();
    assert!(markdown(&run).lines().count() > 10_000);
    assert!(html(&run).ends_with("</html>") || html(&run).trim_end().ends_with("</html>"));
    assert!(export::csv(&run).unwrap().lines().count() > 10_000);
    assert!(start.elapsed().as_secs() < 120, "{:?}", start.elapsed());
}

#[test]
fn csv_parses_back_and_runs_no_formula() {
    let mut run = hostile();
    run.machine.chip = "=HYPERLINK(\"x\")".to_owned();
    let text = export::csv(&run).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headings = reader.headers().unwrap().clone();
    let at = |name: &str| headings.iter().position(|heading| heading == name).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let wanted: usize = run.entries.iter().map(|entry| entry.measurements.len().max(1)).sum();
    assert_eq!(rows.len(), wanted);
    assert!(rows.iter().all(|row| row.len() == headings.len()));
    assert_eq!(&rows[0][at("chip")], "'=HYPERLINK(\"x\")");
    let steers = |c: char| c.is_control() || c == '\u{202e}';
    assert!(!text.contains(|c| c != '\n' && steers(c)), "nothing steers a terminal");
    let id: String = run.id.replace('\n', " ").replace(['\u{1b}', '\0'], " ").replace('\u{202e}', "");
    assert_eq!(rows[0][at("run")], id);
    assert_eq!(rows[0][at("median")].parse::<f64>().unwrap(), 2.59e12);
    assert_eq!((&rows[0][at("unit")], &rows[0][at("stop")]), ("FLOP/s", "published"));
    let last = rows.last().unwrap();
    assert_eq!((&last[at("outcome")], &last[at("median")]), ("failed", ""));
}

fn roofline(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_roofline"));
    command.args(arguments).env("ROOFLINE_DATA_DIR", folder).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn files_are_written_where_asked_and_never_over_others() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let page = at("m5.html");
    let report = ["report", "apple-m5", "--output", &page];
    assert!(roofline(folder.path(), &report).status.success());
    assert!(std::fs::read_to_string(&page).unwrap().starts_with("<!doctype html>"));
    std::fs::write(&page, "mine").unwrap();
    let again = roofline(folder.path(), &report);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("--force"), "{}", stderr(&again));
    assert_eq!(std::fs::read_to_string(&page).unwrap(), "mine");
    assert!(roofline(folder.path(), &[&report[..], &["--force"]].concat()).status.success());
    assert!(std::fs::read_to_string(&page).unwrap().starts_with("<!doctype html>"));
    let gone = roofline(folder.path(), &["report", "apple-m5", "--output", &at("gone/a.md")]);
    assert!(stderr(&gone).contains("isn't there"), "{}", stderr(&gone));
    let unknown = roofline(folder.path(), &["report", "nothing"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("no run is called \"nothing\""), "{}", stderr(&unknown));
    let terminal = roofline(folder.path(), &["report", "apple-m5", "--format", "pdf"]);
    assert_eq!(terminal.status.code(), Some(2));
    let sheets = at("m5.pdf");
    assert!(roofline(folder.path(), &["report", "apple-m5", "--format", "pdf", "--output", &sheets]).status.success());
    let bytes = std::fs::read(&sheets).unwrap();
    assert!(bytes.starts_with(b"%PDF") && bytes.trim_ascii_end().ends_with(b"%%EOF"));
}

#[test]
fn exports_come_back_as_they_went() {
    let folder = tempfile::tempdir().unwrap();
    let parent = folder.path().to_str().unwrap();
    let run = |arguments: &[&str]| roofline(folder.path(), &[&["export", "apple-m5", "--format"], arguments].concat());
    let json = run(&["json"]);
    assert_eq!(serde_json::from_slice::<Run>(&json.stdout).unwrap(), reference().unwrap());
    let lines = String::from_utf8(run(&["jsonl"]).stdout).unwrap();
    assert_eq!(lines.lines().count(), reference().unwrap().entries.len());
    let raw = run(&["raw", "--output", parent]);
    assert!(raw.status.success(), "{}", stderr(&raw));
    let made = folder.path().join("results/raw/M5");
    for name in ["system_info", "pytorch_mps_benchmarks", "pytorch_vs_mlx_detailed", "memory_benchmarks"] {
        let text = std::fs::read_to_string(made.join(format!("{name}.json"))).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap().is_object());
    }
    let detailed = std::fs::read_to_string(made.join("pytorch_vs_mlx_detailed.json")).unwrap();
    let detailed: serde_json::Value = serde_json::from_str(&detailed).unwrap();
    assert!((detailed["ratios"][1]["ratio"].as_f64().unwrap() - 3.82).abs() < 0.005);
    assert!(
        made.join("framework_comparison.json").is_file() && made.join("pytorch_mps_mistral_finetune.json").is_file()
    );
    assert!(stderr(&run(&["raw", "--output", parent])).contains("--force"));
    assert!(run(&["raw", "--output", parent, "--force"]).status.success());
    assert!(stderr(&run(&["raw", "--output", &format!("{parent}/gone")])).contains("isn't there"));
    assert_eq!(run(&["raw"]).status.code(), Some(2));
}

#[test]
fn raw_results_of_two_runs_are_never_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("results/raw/M5");
    let raw = |name: &str, flags: &[&str]| {
        let parent = folder.path().to_str().unwrap();
        roofline(folder.path(), &[&["export", name, "--format", "raw", "--output", parent], flags].concat())
    };
    assert!(raw("apple-m5", &[]).status.success());
    let models = std::fs::read_to_string(made.join("framework_comparison.json")).unwrap();
    let models: serde_json::Value = serde_json::from_str(&models).unwrap();
    let entries: Vec<Entry> = serde_json::from_value(models["entries"].clone()).unwrap();
    let kinds = [WorkloadKind::ModelLoad, WorkloadKind::Inference];
    let own = reference().unwrap().entries.into_iter().filter(|entry| kinds.contains(&entry.workload.kind()));
    assert_eq!(entries, own.collect::<Vec<_>>(), "loading and inference are there");
    // Another run of the same chip, with less in it, and files of other people's.
    let mut less = reference().unwrap();
    less.entries.retain(|entry| entry.workload.kind() == WorkloadKind::Bandwidth);
    let file = folder.path().join("less.json");
    std::fs::write(&file, serde_json::to_string(&less).unwrap()).unwrap();
    for (name, text) in [("notes.json", r#"{"run":"mine"}"#), ("my_benchmarks.json", "[1, 2]")] {
        std::fs::write(made.join(name), text).unwrap();
    }
    let before = std::fs::read(made.join("memory_benchmarks.json")).unwrap();
    std::fs::remove_file(made.join("system_info.json")).unwrap();
    assert_eq!(raw(file.to_str().unwrap(), &[]).status.code(), Some(1));
    assert!(!made.join("system_info.json").exists(), "nothing is written before all may be");
    assert_eq!(std::fs::read(made.join("memory_benchmarks.json")).unwrap(), before);
    assert!(raw(file.to_str().unwrap(), &["--force"]).status.success());
    let there = std::fs::read_dir(&made).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut there: Vec<String> = there.collect();
    there.sort();
    assert_eq!(there, ["memory_benchmarks.json", "my_benchmarks.json", "notes.json", "system_info.json"]);
}

#[test]
fn a_report_says_nothing_of_another_program_s_figures_that_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let results = r#"[{"build_commit":"0c1e570","build_number":4321,"cpu_info":"AMD EPYC","gpu_info":"","backends":"CPU",
        "model_filename":"models/mistral.Q4_K_M.gguf","model_type":"llama 7B Q4_K - Medium","model_size":4368439296,
        "model_n_params":7241732096,"n_threads":2,"n_gpu_layers":99,"flash_attn":false,"n_prompt":512,"n_gen":0,"n_depth":0,
        "test_time":"2026-11-25T09:45:02Z","avg_ts":256.0,
        "samples_ns":[2000000000,2000000000,2000000000,2000000000,2000000000]}]"#;
    let file = folder.path().join("-old results.json");
    std::fs::write(&file, results).unwrap();
    let output = roofline(folder.path(), &["report", file.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    for wrong in
        ["0 B", "Roofline llama-bench", "Suite llama-bench", "No window was open", "compared with a reference", "0.0 s"]
    {
        assert!(!text.contains(wrong), "{wrong} in\n{text}");
    }
    for right in [
        "# Machine learning on AMD EPYC\n",
        "llama-bench 4321 took these figures",
        "Measured on 2026-11-25 by llama-bench 4321 (0c1e570), run llama-bench-",
    ] {
        assert!(text.contains(right), "{right} is not in\n{text}");
    }
    // The file is named, for no saved run has that id.
    assert!(text.contains(&format!("roofline export '{}' --format raw", file.display())), "{text}");
    let bare = export::report(&[reference().unwrap()], &[], ReportFormat::Markdown).unwrap();
    assert!(!bare.contains("roofline export"), "no name, no command");
}

#[test]
fn sizes_that_no_machine_has_are_reported() {
    let mut run = sample::run("a", 0);
    run.machine.memory_bytes = u64::MAX;
    run.machine.cpu_cores.iter_mut().for_each(|group| group.count = u32::MAX);
    for entry in &mut run.entries {
        match &mut entry.workload {
            Workload::Bandwidth(bandwidth) => bandwidth.array_bytes = u64::MAX,
            Workload::Gemm(gemm) => (gemm.m, gemm.n, gemm.k) = (u32::MAX, u32::MAX, u32::MAX),
            _ => {}
        }
    }
    assert!(markdown(&run).contains("17179869184") || markdown(&run).contains("TiB"));
    assert!(!roofline::chart::figures(&run).is_empty());
}

#[test]
fn a_gpu_is_one_whatever_an_engine_calls_it() {
    let mut run = reference().unwrap();
    run.entries.retain(|entry| entry.workload.kind() == WorkloadKind::Bandwidth);
    let mut device = run.devices[0].clone();
    "vulkan:0".clone_into(&mut device.id);
    run.devices.push(device);
    let mut other = run.entries[0].clone();
    (other.engine, other.device) = (EngineId::Wgpu, "vulkan:0".to_owned());
    run.entries.push(other);
    let text = markdown(&run);
    let line = text.lines().find(|line| line.starts_with("| Sequential") && line.contains("wgpu"));
    assert!(line.is_some_and(|line| line.contains(" % |")), "{text}");
}

#[test]
fn a_name_that_ends_as_something_else_is_refused_and_a_link_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for arguments in [
        &["report", "apple-m5", "--output", &at("x.json")][..],
        &["report", "apple-m5", "--format", "pdf", "--output", &at("x.html")],
        &["export", "apple-m5", "--format", "csv", "--output", &at("x.json")],
        &["compare", "apple-m5", "--engines", "--format", "json", "--output", &at("x.md")],
    ] {
        let output = roofline(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("end it in ."), "{}", stderr(&output));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(roofline(folder.path(), &["report", "apple-m5", "--output", &at("x.txt")]).status.success());
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere.md", at("link.md")).unwrap();
        let (link, target) = (at("link.md"), at("nowhere.md"));
        for command in [&["report", "apple-m5"][..], &["compare", "apple-m5", "--engines"]] {
            let write = |force: &[&str]| roofline(folder.path(), &[command, &["--output", &link], force].concat());
            assert_eq!(write(&[]).status.code(), Some(1), "{command:?}");
            assert!(write(&["--force"]).status.success(), "{command:?}");
            assert!(Path::new(&link).symlink_metadata().unwrap().is_symlink() && Path::new(&target).is_file());
            std::fs::remove_file(&target).unwrap();
        }
    }
}

#[cfg(unix)]
#[test]
fn paths_that_are_no_text_are_read_and_written() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(OsStr::from_bytes(b"run\xff.json"));
    // Not every system has such names.
    if std::fs::write(&file, serde_json::to_string(&reference().unwrap()).unwrap()).is_err() {
        return;
    }
    let write = |command: &str, more: &[&str], name: &[u8]| {
        let output = folder.path().join(OsStr::from_bytes(name));
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_roofline"));
        process.arg(command).arg(&file).args(more).arg("--output").arg(&output);
        let done = process.env("ROOFLINE_DATA_DIR", folder.path()).output().unwrap();
        assert!(done.status.success() && output.is_file(), "{command}: {}", stderr(&done));
    };
    write("report", &[], b"a\xff.md");
    write("export", &["--format", "csv"], b"a\xff.csv");
    write("chart", &["gemm"], b"a\xff.svg");
}
