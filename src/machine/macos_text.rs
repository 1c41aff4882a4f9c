//! What the words of macOS's tools mean: pure functions over text, so that they are tested on any platform.

use super::{CoreGroup, Machine, PowerSource};

/// The most kinds of cores that are asked for: Apple's chips have had up to three.
pub(super) const PERFORMANCE_LEVELS_MAX: u32 = 4;

/// Adds what `sysctl` tells: "name: value" lines.
pub(super) fn fill_chip(sysctl: &str, machine: &mut Machine) {
    let number = |name| value_of(sysctl, name).and_then(|value| value.parse::<u64>().ok());
    if let Some(chip) = value_of(sysctl, "machdep.cpu.brand_string") {
        chip.clone_into(&mut machine.chip);
    }
    machine.model = value_of(sysctl, "hw.model").map(str::to_owned).or(machine.model.take());
    machine.memory_bytes = number("hw.memsize").unwrap_or(machine.memory_bytes);
    machine.logical_cpus = number("hw.logicalcpu").map_or(machine.logical_cpus, |count| count as u32);
}

/// The kinds of cores, fastest first: level 0 is the fastest.
pub(super) fn core_groups(sysctl: &str) -> Vec<CoreGroup> {
    let group = |level| {
        let count = value_of(sysctl, &format!("hw.perflevel{level}.physicalcpu"))?.parse().ok()?;
        let kind = value_of(sysctl, &format!("hw.perflevel{level}.name")).unwrap_or("Core").to_owned();
        Some(CoreGroup { kind, count })
    };
    (0..PERFORMANCE_LEVELS_MAX).filter_map(group).filter(|group| group.count > 0).collect()
}

/// Adds what `sw_vers` tells.
pub(super) fn fill_version(sw_vers: &str, machine: &mut Machine) {
    if let Some(name) = value_of(sw_vers, "ProductName") {
        name.clone_into(&mut machine.os.name);
    }
    if let Some(version) = value_of(sw_vers, "ProductVersion") {
        version.clone_into(&mut machine.os.version);
    }
    if let Some(build) = value_of(sw_vers, "BuildVersion") {
        machine.os.build = Some(build.to_owned());
    }
}

/// The cores of the built-in GPU, from `system_profiler SPDisplaysDataType -json`. Cards of other makers tell none.
pub(super) fn gpu_cores(json: &str) -> Option<u32> {
    let root: serde_json::Value = serde_json::from_str(json).ok()?;
    let adapters = root.get("SPDisplaysDataType")?.as_array()?;
    let count = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.trim().parse().ok(),
        other => other.as_u64().and_then(|count| u32::try_from(count).ok()),
    };
    adapters.iter().filter_map(|adapter| adapter.get("sppci_cores")).find_map(count).filter(|count| *count > 0)
}

/// The power source, from the first line of `pmset -g batt`. A battery backup that has taken over counts as a battery.
pub(super) fn power_source(batt: &str) -> PowerSource {
    match batt.split('\'').nth(1) {
        Some("AC Power") => PowerSource::Mains,
        Some("Battery Power" | "UPS Power") => PowerSource::Battery,
        _ => PowerSource::Unknown,
    }
}

/// Whether low-power mode is on, from `pmset -g`. Machines with a high-power mode call the setting "powermode": 1 is low,
/// 2 is high.
pub(super) fn low_power_mode(settings: &str) -> Option<bool> {
    let fields = settings.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut modes = fields.filter_map(|fields| match fields.as_slice() {
        ["lowpowermode" | "powermode", value, ..] => value.parse::<u32>().ok(),
        _ => None,
    });
    modes.next().map(|mode| mode == 1)
}

