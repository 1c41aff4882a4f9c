//! Tokenizers against SentencePiece itself, on Mistral's own vocabularies. `scripts/fixtures/tokenizers.py` made what is
//! expected.

use std::{fs, io::Read as _, path::Path};

use flate2::read::GzDecoder;
use roofline::{
    model::{Tokenizer, resolve, weights},
    workload::{ModelShape, Precision},
};
use serde_json::Value;

use crate::weights::{Folder, SHAPE, synthetic};

const VERSIONS: [&str; 2] = ["v1", "v3"];

fn data(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tokenizers").join(name)).unwrap()
}

fn sentencepiece(version: &str) -> Vec<u8> {
    let mut raw = Vec::new();
    GzDecoder::new(&data(&format!("mistral-{version}.model.gz"))[..]).read_to_end(&mut raw).unwrap();
    raw
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn expected() -> Value {
    serde_json::from_slice(&data("expected.json")).unwrap()
}

#[track_caller]
fn assert_as_reference(tokenizer: &Tokenizer, version: &str) {
    let expected = expected();
    assert_eq!(tokenizer.len() as u64, expected[version]["size"].as_u64().unwrap());
    let decoded = texts(&expected[version]["decoded"]);
    for ((text, ids), decoded) in
        texts(&expected["texts"]).iter().zip(expected[version]["ids"].as_array().unwrap()).zip(decoded)
    {
        let ids: Vec<u32> = ids.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        assert_eq!(tokenizer.encode(text).unwrap(), ids, "{version}: {text:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), decoded, "{version}: {text:?}");
    }
    assert_eq!(tokenizer.eos(), Some(2));
    let unknown = tokenizer.decode(&[5, 4_000_000]).unwrap_err().to_string();
    assert!(unknown.contains("4000000"), "{unknown}");
}

#[test]
fn mistrals_vocabularies_tokenise_as_sentencepiece_does() {
    for version in VERSIONS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.model");
        fs::write(&path, sentencepiece(version)).unwrap();
        assert_as_reference(&Tokenizer::open(&path).unwrap(), version);
        assert_as_reference(&Tokenizer::open(folder.path()).unwrap(), version);
    }
}

#[test]
fn the_vocabulary_goes_along_into_a_gguf_file() {
    let folder =
        Folder::new(ModelShape { vocabulary: 32_000, hidden: 32, head_dim: 8, ..SHAPE }, candle_core::DType::F16);
    folder.write("tokenizer.model", &sentencepiece("v1"));
    let path = folder.path().join("with-vocabulary.gguf");
    weights::export(&folder.resolve(Some(&Precision::Q8_0)).unwrap(), &path, &mut |_| Ok(())).unwrap();
    let model = resolve(path.to_str().unwrap(), None, None).unwrap();
    assert_as_reference(&Tokenizer::of(&model).unwrap().unwrap(), "v1");
}

#[test]
fn a_tokenizer_that_does_not_fit_its_model_is_refused() {
    let folder = Folder::new(SHAPE, candle_core::DType::F16);
    let model = folder.resolve(None).unwrap();
    let missing = Tokenizer::of(&model).unwrap_err().to_string();
    assert!(missing.contains("tokenizer.json") && missing.contains("tokenizer.model"), "{missing}");
    folder.write("tokenizer.model", &sentencepiece("v1"));
    let larger = Tokenizer::of(&model).unwrap_err().to_string();
    assert!(larger.contains("32000") && larger.contains("300"), "{larger}");
    assert!(Tokenizer::of(&synthetic(SHAPE, Precision::F16)).unwrap().is_none());
    let tokenizer = Tokenizer::open(&folder.path()).unwrap();
    let padded = synthetic(ModelShape { vocabulary: 32_064, ..SHAPE }, Precision::F16);
    assert!(tokenizer.unnamed(&padded).unwrap().contains("32064 tokens"));
    let fitting = synthetic(ModelShape { vocabulary: 32_000, ..SHAPE }, Precision::F16);
    assert_eq!(tokenizer.unnamed(&fitting), None);
}

#[test]
fn a_tokenizer_json_is_read_before_anything_else() {
    let folder = tempfile::tempdir().unwrap();
    let json = r#"{"version": "1.0", "added_tokens": [{"id": 0, "content": "</s>", "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false, "special": true}], "normalizer": null, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": null, "decoder": null, "model": {"type": "WordLevel", "vocab": {"</s>": 0, "one": 1, "two": 2},
        "unk_token": "</s>"}}"#;
    fs::write(folder.path().join("tokenizer.json"), json).unwrap();
    let tokenizer = Tokenizer::open(folder.path()).unwrap();
    assert_eq!((tokenizer.encode("two one").unwrap(), tokenizer.eos()), (vec![2, 1], Some(0)));
    fs::write(folder.path().join("tokenizer.json"), &json[..200]).unwrap();
    let cut = Tokenizer::open(folder.path()).unwrap_err().to_string();
    assert!(cut.contains("download it again") && cut.contains("tokenizer.json"), "{cut}");
}

#[test]
fn a_sentencepiece_file_cut_off_or_damaged_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.model");
    // The settings come last, so that a cut leaves a model without them.
    let whole = sentencepiece("v1");
    for length in (1..64).chain((64..whole.len()).step_by(40_009)) {
        fs::write(&path, &whole[..length]).unwrap();
        let error = Tokenizer::open(&path).unwrap_err().to_string();
        assert!(error.ends_with("tokenizer.model"), "{error}");
    }
    for raw in [&[0xFF; 100][..], &[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F], b"{}", &[0x0A, 0x02, 0x1D, 0x00]] {
        fs::write(&path, raw).unwrap();
        assert!(Tokenizer::open(&path).is_err(), "{raw:?}");
    }
}
