//! Doubts about a figure, each with its reason: throttled, implausible, uncertain.

use super::{ceilings::theoretical, plateaus};
use crate::{
    machine::{Device, Machine},
    measure::{Measurement, StopReason},
    record::{Entry, Mark, MarkKind, Run},
    stats::Summary,
    units::{Quantity, Unit, binary_size, percent},
    workload::{InferencePhase, Workload, WorkloadKind},
};

/// How much slower than when the device was opened the canary may be before an entry counts as throttled.
const SLOWDOWN_MAX: f64 = 0.03;
/// The same against the canary before the entry. An unthrottled H100 raises its clock by 4 to 5 % after tensor-core work and
/// lowers it again with the next entry (measured), so that less than twice this tells nothing.
const DRIFT_MAX: f64 = 0.10;
/// Room above the data sheet before a figure counts as impossible. Memory runs at its published rate; arithmetic peaks hold at
/// the published boost clock, which gaming cards exceed by up to a tenth.
const fn peak_room(unit: Unit) -> f64 {
    match unit {
        Unit::FlopPerSecond => 1.12,
        Unit::BytePerSecond | Unit::TokenPerSecond | Unit::Byte | Unit::Second | Unit::Nat => 1.03,
    }
}
/// Room above what the data sheet allows of tokens: decoding is bounded by memory; the products of prefill and training by
/// arithmetic, which quantised weights may do in 8 bits at twice the rate of 16.
fn token_room(workload: &Workload) -> f64 {
    match workload {
        Workload::Inference(inference) if matches!(inference.phase, InferencePhase::Decode { .. }) => 1.03,
        Workload::Inference(inference) if inference.model.precision.dense_bytes().is_none() => 2.24,
        _ => peak_room(Unit::FlopPerSecond),
    }
}
/// Half the 95 % interval beyond which a figure counts as uncertain.
const HALF_WIDTH_MAX: f64 = 0.05;
/// Fewer samples than this are said.
const SAMPLES_WANTED: usize = 10;

/// Adds marks and notes to a finished entry.
pub fn judge(entry: &mut Entry, device: &Device, machine: &Machine) {
    let marks = [throttled(entry), implausible(entry, device, machine), uncertain(entry)];
    entry.marks.extend(marks.into_iter().flatten());
    entry.notes.extend(busy(entry, machine));
    if let Workload::BandwidthSweep(_) = entry.workload {
        entry.notes.extend(plateau_note(&entry.measurements));
        entry.notes.extend(doubtful_points(&entry.measurements));
    }
}

/// What waited for the processors beside the entry. What is measured fills them itself, and the average still holds the entries
/// of the minute before, so that only half as much again tells of other programs.
fn busy(entry: &Entry, machine: &Machine) -> Option<String> {
    const BUSY: f64 = 1.5;
    let average = entry.load?.average_before?;
    let processors = machine.logical_cpus;
    (processors > 0 && average > BUSY * f64::from(processors))
        .then(|| format!("The machine was not idle: the load average was {average:.1} on {processors} processors."))
}

fn throttled(entry: &Entry) -> Option<Mark> {
    // How much fits is the same at any clock, and how fast files are read is the disk's affair.
    let clocked = entry.workload.unit() != Unit::Byte && entry.workload.kind() != WorkloadKind::ModelLoad;
    let canary = entry.canary.filter(|_| clocked)?;
    let (drift, slowdown) = (canary.drift(), canary.slowdown());
    let (slower, than) = match () {
        () if slowdown > SLOWDOWN_MAX => (slowdown, "at the start"),
        () if drift > DRIFT_MAX => (drift, "before"),
        () => return None,
    };
    Some(Mark {
        kind: MarkKind::Throttled,
        reason: format!(
            "a fixed kernel ran {} slower after this than {than}: heat, a power limit or another program slowed the device",
            percent(slower)
        ),
    })
}

