//! By how much a figure may be off for reasons that its own samples don't show.
//!
//! An entry's samples are seconds apart, and what disturbs a machine often lasts for minutes: they tell how sure the entry's own
//! median is, not how far the next run's may lie from it. Two things do tell.
//!
//! The fixed kernel that is timed before and after every entry is the same work at the same place of both runs. What its times
//! have in common from run to run is the device's own speed, and part of the answer. What is left varies for no reason that a
//! comparison is about: of the logarithms of the paired ratios with standard deviation s, 95 % lie within ± 1.96 s of their
//! mean, and a figure of one entry is as far off as the kernel beside it. Pairs rather than the spread within one run, because
//! clocks follow what ran before (an H100 runs the kernel 4 to 5 % faster right after tensor-core work), which is alike in both.
//!
//! The load average counts who waits for a processor. What is measured fills P processors itself; of A that wait, A − P are
//! others at least, a fair scheduler leaves P ÷ A to what is measured, and a rate may change by A ÷ P − 1 when they end.
//!
//! Frameworks launch each kernel from the processor, which takes 5 to 10 µs, in Python up to 20. A GPU that is done sooner waits
//! for the next launch, and how long that takes is another matter in each process: PyTorch's f16 product of n = 1024, 13 µs on an
//! H100, came out 40 % apart in two runs of one script, where n = 2048, 26 µs, came out within 1 %. A kernel of T µs, T below 25,
//! may be off by 10 ÷ T for that; behind longer ones launches are hidden.

use std::collections::BTreeMap;

use super::{Kind, Row, Side};
use crate::{
    engine::EngineId,
    machine::{Device, DeviceKind, Machine},
    measure::Sample,
    record::{Entry, MarkKind, Run},
};

/// Fewer paired times of the fixed kernel tell nothing of how they vary: three entries have six.
const PAIRS_MIN: usize = 6;

/// The middle 95 % of a normal distribution, in standard deviations.
const MIDDLE: f64 = 1.96;

/// What makes a row unsteady.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The rate drifted from the first half of the samples to the second.
    Rate,
    /// The device was throttled.
    Throttled,
    /// The device's fixed kernel varied from run to run.
    Device,
    /// Other programs waited for the processors.
    Load,
    /// The kernel is hardly longer than its launch.
    Launch,
}

/// How far the fixed kernel's times vary between the baseline's run and another, for each side, engine and device.
#[derive(Debug, Default)]
pub(super) struct Between(BTreeMap<(usize, EngineId, String), f64>);

impl Between {
    /// From the entries that are compared.
    pub(super) fn of(rows: &[Row], kind: Kind, runs: &[&Run], sides: &[Side], baseline: usize) -> Self {
        let mut logs: BTreeMap<(usize, EngineId, String), Vec<f64>> = BTreeMap::new();
        // Rows of further metrics are of the same entries; engines of one run have no kernel in common.
        for row in rows.iter().filter(|row| kind == Kind::Runs && row.metric.is_none()) {
            let entry = |side: usize| {
                let run = runs.get(sides.get(side)?.run)?;
                let entry = run.entries.get(row.cells.get(side)?.entry?)?;
                Some((entry, device_of(run, entry)?.label(), canary_times(entry)?))
            };
            let Some((base, base_label, base_times)) = entry(baseline) else { continue };
            for side in (0..sides.len()).filter(|side| *side != baseline) {
                let Some((own, label, times)) = entry(side).filter(|(_, label, _)| *label == base_label) else {
                    continue;
                };
                if own.engine == base.engine {
                    let pairs = times.iter().zip(&base_times).take(2);
                    logs.entry((side, own.engine, label))
                        .or_default()
                        .extend(pairs.map(|(own, base)| (own / base).ln()));
                }
            }
        }
        Self(logs.into_iter().filter_map(|(key, logs)| Some((key, variation(&logs)?))).collect())
    }

    /// By how much a figure of this side may differ from the baseline's for that alone, as a share.
    pub(super) fn share(&self, side: usize, entry: &Entry, device: Option<&Device>) -> f64 {
        let key = device.map(|device| (side, entry.engine, device.label()));
        key.and_then(|key| self.0.get(&key)).copied().unwrap_or(0.0)
    }
}

/// How far ratios with these logarithms lie from their middle, as a share; `None` for too few.
fn variation(logs: &[f64]) -> Option<f64> {
    if logs.len() < PAIRS_MIN {
        return None;
    }
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (logs.len() - 1) as f64;
    Some((MIDDLE * variance.sqrt()).exp_m1())
}

fn device_of<'a>(run: &'a Run, entry: &Entry) -> Option<&'a Device> {
    run.devices.iter().find(|device| device.id == entry.device)
}

/// The times of the fixed kernel around an entry, where they are sane: before, after, and at the device's opening.
pub(super) fn canary_times(entry: &Entry) -> Option<Vec<f64>> {
    let canary = entry.canary?;
    let times: Vec<f64> = [Some(canary.before_s), Some(canary.after_s), canary.first_s].into_iter().flatten().collect();
    times.iter().all(|time| time.is_finite() && *time > 0.0).then_some(times)
}

