//! Several engines in the window: picked, in columns, in colours, compared.

use eframe::egui::{self, Key, accesskit::Role};
use egui_kittest::{
    Harness,
    kittest::{NodeT as _, Queryable as _},
};
use roofline::{
    engine::{EngineId, Surroundings, find::settings::Settings},
    provision::{InstallProgress, ProgressUnit},
    record::Store,
    run::SuiteName,
    ui::{Action, App, EngineStage, View},
};

use crate::{
    engine_scenes::{PLAN, five_engines_run, set_engine_list, set_engines, set_five_engines},
    scenes::{USUAL, pictured, ready, settle},
};

const TALL: [f32; 2] = [1280.0, 4200.0];

#[test]
fn engines_are_picked_and_the_absent_one_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    set_engines(harness.state_mut());
    harness.state_mut().state_mut().choices.suite = SuiteName::Standard.id().to_owned();
    harness.run();
    assert!(harness.get_by_role_and_label(Role::CheckBox, "MLX").accesskit_node().is_disabled());
    let all = harness.state().state().planned().len();
    assert!(harness.state().state().request().engines.is_empty(), "all of them is the suite as it is defined");
    harness.get_by_role_and_label(Role::CheckBox, "PyTorch").click();
    harness.run();
    assert_eq!(harness.state().performed(), Some(&Action::UseEngine(EngineId::Pytorch, false)));
    let state = harness.state().state();
    assert_eq!(state.request().engines, [EngineId::Wgpu, EngineId::Candle, EngineId::LlamaCpp]);
    assert!(state.planned().len() < all);
    assert!(state.planned().iter().all(|job| job.engine != EngineId::Pytorch));
    for name in ["wgpu", "candle", "llama.cpp"] {
        harness.get_by_role_and_label(Role::CheckBox, name).click();
        harness.run();
    }
    assert!(harness.get_by_role_and_label(Role::Button, "Run suite").accesskit_node().is_disabled());
    assert!(harness.state().state().planned().is_empty());
}

#[test]
fn quick_has_the_engines_of_the_program_until_another_is_taken_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    set_engines(harness.state_mut());
    harness.run();
    let state = harness.state().state();
    assert!(!state.wants_engine(EngineId::Pytorch) && state.wants_engine(EngineId::Wgpu));
    assert!(state.planned().iter().all(|job| job.engine.is_built_in()));
    harness.get_by_role_and_label(Role::CheckBox, "PyTorch").click();
    harness.run();
    let state = harness.state().state();
    assert_eq!(state.request().engines, [EngineId::Wgpu, EngineId::Candle, EngineId::Pytorch]);
    assert!(state.planned().iter().any(|job| job.engine == EngineId::Pytorch));
}

#[test]
fn the_picker_is_reached_by_keys() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(USUAL, folder.path());
    set_engines(harness.state_mut());
    harness.run();
    for _ in 0..40 {
        if harness.get_by_role_and_label(Role::CheckBox, "candle").is_focused() {
            break;
        }
        harness.key_press(Key::Tab);
        harness.run();
    }
    harness.key_press(Key::Space);
    harness.run();
    assert!(!harness.state().state().wants_engine(EngineId::Candle));
}

#[test]
fn a_plan_names_the_engines_of_each_row() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready([1200.0, 2400.0], folder.path());
    set_engines(harness.state_mut());
    harness.state_mut().state_mut().choices.suite = SuiteName::Standard.id().to_owned();
    harness.run();
    assert_eq!(harness.query_all_by_label("Engines").count(), 3, "the view, the picker, and the column");
    assert!(harness.query_all_by_label_contains("PyTorch, llama.cpp").count() > 0);
}

#[test]
fn equal_work_stands_in_one_row_and_a_cell_opens_its_details() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(TALL, folder.path());
    set_five_engines(harness.state_mut(), None);
    harness.run();
    harness.get_by_label_contains("PyTorch, GEMM f16, n = 4096: 680.5 TFLOPS, best");
    harness.get_by_label_contains("candle, GEMM f16, n = 512: Failed");
    assert!(harness.query_by_label_contains("wgpu, GEMM bf16").is_none(), "what it hasn't is a dash");
    harness.get_by_label_contains("PyTorch, GEMM bf16, n = 8192: 738.4 TFLOPS, throttled");
    harness.get_by_label_contains("MLX, Bandwidth triad, 512 MiB an array: 1786 GB/s, functional only");
    harness.get_by_label_contains("PyTorch, GEMM f16, n = 4096: 680.5 TFLOPS, best").click();
    harness.run();
    harness.get_by_label_contains("n = 4096 · PyTorch on NVIDIA H100 80GB HBM3 · CUDA");
    harness.get_by_label_contains("Versions and settings: python 3.11.7, tf32 off, threads 16, torch 2.15.0");
    harness.get_by_label("0.98 while it was timed");
    harness.get_by_label("0.4 before, 1.1 after");
    let selected = |harness: &Harness<'_, App>| harness.state().state().current.as_ref().unwrap().selected.unwrap();
    let first = selected(&harness);
    harness.key_press(Key::ArrowLeft);
    harness.run();
    harness.get_by_label_contains("n = 4096 · candle on NVIDIA H100");
    harness.key_press(Key::ArrowDown);
    harness.run();
    harness.get_by_label_contains("n = 8192 · candle on NVIDIA H100");
    assert_ne!(selected(&harness), first);
}

