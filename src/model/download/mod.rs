//! Downloads a model from Hugging Face into its cache, where other programs find it too.
//!
//! The layout is that of Hugging Face's own libraries: contents under `blobs/` by their checksums, links to them under
//! `snapshots/<commit>/`, and under `refs/` which commit a branch means. What was cut off is gone on with, every large file's
//! SHA-256 is checked, and nothing is begun for which the disk has no room.

mod transfer;

use std::{
    fmt,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use self::transfer::Connection;
use super::{
    ModelError, config_json, files::has_extension, sentencepiece, source::Repository, weights::safetensors::INDEX,
};

/// Where models are published.
pub const ENDPOINT: &str = "https://huggingface.co";

/// How far a download is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownloadProgress {
    /// The file that is on its way.
    pub file: String,
    /// Bytes of all files that are here, those of an earlier download included.
    pub done_bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
}

/// Told after every piece; an error ends the download. What has arrived stays for the next one.
pub type OnDownload<'a> = dyn FnMut(&DownloadProgress) -> Result<(), ModelError> + 'a;

/// Where models come from, and where they go.
#[derive(Clone)]
pub struct Downloader {
    /// The server, [`ENDPOINT`] or a mirror.
    pub endpoint: String,
    /// What a private or gated model is opened with. It is sent to the endpoint only.
    pub token: Option<String>,
    /// The folder of Hugging Face's cache.
    pub hub: PathBuf,
    /// How long the first retry waits; each one after it waits twice as long.
    pub retry_delay: Duration,
    /// A connection that says nothing for so long is dropped, and made anew.
    pub silence: Duration,
    /// Bytes that are free where a folder lies; `None` where the system doesn't tell.
    pub free_bytes: fn(&Path) -> Option<u64>,
}

impl fmt::Debug for Downloader {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Downloader").field("endpoint", &self.endpoint).field("hub", &self.hub).finish_non_exhaustive()
    }
}

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Remote {
    /// Its path in the repository.
    name: String,
    size: u64,
    /// What its content is called in the cache: its SHA-256 where it is large, git's own checksum where it is small.
    etag: String,
    /// The SHA-256, where the server tells it.
    sha256: Option<String>,
}

/// A repository at one commit.
struct Listing {
    commit: String,
    files: Vec<Remote>,
}

impl Downloader {
    /// From `endpoint` into the cache at `hub`.
    pub fn new(endpoint: &str, token: Option<String>, hub: PathBuf) -> Self {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        Self { endpoint, token, hub, retry_delay: Duration::from_secs(1), silence: Duration::from_secs(10), free_bytes }
    }

    /// Gets what `asked` (`org/name[@revision][/file.gguf]`) needs to run: configuration, tokenizer, and the safetensors or
    /// the one GGUF file. Returns the folder, or the file, that `resolve` reads.
    pub fn download(&self, asked: &str, progress: &mut OnDownload<'_>) -> Result<PathBuf, ModelError> {
        let repository = Repository::parse(asked).ok_or_else(|| {
            ModelError::Asked(format!("\"{asked}\" is no model on Hugging Face; write org/name, or org/name/file.gguf"))
        })?;
        let connection = Connection::new(self)?;
        progress(&DownloadProgress { file: "the list of files".to_owned(), done_bytes: 0, total_bytes: 0 })?;
        let listing = self.list(&connection, &repository)?;
        let mut place = Place::new(self, &repository, &listing.commit);
        let small = chosen_small(&listing, &repository);
        let mut arrived = 0;
        // The configuration first: what can't be run is not downloaded.
        for file in &small {
            self.fetch(&connection, &mut place, file, &mut told(progress, file, arrived, arrived + file.size))?;
            arrived += file.size;
        }
        place.check_configuration()?;
        let weights = chosen_weights(&listing, &repository, &place)?;
        let total = arrived + weights.iter().map(|file| file.size).sum::<u64>();
        self.require_space(&place, &weights)?;
        for file in &weights {
            self.fetch(&connection, &mut place, file, &mut told(progress, file, arrived, total))?;
            arrived += file.size;
        }
        place.finish(&repository)?;
        Ok(repository.file.as_ref().map_or_else(|| place.snapshot.clone(), |file| place.snapshot.join(file)))
    }

