//! One model in every layout: written, read back, kept, and never taken for another.

use std::{
    fs,
    path::{Path, PathBuf},
};

use candle_core::DType;
use roofline::{
    engine::candle::reference,
    model::{
        ModelConfig, ModelError,
        config::{TINY, TINY_NAME},
        library::{Format, Library},
        resolve, source,
        weights::{self, LoadProgress, export_huggingface},
    },
    workload::{Location, ModelRef, ModelShape, Origin, Precision},
};

use crate::weights::{Folder, SHAPE, assert_same, loaded, synthetic};

/// The model that engines are compared by.
fn tiny(precision: &Precision) -> ModelRef {
    resolve(TINY_NAME, Some(precision), None).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "what listens to progress may end it")]
fn on(_: LoadProgress) -> Result<(), ModelError> {
    Ok(())
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_folder_in_hugging_face_s_layout_holds_the_same_model() {
    let parent = tempfile::tempdir().unwrap();
    let tied = ModelShape { tied_head: true, ..SHAPE };
    let tied = source::synthetic("tied", &ModelConfig::synthetic(tied), Precision::F16).unwrap();
    for model in [tiny(&Precision::F32), tiny(&Precision::F16), tiny(&Precision::Bf16), tied] {
        let folder = parent.path().join(format!("{}-{}", model.name, model.precision));
        let (mut seen, mut total) = (0, 0);
        export_huggingface(&model, &folder, &mut |progress| {
            assert!(progress.done_bytes >= seen && progress.done_bytes <= progress.total_bytes);
            (seen, total) = (progress.done_bytes, progress.total_bytes);
            Ok(())
        })
        .unwrap();
        assert_eq!((seen, total), (model.weight_bytes, model.weight_bytes));
        let read = resolve(folder.to_str().unwrap(), None, None).unwrap();
        assert_eq!((&read.precision, read.shape), (&model.precision, model.shape));
        let (made, back) = (loaded(&model).unwrap(), loaded(&read).unwrap());
        assert_eq!(made.config, back.config);
        assert_same(&made, &back);
        // In the place of the whole folder there is nothing else.
        assert_eq!(
            names(&folder),
            [
                "config.json",
                "generation_config.json",
                "model.safetensors",
                "roofline.json",
                "tokenizer.json",
                "tokenizer_config.json"
            ]
        );
    }
    let config = json(&parent.path().join("tiny-f32/config.json"));
    assert_eq!((&config["rope_theta"], &config["rope_parameters"]["rope_theta"]), (&1e6.into(), &1e6.into()));
    assert!(config["sliding_window"].is_null() && config["dtype"] == "float32" && config["torch_dtype"] == "float32");
    assert_eq!(names(parent.path()).len(), 4, "nothing half-made is left");
}

#[test]
fn a_synthetic_tokenizer_makes_a_token_of_each_byte() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("tiny");
    export_huggingface(&tiny(&Precision::F16), &folder, &mut on).unwrap();
    let tokenizer = tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
    assert_eq!(tokenizer.get_vocab_size(true), 512);
    let text = "Roofline, größer";
    let ids = tokenizer.encode(text, true).unwrap().get_ids().to_vec();
    // The token that begins a text, and a space before it, as SentencePiece has it.
    let bytes = format!("▁{}", text.replace(' ', "▁"));
    let expected: Vec<u32> = [1].into_iter().chain(bytes.bytes().map(|byte| u32::from(byte) + 3)).collect();
    assert_eq!(ids, expected);
    assert_eq!(tokenizer.decode(&ids, true).unwrap().replace('▁', " ").trim(), text);
}

