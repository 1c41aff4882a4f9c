//! What is said between Roofline and an engine outside it; see `docs/engine-protocol.md`.
//!
//! Nothing that an engine says is believed for being said: numbers must be finite and of the right sign, lists bounded, names
//! short.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{units::Unit, workload::Workload};

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// The most bytes and messages that answer one question.
pub const BYTES_MAX: usize = 64 << 20;
/// See [`BYTES_MAX`].
pub const MESSAGES_MAX: usize = 10_000;

/// The most devices, settings, notes or versions that are kept.
const LIST_MAX: usize = 64;
/// The longest text that is kept, in characters.
const TEXT_MAX: usize = 1000;
/// The most values of one list, such as losses or times from token to token.
const VALUES_MAX: usize = 1 << 17;
/// The longest time that a batch can have taken, in seconds.
const SECONDS_MAX: f64 = 86_400.0;

/// What Roofline asks.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Question<'a> {
    /// Who are you?
    Hello {
        /// The version that is spoken.
        protocol: u32,
    },
    /// Make everything ready.
    Prepare(Box<Preparation<'a>>),
    /// Do it so many times, and say how long that took.
    Batch {
        /// The entry.
        id: u64,
        /// How many times.
        iterations: u32,
        /// Steps of one pass of decoding.
        steps: Option<u32>,
    },
    /// Show what came of the last batch, and free everything.
    Finish {
        /// The entry.
        id: u64,
        /// Which outputs are asked for.
        outputs: &'a [u64],
    },
    /// Run the fixed short piece of work.
    Canary {
        /// The question.
        id: u64,
        /// The device.
        device: &'a str,
    },
    /// Stop what you do.
    Cancel {
        /// The entry.
        id: u64,
    },
    /// End.
    Shutdown,
}

/// What an entry needs.
#[derive(Clone, Debug, Serialize)]
pub struct Preparation<'a> {
    /// The entry.
    pub id: u64,
    /// The device.
    pub device: &'a str,
    /// What is measured.
    pub workload: &'a Workload,
    /// The model's files.
    pub model: Option<ModelFiles>,
    /// Tokens of each sequence.
    pub prompt: Option<Vec<Vec<u32>>>,
    /// The sequences of the text that is learnt.
    pub sequences: Option<Vec<Vec<u32>>>,
    /// What is asked of the model for comparison with others.
    pub probe: Option<ProbeWish>,
    /// Seconds that the entry has for its samples.
    pub budget_s: f64,
}

/// Where a model's files lie.
#[derive(Clone, Debug, Serialize)]
pub struct ModelFiles {
    /// A folder, or a file.
    pub path: String,
    /// "huggingface", "mlx" or "gguf".
    pub format: &'static str,
    /// The bytes of the weights in them, where that can be read.
    #[serde(skip)]
    pub weight_bytes: Option<u64>,
}

/// What is asked of a model.
#[derive(Clone, Debug, Serialize)]
pub struct ProbeWish {
    /// Ids of the vocabulary whose logits are wanted.
    pub logits: Vec<u32>,
    /// How many greedy tokens.
    pub tokens: u32,
}

/// What an engine says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Answer {
    /// Who it is.
    Hello(Box<Hello>),
    /// Everything is ready.
    Prepared(Box<Prepared>),
    /// It can't do this.
    Unsupported(Refusal),
    /// It would take too much memory or time.
    Skipped(Refusal),
    /// It went wrong.
    Failed(Refusal),
    /// A batch was timed.
    Sample(Box<Batch>),
    /// Something else that was measured.
    Measurement(Extra),
    /// Outputs of the last batch.
    Check(Outputs),
    /// What the model says.
    Probe(Probe),
    /// How much memory it took.
    Memory(Memory),
    /// All is told.
    End(Farewell),
    /// The canary's time.
    Canary(CanaryTime),
    /// It stopped.
    Cancelled(Stopped),
    /// What it is doing.
    Phase(Doing),
}

/// Who an engine is and what it can do.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Hello {
    /// The version of the protocol that it speaks.
    pub protocol: u32,
    /// Its name.
    pub engine: String,
    /// Versions of what it is made of, by name.
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
    /// Its devices, best first.
    pub devices: Vec<ToldDevice>,
    /// The kinds of workload that it measures.
    pub workloads: Vec<String>,
    /// The types of operands that it multiplies.
    #[serde(default)]
    pub dtypes: Vec<String>,
    /// The precisions of weights that it runs.
    #[serde(default)]
    pub precisions: Vec<String>,
    /// What changes its speed, by name.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Sentences that a reader of its figures should know.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A device as an engine tells of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ToldDevice {
    /// Its name in questions.
    pub id: String,
    /// The product's name; empty for the processor, which Roofline knows better.
    #[serde(default)]
    pub name: String,
    /// "discrete-gpu", "integrated-gpu", "cpu" or "other".
    pub kind: String,
    /// The programming interface.
    #[serde(default)]
    pub backend: String,
    /// Its memory in bytes, or what of it may be used.
    #[serde(default)]
    pub memory_bytes: Option<f64>,
    /// Whether it has the fixed short piece of work.
    #[serde(default)]
    pub canary: bool,
    /// Why figures on it say nothing of the engine's speed.
    #[serde(default)]
    pub functional: Option<String>,
    /// What matters for speed.
    #[serde(default)]
    pub features: Vec<String>,
}

