//! The comparison of synthetic runs: one machine twice, a machine that changed, and everything that can't be compared.

use super::*;
use crate::{
    analysis::frameworks::tests::document,
    machine::{Conditions, Device, DeviceKind, Machine, PowerSource},
    measure::{Clock, Measurement, Sample, StopReason},
    record::{AppInfo, Canary, Entry, FORMAT_VERSION, Mark, MarkKind, Outcome, RunState, SuiteInfo, reference},
    workload::{Bandwidth, Dtype, Gemm, MemoryOp, TensorLimit, random::pcg},
};

/// Seeded noise: about normal, as sums of uniform values are.
struct Noise(u32);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = pcg(self.0.wrapping_add(1));
        f64::from(self.0) / f64::from(u32::MAX)
    }

    /// Of standard deviation 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    /// Samples of one entry as a machine gives them: every run a little off by `run`, every batch by `batch`, and one in ten
    /// disturbed, which only ever makes it slower.
    fn samples(&mut self, rate: f64, run: f64, batch: f64, count: usize) -> Vec<f64> {
        let centre = rate * (1.0 + run * self.normal());
        (0..count)
            .map(|_| {
                let slow = if self.uniform() < 0.1 { 0.9 } else { 1.0 };
                centre * (1.0 + batch * self.normal()) * slow
            })
            .collect()
    }
}

fn run(id: &str, entries: Vec<Entry>) -> Run {
    let cpu = Device { kind: DeviceKind::Cpu, ..Device::example("cpu", "AMD EPYC") };
    Run {
        format_version: FORMAT_VERSION,
        id: id.into(),
        started_at: "2026-11-12T14:02:00Z".parse().unwrap(),
        ended_at: None,
        state: RunState::Finished,
        app: AppInfo::current(),
        suite: SuiteInfo { name: "quick".into(), budget_s: 60.0 },
        machine: Machine { chip: "AMD EPYC".into(), ..Machine::default() },
        conditions: Conditions::default(),
        devices: vec![Device::example("vulkan:0", "A GPU"), Device::example("vulkan:1", "Another GPU"), cpu],
        notes: Vec::new(),
        about: None,
        entries,
    }
}

fn gemm(n: u32) -> Workload {
    Workload::Gemm(Gemm::square(n, Dtype::F32))
}

fn entry(workload: Workload, engine: EngineId, device: &str, values: &[f64]) -> Entry {
    let mut entry = Entry::pending(workload, engine, device);
    entry.outcome = Outcome::Done;
    let sample = |value: &f64| Sample { value: *value, iterations: 1, host_s: 0.1, device_s: None, disturbed: false };
    let samples = values.iter().map(sample).collect();
    let unit = entry.workload.unit();
    entry.measurements.extend(Measurement::of_samples("throughput", unit, samples, StopReason::Converged));
    entry
}

fn candle(n: u32, values: &[f64]) -> Entry {
    entry(gemm(n), EngineId::Candle, "cpu", values)
}

const STEADY: [f64; 10] =
    [1.0e12, 1.001e12, 0.999e12, 1.002e12, 0.998e12, 1.0005e12, 0.9995e12, 1.0015e12, 0.9985e12, 1.0e12];

fn scaled(factor: f64) -> Vec<f64> {
    STEADY.iter().map(|value| value * factor).collect()
}

fn compared(a: &Run, b: &Run) -> Compared {
    Compared::of_runs(&[a, b], 0, Options::default()).unwrap()
}

/// The change and the verdict of the one row, in B.
fn only(a: Entry, b: Entry) -> (Option<Change>, Verdict) {
    let compared = compared(&run("a", vec![a]), &run("b", vec![b]));
    assert_eq!(compared.rows.len(), 1, "{:?}", compared.rows);
    let cell = &compared.rows[0].cells[1];
    (cell.change, cell.verdict.clone().unwrap())
}

fn why(a: Entry, b: Entry) -> String {
    only(a, b).1.reason().unwrap()
}

