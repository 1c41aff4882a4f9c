//! The machine: hardware facts, operating system, power source, and the devices that engines find on it.
//!
//! Each platform is one thin file that gathers text and hands it to pure parsers, which are tested everywhere.

#[cfg(any(target_os = "macos", test))]
mod command;
mod device;
#[cfg(any(target_os = "linux", test))]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(any(target_os = "macos", test))]
mod macos_text;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::device::{Device, DeviceKind, DeviceLimits};

/// What is known of the machine. Facts that the platform doesn't tell are absent, never guessed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// The processor's or chip's name, as "Apple M5" or "AMD EPYC 9R14".
    pub chip: String,
    /// The maker's model identifier, as "Mac17,2".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The instruction set, as "aarch64".
    pub architecture: String,
    /// The processor cores by kind, fastest first.
    pub cpu_cores: Vec<CoreGroup>,
    /// Logical processors, hardware threads included.
    pub logical_cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// The processor's last-level cache in bytes, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_level_cache_bytes: Option<u64>,
    /// The GPU's cores, where the platform tells (Apple silicon).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_cores: Option<u32>,
    /// The operating system.
    pub os: OperatingSystem,
}

/// Processor cores of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CoreGroup {
    /// The kind, as "Performance", "Efficiency" or "Core".
    pub kind: String,
    /// How many physical cores there are.
    pub count: u32,
}

/// The operating system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperatingSystem {
    /// The name, as "macOS" or "Debian GNU/Linux".
    pub name: String,
    /// The version, as "26.1" or "12".
    pub version: String,
    /// The build, as "25B78", or the kernel release on Linux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}

/// Where the power comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PowerSource {
    /// Mains.
    Mains,
    /// A battery.
    Battery,
    /// The platform doesn't tell, as on most servers and in virtual machines.
    #[default]
    Unknown,
}

/// The state of the machine at a moment, which changes from run to run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Conditions {
    /// Where the power comes from.
    pub power_source: PowerSource,
    /// Low-power mode is on, if the platform has one and tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_power_mode: Option<bool>,
    /// The load average over one minute, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_average: Option<f64>,
    /// Memory free for new work in bytes.
    pub available_memory_bytes: u64,
    /// The window was open, and could paint between batches.
    pub window_open: bool,
}

/// What is known of this machine. It may run the system's own tools, for up to a few seconds: keep it off the window's
/// thread.
pub fn detect() -> Machine {
    let mut machine = generic();
    #[cfg(target_os = "linux")]
    linux::fill(&linux::Root::default(), &mut machine);
    #[cfg(target_os = "macos")]
    macos::fill(&mut machine);
    if machine.chip.is_empty() {
        machine.chip = format!("{} processor", machine.architecture);
    }
    if machine.cpu_cores.is_empty() {
        let count = sysinfo::System::physical_core_count().map_or(0, |count| count as u32);
        machine.cpu_cores = if count > 0 { vec![CoreGroup { kind: "Core".to_owned(), count }] } else { Vec::new() };
    }
    machine
}

/// Processes that run or wait to run on average over the last minute, where the system tells.
pub fn load_average() -> Option<f64> {
    sysinfo::System::load_average().ok().map(|load| load.one).filter(|one| one.is_finite())
}

/// The state of the machine now.
pub fn conditions(window_open: bool) -> Conditions {
    let mut conditions = Conditions {
        load_average: load_average(),
        available_memory_bytes: available_memory_bytes(),
        window_open,
        ..Conditions::default()
    };
    #[cfg(target_os = "linux")]
    linux::fill_power(&linux::Root::default(), &mut conditions);
    #[cfg(target_os = "macos")]
    macos::fill_power(&mut conditions);
    conditions
}

/// Memory free for new work now, in bytes; 0 where the platform doesn't tell.
pub fn available_memory_bytes() -> u64 {
    memory().map_or(0, |system| system.available_memory())
}

/// What every platform tells alike.
fn generic() -> Machine {
    let logical_cpus = std::thread::available_parallelism().map_or(0, |count| count.get() as u32);
    let os = OperatingSystem {
        name: sysinfo::System::name().unwrap_or_else(|_| std::env::consts::OS.to_owned()),
        version: sysinfo::System::os_version().unwrap_or_default(),
        build: sysinfo::System::kernel_version().ok().filter(|build| !build.is_empty()),
    };
    Machine {
        architecture: std::env::consts::ARCH.to_owned(),
        logical_cpus,
        memory_bytes: memory().map_or(0, |system| system.total_memory()),
        os,
        ..Machine::default()
    }
}

fn memory() -> Option<sysinfo::System> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    Some(system)
}
