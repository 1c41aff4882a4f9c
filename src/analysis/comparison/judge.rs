//! What a change means: the figures of a row held against each other.

use super::{
    Change, Figure, Kind, Row, Side, Verdict,
    bootstrap::Bootstrap,
    matching::measurement,
    ranks,
    steadiness::{Between, Cause, canary_times, crowding, launching, throttling},
};
use crate::{
    analysis::{frameworks::times, judge::bar},
    machine::Device,
    measure::{Clock, Measurement},
    record::{Entry, MarkKind, Run},
    stats::{Interval, median_interval, quantile},
    units::Unit,
    workload::{ModelLoad, WorkloadKind},
};

/// Fewer samples than this on either side decide nothing: the extremes of four hold the median in 7 of 8 cases only, and two
/// sides of four can hardly be told from chance. llama-bench takes five.
pub(super) const SAMPLES_MIN: usize = 5;

/// How probable it may be, after correction, that a row is called faster or slower by chance.
const CHANCE_MAX: f64 = 0.05;

/// Half the interval of a ratio beyond which "the same" would be saying too much.
const HALF_WIDTH_MAX: f64 = 0.10;

/// Why two figures can't be held against each other.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// One side has no figure.
    Missing(String),
    /// They count different things.
    Units(Unit, Unit),
    /// One of them must not be ranked.
    Marked(String),
    /// One of them is no positive number.
    Invalid,
    /// One of them is beyond any device.
    Absurd,
    /// The arithmetic really used isn't the same.
    Precision(String, String),
    /// They were timed by different clocks, and the samples don't tell both.
    Clocks,
    /// Found once, or published: there are no samples to tell a change from noise by.
    NoSamples,
    /// Too few samples on one side.
    FewSamples(usize),
    /// Something moved by this share, which hides the change that is seen, or leaves "the same" without a meaning.
    Unsteady(f64, Cause),
    /// The interval of the ratio is so wide that neither a change nor sameness is shown.
    Uncertain(Interval),
}

/// Between runs the fixed kernel of a device that nothing slows differs by less than this; within a run, boost clocks alone
/// move it by half as much.
const CANARY_SAME: f64 = 0.10;

/// The side of a row that is compared.
struct Party<'a> {
    run: &'a Run,
    entry: &'a Entry,
    device: Option<&'a Device>,
    measurement: &'a Measurement,
}

/// The samples of a side as they are compared.
struct Values {
    /// Ascending and positive; only the figure itself where it was found once.
    sorted: Vec<f64>,
    /// By how much the rate moved between the first and the second half of the samples, as a share.
    drift: f64,
}

/// Fills in figures, changes and verdicts.
pub(super) fn rows(rows: &mut [Row], kind: Kind, runs: &[&Run], sides: &[Side], baseline: usize, threshold: f64) {
    let between = Between::of(rows, kind, runs, sides, baseline);
    let mut bench =
        Bench { bootstrap: Bootstrap::default(), ranks: ranks::RankSum::default(), kind, threshold, between };
    for row in &mut *rows {
        let metric = row.metric.clone();
        let metric = metric.as_deref().map(|name| (name, row.at_bytes));
        let party = |side: usize, entry: Option<usize>| {
            let run = runs.get(sides.get(side)?.run)?;
            let entry = run.entries.get(entry?)?;
            let device = run.device(&entry.device);
            Some(Party { run, entry, device, measurement: measurement(entry, metric)? })
        };
        let entries: Vec<Option<usize>> = row.cells.iter().map(|cell| cell.entry).collect();
        let base = entries.get(baseline).and_then(|entry| party(baseline, *entry));
        let why_no_base = row.cells.get(baseline).and_then(|cell| cell.absence.clone()).unwrap_or_default();
        for (side, cell) in row.cells.iter_mut().enumerate() {
            let own = party(side, cell.entry);
            cell.figure = own.as_ref().map(|own| figure(own.measurement));
            cell.notes.extend(own.iter().flat_map(|own| doubts(own.entry)));
            if side == baseline {
                continue;
            }
            let (change, verdict, cause) = match (&base, &own) {
                (Some(base), Some(own)) => {
                    if kind == Kind::Runs {
                        cell.notes.extend(other_path(base.entry, own.entry));
                        cell.notes.extend(other_speed(base, own));
                    }
                    bench.hold(base, (side, own))
                }
                (None, _) => {
                    (None, Verdict::NotComparable(Why::Missing(format!("the baseline: {why_no_base}"))), Cause::Rate)
                }
                (_, None) => {
                    let why = cell.absence.clone().unwrap_or_default();
                    (None, Verdict::NotComparable(Why::Missing(why)), Cause::Rate)
                }
            };
            (cell.change, cell.verdict, cell.cause) = (change, Some(verdict), cause);
        }
    }
    correct(rows, kind, threshold);
}

