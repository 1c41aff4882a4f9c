//! Linux: reads /proc, /sys and /etc. Every path is below a root, so that the tests can lay out any machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use super::{Conditions, CoreGroup, Machine, PowerSource};

/// More processors than this are not looked at: the kernel's own limit.
const CPUS_MAX: u32 = 8192;

/// Where the file systems are mounted.
pub(super) struct Root(PathBuf);

impl Default for Root {
    fn default() -> Self {
        Self(PathBuf::from("/"))
    }
}

impl Root {
    /// The trimmed text of a file, if it can be read and says anything.
    fn read(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.0.join(path)).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        Some(text.to_owned()).filter(|text| !text.is_empty())
    }

    /// The paths of a folder's contents, sorted.
    fn list(&self, path: &str) -> Vec<String> {
        let Ok(folder) = fs::read_dir(self.0.join(path)) else { return Vec::new() };
        let names = folder.filter_map(|file| file.ok()?.file_name().into_string().ok());
        let mut paths: Vec<String> = names.map(|name| format!("{path}/{name}")).collect();
        paths.sort();
        paths
    }
}

/// Adds the chip, model, cores, cache and system version.
pub(super) fn fill(root: &Root, machine: &mut Machine) {
    machine.chip = root.read("proc/cpuinfo").and_then(|text| chip(&text)).unwrap_or_default();
    machine.model = model(root);
    let cpus = online_cpus(root);
    machine.logical_cpus = if cpus.is_empty() { machine.logical_cpus } else { cpus.len() as u32 };
    machine.cpu_cores = core_groups(root, &cpus);
    machine.last_level_cache_bytes = last_level_cache(root, &cpus);
    let release = root.read("etc/os-release").or_else(|| root.read("usr/lib/os-release")).unwrap_or_default();
    if let Some(name) = assigned(&release, "NAME") {
        machine.os.name = name;
        machine.os.version =
            assigned(&release, "VERSION_ID").or_else(|| assigned(&release, "BUILD_ID")).unwrap_or_default();
    }
    machine.os.build = root.read("proc/sys/kernel/osrelease").or(machine.os.build.take());
}

/// Adds the power source and whether the firmware's low-power profile is chosen.
pub(super) fn fill_power(root: &Root, conditions: &mut Conditions) {
    conditions.power_source = power_source(root);
    conditions.low_power_mode = root
        .read("sys/firmware/acpi/platform_profile")
        .map(|profile| matches!(profile.as_str(), "low-power" | "quiet"));
}

/// The processor's name from /proc/cpuinfo: written out on x86, in numbers on ARM.
fn chip(cpuinfo: &str) -> Option<String> {
    let value = |name: &str| {
        let lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim()).find(|value| !value.is_empty())
    };
    // Makers pad the name with spaces.
    let written = value("model name").map(|name| name.split_whitespace().collect::<Vec<_>>().join(" "));
    written.or_else(|| arm_core(value("CPU implementer")?, value("CPU part")?).map(str::to_owned))
}

/// The core that ARM's registers name, for those of the servers and boards that run machine learning.
/// Numbers: "Main ID Register" in each core's technical reference manual.
fn arm_core(implementer: &str, part: &str) -> Option<&'static str> {
    match (implementer, part) {
        ("0x41", "0xd08") => Some("ARM Cortex-A72"),
        ("0x41", "0xd0b") => Some("ARM Cortex-A76"),
        ("0x41", "0xd0c") => Some("ARM Neoverse N1"),
        ("0x41", "0xd40") => Some("ARM Neoverse V1"),
        ("0x41", "0xd49") => Some("ARM Neoverse N2"),
        ("0x41", "0xd4f") => Some("ARM Neoverse V2"),
        _ => None,
    }
}

/// The maker's name of the model, unless the maker left the placeholder in.
fn model(root: &Root) -> Option<String> {
    const PLACEHOLDERS: [&str; 5] =
        ["System Product Name", "To Be Filled By O.E.M.", "To be filled by O.E.M.", "Default string", "None"];
    root.read("sys/class/dmi/id/product_name")
        .or_else(|| root.read("proc/device-tree/model"))
        .filter(|name| !PLACEHOLDERS.contains(&name.as_str()))
}

/// The numbers of the processors that are switched on.
fn online_cpus(root: &Root) -> BTreeSet<u32> {
    root.read("sys/devices/system/cpu/online").map(|list| cpu_list(&list)).unwrap_or_default()
}

/// The numbers in a kernel list as "0-3,8,10-11".
fn cpu_list(list: &str) -> BTreeSet<u32> {
    let ends = |part: &str| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        Some((low.trim().parse::<u32>().ok()?, high.trim().parse::<u32>().ok()?.min(CPUS_MAX)))
    };
    list.split(',').filter_map(ends).flat_map(|(low, high)| low..=high).collect()
}

