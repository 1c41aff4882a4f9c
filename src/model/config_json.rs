//! Configurations as JSON: Hugging Face's `config.json`, and Mistral's own `params.json`.

use serde_json::{Map, Value, json};

use super::ModelConfig;
use crate::workload::{ModelShape, Precision};

/// A `config.json` that says what a model is, in all spellings that transformers and mlx-lm read. `precision` is one that isn't
/// quantised; `special` are the ids that begin and end a text.
///
/// The base of the rotary positions stands twice: transformers reads `rope_parameters` since version 5, and mlx-lm takes a
/// base of 10 000 where the old place is empty.
pub(crate) fn written(config: &ModelConfig, precision: &Precision, special: &[Value; 2]) -> Value {
    let (shape, [bos, eos]) = (&config.shape, special);
    let dtype = match precision {
        Precision::F32 => "float32",
        Precision::Bf16 => "bfloat16",
        _ => "float16",
    };
    json!({
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_positions,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_parameters": { "rope_type": "default", "rope_theta": config.rope_theta },
        "sliding_window": config.window,
        "attention_bias": false,
        "mlp_bias": false,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "tie_word_embeddings": shape.tied_head,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "pad_token_id": null,
        "dtype": dtype,
        "torch_dtype": dtype,
        "use_cache": true,
    })
}

/// The ids that begin and end a text, as a `config.json` gives them: a number, several, or null.
pub(crate) fn special_ids(text: &str) -> Result<[Value; 2], String> {
    let fields = Fields::parse(text)?;
    Ok(["bos_token_id", "eos_token_id"].map(|name| fields.0.get(name).cloned().unwrap_or_default()))
}

/// What a `config.json` says that the model is; else a sentence without the path.
pub(crate) fn hugging_face(text: &str) -> Result<ModelConfig, String> {
    let fields = Fields::parse(text)?;
    let family = family(&fields)?;
    refuse_variants(&fields)?;
    let (hidden, heads) = (fields.required("hidden_size")?, fields.required("num_attention_heads")?);
    // What a file leaves out is as in the classes of transformers.
    let mistral = family == "mistral";
    let kv_heads = fields.size("num_key_value_heads")?.unwrap_or(if mistral { 8 } else { heads });
    let window = match fields.0.get("sliding_window") {
        None if mistral => Some(4096),
        _ => fields.size("sliding_window")?.map(|window| window as usize),
    };
    let shape = ModelShape {
        vocabulary: fields.required("vocab_size")?,
        hidden,
        intermediate: fields.required("intermediate_size")?,
        layers: fields.required("num_hidden_layers")?,
        heads,
        kv_heads,
        head_dim: match fields.size("head_dim")? {
            Some(head_dim) => head_dim,
            None => hidden.checked_div(heads).unwrap_or(0),
        },
        tied_head: fields.flag("tie_word_embeddings"),
    };
    let config = ModelConfig {
        shape,
        rope_theta: rope_theta(&fields)?,
        norm_eps: fields.number("rms_norm_eps")?.unwrap_or(1e-6),
        window,
        max_positions: fields.size("max_position_embeddings")?.unwrap_or(if mistral { 131_072 } else { 2048 }) as usize,
    };
    config.checked().map_err(|what| format!("this can't be a model: {what}"))
}

/// What a `params.json` of Mistral says that the model is.
pub(crate) fn mistral(text: &str) -> Result<ModelConfig, String> {
    let fields = Fields::parse(text)?;
    if fields.is_set("moe") || fields.is_set("vision_encoder") {
        return Err("mixtures of experts and models that see can't be run here".to_owned());
    }
    let (hidden, heads) = (fields.required("dim")?, fields.required("n_heads")?);
    let shape = ModelShape {
        vocabulary: fields.required("vocab_size")?,
        hidden,
        intermediate: fields.required("hidden_dim")?,
        layers: fields.required("n_layers")?,
        heads,
        kv_heads: fields.size("n_kv_heads")?.unwrap_or(heads),
        head_dim: match fields.size("head_dim")? {
            Some(head_dim) => head_dim,
            None => hidden.checked_div(heads).unwrap_or(0),
        },
        tied_head: fields.flag("tied_embeddings"),
    };
    let config = ModelConfig {
        shape,
        rope_theta: fields.number("rope_theta")?.unwrap_or(10_000.0),
        norm_eps: fields.number("norm_eps")?.unwrap_or(1e-5),
        window: fields.size("sliding_window")?.map(|window| window as usize),
        max_positions: 32_768,
    };
    config.checked().map_err(|what| format!("this can't be a model: {what}"))
}

