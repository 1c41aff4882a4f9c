//! Weights written to files and read back: every value, in every format and precision.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use roofline::{
    model::{Linear, ModelConfig, ModelError, Weights, resolve, source, weights},
    workload::{Location, ModelRef, ModelShape, Origin, Precision},
};
use safetensors::{Dtype, tensor::TensorView};

/// A model that is made in an instant, and that has the bytes in its vocabulary.
pub(crate) const SHAPE: ModelShape = ModelShape {
    vocabulary: 300,
    hidden: 256,
    intermediate: 512,
    layers: 2,
    heads: 4,
    kv_heads: 2,
    head_dim: 64,
    tied_head: false,
};

pub(crate) fn synthetic(shape: ModelShape, precision: Precision) -> ModelRef {
    source::synthetic("tiny", &ModelConfig::synthetic(shape), precision).unwrap()
}

pub(crate) fn loaded(model: &ModelRef) -> Result<Weights, ModelError> {
    weights::load(model, &Device::Cpu, &mut |_| Ok(()))
}

fn host(linear: &Linear) -> Tensor {
    match linear {
        Linear::Dense(weight) => weight.to_dtype(DType::F32).unwrap(),
        Linear::Quantized { weight, .. } => weight.dequantize(&Device::Cpu).unwrap(),
    }
}

fn stacked(parts: &[Linear]) -> Tensor {
    let parts: Vec<Tensor> = parts.iter().map(host).collect();
    Tensor::cat(&parts, 0).unwrap()
}

/// Every tensor by Hugging Face's name.
fn tensors(weights: &Weights) -> BTreeMap<String, Tensor> {
    let shape = weights.config.shape;
    let (query, kv, inner) = (shape.query_width() as usize, shape.kv_width() as usize, shape.intermediate as usize);
    let f32 = |tensor: &Tensor| tensor.to_dtype(DType::F32).unwrap();
    let mut all = BTreeMap::from([
        ("model.embed_tokens.weight".to_owned(), host(&weights.embedding)),
        ("model.norm.weight".to_owned(), f32(&weights.norm)),
    ]);
    if !shape.tied_head {
        all.insert("lm_head.weight".to_owned(), host(&weights.head));
    }
    for (index, layer) in weights.layers.iter().enumerate() {
        let mut put = |name: &str, tensor: Tensor| all.insert(format!("model.layers.{index}.{name}.weight"), tensor);
        let (qkv, gate_up) = (stacked(&layer.qkv.parts), stacked(&layer.gate_up.parts));
        put("self_attn.q_proj", qkv.narrow(0, 0, query).unwrap());
        put("self_attn.k_proj", qkv.narrow(0, query, kv).unwrap());
        put("self_attn.v_proj", qkv.narrow(0, query + kv, kv).unwrap());
        put("mlp.gate_proj", gate_up.narrow(0, 0, inner).unwrap());
        put("mlp.up_proj", gate_up.narrow(0, inner, inner).unwrap());
        put("self_attn.o_proj", host(&layer.o));
        put("mlp.down_proj", host(&layer.down));
        put("input_layernorm", f32(&layer.attention_norm));
        put("post_attention_layernorm", f32(&layer.mlp_norm));
    }
    all
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
pub(crate) fn assert_same(one: &Weights, other: &Weights) {
    let (one, other) = (tensors(one), tensors(other));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (name, tensor) in &one {
        assert_eq!(values(tensor), values(&other[name]), "{name}");
    }
}

/// Tensors as safetensors holds them.
pub(crate) fn serialized(tensors: &BTreeMap<String, Tensor>, dtype: DType) -> Vec<u8> {
    let raw: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let values = values(tensor).into_iter();
            let raw = match dtype {
                DType::F16 => values.flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect(),
                DType::BF16 => values.flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect(),
                _ => values.flat_map(f32::to_le_bytes).collect(),
            };
            (name.clone(), tensor.dims().to_vec(), raw)
        })
        .collect();
    let dtype = match dtype {
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        _ => Dtype::F32,
    };
    let views = raw.iter().map(|(name, dims, raw)| (name, TensorView::new(dtype, dims.clone(), raw).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

/// A folder with a tiny model in one safetensors file.
pub(crate) struct Folder {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) tensors: BTreeMap<String, Tensor>,
}

impl Folder {
    pub(crate) fn new(shape: ModelShape, dtype: DType) -> Self {
        let weights = loaded(&synthetic(shape, Precision::F32)).unwrap();
        let made = Self { folder: tempfile::tempdir().unwrap(), tensors: tensors(&weights) };
        made.write("config.json", config_json(shape).as_bytes());
        made.save(dtype);
        made
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.folder.path().join(name), content).unwrap();
    }

    pub(crate) fn save(&self, dtype: DType) {
        self.write("model.safetensors", &serialized(&self.tensors, dtype));
    }

    pub(crate) fn resolve(&self, precision: Option<&Precision>) -> Result<ModelRef, ModelError> {
        resolve(self.folder.path().to_str().unwrap(), precision, None)
    }
}

