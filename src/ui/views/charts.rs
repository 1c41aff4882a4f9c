//! The charts of a run: rates over time while it goes on; once several engines have ended, engines beside each other.

use eframe::egui::Ui;

use super::run::NARROW;
use crate::{
    analysis::frameworks::ModelColumn,
    chart::{Chart as Picture, Curve, Group, Over, What, are_several, bandwidth, curves, tokens},
    ui::{action::Action, bars::bars_card, picturing::with_menu, plot, session::Session},
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

impl Chart {
    /// Its name as a picture.
    const fn picture(&self) -> Option<Picture> {
        Some(match self {
            Self::Rate(_, Unit::FlopPerSecond, _) => Picture::Throughput,
            Self::Rate(_, Unit::BytePerSecond, _) => Picture::BandwidthTime,
            Self::Rate(_, Unit::TokenPerSecond, _) => Picture::Tokens,
            Self::Rate(..) => return None,
            Self::Curves(_, Over::Singles, _) => Picture::GemmSingles,
            Self::Curves(_, Over::Halves, _) => Picture::GemmHalves,
            Self::Curves(_, Over::Sequence, _) => Picture::Attention,
            Self::Sweep => Picture::BandwidthSweep,
            Self::Loss => Picture::Loss,
        })
    }
}

/// What a run has charts for.
struct Charts {
    /// Side by side.
    row: Vec<Chart>,
    /// Each as wide as there is room.
    bars: Vec<(&'static str, Vec<(Picture, Group)>)>,
}

impl Charts {
    /// All rates before there is a run.
    fn of(session: Option<&Session>) -> Self {
        let Some(session) = session else { return Self { row: vec![THROUGHPUT, BANDWIDTH, TOKENS], bars: Vec::new() } };
        let ended = session.live.is_none();
        let curves = if ended { compared_curves(session) } else { Vec::new() };
        let bandwidth = if ended { bandwidth_bars(session) } else { Vec::new() };
        let tokens = if ended { tokens_bars(session) } else { Vec::new() };
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

/// Bars where several engines have one.
fn shared(groups: Vec<(Picture, Group)>) -> Vec<(Picture, Group)> {
    let several = groups.iter().any(|(_, group)| group.bars.len() > 1);
    if several { groups } else { Vec::new() }
}

fn bandwidth_bars(session: &Session) -> Vec<(Picture, Group)> {
    shared(bandwidth(&session.comparison).into_iter().map(|group| (Picture::Bandwidth, group)).collect())
}

/// The tasks of each kind of model under each other.
fn tokens_bars(session: &Session) -> Vec<(Picture, Group)> {
    let tasks = [
        (Picture::Prefill, ModelColumn::Prefill),
        (Picture::Decode, ModelColumn::Decode),
        (Picture::Training, ModelColumn::Training),
    ];
    let of = |(picture, task)| tokens(&session.comparison, task).into_iter().map(move |group| (picture, group));
    shared(tasks.into_iter().flat_map(of).collect())
}

fn has_rate(session: &Session, chart: &Chart) -> bool {
    let Chart::Rate(_, unit, _) = chart else { return false };
    // Of published figures nobody knows when they were taken.
    if session.run.is_published() {
        return session.timeline.segments(*unit).next().is_some();
    }
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
    let several = |found: &[Curve]| are_several(&found.iter().map(|curve| curve.series).collect::<Vec<_>>());
    let chart = |(title, over)| {
        let found = curves(&session.run, over);
        several(&found).then_some(Chart::Curves(title, over, found))
    };
    all.into_iter().filter_map(chart).collect()
}

/// The charts side by side, or under each other in a narrow window.
pub(super) fn ui(ui: &mut Ui, session: Option<&Session>, actions: &mut Vec<Action>) {
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
                match chart.picture().filter(|_| session.is_some()) {
                    Some(picture) => with_menu(part, picture, actions, |ui| chart_ui(ui, chart, session)),
                    None => chart_ui(part, chart, session),
                }
            }
        });
    }
    for (title, groups) in &charts.bars {
        bars_card(ui, title, groups, actions);
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
