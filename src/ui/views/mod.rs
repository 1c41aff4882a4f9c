//! One file a screen.

mod charts;
pub(super) mod compare;
mod detail;
pub(super) mod engines;
mod frameworks;
pub(super) mod history;
pub(super) mod machine;
mod matrix;
pub(super) mod models;
pub(super) mod run;
mod stats;
mod table;
