//! Language models in a plan: which model suits a device, and the workloads that options ask for.

use std::num::NonZero;

use super::SuiteName;
use crate::{
    engine::EngineId,
    machine::{Device, DeviceKind},
    model::estimate::{self, Place},
    workload::{
        Inference, InferencePhase, LEARNING_RATE_MILLIONTHS, ModelLoad, ModelRef, Origin, Precision, Target, Training,
        Workload, WorkloadKind,
    },
};

/// What is asked of language models. Empty lists and absent values ask for the suite's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelOptions {
    /// A preset's name, a file or folder, or the name of a repository, as "org/name". The device's own if absent.
    pub model: Option<String>,
    /// How the weights are stored.
    pub precisions: Vec<Precision>,
    /// Positions read in one pass; 0 for no prefill.
    pub prompt_tokens: Vec<u32>,
    /// Positions written in one pass; 0 for no decode.
    pub generate_tokens: Vec<u32>,
    /// Positions before those that are written.
    pub depths: Vec<u32>,
    /// Sequences at once, of inference and training.
    pub batches: Vec<u32>,
    /// Ranks of the adapters.
    pub lora_ranks: Vec<u32>,
    /// The matrices that are adapted; q and v if empty.
    pub lora_targets: Vec<Target>,
    /// Positions a sequence of training.
    pub sequences: Vec<u32>,
    /// Gradients are left as they are.
    pub no_clipping: bool,
    /// Activations are computed again in the backward pass.
    pub checkpointing: bool,
    /// AdamW's learning rate in millionths.
    pub learning_rate_millionths: Option<u32>,
}

/// The most positions of a prompt, an answer, a depth or a sequence.
pub const POSITIONS_MAX: u32 = 131_072;
/// The most sequences at once.
pub const BATCH_MAX: u32 = 256;
/// The highest rank.
pub const RANK_MAX: u32 = 1024;

impl ModelOptions {
    /// Nothing is asked: the suite runs as it is defined.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn asks_for_inference(&self) -> bool {
        !self.prompt_tokens.is_empty() || !self.generate_tokens.is_empty() || !self.depths.is_empty()
    }

    fn asks_for_training(&self) -> bool {
        let lists = !self.lora_ranks.is_empty() || !self.lora_targets.is_empty() || !self.sequences.is_empty();
        lists || self.no_clipping || self.checkpointing || self.learning_rate_millionths.is_some()
    }

    /// Whether what is asked speaks of a kind: `--depth 512` alone asks for no training.
    pub(super) fn speaks_of(&self, kind: WorkloadKind) -> bool {
        let (inference, training) = (self.asks_for_inference(), self.asks_for_training());
        match kind {
            WorkloadKind::ModelLoad => !inference && !training && self.batches.is_empty(),
            WorkloadKind::Inference => inference || !training,
            WorkloadKind::Training => training || !inference,
            _ => false,
        }
    }

    /// The kind that only options ask for, whether the suite has it or not.
    pub(super) fn adds(&self, kind: WorkloadKind) -> bool {
        match kind {
            WorkloadKind::Inference => self.asks_for_inference(),
            WorkloadKind::Training => self.asks_for_training(),
            _ => false,
        }
    }

    /// The first number that makes no sense, in a sentence.
    pub fn check(&self) -> Result<(), String> {
        let positions = |flag: &str, list: &[u32], least: u32| within(flag, list, least, POSITIONS_MAX);
        positions("--prompt-tokens", &self.prompt_tokens, 0)?;
        positions("--generate-tokens", &self.generate_tokens, 0)?;
        positions("--depth", &self.depths, 0)?;
        // Each position but the last is trained to predict the one after it.
        positions("--sequence", &self.sequences, 2)?;
        within("--batch", &self.batches, 1, BATCH_MAX)?;
        within("--lora-rank", &self.lora_ranks, 1, RANK_MAX)?;
        let none = |list: &[u32]| !list.is_empty() && list.iter().all(|tokens| *tokens == 0);
        if none(&self.prompt_tokens) && none(&self.generate_tokens) {
            return Err("--prompt-tokens 0 and --generate-tokens 0 leave nothing to run; give one a number".to_owned());
        }
        Ok(())
    }
}

fn within(flag: &str, list: &[u32], least: u32, most: u32) -> Result<(), String> {
    match list.iter().find(|value| !(least..=most).contains(*value)) {
        Some(value) => Err(format!("{flag} {value} can't be measured: choose from {least} to {most}")),
        None => Ok(()),
    }
}

