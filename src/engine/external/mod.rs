//! Engines outside this program: a child process that speaks the engine protocol (`docs/engine-protocol.md`) does the work and
//! times it; everything else is decided and doubted here.
//!
//! `protocol` is what is said, `talk` asks and waits, `reference` knows what results must be; `kernels` and `models` are the
//! workloads.

mod kernels;
mod models;
pub mod protocol;
mod rates;
mod reference;
mod session;
mod talk;

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use self::{
    protocol::{Hello, ModelFiles, ToldDevice},
    session::ExternalSession,
    talk::Talk,
};
use super::{Abilities, Engine, EngineId, Session, supervise::Program};
use crate::{
    machine::{self, Device, DeviceKind, DeviceLimits},
    measure::{Context, Stop},
    model::weights,
    workload::{Dtype, ModelRef, Precision, WorkloadKind},
};

/// How an engine's process is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The engine's name as people write it.
    pub title: String,
    /// The program with its environment.
    pub program: Program,
    /// A folder with its scripts, which goes away with the last that holds it.
    pub scripts: Option<Arc<tempfile::TempDir>>,
    /// What is recorded with every figure: versions, and variables of the environment that change the speed.
    pub settings: std::collections::BTreeMap<String, String>,
}

/// Says how to start an engine, with or without TF32 for f32 operands; or why it isn't there and what to do.
pub type Launcher = Arc<dyn Fn(bool) -> Result<Launch, String> + Send + Sync>;

/// Brings a model's files into a form that an engine reads.
pub type Shelf = Arc<dyn Fn(EngineId, &ModelRef, &mut Context) -> Result<ModelFiles, Stop> + Send + Sync>;

/// What a model says, found by this program's own code: the reference for engines that run the same.
pub type Oracle =
    Arc<dyn Fn(&ModelRef, &[u32], &mut Context) -> Result<crate::measure::Fingerprint, Stop> + Send + Sync>;

/// What engines outside this program share.
#[derive(Clone)]
pub struct Services {
    /// Where models' files come from.
    pub shelf: Shelf,
    /// What models must say.
    pub oracle: Oracle,
    /// The small model by which engines are compared, in f32.
    pub tiny: Option<ModelRef>,
}

/// An engine outside this program.
pub struct ExternalEngine {
    id: EngineId,
    launcher: Launcher,
    services: Services,
    /// What it said of itself, once it was asked.
    hello: Mutex<Option<Arc<Hello>>>,
}

impl fmt::Debug for ExternalEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalEngine").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ExternalEngine {
    /// An engine that `launcher` starts.
    pub fn new(id: EngineId, launcher: Launcher, services: Services) -> Self {
        Self { id, launcher, services, hello: Mutex::default() }
    }

    /// What it says of itself: its process is started once for that, which takes as long as importing the framework does.
    pub fn hello(&self) -> Result<Arc<Hello>, String> {
        // Whoever asks meanwhile waits for the one answer.
        let mut known = self.hello.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hello) = known.as_ref() {
            return Ok(Arc::clone(hello));
        }
        let launch = (self.launcher)(false)?;
        let (mut talk, hello) = Talk::begin(launch, None).map_err(|stop| stop.to_string())?;
        talk.finish(false);
        let hello = Arc::new(hello);
        *known = Some(Arc::clone(&hello));
        Ok(hello)
    }
}

impl Engine for ExternalEngine {
    fn id(&self) -> EngineId {
        self.id
    }

    fn devices(&self) -> Result<Vec<Device>, String> {
        let hello = self.hello()?;
        if hello.devices.is_empty() {
            return Err(format!(
                "{} finds no device; look at \"roofline engines doctor {}\"",
                self.id.title(),
                self.id
            ));
        }
        Ok(hello.devices.iter().map(|told| describe(self.id, told, &hello)).collect())
    }

    fn abilities(&self, _device: &Device) -> Abilities {
        let Ok(hello) = self.hello() else { return Abilities::default() };
        Abilities {
            kinds: known(&hello.workloads, |kind: &WorkloadKind| self.id.kinds().contains(kind)),
            dtypes: known(&hello.dtypes, |_: &Dtype| true),
            precisions: known(&hello.precisions, |_: &Precision| true),
        }
    }

    fn open(&self, device_id: &str) -> Result<Box<dyn Session>, Stop> {
        let hello = self.hello().map_err(Stop::Failed)?;
        let told = hello.devices.iter().find(|device| device.id == device_id).cloned();
        let told = told.ok_or_else(|| Stop::Failed(format!("{} has no device \"{device_id}\"", self.id.title())))?;
        Ok(Box::new(ExternalSession::new(self.id, Arc::clone(&self.launcher), self.services.clone(), told)))
    }
}

