//! Engines beside each other as bars: one group a task, each with a scale of its own.

use eframe::egui::{Align, Label, Layout, Role, Sense, Ui, Vec2, WidgetInfo};

use super::{
    legend::engine_ui,
    theme::{self, Tokens, space},
    widgets::card,
};
use crate::{
    analysis::{
        Comparison,
        frameworks::{Figure, ModelColumn, ModelGroup},
    },
    engine::EngineId,
    workload::{Workload, WorkloadKind},
};

/// The height of a bar with its words.
const ROW: f32 = 17.0;
/// Room for an engine's name, and for a value with its unit.
const NAME: f32 = 70.0;
const VALUE: f32 = 92.0;
/// A group is at least so wide.
const GROUP: f32 = 250.0;

/// One task and how fast each engine does it.
pub(super) struct Group {
    title: String,
    bars: Vec<Bar>,
}

/// One engine.
struct Bar {
    engine: EngineId,
    /// What tells it from another of the same engine.
    detail: String,
    figure: Figure,
    best: bool,
    barred: Option<String>,
}

/// Bandwidth of each operation, where several engines have it.
pub(super) fn bandwidth(comparison: &Comparison) -> Vec<Group> {
    let rows = comparison.rows.iter().filter(|row| row.workload.kind() == WorkloadKind::Bandwidth);
    let group = |row: &crate::analysis::frameworks::Row| {
        let cells = row.cells.iter().enumerate().filter_map(|(column, cell)| Some((column, cell.as_ref()?)));
        let bar = |(column, cell): (usize, &crate::analysis::frameworks::Cell)| {
            Some(Bar {
                engine: comparison.columns.get(column)?.engine,
                detail: comparison.columns.get(column)?.place.label(),
                figure: cell.figure?,
                best: cell.best,
                barred: cell.barred.clone(),
            })
        };
        let op = match &row.workload {
            Workload::Bandwidth(bandwidth) => bandwidth.op.to_string(),
            other => other.title(),
        };
        Group { title: format!("{op} · {}", row.workload.parameters()), bars: cells.filter_map(bar).collect() }
    };
    shared(rows.map(group).collect())
}

/// Tokens a second of each task, model by model of as many bits.
pub(super) fn tokens(comparison: &Comparison) -> Vec<Group> {
    let tasks = [ModelColumn::Prefill, ModelColumn::Decode, ModelColumn::Training];
    let groups = comparison.models.iter().flat_map(|group| tasks.map(|task| model_group(comparison, group, task)));
    shared(groups.flatten().collect())
}

fn model_group(comparison: &Comparison, group: &ModelGroup, task: ModelColumn) -> Option<Group> {
    let title = match task {
        ModelColumn::Prefill => group.prefill.as_ref(),
        ModelColumn::Decode => group.decode.as_ref(),
        _ => group.training.as_ref(),
    }?;
    let bar = |row: &crate::analysis::frameworks::ModelRow| {
        let slot = row.slot(task);
        Some(Bar {
            engine: comparison.columns.get(row.column)?.engine,
            detail: row.model_label(),
            figure: slot.figure?,
            best: slot.best,
            barred: row.barred.clone(),
        })
    };
    let several = comparison.columns.iter().any(|column| column.place != group.place);
    let place = if several { format!(" · {}", group.place.label()) } else { String::new() };
    let title = format!("{title} · {} bits{place}", group.bits);
    Some(Group { title, bars: group.rows.iter().filter_map(bar).collect() })
}

/// All groups, if at least one has something to compare.
fn shared(groups: Vec<Group>) -> Vec<Group> {
    let several = groups.iter().any(|group| group.bars.len() > 1);
    groups.into_iter().filter(|group| several && !group.bars.is_empty()).collect()
}

/// Draws the groups side by side.
pub(super) fn bars_card(ui: &mut Ui, title: &str, groups: &[Group]) {
    card(ui, |ui| {
        ui.label(theme::section(title));
        let columns = ((ui.available_width() / GROUP) as usize).clamp(1, 4).min(groups.len().max(1));
        for row in groups.chunks(columns) {
            ui.columns(columns, |parts| {
                for (part, group) in parts.iter_mut().zip(row) {
                    group_ui(part, group);
                }
            });
        }
    });
}

fn group_ui(ui: &mut Ui, group: &Group) {
    let tokens = Tokens::of(ui);
    ui.spacing_mut().item_spacing = Vec2::new(space::XS, 2.0);
    ui.spacing_mut().interact_size.y = ROW;
    ui.add(Label::new(theme::label(&group.title).color(tokens.dim)).truncate());
    let most = group.bars.iter().map(|bar| bar.figure.value).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    for bar in &group.bars {
        ui.horizontal(|ui| bar_ui(ui, group, bar, (bar.figure.value / most) as f32));
    }
}

fn bar_ui(ui: &mut Ui, group: &Group, bar: &Bar, share: f32) {
    let tokens = Tokens::of(ui);
    ui.allocate_ui_with_layout(Vec2::new(NAME, ROW), Layout::left_to_right(Align::Center), |ui| {
        ui.set_width(NAME);
        engine_ui(ui, bar.engine);
    });
    let width = (ui.available_width() - VALUE - space::S).max(16.0);
    let (rect, response) = ui.allocate_exact_size(Vec2::new(width, ROW), Sense::hover());
    let mut filled = rect.shrink2(Vec2::new(0.0, 4.0));
    filled.set_width((rect.width() * share.clamp(0.0, 1.0)).max(1.0));
    let colour = tokens.engine(bar.engine);
    // What isn't compared is drawn hollow.
    if bar.barred.is_some() {
        ui.painter().rect_stroke(filled, 2, (1.0, colour), eframe::egui::StrokeKind::Inside);
    } else {
        ui.painter().rect_filled(filled, 2, colour);
    }
    let text = bar.figure.text();
    let best = if bar.best { ", best" } else { "" };
    let words = format!("{}: {} {text}{best}", group.title, bar.engine.title());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &words));
    let barred = bar.barred.as_ref().map_or_else(String::new, |reason| format!("\nNot compared, {reason}"));
    response.on_hover_text(format!("{} · {}\n{text}{best}{barred}", bar.engine.title(), bar.detail));
    let text_colour = if bar.barred.is_some() { tokens.faint } else { tokens.text };
    ui.label(theme::label(text).color(text_colour));
    if bar.best {
        ui.label(theme::label("best").color(tokens.good));
    }
}
