//! The steps of training that inference doesn't have: gradients of a block's steps, and the loss.
//!
//! Each takes what the step took and the gradient of what it gave, and gives the gradient of its input. All sums are in
//! f32. Activations are rows: m × hidden, m = batch · sequence.

use candle_core::{D, DType, Result, Tensor};

use super::{cpu, on_processor};
#[cfg(feature = "cuda")]
use crate::model::cuda;

/// dx of `rms_norm(x, w, eps)`: with r = 1 ÷ rms(x) and g = w·dy, dx = r·(g − x·r²·mean(g·x)).
///
/// x, dy: m × hidden in one type; w: hidden. The scale is frozen and gets no gradient.
pub fn rms_norm_backward(x: &Tensor, w: &Tensor, dy: &Tensor, eps: f64) -> Result<Tensor> {
    if on_processor(x) {
        return x.apply_op3_no_bwd(dy, w, &cpu::NormBackward { eps: eps as f32 });
    }
    #[cfg(feature = "cuda")]
    if cuda::takes(x) {
        return cuda::norm_backward(x, w, dy, None, eps);
    }
    norm_steps(x, w, dy, eps)
}

/// The same in candle's own steps, for any device; so are the others below.
fn norm_steps(x: &Tensor, w: &Tensor, dy: &Tensor, eps: f64) -> Result<Tensor> {
    let dtype = x.dtype();
    let x = x.to_dtype(DType::F32)?;
    let g = dy.to_dtype(DType::F32)?.broadcast_mul(&w.to_dtype(DType::F32)?)?;
    let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
    let r = (mean_square + eps)?.sqrt()?.recip()?;
    let along = ((&g * &x)?.mean_keepdim(D::Minus1)? * r.sqr()?)?;
    let dx = (g - x.broadcast_mul(&along)?)?.broadcast_mul(&r)?;
    dx.to_dtype(dtype)
}

/// The gradient of [`super::swiglu`]'s input from that of its output: m × inner to m × 2·inner, gates before ups.
pub fn swiglu_backward(gate_up: &Tensor, dy: &Tensor) -> Result<Tensor> {
    if on_processor(gate_up) {
        return gate_up.apply_op2_no_bwd(dy, &cpu::SwiGluBackward);
    }
    #[cfg(feature = "cuda")]
    if cuda::takes(dy) {
        return cuda::gate_backward(gate_up, dy);
    }
    swiglu_steps(gate_up, dy)
}

fn swiglu_steps(gate_up: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let inner = gate_up.dim(D::Minus1)? / 2;
    let gate = gate_up.narrow(D::Minus1, 0, inner)?.contiguous()?;
    let up = gate_up.narrow(D::Minus1, inner, inner)?;
    let s = candle_nn::ops::sigmoid(&gate)?;
    let silu = (&gate * &s)?;
    // silu' = s + silu·(1 − s).
    let slope = (&s + (&silu * s.affine(-1.0, 1.0)?)?)?;
    let d_gate = ((dy * up)? * slope)?;
    let d_up = (dy * silu)?;
    Tensor::cat(&[d_gate, d_up], D::Minus1)
}

/// The gradient of rotary positions over the two halves of a head: turned back by the same angles.
///
/// dy: batch × heads × t × `head_dim`, contiguous; `cos` and `minus_sin`: t × `head_dim`/2 in the type of dy.
pub fn rope_backward(dy: &Tensor, cos: &Tensor, minus_sin: &Tensor) -> Result<Tensor> {
    candle_nn::rotary_emb::rope(dy, cos, minus_sin)
}

/// The gradient of the scores s in p = softmax(scale·s): scale·p·(dp − Σ p·dp) over the last dimension.
///
/// Both in f32, contiguous. `dp` is written over where that saves memory, so give it up.
pub fn softmax_backward(p: &Tensor, dp: Tensor, scale: f64) -> Result<Tensor> {
    if on_processor(p) {
        dp.inplace_op2(p, &cpu::SoftmaxBackward { scale: scale as f32 })?;
        return Ok(dp);
    }
    softmax_steps(p, &dp, scale)
}

fn softmax_steps(p: &Tensor, dp: &Tensor, scale: f64) -> Result<Tensor> {
    let weighted = (p * dp)?;
    let sum = weighted.sum_keepdim(D::Minus1)?;
    (weighted - p.broadcast_mul(&sum)?)?.affine(scale, 0.0)
}

