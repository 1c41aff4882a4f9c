//! What keeps the repository in its shape, as `ARCHITECTURE.md` describes it. Each rule is a function from texts to the
//! places that break it, and is shown a bad example too.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A text file of the repository.
struct Source {
    /// Its path from the root, with forward slashes.
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The same with comments blanked out, so that only what is compiled is looked at. Places stay where they are.
    fn without_comments(&self) -> String {
        let code = |line: &str| line.find("//").map_or_else(|| line.to_owned(), |start| line[..start].to_owned());
        self.text.lines().map(code).collect::<Vec<_>>().join("\n")
    }

    /// The room under src/, as "engine" for src/engine/wgpu/mod.rs and "units" for src/units.rs.
    fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let room = inside.split('/').next()?;
        Some(room.strip_suffix(".rs").unwrap_or(room)).filter(|room| !matches!(*room, "main" | "lib"))
    }

    /// "src/units.rs:12".
    fn place(&self, offset: usize, text: &str) -> String {
        format!("{}:{}", self.path, text[..offset].matches('\n').count() + 1)
    }
}

/// Every text file of the repository: the folders and files at its top that belong to it.
fn repository() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.is_file() && path.file_name().is_none_or(|name| name != "Cargo.lock" && name != ".git"));
    for folder in ["src", "tests", "shaders", "assets", "docs", "scripts", ".ci"] {
        walk(&root.join(folder), &mut paths);
    }
    paths.sort();
    let source = |path: &PathBuf| {
        let name = path.strip_prefix(root).ok()?.to_string_lossy().replace('\\', "/");
        Some(Source { path: name, text: fs::read_to_string(path).ok()? })
    };
    paths.iter().filter_map(source).collect()
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    for file in fs::read_dir(folder).into_iter().flatten() {
        let path = file.unwrap().path();
        if path.is_dir() { walk(&path, paths) } else { paths.push(path) }
    }
}

/// The Rust files of the program itself.
fn program() -> Vec<Source> {
    let mut sources = repository();
    sources.retain(|source| source.path.starts_with("src/"));
    assert!(sources.len() > 20, "the sources were not found");
    sources
}

/// Fails with every place that breaks the rule.
#[track_caller]
fn assert_none(rule: &str, places: &[String]) {
    assert!(places.is_empty(), "{rule}:\n  {}", places.join("\n  "));
}

/// Each room and the rooms it may use. What isn't listed is forbidden.
const ARROWS: [(&str, &[&str]); 15] = [
    ("units", &[]),
    ("stats", &[]),
    ("workload", &["units"]),
    ("machine", &[]),
    ("measure", &["stats", "units"]),
    ("model", &["workload", "units"]),
    ("engine", &["machine", "measure", "model", "workload", "units", "stats"]),
    ("provision", &["engine", "machine", "measure", "units"]),
    ("record", &["engine", "machine", "measure", "workload", "units", "stats"]),
    ("analysis", &["record", "machine", "measure", "model", "workload", "engine", "units", "stats"]),
    ("chart", &["analysis", "record", "engine", "machine", "measure", "workload", "units", "stats"]),
    ("export", &["analysis", "chart", "record", "engine", "machine", "measure", "workload", "units", "stats"]),
    ("run", &["engine", "machine", "measure", "model", "record", "workload", "analysis", "units", "stats"]),
    (
        "cli",
        &[
            "analysis",
            "chart",
            "engine",
            "export",
            "machine",
            "measure",
            "model",
            "provision",
            "record",
            "run",
            "stats",
            "units",
            "workload",
        ],
    ),
    (
        "ui",
        &[
            "analysis",
            "chart",
            "engine",
            "export",
            "machine",
            "measure",
            "model",
            "provision",
            "record",
            "run",
            "stats",
            "units",
            "workload",
        ],
    ),
];