#[test]
fn one_machine_twice_is_the_same() {
    let (mut noise, mut same, mut called) = (Noise(11), 0, 0);
    for _ in 0..100 {
        let mut twice = || candle(512, &noise.samples(1e12, 0.003, 0.01, 12));
        match only(twice(), twice()).1 {
            Verdict::Same => same += 1,
            Verdict::NotComparable(_) => {}
            Verdict::Faster | Verdict::Slower => called += 1,
        }
    }
    assert!(same >= 95 && called <= 1, "{same} the same, {called} called faster or slower");
}

#[test]
fn a_change_of_a_tenth_is_found_both_ways() {
    let (mut noise, mut found) = (Noise(12), 0);
    for trial in 0..100 {
        let factor = if trial % 2 == 0 { 0.9 } else { 1.1 };
        let before = candle(512, &noise.samples(1e12, 0.003, 0.01, 12));
        let verdict = only(before, candle(512, &noise.samples(1e12 * factor, 0.003, 0.01, 12))).1;
        found += usize::from(verdict == if factor < 1.0 { Verdict::Slower } else { Verdict::Faster });
    }
    assert!(found >= 95, "{found} of 100");
}

#[test]
fn many_rows_raise_few_false_alarms_and_hide_no_change() {
    // Noise far beyond the threshold, in 400 rows of which 20 became slower by a third.
    let mut noise = Noise(13);
    let changed = |row: u32| row % 20 == 7;
    let mut all = |slower: bool| {
        let entries = (0..400).map(|row| {
            let rate = if slower && changed(row) { 0.67e12 } else { 1e12 };
            candle(64 + row, &noise.samples(rate, 0.0, 0.03, 12))
        });
        entries.collect::<Vec<Entry>>()
    };
    let compared = compared(&run("a", all(false)), &run("b", all(true)));
    let slower: Vec<usize> =
        (0..400).filter(|row| compared.rows[*row].cells[1].verdict == Some(Verdict::Slower)).collect();
    let right = slower.iter().filter(|row| changed(**row as u32)).count();
    assert!(right >= 19, "{right} of 20 found");
    assert!(slower.len() - right <= 1, "{slower:?}");
    assert!(compared.counts().faster <= 1);
}

#[test]
fn every_row_of_a_long_table_may_change() {
    // Seven samples a row can't be told from chance beyond 1 in 1716, and a thousand rows need no more if all changed.
    let of = |factor: f64| (0..1000).map(|row| candle(64 + row, &scaled(factor)[..7])).collect();
    let compared = compared(&run("a", of(1.0)), &run("b", of(0.8)));
    assert_eq!(compared.counts().slower, 1000);
}

#[test]
fn the_threshold_is_what_a_change_must_exceed() {
    let verdict = |factor: f64, threshold: f64| {
        let (a, b) = (run("a", vec![candle(1, &STEADY)]), run("b", vec![candle(1, &scaled(factor))]));
        let compared = Compared::of_runs(&[&a, &b], 0, Options { threshold, all_metrics: false }).unwrap();
        compared.rows[0].cells[1].verdict.clone().unwrap()
    };
    assert_eq!(verdict(1.015, 0.02), Verdict::Same);
    assert_eq!(verdict(1.015, 0.01), Verdict::Faster);
    assert_eq!(verdict(0.95, 0.02), Verdict::Slower);
    assert_eq!(verdict(0.95, 0.10), Verdict::Same);
    assert_eq!(verdict(1.0, 0.0), Verdict::Same);
}

#[test]
fn what_drifted_while_it_was_measured_must_change_by_more_than_that() {
    let mut drifting = STEADY;
    drifting[5..].iter_mut().for_each(|value| *value *= 0.94);
    let (change, verdict) = only(candle(1, &scaled(1.05)), candle(1, &drifting));
    assert!(change.unwrap().threshold > 0.05, "{change:?}");
    assert!(matches!(verdict, Verdict::NotComparable(Why::Unsteady(_, Cause::Rate))), "{verdict:?}: {change:?}");
    assert_eq!(only(candle(1, &scaled(2.0)), candle(1, &drifting)).1, Verdict::Slower, "a change beyond the drift");
    assert_eq!(only(candle(1, &scaled(0.98)), candle(1, &drifting)).1, Verdict::Same);
}

