//! From what was asked for to the list of jobs.

use super::{catalogue::ListedModel, models::Resolve, request::Request};
use crate::{
    engine::{Abilities, Engine, EngineId},
    machine::Device,
    model::{ModelConfig, source},
    record::SuiteInfo,
    workload::{Precision, Workload},
};

/// The jobs of a run, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The suite's name and its time.
    pub suite: SuiteInfo,
    /// The most time for one entry in seconds.
    pub entry_budget_s: f64,
    /// The most time beside that of all entries for what goes into no figure, such as loading models, in seconds.
    pub spare_most_s: f64,
    /// The devices that take part.
    pub devices: Vec<Device>,
    /// What is done, in order.
    pub jobs: Vec<PlannedJob>,
    /// Why engines that were wanted take no part, in sentences.
    pub missing: Vec<String>,
}

/// One workload on one engine and device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedJob {
    /// What is measured.
    pub workload: Workload,
    /// Who does it.
    pub engine: EngineId,
    /// The id of the device.
    pub device: String,
    /// All other engines let go of their devices first, since memory has no room for their models beside this one's.
    pub alone: bool,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No engine can measure anything here; the sentence says what to do.
    #[error("{0}")]
    NoDevice(String),
    /// The device asked for is not there.
    #[error("no device matches \"{asked}\"; there are: {known}")]
    UnknownDevice {
        /// What was asked for.
        asked: String,
        /// What there is.
        known: String,
    },
    /// What was asked for makes no sense; the sentence says what to write.
    #[error("{0}")]
    Usage(String),
    /// Nothing is left after all filters.
    #[error("nothing to run: {0}")]
    Nothing(String),
}

/// A device, and the engine that found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundDevice {
    /// The engine.
    pub engine: EngineId,
    /// What it can do there.
    pub abilities: Abilities,
    /// The device.
    pub device: Device,
}

impl FoundDevice {
    /// The devices of an engine, best first, or why there is none.
    pub fn all(engine: &dyn Engine) -> Result<Vec<Self>, String> {
        let found = |device| Self { engine: engine.id(), abilities: engine.abilities(&device), device };
        Ok(engine.devices()?.into_iter().map(found).collect())
    }
}

impl Plan {
    /// Makes the plan: finds devices, takes the suite's workloads, applies the filters. Engines take turns at equal work;
    /// models that memory doesn't hold beside each other come engine by engine.
    pub fn make(request: &Request, engines: &[Box<dyn Engine>]) -> Result<Self, PlanError> {
        request.models.check().map_err(PlanError::Usage)?;
        known_engines(request, engines)?;
        named_pairs(request)?;
        let mut found = Vec::new();
        let mut missing = Vec::new();
        // A place counts over the devices of all engines, as they are listed.
        let counts = request.place().is_some();
        for engine in engines.iter().filter(|engine| counts || request.wants_engine(engine.id())) {
            match FoundDevice::all(engine.as_ref()) {
                Ok(devices) => found.extend(devices),
                Err(reason) if request.wants_engine(engine.id()) => missing.push(reason),
                Err(_) => {}
            }
        }
        Self::over(request, &found, missing)
    }

    /// The plan over devices and models that are known; no file is read.
    pub fn preview(request: &Request, found: &[FoundDevice], models: &[ListedModel]) -> Result<Self, PlanError> {
        let known = |name: &str| {
            let listed = models.iter().find(|listed| listed.asked == name && listed.path.is_some())?;
            Some(listed.forms.as_ref().ok()?.first()?.model.clone())
        };
        let resolve = |name: &str, precision: Option<&Precision>| match known(name) {
            Some(model) => Ok(model),
            None if ModelConfig::preset(name).is_some() => {
                source::resolve(name, precision, None).map_err(|error| error.to_string())
            }
            None => Err(format!("{name} is not known yet; look again")),
        };
        Self::with(request, found, Vec::new(), &resolve)
    }

    /// The plan over devices that are known. `missing` says why engines that were wanted have none.
    pub fn over(request: &Request, found: &[FoundDevice], missing: Vec<String>) -> Result<Self, PlanError> {
        let resolve = |name: &str, precision: Option<&Precision>| {
            source::resolve(name, precision, request.hub.as_deref()).map_err(|error| error.to_string())
        };
        Self::with(request, found, missing, &resolve)
    }

