//! What a figure means, entry by entry: what bounds it, how near it comes to its limit, in one or two plain sentences. Terminal,
//! document and window say the same because they say this.

mod fit;
mod meaning;
mod words;

pub use self::{
    fit::{Fit, fits},
    meaning::Meaning,
    words::verdict,
};
use super::{Bound, Ceilings, Limit, Share, intensity};
use crate::{
    measure::StopReason,
    record::{Entry, Run},
};

/// What is said of one entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The entry's place in the run.
    pub entry: usize,
    /// What holds such work back here; `None` for what neither streams nor multiplies.
    pub bound: Option<Bound>,
    /// The most that the device allows, where it is known.
    pub limit: Option<Limit>,
    /// The share of it that was reached. `None` without a figure, and for one that can't be true.
    pub share: Option<Share>,
    /// FLOP/B of the work.
    pub intensity: Option<f64>,
    /// One or two sentences.
    pub text: String,
    /// Why not to rely on the figure, as sentences; empty if nothing speaks against it.
    pub caution: String,
}

/// What a run says, found once for all of its entries.
#[derive(Debug)]
pub struct Explainer<'a> {
    run: &'a Run,
    ceilings: Ceilings<'a>,
}

impl<'a> Explainer<'a> {
    /// Finds the run's ceilings.
    pub fn of(run: &'a Run) -> Self {
        Self { run, ceilings: Ceilings::of(run) }
    }

    /// The run's ceilings.
    pub const fn ceilings(&self) -> &Ceilings<'a> {
        &self.ceilings
    }

    /// What is said of the entry at `index`; `None` if there is none.
    pub fn entry(&self, index: usize) -> Option<Explanation> {
        let entry = self.run.entries.get(index)?;
        let figure = figure(entry);
        let share = self.ceilings.share(index).filter(|_| figure.is_some());
        let mut explanation = Explanation {
            entry: index,
            bound: self.ceilings.bound(index),
            limit: self.ceilings.limit(index),
            share,
            intensity: intensity(&entry.workload),
            text: String::new(),
            caution: words::caution(self.run, entry),
        };
        explanation.text = words::sentences(self, entry, &explanation);
        Some(explanation)
    }

    /// What is said of every entry.
    pub fn all(&self) -> Vec<Explanation> {
        (0..self.run.entries.len()).filter_map(|index| self.entry(index)).collect()
    }

    /// The intensity in FLOP/B at which arithmetic becomes the limit for the work of an entry, where both ceilings are known.
    fn ridge(&self, entry: &Entry) -> Option<f64> {
        let device = self.ceilings.devices().get(self.ceilings.device_of(entry)?)?;
        let dtype = super::ceilings::arithmetic_type(&entry.workload)?;
        device.ridge(dtype).filter(|ridge| ridge.is_finite())
    }
}

/// The headline of an entry, if it is a number that a device can have.
fn figure(entry: &Entry) -> Option<f64> {
    let value = entry.headline()?.summary.median;
    (value.is_finite() && value > 0.0).then_some(value)
}

/// The figure was taken from a publication.
fn is_published(entry: &Entry) -> bool {
    entry.headline().is_some_and(|figure| figure.stop == StopReason::Published)
}

#[cfg(test)]
mod tests;
