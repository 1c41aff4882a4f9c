//! Writes a report or a run's data to a file, whole or not at all. File work alone: it is called off the window's thread.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    export::{self, ReportFormat, folder_of},
    record::Run,
};

/// How runs are written for other people and programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExportFormat {
    /// The report as a text with tables.
    Markdown,
    /// The report as one page.
    Html,
    /// The same on sheets of A4.
    Pdf,
    /// The run file.
    Json,
    /// One row a measurement.
    Csv,
    /// The folder of raw results.
    Raw,
}

impl ExportFormat {
    /// Every one in display order.
    pub const ALL: [Self; 6] = [Self::Markdown, Self::Html, Self::Pdf, Self::Json, Self::Csv, Self::Raw];

    /// Its name.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Markdown => "Markdown",
            Self::Html => "HTML",
            Self::Pdf => "PDF",
            Self::Json => "JSON",
            Self::Csv => "CSV",
            Self::Raw => "Raw folder",
        }
    }

    /// What it is, in one sentence.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Markdown => "The report as a text with tables",
            Self::Html => "The report as one page with charts that needs no other file",
            Self::Pdf => "The report on sheets of A4, with charts",
            Self::Json => "The run file, which Roofline opens again",
            Self::Csv => "One row a measurement, for a spreadsheet",
            Self::Raw => "A folder of JSON files by subject: results/raw/CHIP",
        }
    }

    /// The end of its file's name; a folder has none.
    pub const fn extension(self) -> Option<&'static str> {
        match self {
            Self::Markdown => Some("md"),
            Self::Html => Some("html"),
            Self::Pdf => Some("pdf"),
            Self::Json => Some("json"),
            Self::Csv => Some("csv"),
            Self::Raw => None,
        }
    }

    /// It holds the data of one run and no report of several.
    pub const fn is_of_one(self) -> bool {
        matches!(self, Self::Json | Self::Csv | Self::Raw)
    }
}

/// What a file of these runs is called if nobody calls it otherwise.
pub(super) fn file_name(runs: &[Run], format: ExportFormat) -> String {
    let name = match runs {
        [one] => format!("{}-{}", export::safe_name(&one.machine.chip), export::safe_name(&one.id)),
        several => format!("roofline-{}-runs", several.len()),
    };
    format.extension().map_or_else(|| name.clone(), |end| format!("{name}.{end}"))
}

/// Writes `runs` to `path`, a file or for raw results the folder that they go into. The path of what was written, or a
/// sentence about why it could not be. `words` are what a command line calls the runs.
pub(super) fn write(runs: &[Run], words: &[String], format: ExportFormat, path: &Path) -> Result<PathBuf, String> {
    let one = || runs.first().ok_or_else(|| "there is no run to write; choose one".to_owned());
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let bytes = match format {
        ExportFormat::Markdown => {
            export::report(runs, words, ReportFormat::Markdown).map_err(|error| text(&error))?.into()
        }
        ExportFormat::Html => export::report(runs, words, ReportFormat::Html).map_err(|error| text(&error))?.into(),
        ExportFormat::Pdf => export::pdf(runs, words).map_err(|error| text(&error))?,
        ExportFormat::Json => export::json(one()?).map_err(|error| text(&error))?.into_bytes(),
        ExportFormat::Csv => export::csv(one()?).map_err(|error| text(&error))?.into_bytes(),
        ExportFormat::Raw => return raw(one()?, path),
    };
    let named = match (path.extension(), format.extension()) {
        (None, Some(end)) => path.with_extension(end),
        _ => path.to_owned(),
    };
    // A name that the dialog didn't know of is never written over.
    if named != path && named.exists() {
        return Err(format!("a file of this name is there already; choose another name: {}", named.display()));
    }
    write_file(&named, &bytes)?;
    Ok(named)
}

/// That a folder to write to is there.
fn check_folder(folder: &Path) -> Result<(), String> {
    if folder.is_dir() {
        return Ok(());
    }
    Err(format!("the folder to write to isn't there, or not any more; choose another: {}", folder.display()))
}

/// Writes a file whole or not at all; a sentence about why it could not be.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), String> {
    check_folder(folder_of(path))?;
    export::write_whole(path, bytes).map_err(|error| failed(&error, path))
}

fn raw(run: &Run, parent: &Path) -> Result<PathBuf, String> {
    check_folder(parent)?;
    let folder = parent.join(export::raw_folder(run));
    let files = export::raw(run);
    let left = export::raw_leftovers(&folder, &files).into_iter().next();
    if let Some(known) = files.iter().map(|file| folder.join(&file.name)).find(|path| path.exists()).or(left) {
        return Err(format!("there are raw results of this chip already; choose another folder: {}", known.display()));
    }
    fs::create_dir_all(&folder).map_err(|error| failed(&error, &folder))?;
    for file in files {
        let text = serde_json::to_string_pretty(&file.content).map_err(|error| error.to_string())? + "\n";
        write_file(&folder.join(&file.name), text.as_bytes())?;
    }
    Ok(folder)
}

fn failed(error: &io::Error, path: &Path) -> String {
    let (what, then) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ("the disk is full".to_owned(), "free some space, or choose another")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ("the folder may not be written to".to_owned(), "choose another")
        }
        kind => (format!("the file could not be written ({kind})"), "choose another folder"),
    };
    format!("{what}; {then}: {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::reference;

    #[test]
    fn every_form_is_written() {
        let (folder, runs) = (tempfile::tempdir().unwrap(), [reference().unwrap()]);
        for format in ExportFormat::ALL {
            let name = file_name(&runs, format);
            let path = if format == ExportFormat::Raw { folder.path().to_owned() } else { folder.path().join(&name) };
            let written = write(&runs, &[], format, &path).unwrap();
            assert!(written.exists() && written.starts_with(folder.path()), "{format:?}");
        }
        let bare = write(&runs, &[], ExportFormat::Csv, &folder.path().join("table")).unwrap();
        assert!(bare.ends_with("table.csv"));
        let again = write(&runs, &[], ExportFormat::Csv, &folder.path().join("table")).unwrap_err();
        assert!(again.contains("there already"), "{again}");
        let raw = write(&runs, &[], ExportFormat::Raw, folder.path()).unwrap_err();
        assert!(raw.contains("raw results of this chip already"), "{raw}");
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            7,
            "five files, bare and raw: nothing is left over"
        );
    }

    #[test]
    fn a_folder_that_vanished_is_said_to_have() {
        let runs = [reference().unwrap()];
        let gone = tempfile::tempdir().unwrap().path().join("gone");
        for format in ExportFormat::ALL {
            let error = write(&runs, &[], format, &gone.join("x.y")).unwrap_err();
            assert!(error.contains("isn't there, or not any more"), "{format:?}: {error}");
        }
        let full = failed(&io::ErrorKind::StorageFull.into(), Path::new("a/b"));
        assert_eq!(full, "the disk is full; free some space, or choose another: a/b");
    }

    #[test]
    fn no_name_leaves_its_folder() {
        let mut run = reference().unwrap();
        run.id = "../../x\n<y>".into();
        run.machine.chip = "/etc".into();
        let name = file_name(&[run], ExportFormat::Html);
        assert!(!name.contains(['/', '\\', '\n', '<']) && name.split('.').next_back() == Some("html"), "{name}");
    }
}
