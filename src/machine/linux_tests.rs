//! Machines laid out in a folder.

use super::*;

/// A root folder with these files.
fn laid_out(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let root = Root(folder.path().to_owned());
    (folder, root)
}

fn kinds(groups: &[CoreGroup]) -> Vec<(&str, u32)> {
    groups.iter().map(|group| (group.kind.as_str(), group.count)).collect()
}

#[test]
fn a_server_with_hardware_threads_and_two_caches_is_read() {
    let mut files = vec![
        ("proc/cpuinfo".to_owned(), "processor\t: 0\nmodel name\t: AMD EPYC 9R14  96-Core   Processor\n"),
        (
            "etc/os-release".to_owned(),
            "PRETTY_NAME=\"Debian GNU/Linux 12\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n",
        ),
        ("proc/sys/kernel/osrelease".to_owned(), "6.1.0-28-amd64\n"),
        ("sys/class/dmi/id/product_name".to_owned(), "c7a.metal\n"),
        ("sys/devices/system/cpu/online".to_owned(), "0-7\n"),
    ];
    let cpu = "sys/devices/system/cpu/cpu";
    for (number, siblings) in ["0,4", "1,5", "2,6", "3,7"].into_iter().cycle().take(8).enumerate() {
        let half = if number % 4 < 2 { "0-1,4-5\n" } else { "2-3,6-7\n" };
        files.push((format!("{cpu}{number}/topology/core_cpus_list"), siblings));
        files.push((format!("{cpu}{number}/cache/index1/level"), "1"));
        files.push((format!("{cpu}{number}/cache/index1/type"), "Instruction"));
        files.push((format!("{cpu}{number}/cache/index1/size"), "32K"));
        files.push((format!("{cpu}{number}/cache/index3/level"), "3"));
        files.push((format!("{cpu}{number}/cache/index3/type"), "Unified"));
        files.push((format!("{cpu}{number}/cache/index3/size"), "32768K\n"));
        files.push((format!("{cpu}{number}/cache/index3/shared_cpu_list"), half));
    }
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let (_folder, root) = laid_out(&files);
    let mut machine = Machine::default();
    fill(&root, &mut machine);
    assert_eq!(machine.chip, "AMD EPYC 9R14 96-Core Processor");
    assert_eq!(machine.model.as_deref(), Some("c7a.metal"));
    assert_eq!((kinds(&machine.cpu_cores), machine.logical_cpus), (vec![("Core", 4)], 8));
    assert_eq!(machine.last_level_cache_bytes, Some(64 << 20));
    assert_eq!((machine.os.name.as_str(), machine.os.version.as_str()), ("Debian GNU/Linux", "12"));
    assert_eq!(machine.os.build.as_deref(), Some("6.1.0-28-amd64"));
}

#[test]
fn an_intel_hybrid_names_its_kinds() {
    let cpu = |number: u32| format!("sys/devices/system/cpu/cpu{number}/topology/core_cpus_list");
    let (pairs, small) = (["0-1", "0-1", "2-3", "2-3"], ["4", "5", "6", "7"]);
    let topology: Vec<_> = (0..8).map(cpu).zip(pairs.into_iter().chain(small)).collect();
    let mut files: Vec<_> = topology.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    files.extend([("sys/devices/cpu_core/cpus", "0-3\n"), ("sys/devices/cpu_atom/cpus", "4-7\n")]);
    let (_folder, root) = laid_out(&files);
    let cpus = (0..8).collect();
    assert_eq!(kinds(&core_groups(&root, &cpus)), [("Performance", 2), ("Efficiency", 4)]);
}

