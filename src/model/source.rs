//! What a model's name means: a preset, files on this machine, or a repository in Hugging Face's cache. Only headers are
//! read here.

use std::path::Path;

use super::{
    ModelConfig, ModelError,
    config::PRESETS,
    weights::tensors::{TensorId, bytes},
};
use crate::workload::{Location, ModelRef, Origin, Precision};

/// What `asked` means: the name of a preset, the path of a GGUF file, of a safetensors file or of a folder with them, or
/// `org/name` in Hugging Face's cache, whose folder is `hub`.
///
/// Synthetic weights are made in `precision`, F16 without; dense files are converted to it while they are loaded.
pub fn resolve(asked: &str, precision: Option<&Precision>, hub: Option<&Path>) -> Result<ModelRef, ModelError> {
    if let Some(config) = ModelConfig::preset(asked) {
        return synthetic(asked, &config, precision.cloned().unwrap_or(Precision::F16));
    }
    let _ = hub;
    let presets = PRESETS.map(|(name, _)| name).join(", ");
    Err(ModelError::Asked(format!("no model is called \"{asked}\"; the presets are {presets}")))
}

/// A synthetic model of any shape, in one of [`Precision::NAMED`].
pub fn synthetic(name: &str, config: &ModelConfig, precision: Precision) -> Result<ModelRef, ModelError> {
    if let Precision::Stored(stored) = &precision {
        let names = Precision::NAMED.map(|known| known.id().to_owned()).join(", ");
        return Err(ModelError::Asked(format!("synthetic weights are not made in {stored}; choose from {names}")));
    }
    let (weight_bytes, token_bytes) = sizes(config, |tensor| {
        let (rows, columns) = tensor.dims(&config.shape);
        bytes(tensor.stored_as(&precision, config), rows * columns) as u64
    });
    Ok(ModelRef {
        name: name.to_owned(),
        origin: Origin::Synthetic,
        precision,
        shape: config.shape,
        weight_bytes,
        token_bytes,
        location: Location(None),
    })
}

/// Bytes of all weights, and of those that one decoded token reads: all but an embedding table that is only looked up.
fn sizes(config: &ModelConfig, size: impl Fn(TensorId) -> u64) -> (u64, u64) {
    let all = TensorId::all(&config.shape).into_iter().map(&size).sum();
    let table = if config.shape.tied_head { 0 } else { size(TensorId::Embedding) };
    (all, all - table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_sizes_their_names_promise() {
        for (name, least, most) in
            [("mistral-7b", 7.2e9, 7.3e9), ("mistral-1b", 1.0e9, 1.2e9), ("mistral-100m", 0.9e8, 1.1e8)]
        {
            let model = resolve(name, None, None).unwrap();
            let parameters = model.shape.parameters();
            assert!((least..most).contains(&(parameters as f64)), "{name}: {parameters}");
            assert_eq!(model.weight_bytes, 2 * parameters, "{name}");
            assert_eq!(model.weight_bytes - model.token_bytes, 2 * model.shape.embedding_elements());
            assert!(model.shape.hidden.is_multiple_of(256) && model.shape.intermediate.is_multiple_of(256));
        }
        // llama.cpp's own Mistral-7B Q4_K_M is 4.37 GB.
        let q4 = resolve("mistral-7b", Some(&Precision::Q4KM), None).unwrap();
        assert!((4.3e9..4.4e9).contains(&(q4.weight_bytes as f64)), "{}", q4.weight_bytes);
    }
}
