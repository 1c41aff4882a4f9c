//! Gradients of norms, gates and softmax, and the loss, each in one pass over its data.

use candle_core::{
    CpuStorage, CustomOp2, CustomOp3, Error, InplaceOp2, InplaceOp3, Layout, Result, Shape, WithDType as _, bail,
};
use half::f16;

use super::{
    Element, contiguous, rows_each, rows_of, share,
    simd::{self, Kernel},
    softmax::exp_less,
};

/// dx of a norm from x, dy (both m × n) and the scale w, as a [`CustomOp3`] in this order.
pub(in super::super) struct NormBackward {
    /// Added to the mean square.
    pub(in super::super) eps: f32,
}

impl CustomOp3 for NormBackward {
    fn name(&self) -> &'static str {
        "rms-norm-backward"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        dy: &CpuStorage,
        dy_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, columns) = rows_of(x_layout)?;
        if dy_layout.dims() != x_layout.dims() || w_layout.dims() != [columns] {
            bail!("norm of {:?} from {:?}", x_layout.dims(), dy_layout.dims());
        }
        let (x, dy, w) = ((x, x_layout), (dy, dy_layout), (w, w_layout));
        let out = match x.0 {
            CpuStorage::F32(_) => f32::to_cpu_storage_owned(self.forward(slice::<f32>(x)?, slice(dy)?, slice(w)?)),
            CpuStorage::F16(_) => f16::to_cpu_storage_owned(self.forward(slice::<f16>(x)?, slice(dy)?, slice(w)?)),
            _ => bail!("norms on the processor are of f32 or f16"),
        };
        Ok((out, x.1.shape().clone()))
    }
}

fn slice<'a, T: Element>((storage, layout): (&'a CpuStorage, &Layout)) -> Result<&'a [T]> {
    contiguous::<T>(storage, layout)
}

impl NormBackward {
    fn forward<T: Element>(&self, x: &[T], dy: &[T], w: &[T]) -> Vec<T> {
        let mut weight = vec![0.0; w.len()];
        T::widen(w, &mut weight);
        let mut out = vec![T::zero(); x.len()];
        let each = rows_each(x.len() / w.len().max(1)) * w.len().max(1);
        let items: Vec<_> = x.chunks(each).zip(dy.chunks(each)).zip(out.chunks_mut(each)).collect();
        share(items, x.len(), |((x, dy), out)| simd::run(NormRows { x, dy, out, weight: &weight, eps: self.eps }));
        out
    }
}

struct NormRows<'a, T> {
    x: &'a [T],
    dy: &'a [T],
    out: &'a mut [T],
    weight: &'a [f32],
    eps: f32,
}

impl<T: Element> Kernel for NormRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let n = self.weight.len();
        let (mut row, mut g) = (vec![0.0_f32; n], vec![0.0_f32; n]);
        for ((x, dy), out) in self.x.chunks(n).zip(self.dy.chunks(n)).zip(self.out.chunks_mut(n)) {
            T::widen(x, &mut row);
            T::widen(dy, &mut g);
            for (g, w) in g.iter_mut().zip(self.weight) {
                *g *= w;
            }
            let r = 1.0 / (simd::dot::<FUSED>(&row, &row) / n as f32 + self.eps).sqrt();
            let along = r * r * simd::dot::<FUSED>(&row, &g) / n as f32;
            for (g, x) in g.iter_mut().zip(&row) {
                *g = r * simd::madd::<FUSED>(-along, *x, *g);
            }
            T::narrow(&g, out);
        }
    }
}

/// The gradient of rows of gates and ups (m × 2n) from that of their product (m × n), as a [`CustomOp2`] of both.
pub(in super::super) struct SwiGluBackward;

impl CustomOp2 for SwiGluBackward {
    fn name(&self) -> &'static str {
        "swiglu-backward"
    }

    fn cpu_fwd(
        &self,
        gate_up: &CpuStorage,
        layout: &Layout,
        dy: &CpuStorage,
        dy_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, columns) = rows_of(layout)?;
        if dy_layout.dims() != [rows, columns / 2] {
            bail!("gates of {:?} from {:?}", layout.dims(), dy_layout.dims());
        }
        let (gate_up, dy) = ((gate_up, layout), (dy, dy_layout));
        let out = match gate_up.0 {
            CpuStorage::F32(_) => f32::to_cpu_storage_owned(gates(slice::<f32>(gate_up)?, slice(dy)?, columns)),
            CpuStorage::F16(_) => f16::to_cpu_storage_owned(gates(slice::<f16>(gate_up)?, slice(dy)?, columns)),
            _ => bail!("gates on the processor are of f32 or f16"),
        };
        Ok((out, layout.shape().clone()))
    }
}

