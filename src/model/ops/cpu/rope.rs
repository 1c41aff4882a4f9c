//! Rotary positions, and the way from rows of q, k and v to heads.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, WithDType as _, bail};
use half::f16;

use super::{Element, contiguous, rows_of, share};

/// Takes rows of q, k and v apart into heads and rotates q and k, as a [`CustomOp3`] (qkv, cos, sin).
///
/// The result is flat: q (batch × heads × t × d), then k and v (each batch × `kv_heads` × t × d).
pub(in super::super) struct Split {
    /// Sequences.
    pub(in super::super) batch: usize,
    /// Query heads.
    pub(in super::super) heads: usize,
    /// Key heads, and value heads.
    pub(in super::super) kv_heads: usize,
}

impl CustomOp3 for Split {
    fn name(&self) -> &'static str {
        "rope-and-split"
    }

    fn cpu_fwd(
        &self,
        qkv: &CpuStorage,
        qkv_layout: &Layout,
        cos: &CpuStorage,
        cos_layout: &Layout,
        sin: &CpuStorage,
        sin_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = rows_of(qkv_layout)?;
        let (positions, half) = rows_of(cos_layout)?;
        let table = (contiguous::<f32>(cos, cos_layout)?, contiguous::<f32>(sin, sin_layout)?);
        if rows != self.batch * positions || width != (self.heads + 2 * self.kv_heads) * 2 * half {
            bail!("{rows} rows of {width} are not {} sequences of {positions} positions", self.batch);
        }
        let out = match qkv {
            CpuStorage::F32(_) => {
                f32::to_cpu_storage_owned(self.forward(contiguous::<f32>(qkv, qkv_layout)?, table, half))
            }
            CpuStorage::F16(_) => {
                f16::to_cpu_storage_owned(self.forward(contiguous::<f16>(qkv, qkv_layout)?, table, half))
            }
            _ => bail!("heads on the processor are of f32 or f16"),
        };
        Ok((out, Shape::from(rows * width)))
    }
}

impl Split {
    fn forward<T: Element>(&self, qkv: &[T], (cos, sin): (&[f32], &[f32]), half: usize) -> Vec<T> {
        let (dim, width) = (2 * half, (self.heads + 2 * self.kv_heads) * 2 * half);
        let t = cos.len() / half.max(1);
        let mut out = vec![T::zero(); qkv.len()];
        let items: Vec<_> = out.chunks_mut((t * dim).max(1)).enumerate().collect();
        share(items, qkv.len(), |(index, head)| {
            let (sequence, column, turned) = self.place(index);
            let first = sequence * t * width + column * dim;
            let inputs = qkv.get(first..).unwrap_or_default().chunks(width);
            let angles = cos.chunks(half).zip(sin.chunks(half));
            for ((input, out), (cos, sin)) in inputs.zip(head.chunks_mut(dim)).zip(angles) {
                let input = input.get(..dim).unwrap_or_default();
                if turned { rotate(input, cos, sin, out) } else { out.copy_from_slice(input) }
            }
        });
        out
    }

    /// Sequence and head in a row of the head that is `index`th in the result, and whether it is rotated.
    const fn place(&self, index: usize) -> (usize, usize, bool) {
        let (queries, keys) = (self.batch * self.heads, self.batch * self.kv_heads);
        if index < queries {
            return (index / self.heads, index % self.heads, true);
        }
        let index = index - queries;
        let (is_key, within) = if index < keys { (true, index) } else { (false, index - keys) };
        let column = self.heads + within % self.kv_heads + if is_key { 0 } else { self.kv_heads };
        (within / self.kv_heads, column, is_key)
    }
}

/// (a, b) to (a·cos − b·sin, b·cos + a·sin) for the two halves of a head.
fn rotate<T: Element>(input: &[T], cos: &[f32], sin: &[f32], out: &mut [T]) {
    let half = cos.len();
    let Some(((a, b), (out_a, out_b))) = input.split_at_checked(half).zip(out.split_at_mut_checked(half)) else {
        return;
    };
    for ((((a, b), cos), sin), (out_a, out_b)) in a.iter().zip(b).zip(cos).zip(sin).zip(out_a.iter_mut().zip(out_b)) {
        let (a, b) = (a.single(), b.single());
        *out_a = T::of(a * cos - b * sin);
        *out_b = T::of(b * cos + a * sin);
    }
}
