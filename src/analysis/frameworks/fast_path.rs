//! Whether an engine multiplied on its device's matrix units: tensor cores, Neural Accelerators. Nothing tells of it but speed,
//! and they vanish in silence: with a wheel that was built without them, an old driver, a fallback.

use super::{Place, Row, View, times};
use crate::{
    analysis::{matrix_units, peaks},
    record::{Entry, MarkKind},
    units::{Quantity, Unit},
    workload::{Dtype, Gemm, Layout, Workload},
};

/// Packed arithmetic on the ordinary units multiplies 16 bits at most twice as fast as 32, where no data sheet says otherwise;
/// the rest is room for an f32 product that is slower than it could be.
const ORDINARY_MOST: f64 = 2.5;
/// Smaller products than n = 2048 are bound by their launches.
const FLOPS_LEAST: f64 = 2.0 * 2048.0 * 2048.0 * 2048.0;

/// The settings in which an engine outside the program tells how fast 16 and 32 bits were multiplied when it looked, in TFLOPS.
const PROBED: [&str; 2] = ["probe-16-bit-tflops", "probe-f32-tflops"];

/// What an engine's 16-bit products say of the units it uses.
#[derive(Clone, Debug, PartialEq)]
pub struct FastPath {
    /// The engine's column.
    pub column: usize,
    /// What the speed shows.
    pub verdict: Verdict,
    /// An engine on the same device that uses them, where this one doesn't.
    pub beside: Option<usize>,
    evidence: Evidence,
    built_in: bool,
    /// What the device's units are called.
    units: &'static str,
    device: String,
}

/// What the speed of 16-bit products shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Faster than the device is without matrix units.
    Used,
    /// The device has them, and is no faster than without.
    Unused,
    /// No faster than without them; whether the device has any isn't known.
    Unseen,
}

/// Two rates in FLOP/s of the same product.
#[derive(Clone, Debug, PartialEq)]
struct Evidence {
    half: f64,
    /// Of f32, where it was measured.
    single: Option<f64>,
    /// "f16 at n = 4096".
    what: String,
    /// What 16-bit products reach without matrix units by the data sheet, in FLOP/s.
    without: Option<f64>,
}

impl FastPath {
    /// The verdict with what it rests on, for `title`; `beside` is the title of the engine beside it.
    fn sentence(&self, title: &str, beside: Option<&str>) -> String {
        let Evidence { half, single, what, without } = &self.evidence;
        let rate = |value: f64| Quantity::new(value, Unit::FlopPerSecond);
        let ratio = single.map_or_else(String::new, |single| format!(", {} as fast as f32", times(half / single)));
        let found = format!("{what} runs at {}{ratio}", rate(*half));
        let (units, device) = (self.units, &self.device);
        match self.verdict {
            Verdict::Used => {
                let most = match without {
                    Some(most) => format!("by the data sheet {} is the most without them", rate(*most)),
                    None => "without them it would be twice at the most".to_owned(),
                };
                format!("{title} uses the {units} of {device}: {found}; {most}.")
            }
            Verdict::Unused => {
                let beside = beside.map_or_else(String::new, |other| format!(", which {other} uses"));
                // Of what is part of this program there is no other build to get.
                let remedy =
                    if self.built_in { "" } else { " Another version or build of it may be several times as fast." };
                format!("{title} shows no sign of the {units} of {device}{beside}: {found}.{remedy}")
            }
            Verdict::Unseen => format!("{title} on {device} shows no sign of matrix units: {found}."),
        }
    }
}

impl super::Comparison {
    /// What is said of the fast paths, a sentence an engine.
    pub fn fast_path_sentences(&self) -> Vec<String> {
        let sentence =
            |path: &FastPath| path.sentence(self.title(path.column), path.beside.map(|column| self.title(column)));
        self.fast_paths.iter().map(sentence).collect()
    }
}

/// Looks at every engine on a device that isn't emulated and isn't the processor.
pub(super) fn fast_paths(view: &View<'_>, rows: &[Row]) -> Vec<FastPath> {
    let mut all: Vec<FastPath> = (0..view.columns.len()).filter_map(|column| fast_path(view, rows, column)).collect();
    let place = |path: &FastPath| view.columns.get(path.column).map(|column| &column.place);
    let users: Vec<(Option<&Place>, usize)> =
        all.iter().filter(|path| path.verdict == Verdict::Used).map(|path| (place(path), path.column)).collect();
    for path in all.iter_mut().filter(|path| path.verdict != Verdict::Used) {
        let here = view.columns.get(path.column).map(|column| &column.place);
        path.beside = users.iter().find(|(place, _)| *place == here).map(|(_, column)| *column);
        // What another engine uses is there.
        path.verdict = if path.beside.is_some() { Verdict::Unused } else { path.verdict };
    }
    all
}

