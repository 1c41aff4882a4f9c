//! llama.cpp by its own programs: llama-bench for models, test-backend-ops for matrix products.
//!
//! `bench` reads what llama-bench prints, `operator` what the operator test does; `inference` and `load` are the workloads
//! of a model, `parity` says whether it is the same model as this program's, `process` runs the programs. Roofline decides
//! what is run and how often; llama.cpp times it. What it prints is held against what was asked for and the time that passed.

mod bench;
mod inference;
mod load;
mod operator;
mod parity;
mod process;
pub mod results;

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use self::{
    bench::{Asked, Listed},
    process::{Child, Tool},
};
use super::{
    Abilities, Engine, EngineId, Session, Surroundings, external::Services, parity::Parity, present,
    supervise::Environment,
};
use crate::{
    machine::{self, Device, DeviceKind, DeviceLimits},
    measure::{Context, Measurement, Phase, Report, Stop},
    units::{Unit, number},
    workload::{Dtype, Gemm, Layout, ModelRef, Precision, Workload},
};

/// The id of the processor.
const CPU: &str = "cpu";

/// Variables that begin so change what llama.cpp or its thread library does, or name files that it loads. It gets none.
pub const CLEARED: [&str; 6] = ["GGML_", "LLAMA_", "OMP_", "GOMP_", "KMP_", "HF_"];

/// Positions of a prompt that are given to the model at once, and that it computes at once: llama-bench's own defaults.
const BATCHES: (u32, u32) = (2048, 512);

/// How long writing a few words with a small model may take.
const SILENCE_MAX: Duration = Duration::from_mins(10);

/// More blocks than any model has: all of them are computed on the GPU.
const ALL_LAYERS: u32 = 99;

/// How long a list of devices may take: drivers wake up for it.
const LIST_MAX: Duration = Duration::from_mins(1);

/// What gets llama.cpp with all its programs.
const GET_IT: &str = "roofline engines install llama.cpp";

/// llama.cpp's programs on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LlamaCpp {
    /// llama-bench.
    pub bench: PathBuf,
    /// test-backend-ops, which packages leave out.
    pub ops: Option<PathBuf>,
    /// llama-quantize.
    pub quantize: Option<PathBuf>,
    /// llama-simple, which writes greedily.
    pub simple: Option<PathBuf>,
}

/// The engine of llama.cpp's devices.
pub struct LlamaCppEngine {
    programs: OnceLock<Result<LlamaCpp, String>>,
    surroundings: Surroundings,
    environment: Environment,
    services: Services,
    devices: OnceLock<Result<Known, String>>,
}

impl fmt::Debug for LlamaCppEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlamaCppEngine").field("programs", &self.programs).finish_non_exhaustive()
    }
}

/// What is asked of the machine and of llama.cpp once.
#[derive(Clone, Debug)]
struct Known {
    listed: Vec<(Listed, Device)>,
    processor: Device,
    threads: u32,
}

impl LlamaCppEngine {
    /// The engine, or the reason why it isn't there and what to do about it. Of the environment it gets all but [`CLEARED`];
    /// models' files come from `services`, and what the small one must write.
    pub fn new(programs: Result<LlamaCpp, String>, surroundings: Surroundings, services: Services) -> Self {
        Self { programs: OnceLock::from(programs), ..Self::found(surroundings, services) }
    }

    /// The same, its programs looked for when they are first needed.
    pub fn found(surroundings: Surroundings, services: Services) -> Self {
        let environment = surroundings.without(&CLEARED);
        Self { programs: OnceLock::new(), surroundings, environment, services, devices: OnceLock::new() }
    }

    fn programs(&self) -> Result<&LlamaCpp, String> {
        self.programs.get_or_init(|| present::llama_cpp(&self.surroundings)).as_ref().map_err(Clone::clone)
    }

    /// What the model in `gguf` writes after `prompt`: `tokens` tokens, each the most probable one, on the processor. The
    /// prompt is not in the answer.
    pub fn greedy(&self, gguf: &Path, prompt: &str, tokens: u32, context: &Context) -> Result<String, Stop> {
        let programs = self.programs().map_err(Stop::Unsupported)?;
        let Some(simple) = &programs.simple else {
            return Err(Stop::Unsupported(format!("llama.cpp's llama-simple is not there; get it with: {GET_IT}")));
        };
        Simple { tool: self.tool(simple), layers: 0 }.greedy(gguf, prompt, tokens, context)
    }

    fn tool(&self, file: &Path) -> Tool {
        Tool { file: file.to_owned(), environment: self.environment.clone() }
    }

