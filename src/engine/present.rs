//! The engines of this program and of the machine it runs on, put together: who is found where, how it is started, and where
//! its models' files come from.

use std::{
    cell::Cell,
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Engine, EngineId, Surroundings, WgpuEngine,
    candle::{self, CandleEngine},
    external::{self, ExternalEngine, Launch, Launcher, Oracle, Services, Shelf, protocol::ModelFiles},
    find::{self, Located, Place},
    llama::{LlamaCpp, LlamaCppEngine},
    supervise::{Program, Said, Supervised},
};
use crate::{
    measure::{Context, Fingerprint, Phase, Stop},
    model::{
        ModelError,
        library::{Format, Library},
        source,
        weights::LoadProgress,
    },
    units::{Quantity, Unit},
    workload::Precision,
};

/// The scripts of the Python engines, shipped in the program.
const SCRIPTS: [(&str, &str); 8] = [
    ("roofline_engine.py", include_str!("../../assets/engines/roofline_engine.py")),
    ("roofline_system.py", include_str!("../../assets/engines/roofline_system.py")),
    ("roofline_pace.py", include_str!("../../assets/engines/roofline_pace.py")),
    ("roofline_values.py", include_str!("../../assets/engines/roofline_values.py")),
    ("roofline_pytorch.py", include_str!("../../assets/engines/roofline_pytorch.py")),
    ("roofline_pytorch_models.py", include_str!("../../assets/engines/roofline_pytorch_models.py")),
    ("roofline_mlx.py", include_str!("../../assets/engines/roofline_mlx.py")),
    ("roofline_mlx_models.py", include_str!("../../assets/engines/roofline_mlx_models.py")),
];

/// Variables that begin so are taken from the environment of an engine: they choose other files, go to the network, or make
/// something else of the same work.
const CLEARED: [&str; 10] = [
    "PYTHON",
    "HF_",
    "HUGGING",
    "TRANSFORMERS_",
    "ROOFLINE_",
    "MLX_ENABLE_TF32",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32",
    "PYTORCH_ENABLE_MPS_FALLBACK",
    "LD_PRELOAD",
];

/// Variables that begin so change the speed: they stay as the person has them, and are recorded.
const RECORDED: [&str; 9] = ["OMP_", "MKL_", "KMP_", "GOMP_", "OPENBLAS_", "TORCH", "PYTORCH_", "MLX_", "CUDA_"];

/// What every engine outside the program is started with.
const OFFLINE: [(&str, &str); 6] = [
    ("HF_HUB_OFFLINE", "1"),
    ("TRANSFORMERS_OFFLINE", "1"),
    ("HF_DATASETS_OFFLINE", "1"),
    ("PYTHONUNBUFFERED", "1"),
    ("TOKENIZERS_PARALLELISM", "false"),
    ("HF_HUB_DISABLE_TELEMETRY", "1"),
];

/// How long making a quantised folder may take.
const CONVERT_MOST: Duration = Duration::from_hours(1);

/// Every engine: those of this program, those that are known and looked for, and those of the engines folder. Nothing is looked
/// for before its devices are asked for.
pub fn all(surroundings: &Surroundings) -> Vec<Box<dyn Engine>> {
    let services = services(surroundings);
    let mut engines: Vec<Box<dyn Engine>> =
        vec![Box::new(WgpuEngine::new(surroundings.data.clone())), Box::new(CandleEngine)];
    for id in [EngineId::Pytorch, EngineId::Mlx] {
        engines.push(Box::new(ExternalEngine::new(id, launcher(id, surroundings.clone()), services.clone())));
    }
    engines.push(Box::new(LlamaCppEngine::found(surroundings.clone(), services.clone())));
    for (id, located) in find::custom(surroundings) {
        engines.push(Box::new(external(id, located, surroundings)));
    }
    engines
}

