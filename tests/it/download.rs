//! Downloads against a server of our own: whole, cut off, damaged, refused.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Read as _, Write as _},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use roofline::model::{
    ModelError,
    download::{DownloadProgress, Downloader},
    resolve,
};
use sha2::{Digest as _, Sha256};

use crate::weights::{Folder, SHAPE, loaded};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const ID: &str = "tiny/mistral";

/// How the server misbehaves.
#[derive(Default)]
struct Manners {
    /// How many answers with weights end in the middle.
    cuts: AtomicU32,
    /// Sends other bytes than were promised.
    damage: AtomicBool,
    /// Sends the whole file whatever part is asked for.
    no_ranges: AtomicBool,
    /// Answers everything with this.
    status: AtomicU32,
}

struct Server {
    http: Arc<tiny_http::Server>,
    manners: Arc<Manners>,
    /// The path, the range and the token of every request.
    asked: Arc<Mutex<Vec<[String; 3]>>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.http.unblock();
        _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Server {
    fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        let http = Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
        let (manners, asked) = (Arc::new(Manners::default()), Arc::new(Mutex::new(Vec::new())));
        let serve = {
            let (http, manners, asked) = (Arc::clone(&http), Arc::clone(&manners), Arc::clone(&asked));
            move || {
                for request in http.incoming_requests() {
                    answer(request, &files, &manners, &asked);
                }
            }
        };
        let thread = std::thread::Builder::new().name("server".to_owned()).spawn(serve).unwrap();
        Self { http, manners, asked, thread: Some(thread) }
    }

    /// With a tiny model.
    fn with_model() -> (Self, Folder) {
        let folder = Folder::new(SHAPE, candle_core::DType::F16);
        let files = ["config.json", "model.safetensors"]
            .map(|name| (name.to_owned(), fs::read(folder.path().join(name)).unwrap()));
        let mut files = BTreeMap::from(files);
        files.insert("README.md".to_owned(), b"not needed".to_vec());
        files.insert("pytorch_model.bin".to_owned(), b"never".to_vec());
        (Self::new(files), folder)
    }

    fn downloader(&self, hub: &Path) -> Downloader {
        let port = self.http.server_addr().to_ip().unwrap().port();
        let token = Some("hf_secret".to_owned());
        let downloader = Downloader::new(&format!("http://127.0.0.1:{port}/"), token, hub.to_owned());
        Downloader { retry_delay: Duration::from_millis(1), silence: Duration::from_secs(30), ..downloader }
    }

    fn asked(&self) -> Vec<[String; 3]> {
        self.asked.lock().unwrap().clone()
    }
}

