//! What the figures mean: ceilings, plausibility, plateaus, engines beside each other. Pure functions over the saved document.

mod ceilings;
pub mod comparison;
mod figures;
pub mod frameworks;
mod judge;
mod peaks;
mod plateaus;

pub use self::{
    ceilings::{CeilingKind, Share, share_of_ceiling},
    figures::side_figures,
    frameworks::{Comparison, compare},
    judge::judge,
    peaks::{Peaks, peaks},
    plateaus::{Plateau, plateaus},
};