/// What was made ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Prepared {
    /// The entry.
    pub id: u64,
    /// The arithmetic really used.
    #[serde(default)]
    pub precision: Option<String>,
    /// The path through the framework.
    #[serde(default)]
    pub variant: Option<String>,
    /// What changes its speed, by name.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Sentences that a reader of the figure should know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Parameters that are trained.
    #[serde(default)]
    pub trainable_parameters: Option<u64>,
}

/// Why not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Refusal {
    /// The entry.
    pub id: u64,
    /// In a sentence.
    pub reason: String,
}

/// How long a batch took.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Batch {
    /// The entry.
    pub id: u64,
    /// How many iterations it held.
    pub iterations: u32,
    /// Wall time in seconds.
    pub host_s: f64,
    /// By the device's clock in seconds.
    #[serde(default)]
    pub device_s: Option<f64>,
    /// Processor time in seconds.
    #[serde(default)]
    pub cpu_s: Option<f64>,
    /// What was found, by name.
    #[serde(default)]
    pub values: BTreeMap<String, f64>,
    /// Times from token to token in seconds.
    #[serde(default)]
    pub token_s: Option<Vec<f64>>,
    /// Losses in nats.
    #[serde(default)]
    pub losses: Option<Vec<f64>>,
}

/// Something that was measured beside the headline.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Extra {
    /// The entry.
    pub id: u64,
    /// Its name.
    pub metric: String,
    /// Its unit.
    pub unit: Unit,
    /// Its values.
    pub samples: Vec<f64>,
}

/// Outputs as (index, value).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Outputs {
    /// The entry.
    pub id: u64,
    /// The outputs that were asked for.
    pub outputs: Vec<(u64, f64)>,
}

/// What a model says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Probe {
    /// The entry.
    pub id: u64,
    /// Logits as (id of the vocabulary, logit).
    pub logits: Vec<(u32, f64)>,
    /// Greedy tokens.
    pub tokens: Vec<u32>,
}

/// How much memory was taken at most.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Memory {
    /// The entry.
    pub id: u64,
    /// On the device, where the framework tells.
    #[serde(default)]
    pub device_peak_bytes: Option<f64>,
    /// What the framework means by that.
    #[serde(default)]
    pub device_meaning: Option<String>,
    /// By the process, as the system tells.
    #[serde(default)]
    pub process_peak_bytes: Option<f64>,
}

/// The end of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Farewell {
    /// The entry.
    pub id: u64,
    /// Sentences that a reader of the figure should know.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The canary's time.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct CanaryTime {
    /// The question.
    pub id: u64,
    /// In seconds.
    pub seconds: f64,
}

/// It stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Stopped {
    /// The entry.
    pub id: u64,
}

/// What it is doing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Doing {
    /// In a few words.
    pub text: String,
    /// How much is done.
    #[serde(default)]
    pub done: Option<f64>,
    /// Of how much.
    #[serde(default)]
    pub total: Option<f64>,
}

impl Answer {
    /// Reads and validates a line. The sentence says what is wrong with it.
    pub fn read(line: &str) -> Result<Self, String> {
        let mut answer: Self = serde_json::from_str(line).map_err(|error| {
            let shown: String = line.chars().take(120).filter(|c| !c.is_control()).collect();
            format!("said what the engine protocol doesn't have ({error}): \"{shown}\"")
        })?;
        answer.validate()?;
        Ok(answer)
    }

    /// The question that it answers, where it names one.
    pub const fn id(&self) -> Option<u64> {
        match self {
            Self::Hello(_) | Self::Phase(_) => None,
            Self::Prepared(prepared) => Some(prepared.id),
            Self::Unsupported(refusal) | Self::Skipped(refusal) | Self::Failed(refusal) => Some(refusal.id),
            Self::Sample(batch) => Some(batch.id),
            Self::Measurement(extra) => Some(extra.id),
            Self::Check(outputs) => Some(outputs.id),
            Self::Probe(probe) => Some(probe.id),
            Self::Memory(memory) => Some(memory.id),
            Self::End(farewell) => Some(farewell.id),
            Self::Canary(canary) => Some(canary.id),
            Self::Cancelled(stopped) => Some(stopped.id),
        }
    }

