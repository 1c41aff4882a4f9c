//! The folder of raw results: six files of JSON, as those beside the document that Roofline began with.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::names::{safe_name, snake_name};
use crate::{
    analysis::frameworks::{Comparison, Figure, ModelColumn, Versus},
    record::{Entry, FILE_BYTES_MAX, Run},
    workload::WorkloadKind,
};

/// One file of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFile {
    /// Its name.
    pub name: String,
    /// What is in it, in a few words.
    pub holds: &'static str,
    /// Its content.
    pub content: Value,
}

/// Where the files of a run go: `results/raw/M5` for an Apple M5.
pub fn raw_folder(run: &Run) -> PathBuf {
    let chip = run.machine.chip.strip_prefix("Apple ").unwrap_or(&run.machine.chip);
    PathBuf::from("results/raw").join(safe_name(chip))
}

/// The files that a run has something for.
pub fn raw(run: &Run) -> Vec<RawFile> {
    let comparison = Comparison::of(run);
    let mut files = vec![RawFile {
        name: "system_info.json".into(),
        holds: "Machine, devices and conditions",
        content: json!({
            "run": run.id, "started_at": run.started_at, "app": run.app, "machine": run.machine,
            "conditions": run.conditions, "devices": run.devices, "notes": run.notes,
        }),
    }];
    let mut add = |name: String, holds: &'static str, content: Value| {
        // Engines of another machine's file may have names that become the same.
        let taken = |name: &str| files.iter().any(|file| file.name == name);
        let free = (2..).map(|number| name.replacen(".json", &format!("_{number}.json"), 1));
        let name = if taken(&name) { free.into_iter().find(|name| !taken(name)).unwrap_or(name) } else { name };
        files.push(RawFile { name, holds, content });
    };
    for (index, column) in comparison.columns.iter().enumerate() {
        let own = |entry: &&Entry| entry.engine == column.engine && entry.device == column.device;
        let of = |kinds: &[WorkloadKind]| -> Vec<&Entry> {
            run.entries.iter().filter(own).filter(|entry| kinds.contains(&entry.workload.kind())).collect()
        };
        let start = place(run, &comparison, index);
        let kernels = of(&[WorkloadKind::Gemm, WorkloadKind::Attention]);
        if !kernels.is_empty() {
            add(format!("{start}_benchmarks.json"), "GEMM and attention", entries(run, &kernels));
        }
        let training = of(&[WorkloadKind::Training]);
        let model = training.iter().find_map(|entry| entry.workload.model());
        if let Some(model) = model.filter(|_| training.iter().any(|entry| entry.headline().is_some())) {
            add(format!("{start}_{}_finetune.json", family(&model.name)), "Training", entries(run, &training));
        }
    }
    for versus in &comparison.versus {
        let name = |column: usize| comparison.columns.get(column).map_or("", |column| column.engine.id());
        let names = [versus.baseline, versus.other].map(|column| snake_name(name(column)));
        add(
            format!("{}_detailed.json", names.join("_vs_")),
            "Two frameworks side by side",
            ratios(run, &comparison, versus),
        );
    }
    let kinds = [WorkloadKind::Bandwidth, WorkloadKind::BandwidthSweep, WorkloadKind::TensorLimit];
    let memory: Vec<&Entry> = run.entries.iter().filter(|entry| kinds.contains(&entry.workload.kind())).collect();
    if !memory.is_empty() {
        add("memory_benchmarks.json".into(), "Bandwidth and the largest tensor", entries(run, &memory));
    }
    let kinds = [WorkloadKind::ModelLoad, WorkloadKind::Inference];
    let used: Vec<&Entry> = run.entries.iter().filter(|entry| kinds.contains(&entry.workload.kind())).collect();
    if !comparison.models.is_empty() || !used.is_empty() {
        let holds = "Models with every framework: what was compared, and each loading and inference with its samples";
        add("framework_comparison.json".into(), holds, models(run, &comparison, &used));
    }
    files
}

/// Files of a raw export of another run that lie in `folder` and that `files` don't replace: nobody else's, by name and content.
pub fn raw_leftovers(folder: &Path, files: &[RawFile]) -> Vec<PathBuf> {
    let there = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let named = there.filter_map(|file| Some((file.file_name().into_string().ok()?, file)));
    let other = named.filter(|(name, _)| is_raw_name(name) && !files.iter().any(|file| file.name == *name));
    let ours = other.filter(|(_, file)| file.file_type().is_ok_and(|kind| kind.is_file()) && is_raw_file(&file.path()));
    let mut found: Vec<PathBuf> = ours.map(|(_, file)| file.path()).collect();
    found.sort();
    found
}

