//! Keys and values in f32.

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape, bail};

use super::{Element as _, share};

/// Keys or values (batch × heads × n × d, rows d apart) from f16 to f32, contiguous.
pub(in super::super) struct Widen;

impl CustomOp1 for Widen {
    fn name(&self) -> &'static str {
        "widen"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (&[batch, heads, count, dim], &[sequence, head, row, 1]) = (layout.dims(), layout.stride()) else {
            bail!("keys and values of heads, not {layout:?}")
        };
        if row != dim && count > 1 {
            return Err(Error::Msg("the rows of a head must lie one after another".to_owned()));
        }
        let data = storage.as_slice::<half::f16>()?;
        let mut out = vec![0.0_f32; batch * heads * count * dim];
        let elements = out.len();
        let items: Vec<_> = out.chunks_mut((count * dim).max(1)).enumerate().collect();
        share(items, elements, |(pair, out)| {
            let first = layout.start_offset() + pair / heads * sequence + pair % heads * head;
            if let Some(from) = data.get(first..first + out.len()) {
                half::f16::widen(from, out);
            }
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}
