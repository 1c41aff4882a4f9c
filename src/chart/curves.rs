//! Rates over sizes, for engines beside each other: one curve an engine and element type.

use super::{Point, Series};
use crate::{
    record::{Entry, Run},
    workload::{Dtype, Gemm, Layout, Workload},
};

/// What a curve runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Over {
    /// The sides of square matrices in f32.
    Singles,
    /// The same of shorter types, which matrix units multiply many times as fast.
    Halves,
    /// The positions of a sequence.
    Sequence,
}

/// One engine's rates over sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Whose, and of what.
    pub series: Series,
    /// (log₂ of the size, the median in the unit's base), by size.
    pub points: Vec<Point>,
    /// (log₂ of the size, lower end, upper end) of the 95 % intervals, where there are any.
    pub ranges: Vec<[f64; 3]>,
}

/// One size: (log₂ of it, the median), and the interval that holds the median.
type Sized = (Point, Option<[f64; 3]>);

/// The curves of a run over sizes.
///
/// Only what can be compared is on one chart: square products in one layout, attention with
/// one mask; of several paths of an engine the fastest. What is implausible would flatten the rest.
pub fn curves(run: &Run, over: Over) -> Vec<Curve> {
    let chosen = run.entries.iter().filter_map(|entry| variant(&entry.workload, over)).min();
    let mut found: Vec<(Series, Vec<Sized>)> = Vec::new();
    for entry in run.entries.iter().filter(|entry| !entry.is_implausible()) {
        let fits = variant(&entry.workload, over).is_some_and(|variant| Some(variant) == chosen);
        let (Some(series), Some(point)) = (Series::of(entry), point(entry).filter(|_| fits)) else { continue };
        match found.iter_mut().find(|(known, _)| *known == series) {
            Some((_, points)) => add(points, point),
            None => found.push((series, vec![point])),
        }
    }
    found.sort_by_key(|(series, _)| (series.engine, series.what));
    found.into_iter().map(curve).collect()
}

fn curve((series, mut sizes): (Series, Vec<Sized>)) -> Curve {
    sizes.sort_by(|(a, _), (b, _)| a[0].total_cmp(&b[0]));
    let points = sizes.iter().map(|(point, _)| *point).collect();
    Curve { series, points, ranges: sizes.into_iter().filter_map(|(_, range)| range).collect() }
}

/// Keeps the higher of two values at one size.
fn add(points: &mut Vec<Sized>, point: Sized) {
    match points.iter_mut().find(|(known, _)| (known[0] - point.0[0]).abs() < 1e-9) {
        Some(known) if known.0[1] < point.0[1] => *known = point,
        Some(_) => {}
        None => points.push(point),
    }
}

/// What must be equal on one chart, the usual first: A·B before A·Bᵀ, causal before not.
fn variant(workload: &Workload, over: Over) -> Option<u8> {
    match (workload, over) {
        (Workload::Gemm(gemm), Over::Singles | Over::Halves) => {
            let fits = is_square(gemm) && (gemm.dtype == Dtype::F32) == (over == Over::Singles);
            fits.then_some(u8::from(gemm.layout == Layout::Abt))
        }
        (Workload::Attention(attention), Over::Sequence) => Some(u8::from(!attention.causal)),
        _ => None,
    }
}

const fn is_square(gemm: &Gemm) -> bool {
    gemm.m == gemm.n && gemm.n == gemm.k
}

fn point(entry: &Entry) -> Option<Sized> {
    let size = match &entry.workload {
        Workload::Gemm(gemm) => gemm.n,
        Workload::Attention(attention) => attention.sequence,
        _ => return None,
    };
    let summary = &entry.headline()?.summary;
    let (x, value) = (f64::from(size).log2(), summary.median);
    let ends = summary.interval.map(|interval| [x, interval.low, interval.high]);
    value.is_finite().then(|| ([x, value], ends.filter(|ends| ends.iter().all(|end| end.is_finite()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chart::What,
        engine::EngineId,
        machine::{Conditions, Machine},
        measure::Measurement,
        record::{AppInfo, FORMAT_VERSION, Outcome, RunState, SuiteInfo},
    };

    #[test]
    fn an_engine_s_sizes_make_one_curve_and_other_layouts_none() {
        let done = |engine, n, layout, value| {
            let workload = Workload::Gemm(Gemm { layout, ..Gemm::square(n, Dtype::F16) });
            let mut entry = Entry::pending(workload, engine, "gpu");
            entry.outcome = Outcome::Done;
            entry.measurements = vec![Measurement::single("rate", entry.workload.unit(), value, 1.0).unwrap()];
            entry
        };
        let run = Run {
            format_version: FORMAT_VERSION,
            id: "a".into(),
            started_at: "2026-11-12T14:02:00Z".parse().unwrap(),
            ended_at: None,
            state: RunState::Finished,
            app: AppInfo::current(),
            suite: SuiteInfo { name: "quick".into(), budget_s: 45.0 },
            machine: Machine::default(),
            conditions: Conditions::default(),
            devices: Vec::new(),
            notes: Vec::new(),
            about: None,
            entries: vec![
                done(EngineId::Mlx, 1024, Layout::Ab, 3.0),
                done(EngineId::Pytorch, 2048, Layout::Ab, 5.0),
                done(EngineId::Pytorch, 1024, Layout::Ab, 4.0),
                done(EngineId::Pytorch, 1024, Layout::Ab, 4.5),
                done(EngineId::Pytorch, 1024, Layout::Abt, 9.0),
            ],
        };
        let found = curves(&run, Over::Halves);
        let of = |engine| Series { what: What::Gemm(Dtype::F16), engine };
        assert_eq!(
            found,
            [
                Curve { series: of(EngineId::Pytorch), points: vec![[10.0, 4.5], [11.0, 5.0]], ranges: vec![] },
                Curve { series: of(EngineId::Mlx), points: vec![[10.0, 3.0]], ranges: vec![] },
            ]
        );
        assert!(curves(&run, Over::Sequence).is_empty() && curves(&run, Over::Singles).is_empty());
    }
}
