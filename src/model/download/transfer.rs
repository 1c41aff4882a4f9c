//! Requests to the server: the list of files, and files that are gone on with after a cut.

use std::{
    cell::{Cell, RefCell},
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use ureq::{Agent, Body, http::Response};

use super::{Downloader, Remote};
use crate::model::ModelError;

/// Failed tries in a row, without a byte between them, after which the download ends.
const TRIES: u32 = 5;
/// Bytes between two looks at whether to go on.
const PIECE: usize = 256 << 10;

/// A server and how it is asked.
pub(super) struct Connection {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
    retry_delay: Duration,
}

/// Why a try ended.
enum Ended {
    /// Another may succeed.
    Cut(String),
    /// None will.
    Refused(ModelError),
}

impl From<ModelError> for Ended {
    fn from(error: ModelError) -> Self {
        Self::Refused(error)
    }
}

impl Connection {
    pub(super) fn new(downloader: &Downloader) -> Result<Self, ModelError> {
        let Downloader { endpoint, token, retry_delay, silence, .. } = downloader;
        if token.as_ref().is_some_and(|token| !token.chars().all(|c| c.is_ascii_graphic())) {
            return Err(ModelError::Asked(
                "the token for Hugging Face holds spaces or signs that no token has".to_owned(),
            ));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(*silence))
            .timeout_recv_response(Some(3 * *silence))
            .timeout_per_read(Some(*silence))
            .user_agent(concat!("roofline/", env!("CARGO_PKG_VERSION")));
        // The system's own encryption, which needs no C compiler.
        #[cfg(target_os = "macos")]
        let config =
            config.tls_config(ureq::tls::TlsConfig::builder().provider(ureq::tls::TlsProvider::NativeTls).build());
        let agent = config.build().new_agent();
        Ok(Self { agent, endpoint: endpoint.clone(), token: token.clone(), retry_delay: *retry_delay })
    }

    fn get(&self, url: &str, from: u64) -> Result<Response<Body>, Ended> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        request.call().map_err(|error| self.failed(&error))
    }

    /// What a connection that failed means.
    fn failed(&self, error: &ureq::Error) -> Ended {
        let endpoint = &self.endpoint;
        match error {
            ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::Timeout(_)
            | ureq::Error::Io(_) => {
                Ended::Cut(format!("{endpoint} can't be reached ({error}); check the connection to the network"))
            }
            other => Ended::Refused(ModelError::Asked(format!("{endpoint} can't be used ({other})"))),
        }
    }

    /// What a status other than success means.
    fn refused(&self, status: u16, what: &str) -> Ended {
        let endpoint = &self.endpoint;
        let has_token = self.token.is_some();
        let message = match status {
            401 if has_token => format!("{endpoint} doesn't accept the token for {what} (401); check HF_TOKEN"),
            401 => format!("{what} doesn't exist, or needs a token (401); check its name, or set HF_TOKEN"),
            403 => format!("the token may not read {what} (403); ask for access on the model's page at {endpoint}"),
            404 => format!("{what} doesn't exist at {endpoint} (404); check its name and revision"),
            429 => return Ended::Cut(format!("{endpoint} asks for fewer requests (429); try again later")),
            500.. => return Ended::Cut(format!("{endpoint} has trouble of its own ({status}); try again later")),
            _ => format!("{endpoint} answered {status} for {what}"),
        };
        Ended::Refused(ModelError::Asked(message))
    }

    /// A JSON document about `what`.
    pub(super) fn json(&self, url: &str, what: &str) -> Result<Value, ModelError> {
        const MOST: u64 = 64 << 20;
        self.with_retries(&mut || Ok(()), &mut |_| {
            let mut response = self.get(url, 0).map_err(|ended| match ended {
                // Nothing is on its way yet: without a network that is told at once.
                Ended::Cut(why) if is_unknown_host(&why) => Ended::Refused(ModelError::Asked(why)),
                other => other,
            })?;
            let status = response.status().as_u16();
            if status != 200 {
                return Err(self.refused(status, what));
            }
            let text = response.body_mut().with_config().limit(MOST).read_to_string();
            let text = text.map_err(|error| self.failed(&error))?;
            serde_json::from_str(&text).map_err(|error| {
                Ended::Refused(ModelError::Asked(format!("{} sent no JSON about {what} ({error})", self.endpoint)))
            })
        })
    }

    /// Gets a file into `partial`, going on where an earlier try ended, and checks it. `tell` hears how many bytes are here.
    pub(super) fn file(
        &self,
        url: &str,
        file: &Remote,
        partial: &Path,
        tell: &mut dyn FnMut(u64) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let mut growing = Growing::open(partial, file.size)?;
        growing.absorb(tell)?;
        let here = Cell::new(growing.here);
        let tell = RefCell::new(tell);
        self.with_retries(&mut || (tell.borrow_mut())(here.get()), &mut |tries| {
            let outcome = self.stretch(url, file, &mut growing, &mut **tell.borrow_mut());
            if here.replace(growing.here) != growing.here {
                *tries = 0;
            }
            outcome
        })?;
        growing.check(file)
    }

    /// One try: from where the file ends to its end.
    fn stretch(
        &self,
        url: &str,
        file: &Remote,
        growing: &mut Growing<'_>,
        tell: &mut dyn FnMut(u64) -> Result<(), ModelError>,
    ) -> Result<(), Ended> {
        if growing.here == file.size {
            return Ok(());
        }
        let response = self.get(url, growing.here)?;
        let status = response.status().as_u16();
        let continues = |range: &str| range.starts_with(&format!("bytes {}-", growing.here));
        let range = response.headers().get("content-range").and_then(|range| range.to_str().ok());
        match status {
            206 if range.is_some_and(continues) => {}
            // The whole file, or what can't be joined to what is here: from the beginning.
            200 => growing.restart()?,
            206 | 416 => {
                growing.restart()?;
                return Err(Ended::Cut(format!("{} can't go on with {}; it begins again", self.endpoint, file.name)));
            }
            _ => return Err(self.refused(status, &file.name)),
        }
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut piece = vec![0; PIECE];
        while growing.here < file.size {
            let read = body.read(&mut piece).map_err(|error| Ended::Cut(self.cut(&error)))?;
            let piece = piece.get(..read).unwrap_or_default();
            if piece.is_empty() {
                return Err(Ended::Cut(format!("{} ended the connection; check the network", self.endpoint)));
            }
            let left = file.size - growing.here;
            let piece = piece.get(..read.min(usize::try_from(left).unwrap_or(usize::MAX))).unwrap_or_default();
            growing.add(piece)?;
            tell(growing.here)?;
        }
        Ok(())
    }

    fn cut(&self, error: &io::Error) -> String {
        format!("the connection to {} was cut ({error}); check the network, and try again to go on", self.endpoint)
    }

    /// Tries until it succeeds, until it is refused, or too often. `waiting` is asked meanwhile whether to go on.
    fn with_retries<T>(
        &self,
        waiting: &mut dyn FnMut() -> Result<(), ModelError>,
        once: &mut dyn FnMut(&mut u32) -> Result<T, Ended>,
    ) -> Result<T, ModelError> {
        let mut tries = 0;
        loop {
            let why = match once(&mut tries) {
                Ok(done) => return Ok(done),
                Err(Ended::Refused(error)) => return Err(error),
                Err(Ended::Cut(why)) => why,
            };
            tries += 1;
            if tries >= TRIES {
                return Err(ModelError::Asked(why));
            }
            let until = Instant::now() + self.retry_delay * 2_u32.pow(tries - 1);
            while Instant::now() < until {
                waiting()?;
                std::thread::sleep(Duration::from_millis(50).min(until - Instant::now()));
            }
        }
    }
}

