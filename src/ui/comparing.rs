//! What is compared in the window: which runs, which of them leads, and what the comparison says.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    analysis::comparison::{Compared, SIDES_MAX},
    engine::EngineId,
    export::{Columns, comparison_markdown, comparison_tsv, plain, shell_word},
    record::{REFERENCE, Run},
};

/// What the person wants of the comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareAction {
    /// Take these in, as far as there is room.
    Add(Vec<RunSource>),
    /// Choose files in the system's dialog.
    ChooseFiles,
    /// Open or close the list of runs to choose from.
    Pick,
    /// Compare the run that is shown with the baseline.
    Shown,
    /// Hold all others against this run, which becomes the first.
    Baseline(usize),
    /// Take a run out.
    Remove(usize),
    /// Take all out.
    Clear,
    /// Compare the engines of this run, or the runs.
    Engines(Option<usize>),
    /// Hold the engines of the run against this one.
    Lead(EngineId),
    /// Compare every metric, or only each entry's first.
    AllMetrics(bool),
    /// Show the samples of a row, or hide them.
    Select(Option<usize>),
    /// Copy it.
    Copy(CompareText),
}

/// As what the comparison is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareText {
    /// Tab-separated values.
    Tsv,
    /// A Markdown document.
    Markdown,
    /// The command line that makes the same.
    Command,
}

/// Where a run comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunSource {
    /// The figures that are part of the program.
    Reference,
    /// A run file, saved or from elsewhere, or one of llama-bench's.
    File(PathBuf),
}

impl RunSource {
    /// Where a run that is shown comes from: `file` is the reference's name where it is that one.
    pub(super) fn of(file: PathBuf) -> Self {
        if file == Path::new(REFERENCE) { Self::Reference } else { Self::File(file) }
    }

    /// Whether it is this file.
    pub fn is_file(&self, path: &Path) -> bool {
        matches!(self, Self::File(own) if own == path)
    }
}

/// A run that is compared.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Where it came from.
    pub source: RunSource,
    /// What it is.
    pub run: Arc<Run>,
    /// What `roofline compare` calls it.
    pub name: String,
    /// The name that a person gave it.
    pub given: Option<String>,
}

impl Chosen {
    /// Whether engines can be compared within it.
    pub fn has_several_engines(&self) -> bool {
        let mut engines = self.run.entries.iter().map(|entry| entry.engine);
        engines.next().is_some_and(|first| engines.any(|engine| engine != first))
    }

    /// The name that it was given, else "Apple M5": the device that was measured, or the chip; else the id.
    pub fn title(&self) -> String {
        let given = self.given.as_deref().unwrap_or_default();
        let measured = self.run.measured();
        let names = [given, measured.as_str(), self.run.id.as_str()];
        plain(names.into_iter().find(|name| !name.trim().is_empty()).unwrap_or_default())
    }
}

/// A comparison that was made.
#[derive(Debug)]
pub struct Shown {
    /// What it says.
    pub compared: Compared,
    /// Its runs: those that were chosen, or the one whose engines are compared.
    pub runs: Vec<Arc<Run>>,
    /// Of each row what a search looks at, in lower case.
    pub words: Vec<String>,
    /// Which columns are needed beside the workload's.
    pub(super) columns: Columns,
    /// Which choice it answers; the rows that are listed are kept as long as it stays.
    pub(super) answers: u64,
}

/// Everything that the Compare view shows.
#[derive(Debug, Default)]
pub struct Comparing {
    /// The runs, the baseline first.
    pub chosen: Vec<Chosen>,
    /// The run whose engines are compared, instead of the runs.
    pub engines: Option<usize>,
    /// The engine that the others are held against, where the usual one isn't wanted.
    pub lead: Option<EngineId>,
    /// Every metric has a row.
    pub all_metrics: bool,
    /// The comparison that was made last.
    pub shown: Option<Shown>,
    /// Why there is none.
    pub error: Option<String>,
    /// The row whose samples are shown.
    pub selected: Option<usize>,
    /// Files are being read.
    pub reading: bool,
    /// A comparison is being made, or will be when the run that goes on has ended.
    pub pending: bool,
    /// Counts the choices that were made.
    pub(super) choice: u64,
}

