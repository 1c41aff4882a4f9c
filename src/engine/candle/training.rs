//! LoRA training: steps on a fixed text, timed, with their losses.

use std::{collections::BTreeMap, time::Instant};

use candle_core::{Device, Tensor};

use super::{
    aside, compute,
    inference::cancel,
    memory::{Watch, tell_peak},
    stop,
};
use crate::{
    measure::{
        BatchTime, Check, Context, Measurement, Phase, Policy, Rate, Report, Sample, Stop, StopReason, afford, sample,
    },
    model::{
        Model, Tokenizer,
        lora::{Lora, LoraSettings},
        train::{
            TrainSettings, Trainer, compare_gradients,
            curve::{Learning, spikes},
            ids_tensor,
            text::{TEXT, TextSet},
        },
    },
    units::Unit,
    workload::{Origin, Training},
};

/// The norm that gradients are clipped to, as in the reference.
const CLIP: f64 = 1.0;

/// Positions that the processor runs to tell how long a step takes.
const PROBED: usize = 16;

/// Runs the workload on a model that is loaded.
pub(super) fn run(model: &Model, workload: &Training, context: &mut Context) -> Result<Report, Stop> {
    // On the processor, inside candle's own pool: its products then need not enter it one by one.
    model.weights.device().with_context(|| train(model, workload, context))
}

fn train(model: &Model, workload: &Training, context: &mut Context) -> Result<Report, Stop> {
    context.phase(Phase::Preparing)?;
    let lora_settings = LoraSettings::new(workload.rank as usize, &workload.targets);
    let settings = TrainSettings {
        learning_rate: workload.learning_rate(),
        clip: workload.clipping.then_some(CLIP),
        checkpointing: workload.checkpointing,
        ..TrainSettings::default()
    };
    let device = model.weights.device();
    let lora = Lora::new(&model.weights.config, lora_settings.clone(), device).map_err(stop)?;
    let trainer = Trainer::new(model, lora, settings.clone()).map_err(stop)?;
    trainer.accepts(workload.sequence as usize).map_err(stop)?;
    let mut lesson =
        Lesson { trainer, text: text(model, workload)?, batch: workload.batch as usize, steps: Vec::new() };
    lesson.probe(device, workload, context)?;
    // The first step takes the memory of all; nothing may look on while the others are timed.
    let watch = Watch::start(device);
    lesson.step(device, context)?;
    let peak = watch.finish(device);
    let rate = Rate { metric: "throughput", unit: Unit::TokenPerSecond, amount: workload.tokens() as f64 };
    let throughput = sample(context, &Policy::default(), rate, |context, iterations| {
        let start = Instant::now();
        for _ in 0..iterations {
            lesson.step(device, context)?;
        }
        // A step ends with the reading of its loss; the adapters' update comes after it.
        device.synchronize().map_err(compute)?;
        Ok(BatchTime { host_s: start.elapsed().as_secs_f64(), device_s: None })
    })?;
    let Lesson { trainer, steps, .. } = lesson;
    let mut report = describe(model, workload, &settings, &trainer);
    drop(trainer);
    tell(&mut report, workload, &steps);
    report.measurements.extend(curve(&steps, throughput.stop));
    report.measurements.insert(0, throughput);
    tell_peak(&mut report, peak, device);
    context.phase(Phase::Checking)?;
    let batch = workload.batch as usize;
    let found = aside(context, |point| compare_gradients(model, &lora_settings, batch, point))?;
    let check = Check::of(found.method, &found.pairs, found.tolerance, true);
    check.require()?;
    report.check = Some(check);
    Ok(report)
}

/// The sequences of the fixed text, in the model's own tokens where it has a tokenizer.
fn text(model: &Model, workload: &Training) -> Result<TextSet, Stop> {
    let length = workload.sequence as usize;
    let set = match Tokenizer::of(&workload.model).map_err(stop)? {
        Some(tokenizer) => TextSet::new(&tokenizer.encode(TEXT).map_err(stop)?, length),
        None => TextSet::of_bytes(model.weights.config.vocabulary(), length),
    };
    set.map_err(stop)
}

/// A step's loss and norm.
#[derive(Clone, Copy)]
struct Step {
    loss: f64,
    norm: f64,
    skipped: bool,
    seconds: f64,
}

/// A trainer, what it learns, and what came of it.
struct Lesson<'a> {
    trainer: Trainer<'a>,
    text: TextSet,
    batch: usize,
    steps: Vec<Step>,
}

