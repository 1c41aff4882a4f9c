//! llama-bench's own files: what `-o json` or `-o jsonl` wrote, whoever ran it and when.
//!
//! Files are read leniently where nothing of a figure depends on it: cut off, with other output between the tests, or of
//! versions that lack a field. What would make a figure wrong is as strict as when this program runs llama-bench itself.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::bench::{Tested, cut};

/// The most tests that are read from one file.
const TESTS_MAX: usize = 20_000;

/// One test of such a file.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchResult {
    /// Positions of the prompt; 0 in a test of decoding.
    pub prompt: u32,
    /// Tokens written; 0 in a test of prefill.
    pub generated: u32,
    /// Positions in the cache before.
    pub depth: u32,
    /// How long each repetition took, in seconds.
    pub seconds: Vec<f64>,
    /// What the file holds, as "llama 7B Q4_0".
    pub model_type: String,
    /// The model's file, without its folder.
    pub model_file: Option<String>,
    /// Bytes of its weights.
    pub model_bytes: Option<u64>,
    /// Parameters of the model.
    pub parameters: Option<u64>,
    /// When it ran, as it was written.
    pub tested_at: Option<String>,
    /// How it was run, by the names that this program records.
    pub settings: BTreeMap<String, String>,
}

/// The tests of a file and what could not be read of it, as sentences; `None` if it is nothing of llama-bench's.
pub fn read(text: &str) -> Option<(Vec<BenchResult>, Vec<String>)> {
    let (mut results, mut notes) = (Vec::new(), Vec::new());
    let mut wrong = 0;
    let mut seen = false;
    let mut is_cut_off = false;
    for object in objects(text) {
        if results.len() == TESTS_MAX {
            notes.push(format!("only the first {TESTS_MAX} tests were read"));
            break;
        }
        let Piece::Whole(object) = object else {
            is_cut_off = true;
            break;
        };
        let Ok(mut object) = serde_json::from_str::<Map<String, Value>>(object) else {
            wrong += 1;
            continue;
        };
        if !object.contains_key("n_prompt") || !object.contains_key("n_gen") {
            continue;
        }
        seen = true;
        // Versions before July 2025 know no depth.
        object.entry("n_depth").or_insert(Value::from(0));
        match result(&object) {
            Ok(result) => results.push(result),
            Err(reason) if notes.len() < 8 => notes.push(format!("a test was left out: {reason}")),
            Err(_) => wrong += 1,
        }
    }
    if is_cut_off {
        notes.push("the file is cut off: what comes after the last whole test was lost".to_owned());
    }
    if wrong > 0 {
        notes.push(format!("{wrong} more objects could not be read"));
    }
    seen.then_some((results, notes))
}

fn result(object: &Map<String, Value>) -> Result<BenchResult, String> {
    let tested = Tested::of(object)?;
    let text = |name: &str| object.get(name).and_then(Value::as_str).map(cut).filter(|text| !text.is_empty());
    let [prompt, generated, depth] = tested.counts;
    let file = text("model_filename");
    let file = file.and_then(|path| path.rsplit(['/', '\\']).next().map(str::to_owned)).filter(|name| !name.is_empty());
    Ok(BenchResult {
        prompt,
        generated,
        depth,
        seconds: tested.seconds,
        model_type: tested.model_type,
        model_file: file,
        model_bytes: object.get("model_size").and_then(Value::as_u64).filter(|bytes| *bytes > 0),
        parameters: tested.parameters,
        tested_at: text("test_time"),
        settings: tested.settings,
    })
}

/// What was found of an object.
enum Piece<'a> {
    Whole(&'a str),
    /// Its beginning, and the text ended.
    CutOff,
}

/// The outermost objects of a text, in brackets, on lines of their own or between other words.
fn objects(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find('{')?;
        let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
        for (offset, byte) in rest.bytes().enumerate().skip(start) {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'{' if !quoted => depth += 1,
                b'}' if !quoted => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                let object = rest.get(start..=offset)?;
                rest = rest.get(offset + 1..).unwrap_or_default();
                return Some(Piece::Whole(object));
            }
        }
        rest = "";
        Some(Piece::CutOff)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: &str = r#"{"model_type":"llama 7B Q4_0","model_filename":"/models/a \"b\" {.gguf","model_size":3825065984,
        "backends":"CPU","n_prompt":512,"n_gen":0,"avg_ts":512.0,"test_time":"2026-11-25T09:45:02Z",
        "samples_ns":[1000000000,1000000000]}"#;

    #[test]
    fn a_list_lines_and_a_file_that_was_cut_off_are_read() {
        let line = TEST.replace('\n', " ");
        for (text, cut_off) in [
            (format!("[\n  {TEST},\n  {TEST}\n]\n"), false),
            (format!("{line}\n{line}\n"), false),
            (format!("ggml: found 1 device\n[ {TEST}, {TEST}, {{\"model_type\": \"lla"), true),
        ] {
            let (results, notes) = read(&text).unwrap();
            assert_eq!((results.len(), notes.len()), (2, usize::from(cut_off)), "{text}");
            assert!(notes.iter().all(|note| note.contains("the file is cut off")), "{notes:?}");
            assert_eq!(results[0].model_file.as_deref(), Some("a \"b\" {.gguf"));
            assert_eq!((results[0].prompt, results[0].depth, results[0].seconds.len()), (512, 0, 2));
        }
    }

    #[test]
    fn what_would_be_a_wrong_figure_is_left_out_and_told() {
        let bad = TEST.replace("[1000000000,1000000000]", "[-1,1]");
        let (results, notes) = read(&format!("[{TEST},{bad}]")).unwrap();
        assert_eq!(results.len(), 1);
        assert!(notes[0].contains("no positive time"), "{notes:?}");
        let (results, notes) = read(&TEST.replace("512.0", "51200.0")).unwrap();
        assert!(results.is_empty() && notes[0].contains("not that of its samples"));
    }

    #[test]
    fn anything_else_is_none_of_it() {
        for text in ["", "{", "}", "{}", "[]", "null", "{\"a\":1}", "{{{{", "\"{\"", "llama-bench: error: no model"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&"{".repeat(200_000)), None);
        assert_eq!(read(&"{}".repeat(200_000)), None);
    }
}
