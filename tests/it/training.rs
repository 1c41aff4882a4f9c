//! LoRA training: the backward pass by hand against candle's automatic differentiation and finite differences, and what a
//! step promises.

use candle_core::{D, DType, Device, Result, Tensor, Var};
use roofline::{
    model::{
        LayerWeights, Linear, Model, ModelConfig, ModelError, Weights,
        lora::{Lora, LoraSettings},
        train::{TrainSettings, Trainer, ids_tensor},
        weights::Stacked,
    },
    workload::{ModelShape, Target, random},
};

/// A model of a few thousand weights whose sizes all differ.
fn config(window: Option<usize>) -> ModelConfig {
    ModelConfig {
        shape: ModelShape {
            vocabulary: 23,
            hidden: 16,
            intermediate: 20,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            head_dim: 6,
            tied_head: false,
        },
        rope_theta: 10_000.0,
        norm_eps: 1e-5,
        window,
        max_positions: 64,
    }
}

/// Uniform values with this deviation, a function of seed and place.
fn values(seed: u32, deviation: f64, dims: &[usize]) -> Tensor {
    let count = dims.iter().product::<usize>() as u32;
    let value = |at| (deviation * 3.0_f64.sqrt() * random::unit(roofline::workload::Dtype::F32, seed, at)) as f32;
    Tensor::from_vec((0..count).map(value).collect::<Vec<f32>>(), dims, &Device::Cpu).unwrap()
}

fn dense(seed: u32, rows: usize, columns: usize, dtype: DType) -> Linear {
    let deviation = 1.0 / (columns as f64).sqrt();
    Linear::Dense(values(seed, deviation, &[rows, columns]).to_dtype(dtype).unwrap())
}

fn norm(seed: u32, hidden: usize, dtype: DType) -> Tensor {
    values(seed, 0.2, &[hidden]).affine(1.0, 1.0).unwrap().to_dtype(dtype).unwrap()
}

fn model(config: &ModelConfig, dtype: DType) -> Model {
    let (hidden, inner) = (config.hidden(), config.intermediate());
    let (heads, kv_heads) = (config.heads() * config.head_dim(), config.kv_heads() * config.head_dim());
    let layer = |index: usize| {
        let seed = 100 * (index as u32 + 1);
        LayerWeights {
            attention_norm: norm(seed, hidden, dtype),
            qkv: Stacked::one(dense(seed + 1, heads + 2 * kv_heads, hidden, dtype)),
            o: dense(seed + 2, hidden, heads, dtype),
            mlp_norm: norm(seed + 3, hidden, dtype),
            gate_up: Stacked::one(dense(seed + 4, 2 * inner, hidden, dtype)),
            down: dense(seed + 5, hidden, inner, dtype),
        }
    };
    let weights = Weights {
        config: config.clone(),
        embedding: Linear::Dense(values(1, 1.0, &[config.vocabulary(), hidden]).to_dtype(dtype).unwrap()),
        layers: (0..config.layers()).map(layer).collect(),
        norm: norm(2, hidden, dtype),
        head: dense(3, config.vocabulary(), hidden, dtype),
        dtype,
    };
    Model::new(weights).unwrap()
}

/// Adapters on these targets whose A and B are both away from zero.
fn lora(config: &ModelConfig, targets: &[Target]) -> Lora {
    let mut lora = Lora::new(config, LoraSettings::new(3, targets), &Device::Cpu).unwrap();
    let noise = values(77, 0.2, lora.parameters().dims());
    lora.set_parameters((lora.parameters() + noise).unwrap()).unwrap();
    lora
}

fn trainer<'a>(model: &'a Model, lora: Lora, change: impl FnOnce(&mut TrainSettings)) -> Trainer<'a> {
    let mut settings = TrainSettings::default();
    change(&mut settings);
    Trainer::new(model, lora, settings).unwrap()
}

fn tokens(config: &ModelConfig, seed: u32, t: usize) -> Vec<u32> {
    (0..t as u32).map(|at| random::pcg(at ^ seed) % config.shape.vocabulary).collect()
}

