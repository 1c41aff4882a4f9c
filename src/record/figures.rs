//! One metric over all saved runs: its figure in each, from an index beside that of the listing.
//!
//! The index is lines of text: `M` for a metric, `R` for the figures of a file. What is asked for is picked out of the lines, so
//! that of ten thousand runs only the figures of one metric are held.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    Entry, MarkKind, Run, Store,
    about::line,
    index::{self, Stamp},
    listing::Found,
};
use crate::{engine::EngineId, units::Unit, workload::WorkloadKind};

/// More entries than this are left out of the trends of a run.
const ENTRIES_MAX: usize = 4096;

/// The marks of a figure in the order of their bits: all that there are, so that none is lost on the way to a chart.
const MARKS: [MarkKind; 6] = [
    MarkKind::Throttled,
    MarkKind::Implausible,
    MarkKind::Uncertain,
    MarkKind::Functional,
    MarkKind::Disagrees,
    MarkKind::Unproven,
];

const _: () = assert!(MARKS.len() == MarkKind::Unproven as usize + 1, "a kind of marks has no bit");

/// What is measured again and again: one workload by one engine on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// Tells it from all others.
    #[serde(skip)]
    pub id: u64,
    /// The family of the workload.
    pub kind: WorkloadKind,
    /// The workload, as "GEMM f32".
    pub title: String,
    /// Its parameters, as "n = 4096".
    pub parameters: String,
    /// Who did it.
    pub engine: EngineId,
    /// The device's name.
    pub device: String,
    /// The unit of its figures.
    pub unit: Unit,
    /// How many figures of it there are.
    #[serde(skip)]
    pub figures: usize,
}

/// The figure of a metric in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The run's file.
    pub path: PathBuf,
    /// When the run was started.
    pub at: Timestamp,
    /// The median, in the unit's base.
    pub median: f64,
    /// The 95 % interval of the median, where there is one.
    pub interval: Option<(f64, f64)>,
    /// The doubts about it.
    pub marks: Vec<MarkKind>,
}

/// The metrics of the store, and the figures of one of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trend {
    /// Every metric, the most often measured first.
    pub metrics: Vec<Metric>,
    /// The metric that the figures are of.
    pub chosen: Option<u64>,
    /// Its figures, oldest first.
    pub figures: Vec<Figure>,
    /// Files that had to be read.
    pub read: usize,
}

/// A figure as the index keeps it: metric, median, interval, marks.
type Kept = (u64, f64, Option<(f64, f64)>, u8);

/// The figures of some runs, as lines of the index.
#[derive(Default)]
pub(super) struct Figures {
    metrics: BTreeMap<u64, String>,
    runs: Vec<(String, String)>,
}

impl Figures {
    /// Those of a run.
    pub(super) fn of(found: &Found, run: &Run) -> Self {
        let mut all = Self::default();
        let figures = run.entries.iter().take(ENTRIES_MAX);
        let kept: Vec<Kept> = figures.filter_map(|entry| all.keep(entry, run)).collect();
        all.add_line(found, run.started_at, &kept);
        all
    }

    /// A file without any.
    pub(super) fn none(found: &Found) -> Self {
        let mut all = Self::default();
        all.add_line(found, Timestamp::UNIX_EPOCH, &[]);
        all
    }

    fn keep(&mut self, entry: &Entry, run: &Run) -> Option<Kept> {
        let headline = entry.headline()?;
        let median = Some(headline.summary.median).filter(|median| median.is_finite())?;
        let device = run.device(&entry.device);
        let device = line(device.map_or(entry.device.as_str(), |device| device.name.as_str()), 160);
        let id = metric_id(entry, &device)?;
        let metric = || Metric {
            id,
            kind: entry.workload.kind(),
            title: line(&entry.workload.title(), 160),
            parameters: line(&entry.workload.parameters(), 160),
            engine: entry.engine,
            device,
            unit: headline.unit,
            figures: 0,
        };
        self.metrics.entry(id).or_insert_with(|| serde_json::to_string(&metric()).unwrap_or_default());
        let interval = headline.summary.interval.map(|interval| (interval.low, interval.high));
        let bits = MARKS.iter().enumerate().filter(|(_, mark)| entry.is_marked(**mark)).map(|(place, _)| 1 << place);
        Some((id, median, interval.filter(|(low, high)| low.is_finite() && high.is_finite()), bits.sum()))
    }

