//! What the makers say their devices can do: theoretical ceilings, each with its source.
//!
//! A device that isn't in the tables has none, so that nothing is called impossible by a guess. Memory rates that follow
//! from the published width and speed of the memory count as published. Compute peaks hold at the published boost clock,
//! which gaming cards exceed by up to a tenth: a rate that uses all of a card may pass its peak a little.

use crate::machine::Machine;

/// The theoretical ceilings of a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peaks {
    /// Memory bandwidth in B/s.
    pub bandwidth: Option<f64>,
    /// f32 in FLOP/s, outside matrix units.
    pub f32: Option<f64>,
    /// f16 with f32 accumulation in FLOP/s, on matrix units where there are any, without sparsity.
    pub f16: Option<f64>,
    /// f16 in FLOP/s outside matrix units.
    pub f16_ordinary: Option<f64>,
    /// Where the figures are from.
    pub source: &'static str,
}

/// The ceilings of the device that an engine names `device_name`. The machine's facts tell apart what the name doesn't.
pub fn peaks(device_name: &str, machine: &Machine) -> Option<Peaks> {
    let words = words(device_name);
    nvidia(&words).or_else(|| apple(&words, machine))
}

/// The words of a name in lower case: "NVIDIA A100-SXM4-80GB" has "a100", "sxm4" and "80gb".
fn words(name: &str) -> Vec<String> {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect()
}

const NVIDIA: &str = "NVIDIA's data sheet";
const NVIDIA_ADA: &str = "NVIDIA Ada GPU Architecture white paper, appendix A";
const NVIDIA_AMPERE: &str = "NVIDIA Ampere GA102 GPU Architecture white paper, table 9";
const APPLE: &str = "Apple's technical specifications; the memory's width and transfer rate";

/// What a device multiplies 16 bits with beside its ordinary units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixUnits {
    /// What the maker calls them.
    pub name: &'static str,
    /// The device is known to have them.
    pub are_there: bool,
}

/// The matrix units of the device of this name.
pub fn matrix_units(device_name: &str) -> MatrixUnits {
    let words = words(device_name);
    if nvidia(&words).is_some() {
        return MatrixUnits { name: "tensor cores", are_there: true };
    }
    let generation = match words.as_slice() {
        [maker, chip, ..] if maker == "apple" => chip.strip_prefix('m').and_then(|number| number.parse::<u32>().ok()),
        _ => None,
    };
    // From the M5 on each core of the GPU has one.
    match generation {
        Some(5..) => MatrixUnits { name: "Neural Accelerators", are_there: true },
        _ => MatrixUnits { name: "matrix units", are_there: false },
    }
}

/// One row: words that a name must have, words it must not have, GB/s, f32, f16, and f16 outside tensor cores in TFLOPS, the
/// source.
type Row = (&'static [&'static str], &'static [&'static str], f64, f64, f64, f64, &'static str);

/// Rows are tried in order. Words that must be absent tell the laptop, server and cut-down parts of a name apart.
const NVIDIA_ROWS: [Row; 12] = [
    (&["h100", "80gb", "hbm3"], &["pcie", "nvl", "mig"], 3350.0, 66.9, 989.4, 133.8, NVIDIA),
    (&["h100", "pcie"], &["nvl", "mig"], 2000.0, 51.2, 756.0, 102.4, NVIDIA),
    (&["h200"], &["nvl", "pcie", "mig", "gh200"], 4800.0, 66.9, 989.4, 133.8, NVIDIA),
    (&["a100", "sxm4", "80gb"], &["mig"], 2039.0, 19.5, 312.0, 78.0, NVIDIA),
    (&["a100", "sxm4", "40gb"], &["mig"], 1555.0, 19.5, 312.0, 78.0, NVIDIA),
    (&["a100", "pcie", "80gb"], &["mig"], 1935.0, 19.5, 312.0, 78.0, NVIDIA),
    (&["a100", "pcie", "40gb"], &["mig"], 1555.0, 19.5, 312.0, 78.0, NVIDIA),
    (&["rtx", "3090"], &["ti", "laptop"], 936.0, 35.6, 71.0, 35.6, NVIDIA_AMPERE),
    (&["rtx", "4090"], &["d", "laptop"], 1008.0, 82.6, 165.2, 82.6, NVIDIA_ADA),
    (&["nvidia", "l4"], &[], 300.0, 30.3, 121.0, 30.3, NVIDIA),
    (&["nvidia", "l40s"], &[], 864.0, 91.6, 362.0, 91.6, NVIDIA),
    (&["tesla", "t4"], &[], 320.0, 8.1, 65.0, 16.2, NVIDIA),
];

fn nvidia(words: &[String]) -> Option<Peaks> {
    let has = |wanted: &&str| words.iter().any(|word| word == wanted);
    // The T4 calls itself "Tesla T4" in older drivers and "NVIDIA T4" in newer ones.
    let fits = |row: &&Row| {
        let (must, not, ..) = *row;
        must.iter().all(|word| has(word) || (*word == "tesla" && has(&"nvidia"))) && !not.iter().any(has)
    };
    let (_, _, bandwidth, f32, f16, ordinary, source) = NVIDIA_ROWS.iter().find(fits)?;
    let [f32, f16, f16_ordinary] = [f32, f16, ordinary].map(|teraflops| Some(teraflops * 1e12));
    Some(Peaks { bandwidth: Some(bandwidth * 1e9), f32, f16, f16_ordinary, source })
}

