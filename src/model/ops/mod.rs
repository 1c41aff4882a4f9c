//! The steps of a block beside its matrix products. Every function works on all devices; CUDA has kernels of our own.
//!
//! None records a gradient: training calls the `_backward` functions itself (see `lora`).

pub mod attention_backward;
pub mod backward;

use candle_core::{Result, Tensor};

/// y = x ÷ rms(x) · w over the last dimension, the square sum in f32. x: m × hidden; w: hidden.
pub fn rms_norm(x: &Tensor, w: &Tensor, eps: f64) -> Result<Tensor> {
    candle_nn::ops::rms_norm(x, w, eps as f32)
}
