//! Small random models, made in the test.

use std::collections::HashMap;

use candle_core::{
    DType, Device, Tensor,
    quantized::{GgmlDType, QTensor},
};
use roofline::{
    model::{LayerWeights, Linear, ModelConfig, Weights, weights::Stacked},
    workload::{ModelShape, random},
};

/// Tensors by the names that safetensors files have for them.
pub(crate) type Named = HashMap<String, Tensor>;

/// How a test wants its matrices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Dense(DType),
    Quantized(GgmlDType),
}

/// A model whose heads come in groups of `heads ÷ kv_heads`.
pub(crate) fn config(heads: u32, kv_heads: u32, window: Option<usize>) -> ModelConfig {
    ModelConfig {
        shape: ModelShape {
            vocabulary: 96,
            hidden: 64,
            intermediate: 112,
            layers: 3,
            heads,
            kv_heads,
            head_dim: 16,
            tied_head: false,
        },
        rope_theta: 10_000.0,
        norm_eps: 1e-5,
        window,
        max_positions: 512,
    }
}

/// One whose rows are whole blocks of every quantisation.
pub(crate) fn wide(config: &ModelConfig) -> ModelConfig {
    let shape = ModelShape { vocabulary: 128, hidden: 256, intermediate: 512, head_dim: 64, ..config.shape };
    ModelConfig { shape, ..config.clone() }
}

/// Values around zero with this spread, the same for the same seed.
fn values(shape: &[usize], spread: f64, seed: u32) -> Tensor {
    let count: usize = shape.iter().product();
    let one = |i: u32| (random::unit(roofline::workload::Dtype::F32, random::pcg(seed), i) * spread) as f32;
    Tensor::from_vec((0..count as u32).map(one).collect::<Vec<_>>(), shape, &Device::Cpu).unwrap()
}

/// All weights of a model in f32 on the processor.
pub(crate) fn tensors(config: &ModelConfig, seed: u32) -> Named {
    let (hidden, inner, head) = (config.hidden(), config.intermediate(), config.head_dim());
    let (q, kv) = (config.heads() * head, config.kv_heads() * head);
    let mut named = Named::new();
    let mut put = |name: String, shape: &[usize]| {
        let seed = seed.wrapping_add(named.len() as u32 * 977);
        let tensor = if name.ends_with("norm.weight") {
            (values(shape, 0.5, seed) + 1.0).unwrap()
        } else {
            // Keeps the size of what passes through, so that rounding is not blown up from block to block.
            values(shape, 1.8 / (shape[1] as f64).sqrt(), seed)
        };
        named.insert(name, tensor);
    };
    put("model.embed_tokens.weight".to_owned(), &[config.vocabulary(), hidden]);
    put("model.norm.weight".to_owned(), &[hidden]);
    put("lm_head.weight".to_owned(), &[config.vocabulary(), hidden]);
    for layer in 0..config.layers() {
        let mut put = |name: &str, shape: &[usize]| put(format!("model.layers.{layer}.{name}.weight"), shape);
        put("input_layernorm", &[hidden]);
        put("post_attention_layernorm", &[hidden]);
        put("self_attn.q_proj", &[q, hidden]);
        put("self_attn.k_proj", &[kv, hidden]);
        put("self_attn.v_proj", &[kv, hidden]);
        put("self_attn.o_proj", &[hidden, q]);
        put("mlp.gate_proj", &[inner, hidden]);
        put("mlp.up_proj", &[inner, hidden]);
        put("mlp.down_proj", &[hidden, inner]);
    }
    named
}

/// The weights as the forward pass wants them. Activations are in the matrices' type, and f32 beside quantised ones.
pub(crate) fn weights(config: &ModelConfig, named: &Named, kind: Kind, device: &Device) -> Weights {
    let dtype = match kind {
        Kind::Dense(dtype) => dtype,
        Kind::Quantized(_) if device.is_cuda() => DType::F16,
        Kind::Quantized(_) => DType::F32,
    };
    let vector = |name: &str| named[name].to_dtype(dtype).unwrap().to_device(device).unwrap();
    let matrix = |parts: &[&str]| {
        let parts: Vec<&Tensor> = parts.iter().map(|name| &named[&format!("{name}.weight")]).collect();
        let whole = Tensor::cat(&parts, 0).unwrap();
        match kind {
            Kind::Dense(dtype) => Linear::Dense(whole.to_dtype(dtype).unwrap().to_device(device).unwrap()),
            Kind::Quantized(kind) => Linear::quantized(QTensor::quantize_onto(&whole, kind, device).unwrap()).unwrap(),
        }
    };
    let layer = |layer: usize| {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        let of = |parts: &[&str]| {
            let full: Vec<String> = parts.iter().map(|part| name(part)).collect();
            matrix(&full.iter().map(String::as_str).collect::<Vec<_>>())
        };
        LayerWeights {
            attention_norm: vector(&name("input_layernorm.weight")),
            qkv: match kind {
                // Two parts, as where values are quantised finer than queries and keys.
                Kind::Quantized(_) => {
                    Stacked { parts: vec![of(&["self_attn.q_proj", "self_attn.k_proj"]), of(&["self_attn.v_proj"])] }
                }
                Kind::Dense(_) => Stacked::one(of(&["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"])),
            },
            o: of(&["self_attn.o_proj"]),
            mlp_norm: vector(&name("post_attention_layernorm.weight")),
            gate_up: Stacked::one(of(&["mlp.gate_proj", "mlp.up_proj"])),
            down: of(&["mlp.down_proj"]),
        }
    };
    Weights {
        config: config.clone(),
        embedding: matrix(&["model.embed_tokens"]),
        layers: (0..config.layers()).map(layer).collect(),
        norm: vector("model.norm.weight"),
        head: matrix(&["lm_head"]),
        dtype,
    }
}
