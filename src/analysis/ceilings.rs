//! How near a figure comes to this machine's limit.

use super::peaks;
use crate::{
    machine::{Device, DeviceKind, Machine},
    record::{Entry, Run},
    units::{Quantity, Unit, number, percent},
    workload::{Dtype, InferencePhase, Precision, Workload},
};

/// Where a ceiling comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CeilingKind {
    /// The hardware's data sheet.
    Theoretical,
    /// The best figure of its kind in the same run, on the same device.
    Measured,
    /// What a token must move or compute, at a rate of this device's.
    Token {
        /// Bandwidth or arithmetic rate.
        rate: Quantity,
        /// Bytes or FLOPs a token.
        cost: f64,
        /// The rate is the data sheet's; else the best measured in this run.
        published: bool,
    },
}

/// A figure as a share of its ceiling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// 1 is all of it.
    pub fraction: f64,
    /// The ceiling.
    pub ceiling: Quantity,
    /// Where the ceiling comes from.
    pub kind: CeilingKind,
}

impl Share {
    /// "92.4 %", with "of best" where the ceiling is only the best measured, and "of limit" where it is worked out.
    pub fn text(&self) -> String {
        match self.kind {
            CeilingKind::Theoretical => percent(self.fraction),
            CeilingKind::Measured => format!("{} of best", percent(self.fraction)),
            CeilingKind::Token { .. } => format!("{} of limit", percent(self.fraction)),
        }
    }

    /// "92.4 % of 3350 GB/s by the data sheet"; "62.1 % of 209 tokens/s: 3350 GB/s by the data sheet ÷ 16.0 GB a token".
    pub fn explanation(&self) -> String {
        let share = percent(self.fraction);
        match self.kind {
            CeilingKind::Theoretical => format!("{share} of {} by the data sheet", self.ceiling),
            CeilingKind::Measured => format!("{share} of {}, the best of its kind in this run", self.ceiling),
            CeilingKind::Token { rate, cost, published } => {
                let source = if published { "by the data sheet" } else { "as measured in this run" };
                let cost = match rate.unit {
                    Unit::FlopPerSecond => format!("{} GFLOP", number(cost / 1e9)),
                    _ => Quantity::new(cost, Unit::Byte).to_string(),
                };
                format!("{share} of {}: {rate} {source} ÷ {cost} a token", self.ceiling)
            }
        }
    }
}

/// What can be compared by a ceiling: bandwidth with bandwidth, GEMM with GEMM of the same type.
#[derive(Clone, Copy, PartialEq)]
enum Family {
    Memory,
    Arithmetic(Dtype),
}

const fn family(workload: &Workload) -> Option<Family> {
    match workload {
        Workload::Gemm(gemm) => Some(Family::Arithmetic(gemm.dtype)),
        // The two products of attention are bounded by the same units.
        Workload::Attention(attention) => Some(Family::Arithmetic(attention.dtype)),
        Workload::Bandwidth(_) | Workload::BandwidthSweep(_) => Some(Family::Memory),
        Workload::TensorLimit(_) | Workload::ModelLoad(_) | Workload::Inference(_) | Workload::Training(_) => None,
    }
}

/// What bounds the tokens a second of a model: reading its weights, or the arithmetic.
#[derive(Clone, Copy)]
struct TokenCost {
    family: Family,
    /// Bytes or FLOPs a token.
    cost: f64,
}

/// Weights smaller than this may stay in a cache: the memory's bandwidth is no limit of theirs.
const MEMORY_WEIGHTS_MIN: u64 = 256 << 20;

/// Decoding reads all weights for each step; prefill and training multiply by them for many tokens at once.
fn token_cost(workload: &Workload) -> Option<TokenCost> {
    let arithmetic = |precision: &Precision| match precision {
        Precision::F32 => Dtype::F32,
        _ => Dtype::F16,
    };
    match workload {
        Workload::Inference(inference) => {
            let tokens = inference.tokens() as f64;
            match inference.phase {
                InferencePhase::Decode { .. } if inference.model.token_bytes < MEMORY_WEIGHTS_MIN => None,
                InferencePhase::Decode { .. } => {
                    Some(TokenCost { family: Family::Memory, cost: inference.bytes() / tokens })
                }
                InferencePhase::Prefill { .. } => {
                    let family = Family::Arithmetic(arithmetic(&inference.model.precision));
                    Some(TokenCost { family, cost: inference.flops() / tokens })
                }
            }
        }
        Workload::Training(training) => {
            let family = Family::Arithmetic(arithmetic(&training.model.precision));
            Some(TokenCost { family, cost: training.flops() / training.tokens() as f64 })
        }
        _ => None,
    }
}

