//! Charts as files: every chart of every kind of run in both formats and themes, what is written inside, names that are
//! markup, figures that are none, and the command line.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Output,
};

use roofline::{
    analysis::comparison::{Compared, Options},
    chart::{self, Body, Chart, Figure},
    engine::EngineId,
    export::{self, Look, PictureFormat, PictureTheme, STAMP, Stamp},
    measure::Measurement,
    record::{MarkKind, Metric, Run, reference},
    units::Unit,
    workload::{Dtype, MemoryOp, Workload, WorkloadKind},
};

use crate::{sample, scenes};

fn drawn(figure: &Figure, format: PictureFormat, look: &Look) -> Vec<u8> {
    export::picture(figure, format, look, &["apple-m5".to_owned()], &[]).unwrap()
}

fn svg(figure: &Figure) -> String {
    String::from_utf8(drawn(figure, PictureFormat::Svg, &Look::default())).unwrap()
}

/// The texts of a PNG file, and its size in dots.
fn read_png(bytes: &[u8]) -> (BTreeMap<String, String>, [u32; 2]) {
    let reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let info = reader.info();
    let texts = info.utf8_text.iter().map(|text| (text.keyword.clone(), text.get_text().unwrap())).collect();
    (texts, [info.width, info.height])
}

/// Words of an SVG file as a person reads them.
fn words(svg: &str) -> String {
    svg.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}

fn stamp_of(svg: &str) -> Stamp {
    let open = format!("<metadata id=\"{STAMP}\">");
    let (_, rest) = svg.split_once(&open).unwrap();
    serde_json::from_str(&words(rest.split_once("</metadata>").unwrap().0)).unwrap()
}

/// Six engines with long names, each doing everything.
fn crowded() -> Run {
    let mut run = scenes::finished_run();
    let all: Vec<EngineId> = EngineId::ALL.into_iter().chain(["engine.of-another-kind".parse().unwrap()]).collect();
    let template = scenes::model_run();
    run.entries.extend(template.entries);
    run.entries.retain(|entry| entry.headline().is_some());
    let one = run.entries.clone();
    run.entries = all
        .iter()
        .enumerate()
        .flat_map(|(place, engine)| {
            one.iter().cloned().map(move |mut entry| {
                entry.engine = *engine;
                "metal:0".clone_into(&mut entry.device);
                for measurement in &mut entry.measurements {
                    measurement.summary.median *= 1.0 + place as f64 * 0.31;
                }
                match &mut entry.workload {
                    Workload::Inference(one) => {
                        one.model.name = format!("{} of a very long name {place}", one.model.name);
                    }
                    Workload::Training(one) => {
                        one.model.name = format!("{} of a very long name {place}", one.model.name);
                    }
                    _ => {}
                }
                entry
            })
        })
        .collect();
    let gaps: Vec<f64> = (0..200).map(|gap| 0.01 + 1e-5 * f64::from(gap)).collect();
    for entry in &mut run.entries {
        if matches!(&entry.workload, Workload::Inference(_)) {
            entry.measurements.extend(roofline::measure::token_percentiles(gaps.clone(), 2.0));
        }
    }
    run
}

#[test]
fn every_chart_is_drawn_in_both_formats_and_themes() {
    let mut names = BTreeSet::new();
    for run in [reference().unwrap(), sample::run("a", 0), scenes::finished_run(), scenes::model_run(), crowded()] {
        let figures = chart::figures(&run);
        assert!(!figures.is_empty(), "{}", run.id);
        for figure in figures {
            names.insert(figure.name);
            for theme in [PictureTheme::Light, PictureTheme::Dark] {
                let look = Look { theme, ..Look::default() };
                let text = String::from_utf8(drawn(&figure, PictureFormat::Svg, &look)).unwrap();
                let ground = if theme == PictureTheme::Light { "#FFFFFF" } else { "#17191D" };
                assert!(text.contains(&format!("fill=\"{ground}\"")), "{} {theme:?}", figure.name);
                assert!(!text.contains("NaN") && !text.contains("inf\""), "{}", figure.name);
                let (_, [width, height]) = read_png(&drawn(&figure, PictureFormat::Png, &look));
                assert!(width == 960 && (100..3000).contains(&height), "{} {width} {height}", figure.name);
            }
        }
    }
    let missing: Vec<Chart> = Chart::ALL.into_iter().filter(|chart| !names.contains(chart.id())).collect();
    // Attention and a second device are in none of these runs, and two charts are of several.
    assert_eq!(missing, [Chart::Attention, Chart::RooflineProcessor, Chart::Compare, Chart::Trend]);
}

