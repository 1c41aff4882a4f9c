//! How near a figure comes to this machine's limit: the ceilings of each device of a run, found once, and what they allow.
//!
//! A ceiling is the best that the run measured on a device, by whichever engine, or what its maker publishes. Tokens are held
//! against what a token must move or compute: decoding against the bandwidth as measured, which every engine comes near to,
//! prefill and training against the published arithmetic where it is known, since few kernels reach it.

use std::collections::HashMap;

use super::{
    frameworks::Place,
    judge, peaks,
    roofline::RATE_MAX,
    share::{Bound, CeilingKind, Limit, Share},
};
use crate::{
    machine::{Device, DeviceKind, Machine},
    record::{Entry, Run},
    units::{Quantity, Unit},
    workload::{Dtype, InferencePhase, Precision, Workload},
};

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

/// Bytes fewer than this may stay in a cache: the memory's bandwidth is no limit of theirs.
const MEMORY_BYTES_MIN: f64 = (256 << 20) as f64;

/// What a token moves and computes, and which of both bounds it as a rule.
#[derive(Clone, Copy)]
struct TokenCost {
    usual: Family,
    dtype: Dtype,
    bytes: f64,
    flops: f64,
    /// All that is read for one step lies in a cache.
    cached: bool,
}

impl TokenCost {
    const fn of(&self, family: Family) -> f64 {
        match family {
            Family::Memory => self.bytes,
            Family::Arithmetic(_) => self.flops,
        }
    }
}

/// Decoding reads all weights for each step; prefill and training multiply by them for many tokens at once.
fn token_cost(workload: &Workload) -> Option<TokenCost> {
    let (model, tokens) = match workload {
        Workload::Inference(inference) => (&inference.model, inference.tokens() as f64),
        Workload::Training(training) => (&training.model, training.tokens() as f64),
        _ => return None,
    };
    let dtype = match &model.precision {
        Precision::F32 => Dtype::F32,
        Precision::Bf16 => Dtype::Bf16,
        _ => Dtype::F16,
    };
    let decodes = matches!(workload, Workload::Inference(one) if matches!(one.phase, InferencePhase::Decode { .. }));
    Some(TokenCost {
        usual: if decodes { Family::Memory } else { Family::Arithmetic(dtype) },
        dtype,
        bytes: workload.bytes()? / tokens,
        flops: workload.flops()? / tokens,
        cached: (model.token_bytes as f64) < MEMORY_BYTES_MIN,
    })
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
    match token_cost(workload) {
        Some(cost) if cost.cached && cost.usual == Family::Memory => None,
        Some(cost) => Some(published(cost.usual, device, machine)? / cost.of(cost.usual)),
        None => published(family(workload)?, device, machine),
    }
}

/// How near the entry at `index` comes to its limit. `None` where there is no figure or none to compare with. For many
/// entries of a run, [`Ceilings`] are found once.
pub fn share_of_ceiling(run: &Run, index: usize) -> Option<Share> {
    Ceilings::of(run).share(index)
}

/// The best that was measured of something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// FLOP/s or B/s.
    pub rate: f64,
    /// The entry that it comes from.
    pub entry: usize,
}

/// One ceiling of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ceiling {
    /// The best of this run.
    pub measured: Option<Best>,
    /// What the maker publishes, in FLOP/s or B/s.
    pub published: Option<f64>,
}

impl Ceiling {
    fn measured_first(self) -> Option<(f64, bool)> {
        self.measured.map(|best| (best.rate, false)).or(self.published.map(|rate| (rate, true)))
    }

    fn published_first(self) -> Option<(f64, bool)> {
        self.published.map(|rate| (rate, true)).or(self.measured.map(|best| (best.rate, false)))
    }

    fn take(&mut self, rate: f64, entry: usize) {
        if self.measured.is_none_or(|best| rate > best.rate) {
            self.measured = Some(Best { rate, entry });
        }
    }
}

