//! `roofline runs`: the saved runs, found as in the window, and what is written about them.

use std::{
    collections::{BTreeSet, HashSet},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use jiff::tz::TimeZone;
use serde::Serialize;

use super::output::{self, Error, Exit};
use crate::{
    engine::EngineId,
    record::{About, ChangeError, Edit, Listed, Query, RunHeader, RunState, Sort, Store, saved},
    units::{Quantity, Unit, duration},
    workload::WorkloadKind,
};

/// So many are listed without being asked.
const LISTED: usize = 50;

/// What `runs` does.
#[derive(Debug, Args)]
pub struct RunsArguments {
    /// Which are listed
    #[command(flatten)]
    pub wanted: Wanted,
    /// What to do; the runs are listed without one
    #[command(subcommand)]
    pub command: Option<RunsCommand>,
}

/// Which runs are listed, and how.
#[derive(Debug, Args)]
pub struct Wanted {
    /// Only runs with all of these words in their name, note, tags, id, date, time, suite, device, engines or models
    #[arg(long, value_name = "WORDS")]
    pub search: Option<String>,
    /// Only runs in which this engine measured something
    #[arg(long)]
    pub engine: Option<EngineId>,
    /// Only runs with this workload: gemm, attention, bandwidth, bandwidth-sweep, tensor-limit, model-load, inference, training
    #[arg(long)]
    pub workload: Option<WorkloadKind>,
    /// Only runs on a chip or device whose name holds this
    #[arg(long, value_name = "NAME")]
    pub machine: Option<String>,
    /// Only runs with this tag
    #[arg(long)]
    pub tag: Option<String>,
    /// The order: started, name, suite, device, gemm, bandwidth, decode, state, took; newest and highest first
    #[arg(long, default_value = "started")]
    pub sort: Sort,
    /// The other way round
    #[arg(long)]
    pub reverse: bool,
    /// The most that are listed; 0 for all
    #[arg(long, value_name = "N", default_value_t = LISTED)]
    pub limit: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl Wanted {
    /// Something is said of the list.
    fn is_given(&self) -> bool {
        let filters = [&self.search, &self.machine, &self.tag].into_iter().any(Option::is_some);
        let kinds = self.engine.is_some() || self.workload.is_some();
        let order = self.sort != Sort::default() || self.reverse || self.limit != LISTED;
        filters || kinds || order || self.json
    }
}

/// What to do with saved runs. RUN is an id or its beginning, a name, or `baseline`.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// Give a run a name; an empty one takes it away
    Rename {
        /// Which run
        run: String,
        /// What it is called
        name: String,
    },
    /// Write a note about a run; an empty one takes it away
    Note {
        /// Which run
        run: String,
        /// The note
        note: String,
    },
    /// Give a run tags
    Tag {
        /// Which run
        run: String,
        /// The tags
        #[arg(required = true)]
        tags: Vec<String>,
    },
    /// Take tags from a run
    Untag {
        /// Which run
        run: String,
        /// The tags
        #[arg(required = true)]
        tags: Vec<String>,
    },
    /// Pin a run as the baseline: `baseline` names it then, wherever a run is named
    Pin {
        /// Which run
        run: String,
    },
    /// Pin no run any more
    Unpin,
    /// Move runs to the trash, where they stay for 30 days
    Delete {
        /// Which runs
        #[arg(required = true, value_name = "RUN")]
        runs: Vec<String>,
    },
    /// Get a deleted run back
    Restore {
        /// Its id, or the beginning of it
        id: String,
    },
    /// List the deleted runs that can be had back
    Deleted,
}

/// Does it.
pub(super) fn runs(arguments: &RunsArguments, data_dir: &Path) -> Result<Exit, Error> {
    let store = Store::at(data_dir);
    // Someone who narrows the list may think that only those are deleted. (clap's own check would refuse --data-dir too.)
    if arguments.command.is_some() && arguments.wanted.is_given() {
        return Err(Error::usage("filters, order and --json are for the list; leave them out, and name the runs"));
    }
    match &arguments.command {
        None => list(&store, &arguments.wanted),
        Some(RunsCommand::Rename { run, name }) => edit(&store, run, &[Edit::Name(name.clone())]),
        Some(RunsCommand::Note { run, note }) => edit(&store, run, &[Edit::Note(note.clone())]),
        Some(RunsCommand::Tag { run, tags }) => {
            edit(&store, run, &tags.iter().cloned().map(Edit::Tag).collect::<Vec<_>>())
        }
        Some(RunsCommand::Untag { run, tags }) => {
            edit(&store, run, &tags.iter().cloned().map(Edit::Untag).collect::<Vec<_>>())
        }
        Some(RunsCommand::Pin { run }) => {
            let path = find(&store, run)?;
            store.pin(Some(&path)).map_err(changed)?;
            output::complain(&format!("pinned as the baseline: {}", path.display()));
            Ok(Exit::Success)
        }
        Some(RunsCommand::Unpin) => {
            store.pin(None).map_err(changed)?;
            output::complain("no run is pinned any more");
            Ok(Exit::Success)
        }
        Some(RunsCommand::Delete { runs }) => delete(&store, runs),
        Some(RunsCommand::Restore { id }) => {
            let path = store.restore_named(id).map_err(Error::failure)?;
            output::complain(&format!("restored: {}", path.display()));
            Ok(Exit::Success)
        }
        Some(RunsCommand::Deleted) => {
            let ids =
                store.deleted().into_iter().filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()));
            output::write("-", &ids.map(|id| id + "\n").collect::<String>())?;
            Ok(Exit::Success)
        }
    }
}

