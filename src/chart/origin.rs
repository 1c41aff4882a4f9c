//! Where the figures of a chart come from, in a few words.

use super::Origin;
use crate::{
    machine::DeviceKind,
    record::{AppInfo, Run},
    units::{Quantity, Unit},
};

/// Longer names are cut: they come from files.
const NAME_MAX: usize = 64;

/// One for each run.
pub(super) fn origins(runs: &[&Run]) -> Vec<Origin> {
    runs.iter().map(|run| origin(run)).collect()
}

fn origin(run: &Run) -> Origin {
    Origin {
        run: run.id.clone(),
        machine: machine(run),
        date: run.started_at.strftime("%Y-%m-%d").to_string(),
        version: (!run.is_published()).then(|| run.app.version.clone()),
    }
}

/// "AMD EPYC 9R14, 1.50 TiB, NVIDIA H100 80GB HBM3": the chip, its memory, and devices of other names that were measured.
fn machine(run: &Run) -> String {
    let machine = &run.machine;
    let mut parts = vec![short(&machine.chip)];
    if machine.memory_bytes > 0 {
        parts.push(Quantity::new(machine.memory_bytes as f64, Unit::Byte).to_string());
    }
    let measured = |id: &str| run.entries.iter().any(|entry| entry.device == id && entry.headline().is_some());
    for device in run.devices.iter().filter(|device| device.kind != DeviceKind::Cpu && measured(&device.id)) {
        let name = short(device.name.trim());
        if !name.is_empty() && !parts.contains(&name) && parts.len() < 5 {
            parts.push(name);
        }
    }
    parts.retain(|part| !part.is_empty());
    if parts.is_empty() { "unknown machine".to_owned() } else { parts.join(", ") }
}

fn short(name: &str) -> String {
    let kept: String = name.chars().take(NAME_MAX).collect();
    if kept.len() < name.len() { format!("{}…", kept.trim_end()) } else { kept }
}

impl Origin {
    /// "Apple M5, 25.77 GB · 2026-11-25 · Roofline 0.1.0 · run 20261125T…".
    pub fn caption(&self) -> String {
        let by = match &self.version {
            Some(version) => format!("Roofline {version}"),
            None => format!("published figures, drawn by Roofline {}", AppInfo::current().version),
        };
        format!("{} · {} · {by} · run {}", self.machine, self.date, short(&self.run))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caption_says_what_machine_when_and_by_what() {
        let run = crate::record::reference().unwrap();
        let [origin] = &origins(&[&run])[..] else { panic!("one origin a run") };
        let by = format!("published figures, drawn by Roofline {}", AppInfo::current().version);
        assert_eq!(origin.caption(), format!("Apple M5, 25.77 GB · 2026-01-22 · {by} · run apple-m5"));
    }

    #[test]
    fn long_names_are_cut() {
        let mut run = crate::record::reference().unwrap();
        run.machine.chip = "x".repeat(5000);
        assert!(machine(&run).len() < 100);
    }
}
