//! The small steps of a block over many rows: one launch each.

use candle_core::{DType, Error, Result, Tensor};

use super::{Argument, BLOCK, address, blocks, int, launch, room, suffix};

/// Rows are read eight elements at a time.
fn rows_and_columns(x: &Tensor) -> Result<(usize, usize)> {
    let columns = x.dims().last().copied().unwrap_or(0);
    if columns == 0 || columns % 8 != 0 {
        return Err(Error::Msg(format!("rows of {columns} elements are no multiple of eight")));
    }
    Ok((x.elem_count() / columns, columns))
}

/// Threads for rows of `columns` elements, eight to a thread where that is enough.
const fn threads(columns: usize) -> u32 {
    match columns / 8 {
        0..=64 => 64,
        65..=128 => 128,
        129..=256 => 256,
        _ => 512,
    }
}

/// Whether rows of `x` can be read eight elements at a time by our kernels.
pub fn takes(x: &Tensor) -> bool {
    let columns = x.dims().last().copied().unwrap_or(0);
    x.device().is_cuda() && suffix(x.dtype()).is_ok() && columns > 0 && columns % 8 == 0 && x.is_contiguous()
}

/// x + y and its norm: see [`crate::model::ops::add_rms_norm`]. Without y the sum is x itself.
#[expect(unsafe_code, reason = "starts a kernel")]
pub fn add_norm(x: &Tensor, y: Option<&Tensor>, scale: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    let (rows, columns) = rows_and_columns(x)?;
    let normed = room(x.shape(), x.dtype(), x.device())?;
    let sum = if y.is_some() { room(x.shape(), x.dtype(), x.device())? } else { x.clone() };
    let other = y.map_or(Ok(Argument::Address(0)), address)?;
    let arguments = [
        address(x)?,
        other,
        address(scale)?,
        Argument::Float(eps as f32),
        address(&sum)?,
        address(&normed)?,
        int(columns)?,
    ];
    let name = format!("add_norm_{}", suffix(x.dtype())?);
    // SAFETY: x, y, sum and normed have `rows` rows of `columns` elements, scale has `columns`.
    unsafe { launch(x.device(), BLOCK, &name, blocks(rows)?, threads(columns), &arguments)? };
    Ok((sum, normed))
}

/// The gradient of a norm's input, added to `dx` where there is one.
#[expect(unsafe_code, reason = "starts a kernel")]
pub fn norm_backward(x: &Tensor, scale: &Tensor, dy: &Tensor, dx: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    let (rows, columns) = rows_and_columns(x)?;
    let out = room(x.shape(), x.dtype(), x.device())?;
    let before = dx.map_or(Ok(Argument::Address(0)), address)?;
    let arguments = [
        address(x)?,
        address(scale)?,
        address(dy)?,
        before,
        Argument::Float(eps as f32),
        address(&out)?,
        int(columns)?,
    ];
    let name = format!("norm_backward_{}", suffix(x.dtype())?);
    // SAFETY: all have `rows` rows of `columns` elements, scale has `columns`.
    unsafe { launch(x.device(), BLOCK, &name, blocks(rows)?, threads(columns), &arguments)? };
    Ok(out)
}

/// Where queries, keys and values stand, and how far they are turned.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Cosines and sines in f32: positions × `head_dim ÷ 2`.
    pub cos: &'a Tensor,
    /// See `cos`.
    pub sin: &'a Tensor,
    /// The position of the first row.
    pub position: usize,
    /// Where it lies among the positions that the keys' tensor has room for.
    pub offset: usize,
}

/// Splits qkv ((batch·t) × width), turns queries and keys, and writes keys and values into k and v (batch × kv × room × dim)
/// from `offset` on. Returns the queries: batch × heads × t × dim.
pub fn split(qkv: &Tensor, heads: usize, k: &Tensor, v: &Tensor, places: Places<'_>) -> Result<Tensor> {
    let (batch, _, _, dim) = k.dims4()?;
    let t = qkv.elem_count() / (qkv.dims().last().copied().unwrap_or(1) * batch).max(1);
    let q = room((batch, heads, t, dim), qkv.dtype(), qkv.device())?;
    move_apart("split", qkv, [&q, k, v], places)?;
    Ok(q)
}

/// The other way: gradients of queries (batch × heads × t × dim), keys and values (batch × kv × t × dim) to those of qkv
/// ((batch·t) × width), turned back.
pub fn gather(q: &Tensor, k: &Tensor, v: &Tensor, places: Places<'_>) -> Result<Tensor> {
    let (batch, heads, t, dim) = q.dims4()?;
    let width = (heads + 2 * k.dim(1)?) * dim;
    let qkv = room((batch * t, width), q.dtype(), q.device())?;
    move_apart("gather", &qkv, [q, k, v], places)?;
    Ok(qkv)
}