    fn with(
        request: &Request,
        found: &[FoundDevice],
        missing: Vec<String>,
        resolve: &Resolve<'_>,
    ) -> Result<Self, PlanError> {
        let mut plan = Self {
            suite: SuiteInfo {
                name: if request.is_custom() { "custom".to_owned() } else { request.suite.id().to_owned() },
                budget_s: request.budget_s.unwrap_or(request.suite.budget_s()),
            },
            entry_budget_s: request.suite.entry_budget_s(),
            spare_most_s: if request.is_custom() { f64::INFINITY } else { request.suite.spare_most_s() },
            devices: Vec::new(),
            jobs: Vec::new(),
            missing,
        };
        let chosen = choose(request, found);
        if chosen.is_empty() {
            return Err(plan.no_device(request, found));
        }
        plan.missing.extend(elsewhere(request, found, &chosen));
        let mut lists = Vec::new();
        for found in chosen {
            let workloads = request.workloads_for(found, resolve).map_err(PlanError::Usage)?;
            if workloads.is_empty() {
                continue;
            }
            lists.push((found, workloads));
            // Engines may know a device by the same name, as they all know the processor.
            if !plan.devices.iter().any(|device| device.id == found.device.id) {
                plan.devices.push(found.device.clone());
            }
        }
        plan.jobs = interleaved(&lists);
        if plan.jobs.is_empty() {
            return Err(plan.nothing(request));
        }
        if request.budget_s.is_none() {
            let others = lists.iter().filter(|(found, _)| !found.engine.is_built_in()).count();
            plan.suite.budget_s += request.suite.budget_s() * 0.5 * others as f64;
        }
        plan.entry_budget_s = plan.entry_budget_s.max(plan.suite.budget_s / plan.jobs.len() as f64);
        Ok(plan)
    }

    /// Why no device takes part.
    fn no_device(self, request: &Request, found: &[FoundDevice]) -> PlanError {
        let Some(asked) = request.device.clone().filter(|_| !found.is_empty()) else {
            return PlanError::NoDevice(self.missing.join("; "));
        };
        let known = found.iter().map(|found| format!("{} ({})", found.device.id, found.device.name));
        let known: Vec<String> = known.collect();
        PlanError::UnknownDevice { asked, known: known.join(", ") }
    }

    /// Why there is no job: an engine that can't be had here, a device that has no such workload, or the filters.
    fn nothing(self, request: &Request) -> PlanError {
        match (&request.device, self.missing.is_empty()) {
            (None, false) => PlanError::NoDevice(self.missing.join("; ")),
            (Some(device), _) => PlanError::Nothing(format!(
                "nothing of what is asked for is measured on \"{device}\"; choose another device, or drop a filter"
            )),
            (None, true) => PlanError::Nothing("the filters leave no workload of this suite; drop one".to_owned()),
        }
    }
}

/// Work of one kind after the other, each by all engines in turn, so that all of them meet the machine in the same state. Models
/// that don't fit into memory beside each other are run engine by engine instead.
fn interleaved(lists: &[(&FoundDevice, Vec<Workload>)]) -> Vec<PlannedJob> {
    let together = fit_together(lists);
    let job = |found: &FoundDevice, workload: &Workload| PlannedJob {
        workload: workload.clone(),
        engine: found.engine,
        device: found.device.id.clone(),
        alone: workload.kind().is_model() && !together,
    };
    let mut order: Vec<String> = Vec::new();
    let mut place = |name: String| {
        order.iter().position(|known| *known == name).unwrap_or_else(|| {
            order.push(name);
            order.len() - 1
        })
    };
    let mut jobs = Vec::new();
    for (at, (found, workloads)) in lists.iter().enumerate() {
        for workload in workloads {
            let is_model = workload.kind().is_model();
            let turn = if is_model && !together { at } else { 0 };
            // Kinds come in the order in which they first come, and so does work within a kind.
            let kind = place(format!("{}{}", workload.kind(), if is_model { turn } else { 0 }));
            jobs.push(((is_model, turn, kind, place(same_work(workload))), job(found, workload)));
        }
    }
    // Stable: at the same work, engines keep their order.
    jobs.sort_by_key(|(key, _)| *key);
    jobs.into_iter().map(|(_, job)| job).collect()
}

