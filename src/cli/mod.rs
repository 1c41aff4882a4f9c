//! The headless face: flags in, tables and JSON out. The only room that knows clap, tables and progress bars.

mod chart;
mod compare;
mod comparison;
mod engines;
mod export;
mod list;
mod models;
mod named;
mod output;
mod progress;
mod report;
mod run;
mod runs;
mod shown;
mod system;
mod table;

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::{
    chart::ChartArguments,
    compare::{CompareArguments, CompareFormat, FailOn},
    engines::{EnginesArguments, EnginesCommand},
    export::ExportArguments,
    models::{ModelsArguments, ModelsCommand},
    output::Exit,
    report::ReportArguments,
    runs::{RunsArguments, RunsCommand},
};
use crate::{
    engine::{EngineId, Surroundings},
    run::{ModelOptions, Request, Sizes, SuiteName},
    workload::{Dtype, Layout, MemoryOp, Precision, Target, WorkloadKind},
};

/// Measures how fast this machine runs machine learning, and says why.
///
/// Without a command the window opens.
#[derive(Debug, Parser)]
#[command(name = "roofline", version, propagate_version = true)]
pub struct Cli {
    /// What to do; the window opens without one.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The folder for saved runs and tuning results; the variable ROOFLINE_DATA_DIR does the same
    #[arg(long, global = true, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
}

/// What to do without a window.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a suite, or a part of one, and print the results
    Run(Box<RunArguments>),
    /// Hold saved runs against each other, or the engines of one run: faster, slower, same, or not comparable and why
    Compare(CompareArguments),
    /// List saved runs, find, name, note, tag, pin, delete and restore them
    Runs(Box<RunsArguments>),
    /// List suites, workloads, engines and devices, and why something is unavailable
    List(FormatArguments),
    /// Describe this machine
    System(FormatArguments),
    /// List, download and export language models
    Models(ModelsArguments),
    /// List, install, update, remove and look over engines: PyTorch, MLX, llama.cpp
    Engines(EnginesArguments),
    /// Write a run as a document: figures, reasons, recommendations
    Report(ReportArguments),
    /// Write charts of runs as SVG or PNG pictures
    Chart(ChartArguments),
    /// Write a run for other programs: JSON, JSON lines, CSV, or the folder of raw results
    Export(ExportArguments),
    /// Open the window on a saved run
    Open {
        /// The run file
        file: PathBuf,
    },
}

/// How `list` and `system` print.
#[derive(Debug, Args)]
pub struct FormatArguments {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `run` measures and where it writes.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// The suite: quick, standard or full
    #[arg(long, default_value = "quick")]
    pub suite: SuiteName,
    /// Only these workloads: gemm, attention, bandwidth, bandwidth-sweep, tensor-limit, model-load, inference, training
    #[arg(long, value_delimiter = ',')]
    pub workload: Vec<WorkloadKind>,
    /// Only these engines: wgpu, candle, pytorch, mlx, llama.cpp, or one of the engines folder
    #[arg(long, value_delimiter = ',')]
    pub engine: Vec<EngineId>,
    /// Instead of the suite's sizes: N or MxNxK for gemm, 256MiB or 1GiB an array for bandwidth
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true)]
    pub size: Vec<String>,
    /// Only these element types: f32, tf32, f16, bf16
    #[arg(long, value_delimiter = ',')]
    pub dtype: Vec<Dtype>,
    /// How the second matrix of a GEMM is stored: ab (k × n) or abt (n × k, as a layer's weights are)
    #[arg(long, value_delimiter = ',')]
    pub layout: Vec<Layout>,
    /// Only these memory operations: read, write, copy, triad
    #[arg(long, value_delimiter = ',')]
    pub op: Vec<MemoryOp>,
    /// The model: a preset such as mistral-7b, a GGUF or safetensors file or a folder with them, or org/name
    #[arg(long, value_name = "PATH|PRESET")]
    pub model: Option<String>,
    /// How the model's weights are stored: f32, f16, bf16, Q8_0, Q4_0, Q4_K_M, and for MLX mlx-4bit
    #[arg(long, value_delimiter = ',', value_parser = str::parse::<Precision>)]
    pub precision: Vec<Precision>,
    /// Tokens of a prompt that is read in one pass; 0 for no prefill
    #[arg(long, value_name = "N", value_delimiter = ',', allow_negative_numbers = true)]
    pub prompt_tokens: Vec<u32>,
    /// Tokens that are written in one pass; 0 for no decode
    #[arg(long, value_name = "N", value_delimiter = ',', allow_negative_numbers = true)]
    pub generate_tokens: Vec<u32>,
    /// Tokens already in the cache when writing begins
    #[arg(long, value_name = "N", value_delimiter = ',', allow_negative_numbers = true)]
    pub depth: Vec<u32>,
    /// Sequences at once, for inference and training
    #[arg(long, value_name = "N", value_delimiter = ',', allow_negative_numbers = true)]
    pub batch: Vec<u32>,
    /// Rank of the LoRA adapters
    #[arg(long, value_name = "R", value_delimiter = ',', allow_negative_numbers = true)]
    pub lora_rank: Vec<u32>,
    /// Matrices that LoRA adapts: q, k, v, o, gate, up, down
    #[arg(long, value_name = "MATRIX", value_delimiter = ',')]
    pub lora_target: Vec<Target>,
    /// Tokens of a training sequence
    #[arg(long, value_name = "N", value_delimiter = ',', allow_negative_numbers = true)]
    pub sequence: Vec<u32>,
    /// Train without clipping gradients to a norm of 1
    #[arg(long)]
    pub no_clipping: bool,
    /// Train with activations computed again in the backward pass instead of kept: less memory, more time
    #[arg(long)]
    pub checkpointing: bool,
    /// Learning rate of the training, such as 0.03 to see it become unstable without clipping
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = parse_learning_rate)]
    pub learning_rate: Option<u32>,
    /// The device: its id, its number in `roofline list`, or a part of its name
    #[arg(long)]
    pub device: Option<String>,
    /// Seconds for all entries together, instead of the suite's
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = parse_budget)]
    pub budget: Option<f64>,
    /// Where the results go; "-" is standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub output: String,
    /// How the results are written; json if FILE ends in .json, jsonl if in .jsonl, markdown if in .md, else a table
    #[arg(long)]
    pub format: Option<Format>,
    /// Keep no copy in the data folder
    #[arg(long)]
    pub no_save: bool,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// The run file
    Json,
    /// One JSON line an entry, as each ends
    Jsonl,
    /// A document: the framework comparison, and every table under it
    Markdown,
}

