//! The suites: named, ordered lists of workloads.

use std::{fmt, str::FromStr};

use crate::{
    engine::EngineId,
    machine::{Device, DeviceKind},
    run::FoundDevice,
    workload::{Attention, Bandwidth, BandwidthSweep, Dtype, Gemm, Layout, MemoryOp, TensorLimit, Workload},
};

/// A suite's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SuiteName {
    /// The main figures within a minute.
    #[default]
    Quick,
    /// Every workload at its usual sizes.
    Standard,
    /// Standard, and shapes that show weaknesses.
    Full,
}

impl SuiteName {
    /// Every suite, shortest first.
    pub const ALL: [Self; 3] = [Self::Quick, Self::Standard, Self::Full];

    /// The name used in run files and on the command line.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Standard => "standard",
            Self::Full => "full",
        }
    }

    /// The name on a button.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Quick => "Quick",
            Self::Standard => "Standard",
            Self::Full => "Full",
        }
    }

    /// What it is for, in one sentence.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Quick => "The main figures of this machine within a minute",
            Self::Standard => "Every workload at its usual sizes, with the cache sweep and the tensor limit",
            Self::Full => "Standard with more sizes, shapes that divide no tile, and a sweep for every operation",
        }
    }

    /// The time allowed for all entries, in seconds. Quick leaves a part of its minute for opening and saving.
    pub const fn budget_s(self) -> f64 {
        match self {
            Self::Quick => 50.0,
            Self::Standard => 600.0,
            Self::Full => 2400.0,
        }
    }

    /// The most time for one entry, in seconds: a good device needs far less, a slow one must not take it all.
    pub const fn entry_budget_s(self) -> f64 {
        match self {
            Self::Quick => 8.0,
            Self::Standard => 30.0,
            Self::Full => 60.0,
        }
    }

    /// The most time beside that for what goes into no figure, in seconds: Quick still ends soon after its minute.
    pub const fn spare_most_s(self) -> f64 {
        match self {
            Self::Quick => 15.0,
            Self::Standard | Self::Full => f64::INFINITY,
        }
    }

    /// Whether engines outside the program take part where nothing else is asked: starting them takes longer than Quick has.
    pub const fn has_external_engines(self) -> bool {
        !matches!(self, Self::Quick)
    }

    /// The workloads of single kernels in order, for an engine's device.
    pub fn kernels(self, found: &FoundDevice) -> Vec<Workload> {
        let FoundDevice { engine, abilities, device } = found;
        let array_bytes = array_bytes(device);
        let mut list: Vec<Workload> =
            MemoryOp::ALL.into_iter().map(|op| Workload::Bandwidth(Bandwidth { op, array_bytes })).collect();
        // Quick has the two types that every engine has.
        let typed = |dtype: &&Dtype| self != Self::Quick || Dtype::SHADERS.contains(dtype);
        let dtypes = || abilities.dtypes.iter().filter(typed).copied();
        // llama.cpp's operator test has its shapes compiled in.
        if *engine != EngineId::LlamaCpp {
            let sizes = self.gemm_sizes(device);
            let squares = |dtype| sizes.iter().map(move |n| Workload::Gemm(Gemm::square(*n, dtype)));
            list.extend(dtypes().flat_map(squares));
            if self == Self::Full {
                list.extend(dtypes().flat_map(uneven));
            }
        }
        // What our own shaders don't have: the other layout, and attention.
        if self != Self::Quick && *engine != EngineId::Wgpu {
            list.extend(dtypes().map(layer));
            list.extend(attentions(device, &abilities.dtypes));
        }
        list.extend(self.sweep_ops().iter().map(|op| Workload::BandwidthSweep(sweep(*op, device))));
        if self != Self::Quick {
            list.push(Workload::TensorLimit(TensorLimit::default()));
        }
        list
    }

    const fn gemm_sizes(self, device: &Device) -> &'static [u32] {
        match self {
            Self::Quick => &[512, 2048, 4096],
            // Processors take minutes for more.
            Self::Standard | Self::Full if matches!(device.kind, DeviceKind::Cpu) => &[512, 1024, 2048, 4096],
            Self::Standard | Self::Full => &[512, 1024, 2048, 4096, 8192],
        }
    }

    const fn sweep_ops(self) -> &'static [MemoryOp] {
        match self {
            Self::Quick => &[],
            Self::Standard => &[MemoryOp::Read],
            Self::Full => &MemoryOp::ALL,
        }
    }
}

/// Shapes that divide no tile, and those of a 7B model's layers at 512 tokens (attention output and both MLP products).
fn uneven(dtype: Dtype) -> [Workload; 5] {
    let shapes = [(1000, 1000, 1000), (4095, 4097, 4093), (512, 4096, 4096), (512, 14336, 4096), (512, 4096, 14336)];
    shapes.map(|(m, n, k)| Workload::Gemm(Gemm::new((m, n, k), dtype)))
}

/// The second product of a 7B model's MLP for 512 tokens, with its weights as they are stored: what every engine can be asked
/// for, llama.cpp's operator test too.
const fn layer(dtype: Dtype) -> Workload {
    Workload::Gemm(Gemm { m: 512, n: 4096, k: 14_336, dtype, layout: Layout::Abt })
}

/// Attention of a 7B model: causal at two lengths, and not causal at one. In 16 bits, on processors in 32.
fn attentions(device: &Device, dtypes: &[Dtype]) -> Vec<Workload> {
    let (dtype, short, long) =
        if device.kind == DeviceKind::Cpu { (Dtype::F32, 512, 2048) } else { (Dtype::F16, 1024, 4096) };
    if !dtypes.contains(&dtype) {
        return Vec::new();
    }
    let one = |(sequence, causal)| Workload::Attention(Attention::mistral(sequence, dtype, causal));
    [(short, true), (long, true), (long, false)].map(one).into()
}

