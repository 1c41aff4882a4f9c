//! What the figures mean: ceilings, plausibility, plateaus, engines beside each other. Pure functions over the saved document.

mod ceilings;
pub mod comparison;
pub mod explain;
mod figures;
pub mod frameworks;
mod judge;
mod peaks;
mod plateaus;
mod roofline;
mod share;

pub use self::{
    ceilings::{Best, Ceiling, Ceilings, DeviceCeilings, intensity, share_of_ceiling},
    figures::side_figures,
    frameworks::{Comparison, compare},
    judge::{is_barred, judge, marks},
    peaks::{MatrixUnits, Peaks, matrix_units, peaks},
    plateaus::{Plateau, plateaus},
    roofline::{Point, Roof, Roofline, rooflines},
    share::{Bound, CeilingKind, Limit, Share},
};
