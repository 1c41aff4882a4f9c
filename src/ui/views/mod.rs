//! One file a screen.

mod charts;
pub(super) mod compare;
mod detail;
pub(super) mod engines;
pub(super) mod explain;
mod frameworks;
pub(super) mod history;
pub(super) mod machine;
mod matrix;
pub(super) mod models;
mod paper;
pub(super) mod report;
pub(super) mod run;
mod stats;
mod table;