#[test]
fn a_throttled_device_hides_changes_and_a_slower_one_explains_them() {
    let with = |factor: f64, times: [f64; 3], throttled: bool| {
        let mut entry = candle(1, &scaled(factor));
        entry.canary = Some(Canary { before_s: times[0], after_s: times[1], first_s: Some(times[2]) });
        entry.marks =
            throttled.then(|| Mark { kind: MarkKind::Throttled, reason: "slow".into() }).into_iter().collect();
        entry
    };
    let good = || with(1.0, [0.01; 3], false);
    let verdict = only(good(), with(0.9, [0.01, 0.012, 0.01], true)).1;
    assert!(verdict.reason().unwrap().contains("moved by 20.0 %"), "{verdict:?}");
    assert_eq!(only(good(), with(0.7, [0.01, 0.012, 0.01], true)).1, Verdict::Slower);
    assert_eq!(
        only(good(), with(0.9, [0.01, 0.0105, 0.01], false)).1,
        Verdict::Slower,
        "a clock that moves is no throttling"
    );
    let found = compared(&run("a", vec![good()]), &run("b", vec![with(0.5, [0.02; 3], false)]));
    let cell = &found.rows[0].cells[1];
    assert_eq!(cell.verdict, Some(Verdict::Slower));
    assert_eq!(cell.notes, ["the device itself was slower: a fixed kernel took 2.00× its time in the baseline's run"]);
}

#[test]
fn times_are_better_when_lower_and_limits_when_higher() {
    let with = |metric: &str, unit: Unit, values: &[f64]| {
        let mut entry = candle(1, &STEADY);
        let mut other = candle(1, values).measurements.remove(0);
        (other.metric, other.unit) = (metric.to_owned(), unit);
        entry.measurements.push(other);
        entry
    };
    for (metric, unit) in [("ttft", Unit::Second), ("peak-memory", Unit::Byte)] {
        let a = run("a", vec![with(metric, unit, &scaled(1e-9))]);
        let b = run("b", vec![with(metric, unit, &scaled(0.8e-9))]);
        let compared = Compared::of_runs(&[&a, &b], 0, Options { all_metrics: true, ..Options::default() }).unwrap();
        assert_eq!(compared.rows.len(), 2);
        assert_eq!(compared.rows[1].cells[1].verdict, Some(Verdict::Faster), "less of {metric}");
        assert!(compared.rows[1].title().ends_with(&metric.replace('-', " ")));
    }
    let limit = |values| entry(Workload::TensorLimit(TensorLimit::default()), EngineId::Wgpu, "vulkan:0", values);
    assert_eq!(only(limit(&scaled(1e-3)), limit(&scaled(2e-3))).1.word(Unit::Byte), "better");
}

#[test]
fn what_cannot_be_compared_says_why() {
    let good = || candle(1, &STEADY);
    let edited = |edit: &dyn Fn(&mut Entry)| {
        let mut entry = good();
        edit(&mut entry);
        entry
    };
    let of_unit = edited(&|entry| entry.measurements[0].unit = Unit::Second);
    assert_eq!(why(good(), of_unit), "the units differ: FLOP/s before, ns now");
    let barred = edited(&|entry| {
        entry.marks = vec![Mark { kind: MarkKind::Implausible, reason: "above the data sheet".into() }];
    });
    assert!(why(good(), barred.clone()).starts_with("implausible: above"));
    assert!(why(barred, good()).starts_with("the baseline is implausible"));
    let failed = edited(&|entry| entry.outcome = Outcome::Failed("lost the device".into()));
    assert_eq!(why(good(), failed.clone()), "failed: lost the device");
    assert_eq!(why(failed, good()), "the baseline: failed: lost the device");
    let tf32 = edited(&|entry| entry.precision = Some("tf32 operands".into()));
    let f32 = edited(&|entry| entry.precision = Some("f32".into()));
    assert_eq!(why(f32, tf32), "the arithmetic differs: f32 before, tf32 operands now");
    assert!(why(good(), candle(1, &STEADY[..4])).starts_with("too few samples: 4"));
    let wild: Vec<f64> = (1..=10).map(|i| 2e11 * f64::from(i)).collect();
    assert!(why(good(), candle(1, &wild)).starts_with("too noisy: the ratio lies anywhere from 0."));
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let odd = edited(&|entry| entry.measurements[0].samples[3].value = bad);
        assert_eq!(why(good(), odd), "a figure is not a positive number", "{bad}");
    }
    let huge = edited(&|entry| entry.measurements[0].samples.iter_mut().for_each(|sample| sample.value = 1e16));
    let tiny = edited(&|entry| entry.measurements[0].samples.iter_mut().for_each(|sample| sample.value = 1e-308));
    assert_eq!(why(tiny, huge), "a figure is not a positive number", "a ratio that overflows");
}

