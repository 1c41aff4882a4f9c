//! The Compare view, found and driven by role and label: runs chosen, held against each other, taken out; bad files; engines.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use eframe::egui::{self, Key, Modifiers, OutputCommand, accesskit::Role};
use egui_kittest::{
    Harness,
    kittest::{NodeT as _, Queryable as _},
};
use roofline::{
    analysis::comparison::Verdict,
    record::{Edit, Run, Store},
    ui::{Action, App, CompareAction, CompareText, RunSource, RunsAction, View},
};

use crate::{
    engine_scenes::five_engines_run,
    scenes::{USUAL, finished_run, ready, settle},
};

/// A run of the same machine, every figure of which is `factor` times the usual one.
fn run(number: u32, factor: f64) -> Run {
    let mut run = finished_run();
    run.id = format!("2026111{number}T140200Z-{number:04}");
    run.started_at = format!("2026-11-1{number}T14:02:00Z").parse().unwrap();
    // Unmarked, so that what is told of a row is the figures' own.
    run.entries[3].marks.clear();
    // A sweep's own figure is that of its largest array: what caches hold is above the data sheet.
    run.entries[10].measurements.reverse();
    for measurement in run.entries.iter_mut().flat_map(|entry| &mut entry.measurements) {
        measurement.samples.iter_mut().for_each(|sample| sample.value *= factor);
        let values: Vec<f64> = measurement.samples.iter().map(|sample| sample.value).collect();
        measurement.summary = roofline::stats::Summary::of(&values).unwrap();
    }
    run
}

fn save(folder: &Path, runs: &[Run]) -> Vec<PathBuf> {
    let store = Store::at(folder);
    runs.iter().map(|run| store.save(run).unwrap()).collect()
}

fn perform(harness: &mut Harness<'static, App>, action: Action) {
    let context = harness.ctx.clone();
    harness.state_mut().perform(&context, action);
    harness.step();
    settle(harness);
    harness.run();
}

/// A window that compares these runs.
fn comparing(folder: &Path, runs: &[Run]) -> Harness<'static, App> {
    let paths = save(folder, runs);
    let mut harness = ready(USUAL, folder);
    perform(&mut harness, Action::Compare(paths));
    harness
}

fn press(harness: &mut Harness<'static, App>, name: &str) {
    harness.get_by_role_and_label(Role::Button, name).click();
    harness.step();
    settle(harness);
    harness.run();
}

fn copied(harness: &mut Harness<'static, App>, text: CompareText) -> String {
    let context = harness.ctx.clone();
    harness.state_mut().perform(&context, Action::Comparing(CompareAction::Copy(text)));
    harness.step();
    let commands = &harness.output().platform_output.commands;
    let text = commands.iter().find_map(|command| match command {
        OutputCommand::CopyText(text) => Some(text.clone()),
        _ => None,
    });
    text.expect("something was copied")
}

fn ids(harness: &Harness<'static, App>) -> Vec<String> {
    harness.state().state().comparing.chosen.iter().map(|chosen| chosen.run.id.clone()).collect()
}

#[test]
fn runs_are_found_in_the_list_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &[run(2, 1.0), run(3, 1.1), run(4, 1.0)]);
    let mut harness = ready(USUAL, folder.path());
    harness.state_mut().state_mut().stale = true;
    harness.step();
    settle(&mut harness);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Num3);
    harness.run();
    assert_eq!(harness.state().state().choices.view, View::Compare);
    harness.get_by_label_contains("Choose two to 6 runs");
    harness.query_all_by_label("Add runs…").next().unwrap().click();
    harness.run();
    harness.get_by_role_and_label(Role::TextInput, "Find a run").type_text("13 nov");
    harness.run();
    let rows = harness
        .query_all_by_role(Role::Button)
        .filter(|node| node.accesskit_node().label().is_some_and(|label| label.ends_with("Quick · Apple M5")));
    assert_eq!(rows.count(), 1, "the other runs are of other days");
    press(&mut harness, &format!("{}, Quick · Apple M5", when("2026-11-13T14:02:00Z")));
    assert_eq!(ids(&harness), ["20261113T140200Z-0003"]);
    press(&mut harness, "Close list");
    harness.get_by_label_contains("One more run is needed");
    let path = Store::at(folder.path()).path_of("20261112T140200Z-0002");
    perform(&mut harness, Action::Compare(vec![path]));
    harness.get_by_label_contains("9 slower");
    harness.get_by_label_contains("Noise threshold 2.0 %");
}

