//! The program from the outside: flags, exit statuses, what goes where. Runs on whatever adapter there is.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use roofline::record::{Outcome, Run, Store};

use crate::program::write_program;

/// The program with its data in `folder`.
fn roofline(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roofline"));
    command.args(arguments).env("ROOFLINE_DATA_DIR", folder).env_remove("RUST_BACKTRACE");
    command
}

fn output(folder: &Path, arguments: &[&str]) -> Output {
    roofline(folder, arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Whether there is something to measure on; says so where not.
fn has_adapter(folder: &Path) -> bool {
    let list = output(folder, &["list", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    let found = value["devices"].as_array().is_some_and(|devices| !devices.is_empty());
    if !found {
        eprintln!("skipped: no adapter here");
    }
    found
}

const SMALL: [&str; 11] =
    ["run", "--engine", "wgpu", "--workload", "gemm", "--size", "96", "--dtype", "f32", "--budget", "40"];

#[test]
fn a_small_run_prints_json_that_is_the_saved_file() {
    let folder = tempfile::tempdir().unwrap();
    if !has_adapter(folder.path()) {
        return;
    }
    let out = output(folder.path(), &[&SMALL[..], &["--format", "json"]].concat());
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let run: Run = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(Store::load(&Store::at(folder.path()).path_of(&run.id)).unwrap(), run);
    let entry = &run.entries[0];
    assert_eq!(entry.outcome, Outcome::Done);
    assert!(entry.check.as_ref().unwrap().passed());
    assert!(entry.headline().unwrap().samples.len() >= 3);
    assert!(run.machine.memory_bytes > 0 && !run.devices.is_empty());
    assert!(stderr(&out).contains("saved: "));
}

#[test]
fn results_go_where_they_are_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    if !has_adapter(folder.path()) {
        return;
    }
    let file = folder.path().join("out.jsonl");
    let out = output(folder.path(), &[&SMALL[..], &["--no-save", "--output", file.to_str().unwrap()]].concat());
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    assert!(out.stdout.is_empty());
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["workload"]["kind"], "gemm");
    assert!(Store::at(folder.path()).list().is_empty(), "--no-save keeps nothing");
}

#[test]
fn the_table_has_a_row_for_each_entry() {
    let folder = tempfile::tempdir().unwrap();
    if !has_adapter(folder.path()) {
        return;
    }
    let out = output(folder.path(), &SMALL);
    let text = stdout(&out);
    let row = text.lines().find(|line| line.contains("GEMM f32")).unwrap();
    assert!(row.contains("n = 96") && row.contains("FLOPS") && row.contains("Done"), "{row}");
}

#[test]
fn two_engines_stand_side_by_side_and_in_a_document() {
    let folder = tempfile::tempdir().unwrap();
    if !has_adapter(folder.path()) {
        return;
    }
    let file = folder.path().join("out.md");
    let both =
        ["run", "--workload", "gemm", "--size", "96", "--dtype", "f32", "--engine", "wgpu,candle", "--budget", "10"];
    let text = stdout(&output(folder.path(), &both));
    let row = text.lines().find(|line| line.contains("GEMM f32")).unwrap();
    assert!(row.contains("n = 96") && (1..=2).contains(&row.matches('±').count()), "one row for both: {text}");
    let header = text.lines().find(|line| line.contains("Workload")).unwrap();
    assert!(header.contains("wgpu") && header.contains("candle"), "{header}");
    let out = output(folder.path(), &[&both[..], &["--output", file.to_str().unwrap()]].concat());
    assert!(out.status.success(), "{}", stderr(&out));
    assert!(stderr(&out).contains("candle, GEMM f32 n = 96: "), "lines name their engine: {}", stderr(&out));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# Machine learning on ") && text.contains("| 96×96 | "), "{text}");
}

#[test]
fn a_run_that_is_not_saved_waits_for_no_other_and_measures_beside_none() {
    let folder = tempfile::tempdir().unwrap();
    let _measuring = Store::at(folder.path()).lock().unwrap();
    for also in [&[][..], &["--no-save"]] {
        let out = output(folder.path(), &[&SMALL[..], also].concat());
        assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
        assert!(stderr(&out).contains("another copy"), "{}", stderr(&out));
    }
}

#[test]
fn an_engine_whose_file_is_none_is_told_of_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("engines/custom/mine")).unwrap();
    let out = output(folder.path(), &["run", "--engine", "mine"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("mine is no engine: it is no file"), "{}", stderr(&out));
    let out = output(folder.path(), &["engines", "use", "nobody", "/tmp"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("no engine is called \"nobody\""), "{}", stderr(&out));
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_what_is_done_and_exits_with_130() {
    let folder = tempfile::tempdir().unwrap();
    if !has_adapter(folder.path()) {
        return;
    }
    // So many that there are still some when the signal arrives.
    let sizes: Vec<String> = (4..24).map(|n| (16 * n).to_string()).collect();
    let sizes = sizes.join(",");
    let arguments =
        ["run", "--workload", "gemm", "--size", &sizes, "--dtype", "f32", "--budget", "600", "--engine", "wgpu"];
    let mut child = roofline(folder.path(), &arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    lines.by_ref().find(|line| line.starts_with("[1/")).expect("the first entry ends");
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let runs = std::fs::read_dir(Store::at(folder.path()).folder()).unwrap();
    let path =
        runs.map(|file| file.unwrap().path()).find(|path| path.extension().is_some_and(|e| e == "json")).unwrap();
    let run = Store::load(&path).unwrap();
    assert_eq!(run.entries[0].outcome, Outcome::Done);
    assert_eq!(run.entries.last().unwrap().outcome, Outcome::Cancelled);
}

/// An engine that doesn't answer, doesn't notice that its input ends, and wrote down its process's number.
#[cfg(unix)]
#[test]
fn ctrl_c_before_anything_is_measured_ends_the_engines_that_were_asked_who_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (custom, number) = (folder.path().join("engines/custom"), folder.path().join("number"));
    std::fs::create_dir_all(&custom).unwrap();
    let script = format!("#!/bin/sh\necho $$ > '{0}.tmp'; mv '{0}.tmp' '{0}'; sleep 1000\n", number.display());
    write_program(&custom.join("mute"), &script);
    let arguments = ["run", "--workload", "gemm", "--size", "64", "--engine", "mute"];
    let mut child = roofline(folder.path(), &arguments).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let engine = (0..1000).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::fs::read_to_string(&number).ok()
    });
    let engine = engine.expect("the engine is started");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // One that was ended and not yet cleared away by the system runs no more.
    let state = Command::new("ps").args(["-o", "stat=", "-p", engine.trim()]).output().unwrap();
    let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
    assert!(state.is_empty() || state.starts_with('Z'), "the engine still runs: {state}");
}

#[test]
fn wrong_flags_exit_with_2_and_say_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, hint) in [
        (&["run", "--suite", "slow"][..], "quick"),
        (&["run", "--size", "7x"], "MxNxK"),
        (&["run", "--size", "0"], "65536"),
        (&["run", "--dtype", "int3"], "f16"),
        (&["dance"], "dance"),
        (&["run", "--budget", "soon"], "seconds"),
        (&["run", "--output", ""], "standard output"),
        (&["run", "--model", "mistral-9000b"], "mistral-7b"),
        (&["run", "--precision", "q3"], "Q4_K_M"),
        (&["run", "--workload", "inference", "--engine", "wgpu"], "--engine candle"),
    ] {
        let out = output(folder.path(), arguments);
        assert_eq!(out.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&out).contains(hint), "{arguments:?}: {}", stderr(&out));
    }
}