fn find(store: &Store, name: &str) -> Result<PathBuf, Error> {
    saved(store, name).map_err(|error| Error::of_name(&error))
}

fn changed(error: ChangeError) -> Error {
    match error {
        ChangeError::Words(_) => Error::usage(error),
        _ => Error::failure(error),
    }
}

fn edit(store: &Store, run: &str, edits: &[Edit]) -> Result<Exit, Error> {
    let path = find(store, run)?;
    store.edit(&path, edits).map_err(changed)?;
    output::complain(&format!("written about: {}", path.display()));
    Ok(Exit::Success)
}

/// All that are named are found before any is deleted. One that is named twice is deleted once.
fn delete(store: &Store, names: &[String]) -> Result<Exit, Error> {
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut known = HashSet::new();
    for name in names {
        let path = find(store, name)?;
        if known.insert(path.clone()) {
            paths.push(path);
        }
    }
    let deleted = store.delete(&paths).map_err(changed)?;
    for error in &deleted.kept {
        output::complain(&error.to_string());
    }
    let count = deleted.runs.len();
    if count > 0 {
        let runs = if count == 1 { "1 run".to_owned() } else { format!("{count} runs") };
        output::complain(&format!("{runs} deleted; `roofline runs restore ID` gets one back for 30 days"));
    }
    Ok(if deleted.kept.is_empty() { Exit::Success } else { Exit::Failure })
}

/// A run as JSON.
#[derive(Serialize)]
struct Row<'a> {
    file: &'a Path,
    #[serde(flatten)]
    header: Option<&'a RunHeader>,
    baseline: bool,
    /// Why it can't be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<&'a str>,
}

