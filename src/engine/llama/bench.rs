//! What llama-bench prints: one JSON object a test with `-o jsonl`, its devices as text, its log with `-v`.
//!
//! Only what a figure needs is required; other fields come and go between versions. Nothing is believed that can be checked:
//! the tests must be those that were asked for, and can't have taken more time than passed.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::workload::ModelShape;

/// The most repetitions of one test that are read.
const SAMPLES_MAX: usize = 10_000;

/// The fields that say how it was run and have another name here. Fields come and go between versions, and any may change the
/// speed, so that all others are recorded by their own names.
const SETTINGS: [(&str, &str); 15] = [
    ("build_commit", "build-commit"),
    ("build_number", "build-number"),
    ("backends", "backends"),
    ("devices", "devices"),
    ("cpu_info", "processor"),
    ("gpu_info", "gpu"),
    ("n_threads", "threads"),
    ("n_batch", "batch"),
    ("n_ubatch", "micro-batch"),
    ("type_k", "keys"),
    ("type_v", "values"),
    ("n_gpu_layers", "gpu-layers"),
    ("load_mode", "load-mode"),
    ("repack", "repack"),
    ("flash_attn", "flash-attention"),
];

/// The fields that say what was tested, when, and what came of it.
const NO_SETTINGS: [&str; 15] = [
    "model_filename",
    "model_type",
    "model_size",
    "model_n_params",
    "n_prompt",
    "n_gen",
    "n_depth",
    "test_time",
    "avg_ns",
    "stddev_ns",
    "samples_ns",
    "avg_ts",
    "stddev_ts",
    "samples_ts",
    "n_samples",
];

/// The most settings of one test that are kept: today's llama-bench writes forty.
const SETTINGS_MAX: usize = 100;

/// What a test runs: llama-bench's `-p`, `-n`, `-d` and `-r`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Positions of the prompt; 0 in a test of decoding.
    pub(super) prompt: u32,
    /// Tokens written; 0 in a test of prefill.
    pub(super) generated: u32,
    /// Positions in the cache before.
    pub(super) depth: u32,
    /// Repetitions.
    pub(super) repetitions: u32,
}

impl Asked {
    /// Tokens of one repetition.
    pub(super) fn tokens(self) -> f64 {
        f64::from(self.prompt) + f64::from(self.generated)
    }
}

/// One test as it was printed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tested {
    /// How long each repetition took, in seconds.
    pub(super) seconds: Vec<f64>,
    /// What the file holds, as "llama 7B Q4_0".
    pub(super) model_type: String,
    /// Parameters of the model, where it tells.
    pub(super) parameters: Option<u64>,
    /// Positions of the prompt, tokens written, positions before.
    pub(super) counts: [u32; 3],
    /// How it was run.
    pub(super) settings: BTreeMap<String, String>,
}

impl Tested {
    /// Reads one line.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let object: Map<String, Value> = serde_json::from_str(line)
            .map_err(|error| format!("it printed no JSON object ({error}): {}", cut(line)))?;
        Self::of(&object)
    }

    /// Reads what stands in one object.
    pub(super) fn of(object: &Map<String, Value>) -> Result<Self, String> {
        let counts = [count(object, "n_prompt")?, count(object, "n_gen")?, count(object, "n_depth")?];
        let [prompt, generated, _] = counts;
        let seconds = seconds(object, f64::from(prompt) + f64::from(generated))?;
        average_agrees(object, f64::from(prompt) + f64::from(generated), &seconds)?;
        // Required, since a figure without them could be of anything.
        let model_type = text(object, "model_type")?;
        text(object, "backends")?;
        Ok(Self {
            seconds,
            model_type,
            parameters: object.get("model_n_params").and_then(Value::as_u64),
            counts,
            settings: settings(object),
        })
    }

    /// Whether it is the test that was asked for, and took no more than the time that passed.
    pub(super) fn answers(&self, asked: Asked, passed_s: f64) -> Result<(), String> {
        if self.counts != [asked.prompt, asked.generated, asked.depth] {
            let [prompt, generated, depth] = self.counts;
            return Err(format!(
                "it tested {prompt} + {generated} tokens at depth {depth}, and {} + {} at depth {} were asked for",
                asked.prompt, asked.generated, asked.depth
            ));
        }
        if self.seconds.len() != asked.repetitions as usize {
            return Err(format!("it gave {} samples, and {} were asked for", self.seconds.len(), asked.repetitions));
        }
        let sum: f64 = self.seconds.iter().sum();
        if sum > passed_s {
            return Err(format!("its samples add up to {sum:.3} s, and only {passed_s:.3} s had passed"));
        }
        Ok(())
    }

    /// Whether the file was the model that is meant, as far as its parameters tell.
    pub(super) fn is_of(&self, shape: &ModelShape) -> Result<(), String> {
        // A table of rotary frequencies, or a head that is stored twice, may count or not.
        const ALIKE: f64 = 0.02;
        let Some(parameters) = self.parameters else { return Ok(()) };
        let meant = shape.parameters();
        let tables = if shape.tied_head { shape.embedding_elements() } else { 0 };
        let alike = |other: u64| (parameters as f64 / other as f64 - 1.0).abs() <= ALIKE;
        if alike(meant) || alike(meant + tables) {
            return Ok(());
        }
        Err(format!("it ran a model of {parameters} parameters ({}), and {meant} were meant", self.model_type))
    }
}

