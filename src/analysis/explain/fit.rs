//! Whether a model fits: weights, keys and values, and activations against the memory, what can be held at once, and the
//! largest tensor. Each tensor has to stay below the tensor limit, not the model.

use std::collections::{BTreeMap, HashMap};

use crate::{
    analysis::frameworks::Place,
    engine::EngineId,
    machine::{Device, DeviceKind},
    model::estimate::{self, MemoryEstimate},
    record::{Entry, Outcome, Run},
    units::{Quantity, Unit},
    workload::{ModelRef, Workload},
};

/// One model in one precision with one framework on one device, for one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The framework.
    pub engine: EngineId,
    /// The device.
    pub place: Place,
    /// "mistral-7b Q4_K_M".
    pub model: String,
    /// The task of the run that takes the most: "Decode 128". What is said of needs and of the peak is said of it.
    pub task: String,
    /// The task is loading, since the run has no other for it.
    pub only_loads: bool,
    /// Bits a weight.
    pub bits_per_weight: f64,
    /// What it needs by part; the framework's own need may differ.
    pub needs: MemoryEstimate,
    /// The most bytes that the task really held; absent where it was not done, and where the framework doesn't tell.
    pub peak: Option<f64>,
    /// Bytes of the largest of its tensors.
    pub largest_tensor: f64,
    /// Bytes of the memory that the device works in, where they are known: a card's own, else the machine's.
    pub memory: Option<f64>,
    /// Bytes that could be held at once on this device, as measured.
    pub held: Option<f64>,
    /// Bytes of the largest tensor that was made on this device, else what its driver allows.
    pub tensor_limit: Option<f64>,
}

impl Fit {
    /// All of it in bytes: what was reached, or what is predicted if that is not known.
    pub fn total(&self) -> f64 {
        self.peak.unwrap_or(self.needs.total as f64)
    }

    /// What was held at once, if that was enough: it grows with what other programs leave, and proves more than it refutes.
    fn proof(&self) -> Option<f64> {
        self.held.filter(|held| self.total() <= *held)
    }

    /// Whether memory holds it; `None` where that isn't known.
    pub fn in_memory(&self) -> Option<bool> {
        if self.proof().is_some() { Some(true) } else { self.memory.map(|most| self.total() <= most) }
    }

    /// Whether each tensor stays below the largest that can be made; `None` where none is known.
    pub fn in_tensors(&self) -> Option<bool> {
        self.tensor_limit.map(|limit| self.largest_tensor <= limit)
    }

    /// "fits: 14.71 GB of 25.77 GB, 15.72 GB held", or "does not fit …"; what is needed alone where nothing is known to hold it
    /// against.
    pub fn memory_text(&self) -> String {
        let bytes = |value: f64| Quantity::new(value, Unit::Byte).to_string();
        let needed = bytes(self.total());
        let of = self.memory.map_or_else(String::new, |most| format!(" of {}", bytes(most)));
        let held = self.proof().map_or_else(String::new, |held| format!(", {} held", bytes(held)));
        match self.in_memory() {
            Some(true) => format!("fits: {needed}{of}{held}"),
            Some(false) => format!("does not fit: {needed}{of}"),
            None => format!("{needed}; the device's memory is not known"),
        }
    }

    /// "fits: 117.4 MB of 12.00 GB"; what the largest takes alone where no limit is known.
    pub fn tensor_text(&self) -> String {
        let bytes = |value: f64| Quantity::new(value, Unit::Byte).to_string();
        let largest = bytes(self.largest_tensor);
        match (self.in_tensors(), self.tensor_limit) {
            (Some(true), Some(limit)) => format!("fits: {largest} of {}", bytes(limit)),
            (Some(false), Some(limit)) => format!("does not fit: {largest} of {}", bytes(limit)),
            _ => format!("{largest}; no limit is known"),
        }
    }
}

/// Bytes of the largest tensor of a model as it is stored: the embedding table, or a matrix of the MLP or the attention.
fn largest_tensor(model: &ModelRef) -> f64 {
    let shape = &model.shape;
    let hidden = u64::from(shape.hidden);
    let mlp = u64::from(shape.intermediate).saturating_mul(hidden);
    let elements = shape.embedding_elements().max(mlp).max(shape.query_width().saturating_mul(hidden));
    elements as f64 * model.bits_per_weight() / 8.0
}

type Key = (Place, EngineId, String, bool);

/// Every model of a run, and what it needs at the task that takes the most of all that the run has for it.
///
/// That is what was really held where a task was done, and what is predicted where it was not. Shapes beyond reason are left out.
pub fn fits(run: &Run) -> Vec<Fit> {
    let devices: HashMap<&str, &Device> = run.devices.iter().rev().map(|device| (device.id.as_str(), device)).collect();
    let limits = Limits::of(run, &devices);
    let mut found: BTreeMap<Key, Fit> = BTreeMap::new();
    for entry in &run.entries {
        let Some(model) = entry.workload.model() else { continue };
        // What a framework can't do at all is no question of memory.
        if matches!(entry.outcome, Outcome::Unsupported(_)) {
            continue;
        }
        let device = devices.get(entry.device.as_str()).copied();
        let Some(needs) = needs(run, entry, device) else { continue };
        let place = Place::of(device, &entry.device);
        let trains = matches!(entry.workload, Workload::Training(_));
        let key = (place.clone(), entry.engine, model.label(), trains);
        let new = || Fit {
            engine: entry.engine,
            place: place.clone(),
            model: model.label(),
            task: String::new(),
            only_loads: true,
            bits_per_weight: model.bits_per_weight(),
            needs: MemoryEstimate::default(),
            peak: None,
            largest_tensor: largest_tensor(model),
            memory: limits.memory.get(&place).copied().or_else(|| shared_memory(run, device)),
            held: limits.held.get(&place).copied(),
            tensor_limit: limits.tensor.get(&place).copied(),
        };
        let fit = found.entry(key).or_insert_with(new);
        // Loading alone counts where nothing else was asked for.
        let loads = matches!(entry.workload, Workload::ModelLoad(_));
        let peak = value(entry, "peak-memory");
        let total = peak.unwrap_or(needs.total as f64);
        let is_more = if fit.only_loads == loads { total > fit.total() } else { fit.only_loads };
        if is_more || fit.task.is_empty() {
            (fit.needs, fit.peak) = (needs, peak);
            (fit.task, fit.only_loads) = (entry.workload.title(), loads);
        }
    }
    found.into_values().collect()
}