/// The figure as it is shown: from the samples where there are any, whatever the summary beside them says.
fn figure(measurement: &Measurement) -> Figure {
    let sorted = crate::stats::sorted_finite(&sample_values(measurement));
    let several = sorted.len() > 1;
    let median = quantile(&sorted, 0.5).unwrap_or(measurement.summary.median);
    Figure {
        median,
        interval: if several { median_interval(&sorted) } else { None },
        samples: if several { sorted.len() } else { 0 },
        unit: measurement.unit,
    }
}

fn sample_values(measurement: &Measurement) -> Vec<f64> {
    measurement.samples.iter().map(|sample| sample.value).collect()
}

/// The doubts that an entry carries, in words.
fn doubts(entry: &Entry) -> Vec<String> {
    let text = |mark: &crate::record::Mark| format!("{}: {}", mark.kind.word(), mark.reason);
    let shown = entry.marks.iter().filter(|mark| matches!(mark.kind, MarkKind::Throttled | MarkKind::Uncertain));
    shown.map(text).collect()
}

/// Another code path than the baseline's is part of the answer, and is told.
fn other_path(base: &Entry, own: &Entry) -> Option<String> {
    let (before, now) = (base.variant.as_deref()?, own.variant.as_deref()?);
    (before != now).then(|| format!("another code path: {before} before, {now} now"))
}

/// The same device that runs the same fixed kernel slower or faster than in the baseline's run was itself slower or faster:
/// shared, hot or throttled, whatever the program does.
fn other_speed(base: &Party<'_>, own: &Party<'_>) -> Option<String> {
    let same = base.entry.engine == own.entry.engine && base.device?.label() == own.device?.label();
    let time_s = |entry: &Entry| Some(canary_times(entry)?.iter().copied().fold(f64::INFINITY, f64::min));
    let ratio = time_s(own.entry)? / time_s(base.entry)?;
    let word = if ratio > 1.0 { "slower" } else { "faster" };
    let is_near = (1.0 / (1.0 + CANARY_SAME)..=1.0 + CANARY_SAME).contains(&ratio);
    (same && !is_near && ratio.is_finite()).then(|| {
        format!("the device itself was {word}: a fixed kernel took {} its time in the baseline's run", times(ratio))
    })
}

impl Row {
    /// Whether a higher value is better.
    pub const fn higher_is_better(&self) -> bool {
        match self.unit {
            Unit::FlopPerSecond | Unit::BytePerSecond | Unit::TokenPerSecond => true,
            // How much fits is better the more it is; how much was taken, the less.
            Unit::Byte => matches!(self.workload.kind(), WorkloadKind::TensorLimit),
            Unit::Second | Unit::Nat => false,
        }
    }
}

/// The tests, and what they remember from row to row.
struct Bench {
    bootstrap: Bootstrap,
    ranks: ranks::RankSum,
    kind: Kind,
    threshold: f64,
    between: Between,
}