fn gates<T: Element>(gate_up: &[T], dy: &[T], columns: usize) -> Vec<T> {
    let n = (columns / 2).max(1);
    let mut out = vec![T::zero(); gate_up.len()];
    let each = rows_each(gate_up.len() / (2 * n));
    let chunks = gate_up.chunks(each * 2 * n).zip(dy.chunks(each * n)).zip(out.chunks_mut(each * 2 * n));
    let items: Vec<_> = chunks.map(|((gate_up, dy), out)| GateRows { gate_up, dy, out, n }).collect();
    share(items, gate_up.len(), simd::run);
    out
}

struct GateRows<'a, T> {
    gate_up: &'a [T],
    dy: &'a [T],
    out: &'a mut [T],
    n: usize,
}

impl<T: Element> Kernel for GateRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let n = self.n;
        let (mut both, mut wide) = (vec![0.0_f32; 2 * n], vec![0.0_f32; n]);
        let rows = self.gate_up.chunks(2 * n).zip(self.dy.chunks(n)).zip(self.out.chunks_mut(2 * n));
        for ((gate_up, dy), out) in rows {
            T::widen(gate_up, &mut both);
            T::widen(dy, &mut wide);
            let Some((gate, up)) = both.split_at_mut_checked(n) else { continue };
            for ((gate, up), dy) in gate.iter_mut().zip(up).zip(&wide) {
                let s = 1.0 / (1.0 + simd::exp::<FUSED>(-*gate));
                let silu = *gate * s;
                *gate = dy * *up * simd::madd::<FUSED>(silu, 1.0 - s, s);
                *up = dy * silu;
            }
            T::narrow(&both, out);
        }
    }
}

/// Turns dp into the gradient of the scores, in place: scale·p·(dp − Σ p·dp) over the last dimension. An [`InplaceOp2`] of
/// dp and p, both f32.
pub(in super::super) struct SoftmaxBackward {
    /// What multiplied the scores.
    pub(in super::super) scale: f32,
}

impl InplaceOp2 for SoftmaxBackward {
    fn name(&self) -> &'static str {
        "softmax-backward"
    }

    fn cpu_fwd(&self, dp: &mut CpuStorage, layout: &Layout, p: &CpuStorage, p_layout: &Layout) -> Result<()> {
        let columns = layout.dims().last().copied().unwrap_or(1).max(1);
        let p = contiguous::<f32>(p, p_layout)?;
        let CpuStorage::F32(dp) = dp else { bail!("scores are f32 on the processor") };
        let dp = contiguous_mut(dp, layout)?;
        let each = rows_each(dp.len() / columns) * columns;
        let elements = dp.len();
        let items: Vec<_> = dp.chunks_mut(each).zip(p.chunks(each)).collect();
        share(items, elements, |(dp, p)| simd::run(SoftmaxRows { dp, p, columns, scale: self.scale }));
        Ok(())
    }
}

fn contiguous_mut<'a, T>(all: &'a mut [T], layout: &Layout) -> Result<&'a mut [T]> {
    let range = layout.contiguous_offsets().map(|(start, end)| start..end);
    range.and_then(|range| all.get_mut(range)).ok_or_else(|| Error::Msg("a tensor is not contiguous".to_owned()))
}

struct SoftmaxRows<'a> {
    dp: &'a mut [f32],
    p: &'a [f32],
    columns: usize,
    scale: f32,
}

impl Kernel for SoftmaxRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for (dp, p) in self.dp.chunks_mut(self.columns).zip(self.p.chunks(self.columns)) {
            let sum = simd::dot::<FUSED>(dp, p);
            for (dp, p) in dp.iter_mut().zip(p) {
                *dp = self.scale * p * (*dp - sum);
            }
        }
    }
}

/// For rows of logits (m × n) and targets (m, u32): −log softmax\[target\], and the logarithm of the sum of exponentials:
/// m × 2, f32. A [`CustomOp2`].
pub(in super::super) struct CrossEntropy;

