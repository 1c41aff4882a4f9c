//! Matrix multiplication: operands on the device, the fastest kernel, samples, and the check of what was timed.

use super::{
    gpu::{Gpu, Use},
    kernels::{GemmVariant, gemm_source},
    matrix::Layout,
    memory,
    tune::{self, TuningCache},
    work::Work,
};
use crate::{
    measure::{Check, Context, Phase, Policy, Rate, Report, Stop, afford, sample},
    units::Unit,
    workload::{Dtype, Gemm, Layout as Arrangement, random},
};

/// What operands are padded to: every variant's tiles divide it (build.rs proves that).
const PAD: u32 = 256;
const PAD_K: u32 = 64;

/// The operands of one product on the device, and what is known of its result.
pub(super) struct Problem {
    pub(super) gemm: Gemm,
    a: (Layout, wgpu::Buffer),
    b: (Layout, wgpu::Buffer),
    pub(super) c: (Layout, wgpu::Buffer),
    spots: Vec<(u32, u32)>,
    expected: Vec<f64>,
}

impl Problem {
    /// Allocates and fills the operands, and poisons the output.
    pub(super) fn new(gpu: &Gpu, context: &Context, gemm: Gemm) -> Result<Self, Stop> {
        if gemm.dtype == Dtype::F16 && !gpu.has_f16() {
            return Err(Stop::Unsupported("the device has no f16 arithmetic in shaders".to_owned()));
        }
        if !Dtype::SHADERS.contains(&gemm.dtype) {
            return Err(Stop::Unsupported(format!("WGSL has no {} arithmetic; choose f32 or f16", gemm.dtype)));
        }
        if gemm.layout != Arrangement::Ab {
            return Err(Stop::Unsupported("Roofline's own shaders multiply A·B alone; choose --layout ab".to_owned()));
        }
        let Gemm { m, n, k, dtype, .. } = gemm;
        let layouts = [
            Layout::matrix(m, k, dtype, (PAD, PAD_K))?,
            Layout::matrix(k, n, dtype, (PAD_K, PAD))?,
            Layout::matrix(m, n, dtype, (PAD, PAD))?,
        ];
        // Limits before memory: what this device can never do is not a matter of closing other programs.
        let largest = layouts.iter().map(Layout::bytes).max().unwrap_or(0);
        if largest <= gpu.limits.max_storage_buffer_binding_size {
            memory::require(gpu, layouts.iter().map(Layout::bytes).sum())?;
        }
        let [a, b, c] = layouts;
        let a = (a, gpu.storage("A", a.bytes())?);
        let b = (b, gpu.storage("B", b.bytes())?);
        let c = (c, gpu.storage("C", c.bytes())?);
        a.0.fill(gpu, context, &a.1, Gemm::SEED_A)?;
        b.0.fill(gpu, context, &b.1, Gemm::SEED_B)?;
        c.0.poison(gpu, context, &c.1)?;
        let spots = spots(&gemm);
        let mut expected = Vec::with_capacity(spots.len());
        for (row, column) in &spots {
            context.check()?;
            expected.push(gemm.expected(*row, *column));
        }
        Ok(Self { gemm, a, b, c, spots, expected })
    }

    /// The product by one kernel. One iteration is the whole product, one workgroup a tile.
    pub(super) fn work(&self, gpu: &Gpu, variant: &GemmVariant) -> Result<Work, Stop> {
        let Gemm { m, n, k, dtype, .. } = self.gemm;
        let kernel = gpu.kernel(&gemm_source(variant, dtype), "main", &[Use::Read, Use::Read, Use::Write])?;
        let (tiles_m, tiles_n) = (m.div_ceil(variant.bm), n.div_ceil(variant.bn));
        let k = k.next_multiple_of(variant.bk);
        let values = [self.a.0.ld_vec4(), self.b.0.ld_vec4(), k, tiles_m, tiles_n, 0, 0, 0];
        Work::new(gpu, kernel, &[&self.a.1, &self.b.1, &self.c.1], values, tiles_m * tiles_n)
    }

    /// Poisons the output again.
    pub(super) fn poison(&self, gpu: &Gpu, context: &Context) -> Result<(), Stop> {
        self.c.0.poison(gpu, context, &self.c.1)
    }

    /// Compares the output with products computed in f64, and looks through all of it for poison.
    pub(super) fn check(&self, gpu: &Gpu, context: &Context) -> Result<Check, Stop> {
        let (layout, buffer) = &self.c;
        let out = layout.read(gpu, context, buffer, &self.spots)?;
        let pairs: Vec<(f64, f64)> = out.into_iter().zip(self.expected.iter().copied()).collect();
        let bad = layout.count_bad(gpu, context, buffer)?;
        Ok(Check::of("f64 dot products on the host", &pairs, self.gemm.tolerance(), bad == 0))
    }
}

/// Which outputs are compared: the corners, and as many others as cost little, at least 64.
fn spots(gemm: &Gemm) -> Vec<(u32, u32)> {
    const SEED: u32 = 0x6e5f_0a1d;
    /// Terms that the host may sum.
    const TERMS: u32 = 1 << 20;
    let Gemm { m, n, k, .. } = *gemm;
    let count = (TERMS / k.max(1)).clamp(64, 512);
    let hashed = random::spots(u64::from(m) * u64::from(n), count, SEED).into_iter();
    let corners = [(0, n.saturating_sub(1)), (m.saturating_sub(1), 0)];
    hashed.map(|spot| ((spot / u64::from(n)) as u32, (spot % u64::from(n)) as u32)).chain(corners).collect()
}

/// Measures one product.
pub(super) fn run(gpu: &Gpu, cache: &mut TuningCache, gemm: Gemm, context: &mut Context) -> Result<Report, Stop> {
    context.phase(Phase::Preparing)?;
    let problem = Problem::new(gpu, context, gemm)?;
    context.phase(Phase::Tuning)?;
    let choice = tune::choose(gpu, cache, context, &problem)?;
    let mut work = problem.work(gpu, choice.variant)?;
    afford(context, work.probe(gpu, context)?)?;
    let rate = Rate { metric: "throughput", unit: Unit::FlopPerSecond, amount: gemm.flops() };
    let measurement = sample(context, &Policy::default(), rate, |context, iterations| {
        // Untimed, and before every batch, so that the check sees what the last one wrote.
        problem.poison(gpu, context)?;
        work.batch(gpu, context, iterations)
    })?;
    context.phase(Phase::Checking)?;
    let check = problem.check(gpu, context)?;
    if !check.passed() {
        tune::reject(gpu, cache, &gemm, choice.variant);
    }
    check.require()?;
    let precision = match gemm.dtype {
        Dtype::F32 => "f32 operands, f32 accumulation, f32 result",
        _ => "f16 operands, f32 accumulation, f16 result",
    };
    Ok(Report {
        measurements: vec![measurement],
        check: Some(check),
        precision: Some(precision.to_owned()),
        variant: Some(choice.variant.name.to_owned()),
        settings: choice.settings,
        notes: choice.notes,
        ..Report::default()
    })
}