fn list(store: &Store, wanted: &Wanted) -> Result<Exit, Error> {
    let listed = store.list();
    if let Some(engine) = wanted.engine {
        check_engine(engine, &listed)?;
    }
    let query = Query {
        search: wanted.search.clone().unwrap_or_default(),
        machine: wanted.machine.clone(),
        engine: wanted.engine,
        workload: wanted.workload,
        tag: wanted.tag.clone(),
        sort: wanted.sort,
        reversed: wanted.reverse,
    };
    let found = query.select(&listed);
    let most = if wanted.limit == 0 { usize::MAX } else { wanted.limit };
    let shown: Vec<&Listed> = found.iter().take(most).filter_map(|place| listed.get(*place)).collect();
    let text = if wanted.json {
        let rows: Vec<Row<'_>> = shown.iter().map(|one| row(one)).collect();
        serde_json::to_string_pretty(&rows).map_err(Error::failure)? + "\n"
    } else {
        table(&shown)
    };
    output::write("-", &text)?;
    if !wanted.json {
        let rest = found.len() - shown.len();
        if rest > 0 {
            output::complain(&format!("{rest} more; --limit 0 lists all"));
        } else if listed.is_empty() {
            output::complain("no run was saved yet; `roofline run` measures and saves one");
        } else if found.is_empty() {
            output::complain("no saved run fits");
        }
    }
    Ok(Exit::Success)
}

/// Any well-formed name may be an engine's: one that neither Roofline nor a saved run knows is a mistake.
fn check_engine(wanted: EngineId, listed: &[Listed]) -> Result<(), Error> {
    let saved = listed.iter().filter_map(Listed::header).flat_map(|header| &header.engines);
    let known: BTreeSet<EngineId> = EngineId::ALL.iter().chain(saved).copied().collect();
    if known.contains(&wanted) {
        return Ok(());
    }
    let known: Vec<&str> = known.iter().map(EngineId::id).collect();
    Err(Error::usage(format!("no saved run has an engine called \"{wanted}\"; choose from {}", known.join(", "))))
}

fn row(one: &Listed) -> Row<'_> {
    let (header, unreadable) = match one {
        Listed::Run(header) => (Some(header), None),
        Listed::Unreadable { reason, .. } => (None, Some(reason.as_str())),
    };
    Row { file: one.path(), header, baseline: header.is_some_and(|header| header.pinned), unreadable }
}

fn table(shown: &[&Listed]) -> String {
    if shown.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["Run", "Started", "Name", "Suite", "Device", "GEMM", "Bandwidth", "Decode", "State"]);
    for column in 5..=7 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for header in shown.iter().filter_map(|one| one.header()) {
        table.add_row(cells(header).map(Cell::new));
    }
    let unreadable = shown.iter().filter_map(|one| match one {
        Listed::Unreadable { reason, .. } => Some(format!("unreadable: {reason}\n")),
        Listed::Run(_) => None,
    });
    let table = if shown.iter().any(|one| one.header().is_some()) { format!("{table}\n") } else { String::new() };
    table + &unreadable.collect::<String>()
}

fn cells(header: &RunHeader) -> [String; 9] {
    let figure =
        |value: Option<f64>, unit| value.map_or_else(|| "—".to_owned(), |value| Quantity::new(value, unit).to_string());
    let (done, all) = header.done;
    let state = match header.state {
        RunState::Finished => "finished",
        RunState::Cancelled => "cancelled",
        RunState::Running => "not ended",
    };
    let took = header.duration_s.map_or_else(String::new, |seconds| format!(", {}", duration(seconds)));
    [
        header.file_id(),
        header.started_at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
        called(&header.about, header.pinned),
        header.suite.clone(),
        header.device.clone(),
        figure(header.best_flops, Unit::FlopPerSecond),
        figure(header.best_bandwidth, Unit::BytePerSecond),
        figure(header.best_decode, Unit::TokenPerSecond),
        format!("{state}, {done} of {all}{took}"),
    ]
}

/// The name, the tags, and whether it is the baseline.
fn called(about: &About, pinned: bool) -> String {
    let pin = pinned.then(|| "(baseline)".to_owned());
    let tags = about.tags.iter().map(|tag| format!("#{tag}"));
    about.name.clone().into_iter().chain(tags).chain(pin).collect::<Vec<_>>().join(" ")
}