/// The ceilings of one device, whichever name each engine has for it.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceCeilings {
    /// The device.
    pub place: Place,
    /// Bandwidth in B/s.
    pub memory: Ceiling,
    /// Arithmetic in FLOP/s, one for each of [`Dtype::ALL`].
    pub arithmetic: [Ceiling; Dtype::ALL.len()],
}

impl DeviceCeilings {
    /// The arithmetic of one element type.
    pub fn arithmetic_of(&self, dtype: Dtype) -> Ceiling {
        let mut all = Dtype::ALL.into_iter().zip(self.arithmetic);
        all.find(|(other, _)| *other == dtype).map(|(_, ceiling)| ceiling).unwrap_or_default()
    }

    /// The intensity in FLOP/B from which on arithmetic of a type is the limit, where both ceilings are known.
    pub fn ridge(&self, dtype: Dtype) -> Option<f64> {
        let (arithmetic, _) = self.arithmetic_of(dtype).published_first()?;
        let (memory, _) = self.memory.measured_first()?;
        Some(arithmetic / memory)
    }

    fn slot(&mut self, family: Family) -> Option<&mut Ceiling> {
        match family {
            Family::Memory => Some(&mut self.memory),
            Family::Arithmetic(dtype) => {
                let mut all = Dtype::ALL.into_iter().zip(&mut self.arithmetic);
                all.find(|(other, _)| *other == dtype).map(|(_, ceiling)| ceiling)
            }
        }
    }

    /// The arithmetic that a model of a type may use: its own; f16 for bf16. A processor widens narrow types, so that its best
    /// products of any type count for them.
    fn for_model(&self, dtype: Dtype) -> Option<(f64, bool)> {
        if self.place == Place::Processor && dtype != Dtype::F32 {
            let all = self.arithmetic.iter().filter_map(|ceiling| ceiling.measured);
            return all.map(|best| best.rate).reduce(f64::max).map(|rate| (rate, false));
        }
        let own = self.arithmetic_of(dtype).published_first();
        let half = || self.arithmetic_of(Dtype::F16).published_first().filter(|_| dtype == Dtype::Bf16);
        own.or_else(half)
    }
}

/// The ceilings of every device of a run.
#[derive(Debug)]
pub struct Ceilings<'a> {
    run: &'a Run,
    devices: Vec<DeviceCeilings>,
    /// Where each device's id is found in them.
    places: HashMap<&'a str, usize>,
}

impl<'a> Ceilings<'a> {
    /// Finds them. Only figures that may be ranked count, and of bandwidth those of arrays that no cache holds.
    pub fn of(run: &'a Run) -> Self {
        let mut found = Self { run, devices: Vec::new(), places: HashMap::new() };
        for device in &run.devices {
            found.add_device(&device.id, Some(device));
        }
        for (index, entry) in run.entries.iter().enumerate() {
            let place = found.add_device(&entry.device, None);
            let own =
                entry.headline().filter(|one| one.unit == entry.workload.unit() && judge::bar(run, entry).is_none());
            let rate = own.map(|figure| figure.summary.median).filter(|rate| *rate > 0.0 && *rate < RATE_MAX);
            let of = match &entry.workload {
                Workload::BandwidthSweep(_) => None,
                Workload::Bandwidth(one) if !one.is_beyond_caches() => None,
                workload => family(workload),
            };
            let Some((rate, of)) = rate.zip(of) else { continue };
            if let Some(ceiling) = found.devices.get_mut(place).and_then(|device| device.slot(of)) {
                ceiling.take(rate, index);
            }
        }
        found
    }

    /// Where the device of this id is, which is added if it is new.
    fn add_device(&mut self, id: &'a str, device: Option<&Device>) -> usize {
        if let Some(known) = self.places.get(id) {
            return *known;
        }
        let place = Place::of(device, id);
        let known = self.devices.iter().position(|other| other.place == place);
        let index = known.unwrap_or(self.devices.len());
        if known.is_none() {
            let ceiling = |family| {
                let published = device.and_then(|device| published(family, device, &self.run.machine));
                Ceiling { measured: None, published }
            };
            let memory = ceiling(Family::Memory);
            let arithmetic = Dtype::ALL.map(|dtype| ceiling(Family::Arithmetic(dtype)));
            self.devices.push(DeviceCeilings { place, memory, arithmetic });
        }
        self.places.insert(id, index);
        index
    }

