//! The shipped schema is that of the types, and files of the released format keep loading.

use std::{fs, path::Path};

use roofline::record::{Run, Store, schema_text};
use serde_json::{Value, json};

use crate::sample;

fn in_repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_shipped_schema_is_that_of_the_types() {
    let path = in_repository("assets/run.schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, schema_text()).unwrap();
    }
    let shipped = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        shipped == schema_text(),
        "assets/run.schema.json is out of date; write it again with: UPDATE_SCHEMA=1 cargo test schema"
    );
}

#[test]
fn every_variant_validates_and_comes_back_the_same() {
    let run = sample::run("20251009T085320Z-0a1b", 0);
    let document = serde_json::to_value(&run).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema_text()).unwrap()).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(serde_json::from_value::<Run>(document).unwrap(), run);
}

#[test]
fn the_schema_refuses_what_is_no_run() {
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema_text()).unwrap()).unwrap();
    let mut document = serde_json::to_value(sample::run("a", 0)).unwrap();
    assert!(validator.is_valid(&document));
    document["entries"][0]["outcome"]["status"] = json!("splendid");
    assert!(!validator.is_valid(&document));
    assert!(!validator.is_valid(&json!({})));
}

#[test]
fn unknown_fields_of_a_newer_program_are_ignored_everywhere() {
    let run = sample::run("a", 0);
    let mut document = serde_json::to_value(&run).unwrap();
    add_to_structs(&mut document);
    assert_eq!(serde_json::from_value::<Run>(document).unwrap(), run);
}

/// Adds a field to every object but the one whose keys are data.
fn add_to_structs(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.iter_mut().filter(|(name, _)| *name != "settings").for_each(|(_, value)| add_to_structs(value));
            fields.insert("added_later".to_owned(), json!({ "deep": [1, 2] }));
        }
        Value::Array(values) => values.iter_mut().for_each(add_to_structs),
        _ => {}
    }
}

/// This file is what the first release wrote. It is never regenerated: if it no longer loads, the format was broken.
#[test]
fn a_file_of_format_1_still_loads() {
    let run = Store::load(&in_repository("tests/data/run-format-1.json")).unwrap();
    assert_eq!(run.id, "20251009T085320Z-0a1b");
    assert_eq!(run.entries.len(), 7);
    assert_eq!(run.entries[0].headline().unwrap().summary.median, 3.56e12);
    assert_eq!(run.machine.chip, "Apple M5");
}