impl Comparing {
    /// The choice has changed: what is shown is out of date.
    pub(super) fn touch(&mut self) {
        self.choice += 1;
        self.selected = None;
        self.error = None;
        if self.engines.is_some_and(|place| !self.chosen.get(place).is_some_and(Chosen::has_several_engines)) {
            self.engines = None;
        }
        self.pending = self.subject().is_some();
        if !self.pending {
            self.shown = None;
        }
    }

    /// The run whose engines are compared: the one that was asked for, or the only one there is.
    pub fn engines_of(&self) -> Option<usize> {
        self.engines.or_else(|| (self.chosen.len() == 1 && self.chosen.first()?.has_several_engines()).then_some(0))
    }

    /// What there is to compare: several runs, or the engines of one.
    fn subject(&self) -> Option<Vec<Arc<Run>>> {
        if let Some(place) = self.engines_of() {
            return Some(vec![Arc::clone(&self.chosen.get(place)?.run)]);
        }
        (self.chosen.len() > 1).then(|| self.chosen.iter().map(|chosen| Arc::clone(&chosen.run)).collect())
    }

    /// The comparison to make, if there is one.
    pub(super) fn question(&self) -> Option<Question> {
        Some(Question {
            choice: self.choice,
            runs: self.subject()?,
            engines: self.engines_of().is_some(),
            lead: self.lead,
            all_metrics: self.all_metrics,
        })
    }

    /// Whether an action makes sense now.
    pub(super) fn allows(&self, action: &CompareAction) -> bool {
        match action {
            // Whether a run is shown is the whole window's to say.
            CompareAction::Add(_)
            | CompareAction::ChooseFiles
            | CompareAction::Pick
            | CompareAction::Shown
            | CompareAction::Engines(None) => true,
            CompareAction::Baseline(place) => *place > 0 && *place < self.chosen.len(),
            CompareAction::Remove(place) => *place < self.chosen.len(),
            CompareAction::Engines(Some(place)) => self.chosen.get(*place).is_some_and(Chosen::has_several_engines),
            CompareAction::Lead(_) => self.engines_of().is_some(),
            CompareAction::AllMetrics(_) | CompareAction::Clear => !self.chosen.is_empty(),
            CompareAction::Select(_) | CompareAction::Copy(_) => self.shown.is_some(),
        }
    }

    /// The file of the baseline, if it is one.
    pub fn baseline_file(&self) -> Option<&PathBuf> {
        match &self.chosen.first()?.source {
            RunSource::File(path) => Some(path),
            RunSource::Reference => None,
        }
    }

    /// Whether this is compared already.
    pub fn holds(&self, source: &RunSource) -> bool {
        self.chosen.iter().any(|chosen| chosen.source == *source)
    }

    /// How many more fit.
    pub fn room(&self) -> usize {
        SIDES_MAX.saturating_sub(self.chosen.len())
    }

    /// Changes the choice; files and dialogs are the background's.
    pub(super) fn change(&mut self, action: &CompareAction) {
        match *action {
            CompareAction::Baseline(place) => {
                if let Some(front) = self.chosen.get_mut(..=place) {
                    front.rotate_right(1);
                }
                // The run whose engines are compared stays the same one.
                self.engines = self.engines.map(|engines| match engines.cmp(&place) {
                    std::cmp::Ordering::Less => engines + 1,
                    std::cmp::Ordering::Equal => 0,
                    std::cmp::Ordering::Greater => engines,
                });
            }
            CompareAction::Remove(place) if place < self.chosen.len() => {
                self.chosen.remove(place);
                self.engines = self.engines.filter(|engines| *engines != place);
                self.engines = self.engines.map(|engines| engines - usize::from(engines > place));
            }
            CompareAction::Clear => {
                self.chosen.clear();
                self.engines = None;
            }
            CompareAction::Engines(place) => self.engines = place,
            CompareAction::Lead(engine) => self.lead = Some(engine),
            CompareAction::AllMetrics(on) => self.all_metrics = on,
            CompareAction::Select(row) => {
                let rows = self.shown.as_ref().map_or(0, |shown| shown.compared.rows.len());
                self.selected = row.filter(|row| *row < rows);
                return;
            }
            _ => return,
        }
        self.touch();
    }