#[test]
fn a_metric_over_time_stands_around_its_values_by_date() {
    let metric = Metric {
        id: 1,
        kind: WorkloadKind::Gemm,
        title: "GEMM f32".into(),
        parameters: "n = 4096".into(),
        engine: EngineId::Candle,
        device: "Apple M5".into(),
        unit: Unit::FlopPerSecond,
        figures: 3,
    };
    let figure = |day: i64, median: f64, marks: &[MarkKind]| roofline::record::Figure {
        path: format!("/runs/{day}.json").into(),
        at: jiff::Timestamp::from_second(1_700_000_000 + day * 86_400).unwrap(),
        median,
        interval: Some((median * 0.99, median * 1.01)),
        marks: marks.to_vec(),
    };
    let all = [figure(0, 10.0e12, &[]), figure(20, 10.5e12, &[MarkKind::Throttled]), figure(40, 10.2e12, &[])];
    let text = words(&svg(&chart::trend_figure(&metric, &all).unwrap()));
    for part in
        ["GEMM f32 over time", "n = 4096 · candle · Apple M5 · 3 figures · 1 in doubt", ">TFLOPS<", " 2023<", ">10.4<"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(">0<") && !text.contains(":00<"), "neither from zero nor by the hour: {text}");
    let near = [figure(0, 10.0e12, &[]), figure(1, 10.5e12, &[])];
    assert!(svg(&chart::trend_figure(&metric, &near).unwrap()).contains(" Nov "), "the hours of two days");
    assert_eq!(chart::trend_figure(&metric, &[]), None);
}

#[test]
fn a_picture_says_where_it_comes_from() {
    let figure = Chart::Gemm.figure(&reference().unwrap()).unwrap();
    let text = svg(&figure);
    let stamp = stamp_of(&text);
    assert_eq!((stamp.chart.as_str(), &stamp.runs[..]), ("gemm", &["apple-m5".to_owned()][..]));
    assert_eq!(stamp.machines, ["Apple M5, 24 GiB"]);
    assert_eq!(stamp.software, format!("Roofline {}", env!("CARGO_PKG_VERSION")));
    assert_eq!(
        stamp.command.as_deref(),
        Some("roofline chart apple-m5 gemm --format svg --theme light --output gemm.svg")
    );
    assert!(text.contains("Apple M5, 24 GiB · 2026-01-22 · published figures"), "the caption");
    let look = Look { theme: PictureTheme::Dark, width: 700, height: Some(500), scale: 3 };
    let (texts, size) = read_png(&drawn(&figure, PictureFormat::Png, &look));
    assert_eq!(size, [2100, 1500]);
    let inside: Stamp = serde_json::from_str(&texts[STAMP]).unwrap();
    assert_eq!(inside.runs, stamp.runs);
    assert!(texts["Software"].starts_with("Roofline ") && texts["Source"] == "Apple M5, 24 GiB");
    assert!(texts["Description"].contains("run apple-m5"));
    let command = "roofline chart apple-m5 gemm --format png --scale 3 --theme dark --size 700x500 --output gemm.png";
    assert_eq!(texts["Comment"], command);
}

