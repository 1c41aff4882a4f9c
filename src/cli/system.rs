//! `roofline system`: the machine as the run file describes it.

use std::{fmt::Write as _, path::PathBuf};

use serde::Serialize;

use super::output::{self, Error, Exit};
use crate::{
    engine,
    machine::{self, Conditions, CoreGroup, Device, Machine, PowerSource},
    units::{Quantity, Unit, binary_size},
};

#[derive(Serialize)]
struct System {
    machine: Machine,
    conditions: Conditions,
    devices: Vec<Device>,
    data_dir: PathBuf,
}

/// Prints the machine.
pub(super) fn system(json: bool, data_dir: PathBuf) -> Result<Exit, Error> {
    let engines = engine::all(&super::surroundings(data_dir.clone()));
    // The others know the same devices, and take seconds to say so.
    let devices = engines
        .iter()
        .filter(|engine| engine.id().is_built_in())
        .filter_map(|engine| engine.devices().ok())
        .flatten()
        .collect();
    let system = System { machine: machine::detect(), conditions: machine::conditions(false), devices, data_dir };
    let text = if json { serde_json::to_string_pretty(&system).map_err(Error::failure)? + "\n" } else { text(&system) };
    output::write("-", &text)?;
    Ok(Exit::Success)
}

fn text(system: &System) -> String {
    let machine = &system.machine;
    let dash = || "—".to_owned();
    let cores = |group: &CoreGroup| format!("{} {}", group.count, group.kind);
    let os = format!("{} {} {}", machine.os.name, machine.os.version, machine.os.build.as_deref().unwrap_or_default());
    let power = match system.conditions.power_source {
        PowerSource::Mains => "mains".to_owned(),
        PowerSource::Battery => "battery".to_owned(),
        PowerSource::Unknown => dash(),
    };
    let memory = |bytes: u64| Quantity::new(bytes as f64, Unit::Byte).to_string();
    let mut facts = vec![
        ("Chip", machine.chip.clone()),
        ("Model", machine.model.clone().unwrap_or_else(dash)),
        ("Architecture", machine.architecture.clone()),
        ("Processor cores", machine.cpu_cores.iter().map(cores).collect::<Vec<_>>().join(", ")),
        ("Logical processors", machine.logical_cpus.to_string()),
        ("Last-level cache", machine.last_level_cache_bytes.map_or_else(dash, binary_size)),
        ("Memory", memory(machine.memory_bytes)),
        ("Available memory", memory(system.conditions.available_memory_bytes)),
        ("GPU cores", machine.gpu_cores.map_or_else(dash, |cores| cores.to_string())),
        ("Operating system", os.trim().to_owned()),
        ("Power source", power),
        ("Load average", system.conditions.load_average.map_or_else(dash, |load| format!("{load:.2}"))),
        ("Data folder", system.data_dir.display().to_string()),
    ];
    for device in &system.devices {
        facts.push(("Device", format!("{} ({}, {})", device.label(), device.id, device.kind)));
        facts.push(("  driver", format!("{} {}", device.driver, device.driver_info)));
        let limits = device.limits;
        let (buffer, binding) = (binary_size(limits.max_buffer_bytes), binary_size(limits.max_binding_bytes));
        facts.push(("  limits", format!("buffer {buffer}, binding {binding}")));
        facts.push(("  features", device.features.join(", ")));
    }
    let mut out = String::new();
    for (name, value) in facts {
        let value = if value.trim().is_empty() { dash() } else { value };
        writeln!(out, "{name:<20} {value}").ok();
    }
    out
}