/// A moment as the window writes it.
fn when(at: &str) -> String {
    let at: jiff::Timestamp = at.parse().unwrap();
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%-d %b %Y %H:%M").to_string()
}

#[test]
fn a_verdict_has_a_sign_and_a_word_and_a_row_opens_to_its_samples() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = comparing(folder.path(), &[run(2, 1.0), run(3, 1.1), run(4, 0.9), run(5, 1.001)]);
    assert!(harness.query_all_by_label("▲ faster").count() > 2);
    assert!(harness.query_all_by_label("▼ slower").count() > 2);
    assert!(harness.query_all_by_label("= same").count() > 2);
    let bar = harness.query_all_by_role(Role::Button).filter_map(|node| node.accesskit_node().label());
    let bar = bar.filter(|label| label.starts_with("Bandwidth read")).collect::<Vec<_>>();
    assert!(bar.iter().any(|label| label.contains("A: 100.0 %, baseline; B: 110.0 %")), "{bar:?}");
    press(&mut harness, "Samples of Bandwidth read, 512 MiB an array");
    harness.get_by_label_contains("Samples: A median 141.2 GB/s of 12 samples");
    press(&mut harness, "Close samples");
    assert!(harness.query_by_label_contains("Samples: A median").is_none());
}

#[test]
fn a_click_makes_another_run_the_baseline_and_the_cross_takes_one_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = comparing(folder.path(), &[run(2, 1.0), run(3, 1.1), run(4, 0.9)]);
    let title = |number| format!("Apple M5 · {}", when(&format!("2026-11-1{number}T14:02:00Z")));
    harness.get_by_role_and_label(Role::Button, &format!("Baseline {}", title(2)));
    press(&mut harness, &format!("Make {} the baseline", title(3)));
    assert_eq!(ids(&harness), ["20261113T140200Z-0003", "20261112T140200Z-0002", "20261114T140200Z-0004"]);
    let command = copied(&mut harness, CompareText::Command);
    assert_eq!(command, "roofline compare 20261113T140200Z-0003 20261112T140200Z-0002 20261114T140200Z-0004");
    let shown = harness.state().state().comparing.shown.as_ref().unwrap();
    assert_eq!(shown.compared.counts().slower, 18, "both others are slower than this one");
    press(&mut harness, &format!("Remove {}", title(2)));
    assert_eq!(ids(&harness), ["20261113T140200Z-0003", "20261114T140200Z-0004"]);
    press(&mut harness, &format!("Remove {}", title(4)));
    assert!(harness.state().state().comparing.shown.is_none());
    harness.get_by_label_contains("One more run is needed");
}

#[test]
fn what_cannot_be_taken_in_is_said_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let runs: Vec<Run> = (1..=7).map(|number| run(number, 1.0)).collect();
    let paths = save(folder.path(), &runs);
    let broken = folder.path().join("broken.json");
    std::fs::write(&broken, "{\"format_version\": 1").unwrap();
    let copy = folder.path().join("copy.json");
    std::fs::copy(&paths[0], &copy).unwrap();
    let mut harness = ready(USUAL, folder.path());
    perform(&mut harness, Action::Compare(paths[..2].to_vec()));
    let add = |paths: &[&Path]| {
        let sources = paths.iter().map(|path| RunSource::File(path.to_path_buf())).collect();
        Action::Comparing(CompareAction::Add(sources))
    };
    for (path, words) in [
        (broken.as_path(), "not a whole run file"),
        (folder.path(), "it is a folder"),
        (copy.as_path(), "compared already, from another file"),
        (paths[0].as_path(), "This run is compared already"),
        (Path::new("/no/such/file.json"), "/no/such/file.json"),
    ] {
        perform(&mut harness, add(&[path]));
        harness.get_by_label_contains(words);
        assert_eq!(ids(&harness).len(), 2, "{words}");
        harness.state_mut().state_mut().banners.clear();
    }
    let rest: Vec<&Path> = paths[2..].iter().map(PathBuf::as_path).collect();
    perform(&mut harness, add(&rest));
    assert_eq!(ids(&harness).len(), 6);
    harness.get_by_label_contains("6 are compared at most");
    harness.state_mut().state_mut().banners.clear();
    // Several that can't be read don't take the place of what is compared.
    perform(&mut harness, Action::Compare(vec![broken.clone(), folder.path().to_owned()]));
    assert_eq!(ids(&harness).len(), 6);
    perform(&mut harness, Action::Compare(vec![paths[6].clone(), broken, paths[5].clone()]));
    assert_eq!(ids(&harness), ["20261117T140200Z-0007", "20261116T140200Z-0006"]);
}