/// One engine that was found, to ask it who it is.
pub fn external(id: EngineId, located: Located, surroundings: &Surroundings) -> ExternalEngine {
    let around = surroundings.clone();
    let launcher: Launcher = Arc::new(move |tf32| launch(id, &located, &around, tf32));
    ExternalEngine::new(id, launcher, services(surroundings))
}

/// llama.cpp's programs, if they are found.
pub(super) fn llama_cpp(surroundings: &Surroundings) -> Result<LlamaCpp, String> {
    match find::find(EngineId::LlamaCpp, surroundings).map_err(|missing| missing.to_string())?.place {
        Place::LlamaCpp { bench, ops, quantize, simple } => Ok(LlamaCpp { bench, ops, quantize, simple }),
        other => Err(format!("this is not llama.cpp: {}", other.file().display())),
    }
}

/// Finds an engine when it is first started, and remembers where.
fn launcher(id: EngineId, surroundings: Surroundings) -> Launcher {
    let found = std::sync::OnceLock::new();
    Arc::new(move |tf32| {
        let located: &Result<Located, String> =
            found.get_or_init(|| find::find(id, &surroundings).map_err(|missing| missing.to_string()));
        launch(id, located.as_ref().map_err(Clone::clone)?, &surroundings, tf32)
    })
}

/// How an engine is started.
fn launch(id: EngineId, located: &Located, surroundings: &Surroundings, tf32: bool) -> Result<Launch, String> {
    let scripts = external::write_scripts(&SCRIPTS)?;
    let script = |name: &str| scripts.path().join(name).into_os_string();
    let isolated = "-I".into();
    let mut program = match &located.place {
        Place::Python { python } => {
            let name = if id == EngineId::Mlx { "roofline_mlx.py" } else { "roofline_pytorch.py" };
            Program::new(python, [isolated, script(name)])
        }
        Place::Custom { program, python: Some(python) } => {
            Program::new(python, [isolated, program.clone().into_os_string()])
        }
        Place::Custom { program, python: None } => Program::new(program, std::iter::empty::<&str>()),
        Place::LlamaCpp { .. } => return Err("llama.cpp doesn't speak the engine protocol".to_owned()),
    };
    program.environment = Some(surroundings.without(&CLEARED));
    program.set = OFFLINE.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    program.set.push(("MLX_ENABLE_TF32".to_owned(), u8::from(tf32).to_string()));
    program.set.push(("ROOFLINE_ENGINE_PATH".to_owned(), scripts.path().to_string_lossy().into_owned()));
    let mut settings = recorded(surroundings);
    settings.insert("found".to_owned(), located.origin.words().to_owned());
    Ok(Launch { title: id.title().to_owned(), program, scripts: Some(scripts), settings })
}

/// The variables that change the speed, as the person has them.
fn recorded(surroundings: &Surroundings) -> BTreeMap<String, String> {
    let text = |(name, value): &(std::ffi::OsString, std::ffi::OsString)| {
        let name = name.to_str().filter(|name| RECORDED.iter().any(|prefix| name.starts_with(prefix)))?;
        let kept = !CLEARED.iter().any(|prefix| name.starts_with(prefix));
        kept.then(|| (name.to_owned(), value.to_string_lossy().into_owned()))
    };
    surroundings.environment.iter().filter_map(text).collect()
}

/// What engines outside the program share: the library of models, and this program's own word on what they say.
fn services(surroundings: &Surroundings) -> Services {
    Services {
        shelf: shelf(surroundings.clone()),
        oracle: oracle(),
        tiny: source::resolve("tiny", Some(&Precision::F32), None).ok(),
    }
}

fn oracle() -> Oracle {
    Arc::new(|model, prompt, context| {
        let ids = model.shape.probed_ids(Fingerprint::LOGITS);
        let mut check = || context.check().map_err(|_stop| ModelError::Cancelled);
        let (logits, tokens) = candle::reference(model, prompt, &ids, Fingerprint::TOKENS, &mut check)?;
        Ok(Fingerprint { logits: ids.into_iter().zip(logits).collect(), tokens })
    })
}

