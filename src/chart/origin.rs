//! Where the figures of a chart come from, in a few words.

use super::Origin;
use crate::{
    machine::DeviceKind,
    record::{AppInfo, Run},
    units::memory_size,
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
        date: run.day().unwrap_or_default(),
        program: (!run.is_published()).then(|| run.app.program()),
    }
}

/// "AMD EPYC 9R14, 1.50 TiB, NVIDIA H100 80GB HBM3": the chip, its memory, and devices of other names that were measured.
fn machine(run: &Run) -> String {
    let machine = &run.machine;
    let mut parts = vec![short(&machine.chip)];
    if machine.memory_bytes > 0 {
        parts.push(memory_size(machine.memory_bytes));
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
    /// "Apple M5, 24 GiB · 2026-11-25 · Roofline 0.1.0 · run 20261125T…".
    pub fn caption(&self) -> String {
        let by = match &self.program {
            Some(program) => short(program),
            None => format!("published figures, drawn by {}", AppInfo::current().program()),
        };
        let parts = [self.machine.clone(), self.date.clone(), by, format!("run {}", short(&self.run))];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
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
        assert_eq!(origin.caption(), format!("Apple M5, 24 GiB · 2026-01-22 · {by} · run apple-m5"));
    }

    #[test]
    fn figures_of_another_program_are_not_called_roofline_s() {
        let mut run = crate::record::reference().unwrap();
        run.entries.clear();
        run.started_at = jiff::Timestamp::UNIX_EPOCH;
        "llama-bench 4321".clone_into(&mut run.app.version);
        assert_eq!(origin(&run).caption(), "Apple M5, 24 GiB · llama-bench 4321 · run apple-m5");
    }

    #[test]
    fn memory_of_any_size_has_words() {
        assert_eq!(memory_size((3 << 30) - 1), "3 GiB");
        assert_eq!(memory_size(u64::MAX), "17179869184 GiB");
    }

    #[test]
    fn long_names_are_cut() {
        let mut run = crate::record::reference().unwrap();
        run.machine.chip = "x".repeat(5000);
        assert!(machine(&run).len() < 100);
    }
}