/// Whether the host's name means nothing here; the standard library gives that no kind of its own, only words.
fn is_unknown_host(why: &str) -> bool {
    why.contains("failed to lookup address")
}

/// A file on its way.
struct Growing<'a> {
    path: &'a Path,
    file: File,
    here: u64,
    hash: Sha256,
}

impl<'a> Growing<'a> {
    /// What an earlier download left, or nothing; more than the whole is nothing too.
    fn open(path: &'a Path, size: u64) -> Result<Self, ModelError> {
        let failed = |error: io::Error| ModelError::io(path, "write the download", &error);
        let file = File::options().create(true).read(true).append(true).open(path).map_err(failed)?;
        let mut growing = Self { path, file, here: 0, hash: Sha256::new() };
        if growing.file.metadata().map_err(failed)?.len() > size {
            growing.restart()?;
        }
        Ok(growing)
    }

    /// Takes in what is there.
    fn absorb(&mut self, tell: &mut dyn FnMut(u64) -> Result<(), ModelError>) -> Result<(), ModelError> {
        let mut piece = vec![0; 4 * PIECE];
        loop {
            let read = self.file.read(&mut piece);
            let read = read.map_err(|error| ModelError::io(self.path, "read the download so far", &error))?;
            if read == 0 {
                return Ok(());
            }
            self.hash.update(piece.get(..read).unwrap_or_default());
            self.here += read as u64;
            tell(self.here)?;
        }
    }

    fn add(&mut self, piece: &[u8]) -> Result<(), ModelError> {
        self.file.write_all(piece).map_err(|error| ModelError::io(self.path, "write the download", &error))?;
        self.hash.update(piece);
        self.here += piece.len() as u64;
        Ok(())
    }

    /// Forgets all that is there.
    fn restart(&mut self) -> Result<(), ModelError> {
        self.file.set_len(0).map_err(|error| ModelError::io(self.path, "begin the download again", &error))?;
        (self.here, self.hash) = (0, Sha256::new());
        Ok(())
    }

    /// Compares the checksum; a file with a wrong one is deleted.
    fn check(self, file: &Remote) -> Result<(), ModelError> {
        let mut found = String::new();
        for byte in self.hash.finalize() {
            write!(found, "{byte:02x}").ok();
        }
        match &file.sha256 {
            Some(wanted) if !wanted.eq_ignore_ascii_case(&found) => {
                fs::remove_file(self.path).ok();
                let name = &file.name;
                let message =
                    format!("{name} arrived damaged: its SHA-256 is not what it should be; download it again");
                Err(ModelError::file(self.path, message))
            }
            _ => Ok(()),
        }
    }
}
