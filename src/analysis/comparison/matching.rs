//! Which entries are the same work.

use std::collections::HashMap;

use super::{Cause, Cell, Kind, Row, Side, conditions::is_condition};
use crate::{
    analysis::frameworks::{Place, reason_of, work},
    engine::EngineId,
    machine::{Device, DeviceKind},
    measure::Measurement,
    record::{Entry, Run},
    units::Unit,
    workload::Workload,
};

/// What makes two entries one row: the work, the engine where runs are compared, and what it runs on.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    workload: Workload,
    engine: Option<EngineId>,
    place: String,
}

/// The entries of one key, by side.
type Group = Vec<Vec<usize>>;

/// The rows in the order in which the first run that has them lists them, without verdicts.
pub(super) fn rows(kind: Kind, runs: &[&Run], sides: &[Side], baseline: usize, all_metrics: bool) -> Vec<Row> {
    let mut groups: Vec<(Key, Group)> = Vec::new();
    let mut known: HashMap<Key, usize> = HashMap::new();
    // The baseline's rows come first, in its order.
    let order = std::iter::once(baseline).chain((0..sides.len()).filter(|side| *side != baseline));
    for side in order {
        let Some((run, engine)) = sides.get(side).and_then(|side| Some((runs.get(side.run)?, side.engine))) else {
            continue;
        };
        for (index, entry) in run.entries.iter().enumerate() {
            if engine.is_some_and(|engine| engine != entry.engine) {
                continue;
            }
            let key = key(kind, run, entry);
            let place = *known.entry(key).or_insert_with_key(|key| {
                groups.push((key.clone(), vec![Vec::new(); sides.len()]));
                groups.len() - 1
            });
            groups
                .get_mut(place)
                .and_then(|(_, group)| group.get_mut(side))
                .into_iter()
                .for_each(|list| list.push(index));
        }
    }
    let view = View { runs, sides, baseline };
    let mut rows = Vec::new();
    for (key, group) in &groups {
        // Of one framework's several ways to do the same, engines are compared by the best.
        let parts = if kind == Kind::Runs { view.split(group) } else { vec![(Vec::new(), group.clone())] };
        for (apart, part) in parts {
            rows.extend(view.rows_of(key, &apart, &part, all_metrics));
        }
    }
    rows
}

fn key(kind: Kind, run: &Run, entry: &Entry) -> Key {
    let device = run.device(&entry.device);
    let (engine, place) = match kind {
        Kind::Runs => (Some(entry.engine), class(device).to_owned()),
        Kind::Engines => (None, Place::of(device, &entry.device).label()),
    };
    Key { workload: work(&entry.workload), engine, place }
}

/// What a device is, alike on every machine.
fn class(device: Option<&Device>) -> &'static str {
    match device {
        Some(device) if device.software => "emulated GPU",
        Some(device) if device.kind == DeviceKind::Cpu => "processor",
        Some(_) => "GPU",
        None => "unknown device",
    }
}

/// What tells two entries of one run and one key apart, by name.
fn properties(entry: &Entry) -> Vec<(&str, &str)> {
    let own = [("device", Some(entry.device.as_str())), ("variant", entry.variant.as_deref())];
    let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let settings = entry.settings.iter().filter(|(name, _)| is_condition(name));
    own.chain(settings.map(|(name, value)| (name.as_str(), value.as_str()))).collect()
}

struct View<'a> {
    runs: &'a [&'a Run],
    sides: &'a [Side],
    baseline: usize,
}

