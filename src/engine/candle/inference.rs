//! (being written)

use crate::{
    measure::{Context, Report, Stop},
    workload::Inference,
};

pub(super) fn run(_on: &crate::model::Model, _workload: &Inference, _context: &mut Context) -> Result<Report, Stop> {
    Err(Stop::Failed("being written".to_owned()))
}