#[test]
fn the_command_inside_a_picture_makes_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let figure = Chart::Decode.figure(&reference().unwrap()).unwrap();
    let first = drawn(&figure, PictureFormat::Svg, &Look::default());
    let command = stamp_of(std::str::from_utf8(&first).unwrap()).command.unwrap();
    let arguments: Vec<&str> = command.split(' ').skip(1).collect();
    let done = roofline(folder.path(), &arguments);
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(std::fs::read(folder.path().join("decode.svg")).unwrap(), first);
}

#[test]
fn the_chart_of_the_reference_has_the_document_s_figures() {
    let text = words(&svg(&Chart::Decode.figure(&reference().unwrap()).unwrap()));
    for figure in ["26.50 t/s", "24.00 t/s", "7.700 t/s", "llama.cpp", "MLX", "PyTorch"] {
        assert!(text.contains(&format!(">{figure}<")), "{figure}: {text}");
    }
    let Body::Plot(plot) = Chart::GemmHalves.figure(&reference().unwrap()).unwrap().body else { panic!("no plot") };
    let torch = plot.traces.iter().find(|trace| trace.label == "PyTorch f16").unwrap();
    assert_eq!(torch.points.last(), Some(&[4096.0, 13.84e12]));
}

#[test]
fn markup_in_names_is_drawn_as_text() {
    const MARKUP: &str = "</text><script>alert('x')</script>\n\u{0}\u{202E}& \"e\" ]]> <!--";
    let mut run = crowded();
    MARKUP.clone_into(&mut run.id);
    MARKUP.clone_into(&mut run.machine.chip);
    MARKUP.clone_into(&mut run.app.version);
    for device in &mut run.devices {
        MARKUP.clone_into(&mut device.name);
    }
    for entry in &mut run.entries {
        match &mut entry.workload {
            Workload::Inference(inference) => MARKUP.clone_into(&mut inference.model.name),
            Workload::Training(training) => MARKUP.clone_into(&mut training.model.name),
            _ => {}
        }
    }
    for figure in chart::figures(&run) {
        let bytes = export::picture(&figure, PictureFormat::Svg, &Look::default(), &[run.id.clone()], &[]).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.contains("<script") && !text.contains("<!--") && !text.contains('\u{0}'), "{}", figure.name);
        assert!(!text.contains('\u{202E}'), "{}", figure.name);
        let stamp = stamp_of(&text);
        assert_eq!(stamp.command, None, "no one can type this run's name");
        assert!(stamp.runs[0].contains("<script>alert('x')</script>"), "and it is kept as it is: {stamp:?}");
        let (texts, _) = read_png(&drawn(&figure, PictureFormat::Png, &Look::default()));
        assert!(!texts["Source"].contains(['\n', '\u{0}']));
    }
}

#[test]
fn figures_that_are_none_are_not_drawn() {
    for value in [f64::NAN, f64::INFINITY, -5.0, 0.0, 1e308, f64::MIN_POSITIVE] {
        let mut run = crowded();
        for measurement in run.entries.iter_mut().flat_map(|entry| &mut entry.measurements) {
            measurement.summary.median = value;
            measurement.summary.interval = None;
            for sample in &mut measurement.samples {
                sample.value = value;
            }
        }
        for figure in chart::figures(&run) {
            let text = svg(&figure);
            assert!(!text.contains("NaN") && !text.contains("\"inf"), "{value} {}", figure.name);
            drawn(&figure, PictureFormat::Png, &Look::default());
        }
    }
}