#[test]
fn what_was_found_once_is_compared_by_value() {
    let (change, verdict) = only(candle(1, &[2.0e12]), candle(1, &STEADY));
    assert_eq!(change.unwrap(), Change { ratio: 0.5, interval: None, p: None, threshold: THRESHOLD });
    assert_eq!((verdict.word(Unit::FlopPerSecond), verdict.id()), ("no samples", "not-comparable"));
}

#[test]
fn two_clocks_are_compared_by_the_one_that_both_had() {
    let by_device = |device_s: Option<f64>| {
        let mut entry = candle(1, &scaled(1.25));
        entry.measurements[0].clock = Clock::DeviceTimestamps;
        entry.measurements[0].samples.iter_mut().for_each(|sample| sample.device_s = device_s);
        entry
    };
    // 0.08 s by the device's clock and 0.1 s by the host's: the rate by the host's is the other run's.
    let (change, verdict) = only(candle(1, &STEADY), by_device(Some(0.08)));
    assert!((change.unwrap().ratio - 1.0).abs() < 1e-9);
    assert_eq!(verdict, Verdict::Same);
    assert!(why(candle(1, &STEADY), by_device(None)).contains("device's clock"));
}

#[test]
fn rows_match_by_work_engine_and_kind_of_device() {
    let copy = Workload::Bandwidth(Bandwidth { op: MemoryOp::Copy, array_bytes: 1 << 30 });
    let wgpu = |device: &str, workload| entry(workload, EngineId::Wgpu, device, &STEADY);
    let a = run("a", vec![wgpu("vulkan:0", gemm(8)), candle(8, &STEADY), wgpu("vulkan:0", copy)]);
    let mut b = run("b", vec![candle(8, &STEADY), wgpu("metal:0", gemm(8)), candle(9, &STEADY)]);
    b.devices.push(Device { kind: DeviceKind::IntegratedGpu, ..Device::example("metal:0", "Apple M5") });
    let found: Vec<(EngineId, &str, &str)> = Vec::new();
    let compared = compared(&a, &b);
    let rows = compared
        .rows
        .iter()
        .map(|row| (row.engine.unwrap(), row.place.as_str(), row.cells[1].verdict.as_ref().unwrap().word(row.unit)));
    let rows: Vec<_> = found.into_iter().chain(rows).collect();
    assert_eq!(
        rows,
        [
            (EngineId::Wgpu, "GPU", "same"),
            (EngineId::Candle, "processor", "same"),
            (EngineId::Wgpu, "GPU", "missing"),
            (EngineId::Candle, "processor", "missing"),
        ]
    );
    assert_eq!(compared.rows[2].cells[1].absence.as_deref(), Some("not in this run"));
}