    /// Every device, in the order of the run.
    pub fn devices(&self) -> &[DeviceCeilings] {
        &self.devices
    }

    /// Where the device of an entry is in [`Ceilings::devices`].
    pub fn device_of(&self, entry: &Entry) -> Option<usize> {
        self.places.get(entry.device.as_str()).copied()
    }

    /// How near the entry at `index` comes to its limit. `None` for a figure that can't be true.
    pub fn share(&self, index: usize) -> Option<Share> {
        let headline = self.run.entries.get(index).filter(|one| !judge::is_impossible(self.run, one))?.headline()?;
        let Limit { ceiling, kind, bound } = self.limit(index).filter(|limit| limit.ceiling.unit == headline.unit)?;
        let fraction = headline.summary.median / ceiling.value;
        (fraction.is_finite() && fraction >= 0.0).then_some(Share { fraction, ceiling, kind, bound })
    }

    /// The limit of the entry at `index`, whether it was reached or even tried or not.
    pub fn limit(&self, index: usize) -> Option<Limit> {
        let entry = self.run.entries.get(index)?;
        let device = self.devices.get(self.device_of(entry)?)?;
        let limit = match token_cost(&entry.workload) {
            Some(cost) => token_limit(device, &cost)?,
            None => kernel_limit(device, &entry.workload)?,
        };
        (limit.ceiling.value.is_finite() && limit.ceiling.value > 0.0).then_some(limit)
    }

    /// What bounds the entry at `index`: what sets its limit, or what bounds such work as a rule. `None` for what is neither
    /// reading nor multiplying.
    pub fn bound(&self, index: usize) -> Option<Bound> {
        let workload = &self.run.entries.get(index)?.workload;
        let usual = token_cost(workload).map(|cost| cost.usual).or_else(|| family(workload));
        let usual = usual.map(|family| if family == Family::Memory { Bound::Memory } else { Bound::Compute });
        self.limit(index).map(|limit| limit.bound).or(usual)
    }
}

/// Usually bandwidth ÷ bytes for decoding and arithmetic ÷ FLOPs for the rest; the other where it is known and lower.
fn token_limit(device: &DeviceCeilings, cost: &TokenCost) -> Option<Limit> {
    let limit = |family: Family, (rate, published): (f64, bool)| {
        let (unit, bound) = match family {
            Family::Memory => (Unit::BytePerSecond, Bound::Memory),
            Family::Arithmetic(_) => (Unit::FlopPerSecond, Bound::Compute),
        };
        let cost = cost.of(family);
        let kind = CeilingKind::Token { rate: Quantity::new(rate, unit), cost, published };
        Limit { ceiling: Quantity::new(rate / cost, Unit::TokenPerSecond), kind, bound }
    };
    let memory = device.memory.measured_first().filter(|_| !cost.cached).map(|rate| limit(Family::Memory, rate));
    let family = Family::Arithmetic(cost.dtype);
    let arithmetic = device.for_model(cost.dtype);
    let (usual, other) = match cost.usual {
        // A slow kernel of another kind is no ceiling of decoding: only what the maker says is.
        Family::Memory => (memory, arithmetic.filter(|(_, published)| *published).map(|rate| limit(family, rate))),
        Family::Arithmetic(_) => (arithmetic.map(|rate| limit(family, rate)), memory),
    };
    let usual = usual?;
    Some(other.filter(|other| other.ceiling.value < usual.ceiling.value).unwrap_or(usual))
}