#[test]
fn what_is_there_is_used_if_it_is_the_same_and_never_replaced() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("tiny");
    fs::create_dir(&folder).unwrap();
    let model = tiny(&Precision::F16);
    export_huggingface(&model, &folder, &mut on).unwrap();
    let mut told = 0;
    let mut count = |_: LoadProgress| {
        told += 1;
        Ok(())
    };
    export_huggingface(&model, &folder, &mut count).unwrap();
    assert_eq!(told, 0, "nothing was written again");
    let other = export_huggingface(&tiny(&Precision::F32), &folder, &mut on).unwrap_err();
    assert!(other.to_string().contains("something else"), "{other}");
    // One that was damaged since is not used either.
    let shard = fs::File::options().write(true).open(folder.join("model.safetensors")).unwrap();
    shard.set_len(1000).unwrap();
    assert!(export_huggingface(&model, &folder, &mut on).is_err());
    assert_eq!(fs::metadata(folder.join("model.safetensors")).unwrap().len(), 1000);
}

#[test]
fn what_can_not_be_written_is_said_and_leaves_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("model");
    let mut tensors = 0;
    let cancelled = export_huggingface(&tiny(&Precision::F32), &folder, &mut |_| {
        tensors += 1;
        if tensors > 20 { Err(ModelError::Cancelled) } else { Ok(()) }
    });
    assert!(matches!(cancelled, Err(ModelError::Cancelled)));
    let quantised = export_huggingface(&tiny(&Precision::Q4_0), &folder, &mut on).unwrap_err();
    assert!(quantised.to_string().contains("f32, f16 and bf16"), "{quantised}");
    let mlx = export_huggingface(&tiny(&Precision::Mlx4), &folder, &mut on).unwrap_err();
    assert!(mlx.to_string().contains("mlx-4bit"), "{mlx}");
    let nowhere = export_huggingface(&tiny(&Precision::F32), &parent.path().join("a/b"), &mut on).unwrap_err();
    assert!(nowhere.to_string().contains("no such folder"), "{nowhere}");
    // A quarter of a petabyte.
    let shape = ModelShape { hidden: 1 << 18, intermediate: 1 << 20, layers: 100, ..SHAPE };
    let vast = source::synthetic("vast", &ModelConfig::synthetic(shape), Precision::F16).unwrap();
    for error in [
        export_huggingface(&vast, &folder, &mut on).unwrap_err(),
        weights::export(&vast, &parent.path().join("vast.gguf"), &mut on).unwrap_err(),
    ] {
        assert!(error.to_string().contains("are free on the disk"), "{error}");
    }
    assert!(names(parent.path()).is_empty(), "{:?}", names(parent.path()));
}

#[test]
fn a_dense_gguf_file_becomes_a_folder_with_the_same_weights() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("small.gguf");
    weights::export(&tiny(&Precision::F16), &path, &mut on).unwrap();
    let gguf = resolve(path.to_str().unwrap(), None, None).unwrap();
    let library = Library::new(parent.path().join("kept"));
    let folder = library.have(&gguf, Format::HuggingFace, &mut on).unwrap();
    let back = resolve(folder.to_str().unwrap(), None, None).unwrap();
    assert_same(&loaded(&gguf).unwrap(), &loaded(&back).unwrap());
    // Its own file needs no other.
    assert_eq!(library.have(&gguf, Format::Gguf, &mut on).unwrap(), gguf.location.0.unwrap());
    assert_eq!(library.list().unwrap().len(), 1);
}

#[test]
fn a_model_is_made_once_for_each_layout_and_kept() {
    let parent = tempfile::tempdir().unwrap();
    let library = Library::new(parent.path().join("deep/models"));
    assert!(library.list().unwrap().is_empty());
    let model = tiny(&Precision::F32);
    let folder = library.have(&model, Format::HuggingFace, &mut on).unwrap();
    assert_eq!(folder.file_name().unwrap(), "tiny-f32-huggingface");
    let file = library.have(&model, Format::Gguf, &mut on).unwrap();
    assert_eq!(file.file_name().unwrap(), "tiny-f32.gguf");
    for path in [&folder, &file] {
        let read = resolve(path.to_str().unwrap(), None, None).unwrap();
        assert_same(&loaded(&model).unwrap(), &loaded(&read).unwrap());
    }
    let refused = |_: LoadProgress| Err(ModelError::Compute("it is made again".to_owned()));
    assert_eq!(library.have(&model, Format::HuggingFace, &mut refused.clone()).unwrap(), folder);
    assert_eq!(library.have(&model, Format::Gguf, &mut refused.clone()).unwrap(), file);

    let list = library.list().unwrap();
    assert_eq!(
        list.iter().map(|kept| kept.name.as_str()).collect::<Vec<_>>(),
        ["tiny-f32-gguf", "tiny-f32-huggingface"]
    );
    for kept in &list {
        assert!(kept.current && kept.bytes > model.weight_bytes && kept.model.as_ref() == Some(&model), "{kept:?}");
    }
    assert!(library.remove("../models").is_err());
    assert_eq!(library.remove("tiny-f32-gguf").unwrap(), list[0].bytes);
    assert!(!file.exists() && folder.exists());
    assert_eq!(library.list().unwrap().len(), 1);
}

