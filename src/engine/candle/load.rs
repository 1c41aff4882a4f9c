//! (being written)

use crate::{
    measure::{Context, Report, Stop},
    workload::ModelLoad,
};

pub(super) fn run(_on: &candle_core::Device, _workload: &ModelLoad, _context: &mut Context) -> Result<Report, Stop> {
    Err(Stop::Failed("being written".to_owned()))
}