/// The data sheet's rate where it is known, else the best of its kind; what bandwidth allows where that is lower.
fn kernel_limit(device: &DeviceCeilings, workload: &Workload) -> Option<Limit> {
    let (ceiling, bound) = match family(workload)? {
        Family::Memory => (device.memory, Bound::Memory),
        Family::Arithmetic(dtype) => (device.arithmetic_of(dtype), Bound::Compute),
    };
    let (rate, published) = ceiling.published_first()?;
    let kind = if published { CeilingKind::Theoretical } else { CeilingKind::Measured };
    let usual = Limit { ceiling: Quantity::new(rate, workload.unit()), kind, bound };
    if bound == Bound::Memory {
        return Some(usual);
    }
    let traffic = device.memory.measured_first().zip(intensity(workload)).map(|((rate, published), intensity)| {
        let kind = CeilingKind::Traffic { rate: Quantity::new(rate, Unit::BytePerSecond), intensity, published };
        Limit { ceiling: Quantity::new(rate * intensity, Unit::FlopPerSecond), kind, bound: Bound::Memory }
    });
    let is_large = workload.bytes().is_some_and(|bytes| bytes >= MEMORY_BYTES_MIN);
    Some(traffic.filter(|other| is_large && other.ceiling.value < rate).unwrap_or(usual))
}

/// The element type whose arithmetic a workload needs, of those that compute.
pub(super) fn arithmetic_type(workload: &Workload) -> Option<Dtype> {
    let kernel = match family(workload) {
        Some(Family::Arithmetic(dtype)) => Some(dtype),
        // Arrays are of f32.
        Some(Family::Memory) => Some(Dtype::F32),
        None => None,
    };
    kernel.or_else(|| token_cost(workload).map(|cost| cost.dtype))
}

/// Floating-point operations of one token, of those workloads that count tokens.
pub(super) fn flops_a_token(workload: &Workload) -> Option<f64> {
    token_cost(workload).map(|cost| cost.flops)
}

/// Floating-point operations for each byte that must be moved; `None` where there is none of either.
pub fn intensity(workload: &Workload) -> Option<f64> {
    let intensity = workload.flops()? / workload.bytes()?;
    (intensity.is_finite() && intensity > 0.0).then_some(intensity)
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
        assert!((share.ceiling.value - 3.0e12 / 14.23e9).abs() < 1.0, "{share:?}");
        assert!(share.text().ends_with("% of limit"));
        assert!(share.explanation().contains("3000 GB/s as measured in this run ÷ 14.2"), "{}", share.explanation());
        let mut unmeasured = run("NVIDIA H100 80GB HBM3");
        unmeasured.entries.remove(0);
        let share = share_of_ceiling(&unmeasured, 0).unwrap();
        assert!(share.explanation().contains("3350 GB/s by the data sheet ÷ 14.2"), "{}", share.explanation());
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
        run.entries[1].measurements[0].summary.median = 5.0;
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
    fn a_processor_multiplies_wide_models_in_their_own_type() {
        let mut run = run("a processor");
        run.devices.iter_mut().for_each(|device| device.kind = DeviceKind::Cpu);
        for (dtype, rate) in [(Dtype::F32, 1e11), (Dtype::Bf16, 3e11)] {
            let gemm = Workload::Gemm(crate::workload::Gemm::square(4096, dtype));
            let mut entry = Entry::pending(gemm, EngineId::Candle, "cuda:0");
            entry.outcome = Outcome::Done;
            entry.measurements = vec![Measurement::single("rate", Unit::FlopPerSecond, rate, 1.0).unwrap()];
            run.entries.push(entry);
        }
        let rate = |run: &Run| match share_of_ceiling(run, 2).unwrap().kind {
            CeilingKind::Token { rate, .. } => rate.value,
            other => panic!("{other:?}"),
        };
        assert!((rate(&run) / 3e11 - 1.0).abs() < 1e-9, "f16 is widened to whatever is fastest");
        if let Workload::Inference(inference) = &mut run.entries[2].workload {
            inference.model.precision = Precision::F32;
        }
        assert!((rate(&run) / 1e11 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn prefill_is_bounded_by_arithmetic_and_unknown_without_any() {
        let share = share_of_ceiling(&run("NVIDIA H100 80GB HBM3"), 2).unwrap();
        assert!((0.2..0.4).contains(&share.fraction), "{share:?}");
        assert!(share.explanation().contains("GFLOP a token"), "{}", share.explanation());
        assert_eq!(share_of_ceiling(&run("a card"), 2), None);
    }
}
