//! What to use for what: from this run's figures alone, and silent where they say nothing.

use super::{
    document::Document,
    models::{Candidate, candidates, winner},
    names::shell_word,
};
use crate::{
    analysis::frameworks::{Comparison, ModelColumn, Place, peak_meaning, times},
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

/// What to use for one purpose on one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recommendation {
    /// "For inference, on Apple M5".
    pub title: String,
    /// What, and the figures that say so.
    pub text: String,
    /// What to type, with its language: "bash" or "python".
    pub command: Option<(&'static str, String)>,
}

/// All that this run's figures say; nothing where they are doubted, tie, or have nothing to be held against.
pub fn recommendations(run: &Run, comparison: &Comparison) -> Vec<Recommendation> {
    let mut found = Vec::new();
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
            // Smaller weights are no help to a framework that takes more beside them. What peaks that others published hold is
            // not known.
            let peak = |one: &Candidate<'_>| {
                let slot = one.row.slot(ModelColumn::Peak);
                let entry = slot.entry.and_then(|entry| run.entries.get(entry))?;
                Some((slot.figure?.value, peak_meaning(entry)))
            };
            let takes_less = |one: &Candidate<'_>| {
                peak(one).zip(peak(first)).is_some_and(|(other, own)| other.1 == own.1 && other.0 < own.0)
            };
            if column == ModelColumn::Memory && !run.is_published() && list.iter().any(takes_less) {
                continue;
            }
            // What is emulated is no device that anyone chooses.
            if matches!(first.place, Place::Emulated(_)) {
                continue;
            }
            let slowest = list.last().unwrap_or(second);
            let text =
                if column == ModelColumn::Memory { smaller(first, slowest) } else { faster(first, second, slowest) };
            let title = format!("{title}, on {}", first.place.phrase());
            let command = match column {
                ModelColumn::Decode => either(first, second),
                // What trains is where memory is tight first.
                ModelColumn::Memory if first.row.slot(ModelColumn::Training).figure.is_some() => {
                    command(first, Task::Training)
                }
                _ => command(first, task),
            };
            found.push(Recommendation { title, text, command });
        }
    }
    found
}

/// The section, if there is anything to recommend.
pub(super) fn section(run: &Run, comparison: &Comparison, document: &mut Document) {
    let all = recommendations(run, comparison);
    if !all.is_empty() {
        document.heading(2, "Recommendations");
    }
    for one in all {
        document.heading(3, one.title);
        document.text(one.text);
        if let Some((language, text)) = one.command {
            document.code(language, text);
        }
    }
}

