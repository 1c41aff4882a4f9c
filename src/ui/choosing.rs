//! The system's dialog for files and folders, open beside the window and never in its way.

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, TryRecvError},
};

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

/// At most one dialog.
#[derive(Default)]
pub(super) struct Choosing(Option<(Wanted, Receiver<Vec<PathBuf>>)>);

impl Choosing {
    /// Opens the dialog, unless one is open.
    pub(super) fn open(&mut self, runner: &Runner, wanted: Wanted) {
        if self.0.is_some() {
            return;
        }
        let dialog = rfd::AsyncFileDialog::new().set_title(title(wanted));
        // Made here, where macOS wants it, and waited for elsewhere.
        let receiver = match wanted {
            Wanted::ModelFolder | Wanted::ExportFolder | Wanted::EngineFolder(_) => {
                let chosen = dialog.pick_folder();
                runner.aside(move || pollster::block_on(chosen).into_iter().map(PathBuf::from).collect())
            }
            Wanted::EngineFile(_) => {
                let chosen = dialog.pick_file();
                runner.aside(move || pollster::block_on(chosen).into_iter().map(PathBuf::from).collect())
            }
            Wanted::RunFiles => {
                let chosen = dialog.add_filter("Runs, or llama-bench's JSON", &["json", "jsonl"]).pick_files();
                runner.aside(move || pollster::block_on(chosen).into_iter().flatten().map(PathBuf::from).collect())
            }
            Wanted::ModelFiles => {
                let chosen = dialog.add_filter("GGUF and safetensors", &["gguf", "safetensors"]).pick_files();
                runner.aside(move || pollster::block_on(chosen).into_iter().flatten().map(PathBuf::from).collect())
            }
        };
        self.0 = Some((wanted, receiver));
    }

    /// What was chosen, and for what; nothing when the dialog was closed, or could not be opened.
    pub(super) fn poll(&mut self) -> Option<(Wanted, Vec<PathBuf>)> {
        let (wanted, receiver) = self.0.as_ref()?;
        let (wanted, chosen) = match receiver.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Ok(chosen) => (*wanted, chosen),
            Err(TryRecvError::Disconnected) => (*wanted, Vec::new()),
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
