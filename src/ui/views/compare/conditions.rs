//! The strip of what differs beside the figures.

use eframe::egui::{Button, Grid, Label, Role, ScrollArea, Ui, Vec2, WidgetInfo};

use crate::{
    analysis::comparison::{Difference, Kind},
    export::{NONE, plain},
    ui::{
        comparing::Shown,
        rows::NONE as ABSENT,
        theme::{self, Tokens, space},
        widgets::card,
    },
};

/// What the strip names; the machine's own come first, and the grid has the rest.
const STRIP_MAX: usize = 12;
/// Longer values are cut in the strip.
const VALUE_CHARS: usize = 22;
/// And longer names.
const NAME_CHARS: usize = 40;

/// Draws it; `open` shows every value of every run.
pub(super) fn ui(ui: &mut Ui, shown: &Shown, open: &mut bool) {
    let (tokens, compared) = (Tokens::of(ui), &shown.compared);
    if compared.kind == Kind::Engines {
        return;
    }
    if compared.conditions.is_empty() {
        let words = "No condition that is known differs: machine, system, power, load, versions, settings";
        ui.add(Label::new(theme::label(words).color(tokens.dim)).truncate());
        return;
    }
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = Vec2::new(space::S, 2.0);
        ui.spacing_mut().interact_size.y = 18.0;
        let count = compared.conditions.len();
        let words = if count == 1 { "1 condition differs".to_owned() } else { format!("{count} conditions differ") };
        let button = Button::selectable(*open, theme::label(&words).color(tokens.warn)).min_size(Vec2::new(0.0, 20.0));
        let hint = if *open { "Hide the values" } else { "Show every value" };
        let response = ui.add(button).on_hover_text(hint);
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, *open, &words));
        if response.clicked() {
            *open = !*open;
        }
        for difference in compared.conditions.iter().take(STRIP_MAX).filter(|_| !*open) {
            let text = in_short(difference);
            ui.label(theme::label(text).color(tokens.dim)).on_hover_text(in_full(shown, difference));
        }
        if let Some(more) = count.checked_sub(STRIP_MAX).filter(|more| *more > 0 && !*open) {
            ui.label(theme::label(format!("and {more} more")).color(tokens.dim));
        }
    });
    if *open {
        card(ui, |ui| grid_ui(ui, shown));
    }
}

/// "Load average 0.43 → 1.37" for two runs, the name alone for more.
fn in_short(difference: &Difference) -> String {
    let value = |text: &Option<String>| cut(text.as_deref().unwrap_or(ABSENT), VALUE_CHARS);
    let name = cut(&difference.name, NAME_CHARS);
    match difference.values.as_slice() {
        [before, now] => format!("{name} {} → {}", value(before), value(now)),
        _ => name,
    }
}

fn cut(text: &str, most: usize) -> String {
    let text = plain(text);
    if text.chars().count() <= most { text } else { text.chars().take(most - 1).chain(['…']).collect() }
}

fn in_full(shown: &Shown, difference: &Difference) -> String {
    let value = |(side, value): (usize, &Option<String>)| {
        format!("{}: {}", shown.compared.label(side), value.as_deref().map_or_else(|| NONE.to_owned(), plain))
    };
    let values: Vec<String> = difference.values.iter().enumerate().map(value).collect();
    format!("{}\n{}", plain(&difference.name), values.join("\n"))
}

fn grid_ui(ui: &mut Ui, shown: &Shown) {
    let tokens = Tokens::of(ui);
    ScrollArea::both().id_salt("conditions").max_height(190.0).auto_shrink([false, true]).show(ui, |ui| {
        Grid::new("conditions").spacing(Vec2::new(space::L, space::XS)).show(ui, |ui| {
            ui.label("");
            for side in 0..shown.compared.sides.len() {
                let label = shown.compared.label(side);
                ui.label(theme::label(label).color(super::side_colour(tokens, shown, side)));
            }
            ui.end_row();
            for difference in &shown.compared.conditions {
                ui.label(theme::label(plain(&difference.name)).color(tokens.dim));
                for value in &difference.values {
                    let text = value.as_deref().map_or_else(|| ABSENT.to_owned(), plain);
                    ui.add(Label::new(theme::label(text).color(tokens.text)).selectable(true));
                }
                ui.end_row();
            }
        });
    });
}