/// The model's family, if it is one that can be run.
fn family(fields: &Fields) -> Result<String, String> {
    const KNOWN: [&str; 2] = ["MistralForCausalLM", "LlamaForCausalLM"];
    let architecture = fields.0.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str);
    let kind = fields.0.get("model_type").and_then(Value::as_str);
    let known = architecture.is_none_or(|architecture| KNOWN.contains(&architecture));
    match kind {
        Some("mistral" | "llama") if known => Ok(kind.unwrap_or_default().to_owned()),
        None if known && architecture.is_some() => {
            let mistral = architecture == KNOWN.first().copied();
            Ok(if mistral { "mistral" } else { "llama" }.to_owned())
        }
        _ => {
            let found = architecture.filter(|_| !known).or(kind).unwrap_or("nothing that is named");
            Err(format!("the model is {found}; only Mistral's and Llama's causal language models can be run here"))
        }
    }
}

/// Names what the forward pass doesn't do.
fn refuse_variants(fields: &Fields) -> Result<(), String> {
    if let Some(quantisation) = fields.0.get("quantization_config").filter(|value| !value.is_null()) {
        let method = quantisation.get("quant_method").and_then(Value::as_str).unwrap_or("an unknown method");
        return Err(format!("its weights are quantised by {method}; take the unquantised model, or a GGUF file"));
    }
    if let Some(name) = ["attention_bias", "mlp_bias"].into_iter().find(|name| fields.flag(name)) {
        return Err(format!("the model has biases ({name}), which can't be run here"));
    }
    match fields.0.get("hidden_act").and_then(Value::as_str) {
        Some(other) if other != "silu" => Err(format!("its MLP is activated by {other}; only silu can be run here")),
        _ => Ok(()),
    }
}

/// The base of the rotary positions, wherever it stands. A scaling that changes the positions is refused by its name.
fn rope_theta(fields: &Fields) -> Result<f64, String> {
    let mut theta = fields.number("rope_theta")?;
    for name in ["rope_parameters", "rope_scaling"] {
        let Some(Value::Object(inner)) = fields.0.get(name) else { continue };
        let kind = inner.get("rope_type").or_else(|| inner.get("type")).and_then(Value::as_str);
        if let Some(kind) = kind.filter(|kind| *kind != "default") {
            return Err(format!("its rotary positions are scaled ({kind}), which can't be run here"));
        }
        theta = theta.or(Fields(inner.clone()).number("rope_theta")?);
    }
    Ok(theta.unwrap_or(10_000.0))
}

/// The fields of a JSON object.
struct Fields(Map<String, Value>);

