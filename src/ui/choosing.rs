//! The system's dialog for files and folders, open beside the window and never in its way.

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, TryRecvError},
    time::{Duration, Instant},
};

use super::state::State;
use crate::{engine::EngineId, run::Runner};

/// What the dialog is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Model files to add.
    ModelFiles,
    /// A folder with models to add.
    ModelFolder,
    /// Runs to compare.
    RunFiles,
    /// The folder that runs are written into.
    ExportFolder,
    /// The program that an engine is: a Python, or llama-bench.
    EngineFile(EngineId),
    /// The folder that it is in.
    EngineFolder(EngineId),
}

/// What came of a dialog.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// These were chosen; none where the dialog was closed.
    Paths(Vec<PathBuf>),
    /// It was never open.
    Unopened,
}

impl Answer {
    /// Nobody closes a dialog in a shorter time: what ends so soon was never open.
    const SEEN: Duration = Duration::from_millis(300);

    /// What the dialog gave after `open`. Linux has one only where its desktop answers on the bus.
    fn of(chosen: Option<Vec<PathBuf>>, open: Duration) -> Self {
        match chosen {
            Some(paths) => Self::Paths(paths),
            None if cfg!(target_os = "linux") && open < Self::SEEN => Self::Unopened,
            None => Self::Paths(Vec::new()),
        }
    }

    /// The paths; says what to do where no dialog could be opened.
    pub(super) fn paths(self, state: &mut State) -> Vec<PathBuf> {
        match self {
            Self::Paths(paths) => paths,
            Self::Unopened => {
                state.warn(
                    "no dialog for files could be opened; install xdg-desktop-portal with your desktop's part of it, drop \
                     files on the window, or use the command line (roofline --help)",
                );
                Vec::new()
            }
        }
    }
}

/// Waits for a dialog beside the window. The dialog itself is made by the caller, where macOS wants it.
pub(super) fn wait(
    runner: &Runner,
    dialog: impl Future<Output = Option<Vec<rfd::FileHandle>>> + Send + 'static,
) -> Receiver<Answer> {
    runner.aside(move || {
        let start = Instant::now();
        let chosen = pollster::block_on(dialog);
        Answer::of(chosen.map(|files| files.into_iter().map(PathBuf::from).collect()), start.elapsed())
    })
}

/// One file or folder as a list.
pub(super) async fn single(dialog: impl Future<Output = Option<rfd::FileHandle>>) -> Option<Vec<rfd::FileHandle>> {
    dialog.await.map(|file| vec![file])
}

/// At most one dialog.
#[derive(Default)]
pub(super) struct Choosing(Option<(Wanted, Receiver<Answer>)>);

impl Choosing {
    /// Opens the dialog, unless one is open.
    pub(super) fn open(&mut self, runner: &Runner, wanted: Wanted) {
        if self.0.is_some() {
            return;
        }
        let dialog = rfd::AsyncFileDialog::new().set_title(title(wanted));
        let receiver = match wanted {
            Wanted::ModelFolder | Wanted::ExportFolder | Wanted::EngineFolder(_) => {
                wait(runner, single(dialog.pick_folder()))
            }
            Wanted::EngineFile(_) => wait(runner, single(dialog.pick_file())),
            Wanted::RunFiles => {
                wait(runner, dialog.add_filter("Runs, or llama-bench's JSON", &["json", "jsonl"]).pick_files())
            }
            Wanted::ModelFiles => {
                wait(runner, dialog.add_filter("GGUF and safetensors", &["gguf", "safetensors"]).pick_files())
            }
        };
        self.0 = Some((wanted, receiver));
    }

    /// What came of the dialog, and what it was for.
    pub(super) fn poll(&mut self) -> Option<(Wanted, Answer)> {
        let (wanted, receiver) = self.0.as_ref()?;
        let (wanted, chosen) = match receiver.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Ok(chosen) => (*wanted, chosen),
            Err(TryRecvError::Disconnected) => (*wanted, Answer::Unopened),
        };
        self.0 = None;
        Some((wanted, chosen))
    }
}

fn title(wanted: Wanted) -> String {
    match wanted {
        Wanted::RunFiles => "Add runs to compare".to_owned(),
        Wanted::ExportFolder => "Export runs into a folder".to_owned(),
        Wanted::ModelFiles => "Add models".to_owned(),
        Wanted::ModelFolder => "Add a folder with models".to_owned(),
        Wanted::EngineFile(EngineId::LlamaCpp) => "Choose llama-bench".to_owned(),
        Wanted::EngineFile(engine) => format!("Choose the Python with {}", engine.title()),
        Wanted::EngineFolder(EngineId::LlamaCpp) => "Choose the folder with llama-bench".to_owned(),
        Wanted::EngineFolder(engine) => format!("Choose the environment with {}", engine.title()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialog_that_ends_before_anyone_saw_it_was_never_open() {
        let closed = Answer::Paths(Vec::new());
        assert_eq!(Answer::of(None, Duration::from_secs(2)), closed);
        let at_once = Answer::of(None, Duration::from_millis(20));
        assert_eq!(at_once, if cfg!(target_os = "linux") { Answer::Unopened } else { closed });
        let chosen = Answer::of(Some(vec!["/a".into()]), Duration::from_millis(20));
        let mut state = State::default();
        assert_eq!(chosen.paths(&mut state), [PathBuf::from("/a")]);
        assert!(state.banners.is_empty());
        assert!(Answer::Unopened.paths(&mut state).is_empty());
        assert_eq!(state.banners.len(), 1);
    }
}
