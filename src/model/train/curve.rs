//! Whether a loss curve falls as it should.

/// Fewer steps tell nothing.
const STEPS_LEAST: usize = 8;

/// The loss must fall to this share of the first.
///
/// Adapters begin by changing nothing, so that the first loss is the frozen model's own. The texts of the set differ from
/// one another by two or three percent; a tenth is more than that, and random gradients don't reach it.
pub const FALLS_TO: f64 = 0.9;

/// A loss this far above the least one before it is a spike.
const SPIKE: f64 = 1.1;

/// What a loss curve shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Learning {
    /// The median of the last quarter is at most [`FALLS_TO`] of the first loss.
    Fell {
        /// The first loss in nats.
        from: f64,
        /// The median of the last quarter in nats.
        to: f64,
    },
    /// It isn't.
    DidNotFall {
        /// The first loss in nats.
        from: f64,
        /// The median of the last quarter in nats.
        to: f64,
    },
    /// The loss of this step, counted from one, was not finite.
    NotFinite {
        /// The first such step.
        step: usize,
    },
    /// There were too few steps to tell.
    TooFew {
        /// How many there were.
        steps: usize,
    },
}

impl Learning {
    /// Judges the losses of all steps in order.
    pub fn of(losses: &[f64]) -> Self {
        if let Some(at) = losses.iter().position(|loss| !loss.is_finite()) {
            return Self::NotFinite { step: at + 1 };
        }
        let (steps, first) = (losses.len(), losses.first().copied());
        let Some(from) = first.filter(|_| steps >= STEPS_LEAST) else { return Self::TooFew { steps } };
        let mut last = losses.get(steps - steps / 4..).unwrap_or_default().to_vec();
        last.sort_by(f64::total_cmp);
        let to = last.get(last.len() / 2).copied().unwrap_or(from);
        if to <= FALLS_TO * from { Self::Fell { from, to } } else { Self::DidNotFall { from, to } }
    }

    /// "yes", "no", or "too few steps".
    pub const fn answer(&self) -> &'static str {
        match self {
            Self::Fell { .. } => "yes",
            Self::DidNotFall { .. } | Self::NotFinite { .. } => "no",
            Self::TooFew { .. } => "too few steps",
        }
    }

    /// The sentence for people.
    pub fn sentence(&self, steps: usize) -> String {
        match self {
            Self::Fell { from, to } => {
                format!("The loss fell as it should: from {from:.2} to {to:.2} nats in {steps} steps.")
            }
            Self::DidNotFall { from, to } => format!(
                "The loss did not fall as it should: from {from:.2} to {to:.2} nats in {steps} steps, where {:.2} were expected.",
                FALLS_TO * from
            ),
            Self::NotFinite { step } => format!("The loss became infinite or not a number at step {step}."),
            Self::TooFew { steps } => {
                format!("{steps} steps are too few to tell whether the loss falls; {STEPS_LEAST} are needed.")
            }
        }
    }
}

/// How many losses stand more than a tenth above the least one before them.
pub fn spikes(losses: &[f64]) -> usize {
    let mut least = f64::INFINITY;
    let mut count = 0;
    for loss in losses {
        // One that is not a number is a spike too.
        count += usize::from(least.is_finite() && (loss.is_nan() || *loss > SPIKE * least));
        least = least.min(*loss);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_judged_by_its_last_quarter_against_its_first_loss() {
        let falling: Vec<f64> = (0..12).map(|step| 10.0 - 0.3 * f64::from(step)).collect();
        assert_eq!(Learning::of(&falling).answer(), "yes");
        // A long plateau at the bottom, and one late spike, are no failure.
        let mut plateau = vec![10.3, 10.4, 9.0, 8.0];
        plateau.extend([7.6; 100]);
        plateau.extend([9.9, 7.6, 7.6]);
        assert_eq!(Learning::of(&plateau), Learning::Fell { from: 10.3, to: 7.6 });
        assert_eq!(spikes(&plateau), 1);
        let flat = [10.3, 10.2, 10.4, 10.3, 10.2, 10.1, 10.3, 10.0, 10.2];
        assert_eq!(Learning::of(&flat).answer(), "no");
        assert!(Learning::of(&flat).sentence(9).contains("9.27 were expected"));
        assert_eq!(Learning::of(&[10.0, f64::NAN, 9.0]), Learning::NotFinite { step: 2 });
        assert_eq!(spikes(&[10.0, f64::NAN, 9.0]), 1);
        assert_eq!(Learning::of(&falling[..5]), Learning::TooFew { steps: 5 });
    }
}
