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
}

/// The curves of a run over sizes.
///
/// Only what can be compared is on one chart: square products in one layout, attention with
/// one mask; of several paths of an engine the fastest. What is implausible would flatten the rest.
pub fn curves(run: &Run, over: Over) -> Vec<Curve> {
    let chosen = run.entries.iter().filter_map(|entry| variant(&entry.workload, over)).min();
    let mut curves: Vec<Curve> = Vec::new();
    for entry in run.entries.iter().filter(|entry| !entry.is_implausible()) {
        let fits = variant(&entry.workload, over).is_some_and(|variant| Some(variant) == chosen);
        let (Some(series), Some(point)) = (Series::of(entry), point(entry).filter(|_| fits)) else { continue };
        match curves.iter_mut().find(|curve| curve.series == series) {
            Some(curve) => add(&mut curve.points, point),
            None => curves.push(Curve { series, points: vec![point] }),
        }
    }
    for curve in &mut curves {
        curve.points.sort_by(|a, b| a[0].total_cmp(&b[0]));
    }
    curves.sort_by_key(|curve| (curve.series.engine, curve.series.what));
    curves
}

/// Keeps the higher of two values at one size.
fn add(points: &mut Vec<Point>, [x, y]: Point) {
    match points.iter_mut().find(|known| (known[0] - x).abs() < 1e-9) {
        Some(known) => known[1] = known[1].max(y),
        None => points.push([x, y]),
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

fn point(entry: &Entry) -> Option<Point> {
    let size = match &entry.workload {
        Workload::Gemm(gemm) => gemm.n,
        Workload::Attention(attention) => attention.sequence,
        _ => return None,
    };
    let value = entry.headline()?.summary.median;
    value.is_finite().then(|| [f64::from(size).log2(), value])
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
                Curve { series: of(EngineId::Pytorch), points: vec![[10.0, 4.5], [11.0, 5.0]] },
                Curve { series: of(EngineId::Mlx), points: vec![[10.0, 3.0]] },
            ]
        );
        assert!(curves(&run, Over::Sequence).is_empty() && curves(&run, Over::Singles).is_empty());
    }
}