/// Those that this program knows too.
fn known<T: std::str::FromStr>(names: &[String], wanted: impl Fn(&T) -> bool) -> Vec<T> {
    names.iter().filter_map(|name| name.parse().ok()).filter(wanted).collect()
}

/// A device as the rest of the program sees it. The processor and the Mac's GPU go by the chip's name, as they do elsewhere, so
/// that it is seen that they are the same.
fn describe(engine: EngineId, told: &ToldDevice, hello: &Hello) -> Device {
    let kind = match told.kind.as_str() {
        "discrete-gpu" => DeviceKind::DiscreteGpu,
        "integrated-gpu" => DeviceKind::IntegratedGpu,
        "cpu" => DeviceKind::Cpu,
        _ => DeviceKind::Other,
    };
    let machine = machine::detect();
    let chip = kind == DeviceKind::Cpu || kind == DeviceKind::IntegratedGpu && cfg!(target_os = "macos");
    let name = if chip || told.name.is_empty() { machine.chip } else { told.name.clone() };
    let bytes = told.memory_bytes.map_or(machine.memory_bytes, |bytes| bytes as u64);
    let versions: Vec<String> = hello.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    Device {
        id: told.id.clone(),
        name,
        kind,
        backend: if told.backend.is_empty() { told.kind.clone() } else { told.backend.clone() },
        driver: engine.title().to_owned(),
        driver_info: versions.join(", "),
        pci: None,
        software: false,
        limits: DeviceLimits { max_buffer_bytes: bytes, max_binding_bytes: bytes, ..DeviceLimits::default() },
        features: told.features.clone(),
    }
}

/// Writes scripts into a folder of their own, so that what runs is what this program brought along.
pub fn write_scripts(files: &[(&str, &str)]) -> Result<Arc<tempfile::TempDir>, String> {
    let failed = |error: std::io::Error| {
        format!("could not write the engines' scripts ({error}); make room in the folder for temporary files")
    };
    let folder = tempfile::Builder::new().prefix("roofline-engine-").tempdir().map_err(failed)?;
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).map_err(failed)?;
    }
    Ok(Arc::new(folder))
}

/// A path as text, for a message that must be text.
fn path_text(path: &Path) -> Result<String, Stop> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| {
        Stop::Failed(format!("the engine can't be told this path, which is no text: {}", path.display()))
    })
}

impl ModelFiles {
    /// Files at a path, in a format of the protocol's.
    pub fn new(path: &Path, format: &'static str) -> Result<Self, Stop> {
        Ok(Self { path: path_text(path)?, format, weight_bytes: weight_bytes(path) })
    }
}

/// The bytes of all tensors of the model in a folder of safetensors files: what each file holds beside its header.
fn weight_bytes(folder: &Path) -> Option<u64> {
    use std::io::Read as _;
    let mut sum = 0_u64;
    for file in weights::safetensors_files(folder).ok()? {
        let mut header = [0; 8];
        std::fs::File::open(&file).ok()?.read_exact(&mut header).ok()?;
        let header = u64::from_le_bytes(header).checked_add(8)?;
        sum = sum.checked_add(std::fs::metadata(&file).ok()?.len().checked_sub(header)?)?;
    }
    Some(sum).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_counted_without_their_headers() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(weight_bytes(folder.path()), None);
        let write = |name: &str, bytes: usize| {
            let file = [&4_u64.to_le_bytes()[..], b"{}  ", &vec![0; bytes]].concat();
            std::fs::write(folder.path().join(name), file).unwrap();
        };
        // As Mistral's folders have them: the model, and the same once more in another layout.
        write("model.safetensors", 42);
        write("consolidated.safetensors", 40);
        write("config.json", 100);
        assert_eq!(weight_bytes(folder.path()), Some(42));
        let index = r#"{"weight_map": {"x": "model-1.safetensors", "y": "model-2.safetensors"}}"#;
        std::fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
        write("model-1.safetensors", 10);
        write("model-2.safetensors", 33);
        assert_eq!(weight_bytes(folder.path()), Some(43));
        std::fs::write(folder.path().join("model-2.safetensors"), u64::MAX.to_le_bytes()).unwrap();
        assert_eq!(weight_bytes(folder.path()), None, "a header beyond the file");
    }
}
