//! The download that goes on in the background, and how far it is.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, TryRecvError},
    },
    time::{Duration, Instant},
};

use super::state::{Download, DownloadState, State};
use crate::{
    measure::Cancel,
    model::{
        ModelError,
        download::{DownloadProgress, Downloader, ENDPOINT},
        source::Repository,
    },
    run::{Runner, Wake},
};

/// The window is told of progress this often.
const TELL: Duration = Duration::from_millis(250);

/// What a download tells, read once a frame.
type Told = Arc<Mutex<Option<DownloadProgress>>>;

/// At most one download.
#[derive(Default)]
pub(super) struct Fetching {
    /// Asks the window for a paint.
    wake: Option<Wake>,
    /// Opens private models where the field is empty.
    pub(super) token: Option<String>,
    /// The server, where it is not Hugging Face's own.
    pub(super) endpoint: Option<String>,
    going: Option<Going>,
}

struct Going {
    cancel: Cancel,
    told: Told,
    result: Receiver<Result<PathBuf, ModelError>>,
}

impl Fetching {
    /// None yet; `wake` is called when there is news.
    pub(super) fn new(wake: Wake) -> Self {
        Self { wake: Some(wake), ..Self::default() }
    }

    /// Begins, or goes on with what an earlier download left. The error says what to write.
    pub(super) fn start(
        &mut self,
        runner: &Runner,
        asked: &str,
        token: String,
        hub: Option<PathBuf>,
    ) -> Result<Download, String> {
        if Repository::parse(asked).is_none() {
            return Err(format!("\"{asked}\" is no model on Hugging Face; write org/name, or org/name/file.gguf"));
        }
        let hub = hub.ok_or("no folder for models is known on this system; set the variable HF_HOME to one")?;
        let token = Some(token).filter(|token| !token.is_empty()).or_else(|| self.token.clone());
        let endpoint = self.endpoint.clone().unwrap_or_else(|| ENDPOINT.to_owned());
        let (cancel, told) = (Cancel::default(), Told::default());
        let (name, heard, teller, wake) = (asked.to_owned(), cancel.clone(), Arc::clone(&told), self.wake.clone());
        let work = move || {
            let mut last: Option<Instant> = None;
            let mut progress = |progress: &DownloadProgress| {
                *teller.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress.clone());
                if last.is_none_or(|last| last.elapsed() >= TELL) {
                    last = Some(Instant::now());
                    if let Some(wake) = &wake {
                        wake();
                    }
                }
                if heard.requested() { Err(ModelError::Cancelled) } else { Ok(()) }
            };
            Downloader::new(&endpoint, token, hub).download(&name, &mut progress)
        };
        self.going = Some(Going { cancel, told, result: runner.download(work) });
        Ok(Download {
            asked: asked.to_owned(),
            state: DownloadState::Going,
            file: String::new(),
            done_bytes: 0,
            total_bytes: 0,
        })
    }

    /// Asks it to stop.
    pub(super) fn cancel(&self) {
        if let Some(going) = &self.going {
            going.cancel.request();
        }
    }

    /// Takes over how far it is; true when there is a new model.
    pub(super) fn poll(&mut self, state: &mut State) -> bool {
        let (Some(going), Some(download)) = (&self.going, &mut state.download) else { return false };
        if let Some(told) = going.told.lock().unwrap_or_else(PoisonError::into_inner).take() {
            (download.file, download.done_bytes, download.total_bytes) = (told.file, told.done_bytes, told.total_bytes);
        }
        download.state = match going.result.try_recv() {
            Err(TryRecvError::Empty) => return false,
            Ok(Ok(_path)) => DownloadState::Done,
            Ok(Err(ModelError::Cancelled)) => DownloadState::Cancelled,
            Ok(Err(error)) => DownloadState::Failed(error.to_string()),
            Err(TryRecvError::Disconnected) => DownloadState::Failed("the download ended without a word".to_owned()),
        };
        self.going = None;
        download.state == DownloadState::Done
    }
}