    fn known(&self) -> Result<&Known, String> {
        let known = self.devices.get_or_init(|| {
            let programs = self.programs()?;
            let listed = list(&self.tool(&programs.bench))?;
            Ok(Known::of(listed))
        });
        known.as_ref().map_err(Clone::clone)
    }
}

impl Engine for LlamaCppEngine {
    fn id(&self) -> EngineId {
        EngineId::LlamaCpp
    }

    fn devices(&self) -> Result<Vec<Device>, String> {
        let known = self.known()?;
        Ok(known.listed.iter().map(|(_, device)| device.clone()).chain([known.processor.clone()]).collect())
    }

    fn abilities(&self, device: &Device) -> Abilities {
        let gemm = |dtype| Gemm { m: 1, n: 1, k: 1, dtype, layout: Layout::Abt };
        let multiplies = |dtype: &Dtype| operator::refuse(&gemm(*dtype), &device.backend).is_ok();
        Abilities {
            kinds: self.id().kinds().to_vec(),
            dtypes: Dtype::ALL.into_iter().filter(multiplies).collect(),
            precisions: Precision::NAMED.to_vec(),
        }
    }

    fn open(&self, device_id: &str) -> Result<Box<dyn Session>, Stop> {
        let known = self.known().map_err(Stop::Failed)?;
        let programs = self.programs().map_err(Stop::Failed)?;
        let found = known.listed.iter().find(|(_, device)| device.id == device_id);
        let (listed, device) = match found {
            Some((listed, device)) => (Some(listed.clone()), device.clone()),
            None if device_id == CPU => (None, known.processor.clone()),
            None => return Err(Stop::Failed(format!("llama.cpp has no device \"{device_id}\""))),
        };
        Ok(Box::new(LlamaSession {
            bench: self.tool(&programs.bench),
            ops: programs.ops.as_deref().map(|file| self.tool(file)),
            simple: programs
                .simple
                .as_deref()
                .map(|file| Simple { tool: self.tool(file), layers: if listed.is_some() { ALL_LAYERS } else { 0 } }),
            services: self.services.clone(),
            parity: None,
            listed,
            device,
            gpus: known.listed.len(),
            threads: known.threads,
        }))
    }
}

/// llama.cpp's own list of its devices; the error says why it can't be had and what to do.
fn list(bench: &Tool) -> Result<Vec<Listed>, String> {
    const LINES_MAX: usize = 256;
    let context = Context::detached(LIST_MAX);
    let listed = || -> Result<Vec<Listed>, Stop> {
        let mut child = Child::start(bench, &["--list-devices"], None)?;
        let mut lines = Vec::new();
        while let Some(line) = child.line(&context, LIST_MAX, &mut || Ok(()))? {
            if lines.len() < LINES_MAX {
                lines.push(line);
            }
        }
        child.finish(&context)?;
        Ok(bench::listed(&lines.join("\n")))
    };
    listed().map_err(|stop| format!("llama.cpp can't be used: {stop}; choose another, or get one with: {GET_IT}"))
}

impl Known {
    fn of(listed: Vec<Listed>) -> Self {
        let machine = machine::detect();
        let allowed = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
        // As llama.cpp chooses by itself: the physical cores of the fastest kind. It doesn't see a container's limit.
        let fastest = machine.cpu_cores.first().map_or(allowed, |group| group.count);
        let processor = describe(CPU.to_owned(), machine.chip, DeviceKind::Cpu, "CPU", machine.memory_bytes);
        let with_device = |listed: Listed| {
            let device = gpu(&listed);
            (listed, device)
        };
        let listed = listed.into_iter().map(with_device).collect();
        Self { listed, processor, threads: fastest.min(allowed).max(1) }
    }
}

fn gpu(listed: &Listed) -> Device {
    let kind = match listed.backend {
        "CUDA" | "ROCm" | "MUSA" => DeviceKind::DiscreteGpu,
        "Metal" => DeviceKind::IntegratedGpu,
        // The list doesn't tell.
        _ => DeviceKind::Other,
    };
    let id = format!("{}:{}", listed.backend.to_lowercase(), listed.ordinal);
    let mut device = describe(id, listed.description.clone(), kind, listed.backend, listed.memory_bytes);
    device.software = ["llvmpipe", "lavapipe", "SwiftShader"].iter().any(|name| device.name.contains(name));
    device
}