/// A learning rate in millionths.
fn parse_learning_rate(text: &str) -> Result<u32, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (1e-6..=1.0).contains(rate));
    let rate = rate.ok_or_else(|| format!("\"{text}\" is no learning rate: choose one from 0.000001 to 1"))?;
    Ok((rate * 1e6).round() as u32)
}

fn parse_budget(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_not_a_number| "not a number of seconds".to_owned())?;
    if (1.0..=86_400.0).contains(&seconds) { Ok(seconds) } else { Err("choose from 1 to 86400 seconds".to_owned()) }
}

impl RunArguments {
    /// What the flags ask for.
    pub fn request(&self) -> Result<Request, String> {
        let mut sizes = Sizes::default();
        for size in &self.size {
            sizes.add(size)?;
        }
        let models = self.model_options();
        models.check()?;
        Ok(Request {
            suite: self.suite,
            workloads: self.workload.clone(),
            engines: self.engine.clone(),
            sizes,
            dtypes: self.dtype.clone(),
            layouts: self.layout.clone(),
            operations: self.op.clone(),
            models,
            device: self.device.clone(),
            budget_s: self.budget,
            hub: default_hub(),
        })
    }

    /// What they ask of language models. A matrix named twice is adapted once.
    fn model_options(&self) -> ModelOptions {
        let mut lora_targets = self.lora_target.clone();
        lora_targets.sort_unstable();
        lora_targets.dedup();
        ModelOptions {
            model: self.model.clone(),
            precisions: self.precision.clone(),
            prompt_tokens: self.prompt_tokens.clone(),
            generate_tokens: self.generate_tokens.clone(),
            depths: self.depth.clone(),
            batches: self.batch.clone(),
            lora_ranks: self.lora_rank.clone(),
            lora_targets,
            sequences: self.sequence.clone(),
            no_clipping: self.no_clipping,
            checkpointing: self.checkpointing,
            learning_rate_millionths: self.learning_rate,
        }
    }

    /// How the results are written.
    pub fn format(&self) -> Format {
        let lower = self.output.to_lowercase();
        self.format.unwrap_or(match lower.rsplit('.').next() {
            Some("json") => Format::Json,
            Some("jsonl") => Format::Jsonl,
            Some("md") => Format::Markdown,
            _ => Format::Table,
        })
    }
}

/// Does what a command asks. `flag` is the data folder where the command line named it.
pub fn perform(command: &Command, data_dir: PathBuf, flag: Option<&Path>) -> Exit {
    let saved = || named::Saved::new(&data_dir, flag);
    let result = match command {
        Command::Run(arguments) => run::run(arguments, data_dir),
        Command::Compare(arguments) => compare::compare(arguments, &data_dir),
        Command::Runs(arguments) => runs::runs(arguments, &data_dir),
        Command::List(format) => list::list(format.json, data_dir),
        Command::System(format) => system::system(format.json, data_dir),
        Command::Models(arguments) => models::models(arguments),
        Command::Engines(arguments) => engines::engines(arguments, data_dir),
        Command::Report(arguments) => report::report(arguments, &saved()),
        Command::Chart(arguments) => chart::chart(arguments, &saved()),
        Command::Export(arguments) => export::export(arguments, &saved()),
        Command::Open { .. } => Err(output::Error::usage("a run file is opened by the window, not without one")),
    };
    output::finish(result)
}