fn published(family: Family, device: &Device, machine: &Machine) -> Option<f64> {
    // The processor has the name of Apple's chip, whose arithmetic on the data sheet is the GPU's; the memory is the same.
    let other = device.kind == DeviceKind::Cpu && matches!(family, Family::Arithmetic(_));
    if device.software || other {
        return None;
    }
    let peaks = peaks(&device.name, machine)?;
    match family {
        Family::Memory => peaks.bandwidth,
        Family::Arithmetic(Dtype::F32) => peaks.f32,
        // Every matrix unit in the table multiplies bf16 as fast as f16.
        Family::Arithmetic(Dtype::F16 | Dtype::Bf16) => peaks.f16,
        Family::Arithmetic(Dtype::Tf32) => None,
    }
}

/// The data sheet's figure for a workload on a device, if it is known.
pub(super) fn theoretical(workload: &Workload, device: &Device, machine: &Machine) -> Option<f64> {
    if let Some(TokenCost { family, cost }) = token_cost(workload) {
        return Some(published(family, device, machine)? / cost);
    }
    published(family(workload)?, device, machine)
}

/// How near the entry at `index` comes to its ceiling: the data sheet's where it is known, else the best of its kind in the
/// run. `None` where there is no figure or none to compare with.
pub fn share_of_ceiling(run: &Run, index: usize) -> Option<Share> {
    let entry = run.entries.get(index)?;
    let headline = entry.headline()?;
    if let Some(cost) = token_cost(&entry.workload) {
        return share_of_tokens(run, entry, cost);
    }
    let family = family(&entry.workload)?;
    let device = run.devices.iter().find(|device| device.id == entry.device);
    let theoretical = device.and_then(|device| theoretical(&entry.workload, device, &run.machine));
    let (ceiling, kind) = match theoretical {
        Some(ceiling) => (ceiling, CeilingKind::Theoretical),
        None => (best_measured(run, entry, family)?, CeilingKind::Measured),
    };
    let fraction = headline.summary.median / ceiling;
    fraction.is_finite().then_some(Share { fraction, ceiling: Quantity::new(ceiling, headline.unit), kind })
}

/// The same for tokens a second. A rate measured by another engine counts if it is the same device by name; arithmetic of a
/// GPU is none of the processor's that shares its name.
fn share_of_tokens(run: &Run, entry: &Entry, TokenCost { family: wanted, cost }: TokenCost) -> Option<Share> {
    let headline = entry.headline()?;
    let device = run.devices.iter().find(|device| device.id == entry.device)?;
    let same = |other: &Entry| run.devices.iter().any(|d| d.id == other.device && d.name == device.name && !d.software);
    let measured = || match wanted {
        Family::Memory => run.best_bandwidth_of(same),
        Family::Arithmetic(_) if device.kind == DeviceKind::Cpu => None,
        Family::Arithmetic(_) => run.best(|other| family(&other.workload) == Some(wanted) && same(other)),
    };
    let (rate, published) = match published(wanted, device, &run.machine) {
        Some(rate) => (rate, true),
        None => (measured()?.headline()?.summary.median, false),
    };
    let unit = if matches!(wanted, Family::Memory) { Unit::BytePerSecond } else { Unit::FlopPerSecond };
    let ceiling = rate / cost;
    let fraction = headline.summary.median / ceiling;
    let kind = CeilingKind::Token { rate: Quantity::new(rate, unit), cost, published };
    fraction.is_finite().then_some(Share { fraction, ceiling: Quantity::new(ceiling, headline.unit), kind })
}

