//! The processor's own steps against candle's, and against plain loops.

use candle_core::{DType, Device, Tensor};

use super::*;
use crate::model::ModelConfig;
use crate::workload::ModelShape;

fn random(shape: &[usize], dtype: DType) -> Tensor {
    Tensor::randn(0.0_f32, 1.0, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn assert_close(a: &Tensor, b: &Tensor, tolerance: f32) {
    assert_eq!((a.dims(), a.dtype()), (b.dims(), b.dtype()));
    for (index, (a, b)) in flat(a).iter().zip(flat(b)).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{a} and {b} at {index}");
    }
}

/// One row, which one core does, and many, which all do; lengths that are no multiple of a vector.
const ROWS: [(usize, usize); 4] = [(1, 70), (3, 256), (200, 100), (1, 40_000)];

const TYPES: [(DType, f32); 2] = [(DType::F32, 4e-6), (DType::F16, 2e-3)];

#[test]
fn norms_equal_candles() {
    for ((rows, columns), (dtype, tolerance)) in ROWS.into_iter().flat_map(|rows| TYPES.map(|each| (rows, each))) {
        let (x, y) = (random(&[rows, columns], dtype), random(&[rows, columns], dtype));
        let w = random(&[columns], dtype);
        // candle adds the squares one after the other, which loses a little over long rows.
        let tolerance = 5.0 * tolerance;
        let right = candle_nn::ops::rms_norm(&x, &w, 1e-5).unwrap();
        assert_close(&rms_norm(&x, &w, 1e-5).unwrap(), &right, tolerance);
        let sum = (&x + &y).unwrap();
        let (both, normed) = add_rms_norm(&x, &y, &w, 1e-5).unwrap();
        assert_close(&both, &sum, tolerance);
        assert_close(&normed, &candle_nn::ops::rms_norm(&sum, &w, 1e-5).unwrap(), tolerance);
    }
    let (x, w) = (random(&[2, 8], DType::F32), random(&[9], DType::F32));
    rms_norm(&x, &w, 1e-5).unwrap_err();
}

#[test]
fn gates_equal_candles() {
    for ((rows, columns), (dtype, tolerance)) in ROWS.into_iter().flat_map(|rows| TYPES.map(|each| (rows, each))) {
        let x = (random(&[rows, columns], dtype) * 4.0).unwrap();
        let n = columns / 2;
        let right = (x.narrow(1, 0, n).unwrap().silu().unwrap() * x.narrow(1, n, n).unwrap()).unwrap();
        assert_close(&swiglu(&x).unwrap(), &right, 2.0 * tolerance);
    }
    let far = Tensor::from_vec(vec![-1e4_f32, 1e4, f32::NAN, 2.0, 3.0, 1.0], (1, 6), &Device::Cpu).unwrap();
    let far = flat(&swiglu(&far).unwrap());
    assert!(far[0].abs() < 1e-30 && far[1] == 3e4 && far[2].is_nan(), "{far:?}");
}

fn config(heads: u32, kv_heads: u32, head_dim: u32) -> ModelConfig {
    let shape = ModelShape { heads, kv_heads, head_dim, ..ModelShape::MISTRAL_7B };
    ModelConfig { shape, rope_theta: 1e4, norm_eps: 1e-5, window: None, max_positions: 2048 }
}

#[test]
fn rotated_heads_equal_candles() {
    let config = config(4, 2, 16);
    for ((batch, t), (dtype, tolerance)) in
        [(1, 1), (3, 1), (2, 70)].into_iter().flat_map(|b| TYPES.map(|each| (b, each)))
    {
        let rope = Rope::new(&config, dtype, &Device::Cpu).unwrap();
        let qkv = random(&[batch * t, 8 * 16], dtype);
        let (q, k, v) = rope_and_split(&qkv, batch, &config, &rope, 5).unwrap();
        let (cos, sin) = rope.angles(5, t).unwrap();
        let (cos, sin) = (cos.to_dtype(dtype).unwrap(), sin.to_dtype(dtype).unwrap());
        let part = |from: usize, heads: usize| {
            let part = qkv.narrow(1, from * 16, heads * 16).unwrap().reshape((batch, t, heads, 16)).unwrap();
            part.transpose(1, 2).unwrap().contiguous().unwrap()
        };
        assert_close(&q, &candle_nn::rotary_emb::rope(&part(0, 4), &cos, &sin).unwrap(), 2.0 * tolerance);
        assert_close(&k, &candle_nn::rotary_emb::rope(&part(4, 2), &cos, &sin).unwrap(), 2.0 * tolerance);
        assert_close(&v, &part(6, 2), 0.0);
    }
}

/// softmax(q · kᵀ ÷ √d) · v in f64, query by query.
fn plain(q: &Tensor, keys: &Tensor, values: &Tensor, start: usize, window: usize) -> Tensor {
    let (batch, heads, t, dim) = q.dims4().unwrap();
    let (_, kv_heads, positions, _) = keys.dims4().unwrap();
    let (qs, ks, vs) = (flat(q), flat(keys), flat(values));
    let mut out = vec![0.0_f32; batch * t * heads * dim];
    for (b, h, i) in (0..batch * heads * t).map(|n| (n / (heads * t), n / t % heads, n % t)) {
        let kv = (b * kv_heads + h / (heads / kv_heads)) * positions * dim;
        let query = &qs[((b * heads + h) * t + i) * dim..][..dim];
        let range = (start + i + 1).saturating_sub(window)..start + i + 1;
        let score = |key: usize| -> f64 {
            let key = &ks[kv + key * dim..][..dim];
            query.iter().zip(key).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() / (dim as f64).sqrt()
        };
        let weights: Vec<f64> = range.clone().map(|key| score(key).exp()).collect();
        let total: f64 = weights.iter().sum();
        for d in 0..dim {
            let sum: f64 = range.clone().zip(&weights).map(|(key, w)| w * f64::from(vs[kv + key * dim + d])).sum();
            out[((b * t + i) * heads + h) * dim + d] = (sum / total) as f32;
        }
    }
    Tensor::from_vec(out, (batch * t, heads * dim), &Device::Cpu).unwrap()
}

#[test]
fn attention_equals_plain_loops() {
    // Few keys; so many that a head's are shared out between cores; a window; several queries.
    for (start, t, window) in
        [(0, 1, None), (40, 1, None), (1100, 1, None), (1100, 1, Some(33)), (60, 5, None), (60, 5, Some(20))]
    {
        for (q_type, kv_type, tolerance) in
            [(DType::F32, DType::F32, 2e-6), (DType::F32, DType::F16, 2e-6), (DType::F16, DType::F16, 2e-3)]
        {
            let q = random(&[2, 6, t, 24], q_type);
            let (keys, values) = (random(&[2, 2, 1200, 24], kv_type), random(&[2, 2, 1200, 24], kv_type));
            let span = Span::new(start, t, window);
            let right = plain(&q, &keys, &values, start, window.unwrap_or(usize::MAX));
            assert_close(&attention(&q, &keys, &values, &span).unwrap(), &right.to_dtype(q_type).unwrap(), tolerance);
        }
    }
}
