//! What a person should know before a run starts or when reading one, in sentences.

use super::{rows::Tone, session::Session};
use crate::{
    machine::{Conditions, Device, Machine, PowerSource},
    record::{MarkKind, Outcome},
};

/// A sentence and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// How serious it is.
    pub(super) tone: Tone,
    /// What it says.
    pub(super) text: String,
}

/// Above this share of busy processors, other programs disturb a measurement.
const LOAD_SHARE_MAX: f64 = 0.25;

fn warn(text: impl Into<String>) -> Note {
    Note { tone: Tone::Warn, text: text.into() }
}

/// Said of a device that is emulated.
pub(super) const SOFTWARE: &str =
    "The shaders' device is emulated in software: their figures describe the processor, not a GPU";

/// What to know before a run.
pub(super) fn before(devices: &[&Device], machine: Option<&Machine>, conditions: Option<&Conditions>) -> Vec<Note> {
    let mut notes = Vec::new();
    if devices.iter().any(|device| device.software) {
        notes.push(warn(SOFTWARE));
    }
    let Some(conditions) = conditions else { return notes };
    if conditions.power_source == PowerSource::Battery {
        notes.push(warn("The machine runs on battery; connect it to mains for its full speed"));
    }
    if conditions.low_power_mode == Some(true) {
        notes.push(warn("Low-power mode is on; turn it off for the machine's full speed"));
    }
    let cpus = machine.map_or(0, |machine| machine.logical_cpus);
    if let Some(load) = conditions.load_average
        && cpus > 0
        && load > LOAD_SHARE_MAX * f64::from(cpus)
    {
        notes.push(warn(format!(
            "The load average is {load:.1} on {cpus} processors; close other programs for steadier figures"
        )));
    }
    notes
}

/// What to know of a run that ended.
pub(super) fn after(session: &Session) -> Vec<Note> {
    let run = &session.run;
    let mut notes = Vec::new();
    notes.extend(run.notes.iter().map(|text| Note { tone: Tone::Dim, text: text.clone() }));
    if run.devices.iter().any(|device| device.software) {
        notes.push(warn(SOFTWARE));
    }
    if run.conditions.power_source == PowerSource::Battery {
        notes.push(warn("Measured on battery"));
    }
    if run.conditions.low_power_mode == Some(true) {
        notes.push(warn("Measured in low-power mode"));
    }
    let marked = |kind| run.entries.iter().filter(|entry| entry.marks.iter().any(|mark| mark.kind == kind)).count();
    let failed = run.entries.iter().filter(|entry| matches!(entry.outcome, Outcome::Failed(_))).count();
    let counts = [
        (failed, Tone::Bad, "failed; the table says why"),
        (marked(MarkKind::Implausible), Tone::Warn, "implausible and not counted as a best"),
        (marked(MarkKind::Throttled), Tone::Warn, "throttled: the device slowed down meanwhile"),
        (marked(MarkKind::Disagrees), Tone::Warn, "not compared: the engine runs another model"),
        (marked(MarkKind::Unproven), Tone::Warn, "not compared: it isn't known whether the engine runs the same model"),
        (marked(MarkKind::Uncertain), Tone::Warn, "uncertain; the details of each say why"),
    ];
    for (count, tone, words) in counts.into_iter().filter(|(count, ..)| *count > 0) {
        let entries = if count == 1 { "entry" } else { "entries" };
        notes.push(Note { tone, text: format!("{count} {entries} {words}") });
    }
    notes
}
