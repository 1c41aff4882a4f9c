//! Language models of Mistral's and Llama's kind in candle: configuration, weights, tokenizer, forward pass, LoRA.
//!
//! The way of a model: `resolve` says what a name means without reading its weights; [`weights`] brings them onto a device;
//! [`Model`] runs them forward over a [`Cache`]; `lora` trains adapters. `ops` are the steps of a block, each with the best
//! code of its device.

pub mod config;
mod error;
pub mod estimate;
mod forward;
pub mod linear;
pub mod ops;
pub mod source;
pub mod weights;

pub use self::{
    config::ModelConfig,
    error::ModelError,
    forward::{Cache, Check, Model},
    linear::Linear,
    source::resolve,
    weights::{LayerWeights, Weights},
};
