//! What is kept: the saved run, its schema and the store.

mod about;
mod figures;
mod header;
mod index;
mod listing;
mod llama_bench;
mod named;
mod query;
mod schema;
mod store;
mod trash;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    about::{About, ChangeError, Edit, NAME_CHARS_MAX, NOTE_CHARS_MAX, TAG_CHARS_MAX, TAGS_MAX},
    figures::{Figure, Metric, Trend},
    header::{Listed, RunHeader, sort_listed},
    listing::Listing,
    llama_bench::{open, parse},
    named::{BASELINE, NameError, REFERENCE, lasting_name, named, reference, saved},
    query::{Query, Sort},
    schema::schema_text,
    store::{FILE_BYTES_MAX, LoadError, RunLock, SaveError, Store},
    trash::{Deleted, Restored},
};
use crate::{
    engine::EngineId,
    machine::{Conditions, Device, DeviceKind, Machine},
    measure::{Check, Fingerprint, Measurement, Report, StopReason},
    workload::{Dtype, Workload},
};

/// The version of the format. Fields are only ever added; the number rises only if old readers would misread a file.
pub const FORMAT_VERSION: u32 = 1;

/// One saved run: the document that is stored, compared and exported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// The version of this format.
    pub format_version: u32,
    /// Names the run: start time and a random part, also the file's name.
    pub id: String,
    /// When it was started.
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    /// When it ended; absent while it runs, or if the program died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub state: RunState,
    /// The program that made it.
    pub app: AppInfo,
    /// What was asked for.
    pub suite: SuiteInfo,
    /// The machine.
    pub machine: Machine,
    /// Its state when the run began.
    pub conditions: Conditions,
    /// The devices that were measured.
    pub devices: Vec<Device>,
    /// One entry a job, in the order they were planned.
    pub entries: Vec<Entry>,
    /// Sentences that a reader of the whole run should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What a person wrote about it. In the store it stands in a file beside the run's; an exported run carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
}

impl Run {
    /// Every figure was taken from a publication: nothing is known of samples, checks or conditions.
    pub fn is_published(&self) -> bool {
        let mut figures = self.entries.iter().filter_map(Entry::headline).peekable();
        figures.peek().is_some() && figures.all(|figure| figure.stop == StopReason::Published)
    }

    /// Another program took the figures, and a file of its own was read: nothing is known of how it warmed up, when it stopped,
    /// what it checked, and in which state the machine was.
    pub fn is_foreign(&self) -> bool {
        !self.is_published() && !self.app.is_roofline()
    }

    /// The day that it was started, as 2026-11-25; `None` where the file doesn't tell.
    pub fn day(&self) -> Option<String> {
        (self.started_at != Timestamp::UNIX_EPOCH).then(|| self.started_at.strftime("%Y-%m-%d").to_string())
    }

    /// The device of this id, if the run tells of it.
    pub fn device(&self, id: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.id == id)
    }

    /// The first device that isn't the processor and has a figure; before there are figures, the first that isn't.
    pub fn accelerator(&self) -> Option<&Device> {
        let has_figure = |entry: &&Entry| entry.headline().is_some();
        let none_yet = !self.entries.iter().any(|entry| has_figure(&entry));
        let measured = |device: &Device| self.entries.iter().filter(has_figure).any(|entry| entry.device == device.id);
        let mut devices = self.devices.iter().filter(|device| !device.software && device.kind != DeviceKind::Cpu);
        devices.find(|device| none_yet || measured(device))
    }

    /// What the run is of, in a line: the device that was measured where it isn't the processor, else the machine's chip, else
    /// the first device.
    pub fn measured(&self) -> String {
        let first = self.devices.first();
        let names = [self.accelerator().map(|device| device.name.as_str()), Some(self.machine.chip.as_str())];
        let names = names.into_iter().chain([first.map(|device| device.name.as_str())]).flatten();
        let words = names.map(|name| name.split_whitespace().collect::<Vec<_>>().join(" "));
        words.into_iter().find(|name| !name.is_empty()).unwrap_or_default()
    }

    /// The entry with the highest plausible headline among those that `wanted` accepts.
    pub fn best(&self, wanted: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        let fit = self.entries.iter().filter(|entry| wanted(entry) && entry.is_ranked());
        // A rate that is none, or in another unit, comes from a file that is wrong.
        let is_one = |entry: &Entry, figure: &&Measurement| {
            figure.unit == entry.workload.unit() && figure.summary.median.is_finite() && figure.summary.median > 0.0
        };
        let figures = fit
            .filter_map(|entry| Some((entry, entry.headline().filter(|figure| is_one(entry, figure))?.summary.median)));
        figures.max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(entry, _)| entry)
    }

    /// The best GEMM of one element type, or of any.
    pub fn best_gemm(&self, dtype: Option<Dtype>) -> Option<&Entry> {
        self.best(|entry| match &entry.workload {
            Workload::Gemm(gemm) => dtype.is_none_or(|dtype| dtype == gemm.dtype),
            _ => false,
        })
    }

    /// The best bandwidth of arrays that no cache holds.
    pub fn best_bandwidth(&self) -> Option<&Entry> {
        self.best(|entry| match &entry.workload {
            Workload::Bandwidth(bandwidth) => bandwidth.is_beyond_caches(),
            _ => false,
        })
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// It is going on, or the program died while it was.
    Running,
    /// Every entry was tried.
    Finished,
    /// The person cancelled it; entries finished before are kept.
    Cancelled,
}

