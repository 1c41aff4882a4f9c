//! macOS: asks the system's own tools. What their words mean is in `macos_text.rs`.

use std::time::Duration;

use super::{Conditions, Machine, command::output_of, macos_text};

/// Time for a tool that only reads a value.
const SHORT: Duration = Duration::from_secs(2);
/// Time for `system_profiler`, which may have to wake a display.
const LONG: Duration = Duration::from_secs(8);

/// Adds the chip, model, cores, memory, GPU cores and system version.
pub(super) fn fill(machine: &mut Machine) {
    let names = ["machdep.cpu.brand_string", "hw.memsize", "hw.model", "hw.nperflevels", "hw.logicalcpu"];
    macos_text::fill_chip(&sysctl(&names), machine);
    let levels = (0..macos_text::PERFORMANCE_LEVELS_MAX).map(|level| {
        let names = ["name", "physicalcpu"].map(|fact| format!("hw.perflevel{level}.{fact}"));
        sysctl(&names.each_ref().map(String::as_str))
    });
    let levels: Vec<String> = levels.take_while(|text| !text.is_empty()).collect();
    machine.cpu_cores = macos_text::core_groups(&levels.concat());
    macos_text::fill_version(&output_of("/usr/bin/sw_vers", &[], SHORT).unwrap_or_default(), machine);
    let displays = output_of("/usr/sbin/system_profiler", &["SPDisplaysDataType", "-json"], LONG);
    machine.gpu_cores = displays.as_deref().and_then(macos_text::gpu_cores);
}

/// Adds the power source and low-power mode.
pub(super) fn fill_power(conditions: &mut Conditions) {
    let source = output_of("/usr/bin/pmset", &["-g", "batt"], SHORT).unwrap_or_default();
    conditions.power_source = macos_text::power_source(&source);
    let settings = output_of("/usr/bin/pmset", &["-g"], SHORT).unwrap_or_default();
    conditions.low_power_mode = macos_text::low_power_mode(&settings);
}

/// The values of these names as "name: value" lines, each name asked on its own where one is unknown: some versions of
/// the tool stop at the first name they don't know.
fn sysctl(names: &[&str]) -> String {
    let asked = |names: &[&str]| output_of("/usr/sbin/sysctl", names, SHORT).unwrap_or_default();
    let text = asked(names);
    if text.lines().count() >= names.len() {
        return text;
    }
    names.iter().map(|name| asked(&[name])).collect()
}