/// Why the figure of an entry may not be ranked: what it is marked with, else what it would be marked with if it were measured
/// now. Marks are set while measuring, and a file may hold anything.
pub(super) fn bar(run: &Run, entry: &Entry) -> Option<Mark> {
    let marked = entry.marks.iter().find(|mark| mark.kind.bars_from_ranking()).cloned();
    // Nothing is known of a device that the run doesn't tell of, but what holds for all.
    let found = || match run.device(&entry.device) {
        Some(device) => implausible(entry, device, &run.machine),
        None => entry.headline().and_then(absurd),
    };
    marked.or_else(found)
}

/// What speaks against the figure of an entry: its marks, and what it would be marked with if it were measured now.
pub fn marks(run: &Run, entry: &Entry) -> Vec<Mark> {
    let derived = bar(run, entry).filter(|mark| !entry.marks.contains(mark));
    entry.marks.iter().cloned().chain(derived).collect()
}

/// Whether the figure of an entry may not be ranked.
pub fn is_barred(run: &Run, entry: &Entry) -> bool {
    bar(run, entry).is_some()
}

/// Whether the figure of an entry can't be true, marked so or not.
pub(super) fn is_impossible(run: &Run, entry: &Entry) -> bool {
    bar(run, entry).is_some_and(|mark| mark.kind == MarkKind::Implausible)
}

/// A figure beyond any device.
fn absurd(headline: &Measurement) -> Option<Mark> {
    let value = Quantity::from(headline);
    (value.value > headline.unit.beyond_any_device()).then(|| Mark {
        kind: MarkKind::Implausible,
        reason: format!("{value} is beyond any device: the clock or the kernel is wrong"),
    })
}

fn implausible(entry: &Entry, device: &Device, machine: &Machine) -> Option<Mark> {
    let headline = entry.headline()?;
    let value = headline.summary.median;
    let memory = device.limits.max_buffer_bytes;
    if matches!(entry.workload, Workload::TensorLimit(_)) && memory > 0 && value > memory as f64 {
        let [value, memory] = [value, memory as f64].map(|bytes| Quantity::new(bytes, Unit::Byte));
        let reason = format!("a tensor of {value} is larger than the {memory} that this device can hold");
        return Some(Mark { kind: MarkKind::Implausible, reason });
    }
    let rate = matches!(headline.unit, Unit::FlopPerSecond | Unit::BytePerSecond | Unit::TokenPerSecond);
    // A rate in another unit than the work's is held against no limit of it.
    let peak = theoretical(&entry.workload, device, machine).filter(|_| rate && headline.unit == entry.workload.unit());
    let shown = |value| Quantity::new(value, headline.unit);
    let reason = match peak {
        Some(peak) if headline.unit == Unit::TokenPerSecond && value > peak * token_room(&entry.workload) => format!(
            "{} is above the {} at which this device's data sheet allows a model of this size: the clock or the work is wrong",
            shown(value),
            shown(peak)
        ),
        Some(peak) if headline.unit != Unit::TokenPerSecond && value > peak * peak_room(headline.unit) => {
            format!(
                "{} is above the {} of the data sheet: caches or a wrong clock flatter it",
                shown(value),
                shown(peak)
            )
        }
        _ => return absurd(headline),
    };
    Some(Mark { kind: MarkKind::Implausible, reason })
}

fn uncertain(entry: &Entry) -> Option<Mark> {
    let reasons = doubts(entry.headline()?);
    (!reasons.is_empty()).then(|| Mark { kind: MarkKind::Uncertain, reason: reasons.join("; ") })
}

fn doubts(measurement: &Measurement) -> Vec<String> {
    // Of a published figure nothing is known but itself.
    if measurement.stop == StopReason::Published {
        return Vec::new();
    }
    let all = [
        few_samples(measurement),
        wide_interval(&measurement.summary),
        unsteady(measurement),
        painted_over(measurement),
    ];
    all.into_iter().flatten().collect()
}