pub(crate) fn config_json(shape: ModelShape) -> String {
    let ModelShape { vocabulary, hidden, intermediate, layers, heads, kv_heads, head_dim, tied_head } = shape;
    serde_json::json!({
        "architectures": ["MistralForCausalLM"], "model_type": "mistral", "vocab_size": vocabulary,
        "hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": head_dim,
        "tie_word_embeddings": tied_head, "sliding_window": null, "rope_theta": 1e4, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 32768, "hidden_act": "silu",
    })
    .to_string()
}

fn exported(model: &ModelRef, folder: &Path) -> PathBuf {
    let path = folder.join(format!("{}.gguf", model.precision));
    weights::export(model, &path, &mut |_| Ok(())).unwrap();
    path
}

#[test]
fn what_is_exported_as_gguf_is_read_back_value_for_value() {
    let folder = tempfile::tempdir().unwrap();
    for precision in Precision::NAMED {
        let made = synthetic(SHAPE, precision.clone());
        let read = resolve(exported(&made, folder.path()).to_str().unwrap(), None, None).unwrap();
        assert_eq!((read.origin, &read.precision, read.shape), (Origin::Files, &precision, SHAPE));
        let (one, other) = (loaded(&made).unwrap(), loaded(&read).unwrap());
        assert_eq!(one.dtype, other.dtype, "{precision}");
        assert_eq!(one.is_quantized(), other.is_quantized(), "{precision}");
        assert_same(&one, &other);
        // Norms are f32 in the file.
        let norms = if precision.dense_bytes() == Some(2) { 2 * (2 * 2 + 1) * 256 } else { 0 };
        assert_eq!(read.weight_bytes, made.weight_bytes + norms, "{precision}");
    }
}

#[test]
fn a_tied_head_is_the_embedding_table_in_every_format() {
    let shape = ModelShape { tied_head: true, ..SHAPE };
    let folder = tempfile::tempdir().unwrap();
    let made = synthetic(shape, Precision::Q4KM);
    let read = resolve(exported(&made, folder.path()).to_str().unwrap(), None, None).unwrap();
    assert!(read.shape.tied_head);
    assert_eq!(read.token_bytes, read.weight_bytes);
    assert_same(&loaded(&made).unwrap(), &loaded(&read).unwrap());
    let dense = Folder::new(shape, DType::F32);
    let read = dense.resolve(None).unwrap();
    assert!(read.shape.tied_head);
    assert_same(&loaded(&synthetic(shape, Precision::F32)).unwrap(), &loaded(&read).unwrap());
}

#[test]
fn safetensors_are_read_in_each_type_from_a_folder_and_a_file() {
    for (dtype, precision) in
        [(DType::F32, Precision::F32), (DType::F16, Precision::F16), (DType::BF16, Precision::Bf16)]
    {
        let folder = Folder::new(SHAPE, dtype);
        let model = folder.resolve(None).unwrap();
        let made = synthetic(SHAPE, precision.clone());
        assert_eq!(
            (&model.precision, model.weight_bytes, model.token_bytes),
            (&precision, made.weight_bytes, made.token_bytes)
        );
        let read = loaded(&model).unwrap();
        assert_same(&loaded(&made).unwrap(), &read);
        assert_eq!(
            read.dtype,
            if dtype == DType::F16 { DType::F16 } else { DType::F32 },
            "bf16 is widened on the processor"
        );
        let file = folder.path().join("model.safetensors");
        let file = resolve(file.to_str().unwrap(), None, None).unwrap();
        assert_eq!(file.shape, SHAPE);
        assert_same(&read, &loaded(&file).unwrap());
    }
}

#[test]
fn dense_files_are_converted_to_every_precision_while_they_are_loaded() {
    let folder = Folder::new(SHAPE, DType::F32);
    for precision in Precision::NAMED {
        let model = folder.resolve(Some(&precision)).unwrap();
        let made = synthetic(SHAPE, precision.clone());
        assert_eq!(model.weight_bytes, made.weight_bytes);
        // The synthetic chunks are quantised by the same blocks.
        assert_same(&loaded(&made).unwrap(), &loaded(&model).unwrap());
    }
    let stored = Precision::Stored("Q3_K_L".to_owned());
    assert!(folder.resolve(Some(&stored)).unwrap_err().to_string().contains("Q4_K_M"));
}