#[test]
fn what_another_version_made_is_made_again_and_what_others_made_is_left_alone() {
    let parent = tempfile::tempdir().unwrap();
    let library = Library::new(parent.path());
    let model = tiny(&Precision::F16);
    let folder = library.have(&model, Format::HuggingFace, &mut on).unwrap();
    let stamp = folder.join("roofline.json");
    let mut older = json(&stamp);
    older["generator"] = 0.into();
    fs::write(&stamp, older.to_string()).unwrap();
    assert!(!library.list().unwrap()[0].current);
    library.have(&model, Format::HuggingFace, &mut on).unwrap();
    assert!(json(&stamp)["generator"] != 0 && library.list().unwrap()[0].current);
    // What was cut off is never taken for a model.
    let shard = fs::File::options().write(true).open(folder.join("model.safetensors")).unwrap();
    shard.set_len(1000).unwrap();
    library.have(&model, Format::HuggingFace, &mut on).unwrap();
    assert_same(&loaded(&model).unwrap(), &loaded(&resolve(folder.to_str().unwrap(), None, None).unwrap()).unwrap());
    let foreign = parent.path().join("tiny-f32-gguf");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.txt"), "all of it").unwrap();
    let error = library.have(&tiny(&Precision::F32), Format::Gguf, &mut on).unwrap_err();
    assert!(error.to_string().contains("not made by Roofline"), "{error}");
    assert!(foreign.join("thesis.txt").exists());
}

#[test]
fn mlx_s_layout_is_made_by_its_own_converter() {
    let parent = tempfile::tempdir().unwrap();
    let library = Library::new(parent.path());
    let model = tiny(&Precision::Mlx4);
    assert!(library.have(&model, Format::MlxQuantised, &mut on).unwrap_err().to_string().contains("mlx-lm"));
    let failing = library.have_quantised(&model, &mut |_, _| Err("mlx-lm is not installed".to_owned()), &mut on);
    assert!(failing.unwrap_err().to_string().contains("not installed"));
    let mut asked: Vec<(PathBuf, PathBuf)> = Vec::new();
    let mut convert = |from: &Path, to: &Path| {
        asked.push((from.to_owned(), to.to_owned()));
        assert!(!to.exists() && from.join("config.json").exists());
        fs::create_dir(to).map_err(|error| error.to_string())?;
        fs::write(to.join("config.json"), "{}").map_err(|error| error.to_string())
    };
    let folder = library.have_quantised(&model, &mut convert, &mut on).unwrap();
    assert_eq!(library.have_quantised(&model, &mut convert, &mut on).unwrap(), folder);
    assert_eq!(library.have(&model, Format::MlxQuantised, &mut on).unwrap(), folder);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].0, parent.path().join("tiny-f16-huggingface"), "of the model in 16 bits");
    assert_eq!(names(&folder), ["config.json", "roofline.json"]);
}