/// The sizes of a sweep beside its headline, whose doubts are a mark.
fn doubtful_points(measurements: &[Measurement]) -> Option<String> {
    let points = measurements.get(1..).unwrap_or_default();
    let doubtful: Vec<String> = points
        .iter()
        .filter(|point| !doubts(point).is_empty())
        .filter_map(|point| point.at_bytes.map(binary_size))
        .collect();
    (!doubtful.is_empty()).then(|| {
        let few = "few samples, a wide interval or a rate that was not steady";
        format!("uncertain at {} of {} sizes ({few}): {}", doubtful.len(), measurements.len(), doubtful.join(", "))
    })
}

fn few_samples(headline: &Measurement) -> Option<String> {
    let count = headline.samples.len();
    let few = headline.stop == StopReason::TimeBudget && count < SAMPLES_WANTED;
    few.then(|| format!("only {count} samples fitted into the time budget"))
}

fn wide_interval(summary: &Summary) -> Option<String> {
    let width = summary.relative_half_width().filter(|width| *width > HALF_WIDTH_MAX)?;
    Some(format!("the 95 % interval of the median is ± {}", percent(width)))
}

fn unsteady(headline: &Measurement) -> Option<String> {
    let warm_up = headline.warm_up.filter(|warm_up| !warm_up.steady)?;
    Some(format!("the rate was not steady after {:.1} s of warm-up", warm_up.seconds))
}

fn painted_over(headline: &Measurement) -> Option<String> {
    let disturbed = headline.samples.iter().filter(|sample| sample.disturbed).count();
    (disturbed > 0).then(|| format!("the window painted during {disturbed} of {} samples", headline.samples.len()))
}

