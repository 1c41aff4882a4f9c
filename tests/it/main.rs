//! Roofline's integration tests, in one binary.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and so do its helpers, which clippy doesn't know for tests"
)]

mod bad_weights;
mod bundle;
mod candle_kernels;
mod charts;
mod cli;
mod compare;
mod download;
mod engine_scenes;
mod export;
mod external;
mod fake;
mod gguf;
mod history;
mod inference;
mod kernels;
mod layouts;
mod llama;
mod load;
mod lora;
mod machine;
mod model;
mod models_cli;
mod program;
#[cfg(target_os = "linux")]
mod provision;
mod runner;
mod sample;
mod scenes;
mod schema;
mod store;
mod tidy;
mod tiny;
mod tokenizer;
mod training;
mod ui;
mod ui_charts;
mod ui_compare;
mod ui_engines;
mod ui_explain;
mod ui_history;
mod ui_room;
mod weights;
