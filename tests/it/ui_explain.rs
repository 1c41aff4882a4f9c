//! The window's explanations and report, found and driven by role and label.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use eframe::egui::{self, Key, Modifiers, accesskit::Role};
use egui_kittest::{Harness, kittest::Queryable as _};
use roofline::{
    record::{Mark, MarkKind, Outcome, Run, Store, reference},
    ui::{Action, App, ExportFormat, ReportRun, Session, View},
    workload::Workload,
};

use crate::scenes::{USUAL, finished_run, pictured, ready, settle};

/// The window with a run open, in a view.
fn shown(run: Run, view: View, size: [f32; 2], folder: &Path) -> Harness<'static, App> {
    let mut harness = ready(size, folder);
    let state = harness.state_mut().state_mut();
    state.opened = Some(Session::saved(run, "run.json".into()));
    state.choices.view = view;
    wait(&mut harness, |_| true);
    harness
}

/// Steps until something holds and nothing is owed any more.
fn wait(harness: &mut Harness<'static, App>, done: impl Fn(&App) -> bool) {
    let start = Instant::now();
    harness.run_steps(3);
    let is_owed = |app: &App| !done(app) || app.waits();
    while is_owed(harness.state()) && start.elapsed() < Duration::from_secs(30) {
        harness.run_steps(2);
        std::thread::sleep(Duration::from_millis(2));
    }
    harness.run();
}

fn hostile() -> Run {
    const NAME: &str = "<b>x</b>\n| [a](b) ../../c \u{202e}\0";
    let mut run = reference().unwrap();
    NAME.clone_into(&mut run.machine.chip);
    run.devices.iter_mut().for_each(|device| NAME.clone_into(&mut device.name));
    for (index, entry) in run.entries.iter_mut().enumerate() {
        match &mut entry.workload {
            Workload::Inference(inference) => NAME.clone_into(&mut inference.model.name),
            Workload::Training(training) => NAME.clone_into(&mut training.model.name),
            Workload::ModelLoad(load) => {
                NAME.clone_into(&mut load.model.name);
                load.model.shape.layers = u32::MAX;
                load.model.shape.hidden = u32::MAX;
            }
            _ => {}
        }
        let value = [f64::NAN, f64::INFINITY, -5.0, 0.0, 1e300][index % 5];
        for figure in &mut entry.measurements {
            figure.summary.median = value;
        }
        entry.marks.push(Mark { kind: MarkKind::Implausible, reason: NAME.to_owned() });
        if index % 7 == 0 {
            entry.measurements.clear();
            entry.outcome = Outcome::Failed(NAME.to_owned());
        }
    }
    run
}

#[test]
fn the_reference_is_explained_with_its_chart_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let harness = shown(reference().unwrap(), View::Explain, [1200.0, 4000.0], folder.path());
    harness.get_by_role_and_label(
        Role::Image,
        "Roofline of Apple M5: f32 3.430 TFLOPS, 119.0 GB/s, ridge at 28.82 FLOP/B, measured; f16 13.84 TFLOPS, \
         119.0 GB/s, ridge at 116.3 FLOP/B, measured; 153.6 GB/s, theoretical; 18 workloads",
    );
    assert!(harness.query_all_by_label_contains("Writing a token reads 14.2").count() > 0);
    assert!(harness.query_all_by_label_contains("Published without samples").count() > 20);
    harness.get_by_label("For inference, on Apple M5");
    assert!(harness.query_all_by_label_contains("mlx_lm.generate --model").count() > 0);
    harness.get_by_role_and_label(Role::Button, "Copy the command: For training, on Apple M5");
    assert!(harness.query_all_by_label_contains("fits: 14.48 GB of 25.77 GB").count() > 0);
}

#[test]
fn a_metric_opens_to_what_it_means() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = shown(finished_run(), View::Explain, [900.0, 2400.0], folder.path());
    assert!(harness.query_by_label_contains("one after the other. From about 10").is_none());
    harness.get_by_role_and_label(Role::Button, "What does Decode, tokens/s mean?").click();
    harness.run();
    harness.get_by_label_contains("one after the other. From about 10");
    harness.get_by_role_and_label(Role::Button, "What does Decode, tokens/s mean?").click();
    harness.run();
    assert!(harness.query_by_label_contains("one after the other. From about 10").is_none());
}

#[test]
fn details_of_an_entry_lead_to_it_and_explain_it_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = shown(finished_run(), View::Explain, [1200.0, 2400.0], folder.path());
    harness.get_by_role_and_label(Role::Button, "Details of GEMM f32 n = 4096").click();
    harness.run_steps(3);
    assert_eq!(harness.state().state().choices.view, View::Run);
    harness.get_by_label_contains("arithmetic bounds it. It is the best of its kind");
    harness.get_by_label_contains("TFLOPS: Trillions of floating-point operations a second");
}

#[test]
fn without_a_run_the_views_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Num7);
    wait(&mut harness, |_| true);
    harness.get_by_label_contains("There is no run to explain yet");
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Num8);
    wait(&mut harness, |_| true);
    harness.get_by_label_contains("There is no run to report yet");
    harness.get_by_role_and_label(Role::Button, "Open apple-m5").click();
    wait(&mut harness, |app| app.state().opened.is_some());
    wait(&mut harness, |_| true);
    harness.get_by_label_contains("Open run: Apple M5");
}

#[test]
fn the_latest_saved_run_is_explained_where_none_is_open() {
    let folder = tempfile::tempdir().unwrap();
    Store::at(folder.path()).save(&finished_run()).unwrap();
    let mut harness = ready(USUAL, folder.path());
    let state = harness.state_mut().state_mut();
    (state.stale, state.choices.view) = (true, View::Explain);
    wait(&mut harness, |app| app.state().latest.is_some());
    harness.get_by_label("Roofline of Apple M5");
}