fn fast_path(view: &View<'_>, rows: &[Row], index: usize) -> Option<FastPath> {
    let column = view.columns.get(index)?;
    let Place::Accelerator(device) = &column.place else { return None };
    let without = peaks(device, &view.run.machine).and_then(|peaks| peaks.f16_ordinary);
    let evidence = proven(view, rows, index, without).or_else(|| measured(view, rows, index));
    let evidence = Evidence { without, ..evidence.or_else(|| probed(view, index))? };
    let units = matrix_units(device);
    let verdict = match without {
        Some(most) if evidence.half > most => Verdict::Used,
        None if evidence.single.is_some_and(|single| evidence.half > ORDINARY_MOST * single) => Verdict::Used,
        _ if units.are_there => Verdict::Unused,
        _ => Verdict::Unseen,
    };
    let built_in = column.engine.is_built_in();
    Some(FastPath {
        column: index,
        built_in,
        verdict,
        beside: None,
        evidence,
        units: units.name,
        device: device.clone(),
    })
}

/// The rate of a product by an engine, in FLOP/s, if it may be ranked and its entry is as is wanted.
fn rate_of(view: &View<'_>, rows: &[Row], column: usize, wanted: Gemm, fits: fn(&Entry) -> bool) -> Option<f64> {
    let row = rows.iter().find(|row| row.workload == Workload::Gemm(wanted))?;
    let cell = row.cells.get(column)?.as_ref().filter(|cell| cell.barred.is_none())?;
    let entry = view.run.entries.get(cell.entry).filter(|entry| fits(entry))?;
    let value = entry.headline()?.summary.median;
    (value.is_finite() && value > 0.0).then_some(value)
}

/// The fastest 16-bit product, if it is faster than the device is without matrix units: then nothing speaks against it, neither
/// that the device was throttled, nor how the matrices lay.
fn proven(view: &View<'_>, rows: &[Row], column: usize, without: Option<f64>) -> Option<Evidence> {
    let without = without?;
    let halves = rows.iter().filter_map(|row| match row.workload {
        Workload::Gemm(gemm) if matches!(gemm.dtype, Dtype::F16 | Dtype::Bf16) => Some(gemm),
        _ => None,
    });
    let rate = |gemm: Gemm| rate_of(view, rows, column, gemm, Entry::is_ranked);
    let beyond = halves.filter_map(|gemm| Some((gemm, rate(gemm).filter(|rate| *rate > without)?)));
    let (gemm, half) = beyond.max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let single = rate_of(view, rows, column, Gemm { dtype: Dtype::F32, ..gemm }, is_sure);
    Some(Evidence { half, single, what: format!("{} at {}", gemm.dtype, gemm.shape()), without: Some(without) })
}

/// The largest product that was measured in 16 bits and in f32.
fn measured(view: &View<'_>, rows: &[Row], column: usize) -> Option<Evidence> {
    let rate = |wanted: Gemm| rate_of(view, rows, column, wanted, is_sure);
    let products = rows.iter().filter_map(|row| match row.workload {
        Workload::Gemm(gemm) if gemm.layout == Layout::Ab => Some(gemm),
        _ => None,
    });
    let halves = products.filter(|gemm| matches!(gemm.dtype, Dtype::F16 | Dtype::Bf16) && gemm.flops() >= FLOPS_LEAST);
    let both = halves.filter_map(|gemm| Some((gemm, rate(gemm)?, rate(Gemm { dtype: Dtype::F32, ..gemm })?)));
    let order = |a: &Gemm, b: &Gemm| {
        a.flops().total_cmp(&b.flops()).then((a.dtype == Dtype::F16).cmp(&(b.dtype == Dtype::F16)))
    };
    let (gemm, half, single) = both.max_by(|(a, ..), (b, ..)| order(a, b))?;
    Some(Evidence { half, single: Some(single), what: format!("{} at {}", gemm.dtype, gemm.shape()), without: None })
}

/// What the engine found when it looked by itself.
fn probed(view: &View<'_>, column: usize) -> Option<Evidence> {
    let found = |entry: &Entry| {
        let rate =
            |name: &str| entry.settings.get(name)?.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
        let [half, single] = PROBED.map(rate);
        let (half, single) = (half? * 1e12, single? * 1e12);
        let n = entry.settings.get("probe-n").and_then(|n| n.parse::<u32>().ok());
        let what = n.map_or_else(|| "a 16-bit product".to_owned(), |n| format!("a 16-bit product of n = {n}"));
        Some(Evidence { half, single: Some(single), what, without: None })
    };
    view.run.entries.iter().filter(|entry| view.column_of(entry) == Some(column)).find_map(found)
}

/// Nothing slowed it down, and it is believed.
fn is_sure(entry: &Entry) -> bool {
    entry.is_ranked() && !entry.is_marked(MarkKind::Throttled) && !entry.is_marked(MarkKind::Uncertain)
}