fn faster(first: &Candidate<'_>, second: &Candidate<'_>, last: &Candidate<'_>) -> String {
    let ratio = |other: &Candidate<'_>| {
        // What is beaten by far is beaten whatever the doubt, which is told.
        let doubt = other.doubt().map_or_else(String::new, |doubt| format!(", {}", doubt.word()));
        format!(
            "{} as fast as {} ({}{doubt})",
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

/// What to type for the fastest, and for the second where it is another framework and nearly as fast: either may suit better.
fn either(first: &Candidate<'_>, second: &Candidate<'_>) -> Option<(&'static str, String)> {
    /// As fast as this share of the first.
    const NEARLY: f64 = 0.8;
    let (language, text) = command(first, Task::Inference)?;
    let is_near = second.figure.value >= first.figure.value * NEARLY && second.entry.engine != first.entry.engine;
    let other = command(second, Task::Inference).filter(|(other, _)| is_near && *other == language);
    let Some((_, other)) = other else { return Some((language, text)) };
    Some((language, format!("{text}\n\n# Or with {}, nearly as fast:\n{other}", second.entry.engine.title())))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::{Entry, Mark, MarkKind, Outcome, reference},
        workload::Workload,
    };

    fn of(run: &Run) -> Vec<Recommendation> {
        recommendations(run, &Comparison::of(run))
    }

    fn changed(mut change: impl FnMut(usize, &mut Entry)) -> Run {
        let mut run = reference().unwrap();
        run.entries.iter_mut().enumerate().for_each(|(index, entry)| change(index, entry));
        run
    }

    fn titles(run: &Run) -> Vec<String> {
        of(run).into_iter().map(|one| one.title).collect()
    }

    const ALL: [&str; 3] =
        ["For inference, on Apple M5", "For training, on Apple M5", "Where memory is tight, on Apple M5"];

    #[test]
    fn an_m5_is_recommended_what_its_document_recommends() {
        let all = of(&reference().unwrap());
        assert_eq!(all.iter().map(|one| one.title.as_str()).collect::<Vec<_>>(), ALL);
        assert!(all[0].text.starts_with("Use MLX") && all[0].text.contains("3.44× as fast"), "{}", all[0].text);
        let command = |place: usize| all[place].command.as_ref().unwrap().1.as_str();
        assert!(command(0).starts_with("mlx_lm.generate --model "));
        assert!(command(0).lines().any(|line| line.starts_with("llama-cli -")), "{}", command(0));
        assert!(command(2).starts_with("mlx_lm.lora --model "), "{}", command(2));
        assert!(all[1].text.starts_with("Use PyTorch"), "{}", all[1].text);
        assert!(all[2].text.starts_with("Use MLX") && all[2].text.contains("4.500 GB"), "{}", all[2].text);
    }

    #[test]
    fn one_engine_alone_is_no_choice() {
        let mut run = reference().unwrap();
        run.entries.retain(|entry| entry.engine == EngineId::Mlx);
        assert!(of(&run).is_empty());
    }

    #[test]
    fn what_failed_says_nothing() {
        let run = changed(|_, entry| entry.outcome = Outcome::Failed("out of memory".into()));
        assert!(of(&run).is_empty());
    }

    #[test]
    fn figures_that_are_none_win_nothing() {
        for value in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            let run = changed(|_, entry| {
                for figure in &mut entry.measurements {
                    let summary = &mut figure.summary;
                    (summary.median, summary.min, summary.max) = (value, value, value);
                }
            });
            assert!(of(&run).is_empty(), "{value}");
        }
        // The best one alone is none: the others are still compared.
        let run = changed(|index, entry| {
            if index == 20 {
                entry.measurements[0].summary.median = f64::NAN;
            }
        });
        assert!(of(&run)[0].text.starts_with("Use llama.cpp"), "{}", of(&run)[0].text);
    }

    #[test]
    fn a_doubted_best_recommends_nothing() {
        for kind in [MarkKind::Throttled, MarkKind::Uncertain, MarkKind::Implausible] {
            let run = changed(|index, entry| {
                if index == 20 {
                    entry.marks.push(Mark { kind, reason: "so".into() });
                }
            });
            let all = of(&run);
            let text = all.iter().find(|one| one.title == ALL[0]).map(|one| one.text.clone()).unwrap_or_default();
            assert!(!text.starts_with("Use MLX"), "{kind:?}: {text}");
        }
    }

    #[test]
    fn a_doubted_second_is_beaten_by_more_than_the_doubt_explains_or_nothing_is_recommended() {
        let mark = |kind| Mark { kind, reason: "so".into() };
        let doubted = |wanted: usize| {
            changed(|index, entry| {
                if index == wanted {
                    entry.marks.push(mark(MarkKind::Uncertain));
                }
            })
        };
        // MLX's decode is 3.44 times PyTorch's, and 1.1 times llama.cpp's.
        let text = of(&doubted(17))[0].text.clone();
        assert!(text.starts_with("Use MLX") && text.contains("(7.700 t/s, uncertain)"), "{text}");
        assert!(!titles(&doubted(23)).contains(&ALL[0].to_owned()), "{:?}", of(&doubted(23)));
    }

    #[test]
    fn a_tie_recommends_neither() {
        let run = changed(|index, entry| {
            if index == 23 {
                let summary = &mut entry.measurements[0].summary;
                (summary.median, summary.min, summary.max) = (26.4, 26.4, 26.4);
            }
        });
        assert!(!titles(&run).contains(&ALL[0].to_owned()), "{:?}", titles(&run));
    }

    #[test]
    fn what_is_emulated_is_recommended_to_nobody() {
        let mut run = reference().unwrap();
        run.devices.iter_mut().for_each(|device| device.software = true);
        assert!(of(&run).is_empty());
    }

    #[test]
    fn a_name_runs_no_command_of_its_own() {
        let run = changed(|_, entry| match &mut entry.workload {
            Workload::Inference(inference) => "a'; rm -rf ~ #".clone_into(&mut inference.model.name),
            Workload::Training(training) => "x\n\"); import os".clone_into(&mut training.model.name),
            _ => {}
        });
        for one in of(&run) {
            let Some((language, text)) = one.command else { continue };
            assert!(language != "bash" || text.contains(r"'a'\''; rm -rf ~ #'"), "{text}");
            assert!(language != "python" || text.contains(r#""x\n\"); import os""#), "{text}");
        }
    }
}
