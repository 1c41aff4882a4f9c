//! The steps of a block beside its matrix products. Every function works on all devices; CUDA has kernels of our own.
//!
//! None records a gradient: training calls the `_backward` functions itself (see `lora`).

mod attention;
pub mod attention_backward;
pub mod backward;
mod cpu;
mod rope;

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, quantized::QTensor};

pub use self::{
    attention::{Span, attention},
    rope::{Rope, rope_and_split},
};
#[cfg(feature = "cuda")]
use super::cuda;
use super::{Linear, Weights, weights::Stacked};

/// Positions that one pass takes at most. It bounds the memory of the scores, and on the processor the time between two
/// cancellation points.
pub const fn chunk(device: &Device) -> usize {
    match device {
        Device::Cpu => 128,
        Device::Cuda(_) | Device::Metal(_) => 512,
    }
}

/// Whether the processor's own code takes this tensor.
fn on_processor(x: &Tensor) -> bool {
    x.device().is_cpu() && matches!(x.dtype(), DType::F32 | DType::F16)
}

/// y = x ÷ rms(x) · w over the last dimension, the square sum in f32. x: m × hidden; w: hidden.
pub fn rms_norm(x: &Tensor, w: &Tensor, eps: f64) -> Result<Tensor> {
    if on_processor(x) {
        return x.apply_op2_no_bwd(w, &cpu::Norm { eps: eps as f32 });
    }
    #[cfg(feature = "cuda")]
    if cuda::takes(x) {
        return Ok(cuda::add_norm(x, None, w, eps)?.1);
    }
    candle_nn::ops::rms_norm(x, w, eps as f32)
}

/// x + y, and its norm as [`rms_norm`] makes it. x, y: m × hidden; w: hidden.
pub fn add_rms_norm(x: &Tensor, y: &Tensor, w: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    if on_processor(x) {
        let (rows, _) = x.dims2()?;
        let both = x.apply_op3_no_bwd(y, w, &cpu::Norm { eps: eps as f32 })?;
        return Ok((both.narrow(0, 0, rows)?, both.narrow(0, rows, rows)?));
    }
    #[cfg(feature = "cuda")]
    if cuda::takes(x) {
        return cuda::add_norm(x, Some(y), w, eps);
    }
    let sum = (x + y)?;
    let normed = rms_norm(&sum, w, eps)?;
    Ok((sum, normed))
}

/// silu(gate) · up. `gate_up`: m × 2n, a row's gates before its ups; gives m × n.
pub fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    if on_processor(gate_up) {
        return gate_up.apply_op1_no_bwd(&cpu::SwiGlu);
    }
    let n = gate_up.dim(1)? / 2;
    #[cfg(feature = "cuda")]
    if cuda::takes(gate_up) && n % 8 == 0 {
        return cuda::gate(gate_up);
    }
    gate_up.narrow(1, 0, n)?.silu()? * gate_up.narrow(1, n, n)?
}

/// x (m × k) · Wᵀ: m × n. Like [`Linear::forward`], with faster code where there is some for the device.
pub fn product(linear: &Linear, x: &Tensor) -> Result<Tensor> {
    #[cfg(target_arch = "x86_64")]
    if let Linear::Quantized { weight, .. } = linear
        && x.dims().first() == Some(&1)
        && x.device().is_cpu()
        && x.dtype() == DType::F32
        && let Some(op) = cpu::RowByQ4K::of(weight)
    {
        return x.apply_op1_no_bwd(&op);
    }
    linear.forward(x)
}

/// Whether [`product`] has code of its own for a single row by any matrix of the blocks.
pub fn has_own_product(weights: &Weights) -> bool {
    #[cfg(target_arch = "x86_64")]
    let own = |linear: &Linear| match linear {
        Linear::Quantized { weight, .. } => cpu::RowByQ4K::of(weight).is_some(),
        Linear::Dense(_) => false,
    };
    #[cfg(not(target_arch = "x86_64"))]
    let own = |_: &Linear| false;
    weights.layers.iter().any(|layer| layer.gate_up.parts.iter().any(own))
}

/// x (m × k) by matrices that share it: m × n. Like [`Stacked::forward`].
pub fn project(stacked: &Stacked, x: &Tensor) -> Result<Tensor> {
    match stacked.parts.as_slice() {
        [one] => product(one, x),
        parts => {
            let outputs = match together(parts, x)? {
                Some(outputs) => outputs,
                None => parts.iter().map(|part| product(part, x)).collect::<Result<_>>()?,
            };
            Tensor::cat(&outputs, 1)
        }
    }
}

/// Several quantised matrices in one go, x read and rounded once, on processors for which candle has such code.
fn together(parts: &[Linear], x: &Tensor) -> Result<Option<Vec<Tensor>>> {
    let quantized = |part: &Linear| match part {
        Linear::Quantized { weight, .. } => Some(Arc::clone(weight)),
        Linear::Dense(_) => None,
    };
    if !x.device().is_cpu() || x.dtype() != DType::F32 {
        return Ok(None);
    }
    let Some(weights) = parts.iter().map(quantized).collect::<Option<Vec<_>>>() else { return Ok(None) };
    let weights: Vec<&QTensor> = weights.iter().map(AsRef::as_ref).collect();
    QTensor::gemv_fused_shared_lhs(&weights, x)
}

/// Rows of the embedding table for `ids` (flat, u32), in `dtype`: ids × hidden.
pub fn embed(table: &Linear, ids: &Tensor, dtype: DType) -> Result<Tensor> {
    match table {
        Linear::Dense(table) => table.index_select(ids, 0)?.to_dtype(dtype),
        Linear::Quantized { weight, .. } => weight.embedding(ids)?.to_dtype(dtype),
    }
}

#[cfg(test)]
mod tests;
