//! A run made of what llama-bench wrote to a file, so that it stands beside runs of this program.

use std::path::Path;

use jiff::Timestamp;

use super::{AppInfo, Entry, FORMAT_VERSION, LoadError, Outcome, Run, RunState, Store, SuiteInfo};
use crate::{
    engine::{
        EngineId,
        llama::results::{self, BenchResult},
    },
    machine::{Conditions, Device, DeviceKind, DeviceLimits, Machine, OperatingSystem},
    measure::{Measurement, Sample, StopReason},
    units::Unit,
    workload::{Inference, InferencePhase, Location, ModelRef, ModelShape, Origin, Precision, Workload},
};

/// Settings of the program that was measured and of the machine, not of one test.
const SHARED: [&str; 2] = ["processor", "gpu"];

/// Reads a run file, or what `llama-bench -o json` or `-o jsonl` wrote.
pub fn open(path: &Path) -> Result<Run, LoadError> {
    match Store::load(path) {
        // Its size was looked at before.
        Err(LoadError::Malformed { path: named, reason }) if path.is_file() => {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            of_llama_bench(&text, path).unwrap_or(Err(LoadError::Malformed { path: named, reason }))
        }
        other => other,
    }
}

/// The same of text that is no file; errors name it `path`.
pub fn parse(text: &str, path: &Path) -> Result<Run, LoadError> {
    match Store::parse(text, path) {
        Err(error @ LoadError::Malformed { .. }) => of_llama_bench(text, path).unwrap_or(Err(error)),
        other => other,
    }
}

/// The run in llama-bench's text; `None` if it is no such text.
fn of_llama_bench(text: &str, path: &Path) -> Option<Result<Run, LoadError>> {
    let (results, mut notes) = results::read(text)?;
    let entries: Vec<Entry> = results.iter().filter_map(|result| entry(result, &mut notes)).collect();
    let Some(first) = results.first().filter(|_| !entries.is_empty()) else {
        let reason = format!("it is llama-bench's, but no test in it can be used: {}", notes.join("; "));
        return Some(Err(LoadError::Malformed { path: path.to_owned(), reason }));
    };
    let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let setting = |name: &str| first.settings.get(name).cloned();
    let started_at = results.iter().filter_map(|result| result.tested_at.as_deref()?.parse::<Timestamp>().ok()).min();
    notes.insert(0, "read from a file of llama-bench's: nothing is known of checks, warm-up and conditions".to_owned());
    Some(Ok(Run {
        format_version: FORMAT_VERSION,
        id: format!("llama-bench-{name}"),
        started_at: started_at.unwrap_or(Timestamp::UNIX_EPOCH),
        ended_at: None,
        state: RunState::Finished,
        app: AppInfo {
            version: format!("llama-bench {}", setting("build-number").unwrap_or_default()).trim().to_owned(),
            commit: setting("build-commit").unwrap_or_else(|| "unknown".to_owned()),
            target: String::new(),
            optimised: true,
        },
        suite: SuiteInfo { name: "llama-bench".to_owned(), budget_s: 0.0 },
        machine: Machine {
            chip: setting("processor").unwrap_or_default(),
            os: OperatingSystem::default(),
            ..Machine::default()
        },
        conditions: Conditions::default(),
        devices: devices(&results),
        entries,
        notes,
        about: None,
    }))
}

/// The device of a test: the first GPU if any layer may be on one, else the processor.
fn device(result: &BenchResult) -> Device {
    let setting = |name: &str| result.settings.get(name).map(String::as_str).unwrap_or_default();
    let (backends, gpu) = (setting("backends"), setting("gpu"));
    let on_gpu = !gpu.is_empty() && setting("gpu-layers") != "0";
    let name = if on_gpu { gpu } else { setting("processor") };
    Device {
        id: if on_gpu { "gpu".to_owned() } else { "cpu".to_owned() },
        name: if name.is_empty() { "unknown".to_owned() } else { name.to_owned() },
        kind: if on_gpu { DeviceKind::Other } else { DeviceKind::Cpu },
        backend: backends.to_owned(),
        driver: String::new(),
        driver_info: String::new(),
        pci: None,
        software: false,
        limits: DeviceLimits::default(),
        features: Vec::new(),
    }
}

fn devices(results: &[BenchResult]) -> Vec<Device> {
    let mut devices: Vec<Device> = Vec::new();
    for device in results.iter().map(device) {
        if !devices.iter().any(|known| known.id == device.id) {
            devices.push(device);
        }
    }
    devices
}

/// One test as an entry. Tests that this program has no workload for are told.
fn entry(result: &BenchResult, notes: &mut Vec<String>) -> Option<Entry> {
    let phase = match (result.prompt, result.generated, result.depth) {
        (tokens, 0, 0) => InferencePhase::Prefill { tokens },
        (0, tokens, depth) => InferencePhase::Decode { tokens, depth },
        (prompt, 0, depth) => return leave_out(notes, &format!("a prompt of {prompt} at depth {depth}")),
        (prompt, written, _) => return leave_out(notes, &format!("a prompt of {prompt} and {written} tokens in one")),
    };
    let model = model(result);
    let tokens = f64::from(result.prompt) + f64::from(result.generated);
    let sample = |seconds: &f64| Sample {
        value: tokens / seconds,
        iterations: 1,
        host_s: *seconds,
        device_s: None,
        disturbed: false,
    };
    let samples = result.seconds.iter().map(sample).collect();
    let measurement = Measurement::of_samples("throughput", Unit::TokenPerSecond, samples, StopReason::SampleLimit)?;
    let workload = Workload::Inference(Inference { model, phase, batch: 1 });
    let mut entry = Entry::pending(workload, EngineId::LlamaCpp, &device(result).id);
    // Of a shape that isn't known nothing can be counted.
    (entry.flops, entry.bytes) = (entry.flops.filter(|flops| *flops > 0.0), entry.bytes.filter(|bytes| *bytes > 0.0));
    entry.outcome = Outcome::Done;
    entry.measurements = vec![measurement];
    entry.started_at = result.tested_at.as_deref().and_then(|time| time.parse().ok());
    entry.settings = result.settings.clone();
    entry.settings.retain(|name, _| !SHARED.contains(&name.as_str()));
    Some(entry)
}