impl<'a> View<'a> {
    fn entry(&self, side: usize, index: usize) -> Option<&'a Entry> {
        self.runs.get(self.sides.get(side)?.run)?.entries.get(index)
    }

    /// Where a run has several entries of one key, those with equal settings belong together: the properties that differ among
    /// the entries of any one run tell the rows apart.
    fn split(&self, group: &Group) -> Vec<(Vec<(String, String)>, Group)> {
        let mut names: Vec<&str> = Vec::new();
        for (side, list) in group.iter().enumerate().filter(|(_, list)| list.len() > 1) {
            let mut all = list.iter().filter_map(|index| self.entry(side, *index)).map(properties);
            let first = all.next().unwrap_or_default();
            for other in all {
                let differs = |(name, value): &&(&'a str, &'a str)| {
                    value_of(&first, name) != Some(value) || value_of(&other, name) != Some(value)
                };
                for (name, _) in first.iter().chain(&other).filter(differs) {
                    if !names.contains(name) {
                        names.push(name);
                    }
                }
            }
        }
        if names.is_empty() {
            return vec![(Vec::new(), group.clone())];
        }
        let mut parts: Vec<(Vec<(String, String)>, Group)> = Vec::new();
        let mut known: HashMap<Vec<(String, String)>, usize> = HashMap::new();
        for (side, list) in group.iter().enumerate() {
            for index in list {
                let own = self.entry(side, *index).map(properties).unwrap_or_default();
                let property = |name: &&str| Some(((*name).to_owned(), value_of(&own, name)?.to_owned()));
                let apart: Vec<(String, String)> = names.iter().filter_map(property).collect();
                let place = *known.entry(apart).or_insert_with_key(|apart| {
                    parts.push((apart.clone(), vec![Vec::new(); group.len()]));
                    parts.len() - 1
                });
                parts.get_mut(place).and_then(|(_, part)| part.get_mut(side)).into_iter().for_each(|l| l.push(*index));
            }
        }
        parts
    }

    /// A row for the first metric, and one for each of the others if they are wanted.
    fn rows_of(&self, key: &Key, apart: &[(String, String)], group: &Group, all_metrics: bool) -> Vec<Row> {
        let chosen: Vec<Option<(usize, Vec<usize>)>> =
            group.iter().enumerate().map(|(side, list)| self.choose(side, list)).collect();
        let entry = |side: usize| self.entry(side, chosen.get(side)?.as_ref()?.0);
        let mut metrics: Vec<Option<(&str, Option<u64>)>> = vec![None];
        if all_metrics {
            let all = (0..group.len()).filter_map(entry).flat_map(|entry| entry.measurements.iter().skip(1));
            for other in all.filter(|other| other.metric != "predicted-memory" && other.unit != Unit::Nat) {
                let name = Some((other.metric.as_str(), other.at_bytes));
                if !metrics.contains(&name) {
                    metrics.push(name);
                }
            }
        }
        let row = |metric: Option<(&str, Option<u64>)>| {
            let found = |side: usize| entry(side).and_then(|entry| measurement(entry, metric));
            let unit = std::iter::once(self.baseline).chain(0..group.len()).find_map(found).map(|found| found.unit);
            let cell = |(side, chosen): (usize, &Option<(usize, Vec<usize>)>)| {
                let also = chosen.as_ref().map(|(_, also)| also.clone()).unwrap_or_default();
                let chosen = chosen.as_ref().map(|(index, _)| *index);
                let absence = entry(side).map_or_else(
                    || Some("not in this run".to_owned()),
                    |entry| measurement(entry, metric).is_none().then(|| absence(entry, metric.map(|(name, _)| name))),
                );
                let passed = (!also.is_empty()).then(|| format!("the best of {} entries", also.len() + 1));
                Cell {
                    entry: chosen,
                    also,
                    figure: None,
                    absence,
                    notes: passed.into_iter().collect(),
                    change: None,
                    verdict: None,
                    cause: Cause::Rate,
                }
            };
            Row {
                workload: self.first_workload(group).unwrap_or_else(|| key.workload.clone()),
                engine: key.engine,
                place: key.place.clone(),
                metric: metric.map(|(name, _)| name.to_owned()),
                at_bytes: metric.and_then(|(_, bytes)| bytes),
                apart: apart.to_vec(),
                unit: unit.unwrap_or_else(|| key.workload.unit()),
                cells: chosen.iter().enumerate().map(cell).collect(),
            }
        };
        metrics.into_iter().map(row).collect()
    }

    /// The workload as the first side that has it names it, with the bytes that its model's file has there.
    fn first_workload(&self, group: &Group) -> Option<Workload> {
        let first = group.iter().enumerate().find_map(|(side, list)| Some((side, *list.first()?)));
        first.and_then(|(side, index)| Some(self.entry(side, index)?.workload.clone()))
    }

    /// The entry that stands for a side, and the others: a figure before none, one that may be ranked before one that may not,
    /// the higher one, the first.
    fn choose(&self, side: usize, list: &[usize]) -> Option<(usize, Vec<usize>)> {
        let rank = |index: usize| {
            let entry = self.entry(side, index);
            let figure = entry.and_then(Entry::headline).map(|headline| headline.summary.median);
            (
                figure.is_some(),
                entry.is_some_and(Entry::is_ranked),
                figure.filter(|value| value.is_finite()).unwrap_or(0.0),
            )
        };
        let better = |a: &usize, b: &usize| {
            let (a, b) = (rank(*a), rank(*b));
            (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2))
        };
        // The last of equals is taken, so they are looked at from the end.
        let best = list.iter().rev().copied().max_by(better)?;
        Some((best, list.iter().copied().filter(|index| *index != best).collect()))
    }
}

fn value_of<'a>(properties: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    properties.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

impl Row {
    /// What an entry says of this row.
    pub fn measurement<'a>(&self, entry: &'a Entry) -> Option<&'a Measurement> {
        measurement(entry, self.metric.as_deref().map(|name| (name, self.at_bytes)))
    }
}

/// The measurement of a row: an entry's first, or the one of this name.
pub(super) fn measurement<'a>(entry: &'a Entry, metric: Option<(&str, Option<u64>)>) -> Option<&'a Measurement> {
    let first = entry.headline()?;
    let Some((name, at_bytes)) = metric else { return Some(first) };
    entry.measurements.iter().skip(1).find(|other| other.metric == name && other.at_bytes == at_bytes)
}

fn absence(entry: &Entry, metric: Option<&str>) -> String {
    match metric {
        Some(metric) if entry.headline().is_some() => format!("it has no {} there", metric.replace('-', " ")),
        _ => reason_of(entry),
    }
}