    fn list(&self, connection: &Connection, repository: &Repository) -> Result<Listing, ModelError> {
        let Repository { id, revision, .. } = repository;
        let url = format!("{}/api/models/{id}/revision/{revision}?blobs=true", self.endpoint);
        let json = connection.json(&url, id)?;
        let broken = || ModelError::Asked(format!("{} sent no list of files for {id}; try again later", self.endpoint));
        let commit = json.get("sha").and_then(Value::as_str).filter(|commit| is_hex(commit)).ok_or_else(broken)?;
        let siblings = json.get("siblings").and_then(Value::as_array).ok_or_else(broken)?;
        let files = siblings.iter().filter_map(remote).collect();
        Ok(Listing { commit: commit.to_owned(), files })
    }

    /// Makes sure that the disk has room for what is still to come, and some more.
    fn require_space(&self, place: &Place, files: &[Remote]) -> Result<(), ModelError> {
        const SPARE: u64 = 64 << 20;
        let missing: u64 = files.iter().map(|file| file.size.saturating_sub(place.arrived(file))).sum();
        let Some(free) = (self.free_bytes)(&place.folder).filter(|free| missing > 0 && *free < missing + SPARE) else {
            return Ok(());
        };
        let (missing, free) = (gigabytes(missing), gigabytes(free));
        let message = format!("the download needs {missing}, and {free} are free on the disk; free some space");
        Err(ModelError::file(&self.hub, message))
    }

    /// Brings one file into the cache, unless it is there.
    fn fetch(
        &self,
        connection: &Connection,
        place: &mut Place,
        file: &Remote,
        tell: &mut dyn FnMut(u64) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let blob = place.folder.join("blobs").join(&file.etag);
        let lock = if blob.exists() { None } else { Some(place.lock(file)?) };
        // It may have come while the lock was taken.
        if lock.is_some() && !blob.exists() {
            let url = format!("{}/{}/resolve/{}/{}", self.endpoint, place.id, place.commit, file.name);
            let partial = place.partial(file);
            connection.file(&url, file, &partial, tell)?;
            check_small(file, &partial)?;
            fs::rename(&partial, &blob).map_err(|error| ModelError::io(&blob, "keep the download", &error))?;
        }
        tell(file.size)?;
        place.link(file, &blob)
    }
}

/// Small files have no SHA-256: what they hold must make sense, or they are deleted.
fn check_small(file: &Remote, partial: &Path) -> Result<(), ModelError> {
    if file.sha256.is_some() {
        return Ok(());
    }
    let raw = || fs::read(partial).map_err(|error| ModelError::io(partial, "read the download", &error));
    let whole = match Path::new(&file.name) {
        json if has_extension(json, "json") => serde_json::from_slice::<serde::de::IgnoredAny>(&raw()?).is_ok(),
        model if has_extension(model, "model") => sentencepiece::parse(&raw()?).is_ok(),
        _ => true,
    };
    if whole {
        return Ok(());
    }
    fs::remove_file(partial).ok();
    Err(ModelError::file(partial, format!("{} arrived damaged; download it again", file.name)))
}

/// Tells of one file's bytes as part of all.
fn told<'a>(
    progress: &'a mut OnDownload<'_>,
    file: &'a Remote,
    before: u64,
    total_bytes: u64,
) -> impl FnMut(u64) -> Result<(), ModelError> + 'a {
    move |bytes| progress(&DownloadProgress { file: file.name.clone(), done_bytes: before + bytes, total_bytes })
}

fn gigabytes(bytes: u64) -> String {
    crate::units::Quantity::new(bytes as f64, crate::units::Unit::Byte).to_string()
}

