//! Do the run's models fit this machine?

use eframe::egui::{Align, Label, Layout, RichText, ScrollArea, Ui, Vec2};
use egui_extras::{Column, TableBuilder};

use crate::{
    analysis::explain::Fit,
    export::fit_cells,
    ui::theme::{self, Tokens, space},
};

const ROW: f32 = 28.0;
/// More rows than these scroll inside their card.
const HEIGHT: f32 = 320.0;
const HEADINGS: [&str; 9] =
    ["Framework", "Model", "Task", "Weights", "Keys, values", "Activations", "Peak", "Memory", "Tensors"];
const WIDTHS: [f32; 9] = [130.0, 190.0, 92.0, 78.0, 84.0, 84.0, 78.0, 190.0, 190.0];

/// Draws the table; it scrolls sideways where there is too little room.
pub(super) fn ui(ui: &mut Ui, fits: &[Fit]) {
    let tokens = Tokens::of(ui);
    ui.spacing_mut().item_spacing.y = space::XS;
    ui.label(theme::section("Do the models fit?"));
    let note = "Weights, keys and values, and activations are worked out from the model's shape; the peak is what the \
                framework told. Each tensor has to stay below the limit, not the model";
    ui.add(Label::new(theme::label(note).color(tokens.dim)).wrap());
    ScrollArea::horizontal().id_salt("fit").auto_shrink([false, true]).show(ui, |ui| {
        ui.spacing_mut().item_spacing = Vec2::ZERO;
        let mut table = TableBuilder::new(ui)
            .id_salt("fit-table")
            .max_scroll_height(HEIGHT)
            .auto_shrink([false, true])
            .cell_layout(Layout::left_to_right(Align::Center));
        for width in WIDTHS {
            table = table.column(Column::exact(width).clip(true));
        }
        let table = table.header(24.0, |mut header| {
            for heading in HEADINGS {
                header.col(|ui| {
                    ui.label(theme::label(heading).color(tokens.dim));
                });
            }
        });
        table.body(|body| {
            body.rows(ROW, fits.len(), |mut row| {
                let Some(fit) = fits.get(row.index()) else { return };
                row.set_overline(true);
                let verdicts = [fit.in_memory(), fit.in_tensors()];
                for (column, text) in fit_cells(fit).into_iter().enumerate() {
                    let verdict = column.checked_sub(7).and_then(|place| *verdicts.get(place)?);
                    row.col(|ui| cell_ui(ui, &text, verdict));
                }
            });
        });
    });
}

fn cell_ui(ui: &mut Ui, text: &str, verdict: Option<bool>) {
    let tokens = Tokens::of(ui);
    let colour = match verdict {
        Some(true) => tokens.good,
        Some(false) => tokens.warn,
        None => tokens.text,
    };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    ui.set_max_width(ui.available_width() - space::S);
    ui.add(Label::new(RichText::new(line).size(11.5).color(colour)).truncate()).on_hover_text(text);
}
