//! What was measured before? Saved runs to search, sort, pick, name and compare, and one metric over time.

mod details;
mod filters;
mod keys;
mod table;
mod trend;

use eframe::egui::{Button, Frame, Margin, RichText, Sides, Ui, Vec2};
use jiff::{Timestamp, tz::TimeZone};

pub(in crate::ui) use self::details::Words;
use crate::{
    record::Listed,
    ui::{
        action::Action,
        listing::RunsAction,
        state::State,
        theme::{self, Tokens, space},
        widgets::{card, empty, primary_button},
    },
    units::number,
};

/// A moment for people, in the local time zone.
pub(super) fn when(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%-d %b %Y %H:%M").to_string()
}

/// Draws the view.
pub(in crate::ui) fn ui(ui: &mut Ui, state: &State, words: &mut Words, actions: &mut Vec<Action>) {
    heading_ui(ui, state, actions);
    undo_ui(ui, state, actions);
    ui.add_space(space::S);
    let listed = match state.history.as_deref() {
        None if state.runs.left > 0 => {
            return empty(ui, &format!("Reading {} saved runs…", count(state.runs.left)), |_| {});
        }
        None => return empty(ui, "Reading the saved runs…", |_| {}),
        Some([]) if state.running() => {
            return empty(ui, "The first run goes on; it stands here when it has ended", |_| {});
        }
        Some([]) => {
            return empty(ui, "Nothing was measured yet; each run is kept here", |ui| {
                primary_button(ui, state, &Action::RunSuite, actions);
            });
        }
        Some(listed) => listed,
    };
    filters::ui(ui, state, actions);
    ui.add_space(space::S);
    if state.runs.trends {
        card(ui, |ui| trend::ui(ui, state, actions));
        ui.add_space(space::M);
        return;
    }
    keys::take(ui, state, listed, actions);
    let below = details::height(state);
    card(ui, |ui| {
        let height = ui.available_height() - space::L - space::XL - below;
        table::ui(ui, state, listed, height, actions);
    });
    details::ui(ui, state, listed, words, actions);
    ui.add_space(space::M);
}

/// The name of the view, how many runs there are, and whether they or their figures over time are shown.
fn heading_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let all = state.history.as_ref().map_or(0, Vec::len);
    Sides::new().height(theme::CONTROL).shrink_left().truncate().show(
        ui,
        |ui| {
            ui.label(RichText::new("History").heading());
            let runs = if all == 1 { "1 saved run".to_owned() } else { format!("{} saved runs", count(all)) };
            let runs = match state.runs.left {
                0 => runs,
                left => format!("{runs}, reading {} more…", count(left)),
            };
            if all > 0 {
                ui.label(RichText::new(runs).color(tokens.dim));
            }
        },
        |ui| {
            if all == 0 {
                return;
            }
            // From right to left.
            for (on, words, hint) in [(true, "Over time", "One metric in all runs"), (false, "List", "The runs")] {
                let chosen = state.runs.trends == on;
                let button = Button::selectable(chosen, words).min_size(Vec2::new(0.0, theme::CONTROL));
                ui.visuals_mut().selection.bg_fill = tokens.hover;
                ui.visuals_mut().selection.stroke.color = tokens.text;
                if ui.add(button).on_hover_text(hint).clicked() && !chosen {
                    actions.push(Action::Runs(RunsAction::Trend(on)));
                }
            }
        },
    );
}

/// What was deleted last, and how to get it back.
fn undo_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let Some(undo) = &state.runs.undo else { return };
    let tokens = Tokens::of(ui);
    let sentence = match undo.runs {
        1 => "1 run was deleted; the trash keeps it for 30 days".to_owned(),
        runs => format!("{} runs were deleted; the trash keeps them for 30 days", count(runs)),
    };
    ui.add_space(space::S);
    let frame = Frame::new().fill(tokens.panel).stroke((1.0, tokens.line)).corner_radius(8);
    frame.inner_margin(Margin::symmetric(12, 6)).show(ui, |ui| {
        Sides::new().shrink_left().truncate().show(
            ui,
            |ui| ui.label(RichText::new(sentence).color(tokens.text)),
            |ui| {
                if ui.button("Dismiss").on_hover_text("Close this message").clicked() {
                    actions.push(Action::Runs(RunsAction::CloseUndo));
                }
                if ui.button("Undo").on_hover_text("Put back what was deleted").clicked() {
                    actions.push(Action::Runs(RunsAction::Undo));
                }
            },
        );
    });
}

/// A number of runs, with its thousands apart.
fn count(runs: usize) -> String {
    if runs < 10_000 { runs.to_string() } else { number(runs as f64) }
}

/// What a file is called that can't be read.
fn file_name(listed: &Listed) -> String {
    listed.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
