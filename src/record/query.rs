//! Which saved runs are listed, and in which order: the same words in the window and on the command line.

use std::{cmp::Ordering, str::FromStr};

use super::{Listed, RunHeader, RunState};
use crate::{engine::EngineId, workload::WorkloadKind};

/// What is looked for, and how it is sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Words that must all be in what is listed of a run, whatever the case.
    pub search: String,
    /// A part of the chip's or device's name.
    pub machine: Option<String>,
    /// An engine that measured something.
    pub engine: Option<EngineId>,
    /// A kind of workload.
    pub workload: Option<WorkloadKind>,
    /// A tag.
    pub tag: Option<String>,
    /// What it is sorted by.
    pub sort: Sort,
    /// The other way round than usual.
    pub reversed: bool,
}

/// What a list is sorted by: times and figures highest first, words from A to Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// When it was started.
    #[default]
    Started,
    /// Its name.
    Name,
    /// The suite.
    Suite,
    /// The device.
    Device,
    /// The best GEMM rate.
    Gemm,
    /// The best bandwidth.
    Bandwidth,
    /// The best decode.
    Decode,
    /// How it ended.
    State,
    /// How long it took.
    Took,
}

impl Sort {
    /// Every one, in the order of the columns.
    pub const ALL: [Self; 9] = [
        Self::Started,
        Self::Name,
        Self::Suite,
        Self::Device,
        Self::Gemm,
        Self::Bandwidth,
        Self::Decode,
        Self::State,
        Self::Took,
    ];

    /// The word on the command line.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Name => "name",
            Self::Suite => "suite",
            Self::Device => "device",
            Self::Gemm => "gemm",
            Self::Bandwidth => "bandwidth",
            Self::Decode => "decode",
            Self::State => "state",
            Self::Took => "took",
        }
    }

    /// Whether the highest comes first.
    const fn is_descending(self) -> bool {
        matches!(self, Self::Started | Self::Gemm | Self::Bandwidth | Self::Decode | Self::Took)
    }

    /// How two runs stand to each other; what has no value comes last, either way round.
    fn compare(self, a: &RunHeader, b: &RunHeader, reversed: bool) -> Ordering {
        let turned = |order: Ordering| if reversed == self.is_descending() { order } else { order.reverse() };
        let numbers = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => turned(a.total_cmp(&b)),
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        let words = |a: &str, b: &str| match (a.is_empty(), b.is_empty()) {
            (false, false) => turned(folded(a).cmp(folded(b))),
            (a, b) => a.cmp(&b),
        };
        match self {
            Self::Started => turned(a.started_at.cmp(&b.started_at)),
            Self::Name => {
                words(a.about.name.as_deref().unwrap_or_default(), b.about.name.as_deref().unwrap_or_default())
            }
            Self::Suite => words(&a.suite, &b.suite),
            Self::Device => words(&a.device, &b.device),
            Self::Gemm => numbers(a.best_flops, b.best_flops),
            Self::Bandwidth => numbers(a.best_bandwidth, b.best_bandwidth),
            Self::Decode => numbers(a.best_decode, b.best_decode),
            Self::State => turned(place(a.state).cmp(&place(b.state))),
            Self::Took => numbers(a.duration_s, b.duration_s),
        }
    }
}

impl FromStr for Sort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|sort| sort.id() == text).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|sort| sort.id()).collect();
            format!("nothing to sort by; choose from {}", known.join(", "))
        })
    }
}

fn folded(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase)
}

const fn place(state: RunState) -> u8 {
    match state {
        RunState::Finished => 0,
        RunState::Cancelled => 1,
        RunState::Running => 2,
    }
}

impl Query {
    /// Whether anything is left out by it.
    pub fn is_narrow(&self) -> bool {
        let chosen = self.machine.is_some() || self.engine.is_some() || self.workload.is_some() || self.tag.is_some();
        chosen || !self.search.trim().is_empty()
    }

