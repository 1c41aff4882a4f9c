//! The MLP's gate.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, WithDType as _, bail};
use half::f16;

use super::{
    Element, contiguous, rows_each, rows_of, share,
    simd::{self, Kernel},
};

/// silu(gate) · up for rows of a gate, then an up: m × 2n to m × n.
pub(in super::super) struct SwiGlu;

impl CustomOp1 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, columns) = rows_of(layout)?;
        let out = match storage {
            CpuStorage::F32(_) => f32::to_cpu_storage_owned(forward(contiguous::<f32>(storage, layout)?, columns)),
            CpuStorage::F16(_) => f16::to_cpu_storage_owned(forward(contiguous::<f16>(storage, layout)?, columns)),
            _ => bail!("gates on the processor are of f32 or f16"),
        };
        Ok((out, Shape::from((rows, columns / 2))))
    }
}

fn forward<T: Element>(x: &[T], columns: usize) -> Vec<T> {
    let n = columns / 2;
    let rows = x.len() / columns;
    let mut out = vec![T::zero(); rows * n];
    // A single row is shared out too: it is long, and each element costs an exponential.
    let items: Vec<_> = if rows == 1 {
        let (gate, up) = x.split_at(n);
        let each = n.div_ceil(8).max(1);
        let halves = gate.chunks(each).zip(up.chunks(each));
        halves.zip(out.chunks_mut(each)).map(|((gate, up), out)| Halves { gate, up, out, n: 0 }).collect()
    } else {
        let each = rows_each(rows);
        let chunks = x.chunks(each * columns).zip(out.chunks_mut(each * n));
        chunks.map(|(x, out)| Halves { gate: x, up: x.get(n..).unwrap_or_default(), out, n }).collect()
    };
    share(items, x.len(), simd::run);
    out
}

/// Gates and ups, 2n apart from row to row; one row where `n` is 0.
struct Halves<'a, T> {
    gate: &'a [T],
    up: &'a [T],
    out: &'a mut [T],
    n: usize,
}

impl<T: Element> Kernel for Halves<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        // Small enough for the nearest cache.
        const PIECE: usize = 512;
        let (mut gate, mut up) = ([0.0_f32; PIECE], [0.0_f32; PIECE]);
        let n = if self.n == 0 { self.out.len() } else { self.n };
        let rows = self.gate.chunks(2 * n).zip(self.up.chunks(2 * n)).zip(self.out.chunks_mut(n));
        for ((gates, ups), out) in rows {
            for ((g, u), out) in gates.chunks(PIECE).zip(ups.chunks(PIECE)).zip(out.chunks_mut(PIECE)) {
                let len = out.len();
                let (Some(gate), Some(up)) = (gate.get_mut(..len), up.get_mut(..len)) else { continue };
                let (Some(g), Some(u)) = (g.get(..len), u.get(..len)) else { continue };
                T::widen(g, gate);
                T::widen(u, up);
                for (g, u) in gate.iter_mut().zip(up.iter()) {
                    *g = *g / (1.0 + simd::exp::<FUSED>(-*g)) * u;
                }
                T::narrow(gate, out);
            }
        }
    }
}