    fn add_line(&mut self, found: &Found, at: Timestamp, kept: &[Kept]) {
        let Some((name, stamp)) = &found.now else { return };
        if let (Ok(key), Ok(stamp), Ok(kept)) = (to_text(name), to_text(stamp), to_text(&kept)) {
            self.runs.push((name.clone(), format!("R\t{key}\t{stamp}\t{}\t{kept}", at.as_millisecond())));
        }
    }

    /// Takes in those of another.
    pub(super) fn add(&mut self, other: Self) {
        self.metrics.extend(other.metrics);
        self.runs.extend(other.runs);
    }

    /// How many files they are of.
    pub(super) const fn runs(&self) -> usize {
        self.runs.len()
    }
}

fn to_text<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<String> {
    serde_json::to_string(value)
}

/// The same for the same work by the same engine on the same device, on any machine and in any run.
fn metric_id(entry: &Entry, device: &str) -> Option<u64> {
    let text = serde_json::to_vec(&(&entry.workload, entry.engine, device)).ok()?;
    let digest = Sha256::digest(&text);
    let start: [u8; 8] = digest.first_chunk().copied()?;
    // 53 bits, so that any reader of JSON gets the same number.
    Some(u64::from_be_bytes(start) >> 11)
}

/// A line of the index that is about a file.
struct Line<'a> {
    file: String,
    stamp: Stamp,
    at: Timestamp,
    kept: &'a str,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split('\t').skip(1);
        Some(Self {
            file: serde_json::from_str(parts.next()?).ok()?,
            stamp: serde_json::from_str(parts.next()?).ok()?,
            at: Timestamp::from_millisecond(parts.next()?.parse().ok()?).ok()?,
            kept: parts.next()?,
        })
    }
}

/// Puts fresh figures into the index in `path`, and takes those out whose files are gone or others now.
pub(super) fn merge(path: &Path, files: &[Found], fresh: Figures) -> io::Result<()> {
    let old = index::read_checked(path, "figures").unwrap_or_default();
    index::write_checked(path, "figures", &merged(&old, files, fresh))
}

fn merged(old: &str, files: &[Found], fresh: Figures) -> String {
    let now = stamps(files);
    let (mut metrics, mut body) = (fresh.metrics, String::with_capacity(old.len()));
    let renewed: BTreeSet<&str> = fresh.runs.iter().map(|(name, _)| name.as_str()).collect();
    let mut is_less = false;
    for text in old.lines() {
        if let Some((id, metric)) = metric_line(text) {
            metrics.entry(id).or_insert_with(|| metric.to_owned());
        } else if let Some(line) = Line::parse(text)
            && now.get(line.file.as_str()) == Some(&line.stamp)
            && !renewed.contains(line.file.as_str())
        {
            writeln!(body, "{text}").ok();
        } else {
            is_less = true;
        }
    }
    for (_, text) in &fresh.runs {
        writeln!(body, "{text}").ok();
    }
    // A metric that no run has any more would stay for ever; none loses its last figure unless a line went.
    if is_less {
        let lines = body.lines().filter_map(Line::parse);
        let kept = lines.flat_map(|line| serde_json::from_str::<Vec<Kept>>(line.kept).unwrap_or_default());
        let used: BTreeSet<u64> = kept.map(|(id, ..)| id).collect();
        metrics.retain(|id, _| used.contains(id));
    }
    for (id, metric) in &metrics {
        writeln!(body, "M\t{id}\t{metric}").ok();
    }
    body
}

/// What each file is now, by its name.
fn stamps(files: &[Found]) -> HashMap<&str, Stamp> {
    files.iter().filter_map(|file| file.now.as_ref().map(|(name, stamp)| (name.as_str(), *stamp))).collect()
}

fn metric_line(text: &str) -> Option<(u64, &str)> {
    let (id, metric) = text.strip_prefix("M\t")?.split_once('\t')?;
    Some((id.parse().ok()?, metric))
}