/// What a model's workloads depend on beside the options.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host<'a> {
    /// The device.
    pub(super) device: &'a Device,
    /// Logical processors of the machine.
    pub(super) processors: usize,
}

impl<'a> Host<'a> {
    /// The device in this machine.
    pub(super) fn of(device: &'a Device) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { device, processors }
    }

    /// Whether so many bytes leave room for what else a pass needs.
    fn holds(&self, bytes: u64) -> bool {
        bytes + bytes / 4 + (1 << 30) <= self.device.limits.max_buffer_bytes
    }

    /// The kind of device, as far as memory depends on it.
    pub(super) fn place(&self) -> Place {
        match self.device.backend.as_str() {
            "Metal" => Place::Metal,
            "CUDA" => Place::Cuda,
            _ => Place::processor(),
        }
    }
}

/// Bytes of a 7-billion model in 16 bits, and in 4.
const LARGE_HALF: u64 = 14_500_000_000;
const LARGE_FOUR: u64 = 4_400_000_000;
/// A GPU that shares this much with the processor is a large one, and fast enough for 16 bits a weight.
const LARGE_SHARED: u64 = 40_000_000_000;
/// Processors that run a 7-billion model at a few tokens a second.
const MANY_PROCESSORS: usize = 8;
/// Memory of the machine from which the processor holds a 7-billion model twice, as packed blocks need it.
const MUCH_MEMORY: u64 = 15 << 30;
/// Models up to this size are trained in f32 on a processor.
const SMALL_PARAMETERS: u64 = 500_000_000;

/// The preset that suits a device: the largest that fits, and on a processor one that it can run in the suite's time.
fn suited(suite: SuiteName, host: &Host<'_>, kind: WorkloadKind) -> &'static str {
    if host.device.kind != DeviceKind::Cpu {
        return if host.holds(LARGE_FOUR) { "mistral-7b" } else { "mistral-1b" };
    }
    let many = host.processors >= MANY_PROCESSORS && host.device.limits.max_buffer_bytes >= MUCH_MEMORY;
    match (suite, many) {
        _ if kind == WorkloadKind::Training => "mistral-100m",
        (SuiteName::Quick, false) => "mistral-100m",
        (SuiteName::Quick, true) | (SuiteName::Standard | SuiteName::Full, false) => "mistral-1b",
        (SuiteName::Standard | SuiteName::Full, true) => "mistral-7b",
    }
}

/// The precision that synthetic weights are made in where none is asked for: 16 bits where they fit and can be read fast
/// enough, else four.
fn suited_precision(host: &Host<'_>, parameters: u64, kind: WorkloadKind) -> Precision {
    let room = host.device.limits.max_buffer_bytes;
    match host.device.kind {
        DeviceKind::Cpu if kind == WorkloadKind::Training && parameters <= SMALL_PARAMETERS => Precision::F32,
        DeviceKind::Cpu => Precision::Q4KM,
        DeviceKind::IntegratedGpu if 2 * parameters >= LARGE_HALF / 2 && room < LARGE_SHARED => Precision::Q4KM,
        _ if host.holds(2 * parameters) => Precision::F16,
        _ => Precision::Q4KM,
    }
}

/// What a name and a precision mean; the sentence says what to write instead.
pub(super) type Resolve<'a> = dyn Fn(&str, Option<&Precision>) -> Result<ModelRef, String> + 'a;

/// The sizes of a suite: (tokens, batch) of prefills, (tokens, depth, batch) of decodes, (batch, sequence) of trainings.
struct Sizes {
    load: bool,
    prefills: &'static [(u32, u32)],
    decodes: &'static [(u32, u32, u32)],
    trainings: &'static [(u32, u32)],
}

const QUICK: Sizes = Sizes { load: false, prefills: &[(512, 1)], decodes: &[(128, 0, 1)], trainings: &[] };
const STANDARD: Sizes = Sizes {
    load: true,
    prefills: &[(128, 1), (512, 1), (2048, 1)],
    decodes: &[(128, 0, 1), (128, 512, 1), (128, 4096, 1)],
    trainings: &[(1, 128), (1, 512)],
};
const FULL: Sizes = Sizes {
    load: true,
    prefills: &[(128, 1), (512, 1), (2048, 1), (512, 4), (512, 8)],
    decodes: &[(128, 0, 1), (128, 512, 1), (128, 4096, 1), (128, 0, 4), (128, 0, 8)],
    trainings: &[(1, 128), (1, 512), (4, 512)],
};

const fn sizes(suite: SuiteName) -> &'static Sizes {
    match suite {
        SuiteName::Quick => &QUICK,
        SuiteName::Standard => &STANDARD,
        SuiteName::Full => &FULL,
    }
}