/// A sound figure of an entry that is done.
fn value(entry: &Entry, metric: &str) -> Option<f64> {
    entry.headline().filter(|_| entry.is_ranked())?;
    let figure = entry.measurements.iter().find(|figure| figure.metric == metric)?;
    Some(figure.summary.median).filter(|value| *value > 0.0 && *value <= figure.unit.beyond_any_device())
}

/// What was found of tensors and memory on each device.
struct Limits {
    tensor: HashMap<Place, f64>,
    held: HashMap<Place, f64>,
    /// What cards have of their own.
    memory: HashMap<Place, f64>,
}

impl Limits {
    fn of(run: &Run, devices: &HashMap<&str, &Device>) -> Self {
        let mut limits = Self { tensor: HashMap::new(), held: HashMap::new(), memory: HashMap::new() };
        let most = |map: &mut HashMap<Place, f64>, place: Place, value: Option<f64>| {
            if let Some(value) = value {
                let known = map.entry(place).or_insert(value);
                *known = known.max(value);
            }
        };
        let measured = run.entries.iter().filter(|entry| matches!(entry.workload, Workload::TensorLimit(_)));
        for entry in measured {
            let place = Place::of(devices.get(entry.device.as_str()).copied(), &entry.device);
            most(&mut limits.tensor, place.clone(), value(entry, "largest-buffer"));
            most(&mut limits.held, place, value(entry, "total-held"));
        }
        let told = run.devices.iter().filter(|device| device.limits.max_buffer_bytes > 0);
        for device in told {
            let place = Place::of(Some(device), &device.id);
            most(&mut limits.memory, place.clone(), own_memory(run, device));
            limits.tensor.entry(place).or_insert(device.limits.max_buffer_bytes as f64);
        }
        limits
    }
}

/// A card's own memory. Engines that compute through the maker's own interface tell it as the largest buffer; graphics drivers
/// allow less or more for one, whatever the card has.
fn own_memory(run: &Run, device: &Device) -> Option<f64> {
    let is_card = !device.software && device.kind == DeviceKind::DiscreteGpu;
    let tells = ["cuda", "rocm", "musa"].iter().any(|backend| device.backend.eq_ignore_ascii_case(backend));
    let bytes = device.limits.max_buffer_bytes;
    // Where an engine tells nothing, the machine's memory stands there.
    (is_card && tells && bytes > 0 && bytes != run.machine.memory_bytes).then_some(bytes as f64)
}

/// The machine's memory, of devices that share it.
fn shared_memory(run: &Run, device: Option<&Device>) -> Option<f64> {
    let shares = device
        .is_some_and(|device| device.software || matches!(device.kind, DeviceKind::Cpu | DeviceKind::IntegratedGpu));
    let bytes = run.machine.memory_bytes;
    (shares && bytes > 0).then_some(bytes as f64)
}

fn needs(run: &Run, entry: &Entry, device: Option<&Device>) -> Option<MemoryEstimate> {
    if !is_sound(&entry.workload) {
        return None;
    }
    let apple = run.machine.chip.starts_with("Apple");
    let place = match device.map(|device| device.kind) {
        Some(DeviceKind::Cpu) => {
            // candle alone packs quantised blocks a second time.
            let packs = run.machine.architecture == "x86_64" && entry.engine == EngineId::Candle;
            estimate::Place::Processor { packs }
        }
        // candle alone keeps keys and values beside quantised weights in 32 bits there.
        _ if apple && entry.engine == EngineId::Candle => estimate::Place::Metal,
        _ => estimate::Place::Cuda,
    };
    estimate::memory(&entry.workload, place)
}

/// A file may claim any sizes: sums of those that no machine holds are not made.
fn is_sound(workload: &Workload) -> bool {
    const MOST: f64 = 1e15;
    let Some(model) = workload.model() else { return false };
    let shape = &model.shape;
    let (batch, positions) = match workload {
        Workload::Inference(inference) => (f64::from(inference.batch), inference.positions() as f64),
        Workload::Training(training) => (f64::from(training.batch), f64::from(training.sequence)),
        _ => (1.0, 1.0),
    };
    let width = shape.query_width() as f64 + shape.kv_width() as f64 + f64::from(shape.hidden);
    let a_token = (width + f64::from(shape.intermediate)) * f64::from(shape.layers.max(1));
    let sizes = [
        shape.parameters() as f64,
        model.weight_bytes as f64,
        model.token_bytes as f64,
        f64::from(shape.vocabulary) * (batch + 512.0),
        a_token * batch * positions.max(512.0),
        batch * f64::from(shape.heads) * positions * positions.max(512.0),
        workload_parameters(workload),
    ];
    sizes.into_iter().all(|size| size < MOST)
}

fn workload_parameters(workload: &Workload) -> f64 {
    match workload {
        Workload::Training(training) => training.trained_parameters() as f64,
        _ => 0.0,
    }
}
