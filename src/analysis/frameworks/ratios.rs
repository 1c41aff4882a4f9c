//! GEMM rates of two engines beside each other, at the largest size that both have.

use super::{Figure, Row, View};
use crate::workload::{Dtype, Gemm, Layout, Workload};

/// The baseline engine against another on the same device.
#[derive(Clone, Debug, PartialEq)]
pub struct Versus {
    /// The column of the baseline.
    pub baseline: usize,
    /// The column of the other.
    pub other: usize,
    /// One for each element type and layout that both have.
    pub ratios: Vec<Ratio>,
}

/// Two rates of the same product.
#[derive(Clone, Debug, PartialEq)]
pub struct Ratio {
    /// The product.
    pub gemm: Gemm,
    /// The baseline's rate.
    pub baseline: Figure,
    /// The other's.
    pub other: Figure,
    /// The baseline's ÷ the other's.
    pub ratio: f64,
    /// The difference is no more than chance.
    pub same: bool,
}

impl Ratio {
    /// "3.82×", or "0.97× (same)".
    pub fn text(&self) -> String {
        let same = if self.same { " (same)" } else { "" };
        format!("{}{same}", times(self.ratio))
    }
}

/// A ratio as "3.82×", "12.4×" or "180×"; as a power of ten where it would be long.
pub fn times(ratio: f64) -> String {
    match ratio {
        // No two machines are so far apart; files may be.
        r if r >= 99_999.5 => format!("{r:.1e}×"),
        r if r >= 99.5 => format!("{r:.0}×"),
        r if r >= 9.95 => format!("{r:.1}×"),
        r if r >= 0.0995 => format!("{r:.2}×"),
        r => format!("{r:.3}×"),
    }
}

/// Each device's baseline against every other engine there.
pub(super) fn versus(view: &View<'_>, rows: &[Row]) -> Vec<Versus> {
    let pairs = view.columns.iter().enumerate().filter_map(|(other, column)| {
        let baseline = view.baseline(&column.place)?;
        (baseline != other).then_some((baseline, other))
    });
    let table = |(baseline, other)| Versus { baseline, other, ratios: ratios(rows, baseline, other) };
    pairs.map(table).filter(|versus| !versus.ratios.is_empty()).collect()
}

fn ratios(rows: &[Row], baseline: usize, other: usize) -> Vec<Ratio> {
    let products = rows.iter().filter_map(|row| match &row.workload {
        Workload::Gemm(gemm) => ratio(row, *gemm, baseline, other),
        _ => None,
    });
    let all: Vec<Ratio> = products.collect();
    let kinds = Dtype::ALL.into_iter().flat_map(|dtype| [Layout::Ab, Layout::Abt].map(|layout| (dtype, layout)));
    let largest = |(dtype, layout): (Dtype, Layout)| {
        let of = all.iter().filter(|ratio| ratio.gemm.dtype == dtype && ratio.gemm.layout == layout);
        of.max_by(|a, b| a.gemm.flops().total_cmp(&b.gemm.flops())).cloned()
    };
    kinds.filter_map(largest).collect()
}

fn ratio(row: &Row, gemm: Gemm, baseline: usize, other: usize) -> Option<Ratio> {
    let at = |column: usize| row.cells.get(column)?.as_ref().filter(|cell| cell.barred.is_none())?.figure;
    let (baseline, other) = (at(baseline)?, at(other)?);
    let ratio = baseline.value / other.value;
    ratio.is_finite().then(|| Ratio { gemm, baseline, other, ratio, same: baseline.ties(&other) })
}
