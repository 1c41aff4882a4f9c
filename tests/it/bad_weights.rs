//! Files of weights that are cut off, that lie, or that hold something else: always a sentence, never a panic.

use std::{collections::BTreeMap, fs, path::Path};

use candle_core::{DType, Tensor};
use roofline::{
    model::{ModelError, resolve, weights},
    workload::{ModelShape, Precision},
};

use crate::weights::{Folder, SHAPE, config_json, loaded, serialized, synthetic};

/// Smaller still, for loops over every length.
const SMALL: ModelShape = ModelShape { vocabulary: 259, hidden: 32, intermediate: 32, layers: 1, head_dim: 8, ..SHAPE };

/// Resolves and loads what lies at a path; the error's sentence if either fails.
fn opened(path: &Path) -> Result<(), String> {
    let model = resolve(path.to_str().unwrap(), None, None).map_err(|error| error.to_string())?;
    loaded(&model).map(|_| ()).map_err(|error| error.to_string())
}

/// The sentence with which a path is refused.
#[track_caller]
fn refused(path: &Path, hints: &[&str]) {
    let error = opened(path).expect_err("it was read");
    for hint in hints {
        assert!(error.contains(hint), "no \"{hint}\" in: {error}");
    }
}

fn gguf(precision: Precision) -> (tempfile::TempDir, std::path::PathBuf, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.gguf");
    weights::export(&synthetic(SMALL, precision), &path, &mut |_| Ok(())).unwrap();
    let raw = fs::read(&path).unwrap();
    (folder, path, raw)
}

#[test]
fn a_gguf_file_cut_off_anywhere_is_refused() {
    let (_folder, path, raw) = gguf(Precision::Q8_0);
    assert_eq!(opened(&path), Ok(()));
    let lengths = (0..400).chain((400..raw.len()).step_by(997)).chain([raw.len() - 40, raw.len() - 33]);
    for length in lengths {
        fs::write(&path, &raw[..length]).unwrap();
        let error = opened(&path).expect_err("it was read");
        assert!(error.ends_with(path.to_str().unwrap()), "{length}: {error}");
    }
}

#[test]
fn a_gguf_header_with_any_byte_changed_never_panics() {
    let (_folder, path, raw) = gguf(Precision::Q4_0);
    let mut refused = 0;
    // The beginning of the header, and around the names of tensors.
    let tensors = raw.windows(8).position(|window| window == b"blk.0.at").unwrap();
    for at in (0..500).chain(tensors - 100..tensors + 300) {
        for value in [0, 0xFF] {
            let mut changed = raw.clone();
            changed[at] = value;
            fs::write(&path, &changed).unwrap();
            refused += u32::from(opened(&path).is_err());
        }
    }
    assert!(refused > 100, "{refused}");
}

/// Puts `to` in place of the only occurrence of `from`, which is as long.
fn replaced(raw: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = raw.windows(from.len()).position(|window| window == from).expect("it is there");
    let mut out = raw.to_vec();
    out[at..at + to.len()].copy_from_slice(to);
    out
}

/// Where the description of a tensor goes on after its name.
fn after_name(raw: &[u8], name: &str) -> usize {
    raw.windows(name.len()).position(|window| window == name.as_bytes()).unwrap() + name.len()
}

#[test]
fn gguf_headers_that_lie_are_refused_by_what_they_say() {
    let (_folder, path, raw) = gguf(Precision::Q8_0);
    let name = "blk.0.ffn_down.weight";
    // After a name: the number of dimensions, two dimensions, the type, the offset.
    let at = after_name(&raw, name);
    let with = |from: usize, bytes: &[u8]| {
        let mut changed = raw.clone();
        changed[from..from + bytes.len()].copy_from_slice(bytes);
        fs::write(&path, changed).unwrap();
    };
    with(at + 4, &u64::MAX.to_le_bytes());
    refused(&path, &[name, "shape"]);
    with(at + 12, &64_u64.to_le_bytes());
    refused(&path, &[name, "shape"]);
    with(at, &9_u32.to_le_bytes());
    refused(&path, &[name, "dimensions"]);
    for (kind, called) in [(16_u32, "IQ2_XXS"), (23, "IQ4_XS"), (34, "TQ1_0"), (39, "MXFP4"), (99, "type 99")] {
        with(at + 20, &kind.to_le_bytes());
        refused(&path, &[name, called]);
    }
    with(at + 24, &(u64::MAX - 8).to_le_bytes());
    refused(&path, &[name, "beyond the end"]);
    with(at + 24, &(1_u64 << 40).to_le_bytes());
    refused(&path, &[name, "beyond the end"]);
    with(at + 20, &12_u32.to_le_bytes());
    refused(&path, &[name, "blocks"]);
    // Counts of tensors, of values, and the length of the first key.
    for field in [8, 16, 24] {
        with(field, &u64::MAX.to_le_bytes());
        refused(&path, &[path.to_str().unwrap()]);
        with(field, &(1_u64 << 33).to_le_bytes());
        refused(&path, &[path.to_str().unwrap()]);
    }
    with(4, &7_u32.to_le_bytes());
    refused(&path, &["version 7"]);
    with(4, &3_u32.to_be_bytes());
    refused(&path, &["big-endian"]);
    with(0, b"GGML");
    refused(&path, &["no GGUF"]);
}