#[test]
fn entries_of_one_work_are_told_apart_by_what_differs_among_them() {
    let threads = |count: &str, factor: f64| {
        let mut entry = candle(1, &scaled(factor));
        entry.settings.insert("threads".into(), count.into());
        entry.settings.insert("build".into(), "same in a run".into());
        entry
    };
    let a = run("a", vec![threads("4", 1.0), threads("8", 1.5)]);
    let mut b = run("b", vec![threads("8", 1.5), threads("4", 0.5), threads("2", 1.0)]);
    b.entries.iter_mut().for_each(|entry| *entry.settings.get_mut("build").unwrap() = "another".into());
    let found = compared(&a, &b);
    let rows: Vec<(String, &str)> = found
        .rows
        .iter()
        .map(|row| (row.parameters(), row.cells[1].verdict.as_ref().unwrap().word(row.unit)))
        .collect();
    assert_eq!(
        rows,
        [
            ("n = 1 · threads 4".to_owned(), "slower"),
            ("n = 1 · threads 8".to_owned(), "same"),
            ("n = 1 · threads 2".to_owned(), "missing"),
        ]
    );
    // Nothing tells these apart: the best stands for both.
    let twice = run("c", vec![candle(1, &scaled(0.5)), candle(1, &STEADY)]);
    let found = compared(&run("a", vec![candle(1, &STEADY)]), &twice);
    assert_eq!((found.rows.len(), found.rows[0].cells[1].entry), (1, Some(1)));
    assert_eq!(found.rows[0].cells[1].also, [0]);
    assert_eq!(found.rows[0].cells[1].notes, ["the best of 2 entries"]);
}

#[test]
fn any_run_can_be_the_baseline() {
    let runs = [1.0, 0.5, 2.0].map(|factor| run("r", vec![candle(1, &scaled(factor))]));
    let all: Vec<&Run> = runs.iter().collect();
    let compared = Compared::of_runs(&all, 2, Options::default()).unwrap();
    let verdicts: Vec<Option<&str>> =
        compared.rows[0].cells.iter().map(|cell| cell.verdict.as_ref().map(Verdict::id)).collect();
    assert_eq!(verdicts, [Some("slower"), Some("slower"), None]);
    assert_eq!(compared.ratio_title(0).as_deref(), Some("A ÷ C"));
    assert_eq!(compared.summary(), "2 slower");
    assert_eq!(Compared::of_runs(&all[..1], 0, Options::default()), Err(CompareError::Runs(1)));
    assert_eq!(Compared::of_runs(&[all[0]; 7], 0, Options::default()), Err(CompareError::Runs(7)));
}

#[test]
fn engines_of_a_run_compare_as_in_the_document() {
    for document in [document(), reference().unwrap()] {
        let compared = Compared::of_engines(&document, None, Options::default()).unwrap();
        assert_eq!(compared.label(compared.baseline), "PyTorch");
        let mlx = compared.sides.iter().position(|side| side.engine == Some(EngineId::Mlx)).unwrap();
        assert_eq!(compared.ratio_title(mlx).as_deref(), Some("PyTorch ÷ MLX"));
        let ratio = |dtype| {
            let wanted = Workload::Gemm(Gemm::square(4096, dtype));
            let row = compared.rows.iter().find(|row| row.workload == wanted).unwrap();
            let cell = &row.cells[mlx];
            assert_eq!(cell.verdict, Some(Verdict::NotComparable(Why::NoSamples)));
            crate::analysis::frameworks::times(cell.change.unwrap().ratio)
        };
        assert_eq!((ratio(Dtype::F32).as_str(), ratio(Dtype::F16).as_str()), ("0.97×", "3.82×"));
    }
    let two = run("a", vec![candle(1, &STEADY), entry(gemm(1), EngineId::Pytorch, "cpu", &scaled(2.0))]);
    let compared = Compared::of_engines(&two, None, Options::default()).unwrap();
    assert_eq!(compared.rows[0].cells[0].verdict, Some(Verdict::Slower), "candle, beside PyTorch");
    let compared = Compared::of_engines(&two, Some(EngineId::Candle), Options::default()).unwrap();
    assert_eq!(compared.rows[0].cells[1].verdict, Some(Verdict::Faster), "PyTorch, beside candle");
    let error = Compared::of_engines(&two, Some(EngineId::Mlx), Options::default()).unwrap_err().to_string();
    assert!(error.contains("no engine mlx; choose from candle, pytorch"), "{error}");
    assert!(Compared::of_engines(&run("a", vec![]), None, Options::default()).is_err());
}

