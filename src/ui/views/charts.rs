//! The charts of a run: rates over time while it goes on; once several engines have ended, engines beside each other.

use eframe::egui::Ui;

use super::run::NARROW;
use crate::{
    chart::{Curve, Over, What, curves},
    ui::{
        bars::{self, Group, bars_card},
        plot,
        session::Session,
    },
    units::Unit,
};

/// One chart of the row.
#[derive(Clone, PartialEq)]
enum Chart {
    Rate(&'static str, Unit, &'static str),
    Curves(&'static str, Over, Vec<Curve>),
    Sweep,
    Loss,
}

const THROUGHPUT: Chart = Chart::Rate("Throughput", Unit::FlopPerSecond, "Appears while matrices are multiplied");
const BANDWIDTH: Chart = Chart::Rate("Bandwidth", Unit::BytePerSecond, "Appears while arrays are read and written");
const TOKENS: Chart = Chart::Rate("Tokens", Unit::TokenPerSecond, "Appears while a language model runs");

/// What a run has charts for.
struct Charts {
    /// Side by side.
    row: Vec<Chart>,
    /// Each as wide as there is room.
    bars: Vec<(&'static str, Vec<Group>)>,
}

impl Charts {
    /// All rates before there is a run.
    fn of(session: Option<&Session>) -> Self {
        let Some(session) = session else { return Self { row: vec![THROUGHPUT, BANDWIDTH, TOKENS], bars: Vec::new() } };
        let ended = session.live.is_none();
        let curves = if ended { compared_curves(session) } else { Vec::new() };
        let bandwidth = if ended { bars::bandwidth(&session.comparison) } else { Vec::new() };
        let tokens = if ended { bars::tokens(&session.comparison) } else { Vec::new() };
        let replaced = [!curves.is_empty(), !bandwidth.is_empty(), !tokens.is_empty()];
        let rates = [THROUGHPUT, BANDWIDTH, TOKENS].into_iter().zip(replaced);
        let rates = rates.filter(|(chart, replaced)| !replaced && has_rate(session, chart)).map(|(chart, _)| chart);
        let sweep = (ended && session.sweep().is_some()).then_some(Chart::Sweep);
        let loss = session.loss().map(|_| Chart::Loss);
        let row = curves.into_iter().chain(rates).chain(sweep).chain(loss).collect();
        let bars = [("Bandwidth", bandwidth), ("Tokens", tokens)];
        Self { row, bars: bars.into_iter().filter(|(_, groups)| !groups.is_empty()).collect() }
    }
}

fn has_rate(session: &Session, chart: &Chart) -> bool {
    let Chart::Rate(_, unit, _) = chart else { return false };
    let shown = session.run.entries.iter().filter_map(|entry| What::of(&entry.workload));
    shown.filter(|what| !matches!(what, What::Sweep(_))).any(|what| what.unit() == *unit)
}

/// Rates over sizes, where several engines have them.
fn compared_curves(session: &Session) -> Vec<Chart> {
    let all = [
        ("GEMM f32 by size", Over::Singles),
        ("GEMM in short types by size", Over::Halves),
        ("Attention by length", Over::Sequence),
    ];
    let several = |found: &[Curve]| {
        let first = found.first().map(|curve| curve.series.engine);
        found.iter().any(|curve| Some(curve.series.engine) != first)
    };
    let chart = |(title, over)| {
        let found = curves(&session.run, over);
        several(&found).then_some(Chart::Curves(title, over, found))
    };
    all.into_iter().filter_map(chart).collect()
}

/// The charts side by side, or under each other in a narrow window.
pub(super) fn ui(ui: &mut Ui, session: Option<&Session>) {
    let width = ui.available_width();
    let charts = Charts::of(session);
    let columns = match () {
        () if width < NARROW => 1,
        // Four stand better two by two.
        () if width < 900.0 || charts.row.len() == 4 => 2,
        () => 3,
    };
    for row in charts.row.chunks(columns) {
        ui.columns(row.len(), |parts| {
            for (part, chart) in parts.iter_mut().zip(row) {
                chart_ui(part, chart, session);
            }
        });
    }
    for (title, groups) in &charts.bars {
        bars_card(ui, title, groups);
    }
}

fn chart_ui(ui: &mut Ui, chart: &Chart, session: Option<&Session>) {
    match (chart, session) {
        (Chart::Rate(title, unit, _), Some(session)) => plot::timeline_chart(ui, session, title, *unit),
        (Chart::Rate(title, _, sentence), None) => plot::empty_chart(ui, title, sentence),
        (Chart::Curves(title, over, found), _) => plot::curves_chart(ui, title, *over, found),
        (Chart::Sweep, session) => {
            if let Some(entry) = session.and_then(Session::sweep) {
                plot::sweep_chart(ui, entry);
            }
        }
        (Chart::Loss, session) => {
            if let Some((title, curve)) = session.and_then(Session::loss) {
                plot::loss_chart(ui, &title, &curve);
            }
        }
    }
}
