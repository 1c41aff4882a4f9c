//! What the figures mean against this machine's own limits.

use crate::{
    record::{Entry, Run},
    workload::Workload,
};

/// The entry's figure as a share of the best plausible one of its kind in this run.
pub fn share_of_ceiling(run: &Run, index: usize) -> Option<f64> {
    let entry = run.entries.get(index)?;
    let alike = |other: &&Entry| match (&entry.workload, &other.workload) {
        (Workload::Gemm(a), Workload::Gemm(b)) => a.dtype == b.dtype,
        (Workload::Bandwidth(_), Workload::Bandwidth(_)) => true,
        _ => false,
    };
    let fit = run.entries.iter().filter(alike).filter(|other| !other.is_implausible());
    let best = fit.filter_map(|other| Some(other.headline()?.summary.median)).reduce(f64::max)?;
    Some(entry.headline()?.summary.median / best)
}