#[expect(unsafe_code, reason = "starts a kernel")]
fn move_apart(name: &str, qkv: &Tensor, [q, k, v]: [&Tensor; 3], places: Places<'_>) -> Result<()> {
    let (batch, heads, t, dim) = q.dims4()?;
    let (_, kv_heads, capacity, _) = k.dims4()?;
    let fits = qkv.elem_count() == batch * t * (heads + 2 * kv_heads) * dim
        && places.offset + t <= capacity
        && places.position + t <= places.cos.dim(0)?
        && v.dims() == k.dims();
    if !fits {
        return Err(Error::Msg("queries, keys and values don't fit their tensors".to_owned()));
    }
    let arguments = [
        address(qkv)?,
        address(q)?,
        address(k)?,
        address(v)?,
        address(places.cos)?,
        address(places.sin)?,
        int(t)?,
        int(heads)?,
        int(kv_heads)?,
        int(dim)?,
        int(capacity)?,
        int(places.offset)?,
        int(places.position)?,
    ];
    let name = format!("{name}_{}", suffix(qkv.dtype())?);
    // SAFETY: the sizes were compared above.
    unsafe { launch(qkv.device(), BLOCK, &name, blocks(batch * t)?, 256, &arguments) }
}

/// silu(gate) · up: rows × 2n to rows × n.
#[expect(unsafe_code, reason = "starts a kernel")]
pub fn gate(gate_up: &Tensor) -> Result<Tensor> {
    let (rows, both) = rows_and_columns(gate_up)?;
    let columns = both / 2;
    let out = room((rows, columns), gate_up.dtype(), gate_up.device())?;
    let arguments = [address(gate_up)?, address(&out)?, int(columns)?, int(rows)?];
    let name = format!("gate_{}", suffix(gate_up.dtype())?);
    let grid = blocks((rows * columns / 8).div_ceil(256))?;
    rows_and_columns(&out)?;
    // SAFETY: gate_up has twice the columns of out, and both have `rows` rows.
    unsafe { launch(gate_up.device(), BLOCK, &name, grid, 256, &arguments)? };
    Ok(out)
}

/// The gradient of `gate_up` (rows × 2n) from that of the output (rows × n).
#[expect(unsafe_code, reason = "starts a kernel")]
pub fn gate_backward(gate_up: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let (rows, columns) = rows_and_columns(dy)?;
    let out = room(gate_up.shape(), gate_up.dtype(), gate_up.device())?;
    let arguments = [address(gate_up)?, address(dy)?, address(&out)?, int(columns)?, int(rows)?];
    let name = format!("gate_backward_{}", suffix(gate_up.dtype())?);
    let grid = blocks((rows * columns / 8).div_ceil(256))?;
    // SAFETY: gate_up and out have `rows` rows of twice `columns` elements, dy of `columns`.
    unsafe { launch(gate_up.device(), BLOCK, &name, grid, 256, &arguments)? };
    Ok(out)
}

/// Which keys a query may look at.
#[derive(Clone, Copy, Debug)]
pub struct Causal {
    /// Queries of one head; rows of scores run through them before the next head's.
    pub queries: usize,
    /// The position of the first query.
    pub position: usize,
    /// A query looks at so many keys at most, its own included.
    pub window: Option<usize>,
    /// What scores are multiplied by first.
    pub scale: f64,
}

/// Softmax of scores (rows × keys) in place, over the keys that each query may look at.
#[expect(unsafe_code, reason = "starts a kernel")]
pub fn causal_softmax(scores: &Tensor, causal: Causal) -> Result<()> {
    let keys = scores.dims().last().copied().unwrap_or(1).max(1);
    let arguments = [
        address(scores)?,
        int(causal.queries)?,
        int(keys)?,
        int(causal.position)?,
        int(causal.window.unwrap_or(0))?,
        Argument::Float(causal.scale as f32),
    ];
    let name = format!("causal_softmax_{}", suffix(scores.dtype())?);
    let grid = blocks(scores.elem_count() / keys)?;
    // SAFETY: one block a row of `keys` elements.
    unsafe { launch(scores.device(), BLOCK, &name, grid, threads(keys), &arguments) }
}

/// The gradient of the scores in place of that of their softmax `p`: p · (d − Σ p·d) · scale.
#[expect(unsafe_code, reason = "starts a kernel")]
pub fn softmax_backward(p: &Tensor, d: &Tensor, scale: f64) -> Result<()> {
    let keys = p.dims().last().copied().unwrap_or(1).max(1);
    let arguments = [address(p)?, address(d)?, int(keys)?, Argument::Float(scale as f32)];
    let name = format!("softmax_backward_{}", suffix(p.dtype())?);
    let grid = blocks(p.elem_count() / keys)?;
    // SAFETY: p and d have the same shape; one block a row of `keys` elements.
    unsafe { launch(p.device(), BLOCK, &name, grid, threads(keys), &arguments) }
}

/// Losses of rows of logits (m × vocabulary) times the rows' weights, m in f32, and in place of the logits their gradient times
/// `scale`. targets: m, u32; weights: m, f32.
#[expect(unsafe_code, reason = "starts a kernel")]
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, weights: &Tensor, scale: f64) -> Result<Tensor> {
    let (rows, columns) = rows_and_columns(logits)?;
    if targets.elem_count() != rows || weights.elem_count() != rows {
        return Err(Error::Msg("targets and logits have different numbers of rows".to_owned()));
    }
    let losses = room(rows, DType::F32, logits.device())?;
    let arguments = [
        address(logits)?,
        address(targets)?,
        address(weights)?,
        address(&losses)?,
        int(columns)?,
        Argument::Float(scale as f32),
    ];
    let name = format!("cross_entropy_{}", suffix(logits.dtype())?);
    // SAFETY: one block a row; targets, weights and losses have one element a row.
    unsafe { launch(logits.device(), BLOCK, &name, blocks(rows)?, 512, &arguments)? };
    Ok(losses)
}