    /// What is copied.
    pub(super) fn text(&self, text: CompareText) -> String {
        let Some(shown) = &self.shown else { return String::new() };
        match text {
            CompareText::Tsv => comparison_tsv(&shown.compared),
            CompareText::Markdown => {
                let runs: Vec<&Run> = shown.runs.iter().map(AsRef::as_ref).collect();
                comparison_markdown(&runs, &shown.compared)
            }
            CompareText::Command => self.command(),
        }
    }

    /// The command line that makes the same comparison.
    pub fn command(&self) -> String {
        // What nobody can type is left to be filled in.
        let word = |text: &str| shell_word(text).unwrap_or_else(|| "FILE".to_owned());
        let mut words = vec!["roofline compare".to_owned()];
        if let Some(chosen) = self.engines_of().and_then(|place| self.chosen.get(place)) {
            words.extend([word(&chosen.name), "--engines".to_owned()]);
            words.extend(self.lead.map(|lead| format!("--baseline {}", word(lead.id()))));
        } else {
            words.extend(self.chosen.iter().map(|chosen| word(&chosen.name)));
        }
        words.extend(self.all_metrics.then(|| "--all-metrics".to_owned()));
        words.join(" ")
    }
}

/// What the background is asked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// Which choice it belongs to.
    pub(super) choice: u64,
    runs: Vec<Arc<Run>>,
    engines: bool,
    lead: Option<EngineId>,
    all_metrics: bool,
}

impl Question {
    /// The answer, or why there is none. Takes up to a second for ten thousand rows.
    pub(super) fn answer(&self) -> Result<Shown, String> {
        let options = crate::analysis::comparison::Options { all_metrics: self.all_metrics, ..Default::default() };
        let all: Vec<&Run> = self.runs.iter().map(AsRef::as_ref).collect();
        let compared = match all.as_slice() {
            [one] if self.engines => {
                // An engine that another run had is no reason to compare nothing.
                let lead = self.lead.filter(|lead| one.entries.iter().any(|entry| entry.engine == *lead));
                Compared::of_engines(one, lead, options)
            }
            several => Compared::of_runs(several, 0, options),
        };
        let compared = compared.map_err(|error| error.to_string())?;
        let words = |row: &crate::analysis::comparison::Row| {
            let engine = row.engine.map(|engine| engine.title().to_owned()).unwrap_or_default();
            let verdicts = row.cells.iter().filter_map(|cell| Some(cell.verdict.as_ref()?.word(row.unit)));
            let verdicts = verdicts.collect::<Vec<_>>().join(" ");
            format!("{} {} {engine} {} {verdicts}", row.title(), row.parameters(), row.place).to_lowercase()
        };
        let words = compared.rows.iter().map(words).collect();
        let columns = Columns::of(&compared);
        Ok(Shown { compared, runs: self.runs.clone(), words, columns, answers: self.choice })
    }
}

/// What the command line calls a run that lies at `source`: its id where it is saved in `folder`.
pub(super) fn name_of(source: &RunSource, folder: &Path) -> String {
    match source {
        RunSource::Reference => REFERENCE.to_owned(),
        RunSource::File(path) => {
            let id = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json"));
            match id.filter(|_| path.parent() == Some(folder)) {
                Some(id) => id.to_owned(),
                None => path.to_string_lossy().into_owned(),
            }
        }
    }
}
