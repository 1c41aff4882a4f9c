//! What does this mean? One line a metric, that opens.

use std::collections::BTreeSet;

use eframe::egui::{Button, Label, Role, Ui, WidgetInfo};

use crate::{
    analysis::explain::Meaning,
    ui::theme::{self, Tokens, space},
};

/// Draws the metrics side by side, and under them what the open ones mean.
pub(super) fn ui(ui: &mut Ui, open: &mut BTreeSet<usize>) {
    let tokens = Tokens::of(ui);
    ui.spacing_mut().item_spacing.y = space::XS;
    ui.label(theme::section("What does this mean?"));
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = eframe::egui::Vec2::splat(space::XS);
        for (place, meaning) in Meaning::ALL.into_iter().enumerate() {
            let on = open.contains(&place);
            let response = ui.add(Button::selectable(on, theme::label(meaning.title())));
            let name = format!("What does {} mean?", meaning.title());
            response.widget_info(|| WidgetInfo::selected(Role::Button, true, on, &name));
            if response.clicked() && !open.remove(&place) {
                open.insert(place);
            }
        }
    });
    for (place, meaning) in Meaning::ALL.into_iter().enumerate() {
        if open.contains(&place) {
            ui.add_space(space::XS);
            ui.label(theme::medium(meaning.title()).color(tokens.text));
            ui.add(Label::new(theme::label(meaning.text()).color(tokens.dim)).wrap().selectable(true));
        }
    }
}