/// Whether [`raw`] gives files such names: "memory_benchmarks.json", "pytorch_vs_mlx_detailed_2.json".
fn is_raw_name(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".json") else { return false };
    let numbered = |(stem, number): &(&str, &str)| {
        !stem.is_empty() && !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
    };
    let stem = stem.rsplit_once('_').filter(numbered).map_or(stem, |(stem, _)| stem);
    let whole = ["system_info", "memory_benchmarks", "framework_comparison"];
    let ends = ["_benchmarks", "_finetune", "_detailed"];
    whole.contains(&stem) || ends.iter().any(|end| stem.strip_suffix(end).is_some_and(|start| !start.is_empty()))
}

/// Whether a file says of which run it is, as all of [`raw`] do.
fn is_raw_file(path: &Path) -> bool {
    if std::fs::metadata(path).map_or(true, |about| about.len() > FILE_BYTES_MAX) {
        return false;
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let content: Option<Value> = serde_json::from_str(&text).ok();
    content.is_some_and(|content| content.get("run").is_some_and(Value::is_string))
}

/// "pytorch_mps", "candle_cpu".
fn place(run: &Run, comparison: &Comparison, index: usize) -> String {
    let Some(column) = comparison.columns.get(index) else { return String::new() };
    let kind = column.device.rsplit_once(':').map_or(column.device.as_str(), |(kind, number)| {
        if number.chars().all(|c| c.is_ascii_digit()) { kind } else { number }
    });
    let backend = run.device(&column.device).map(|device| device.backend.as_str());
    let kind = if kind == "gpu" { backend.unwrap_or(kind) } else { kind };
    format!("{}_{}", snake_name(column.engine.id()), snake_name(kind))
}

/// The first word of a model's own name: "mistral".
fn family(name: &str) -> String {
    let own = name.rsplit('/').next().unwrap_or(name);
    snake_name(own.split(['-', '_', '.']).next().unwrap_or(own))
}

fn entries(run: &Run, entries: &[&Entry]) -> Value {
    json!({ "run": run.id, "entries": entries })
}

fn figure(figure: &Figure) -> Value {
    json!({ "value": figure.value, "low": figure.low, "high": figure.high, "unit": figure.unit })
}

fn ratios(run: &Run, comparison: &Comparison, versus: &Versus) -> Value {
    let ratio = |ratio: &crate::analysis::frameworks::Ratio| {
        json!({
            "gemm": ratio.gemm, "baseline": figure(&ratio.baseline), "other": figure(&ratio.other),
            "ratio": ratio.ratio, "same": ratio.same,
        })
    };
    let ratios: Vec<Value> = versus.ratios.iter().map(ratio).collect();
    let sentences = comparison.fast_paths.iter().zip(comparison.fast_path_sentences());
    let of_both = sentences.filter(|(path, _)| [versus.baseline, versus.other].contains(&path.column));
    let fast_paths: Vec<String> = of_both.map(|(_, sentence)| sentence).collect();
    json!({
        "run": run.id, "baseline": comparison.title(versus.baseline), "other": comparison.title(versus.other),
        "ratios": ratios, "fast_paths": fast_paths,
    })
}

fn models(run: &Run, comparison: &Comparison, entries: &[&Entry]) -> Value {
    let rows = comparison.models.iter().flat_map(|group| group.rows.iter().map(move |row| (group, row)));
    let row = |(group, row): (&crate::analysis::frameworks::ModelGroup, &crate::analysis::frameworks::ModelRow)| {
        let figures = ModelColumn::ALL.map(|column| {
            let slot = row.slot(column);
            let name = column.title().to_lowercase().replace(' ', "_");
            (name, json!({ "figure": slot.figure.as_ref().map(figure), "absence": slot.absence, "best": slot.best }))
        });
        json!({
            "framework": comparison.title(row.column), "device": group.place.label(), "model": row.model,
            "precision": row.precision, "bits_per_weight": row.bits_per_weight, "status": row.status.word(),
            "reason": row.status.reason(), "not_compared": row.barred,
            "figures": figures.into_iter().collect::<serde_json::Map<_, _>>(),
        })
    };
    json!({
        "run": run.id, "rows": rows.map(row).collect::<Vec<_>>(), "agreement": sentences(comparison),
        "entries": entries,
    })
}

fn sentences(comparison: &Comparison) -> Vec<String> {
    comparison.agreement.iter().flat_map(crate::analysis::frameworks::Agreement::sentences).collect()
}