/// By how much the speed of a device moved around an entry that is marked as throttled, as a share.
pub(super) fn throttling(entry: &Entry) -> f64 {
    if !entry.is_marked(MarkKind::Throttled) {
        return 0.0;
    }
    let times = canary_times(entry).unwrap_or_default();
    let (low, high) =
        times.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), time| (low.min(*time), high.max(*time)));
    (high / low - 1.0).max(0.0)
}

/// How far the times of launching a kernel lie apart, in seconds.
const LAUNCH_S: f64 = 10e-6;
/// Launches are hidden behind kernels of so many seconds.
const HIDING_S: f64 = 25e-6;

/// By how much a kernel's rate may be that of its launches, as a share.
pub(super) fn launching(entry: &Entry, device: Option<&Device>) -> f64 {
    // The shaders of this program are recorded, many at once, before any of them runs.
    let launched = entry.engine != EngineId::Wgpu && device.is_some_and(|device| device.kind != DeviceKind::Cpu);
    if !launched || entry.workload.kind().is_model() {
        return 0.0;
    }
    let samples = entry.headline().map(|headline| headline.samples.as_slice()).unwrap_or_default();
    let once = |sample: &Sample| sample.device_s.unwrap_or(sample.host_s) / f64::from(sample.iterations);
    let shortest = samples.iter().map(once).filter(|time| *time > 0.0).fold(f64::INFINITY, f64::min);
    if shortest < HIDING_S { LAUNCH_S / shortest } else { 0.0 }
}

/// By how much a rate of the processors may have been held down by other programs, as a share.
pub(super) fn crowding(entry: &Entry, device: Option<&Device>, machine: &Machine) -> f64 {
    let is_processor = device.is_some_and(|device| device.kind == DeviceKind::Cpu || device.software);
    let processors = f64::from(machine.logical_cpus);
    let Some(load) = entry.load.filter(|_| is_processor && processors > 0.0) else { return 0.0 };
    let averages = [load.average_before, load.average_after].into_iter().flatten();
    let average = averages.filter(|average| average.is_finite()).fold(0.0, f64::max);
    (average / processors - 1.0).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Load;

    #[test]
    fn what_ratios_have_in_common_is_no_variation() {
        assert_eq!(variation(&[0.3; 6]), Some(0.0));
        assert_eq!(variation(&[0.3; 5]), None);
        let varied = variation(&[0.01, -0.01, 0.01, -0.01, 0.01, -0.01]).unwrap();
        assert!((varied - 0.0217).abs() < 0.001, "1.96 standard deviations of 1.1 %: {varied}");
    }

    #[test]
    fn only_others_crowd_the_processors() {
        let mut entry = Entry::pending(
            crate::workload::Workload::Gemm(crate::workload::Gemm::square(512, crate::workload::Dtype::F32)),
            EngineId::Candle,
            "cpu",
        );
        let machine = Machine { logical_cpus: 2, ..Machine::default() };
        let cpu = Device { kind: DeviceKind::Cpu, ..Device::example("cpu", "AMD EPYC") };
        let gpu = Device::example("vulkan:0", "A GPU");
        let mut with = |before: Option<f64>, after: Option<f64>, device: Option<&Device>| {
            entry.load = Some(Load { average_before: before, average_after: after, processors_used: None });
            crowding(&entry, device, &machine)
        };
        assert_eq!(with(Some(2.0), Some(0.3), Some(&cpu)), 0.0, "what is measured fills them itself");
        assert_eq!(with(Some(1.0), Some(3.0), Some(&cpu)), 0.5);
        assert_eq!(with(Some(1.0), Some(3.0), Some(&gpu)), 0.0);
        assert_eq!(with(Some(f64::NAN), None, Some(&cpu)), 0.0);
        assert_eq!(with(Some(9.0), None, None), 0.0);
    }

    #[test]
    fn a_kernel_as_short_as_its_launch_is_as_unsure() {
        use crate::{
            engine::EngineId,
            measure::{Measurement, StopReason},
            record::Outcome,
            units::Unit,
            workload::{Dtype, Gemm, Workload},
        };
        let gpu = Device { kind: DeviceKind::DiscreteGpu, ..Device::example("cuda:0", "a GPU") };
        let share = |engine, kind, once: f64| {
            let mut entry = Entry::pending(Workload::Gemm(Gemm::square(512, Dtype::F16)), engine, "cuda:0");
            let sample = Sample { value: 1.0, iterations: 100, host_s: 100.0 * once, device_s: None, disturbed: false };
            entry.measurements.extend(Measurement::of_samples(
                "throughput",
                Unit::FlopPerSecond,
                vec![sample; 5],
                StopReason::Converged,
            ));
            entry.outcome = Outcome::Done;
            launching(&entry, Some(&Device { kind, ..gpu.clone() }))
        };
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        near(share(EngineId::Pytorch, DeviceKind::DiscreteGpu, 20e-6), 0.5);
        near(share(EngineId::Pytorch, DeviceKind::DiscreteGpu, 30e-6), 0.0);
        near(share(EngineId::Pytorch, DeviceKind::Cpu, 20e-6), 0.0);
        near(share(EngineId::Wgpu, DeviceKind::DiscreteGpu, 20e-6), 0.0);
    }
}