fn sha256(raw: &[u8]) -> String {
    Sha256::digest(raw).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn listing(files: &BTreeMap<String, Vec<u8>>) -> String {
    let file = |(name, raw): (&String, &Vec<u8>)| {
        let mut file = serde_json::json!({"rfilename": name, "size": raw.len(), "blobId": &sha256(raw)[..40]});
        if name.ends_with("safetensors") || name.ends_with("gguf") {
            file["lfs"] = serde_json::json!({"sha256": sha256(raw), "size": raw.len(), "pointerSize": 135});
        }
        file
    };
    serde_json::json!({"sha": COMMIT, "siblings": files.iter().map(file).collect::<Vec<_>>()}).to_string()
}

fn answer(
    request: tiny_http::Request,
    files: &BTreeMap<String, Vec<u8>>,
    manners: &Manners,
    asked: &Mutex<Vec<[String; 3]>>,
) {
    let header = |name: &'static str| {
        let found = request.headers().iter().find(|header| header.field.equiv(name));
        found.map(|header| header.value.to_string()).unwrap_or_default()
    };
    let (range, token, url) = (header("range"), header("authorization"), request.url().to_owned());
    asked.lock().unwrap().push([url.clone(), range.clone(), token]);
    let status = manners.status.load(Ordering::SeqCst);
    if status != 0 {
        _ = request.respond(tiny_http::Response::empty(status as u16));
        return;
    }
    if url.starts_with(&format!("/api/models/{ID}/revision/main")) {
        _ = request.respond(tiny_http::Response::from_string(listing(files)));
        return;
    }
    let raw = url.strip_prefix(&format!("/{ID}/resolve/{COMMIT}/")).and_then(|name| files.get(name));
    let Some(mut raw) = raw.cloned() else {
        _ = request.respond(tiny_http::Response::empty(404));
        return;
    };
    if manners.damage.load(Ordering::SeqCst) {
        *raw.last_mut().unwrap() ^= 1;
    }
    let total = raw.len();
    let from =
        range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')).and_then(|from| from.parse().ok());
    let from: usize = from.filter(|_| !manners.no_ranges.load(Ordering::SeqCst)).unwrap_or(0);
    let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
    let rest = &raw[from..];
    let cut = url.ends_with("model.safetensors") && manners.cuts.load(Ordering::SeqCst) > 0;
    let sent = if cut { &rest[..rest.len() / 2] } else { rest };
    if cut {
        manners.cuts.fetch_sub(1, Ordering::SeqCst);
        let mut out = request.into_writer();
        let length = rest.len();
        let range = format!("Content-Range: bytes {from}-{}/{total}", total - 1);
        _ = write!(out, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{range}\r\nConnection: close\r\n\r\n");
        _ = out.write_all(sent);
        _ = out.flush();
        return;
    }
    let range = format!("bytes {from}-{}/{total}", total - 1);
    let header = tiny_http::Header::from_bytes("Content-Range", range).unwrap();
    let status = if from > 0 { 206 } else { 200 };
    let body = Cursor::new(sent.to_vec());
    _ = request.respond(tiny_http::Response::new(status.into(), vec![header], body, Some(sent.len()), None));
}

fn quiet() -> impl FnMut(&DownloadProgress) -> Result<(), ModelError> {
    |_| Ok(())
}

#[track_caller]
fn refused(downloader: &Downloader, hints: &[&str]) {
    let error = downloader.download(ID, &mut quiet()).expect_err("it was downloaded").to_string();
    for hint in hints {
        assert!(error.contains(hint), "no \"{hint}\" in: {error}");
    }
    assert!(!error.contains("hf_secret"), "{error}");
}

#[test]
fn a_model_is_downloaded_into_the_cache_and_runs_from_there() {
    let (server, folder) = Server::with_model();
    let hub = tempfile::tempdir().unwrap();
    let mut told: Vec<DownloadProgress> = Vec::new();
    let snapshot = server
        .downloader(hub.path())
        .download(ID, &mut |progress: &DownloadProgress| {
            told.push(progress.clone());
            Ok(())
        })
        .unwrap();
    let own = folder.resolve(None).unwrap();
    let model = resolve(ID, None, Some(hub.path())).unwrap();
    assert_eq!((model.shape, model.weight_bytes), (own.shape, own.weight_bytes));
    crate::weights::assert_same(&loaded(&own).unwrap(), &loaded(&model).unwrap());
    let last = told.last().unwrap();
    assert_eq!((last.file.as_str(), last.done_bytes), ("model.safetensors", last.total_bytes));
    assert!(told.iter().all(|progress| progress.done_bytes <= progress.total_bytes));
    let names: Vec<String> =
        fs::read_dir(&snapshot).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 2, "only what is needed: {names:?}");
    #[cfg(unix)]
    assert!(fs::symlink_metadata(snapshot.join("model.safetensors")).unwrap().is_symlink());
    assert!(server.asked().iter().all(|[_, _, token]| token == "Bearer hf_secret"));
    let requests = server.asked().len();
    server.downloader(hub.path()).download(ID, &mut quiet()).unwrap();
    assert_eq!(server.asked().len(), requests + 1, "what is here is not asked for again");
    assert!(!format!("{:?}", server.downloader(hub.path())).contains("secret"));
}

#[test]
fn a_cut_connection_is_gone_on_with_where_it_ended() {
    let (server, folder) = Server::with_model();
    let hub = tempfile::tempdir().unwrap();
    server.manners.cuts.store(3, Ordering::SeqCst);
    let snapshot = server.downloader(hub.path()).download(ID, &mut quiet()).unwrap();
    let ranges: Vec<String> =
        server.asked().into_iter().map(|[_, range, _]| range).filter(|range| !range.is_empty()).collect();
    assert!(ranges.len() >= 3, "{ranges:?}");
    let (one, other) = (snapshot.join("model.safetensors"), folder.path().join("model.safetensors"));
    assert_eq!(fs::read(one).unwrap(), fs::read(other).unwrap());
}

#[test]
fn a_cancelled_download_goes_on_the_next_time() {
    let (server, _folder) = Server::with_model();
    let hub = tempfile::tempdir().unwrap();
    let cancelled = server.downloader(hub.path()).download(ID, &mut |progress: &DownloadProgress| {
        let half = progress.total_bytes > 0 && progress.done_bytes > progress.total_bytes / 2;
        if half && progress.file == "model.safetensors" { Err(ModelError::Cancelled) } else { Ok(()) }
    });
    assert!(matches!(cancelled, Err(ModelError::Cancelled)), "{cancelled:?}");
    assert!(resolve(ID, None, Some(hub.path())).is_err(), "half a model is none");
    // Even from a server that can't send a part.
    server.manners.no_ranges.store(true, Ordering::SeqCst);
    server.downloader(hub.path()).download(ID, &mut quiet()).unwrap();
    assert!(server.asked().iter().any(|[_, range, _]| range.starts_with("bytes=")));
    assert!(loaded(&resolve(ID, None, Some(hub.path())).unwrap()).is_ok());
}