impl Lesson<'_> {
    fn ids(&self, device: &Device) -> Result<Tensor, Stop> {
        ids_tensor(&self.text.batch(self.steps.len(), self.batch), device).map_err(stop)
    }

    /// One step, told as it ends.
    fn step(&mut self, device: &Device, context: &mut Context) -> Result<(), Stop> {
        let start = Instant::now();
        let ids = self.ids(device)?;
        let result = self.trainer.step(&ids, &mut cancel(context)).map_err(stop)?;
        let seconds = start.elapsed().as_secs_f64();
        self.steps.push(Step { loss: result.loss, norm: result.grad_norm, skipped: result.skipped, seconds });
        if result.loss.is_finite() {
            context.value("loss", Unit::Nat, result.loss, false);
        }
        Ok(())
    }

    /// On the processor, runs the beginning of a sequence twice, untimed and timed, and skips what would take too long: a
    /// step of a large model may take minutes. Other devices show it by their first step.
    fn probe(&mut self, device: &Device, workload: &Training, context: &mut Context) -> Result<(), Stop> {
        let length = PROBED.min(workload.sequence as usize);
        if !device.is_cpu() {
            return Ok(());
        }
        let ids = self.ids(device)?;
        let piece = ids.narrow(0, 0, 1).and_then(|ids| ids.narrow(1, 0, length)?.contiguous()).map_err(compute)?;
        let seconds = aside(context, |point| {
            self.trainer.gradient(&piece, point)?;
            let start = Instant::now();
            self.trainer.gradient(&piece, point)?;
            Ok(start.elapsed().as_secs_f64())
        })?;
        afford(context, seconds / length as f64 * workload.tokens() as f64)
    }
}

/// The loss of every step in order, those of the warm-up included.
fn curve(steps: &[Step], stop: StopReason) -> Option<Measurement> {
    let one = |step: &Step| Sample {
        value: step.loss,
        iterations: 1,
        host_s: step.seconds,
        device_s: None,
        disturbed: false,
    };
    let samples: Vec<Sample> = steps.iter().filter(|step| step.loss.is_finite()).map(one).collect();
    Measurement::of_samples("loss", Unit::Nat, samples, stop)
}

/// Whether it learnt, how steady that was, and how large gradients were.
fn tell(report: &mut Report, workload: &Training, steps: &[Step]) {
    let losses: Vec<f64> = steps.iter().map(|step| step.loss).collect();
    let learning = Learning::of(&losses);
    report.notes.push(learning.sentence(steps.len()));
    let mut norms: Vec<f64> = steps.iter().map(|step| step.norm).collect();
    let (first, last) = (norms.first().copied().unwrap_or(0.0), norms.last().copied().unwrap_or(0.0));
    norms.sort_by(f64::total_cmp);
    let (median, most) = (norms.get(norms.len() / 2).copied().unwrap_or(0.0), norms.last().copied().unwrap_or(0.0));
    let skipped = steps.iter().filter(|step| step.skipped).count();
    let spikes = spikes(&losses);
    let mut set = |name: &str, value: String| _ = report.settings.insert(name.to_owned(), value);
    set("loss-fell", learning.answer().to_owned());
    set("steps", steps.len().to_string());
    set("gradient-norm", format!("first {first:.3}, median {median:.3}, last {last:.3}, largest {most:.3}"));
    if skipped > 0 {
        set("skipped-steps", skipped.to_string());
        report.notes.push(format!("{skipped} steps were skipped because a gradient was not finite."));
    }
    if spikes > 0 || !workload.clipping {
        let clipping = if workload.clipping { "" } else { "Without clipping, " };
        let some = match spikes {
            0 => "no loss stood".to_owned(),
            1 => "one loss stood".to_owned(),
            _ => format!("{spikes} losses stood"),
        };
        let sentence =
            format!("{clipping}{some} more than 10 % above the least before; gradients reached a norm of {most:.2}.");
        report.notes.push(capitalised(&sentence));
    }
}

fn capitalised(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What a reader must know of how it was trained.
fn describe(model: &Model, workload: &Training, settings: &TrainSettings, trainer: &Trainer<'_>) -> Report {
    let weights = &model.weights;
    let lora = trainer.lora().settings();
    let mut all = BTreeMap::new();
    let mut set = |name: &str, value: String| _ = all.insert(name.to_owned(), value);
    set("optimizer", "AdamW, β 0.9 and 0.999".to_owned());
    set("learning-rate", settings.learning_rate.to_string());
    set("weight-decay", settings.weight_decay.to_string());
    set("alpha", lora.alpha.to_string());
    set("clip", settings.clip.map_or("none".to_owned(), |clip| format!("global norm {clip}")));
    set("loss-scale", trainer.loss_scale().to_string());
    set("checkpointing", if settings.checkpointing { "every block" } else { "none" }.to_owned());
    set("activations", weights.dtype.as_str().to_owned());
    if weights.device().is_cpu() {
        set("threads", candle_core::utils::get_num_threads().to_string());
    }
    let precision = format!(
        "{} weights, {} activations and gradients, f32 adapters and moments",
        workload.model.precision,
        weights.dtype.as_str()
    );
    let mut notes = Vec::new();
    if trainer.loss_scale() > 1.0 {
        notes.push(
            "The loss is scaled, so that small gradients in f16 don't become zero: a multiplication and a look at the norm \
             that wider types and engines with wider gradients don't need."
                .to_owned(),
        );
    }
    if workload.model.origin == Origin::Synthetic {
        notes.push(
            "The weights are synthetic: random values at the true shapes, as fast as real ones. Adapters can teach them \
             how often a letter comes, and little more, so that the loss falls to a plateau."
                .to_owned(),
        );
    }
    Report {
        precision: Some(precision),
        variant: Some(format!("forward and backward by hand, no automatic differentiation; {}", model.training_path())),
        settings: all,
        notes,
        ..Report::default()
    }
}
