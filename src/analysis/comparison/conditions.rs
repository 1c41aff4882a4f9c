//! Every condition that isn't the same in all runs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    machine::{Device, Machine, PowerSource},
    record::{Outcome, Run},
    units::{Quantity, Unit, duration},
};

/// Load averages nearer than this are the same: a process more or less that runs half of the time.
const LOAD_SAME: f64 = 0.5;

/// Memory that is free varies all the time; what matters is whether a tenth more or less is.
const MEMORY_SAME: f64 = 0.1;

/// How many values of one setting are listed for a run.
const VALUES_MAX: usize = 4;

/// A condition and what it was in each run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What differs, as "Power source" or "PyTorch: torch".
    pub name: String,
    /// Its value in each run, in their order; absent where it isn't known.
    pub values: Vec<Option<String>>,
}

/// Whether a setting is what an entry was run with. The others are what came of it: an engine's own measurements, which are never
/// twice the same, how much was done in the time that there was, what the model is.
pub(super) fn is_condition(setting: &str) -> bool {
    const RESULTS: [&str; 12] = [
        "bits-per-weight",
        "compile-error",
        "fast-path",
        "files",
        "gradient-norm",
        "loss-fell",
        "parameters",
        "parity",
        "repetitions-per-test",
        "steps",
        "tokens-per-pass",
        "weight-bytes",
    ];
    !RESULTS.contains(&setting) && !["probe-", "tuned "].iter().any(|start| setting.starts_with(start))
}

/// What differs between the runs, the machine first. A run that stands beside itself comes before all: nothing can differ.
pub(super) fn differences(runs: &[&Run]) -> Vec<Difference> {
    let mut list = List { runs, found: Vec::new() };
    same(&mut list);
    machine(&mut list);
    conditions(&mut list);
    program(&mut list);
    devices(&mut list);
    engines(&mut list);
    list.found
}

struct List<'a> {
    runs: &'a [&'a Run],
    found: Vec<Difference>,
}

impl List<'_> {
    /// Adds a fact if it isn't the same everywhere.
    fn add(&mut self, name: &str, fact: impl Fn(&Run) -> Option<String>) {
        let values: Vec<Option<String>> = self.runs.iter().map(|run| fact(run)).collect();
        self.add_values(name.to_owned(), values);
    }

    fn add_values(&mut self, name: String, values: Vec<Option<String>>) {
        let values: Vec<_> = values.into_iter().map(|value| value.filter(|value| !value.trim().is_empty())).collect();
        if values.iter().any(|value| Some(value) != values.first()) {
            self.found.push(Difference { name, values });
        }
    }

    /// Adds a number where the runs lie further apart than `same` of two values allows.
    fn add_number(
        &mut self,
        name: &str,
        value: impl Fn(&Run) -> Option<f64>,
        same: impl Fn(f64, f64) -> bool,
        text: impl Fn(f64) -> String,
    ) {
        let values: Vec<Option<f64>> = self.runs.iter().map(|run| value(run)).collect();
        let known: Vec<f64> = values.iter().flatten().copied().collect();
        let (low, high) = known.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
        let some_missing = !known.is_empty() && known.len() < values.len();
        if some_missing || (!known.is_empty() && !same(low, high)) {
            let values = values.into_iter().map(|value| value.map(&text)).collect();
            self.found.push(Difference { name: name.to_owned(), values });
        }
    }
}

/// The runs that are copies of each other by their id.
fn same(list: &mut List<'_>) {
    let label = |index: usize| char::from(b'A' + index as u8);
    let twin = |(own, run): (usize, &&Run)| {
        let other = list.runs.iter().enumerate().find(|(index, other)| *index != own && other.id == run.id)?.0;
        Some(format!("the same run as {}", label(other)))
    };
    let values: Vec<Option<String>> = list.runs.iter().enumerate().map(twin).collect();
    if values.iter().any(Option::is_some) {
        list.found.push(Difference { name: "Run".to_owned(), values });
    }
}

fn bytes(value: f64) -> String {
    Quantity::new(value, Unit::Byte).to_string()
}

fn machine(list: &mut List<'_>) {
    list.add("Chip", |run| Some(run.machine.chip.clone()));
    list.add("Model", |run| run.machine.model.clone());
    list.add("Architecture", |run| Some(run.machine.architecture.clone()));
    list.add("Processor cores", |run| Some(cores(&run.machine)));
    list.add("GPU cores", |run| run.machine.gpu_cores.map(|count| count.to_string()));
    list.add("Memory", |run| (run.machine.memory_bytes > 0).then(|| bytes(run.machine.memory_bytes as f64)));
    list.add("Last-level cache", |run| run.machine.last_level_cache_bytes.map(|size| bytes(size as f64)));
    list.add("System", |run| Some(format!("{} {}", run.machine.os.name, run.machine.os.version)));
    list.add("System build", |run| run.machine.os.build.clone());
}