fn plateau_note(measurements: &[Measurement]) -> Option<String> {
    let mut points: Vec<(u64, f64)> =
        measurements.iter().filter_map(|point| Some((point.at_bytes?, point.summary.median))).collect();
    points.sort_by_key(|point| point.0);
    let found = plateaus(&points);
    let text = |plateau: &plateaus::Plateau| {
        let rate = Quantity::new(plateau.value, Unit::BytePerSecond);
        format!("{} to {} at {rate}", binary_size(plateau.from_bytes), binary_size(plateau.to_bytes))
    };
    (!found.is_empty()).then(|| format!("plateaus: {}", found.iter().map(text).collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::EngineId,
        measure::{Clock, Sample, WarmUp},
        record::{Canary, Outcome},
        workload::{Bandwidth, BandwidthSweep, MemoryOp, TensorLimit},
    };

    fn entry(values: &[f64], stop: StopReason) -> Entry {
        let workload = Workload::Bandwidth(Bandwidth { op: MemoryOp::Copy, array_bytes: 1 << 30 });
        let mut entry = Entry::pending(workload, EngineId::Wgpu, "vulkan:0");
        entry.outcome = Outcome::Done;
        let sample =
            |value: &f64| Sample { value: *value, iterations: 1, host_s: 0.1, device_s: None, disturbed: false };
        entry.measurements = vec![Measurement {
            metric: "copy".into(),
            unit: Unit::BytePerSecond,
            at_bytes: None,
            summary: Summary::of(values).unwrap(),
            clock: Clock::HostWall,
            stop,
            warm_up: Some(WarmUp { seconds: 0.5, batches: 5, steady: true }),
            repeated_batches: 0,
            samples: values.iter().map(sample).collect(),
        }];
        entry
    }

    fn marks(mut entry: Entry, device_name: &str) -> Vec<MarkKind> {
        judge(&mut entry, &Device::example("vulkan:0", device_name), &Machine::default());
        entry.marks.iter().map(|mark| mark.kind).collect()
    }

    #[test]
    fn a_good_figure_has_no_mark() {
        let mut good = entry(&[3.0e12; 10], StopReason::Converged);
        good.canary = Some(Canary { before_s: 0.0100, after_s: 0.0102, first_s: Some(0.0100) });
        assert!(marks(good, "NVIDIA H100 80GB HBM3").is_empty());
    }

    #[test]
    fn above_the_data_sheet_is_implausible_and_so_is_absurdity_without_one() {
        let fast = || entry(&[3.6e12; 10], StopReason::Converged);
        assert_eq!(marks(fast(), "NVIDIA H100 80GB HBM3"), [MarkKind::Implausible]);
        assert!(marks(fast(), "an unknown device").is_empty());
        assert_eq!(marks(entry(&[2e15; 10], StopReason::Converged), "unknown"), [MarkKind::Implausible]);
    }

    #[test]
    fn a_slower_canary_marks_the_entry_and_a_faster_one_does_not() {
        let with = |after_s, first_s| {
            let mut entry = entry(&[1e11; 10], StopReason::Converged);
            entry.canary = Some(Canary { before_s: 0.01, after_s, first_s });
            marks(entry, "unknown")
        };
        assert_eq!(with(0.0104, None), [MarkKind::Throttled]);
        assert!(with(0.0090, Some(0.0100)).is_empty());
        assert_eq!(with(0.0102, Some(0.0098)), [MarkKind::Throttled], "heated up over several entries");
        assert!(with(0.0105, Some(0.0105)).is_empty(), "the clock that the entry before had raised is back");
        assert_eq!(with(0.0115, Some(0.0120)), [MarkKind::Throttled], "far slower than before, though it began idle");
    }

    #[test]
    fn a_busy_machine_is_told() {
        let machine = Machine { logical_cpus: 2, ..Machine::default() };
        let notes = |average_before| {
            let mut entry = entry(&[1e11; 10], StopReason::Converged);
            entry.load = Some(crate::record::Load { average_before, ..crate::record::Load::default() });
            judge(&mut entry, &Device::example("vulkan:0", "unknown"), &machine);
            entry.notes
        };
        assert!(notes(Some(9.1)).iter().any(|note| note.contains("9.1 on 2 processors")));
        assert!(notes(Some(2.2)).is_empty() && notes(None).is_empty());
    }

    #[test]
    fn a_capacity_is_never_throttled() {
        let mut limit = entry(&[4e9], StopReason::Single);
        limit.workload = Workload::TensorLimit(TensorLimit::default());
        limit.canary = Some(Canary { before_s: 0.01, after_s: 0.02, first_s: Some(0.01) });
        assert!(marks(limit, "unknown").is_empty());
    }

    #[test]
    fn a_tensor_larger_than_the_device_is_implausible() {
        let limit = |bytes| {
            let mut limit = entry(&[bytes], StopReason::Single);
            limit.workload = Workload::TensorLimit(TensorLimit::default());
            limit.measurements[0].unit = Unit::Byte;
            marks(limit, "unknown")
        };
        // The example's device holds 4 GiB.
        assert!(limit(3.9e9).is_empty());
        assert_eq!(limit(1e15), [MarkKind::Implausible]);
    }

    #[test]
    fn doubtful_sizes_of_a_sweep_are_named() {
        let mut sweep = entry(&[1e11; 10], StopReason::Converged);
        let sizes = BandwidthSweep { op: MemoryOp::Read, min_bytes: 64 << 10, max_bytes: 1 << 30 };
        sweep.workload = Workload::BandwidthSweep(sizes);
        let few = entry(&[1e11; 4], StopReason::TimeBudget).measurements.remove(0);
        sweep.measurements.push(Measurement { at_bytes: Some(64 << 10), ..few });
        judge(&mut sweep, &Device::example("vulkan:0", "unknown"), &Machine::default());
        assert!(sweep.marks.is_empty());
        assert!(sweep.notes.iter().any(|note| note.contains("1 of 2 sizes") && note.ends_with("64 KiB")), "{sweep:?}");
    }

    #[test]
    fn few_and_scattered_samples_are_uncertain() {
        assert_eq!(marks(entry(&[1e11; 4], StopReason::TimeBudget), "unknown"), [MarkKind::Uncertain]);
        let scattered: Vec<f64> = (1..=10).map(|i| f64::from(i) * 1e10).collect();
        assert_eq!(marks(entry(&scattered, StopReason::SampleLimit), "unknown"), [MarkKind::Uncertain]);
    }
}