impl Store {
    /// The metrics of all saved runs, and the figures of the one that is chosen; of the most often measured one where none is or
    /// it isn't there. Files that the index doesn't know are read first, as long as `goes_on`.
    pub fn trend(&self, chosen: Option<u64>, goes_on: &(dyn Fn() -> bool + Sync)) -> Trend {
        let files = self.files();
        let (body, read) = self.all_figures(&files, goes_on);
        let now = stamps(&files);
        let is_now = |line: &Line<'_>| now.get(line.file.as_str()) == Some(&line.stamp);
        let lines = body.lines().filter(|text| text.starts_with('R')).filter_map(Line::parse);
        let lines: Vec<Line<'_>> = lines.filter(is_now).collect();
        let metrics = counted(&body, &lines);
        let chosen = chosen.filter(|id| metrics.iter().any(|metric| metric.id == *id));
        let chosen = chosen.or_else(|| metrics.first().map(|metric| metric.id));
        let mut figures: Vec<Figure> = chosen.map_or_else(Vec::new, |id| self.figures_of(&lines, id));
        figures.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.path.cmp(&b.path)));
        Trend { metrics, chosen, figures, read }
    }

    /// The index's text with the files that it didn't know, and how many those were. That it can't be written is no loss but of
    /// time.
    fn all_figures(&self, files: &[Found], goes_on: &(dyn Fn() -> bool + Sync)) -> (String, usize) {
        let old = index::read_checked(&self.figures_path(), "figures").unwrap_or_default();
        let lines = old.lines().filter(|text| text.starts_with('R')).filter_map(Line::parse);
        let known: HashMap<String, Stamp> = lines.map(|line| (line.file, line.stamp)).collect();
        let is_stale = |file: &&Found| {
            file.now.as_ref().is_some_and(|(name, stamp)| known.get(name).is_none_or(|kept| kept != stamp))
        };
        let stale: Vec<&Found> = files.iter().filter(is_stale).collect();
        let read = |found: &&Found| {
            let figures = |run: Run| Figures::of(found, &run);
            goes_on().then(|| Self::load(&found.path).map_or_else(|_| Figures::none(found), figures))
        };
        let mut fresh = Figures::default();
        for figures in stale.par_iter().filter_map(read).collect::<Vec<_>>() {
            fresh.add(figures);
        }
        let read = fresh.runs();
        if read == 0 {
            return (old, 0);
        }
        let body = merged(&old, files, fresh);
        index::write_checked(&self.figures_path(), "figures", &body).ok();
        (body, read)
    }

    fn figures_of(&self, lines: &[Line<'_>], id: u64) -> Vec<Figure> {
        let mut all = Vec::new();
        for line in lines {
            let kept: Vec<Kept> = serde_json::from_str(line.kept).unwrap_or_default();
            for (_, median, interval, bits) in kept.into_iter().filter(|(of, ..)| *of == id) {
                let marks = MARKS.iter().enumerate().filter(|(place, _)| bits & (1 << place) != 0);
                let marks = marks.map(|(_, mark)| *mark).collect();
                all.push(Figure { path: self.folder().join(&line.file), at: line.at, median, interval, marks });
            }
        }
        all
    }
}

/// The metrics that any of the lines has figures of, the most often measured first.
fn counted(body: &str, lines: &[Line<'_>]) -> Vec<Metric> {
    let mut counts: HashMap<u64, usize> = HashMap::new();
    for line in lines {
        let kept: Vec<Kept> = serde_json::from_str(line.kept).unwrap_or_default();
        for (id, ..) in kept {
            *counts.entry(id).or_default() += 1;
        }
    }
    let named = body.lines().filter_map(metric_line).filter_map(|(id, text)| {
        let metric: Metric = serde_json::from_str(text).ok()?;
        Some(Metric { id, figures: *counts.get(&id)?, ..metric })
    });
    let mut metrics: Vec<Metric> = named.collect();
    let name = |metric: &Metric| (metric.kind, metric.title.clone(), metric.parameters.clone(), metric.engine);
    metrics.sort_by(|a, b| b.figures.cmp(&a.figures).then_with(|| name(a).cmp(&name(b))));
    metrics
}