impl Fields {
    fn parse(text: &str) -> Result<Self, String> {
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err("this is no configuration: it holds no JSON object".to_owned()),
            Err(error) => Err(format!("this is no JSON ({error}); download it again")),
        }
    }

    /// A size, if there is one: null is none.
    fn size(&self, name: &str) -> Result<Option<u32>, String> {
        let Some(value) = self.0.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
        let whole = value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=4_294_967_295.0).contains(number));
        whole.map(|number| Some(number as u32)).ok_or_else(|| format!("{name} is {value}, which is no size"))
    }

    fn required(&self, name: &str) -> Result<u32, String> {
        self.size(name)?.ok_or_else(|| format!("{name} is missing"))
    }

    fn number(&self, name: &str) -> Result<Option<f64>, String> {
        let Some(value) = self.0.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| format!("{name} is {value}, which is no number"))
    }

    fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    fn is_set(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mistral-7B-v0.1's own, with `change` merged into it.
    fn config(change: &str) -> Result<ModelConfig, String> {
        let mut text: Map<String, Value> = serde_json::from_str(
            r#"{"architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
            "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336, "max_position_embeddings": 32768,
            "model_type": "mistral", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
            "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": false,
            "torch_dtype": "bfloat16", "transformers_version": "4.34.0.dev0", "use_cache": true, "vocab_size": 32000}"#,
        )
        .unwrap();
        let change: Map<String, Value> = serde_json::from_str(change).unwrap();
        text.extend(change);
        hugging_face(&serde_json::to_string(&text).unwrap())
    }

    #[test]
    fn the_published_configurations_are_read() {
        let first = config("{}").unwrap();
        assert_eq!(first.shape, ModelShape::MISTRAL_7B);
        assert_eq!((first.window, first.rope_theta, first.norm_eps), (Some(4096), 1e4, 1e-5));
        let third = config(r#"{"sliding_window": null, "rope_theta": 1000000.0, "vocab_size": 32768}"#).unwrap();
        assert_eq!((third.window, third.rope_theta, third.shape.vocabulary), (None, 1e6, 32_768));
        let newest = config(r#"{"rope_theta": null, "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}"#);
        assert_eq!(newest.unwrap().rope_theta, 5e5);
        assert_eq!(config(r#"{"head_dim": 96}"#).unwrap().shape.head_dim, 96);
        assert!(config(r#"{"tie_word_embeddings": true}"#).unwrap().shape.tied_head);
        let llama = r#"{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_key_value_heads": null,
            "sliding_window": null}"#;
        assert_eq!(config(llama).unwrap().shape.kv_heads, 32);
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let odd = ModelShape { kv_heads: 16, head_dim: 96, tied_head: true, ..ModelShape::MISTRAL_7B };
        for (shape, window) in [(ModelShape::MISTRAL_7B, None), (odd, Some(4096))] {
            let config = ModelConfig { rope_theta: 1e6, window, max_positions: 777, ..ModelConfig::synthetic(shape) };
            let text = written(&config, &Precision::Bf16, &[json!(1), json!([2, 5])]).to_string();
            assert_eq!(hugging_face(&text).unwrap(), config);
            assert_eq!(special_ids(&text).unwrap(), [json!(1), json!([2, 5])]);
        }
    }

    #[test]
    fn what_can_not_be_run_is_refused_by_name() {
        for (change, hint) in [
            (r#"{"model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"]}"#, "Gemma2ForCausalLM"),
            (r#"{"model_type": "mixtral", "architectures": null}"#, "mixtral"),
            (r#"{"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}"#, "llama3"),
            (r#"{"rope_scaling": {"type": "yarn", "factor": 4.0}}"#, "yarn"),
            (r#"{"quantization_config": {"quant_method": "gptq"}}"#, "gptq"),
            (r#"{"attention_bias": true}"#, "attention_bias"),
            (r#"{"hidden_act": "gelu"}"#, "gelu"),
        ] {
            let error = config(change).unwrap_err();
            assert!(error.contains(hint), "{change}: {error}");
        }
    }

    #[test]
    fn numbers_that_lie_are_refused() {
        for (change, hint) in [
            (r#"{"num_hidden_layers": 4000000000}"#, "layers"),
            (r#"{"num_hidden_layers": 0}"#, "layers"),
            (r#"{"num_hidden_layers": -1}"#, "num_hidden_layers"),
            (r#"{"hidden_size": 1e30}"#, "hidden_size"),
            (r#"{"hidden_size": null}"#, "hidden_size is missing"),
            (r#"{"num_attention_heads": 0}"#, "heads"),
            (r#"{"num_key_value_heads": 5}"#, "evenly"),
            (r#"{"num_key_value_heads": 0}"#, "key heads"),
            (r#"{"head_dim": 63}"#, "even"),
            (r#"{"vocab_size": "many"}"#, "vocab_size"),
            (r#"{"rope_theta": -1}"#, "rotary"),
            (r#"{"rms_norm_eps": 0}"#, "epsilon"),
            (r#"{"sliding_window": 0}"#, "window"),
        ] {
            let error = config(change).unwrap_err();
            assert!(error.contains(hint), "{change}: {error}");
        }
        for text in ["", "[]", "{", "null", "\u{0}"] {
            assert!(hugging_face(text).is_err());
        }
    }
}