#[test]
fn the_lead_is_compared_however_many_engines_there_are_and_the_others_are_named() {
    let others = ["a1", "a2", "a3", "a4"].map(|name| name.parse::<EngineId>().unwrap());
    let built_in = [EngineId::Wgpu, EngineId::Candle, EngineId::Pytorch, EngineId::LlamaCpp];
    let entries = built_in.into_iter().chain(others).map(|engine| entry(gemm(512), engine, "cpu", &STEADY)).collect();
    let run = run("many", entries);
    let lead = others[3];
    let compared = Compared::of_engines(&run, Some(lead), Options::default()).unwrap();
    assert_eq!((compared.sides.len(), compared.label(compared.baseline)), (SIDES_MAX, "a4"));
    assert_eq!(compared.left_out, others[1..3]);
    assert!(compared.method().last().unwrap().ends_with("left out: a2, a3."), "{:?}", compared.method());
    let known = Compared::of_engines(&run, Some("zz".parse().unwrap()), Options::default()).unwrap_err().to_string();
    assert!(known.contains("a4"), "{known}");
    let default = Compared::of_engines(&run, None, Options::default()).unwrap();
    assert_eq!(default.label(default.baseline), "PyTorch");
}

#[test]
fn figures_beyond_any_device_decide_nothing_and_no_change_is_long() {
    let wild = candle(512, &[1e293; 10]);
    assert!(why(candle(512, &STEADY), wild).contains("implausible"));
    let mut sampled = candle(512, &STEADY);
    sampled.measurements[0].samples[3].value = 1e20;
    assert!(why(candle(512, &STEADY), sampled).contains("beyond any device"));
    for ratio in [1e300, 1e5, 99_999.0, 1.999, 1e-12, 0.500_01] {
        let change = Change { ratio, interval: None, p: None, threshold: 0.02 };
        for kind in [Kind::Runs, Kind::Engines] {
            assert!(change.text(kind).chars().count() <= 12, "{}", change.text(kind));
        }
    }
}

#[test]
fn what_came_of_an_entry_is_no_condition_and_a_copy_is_told() {
    let with = |id: &str, loss: &str, threads: &str| {
        let mut entry = candle(512, &STEADY);
        for (name, value) in [("loss-fell", loss), ("steps", loss), ("tuned simt-1", loss), ("threads", threads)] {
            entry.settings.insert(name.into(), value.into());
        }
        run(id, vec![entry])
    };
    let names = |a: &Run, b: &Run| compared(a, b).conditions.into_iter().map(|one| one.name).collect::<Vec<_>>();
    assert_eq!(names(&with("a", "1", "2"), &with("b", "2", "3")), ["candle: threads"]);
    let copies = compared(&with("a", "1", "2"), &with("a", "1", "2")).conditions;
    let values = copies[0].values.iter().flatten().map(String::as_str).collect::<Vec<_>>();
    assert_eq!((copies[0].name.as_str(), values), ("Run", vec!["the same run as B", "the same run as A"]));
}

#[test]
fn every_condition_that_differs_is_listed_with_all_values() {
    let with = |version: &str| {
        let mut entry = candle(1, &STEADY);
        entry.settings.insert("candle".into(), version.into());
        entry
    };
    let (a, mut b) = (run("a", vec![with("0.11")]), run("b", vec![with("0.12")]));
    b.machine.chip = "Apple M5".into();
    b.machine.os.build = Some("25B78".into());
    b.conditions.power_source = PowerSource::Battery;
    b.conditions.low_power_mode = Some(true);
    b.conditions.load_average = Some(3.0);
    b.app.commit = "abc".into();
    b.devices[0].driver = "Mesa 26".into();
    let found = compared(&a, &b).conditions;
    let value = |name: &str| found.iter().find(|difference| difference.name == name).map(|d| d.values.clone()).unwrap();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(value("Chip"), [text("AMD EPYC"), text("Apple M5")]);
    assert_eq!(value("System build"), [None, text("25B78")]);
    assert_eq!(value("Power source"), [None, text("battery")]);
    assert_eq!(value("Low-power mode"), [None, text("on")]);
    assert_eq!(value("Load average"), [None, text("3.00")]);
    assert_eq!(value("Commit")[1], text("abc"));
    assert_eq!(value("Driver"), [None, text("Vulkan: Mesa 26")]);
    assert_eq!(value("candle: candle"), [text("0.11"), text("0.12")]);
    assert_eq!(found.len(), 8, "{found:?}");
    let (mut a, mut b) = (a.clone(), a);
    b.id = "b".into();
    (a.conditions.load_average, b.conditions.load_average) = (Some(0.1), Some(0.4));
    assert_eq!(compared(&a, &b).conditions, []);
}