/// How long each repetition took: from nanoseconds, else from rates.
fn seconds(object: &Map<String, Value>, tokens: f64) -> Result<Vec<f64>, String> {
    if tokens <= 0.0 {
        return Err("it tested no tokens".to_owned());
    }
    let seconds: Vec<f64> = match (numbers(object, "samples_ns")?, numbers(object, "samples_ts")?) {
        (Some(times), _) => times.into_iter().map(|time| time / 1e9).collect(),
        (None, Some(rates)) => rates.into_iter().map(|rate| tokens / rate).collect(),
        (None, None) => return Err("it gave neither samples_ns nor samples_ts".to_owned()),
    };
    if seconds.is_empty() {
        return Err("it gave no samples".to_owned());
    }
    if seconds.iter().all(|time| time.is_finite() && *time > 0.0) {
        return Ok(seconds);
    }
    Err("one of its samples is no positive time".to_owned())
}

/// A list of numbers; `None` where there is none of this name.
fn numbers(object: &Map<String, Value>, name: &str) -> Result<Option<Vec<f64>>, String> {
    let Some(value) = object.get(name) else { return Ok(None) };
    let list = value.as_array().ok_or_else(|| format!("{name} is no list"))?;
    if list.len() > SAMPLES_MAX {
        return Err(format!("{name} holds {} numbers", list.len()));
    }
    let number = |value: &Value| value.as_f64().ok_or_else(|| format!("{name} holds {}, no number", cut_value(value)));
    list.iter().map(number).collect::<Result<_, _>>().map(Some)
}

/// The average that it prints, of rates, must be that of its samples.
fn average_agrees(object: &Map<String, Value>, tokens: f64, seconds: &[f64]) -> Result<(), String> {
    let average = object.get("avg_ts").and_then(Value::as_f64).ok_or("it gave no avg_ts")?;
    let of_samples = seconds.iter().map(|time| tokens / time).sum::<f64>() / seconds.len() as f64;
    if (average - of_samples).abs() <= 0.01 * of_samples {
        return Ok(());
    }
    Err(format!("its average, {average} tokens/s, is not that of its samples, {of_samples:.2} tokens/s"))
}

fn count(object: &Map<String, Value>, name: &str) -> Result<u32, String> {
    let value = object.get(name).ok_or_else(|| format!("it gave no {name}"))?;
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| format!("{name} is {}, no count", cut_value(value)))
}

fn text(object: &Map<String, Value>, name: &str) -> Result<String, String> {
    let value = object.get(name).ok_or_else(|| format!("it gave no {name}"))?;
    value.as_str().map(cut).ok_or_else(|| format!("{name} is {}, no text", cut_value(value)))
}

fn settings(object: &Map<String, Value>) -> BTreeMap<String, String> {
    let one = |(field, value): (&String, &Value)| {
        if NO_SETTINGS.contains(&field.as_str()) {
            return None;
        }
        let value = match value {
            Value::String(text) if text.is_empty() => return None,
            Value::String(text) => cut(text),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
            value if field == "flash_attn" => flash_attention(value),
            value => cut_value(value),
        };
        let known = SETTINGS.iter().find(|(known, _)| known == field);
        Some((known.map_or_else(|| cut(&field.replace('_', "-")), |(_, name)| (*name).to_owned()), value))
    };
    object.iter().filter_map(one).take(SETTINGS_MAX).collect()
}

/// −1 leaves it to llama.cpp, which takes it where the device has it. Older versions print a truth value.
fn flash_attention(value: &Value) -> String {
    match (value.as_i64(), value.as_bool()) {
        (Some(-1), _) => "auto".to_owned(),
        (Some(0), _) | (_, Some(false)) => "off".to_owned(),
        (Some(1), _) | (_, Some(true)) => "on".to_owned(),
        _ => cut_value(value),
    }
}