/// Models' files in the form that an engine reads. Without a data folder none can be made.
fn shelf(surroundings: Surroundings) -> Shelf {
    Arc::new(move |engine, model, context| {
        let format = match (engine, &model.precision) {
            (EngineId::LlamaCpp, _) => Format::Gguf,
            (_, Precision::Mlx4) => Format::MlxQuantised,
            _ => Format::HuggingFace,
        };
        let folder = surroundings.data.as_ref().map(|data| data.join("models")).ok_or_else(|| Stop::Skipped {
            reason: "models' files need a data folder; name one with --data-dir".to_owned(),
            estimate_s: None,
        })?;
        let library = Library::new(folder);
        let path = match format {
            Format::MlxQuantised => {
                // Cancel is felt while another process converts.
                let detached =
                    Context::new(context.cancel(), CONVERT_MOST, crate::measure::Paints::default(), Box::new(|_| {}));
                let (spared, since) = (context.spared(), Cell::new(Instant::now()));
                let spare = || spared.add(since.replace(Instant::now()).elapsed());
                let mut convert = |from: &Path, to: &Path| convert(&surroundings, from, to, &detached, &spare);
                library.have_quantised(model, &mut convert, &mut told(context, &since)).map_err(stop)?
            }
            _ => library.have(model, format, &mut told(context, &Cell::new(Instant::now()))).map_err(stop)?,
        };
        ModelFiles::new(&path, format.id())
    })
}

/// Progress and Cancel of making files: it goes into no figure. `since` is until when its time has been left out.
fn told(context: &mut Context, since: &Cell<Instant>) -> impl FnMut(LoadProgress) -> Result<(), ModelError> {
    let mut next = Instant::now();
    move |progress| {
        let now = Instant::now();
        context.spare(now - since.replace(now));
        if now >= next && progress.total_bytes > 0 {
            next = now + Duration::from_millis(500);
            let shown = |bytes: u64| Quantity::new(bytes as f64, Unit::Byte).to_string();
            let what = format!("making its files, {} of {}", shown(progress.done_bytes), shown(progress.total_bytes));
            context.phase(Phase::Working(what)).map_err(|_stop| ModelError::Cancelled)?;
        }
        context.check().map_err(|_stop| ModelError::Cancelled)
    }
}

fn stop(error: ModelError) -> Stop {
    match error {
        ModelError::Cancelled => Stop::Cancelled,
        ModelError::Unsupported(reason) => Stop::Unsupported(reason),
        other => Stop::Failed(other.to_string()),
    }
}

/// Has mlx-lm quantise a folder; `spare` leaves the time since it was last called out of the entry's.
fn convert(
    surroundings: &Surroundings,
    from: &Path,
    to: &Path,
    context: &Context,
    spare: &dyn Fn(),
) -> Result<(), String> {
    let located = find::find(EngineId::Mlx, surroundings).map_err(|missing| missing.to_string())?;
    let launch = launch(EngineId::Mlx, &located, surroundings, false)?;
    let mut program = launch.program.clone();
    let more = ["convert".into(), from.as_os_str().to_owned(), to.as_os_str().to_owned()];
    program.arguments.extend(more.into_iter().chain(["--bits", "4", "--group-size", "64"].map(Into::into)));
    let mut child = Supervised::start(&program)?;
    child.close_input();
    loop {
        spare();
        match child.hear(Duration::from_millis(50)) {
            Said::Closed => break,
            _ if context.check().is_err() => return Err("cancelled".to_owned()),
            _ if context.remaining().is_zero() => return Err("mlx-lm did not finish within an hour".to_owned()),
            _ => {}
        }
    }
    match child.wait(Duration::from_secs(10)) {
        Some(status) if status.success() => Ok(()),
        _ => Err(format!("mlx-lm could not quantise the model: {}", child.obituary())),
    }
}