/// The trimmed value of "name: value", if it is there and not empty.
fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let values = text.lines().filter_map(|line| line.split_once(':'));
    values.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim()).find(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const M1_SYSCTL: &str = "machdep.cpu.brand_string: Apple M1 Pro\nhw.memsize: 34359738368\nhw.model: MacBookPro18,3\n\
        hw.nperflevels: 2\nhw.logicalcpu: 10\n";
    const M1_LEVELS: &str = "hw.perflevel0.name: Performance\nhw.perflevel0.physicalcpu: 8\n\
        hw.perflevel1.name: Efficiency\nhw.perflevel1.physicalcpu: 2\n";
    const M5_SYSCTL: &str = "machdep.cpu.brand_string: Apple M5\nhw.memsize: 25769803776\nhw.model: Mac17,2\n\
        hw.nperflevels: 2\nhw.logicalcpu: 10\n";
    const M5_LEVELS: &str = "hw.perflevel0.name: Super\nhw.perflevel0.physicalcpu: 4\n\
        hw.perflevel1.name: Efficiency\nhw.perflevel1.physicalcpu: 6\n";
    const DISPLAYS: &str = r#"{"SPDisplaysDataType":[{"_name":"Apple M1 Pro","spdisplays_metalfamily":
        "spdisplays_mtlgpufamilyapple7","spdisplays_ndrvs":[{"_name":"Color LCD","_spdisplays_pixels":"3024 x 1964"}],
        "spdisplays_vendor":"sppci_vendor_Apple","sppci_bus":"spdisplays_builtin","sppci_cores":"16",
        "sppci_device_type":"spdisplays_gpu","sppci_model":"Apple M1 Pro"}]}"#;

    #[test]
    fn an_m1_pro_is_read() {
        let mut machine = Machine::default();
        fill_chip(M1_SYSCTL, &mut machine);
        fill_version("ProductName:\t\tmacOS\nProductVersion:\t\t14.6.1\nBuildVersion:\t\t23G93\n", &mut machine);
        assert_eq!((machine.chip.as_str(), machine.model.as_deref()), ("Apple M1 Pro", Some("MacBookPro18,3")));
        assert_eq!((machine.memory_bytes, machine.logical_cpus), (32 << 30, 10));
        assert_eq!((machine.os.name.as_str(), machine.os.version.as_str()), ("macOS", "14.6.1"));
        assert_eq!(machine.os.build.as_deref(), Some("23G93"));
        let groups: Vec<_> = core_groups(M1_LEVELS).into_iter().map(|group| (group.kind, group.count)).collect();
        assert_eq!(groups, [("Performance".to_owned(), 8), ("Efficiency".to_owned(), 2)]);
        assert_eq!(gpu_cores(DISPLAYS), Some(16));
    }

    #[test]
    fn an_m5_is_read_with_the_names_it_gives_its_cores() {
        let mut machine = Machine::default();
        fill_chip(M5_SYSCTL, &mut machine);
        assert_eq!((machine.chip.as_str(), machine.memory_bytes), ("Apple M5", 24 << 30));
        let groups = core_groups(M5_LEVELS);
        assert_eq!(
            groups.iter().map(|group| (group.kind.as_str(), group.count)).collect::<Vec<_>>(),
            [("Super", 4), ("Efficiency", 6)]
        );
    }

    #[test]
    fn gpu_cores_are_found_beside_other_cards_and_as_a_number() {
        let two = r#"{"SPDisplaysDataType":[{"_name":"AMD Radeon Pro"},{"_name":"Apple M5","sppci_cores":10}]}"#;
        assert_eq!(gpu_cores(two), Some(10));
        assert_eq!(gpu_cores(r#"{"SPDisplaysDataType":[{"_name":"AMD Radeon Pro 5500M"}]}"#), None);
    }

    #[test]
    fn the_power_source_is_read() {
        let battery =
            "Now drawing from 'Battery Power'\n -InternalBattery-0 (id=4653155)\t81%; discharging; 6:02 remaining\n";
        assert_eq!(power_source(battery), PowerSource::Battery);
        assert_eq!(power_source("Now drawing from 'AC Power'\n"), PowerSource::Mains);
        assert_eq!(power_source("Now drawing from 'UPS Power'\n"), PowerSource::Battery);
    }

    #[test]
    fn low_power_mode_is_read_under_both_names() {
        let settings =
            |line: &str| format!("System-wide power settings:\nCurrently in use:\n standby              1\n{line}\n");
        assert_eq!(low_power_mode(&settings(" lowpowermode         1")), Some(true));
        assert_eq!(low_power_mode(&settings(" lowpowermode         0")), Some(false));
        assert_eq!(low_power_mode(&settings(" powermode            2")), Some(false));
        assert_eq!(low_power_mode(&settings(" sleep                1 (sleep prevented by powerd)")), None);
    }

    #[test]
    fn what_is_not_told_stays_absent() {
        for text in [
            "",
            "garbage",
            "hw.memsize: lots\nhw.model:\nhw.perflevel0.physicalcpu: -1",
            "{\"SPDisplaysDataType\":7}",
            "'",
        ] {
            let mut machine = Machine { memory_bytes: 7, logical_cpus: 3, ..Machine::default() };
            let before = machine.clone();
            fill_chip(text, &mut machine);
            fill_version(text, &mut machine);
            assert_eq!(machine, before, "{text}");
            assert_eq!(core_groups(text), []);
            assert_eq!(gpu_cores(text), None);
            assert_eq!(power_source(text), PowerSource::Unknown);
            assert_eq!(low_power_mode(text), None);
        }
    }
}
