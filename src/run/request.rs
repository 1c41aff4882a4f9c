//! What is asked for, and the workloads that it means on a device.

use std::path::PathBuf;

use super::{
    models::{Chooser, Host, ModelOptions, Resolve, Want},
    suite::{self, SuiteName},
};
use crate::{
    engine::EngineId,
    run::FoundDevice,
    workload::{Attention, Bandwidth, Dtype, Gemm, Layout, MemoryOp, Workload, WorkloadKind},
};

/// What was asked for. Empty lists ask for everything in the suite.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The suite that jobs are taken from.
    pub suite: SuiteName,
    /// Only these kinds of workload.
    pub workloads: Vec<WorkloadKind>,
    /// Only these engines.
    pub engines: Vec<EngineId>,
    /// GEMM shapes and array sizes instead of the suite's.
    pub sizes: Sizes,
    /// Only these element types.
    pub dtypes: Vec<Dtype>,
    /// How B lies in memory, for GEMM shapes that are asked for; only those of the suite's in these layouts. A·B if empty.
    pub layouts: Vec<Layout>,
    /// Only these memory operations.
    pub operations: Vec<MemoryOp>,
    /// What is asked of language models.
    pub models: ModelOptions,
    /// The device: its id, its place in the list of all engines' devices, or a part of its name. Each engine's best if
    /// absent.
    pub device: Option<String>,
    /// The time allowed for all entries in seconds, instead of the suite's.
    pub budget_s: Option<f64>,
    /// The folder of Hugging Face's cache, where `org/name` is looked for.
    pub hub: Option<PathBuf>,
}

/// Sizes that replace the suite's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// GEMM shapes as (m, n, k).
    pub shapes: Vec<(u32, u32, u32)>,
    /// Array sizes in bytes.
    pub arrays: Vec<u64>,
}

impl Sizes {
    /// Whether the suite's sizes are used.
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty() && self.arrays.is_empty()
    }

    /// Adds what `text` names: "4096" or "1000x200x300" for GEMM, "256MiB" or "1GiB" for arrays.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let wrong = || format!("\"{text}\" is no size: write n, MxNxK, or an array size such as 64KiB, 256MiB, 1GiB");
        if text.to_ascii_lowercase().ends_with("ib") {
            let bytes = array_size(text).ok_or_else(wrong)?;
            if !(4096..=1 << 40).contains(&bytes) {
                return Err(format!("an array of {text} can't be measured: choose from 4KiB to 1TiB"));
            }
            self.arrays.push(bytes / 4096 * 4096);
            return Ok(());
        }
        let numbers: Result<Vec<u32>, _> = text.split(['x', 'X', '×']).map(str::parse).collect();
        let shape = match numbers.map_err(|_not_a_number| wrong())?.as_slice() {
            [n] => (*n, *n, *n),
            [m, n, k] => (*m, *n, *k),
            _ => return Err(wrong()),
        };
        if [shape.0, shape.1, shape.2].iter().any(|side| !(1..=65_536).contains(side)) {
            return Err(format!("a GEMM of {text} can't be measured: each side must be from 1 to 65536"));
        }
        self.shapes.push(shape);
        Ok(())
    }
}