#[test]
fn every_size_shows_everything() {
    let figures = chart::figures(&crowded());
    for (width, height) in [(160, 160), (4000, 160), (160, 4000), (480, 320)] {
        let look = Look { width, height: Some(height), ..Look::default() };
        for figure in &figures {
            let text = String::from_utf8(drawn(figure, PictureFormat::Svg, &look)).unwrap();
            assert!(text.contains(&format!("width=\"{width}\" height=\"{height}\"")), "{}", figure.name);
            let box_of = text.split_once("viewBox=\"0 0 ").unwrap().1.split_once('"').unwrap().0;
            let sides: Vec<f64> = box_of.split(' ').map(|side| side.parse().unwrap()).collect();
            let lowest = text
                .split("<text ")
                .skip(1)
                .filter_map(|element| element.split_once(" y=\"")?.1.split_once('"')?.0.parse::<f64>().ok())
                .fold(0.0, f64::max);
            assert!(lowest <= sides[1], "{} {width}x{height}: {lowest} of {}", figure.name, sides[1]);
        }
    }
}

#[test]
fn a_thousand_entries_of_each_kind_are_drawn() {
    let mut run = scenes::finished_run();
    let one = run.entries[0].clone();
    run.entries = (0..3000_u32)
        .map(|place| {
            let mut entry = one.clone();
            entry.workload = if place % 2 == 0 {
                scenes::gemm(place + 1, Dtype::F16)
            } else {
                scenes::bandwidth(MemoryOp::ALL[place as usize / 2 % 4])
            };
            entry.measurements[0] =
                Measurement::single("throughput", entry.workload.unit(), f64::from(place) * 1e9 + 1.0, 0.1).unwrap();
            entry
        })
        .collect();
    for figure in chart::figures(&run) {
        assert!(svg(&figure).len() < 2_000_000, "{}", figure.name);
    }
}

#[test]
fn two_runs_are_compared_in_one_chart() {
    let before = scenes::finished_run();
    let mut after = before.clone();
    "later".clone_into(&mut after.id);
    for measurement in after.entries.iter_mut().flat_map(|entry| &mut entry.measurements) {
        for sample in &mut measurement.samples {
            sample.value *= 1.25;
        }
        let values: Vec<f64> = measurement.samples.iter().map(|sample| sample.value).collect();
        measurement.summary = roofline::stats::Summary::of(&values).unwrap();
    }
    let figure = chart::compare_figure(&[&before, &after], Options::default()).unwrap();
    let text = words(&svg(&figure));
    assert!(text.contains("125.0 %, faster") && text.contains("A = 100 %"), "{text}");
    assert_eq!(stamp_of(&svg(&figure)).runs, [before.id.clone(), "later".to_owned()]);
    assert!(text.contains("A: ") && text.contains("B: "), "the letters are explained");
    assert!(chart::compare_figure(&[&before], Options::default()).unwrap_err().to_string().contains("two to six runs"));
}

