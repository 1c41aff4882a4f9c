//! The forward pass: against other implementations, and against itself taken another way.

use std::path::Path;

use candle_core::{DType, Device, Tensor, quantized::GgmlDType};
use candle_nn::VarBuilder;
use candle_transformers::models::mistral;
use roofline::{
    model::{Model, ModelConfig, ModelError, source, weights},
    workload::{ModelShape, random},
};

use super::tiny::{self, Kind, Named};

const F32: Kind = Kind::Dense(DType::F32);

fn model(config: &ModelConfig, kind: Kind, device: &Device) -> Model {
    Model::new(tiny::weights(config, &tiny::tensors(config, 7), kind, device)).unwrap()
}

/// Token ids, batch × t.
fn ids(config: &ModelConfig, batch: usize, t: usize, device: &Device) -> Tensor {
    let one = |i: u32| random::pcg(i ^ 0x5eed) % config.shape.vocabulary;
    let ids: Vec<u32> = (0..(batch * t) as u32).map(one).collect();
    Tensor::from_vec(ids, (batch, t), device).unwrap()
}

/// Logits of every position: batch·t rows.
fn logits(model: &Model, ids: &Tensor) -> Vec<Vec<f32>> {
    let (batch, t) = ids.dims2().unwrap();
    let mut cache = model.cache(batch, t).unwrap();
    let hidden = model.forward(ids, &mut cache, &mut || Ok(())).unwrap();
    assert_eq!((hidden.dims(), cache.len()), ([batch, t, model.weights.config.hidden()].as_slice(), t));
    rows(&model.logits(&hidden.flatten_to(1).unwrap()).unwrap())
}

fn rows(tensor: &Tensor) -> Vec<Vec<f32>> {
    tensor.to_dtype(DType::F32).unwrap().to_device(&Device::Cpu).unwrap().to_vec2().unwrap()
}

/// ‖a − b‖ ÷ ‖b‖ over everything.
fn error(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    assert_eq!(a.len(), b.len());
    let pairs = || a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let difference: f64 = pairs().map(|(a, b)| (a - b).powi(2)).sum();
    let size: f64 = pairs().map(|(_, b)| b * b).sum();
    (difference / size).sqrt()
}

#[track_caller]
fn assert_close(a: &[Vec<f32>], b: &[Vec<f32>], tolerance: f64) {
    let error = error(a, b);
    assert!(error <= tolerance, "relative error {error:.2e}");
}

fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn oracle(config: &ModelConfig, named: &Named) -> mistral::Model {
    let of = mistral::Config {
        vocab_size: config.vocabulary(),
        hidden_size: config.hidden(),
        intermediate_size: config.intermediate(),
        num_hidden_layers: config.layers(),
        num_attention_heads: config.heads(),
        head_dim: Some(config.head_dim()),
        num_key_value_heads: config.kv_heads(),
        hidden_act: candle_nn::Activation::Silu,
        max_position_embeddings: config.max_positions,
        rms_norm_eps: config.norm_eps,
        rope_theta: config.rope_theta,
        sliding_window: config.window,
        use_flash_attn: false,
    };
    let tensors = named.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
    mistral::Model::new(&of, VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)).unwrap()
}

#[test]
fn logits_equal_candle_transformers_in_prefill_and_decode() {
    for (heads, kv_heads, theta) in [(4, 4, 1e4), (4, 1, 1e6), (8, 2, 1e4)] {
        let config = ModelConfig { rope_theta: theta, ..tiny::config(heads, kv_heads, None) };
        let named = tiny::tensors(&config, 7);
        let (model, mut oracle) = (model(&config, F32, &Device::Cpu), oracle(&config, &named));
        let ids = ids(&config, 2, 24, &Device::Cpu);
        let mut cache = model.cache(2, 24).unwrap();
        for (from, t) in [(0, 20), (20, 1), (21, 1), (22, 2)] {
            let piece = ids.narrow(1, from, t).unwrap().contiguous().unwrap();
            let ours = model.last_logits(&piece, &mut cache, &mut || Ok(())).unwrap();
            let theirs = oracle.forward(&piece, from).unwrap().flatten_to(1).unwrap();
            let difference = largest_difference(&rows(&ours), &rows(&theirs));
            assert!(difference < 1e-4, "{heads}:{kv_heads} at {from}: {difference}");
        }
    }
}