fn ids(sequences: &[Vec<u32>]) -> Tensor {
    ids_tensor(sequences, &Device::Cpu).unwrap()
}

fn go() -> std::result::Result<(), ModelError> {
    Ok(())
}

fn gradient(trainer: &mut Trainer<'_>, ids: &Tensor) -> (f64, Vec<f32>) {
    let gradient = trainer.gradient(ids, &mut go).unwrap();
    let vector = gradient.vector.affine(1.0 / gradient.scale, 0.0).unwrap();
    (f64::from(gradient.loss.to_scalar::<f32>().unwrap()), vector.to_vec1().unwrap())
}

/// ‖a − b‖ ÷ ‖b‖.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
    let error = square(&mut a.iter().zip(b).map(|(a, b)| a - b));
    (error / square(&mut b.iter().copied())).sqrt()
}

// The oracle: the same model in candle's differentiable steps, with the adapters' vector as the only variable.

struct Oracle<'a> {
    weights: &'a Weights,
    lora: &'a Lora,
    vector: Var,
}

impl Oracle<'_> {
    fn adapted(&self, target: Target, layer: usize, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let y = x.matmul(&weight.t()?)?;
        let Some([(a, a_len), (b, b_len)]) = self.lora.ranges(target) else { return Ok(y) };
        let (outputs, inputs) = target.dims(&self.weights.config.shape);
        let (rank, layers) = (self.lora.settings().rank, self.weights.config.layers());
        let a = self.vector.narrow(0, a, a_len)?.reshape((layers, rank, inputs as usize))?.get(layer)?;
        let b = self.vector.narrow(0, b, b_len)?.reshape((layers, outputs as usize, rank))?.get(layer)?;
        let scale = self.lora.settings().alpha / rank as f64;
        y + x.matmul(&a.t()?)?.matmul(&b.t()?)?.affine(scale, 0.0)?
    }

    fn block(&self, index: usize, x: &Tensor) -> Result<Tensor> {
        let (config, layer) = (&self.weights.config, &self.weights.layers[index]);
        let (heads, kv, d) = (config.heads(), config.kv_heads(), config.head_dim());
        let t = x.dim(0)?;
        let normed = slow_norm(x, &layer.attention_norm, config.norm_eps)?;
        let qkv = matrix(&layer.qkv.parts[0]);
        let q = self.adapted(Target::Q, index, &normed, &qkv.narrow(0, 0, heads * d)?)?;
        let k = self.adapted(Target::K, index, &normed, &qkv.narrow(0, heads * d, kv * d)?)?;
        let v = self.adapted(Target::V, index, &normed, &qkv.narrow(0, (heads + kv) * d, kv * d)?)?;
        let split = |rows: Tensor, heads| rows.reshape((1, t, heads, d))?.transpose(1, 2)?.contiguous();
        let (cos, sin) = angles(config, t)?;
        let q = candle_nn::rotary_emb::rope_slow(&split(q, heads)?, &cos, &sin)?;
        let k = candle_nn::rotary_emb::rope_slow(&split(k, kv)?, &cos, &sin)?;
        let (k, v) = (repeat(&k, heads / kv)?, repeat(&split(v, kv)?, heads / kv)?);
        let scores = q.matmul(&k.transpose(2, 3)?)?.affine(1.0 / (d as f64).sqrt(), 0.0)?;
        let window = config.window.unwrap_or(t);
        let seen = |at: usize| at % t <= at / t && at / t - at % t < window;
        let mask: Vec<f32> = (0..t * t).map(|at| if seen(at) { 0.0 } else { -1e9 }).collect();
        let scores = scores.broadcast_add(&Tensor::from_vec(mask, (t, t), &Device::Cpu)?)?;
        let attended = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&v)?;
        let attended = attended.transpose(1, 2)?.reshape((t, heads * d))?;
        let x = (x + self.adapted(Target::O, index, &attended, &matrix(&layer.o))?)?;
        let normed = slow_norm(&x, &layer.mlp_norm, config.norm_eps)?;
        let (gate_up, inner) = (matrix(&layer.gate_up.parts[0]), config.intermediate());
        let gate = self.adapted(Target::Gate, index, &normed, &gate_up.narrow(0, 0, inner)?)?;
        let up = self.adapted(Target::Up, index, &normed, &gate_up.narrow(0, inner, inner)?)?;
        let gated = (gate.silu()? * up)?;
        x + self.adapted(Target::Down, index, &gated, &matrix(&layer.down))?
    }

    fn loss(&self, tokens: &[u32]) -> Result<Tensor> {
        let ids = Tensor::new(tokens, &Device::Cpu)?;
        let mut x = matrix(&self.weights.embedding).index_select(&ids, 0)?;
        for index in 0..self.weights.layers.len() {
            x = self.block(index, &x)?;
        }
        let normed = slow_norm(&x, &self.weights.norm, self.weights.config.norm_eps)?;
        let logits = normed.matmul(&matrix(&self.weights.head).t()?)?;
        let t = tokens.len() - 1;
        candle_nn::loss::cross_entropy(&logits.narrow(0, 0, t)?, &ids.narrow(0, 1, t)?)
    }
}

