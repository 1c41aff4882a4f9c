//! Whether an entry fits, before anything is allocated: its memory against what is free now, its time against its budget.

use std::num::NonZero;

use candle_core::Device as Candle;

use crate::{
    machine,
    measure::{Measurement, Stop},
    model::estimate::{self, MemoryEstimate, Place},
    units::{Quantity, Unit, duration},
    workload::{InferencePhase, Workload},
};

/// What stays free beside an entry: 5 % of what it needs, for what allocators round up, and 256 MiB for everything else.
const fn margin(needed: u64) -> u64 {
    needed / 20 + (256 << 20)
}

/// One pass may be predicted to take this many times the entry's budget before it isn't tried: rates are guessed at first.
const TIME_FACTOR: f64 = 3.0;

/// How fast a device is, from what it did before in this session, else a low guess for its kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    /// Bytes of weights and cache read a second while decoding.
    bytes: f64,
    /// FLOPs a second of prefill and training.
    flops: f64,
}

impl Rates {
    /// The guess: a core reads 3 GB/s of weights and does 20 GFLOPS; any Mac's GPU 60 GB/s and 1 TFLOPS; any NVIDIA GPU
    /// with tensor cores 200 GB/s and 5 TFLOPS.
    pub(super) fn guessed(device: &Candle) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get) as f64;
        match place(device) {
            Place::Processor { .. } => Self { bytes: 3e9 * cores, flops: 20e9 * cores },
            Place::Metal => Self { bytes: 60e9, flops: 1e12 },
            Place::Cuda => Self { bytes: 200e9, flops: 5e12 },
        }
    }

    /// Learns from a figure in tokens per second.
    pub(super) fn learn(&mut self, workload: &Workload, headline: Option<&Measurement>) {
        let Some(rate) = headline.filter(|headline| headline.unit == Unit::TokenPerSecond) else { return };
        let passes = |tokens: u64| rate.summary.median / tokens as f64;
        match workload {
            Workload::Inference(inference) => match inference.phase {
                InferencePhase::Decode { .. } => self.bytes = inference.bytes() * passes(inference.tokens()),
                InferencePhase::Prefill { .. } => self.flops = inference.flops() * passes(inference.tokens()),
            },
            Workload::Training(training) => self.flops = training.flops() * passes(training.tokens()),
            _ => {}
        }
    }

    /// Seconds of one pass.
    fn pass_s(&self, workload: &Workload) -> f64 {
        match workload {
            Workload::Inference(inference) => match inference.phase {
                InferencePhase::Decode { depth, .. } => {
                    let shape = &inference.model.shape;
                    let read = shape.forward_flops(u64::from(depth), 0, 1) * f64::from(inference.batch);
                    inference.bytes() / self.bytes + if depth == 0 { 0.0 } else { read / self.flops }
                }
                InferencePhase::Prefill { .. } => inference.flops() / self.flops,
            },
            Workload::Training(training) => training.flops() / self.flops,
            _ => 0.0,
        }
    }
}

/// The kind of device as far as memory depends on it.
pub(super) const fn place(device: &Candle) -> Place {
    match device {
        Candle::Cpu => Place::processor(),
        Candle::Metal(_) => Place::Metal,
        Candle::Cuda(_) => Place::Cuda,
    }
}

/// Memory that can be had on the device now, in bytes; `None` where it doesn't tell.
pub(super) fn free_memory(device: &Candle) -> Option<u64> {
    let machine = || Some(machine::available_memory_bytes()).filter(|bytes| *bytes > 0);
    match device {
        Candle::Cpu => machine(),
        #[cfg(target_os = "macos")]
        Candle::Metal(metal) => {
            let most = metal.metal_device().recommended_max_working_set_size() as u64;
            // It is the machine's memory, which other programs use too.
            machine().map(|free| free.min(most))
        }
        #[cfg(feature = "cuda")]
        Candle::Cuda(cuda) => cuda.cuda_stream().context().mem_get_info().ok().map(|(free, _)| free as u64),
        #[cfg(not(all(target_os = "macos", feature = "cuda")))]
        _ => None,
    }
}

