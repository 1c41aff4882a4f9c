//! What a list shows of a run.

use std::path::{Path, PathBuf};

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::{About, Entry, Outcome, Run, RunState, about::line};
use crate::{
    engine::EngineId,
    units::{Quantity, Unit},
    workload::{InferencePhase, Workload, WorkloadKind},
};

/// Longer names from a file are cut in lists, so that a list stays small whatever is in the files.
const CHARS_MAX: usize = 160;

/// More engines or models than this are not told in lists.
const NAMES_MAX: usize = 16;

/// What a list of runs shows of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// Its file.
    #[serde(skip)]
    pub path: PathBuf,
    /// Its id.
    pub id: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// How long it took in seconds, if it ended.
    pub duration_s: Option<f64>,
    /// How it ended.
    pub state: RunState,
    /// The suite's name.
    pub suite: String,
    /// The device's or machine's name.
    pub device: String,
    /// The chip of the machine.
    pub machine: String,
    /// The engines that measured something in it.
    pub engines: Vec<EngineId>,
    /// The kinds of workload in it.
    pub kinds: Vec<WorkloadKind>,
    /// The language models in it, by name.
    pub models: Vec<String>,
    /// The best plausible GEMM rate in FLOP/s.
    pub best_flops: Option<f64>,
    /// The best plausible bandwidth in B/s.
    pub best_bandwidth: Option<f64>,
    /// The best plausible decode in tokens/s.
    pub best_decode: Option<f64>,
    /// How many entries are done, and how many there are.
    pub done: (usize, usize),
    /// What a person wrote about it.
    pub about: About,
    /// It is the baseline.
    #[serde(skip)]
    pub pinned: bool,
    /// Everything that a search looks at, in lower case.
    #[serde(skip)]
    pub(super) words: String,
}

/// A file in the store.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly all are runs: a box would only scatter ten thousand of them")]
pub enum Listed {
    /// A readable run.
    Run(RunHeader),
    /// A file that can't be read, with the reason.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why, as a whole sentence.
        reason: String,
    },
}

impl Listed {
    /// Its file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Run(header) => &header.path,
            Self::Unreadable { path, .. } => path,
        }
    }

    /// The run, if it can be read.
    pub const fn header(&self) -> Option<&RunHeader> {
        match self {
            Self::Run(header) => Some(header),
            Self::Unreadable { .. } => None,
        }
    }
}

/// Newest first, unreadable ones last.
pub fn sort_listed(listed: &mut [Listed]) {
    listed.sort_by(|a, b| match (a, b) {
        (Listed::Run(a), Listed::Run(b)) => b.started_at.cmp(&a.started_at).then_with(|| a.path.cmp(&b.path)),
        (Listed::Run(_), Listed::Unreadable { .. }) => std::cmp::Ordering::Less,
        (Listed::Unreadable { .. }, Listed::Run(_)) => std::cmp::Ordering::Greater,
        (Listed::Unreadable { path: a, .. }, Listed::Unreadable { path: b, .. }) => a.cmp(b),
    });
}

impl RunHeader {
    /// What a list shows of `run`.
    pub fn of(path: &Path, run: &Run) -> Self {
        let median = |best: Option<&Entry>| Some(best?.headline()?.summary.median).filter(|value| value.is_finite());
        let done = run.entries.iter().filter(|entry| entry.outcome == Outcome::Done).count();
        let device = run.measured();
        let decodes = |entry: &Entry| match &entry.workload {
            Workload::Inference(inference) => matches!(inference.phase, InferencePhase::Decode { .. }),
            _ => false,
        };
        let measured = run.entries.iter().filter(|entry| entry.outcome == Outcome::Done);
        let models = run.entries.iter().filter_map(|entry| entry.workload.model());
        let mut header = Self {
            path: path.to_owned(),
            id: line(&run.id, CHARS_MAX),
            started_at: run.started_at,
            duration_s: run.ended_at.map(|end| end.duration_since(run.started_at).as_secs_f64()),
            state: run.state,
            suite: line(&run.suite.name, CHARS_MAX),
            device: line(&device, CHARS_MAX),
            machine: line(&run.machine.chip, CHARS_MAX),
            engines: distinct(measured.map(|entry| entry.engine)),
            kinds: distinct(run.entries.iter().map(|entry| entry.workload.kind())),
            models: distinct(models.map(|model| line(&model.name, CHARS_MAX))),
            best_flops: median(run.best_gemm(None)),
            best_bandwidth: median(run.best_bandwidth()),
            best_decode: median(run.best(decodes)),
            done: (done, run.entries.len()),
            about: run.about.clone().and_then(About::cleaned).unwrap_or_default(),
            pinned: false,
            words: String::new(),
        };
        header.renew_words();
        header
    }

    /// Takes in what is written about the run now.
    pub fn set_about(&mut self, about: About) {
        self.about = about;
        self.renew_words();
    }

    /// Takes in whether it is the baseline.
    pub fn set_pinned(&mut self, pinned: bool) {
        if self.pinned != pinned {
            self.pinned = pinned;
            self.renew_words();
        }
    }

    /// Gathers the words that a search looks at: done where runs are listed, so that a search only looks.
    pub(super) fn renew_words(&mut self) {
        let about = &self.about;
        // As it is written in files, and as lists show it in the local time zone.
        let local = self.started_at.to_zoned(TimeZone::system());
        let dates = [
            self.started_at.strftime("%Y-%m-%d").to_string(),
            local.strftime("%Y-%m-%d %H:%M").to_string(),
            local.strftime("%-d %b %Y %H:%M").to_string(),
        ];
        let file = self.file_id();
        let mut all: Vec<&str> = vec![&file, &self.id, &self.suite, &self.device, &self.machine];
        all.extend(dates.iter().map(String::as_str));
        all.extend(self.models.iter().chain(&about.tags).chain(&about.name).chain(&about.note).map(String::as_str));
        all.extend(self.engines.iter().map(EngineId::title));
        all.extend(self.kinds.iter().map(|kind| kind.id()));
        all.extend(self.pinned.then_some(super::BASELINE));
        self.words = all.join("\n").to_lowercase();
    }

    /// Whether a word, in lower case, is in what a search looks at.
    pub fn has_word(&self, word: &str) -> bool {
        self.words.contains(word)
    }

    /// The headline of a list's row, as "44.41 TFLOPS · 3060 GB/s".
    pub fn headline(&self) -> String {
        let shown = |value: Option<f64>, unit| value.map(|value| Quantity::new(value, unit).to_string());
        let figures = [
            shown(self.best_flops, Unit::FlopPerSecond),
            shown(self.best_bandwidth, Unit::BytePerSecond),
            shown(self.best_decode, Unit::TokenPerSecond),
        ];
        let parts: Vec<String> = figures.into_iter().flatten().collect();
        if parts.is_empty() { "—".to_owned() } else { parts.join(" · ") }
    }

    /// The name of its file without the extension, which names it on the command line.
    pub fn file_id(&self) -> String {
        self.path.file_stem().map_or_else(|| self.id.clone(), |stem| stem.to_string_lossy().into_owned())
    }
}

/// The first few different ones, in order.
fn distinct<T: Ord + Clone>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut few: Vec<T> = Vec::new();
    for one in all {
        if few.len() < NAMES_MAX && !few.contains(&one) {
            few.push(one);
        }
    }
    few.sort();
    few
}