/// The folder for this program's data where no flag names one: the variable's, if it is set and not empty, else the platform's.
pub fn default_data_dir() -> Option<PathBuf> {
    let variable = std::env::var_os("ROOFLINE_DATA_DIR").filter(|folder| !folder.is_empty());
    if let Some(folder) = variable {
        return Some(folder.into());
    }
    directories::ProjectDirs::from("", "", "Roofline").map(|folders| folders.data_dir().to_owned())
}

/// Where engines outside the program are looked for: the environment as it is, and the data folder.
pub fn surroundings(data_dir: PathBuf) -> Surroundings {
    // Installed programs are started from other folders, and virtual environments keep their path.
    let data_dir = std::path::absolute(&data_dir).unwrap_or(data_dir);
    Surroundings { environment: std::env::vars_os().collect(), data: Some(data_dir) }
}

/// The folder of Hugging Face's cache, as its own tools find it.
pub fn default_hub() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let home = || directories::BaseDirs::new().map(|folders| folders.home_dir().join(".cache/huggingface"));
    variable("HF_HUB_CACHE").or_else(|| Some(variable("HF_HOME").or_else(home)?.join("hub")))
}

/// What opens private models of Hugging Face's: the variable's, else the token that its own tools keep beside their cache.
pub fn hub_token() -> Option<String> {
    let kept = || std::fs::read_to_string(default_hub()?.parent()?.join("token")).ok();
    let token = std::env::var("HF_TOKEN").ok().filter(|token| !token.trim().is_empty()).or_else(kept);
    token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// The server that models come from: Hugging Face, or the mirror that the environment names.
pub fn hub_endpoint() -> String {
    let named = std::env::var("HF_ENDPOINT").ok().filter(|endpoint| !endpoint.trim().is_empty());
    named.unwrap_or_else(|| crate::model::download::ENDPOINT.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(flags: &str) -> Result<Request, String> {
        let words = ["roofline", "run"].into_iter().chain(flags.split_whitespace());
        match Cli::try_parse_from(words).map_err(|error| error.to_string())?.command {
            Some(Command::Run(arguments)) => arguments.request(),
            _ => Err("not run".to_owned()),
        }
    }

    #[test]
    fn flags_become_a_request() {
        let request = parsed("--suite full --workload gemm --size 512,1000x200x3 --dtype f16 --budget 30").unwrap();
        assert_eq!(request.suite, SuiteName::Full);
        assert_eq!(request.sizes.shapes, [(512, 512, 512), (1000, 200, 3)]);
        assert_eq!(request.budget_s, Some(30.0));
        let high = parsed("--learning-rate 3e-2 --no-clipping").unwrap().models;
        assert_eq!(high.learning_rate_millionths, Some(30_000));
        for wrong in ["--learning-rate 0", "--learning-rate 2", "--learning-rate -0.1", "--learning-rate nan"] {
            assert!(parsed(wrong).unwrap_err().contains("choose one from 0.000001 to 1"), "{wrong}");
        }
        let models =
            parsed("--model mistral-1b --precision q8_0,F16 --depth 0,512 --lora-target v,q,v").unwrap().models;
        assert_eq!(models.precisions, [Precision::Q8_0, Precision::F16]);
        assert_eq!((models.depths, models.lora_targets), (vec![0, 512], vec![Target::Q, Target::V]));
        assert_eq!(parsed("--size 256MiB").unwrap().sizes.arrays, [256 << 20]);
    }

    #[test]
    fn wrong_flags_are_refused_with_what_to_write() {
        for (flags, hint) in [
            ("--suite slow", "quick, standard, full"),
            ("--workload dance", "gemm"),
            ("--size 0", "1 to 65536"),
            ("--size 12x", "MxNxK"),
            ("--size 99999999999", "no size"),
            ("--size 1KiB", "4KiB"),
            ("--size 2TiB", "1TiB"),
            ("--size -5", "no size"),
            ("--size xMiB", "no size"),
            ("--dtype f64", "f32, f16"),
            ("--engine cuda!", "wgpu"),
            ("--budget -3", "--budget"),
            ("--budget NaN", "1 to 86400"),
            ("--format xml", "markdown"),
            ("--precision q3", "Q4_K_M"),
            ("--prompt-tokens -1", "--prompt-tokens"),
            ("--prompt-tokens 0 --generate-tokens 0", "nothing to run"),
            ("--depth 200000", "131072"),
            ("--batch 0", "from 1 to 256"),
            ("--lora-rank 0", "1 to 1024"),
            ("--lora-target w", "gate"),
            ("--sequence 1", "from 2"),
            ("--frobnicate", "--frobnicate"),
        ] {
            let error = parsed(flags).unwrap_err();
            assert!(error.contains(hint), "{flags}: {error}");
        }
    }
}
