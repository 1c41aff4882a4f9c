//! Charts in the window, found and driven by role and label: their menu, the sheet, what is written and what is copied.

use std::time::{Duration, Instant};

use eframe::egui::{Key, Modifiers, OutputCommand, accesskit::Role};
use egui_kittest::{
    Harness,
    kittest::{NodeT as _, Queryable as _},
};
use roofline::{
    chart::Chart,
    export::STAMP,
    ui::{Action, App},
};

use crate::{
    engine_scenes::set_five_engines,
    scenes::{open_finished, ready, set_running, settle},
};

fn finished(folder: &std::path::Path) -> Harness<'static, App> {
    let mut harness = ready([1200.0, 1400.0], folder);
    open_finished(&mut harness, None);
    harness.run();
    harness
}

/// What was put on the clipboard in one of the frames until the background lane owes nothing.
fn copied(harness: &mut Harness<'static, App>) -> Option<OutputCommand> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        harness.step();
        let found = harness
            .output()
            .platform_output
            .commands
            .iter()
            .find(|command| matches!(command, OutputCommand::CopyImage(_) | OutputCommand::CopyText(_)));
        if found.is_some() {
            return found.cloned();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

#[test]
fn a_chart_s_menu_opens_the_sheet_and_the_picture_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = finished(folder.path());
    harness.get_by_role_and_label(Role::Group, "Chart bandwidth-sweep").click_secondary();
    harness.run();
    harness.get_by_label("Copy chart as picture");
    harness.get_by_label("Export chart…").click();
    harness.run_steps(2);
    assert_eq!(harness.state().performed(), Some(&Action::ExportChart(Some(Chart::BandwidthSweep))));
    settle(&mut harness);
    harness.run();
    harness.get_by_role_and_label(Role::ComboBox, "Chart: Memory bandwidth by size");
    assert!(!harness.get_by_role_and_label(Role::Button, "Save…").accesskit_node().is_disabled());
    harness.get_by_label("3×").click();
    harness.get_by_label("Light").click();
    harness.run();
    let path = folder.path().join("sweep.png");
    std::fs::write(&path, "the system's dialog has asked before").unwrap();
    let context = harness.ctx.clone();
    harness.state_mut().perform(&context, Action::SaveChartTo(path.clone()));
    settle(&mut harness);
    harness.run();
    harness.get_by_label_contains("Written: ");
    let bytes = std::fs::read(&path).unwrap();
    let reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
    assert_eq!(reader.info().width, 2880);
    assert!(reader.info().utf8_text.iter().any(|text| text.keyword == STAMP));
    let gone = folder.path().join("gone/a.svg");
    harness.state_mut().perform(&context, Action::SaveChartTo(gone));
    settle(&mut harness);
    harness.run();
    harness.get_by_label_contains("The folder to write to isn't there");
    harness.get_by_role_and_label(Role::Button, "Close").click();
    harness.run();
    assert!(harness.query_by_role_and_label(Role::Button, "Save…").is_none());
}

#[test]
fn keys_export_the_chart_under_the_pointer_else_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = finished(folder.path());
    harness.key_press_modifiers(Modifiers::COMMAND, Key::E);
    harness.run_steps(2);
    settle(&mut harness);
    harness.run();
    harness.get_by_role_and_label(Role::ComboBox, "Chart: Matrix products by size");
    harness.key_press(Key::Escape);
    harness.run();
    assert!(harness.query_by_role_and_label(Role::Button, "Save…").is_none(), "Esc closes it");
    harness.get_by_role_and_label(Role::Group, "Chart bandwidth-time").hover();
    harness.run();
    harness.key_press_modifiers(Modifiers::COMMAND, Key::E);
    harness.run_steps(2);
    settle(&mut harness);
    harness.run();
    harness.get_by_role_and_label(Role::ComboBox, "Chart: Bandwidth over the run");
}

#[test]
fn a_chart_is_copied_as_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready([1200.0, 1400.0], folder.path());
    set_five_engines(harness.state_mut(), None);
    harness.run();
    let context = harness.ctx.clone();
    harness.state_mut().perform(&context, Action::CopyChart(Some(Chart::Decode)));
    let Some(OutputCommand::CopyImage(image)) = copied(&mut harness) else { panic!("no picture was copied") };
    assert_eq!(image.size[0], 1920);
    let dark = image.pixels.iter().filter(|pixel| pixel.r() < 40).count();
    assert!(dark > image.pixels.len() / 2, "as dark as the window");
}

#[test]
fn a_table_s_menu_copies_it_as_markdown() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = finished(folder.path());
    harness.get_by_label("Results").click_secondary();
    harness.run();
    harness.get_by_label("Copy table as Markdown").click();
    let Some(OutputCommand::CopyText(text)) = copied(&mut harness) else { panic!("no text was copied") };
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("| Workload | Parameters | Engine |"), "{text}");
    assert!(lines[1].contains("---:"));
    let columns = |line: &str| line.replace("\\|", "").matches('|').count();
    assert!(lines.iter().all(|line| columns(line) == columns(lines[0])), "{text}");
}

#[test]
fn nothing_is_drawn_beside_what_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready([1200.0, 1400.0], folder.path());
    set_running(harness.state_mut());
    let state = harness.state().state();
    assert!(!state.allows(&Action::ExportChart(None)) && !state.allows(&Action::CopyChart(None)));
}