fn best_measured(run: &Run, like: &Entry, wanted: Family) -> Option<f64> {
    let best = run.best(|entry| family(&entry.workload) == Some(wanted) && entry.device == like.device)?;
    Some(best.headline()?.summary.median)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::EngineId,
        machine::Conditions,
        measure::Measurement,
        record::{AppInfo, FORMAT_VERSION, Outcome, RunState, SuiteInfo},
        workload::{Bandwidth, Inference, Location, MemoryOp, ModelRef, ModelShape, Origin},
    };

    fn inference(phase: InferencePhase) -> Workload {
        let shape = ModelShape::MISTRAL_7B;
        let model = ModelRef {
            name: "mistral-7b".into(),
            origin: Origin::Synthetic,
            precision: Precision::F16,
            shape,
            weight_bytes: 2 * shape.parameters(),
            token_bytes: 2 * (shape.parameters() - shape.embedding_elements()),
            location: Location::default(),
        };
        Workload::Inference(Inference { model, phase, batch: 1 })
    }

    fn run(name: &str) -> Run {
        let entry = |workload: Workload, engine, device: &str, value| {
            let unit = workload.unit();
            let mut entry = Entry::pending(workload, engine, device);
            entry.outcome = Outcome::Done;
            entry.measurements = vec![Measurement::single("rate", unit, value, 1.0).unwrap()];
            entry
        };
        let copy = Workload::Bandwidth(Bandwidth { op: MemoryOp::Copy, array_bytes: 1 << 30 });
        let decode = inference(InferencePhase::Decode { tokens: 128, depth: 0 });
        let prefill = inference(InferencePhase::Prefill { tokens: 512 });
        let started_at = "2026-11-12T14:02:00Z".parse().unwrap();
        Run {
            format_version: FORMAT_VERSION,
            id: "a".into(),
            started_at,
            ended_at: None,
            state: RunState::Finished,
            app: AppInfo::current(),
            suite: SuiteInfo { name: "quick".into(), budget_s: 45.0 },
            machine: Machine::default(),
            conditions: Conditions::default(),
            devices: vec![Device::example("vulkan:0", name), Device::example("cuda:0", name)],
            notes: Vec::new(),
            about: None,
            entries: vec![
                entry(copy, EngineId::Wgpu, "vulkan:0", 3.0e12),
                entry(decode, EngineId::Candle, "cuda:0", 150.0),
                entry(prefill, EngineId::Candle, "cuda:0", 20_000.0),
            ],
        }
    }

    #[test]
    fn decoding_is_bounded_by_reading_the_weights() {
        let share = share_of_ceiling(&run("NVIDIA H100 80GB HBM3"), 1).unwrap();
        assert!((share.ceiling.value - 3.35e12 / 14.23e9).abs() < 1.0, "{share:?}");
        assert!(share.text().ends_with("% of limit"));
        assert!(share.explanation().contains("3350 GB/s by the data sheet ÷ 14.2"), "{}", share.explanation());
        let unknown = share_of_ceiling(&run("a card"), 1).unwrap();
        assert!(unknown.explanation().contains("3000 GB/s as measured in this run"), "{}", unknown.explanation());
    }

    #[test]
    fn a_faster_device_beside_it_takes_no_ceiling_away() {
        let mut run = run("a card");
        run.devices.push(Device::example("vulkan:1", "a faster card"));
        let mut other = run.entries[0].clone();
        other.device = "vulkan:1".into();
        other.measurements = vec![Measurement::single("rate", Unit::BytePerSecond, 9.0e12, 1.0).unwrap()];
        run.entries.push(other);
        let share = share_of_ceiling(&run, 1).unwrap();
        assert!(share.explanation().contains("3000 GB/s as measured in this run"), "{}", share.explanation());
    }

    #[test]
    fn what_is_not_ranked_is_nobodys_ceiling() {
        use crate::record::{Mark, MarkKind};
        for kind in [MarkKind::Implausible, MarkKind::Functional, MarkKind::Disagrees] {
            let mut run = run("a card");
            run.entries[0].marks.push(Mark { kind, reason: "so".into() });
            assert_eq!(share_of_ceiling(&run, 1), None, "{kind:?}");
        }
    }

    #[test]
    fn a_processor_is_not_held_against_the_gpu_of_its_name() {
        let mut run = run("Apple M2");
        run.machine.gpu_cores = Some(10);
        let gemm = Workload::Gemm(crate::workload::Gemm::square(4096, Dtype::F16));
        let mut fast = Entry::pending(gemm, EngineId::Wgpu, "vulkan:0");
        fast.outcome = Outcome::Done;
        fast.measurements = vec![Measurement::single("rate", Unit::FlopPerSecond, 1e15, 1.0).unwrap()];
        run.entries.push(fast);
        assert!(share_of_ceiling(&run, 2).is_some());
        run.devices[1].kind = DeviceKind::Cpu;
        assert_eq!(share_of_ceiling(&run, 2), None);
        assert!(share_of_ceiling(&run, 1).is_some(), "the memory is the same");
    }

    #[test]
    fn prefill_is_bounded_by_arithmetic_and_unknown_without_any() {
        let share = share_of_ceiling(&run("NVIDIA H100 80GB HBM3"), 2).unwrap();
        assert!((0.2..0.4).contains(&share.fraction), "{share:?}");
        assert!(share.explanation().contains("GFLOP a token"), "{}", share.explanation());
        assert_eq!(share_of_ceiling(&run("a card"), 2), None);
    }
}