/// The rank, and the matrices that are adapted, unless others are asked for.
const RANK: u32 = 8;
const TARGETS: [Target; 2] = [Target::Q, Target::V];

/// How far a kind is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Not at all.
    No,
    /// As the suite has it.
    Suite,
    /// By name or by its options: even if the suite has it not.
    Always,
}

/// The workloads of language models for one device.
pub(super) struct Chooser<'a> {
    /// The suite that sizes are taken from.
    pub(super) suite: SuiteName,
    /// The device in its machine.
    pub(super) host: Host<'a>,
    /// Who runs them.
    pub(super) engine: EngineId,
    /// The precisions that it runs; empty for all.
    pub(super) precisions: &'a [Precision],
    /// What is asked for.
    pub(super) options: &'a ModelOptions,
    /// What a model's name means.
    pub(super) resolve: &'a Resolve<'a>,
}

impl Chooser<'_> {
    /// The workloads, those of one model after another. `want` says which kinds.
    pub(super) fn workloads(&self, want: impl Fn(WorkloadKind) -> Want) -> Result<Vec<Workload>, String> {
        let sizes_of = |kind: WorkloadKind| match want(kind) {
            Want::No => None,
            // Quick has no more than inference.
            Want::Always if self.suite == SuiteName::Quick && kind != WorkloadKind::Inference => Some(&STANDARD),
            Want::Suite | Want::Always => Some(sizes(self.suite)),
        };
        let mut list = Vec::new();
        let load = sizes_of(WorkloadKind::ModelLoad).is_some_and(|sizes| sizes.load);
        let inference = sizes_of(WorkloadKind::Inference);
        if load || inference.is_some() {
            for model in self.models(WorkloadKind::Inference)? {
                if load {
                    list.push(Workload::ModelLoad(ModelLoad { model: model.clone() }));
                }
                list.extend(inference.into_iter().flat_map(|sizes| self.inference(&model, sizes)));
            }
        }
        let training = sizes_of(WorkloadKind::Training);
        if let Some(sizes) = training.filter(|sizes| !sizes.trainings.is_empty()) {
            for model in self.models(WorkloadKind::Training)? {
                list.extend(self.training(&model, sizes));
            }
        }
        let candles = self.engine == EngineId::Candle;
        if candles && self.suite == SuiteName::Full && want(WorkloadKind::Inference) == Want::Suite {
            list.extend(self.more_precisions(training.is_some())?);
        }
        Ok(list)
    }

    /// The models that a kind is run with: one for each precision asked for.
    fn models(&self, kind: WorkloadKind) -> Result<Vec<ModelRef>, String> {
        let name = self.options.model.as_deref().unwrap_or_else(|| self.suited(kind));
        if self.options.precisions.is_empty() {
            let found = (self.resolve)(name, None)?;
            if found.origin == Origin::Files {
                return Ok(vec![found]);
            }
            let precisions = self.suited_precisions(found.shape.parameters(), kind);
            return precisions.iter().map(|precision| (self.resolve)(name, Some(precision))).collect();
        }
        self.options.precisions.iter().map(|precision| (self.resolve)(name, Some(precision))).collect()
    }

    /// The preset that suits the device and the engine.
    fn suited(&self, kind: WorkloadKind) -> &'static str {
        // MLX's wheel for Linux processors only shows that it works.
        let shown = self.engine == EngineId::Mlx && self.host.device.kind == DeviceKind::Cpu;
        if shown { "mistral-100m" } else { suited(self.suite, &self.host, kind) }
    }

    /// The precisions that suit the device and the engine: candle's choice where the engine has it, and four bits beside
    /// sixteen where its own four are what people run it for.
    fn suited_precisions(&self, parameters: u64, kind: WorkloadKind) -> Vec<Precision> {
        let own = suited_precision(&self.host, parameters, kind);
        let on_processor = self.host.device.kind == DeviceKind::Cpu;
        let dense = if on_processor { Precision::F32 } else { Precision::F16 };
        match self.engine {
            EngineId::Wgpu | EngineId::Candle => vec![own],
            EngineId::LlamaCpp if own == Precision::F16 => vec![own, Precision::Q4KM],
            EngineId::LlamaCpp => vec![Precision::Q4KM],
            EngineId::Mlx if on_processor => vec![dense],
            EngineId::Mlx if own == Precision::F16 && kind == WorkloadKind::Training => vec![own],
            EngineId::Mlx if own == Precision::F16 => vec![own, Precision::Mlx4],
            EngineId::Mlx => vec![Precision::Mlx4],
            EngineId::Pytorch => vec![dense],
            EngineId::Other(_) if self.precisions.is_empty() || self.precisions.contains(&dense) => vec![dense],
            EngineId::Other(_) => self.precisions.iter().take(1).cloned().collect(),
        }
    }

    fn inference(&self, model: &ModelRef, sizes: &Sizes) -> Vec<Workload> {
        let options = self.options;
        let one = |phase, batch| Workload::Inference(Inference { model: model.clone(), phase, batch });
        let prefill = |(tokens, batch): (u32, u32)| one(InferencePhase::Prefill { tokens }, batch);
        let decode = |(tokens, depth, batch): (u32, u32, u32)| one(InferencePhase::Decode { tokens, depth }, batch);
        let mut prefills: Vec<(u32, u32)> = sizes.prefills.to_vec();
        let mut decodes: Vec<(u32, u32, u32)> = sizes.decodes.to_vec();
        if options.asks_for_inference() || !options.batches.is_empty() {
            let batches = or(&options.batches, &[1]);
            let single: Vec<u32> = sizes.prefills.iter().filter(|size| size.1 == 1).map(|size| size.0).collect();
            let prompts = or(&options.prompt_tokens, &single);
            prefills = prompts.iter().flat_map(|tokens| batches.iter().map(|batch| (*tokens, *batch))).collect();
            let single: Vec<u32> = sizes.decodes.iter().filter(|size| size.2 == 1).map(|size| size.1).collect();
            let (generate, depths) = (or(&options.generate_tokens, &[128]), or(&options.depths, &single));
            let at = |tokens: &u32| {
                let tokens = *tokens;
                depths.iter().flat_map(move |depth| batches.iter().map(move |batch| (tokens, *depth, *batch)))
            };
            decodes = generate.iter().flat_map(at).collect();
        }
        let prefills = prefills.into_iter().filter(|size| size.0 > 0).map(prefill);
        prefills.chain(decodes.into_iter().filter(|size| size.0 > 0).map(decode)).collect()
    }

    fn training(&self, model: &ModelRef, sizes: &Sizes) -> Vec<Workload> {
        let options = self.options;
        let mut shapes: Vec<(u32, u32)> = sizes.trainings.to_vec();
        if !options.sequences.is_empty() || !options.batches.is_empty() {
            let single: Vec<u32> = sizes.trainings.iter().filter(|size| size.0 == 1).map(|size| size.1).collect();
            let (batches, sequences) = (or(&options.batches, &[1]), or(&options.sequences, &single));
            shapes = batches.iter().flat_map(|batch| sequences.iter().map(|sequence| (*batch, *sequence))).collect();
        }
        let ranks = or(&options.lora_ranks, &[RANK]);
        let one = |(rank, (batch, sequence)): (u32, (u32, u32))| self.one_training(model, rank, batch, sequence);
        ranks.iter().flat_map(|rank| shapes.iter().map(|shape| (*rank, *shape))).map(one).collect()
    }

    /// Activations are kept unless memory demands that they are computed again, or that is asked for.
    fn one_training(&self, model: &ModelRef, rank: u32, batch: u32, sequence: u32) -> Workload {
        let targets = if self.options.lora_targets.is_empty() { &TARGETS[..] } else { &self.options.lora_targets };
        let kept = Training {
            model: model.clone(),
            rank,
            targets: targets.to_vec(),
            sequence,
            batch,
            clipping: !self.options.no_clipping,
            checkpointing: self.options.checkpointing,
            learning_rate_millionths: self.options.learning_rate_millionths.unwrap_or(LEARNING_RATE_MILLIONTHS),
        };
        let room = self.host.device.limits.max_buffer_bytes;
        let total = |training: &Training| {
            let workload = Workload::Training(training.clone());
            estimate::memory(&workload, self.host.place()).map_or(0, |estimate| estimate.total)
        };
        let again = Training { checkpointing: true, ..kept.clone() };
        let fits = |needed: u64| needed + needed / 10 <= room;
        Workload::Training(if !fits(total(&kept)) && fits(total(&again)) { again } else { kept })
    }

    /// Full's other precisions of the same synthetic model, at Quick's sizes, and QLoRA.
    fn more_precisions(&self, training: bool) -> Result<Vec<Workload>, String> {
        const MORE: [Precision; 5] =
            [Precision::F16, Precision::Bf16, Precision::Q8_0, Precision::Q4_0, Precision::Q4KM];
        let first = self.models(WorkloadKind::Inference)?;
        let [own] = first.as_slice() else { return Ok(Vec::new()) };
        if own.origin == Origin::Files || !self.options.precisions.is_empty() {
            return Ok(Vec::new());
        }
        let mut list = Vec::new();
        // The processor widens bf16, so that it has nothing to show there.
        let shown = |precision: &Precision| {
            let widened = *precision == Precision::Bf16 && self.host.device.kind == DeviceKind::Cpu;
            *precision != own.precision && !widened
        };
        for precision in MORE.into_iter().filter(shown) {
            let model = (self.resolve)(&own.name, Some(&precision))?;
            if self.host.holds(model.weight_bytes) {
                list.extend(self.inference(&model, &QUICK));
            }
        }
        if training {
            let name = self.options.model.as_deref();
            let name = name.unwrap_or_else(|| suited(self.suite, &self.host, WorkloadKind::Training));
            let model = (self.resolve)(name, Some(&Precision::Q4KM))?;
            list.push(self.one_training(&model, RANK, 1, 512));
        }
        Ok(list)
    }
}

