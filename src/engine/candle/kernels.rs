//! Single kernels in candle: matrix products, and the attention of the model's own passes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use candle_core::{DType, Device as Candle, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use super::{aside, compute, fit};
use crate::{
    measure::{BatchTime, Check, Context, Phase, Policy, Rate, Report, Stop, afford, sample},
    model::ops::{self, Span},
    units::Unit,
    workload::{Attention, Dtype, Gemm, Layout, random},
};

/// A call that takes longer is made in pieces, so that it can be cancelled between them.
const CALL_S: f64 = 0.2;
/// FLOPs of the piece that tells how long all of it will take.
const PROBE_FLOPS: f64 = 2e9;

/// Measures one product.
pub(super) fn gemm(device: &Candle, gemm: Gemm, context: &mut Context) -> Result<Report, Stop> {
    let reduced = reduced(device, gemm.dtype)?;
    device.with_context(|| {
        context.phase(Phase::Preparing)?;
        fit::bytes(device, gemm.bytes() as u64 + gemm.largest_operand_bytes())?;
        let [m, n, k] = [gemm.m, gemm.n, gemm.k].map(|side| side as usize);
        let stored = if gemm.layout == Layout::Ab { [k, n] } else { [n, k] };
        let left = filled(device, gemm.dtype, Gemm::SEED_A, &[m, k], context)?;
        let right = filled(device, gemm.dtype, Gemm::SEED_B, &stored, context)?;
        let right = if gemm.layout == Layout::Ab { right } else { right.t().map_err(compute)? };
        let mut product = Product { a: left, b: right, panel: m, out: Vec::new() };
        afford(context, product.fit(&gemm, context)?)?;
        let rate = Rate { metric: "throughput", unit: Unit::FlopPerSecond, amount: gemm.flops() };
        let measurement =
            sample(context, &Policy::default(), rate, |context, iterations| product.batch(context, iterations))?;
        context.phase(Phase::Checking)?;
        let check = product.check(&gemm, context)?;
        check.require()?;
        let mut notes = vec!["Each product allocates its result, as candle's matmul does.".to_owned()];
        if gemm.dtype == Dtype::Bf16 && device.is_cpu() {
            notes.push("On the processor candle widens bf16 operands to f32 in every product.".to_owned());
        }
        let mut settings = settings(device);
        settings.insert("layout".to_owned(), gemm.layout.title().to_owned());
        if product.panel < m {
            settings.insert("rows of A a call".to_owned(), product.panel.to_string());
        }
        Ok(Report {
            measurements: vec![measurement],
            check: Some(check),
            precision: Some(precision(gemm.dtype, reduced.is_some())),
            variant: Some(library(device).to_owned()),
            settings,
            notes,
            ..Report::default()
        })
    })
}

/// A product whose operands lie on the device.
struct Product {
    a: Tensor,
    b: Tensor,
    /// Rows of A that one call takes.
    panel: usize,
    /// What the last one gave, panel by panel.
    out: Vec<Tensor>,
}

impl Product {
    /// Finds how long one takes, in seconds, from a part of its rows; and how many rows a call may take.
    fn fit(&mut self, gemm: &Gemm, context: &Context) -> Result<f64, Stop> {
        let rows = (f64::from(gemm.m) * PROBE_FLOPS / gemm.flops()).ceil().clamp(1.0, f64::from(gemm.m)) as usize;
        let part =
            Self { a: self.a.narrow(0, 0, rows).map_err(compute)?, b: self.b.clone(), panel: rows, out: Vec::new() };
        let part_s = probed(part, context, |part, context| Ok(part.batch(context, 1)?.host_s))?;
        let rows_a_second = rows as f64 / part_s;
        let all_s = f64::from(gemm.m) / rows_a_second;
        if all_s > 2.0 * CALL_S {
            self.panel = ((rows_a_second * CALL_S) as usize).next_multiple_of(64).min(gemm.m as usize);
        }
        Ok(all_s)
    }