/// What engines take turns at: equal kernels; of models the same passes, however each engine stores its weights.
fn same_work(workload: &Workload) -> String {
    match workload {
        Workload::Inference(inference) => format!("{:?} × {}", inference.phase, inference.batch),
        Workload::Training(training) => format!("LoRA {} × {}, {}", training.batch, training.sequence, training.rank),
        Workload::ModelLoad(_) => "load".to_owned(),
        kernel => format!("{kernel:?}"),
    }
}

/// Whether the largest model of each engine has room beside those of the others. An engine's process lets go of a model after
/// each entry, but not of all that it took for it.
fn fit_together(lists: &[(&FoundDevice, Vec<Workload>)]) -> bool {
    let largest = |workloads: &[Workload]| {
        workloads.iter().filter_map(Workload::model).map(|model| model.weight_bytes).max().unwrap_or(0)
    };
    let all: u64 = lists.iter().map(|(_, workloads)| largest(workloads)).sum();
    let room = lists.iter().filter(|(_, workloads)| largest(workloads) > 0);
    let room = room.map(|(found, _)| found.device.limits.max_buffer_bytes).min().unwrap_or(u64::MAX);
    // Half of it is for activations, caches and other programs.
    all <= room / 2
}

/// The device of each engine that takes part: the one asked for, else its best.
fn choose<'a>(request: &Request, found: &'a [FoundDevice]) -> Vec<&'a FoundDevice> {
    let mut engines: Vec<EngineId> = found.iter().map(|found| found.engine).collect();
    engines.dedup();
    let of = |engine: EngineId| found.iter().filter(move |found| found.engine == engine);
    let one = |engine: EngineId| match (&request.device, request.place()) {
        (None, _) => of(engine).next(),
        (Some(_), Some(place)) => found.get(place).filter(|found| found.engine == engine),
        (Some(asked), None) => {
            let asked = asked.to_lowercase();
            let by_id = of(engine).find(|found| found.device.id == asked);
            let named = |found: &&FoundDevice| !asked.is_empty() && found.device.name.to_lowercase().contains(&asked);
            by_id.or_else(|| of(engine).find(named))
        }
    };
    engines.into_iter().filter(|engine| request.wants_engine(*engine)).filter_map(one).collect()
}

/// Engines asked for by name that are here, but not on the device asked for.
fn elsewhere(request: &Request, found: &[FoundDevice], chosen: &[&FoundDevice]) -> Vec<String> {
    let Some(asked) = request.device.as_ref().filter(|_| request.place().is_none()) else { return Vec::new() };
    let sentence = |engine: &EngineId| {
        let theirs: Vec<&str> =
            found.iter().filter(|found| found.engine == *engine).map(|found| found.device.id.as_str()).collect();
        let out = !theirs.is_empty() && !chosen.iter().any(|found| found.engine == *engine);
        out.then(|| format!("{} has no device \"{asked}\"; it has {}", engine.title(), theirs.join(", ")))
    };
    request.engines.iter().filter_map(sentence).collect()
}

/// Every engine asked for by name must be one.
fn known_engines(request: &Request, engines: &[Box<dyn Engine>]) -> Result<(), PlanError> {
    let known = |asked: &&EngineId| !engines.iter().any(|engine| engine.id() == **asked);
    let Some(asked) = request.engines.iter().find(known) else { return Ok(()) };
    let names: Vec<String> = engines.iter().map(|engine| engine.id().to_string()).collect();
    Err(PlanError::Usage(format!(
        "no engine is called \"{asked}\"; choose from {}, or put it into the engines folder",
        names.join(", ")
    )))
}