#[test]
fn a_prompt_at_once_equals_one_position_at_a_time() {
    // 8 heads a key head, 4 and 1; and a window whose edge is passed.
    for (heads, kv_heads, window) in [(8, 1, None), (8, 2, None), (2, 2, None), (4, 2, Some(7))] {
        let config = tiny::config(heads, kv_heads, window);
        let model = model(&config, F32, &Device::Cpu);
        let ids = ids(&config, 1, 40, &Device::Cpu);
        let mut cache = model.cache(1, 64).unwrap();
        let one = |i| {
            let id = ids.narrow(1, i, 1).unwrap();
            rows(&model.last_logits(&id, &mut cache, &mut || Ok(())).unwrap()).remove(0)
        };
        let single: Vec<Vec<f32>> = (0..40).map(one).collect();
        assert_close(&single, &logits(&model, &ids), 2e-6);
    }
}

#[test]
fn a_prompt_in_pieces_equals_one_at_once() {
    let config = tiny::config(4, 2, Some(50));
    let model = model(&config, F32, &Device::Cpu);
    // Longer than one piece, and passing the window's edge within the second.
    let length = model.chunk() * 2 + 9;
    let ids = ids(&config, 2, length, &Device::Cpu);
    let whole = logits(&model, &ids);
    let mut cache = model.cache(2, length).unwrap();
    let mut parts = Vec::new();
    for (from, t) in [(0, 100), (100, 3), (103, length - 103)] {
        let piece = ids.narrow(1, from, t).unwrap().contiguous().unwrap();
        parts.push(model.forward(&piece, &mut cache, &mut || Ok(())).unwrap());
    }
    let hidden = Tensor::cat(&parts, 1).unwrap();
    assert_close(&rows(&model.logits(&hidden.flatten_to(1).unwrap()).unwrap()), &whole, 2e-6);
}

#[test]
fn a_window_hides_what_lies_outside_and_nothing_else() {
    let config = tiny::config(4, 2, Some(6));
    let narrow = ModelConfig { shape: ModelShape { layers: 1, ..config.shape }, ..config };
    let model = model(&narrow, F32, &Device::Cpu);
    let ids = ids(&narrow, 1, 20, &Device::Cpu);
    let before = logits(&model, &ids);
    // With one block, position 12 is seen by 12 to 17, through keys, and by no other.
    let mut changed: Vec<u32> = ids.flatten_all().unwrap().to_vec1().unwrap();
    changed[12] = (changed[12] + 1) % narrow.shape.vocabulary;
    let after = logits(&model, &Tensor::from_vec(changed, (1, 20), &Device::Cpu).unwrap());
    for position in 0..20 {
        let same = before[position] == after[position];
        assert_eq!(same, !(12..18).contains(&position), "position {position}");
    }
}

#[test]
fn sequences_of_a_batch_do_not_see_each_other() {
    for window in [None, Some(9)] {
        let config = tiny::config(4, 2, window);
        let model = model(&config, F32, &Device::Cpu);
        let ids = ids(&config, 3, 21, &Device::Cpu);
        let together = logits(&model, &ids);
        let mut cache = model.cache(3, 22).unwrap();
        model.forward(&ids, &mut cache, &mut || Ok(())).unwrap();
        let next = ids.narrow(1, 3, 1).unwrap().contiguous().unwrap();
        let decoded = rows(&model.last_logits(&next, &mut cache, &mut || Ok(())).unwrap());
        for sequence in 0..3 {
            let alone = ids.narrow(0, sequence, 1).unwrap();
            assert_close(&together[sequence * 21..(sequence + 1) * 21], &logits(&model, &alone), 2e-6);
            let mut cache = model.cache(1, 22).unwrap();
            model.forward(&alone, &mut cache, &mut || Ok(())).unwrap();
            let alone =
                rows(&model.last_logits(&next.narrow(0, sequence, 1).unwrap(), &mut cache, &mut || Ok(())).unwrap());
            assert_close(&decoded[sequence..=sequence], &alone, 2e-6);
        }
    }
}