fn matrix(linear: &Linear) -> Tensor {
    match linear {
        Linear::Dense(weight) => weight.clone(),
        Linear::Quantized { weight, .. } => weight.dequantize(&Device::Cpu).unwrap(),
    }
}

fn slow_norm(x: &Tensor, w: &Tensor, eps: f64) -> Result<Tensor> {
    let rms = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    x.broadcast_div(&rms)?.broadcast_mul(w)
}

fn angles(config: &ModelConfig, t: usize) -> Result<(Tensor, Tensor)> {
    let d = config.head_dim();
    let frequency = |pair: usize| 1.0 / config.rope_theta.powf(2.0 * pair as f64 / d as f64);
    let table: Vec<f32> = (0..t * d / 2).map(|at| ((at / (d / 2)) as f64 * frequency(at % (d / 2))) as f32).collect();
    let angles = Tensor::from_vec(table, (t, d / 2), &Device::Cpu)?;
    Ok((angles.cos()?, angles.sin()?))
}

fn repeat(keys: &Tensor, group: usize) -> Result<Tensor> {
    let (b, heads, t, d) = keys.dims4()?;
    keys.unsqueeze(2)?.broadcast_as((b, heads, group, t, d))?.reshape((b, heads * group, t, d))
}

fn oracle(weights: &Weights, lora: &Lora, tokens: &[u32]) -> (f64, Vec<f32>) {
    let vector = Var::from_tensor(lora.parameters()).unwrap();
    let oracle = Oracle { weights, lora, vector };
    let loss = oracle.loss(tokens).unwrap();
    let gradient = loss.backward().unwrap().get(&oracle.vector).unwrap().to_vec1().unwrap();
    (f64::from(loss.to_scalar::<f32>().unwrap()), gradient)
}

#[test]
fn every_gradient_equals_automatic_differentiation() {
    for window in [None, Some(3)] {
        let config = config(window);
        let model = model(&config, DType::F32);
        let tokens = tokens(&config, 5, 9);
        let lora = lora(&config, &Target::ALL);
        let (loss, expected) = oracle(&model.weights, &lora, &tokens);
        let mut trainer = trainer(&model, lora, |_| {});
        let (ours, gradient) = gradient(&mut trainer, &ids(&[tokens.clone()]));
        assert!((ours - loss).abs() < 1e-5, "{ours} {loss}");
        assert!((trainer.loss(&ids(&[tokens]), &mut go).unwrap() - loss).abs() < 1e-5);
        for target in Target::ALL {
            for (start, len) in trainer.lora().ranges(target).unwrap() {
                let (ours, expected) = (&gradient[start..start + len], &expected[start..start + len]);
                let apart = apart(ours, expected);
                assert!(apart < 1e-4, "{target:?} {apart}");
                assert!(ours.iter().all(|value| *value != 0.0), "{target:?} has a gradient that is zero");
            }
        }
    }
}
