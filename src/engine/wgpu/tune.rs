//! Chooses the fastest GEMM kernel on the problem at hand, and remembers what it measured.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    gemm::Problem,
    gpu::Gpu,
    kernels::{GEMM_VARIANTS, GemmVariant, MultiplyUnit, gemm_fingerprint},
    work::Work,
};
use crate::{
    measure::{Context, Stop, afford},
    units::{Quantity, Unit},
    workload::{Dtype, Gemm},
};

/// How often the first variant is measured for nothing, 0.1 s each, to bring the device's clock up.
const WARM_UPS: u32 = 2;

/// Products up to this have too few large tiles to occupy a large GPU.
const SMALL_SIDE: u32 = 1024;

/// FLOP/s by variant; 0 for one that can't be built or gives wrong results.
type Rates = BTreeMap<String, f64>;

/// What was measured on this and earlier days, by device, driver, kernels, dtype and size class.
#[derive(Debug, Default)]
pub(super) struct TuningCache {
    file: Option<PathBuf>,
    entries: BTreeMap<String, Rates>,
}

/// The file's content.
#[derive(Debug, Default, Serialize, Deserialize)]
struct CacheFile {
    format_version: u32,
    entries: BTreeMap<String, Rates>,
}

const FORMAT_VERSION: u32 = 1;

impl TuningCache {
    /// The cache in `folder`. What can't be read is as good as nothing, and is written over.
    pub(super) fn open(folder: Option<PathBuf>) -> Self {
        let file = folder.map(|folder| folder.join("wgpu-tuning.json"));
        let bytes = file.as_ref().and_then(|file| std::fs::read(file).ok());
        let known = bytes.and_then(|bytes| serde_json::from_slice::<CacheFile>(&bytes).ok());
        let entries = known.filter(|known| known.format_version == FORMAT_VERSION).unwrap_or_default().entries;
        Self { file, entries }
    }

    fn rates(&self, key: &str) -> Rates {
        let mut rates = self.entries.get(key).cloned().unwrap_or_default();
        rates.retain(|_, rate| rate.is_finite() && *rate >= 0.0);
        rates
    }

    /// Keeps the rates in memory, and on disk where there is a folder.
    fn keep(&mut self, key: &str, rates: Rates) -> std::io::Result<()> {
        self.entries.insert(key.to_owned(), rates);
        let Some((file, folder)) = self.file.as_ref().and_then(|file| Some((file, file.parent()?))) else {
            return Ok(());
        };
        std::fs::create_dir_all(folder)?;
        let content = CacheFile { format_version: FORMAT_VERSION, entries: self.entries.clone() };
        let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut temporary, &content)?;
        temporary.flush()?;
        temporary.persist(file)?;
        Ok(())
    }
}

/// What tuning decided.
pub(super) struct Choice {
    pub(super) variant: &'static GemmVariant,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) notes: Vec<String>,
}

/// The fastest variant for this problem: from the cache as far as it goes, the rest measured now within a fifth of the
/// time left. What was not measured is made up for next time.
pub(super) fn choose(
    gpu: &Gpu,
    cache: &mut TuningCache,
    context: &mut Context,
    problem: &Problem,
) -> Result<Choice, Stop> {
    let key = key(gpu, &problem.gemm);
    let mut rates = cache.rates(&key);
    let candidates = candidates(gpu, &problem.gemm);
    let mut missing: Vec<_> = candidates.iter().filter(|variant| !rates.contains_key(variant.name)).copied().collect();
    let mut notes = Vec::new();
    let budget = context.remaining() / 5;
    let start = Instant::now();
    let measured_now = !missing.is_empty();
    if let Some(first) = missing.first().filter(|_| !gpu.software()) {
        // Untimed: a device that was idle runs its first heavy kernels at a third of the rate.
        for _ in 0..WARM_UPS {
            measure(gpu, context, problem, first, budget)?;
        }
    }
    while let Some(variant) = missing.first().copied() {
        // One usable result is needed, however slow the device is.
        if start.elapsed() > budget && rates.values().any(|rate| *rate > 0.0) {
            break;
        }
        rates.insert(variant.name.to_owned(), measure(gpu, context, problem, variant, budget)?);
        missing.remove(0);
    }
    if measured_now {
        second_look(gpu, context, problem, &mut rates, budget)?;
    }
    if !missing.is_empty() {
        notes.push(format!(
            "time allowed trying {} of {} kernels; the others are tried next time",
            candidates.len() - missing.len(),
            candidates.len()
        ));
    }
    if measured_now && let Err(error) = cache.keep(&key, rates.clone()) {
        notes.push(format!("the tuning result could not be kept for next time: {error}"));
    }
    let rate = |variant: &&GemmVariant| rates.get(variant.name).copied().unwrap_or(0.0);
    let best = candidates.into_iter().max_by(|a, b| rate(a).total_cmp(&rate(b))).filter(|best| rate(best) > 0.0);
    let variant = best.ok_or_else(|| Stop::Failed("no kernel gives a right result on this device".to_owned()))?;
    let text = |rate: f64| {
        let unusable = || "not usable: not built, or a wrong result".to_owned();
        if rate > 0.0 { Quantity::new(rate, Unit::FlopPerSecond).to_string() } else { unusable() }
    };
    let settings = rates.iter().map(|(name, rate)| (format!("tuned {name}"), text(*rate))).collect();
    Ok(Choice { variant, settings, notes })
}

