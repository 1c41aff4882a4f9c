//! A GGUF file that llama.cpp's own code quantised and wrote, with every type in it. `scripts/fixtures/mixed_gguf.py` made it.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use roofline::model::{Linear, resolve};

use crate::weights::loaded;

fn host(linear: &Linear) -> Tensor {
    match linear {
        Linear::Dense(weight) => weight.to_dtype(DType::F32).unwrap(),
        Linear::Quantized { weight, .. } => weight.dequantize(&Device::Cpu).unwrap(),
    }
}

#[test]
fn every_type_that_llama_cpp_writes_is_read_as_it_reads_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/gguf");
    let model = resolve(folder.join("mixed.gguf").to_str().unwrap(), None, None).unwrap();
    let weights = loaded(&model).unwrap();
    let config = &weights.config;
    assert_eq!((config.rope_theta, config.window, config.max_positions), (1e6, Some(128), 512));
    assert_eq!((config.heads(), config.kv_heads(), config.head_dim()), (4, 2, 16));
    let expected = std::fs::read(folder.join("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
    let mut compared = 0;
    let mut compare = |name: String, tensor: Tensor| {
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        let expected = &expected[&name];
        let number = |value: &serde_json::Value| value.as_f64().unwrap();
        let sum: f64 = values.iter().map(|v| f64::from(*v)).sum();
        let squares: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
        assert!((sum - number(&expected["sum"])).abs() < 1e-4, "{name}: {sum}");
        assert!((squares / number(&expected["squares"]) - 1.0).abs() < 1e-5, "{name}: {squares}");
        // A head's first row stays first when rotary pairs become halves.
        for (value, wanted) in values.iter().zip(expected["first"].as_array().unwrap()) {
            assert!((f64::from(*value) - number(wanted)).abs() < 1e-6, "{name}: {value}");
        }
        compared += 1;
    };
    compare("token_embd.weight".to_owned(), host(&weights.embedding));
    compare("output.weight".to_owned(), host(&weights.head));
    for (index, layer) in weights.layers.iter().enumerate() {
        let stack = |parts: &[Linear]| Tensor::cat(&parts.iter().map(host).collect::<Vec<_>>(), 0).unwrap();
        let (qkv, gate_up) = (stack(&layer.qkv.parts), stack(&layer.gate_up.parts));
        let mut of = |name: &str, tensor: Tensor| compare(format!("blk.{index}.{name}.weight"), tensor);
        of("attn_q", qkv.narrow(0, 0, 64).unwrap());
        of("attn_k", qkv.narrow(0, 64, 32).unwrap());
        of("attn_v", qkv.narrow(0, 96, 32).unwrap());
        of("attn_output", host(&layer.o));
        of("ffn_gate", gate_up.narrow(0, 0, 64).unwrap());
        of("ffn_up", gate_up.narrow(0, 64, 64).unwrap());
        of("ffn_down", host(&layer.down));
    }
    assert_eq!(compared, 16);
    assert_eq!(weights.layers[1].qkv.parts.len(), 2, "queries and keys of one type are one product");
}
