//! How near a figure comes to this machine's limit.

use super::peaks;
use crate::{
    machine::{Device, Machine},
    record::{Entry, Run},
    units::{Quantity, percent},
    workload::{Dtype, Workload},
};

/// Where a ceiling comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CeilingKind {
    /// The hardware's data sheet.
    Theoretical,
    /// The best figure of its kind in the same run, on the same device.
    Measured,
}

/// A figure as a share of its ceiling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// 1 is all of it.
    pub fraction: f64,
    /// The ceiling.
    pub ceiling: Quantity,
    /// Where the ceiling comes from.
    pub kind: CeilingKind,
}

impl Share {
    /// "92.4 %", with "of best" where the ceiling is only the best measured.
    pub fn text(&self) -> String {
        match self.kind {
            CeilingKind::Theoretical => percent(self.fraction),
            CeilingKind::Measured => format!("{} of best", percent(self.fraction)),
        }
    }

    /// "of 3350 GB/s by the data sheet".
    pub fn explanation(&self) -> String {
        match self.kind {
            CeilingKind::Theoretical => format!("{} of {} by the data sheet", percent(self.fraction), self.ceiling),
            CeilingKind::Measured => {
                format!("{} of {}, the best of its kind in this run", percent(self.fraction), self.ceiling)
            }
        }
    }
}

/// What can be compared by a ceiling: bandwidth with bandwidth, GEMM with GEMM of the same type.
#[derive(Clone, Copy, PartialEq)]
enum Family {
    Memory,
    Arithmetic(Dtype),
}

const fn family(workload: &Workload) -> Option<Family> {
    match workload {
        Workload::Gemm(gemm) => Some(Family::Arithmetic(gemm.dtype)),
        Workload::Bandwidth(_) | Workload::BandwidthSweep(_) => Some(Family::Memory),
        Workload::TensorLimit(_) | Workload::ModelLoad(_) | Workload::Inference(_) | Workload::Training(_) => None,
    }
}

/// The data sheet's figure for a workload on a device, if it is known.
pub(super) fn theoretical(workload: &Workload, device: &Device, machine: &Machine) -> Option<f64> {
    if device.software {
        return None;
    }
    let peaks = peaks(&device.name, machine)?;
    match family(workload)? {
        Family::Memory => peaks.bandwidth,
        Family::Arithmetic(Dtype::F32) => peaks.f32,
        Family::Arithmetic(Dtype::F16) => peaks.f16,
    }
}

/// How near the entry at `index` comes to its ceiling: the data sheet's where it is known, else the best of its kind in the
/// run. `None` where there is no figure or none to compare with.
pub fn share_of_ceiling(run: &Run, index: usize) -> Option<Share> {
    let entry = run.entries.get(index)?;
    let headline = entry.headline()?;
    let family = family(&entry.workload)?;
    let device = run.devices.iter().find(|device| device.id == entry.device);
    let theoretical = device.and_then(|device| theoretical(&entry.workload, device, &run.machine));
    let (ceiling, kind) = match theoretical {
        Some(ceiling) => (ceiling, CeilingKind::Theoretical),
        None => (best_measured(run, entry, family)?, CeilingKind::Measured),
    };
    let fraction = headline.summary.median / ceiling;
    fraction.is_finite().then_some(Share { fraction, ceiling: Quantity::new(ceiling, headline.unit), kind })
}

fn best_measured(run: &Run, like: &Entry, wanted: Family) -> Option<f64> {
    let best = run.best(|entry| family(&entry.workload) == Some(wanted) && entry.device == like.device)?;
    Some(best.headline()?.summary.median)
}