impl Bench {
    /// Holds one side against the baseline. The verdict is not yet corrected: "same" stands for every row that is tested.
    fn hold(&mut self, base: &Party<'_>, (side, own): (usize, &Party<'_>)) -> (Option<Change>, Verdict, Cause) {
        let not = |why| Verdict::NotComparable(why);
        let units = (base.measurement.unit, own.measurement.unit);
        if units.0 != units.1 {
            return (None, not(Why::Units(units.0, units.1)), Cause::Rate);
        }
        let (before, now, clocks) = match values(base.measurement, own.measurement) {
            Ok(values) => values,
            Err(why) => return (None, not(why), Cause::Rate),
        };
        // The leading engine is held against the others, a run against the baseline.
        let (below, above) = if self.kind == Kind::Engines { (&now, &before) } else { (&before, &now) };
        let (moved, cause) = self.moved(base, (side, own), before.drift.max(now.drift));
        let threshold = self.threshold.max(moved);
        let middle = |values: &Values| quantile(&values.sorted, 0.5).unwrap_or(f64::NAN);
        let ratio = middle(above) / middle(below);
        if !ratio.is_finite() || ratio <= 0.0 {
            return (None, not(Why::Invalid), Cause::Rate);
        }
        let mut change = Change { ratio, interval: None, p: None, threshold };
        let fewest = before.sorted.len().min(now.sorted.len());
        if fewest > 1 {
            change.interval = self.bootstrap.ratio(&below.sorted, &above.sorted);
        }
        let why = self.objection(base, own).or_else(|| (!clocks).then_some(Why::Clocks)).or(match fewest {
            ..=1 => Some(Why::NoSamples),
            few if few < SAMPLES_MIN => Some(Why::FewSamples(few)),
            _ => None,
        });
        if let Some(why) = why {
            return (Some(change), not(why), cause);
        }
        let factor = 1.0 + threshold;
        let up = self.ranks.above(&above.sorted, &below.sorted, factor);
        let down = self.ranks.above(&below.sorted, &above.sorted, factor);
        change.p = Some((2.0 * up.min(down)).min(1.0));
        (Some(change), Verdict::Same, cause)
    }

    /// By how much the two may lie apart for reasons that their samples don't show, and the first of them.
    fn moved(&self, base: &Party<'_>, (side, own): (usize, &Party<'_>), drift: f64) -> (f64, Cause) {
        let crowding = |party: &Party<'_>| crowding(party.entry, party.device, &party.run.machine);
        let launching = |party: &Party<'_>| launching(party.entry, party.device);
        let all = [
            (drift, Cause::Rate),
            (throttling(base.entry).max(throttling(own.entry)), Cause::Throttled),
            (self.between.share(side, own.entry, own.device), Cause::Device),
            (crowding(base).max(crowding(own)), Cause::Load),
            (launching(base).max(launching(own)), Cause::Launch),
        ];
        all.into_iter().fold((0.0, Cause::Rate), |most, one| if one.0 > most.0 { one } else { most })
    }

    /// What speaks against comparing two entries at all.
    fn objection(&self, base: &Party<'_>, own: &Party<'_>) -> Option<Why> {
        let barred = |party: &Party<'_>, whose: &str| {
            let mark = bar(party.run, party.entry)?;
            Some(Why::Marked(format!("{whose}{}: {}", mark.kind.word(), mark.reason)))
        };
        let marked = barred(base, "the baseline is ").or_else(|| barred(own, ""));
        let is_made = |party: &Party<'_>| party.entry.variant.as_deref() == Some(ModelLoad::MADE);
        let made = (is_made(base) != is_made(own))
            .then(|| Why::Marked("one side's weights were made in memory, the other's were read".to_owned()));
        marked.or(made).or_else(|| self.other_precision(base.entry, own.entry))
    }

    /// Between runs the same engine tells of the same arithmetic in the same words. Engines among each other have words of
    /// their own; what must not be mixed is TF32, which passes for f32.
    fn other_precision(&self, base: &Entry, own: &Entry) -> Option<Why> {
        let (before, now) = (base.precision.as_deref()?, own.precision.as_deref()?);
        let is_tf32 = |text: &str| text.to_ascii_lowercase().contains("tf32");
        let differs = match self.kind {
            Kind::Runs => before != now,
            Kind::Engines => is_tf32(before) != is_tf32(now),
        };
        differs.then(|| Why::Precision(before.to_owned(), now.to_owned()))
    }
}