fn describe(id: String, name: String, kind: DeviceKind, backend: &str, memory_bytes: u64) -> Device {
    Device {
        id,
        name,
        kind,
        backend: backend.to_owned(),
        driver: "llama.cpp".to_owned(),
        driver_info: String::new(),
        pci: None,
        software: false,
        limits: DeviceLimits {
            max_buffer_bytes: memory_bytes,
            max_binding_bytes: memory_bytes,
            ..DeviceLimits::default()
        },
        features: Vec::new(),
    }
}

/// An open device.
struct LlamaSession {
    bench: Tool,
    ops: Option<Tool>,
    simple: Option<Simple>,
    services: Services,
    /// Whether it runs the same model, once that was asked.
    parity: Option<Parity>,
    /// The device in llama.cpp's own list; none for the processor.
    listed: Option<Listed>,
    device: Device,
    /// GPUs that llama.cpp has.
    gpus: usize,
    threads: u32,
}

/// llama-bench's arguments, and the folder that it runs in if not here.
struct Arguments {
    list: Vec<OsString>,
    folder: Option<PathBuf>,
}

impl LlamaSession {
    /// The arguments that run these tests one after the other with the model in `file`. They have the depth and the
    /// repetitions of the first.
    fn arguments(&self, file: &Path, tests: &[Asked], more: &[&str]) -> Result<Arguments, Stop> {
        let (name, folder) = without_commas(file)?;
        let counts = |of: fn(&Asked) -> u32| {
            let counts: Vec<String> =
                tests.iter().map(of).filter(|count| *count > 0).map(|count| count.to_string()).collect();
            if counts.is_empty() { "0".to_owned() } else { counts.join(",") }
        };
        let depth = tests.first().map_or(0, |asked| asked.depth);
        let repetitions = tests.first().map_or(1, |asked| asked.repetitions);
        let layers = if self.listed.is_some() { ALL_LAYERS } else { 0 };
        let mut list: Vec<OsString> = vec!["-m".into(), name];
        let values = [
            ("-p", counts(|asked| asked.prompt)),
            ("-n", counts(|asked| asked.generated)),
            ("-d", depth.to_string()),
            ("-r", repetitions.to_string()),
            ("-b", BATCHES.0.to_string()),
            ("-ub", BATCHES.1.to_string()),
            ("-t", self.threads.to_string()),
            ("-ngl", layers.to_string()),
            ("-o", "jsonl".to_owned()),
        ];
        list.extend(values.into_iter().flat_map(|(flag, value)| [flag.into(), value.into()]));
        list.extend(self.device_flag().into_iter().flat_map(|name| ["-dev".into(), name.into()]));
        list.extend(more.iter().map(OsString::from));
        Ok(Arguments { list, folder })
    }

    /// What `-dev` must say, where there is a choice: with no layers on it, llama.cpp still gives a GPU its large products.
    fn device_flag(&self) -> Option<String> {
        match &self.listed {
            None => (self.gpus > 0).then(|| "none".to_owned()),
            Some(listed) => (self.gpus > 1).then(|| listed.name.clone()),
        }
    }

    /// Puts the memory that was reached into a report, and says what is meant by it.
    fn memory(&self, report: &mut Report, resident: Option<u64>, device: Option<u64>) {
        let single = |metric: &str, bytes: u64| Measurement::single(metric, Unit::Byte, bytes as f64, 0.0);
        if self.device.kind == DeviceKind::Cpu {
            let what = "Peak memory is the resident memory of llama-bench's process; pages of the mapped model file count, \
                        which the system can drop at any time.";
            report.measurements.extend(resident.and_then(|bytes| single("peak-memory", bytes)));
            report.notes.extend(resident.map(|_| what.to_owned()));
            return;
        }
        let what =
            "Peak memory is what llama.cpp says its buffers on the device hold: weights, keys and values, scratch.";
        report.measurements.extend(device.and_then(|bytes| single("peak-memory", bytes)));
        report.measurements.extend(resident.and_then(|bytes| single("process-peak-memory", bytes)));
        report.notes.extend(device.map(|_| what.to_owned()));
    }
}

impl LlamaSession {
    /// The workload with its model in a file of llama.cpp's own format, and whether it is the same model as this program's.
    fn of_model(
        &mut self,
        model: &ModelRef,
        context: &mut Context,
        measure: impl FnOnce(&Self, &Path, &mut Context) -> Result<Report, Stop>,
    ) -> Result<Report, Stop> {
        context.phase(Phase::Working(format!("bringing {} into the engine's format", model.label())))?;
        let files = (self.services.shelf)(EngineId::LlamaCpp, model, context)?;
        let mut report = measure(self, Path::new(&files.path), context)?;
        parity::of(self, context)?.tell(&mut report);
        report.settings.insert("bits-per-weight".to_owned(), number(model.bits_per_weight()));
        report.settings.insert("weight-bytes".to_owned(), model.weight_bytes.to_string());
        Ok(report)
    }
}