#[test]
fn smaller_types_stay_within_their_precision() {
    let config = tiny::wide(&tiny::config(4, 2, None));
    let ids = ids(&config, 1, 30, &Device::Cpu);
    let right = logits(&model(&config, F32, &Device::Cpu), &ids);
    let kinds = [
        (Kind::Dense(DType::F16), 0.01),
        (Kind::Quantized(GgmlDType::Q8_0), 0.05),
        (Kind::Quantized(GgmlDType::Q4_0), 0.6),
        (Kind::Quantized(GgmlDType::Q4K), 0.5),
        (Kind::Quantized(GgmlDType::Q6K), 0.15),
    ];
    for (kind, tolerance) in kinds {
        let model = model(&config, kind, &Device::Cpu);
        let error = error(&logits(&model, &ids), &right);
        assert!(error < tolerance, "{kind:?}: {error:.3}");
        assert!(error > 1e-5, "{kind:?} is not exact: {error:.1e}");
    }
}

/// A quantised model computes what its own weights, dequantised, do.
#[test]
fn quantised_logits_equal_those_of_the_dequantised_weights() {
    let config = tiny::wide(&tiny::config(4, 2, None));
    let mut named = tiny::tensors(&config, 7);
    let ids = ids(&config, 2, 30, &Device::Cpu);
    let quantized = logits(&model(&config, Kind::Quantized(GgmlDType::Q8_0), &Device::Cpu), &ids);
    for (name, tensor) in &mut named {
        if !name.ends_with("norm.weight") {
            let blocks = candle_core::quantized::QTensor::quantize(tensor, GgmlDType::Q8_0).unwrap();
            *tensor = blocks.dequantize(&Device::Cpu).unwrap();
        }
    }
    let dense = Model::new(tiny::weights(&config, &named, F32, &Device::Cpu)).unwrap();
    // What is left is the rounding of activations to 8 bits in the products.
    assert_close(&quantized, &logits(&dense, &ids), 0.06);
}

/// Devices other than the processor that this machine and build have.
fn accelerators() -> Vec<Device> {
    let mut devices = Vec::new();
    if candle_core::utils::metal_is_available() {
        devices.extend(Device::new_metal(0).ok());
    }
    if candle_core::utils::cuda_is_available() {
        devices.extend(Device::new_cuda(0).ok());
    }
    devices
}

#[test]
fn every_device_equals_the_processor() {
    for device in accelerators() {
        for window in [None, Some(9)] {
            let config = tiny::wide(&tiny::config(8, 2, window));
            let right = logits(&model(&config, F32, &Device::Cpu), &ids(&config, 2, 40, &Device::Cpu));
            let kinds = [
                (F32, 1e-4),
                (Kind::Dense(DType::F16), 0.01),
                (Kind::Dense(DType::BF16), 0.08),
                (Kind::Quantized(GgmlDType::Q8_0), 0.05),
                (Kind::Quantized(GgmlDType::Q4K), 0.5),
            ];
            for (kind, tolerance) in kinds {
                let model = model(&config, kind, &device);
                let ids = ids(&config, 2, 40, &device);
                assert_close(&logits(&model, &ids), &right, tolerance);
                let mut cache = model.cache(2, 40).unwrap();
                let mut last = Vec::new();
                for i in 0..40 {
                    let id = ids.narrow(1, i, 1).unwrap().contiguous().unwrap();
                    last = rows(&model.last_logits(&id, &mut cache, &mut || Ok(())).unwrap());
                }
                assert_close(&last, &[right[39].clone(), right[79].clone()], tolerance * 1.5);
            }
        }
    }
}