#[test]
fn a_report_is_shown_chosen_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut harness = shown(finished_run(), View::Report, [1200.0, 900.0], folder.path());
    harness.get_by_label("Summary");
    harness.get_by_label("Machine learning on Apple M5 (24 GiB)");
    let context = harness.ctx.clone();
    let path = out.path().join("a.html");
    harness.state_mut().perform(&context, Action::ExportTo(ExportFormat::Html, path.clone()));
    wait(&mut harness, |app| app.state().report.written.is_some());
    harness.get_by_label(&format!("Written: {}", path.display()));
    assert!(std::fs::read_to_string(&path).unwrap().contains("<!doctype html>"));
    harness.get_by_role_and_label(Role::Button, "Show in file manager");
    harness.get_by_role_and_label(Role::Button, "Dismiss").click();
    harness.run();
    assert!(harness.query_by_label_contains("Written:").is_none());
    // Two runs are one report, but their data is not one file.
    harness.state_mut().perform(&context, Action::ReportRun(ReportRun::Reference));
    wait(&mut harness, |app| !app.state().report.making);
    assert!(harness.state().state().allows(&Action::Export(ExportFormat::Markdown)));
    assert!(!harness.state().state().allows(&Action::Export(ExportFormat::Csv)));
    harness.get_by_role_and_label(Role::Button, "Leave out apple-m5").click();
    harness.run_steps(2);
    assert_eq!(harness.state().state().report.chosen, [ReportRun::Shown]);
}

#[test]
fn an_export_folder_that_vanished_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let gone = tempfile::tempdir().unwrap().path().join("gone").join("a.md");
    let mut harness = shown(finished_run(), View::Report, USUAL, folder.path());
    let context = harness.ctx.clone();
    harness.state_mut().perform(&context, Action::ExportTo(ExportFormat::Markdown, gone));
    wait(&mut harness, |app| !app.state().banners.is_empty());
    harness.get_by_label_contains("The folder to write to isn't there, or not any more");
    assert_eq!(harness.state().state().report.written, None);
}

#[test]
fn a_run_that_can_t_be_read_is_no_report() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = shown(finished_run(), View::Report, USUAL, folder.path());
    let context = harness.ctx.clone();
    let file = folder.path().join("broken.json");
    std::fs::write(&file, "{").unwrap();
    harness.state_mut().perform(&context, Action::ReportRun(ReportRun::Saved(file)));
    wait(&mut harness, |app| app.state().report.problem.is_some());
    assert!(harness.query_all_by_label_contains("not a whole run file").count() > 0);
    assert!(!harness.state().state().allows(&Action::Export(ExportFormat::Markdown)));
}

#[test]
fn hostile_runs_are_drawn_without_a_figure_as_fact() {
    let folder = tempfile::tempdir().unwrap();
    for size in [[900.0, 600.0], [1200.0, 5000.0]] {
        let mut harness = shown(hostile(), View::Explain, size, folder.path());
        assert!(harness.query_all_by_label_contains("of limit").count() == 0, "no share is shown");
        harness.state_mut().state_mut().choices.view = View::Report;
        wait(&mut harness, |app| !app.state().report.making);
        harness.get_by_label("Summary");
    }
}

#[test]
fn of_ten_thousand_entries_only_those_in_sight_are_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = finished_run();
    let few = run.entries.clone();
    run.entries = few.iter().cycle().take(10_000).cloned().collect();
    let mut harness = shown(run, View::Explain, [1200.0, 1600.0], folder.path());
    let drawn = harness.query_all_by_label_contains("Details of").count();
    assert!((1..100).contains(&drawn), "{drawn}");
    harness.state_mut().state_mut().choices.view = View::Report;
    wait(&mut harness, |app| !app.state().report.making);
    let labels = harness.query_all_by_role(Role::Label).count();
    assert!((10..1500).contains(&labels), "{labels}");
    // Each row's ceiling was once found anew in all entries, for all rows, whenever the view was drawn.
    harness.state_mut().state_mut().choices.view = View::Run;
    wait(&mut harness, |_| true);
    let rows = harness.query_all_by_role(Role::Button).count();
    assert!((10..300).contains(&rows), "{rows}");
    settle(&mut harness);
}

/// Writes a picture of the views in each theme, size and scale, for people to look at.
#[test]
#[ignore = "writes pictures; run it with ROOFLINE_PICTURES=folder"]
fn pictures() {
    let Ok(pictures) = std::env::var("ROOFLINE_PICTURES") else { return };
    let folder = tempfile::tempdir().unwrap();
    let opened = std::env::var("ROOFLINE_PICTURED_RUN")
        .map_or_else(|_| reference().unwrap(), |file| Store::load(Path::new(&file)).unwrap());
    for view in [View::Explain, View::Report] {
        for (theme, size, scale) in [
            (egui::Theme::Dark, [1200.0, 3000.0], 1.0),
            (egui::Theme::Light, [1200.0, 1500.0], 1.0),
            (egui::Theme::Dark, [900.0, 600.0], 1.0),
            (egui::Theme::Light, [900.0, 780.0], 2.0),
        ] {
            let mut harness = pictured((theme, size, scale), folder.path());
            let state = harness.state_mut().state_mut();
            state.opened = Some(Session::saved(opened.clone(), "run.json".into()));
            state.choices.view = view;
            wait(&mut harness, |app| !app.state().report.making);
            let name = format!("{}-{theme:?}-{}x{}-{scale}x", view.title(), size[0], size[1]);
            harness.render().unwrap().save(format!("{pictures}/{name}.png")).unwrap();
        }
    }
}
