//! The machine's facts as pairs of words, for the screen and the clipboard.

use super::{
    rows::NONE,
    state::{Devices, State},
};
use crate::{
    engine::EngineId,
    machine::{Conditions, Machine, PowerSource},
    run::FoundDevice,
    units::{Quantity, Unit, binary_size},
};

/// A fact's name and its value, "—" if the platform doesn't tell.
pub(super) type Fact = (&'static str, String);

fn or_none(text: Option<String>) -> String {
    text.filter(|text| !text.trim().is_empty()).unwrap_or_else(|| NONE.to_owned())
}

/// What the hardware and the system are.
pub(super) fn machine_facts(machine: &Machine) -> Vec<Fact> {
    let kind = |kind: &str| if kind == "Core" { "cores".to_owned() } else { kind.to_lowercase() };
    let cores: Vec<String> =
        machine.cpu_cores.iter().map(|group| format!("{} {}", group.count, kind(&group.kind))).collect();
    let os = &machine.os;
    let memory = Some(machine.memory_bytes).filter(|bytes| *bytes > 0);
    vec![
        ("Chip", or_none(Some(machine.chip.clone()))),
        ("Model", or_none(machine.model.clone())),
        ("Architecture", or_none(Some(machine.architecture.clone()))),
        ("Processor cores", or_none(Some(cores.join(", ")))),
        ("Logical processors", or_none(Some(machine.logical_cpus).filter(|count| *count > 0).map(|n| n.to_string()))),
        ("GPU cores", or_none(machine.gpu_cores.map(|count| count.to_string()))),
        ("Memory", or_none(memory.map(|bytes| Quantity::new(bytes as f64, Unit::Byte).to_string()))),
        ("Last-level cache", or_none(machine.last_level_cache_bytes.map(binary_size))),
        ("Operating system", or_none(Some(format!("{} {}", os.name, os.version)))),
        ("Build", or_none(os.build.clone())),
    ]
}

/// What may change from run to run.
pub(super) fn condition_facts(conditions: &Conditions) -> Vec<Fact> {
    let power = match conditions.power_source {
        PowerSource::Mains => "Mains".to_owned(),
        PowerSource::Battery => "Battery".to_owned(),
        PowerSource::Unknown => NONE.to_owned(),
    };
    let low_power = conditions.low_power_mode.map(|on| if on { "On" } else { "Off" }.to_owned());
    let free = Some(conditions.available_memory_bytes).filter(|bytes| *bytes > 0);
    vec![
        ("Power source", power),
        ("Low-power mode", or_none(low_power)),
        ("Load average", or_none(conditions.load_average.map(|load| format!("{load:.2}")))),
        ("Free memory", or_none(free.map(|bytes| Quantity::new(bytes as f64, Unit::Byte).to_string()))),
    ]
}

/// What a device is and allows.
pub(super) fn device_facts(found: &FoundDevice) -> Vec<Fact> {
    let FoundDevice { engine, device, .. } = found;
    let limits = &device.limits;
    let (low, high) = limits.subgroup_sizes;
    let subgroup = if low == high { low.to_string() } else { format!("{low} to {high}") };
    let kind = if device.software { format!("{} (software)", device.kind) } else { device.kind.to_string() };
    let size = |bytes: u64| or_none(Some(bytes).filter(|bytes| *bytes > 0).map(binary_size));
    let mut facts = vec![
        ("Kind", super::rows::capitalised(&kind)),
        ("Engine", engine.to_string()),
        ("Backend", or_none(Some(device.backend.clone()))),
        ("Name for --device", device.id.clone()),
    ];
    // candle has no limits but the memory.
    if *engine == EngineId::Candle {
        let memory = Some(limits.max_buffer_bytes).filter(|bytes| *bytes > 0);
        facts.push(("Memory", or_none(memory.map(|bytes| Quantity::new(bytes as f64, Unit::Byte).to_string()))));
        return facts;
    }
    facts.extend([
        ("Driver", or_none(Some(format!("{} {}", device.driver, device.driver_info)))),
        ("PCI", or_none(device.pci.clone())),
        ("Largest buffer", size(limits.max_buffer_bytes)),
        ("Largest binding", size(limits.max_binding_bytes)),
        ("Workgroup memory", size(u64::from(limits.workgroup_memory_bytes))),
        ("Workgroup size", format!("{} invocations", limits.workgroup_invocations)),
        ("Subgroup size", subgroup),
        ("Features", or_none(Some(device.features.join(", ")))),
    ]);
    facts
}

/// Everything as lines of text.
pub(super) fn text(state: &State) -> String {
    let mut sections: Vec<(String, Vec<Fact>)> = Vec::new();
    if let Some(machine) = &state.machine {
        sections.push(("Machine".to_owned(), machine_facts(machine)));
    }
    if let Some(conditions) = &state.conditions {
        sections.push(("Now".to_owned(), condition_facts(conditions)));
    }
    if let Devices::Found(devices) = &state.devices {
        let section = |found: &FoundDevice| (found.device.name.clone(), device_facts(found));
        sections.extend(devices.iter().map(section));
    }
    let written = sections.into_iter().map(|(title, facts)| {
        let lines: Vec<String> = facts.into_iter().map(|(name, value)| format!("  {name}: {value}")).collect();
        format!("{title}\n{}\n", lines.join("\n"))
    });
    written.collect::<Vec<_>>().join("\n")
}
