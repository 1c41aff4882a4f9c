//! From what was asked for to the list of jobs.

use super::suite::{self, SuiteName};
use crate::{
    engine::{Engine, EngineId},
    machine::Device,
    record::SuiteInfo,
    workload::{Bandwidth, Dtype, Gemm, MemoryOp, Workload, WorkloadKind},
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
    /// Only these memory operations.
    pub operations: Vec<MemoryOp>,
    /// The device: an id of [`Engine::devices`], its place in that list, or a part of its name. Best one if absent.
    pub device: Option<String>,
    /// The time allowed for all entries in seconds, instead of the suite's.
    pub budget_s: Option<f64>,
}

/// Sizes that replace the suite's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// GEMM shapes as (m, n, k).
    pub shapes: Vec<(u32, u32, u32)>,
    /// Array sizes in bytes.
    pub arrays: Vec<u64>,
}

/// The jobs of a run, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The suite's name and its time.
    pub suite: SuiteInfo,
    /// The most time for one entry in seconds.
    pub entry_budget_s: f64,
    /// The devices that take part.
    pub devices: Vec<Device>,
    /// What is done, in order.
    pub jobs: Vec<PlannedJob>,
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
    /// Nothing is left after all filters.
    #[error("nothing to run: {0}")]
    Nothing(String),
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

impl Plan {
    /// Makes the plan: finds devices, takes the suite's workloads, applies the filters.
    pub fn make(request: &Request, engines: &[Box<dyn Engine>]) -> Result<Self, PlanError> {
        let wanted = |engine: EngineId| request.engines.is_empty() || request.engines.contains(&engine);
        let mut plan = Self {
            suite: SuiteInfo {
                name: if request.is_custom() { "custom".to_owned() } else { request.suite.id().to_owned() },
                budget_s: request.budget_s.unwrap_or(request.suite.budget_s()),
            },
            entry_budget_s: request.suite.entry_budget_s(),
            devices: Vec::new(),
            jobs: Vec::new(),
        };
        let mut missing = Vec::new();
        for engine in engines.iter().filter(|engine| wanted(engine.id())) {
            match engine.devices() {
                Ok(devices) => {
                    let device = choose(&devices, request.device.as_deref())?;
                    let jobs = request.workloads_for(device).into_iter();
                    let job = |workload| PlannedJob { workload, engine: engine.id(), device: device.id.clone() };
                    plan.jobs.extend(jobs.map(job));
                    plan.devices.push(device.clone());
                }
                Err(reason) => missing.push(reason),
            }
        }
        if plan.devices.is_empty() {
            return Err(PlanError::NoDevice(missing.join("; ")));
        }
        if plan.jobs.is_empty() {
            return Err(PlanError::Nothing("the filters leave no workload of this suite; drop one".to_owned()));
        }
        plan.entry_budget_s = plan.entry_budget_s.max(plan.suite.budget_s / plan.jobs.len() as f64);
        Ok(plan)
    }
}

/// The device that `asked` names: an id, a place in the list, or a part of a name.
fn choose<'a>(devices: &'a [Device], asked: Option<&str>) -> Result<&'a Device, PlanError> {
    let Some(asked) = asked else {
        return devices.first().ok_or_else(|| PlanError::NoDevice("no device was found".to_owned()));
    };
    let lower = asked.to_lowercase();
    let by_place = asked.parse::<usize>().ok().and_then(|place| devices.get(place));
    let by_id = || devices.iter().find(|device| device.id == lower);
    let by_name = || devices.iter().find(|device| !lower.is_empty() && device.name.to_lowercase().contains(&lower));
    by_place.or_else(by_id).or_else(by_name).ok_or_else(|| {
        let known: Vec<String> = devices.iter().map(|device| format!("{} ({})", device.id, device.name)).collect();
        PlanError::UnknownDevice { asked: asked.to_owned(), known: known.join(", ") }
    })
}

impl Request {
    /// Whether the suite is run other than as it is defined.
    pub fn is_custom(&self) -> bool {
        let filtered = !self.workloads.is_empty() || !self.dtypes.is_empty() || !self.operations.is_empty();
        filtered || !self.sizes.is_empty() || !self.engines.is_empty()
    }