/// Physical cores by kind, fastest first: Intel's hybrids name theirs, ARM gives each a capacity, all others are alike.
fn core_groups(root: &Root, cpus: &BTreeSet<u32>) -> Vec<CoreGroup> {
    let group = |kind: &str, cpus: &BTreeSet<u32>| CoreGroup { kind: kind.to_owned(), count: physical(root, cpus) };
    let listed = |kind: &str| root.read(&format!("sys/devices/{kind}/cpus")).map(|list| cpu_list(&list));
    let mut groups = match (listed("cpu_core"), listed("cpu_atom")) {
        (Some(fast), Some(small)) => vec![group("Performance", &fast), group("Efficiency", &small)],
        _ => by_capacity(root, cpus).map_or_else(
            || vec![group("Core", cpus)],
            |kinds| kinds.iter().map(|(kind, cpus)| group(kind, cpus)).collect(),
        ),
    };
    groups.retain(|group| group.count > 0);
    groups
}

/// The processors by their relative speed as the kernel's scheduler knows it, fastest first; `None` if they are alike.
/// Those within a tenth of a kind's fastest belong to it: the same core is clocked a little differently in two clusters.
fn by_capacity(root: &Root, cpus: &BTreeSet<u32>) -> Option<Vec<(&'static str, BTreeSet<u32>)>> {
    let capacity = |cpu: &u32| root.read(&format!("sys/devices/system/cpu/cpu{cpu}/cpu_capacity"))?.parse::<u32>().ok();
    let mut capacities: Vec<(u32, u32)> = cpus.iter().filter_map(|cpu| Some((capacity(cpu)?, *cpu))).collect();
    capacities.sort_unstable_by(|a, b| b.cmp(a));
    let mut kinds: Vec<(u32, BTreeSet<u32>)> = Vec::new();
    for (capacity, cpu) in capacities {
        match kinds.last_mut() {
            Some((fastest, kind)) if capacity * 10 >= *fastest * 9 => {
                kind.insert(cpu);
            }
            _ => kinds.push((capacity, BTreeSet::from([cpu]))),
        }
    }
    let names: &[&str] = match kinds.len() {
        2 => &["Performance", "Efficiency"],
        3 => &["Prime", "Performance", "Efficiency"],
        _ => return None,
    };
    Some(names.iter().copied().zip(kinds.into_iter().map(|(_, kind)| kind)).collect())
}

/// How many cores these processors are: hardware threads of one core share its number and package.
fn physical(root: &Root, cpus: &BTreeSet<u32>) -> u32 {
    let place = |cpu: &u32| {
        let topology = format!("sys/devices/system/cpu/cpu{cpu}/topology");
        let siblings = root.read(&format!("{topology}/core_cpus_list"));
        siblings.or_else(|| root.read(&format!("{topology}/thread_siblings_list"))).unwrap_or_else(|| cpu.to_string())
    };
    cpus.iter().map(place).collect::<BTreeSet<_>>().len() as u32
}

/// The bytes of all caches of the highest level: a large processor has one for each group of cores.
fn last_level_cache(root: &Root, cpus: &BTreeSet<u32>) -> Option<u64> {
    let mut caches: BTreeMap<(u32, String), u64> = BTreeMap::new();
    for cpu in cpus {
        for index in root.list(&format!("sys/devices/system/cpu/cpu{cpu}/cache")) {
            let fact = |name: &str| root.read(&format!("{index}/{name}"));
            let level = fact("level").and_then(|level| level.parse().ok());
            let size = fact("size").and_then(|size| cache_size(&size));
            let data = fact("type").is_none_or(|kind| kind != "Instruction");
            if let (Some(level), Some(size), true) = (level, size, data) {
                caches.insert((level, fact("shared_cpu_list").unwrap_or_else(|| cpu.to_string())), size);
            }
        }
    }
    let last = caches.last_key_value()?.0.0;
    Some(caches.iter().filter(|((level, _), _)| *level == last).map(|(_, size)| size).sum())
}

/// The bytes of "32768K" or "260M".
fn cache_size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().ok()?;
    match text.strip_prefix(digits)? {
        "" => Some(number),
        "K" => number.checked_mul(1 << 10),
        "M" => number.checked_mul(1 << 20),
        "G" => number.checked_mul(1 << 30),
        _ => None,
    }
}

/// Mains if any supply is plugged in, else what the machine's own batteries do. A mouse has a battery too: its scope is
/// "Device".
fn power_source(root: &Root) -> PowerSource {
    let mut found = PowerSource::Unknown;
    for supply in root.list("sys/class/power_supply") {
        let fact = |name: &str| root.read(&format!("{supply}/{name}")).unwrap_or_default();
        if fact("scope") == "Device" {
            continue;
        }
        match (fact("type").as_str(), fact("online").as_str(), fact("status").as_str()) {
            ("Mains" | "USB", "1", _) => return PowerSource::Mains,
            ("Battery", _, "Discharging") => found = PowerSource::Battery,
            ("Battery", _, "Charging" | "Full" | "Not charging") if found == PowerSource::Unknown => {
                found = PowerSource::Mains;
            }
            _ => {}
        }
    }
    found
}

/// The value of `NAME="value"` in a file of shell assignments.
fn assigned(text: &str, name: &str) -> Option<String> {
    let values = text.lines().filter_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
    values.map(|value| value.trim().trim_matches(['"', '\'']).to_owned()).find(|value| !value.is_empty())
}

#[cfg(test)]
#[path = "linux_tests.rs"]
mod tests;