#[test]
fn the_same_runs_are_judged_alike_every_time() {
    let mut noise = Noise(14);
    let mut any = || run("a", (0..50).map(|row| candle(row + 1, &noise.samples(1e12, 0.02, 0.05, 10))).collect());
    let (a, b) = (any(), any());
    assert_eq!(compared(&a, &b), compared(&a, &b));
}

/// A run of five entries with the fixed kernel's times before and after each.
fn with_canaries(id: &str, factor: f64, times: &[f64; 10]) -> Run {
    let entries = times.chunks(2).enumerate().map(|(place, times)| {
        let mut entry = candle(256 << place, &scaled(factor));
        entry.canary = Some(Canary { before_s: times[0], after_s: times[1], first_s: Some(times[0]) });
        entry
    });
    run(id, entries.collect())
}

#[test]
fn a_device_that_varies_from_run_to_run_hides_changes_and_one_that_is_slower_throughout_does_not() {
    let steady = [0.01; 10];
    let base = with_canaries("a", 1.0, &steady);
    let all_of = |other: Run| compared(&base, &other).rows.into_iter().map(|row| row.cells[1].verdict.clone().unwrap());
    // By turns 8 % slower and faster than in the other run.
    let varied = [0.0108, 0.0092, 0.0108, 0.0092, 0.0108, 0.0092, 0.0108, 0.0092, 0.0108, 0.0092];
    for verdict in all_of(with_canaries("b", 0.9, &varied)) {
        assert!(matches!(verdict, Verdict::NotComparable(Why::Unsteady(_, Cause::Device))), "{verdict:?}");
    }
    assert!(all_of(with_canaries("b", 0.6, &varied)).all(|verdict| verdict == Verdict::Slower), "beyond that");
    let nothing: Vec<Verdict> = all_of(with_canaries("b", 1.0, &varied)).collect();
    assert!(nothing.iter().all(|verdict| verdict.reason().is_some()), "nor is it shown to be the same: {nothing:?}");
    assert!(all_of(with_canaries("b", 0.9, &[0.011; 10])).all(|verdict| verdict == Verdict::Slower), "its own speed");
}

#[test]
fn other_programs_that_wait_for_the_processors_hide_changes() {
    let with = |factor: f64, average: f64, device: &str| {
        let mut entry = entry(gemm(512), EngineId::Candle, device, &scaled(factor));
        entry.load = Some(crate::record::Load { average_before: Some(average), ..Default::default() });
        let mut run = run("a", vec![entry]);
        run.machine.logical_cpus = 2;
        run
    };
    let verdict = |factor: f64, average: f64, device: &str| {
        let compared = compared(&with(1.0, 0.1, device), &with(factor, average, device));
        compared.rows[0].cells[1].verdict.clone().unwrap()
    };
    assert_eq!(verdict(0.8, 2.0, "cpu"), Verdict::Slower, "what is measured fills two processors itself");
    let crowded = verdict(0.8, 3.0, "cpu");
    assert!(crowded.reason().unwrap().contains("may change a rate by 50.0 %"), "{crowded:?}");
    assert_eq!(verdict(0.5, 3.0, "cpu"), Verdict::Slower, "more than they can take");
    assert_eq!(verdict(0.8, 3.0, "vulkan:0"), Verdict::Slower, "a GPU is not what they wait for");
}