#[test]
fn shards_and_mistrals_own_files_hold_the_same_model() {
    let folder = Folder::new(SHAPE, DType::F32);
    let whole = loaded(&folder.resolve(None).unwrap()).unwrap();

    let shards = tempfile::tempdir().unwrap();
    let (mut map, mut parts) = (serde_json::Map::new(), [BTreeMap::new(), BTreeMap::new()]);
    for (index, (name, tensor)) in folder.tensors.iter().enumerate() {
        let part = index % 2;
        map.insert(name.clone(), format!("model-0000{}-of-00002.safetensors", part + 1).into());
        parts[part].insert(name.clone(), tensor.clone());
    }
    for (part, tensors) in parts.iter().enumerate() {
        let name = format!("model-0000{}-of-00002.safetensors", part + 1);
        fs::write(shards.path().join(name), serialized(tensors, DType::F32)).unwrap();
    }
    let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string();
    fs::write(shards.path().join("model.safetensors.index.json"), index).unwrap();
    fs::write(shards.path().join("config.json"), config_json(SHAPE)).unwrap();
    let model = resolve(shards.path().to_str().unwrap(), None, None).unwrap();
    assert_same(&whole, &loaded(&model).unwrap());
    fs::remove_file(shards.path().join("model-00002-of-00002.safetensors")).unwrap();
    let error = resolve(shards.path().to_str().unwrap(), None, None).unwrap_err().to_string();
    assert!(error.contains("missing") && error.contains("model-00002-of-00002.safetensors"), "{error}");

    let own = tempfile::tempdir().unwrap();
    fs::write(own.path().join("consolidated.safetensors"), serialized(&consolidated(&folder.tensors), DType::F32))
        .unwrap();
    let params = serde_json::json!({"dim": 256, "n_layers": 2, "head_dim": 64, "hidden_dim": 512, "n_heads": 4,
        "n_kv_heads": 2, "norm_eps": 1e-5, "vocab_size": 300, "rope_theta": 10000.0});
    fs::write(own.path().join("params.json"), params.to_string()).unwrap();
    let model = resolve(own.path().to_str().unwrap(), None, None).unwrap();
    assert_same(&whole, &loaded(&model).unwrap());
}

/// Under Mistral's names, with the rows of queries and keys in rotary pairs.
fn consolidated(tensors: &BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let names = [
        ("model.embed_tokens", "tok_embeddings"),
        ("model.norm", "norm"),
        ("lm_head", "output"),
        ("model.layers", "layers"),
        ("input_layernorm", "attention_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_proj", "attention.wq"),
        ("self_attn.k_proj", "attention.wk"),
        ("self_attn.v_proj", "attention.wv"),
        ("self_attn.o_proj", "attention.wo"),
        ("mlp.gate_proj", "feed_forward.w1"),
        ("mlp.up_proj", "feed_forward.w3"),
        ("mlp.down_proj", "feed_forward.w2"),
    ];
    let pairs = |tensor: &Tensor| {
        let (rows, columns) = tensor.dims2().unwrap();
        let halves = tensor.reshape((rows / 64, 2, 32, columns)).unwrap();
        halves.transpose(1, 2).unwrap().contiguous().unwrap().reshape((rows, columns)).unwrap()
    };
    let rename = |(name, tensor): (&String, &Tensor)| {
        let rotary = name.contains("q_proj") || name.contains("k_proj");
        let renamed = names.iter().fold(name.clone(), |name, (from, to)| name.replace(from, to));
        (renamed, if rotary { pairs(tensor) } else { tensor.clone() })
    };
    tensors.iter().map(rename).collect()
}

#[test]
fn models_are_found_by_name_in_hugging_faces_cache_and_listed() {
    let (hub, folder) = (tempfile::tempdir().unwrap(), Folder::new(SHAPE, DType::F16));
    let repository = hub.path().join("models--tiny--mistral");
    let snapshot = repository.join("snapshots").join("0123abcd");
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repository.join("refs")).unwrap();
    fs::write(repository.join("refs/main"), "0123abcd\n").unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(folder.path().join(name), snapshot.join(name)).unwrap();
    }
    for asked in ["tiny/mistral", "tiny/mistral@0123abcd", "tiny/mistral/model.safetensors"] {
        let model = resolve(asked, None, Some(hub.path())).unwrap();
        assert_eq!((model.name.as_str(), model.shape, model.precision), (asked, SHAPE, Precision::F16));
    }
    let absent = resolve("tiny/other", None, Some(hub.path())).unwrap_err().to_string();
    assert!(absent.contains("roofline models download tiny/other"), "{absent}");
    fs::create_dir_all(hub.path().join("models--tiny--broken/snapshots/main")).unwrap();
    let list = source::list(Some(hub.path()), &[folder.path(), hub.path().join("nowhere")]);
    let names: Vec<&str> = list.iter().map(|found| found.asked.as_str()).collect();
    assert_eq!(names[..5], ["mistral-7b", "mistral-1b", "mistral-100m", "tiny/broken", "tiny/mistral"]);
    assert!(list[3].model.as_ref().unwrap_err().contains("no weights"));
    assert_eq!(list.len(), 6, "and the folder itself");
    assert!(list[4..].iter().all(|found| found.model.is_ok()));
}

#[test]
fn a_model_that_changed_after_it_was_chosen_is_not_loaded() {
    let folder = Folder::new(SHAPE, DType::F32);
    let model = folder.resolve(None).unwrap();
    let wrong = ModelRef { shape: ModelShape { layers: 1, ..SHAPE }, ..model.clone() };
    assert!(loaded(&wrong).unwrap_err().to_string().contains("choose it again"));
    let nowhere = ModelRef { location: Location(None), ..model };
    assert!(loaded(&nowhere).unwrap_err().to_string().contains("path"));
}
