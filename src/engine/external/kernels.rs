//! Single kernels: matrix products, attention, bandwidth, and the largest tensor.

use super::session::{ExternalSession, Needs, time};
use crate::{
    measure::{Context, Measurement, Phase, Policy, Rate, Report, Stop, afford, sample},
    units::Unit,
    workload::Workload,
};

/// A rate, sampled until it is certain, of results that are checked.
pub(super) fn rate(session: &mut ExternalSession, workload: &Workload, context: &mut Context) -> Result<Report, Stop> {
    if let Workload::Attention(attention) = workload
        && !attention.is_sound()
    {
        return Err(Stop::Unsupported("the heads can't share the key heads evenly, or a side is 0".to_owned()));
    }
    let mut underway = session.prepare(workload, Needs::default(), context)?;
    // One call tells what a batch would take, before a batch is tried.
    let once = session.batch(&mut underway, 1, None, context)?;
    session.learn(workload, once.host_s);
    afford(context, once.host_s)?;
    let (metric, amount) = match workload {
        Workload::Bandwidth(bandwidth) => ("bandwidth", bandwidth.moved_bytes()),
        _ => ("throughput", workload.flops().unwrap_or_default()),
    };
    let rate = Rate { metric, unit: workload.unit(), amount };
    let measured = sample(context, &Policy::default(), rate, |context, iterations| {
        session.batch(&mut underway, iterations, None, context).map(|batch| time(&batch))
    })?;
    if let Some(doubt) = underway.doubt() {
        return Err(session.disbelieve(&doubt));
    }
    session.learn(workload, workload.flops().unwrap_or_default() / measured.summary.median);
    let uncertainty = underway.uncertainty();
    let ending = session.finish(&underway, workload, context)?;
    let Some(check) = &ending.check else {
        return Err(Stop::Failed(format!("{} showed no result of what it timed", session.engine.title())));
    };
    check.require()?;
    let mut report = session.report(underway, ending);
    report.measurements.insert(0, measured);
    report.unproven = uncertainty;
    Ok(report)
}

/// The largest tensor and the total, found once.
pub(super) fn limit(session: &mut ExternalSession, workload: &Workload, context: &mut Context) -> Result<Report, Stop> {
    let mut underway = session.prepare(workload, Needs::default(), context)?;
    context.phase(Phase::Sampling { done: 0, target: 1 })?;
    let found = session.batch(&mut underway, 1, None, context)?;
    let ending = session.finish(&underway, workload, context)?;
    let value = |metric: &str| {
        let bytes = found.values.get(metric).copied().filter(|bytes| *bytes > 0.0)?;
        Measurement::single(metric, Unit::Byte, bytes, found.host_s)
    };
    let largest = value("largest-buffer");
    let largest =
        largest.ok_or_else(|| Stop::Failed(format!("{} found no tensor that fits", session.engine.title())))?;
    let total = value("total-held");
    let mut report = session.report(underway, ending);
    report.measurements.splice(0..0, std::iter::once(largest).chain(total));
    Ok(report)
}