#[test]
fn two_at_once_make_it_once() {
    let parent = tempfile::tempdir().unwrap();
    let made = std::sync::atomic::AtomicU32::new(0);
    let one = || {
        let mut convert = |_: &Path, to: &Path| {
            made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(300));
            fs::create_dir(to).and_then(|()| fs::write(to.join("config.json"), "{}")).map_err(|error| error.to_string())
        };
        Library::new(parent.path()).have_quantised(&tiny(&Precision::Mlx4), &mut convert, &mut on).unwrap()
    };
    std::thread::scope(|scope| {
        let both = [scope.spawn(one), scope.spawn(one)].map(|thread| thread.join().unwrap());
        assert_eq!(both[0], both[1]);
    });
    assert_eq!(made.into_inner(), 1);
}

#[test]
fn files_that_have_a_layout_are_used_as_they_are() {
    let own = Folder::new(SHAPE, DType::F16);
    let library = Library::new(own.path().join("kept"));
    let asked = |precision: Option<&Precision>| resolve(own.path().to_str().unwrap(), precision, None).unwrap();
    let bare = library.have(&asked(None), Format::HuggingFace, &mut on).unwrap_err();
    assert!(bare.to_string().contains("tokenizer.model"), "{bare}");
    let other = own.path().join("other");
    export_huggingface(&synthetic(SHAPE, Precision::F16), &other, &mut on).unwrap();
    fs::copy(other.join("tokenizer.json"), own.path().join("tokenizer.json")).unwrap();
    let found = library.have(&asked(None), Format::HuggingFace, &mut on).unwrap();
    assert_eq!(found, std::path::absolute(own.path()).unwrap());
    assert!(!own.path().join("kept").join("any").exists());
    // In another precision they are converted, with their own tokenizer beside them.
    let wide = library.have(&asked(Some(&Precision::F32)), Format::HuggingFace, &mut on).unwrap();
    assert!(wide.starts_with(own.path().join("kept")));
    assert_eq!(fs::read(wide.join("tokenizer.json")).unwrap(), fs::read(own.path().join("tokenizer.json")).unwrap());
    let read = resolve(wide.to_str().unwrap(), None, None).unwrap();
    assert_same(&loaded(&asked(Some(&Precision::F32))).unwrap(), &loaded(&read).unwrap());
}

#[test]
fn the_fingerprint_tells_a_model_from_one_with_another_rotary_base() {
    let prompt: Vec<u32> = (0..64).map(|i| roofline::workload::random::pcg(i) % 512).collect();
    let ids = TINY.shape.probed_ids(32);
    let said = |model: &ModelRef| reference(model, &prompt, &ids, 12, &mut || Ok(())).unwrap();
    let (logits, tokens) = said(&tiny(&Precision::F32));
    assert_eq!((logits.len(), tokens.len()), (ids.len(), 12));
    assert!(tokens.iter().collect::<std::collections::BTreeSet<_>>().len() > 6, "{tokens:?}");
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("tiny");
    export_huggingface(&tiny(&Precision::F32), &folder, &mut on).unwrap();
    let read = resolve(folder.to_str().unwrap(), None, None).unwrap();
    assert_eq!(said(&read), (logits.clone(), tokens.clone()));
    let mut config = json(&folder.join("config.json"));
    config["rope_theta"] = 1e4.into();
    config["rope_parameters"]["rope_theta"] = 1e4.into();
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let (others, other_tokens) = said(&read);
    assert_ne!(other_tokens, tokens);
    let (mut apart, mut size) = (0.0, 0.0);
    for (a, b) in others.iter().zip(&logits) {
        apart += (a - b) * (a - b);
        size += b * b;
    }
    let distance = f64::sqrt(apart / size);
    // Right engines agree within 1e-3.
    assert!(distance > 1e-2, "{distance}");
    // Half the bits are still the same model.
    let (_, half) = said(&tiny(&Precision::F16));
    assert_eq!(half, tokens);
    let wrong = reference(&read, &[512], &ids, 1, &mut || Ok(()));
    assert!(wrong.unwrap_err().to_string().contains("512"));
    let nowhere = ModelRef { location: Location(None), origin: Origin::Files, ..read };
    assert!(reference(&nowhere, &prompt, &ids, 1, &mut || Ok(())).is_err());
}