#[test]
fn gguf_files_of_other_models_are_refused_by_name() {
    let (_folder, path, raw) = gguf(Precision::F16);
    let tensors = |from: &[u8], to: &[u8]| fs::write(&path, replaced(&raw, from, to)).unwrap();
    tensors(b"output_norm.weight", b"output_nose.weight");
    refused(&path, &["output_norm.weight", "missing"]);
    tensors(b"blk.0.attn_q.weight", b"blk.0.attn_x.weight");
    refused(&path, &["blk.0.attn_q.weight", "missing"]);
    let mut architecture = raw.clone();
    let at = after_name(&raw, "general.architecture") + 12;
    architecture[at..at + 5].copy_from_slice(b"gemma");
    fs::write(&path, architecture).unwrap();
    refused(&path, &["gemma"]);
    let mut layers = raw.clone();
    let at = after_name(&raw, "llama.block_count") + 4;
    layers[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    fs::write(&path, layers).unwrap();
    refused(&path, &["layers"]);
    // Without an output head the table is taken.
    tensors(b"\x0D\0\0\0\0\0\0\0output.weight", b"\x0D\0\0\0\0\0\0\0untput.weight");
    assert_eq!(opened(&path), Ok(()));
}

#[test]
fn nan_weights_are_found_and_named_in_every_type() {
    for precision in Precision::NAMED {
        let (_folder, path, mut raw) = gguf(precision.clone());
        // The head comes last: its last block holds a scale in every quantised type. The end may be padding.
        let end = raw.len() - (raw.len() - 1) % 32 - 1;
        for byte in &mut raw[end - 300..end] {
            *byte = 0xFF;
        }
        fs::write(&path, &raw).unwrap();
        let error = opened(&path).expect_err("it was read");
        assert!(error.contains("output.weight") && error.contains("NaN"), "{precision}: {error}");
    }
    let mut folder = Folder::new(SMALL, DType::F32);
    let name = "model.layers.0.self_attn.k_proj.weight";
    let mut values: Vec<f32> = folder.tensors[name].flatten_all().unwrap().to_vec1().unwrap();
    values[77] = f32::INFINITY;
    let dims = folder.tensors[name].dims().to_vec();
    folder.tensors.insert(name.to_owned(), Tensor::from_vec(values, dims, &candle_core::Device::Cpu).unwrap());
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        folder.save(dtype);
        refused(&folder.path(), &[name, "NaN or infinite", "model.safetensors"]);
    }
}

#[test]
fn safetensors_cut_off_anywhere_are_refused() {
    let folder = Folder::new(SMALL, DType::F16);
    let path = folder.path().join("model.safetensors");
    let raw = fs::read(&path).unwrap();
    for length in (0..300).chain((300..raw.len()).step_by(499)).chain([raw.len() - 1]) {
        fs::write(&path, &raw[..length]).unwrap();
        let error = opened(&folder.path()).expect_err("it was read");
        assert!(error.contains("model.safetensors"), "{length}: {error}");
    }
    fs::write(&path, [&raw[..], &[0; 100]].concat()).unwrap();
    refused(&folder.path(), &["model.safetensors"]);
}

/// A safetensors file with its header's text changed, at the same length of data.
fn with_header(folder: &Folder, change: impl Fn(&str) -> String) {
    let raw = serialized(&folder.tensors, DType::F16);
    let length = u64::from_le_bytes(raw[..8].try_into().unwrap()) as usize;
    let header = change(std::str::from_utf8(&raw[8..8 + length]).unwrap());
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(&raw[8 + length..]);
    folder.write("model.safetensors", &out);
}