/// What is asked for, else the suite's.
fn or<'a>(asked: &'a [u32], suite: &'a [u32]) -> &'a [u32] {
    if asked.is_empty() { suite } else { asked }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::source;

    /// The precisions of a 7-billion model's inference on a device with so much memory.
    fn precisions(engine: EngineId, kind: DeviceKind, memory_bytes: u64, has: &[Precision]) -> Vec<Precision> {
        let mut device = Device { kind, ..Device::example("device", "a device") };
        device.limits.max_buffer_bytes = memory_bytes;
        let resolve = |name: &str, precision: Option<&Precision>| {
            source::resolve(name, precision, None).map_err(|error| error.to_string())
        };
        let chooser = Chooser {
            suite: SuiteName::Standard,
            host: Host { device: &device, processors: 2 },
            engine,
            precisions: has,
            options: &ModelOptions::default(),
            resolve: &resolve,
        };
        chooser.suited_precisions(7_000_000_000, WorkloadKind::Inference)
    }

    #[test]
    fn sixteen_bits_stand_beside_sixteen_and_four_beside_four() {
        let gpu = |engine| precisions(engine, DeviceKind::DiscreteGpu, 80 << 30, &[]);
        assert_eq!(gpu(EngineId::Candle), [Precision::F16]);
        assert_eq!(gpu(EngineId::Pytorch), [Precision::F16]);
        assert_eq!(gpu(EngineId::LlamaCpp), [Precision::F16, Precision::Q4KM]);
        assert_eq!(gpu(EngineId::Mlx), [Precision::F16, Precision::Mlx4]);
        let small = |engine| precisions(engine, DeviceKind::DiscreteGpu, 8 << 30, &[]);
        assert_eq!(small(EngineId::Candle), [Precision::Q4KM]);
        assert_eq!(small(EngineId::LlamaCpp), [Precision::Q4KM]);
        assert_eq!(small(EngineId::Mlx), [Precision::Mlx4]);
    }

    #[test]
    fn an_engine_of_the_engines_folder_is_asked_for_what_it_has() {
        let other = "tinygrad".parse().unwrap();
        let on = |kind, has: &[Precision]| precisions(other, kind, 80 << 30, has);
        assert_eq!(on(DeviceKind::Cpu, &[]), [Precision::F32]);
        assert_eq!(on(DeviceKind::DiscreteGpu, &[Precision::F32, Precision::F16]), [Precision::F16]);
        assert_eq!(on(DeviceKind::DiscreteGpu, &[Precision::Q8_0]), [Precision::Q8_0]);
    }
}