impl CustomOp2 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        layout: &Layout,
        targets: &CpuStorage,
        targets_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, columns) = rows_of(layout)?;
        let targets = contiguous::<u32>(targets, targets_layout)?;
        if targets.len() != rows || targets.iter().any(|target| *target as usize >= columns) {
            bail!("{rows} rows of {columns} logits can't have these {} targets", targets.len());
        }
        let logits = (logits, layout);
        let out = match logits.0 {
            CpuStorage::F32(_) => entropies(slice::<f32>(logits)?, targets, columns),
            CpuStorage::F16(_) => entropies(slice::<f16>(logits)?, targets, columns),
            _ => bail!("logits on the processor are of f32 or f16"),
        };
        Ok((CpuStorage::F32(out), Shape::from((rows, 2))))
    }
}

fn entropies<T: Element>(logits: &[T], targets: &[u32], columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; 2 * targets.len()];
    let each = rows_each(targets.len());
    let chunks = logits.chunks(each * columns).zip(targets.chunks(each)).zip(out.chunks_mut(2 * each));
    let items: Vec<_> = chunks.map(|((logits, targets), out)| LossRows { logits, targets, out, columns }).collect();
    share(items, logits.len(), simd::run);
    out
}

struct LossRows<'a, T> {
    logits: &'a [T],
    targets: &'a [u32],
    out: &'a mut [f32],
    columns: usize,
}

impl<T: Element> Kernel for LossRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let mut row = vec![0.0_f32; self.columns];
        let rows = self.logits.chunks(self.columns).zip(self.targets).zip(self.out.chunks_mut(2));
        for ((logits, target), out) in rows {
            T::widen(logits, &mut row);
            let right = row.get(*target as usize).copied().unwrap_or(f32::NAN);
            let max = simd::max(&row);
            let whole = max + exp_less::<FUSED>(&mut row, 1.0, max).ln();
            for (out, value) in out.iter_mut().zip([whole - right, whole]) {
                *out = value;
            }
        }
    }
}

/// Turns logits (m × n) into their gradient, in place. An [`InplaceOp3`] with the targets (m, u32), and for each row the
/// logarithm of its sum of exponentials and what the gradient is multiplied by (m × 2, f32).
pub(in super::super) struct CrossEntropyBackward;

impl InplaceOp3 for CrossEntropyBackward {
    fn name(&self) -> &'static str {
        "cross-entropy-backward"
    }

    fn cpu_fwd(
        &self,
        logits: &mut CpuStorage,
        layout: &Layout,
        targets: &CpuStorage,
        targets_layout: &Layout,
        rows: &CpuStorage,
        rows_layout: &Layout,
    ) -> Result<()> {
        let (_, columns) = rows_of(layout)?;
        let (targets, rows) = (contiguous::<u32>(targets, targets_layout)?, contiguous::<f32>(rows, rows_layout)?);
        match logits {
            CpuStorage::F32(logits) => entropy_gradients(contiguous_mut(logits, layout)?, targets, rows, columns),
            CpuStorage::F16(logits) => entropy_gradients(contiguous_mut(logits, layout)?, targets, rows, columns),
            _ => bail!("logits on the processor are of f32 or f16"),
        }
        Ok(())
    }
}

fn entropy_gradients<T: Element>(logits: &mut [T], targets: &[u32], rows: &[f32], columns: usize) {
    let each = rows_each(targets.len());
    let elements = logits.len();
    let chunks = logits.chunks_mut(each * columns).zip(targets.chunks(each)).zip(rows.chunks(2 * each));
    let items: Vec<_> =
        chunks.map(|((logits, targets), rows)| GradientRows { logits, targets, rows, columns }).collect();
    share(items, elements, simd::run);
}

struct GradientRows<'a, T> {
    logits: &'a mut [T],
    targets: &'a [u32],
    rows: &'a [f32],
    columns: usize,
}

impl<T: Element> Kernel for GradientRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let mut row = vec![0.0_f32; self.columns];
        let rows = self.logits.chunks_mut(self.columns).zip(self.targets).zip(self.rows.chunks(2));
        for ((logits, target), numbers) in rows {
            let [whole, factor] = *numbers else { continue };
            T::widen(logits, &mut row);
            for logit in &mut row {
                *logit = factor * simd::exp::<FUSED>(*logit - whole);
            }
            if let Some(right) = row.get_mut(*target as usize) {
                *right -= factor;
            }
            T::narrow(&row, logits);
        }
    }
}