#[test]
fn rows_are_filtered_sorted_and_copied() {
    let folder = tempfile::tempdir().unwrap();
    let mut second = run(3, 1.0);
    let slow = run(3, 0.4).entries[9].clone();
    second.entries[9] = slow;
    let mut harness = comparing(folder.path(), &[run(2, 1.0), second]);
    harness.get_by_label("11 rows");
    harness.get_by_role_and_label(Role::TextInput, "Filter rows").focus();
    harness.run();
    harness.get_by_role_and_label(Role::TextInput, "Filter rows").type_text("gemm 4096");
    harness.run();
    harness.get_by_label("2 of 11 rows");
    harness.get_by_role_and_label(Role::CheckBox, "Changed only").click();
    harness.run();
    harness.get_by_label("1 of 11 rows");
    harness.get_by_label("▼ slower");
    assert!(harness.query_by_label("= same").is_none());
    let tsv = copied(&mut harness, CompareText::Tsv);
    let lines: Vec<&str> = tsv.lines().collect();
    assert_eq!(lines.len(), 12, "{tsv}");
    assert!(lines[0].starts_with("Workload\tParameters\tA\tB\tB ÷ A\tVerdict\tWhy"), "{tsv}");
    assert!(lines.iter().all(|line| line.split('\t').count() == 7), "{tsv}");
    assert!(tsv.contains("\t0.40× (") && tsv.contains("\tslower\t"), "{tsv}");
    let markdown = copied(&mut harness, CompareText::Markdown);
    assert!(markdown.starts_with("# Runs beside each other") && markdown.contains("| slower |"), "{markdown}");
}

#[test]
fn the_engines_of_the_reference_stand_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    harness.get_by_role_and_label(Role::Button, "Compare").click();
    harness.run();
    press(&mut harness, "Engines of the Apple M5 reference");
    harness.get_by_role_and_label(Role::Button, "Baseline PyTorch");
    assert!(harness.query_all_by_label("PyTorch ÷ MLX").count() > 0);
    // The document's table: 0.97× in f32 and 3.82× in f16 at 4096.
    for (row, ratio) in [("GEMM f32", "0.97×"), ("GEMM f16", "3.82×")] {
        let shown = harness.state().state().comparing.shown.as_ref().unwrap();
        let mlx = shown.compared.sides.iter().position(|side| side.label == "MLX").unwrap();
        let found = shown.compared.rows.iter().find(|it| it.title() == row && it.parameters().contains("4096"));
        let cell = &found.unwrap().cells[mlx];
        assert_eq!(cell.change.unwrap().text(shown.compared.kind), ratio);
        assert!(matches!(cell.verdict, Some(Verdict::NotComparable(_))), "published figures have no samples");
    }
    assert_eq!(copied(&mut harness, CompareText::Command), "roofline compare apple-m5 --engines");
    press(&mut harness, "Make MLX the baseline");
    assert!(harness.query_all_by_label("MLX ÷ PyTorch").count() > 0);
    assert_eq!(copied(&mut harness, CompareText::Command), "roofline compare apple-m5 --engines --baseline mlx");
}

#[test]
fn what_differs_is_listed_with_every_value() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = run(3, 1.0);
    other.machine.chip = "Apple M3".to_owned();
    let mut harness = comparing(folder.path(), &[run(2, 1.0), other]);
    harness.get_by_label("Chip Apple M5 → Apple M3");
    press(&mut harness, "1 condition differs");
    harness.get_by_label("Apple M3");
}

#[test]
fn a_hundred_conditions_are_not_all_named_in_the_strip() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = run(3, 1.0);
    let done = other.entries.iter_mut().find(|entry| entry.headline().is_some()).unwrap();
    done.settings.extend((0..100).map(|number| (format!("setting-{number:03} {}", "x".repeat(1000)), "on".to_owned())));
    let mut harness = comparing(folder.path(), &[run(2, 1.0), other]);
    let named = |harness: &Harness<'static, App>| harness.query_all_by_label_contains("setting-").count();
    assert!((1..20).contains(&named(&harness)), "{}", named(&harness));
    harness.get_by_label("and 88 more");
    press(&mut harness, "100 conditions differ");
    assert_eq!(named(&harness), 100);
}

