//! What is told of the machine that runs the tests.

use roofline::machine::{Conditions, conditions, detect};

#[test]
fn the_machine_has_a_processor_memory_and_a_system() {
    let machine = detect();
    assert!(!machine.chip.is_empty());
    assert_eq!(machine.architecture, std::env::consts::ARCH);
    assert!(machine.logical_cpus > 0);
    assert!(machine.memory_bytes > 64 << 20, "{}", machine.memory_bytes);
    assert!(!machine.os.name.is_empty());
    let cores: u32 = machine.cpu_cores.iter().map(|group| group.count).sum();
    assert!((1..=machine.logical_cpus).contains(&cores), "{machine:?}");
    assert_eq!(detect(), machine, "the facts of a machine stay the same");
}

#[test]
fn the_conditions_tell_memory_and_the_window() {
    let with_window = conditions(true);
    let Conditions { available_memory_bytes, load_average, window_open, .. } = with_window;
    assert!(window_open && !conditions(false).window_open);
    assert!(available_memory_bytes > 0 && available_memory_bytes <= detect().memory_bytes);
    assert!(load_average.is_none_or(|load| load >= 0.0));
}