    fn batch(&mut self, context: &Context, iterations: u32) -> Result<BatchTime, Stop> {
        let device = self.a.device().clone();
        let (m, _) = self.a.dims2().map_err(compute)?;
        device.synchronize().map_err(compute)?;
        let start = Instant::now();
        for _ in 0..iterations {
            self.out.clear();
            for first in (0..m).step_by(self.panel.max(1)) {
                context.check()?;
                let rows = self.panel.min(m - first);
                let a = if rows == m { self.a.clone() } else { self.a.narrow(0, first, rows).map_err(compute)? };
                self.out.push(a.matmul(&self.b).map_err(compute)?);
                if rows < m {
                    // What is queued can't be taken back.
                    device.synchronize().map_err(compute)?;
                }
            }
        }
        device.synchronize().map_err(compute)?;
        Ok(BatchTime { host_s: start.elapsed().as_secs_f64(), device_s: None })
    }

    /// Compares elements of the last result with their f64 sums, and looks through all of it for what is no number.
    fn check(&self, gemm: &Gemm, context: &Context) -> Result<Check, Stop> {
        const SEED: u32 = 0x6e5f_0a1d;
        /// Terms that the host may sum.
        const TERMS: u32 = 1 << 20;
        let (n, count) = (u64::from(gemm.n), (TERMS / gemm.k.max(1)).clamp(64, 512));
        let places = random::spots(u64::from(gemm.m) * n, count, SEED);
        let panel_elements = self.panel as u64 * n;
        let place = |index: u64| ((index / panel_elements) as usize, index % panel_elements);
        let expected = |index: u64| gemm.expected((index / n) as u32, (index % n) as u32);
        checked(&self.out, &places, place, expected, gemm.tolerance(), context)
    }
}

/// Measures the attention of the model's passes, its queries in pieces as there.
pub(super) fn attention(device: &Candle, attention: Attention, context: &mut Context) -> Result<Report, Stop> {
    if !attention.causal {
        let reason = "the attention of Roofline's model is causal; candle has no fused one without a mask here";
        return Err(Stop::Unsupported(reason.to_owned()));
    }
    if !attention.is_sound() {
        return Err(Stop::Unsupported("the heads don't share the key heads evenly, or there are none".to_owned()));
    }
    let reduced = reduced(device, attention.dtype)?;
    device.with_context(|| {
        context.phase(Phase::Preparing)?;
        let mut pass = Pass::new(device, &attention, context)?;
        afford(context, pass.seconds(context)?)?;
        let rate = Rate { metric: "throughput", unit: Unit::FlopPerSecond, amount: attention.flops() };
        let measurement =
            sample(context, &Policy::default(), rate, |context, iterations| pass.batch(context, iterations))?;
        context.phase(Phase::Checking)?;
        let check = pass.check(&attention, context)?;
        check.require()?;
        let mut settings = settings(device);
        settings.insert("queries a call".to_owned(), pass.chunk.to_string());
        let precision = match device {
            Candle::Cpu => format!("{} operands widened to f32, f32 accumulation", attention.dtype),
            _ => precision(attention.dtype, reduced.is_some()),
        };
        let variant = match device {
            Candle::Cpu => "candle's products, Roofline's softmax",
            Candle::Metal(_) => "candle's fused attention on Metal",
            Candle::Cuda(_) => "cuBLAS products, Roofline's CUDA softmax",
        };
        Ok(Report {
            measurements: vec![measurement],
            check: Some(check),
            precision: Some(precision),
            variant: Some(variant.to_owned()),
            settings,
            notes: vec![
                "The attention of the model's own passes, which allocates what lies between its steps.".to_owned(),
            ],
            ..Report::default()
        })
    })
}

/// One pass of attention over all queries.
struct Pass {
    /// The queries, a chunk of positions each.
    queries: Vec<Tensor>,
    keys: Tensor,
    values: Tensor,
    /// Positions of a chunk; the last may have fewer.
    chunk: usize,
    /// What the last pass gave, chunk by chunk: batch·t × heads·d.
    out: Vec<Tensor>,
}

impl Pass {
    fn new(device: &Candle, attention: &Attention, context: &Context) -> Result<Self, Stop> {
        let Attention { dtype, .. } = *attention;
        let [batch, heads, kv_heads, sequence, dim] =
            [attention.batch, attention.heads, attention.kv_heads, attention.sequence, attention.head_dim]
                .map(|side| side as usize);
        let chunk = ops::chunk(device).min(sequence);
        // The scores of a chunk, twice, in the type that they are computed in.
        let score_bytes = if device.is_cpu() { 4 } else { dtype.size() };
        let scores = 2 * (batch * heads * chunk * sequence) as u64 * score_bytes;
        fit::bytes(device, attention.bytes() as u64 + scores)?;
        let [q, k, v] = Attention::SEEDS;
        let queries = filled(device, dtype, q, &[batch, heads, sequence, dim], context)?;
        let part =
            |first: usize| queries.narrow(2, first, chunk.min(sequence - first)).and_then(|part| part.contiguous());
        Ok(Self {
            queries: (0..sequence).step_by(chunk).map(part).collect::<candle_core::Result<_>>().map_err(compute)?,
            keys: filled(device, dtype, k, &[batch, kv_heads, sequence, dim], context)?,
            values: filled(device, dtype, v, &[batch, kv_heads, sequence, dim], context)?,
            chunk,
            out: Vec::new(),
        })
    }