    fn validate(&mut self) -> Result<(), String> {
        match self {
            Self::Hello(hello) => hello.validate(),
            Self::Prepared(prepared) => {
                prepared.precision.iter_mut().chain(prepared.variant.iter_mut()).for_each(shorten);
                trim(&mut prepared.settings);
                trim_list(&mut prepared.notes);
                Ok(())
            }
            Self::Unsupported(refusal) | Self::Skipped(refusal) | Self::Failed(refusal) => {
                shorten(&mut refusal.reason);
                Ok(())
            }
            Self::Sample(batch) => batch.validate(),
            Self::Measurement(extra) => {
                name("metric", &extra.metric)?;
                values("samples", &extra.samples)
            }
            Self::Check(outputs) => {
                // Values may be wrong, even infinite: that is what the check is for. JSON holds no NaN.
                if outputs.outputs.len() > VALUES_MAX { Err("sent too many outputs".to_owned()) } else { Ok(()) }
            }
            Self::Probe(probe) => {
                let most = VALUES_MAX / 16;
                let fits = probe.logits.len() <= most && probe.tokens.len() <= most;
                if fits { Ok(()) } else { Err("sent too many logits or tokens".to_owned()) }
            }
            Self::Memory(memory) => {
                memory.device_meaning.iter_mut().for_each(shorten);
                let sizes = memory.device_peak_bytes.iter().chain(&memory.process_peak_bytes);
                sizes.into_iter().try_for_each(|bytes| size("memory", *bytes))
            }
            Self::End(farewell) => {
                trim_list(&mut farewell.notes);
                Ok(())
            }
            Self::Canary(canary) => seconds("seconds", canary.seconds),
            Self::Phase(doing) => {
                shorten(&mut doing.text);
                Ok(())
            }
            Self::Cancelled(_) => Ok(()),
        }
    }
}

impl Hello {
    fn validate(&mut self) -> Result<(), String> {
        if self.protocol != VERSION {
            return Err(format!(
                "speaks version {} of the engine protocol, and Roofline version {VERSION}",
                self.protocol
            ));
        }
        if self.devices.len() > LIST_MAX || self.workloads.len() > LIST_MAX {
            return Err("told of too many devices or workloads".to_owned());
        }
        for device in &mut self.devices {
            name("device", &device.id)?;
            device.memory_bytes.iter().try_for_each(|bytes| size("memory_bytes", *bytes))?;
            shorten(&mut device.name);
            shorten(&mut device.backend);
            device.functional.iter_mut().for_each(shorten);
            trim_list(&mut device.features);
        }
        let twice = |device: &ToldDevice| self.devices.iter().filter(|other| other.id == device.id).count() > 1;
        if let Some(device) = self.devices.iter().find(|device| twice(device)) {
            return Err(format!("told of two devices with the name \"{}\"", device.id));
        }
        trim(&mut self.versions);
        trim(&mut self.settings);
        trim_list(&mut self.notes);
        trim_list(&mut self.dtypes);
        trim_list(&mut self.precisions);
        Ok(())
    }
}

impl Batch {
    fn validate(&self) -> Result<(), String> {
        seconds("host_s", self.host_s)?;
        self.device_s.iter().try_for_each(|time| seconds("device_s", *time))?;
        if self.cpu_s.is_some_and(|time| !(0.0..=SECONDS_MAX * 1024.0).contains(&time)) {
            return Err("said a processor time that can't be".to_owned());
        }
        if self.values.len() > LIST_MAX {
            return Err("sent too many values".to_owned());
        }
        for (metric, value) in &self.values {
            name("value", metric)?;
            if !(value.is_finite() && *value >= 0.0) {
                return Err(format!("said {value:?} for {metric}, which can't be"));
            }
        }
        let times = self.token_s.as_deref().unwrap_or_default();
        values("token_s", times)?;
        if times.iter().any(|time| *time <= 0.0) {
            return Err("said a time from token to token that isn't positive".to_owned());
        }
        let losses = self.losses.as_deref().unwrap_or_default();
        // A loss may be no number: that is a finding. JSON holds none, so that engines send a huge one.
        if losses.len() > VALUES_MAX { Err("sent too many losses".to_owned()) } else { Ok(()) }
    }
}

fn seconds(what: &str, value: f64) -> Result<(), String> {
    if value > 0.0 && value <= SECONDS_MAX { Ok(()) } else { Err(format!("said {value:?} for {what}, which can't be")) }
}

