//! Roofline measures how fast a machine runs machine learning, and says why.
//!
//! A face, [`ui`] or [`cli`], makes a request; [`run`] plans it into jobs, measures them one at a time and saves after each.
//! A job is a [`workload`] on a device of an [`engine`], timed by [`measure`], judged by [`analysis`] and kept by [`record`].
//! [`model`] is language models: their weights, forward pass and training. [`provision`] gets engines from elsewhere.
//! [`export`] makes reports and tables of a run. [`machine`], [`stats`], [`units`] and [`chart`] are facts and pure functions that all others share.
//! Arrows between these rooms point one way; `ARCHITECTURE.md` is the map.

pub mod analysis;
pub mod chart;
pub mod cli;
pub mod engine;
pub mod export;
pub mod machine;
pub mod measure;
pub mod model;
pub mod provision;
pub mod record;
pub mod run;
pub mod stats;
pub mod ui;
pub mod units;
pub mod workload;
