//! What to use for what: from this run's figures alone, and silent where they say nothing.

use super::{
    document::Document,
    models::{Candidate, candidates, winner},
    names::shell_word,
};
use crate::{
    analysis::frameworks::{Comparison, ModelColumn, times},
    engine::EngineId,
    record::Run,
    workload::{Origin, WorkloadKind},
};

/// One line about the fastest of each task, for under the summary.
pub(super) fn insight(run: &Run, comparison: &Comparison) -> Option<String> {
    let tasks = [
        (ModelColumn::Decode, "writing"),
        (ModelColumn::Prefill, "reading a prompt"),
        (ModelColumn::Training, "training"),
    ];
    let mut parts = Vec::new();
    for (column, task) in tasks {
        let lists = candidates(run, comparison, column);
        let [list] = lists.as_slice() else { continue };
        let Some((first, _)) = winner(list) else { continue };
        parts.push(format!("{} at {task} ({})", first.name(), first.figure.text()));
    }
    (!parts.is_empty()).then(|| format!("Fastest here: {}.", parts.join("; ")))
}

/// The section, if there is anything to recommend.
pub(super) fn section(run: &Run, comparison: &Comparison, document: &mut Document) {
    let mut begun = false;
    for (column, title, task) in [
        (ModelColumn::Decode, "For inference", Task::Inference),
        (ModelColumn::Training, "For training", Task::Training),
        (ModelColumn::Memory, "Where memory is tight", Task::Inference),
    ] {
        for list in candidates(run, comparison, column) {
            let list: Vec<Candidate<'_>> = match column {
                // Only what was seen to run is recommended for being small.
                ModelColumn::Memory => {
                    list.into_iter().filter(|one| one.row.slot(ModelColumn::Decode).figure.is_some()).collect()
                }
                _ => list,
            };
            let Some((first, second)) = winner(&list) else { continue };
            if !begun {
                document.heading(2, "Recommendations");
                begun = true;
            }
            document.heading(3, format!("{title}, on {}", first.place.phrase()));
            document.text(match column {
                ModelColumn::Memory => smaller(first, list.last().unwrap_or(second)),
                _ => faster(first, second, list.last().unwrap_or(second)),
            });
            if let Some((language, text)) = command(first, task) {
                document.code(language, text);
            }
        }
    }
}

fn faster(first: &Candidate<'_>, second: &Candidate<'_>, last: &Candidate<'_>) -> String {
    let ratio = |other: &Candidate<'_>| {
        format!(
            "{} as fast as {} ({})",
            times(first.figure.value / other.figure.value),
            other.name(),
            other.figure.text()
        )
    };
    let further = if last.at == second.at { String::new() } else { format!(", {}", ratio(last)) };
    format!("Use {}: {}, {}{further}.", first.name(), first.figure.text(), ratio(second))
}

fn smaller(first: &Candidate<'_>, last: &Candidate<'_>) -> String {
    let peak = first.row.slot(ModelColumn::Peak).figure;
    let peak = peak.map_or_else(String::new, |peak| format!(" and {} at its peak", peak.text()));
    format!(
        "Use {}: {} of model{peak}; {} takes {}, {} as much.",
        first.name(),
        first.figure.text(),
        last.name(),
        last.figure.text(),
        times(last.figure.value / first.figure.value)
    )
}

#[derive(Clone, Copy, PartialEq)]
enum Task {
    Inference,
    Training,
}

/// What to type, with its language. Names are quoted: what a run calls a model is no part of a command.
fn command(one: &Candidate<'_>, task: Task) -> Option<(&'static str, String)> {
    let model = one.model;
    let name = shell_word(&model.name)?;
    if model.origin == Origin::Files {
        match (one.entry.engine, task) {
            (EngineId::Mlx, Task::Inference) => {
                return Some(("bash", format!("mlx_lm.generate --model {name} --prompt \"Hello\"")));
            }
            (EngineId::Mlx, Task::Training) => {
                return Some(("bash", format!("mlx_lm.lora --model {name} --train --data ./data")));
            }
            (EngineId::LlamaCpp, Task::Inference) => return Some(("bash", llama(&model.name, model.precision.id())?)),
            (EngineId::Pytorch, _) => return Some(("python", pytorch(one)?)),
            _ => {}
        }
    }
    let kind = if task == Task::Training { WorkloadKind::Training } else { WorkloadKind::Inference };
    let precision = shell_word(model.precision.id())?;
    Some((
        "bash",
        format!("roofline run --workload {kind} --engine {} --model {name} --precision {precision}", one.entry.engine),
    ))
}

fn llama(name: &str, precision: &str) -> Option<String> {
    let is_file = std::path::Path::new(name).extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
    if name.contains('/') && !is_file {
        return Some(format!("llama-cli -hf {} -p \"Hello\"", shell_word(name)?));
    }
    let stem = name.strip_suffix("-GGUF").unwrap_or(name);
    let file = if is_file { name.to_owned() } else { format!("{stem}-{precision}.gguf") };
    Some(format!("llama-cli -m {} -p \"Hello\"", shell_word(&file)?))
}

fn pytorch(one: &Candidate<'_>) -> Option<String> {
    let name = serde_json::to_string(&one.model.name).ok()?;
    let dtype = match one.model.precision.id() {
        "f32" => "float32",
        "bf16" => "bfloat16",
        "f16" => "float16",
        _ => return None,
    };
    let device = one.entry.device.rsplit("pytorch:").next().and_then(|id| id.split(':').next()).unwrap_or("cpu");
    let device = if ["mps", "cuda", "cpu"].contains(&device) { device } else { "cpu" };
    Some(format!(
        "import torch\nfrom transformers import AutoModelForCausalLM\n\n\
         model = AutoModelForCausalLM.from_pretrained({name}, dtype=torch.{dtype}).to(\"{device}\")"
    ))
}