/// Says what a workload needs, or why it isn't tried. `held` are bytes that the model before gives back, or shares.
pub(super) fn check(
    device: &Candle,
    workload: &Workload,
    held: u64,
    rates: &Rates,
    budget_s: f64,
) -> Result<Option<MemoryEstimate>, Stop> {
    let Some(needed) = estimate::memory(workload, place(device)) else { return Ok(None) };
    if let Some(free) = free_memory(device) {
        fits(&needed, free + held)?;
    }
    let pass_s = rates.pass_s(workload);
    if pass_s > TIME_FACTOR * budget_s {
        return Err(Stop::Skipped {
            reason: format!(
                "one pass would take about {}, and {} are allowed; raise it with --budget, or choose a smaller model",
                duration(pass_s),
                duration(budget_s)
            ),
            estimate_s: Some(pass_s),
        });
    }
    Ok(Some(needed))
}

/// The same for so many bytes of operands and results.
pub(super) fn bytes(device: &Candle, needed: u64) -> Result<(), Stop> {
    let Some(free) = free_memory(device).filter(|free| needed + margin(needed) > *free) else { return Ok(()) };
    let shown = |bytes: u64| Quantity::new(bytes as f64, Unit::Byte).to_string();
    Err(Stop::Skipped {
        reason: format!(
            "needs about {} of memory and {} beside it; {} are free: choose a smaller size",
            shown(needed),
            shown(margin(needed)),
            shown(free)
        ),
        estimate_s: None,
    })
}

fn fits(needed: &MemoryEstimate, free: u64) -> Result<(), Stop> {
    if needed.total + margin(needed.total) <= free {
        return Ok(());
    }
    let shown = |bytes: u64| Quantity::new(bytes as f64, Unit::Byte).to_string();
    let parts = [
        ("weights", needed.weights),
        ("keys and values", needed.cache),
        ("activations", needed.activations),
        ("training", needed.training),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(_, bytes)| *bytes > 0).map(|(name, bytes)| format!("{name} {}", shown(*bytes))).collect();
    Err(Stop::Skipped {
        reason: format!(
            "needs about {} of memory ({}) and {} beside it; {} are free: choose a smaller model, precision, batch or depth",
            shown(needed.total),
            parts.join(", "),
            shown(margin(needed.total)),
            shown(free)
        ),
        estimate_s: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        stats::Summary,
        workload::{Inference, Location, ModelRef, ModelShape, Origin, Precision},
    };

    fn inference(phase: InferencePhase) -> Workload {
        let shape = ModelShape::MISTRAL_7B;
        let weight_bytes = 2 * shape.parameters();
        let model = ModelRef {
            name: "mistral-7b".into(),
            origin: Origin::Synthetic,
            precision: Precision::F16,
            shape,
            weight_bytes,
            token_bytes: weight_bytes - 2 * shape.embedding_elements(),
            location: Location::default(),
        };
        Workload::Inference(Inference { model, phase, batch: 1 })
    }

    #[test]
    fn what_does_not_fit_is_skipped_with_the_numbers() {
        let decode = inference(InferencePhase::Decode { tokens: 128, depth: 0 });
        let needed = estimate::memory(&decode, Place::Cuda).unwrap();
        assert!(fits(&needed, 16_000_000_000).is_ok());
        let Err(Stop::Skipped { reason, .. }) = fits(&needed, 8_000_000_000) else { panic!("it fits") };
        assert!(reason.contains("weights 14.48 GB") && reason.contains("8.000 GB are free"), "{reason}");
    }

    #[test]
    fn a_hopeless_time_is_skipped_and_learned_rates_count() {
        let decode = inference(InferencePhase::Decode { tokens: 128, depth: 0 });
        let slow = Rates { bytes: 1e9, flops: 1e9 };
        let stop = check(&Candle::Cpu, &decode, 1 << 40, &slow, 8.0).unwrap_err();
        assert!(matches!(stop, Stop::Skipped { estimate_s: Some(seconds), .. } if seconds > 1500.0), "{stop:?}");
        let mut rates = slow;
        let headline = Measurement {
            summary: Summary::of(&[100.0]).unwrap(),
            ..Measurement::single("decode", Unit::TokenPerSecond, 100.0, 1.28).unwrap()
        };
        rates.learn(&decode, Some(&headline));
        assert!((rates.pass_s(&decode) - 1.28).abs() < 1e-9);
        assert!(check(&Candle::Cpu, &decode, 1 << 40, &rates, 8.0).is_ok());
    }
}