/// Dependencies that belong to one part of the program.
const OWNERS: [(&str, &[&str]); 19] = [
    ("egui", &["src/ui/", "src/main.rs"]),
    ("eframe", &["src/ui/", "src/main.rs"]),
    ("egui_plot", &["src/ui/"]),
    ("egui_extras", &["src/ui/"]),
    ("wgpu", &["src/engine/wgpu/", "src/ui/"]),
    ("tokio", &["src/run/"]),
    ("candle_core", &["src/model/", "src/engine/candle/"]),
    ("candle_nn", &["src/model/"]),
    ("tokenizers", &["src/model/"]),
    ("ureq", &["src/model/"]),
    ("clap", &["src/cli/", "src/main.rs"]),
    ("comfy_table", &["src/cli/"]),
    ("indicatif", &["src/cli/"]),
    ("minijinja", &["src/export/"]),
    ("csv", &["src/export/"]),
    ("krilla", &["src/export/"]),
    ("resvg", &["src/export/"]),
    ("skrifa", &["src/export/"]),
    ("png", &["src/export/"]),
];

#[test]
fn the_rooms_use_each_other_one_way_only() {
    assert_none("a room uses one it must not; see ARROWS in tests/it/tidy.rs", &wrong_arrows(&program()));
}

fn wrong_arrows(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources {
        let Some(room) = source.room() else { continue };
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: the room {room} has no row in ARROWS", source.path));
            continue;
        };
        let code = source.without_comments();
        for (offset, used) in crate_paths(&code) {
            let known = ARROWS.iter().any(|(name, _)| *name == used);
            if known && used != room && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}: {room} uses {used}", source.place(offset, &code)));
            }
        }
    }
    wrong
}

/// The first segment of every path that starts at the crate's root, those in braces included, with where it stands.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (start, matched) in code.match_indices("crate::") {
        if code[..start].ends_with(is_word) {
            continue;
        }
        let start = start + matched.len();
        if code[start..].starts_with('{') {
            found.extend(group_heads(code, start + 1));
        } else {
            found.push((start, word_at(code, start)));
        }
    }
    found
}

/// The first segments in the braces that open before `start`.
fn group_heads(code: &str, start: usize) -> Vec<(usize, String)> {
    let (mut depth, mut at_head, mut heads) = (0_usize, true, Vec::new());
    for (offset, c) in code[start..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_head = true,
            _ if at_head && is_word(c) => {
                heads.push((start + offset, word_at(code, start + offset)));
                at_head = false;
            }
            _ => {}
        }
    }
    heads
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn word_at(code: &str, start: usize) -> String {
    code[start..].chars().take_while(|c| is_word(*c)).collect()
}

#[test]
fn a_wrong_arrow_is_caught_in_every_form() {
    let caught = |path: &str, code: &str| wrong_arrows(&[Source::new(path, code)]);
    assert_eq!(
        caught("src/engine/wgpu/mod.rs", "\n\nuse crate::run::Runner;"),
        ["src/engine/wgpu/mod.rs:3: engine uses run"]
    );
    let nested = "use crate::{\n    measure::{Stop, ui},\n    record::{Run, Entry},\n    cli,\n};";
    assert_eq!(
        caught("src/engine/mod.rs", nested),
        ["src/engine/mod.rs:3: engine uses record", "src/engine/mod.rs:4: engine uses cli"]
    );
    assert_eq!(caught("src/units.rs", "fn f() { let x = crate::stats::Summary::of(&[]); }").len(), 1);
    assert_eq!(caught("src/attic/mod.rs", "").len(), 1, "an unknown room");
    assert_eq!(caught("src/units.rs", "// as crate::ui does\nuse $crate_paths::ui;"), Vec::<String>::new());
    assert_eq!(caught("src/ui/mod.rs", "use crate::{ui::theme, run::{Event, Runner}};"), Vec::<String>::new());
}

#[test]
fn each_dependency_stays_in_its_room() {
    assert_none("a dependency is used outside its room; see OWNERS in tests/it/tidy.rs", &strayed(&program()));
}

fn strayed(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources {
        let code = source.without_comments();
        let foreign = OWNERS.iter().filter(|(_, owners)| !owners.iter().any(|owner| source.path.starts_with(owner)));
        for (name, _) in foreign {
            // A module of the same name, as in src/engine/mod.rs, is not the dependency.
            if code.contains(&format!("mod {name};")) {
                continue;
            }
            let uses = code.match_indices(name).filter(|(start, _)| names_dependency(&code, *start, name));
            wrong.extend(uses.map(|(start, _)| format!("{}: {name}", source.place(start, &code))));
        }
    }
    wrong
}