#[test]
fn damaged_content_is_found_and_deleted() {
    let (server, _folder) = Server::with_model();
    let hub = tempfile::tempdir().unwrap();
    server.manners.damage.store(true, Ordering::SeqCst);
    // Small files have no SHA-256, but they make no sense any more.
    refused(&server.downloader(hub.path()), &["config.json", "damaged"]);
    server.manners.damage.store(false, Ordering::SeqCst);
    let damage = Arc::clone(&server.manners);
    let mut progress = |progress: &DownloadProgress| {
        damage.damage.store(progress.file != "the list of files", Ordering::SeqCst);
        Ok(())
    };
    let error = server.downloader(hub.path()).download(ID, &mut progress).unwrap_err().to_string();
    assert!(error.contains("SHA-256") && error.contains("model.safetensors"), "{error}");
    let blobs = fs::read_dir(hub.path().join("models--tiny--mistral/blobs")).unwrap();
    assert!(blobs.into_iter().all(|blob| !blob.unwrap().file_name().to_string_lossy().ends_with("incomplete")));
    server.manners.damage.store(false, Ordering::SeqCst);
    server.downloader(hub.path()).download(ID, &mut quiet()).unwrap();
}

#[test]
fn refusals_are_told_apart_in_words() {
    let (server, _folder) = Server::with_model();
    let hub = tempfile::tempdir().unwrap();
    for (status, hints) in [
        (401, ["401", "HF_TOKEN"]),
        (403, ["403", "access"]),
        (404, ["404", "name"]),
        (429, ["429", "later"]),
        (503, ["503", "later"]),
    ] {
        server.manners.status.store(status, Ordering::SeqCst);
        refused(&server.downloader(hub.path()), &hints);
    }
    let requests = server.asked().len();
    assert_eq!(requests, 3 + 5 + 5, "what may pass is tried again, so many times");
    server.manners.status.store(0, Ordering::SeqCst);
    let none = Downloader { token: None, ..server.downloader(hub.path()) };
    let unknown = none.download("tiny/other", &mut quiet()).unwrap_err().to_string();
    assert!(unknown.contains("tiny/other"), "{unknown}");
    for asked in ["mistral-7b", "a/b/../c", "a b/c", ""] {
        assert!(none.download(asked, &mut quiet()).unwrap_err().to_string().contains("org/name"));
    }
    let bad = Downloader { token: Some("two words\n".to_owned()), ..none };
    assert!(bad.download(ID, &mut quiet()).unwrap_err().to_string().contains("token"));
}

#[test]
fn without_a_network_it_says_so() {
    let hub = tempfile::tempdir().unwrap();
    // On this port no service listens.
    let downloader = Downloader::new("http://127.0.0.1:1", None, hub.path().to_owned());
    refused(&Downloader { retry_delay: Duration::from_millis(1), ..downloader }, &["can't be reached", "network"]);
}

#[test]
fn a_disk_without_room_is_noticed_before_anything_large_is_fetched() {
    let (server, _folder) = Server::with_model();
    let hub = tempfile::tempdir().unwrap();
    let full = Downloader { free_bytes: |_| Some(1000), ..server.downloader(hub.path()) };
    refused(&full, &["1.000 kB", "free some space"]);
    assert!(server.asked().iter().all(|[url, ..]| !url.ends_with("safetensors")));
    assert!(roofline::model::download::free_bytes(hub.path()).is_none_or(|bytes| bytes > 0));
}

#[test]
fn two_downloads_of_one_file_at_once_do_not_meet() {
    let (server, _folder) = Server::with_model();
    let hub = tempfile::tempdir().unwrap();
    let mut second = None;
    let (downloader, other) = (server.downloader(hub.path()), server.downloader(hub.path()));
    downloader
        .download(ID, &mut |progress: &DownloadProgress| {
            let under_way = progress.file == "model.safetensors" && progress.done_bytes < progress.total_bytes;
            if under_way && second.is_none() {
                second = Some(other.download(ID, &mut quiet()).unwrap_err().to_string());
            }
            Ok(())
        })
        .unwrap();
    assert!(second.unwrap().contains("another program"));
}

#[test]
fn models_that_can_not_be_run_are_not_downloaded() {
    let hub = tempfile::tempdir().unwrap();
    let server = |files: &[(&str, &[u8])]| {
        Server::new(files.iter().map(|(name, raw)| ((*name).to_owned(), raw.to_vec())).collect())
    };
    let gemma = br#"{"model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"]}"#;
    let other = server(&[("config.json", gemma), ("model.safetensors", b"x")]);
    refused(&other.downloader(hub.path()), &["Gemma2ForCausalLM"]);
    assert!(other.asked().iter().all(|[url, ..]| !url.ends_with("safetensors")));
    let hub = tempfile::tempdir().unwrap();
    refused(&server(&[("pytorch_model.bin", b"x")]).downloader(hub.path()), &["pickles"]);
    refused(
        &server(&[("a.gguf", b"x"), ("b.gguf", b"y")]).downloader(hub.path()),
        &["a.gguf, b.gguf", "tiny/mistral/a.gguf"],
    );
    refused(&server(&[("README.md", b"x")]).downloader(hub.path()), &["no weights"]);
    // One of several.
    let several = server(&[("a.gguf", b"x"), ("b.gguf", b"y")]);
    let path = several.downloader(hub.path()).download("tiny/mistral/b.gguf", &mut quiet()).unwrap();
    let mut content = String::new();
    fs::File::open(path).unwrap().read_to_string(&mut content).unwrap();
    assert_eq!(content, "y");
}