fn roofline(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_roofline"));
    command.args(arguments).current_dir(folder).env("ROOFLINE_DATA_DIR", folder).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_command_writes_where_it_is_told_and_never_over_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let chart = |arguments: &[&str]| roofline(folder.path(), &[&["chart", "apple-m5"], arguments].concat());
    assert!(chart(&["gemm", "--output", "a.png", "--scale", "2"]).status.success());
    let (_, [width, _]) = read_png(&std::fs::read(folder.path().join("a.png")).unwrap());
    assert_eq!(width, 1920, "the file's name says the format");
    std::fs::write(folder.path().join("a.png"), "mine").unwrap();
    let again = chart(&["gemm", "--output", "a.png"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("--force"), "{}", stderr(&again));
    assert_eq!(std::fs::read(folder.path().join("a.png")).unwrap(), b"mine");
    assert!(chart(&["gemm", "--output", "a.png", "--force"]).status.success());
    assert!(chart(&["all"]).status.success());
    assert!(folder.path().join("apple-m5-gemm.svg").is_file() && folder.path().join("apple-m5-roofline.svg").is_file());
    let printed = chart(&["decode", "--output", "-"]);
    assert!(printed.stdout.starts_with(b"<?xml"));
    let gone = chart(&["gemm", "--output", "gone/a.svg"]);
    assert!(stderr(&gone).contains("isn't there"), "{}", stderr(&gone));
    let several = chart(&["all", "--output", "one.svg"]);
    assert!(stderr(&several).contains("name a folder"), "{}", stderr(&several));
    let list = String::from_utf8(chart(&["list"]).stdout).unwrap();
    assert!(list.lines().any(|line| line.starts_with("bandwidth ")), "{list}");
}

#[test]
fn wrong_names_and_sizes_are_refused_with_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, code, hint) in [
        (&["apple-m5", "nonsense"][..], 2, "it has gemm, "),
        (&["apple-m5", "gemm", "--output", "pic.pdf"], 2, "ends in .pdf; end it in .svg"),
        (&["apple-m5", "gemm", "--output", "pic.svg", "--format", "png"], 2, "ends in .svg; end it in .png"),
        (&["apple-m5", "gemm", "--engines"], 2, "for the chart compare alone"),
        (&["apple-m5", "roofline-cpu"], 1, "the chart roofline shows the main one"),
        (&["apple-m5", "apple-m5", "compare", "--engines"], 2, "of one run; name one"),
        (&["apple-m5", "attention"], 1, "attention gave no figure"),
        (&["apple-m5", "compare"], 1, "two to six runs"),
        (&["apple-m5"], 2, "a run and a chart are needed"),
        (&["nothing", "gemm"], 2, "no run is called \"nothing\""),
        (&["apple-m5", "gemm", "--size", "0x0"], 2, "160 to 4000"),
        (&["apple-m5", "gemm", "--size", "1e9x1e9"], 2, "160 to 4000"),
        (&["apple-m5", "gemm", "--size", "NaNxNaN"], 2, "160 to 4000"),
        (&["apple-m5", "gemm", "--size", "1000000000x5"], 2, "160 to 4000"),
        (&["apple-m5", "gemm", "--size", "-5x300"], 2, "160 to 4000"),
        (&["apple-m5", "gemm", "--size", "640"], 2, "WIDTHxHEIGHT"),
        (&["apple-m5", "gemm", "--size", "4000x4000", "--scale", "3", "--format", "png"], 2, "too large"),
        (&["apple-m5", "gemm", "--scale", "0"], 2, "choose from 1 to 3"),
        (&["apple-m5", "gemm", "--scale", "NaN"], 2, "choose from 1 to 3"),
        (&["apple-m5", "gemm", "--scale", "1000000000"], 2, "choose from 1 to 3"),
        (&["apple-m5", "gemm", "--theme", "pink"], 2, "light, dark"),
        (&["apple-m5", "gemm", "--format", "gif"], 2, "svg, png"),
    ] {
        let output = roofline(folder.path(), &[&["chart"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(hint), "{arguments:?}: {}", stderr(&output));
    }
    let is_picture = |path: &Path| path.extension().is_some_and(|end| end == "svg" || end == "png");
    let written = std::fs::read_dir(folder.path()).unwrap().filter(|file| is_picture(&file.as_ref().unwrap().path()));
    assert_eq!(written.count(), 0, "nothing was written");
    let mut empty = sample::run("empty", 0);
    empty.entries.clear();
    empty.devices.clear();
    std::fs::write(folder.path().join("empty.json"), serde_json::to_string(&empty).unwrap()).unwrap();
    let output = roofline(folder.path(), &["chart", "empty.json", "all"]);
    assert!(stderr(&output).contains("nothing in this run can be drawn"), "{}", stderr(&output));
}

#[test]
fn pictures_of_the_same_name_are_numbered_and_none_is_written_where_one_may_not_be() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = reference().unwrap();
    let long = "x".repeat(80);
    for (file, id) in [("a", "same"), ("b", "same"), ("c", &*format!("{long}1")), ("d", &*format!("{long}2"))] {
        id.clone_into(&mut run.id);
        std::fs::write(folder.path().join(format!("{file}.json")), serde_json::to_string(&run).unwrap()).unwrap();
    }
    let all = ["a.json", "b.json", "c.json", "d.json"];
    let chart = |more: &[&str]| roofline(folder.path(), &[&["chart"], &all[..], more].concat());
    let pictures = || {
        let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name());
        let names: BTreeSet<String> = files.map(|name| name.into_string().unwrap()).collect();
        names.into_iter().filter(|name| name.contains(".svg")).collect::<Vec<_>>()
    };
    let done = chart(&["gemm,gemm"]);
    assert!(done.status.success(), "{}", stderr(&done));
    let cut = &long[..64];
    let wanted = [&format!("{cut}-gemm-2.svg"), &format!("{cut}-gemm.svg"), "same-gemm-2.svg", "same-gemm.svg"];
    let mut wanted = wanted.map(|name: &str| name.to_owned());
    wanted.sort();
    assert_eq!(pictures(), wanted);
    for name in &wanted[..3] {
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    let refused = chart(&["gemm"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(pictures(), wanted[3..], "nothing is written before all may be");
}

#[test]
fn a_comparison_says_whose_figures_and_where() {
    let base = crate::engine_scenes::five_engines_run();
    let mut later = base.clone();
    "later".clone_into(&mut later.id);
    let figure = chart::compare_figure(&[&base, &later], Options::default()).unwrap();
    let Body::Bars(bars) = &figure.body else { panic!("no bars") };
    let titles: BTreeSet<&str> = bars.groups.iter().map(|group| group.title.as_str()).collect();
    assert_eq!(titles.len(), bars.groups.len(), "{titles:?}");
    assert!(titles.iter().any(|title| title.contains("PyTorch")), "{titles:?}");
    let all = [&base, &later];
    let compared = Compared::of_runs(&all, 0, Options::default()).unwrap();
    let notes = export::comparison_markdown(&all, &compared);
    let notes = notes.split_once("## Notes").unwrap().1;
    assert!(notes.contains("B, GEMM f16 n = 512, candle: missing"), "{notes}");
}

#[test]
fn an_engine_is_called_faster_where_its_bar_is_longer() {
    let run = crate::engine_scenes::five_engines_run();
    let mut found = 0;
    for lead in run.entries.iter().map(|entry| entry.engine).collect::<BTreeSet<_>>() {
        let Ok(compared) = Compared::of_engines(&run, Some(lead), Options::default()) else { continue };
        let bars = chart::RelativeBars::of(&compared, 0..compared.rows.len());
        for bar in bars.groups.iter().flat_map(|group| group.bars.iter().flatten()) {
            match bar.standing {
                chart::Standing::Faster => assert!(bar.value > 1.0, "{bar:?}"),
                chart::Standing::Slower => assert!(bar.value < 1.0, "{bar:?}"),
                _ => continue,
            }
            found += 1;
        }
    }
    assert!(found > 2, "some are decided");
}

#[test]
fn the_engines_of_a_run_are_compared_and_its_command_does_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["chart", "apple-m5", "compare", "--engines", "--baseline", "mlx", "--all-metrics"];
    let first = roofline(folder.path(), &[&arguments[..], &["--output", "one.svg"]].concat());
    assert!(first.status.success(), "{}", stderr(&first));
    let text = std::fs::read_to_string(folder.path().join("one.svg")).unwrap();
    assert!(text.contains("Engines compared") && text.contains("MLX = 100 %"), "{text}");
    let command = stamp_of(&text).command.unwrap();
    assert!(command.contains("compare --engines --baseline mlx --all-metrics --format svg"), "{command}");
    let again: Vec<&str> = command.split(' ').skip(1).collect();
    assert!(roofline(folder.path(), &again).status.success());
    assert_eq!(std::fs::read_to_string(folder.path().join("compare.svg")).unwrap(), text);
}

#[test]
fn the_command_names_the_run_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let (data, here) = (folder.path().join("data"), folder.path().join("here"));
    std::fs::create_dir_all(&here).unwrap();
    let mut run = reference().unwrap();
    "20260101-120000-aaaa".clone_into(&mut run.id);
    roofline::record::Store::at(&data).save(&run).unwrap();
    let command = |name: &str, flags: &[&str]| {
        let arguments = [&["chart", name, "gemm", "--output", "-"], flags].concat();
        let output = roofline(&data, &arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        stamp_of(std::str::from_utf8(&output.stdout).unwrap()).command.unwrap()
    };
    assert!(roofline(&data, &["runs", "pin", "20260101-120000-aaaa"]).status.success());
    for name in ["baseline", "20260101-12", "20260101-120000-aaaa"] {
        assert!(command(name, &[]).starts_with("roofline chart 20260101-120000-aaaa gemm --format"), "{name}");
    }
    let folder_flag = data.to_str().unwrap();
    let with = command("baseline", &["--data-dir", folder_flag]);
    assert!(with.contains(&format!(" gemm --data-dir {folder_flag} --format svg")), "{with}");
    let again: Vec<&str> = with.split(' ').skip(1).collect();
    assert!(roofline(&here, &again).status.success());
}

#[test]
fn losses_of_two_batches_have_names_of_their_own() {
    let mut run = scenes::model_run();
    let trained = |entry: &&roofline::record::Entry| matches!(entry.workload, Workload::Training(_));
    let one = run.entries.iter().find(trained).unwrap().clone();
    let mut other = one.clone();
    if let Workload::Training(training) = &mut other.workload {
        training.batch += 3;
    }
    run.entries = vec![one.clone(), other, one];
    let Body::Plot(plot) = Chart::Loss.figure(&run).unwrap().body else { panic!("no plot") };
    let names: BTreeSet<&str> = plot.traces.iter().map(|trace| trace.label.as_str()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn units_are_stated_and_the_rates_begin_at_zero() {
    for (chart, heading) in [(Chart::Gemm, ">Rate, TFLOPS<"), (Chart::BandwidthSweep, ">Bandwidth, GB/s<")] {
        let text = svg(&chart.figure(&scenes::finished_run()).unwrap());
        assert!(text.contains(heading) && text.contains(">0</text>"), "{chart}: {text}");
    }
    let bars = svg(&Chart::Bandwidth.figure(&scenes::finished_run()).unwrap());
    assert!(bars.contains(" GB/s</text>"));
    assert_eq!(Unit::BytePerSecond.scale_for(1e9).name, "GB/s");
}

/// Draws charts to look at: `cargo test --test it charts::pictures -- --ignored`.
#[test]
#[ignore = "writes pictures to look at"]
fn pictures() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("charts");
    let runs = [
        ("m5", reference().unwrap()),
        ("six", crowded()),
        ("five", crate::engine_scenes::five_engines_run()),
        ("models", scenes::model_run()),
        ("wgpu", scenes::finished_run()),
    ];
    std::fs::create_dir_all(&folder).unwrap();
    for (name, run) in &runs {
        for figure in chart::figures(run) {
            for (theme, scale) in [(PictureTheme::Light, 1), (PictureTheme::Dark, 2)] {
                let look = Look { theme, scale, ..Look::default() };
                let path = folder.join(format!("{name}-{}-{}.png", figure.name, theme.id()));
                std::fs::write(path, drawn(&figure, PictureFormat::Png, &look)).unwrap();
            }
        }
        let page = export::report(std::slice::from_ref(run), &[], export::ReportFormat::Html).unwrap();
        std::fs::write(folder.join(format!("{name}.html")), page).unwrap();
    }
    let mut later = scenes::finished_run();
    later.entries.iter_mut().flat_map(|entry| &mut entry.measurements).for_each(|one| one.summary.median *= 1.3);
    let figure = chart::compare_figure(&[&scenes::finished_run(), &later], Options::default()).unwrap();
    std::fs::write(folder.join("compare.png"), drawn(&figure, PictureFormat::Png, &Look::default())).unwrap();
}
