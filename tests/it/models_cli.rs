//! `roofline models` from the outside.

use std::{path::Path, process::Command, process::Output};

use crate::weights::{Folder, SHAPE};

fn models(hub: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roofline"));
    command.arg("models").args(arguments).env("ROOFLINE_DATA_DIR", hub).env("HF_HUB_CACHE", hub);
    // Nothing listens there.
    command.env("HF_ENDPOINT", "http://127.0.0.1:9").env("HF_TOKEN", "hf_secret").output().unwrap()
}

fn text(raw: &[u8]) -> String {
    String::from_utf8(raw.to_vec()).unwrap()
}

#[test]
fn models_are_listed_with_why_they_can_not_be_used() {
    let (hub, folder) = (tempfile::tempdir().unwrap(), Folder::new(SHAPE, candle_core::DType::F16));
    folder.write("broken.gguf", b"GGUF");
    let plain = models(hub.path(), &[]);
    assert_eq!(plain.status.code(), Some(0));
    assert!(text(&plain.stdout).contains("mistral-7b") && text(&plain.stdout).contains("synthetic"));
    let list = models(hub.path(), &["list", "--json", folder.path().to_str().unwrap()]);
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 5, "{list:?}");
    assert_eq!((&list[3]["precision"], &list[3]["origin"]), (&"f16".into(), &"files".into()));
    assert!(list[4]["reason"].as_str().unwrap().contains("cut off"), "{list:?}");
    let missing = models(hub.path(), &["list", "nowhere"]);
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn a_model_is_exported_and_read_back() {
    let (hub, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let small = Folder::new(SHAPE, candle_core::DType::F16);
    let path = folder.path().join("small.gguf");
    let (asked, output) = (small.path(), path.to_str().unwrap());
    // Real weights need a real vocabulary.
    let bare = models(hub.path(), &["export", asked.to_str().unwrap(), "--output", output]);
    assert_eq!(bare.status.code(), Some(1), "{}", text(&bare.stderr));
    assert!(text(&bare.stderr).contains("tokenizer.model"), "{}", text(&bare.stderr));
    assert!(!path.exists());
    let made = models(hub.path(), &["export", "mistral-100m", "--precision", "q4_0", "--output", output]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let model = roofline::model::resolve(output, None, None).unwrap();
    assert_eq!((model.shape.hidden, model.precision.id()), (512, "Q4_0"));
    let wrong = models(hub.path(), &["export", "mistral-8b", "--output", output]);
    assert_eq!(wrong.status.code(), Some(2));
    let nowhere = models(hub.path(), &["export", "mistral-100m", "--output", "/nowhere/at/all.gguf"]);
    assert_eq!(nowhere.status.code(), Some(1), "{}", text(&nowhere.stderr));
    assert!(text(&nowhere.stderr).contains("no such folder"), "{}", text(&nowhere.stderr));
    let occupied = folder.path().to_str().unwrap();
    let onto_folder = models(hub.path(), &["export", "mistral-100m", "--format", "gguf", "--output", occupied]);
    assert_eq!(onto_folder.status.code(), Some(1));
    assert!(text(&onto_folder.stderr).contains("no file that can be replaced"), "{}", text(&onto_folder.stderr));
}

#[test]
#[cfg(unix)]
fn what_is_no_file_is_not_replaced_by_an_export() {
    let (hub, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Like a device, which the rights of root would let a new file replace.
    let socket = folder.path().join("x.gguf");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let refused = models(hub.path(), &["export", "mistral-100m", "--output", socket.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
    assert!(!std::fs::metadata(&socket).unwrap().is_file());
}

#[test]
fn a_download_without_a_network_ends_with_a_sentence() {
    let hub = tempfile::tempdir().unwrap();
    let wrong = models(hub.path(), &["download", "mistral-7b"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("org/name"));
    assert!(!text(&wrong.stderr).contains("secret"));
}
