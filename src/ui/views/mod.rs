//! One file a screen.

mod detail;
pub(super) mod history;
pub(super) mod machine;
pub(super) mod models;
pub(super) mod run;
mod stats;
mod table;
