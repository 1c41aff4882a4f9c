//! The system's dialog for files and folders, open beside the window and never in its way.

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, TryRecvError},
};

use crate::run::Runner;

/// At most one dialog.
#[derive(Default)]
pub(super) struct Choosing(Option<Receiver<Vec<PathBuf>>>);

impl Choosing {
    /// Opens the dialog for files, or for a folder, unless one is open.
    pub(super) fn open(&mut self, runner: &Runner, folder: bool) {
        if self.0.is_some() {
            return;
        }
        let dialog = rfd::AsyncFileDialog::new();
        // Made here, where macOS wants it, and waited for elsewhere.
        self.0 = Some(if folder {
            let chosen = dialog.set_title("Add a folder with models").pick_folder();
            runner.aside(move || pollster::block_on(chosen).into_iter().map(PathBuf::from).collect())
        } else {
            let dialog = dialog.set_title("Add models").add_filter("GGUF and safetensors", &["gguf", "safetensors"]);
            let chosen = dialog.pick_files();
            runner.aside(move || pollster::block_on(chosen).into_iter().flatten().map(PathBuf::from).collect())
        });
    }

    /// What was chosen; nothing when the dialog was closed, or could not be opened.
    pub(super) fn poll(&mut self) -> Vec<PathBuf> {
        let Some(receiver) = &self.0 else { return Vec::new() };
        let chosen = match receiver.try_recv() {
            Err(TryRecvError::Empty) => return Vec::new(),
            Ok(chosen) => chosen,
            Err(TryRecvError::Disconnected) => Vec::new(),
        };
        self.0 = None;
        chosen
    }
}