/// The cross entropy of rows of logits, and its gradient.
///
/// logits: m × vocabulary; targets: m, u32; weights: m, f32: what each row counts for, 1 ÷ (number of targets) for their
/// mean, 0 for rows that have none. Gives Σ weights·(−log softmax(logits)\[target\]) in nats, a scalar in f32; and
/// `scale` times its gradient, m × vocabulary in the type of the logits, which are written over where that saves memory.
/// Elsewhere it holds three copies of the logits in f32: give it some hundred rows at a time.
pub fn cross_entropy(logits: Tensor, targets: &Tensor, weights: &Tensor, scale: f64) -> Result<(Tensor, Tensor)> {
    if on_processor(&logits) {
        let each = logits.apply_op2_no_bwd(targets, &cpu::CrossEntropy)?;
        let loss = (each.narrow(1, 0, 1)?.flatten_all()? * weights)?.sum_all()?;
        let factors = weights.affine(scale, 0.0)?;
        let columns = [each.narrow(1, 1, 1)?, factors.unsqueeze(1)?];
        logits.inplace_op3(targets, &Tensor::cat(&columns, 1)?.contiguous()?, &cpu::CrossEntropyBackward)?;
        return Ok((loss, logits));
    }
    #[cfg(feature = "cuda")]
    if cuda::takes(&logits) {
        let losses = cuda::cross_entropy(&logits, targets, weights, scale)?;
        return Ok((losses.sum_all()?, logits));
    }
    cross_entropy_steps(logits, targets, weights, scale)
}

fn cross_entropy_steps(logits: Tensor, targets: &Tensor, weights: &Tensor, scale: f64) -> Result<(Tensor, Tensor)> {
    let dtype = logits.dtype();
    let targets = targets.unsqueeze(1)?;
    let weights = weights.unsqueeze(1)?;
    let wide = logits.to_dtype(DType::F32)?;
    drop(logits);
    let shifted = wide.broadcast_sub(&wide.max_keepdim(D::Minus1)?)?;
    drop(wide);
    let right = shifted.gather(&targets, D::Minus1)?;
    let exp = shifted.exp()?;
    drop(shifted);
    let sum = exp.sum_keepdim(D::Minus1)?;
    let loss = ((sum.log()? - right)? * &weights)?.sum_all()?;
    let p = exp.broadcast_mul(&(&weights / sum)?.affine(scale, 0.0)?)?;
    // p is weights·scale·softmax; at the target the same without the softmax is taken off.
    let d_logits = p.scatter_add(&targets, &weights.affine(-scale, 0.0)?, D::Minus1)?;
    Ok((loss, d_logits.to_dtype(dtype)?))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::workload::{Dtype, random};

    fn values(seed: u32, dims: &[usize]) -> Tensor {
        let count = dims.iter().product::<usize>() as u32;
        let values: Vec<f32> = (0..count).map(|at| 2.0 * random::unit(Dtype::F32, seed, at) as f32).collect();
        Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
    }

    fn assert_near(ours: &Tensor, steps: &Tensor, tolerance: f64) {
        assert_eq!((ours.dims(), ours.dtype()), (steps.dims(), steps.dtype()));
        let flat = |tensor: &Tensor| tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
        let (ours, steps) = (flat(ours), flat(steps));
        let norm = |tensor: Tensor| tensor.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
        let apart = norm((&ours - &steps).unwrap()) / norm(steps);
        assert!(apart < tolerance, "{apart}");
    }

    #[test]
    fn the_processor_s_code_and_candle_s_steps_agree() {
        for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F16, 2e-3)] {
            let tensor = |seed, dims: &[usize]| values(seed, dims).to_dtype(dtype).unwrap();
            let (x, w, dy) = (tensor(1, &[70, 37]), tensor(2, &[37]), tensor(3, &[70, 37]));
            let ours = rms_norm_backward(&x, &w, &dy, 1e-5).unwrap();
            assert_near(&ours, &norm_steps(&x, &w, &dy, 1e-5).unwrap(), tolerance);
            let (gate_up, dy) = (tensor(4, &[70, 74]), tensor(5, &[70, 37]));
            let ours = swiglu_backward(&gate_up, &dy).unwrap();
            assert_near(&ours, &swiglu_steps(&gate_up, &dy).unwrap(), tolerance);
            let targets: Vec<u32> = (0..70).map(|at| random::pcg(at) % 501).collect();
            let targets = Tensor::new(targets, &Device::Cpu).unwrap();
            let weights = values(6, &[70]).abs().unwrap();
            let logits = || values(7, &[70, 501]).affine(4.0, 0.0).unwrap().to_dtype(dtype).unwrap();
            let (loss, gradient) = cross_entropy(logits(), &targets, &weights, 8.0).unwrap();
            let (steps_loss, steps) = cross_entropy_steps(logits(), &targets, &weights, 8.0).unwrap();
            assert_near(&loss, &steps_loss, 1e-5);
            assert_near(&gradient, &steps, tolerance);
        }
        let p = candle_nn::ops::softmax_last_dim(&values(8, &[3, 40, 21])).unwrap();
        let dp = values(9, &[3, 40, 21]);
        let steps = softmax_steps(&p, &dp, 0.3).unwrap();
        assert_near(&softmax_backward(&p, dp, 0.3).unwrap(), &steps, 1e-6);
    }

    #[test]
    fn targets_outside_the_vocabulary_are_an_error() {
        let targets = Tensor::new(&[0_u32, 9], &Device::Cpu).unwrap();
        let weights = Tensor::new(&[0.5_f32, 0.5], &Device::Cpu).unwrap();
        assert!(cross_entropy(values(1, &[2, 9]), &targets, &weights, 1.0).is_err());
    }
}