/// Whether the word at `start` is the head of a path, or imported whole.
fn names_dependency(code: &str, start: usize, name: &str) -> bool {
    let (before, after) = (&code[..start], &code[start + name.len()..]);
    let head = !before.ends_with(|c: char| is_word(c) || matches!(c, ':' | '.' | '"' | '$')) || before.ends_with(" ::");
    let imported = before.ends_with("use ") && (after.starts_with(';') || after.starts_with(" as "));
    head && (after.starts_with("::") || imported)
}

#[test]
fn a_strayed_dependency_is_caught() {
    let caught = |path: &str, code: &str| strayed(&[Source::new(path, code)]);
    assert_eq!(caught("src/run/runner.rs", "\nuse egui::Context;"), ["src/run/runner.rs:2: egui"]);
    assert_eq!(caught("src/chart/mod.rs", "fn f(x: wgpu::Device) {}\nuse tokio as t;").len(), 2);
    assert_eq!(caught("src/ui/mod.rs", "use clap::Parser;").len(), 1);
    assert_eq!(caught("src/engine/mod.rs", "pub mod wgpu;\nfn f() { wgpu::WgpuEngine::new(None) }").len(), 0);
    assert_eq!(caught("src/run/mod.rs", "use crate::engine::wgpu::X; // egui::Ui\nlet s = \"wgpu\";").len(), 0);
    assert_eq!(caught("src/ui/mod.rs", "use eframe::{egui, wgpu}; use egui::Ui;").len(), 0);
}

#[test]
fn every_shader_is_used() {
    let sources = repository();
    assert!(sources.iter().any(|source| source.path.starts_with("shaders/")), "the shaders were not found");
    assert_none("a shader is named nowhere", &unused_shaders(&sources));
}

/// A shader is used if its file, its name in quotes, or the beginning of its name before a formatted part stands somewhere
/// in code other than its own.
fn unused_shaders(sources: &[Source]) -> Vec<String> {
    let belongs = |path: &str| path.starts_with("src/") || path.starts_with("shaders/") || path == "build.rs";
    let code: Vec<(&str, String)> = sources
        .iter()
        .filter(|source| belongs(&source.path))
        .map(|source| (source.path.as_str(), source.without_comments()))
        .collect();
    let named = |name: &str| {
        let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
        let mut forms = vec![name.to_owned(), format!("\"{stem}\"")];
        forms.extend(stem.rsplit_once('_').map(|(family, _)| format!("\"{family}_{{")));
        let mut others = code.iter().filter(|(path, _)| !path.ends_with(name));
        others.any(|(_, code)| forms.iter().any(|form| code.contains(form)))
    };
    let shaders = sources.iter().filter_map(|source| source.path.strip_prefix("shaders/"));
    shaders.filter(|name| !named(name)).map(|name| format!("shaders/{name}")).collect()
}

#[test]
fn an_unused_shader_is_caught() {
    let shader = |name: &str| Source::new(&format!("shaders/{name}"), "");
    let build = Source::new("build.rs", "const FILES: [&str; 1] = [\"fill.wgsl\"]; // old.wgsl");
    let code = Source::new("src/engine/wgpu/gemm.rs", "kernel(\"gemm\"); kernel(&format!(\"bandwidth_{op}\"))");
    let shaders = ["fill.wgsl", "gemm.wgsl", "bandwidth_read.wgsl", "old.wgsl"].map(shader);
    let sources: Vec<Source> = shaders.into_iter().chain([build, code]).collect();
    assert_eq!(unused_shaders(&sources), ["shaders/old.wgsl"]);
}

#[test]
fn colours_are_spelled_in_the_theme_only() {
    let mut sources = program();
    sources.retain(|source| source.path != "src/ui/theme.rs");
    assert_none("a colour is spelled outside ui/theme.rs", &found(&sources, &COLOURS));
}