/// The program that made a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppInfo {
    /// The version, as "0.1.0".
    pub version: String,
    /// The commit it was built from, with "+" when the tree had changes; "unknown" outside a repository.
    pub commit: String,
    /// The target it was built for, as "aarch64-apple-darwin".
    pub target: String,
    /// It was built with optimisation.
    pub optimised: bool,
}

impl AppInfo {
    /// Roofline's versions are bare numbers; others write their name before it.
    pub fn is_roofline(&self) -> bool {
        self.version.starts_with(|first: char| first.is_ascii_digit())
    }

    /// "Roofline 0.1.0", "llama-bench 4321".
    pub fn program(&self) -> String {
        match self.version.trim() {
            "" => "an unknown program".to_owned(),
            version if self.is_roofline() => format!("Roofline {version}"),
            version => version.to_owned(),
        }
    }

    /// The running program.
    pub fn current() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: env!("ROOFLINE_COMMIT").to_owned(),
            target: env!("ROOFLINE_TARGET").to_owned(),
            optimised: !cfg!(debug_assertions),
        }
    }
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SuiteInfo {
    /// "quick", "standard", "full" or "custom".
    pub name: String,
    /// The time allowed for all entries, in seconds.
    pub budget_s: f64,
}

/// One job of a run and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// What was measured.
    pub workload: Workload,
    /// Who did it.
    pub engine: EngineId,
    /// The id of the device it was done on.
    pub device: String,
    /// How it ended.
    pub outcome: Outcome,
    /// When it was started; absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub started_at: Option<Timestamp>,
    /// How long all of it took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<f64>,
    /// Floating-point operations of one iteration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flops: Option<f64>,
    /// Bytes that one iteration must move at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<f64>,
    /// The predicted duration in seconds of an entry that was skipped for its length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate_s: Option<f64>,
    /// What was measured, the headline first.
    #[serde(default)]
    pub measurements: Vec<Measurement>,
    /// The check of the timed result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// The arithmetic really used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// The kernel or code path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Settings that change the speed, by name.
    #[serde(default)]
    pub settings: std::collections::BTreeMap<String, String>,
    /// The canary before and after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Doubts about the figure: throttled, implausible, disturbed.
    #[serde(default)]
    pub marks: Vec<Mark>,
    /// Sentences that a reader of the figure should know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What the model said, of entries that ran one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// How busy the machine was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
}

/// How busy the machine was beside an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Load {
    /// Processes that ran or waited to run on average over the minute before the entry; absent where the system doesn't tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_before: Option<f64>,
    /// The same over the minute before its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_after: Option<f64>,
    /// Processor time ÷ wall time of an engine's own process while samples were taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processors_used: Option<f64>,
}

impl Entry {
    /// An entry that waits for its turn.
    pub fn pending(workload: Workload, engine: EngineId, device: &str) -> Self {
        Self {
            flops: workload.flops(),
            bytes: workload.bytes(),
            workload,
            engine,
            device: device.to_owned(),
            outcome: Outcome::Pending,
            started_at: None,
            duration_s: None,
            estimate_s: None,
            measurements: Vec::new(),
            check: None,
            precision: None,
            variant: None,
            settings: std::collections::BTreeMap::new(),
            canary: None,
            marks: Vec::new(),
            notes: Vec::new(),
            fingerprint: None,
            load: None,
        }
    }