/// Apple publishes the memory bandwidth; compute peaks are not published. "Apple Paravirtual device" has no M, so none.
fn apple(words: &[String], machine: &Machine) -> Option<Peaks> {
    let [maker, generation, tier @ ..] = words else { return None };
    if maker != "apple" || tier.len() > 1 {
        return None;
    }
    let tier = tier.first().map_or("", String::as_str);
    let bandwidth = apple_bandwidth(generation, tier, machine.gpu_cores)?;
    Some(Peaks { bandwidth: Some(bandwidth * 1e9), f32: None, f16: None, f16_ordinary: None, source: APPLE })
}

/// GB/s. The Max chips with fewer GPU cores have narrower memory; where the count is unknown the wider is the ceiling.
fn apple_bandwidth(generation: &str, tier: &str, gpu_cores: Option<u32>) -> Option<f64> {
    match (generation, tier) {
        ("m1", "") => Some(68.25),
        ("m1" | "m2", "pro") => Some(204.8),
        ("m1" | "m2", "max") => Some(409.6),
        ("m1" | "m2" | "m3", "ultra") => Some(819.2),
        ("m2" | "m3", "") => Some(102.4),
        ("m3", "max") => Some(if gpu_cores == Some(30) { 307.2 } else { 409.6 }),
        ("m4", "") => Some(120.0),
        ("m4", "pro") => Some(273.0),
        ("m4", "max") => Some(if gpu_cores == Some(32) { 410.0 } else { 546.0 }),
        ("m3", "pro") | ("m5", "") => Some(153.6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gigabytes(name: &str, gpu_cores: Option<u32>) -> Option<f64> {
        let machine = Machine { gpu_cores, ..Machine::default() };
        peaks(name, &machine)?.bandwidth.map(|bandwidth| bandwidth / 1e9)
    }

    #[test]
    fn nvidia_names_are_told_apart() {
        for (name, bandwidth) in [
            ("NVIDIA H100 80GB HBM3", Some(3350.0)),
            ("NVIDIA H100 PCIe", Some(2000.0)),
            ("NVIDIA H100 NVL", None),
            ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
            ("NVIDIA H200", Some(4800.0)),
            ("NVIDIA H200 NVL", None),
            ("NVIDIA GH200 480GB", None),
            ("NVIDIA A100-SXM4-80GB", Some(2039.0)),
            ("NVIDIA A100-SXM4-40GB", Some(1555.0)),
            ("NVIDIA A100-PCIE-40GB", Some(1555.0)),
            ("NVIDIA A100 80GB PCIe", Some(1935.0)),
            ("NVIDIA GeForce RTX 3090", Some(936.0)),
            ("NVIDIA GeForce RTX 3090 Ti", None),
            ("NVIDIA GeForce RTX 4090", Some(1008.0)),
            ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
            ("NVIDIA GeForce RTX 4090 D", None),
            ("NVIDIA L4", Some(300.0)),
            ("NVIDIA L40", None),
            ("NVIDIA L40S", Some(864.0)),
            ("Tesla T4", Some(320.0)),
            ("NVIDIA T4", Some(320.0)),
            ("NVIDIA T400", None),
            ("llvmpipe (LLVM 15.0.6, 256 bits)", None),
            ("", None),
        ] {
            assert_eq!(gigabytes(name, None), bandwidth, "{name}");
        }
    }

    #[test]
    fn apple_chips_are_told_apart() {
        for (name, gpu_cores, bandwidth) in [
            ("Apple M1", Some(8), Some(68.25)),
            ("Apple M1 Pro", Some(16), Some(204.8)),
            ("Apple M1 Max", Some(32), Some(409.6)),
            ("Apple M3 Pro", Some(18), Some(153.6)),
            ("Apple M3 Max", Some(30), Some(307.2)),
            ("Apple M3 Max", Some(40), Some(409.6)),
            ("Apple M3 Ultra", Some(80), Some(819.2)),
            ("Apple M4 Max", Some(32), Some(410.0)),
            ("Apple M4 Max", None, Some(546.0)),
            ("Apple M5", Some(10), Some(153.6)),
            ("Apple M5 Max", Some(40), None),
            ("Apple M10", None, None),
            ("Apple M1 Pro Max", None, None),
            ("Apple A17 Pro", None, None),
            ("Apple Paravirtual device", None, None),
            ("Apple", None, None),
        ] {
            assert_eq!(gigabytes(name, gpu_cores), bandwidth, "{name} {gpu_cores:?}");
        }
    }

    #[test]
    fn matrix_units_are_known_by_the_device() {
        for (name, units, are_there) in [
            ("NVIDIA H100 80GB HBM3", "tensor cores", true),
            ("NVIDIA GeForce GTX 1080", "matrix units", false),
            ("Apple M5", "Neural Accelerators", true),
            ("Apple M10 Ultra", "Neural Accelerators", true),
            ("Apple M4 Max", "matrix units", false),
            ("Apple Paravirtual device", "matrix units", false),
            ("AMD Radeon RX 7900 XTX (RADV NAVI31)", "matrix units", false),
        ] {
            assert_eq!(matrix_units(name), MatrixUnits { name: units, are_there }, "{name}");
        }
        let machine = Machine::default();
        for row in &NVIDIA_ROWS {
            let (_, _, _, f32, f16, ordinary, _) = *row;
            assert!(f32 <= ordinary && ordinary < f16, "{row:?}");
        }
        assert_eq!(peaks("NVIDIA A100-SXM4-80GB", &machine).unwrap().f16_ordinary, Some(78e12));
    }

    #[test]
    fn compute_peaks_are_in_base_units_and_only_where_published() {
        let machine = Machine::default();
        let h100 = peaks("NVIDIA H100 80GB HBM3", &machine).unwrap();
        assert_eq!((h100.f32, h100.f16), (Some(66.9 * 1e12), Some(989.4 * 1e12)));
        let m5 = peaks("Apple M5", &machine).unwrap();
        assert_eq!((m5.f32, m5.f16), (None, None));
    }
}