    /// How long a pass takes, from its middle chunk.
    fn seconds(&self, context: &Context) -> Result<f64, Stop> {
        let (count, middle) = (self.queries.len(), self.queries.len() / 2);
        let queries = self.queries.get(middle).cloned().into_iter().collect();
        let part =
            Self { queries, keys: self.keys.clone(), values: self.values.clone(), chunk: self.chunk, out: Vec::new() };
        let seconds = probed(part, context, |part, context| {
            let start = Instant::now();
            part.one(context, middle * part.chunk)?;
            part.keys.device().synchronize().map_err(compute)?;
            Ok(start.elapsed().as_secs_f64())
        })?;
        Ok(seconds * count as f64)
    }

    /// All chunks, the first of which stands at position `first`.
    fn one(&mut self, context: &Context, first: usize) -> Result<(), Stop> {
        self.out.clear();
        for (index, queries) in self.queries.iter().enumerate() {
            context.check()?;
            let t = queries.dim(2).map_err(compute)?;
            let span = Span::new(first + index * self.chunk, t, None);
            self.out.push(ops::attention(queries, &self.keys, &self.values, &span).map_err(compute)?);
        }
        Ok(())
    }

    fn batch(&mut self, context: &Context, iterations: u32) -> Result<BatchTime, Stop> {
        let device = self.keys.device().clone();
        device.synchronize().map_err(compute)?;
        let start = Instant::now();
        let mut synchronised = start;
        for _ in 0..iterations {
            self.one(context, 0)?;
            if synchronised.elapsed() > Duration::from_secs_f64(CALL_S) {
                device.synchronize().map_err(compute)?;
                synchronised = Instant::now();
            }
        }
        device.synchronize().map_err(compute)?;
        Ok(BatchTime { host_s: start.elapsed().as_secs_f64(), device_s: None })
    }

    /// Compares elements of the last pass with what the host computes in f64.
    fn check(&self, attention: &Attention, context: &Context) -> Result<Check, Stop> {
        const SEED: u32 = 0x2f83_c0a5;
        /// Products that the host may compute.
        const TERMS: u64 = 1 << 24;
        let [heads, sequence, dim] = [attention.heads, attention.sequence, attention.head_dim].map(u64::from);
        let count = (TERMS / (sequence * dim).max(1)).clamp(32, 256) as u32;
        let places = random::spots(attention.query_elements(), count, SEED);
        let chunk = self.chunk as u64;
        let place = |index: u64| {
            let (column, row) = (index % dim, index / dim);
            let (position, head) = (row % sequence, row / sequence);
            let (batch, head) = (head / heads, head % heads);
            let which = position / chunk;
            let t = chunk.min(sequence - which * chunk);
            (which as usize, ((batch * t + position % chunk) * heads + head) * dim + column)
        };
        checked(&self.out, &places, place, |index| attention.expected(index), attention.tolerance(), context)
    }
}

/// Elements of what was computed against what they must be. `place` says in which part an element lies, and where there.
fn checked(
    parts: &[Tensor],
    places: &[u64],
    place: impl Fn(u64) -> (usize, u64),
    expected: impl Fn(u64) -> f64 + Sync,
    tolerance: f64,
    context: &Context,
) -> Result<Check, Stop> {
    let mut of_part: Vec<Vec<(u32, u64)>> = vec![Vec::new(); parts.len()];
    for index in places {
        let (part, within) = place(*index);
        if let Some(of_part) = of_part.get_mut(part) {
            of_part.push((within as u32, *index));
        }
    }
    let (mut pairs, mut finite) = (Vec::new(), true);
    for (part, of_part) in parts.iter().zip(of_part) {
        let read = |context: &Context| {
            aside(context, |point| {
                point()?;
                let flat = part.flatten_all()?;
                let within: Vec<u32> = of_part.iter().map(|(within, _)| *within).collect();
                let count = within.len();
                let within = Tensor::from_vec(within, count, part.device())?;
                let picked = if count == 0 {
                    Vec::new()
                } else {
                    flat.index_select(&within, 0)?.to_dtype(DType::F32)?.to_vec1::<f32>()?
                };
                // A sum of what is no number is none.
                let sum = flat.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?;
                point()?;
                let wanted: Vec<f64> = of_part.par_iter().map(|(_, index)| expected(*index)).collect();
                Ok((picked, wanted, sum.is_finite()))
            })
        };
        let (picked, wanted, is_finite) = read(context)?;
        finite &= is_finite;
        pairs.extend(picked.into_iter().map(f64::from).zip(wanted));
    }
    Ok(Check::of("f64 results on the host", &pairs, tolerance, finite && pairs.len() == places.len()))
}