#[test]
fn arm_cores_are_told_apart_by_capacity() {
    let groups = |capacities: &[&str]| {
        let path = |cpu| format!("sys/devices/system/cpu/cpu{cpu}/cpu_capacity");
        let paths: Vec<_> = (0..capacities.len()).map(path).collect();
        let files: Vec<_> = paths.iter().map(String::as_str).zip(capacities.iter().copied()).collect();
        let (_folder, root) = laid_out(&files);
        let cpus = (0..capacities.len() as u32).collect();
        let found = core_groups(&root, &cpus);
        found.into_iter().map(|group| format!("{} {}", group.count, group.kind)).collect::<Vec<_>>()
    };
    assert_eq!(groups(&["530", "530", "1010", "1024"]), ["2 Performance", "2 Efficiency"]);
    assert_eq!(groups(&["250", "760", "760", "1024"]), ["1 Prime", "2 Performance", "1 Efficiency"]);
    assert_eq!(groups(&["1024", "1024"]), ["2 Core"]);
}

#[test]
fn arm_processors_are_named_by_their_numbers() {
    let cpuinfo = "processor\t: 0\nBogoMIPS\t: 2000.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n";
    assert_eq!(chip(cpuinfo).as_deref(), Some("ARM Neoverse V2"));
    assert_eq!(chip("CPU implementer\t: 0x99\nCPU part\t: 0x001\n"), None);
}

#[test]
fn lists_and_sizes_are_read_and_nonsense_is_not() {
    assert_eq!(cpu_list("0-2,5,8-9").into_iter().collect::<Vec<_>>(), [0, 1, 2, 5, 8, 9]);
    assert!(cpu_list("x,-,9-3,").is_empty());
    assert!(cpu_list("0-4294967295").len() <= CPUS_MAX as usize + 1);
    assert_eq!(
        ["512", "1024K", "260M", "1G"].map(cache_size),
        [Some(512), Some(1 << 20), Some(260 << 20), Some(1 << 30)]
    );
    assert_eq!(["", "K", "5Q", "99999999999999999999K"].map(cache_size), [None; 4]);
}

#[test]
fn the_power_source_is_found_among_the_supplies() {
    let source = |files: &[(&str, &str)]| {
        let files: Vec<_> =
            files.iter().map(|(path, text)| (format!("sys/class/power_supply/{path}"), *text)).collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let (_folder, root) = laid_out(&files);
        power_source(&root)
    };
    let battery = [("BAT0/type", "Battery"), ("BAT0/status", "Discharging")];
    assert_eq!(source(&battery), PowerSource::Battery);
    assert_eq!(source(&[battery[0], battery[1], ("AC/type", "Mains"), ("AC/online", "0")]), PowerSource::Battery);
    assert_eq!(source(&[battery[0], battery[1], ("AC/type", "Mains"), ("AC/online", "1")]), PowerSource::Mains);
    assert_eq!(source(&[battery[0], ("BAT0/status", "Full")]), PowerSource::Mains);
    let mouse = [("hid/type", "Battery"), ("hid/status", "Discharging"), ("hid/scope", "Device")];
    assert_eq!(source(&mouse), PowerSource::Unknown);
    assert_eq!(source(&[]), PowerSource::Unknown);
}

#[test]
fn the_low_power_profile_is_told_where_there_is_one() {
    let mode = |files: &[(&str, &str)]| {
        let (_folder, root) = laid_out(files);
        let mut conditions = Conditions::default();
        fill_power(&root, &mut conditions);
        conditions.low_power_mode
    };
    assert_eq!(mode(&[("sys/firmware/acpi/platform_profile", "low-power\n")]), Some(true));
    assert_eq!(mode(&[("sys/firmware/acpi/platform_profile", "balanced\n")]), Some(false));
    assert_eq!(mode(&[]), None);
}

#[test]
fn an_empty_root_tells_nothing_and_placeholders_are_not_names() {
    let (_folder, root) = laid_out(&[("sys/class/dmi/id/product_name", "System Product Name\n")]);
    let mut machine = Machine { logical_cpus: 2, ..Machine::default() };
    fill(&root, &mut machine);
    assert_eq!(machine, Machine { logical_cpus: 2, ..Machine::default() });
}