#[test]
fn the_next_token_is_the_most_likely_one() {
    let config = tiny::config(4, 2, None);
    let model = model(&config, F32, &Device::Cpu);
    let ids = ids(&config, 2, 9, &Device::Cpu);
    let mut cache = model.cache(2, 10).unwrap();
    let next: Vec<u32> = model.next(&ids, &mut cache, &mut || Ok(())).unwrap().to_vec1().unwrap();
    cache.clear();
    let logits = rows(&model.last_logits(&ids, &mut cache, &mut || Ok(())).unwrap());
    for (next, logits) in next.iter().zip(&logits) {
        assert!(logits.iter().all(|logit| *logit <= logits[*next as usize]));
    }
}

#[test]
fn a_rewound_cache_goes_on_from_there() {
    let config = tiny::config(4, 2, None);
    let model = model(&config, F32, &Device::Cpu);
    let ids = ids(&config, 1, 12, &Device::Cpu);
    let mut cache = model.cache(1, 12).unwrap();
    model.forward(&ids, &mut cache, &mut || Ok(())).unwrap();
    cache.rewind(8);
    let tail = ids.narrow(1, 8, 4).unwrap().contiguous().unwrap();
    let again = rows(&model.last_logits(&tail, &mut cache, &mut || Ok(())).unwrap());
    assert_close(&again, &logits(&model, &ids)[11..], 2e-6);
    cache.rewind(20);
    assert_eq!(cache.len(), 12, "there is nothing to go on to");
}

#[test]
fn what_does_not_fit_is_refused_in_a_sentence() {
    let config = tiny::config(4, 2, None);
    let model = model(&config, F32, &Device::Cpu);
    let mut cache = model.cache(1, 8).unwrap();
    let mut run = |batch, t| {
        let ids = ids(&config, batch, t, &Device::Cpu);
        model.next(&ids, &mut cache, &mut || Ok(())).unwrap_err().to_string()
    };
    assert!(run(1, 9).contains("9 positions don't fit into a cache for 8"));
    assert!(run(2, 1).contains("2 sequences were given to a cache for 1"));
    let long = model.cache(1, 513).unwrap_err();
    assert!(matches!(&long, ModelError::Asked(_)), "{long:?}");
    assert!(long.to_string().contains("more than the 512"), "{long}");
    let foreign = Tensor::from_vec(vec![96_u32], (1, 1), &Device::Cpu).unwrap();
    model.next(&foreign, &mut cache, &mut || Ok(())).unwrap_err();
    assert!(cache.is_empty(), "what failed left nothing behind");
}

#[test]
fn a_long_pass_can_be_cancelled_between_its_products() {
    let config = tiny::config(4, 2, None);
    let model = model(&config, F32, &Device::Cpu);
    let ids = ids(&config, 1, 8, &Device::Cpu);
    let mut cache = model.cache(1, 8).unwrap();
    let mut left = 5;
    let mut check = || {
        left -= 1;
        if left == 0 { Err(ModelError::Cancelled) } else { Ok(()) }
    };
    let error = model.next(&ids, &mut cache, &mut check).unwrap_err();
    assert!(matches!(error, ModelError::Cancelled), "{error:?}");
    assert!(cache.is_empty());
}

/// The fixtures of `scripts/fixtures/hf_mistral.py`.
#[test]
fn logits_equal_those_of_hugging_face_transformers() {
    for (name, theta, window) in [("window", 1e4, Some(6)), ("theta", 1e6, None)] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hf-mistral").join(name);
        let found = source::resolve(folder.to_str().unwrap(), None, None).unwrap();
        let weights = weights::load(&found, &Device::Cpu, &mut |_| Ok(())).unwrap();
        assert_eq!((weights.config.rope_theta, weights.config.window), (theta, window));
        let expected = candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu).unwrap();
        let ids = expected["ids"].to_dtype(DType::U32).unwrap();
        let ours = logits(&Model::new(weights).unwrap(), &ids);
        let difference = largest_difference(&ours, &rows(&expected["logits"].flatten_to(1).unwrap()));
        assert!(difference < 1e-4, "{name}: {difference}");
    }
}
