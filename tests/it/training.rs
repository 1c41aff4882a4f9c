//! LoRA training: the backward pass by hand against candle's automatic differentiation and finite differences, and what a
//! step promises.

use candle_core::{
    D, DType, Device, Result, Tensor, Var,
    quantized::{GgmlDType, QTensor},
};
use roofline::{
    model::{
        LayerWeights, Linear, Model, ModelConfig, ModelError, Weights,
        lora::{Lora, LoraSettings},
        train::{TrainSettings, Trainer, compare_gradients, ids_tensor},
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

fn trainer(model: &Model, lora: Lora, change: impl FnOnce(&mut TrainSettings)) -> Trainer<'_> {
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

#[expect(clippy::unnecessary_wraps, reason = "what a step calls may fail")]
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
        let (heads, kv, dim) = (config.heads(), config.kv_heads(), config.head_dim());
        let rows = x.dim(0)?;
        let normed = slow_norm(x, &layer.attention_norm, config.norm_eps)?;
        let qkv = matrix(&layer.qkv.parts[0]);
        let q = self.adapted(Target::Q, index, &normed, &qkv.narrow(0, 0, heads * dim)?)?;
        let k = self.adapted(Target::K, index, &normed, &qkv.narrow(0, heads * dim, kv * dim)?)?;
        let v = self.adapted(Target::V, index, &normed, &qkv.narrow(0, (heads + kv) * dim, kv * dim)?)?;
        let split = |part: Tensor, heads| part.reshape((1, rows, heads, dim))?.transpose(1, 2)?.contiguous();
        let (cos, sin) = angles(config, rows)?;
        let q = candle_nn::rotary_emb::rope_slow(&split(q, heads)?, &cos, &sin)?;
        let k = candle_nn::rotary_emb::rope_slow(&split(k, kv)?, &cos, &sin)?;
        let (k, v) = (repeat(&k, heads / kv)?, repeat(&split(v, kv)?, heads / kv)?);
        let scores = q.matmul(&k.transpose(2, 3)?)?.affine(1.0 / (dim as f64).sqrt(), 0.0)?;
        let window = config.window.unwrap_or(rows);
        let seen = |at: usize| at % rows <= at / rows && at / rows - at % rows < window;
        let mask: Vec<f32> = (0..rows * rows).map(|at| if seen(at) { 0.0 } else { -1e9 }).collect();
        let scores = scores.broadcast_add(&Tensor::from_vec(mask, (rows, rows), &Device::Cpu)?)?;
        let attended = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&v)?;
        let attended = attended.transpose(1, 2)?.reshape((rows, heads * dim))?;
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
        let (ours, gradient) = gradient(&mut trainer, &ids(std::slice::from_ref(&tokens)));
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

#[test]
fn gradients_equal_finite_differences() {
    const STEP: f32 = 1e-2;
    let config = config(None);
    let model = model(&config, DType::F32);
    let ids = ids(&[tokens(&config, 5, 9)]);
    let mut trainer = trainer(&model, lora(&config, &Target::ALL), |_| {});
    let (_, gradient) = gradient(&mut trainer, &ids);
    let start = trainer.lora().parameters().to_vec1::<f32>().unwrap();
    for target in Target::ALL {
        for (from, len) in trainer.lora().ranges(target).unwrap() {
            // The largest of its gradient stands out of the rounding of the loss best.
            let at = (from..from + len).max_by(|a, b| gradient[*a].abs().total_cmp(&gradient[*b].abs())).unwrap();
            let mut loss_at = |change: f32| {
                let mut moved = start.clone();
                moved[at] += change;
                let moved = Tensor::from_vec(moved, start.len(), &Device::Cpu).unwrap();
                trainer.lora_mut().set_parameters(moved).unwrap();
                trainer.loss(&ids, &mut go).unwrap()
            };
            // Fourth order, so that a step far above the rounding still has no curvature in it.
            let near = loss_at(STEP) - loss_at(-STEP);
            let far = loss_at(2.0 * STEP) - loss_at(-2.0 * STEP);
            let slope = (8.0 * near - far) / (12.0 * f64::from(STEP));
            let ours = f64::from(gradient[at]);
            assert!((ours - slope).abs() <= 1e-2 * slope.abs() + 1e-5, "{target:?} {ours} {slope}");
        }
    }
}

#[test]
fn any_subset_of_targets_has_the_gradients_it_has_among_all() {
    let config = config(None);
    let model = model(&config, DType::F32);
    let ids = ids(&[tokens(&config, 5, 9)]);
    for targets in [&[Target::Q, Target::V][..], &[Target::K], &[Target::Up, Target::O], &[Target::Down, Target::Gate]]
    {
        let lora = lora(&config, targets);
        let (_, expected) = oracle(&model.weights, &lora, &tokens(&config, 5, 9));
        let (_, ours) = gradient(&mut trainer(&model, lora, |_| {}), &ids);
        assert!(apart(&ours, &expected) < 1e-4, "{targets:?}");
    }
}

#[test]
fn checkpointing_changes_no_gradient() {
    let config = config(None);
    let model = model(&config, DType::F32);
    let ids = ids(&[tokens(&config, 5, 9)]);
    let kept = gradient(&mut trainer(&model, lora(&config, &Target::ALL), |_| {}), &ids);
    let again = gradient(&mut trainer(&model, lora(&config, &Target::ALL), |s| s.checkpointing = true), &ids);
    assert_eq!(kept, again);
}

#[test]
fn a_batch_is_the_mean_of_its_sequences() {
    let config = config(Some(4));
    let model = model(&config, DType::F32);
    let sequences = [tokens(&config, 5, 9), tokens(&config, 6, 9)];
    let mut trainer = trainer(&model, lora(&config, &Target::ALL), |_| {});
    let (loss, both) = gradient(&mut trainer, &ids(&sequences));
    let (first_loss, first) = gradient(&mut trainer, &ids(&sequences[..1]));
    let (second_loss, second) = gradient(&mut trainer, &ids(&sequences[1..]));
    assert!((loss - f64::midpoint(first_loss, second_loss)).abs() < 1e-5);
    let mean: Vec<f32> = first.iter().zip(&second).map(|(a, b)| f32::midpoint(*a, *b)).collect();
    assert!(apart(&both, &mean) < 1e-5);
}

#[test]
fn long_batches_go_through_the_head_in_parts() {
    let config = config(None);
    let model = model(&config, DType::F32);
    let sequences: Vec<_> = (0..20).map(|seed| tokens(&config, seed, 40)).collect();
    let mut trainer = trainer(&model, lora(&config, &[Target::Q, Target::V]), |_| {});
    let (loss, whole) = gradient(&mut trainer, &ids(&sequences));
    let parts: Vec<_> = sequences.chunks(5).map(|some| gradient(&mut trainer, &ids(some))).collect();
    let mean = |at: usize| parts.iter().map(|(_, part)| part[at]).sum::<f32>() / 4.0;
    assert!((loss - parts.iter().map(|(loss, _)| loss).sum::<f64>() / 4.0).abs() < 1e-5);
    assert!(apart(&whole, &(0..whole.len()).map(mean).collect::<Vec<_>>()) < 1e-4);
}

#[test]
fn a_step_is_adamw_on_gradients_clipped_to_the_norm() {
    let config = config(None);
    let model = model(&config, DType::F32);
    for clip in [None, Some(0.05), Some(1e3)] {
        let mut trainer = trainer(&model, lora(&config, &Target::ALL), |s| {
            (s.clip, s.learning_rate, s.weight_decay) = (clip, 1e-2, 0.01);
        });
        let mut expected: Vec<f64> =
            trainer.lora().parameters().to_vec1::<f32>().unwrap().iter().map(|v| f64::from(*v)).collect();
        let mut moments = vec![(0.0_f64, 0.0_f64); expected.len()];
        for step in 1..=3 {
            let ids = ids(&[tokens(&config, step, 9)]);
            let (_, gradient) = gradient(&mut trainer, &ids);
            let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            let factor = clip.map_or(1.0, |clip: f64| (clip / norm).min(1.0));
            let unbias = |beta: f64| 1.0 / (1.0 - beta.powf(f64::from(step)));
            for ((value, (first, second)), g) in expected.iter_mut().zip(&mut moments).zip(&gradient) {
                let g = f64::from(*g) * factor;
                *first = 0.9 * *first + 0.1 * g;
                *second = 0.999 * *second + 0.001 * g * g;
                let change = *first * unbias(0.9) / ((*second * unbias(0.999)).sqrt() + 1e-8);
                *value = *value * (1.0 - 1e-2 * 0.01) - 1e-2 * change;
            }
            let result = trainer.step(&ids, &mut go).unwrap();
            assert!((result.grad_norm / norm - 1.0).abs() < 1e-4, "the norm told is that before clipping");
        }
        let ours = trainer.lora().parameters().to_vec1::<f32>().unwrap();
        let expected: Vec<f32> = expected.iter().map(|v| *v as f32).collect();
        assert!(apart(&ours, &expected) < 1e-4, "{clip:?} {}", apart(&ours, &expected));
    }
}

#[test]
fn f16_with_its_scale_has_the_gradients_of_f32() {
    let config = config(None);
    let half = model(&config, DType::F16);
    // The same weights, rounded to f16, in f32.
    let mut widened = half.weights.clone();
    widen(&mut widened);
    let full = Model::new(widened).unwrap();
    let ids = ids(&[tokens(&config, 5, 9)]);
    let (loss, expected) = gradient(&mut trainer(&full, lora(&config, &Target::ALL), |_| {}), &ids);
    let mut trainer = trainer(&half, lora(&config, &Target::ALL), |_| {});
    assert_eq!(trainer.loss_scale(), 32768.0);
    let (half_loss, ours) = gradient(&mut trainer, &ids);
    assert!((half_loss / loss - 1.0).abs() < 5e-3, "{half_loss} {loss}");
    assert!(apart(&ours, &expected) < 1e-2, "{}", apart(&ours, &expected));
    assert!(trainer.lora().parameters().dtype() == DType::F32);
}

fn widen(weights: &mut Weights) {
    let f32_of = |tensor: &Tensor| tensor.to_dtype(DType::F32).unwrap();
    let linear = |linear: &Linear| Linear::Dense(f32_of(&matrix(linear)));
    weights.embedding = linear(&weights.embedding);
    weights.head = linear(&weights.head);
    weights.norm = f32_of(&weights.norm);
    for layer in &mut weights.layers {
        layer.attention_norm = f32_of(&layer.attention_norm);
        layer.mlp_norm = f32_of(&layer.mlp_norm);
        layer.o = linear(&layer.o);
        layer.down = linear(&layer.down);
        for stacked in [&mut layer.qkv, &mut layer.gate_up] {
            let parts: Vec<_> = stacked.parts.iter().map(|part| matrix(&linear(part))).collect();
            *stacked = Stacked::one(Linear::Dense(Tensor::cat(&parts, 0).unwrap()));
        }
    }
    weights.dtype = DType::F32;
}

#[test]
fn a_norm_that_is_not_finite_skips_the_step_and_halves_the_scale() {
    let config = config(None);
    let mut broken = model(&config, DType::F16);
    // So large that scaled gradients overflow f16 while the loss does not.
    let large = matrix(&broken.weights.head).affine(3000.0, 0.0).unwrap();
    broken.weights.norm = broken.weights.norm.affine(1.0 / 3000.0, 0.0).unwrap();
    broken.weights.head = Linear::Dense(large);
    let ids = ids(&[tokens(&config, 5, 9)]);
    let mut trainer = trainer(&broken, lora(&config, &Target::ALL), |_| {});
    let before = trainer.lora().parameters().to_vec1::<f32>().unwrap();
    let result = trainer.step(&ids, &mut go).unwrap();
    assert!(result.skipped && result.loss.is_finite(), "{result:?}");
    assert_eq!(trainer.loss_scale(), 16384.0);
    assert_eq!(trainer.lora().parameters().to_vec1::<f32>().unwrap(), before);
    let recovered = (0..20).any(|_| !trainer.step(&ids, &mut go).unwrap().skipped);
    assert!(recovered, "the scale falls until the step can be done");
}

#[test]
fn frozen_weights_stay_and_the_loss_falls() {
    let config = config(None);
    let model = model(&config, DType::F32);
    let tables = |weights: &Weights| -> Vec<Vec<f32>> {
        let layers = weights.layers.iter().flat_map(|layer| {
            let parts = layer.qkv.parts.iter().chain(&layer.gate_up.parts).chain([&layer.o, &layer.down]);
            parts.map(matrix).chain([layer.attention_norm.clone(), layer.mlp_norm.clone()]).collect::<Vec<_>>()
        });
        let rest = [matrix(&weights.embedding), matrix(&weights.head), weights.norm.clone()];
        layers.chain(rest).map(|tensor| tensor.flatten_all().unwrap().to_vec1().unwrap()).collect()
    };
    let before = tables(&model.weights);
    let ids = ids(&[tokens(&config, 5, 9), tokens(&config, 8, 9)]);
    let lora = Lora::new(&config, LoraSettings::new(4, &[Target::Q, Target::V]), &Device::Cpu).unwrap();
    let mut trainer = trainer(&model, lora, |s| s.learning_rate = 1e-2);
    let losses: Vec<f64> = (0..60).map(|_| trainer.step(&ids, &mut go).unwrap().loss).collect();
    assert!(losses[59] < 0.8 * losses[0], "{} to {}", losses[0], losses[59]);
    assert_eq!(tables(&model.weights), before);
}

#[test]
fn a_window_ends_the_influence_of_what_lies_before() {
    // Two layers of a window of 3 reach back 4 positions: the last prediction can't know what the second token was.
    let change = |window| {
        let config = config(window);
        let model = model(&config, DType::F32);
        let mut sequence = tokens(&config, 5, 12);
        let before = loss_of_last(&model, &sequence);
        sequence[1] = (sequence[1] + 1) % config.shape.vocabulary;
        (loss_of_last(&model, &sequence) - before).abs()
    };
    assert!(change(Some(3)) < 1e-5);
    assert!(change(None) > 1e-3);
}

/// The loss of the last target alone: the sum of all less that without the end.
fn loss_of_last(model: &Model, sequence: &[u32]) -> f64 {
    let mut trainer = trainer(model, lora(&model.weights.config, &Target::ALL), |_| {});
    let mut total = |len: usize| trainer.loss(&ids(&[sequence[..len].to_vec()]), &mut go).unwrap() * (len - 1) as f64;
    total(sequence.len()) - total(sequence.len() - 1)
}

/// A model whose matrices are quantised, two parts of different types where products are stacked.
fn quantized_model(config: &ModelConfig) -> Model {
    let mut weights = model(config, DType::F32).weights;
    let quantize = |weight: &Tensor, dtype| Linear::quantized(QTensor::quantize(weight, dtype).unwrap()).unwrap();
    let whole = |linear: &Linear, dtype| quantize(&matrix(linear), dtype);
    let queries_and_keys = (config.heads() + config.kv_heads()) * config.head_dim();
    for layer in &mut weights.layers {
        let qkv = matrix(&layer.qkv.parts[0]);
        let values = qkv.dim(0).unwrap() - queries_and_keys;
        // Quantising reads the whole storage, whatever the view.
        let part = |start, len| qkv.narrow(0, start, len).unwrap().force_contiguous().unwrap();
        layer.qkv.parts = vec![
            quantize(&part(0, queries_and_keys), GgmlDType::Q4_0),
            quantize(&part(queries_and_keys, values), GgmlDType::Q8_0),
        ];
        layer.gate_up = Stacked::one(whole(&layer.gate_up.parts[0], GgmlDType::Q4_0));
        layer.o = whole(&layer.o, GgmlDType::Q8_0);
        layer.down = whole(&layer.down, GgmlDType::Q8_0);
    }
    weights.embedding = whole(&weights.embedding, GgmlDType::Q8_0);
    weights.head = whole(&weights.head, GgmlDType::Q8_0);
    Model::new(weights).unwrap()
}

#[test]
fn quantised_weights_train_as_the_same_weights_dequantised() {
    let mut config = config(None);
    // Blocks are of 32.
    (config.shape.hidden, config.shape.intermediate, config.shape.head_dim) = (32, 64, 8);
    let quantized = quantized_model(&config);
    let mut dense = quantized.weights.clone();
    widen(&mut dense);
    let tokens = tokens(&config, 5, 9);
    let (loss, expected) = oracle(&dense, &lora(&config, &Target::ALL), &tokens);
    let (ours_loss, ours) = gradient(&mut trainer(&quantized, lora(&config, &Target::ALL), |_| {}), &ids(&[tokens]));
    // The products of the forward pass also round activations to 8 bits.
    assert!((ours_loss / loss - 1.0).abs() < 1e-2, "{ours_loss} {loss}");
    assert!(apart(&ours, &expected) < 3e-2, "{}", apart(&ours, &expected));
}

#[test]
fn what_can_not_be_trained_is_said() {
    let config = config(None);
    let model = model(&config, DType::F32);
    let none = Lora::new(&config, LoraSettings::new(0, &[Target::Q]), &Device::Cpu).unwrap_err();
    assert!(none.to_string().contains("rank"));
    let mut trainer = trainer(&model, lora(&config, &[Target::Q]), |_| {});
    assert!(trainer.step(&ids(&[vec![1]]), &mut go).unwrap_err().to_string().contains("longer"));
    let long = trainer.step(&ids(&[vec![1; 65]]), &mut go).unwrap_err();
    assert!(long.to_string().contains("longer than the 64"), "{long}");
    assert!(ids_tensor(&[vec![1, 2], vec![1]], &Device::Cpu).is_err());
    // Wherever it is asked for, and within blocks: more often than there are blocks to go through and back.
    for at in 0..12 {
        let mut calls = 0;
        let mut cancel = || {
            calls += 1;
            if calls > at { Err(ModelError::Cancelled) } else { Ok(()) }
        };
        let before = trainer.lora().parameters().to_vec1::<f32>().unwrap();
        let stopped = trainer.step(&ids(&[vec![1, 2, 3]]), &mut cancel);
        assert!(matches!(stopped, Err(ModelError::Cancelled)), "{at}");
        assert_eq!(trainer.lora().parameters().to_vec1::<f32>().unwrap(), before);
    }
}

#[test]
fn the_check_of_gradients_passes_for_what_is_right_and_not_for_what_is_wrong() {
    let mut config = config(None);
    (config.shape.hidden, config.shape.intermediate, config.shape.head_dim) = (32, 64, 8);
    let settings = LoraSettings::new(3, &Target::ALL);
    let error = |model: &Model| {
        let comparison = compare_gradients(model, &settings, 2, &mut go).unwrap();
        assert!(comparison.pairs.len() >= 14);
        let off: f64 = comparison.pairs.iter().map(|(ours, expected)| (ours - expected).powi(2)).sum();
        let size: f64 = comparison.pairs.iter().map(|(_, expected)| expected.powi(2)).sum();
        ((off / size).sqrt(), comparison.tolerance)
    };
    for right in [model(&config, DType::F32), model(&config, DType::F16), quantized_model(&config)] {
        let (error, tolerance) = error(&right);
        assert!(error < tolerance / 2.0, "{error} {tolerance}");
    }
    // A model whose rotations don't fit its gradients' is as wrong as a device that computes them so.
    let mut wrong = model(&config, DType::F16);
    wrong.weights.norm = wrong.weights.norm.affine(1.0, f64::NAN).unwrap();
    assert!(compare_gradients(&wrong, &settings, 1, &mut go).unwrap().pairs.iter().any(|(ours, _)| ours.is_nan()));
}