#[test]
fn frameworks_are_summed_up_four_bits_beside_four_bits() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(TALL, folder.path());
    set_five_engines(harness.state_mut(), None);
    harness.run();
    harness.get_by_label("Frameworks");
    harness.get_by_label("candle, mistral-7b f16, decode: 164.2 t/s, best");
    harness.get_by_label("candle, mistral-7b Q4_K_M, decode: 232.0 t/s, best");
    harness.get_by_label("llama.cpp, mistral-7b Q4_K_M, prefill: 10\u{2009}870 t/s, best");
    harness.get_by_label("MLX, mistral-7b f16, load time: 3.200 s");
    assert!(harness.query_all_by_label("n/a").count() >= 2, "neither trains in four bits");
    harness.get_by_label_contains("4 bits on NVIDIA H100 80GB HBM3: Prefill 512, Decode 128 at depth 0");
    harness.get_by_label_contains("MLX disagrees with candle: 0 of 12 tokens");
    harness.get_by_label_contains("PyTorch agrees with candle: 12 of 12 tokens");
    harness.get_by_label("GEMM: PyTorch beside MLX");
    assert!(
        harness.query_all_by_label("1.01× (same)").count() == 1 && harness.query_all_by_label("1.64×").count() == 1
    );
}

#[test]
fn charts_have_engines_for_colours_and_say_so_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(TALL, folder.path());
    set_five_engines(harness.state_mut(), None);
    harness.run();
    harness.get_by_role_and_label(Role::Image, "GEMM in short types by size, at most 738.4 TFLOPS");
    harness.get_by_role_and_label(Role::Image, "Attention by length, at most 410.0 TFLOPS");
    harness.get_by_role_and_label(Role::Image, "copy · 512 MiB an array: PyTorch 2803 GB/s");
    harness.get_by_role_and_label(Role::Image, "Decode 128 at depth 0 · 4 bits: candle 232.0 t/s, best");
    assert_eq!(harness.query_all_by_label_contains("PyTorch · n = 8192").count(), 2, "the best GEMMs are PyTorch's");
}

#[test]
fn five_engines_fit_the_smallest_window() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready([900.0, 600.0], folder.path());
    set_five_engines(harness.state_mut(), None);
    harness.run();
    harness.get_by_role_and_label(Role::Button, "Copy results");
    let right = harness.get_by_role_and_label(Role::Button, "Run suite").rect().right();
    assert!(right <= 900.0, "{right}");
}

#[test]
fn the_engines_view_says_what_is_there_and_what_gets_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(TALL, folder.path());
    set_engine_list(harness.state_mut(), None);
    harness.run();
    assert_eq!(harness.query_all_by_label("Part of Roofline").count(), 2);
    harness.get_by_label_contains("In the active environment: /home/someone/venv/bin/python");
    harness.get_by_label_contains("No Python holds mlx and mlx_lm");
    harness.get_by_label("31.00 MB");
    harness.get_by_role_and_label(Role::Button, "Copy the command for MLX").click();
    harness.run();
    let copied = Action::CopyText("roofline engines install mlx".to_owned());
    assert_eq!(harness.state().performed(), Some(&copied));
    harness.get_by_role_and_label(Role::Button, "Forget choice PyTorch");
    harness.get_by_role_and_label(Role::Button, "Choose program PyTorch");
    harness.get_by_role_and_label(Role::Button, "Open folder llama.cpp");
    assert!(harness.query_by_role_and_label(Role::Button, "Remove PyTorch").is_none(), "Roofline didn't install it");
    harness.get_by_role_and_label(Role::Button, "Remove llama.cpp").click();
    harness.run();
    harness.get_by_label("Remove llama.cpp, with its downloads? That frees 31.00 MB");
    harness.get_by_role_and_label(Role::Button, "Leave it").click();
    harness.run();
    assert_eq!(harness.state().state().engine_work, None);
}