#[test]
fn safetensors_headers_that_lie_are_refused() {
    let folder = Folder::new(SMALL, DType::F16);
    let name = "model.layers.0.mlp.up_proj.weight";
    with_header(&folder, str::to_owned);
    assert_eq!(opened(&folder.path()), Ok(()));
    for (from, to) in [
        ("\"data_offsets\":[0,", "\"data_offsets\":[8,"),
        ("\"data_offsets\":[0,", "\"data_offsets\":[18446744073709551615,"),
        ("[32,32]", "[4611686018427387904,8]"),
        ("[32,32]", "[32,33]"),
        ("\"F16\"", "\"F32\""),
        ("\"F16\"", "\"Q5\""),
        ("{", "["),
    ] {
        with_header(&folder, |header| header.replacen(from, to, 1));
        refused(&folder.path(), &["model.safetensors"]);
    }
    with_header(&folder, |header| header.replace(name, "model.layers.0.mlp.upward_proj.weight"));
    refused(&folder.path(), &[name, "missing"]);
    with_header(&folder, |header| header.replace("\"F16\"", "\"I16\""));
    refused(&folder.path(), &["I16", "F32, F16 and BF16"]);
    with_header(&folder, |header| header.replace("[32,32]", "[16,64]"));
    refused(&folder.path(), &["shape [16, 64]", "[32, 32]"]);
    for length in [u64::MAX, 1 << 40, 200_000_000, 0] {
        folder.write("model.safetensors", &[&length.to_le_bytes()[..], &[b' '; 64]].concat());
        refused(&folder.path(), &["model.safetensors"]);
    }
}

#[test]
fn an_absent_head_is_refused_unless_the_configuration_ties_it() {
    let mut folder = Folder::new(SMALL, DType::F16);
    folder.tensors.remove("lm_head.weight");
    folder.save(DType::F16);
    refused(&folder.path(), &["lm_head.weight", "tie_word_embeddings"]);
    folder.write("config.json", config_json(ModelShape { tied_head: true, ..SMALL }).as_bytes());
    assert_eq!(opened(&folder.path()), Ok(()));
}

#[test]
fn a_folder_without_a_model_says_what_it_has() {
    let folder = Folder::new(SMALL, DType::F16);
    let remove = |name: &str| fs::remove_file(folder.path().join(name)).unwrap();
    remove("config.json");
    refused(&folder.path(), &["config.json"]);
    folder.write("config.json", b"{\"model_type\": \"gpt2\"}");
    refused(&folder.path(), &["gpt2", "config.json"]);
    remove("model.safetensors");
    folder.write("pytorch_model.bin", b"\x80\x02}q\x00.");
    refused(&folder.path(), &["pickle", "pytorch_model.bin"]);
    refused(&folder.path().join("pytorch_model.bin"), &["pickle"]);
    remove("pytorch_model.bin");
    refused(&folder.path(), &["no weights"]);
    folder.write("a.gguf", b"");
    refused(&folder.path(), &["empty", "a.gguf"]);
    folder.write("b.gguf", b"");
    refused(&folder.path(), &["a.gguf, b.gguf"]);
    fs::create_dir(folder.path().join("c.safetensors")).unwrap();
    refused(&folder.path(), &["folder", "c.safetensors"]);
    refused(&folder.path().join("config.json"), &["neither"]);
}

#[test]
fn an_index_that_leads_elsewhere_is_refused() {
    let folder = Folder::new(SMALL, DType::F16);
    let index = |map: serde_json::Value| {
        folder.write("model.safetensors.index.json", serde_json::json!({ "weight_map": map }).to_string().as_bytes());
    };
    let all = |file: &str| {
        folder.tensors.keys().map(|name| (name.clone(), file.into())).collect::<BTreeMap<_, serde_json::Value>>()
    };
    index(serde_json::json!(all("model.safetensors")));
    assert_eq!(opened(&folder.path()), Ok(()));
    for file in ["../model.safetensors", "..", "", "/model.safetensors"] {
        index(serde_json::json!(all(file)));
        refused(&folder.path(), &["plain name"]);
    }
    index(serde_json::json!({}));
    refused(&folder.path(), &["missing"]);
    index(serde_json::json!([1]));
    refused(&folder.path(), &["weight_map"]);
}

#[test]
fn names_that_mean_nothing_are_answered_with_what_to_write() {
    for asked in ["mistral-8b", "", "no/such/file.gguf", "nobody/nothing", "a b/c", "/nowhere/at/all.gguf"] {
        let error = resolve(asked, None, None).unwrap_err().to_string();
        assert!(error.contains("mistral-7b"), "{asked}: {error}");
    }
    let (_folder, path, _) = gguf(Precision::Q8_0);
    let wanted = resolve(path.to_str().unwrap(), Some(&Precision::Q4_0), None).unwrap_err().to_string();
    assert!(wanted.contains("Q8_0") && wanted.contains("Q4_0"), "{wanted}");
    let stored = resolve("mistral-100m", Some(&Precision::Stored("IQ3_M".to_owned())), None).unwrap_err();
    assert!(matches!(stored, ModelError::Asked(_)));
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_read_says_so() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_folder, path, _) = gguf(Precision::F16);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
    if fs::read(&path).is_ok() {
        return; // The superuser may read all.
    }
    refused(&path, &["permission denied", "allow this user"]);
}