fn is_hex(text: &str) -> bool {
    (4..=128).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// A file of the list; none whose name leads elsewhere, or that has no size or checksum.
fn remote(json: &Value) -> Option<Remote> {
    let name = json.get("rfilename")?.as_str()?;
    let plain = |word: &str| !word.is_empty() && word != "." && word != ".." && !word.contains(['\\', ':', '?', '#']);
    if !name.split('/').all(plain) {
        return None;
    }
    let large = json.get("lfs").filter(|large| !large.is_null());
    let text = |value: &Value, key: &str| Some(value.get(key)?.as_str()?.to_owned()).filter(|text| is_hex(text));
    let sha256 = large.and_then(|large| text(large, "sha256"));
    let etag = sha256.clone().or_else(|| text(json, "blobId"))?;
    let size = large.and_then(|large| large.get("size")).or_else(|| json.get("size"))?.as_u64()?;
    Some(Remote { name: name.to_owned(), size, etag, sha256 })
}

/// Configuration, tokenizer and index: what is needed beside the weights. Nothing beside a GGUF file, which holds it all.
fn chosen_small(listing: &Listing, repository: &Repository) -> Vec<Remote> {
    const MOST: u64 = 64 << 20;
    const NAMES: [&str; 6] =
        ["config.json", "params.json", INDEX, "tokenizer.json", "tokenizer.model", "tokenizer_config.json"];
    if repository.file.is_some() {
        return Vec::new();
    }
    let wanted = |file: &&Remote| NAMES.contains(&file.name.as_str()) && file.size <= MOST;
    listing.files.iter().filter(wanted).cloned().collect()
}

/// The files with the weights.
fn chosen_weights(listing: &Listing, repository: &Repository, place: &Place) -> Result<Vec<Remote>, ModelError> {
    let find = |name: &str| listing.files.iter().find(|file| file.name == name).cloned();
    let absent = |name: &str| ModelError::Asked(format!("{} has no file {name}", repository.id));
    if let Some(name) = &repository.file {
        return find(name).map(|file| vec![file]).ok_or_else(|| absent(name));
    }
    if find(INDEX).is_some() {
        let shards = place.shards()?;
        return shards.iter().map(|name| find(name).ok_or_else(|| absent(name))).collect();
    }
    if let Some(single) = find("model.safetensors").or_else(|| find("consolidated.safetensors")) {
        return Ok(vec![single]);
    }
    let ending = |end: &str| {
        listing.files.iter().filter(|file| has_extension(Path::new(&file.name), end)).cloned().collect::<Vec<_>>()
    };
    let ggufs = ending("gguf");
    match ggufs.as_slice() {
        [_] => Ok(ggufs),
        [] if !ending("bin").is_empty() || !ending("pth").is_empty() => Err(ModelError::Asked(format!(
            "{} has its weights in pickles only, which can run any code when they are opened; take another model",
            repository.id
        ))),
        [] => Err(ModelError::Asked(format!("{} has no weights: neither safetensors nor GGUF", repository.id))),
        several => {
            let names = several.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(", ");
            let first = several.first().map_or("", |file| file.name.as_str());
            Err(ModelError::Asked(format!(
                "{id} has several models; name one, as {id}/{first}. It has {names}",
                id = repository.id
            )))
        }
    }
}

/// The folders of one repository at one commit.
struct Place {
    id: String,
    commit: String,
    hub: PathBuf,
    folder: PathBuf,
    snapshot: PathBuf,
}

impl Place {
    fn new(downloader: &Downloader, repository: &Repository, commit: &str) -> Self {
        let folder = repository.folder(&downloader.hub);
        let snapshot = folder.join("snapshots").join(commit);
        Self { id: repository.id.clone(), commit: commit.to_owned(), hub: downloader.hub.clone(), folder, snapshot }
    }

    /// Where a file grows until it is whole.
    fn partial(&self, file: &Remote) -> PathBuf {
        self.folder.join("blobs").join(format!("{}.incomplete", file.etag))
    }

    /// Bytes of a file that are here already.
    fn arrived(&self, file: &Remote) -> u64 {
        if self.folder.join("blobs").join(&file.etag).exists() {
            return file.size;
        }
        fs::metadata(self.partial(file)).map_or(0, |about| about.len())
    }

    /// Keeps other programs from writing the same file; Hugging Face's libraries use the same lock.
    fn lock(&self, file: &Remote) -> Result<File, ModelError> {
        let folder = self.hub.join(".locks").join(self.folder.file_name().unwrap_or_default());
        for folder in [&folder, &self.folder.join("blobs")] {
            fs::create_dir_all(folder)
                .map_err(|error| ModelError::io(folder, "make a folder for the download", &error))?;
        }
        let path = folder.join(format!("{}.lock", file.etag));
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|error| ModelError::io(&path, "lock the download", &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => {
                let message = format!("{} is being downloaded by another program; wait until it is done", file.name);
                Err(ModelError::file(&path, message))
            }
            Err(TryLockError::Error(error)) => Err(ModelError::io(&path, "lock the download", &error)),
        }
    }

    /// Puts a whole file where the snapshot has it.
    fn link(&self, file: &Remote, blob: &Path) -> Result<(), ModelError> {
        let path = self.snapshot.join(&file.name);
        if path.exists() {
            return Ok(());
        }
        let failed = |error: std::io::Error| ModelError::io(&path, "put the download in its place", &error);
        fs::create_dir_all(path.parent().unwrap_or(&self.snapshot)).map_err(failed)?;
        // A link to nothing is left by a cache from which contents were deleted.
        fs::remove_file(&path).ok();
        #[cfg(unix)]
        {
            let up = "../".repeat(2 + file.name.matches('/').count());
            let _ = blob;
            std::os::unix::fs::symlink(format!("{up}blobs/{}", file.etag), &path).map_err(failed)
        }
        #[cfg(not(unix))]
        fs::rename(blob, &path).map_err(failed)
    }

    /// Refuses, before its weights are downloaded, a model that can't be run.
    fn check_configuration(&self) -> Result<(), ModelError> {
        let path = self.snapshot.join("config.json");
        match fs::read_to_string(&path) {
            Ok(text) => config_json::hugging_face(&text).map(|_| ()).map_err(|what| ModelError::file(&path, what)),
            Err(_) => Ok(()),
        }
    }

    /// The files that the index names.
    fn shards(&self) -> Result<Vec<String>, ModelError> {
        let path = self.snapshot.join(INDEX);
        let text = super::files::text(&path)?;
        let json: Option<Value> = serde_json::from_str(&text).ok();
        let map = json.as_ref().and_then(|json| json.get("weight_map")?.as_object());
        let map = map.ok_or_else(|| ModelError::file(&path, "this is no index of weights; try again later"))?;
        let mut names: Vec<String> = map.values().filter_map(|name| Some(name.as_str()?.to_owned())).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Notes which commit the branch means.
    fn finish(&self, repository: &Repository) -> Result<(), ModelError> {
        if repository.revision == self.commit {
            return Ok(());
        }
        let path = self.folder.join("refs").join(&repository.revision);
        let failed = |error: std::io::Error| ModelError::io(&path, "note the model's revision", &error);
        fs::create_dir_all(path.parent().unwrap_or(&self.folder)).map_err(failed)?;
        fs::write(&path, &self.commit).map_err(failed)
    }
}

/// Bytes that are free where a folder lies, or will lie.
#[cfg(unix)]
pub fn free_bytes(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|folder| folder.exists())?;
    let about = rustix::fs::statvfs(existing).ok()?;
    about.f_bavail.checked_mul(about.f_frsize)
}

/// The same, where the system is not asked.
#[cfg(not(unix))]
pub fn free_bytes(_folder: &Path) -> Option<u64> {
    None
}