const COLOURS: [&str; 9] = [
    "Color32::from_rgb",
    "Color32::from_gray",
    "Color32::from_rgba",
    "Color32::from_hex",
    "Color32::from_black",
    "Color32::from_white",
    "Color32::from_additive",
    "hex_color!",
    "Rgba::from_",
];

#[test]
fn the_environment_is_read_at_the_edge_only() {
    let mut sources = program();
    sources.retain(|source| source.path != "src/main.rs" && source.room() != Some("cli"));
    assert_none("an environment variable is read outside main.rs and cli", &found(&sources, &ENVIRONMENT));
}

const ENVIRONMENT: [&str; 3] = ["env::var", "env::args", "env::current_dir"];

/// Every place in code where one of these stands.
fn found(sources: &[Source], wanted: &[&str]) -> Vec<String> {
    let in_source = |source: &Source| {
        let code = source.without_comments();
        let places =
            |what: &&str| code.match_indices(*what).map(|(start, _)| source.place(start, &code)).collect::<Vec<_>>();
        wanted.iter().flat_map(places).collect::<Vec<_>>()
    };
    sources.iter().flat_map(in_source).collect()
}

#[test]
fn a_colour_and_an_environment_variable_are_caught() {
    let bad = [Source::new("src/ui/a.rs", "let x = 1;\nlet red = egui::Color32::from_rgb(1, 0, 0); // hex_color!")];
    assert_eq!(found(&bad, &COLOURS), ["src/ui/a.rs:2"]);
    let bad = [Source::new("src/run/a.rs", "let a = std::env::var_os(\"HOME\"); let b = std::env::consts::OS;")];
    assert_eq!(found(&bad, &ENVIRONMENT), ["src/run/a.rs:1"]);
}

#[test]
fn files_fit_a_sitting() {
    let mut sources = repository();
    sources.retain(|source| ["rs", "wgsl", "sh", "py"].iter().any(|end| source.path.rsplit('.').next() == Some(*end)));
    assert_none(&format!("a file is longer than {LINES_MAX} lines"), &long_files(&sources));
}

const LINES_MAX: usize = 600;

fn long_files(sources: &[Source]) -> Vec<String> {
    let lengths = sources.iter().map(|source| (source, source.text.lines().count()));
    lengths.filter(|(_, lines)| *lines > LINES_MAX).map(|(source, lines)| format!("{}:{lines}", source.path)).collect()
}

#[test]
fn nothing_is_left_undone_and_no_other_place_is_named() {
    assert_none("a mark of unfinished work, or a path of some other machine", &leftovers(&repository()));
}

/// Words that mark unfinished work, and paths that exist on one machine only. They are put together here, so that this file
/// does not hold them.
fn leftovers(sources: &[Source]) -> Vec<String> {
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|halves| halves.concat());
    let places = [["/wo", "rk/"], ["../sha", "red"], ["/ro", "ot/"]].map(|halves| halves.concat());
    let mut wrong = Vec::new();
    for source in sources {
        for (number, line) in source.text.lines().enumerate() {
            let mut words = line.split(|c: char| !is_word(c));
            if words.any(|word| marks.iter().any(|mark| mark == word)) || places.iter().any(|path| line.contains(path))
            {
                wrong.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    wrong
}

#[test]
fn a_long_file_and_a_leftover_are_caught() {
    let long = Source::new("src/a.rs", &"\n".repeat(LINES_MAX + 1));
    assert_eq!(long_files(&[long, Source::new("src/b.rs", "")]), ["src/a.rs:601"]);
    let mark = ["// TO", "DO(me): later"].concat();
    let path = ["see /wo", "rk/main"].concat();
    assert_eq!(leftovers(&[Source::new("a.md", &format!("fine\n{mark}\n{path}"))]), ["a.md:2", "a.md:3"]);
}

#[test]
fn every_source_says_what_it_is_for() {
    let silent = |source: &&Source| !source.text.starts_with("//!");
    assert_none(
        "a file doesn't begin with what it is for",
        &program().iter().filter(silent).map(|source| source.path.clone()).collect::<Vec<_>>(),
    );
}
