//! Language models of Mistral's and Llama's kind in candle: configuration, weights, tokenizer, forward pass, LoRA.
//!
//! The way of a model: `resolve` says what a name means without reading its weights; [`weights`] brings them onto a device;
//! [`Model`] runs them forward over a [`Cache`]; `lora` trains adapters. `ops` are the steps of a block, each with the best
//! code of its device.

mod cache;
pub mod config;
mod config_json;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod download;
mod error;
pub mod estimate;
mod files;
mod forward;
mod gguf;
pub mod library;
pub mod linear;
pub mod lora;
pub mod ops;
mod pieces;
mod sentencepiece;
pub mod source;
mod tokenizer;
pub mod train;
pub mod weights;

pub use self::{
    cache::{Cache, LayerCache},
    config::ModelConfig,
    error::ModelError,
    forward::{Check, Model},
    linear::Linear,
    source::resolve,
    tokenizer::Tokenizer,
    weights::{LayerWeights, Weights},
};