#[test]
fn nothing_is_read_or_compared_beside_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let paths = save(folder.path(), &[run(2, 1.0), run(3, 1.0)]);
    let mut harness = ready(USUAL, folder.path());
    harness.state_mut().state_mut().starting = true;
    let context = harness.ctx.clone();
    harness.state_mut().perform(&context, Action::Compare(paths));
    harness.run_steps(3);
    harness.get_by_label("Goes on when the run has ended");
    assert!(harness.state().state().comparing.chosen.is_empty());
    harness.state_mut().state_mut().starting = false;
    harness.step();
    settle(&mut harness);
    harness.run();
    assert!(harness.state().state().comparing.shown.is_some());
}

#[test]
fn files_that_are_dropped_are_compared_and_llama_bench_s_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let paths = save(folder.path(), &[run(2, 1.0)]);
    let bench = folder.path().join("bench.jsonl");
    std::fs::write(&bench, LLAMA_BENCH).unwrap();
    let mut harness = ready(USUAL, folder.path());
    let dropped = |path: &PathBuf| Arc::new(Dropped(path.clone())) as egui::DroppedFileHandle;
    harness.input_mut().dropped_files = vec![dropped(&paths[0]), dropped(&bench)];
    harness.step();
    settle(&mut harness);
    harness.run();
    assert_eq!(harness.state().state().choices.view, View::Compare);
    assert_eq!(ids(&harness), ["20261112T140200Z-0002", "llama-bench-bench"]);
}

/// A file that was let go over the window.
#[derive(Debug)]
struct Dropped(PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|error| error.to_string())
    }
}

/// A line as llama-bench -o jsonl writes it.
const LLAMA_BENCH: &str = concat!(
    r#"{"build_commit":"b3a1","build_number":6000,"cpu_info":"AMD EPYC","gpu_info":"","backends":"CPU","#,
    r#""model_filename":"m.gguf","model_type":"llama 1B Q4_0","model_size":637699456,"model_n_params":1100048384,"#,
    r#""n_batch":2048,"n_ubatch":512,"n_threads":8,"type_k":"f16","type_v":"f16","n_gpu_layers":0,"#,
    r#""n_prompt":512,"n_gen":0,"n_depth":0,"test_time":"2026-11-12T14:02:00Z","avg_ns":1000000000,"stddev_ns":1000,"#,
    r#""avg_ts":512.0,"stddev_ts":1.0,"samples_ns":[1000000000,1001000000,999000000,1000500000,999500000],"#,
    r#""samples_ts":[512.0,511.5,512.5,511.7,512.3]}"#,
    "\n"
);

#[test]
fn the_view_fits_the_smallest_window() {
    let folder = tempfile::tempdir().unwrap();
    let runs: Vec<Run> = (1..=6).map(|number| run(number, 1.0 + 0.3 * f64::from(number))).collect();
    let paths = save(folder.path(), &runs);
    let mut harness = ready([900.0, 600.0], folder.path());
    perform(&mut harness, Action::Compare(paths));
    for name in ["Add runs…", "Copy", "1 condition differs", "All metrics"] {
        for node in harness.query_all_by_label(name) {
            let rect = node.rect();
            assert!(rect.left() >= 0.0 && rect.right() <= 900.0, "{name}: {rect:?}");
        }
    }
    let chips = harness
        .query_all_by_role(Role::Button)
        .filter(|node| node.accesskit_node().label().is_some_and(|label| label.starts_with("Remove ")));
    let rights: Vec<f32> = chips.map(|node| node.rect().right()).collect();
    assert!(rights.len() == 6 && rights.iter().all(|right| *right <= 900.0), "{rights:?}");
}

#[test]
fn the_run_that_is_shown_joins_the_comparison() {
    let folder = tempfile::tempdir().unwrap();
    let paths = save(folder.path(), &[run(2, 1.0), run(3, 1.1)]);
    let mut harness = ready(USUAL, folder.path());
    perform(&mut harness, Action::Comparing(CompareAction::Add(vec![RunSource::File(paths[0].clone())])));
    perform(&mut harness, Action::OpenRun(paths[1].clone()));
    harness.get_by_role_and_label(Role::Button, "Compare with baseline").click();
    harness.step();
    settle(&mut harness);
    harness.run();
    assert_eq!(ids(&harness), ["20261112T140200Z-0002", "20261113T140200Z-0003"]);
    harness.get_by_label_contains("9 faster");
}

