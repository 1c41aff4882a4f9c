//! What can go wrong with a model, in sentences that say what to do.

use std::path::{Path, PathBuf};

/// Why a model can't be found, read, or run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The person asked for it.
    #[error("cancelled")]
    Cancelled,
    /// A name or parameter means nothing here; the sentence says what to write.
    #[error("{0}")]
    Asked(String),
    /// A file is missing, unreadable, cut off, or holds something else than it says. The sentence names the tensor.
    #[error("{message}: {}", path.display())]
    File {
        /// What is wrong and what to do, without the path.
        message: String,
        /// The file or folder.
        path: PathBuf,
    },
    /// This device or build can't run it.
    #[error("{0}")]
    Unsupported(String),
    /// The device has too little memory.
    #[error("{0}")]
    OutOfMemory(String),
    /// candle could not do it.
    #[error("{0}")]
    Compute(String),
}

impl ModelError {
    /// A file that is not as it should be.
    pub fn file(path: &Path, message: impl Into<String>) -> Self {
        Self::File { message: message.into(), path: path.to_owned() }
    }

    /// A file that could not be opened or read, with what to do.
    pub fn io(path: &Path, doing: &str, error: &std::io::Error) -> Self {
        let advice = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file; check the path",
            std::io::ErrorKind::PermissionDenied => "permission denied; allow this user to read it",
            std::io::ErrorKind::StorageFull => "the disk is full; free some space",
            _ => return Self::file(path, format!("could not {doing} ({error})")),
        };
        Self::file(path, format!("could not {doing}: {advice}"))
    }
}

impl From<candle_core::Error> for ModelError {
    /// candle's errors carry a backtrace when asked for; only the sentence is kept. What a device says when its memory is
    /// spent becomes [`ModelError::OutOfMemory`].
    fn from(error: candle_core::Error) -> Self {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default().to_owned();
        let lower = text.to_lowercase();
        let spent = ["out of memory", "out_of_memory", "failedtocreateresource", "failed to create metal resource"];
        if spent.iter().any(|sign| lower.contains(sign)) {
            return Self::OutOfMemory(format!(
                "the device's memory is spent ({line}); choose a smaller model, precision, batch or depth"
            ));
        }
        Self::Compute(line)
    }
}