fn size(what: &str, bytes: f64) -> Result<(), String> {
    if (0.0..1e16).contains(&bytes) { Ok(()) } else { Err(format!("said {bytes:?} bytes for {what}, which can't be")) }
}

fn values(what: &str, list: &[f64]) -> Result<(), String> {
    if list.len() > VALUES_MAX {
        return Err(format!("sent too many {what}"));
    }
    match list.iter().find(|value| !(value.is_finite() && **value >= 0.0)) {
        Some(value) => Err(format!("said {value:?} among {what}, which can't be")),
        None => Ok(()),
    }
}

/// Names are short and of plain characters, since they become flags and keys.
fn name(what: &str, text: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    let fits = (1..=64).contains(&text.len()) && text.chars().all(plain);
    if fits { Ok(()) } else { Err(format!("named a {what} in a way that the engine protocol doesn't have")) }
}

/// Without control characters, and not endless.
fn shorten(text: &mut String) {
    if text.len() > TEXT_MAX || text.chars().any(char::is_control) {
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        *text = text.chars().take(TEXT_MAX).map(clean).collect();
    }
}

fn trim_list(list: &mut Vec<String>) {
    list.truncate(LIST_MAX);
    list.iter_mut().for_each(shorten);
}

fn trim(map: &mut BTreeMap<String, String>) {
    while map.len() > LIST_MAX {
        map.pop_last();
    }
    map.values_mut().for_each(shorten);
    map.retain(|key, _| name("setting", key).is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_look_as_the_page_says() {
        let text = serde_json::to_string(&Question::Batch { id: 7, iterations: 12, steps: None }).unwrap();
        assert_eq!(text, r#"{"type":"batch","id":7,"iterations":12,"steps":null}"#);
        assert_eq!(serde_json::to_string(&Question::Shutdown).unwrap(), r#"{"type":"shutdown"}"#);
    }

    #[test]
    fn the_examples_of_the_page_are_read() {
        let page = include_str!("../../../docs/engine-protocol.md");
        let mut read = Vec::new();
        for line in page.replace(",\n ", ",").lines() {
            let line = line.trim().trim_start_matches("or ").trim_matches('`');
            if line.starts_with("{\"type\":") && line.ends_with('}') {
                read.push((line.to_owned(), Answer::read(line).is_ok()));
            }
        }
        // Questions are no answers.
        let answers = read.iter().filter(|(_, fine)| *fine).count();
        assert!(answers >= 7, "{read:#?}");
    }

    #[test]
    fn what_can_not_be_is_refused() {
        let refused = [
            r#"{"type":"sample","id":1,"iterations":1,"host_s":NaN}"#,
            r#"{"type":"sample","id":1,"iterations":1,"host_s":-0.1}"#,
            r#"{"type":"sample","id":1,"iterations":1,"host_s":0}"#,
            r#"{"type":"sample","id":1,"iterations":1,"host_s":1e300}"#,
            r#"{"type":"sample","id":1,"iterations":-1,"host_s":1}"#,
            r#"{"type":"sample","id":1,"iterations":1,"host_s":"fast"}"#,
            r#"{"type":"sample","id":1,"iterations":1,"host_s":1,"device_s":-1}"#,
            r#"{"type":"sample","id":1,"iterations":1,"host_s":1,"token_s":[0.1,-0.1]}"#,
            r#"{"type":"sample","id":1,"iterations":1,"host_s":1,"values":{"largest buffer":1}}"#,
            r#"{"type":"memory","id":1,"process_peak_bytes":-5}"#,
            r#"{"type":"measurement","id":1,"metric":"x","unit":"furlong","samples":[1]}"#,
            r#"{"type":"hello","protocol":2,"engine":"x","devices":[],"workloads":[]}"#,
            r#"{"type":"hello","protocol":1,"engine":"x","devices":[{"id":"a","kind":"cpu"},{"id":"a","kind":"cpu"}],"workloads":[]}"#,
            r#"{"type":"dance"}"#,
            "Downloading shards: 100%",
            "",
            "[]",
        ];
        for line in refused {
            assert!(Answer::read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_number_that_can_not_be_is_quoted_briefly() {
        let told = Answer::read(r#"{"type":"memory","id":1,"device_peak_bytes":1e300}"#).unwrap_err();
        assert_eq!(told, "said 1e300 bytes for memory, which can't be");
    }

    #[test]
    fn endless_texts_are_cut() {
        let line = format!(r#"{{"type":"failed","id":3,"reason":"{}"}}"#, "a\\n".repeat(5000));
        let Answer::Failed(refusal) = Answer::read(&line).unwrap() else { panic!("no refusal") };
        assert!(refusal.reason.len() <= TEXT_MAX && !refusal.reason.contains('\n'));
    }
}
