//! candle: matrix products, attention and language models on the processor, on Metal and on CUDA.
//!
//! `device` lists and opens devices; `kernels`, `load`, `inference` and `training` are the workloads; `fingerprint` is what
//! other engines are compared by. The model itself is in `model/`. A session keeps its model from entry to entry, so that
//! the entries of one model load it once.

mod cold;
mod decode;
mod device;
mod fingerprint;
mod fit;
mod inference;
mod kernels;
mod load;
mod memory;
mod products;
mod training;

use std::{
    path::PathBuf,
    time::{Instant, SystemTime},
};

use candle_core::{DType, Tensor};

pub use self::fingerprint::reference;
use super::{Engine, EngineId, Session};
use crate::{
    machine::Device,
    measure::{Context, Measurement, Report, Stop},
    model::{Check, Model, ModelError, weights},
    units::Unit,
    workload::{ModelRef, Workload},
};

/// The engine of candle's devices.
#[derive(Debug, Default)]
pub struct CandleEngine;

impl Engine for CandleEngine {
    fn id(&self) -> EngineId {
        EngineId::Candle
    }

    fn devices(&self) -> Result<Vec<Device>, String> {
        Ok(device::list())
    }

    fn open(&self, device_id: &str) -> Result<Box<dyn Session>, Stop> {
        let device = device::open(device_id)?;
        let rates = fit::Rates::guessed(&device);
        Ok(Box::new(CandleSession { device, loaded: None, rates }))
    }
}

/// An open device, and the model of the entry before.
struct CandleSession {
    device: candle_core::Device,
    loaded: Option<Loaded>,
    rates: fit::Rates,
}

/// A model on the device.
struct Loaded {
    of: ModelRef,
    files: Vec<Stamp>,
    model: Model,
}

impl Loaded {
    /// Whether it is what is wanted: also the same files, as they were. Names and sizes alone may be another folder's.
    fn is(&self, wanted: &ModelRef) -> bool {
        self.of == *wanted && self.of.location.0 == wanted.location.0 && self.files == stamps(wanted)
    }
}

/// A file, its size and when it was written; without the last two where it can't be seen.
type Stamp = (PathBuf, Option<(u64, SystemTime)>);

/// The files of a model as they are now.
fn stamps(model: &ModelRef) -> Vec<Stamp> {
    let seen = |path: &PathBuf| {
        let found = std::fs::metadata(path).ok();
        found.and_then(|found| Some((found.len(), found.modified().ok()?)))
    };
    let files = weights::stored_in(model).unwrap_or_default();
    files.into_iter().map(|path| (path.clone(), seen(&path))).collect()
}

impl CandleSession {
    /// The model, loaded now unless it is there.
    fn model(&mut self, wanted: &ModelRef, context: &mut Context) -> Result<&Model, Stop> {
        if self.loaded.as_ref().is_none_or(|loaded| !loaded.is(wanted)) {
            self.loaded = None;
            // The entry's time is for its figure.
            // Before they are read: what is written meanwhile counts as new.
            let files = stamps(wanted);
            let device = &self.device;
            let model = aside(context, |check| {
                let mut progress = |_: weights::LoadProgress| check();
                let model = Model::new(weights::have(wanted, device, &mut progress)?)?;
                warm_up(&model, check)?;
                Ok(model)
            })?;
            self.loaded = Some(Loaded { of: wanted.clone(), files, model });
        }
        self.loaded.as_ref().map(|loaded| &loaded.model).ok_or_else(|| Stop::Failed("no model is loaded".to_owned()))
    }
}

impl CandleSession {
    /// Runs a workload that fits.
    fn perform(&mut self, workload: &Workload, context: &mut Context) -> Result<Report, Stop> {
        match workload {
            Workload::ModelLoad(load) => {
                self.loaded = None;
                load::run(&self.device, load, context)
            }
            Workload::Inference(inference) => {
                inference::run(self.model(&inference.model, context)?, inference, context)
            }
            Workload::Training(training) => training::run(self.model(&training.model, context)?, training, context),
            Workload::Gemm(gemm) => kernels::gemm(&self.device, *gemm, context),
            Workload::Attention(attention) => kernels::attention(&self.device, *attention, context),
            Workload::Bandwidth(_) | Workload::BandwidthSweep(_) | Workload::TensorLimit(_) => Err(Stop::Unsupported(
                "candle allocates what it writes, which would be timed with it; wgpu measures memory".to_owned(),
            )),
        }
    }

