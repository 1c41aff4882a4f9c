//! (being replaced)

use std::path::Path;

use crate::workload::{Location, ModelRef, ModelShape, Origin, Precision};

pub(super) fn resolve(name: &str, precision: Option<&Precision>, _hub: Option<&Path>) -> Result<ModelRef, String> {
    let seven = ModelShape::MISTRAL_7B;
    let shape = match name {
        "mistral-7b" => seven,
        "mistral-1b" => ModelShape { hidden: 2048, intermediate: 5632, layers: 22, heads: 16, kv_heads: 4, ..seven },
        "mistral-100m" => {
            ModelShape { hidden: 768, intermediate: 2048, layers: 8, heads: 12, kv_heads: 4, head_dim: 64, ..seven }
        }
        _ => {
            return Err(format!("no model is called \"{name}\"; the presets are mistral-7b, mistral-1b, mistral-100m"));
        }
    };
    let precision = precision.cloned().unwrap_or(Precision::F16);
    let bits = match precision {
        Precision::F32 => 32.0,
        Precision::Q8_0 => 8.5,
        Precision::Q4_0 => 4.5,
        Precision::Q4KM => 4.85,
        _ => 16.0,
    };
    let bytes = |elements: u64| (elements as f64 * bits / 8.0) as u64;
    let weight_bytes = bytes(shape.parameters());
    let token_bytes = weight_bytes - bytes(shape.embedding_elements());
    Ok(ModelRef {
        name: name.to_owned(),
        origin: Origin::Synthetic,
        precision,
        shape,
        weight_bytes,
        token_bytes,
        location: Location(None),
    })
}
