//! RMS norms.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, bail};
use half::f16;

use super::{
    Element, contiguous, rows_each, rows_of, share,
    simd::{self, Kernel},
};

/// x ÷ rms(x) · w for rows x, as a [`CustomOp2`] (x, w); or of x + y, as a [`CustomOp3`] (x, y, w), which gives the sums
/// and below them the norms: 2·m × n.
pub(in super::super) struct Norm {
    /// Added to the mean square.
    pub(in super::super) eps: f32,
}

impl Norm {
    fn forward<T: Element>(&self, x: &[T], y: Option<&[T]>, w: &[T], columns: usize) -> Vec<T> {
        let rows = x.len() / columns;
        let sums = if y.is_some() { x.len() } else { 0 };
        let mut out = vec![T::zero(); sums + x.len()];
        let (sums, normed) = out.split_at_mut(sums);
        let mut weight = vec![0.0; columns];
        T::widen(w, &mut weight);
        let each = rows_each(rows) * columns;
        // Without y there are no sums to write, but the chunks must pair.
        let mut sums = sums.chunks_mut(each);
        let mut ys = y.map(|y| y.chunks(each));
        let items: Vec<_> = x
            .chunks(each)
            .zip(normed.chunks_mut(each))
            .map(|(x, normed)| (x, ys.as_mut().and_then(Iterator::next).zip(sums.next()), normed))
            .collect();
        share(items, x.len(), |(x, plus, normed)| {
            simd::run(Rows { x, plus, normed, weight: &weight, eps: self.eps });
        });
        out
    }

    fn dispatch(&self, x: (&CpuStorage, &Layout), y: Option<(&CpuStorage, &Layout)>, w: (&CpuStorage, &Layout)) -> Out {
        let (rows, columns) = rows_of(x.1)?;
        if w.1.dims() != [columns] || y.is_some_and(|y| y.1.dims() != x.1.dims()) {
            bail!("norm of {:?} with a scale of {:?}", x.1.dims(), w.1.dims());
        }
        let shape = Shape::from(if y.is_some() { (2 * rows, columns) } else { (rows, columns) });
        let storage = match x.0 {
            CpuStorage::F32(_) => self.typed::<f32>(x, y, w, columns)?,
            CpuStorage::F16(_) => self.typed::<f16>(x, y, w, columns)?,
            _ => bail!("norms on the processor are of f32 or f16"),
        };
        Ok((storage, shape))
    }

    fn typed<T: Element>(
        &self,
        x: (&CpuStorage, &Layout),
        y: Option<(&CpuStorage, &Layout)>,
        w: (&CpuStorage, &Layout),
        columns: usize,
    ) -> Result<CpuStorage> {
        let y = y.map(|(storage, layout)| contiguous::<T>(storage, layout)).transpose()?;
        let out = self.forward(contiguous::<T>(x.0, x.1)?, y, contiguous::<T>(w.0, w.1)?, columns);
        Ok(T::to_cpu_storage_owned(out))
    }
}

type Out = Result<(CpuStorage, Shape)>;

impl CustomOp2 for Norm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_layout: &Layout, w: &CpuStorage, w_layout: &Layout) -> Out {
        self.dispatch((x, x_layout), None, (w, w_layout))
    }
}

impl CustomOp3 for Norm {
    fn name(&self) -> &'static str {
        "add-rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Out {
        self.dispatch((x, x_layout), Some((y, y_layout)), (w, w_layout))
    }
}

/// Whole rows.
struct Rows<'a, T> {
    x: &'a [T],
    /// What is added, and where the sum goes.
    plus: Option<(&'a [T], &'a mut [T])>,
    normed: &'a mut [T],
    weight: &'a [f32],
    eps: f32,
}

impl<T: Element> Kernel for Rows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let n = self.weight.len();
        let (mut row, mut other) = (vec![0.0_f32; n], vec![0.0_f32; n]);
        let mut plus = self.plus.map(|(y, sum)| y.chunks(n).zip(sum.chunks_mut(n)));
        for (x, normed) in self.x.chunks(n).zip(self.normed.chunks_mut(n)) {
            T::widen(x, &mut row);
            if let Some((y, sum)) = plus.as_mut().and_then(Iterator::next) {
                T::widen(y, &mut other);
                for (x, y) in row.iter_mut().zip(&other) {
                    *x += y;
                }
                T::narrow(&row, sum);
                // What comes after reads the rounded sum; so does this norm.
                T::widen(sum, &mut row);
            }
            let scale = 1.0 / (simd::dot::<FUSED>(&row, &row) / n as f32 + self.eps).sqrt();
            for (x, w) in row.iter_mut().zip(self.weight) {
                *x = *x * scale * w;
            }
            T::narrow(&row, normed);
        }
    }
}