fn cores(machine: &Machine) -> String {
    let groups = machine.cpu_cores.iter().map(|group| format!("{} {}", group.count, group.kind));
    let logical = (machine.logical_cpus > 0).then(|| format!("{} logical", machine.logical_cpus));
    groups.chain(logical).collect::<Vec<_>>().join(", ")
}

fn conditions(list: &mut List<'_>) {
    list.add("Power source", |run| match run.conditions.power_source {
        PowerSource::Mains => Some("mains".to_owned()),
        PowerSource::Battery => Some("battery".to_owned()),
        PowerSource::Unknown => None,
    });
    let on_off = |on: bool| if on { "on" } else { "off" }.to_owned();
    list.add("Low-power mode", |run| run.conditions.low_power_mode.map(on_off));
    list.add_number(
        "Load average",
        |run| run.conditions.load_average.filter(|load| load.is_finite()),
        |low, high| high - low <= LOAD_SAME,
        |load| format!("{load:.2}"),
    );
    list.add_number(
        "Highest load beside an entry",
        |run| {
            let loads = run.entries.iter().filter_map(|entry| entry.load);
            let all = loads.flat_map(|load| [load.average_before, load.average_after]).flatten();
            all.filter(|load| load.is_finite()).reduce(f64::max)
        },
        |low, high| high - low <= LOAD_SAME,
        |load| format!("{load:.2}"),
    );
    list.add_number(
        "Free memory",
        |run| Some(run.conditions.available_memory_bytes as f64).filter(|free| *free > 0.0),
        |low, high| high - low <= MEMORY_SAME * high,
        bytes,
    );
    list.add("Window", |run| Some(if run.conditions.window_open { "open" } else { "none" }.to_owned()));
}

fn program(list: &mut List<'_>) {
    list.add("Roofline", |run| Some(run.app.version.clone()));
    list.add("Commit", |run| Some(run.app.commit.clone()));
    list.add("Built for", |run| Some(run.app.target.clone()));
    list.add("Optimised build", |run| Some(if run.app.optimised { "yes" } else { "no" }.to_owned()));
    list.add("Suite", |run| Some(run.suite.name.clone()));
    list.add("Time allowed", |run| Some(duration(run.suite.budget_s)));
}

fn devices(list: &mut List<'_>) {
    let all = |run: &Run, fact: &dyn Fn(&Device) -> String| {
        let facts: BTreeSet<String> = run.devices.iter().map(fact).filter(|fact| !fact.trim().is_empty()).collect();
        Some(joined(&facts))
    };
    list.add("Devices", |run| all(run, &Device::label));
    list.add("Driver", |run| {
        all(run, &|device| {
            let text = format!("{} {}", device.driver, device.driver_info);
            let text = text.trim();
            if text.is_empty() { String::new() } else { format!("{}: {text}", device.backend) }
        })
    });
}

/// The settings of the entries that are done, for each engine that several runs have: versions, flags, threads.
fn engines(list: &mut List<'_>) {
    type Settings = BTreeMap<(String, String), BTreeSet<String>>;
    let settings = |run: &&Run| {
        let mut all = Settings::new();
        for entry in run.entries.iter().filter(|entry| entry.outcome == Outcome::Done) {
            let title = entry.engine.title();
            // So that an engine without settings is known to be there.
            all.entry((title.to_owned(), String::new())).or_default();
            for (name, value) in entry.settings.iter().filter(|(name, _)| is_condition(name)) {
                all.entry((title.to_owned(), name.clone())).or_default().insert(value.clone());
            }
        }
        all
    };
    let all: Vec<Settings> = list.runs.iter().map(settings).collect();
    let names: BTreeSet<&(String, String)> = all.iter().flat_map(BTreeMap::keys).collect();
    let mut found: Vec<(String, Vec<Option<String>>)> = Vec::new();
    for key in names.into_iter().filter(|(_, name)| !name.is_empty()) {
        let has_engine = |settings: &&Settings| settings.contains_key(&(key.0.clone(), String::new()));
        if all.iter().filter(has_engine).count() > 1 {
            let values = all.iter().map(|settings| settings.get(key).map(joined)).collect();
            found.push((format!("{}: {}", key.0, key.1), values));
        }
    }
    for (name, values) in found {
        list.add_values(name, values);
    }
}

/// "a, b, c", cut where there are many.
fn joined(values: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = values.iter().map(String::as_str).take(VALUES_MAX).collect();
    let more = values.len().saturating_sub(VALUES_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