#[test]
fn the_pinned_run_becomes_the_baseline_and_names_stand_for_runs() {
    let folder = tempfile::tempdir().unwrap();
    let paths = save(folder.path(), &[run(2, 1.0), run(3, 1.1), run(4, 1.0)]);
    let store = Store::at(folder.path());
    store.edit(&paths[1], &[Edit::Name("Fans at full speed".into())]).unwrap();
    store.pin(Some(&paths[2])).unwrap();
    let mut harness = ready(USUAL, folder.path());
    harness.state_mut().state_mut().history = Some(store.list());
    perform(&mut harness, Action::Compare(paths[..2].to_vec()));
    perform(&mut harness, Action::OpenRun(paths[1].clone()));
    harness.get_by_label("Fans at full speed");
    harness.get_by_label_contains("Quick suite · ");
    press(&mut harness, "Compare with baseline");
    assert_eq!(
        ids(&harness),
        ["20261114T140200Z-0004", "20261113T140200Z-0003"],
        "what was compared gives way to the pin"
    );
    harness.get_by_label_contains("Make Fans at full speed");
    // A name that changes meanwhile, and a run that is found by it.
    let named = RunsAction::Edit(paths[1].clone(), vec![Edit::Name("Fans off".into())]);
    perform(&mut harness, Action::Runs(named));
    harness.get_by_label_contains("Make Fans off");
    perform(&mut harness, Action::Comparing(CompareAction::Pick));
    harness.get_by_role_and_label(Role::TextInput, "Find a run").type_text("FANS");
    harness.run();
    assert_eq!(harness.query_all_by_label_contains("Quick · ").count(), 1);
    perform(&mut harness, Action::Comparing(CompareAction::Pick));
    perform(&mut harness, Action::OpenReference);
    perform(&mut harness, Action::Show(View::Run));
    press(&mut harness, "Compare with baseline");
    assert_eq!(ids(&harness).last().map(String::as_str), Some("apple-m5"), "the reference is no file");
    perform(&mut harness, Action::Comparing(CompareAction::Remove(2)));
    // The pinned run itself has nothing to be held against: it is there already.
    perform(&mut harness, Action::OpenRun(paths[2].clone()));
    press(&mut harness, "Compare with baseline");
    assert_eq!(ids(&harness), ["20261114T140200Z-0004", "20261113T140200Z-0003"]);
}

/// The command inside the picture of what is shown.
fn command_in_picture(harness: &mut Harness<'static, App>, path: &Path) -> String {
    perform(harness, Action::ExportChart(None));
    perform(harness, Action::SaveChartTo(path.to_owned()));
    harness.key_press(Key::Escape);
    harness.run();
    let text = std::fs::read_to_string(path).unwrap().replace("&quot;", "\"");
    let (_, rest) = text.split_once("roofline chart ").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

#[test]
fn pictures_of_a_file_from_elsewhere_name_its_path_and_its_engines() {
    let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = elsewhere.path().join("run.json");
    std::fs::write(&file, serde_json::to_string(&five_engines_run()).unwrap()).unwrap();
    let mut harness = ready(USUAL, data.path());
    perform(&mut harness, Action::OpenRun(file.clone()));
    let path = elsewhere.path().join("one.svg");
    let words = command_in_picture(&mut harness, &path);
    assert!(words.starts_with(&format!("{} gemm ", file.display())), "{words}");
    perform(&mut harness, Action::Compare(vec![file.clone()]));
    perform(&mut harness, Action::Comparing(CompareAction::AllMetrics(true)));
    let words = command_in_picture(&mut harness, &path);
    assert!(words.starts_with(&format!("{} compare --engines --baseline ", file.display())), "{words}");
    assert!(words.contains(" --all-metrics "), "{words}");
    let mut again = std::process::Command::new(env!("CARGO_BIN_EXE_roofline"));
    let done = again.arg("chart").args(words.split(' ')).current_dir(data.path()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let made = std::fs::read(data.path().join("compare.svg")).unwrap();
    assert_eq!(made, std::fs::read(&path).unwrap());
}
