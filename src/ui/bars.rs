//! Engines beside each other as bars: one group a task, each with a scale of its own.

use eframe::egui::{Align, Label, Layout, Role, Sense, Ui, Vec2, WidgetInfo};

use super::{
    action::Action,
    legend::marker_ui,
    picturing::with_menu,
    theme::{self, Tokens, space},
    widgets::card,
};
use crate::chart::{Chart, Group, ValueBar};

/// The height of a bar with its words.
const ROW: f32 = 17.0;
/// Room for an engine's name, and for a value with its unit.
const NAME: f32 = 70.0;
const VALUE: f32 = 92.0;
/// A group is at least so wide.
const GROUP: f32 = 250.0;

/// Draws the groups side by side.
pub(super) fn bars_card(ui: &mut Ui, title: &str, groups: &[(Chart, Group)], actions: &mut Vec<Action>) {
    card(ui, |ui| {
        ui.label(theme::section(title));
        let columns = ((ui.available_width() / GROUP) as usize).clamp(1, 4).min(groups.len().max(1));
        for row in groups.chunks(columns) {
            ui.columns(columns, |parts| {
                for (part, (chart, group)) in parts.iter_mut().zip(row) {
                    with_menu(part, *chart, actions, |ui| group_ui(ui, group));
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
    let most = group.bars.iter().map(|bar| bar.value).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    for bar in &group.bars {
        ui.horizontal(|ui| bar_ui(ui, group, bar, (bar.value / most) as f32));
    }
}

fn bar_ui(ui: &mut Ui, group: &Group, bar: &ValueBar, share: f32) {
    let tokens = Tokens::of(ui);
    ui.allocate_ui_with_layout(Vec2::new(NAME, ROW), Layout::left_to_right(Align::Center), |ui| {
        ui.set_width(NAME);
        let colour = tokens.tint(bar.tint);
        if let Some(marker) = bar.marker {
            let (rect, _) = ui.allocate_exact_size(Vec2::splat(10.0), Sense::hover());
            marker_ui(ui, rect.center(), marker, colour);
        }
        ui.label(theme::label(&bar.label).color(colour));
    });
    let width = (ui.available_width() - VALUE - space::S).max(16.0);
    let (rect, response) = ui.allocate_exact_size(Vec2::new(width, ROW), Sense::hover());
    let mut filled = rect.shrink2(Vec2::new(0.0, 4.0));
    filled.set_width((rect.width() * share.clamp(0.0, 1.0)).max(1.0));
    let colour = tokens.tint(bar.tint);
    // What isn't compared is drawn hollow.
    if bar.barred.is_some() {
        ui.painter().rect_stroke(filled, 2, (1.0, colour), eframe::egui::StrokeKind::Inside);
    } else {
        ui.painter().rect_filled(filled, 2, colour);
    }
    let text = &bar.text;
    let best = if bar.best { ", best" } else { "" };
    let words = format!("{}: {} {text}{best}", group.title, bar.label);
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &words));
    let barred = bar.barred.as_ref().map_or_else(String::new, |reason| format!("\nNot compared, {reason}"));
    response.on_hover_text(format!("{} · {}\n{text}{best}{barred}", bar.label, bar.detail));
    let text_colour = if bar.barred.is_some() { tokens.faint } else { tokens.text };
    ui.label(theme::label(text).color(text_colour));
    if bar.best {
        ui.label(theme::label("best").color(tokens.good));
    }
}