impl Session for LlamaSession {
    fn run(&mut self, workload: &Workload, context: &mut Context) -> Result<Report, Stop> {
        match workload {
            Workload::Inference(inference) if inference.batch != 1 => {
                Err(Stop::Unsupported(format!("llama-bench runs one sequence at a time, not {}", inference.batch)))
            }
            Workload::Inference(inference) => self.of_model(&inference.model, context, |session, file, context| {
                inference::run(session, inference, file, context)
            }),
            Workload::ModelLoad(load) => {
                self.of_model(&load.model, context, |session, file, context| load::run(session, load, file, context))
            }
            Workload::Gemm(gemm) => {
                let Some(ops) = &self.ops else {
                    return Err(Stop::Unsupported(format!(
                        "llama.cpp's operator test is not there; get it with: {GET_IT}"
                    )));
                };
                let name = self.listed.as_ref().map_or("CPU", |listed| listed.name.as_str());
                operator::run(ops, gemm, (name, &self.device.backend), context)
            }
            Workload::Training(_) => Err(Stop::Unsupported("llama.cpp's tools train no LoRA adapters".to_owned())),
            _ => Err(Stop::Unsupported("llama.cpp has no program that measures this".to_owned())),
        }
    }

    fn canary(&mut self, _context: &mut Context) -> Result<Option<f64>, Stop> {
        Ok(None)
    }
}

/// llama-bench takes a comma for the end of a file's name. One in the names of folders is avoided by running there.
fn without_commas(file: &Path) -> Result<(OsString, Option<PathBuf>), Stop> {
    let has = |name: &OsStr| name.to_string_lossy().contains(',');
    if !has(file.as_os_str()) {
        return Ok((file.as_os_str().to_owned(), None));
    }
    match (file.file_name(), file.parent()) {
        (Some(name), Some(folder)) if !has(name) => {
            Ok((Path::new(".").join(name).into_os_string(), Some(folder.to_owned())))
        }
        _ => Err(Stop::Unsupported(format!(
            "llama-bench takes no file with a comma in its name; rename it: {}",
            file.display()
        ))),
    }
}

/// llama-simple, and how many blocks it computes on a GPU.
#[derive(Clone, Debug)]
struct Simple {
    tool: Tool,
    layers: u32,
}

impl Simple {
    /// What the model in `gguf` writes after `prompt`, greedily, as text.
    fn greedy(&self, gguf: &Path, prompt: &str, tokens: u32, context: &Context) -> Result<String, Stop> {
        if prompt.trim().is_empty() || prompt.starts_with('-') {
            return Err(Stop::Unsupported(
                "llama-simple takes no empty prompt, and none that begins with -".to_owned(),
            ));
        }
        let child = Child::start(&self.tool, &self.arguments(gguf, prompt, tokens), None)?;
        let lines = Self::lines(child, context)?;
        Ok(continuation(&lines.join("\n"), prompt))
    }

    /// All that it prints, the prompt before, byte by byte.
    fn greedy_bytes(&self, gguf: &Path, prompt: &str, tokens: u32, context: &Context) -> Result<Vec<u8>, Stop> {
        let child = Child::start_in_hex(&self.tool, &self.arguments(gguf, prompt, tokens))?;
        let lines = Self::lines(child, context)?;
        let bytes = lines.iter().flat_map(|line| line.split_whitespace());
        Ok(bytes.filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect())
    }

    fn arguments(&self, gguf: &Path, prompt: &str, tokens: u32) -> [OsString; 7] {
        let (tokens, layers) = (tokens.to_string(), self.layers.to_string());
        ["-m".into(), gguf.into(), "-n".into(), tokens.into(), "-ngl".into(), layers.into(), prompt.into()]
    }

    fn lines(mut child: Child, context: &Context) -> Result<Vec<String>, Stop> {
        let mut lines = Vec::new();
        while let Some(line) = child.line(context, SILENCE_MAX, &mut || Ok(()))? {
            lines.push(line);
        }
        child.finish(context)?;
        Ok(lines)
    }
}

/// What follows the prompt in what llama-simple prints. It prints a space as the tokenizer has it, as "▁" or " ".
fn continuation(text: &str, prompt: &str) -> String {
    let plain = text.replace('\u{2581}', " ");
    let end = plain.find(prompt.trim()).map(|start| start + prompt.trim().len());
    end.and_then(|end| plain.get(end..)).unwrap_or(&plain).to_owned()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