    /// Takes over what the engine reported.
    pub fn fill(&mut self, report: Report) {
        self.measurements = report.measurements;
        self.check = report.check;
        self.precision = report.precision;
        self.variant = report.variant;
        self.settings = report.settings;
        self.notes.extend(report.notes);
        self.fingerprint = report.fingerprint;
        let functional = |reason| Mark { kind: MarkKind::Functional, reason };
        self.marks.extend(report.functional.map(functional));
        let disagrees = |reason| Mark { kind: MarkKind::Disagrees, reason };
        self.marks.extend(report.disagrees.map(disagrees));
        let unproven = |reason| Mark { kind: MarkKind::Unproven, reason };
        self.marks.extend(report.unproven.map(unproven));
        if let Some(used) = report.processors_used {
            self.load.get_or_insert_default().processors_used = Some(used);
        }
    }

    /// The first measurement, if it was done.
    pub fn headline(&self) -> Option<&Measurement> {
        self.measurements.first().filter(|_| self.outcome == Outcome::Done)
    }

    /// The value is impossible: it must never be shown as a best.
    pub fn is_implausible(&self) -> bool {
        self.is_marked(MarkKind::Implausible) || self.is_absurd()
    }

    /// The value is beyond any device. Marks are set while measuring, and a file may hold anything.
    pub fn is_absurd(&self) -> bool {
        self.headline().is_some_and(|figure| figure.summary.median > figure.unit.beyond_any_device())
    }

    /// The figure may stand beside others and be the best of them.
    pub fn is_ranked(&self) -> bool {
        !self.marks.iter().any(|mark| mark.kind.bars_from_ranking()) && !self.is_absurd()
    }

    /// Whether it has a mark of this kind.
    pub fn is_marked(&self, kind: MarkKind) -> bool {
        self.marks.iter().any(|mark| mark.kind == kind)
    }
}

/// How an entry ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", content = "reason", rename_all = "kebab-case")]
pub enum Outcome {
    /// It waits for its turn; in the file of an ended run, its turn never came.
    Pending,
    /// It was measured and its result was right.
    Done,
    /// The engine or device can't do it.
    Unsupported(String),
    /// It would have cost too much time or memory.
    Skipped(String),
    /// It went wrong.
    Failed(String),
    /// The person cancelled it.
    Cancelled,
}

impl Outcome {
    /// The word for a table.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pending => "Queued",
            Self::Done => "Done",
            Self::Unsupported(_) => "Unsupported",
            Self::Skipped(_) => "Skipped",
            Self::Failed(_) => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }

    /// Why, where there is a reason.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Unsupported(reason) | Self::Skipped(reason) | Self::Failed(reason) => Some(reason),
            Self::Pending | Self::Done | Self::Cancelled => None,
        }
    }
}

/// One fixed short kernel, timed before and after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Canary {
    /// Its time before, in seconds.
    pub before_s: f64,
    /// Its time after, in seconds.
    pub after_s: f64,
    /// Its time when the device was opened, in seconds: a device that heats up slowly drifts little in one entry and much in
    /// all. Absent in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_s: Option<f64>,
}

impl Canary {
    /// How much slower it became: 0.05 is 5 %. Negative when it became faster.
    pub fn drift(self) -> f64 {
        self.after_s / self.before_s - 1.0
    }

    /// How much slower it was after the entry than when the device was opened.
    pub fn slowdown(self) -> f64 {
        self.after_s / self.first_s.unwrap_or(self.before_s) - 1.0
    }
}

/// A doubt about a figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mark {
    /// What kind of doubt.
    pub kind: MarkKind,
    /// The reason with its numbers.
    pub reason: String,
}

/// The kind of a doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MarkKind {
    /// The canary slowed down: heat, a power limit, or another program.
    Throttled,
    /// The value is above what the hardware can do.
    Implausible,
    /// Too few samples, too wide an interval, or painted over.
    Uncertain,
    /// The engine works here, but its figures on this device say nothing of its speed: never ranked.
    Functional,
    /// The engine runs another model than the others: its tokens are not theirs. Never ranked.
    Disagrees,
    /// Whether the engine runs the same model as the others, or how long its work really took, could not be found out. Never
    /// ranked.
    Unproven,
}

impl MarkKind {
    /// The word beside a figure.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Implausible => "implausible",
            Self::Uncertain => "uncertain",
            Self::Functional => "functional only",
            Self::Disagrees => "disagrees",
            Self::Unproven => "unproven",
        }
    }

    /// Whether a figure with such a mark is never shown as a best.
    pub const fn bars_from_ranking(self) -> bool {
        matches!(self, Self::Implausible | Self::Functional | Self::Disagrees | Self::Unproven)
    }
}
