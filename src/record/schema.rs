//! The JSON Schema of a saved run, generated from the types.

use super::Run;

/// The schema as shipped in `assets/run.schema.json`.
pub fn schema_text() -> String {
    let schema = schemars::schema_for!(Run);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