    /// The same, after its memory and time were predicted; the prediction stands in the report.
    fn predicted(&mut self, workload: &Workload, context: &mut Context) -> Result<Report, Stop> {
        if self.loaded.as_ref().is_some_and(|loaded| !workload.model().is_some_and(|model| loaded.is(model))) {
            self.loaded = None;
        }
        let held = self.loaded.as_ref().map_or(0, |loaded| loaded.model.weights.bytes());
        let budget_s = context.remaining().as_secs_f64();
        let needed = fit::check(&self.device, workload, held, &self.rates, budget_s)?;
        let mut report = self.perform(workload, context)?;
        self.rates.learn(workload, report.measurements.first());
        let predicted = needed.map(|needed| needed.total as f64);
        let predicted = predicted.and_then(|total| Measurement::single("predicted-memory", Unit::Byte, total, 0.0));
        report.measurements.extend(predicted);
        Ok(report)
    }
}

impl Session for CandleSession {
    fn run(&mut self, workload: &Workload, context: &mut Context) -> Result<Report, Stop> {
        let outcome = self.predicted(workload, context);
        if matches!(outcome, Err(Stop::Failed(_) | Stop::DeviceLost(_))) {
            // What went wrong may have been memory: the next entry starts without it.
            self.loaded = None;
        }
        outcome
    }

    fn canary(&mut self, _context: &mut Context) -> Result<Option<f64>, Stop> {
        device::canary(&self.device).map(Some)
    }
}

/// Runs a GPU's kernels once: with their first use they are loaded and translated, which takes seconds.
fn warm_up(model: &Model, check: &mut Check<'_>) -> Result<(), ModelError> {
    let device = model.weights.device();
    let t = model.chunk().min(model.weights.config.max_positions.saturating_sub(1));
    if device.is_cpu() || t == 0 {
        return Ok(());
    }
    let mut cache = model.cache(1, t + 1)?;
    let ids = Tensor::zeros((1, t), DType::U32, device)?;
    let next = model.next(&ids, &mut cache, check)?;
    model.next(&next.unsqueeze(1)?, &mut cache, check)?;
    Ok(device.synchronize()?)
}

/// Work that goes into no figure, as a check: the entry's time is put off by as long as it takes. It is told with every
/// cancellation point, so that a slow device does not count as hanging.
fn aside<T>(context: &Context, work: impl FnOnce(&mut Check<'_>) -> Result<T, ModelError>) -> Result<T, Stop> {
    let mut since = Instant::now();
    let mut point = || {
        context.spare(since.elapsed());
        since = Instant::now();
        context.check().map_err(|_stop| ModelError::Cancelled)
    };
    let done = work(&mut point);
    context.spare(since.elapsed());
    done.map_err(stop)
}

/// How an entry ends after an error of the model's.
fn stop(error: ModelError) -> Stop {
    match error {
        ModelError::Cancelled => Stop::Cancelled,
        ModelError::Unsupported(reason) => Stop::Unsupported(reason),
        other => Stop::Failed(other.to_string()),
    }
}

/// The same for an error of candle's.
fn compute(error: candle_core::Error) -> Stop {
    stop(error.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_goes_into_no_figure_leaves_the_time_as_it_is() {
        let context = Context::detached(Duration::from_secs(5));
        let (told, whole) = (context.spared(), Duration::from_millis(30));
        let found = aside(&context, |point| {
            std::thread::sleep(whole);
            point()?;
            // Already told while it goes on.
            assert!(told.so_far() >= whole);
            Ok(7)
        });
        assert_eq!(found, Ok(7));
    }

    #[test]
    fn a_slow_check_can_be_cancelled() {
        let cancel = crate::measure::Cancel::default();
        let context = Context::new(cancel.clone(), Duration::ZERO, crate::measure::Paints::default(), Box::new(|_| {}));
        cancel.request();
        assert_eq!(aside(&context, |point| point()), Err(Stop::Cancelled));
    }
}