/// The variants that can run, likely winners first, since time may allow only a few: for a small product those with small
/// tiles, which occupy more cores.
fn candidates(gpu: &Gpu, gemm: &Gemm) -> Vec<&'static GemmVariant> {
    let software = gpu.software();
    let fit = |variant: &&GemmVariant| runs(gpu, variant, gemm.dtype) && (variant.software || !software);
    let mut list: Vec<&'static GemmVariant> = GEMM_VARIANTS.iter().filter(fit).collect();
    if gemm.m.max(gemm.n) <= SMALL_SIDE && !software {
        list.sort_by_key(|variant| (variant.unit == MultiplyUnit::Simt, variant.stages == 0, variant.bm * variant.bn));
    }
    list
}

/// Measures the best two once more: the first ones tried ran before the device's clock was up, and the winner is kept.
fn second_look(
    gpu: &Gpu,
    context: &Context,
    problem: &Problem,
    rates: &mut Rates,
    budget: Duration,
) -> Result<(), Stop> {
    let mut order: Vec<_> =
        GEMM_VARIANTS.iter().filter_map(|variant| Some((variant, *rates.get(variant.name)?))).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (variant, before) in order.into_iter().take(2).filter(|(_, rate)| *rate > 0.0) {
        let cost_s = 4.0 * problem.gemm.flops() / before;
        if cost_s < budget.as_secs_f64() {
            let again = measure(gpu, context, problem, variant, budget)?;
            rates.insert(variant.name.to_owned(), again);
        }
    }
    Ok(())
}

/// Remembers that a variant gave a wrong result, so that the next time another one is chosen.
pub(super) fn reject(gpu: &Gpu, cache: &mut TuningCache, gemm: &Gemm, variant: &GemmVariant) {
    let key = key(gpu, gemm);
    let mut rates = cache.rates(&key);
    rates.insert(variant.name.to_owned(), 0.0);
    // Where it can't be written, the session remembers it; the failure itself is told.
    cache.keep(&key, rates).ok();
}

/// Whether the device has what this variant needs.
pub(super) fn runs(gpu: &Gpu, variant: &GemmVariant, dtype: Dtype) -> bool {
    let limits = &gpu.limits;
    let unit = match variant.unit {
        MultiplyUnit::Simt => true,
        MultiplyUnit::Coop8 => gpu.has_matrix_unit(8, dtype),
        // Its shaders are SPIR-V's alone.
        MultiplyUnit::Coop16 => gpu.info.backend == wgpu::Backend::Vulkan && gpu.has_matrix_unit(16, dtype),
    };
    unit && (dtype == Dtype::F16 || variant.has_f32())
        && variant.workgroup_bytes(dtype == Dtype::F16) <= limits.max_compute_workgroup_storage_size
        && variant.threads() <= limits.max_compute_invocations_per_workgroup
        && variant.threads() <= limits.max_compute_workgroup_size_x
}

/// Results are comparable within a class: small products leave cores idle with large tiles.
fn key(gpu: &Gpu, gemm: &Gemm) -> String {
    let class = match gemm.m.max(gemm.n) {
        0..=512 => "tiny",
        513..=1024 => "small",
        1025..=2048 => "medium",
        _ => "large",
    };
    let info = &gpu.info;
    let (version, kernels) = (env!("CARGO_PKG_VERSION"), gemm_fingerprint());
    let device = format!("{} | {} | {}", info.name, info.driver, info.driver_info);
    format!("{device} | roofline {version} {kernels:016x} | {} {class}", gemm.dtype)
}

/// The rate of one variant: the best of a few runs of about 30 ms, so many that the clock is up again after the pause in
/// which the kernel was built. A processor has no such pause.
fn measure(
    gpu: &Gpu,
    context: &Context,
    problem: &Problem,
    variant: &GemmVariant,
    budget: Duration,
) -> Result<f64, Stop> {
    const RUN_S: f64 = 0.03;
    /// Longer products are checked only after sampling.
    const CHECK_S: f64 = 0.25;
    let mut work = match problem.work(gpu, variant) {
        Ok(work) => work,
        // A driver that can't build one kernel may well build another.
        Err(Stop::Failed(_)) => return Ok(0.0),
        Err(other) => return Err(other),
    };
    let seconds = work.probe(gpu, context)?;
    if seconds > budget.as_secs_f64() {
        // The product itself is hopeless or nearly so; a rate from the probe is enough to compare kernels.
        afford(context, seconds)?;
    }
    let whole = seconds <= RUN_S;
    if seconds <= CHECK_S && !is_right(gpu, context, problem, &work)? {
        return Ok(0.0);
    }
    let mut best = seconds;
    for _ in 0..if gpu.software() { 3 } else { 8 } {
        let time = if whole {
            let iterations = (RUN_S / seconds.max(1e-7)).clamp(1.0, 4096.0) as u32;
            work.batch(gpu, context, iterations)?.best().1 / f64::from(iterations)
        } else {
            let groups = ((RUN_S / seconds) * f64::from(work.groups())).clamp(1.0, f64::from(work.groups())) as u32;
            work.part(gpu, context, groups)?.best().1 * f64::from(work.groups()) / f64::from(groups)
        };
        best = best.min(time);
    }
    Ok(problem.gemm.flops() / best)
}

/// Whether a product by this kernel is right.
fn is_right(gpu: &Gpu, context: &Context, problem: &Problem, work: &Work) -> Result<bool, Stop> {
    problem.poison(gpu, context)?;
    work.batch(gpu, context, 1)?;
    Ok(problem.check(gpu, context)?.passed())
}