    /// The workloads left for a device after sizes and filters.
    fn workloads_for(&self, device: &Device) -> Vec<Workload> {
        let base = if self.workloads.is_empty() {
            self.suite.workloads(device)
        } else {
            // A kind asked for by name is run even if the suite has it not.
            let suite = self.suite.workloads(device);
            let missing = |kind: &&WorkloadKind| !suite.iter().any(|workload| workload.kind() == **kind);
            let added: Vec<WorkloadKind> = self.workloads.iter().filter(missing).copied().collect();
            let standard = SuiteName::Standard.workloads(device).into_iter();
            suite.iter().cloned().chain(standard.filter(|workload| added.contains(&workload.kind()))).collect()
        };
        let sized = if self.sizes.is_empty() { base } else { self.resized(&base, device) };
        sized.into_iter().filter(|workload| self.keeps(workload)).collect()
    }

    /// The kinds in `base` that the given sizes fit, at those sizes.
    fn resized(&self, base: &[Workload], device: &Device) -> Vec<Workload> {
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
            for dtype in Dtype::ALL {
                let gemm = |(m, n, k): &(u32, u32, u32)| Workload::Gemm(Gemm { m: *m, n: *n, k: *k, dtype });
                list.extend(self.sizes.shapes.iter().map(gemm));
            }
        }
        list
    }

    /// Whether flags for one kind of workload leave another out: `--op read` alone asks for no GEMM.
    fn speaks_of(&self, kind: WorkloadKind) -> bool {
        let (typed, operated) = (!self.dtypes.is_empty(), !self.operations.is_empty());
        match kind {
            WorkloadKind::Gemm => typed || !operated,
            WorkloadKind::Bandwidth | WorkloadKind::BandwidthSweep => operated || !typed,
            WorkloadKind::TensorLimit | WorkloadKind::ModelLoad | WorkloadKind::Inference | WorkloadKind::Training => {
                !typed && !operated
            }
        }
    }

    fn keeps(&self, workload: &Workload) -> bool {
        let kind = if self.workloads.is_empty() {
            self.speaks_of(workload.kind())
        } else {
            self.workloads.contains(&workload.kind())
        };
        let dtype = match workload {
            Workload::Gemm(gemm) => self.dtypes.is_empty() || self.dtypes.contains(&gemm.dtype),
            _ => true,
        };
        let op = match workload {
            Workload::Bandwidth(Bandwidth { op, .. }) => self.operations.is_empty() || self.operations.contains(op),
            Workload::BandwidthSweep(sweep) => self.operations.is_empty() || self.operations.contains(&sweep.op),
            _ => true,
        };
        kind && dtype && op
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{DeviceKind, DeviceLimits};

    fn device(id: &str, name: &str) -> Device {
        Device {
            id: id.into(),
            name: name.into(),
            kind: DeviceKind::DiscreteGpu,
            backend: "Vulkan".into(),
            driver: String::new(),
            driver_info: String::new(),
            pci: None,
            software: false,
            limits: DeviceLimits { max_buffer_bytes: 1 << 32, max_binding_bytes: 1 << 31, ..DeviceLimits::default() },
            features: Vec::new(),
        }
    }

    fn kinds(request: &Request) -> Vec<WorkloadKind> {
        let mut kinds: Vec<_> = request.workloads_for(&device("vulkan:0", "GPU")).iter().map(Workload::kind).collect();
        kinds.dedup();
        kinds
    }

    #[test]
    fn flags_for_one_kind_leave_the_others_out() {
        let standard = Request { suite: SuiteName::Standard, ..Request::default() };
        assert_eq!(kinds(&standard).len(), 4);
        let read = Request { operations: vec![MemoryOp::Read], ..standard.clone() };
        assert_eq!(kinds(&read), [WorkloadKind::Bandwidth, WorkloadKind::BandwidthSweep]);
        let half = Request { dtypes: vec![Dtype::F16], ..standard.clone() };
        assert_eq!(kinds(&half), [WorkloadKind::Gemm]);
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
        let list = request.workloads_for(&device("vulkan:0", "GPU"));
        assert_eq!(list.len(), Dtype::ALL.len() + MemoryOp::ALL.len());
        assert!(list.contains(&Workload::Gemm(Gemm { m: 96, n: 32, k: 8, dtype: Dtype::F16 })));
    }

    #[test]
    fn a_device_is_found_by_place_id_and_part_of_its_name() {
        let devices = [device("vulkan:0", "NVIDIA H100"), device("vulkan:1", "llvmpipe")];
        for asked in ["1", "vulkan:1", "LLVM"] {
            assert_eq!(choose(&devices, Some(asked)).unwrap().id, "vulkan:1", "{asked}");
        }
        assert_eq!(choose(&devices, None).unwrap().id, "vulkan:0");
        for asked in ["7", "", "AMD"] {
            assert!(matches!(choose(&devices, Some(asked)), Err(PlanError::UnknownDevice { .. })), "{asked}");
        }
    }
}
