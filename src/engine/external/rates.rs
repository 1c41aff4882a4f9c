//! How fast an engine was at work of a kind, so that what would take minutes is skipped before it is tried.

use std::collections::HashMap;

use crate::{
    measure::{Context, Stop, afford},
    workload::{Dtype, InferencePhase, Layout, Precision, Workload},
};

/// Work that goes at about the same rate at other sizes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Gemm(Dtype, Layout),
    Attention(Dtype, bool),
    Prefill(Precision),
    Decode(Precision),
    Training(Precision),
}

impl Kind {
    /// The kind, and how much of it one iteration is: FLOPs, of decoding bytes.
    fn of(workload: &Workload) -> Option<(Self, f64)> {
        match workload {
            Workload::Gemm(gemm) => Some((Self::Gemm(gemm.dtype, gemm.layout), gemm.flops())),
            Workload::Attention(attention) => {
                Some((Self::Attention(attention.dtype, attention.causal), attention.flops()))
            }
            Workload::Inference(inference) => {
                let precision = inference.model.precision.clone();
                Some(match inference.phase {
                    InferencePhase::Prefill { .. } => (Self::Prefill(precision), inference.flops()),
                    // A pass may be as short as eight steps.
                    InferencePhase::Decode { tokens, .. } => {
                        (Self::Decode(precision), inference.bytes() * 8.0 / f64::from(tokens.max(8)))
                    }
                })
            }
            Workload::Training(training) => Some((Self::Training(training.model.precision.clone()), training.flops())),
            _ => None,
        }
    }
}

/// The best rates so far.
#[derive(Debug, Default)]
pub(super) struct Rates(HashMap<Kind, f64>);

impl Rates {
    /// Remembers that an iteration of a workload took so long.
    pub(super) fn learn(&mut self, workload: &Workload, iteration_s: f64) {
        if let Some((kind, amount)) = Kind::of(workload)
            && iteration_s > 0.0
        {
            let rate = self.0.entry(kind).or_default();
            *rate = rate.max(amount / iteration_s);
        }
    }

    /// Skips a workload that could not be sampled in the time left even at three times the best rate so far: larger sizes are
    /// often faster.
    pub(super) fn afford(&self, workload: &Workload, context: &Context) -> Result<(), Stop> {
        const FASTER: f64 = 3.0;
        let Some((kind, amount)) = Kind::of(workload) else { return Ok(()) };
        self.0.get(&kind).map_or(Ok(()), |rate| afford(context, amount / (rate * FASTER)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::workload::Gemm;

    #[test]
    fn what_was_slow_small_is_not_tried_large() {
        let square = |n| Workload::Gemm(Gemm::square(n, Dtype::F16));
        let mut rates = Rates::default();
        let context = Context::detached(Duration::from_secs(30));
        assert_eq!(rates.afford(&square(8192), &context), Ok(()), "nothing is known");
        // 1 GFLOPS, as some processors do products in f16.
        rates.learn(&square(512), 0.268);
        assert_eq!(rates.afford(&square(1024), &context), Ok(()));
        assert!(matches!(rates.afford(&square(4096), &context), Err(Stop::Skipped { estimate_s: Some(_), .. })));
        let other = Workload::Gemm(Gemm { layout: Layout::Abt, ..Gemm::square(4096, Dtype::F16) });
        assert_eq!(rates.afford(&other, &context), Ok(()), "the other layout may be twenty times faster");
    }
}