#[test]
fn an_unknown_device_and_empty_filters_exit_with_2_and_name_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    if !has_adapter(folder.path()) {
        return;
    }
    let out = output(folder.path(), &["run", "--device", "no-such-gpu"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("no-such-gpu") && stderr(&out).contains("there are: "), "{}", stderr(&out));
    let out = output(folder.path(), &["run", "--workload", "tensor-limit", "--size", "64"]);
    assert_eq!(out.status.code(), Some(2), "{}", stderr(&out));
}

#[test]
fn a_data_folder_that_can_not_be_written_stops_before_measuring() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let out = output(&file, &SMALL);
    assert_eq!(out.status.code(), Some(1));
    let text = stderr(&out);
    assert!(text.contains("another data folder") && text.lines().count() == 1, "{text}");
}

#[test]
fn an_output_that_can_not_be_written_stops_before_measuring() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no/such/folder/out.json");
    for path in [missing.as_path(), folder.path()] {
        let out = output(folder.path(), &[&SMALL[..], &["--output", path.to_str().unwrap()]].concat());
        assert_eq!(out.status.code(), Some(1));
        assert!(stderr(&out).contains(path.to_str().unwrap()), "{}", stderr(&out));
    }
}

#[cfg(unix)]
#[test]
fn an_output_that_is_no_plain_file_is_written_to_and_not_replaced() {
    use std::os::unix::fs::{FileTypeExt as _, symlink};
    let folder = tempfile::tempdir().unwrap();
    if !has_adapter(folder.path()) {
        return;
    }
    let (pipe, target, link) = (folder.path().join("pipe"), folder.path().join("t.txt"), folder.path().join("link"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::write(&target, "old").unwrap();
    symlink(&target, &link).unwrap();
    let run = |path: &Path| [&SMALL[..], &["--no-save", "--output", path.to_str().unwrap()]].concat().join(" ");
    let at = pipe.clone();
    let reader = std::thread::Builder::new().name("reader".into());
    let reader = reader.spawn(move || std::fs::read_to_string(at).unwrap()).unwrap();
    for path in [&pipe, &link] {
        let out = output(folder.path(), &run(path).split(' ').collect::<Vec<_>>());
        assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    }
    assert!(reader.join().unwrap().contains("GEMM f32"));
    assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(std::fs::read_to_string(&target).unwrap().contains("GEMM f32"));
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_do_not_fit_their_place_are_not_lost_and_the_status_says_so() {
    let folder = tempfile::tempdir().unwrap();
    if !has_adapter(folder.path()) {
        return;
    }
    let out = output(folder.path(), &[&SMALL[..], &["--no-save", "--output", "/dev/full"]].concat());
    assert_eq!(out.status.code(), Some(1));
    assert!(stdout(&out).contains("GEMM f32") && stderr(&out).contains("--output: /dev/full"), "{}", stderr(&out));
    for format in ["table", "json", "jsonl"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let arguments = [&SMALL[..], &["--format", format]].concat();
        let out = roofline(folder.path(), &arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(out.status.code(), Some(1), "{format}");
        assert!(stderr(&out).contains("saved: ") && stderr(&out).contains("could not be written"), "{}", stderr(&out));
    }
}

#[test]
fn without_a_driver_there_is_a_sentence_and_no_backtrace() {
    let folder = tempfile::tempdir().unwrap();
    if cfg!(target_os = "macos") {
        eprintln!("skipped: Metal can't be taken away");
        return;
    }
    let run = |arguments: &[&str]| {
        let mut command = roofline(folder.path(), arguments);
        command.env("VK_DRIVER_FILES", "/nonexistent.json").env("VK_ICD_FILENAMES", "/nonexistent.json");
        command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY").output().unwrap()
    };
    // The processor is measured all the same, by another engine.
    let out = run(&["run", "--engine", "wgpu", "--workload", "gemm"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr(&out).contains("mesa-vulkan-drivers"), "{}", stderr(&out));
    let both = ["run", "--engine", "wgpu", "--engine", "candle", "--workload", "gemm", "--size", "64", "--budget", "2"];
    let measured = run(&[&both[..], &["--dtype", "f32", "--format", "json"]].concat());
    let kept: serde_json::Value = serde_json::from_slice(&measured.stdout).unwrap();
    assert!(kept["notes"][0].as_str().unwrap().starts_with("An engine took no part: "), "{}", kept["notes"]);
    assert_eq!(kept["entries"].as_array().unwrap().len(), 1, "candle's");
    let list = run(&["list"]);
    assert_eq!(list.status.code(), Some(0));
    assert!(stdout(&list).contains("unavailable: "), "{}", stdout(&list));
    let window = run(&[]);
    assert_eq!(window.status.code(), Some(1));
    for out in [out, list, window] {
        assert!(!stderr(&out).contains("panicked") && !stderr(&out).contains("backtrace"), "{}", stderr(&out));
    }
}

#[test]
fn system_tells_the_machine_as_the_run_file_does() {
    let folder = tempfile::tempdir().unwrap();
    let out = output(folder.path(), &["system", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(value["machine"]["memory_bytes"].as_u64().unwrap() > 0);
    assert!(value["machine"]["os"]["name"].as_str().is_some_and(|name| !name.is_empty()));
    assert!(stdout(&output(folder.path(), &["system"])).contains("Memory"));
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = roofline(folder.path(), &["list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert!(stderr(&out).is_empty(), "{}", stderr(&out));
    assert_eq!(out.status.code(), Some(0));
}