/// The array size for bandwidth: 1 GiB on a discrete GPU, as its peers use, else 256 MiB; never more than can be bound.
///
/// At least 256 MiB or four times the last-level cache keeps caches out of the figure: the largest known GPU caches are
/// 96 MB (Apple's Ultra chips) and 128 MB.
fn array_bytes(device: &Device) -> u64 {
    let wanted = match device.kind {
        DeviceKind::DiscreteGpu | DeviceKind::VirtualGpu => 1 << 30,
        DeviceKind::IntegratedGpu => 512 << 20,
        DeviceKind::Cpu | DeviceKind::Other => 256 << 20,
    };
    bindable(device, wanted)
}

/// The sweep from 64 KiB to 1 GiB, or to what can be bound.
pub(super) fn sweep(op: MemoryOp, device: &Device) -> BandwidthSweep {
    BandwidthSweep { op, min_bytes: 64 << 10, max_bytes: bindable(device, 1 << 30) }
}

/// `wanted` halved until the device can allocate and bind it.
fn bindable(device: &Device, wanted: u64) -> u64 {
    let limit = device.limits.max_binding_bytes.min(device.limits.max_buffer_bytes).max(64 << 10);
    let halves = std::iter::successors(Some(wanted), |size: &u64| Some(size / 2));
    halves.take_while(|size| *size >= 64 << 10).find(|size| *size <= limit).unwrap_or(64 << 10)
}

/// The default bandwidth workload of one operation.
pub(super) fn bandwidth(op: MemoryOp, device: &Device) -> Bandwidth {
    Bandwidth { op, array_bytes: array_bytes(device) }
}

impl fmt::Display for SuiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for SuiteName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.id() == text)
            .ok_or_else(|| "unknown suite; choose from quick, standard, full".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::Abilities, workload::WorkloadKind};

    fn kernels(suite: SuiteName, engine: EngineId, kind: DeviceKind, dtypes: &[Dtype]) -> Vec<Workload> {
        let abilities = Abilities { kinds: WorkloadKind::ALL.into(), dtypes: dtypes.into(), precisions: Vec::new() };
        let device = Device { kind, ..Device::example("device", "a device") };
        suite.kernels(&FoundDevice { engine, abilities, device })
    }

    fn products(list: &[Workload]) -> Vec<Gemm> {
        let gemm = |workload: &Workload| if let Workload::Gemm(gemm) = workload { Some(*gemm) } else { None };
        list.iter().filter_map(gemm).collect()
    }

    #[test]
    fn engines_have_the_same_squares_in_the_types_that_they_multiply() {
        let squares = |engine| {
            let list = products(&kernels(SuiteName::Standard, engine, DeviceKind::DiscreteGpu, &Dtype::SHADERS));
            list.into_iter().filter(|gemm| gemm.layout == Layout::Ab).collect::<Vec<_>>()
        };
        assert_eq!(squares(EngineId::Wgpu).len(), 10);
        for engine in [EngineId::Candle, EngineId::Pytorch, EngineId::Mlx] {
            assert_eq!(squares(engine), squares(EngineId::Wgpu), "{engine}");
        }
        let all = products(&kernels(SuiteName::Standard, EngineId::Pytorch, DeviceKind::DiscreteGpu, &Dtype::ALL));
        assert!(Dtype::ALL.iter().all(|dtype| all.iter().any(|gemm| gemm.dtype == *dtype)), "{all:?}");
        let quick = products(&kernels(SuiteName::Quick, EngineId::Pytorch, DeviceKind::DiscreteGpu, &Dtype::ALL));
        assert!(quick.iter().all(|gemm| Dtype::SHADERS.contains(&gemm.dtype)), "{quick:?}");
    }

    #[test]
    fn the_operator_test_is_asked_for_the_layer_that_all_others_have_too() {
        let layers = |engine| products(&kernels(SuiteName::Standard, engine, DeviceKind::Cpu, &[Dtype::F16]));
        let llama = layers(EngineId::LlamaCpp);
        assert_eq!(llama, [Gemm { m: 512, n: 4096, k: 14_336, dtype: Dtype::F16, layout: Layout::Abt }]);
        for engine in [EngineId::Candle, EngineId::Pytorch, EngineId::Mlx] {
            assert!(layers(engine).contains(&llama[0]), "{engine}");
        }
        assert!(!layers(EngineId::Wgpu).contains(&llama[0]), "our shaders multiply A·B alone");
    }

    #[test]
    fn processors_are_spared_large_products_and_attend_in_f32() {
        let on = |kind| kernels(SuiteName::Standard, EngineId::Pytorch, kind, &Dtype::SHADERS);
        let largest = |kind| products(&on(kind)).iter().filter(|gemm| gemm.m == gemm.n).map(|gemm| gemm.n).max();
        assert_eq!((largest(DeviceKind::Cpu), largest(DeviceKind::DiscreteGpu)), (Some(4096), Some(8192)));
        let dtypes = |kind| {
            let of = |workload: &Workload| match workload {
                Workload::Attention(attention) => Some(attention.dtype),
                _ => None,
            };
            on(kind).iter().filter_map(of).collect::<Vec<_>>()
        };
        assert_eq!(dtypes(DeviceKind::Cpu), [Dtype::F32; 3]);
        assert_eq!(dtypes(DeviceKind::DiscreteGpu), [Dtype::F16; 3]);
        let half_only = kernels(SuiteName::Standard, EngineId::Pytorch, DeviceKind::Cpu, &[Dtype::F16]);
        assert!(!half_only.iter().any(|workload| workload.kind() == WorkloadKind::Attention));
    }
}
