//! `roofline models`: what there is, downloads, and writing a model in another layout.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;

use super::{
    default_hub, hub_endpoint, hub_token,
    output::{self, Error, Exit},
    shown::{Counted, Shown},
};
use crate::{
    model::{
        ModelError,
        download::{DownloadProgress, Downloader},
        resolve, source, weights,
    },
    units::{Quantity, Unit},
    workload::{Origin, Precision},
};

/// What `models` does.
#[derive(Debug, Args)]
pub struct ModelsArguments {
    /// What to do; the models are listed without one
    #[command(subcommand)]
    pub command: Option<ModelsCommand>,
}

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the presets, the models in Hugging Face's cache, and those in folders
    List {
        /// Folders to look in
        folders: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Download a model from Hugging Face into its cache; HF_TOKEN opens private ones
    Download {
        /// org/name, org/name@revision, or org/name/file.gguf
        name: String,
    },
    /// Write a model as a GGUF file that llama.cpp runs, or as a folder that transformers and mlx-lm run
    Export {
        /// A preset, a file or folder, or org/name
        name: String,
        /// How the weights are stored: f32, f16, bf16, and in GGUF files Q8_0, Q4_0, Q4_K_M; as they are without it, f16 for
        /// presets
        #[arg(long)]
        precision: Option<Precision>,
        /// The layout; without it, gguf for a path that ends with .gguf, and huggingface for all others
        #[arg(long, value_enum)]
        format: Option<ExportFormat>,
        /// The file or folder to write
        #[arg(long, value_name = "PATH")]
        output: PathBuf,
    },
}

/// How a model is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A folder with config.json, safetensors and a tokenizer
    #[value(name = "huggingface")]
    HuggingFace,
    /// One file for llama.cpp
    Gguf,
}

impl ExportFormat {
    /// What a path's name asks for.
    fn of(path: &Path) -> Self {
        let is_gguf = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
        if is_gguf { Self::Gguf } else { Self::HuggingFace }
    }
}

/// Does it.
pub(super) fn models(arguments: &ModelsArguments) -> Result<Exit, Error> {
    match &arguments.command {
        None => list(&[], false),
        Some(ModelsCommand::List { folders, json }) => list(folders, *json),
        Some(ModelsCommand::Download { name }) => download(name),
        Some(ModelsCommand::Export { name, precision, format, output }) => {
            export(name, precision.as_ref(), format.unwrap_or_else(|| ExportFormat::of(output)), output)
        }
    }
}

/// One model, or what is none.
#[derive(Serialize)]
struct Listed {
    /// What `--model` is given.
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<Precision>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight_bytes: Option<u64>,
    /// Why it can't be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Listed {
    fn of(found: source::Found) -> Self {
        let (model, reason) = match found.model {
            Ok(model) => (Some(model), None),
            Err(reason) => (None, Some(reason)),
        };
        Self {
            model: found.asked,
            path: found.path,
            origin: model.as_ref().map(|model| model.origin),
            precision: model.as_ref().map(|model| model.precision.clone()),
            parameters: model.as_ref().map(|model| model.shape.parameters()),
            weight_bytes: model.as_ref().map(|model| model.weight_bytes),
            reason,
        }
    }

    fn row(&self) -> [String; 5] {
        let dash = || "—".to_owned();
        let billions = |parameters: u64| format!("{:.2}·10⁹", parameters as f64 / 1e9);
        let size = |bytes: u64| Quantity::new(bytes as f64, Unit::Byte).to_string();
        let preset = || if self.origin.is_some() { "preset: synthetic weights".to_owned() } else { dash() };
        let place = self.path.as_ref().map_or_else(preset, |path| path.display().to_string());
        [
            self.model.clone(),
            self.precision.as_ref().map_or_else(dash, ToString::to_string),
            self.parameters.map_or_else(dash, billions),
            self.weight_bytes.map_or_else(dash, size),
            self.reason.clone().unwrap_or(place),
        ]
    }
}

fn list(folders: &[PathBuf], json: bool) -> Result<Exit, Error> {
    if let Some(missing) = folders.iter().find(|folder| !folder.is_dir()) {
        return Err(Error::usage(format!("there is no such folder: {}", missing.display())));
    }
    let found = source::list(default_hub().as_deref(), folders);
    let listed: Vec<Listed> = found.into_iter().map(Listed::of).collect();
    let text =
        if json { serde_json::to_string_pretty(&listed).map_err(Error::failure)? + "\n" } else { table(&listed) };
    output::write("-", &text)?;
    Ok(Exit::Success)
}

fn table(listed: &[Listed]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["Model", "Precision", "Parameters", "Weights", "Where, or why it can't be used"]);
    for column in 2..=3 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for model in listed {
        table.add_row(model.row().map(Cell::new));
    }
    format!("{table}\n")
}

fn download(name: &str) -> Result<Exit, Error> {
    let hub =
        default_hub().ok_or_else(|| Error::failure("no home folder is known; name the cache with HF_HUB_CACHE"))?;
    let downloader = Downloader::new(&hub_endpoint(), hub_token(), hub);
    let mut shown = Shown::begin()?;
    let outcome = downloader.download(name, &mut |progress: &DownloadProgress| {
        tell(&mut shown, &progress.file, progress.done_bytes, progress.total_bytes)
    });
    end(&shown, outcome.map(|path| (path, "downloaded")))
}

fn export(name: &str, precision: Option<&Precision>, format: ExportFormat, path: &Path) -> Result<Exit, Error> {
    let model = resolve(name, precision, default_hub().as_deref()).map_err(error)?;
    let mut shown = Shown::begin()?;
    let mut told =
        |progress: weights::LoadProgress| tell(&mut shown, &model.label(), progress.done_bytes, progress.total_bytes);
    let outcome = match format {
        ExportFormat::HuggingFace => weights::export_huggingface(&model, path, &mut told),
        ExportFormat::Gguf => weights::export(&model, path, &mut told),
    };
    end(&shown, outcome.map(|()| (path.to_owned(), "written")))
}

fn error(error: ModelError) -> Error {
    match error {
        ModelError::Asked(_) => Error::usage(error),
        _ => Error::failure(error),
    }
}

/// Tells of progress; an error once it is to end.
fn tell(shown: &mut Shown, what: &str, done: u64, total: u64) -> Result<(), ModelError> {
    if shown.cancel.requested() {
        return Err(ModelError::Cancelled);
    }
    shown.tell(what, done, total, Counted::Bytes);
    Ok(())
}

/// Says what became of it.
fn end(shown: &Shown, outcome: Result<(PathBuf, &str), ModelError>) -> Result<Exit, Error> {
    shown.clear();
    match outcome {
        Ok((path, done)) => {
            output::complain(&format!("{done}: {}", path.display()));
            Ok(Exit::Success)
        }
        Err(ModelError::Cancelled) => Ok(Exit::Interrupted),
        Err(other) => Err(error(other)),
    }
}
