//! Each entry: what bounds it, how near it comes, and the sentences.

use eframe::egui::{Label, RichText, Sides, Ui};

use crate::{
    analysis::explain::{Explanation, verdict},
    record::Entry,
    ui::{
        action::{Action, View},
        lazy::Heights,
        legend::engine_ui,
        rows::{NONE, Tone},
        session::Session,
        theme::{self, Tokens, space},
        widgets::{Named, bar},
    },
    units::{Quantity, percent},
};

/// The height of an entry that was never in sight.
const USUAL: f32 = 76.0;

/// Draws the entries in sight.
pub(super) fn ui(
    ui: &mut Ui,
    session: &Session,
    all: &[Explanation],
    heights: &mut Heights,
    actions: &mut Vec<Action>,
) {
    ui.spacing_mut().item_spacing.y = space::XS;
    ui.label(theme::section("What holds each workload back"));
    heights.show(ui, all.len(), USUAL, |ui, place| {
        let explanation = all.get(place);
        let entry = explanation.and_then(|explanation| session.run.entries.get(explanation.entry));
        if let Some((explanation, entry)) = explanation.zip(entry) {
            entry_ui(ui, explanation, entry, actions);
        }
    });
}

fn entry_ui(ui: &mut Ui, explanation: &Explanation, entry: &Entry, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    ui.spacing_mut().item_spacing.y = 2.0;
    ui.spacing_mut().interact_size.y = 20.0;
    ui.add_space(space::XS);
    ui.separator();
    Sides::new().shrink_left().truncate().show(
        ui,
        |ui| {
            engine_ui(ui, entry.engine);
            ui.label(theme::medium(one_line(&entry.workload.title())).color(tokens.text));
            ui.label(RichText::new(one_line(&entry.workload.parameters())).color(tokens.dim));
        },
        |ui| figure_ui(ui, explanation, entry, actions),
    );
    ui.add(Label::new(theme::label(&explanation.text).color(tokens.dim)).wrap().selectable(true));
    if !explanation.caution.is_empty() {
        ui.add(Label::new(theme::label(&explanation.caution).color(tokens.warn)).wrap().selectable(true));
    }
}

/// From right to left: details, the share as a bar and a number, what bounds it, the figure.
fn figure_ui(ui: &mut Ui, explanation: &Explanation, entry: &Entry, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let name = format!("Details of {} {}", entry.workload.title(), entry.workload.parameters());
    if details_ui(ui, name) {
        actions.extend([Action::Select(Some(explanation.entry)), Action::Show(View::Run)]);
    }
    if let Some(share) = explanation.share {
        let text = theme::label(format!("{} of limit", percent(share.fraction))).color(tokens.text);
        ui.label(text).on_hover_text(format!("{}\n{}", share.explanation(), verdict(&share)));
        bar(ui, 64.0, share.fraction as f32, Tone::Active);
    }
    if let Some(bound) = explanation.bound {
        ui.label(theme::label(format!("bound by {}", bound.word())).color(tokens.dim));
    }
    let figure = entry.headline().filter(|figure| figure.summary.median.is_finite() && !entry.is_implausible());
    let figure = figure.map_or_else(|| NONE.to_owned(), |figure| Quantity::from(figure).to_string());
    ui.label(RichText::new(figure).monospace().size(11.5).color(tokens.text));
}

fn details_ui(ui: &mut Ui, name: String) -> bool {
    let Named { words, name, hint } = Named { words: "Details", name, hint: "Show its samples and conditions" };
    let response = ui.add(eframe::egui::Button::new(theme::label(words))).on_hover_text(hint);
    response.widget_info(|| eframe::egui::WidgetInfo::labeled(eframe::egui::Role::Button, true, &name));
    response.clicked()
}

/// A name from a file without what would break a line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