fn cut_value(value: &Value) -> String {
    cut(&value.to_string())
}

/// The beginning of a text that came from outside.
pub(super) fn cut(text: &str) -> String {
    const SHOWN: usize = 120;
    let text = text.trim();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A device as `llama-bench --list-devices` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// llama.cpp's name, as "CUDA0".
    pub(super) name: String,
    /// The interface, as "CUDA".
    pub(super) backend: &'static str,
    /// Its number among those of the interface.
    pub(super) ordinal: u32,
    /// The product's name.
    pub(super) description: String,
    /// Its memory in bytes, 0 where it isn't told.
    pub(super) memory_bytes: u64,
}

/// The names that llama.cpp gives to GPUs, without their number, and those of the interfaces. Others in its list are
/// libraries for the processor, or other machines.
const BACKENDS: [(&str, &str); 8] = [
    ("CUDA", "CUDA"),
    ("ROCm", "ROCm"),
    ("MTL", "Metal"),
    ("Metal", "Metal"),
    ("Vulkan", "Vulkan"),
    ("SYCL", "SYCL"),
    ("MUSA", "MUSA"),
    ("CANN", "CANN"),
];

/// The most devices that are read from a list.
const DEVICES_MAX: usize = 64;

/// The GPUs in the text of `--list-devices`, whose lines are as "  CUDA0: NVIDIA H100 (81079 MiB, 80572 MiB free)".
pub(super) fn listed(text: &str) -> Vec<Listed> {
    text.lines().filter_map(listed_line).take(DEVICES_MAX).collect()
}

fn listed_line(line: &str) -> Option<Listed> {
    let (name, rest) = line.trim().split_once(": ")?;
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let (_, backend) = BACKENDS.into_iter().find(|(prefix, _)| *prefix == letters)?;
    let digits = name.get(letters.len()..)?;
    let ordinal = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let (description, memory_bytes) = described(rest.trim());
    Some(Listed { name: name.to_owned(), backend, ordinal, description: cut(description), memory_bytes })
}

/// "NVIDIA H100 (81079 MiB, 80572 MiB free)": the name, which may hold brackets too, and the memory in bytes.
fn described(text: &str) -> (&str, u64) {
    let whole = (text, 0);
    let Some((name, memory)) = text.rsplit_once(" (") else { return whole };
    let Some((mebibytes, _)) = memory.split_once(" MiB") else { return whole };
    mebibytes.trim().parse::<u64>().map_or(whole, |mebibytes| (name, mebibytes.saturating_mul(1 << 20)))
}

/// llama.cpp's own load time in seconds, from its log: from opening the file until the first token is computed.
pub(super) fn load_seconds(log: &str) -> Option<f64> {
    let of_line = |line: &str| {
        let (_, rest) = line.split_once("load time =")?;
        rest.trim().strip_suffix("ms")?.trim().parse::<f64>().ok()
    };
    let milliseconds = log.lines().rev().find_map(of_line)?;
    Some(milliseconds / 1e3).filter(|seconds| seconds.is_finite() && *seconds > 0.0)
}

/// Bytes of the buffers that llama.cpp's log says it holds on a device: weights, keys and values, scratch. Each kind is
/// printed for each device; what is printed again replaces what was before.
pub(super) fn buffer_bytes(log: &str, device: &str) -> Option<u64> {
    let mut buffers: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for line in log.lines() {
        let Some((before, size)) = line.split_once(" buffer size =") else { continue };
        let Some((_, named)) = before.split_once(':') else { continue };
        let mut words = named.split_whitespace();
        let (Some(owner), Some(kind)) = (words.next(), words.next()) else { continue };
        let mebibytes = size.split_whitespace().next().and_then(|number| number.parse::<f64>().ok());
        let Some(mebibytes) = mebibytes.filter(|number| number.is_finite() && *number >= 0.0) else { continue };
        if belongs(owner, device) {
            buffers.insert((owner, kind), mebibytes);
        }
    }
    let sum: f64 = buffers.values().sum();
    (sum > 0.0).then_some((sum * f64::from(1 << 20)) as u64)
}

/// "MTL0_Mapped" is a buffer of "MTL0", as "CUDA0" is; "CUDA_Host" is not.
fn belongs(owner: &str, device: &str) -> bool {
    owner.strip_prefix(device).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

#[cfg(test)]
#[path = "bench_tests.rs"]
mod tests;