/// Both sides' samples by one clock, and whether there is one that both were timed by.
fn values(base: &Measurement, own: &Measurement) -> Result<(Values, Values, bool), Why> {
    let differ = base.clock != own.clock && base.samples.len() > 1 && own.samples.len() > 1;
    if differ && let (Some(before), Some(now)) = (by_the_host(base), by_the_host(own)) {
        return Ok((Values::of(&before, base.unit)?, Values::of(&now, own.unit)?, true));
    }
    let of = |measurement: &Measurement| match measurement.samples.len() {
        0 => Values::of(&[measurement.summary.median], measurement.unit),
        _ => Values::of(&sample_values(measurement), measurement.unit),
    };
    Ok((of(base)?, of(own)?, !differ))
}

/// The rates by wall time, which every sample tells beside the device's; `None` where they can't be had.
fn by_the_host(measurement: &Measurement) -> Option<Vec<f64>> {
    if measurement.clock == Clock::HostWall {
        return Some(sample_values(measurement));
    }
    let is_rate = matches!(measurement.unit, Unit::FlopPerSecond | Unit::BytePerSecond | Unit::TokenPerSecond);
    let rate = |sample: &crate::measure::Sample| {
        let device_s = sample.device_s.filter(|device_s| *device_s > 0.0 && sample.host_s > 0.0)?;
        Some(sample.value * device_s / sample.host_s)
    };
    is_rate.then(|| measurement.samples.iter().map(rate).collect()).flatten()
}

impl Values {
    /// Samples in the order taken.
    fn of(values: &[f64], unit: Unit) -> Result<Self, Why> {
        if values.is_empty() || !values.iter().all(|value| value.is_finite() && *value > 0.0) {
            return Err(Why::Invalid);
        }
        if values.iter().any(|value| *value > unit.beyond_any_device()) {
            return Err(Why::Absurd);
        }
        let (first, second) = values.split_at(values.len() / 2);
        let drift = match (median(first), median(second)) {
            (Some(first), Some(second)) if values.len() >= 2 * SAMPLES_MIN => {
                (first / second).max(second / first) - 1.0
            }
            _ => 0.0,
        };
        Ok(Self { sorted: crate::stats::sorted_finite(values), drift })
    }
}

fn median(values: &[f64]) -> Option<f64> {
    quantile(&crate::stats::sorted_finite(values), 0.5)
}

/// Corrects the chances for the number of rows, and says what each change means.
fn correct(rows: &mut [Row], kind: Kind, threshold: f64) {
    let tested = |cell: &super::Cell| cell.change.and_then(|change| change.p);
    let p_values: Vec<f64> = rows.iter().flat_map(|row| row.cells.iter().filter_map(tested)).collect();
    let mut corrected = ranks::corrected(&p_values).into_iter();
    for row in rows {
        // Engines' ratios are the leading one's ÷ the side's; the verdict is of the side, as between runs.
        let higher = row.higher_is_better() == (kind == Kind::Runs);
        for cell in &mut row.cells {
            let Some(change) = cell.change.as_mut().filter(|change| change.p.is_some()) else { continue };
            let p = corrected.next().unwrap_or(1.0);
            change.p = Some(p);
            let verdict = verdict(change, p, higher, threshold);
            let unsteady = Why::Unsteady(change.threshold, cell.cause);
            cell.verdict = Some(verdict.unwrap_or(Verdict::NotComparable(unsteady)));
        }
    }
}

/// `asked` is the threshold without what the row's own unsteadiness adds; `None` where that hides the answer.
fn verdict(change: &Change, p: f64, higher: bool, asked: f64) -> Option<Verdict> {
    let Some(interval) = change.interval else { return Some(Verdict::NotComparable(Why::Invalid)) };
    let beyond = |threshold: f64| (interval.low > 1.0 + threshold, interval.high < 1.0 / (1.0 + threshold));
    match beyond(change.threshold) {
        (up, down) if (up || down) && p <= CHANCE_MAX => {
            Some(if up == higher { Verdict::Faster } else { Verdict::Slower })
        }
        _ if change.threshold > asked && beyond(asked) != (false, false) => None,
        _ if (interval.high / interval.low).sqrt() - 1.0 > HALF_WIDTH_MAX => {
            Some(Verdict::NotComparable(Why::Uncertain(interval)))
        }
        // "No change of more than 40 %" is not what "the same" says.
        _ if change.threshold > asked.max(HALF_WIDTH_MAX) => None,
        _ => Some(Verdict::Same),
    }
}