fn leave_out(notes: &mut Vec<String>, what: &str) -> Option<Entry> {
    let note = format!("left out, for there is no such workload here: {what}");
    if !notes.contains(&note) {
        notes.push(note);
    }
    None
}

/// The model as far as llama-bench tells it: its file's name, and the shape only where the count of parameters is one model's.
fn model(result: &BenchResult) -> ModelRef {
    const UNKNOWN: ModelShape = ModelShape {
        vocabulary: 0,
        hidden: 0,
        intermediate: 0,
        layers: 0,
        heads: 0,
        kv_heads: 0,
        head_dim: 0,
        tied_head: false,
    };
    let is_mistral = result.parameters == Some(ModelShape::MISTRAL_7B.parameters());
    let file = result.model_file.as_deref().map(|name| name.strip_suffix(".gguf").unwrap_or(name));
    let weight_bytes = result.model_bytes.unwrap_or(0);
    ModelRef {
        name: file.unwrap_or(&result.model_type).to_owned(),
        origin: Origin::Files,
        precision: precision(&result.model_type),
        shape: if is_mistral { ModelShape::MISTRAL_7B } else { UNKNOWN },
        weight_bytes,
        token_bytes: weight_bytes,
        location: Location::default(),
    }
}

/// "llama 7B Q4_K - Medium" is Q4_K_M; "llama 7B Q4_0" is what it says.
fn precision(model_type: &str) -> Precision {
    let (before, size) = model_type.split_once(" - ").unwrap_or((model_type, ""));
    let kind = before.split_whitespace().last().unwrap_or("unknown");
    let letter = size.trim().chars().next().map_or_else(String::new, |letter| format!("_{letter}"));
    Precision::from(format!("{kind}{letter}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(prompt: u32, written: u32, depth: u32) -> String {
        format!(
            r#"{{"build_commit":"0c1e570","build_number":4321,"cpu_info":"AMD EPYC","gpu_info":"","backends":"CPU",
            "model_filename":"models/mistral.Q4_K_M.gguf","model_type":"llama 7B Q4_K - Medium","model_size":4368439296,
            "model_n_params":7241732096,"n_threads":2,"n_gpu_layers":99,"flash_attn":false,"n_prompt":{prompt},
            "n_gen":{written},"n_depth":{depth},"test_time":"2026-11-25T09:45:02Z","avg_ts":{},
            "samples_ns":[2000000000,2000000000,2000000000,2000000000,2000000000]}}"#,
            f64::from(prompt + written) / 2.0
        )
    }

    #[test]
    fn tests_become_entries_of_llama_cpp() {
        let text = format!("[{},{},{},{}]", test(512, 0, 0), test(0, 128, 4096), test(512, 128, 0), test(512, 0, 64));
        let run = parse(&text, Path::new("old.json")).unwrap();
        assert_eq!((run.id.as_str(), run.entries.len()), ("llama-bench-old", 2));
        assert_eq!(run.started_at.to_string(), "2026-11-25T09:45:02Z");
        let decode = &run.entries[1];
        assert_eq!(decode.workload.title(), "Decode 128");
        assert_eq!(decode.workload.model().unwrap().precision, Precision::Q4KM);
        assert_eq!(decode.headline().unwrap().summary.median, 64.0);
        assert_eq!((decode.engine, decode.device.as_str()), (EngineId::LlamaCpp, "cpu"));
        assert_eq!(run.machine.chip, "AMD EPYC");
        assert_eq!(run.notes.len(), 3, "{:?}", run.notes);
        let again: Run = serde_json::from_str(&serde_json::to_string(&run).unwrap()).unwrap();
        assert_eq!(again, run, "it can be saved as any other");
    }

    #[test]
    fn names_of_mixes_are_those_of_their_files() {
        assert_eq!(precision("llama 7B Q4_0"), Precision::Q4_0);
        assert_eq!(precision("qwen2 1.5B Q5_K - Small"), Precision::Stored("Q5_K_S".into()));
        assert_eq!(precision("llama ?B F16"), Precision::F16);
        assert_eq!(precision(""), Precision::Stored("unknown".into()));
    }

    #[test]
    fn settings_that_change_the_speed_are_kept_and_a_cut_off_file_is_told_of() {
        let slow = test(0, 128, 0).replace("\"flash_attn\":false", "\"no_kv_offload\":true,\"flash_attn\":false");
        let text = format!("{}\n{slow}\n{}", test(0, 128, 0), &test(512, 0, 0)[..40]);
        let run = parse(&text, Path::new("cut.jsonl")).unwrap();
        let offload = |entry: &Entry| entry.settings.get("no-kv-offload").cloned();
        assert_eq!(run.entries.iter().map(offload).collect::<Vec<_>>(), [None, Some("true".to_owned())]);
        assert!(run.notes.iter().any(|note| note.starts_with("the file is cut off")), "{:?}", run.notes);
    }

    #[test]
    fn what_is_neither_keeps_the_run_file_s_error() {
        let error = parse("{}", Path::new("x")).unwrap_err().to_string();
        assert!(error.contains("not a whole run file"), "{error}");
        let error = parse(&test(512, 128, 0), Path::new("x")).unwrap_err().to_string();
        assert!(error.contains("no test in it can be used"), "{error}");
    }
}