/// How long a part takes: the second of two runs, since the first makes things ready.
fn probed<T>(mut part: T, context: &Context, run: impl Fn(&mut T, &Context) -> Result<f64, Stop>) -> Result<f64, Stop> {
    let start = Instant::now();
    run(&mut part, context)?;
    let seconds = run(&mut part, context)?;
    context.spare(start.elapsed());
    Ok(seconds.max(1e-9))
}

/// An array of hashed values on the device, made on all cores of the host.
fn filled(device: &Candle, dtype: Dtype, seed: u32, dims: &[usize], context: &Context) -> Result<Tensor, Stop> {
    /// Elements made between two looks at whether to go on.
    const STRETCH: usize = 1 << 24;
    fn made<T: candle_core::WithDType + Send>(
        length: usize,
        context: &Context,
        value: impl Fn(usize) -> T + Sync,
    ) -> Result<Vec<T>, Stop> {
        let mut values = vec![T::zero(); length];
        for (stretch, out) in values.chunks_mut(STRETCH).enumerate() {
            context.check()?;
            out.par_iter_mut().enumerate().for_each(|(index, out)| *out = value(stretch * STRETCH + index));
        }
        Ok(values)
    }
    let start = Instant::now();
    let length = dims.iter().product();
    let unit = |index: usize| random::unit(dtype, seed, index as u32);
    let tensor = match dtype {
        Dtype::F32 | Dtype::Tf32 => Tensor::from_vec(made(length, context, |at| unit(at) as f32)?, dims, device),
        Dtype::F16 => Tensor::from_vec(made(length, context, |at| f16::from_f64(unit(at)))?, dims, device),
        Dtype::Bf16 => Tensor::from_vec(made(length, context, |at| bf16::from_f64(unit(at)))?, dims, device),
    };
    context.spare(start.elapsed());
    tensor.map_err(compute)
}

/// Lets cuBLAS round f32 operands to TF32 until it is dropped.
struct Reduced;

impl Drop for Reduced {
    fn drop(&mut self) {
        candle_core::cuda::set_gemm_reduced_precision_f32(false);
    }
}

/// Switches TF32 on where it is asked for and there is such a thing.
fn reduced(device: &Candle, dtype: Dtype) -> Result<Option<Reduced>, Stop> {
    match (dtype, device) {
        (Dtype::Tf32, Candle::Cuda(_)) => {
            candle_core::cuda::set_gemm_reduced_precision_f32(true);
            Ok(Some(Reduced))
        }
        (Dtype::Tf32, _) => Err(Stop::Unsupported("TF32 is a mode of NVIDIA's tensor cores; choose f32".to_owned())),
        _ => Ok(None),
    }
}

fn precision(dtype: Dtype, reduced: bool) -> String {
    match dtype {
        Dtype::F32 | Dtype::Tf32 if reduced => "f32 operands rounded to TF32, f32 accumulation, f32 result".to_owned(),
        dtype => format!("{dtype} operands, f32 accumulation, {dtype} result"),
    }
}

const fn library(device: &Candle) -> &'static str {
    match device {
        Candle::Cpu => "candle's matmul: the gemm crate",
        Candle::Metal(_) => "candle's matmul: MLX's kernels",
        Candle::Cuda(_) => "candle's matmul: cuBLAS",
    }
}

fn settings(device: &Candle) -> BTreeMap<String, String> {
    let threads = device.is_cpu().then(|| ("threads".to_owned(), candle_core::utils::get_num_threads().to_string()));
    threads.into_iter().collect()
}