/// A kind asked for by name must be measured by one of the engines asked for.
fn named_pairs(request: &Request) -> Result<(), PlanError> {
    if request.engines.is_empty() {
        return Ok(());
    }
    for kind in &request.workloads {
        if request.engines.iter().any(|engine| engine.kinds().contains(kind)) {
            continue;
        }
        let able = EngineId::ALL.into_iter().filter(|engine| engine.kinds().contains(kind));
        let able: Vec<_> = able.map(|engine| engine.to_string()).collect();
        let asked: Vec<_> = request.engines.iter().map(EngineId::id).collect();
        return Err(PlanError::Usage(format!(
            "{} doesn't measure {kind}; write --engine {}, or leave --engine out",
            asked.join(", "),
            able.join(",")
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{ModelOptions, SuiteName},
        *,
    };
    use crate::{
        machine::DeviceKind,
        workload::{Dtype, WorkloadKind},
    };

    fn found() -> Vec<FoundDevice> {
        let of = |engine: EngineId, id, name| FoundDevice {
            engine,
            abilities: Abilities {
                kinds: engine.kinds().to_vec(),
                dtypes: Dtype::SHADERS.to_vec(),
                precisions: Vec::new(),
            },
            device: Device::example(id, name),
        };
        let mut processor = of(EngineId::Candle, "cpu", "AMD EPYC");
        processor.device.kind = DeviceKind::Cpu;
        vec![
            of(EngineId::Wgpu, "vulkan:0", "NVIDIA H100"),
            of(EngineId::Wgpu, "vulkan:1", "llvmpipe"),
            of(EngineId::Candle, "cuda:0", "NVIDIA H100"),
            processor,
        ]
    }

    fn devices(request: &Request) -> Vec<String> {
        choose(request, &found()).iter().map(|found| found.device.id.clone()).collect()
    }

    #[test]
    fn a_device_is_found_by_place_id_and_part_of_its_name() {
        let on = |asked: &str| devices(&Request { device: Some(asked.to_owned()), ..Request::default() });
        for asked in ["1", "vulkan:1", "LLVM"] {
            assert_eq!(on(asked), ["vulkan:1"], "{asked}");
        }
        assert_eq!(on("h100"), ["vulkan:0", "cuda:0"], "one card that both engines know");
        assert_eq!(on("3"), ["cpu"], "counted over all engines");
        assert_eq!(devices(&Request::default()), ["vulkan:0", "cuda:0"]);
        for asked in ["7", "", "Radeon"] {
            let request = Request { device: Some(asked.to_owned()), ..Request::default() };
            let error = Plan::over(&request, &found(), Vec::new()).unwrap_err();
            assert!(matches!(error, PlanError::UnknownDevice { .. }), "{asked}");
            assert!(error.to_string().contains("cpu (AMD EPYC)"), "{error}");
        }
    }

    #[test]
    fn engines_take_turns_at_kernels_and_run_models_one_after_another() {
        let request = Request { suite: SuiteName::Full, ..Request::default() };
        let plan = Plan::over(&request, &found(), Vec::new()).unwrap();
        assert!(plan.jobs.iter().all(|job| job.engine.kinds().contains(&job.workload.kind())));
        let square = Workload::Gemm(crate::workload::Gemm::square(4096, Dtype::F16));
        let at = plan.jobs.iter().position(|job| job.workload == square).unwrap();
        let pair: Vec<_> = plan.jobs[at..at + 2].iter().map(|job| (job.engine, &job.workload)).collect();
        assert_eq!(pair, [(EngineId::Wgpu, &square), (EngineId::Candle, &square)]);
        let first_model = plan.jobs.iter().position(|job| job.workload.kind().is_model()).unwrap();
        assert!(plan.jobs[first_model..].iter().all(|job| job.workload.kind().is_model()));
        let mut engines: Vec<EngineId> = plan.jobs[first_model..].iter().map(|job| job.engine).collect();
        engines.dedup();
        assert_eq!(engines, [EngineId::Candle]);
        assert!(plan.jobs.len() > 40);
    }

    #[test]
    fn an_engine_asked_for_that_is_not_on_the_device_asked_for_is_told_of() {
        let request = |engines: &[EngineId]| Request {
            device: Some("vulkan:0".to_owned()),
            engines: engines.into(),
            ..Request::default()
        };
        let told = |engines: &[EngineId]| Plan::over(&request(engines), &found(), Vec::new()).unwrap().missing;
        let missing = told(&[EngineId::Wgpu, EngineId::Candle]);
        assert_eq!(missing.len(), 1);
        assert!(missing[0].starts_with("candle has no device \"vulkan:0\"; it has "), "{missing:?}");
        assert!(told(&[EngineId::Wgpu]).is_empty() && told(&[]).is_empty());
    }

    #[test]
    fn what_an_engine_or_device_can_not_measure_is_said() {
        let request = |device: Option<&str>, kind| Request {
            device: device.map(str::to_owned),
            workloads: vec![kind],
            ..Request::default()
        };
        let pair = Request { engines: vec![EngineId::Wgpu], ..request(None, WorkloadKind::Inference) };
        let error = named_pairs(&pair).unwrap_err().to_string();
        assert!(error.contains("wgpu doesn't measure inference"), "{error}");
        let error = Plan::over(&request(Some("cpu"), WorkloadKind::Bandwidth), &found(), Vec::new()).unwrap_err();
        assert!(matches!(&error, PlanError::Nothing(why) if why.contains("\"cpu\"")), "{error}");
        let missing = vec!["no adapter; install a driver".to_owned()];
        let error = Plan::over(&request(None, WorkloadKind::Bandwidth), &found()[3..], missing).unwrap_err();
        assert_eq!(error, PlanError::NoDevice("no adapter; install a driver".to_owned()));
    }

    /// Two engines on one processor with so much memory, and the same passes of a model for both.
    fn turns(memory_bytes: u64) -> Vec<(EngineId, String, bool)> {
        let at = |engine: EngineId| {
            let mut device = Device::example("cpu", "AMD EPYC");
            device.limits.max_buffer_bytes = memory_bytes;
            let abilities = Abilities { kinds: engine.kinds().to_vec(), ..Abilities::default() };
            FoundDevice { engine, abilities, device }
        };
        let works = |precision| {
            let model = source::resolve("mistral-100m", Some(&precision), None).unwrap();
            let pass =
                |phase| Workload::Inference(crate::workload::Inference { model: model.clone(), phase, batch: 1 });
            vec![
                Workload::Gemm(crate::workload::Gemm::square(512, Dtype::F32)),
                pass(crate::workload::InferencePhase::Prefill { tokens: 128 }),
                pass(crate::workload::InferencePhase::Decode { tokens: 16, depth: 0 }),
            ]
        };
        let found = [at(EngineId::Candle), at(EngineId::Pytorch)];
        let lists: Vec<_> = found.iter().zip([works(Precision::Q4KM), works(Precision::F32)]).collect();
        let what = |job: &PlannedJob| match &job.workload {
            Workload::Inference(inference) => format!("{:?}", inference.phase),
            other => other.kind().to_string(),
        };
        interleaved(&lists).iter().map(|job| (job.engine, what(job), job.alone)).collect()
    }

    #[test]
    fn models_take_turns_too_where_memory_has_room_for_all() {
        let order = |memory| turns(memory).into_iter().map(|(engine, _, alone)| (engine, alone)).collect::<Vec<_>>();
        let (candle, pytorch) = (EngineId::Candle, EngineId::Pytorch);
        // Weights of 0.4 GB and less, however each engine stores them.
        let together: Vec<_> = [candle, pytorch].repeat(3).into_iter().map(|engine| (engine, false)).collect();
        assert_eq!(order(8 << 30), together);
        let what: Vec<_> = turns(8 << 30).into_iter().map(|(_, what, _)| what).collect();
        assert!(what[0] == what[1] && what[2] == what[3] && what[4] == what[5], "{what:?}");
        let apart =
            [(candle, false), (pytorch, false), (candle, true), (candle, true), (pytorch, true), (pytorch, true)];
        assert_eq!(order(256 << 20), apart);
    }

    #[test]
    fn an_unknown_engine_is_a_usage_error_that_names_the_others() {
        let request = Request { engines: vec!["cuda".parse().unwrap()], ..Request::default() };
        let engines: Vec<Box<dyn Engine>> = vec![Box::new(crate::engine::candle::CandleEngine)];
        let error = Plan::make(&request, &engines).unwrap_err();
        assert!(
            matches!(&error, PlanError::Usage(why) if why.contains("\"cuda\"") && why.contains("candle")),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_model_is_a_usage_error_that_names_the_presets() {
        let mut request = Request::default();
        request.models.model = Some("mistral-9000b".to_owned());
        let error = Plan::over(&request, &found(), Vec::new()).unwrap_err();
        assert!(matches!(&error, PlanError::Usage(why) if why.contains("mistral-7b")), "{error}");
        request.models = ModelOptions { batches: vec![0], ..ModelOptions::default() };
        assert!(request.models.check().unwrap_err().contains("--batch 0"));
    }
}