/// The bytes of "64KiB".
fn array_size(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let steps = [("kib", 10), ("mib", 20), ("gib", 30), ("tib", 40)];
    let (digits, shift) = steps.iter().find_map(|(suffix, shift)| Some((lower.strip_suffix(suffix)?, shift)))?;
    digits.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl Request {
    /// Whether the suite is run other than as it is defined.
    pub fn is_custom(&self) -> bool {
        let filtered = !self.workloads.is_empty() || !self.engines.is_empty() || !self.models.is_empty();
        filtered || self.asks_of_kernels()
    }

    /// Whether jobs of an engine are wanted.
    pub(super) fn wants_engine(&self, engine: EngineId) -> bool {
        let suits = engine.is_built_in() || self.suite.has_external_engines();
        if self.engines.is_empty() { suits } else { self.engines.contains(&engine) }
    }

    /// The device's place in the list, where it was named by that.
    pub(super) fn place(&self) -> Option<usize> {
        self.device.as_deref()?.parse().ok()
    }

    /// Flags that only kernels have.
    fn asks_of_kernels(&self) -> bool {
        let lists = !self.dtypes.is_empty() || !self.operations.is_empty() || !self.layouts.is_empty();
        lists || !self.sizes.is_empty()
    }

    /// The workloads of the given kinds left for a device after sizes and filters. The error says what to write instead of
    /// the model's name.
    pub(super) fn workloads_for(&self, found: &FoundDevice, resolve: &Resolve<'_>) -> Result<Vec<Workload>, String> {
        let mut list = self.kernels_for(found);
        let kinds = &found.abilities.kinds;
        // Quick's minute is for one engine's kernels.
        let spared = self.suite == SuiteName::Quick && !self.is_custom() && found.engine == EngineId::Candle;
        list.retain(|workload| kinds.contains(&workload.kind()) && !spared);
        let host = Host::of(&found.device);
        let (engine, precisions) = (found.engine, found.abilities.precisions.as_slice());
        let chooser = Chooser { suite: self.suite, host, engine, precisions, options: &self.models, resolve };
        list.extend(chooser.workloads(|kind| if kinds.contains(&kind) { self.wants(kind) } else { Want::No })?);
        Ok(list)
    }

    /// How far a kind of the models' is wanted.
    fn wants(&self, kind: WorkloadKind) -> Want {
        let named = self.workloads.contains(&kind);
        match () {
            () if named || self.workloads.is_empty() && self.models.adds(kind) => Want::Always,
            () if self.workloads.is_empty() && self.speaks_of(kind) => Want::Suite,
            () => Want::No,
        }
    }

    fn kernels_for(&self, found: &FoundDevice) -> Vec<Workload> {
        let base = if self.workloads.is_empty() {
            self.suite.kernels(found)
        } else {
            // A kind asked for by name is run even if the suite has it not.
            let suite = self.suite.kernels(found);
            let missing = |kind: &&WorkloadKind| !suite.iter().any(|workload| workload.kind() == **kind);
            let added: Vec<WorkloadKind> = self.workloads.iter().filter(missing).copied().collect();
            let standard = SuiteName::Standard.kernels(found).into_iter();
            suite.iter().cloned().chain(standard.filter(|workload| added.contains(&workload.kind()))).collect()
        };
        let sized = if self.sizes.is_empty() { base } else { self.resized(&base, found) };
        sized.into_iter().filter(|workload| self.keeps(workload)).collect()
    }

    /// The kinds in `base` that the given sizes fit, at those sizes.
    fn resized(&self, base: &[Workload], found: &FoundDevice) -> Vec<Workload> {
        let device = &found.device;
        let has = |kind| base.iter().any(|workload| workload.kind() == kind);
        let mut list = Vec::new();
        if has(WorkloadKind::Bandwidth) {
            for array_bytes in &self.sizes.arrays {
                let at =
                    |op| Workload::Bandwidth(Bandwidth { array_bytes: *array_bytes, ..suite::bandwidth(op, device) });
                list.extend(MemoryOp::ALL.map(at));
            }
        }
        if has(WorkloadKind::Gemm) {
            // Every type that is asked for by name, also those that the engine has to refuse.
            let dtypes = if self.dtypes.is_empty() { &found.abilities.dtypes } else { &self.dtypes };
            let layouts = if self.layouts.is_empty() { &[Layout::Ab][..] } else { &self.layouts };
            for (dtype, layout) in dtypes.iter().flat_map(|dtype| layouts.iter().map(move |layout| (*dtype, *layout))) {
                let gemm = |shape: &(u32, u32, u32)| Workload::Gemm(Gemm { layout, ..Gemm::new(*shape, dtype) });
                list.extend(self.sizes.shapes.iter().map(gemm));
            }
        }
        list
    }

    /// Whether flags for one kind of workload leave another out: `--op read` alone asks for no GEMM, and `--depth 512` for
    /// no kernel at all.
    fn speaks_of(&self, kind: WorkloadKind) -> bool {
        let (typed, operated) = (!self.dtypes.is_empty(), !self.operations.is_empty());
        let laid = !self.layouts.is_empty();
        let (of_kernels, of_models) = (self.asks_of_kernels(), !self.models.is_empty());
        if kind.is_model() {
            return (of_models || !of_kernels) && self.models.speaks_of(kind);
        }
        let spoken = match kind {
            WorkloadKind::Gemm => laid || typed || !operated,
            WorkloadKind::Attention => !laid && (typed || !operated),
            WorkloadKind::Bandwidth | WorkloadKind::BandwidthSweep => operated || !typed && !laid,
            _ => !typed && !operated && !laid,
        };
        (of_kernels || !of_models) && spoken
    }

    fn keeps(&self, workload: &Workload) -> bool {
        let kind = if self.workloads.is_empty() {
            self.speaks_of(workload.kind())
        } else {
            self.workloads.contains(&workload.kind())
        };
        let dtype = match workload {
            Workload::Gemm(Gemm { dtype, .. }) | Workload::Attention(Attention { dtype, .. }) => {
                self.dtypes.is_empty() || self.dtypes.contains(dtype)
            }
            _ => true,
        };
        let layout = match workload {
            Workload::Gemm(gemm) => self.layouts.is_empty() || self.layouts.contains(&gemm.layout),
            _ => true,
        };
        let op = match workload {
            Workload::Bandwidth(Bandwidth { op, .. }) => self.operations.is_empty() || self.operations.contains(op),
            Workload::BandwidthSweep(sweep) => self.operations.is_empty() || self.operations.contains(&sweep.op),
            _ => true,
        };
        kind && dtype && layout && op
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::Abilities, machine::Device, model::source, workload::Precision};

    fn workloads(request: &Request) -> Vec<Workload> {
        let resolve = |name: &str, precision: Option<&Precision>| {
            source::resolve(name, precision, None).map_err(|error| error.to_string())
        };
        let abilities =
            Abilities { kinds: WorkloadKind::ALL.into(), dtypes: Dtype::SHADERS.into(), precisions: Vec::new() };
        let device = Device::example("vulkan:0", "GPU");
        request.workloads_for(&FoundDevice { engine: EngineId::Candle, abilities, device }, &resolve).unwrap()
    }

    fn kinds(request: &Request) -> Vec<WorkloadKind> {
        let mut kinds: Vec<_> = workloads(request).iter().map(Workload::kind).collect();
        kinds.dedup();
        kinds
    }

    fn titles(request: &Request) -> Vec<String> {
        workloads(request).iter().map(Workload::title).collect()
    }

    #[test]
    fn flags_for_models_leave_the_kernels_and_each_other_out() {
        let with = |models: ModelOptions| Request { suite: SuiteName::Standard, models, ..Request::default() };
        let model = ModelOptions { model: Some("mistral-100m".into()), ..ModelOptions::default() };
        assert_eq!(kinds(&with(model.clone())), WorkloadKind::MODELS);
        let deep = ModelOptions { depths: vec![16, 32], ..model.clone() };
        assert_eq!(kinds(&with(deep)), [WorkloadKind::Inference]);
        let ranks = ModelOptions { lora_ranks: vec![4, 16], ..model.clone() };
        assert_eq!(workloads(&with(ranks.clone())).len(), 4);
        assert_eq!(kinds(&with(ranks.clone())), [WorkloadKind::Training]);
        let quick = Request { suite: SuiteName::Quick, ..with(ranks) };
        assert_eq!(kinds(&quick), [WorkloadKind::Training], "Quick has no training, but it was asked for");
        let both = Request { dtypes: vec![Dtype::F16], ..with(model) };
        // GEMM and attention have types, and the three kinds of models were asked for.
        assert_eq!(kinds(&both).len(), 5);
    }

    #[test]
    fn lists_are_run_in_every_combination_as_in_llama_bench() {
        let models = ModelOptions { prompt_tokens: vec![512], generate_tokens: vec![0], ..ModelOptions::default() };
        assert_eq!(titles(&Request { models, ..Request::default() }), ["Prefill 512"]);
        let models = ModelOptions {
            prompt_tokens: vec![0],
            generate_tokens: vec![64],
            depths: vec![0, 512],
            batches: vec![1, 4],
            precisions: vec![Precision::F16, Precision::Q8_0],
            ..ModelOptions::default()
        };
        let list = workloads(&Request { models, ..Request::default() });
        assert_eq!(list.len(), 8);
        assert!(list.iter().all(|workload| workload.title() == "Decode 64"));
    }

    #[test]
    fn flags_for_one_kind_leave_the_others_out() {
        let standard = Request { suite: SuiteName::Standard, ..Request::default() };
        assert_eq!(kinds(&standard).len(), WorkloadKind::ALL.len());
        let read = Request { operations: vec![MemoryOp::Read], ..standard.clone() };
        assert_eq!(kinds(&read), [WorkloadKind::Bandwidth, WorkloadKind::BandwidthSweep]);
        let half = Request { dtypes: vec![Dtype::F16], ..standard.clone() };
        assert_eq!(kinds(&half), [WorkloadKind::Gemm, WorkloadKind::Attention]);
        let turned = Request { layouts: vec![Layout::Abt], ..standard.clone() };
        assert_eq!(kinds(&turned), [WorkloadKind::Gemm]);
        let limit = Request { workloads: vec![WorkloadKind::TensorLimit], suite: SuiteName::Quick, ..standard };
        assert_eq!(
            kinds(&limit),
            [WorkloadKind::TensorLimit],
            "a kind asked for by name is run though the suite has it not"
        );
    }

    #[test]
    fn sizes_replace_the_suites_for_the_kinds_they_fit() {
        let mut request = Request::default();
        request.sizes.add("96x32x8").unwrap();
        request.sizes.add("1MiB").unwrap();
        let list = workloads(&request);
        assert_eq!(list.len(), Dtype::SHADERS.len() + MemoryOp::ALL.len());
        assert!(list.contains(&Workload::Gemm(Gemm::new((96, 32, 8), Dtype::F16))));
    }
}