    /// The places of what it finds, sorted. Files that can't be read come last, and are found by their names alone.
    pub fn select(&self, listed: &[Listed]) -> Vec<usize> {
        let words: Vec<String> = self.search.split_whitespace().map(str::to_lowercase).collect();
        let machine = self.machine.as_ref().map(|machine| machine.to_lowercase());
        let tag = self.tag.as_ref().map(|tag| tag.to_lowercase());
        let mut found: Vec<(usize, &Listed)> = listed
            .iter()
            .enumerate()
            .filter(|(_, one)| self.filters(one, machine.as_deref(), tag.as_deref()))
            .filter(|(_, one)| words.is_empty() || has_words(one, &words))
            .collect();
        found.sort_by(|(_, a), (_, b)| match (a, b) {
            (Listed::Run(a), Listed::Run(b)) => {
                let order = self.sort.compare(a, b, self.reversed);
                order.then_with(|| b.started_at.cmp(&a.started_at)).then_with(|| a.path.cmp(&b.path))
            }
            (Listed::Run(_), Listed::Unreadable { .. }) => Ordering::Less,
            (Listed::Unreadable { .. }, Listed::Run(_)) => Ordering::Greater,
            (Listed::Unreadable { path: a, .. }, Listed::Unreadable { path: b, .. }) => a.cmp(b),
        });
        found.into_iter().map(|(place, _)| place).collect()
    }

    fn filters(&self, one: &Listed, machine: Option<&str>, tag: Option<&str>) -> bool {
        let Listed::Run(header) = one else {
            return machine.is_none() && tag.is_none() && self.engine.is_none() && self.workload.is_none();
        };
        let is_of =
            |part: &str| [&header.machine, &header.device].iter().any(|name| name.to_lowercase().contains(part));
        machine.is_none_or(is_of)
            && tag.is_none_or(|tag| header.about.tags.iter().any(|kept| kept.to_lowercase() == tag))
            && self.engine.is_none_or(|engine| header.engines.contains(&engine))
            && self.workload.is_none_or(|kind| header.kinds.contains(&kind))
    }
}

/// Whether all words are in what is listed of a run.
fn has_words(one: &Listed, words: &[String]) -> bool {
    match one {
        Listed::Run(header) => words.iter().all(|word| header.has_word(word)),
        Listed::Unreadable { path, .. } => {
            let name = path.file_stem().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
            words.iter().all(|word| name.contains(word.as_str()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::About;

    fn run(id: &str, flops: Option<f64>, name: &str) -> Listed {
        let mut run = crate::record::reference().unwrap();
        run.id = id.to_owned();
        let mut header = RunHeader::of(std::path::Path::new(&format!("/runs/{id}.json")), &run);
        let name = Some(name.to_owned()).filter(|name| !name.is_empty());
        header.set_about(About { name, tags: vec!["Fan".into()], ..About::default() });
        header.best_flops = flops;
        Listed::Run(header)
    }

    fn broken() -> Listed {
        Listed::Unreadable { path: "/runs/broken.json".into(), reason: "it is empty".into() }
    }

    #[test]
    fn what_has_no_value_comes_last_either_way() {
        let listed = [broken(), run("a", None, "b"), run("b", Some(1.0), ""), run("c", Some(-2.0), "A")];
        let by = |sort, reversed| Query { sort, reversed, ..Query::default() }.select(&listed);
        assert_eq!(by(Sort::Gemm, false), [2, 3, 1, 0]);
        assert_eq!(by(Sort::Gemm, true), [3, 2, 1, 0]);
        assert_eq!(by(Sort::Name, false), [3, 1, 2, 0]);
        assert_eq!(by(Sort::Name, true), [1, 3, 2, 0]);
        assert_eq!(by(Sort::Started, false), [1, 2, 3, 0], "the same moment: by file");
    }

    #[test]
    fn words_and_filters_find_runs() {
        let listed = [run("20260101-x", None, "Lüfter"), broken()];
        let found = |query: Query| query.select(&listed).len();
        let words = |text: &str| Query { search: text.into(), ..Query::default() };
        assert_eq!(found(words("")), 2);
        assert_eq!(found(words("lüFTER apple MISTRAL fan")), 1);
        assert_eq!(found(words("broken")), 1);
        let at = listed[0].header().unwrap().started_at;
        let shown = at.to_zoned(jiff::tz::TimeZone::system()).strftime("%-d %b %Y %H:%M").to_string();
        assert_eq!(found(words(&shown)), 1, "the date and time as lists show it: {shown}");
        assert_eq!(found(words(&shown.to_uppercase())), 1);
        assert_eq!(found(words("nowhere")), 0);
        assert_eq!(found(Query { machine: Some("m5".into()), ..Query::default() }), 1);
        assert_eq!(found(Query { tag: Some("FAN".into()), ..Query::default() }), 1);
        assert_eq!(found(Query { tag: Some("fa".into()), ..Query::default() }), 0);
        assert_eq!(found(Query { engine: Some(EngineId::Mlx), ..Query::default() }), 1);
        assert_eq!(found(Query { engine: Some(EngineId::Wgpu), ..Query::default() }), 0);
        assert_eq!(found(Query { workload: Some(WorkloadKind::Gemm), ..Query::default() }), 1);
    }
}