#[test]
fn an_installation_shows_its_plan_first_and_nothing_is_measured_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(TALL, folder.path());
    set_engine_list(harness.state_mut(), Some((EngineId::Mlx, EngineStage::Planned(PLAN.to_owned()))));
    harness.run();
    harness.get_by_label_contains("110.0 MB to download, 352.0 MB on the disk");
    harness.get_by_role_and_label(Role::Button, "Install MLX now");
    let progress = InstallProgress {
        what: "installing packages: Downloading mlx".to_owned(),
        done: 40_000_000,
        total: 110_000_000,
        unit: ProgressUnit::Bytes,
    };
    set_engine_list(harness.state_mut(), Some((EngineId::Mlx, EngineStage::Installing(Some(progress)))));
    harness.run();
    harness.get_by_label("Installing packages: Downloading mlx · 40.00 MB of about 110.0 MB");
    assert!(harness.get_by_role_and_label(Role::Button, "Install PyTorch").accesskit_node().is_disabled());
    harness.get_by_role_and_label(Role::Button, "Cancel installation").click();
    harness.run();
    assert_eq!(harness.state().performed(), Some(&Action::CancelInstall));
    harness.get_by_role_and_label(Role::Button, "Run").click();
    harness.run();
    assert!(harness.get_by_role_and_label(Role::Button, "Run suite").accesskit_node().is_disabled());
    let failed = "the installation needs 5.600 GB, and 1.000 GB are free on the disk".to_owned();
    set_engine_list(harness.state_mut(), Some((EngineId::Mlx, EngineStage::Failed(failed))));
    harness.run();
    harness.get_by_label("The installation needs 5.600 GB, and 1.000 GB are free on the disk");
    harness.get_by_role_and_label(Role::Button, "Close what is told of MLX").click();
    harness.run();
    assert_eq!(harness.state().state().engine_work, None);
}

#[test]
fn engines_are_really_looked_for_planned_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = ready(TALL, folder.path());
    let data = folder.path().to_owned();
    // An environment without a PATH: there is no Python to find, whatever machine this is.
    harness.state_mut().set_surroundings(Surroundings { environment: Vec::new(), data: Some(data.clone()) });
    settle(&mut harness);
    harness.state_mut().state_mut().choices.view = View::Engines;
    harness.run();
    let listed = harness.state().state().engines.clone().unwrap();
    assert_eq!(listed.iter().map(|one| one.engine).collect::<Vec<_>>(), EngineId::ALL[2..]);
    harness.get_by_role_and_label(Role::Button, "Check MLX").click();
    harness.step();
    settle(&mut harness);
    harness.run();
    harness.get_by_label_contains("nothing is chosen; the first that is found is used");
    // What is chosen is kept, and forgotten again.
    let mut settings = Settings::read(&Surroundings { environment: Vec::new(), data: Some(data) }).unwrap();
    settings.choose(EngineId::Mlx, Some(folder.path())).unwrap();
    harness.get_by_role_and_label(Role::Button, "Look for devices again").click();
    harness.step();
    settle(&mut harness);
    harness.run();
    harness.get_by_role_and_label(Role::Button, "Forget choice MLX").click();
    harness.step();
    settle(&mut harness);
    harness.step();
    settle(&mut harness);
    harness.run();
    assert!(harness.query_by_role_and_label(Role::Button, "Forget choice MLX").is_none());
}

/// A run file to open in a real window, and pictures, written into the folder that `ROOFLINE_PICTURES` names.
#[test]
#[ignore = "needs a graphics driver, and an eye"]
fn pictures_of_engines() {
    let Ok(pictures) = std::env::var("ROOFLINE_PICTURES") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = Store::at(folder.path()).save(&five_engines_run()).unwrap();
    std::fs::copy(file, format!("{pictures}/five-engines.json")).unwrap();
    type Scene = (&'static str, fn(&mut App));
    let scenes: [Scene; 4] = [
        ("engines-view", |app| {
            set_engine_list(app, Some((EngineId::Mlx, EngineStage::Planned(PLAN.to_owned()))));
        }),
        ("engines-idle", |app| set_engines(app)),
        ("engines", |app| set_five_engines(app, None)),
        ("engines-detail", |app| set_five_engines(app, Some(30))),
    ];
    for (name, scene) in scenes {
        for (theme, size, scale) in [
            (egui::Theme::Dark, [1280.0, 800.0], 1.0),
            (egui::Theme::Light, [1280.0, 2900.0], 1.0),
            (egui::Theme::Dark, [900.0, 600.0], 1.0),
            (egui::Theme::Light, [1280.0, 800.0], 2.0),
        ] {
            let mut harness = pictured((theme, size, scale), folder.path());
            scene(harness.state_mut());
            harness.run_steps(4);
            let file = format!("{pictures}/{name}-{theme:?}-{}x{}-{scale}x.png", size[0], size[1]);
            harness.render().unwrap().save(file).unwrap();
        }
    }
}
