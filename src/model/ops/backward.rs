//! The steps of training that inference doesn't have: gradients of a block's steps, and the loss.
//!
//! Each takes what the step took and the gradient of what it gave, and gives the gradient of its input. All sums are in
//! f32. Activations are rows: m × hidden, m = batch · sequence.

use candle_core::{D, DType, Result, Tensor};

/// dx of `rms_norm(x, w, eps)`: with r = 1 ÷ rms(x) and g = w·dy, dx = r·(g − x·r²·mean(g·x)).
///
/// x, dy: m × hidden in one type; w: hidden. The scale is frozen and gets no gradient.
pub fn rms_norm_backward(x: &Tensor, w: &Tensor, dy: &Tensor, eps: f64) -> Result<Tensor> {
    let dtype = x.dtype();
    let x = x.to_dtype(DType::F32)?;
    let g = dy.to_dtype(DType::F32)?.broadcast_mul(&w.to_dtype(DType::F32)?)?;
    let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
    let r = (mean_square + eps)?.sqrt()?.recip()?;
    let along = ((&g * &x)?.mean_keepdim(D::Minus1)? * r.sqr()?)?;
    let dx = (g - x.broadcast_mul(&along)?)?.broadcast_mul(&r)?;
    dx.to_dtype(dtype)
}

/// silu(gate) · up. `gate_up`: m × 2·inner, gate first; gives m × inner.
pub fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    let (gate, up) = halves(gate_up)?;
    gate.silu()? * up
}

/// The gradient of [`swiglu`]'s input from that of its output: m × inner to m × 2·inner.
pub fn swiglu_backward(gate_up: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let (gate, up) = halves(gate_up)?;
    let gate = gate.contiguous()?;
    let s = candle_nn::ops::sigmoid(&gate)?;
    let silu = (&gate * &s)?;
    // silu' = s + silu·(1 − s).
    let slope = (&s + (&silu * s.affine(-1.0, 1.0)?)?)?;
    let d_gate = ((dy * up)? * slope)?;
    let d_up = (dy * silu)?;
    Tensor::cat(&[d_gate, d_up], D::Minus1)
}

fn halves(gate_up: &Tensor) -> Result<(Tensor, Tensor)> {
    let inner = gate_up.dim(D::Minus1)? / 2;
    Ok((gate_up.narrow(D::Minus1, 0, inner)?, gate_up.narrow(D::Minus1, inner, inner)?))
}

/// The gradient of rotary positions over the two halves of a head: turned back by the same angles.
///
/// dy: batch × heads × t × `head_dim`, contiguous; `cos` and `minus_sin`: t × `head_dim`/2. Where the forward tables carry a
/// scale, as those of queries do, these carry it too.
pub fn rope_backward(dy: &Tensor, cos: &Tensor, minus_sin: &Tensor) -> Result<Tensor> {
    candle_nn::rotary_emb::rope(dy, cos, minus_sin)
}

/// The gradient of a softmax's input: p·(dp − Σ p·dp) over the last dimension. Both in f32, contiguous.
pub fn softmax_backward(p: &Tensor, dp: &Tensor) -> Result<Tensor> {
    let weighted = (p * dp)?;
    let sum = weighted.sum_keepdim(D::Minus1)?;
    weighted - p.broadcast_mul(&sum)?
}

/// The cross entropy of rows of logits, and its gradient.
///
/// logits: m × vocabulary; targets: m, u32; weights: m, f32: what each row counts for, 1 ÷ (number of targets) for their
/// mean, 0 for rows that have none. Gives Σ weights·(−log softmax(logits)\[target\]) in nats, a scalar in f32; and
/// `scale` times its gradient, m × vocabulary in the type of the logits. Holds three copies of the logits in f32 at most:
/// give it some hundred rows at a time.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, weights: &Tensor, scale: f64) -> Result<(Tensor, Tensor)> {
    let dtype = logits.dtype();
    let targets = targets.unsqueeze(1)?;
    let weights = weights.unsqueeze(1)?;
    let (loss, p) = {
        let logits = logits.to_dtype(DType::F32)?;
        let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?)?;
        drop(logits);
        let right = shifted.gather(&targets, D::Minus1)?;
        let exp = shifted.exp()?;
        let sum = exp.sum_keepdim(D::Minus1)?;
        let loss = ((sum.log()? - right)? * &weights)?.sum_all()?;
        (loss, exp.broadcast_mul(&(&weights / sum)?.affine(scale, 0.0)?)?)
    };
    // p is already weights·scale·softmax; at the target the same without the softmax is taken off.
    let d_logits = p.scatter_add(&targets, &weights.affine(-scale, 0.0)?, D::Minus1)?;
    Ok((loss, d_logits.to_dtype(dtype)?))
}
