//! What the figures mean: ceilings, plausibility, plateaus. Pure functions over the saved document.

mod ceilings;
mod figures;
mod judge;
mod peaks;
mod plateaus;

pub use self::{
    ceilings::{CeilingKind, Share, share_of_ceiling},
    figures::side_figures,
    judge::judge,
    peaks::{Peaks, peaks},
    plateaus::{Plateau, plateaus},
};
