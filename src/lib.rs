//! Roofline measures how fast a machine runs machine learning, and says why.
#![doc = ""]
//! The rooms, from the pure to the visible; arrows point one way (see `ARCHITECTURE.md`).

pub mod analysis;
pub mod chart;
pub mod cli;
pub mod engine;
pub mod machine;
pub mod measure;
pub mod record;
pub mod run;
pub mod stats;
pub mod ui;
pub mod units;
pub mod workload;
