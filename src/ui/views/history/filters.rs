//! What is looked for among the saved runs.

use eframe::egui::{Button, ComboBox, Role, Sides, TextEdit, Ui, Vec2, WidgetInfo};

use super::count;
use crate::ui::{
    action::Action,
    listing::RunsAction,
    state::State,
    theme::{self, Tokens},
};

/// Draws the search field, the filters, and how many runs are found.
pub(super) fn ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let query = &state.runs.query;
    Sides::new().height(theme::CONTROL).shrink_left().truncate().show(
        ui,
        |ui| {
            search_ui(ui, state, actions);
            let machines: Vec<_> =
                state.runs.machines.iter().map(|machine| (machine.clone(), machine.clone())).collect();
            choose(ui, "Machine", "All machines", query.machine.as_ref(), &machines, |machine| {
                actions.push(Action::Runs(RunsAction::Machine(machine)));
            });
            let engines: Vec<_> =
                state.runs.engines.iter().map(|engine| (*engine, engine.title().to_owned())).collect();
            choose(ui, "Engine", "All engines", query.engine.as_ref(), &engines, |engine| {
                actions.push(Action::Runs(RunsAction::Engine(engine)));
            });
            let kinds: Vec<_> = state.runs.kinds.iter().map(|kind| (*kind, kind.id().to_owned())).collect();
            choose(ui, "Workload", "All workloads", query.workload.as_ref(), &kinds, |kind| {
                actions.push(Action::Runs(RunsAction::Workload(kind)));
            });
            if query.is_narrow() && ui.button("Show all").on_hover_text("Leave nothing out").clicked() {
                actions.push(Action::Runs(RunsAction::Everything));
            }
        },
        |ui| {
            if query.is_narrow() {
                let all = state.history.as_ref().map_or(0, Vec::len);
                let found = format!("{} of {}", count(state.runs.shown().len()), count(all));
                ui.label(theme::label(found).color(tokens.dim));
            }
        },
    );
}

fn search_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let mut typed = state.runs.query.search.clone();
    // Beside it are the filters and what leaves nothing out.
    let width = if ui.available_width() < 760.0 { 104.0 } else { 190.0 };
    let field = TextEdit::singleline(&mut typed).hint_text("Find runs").char_limit(400).desired_width(width);
    let field = ui.add(field.align(eframe::egui::Align2::LEFT_CENTER).min_size(Vec2::new(0.0, theme::CONTROL)));
    field.widget_info(|| WidgetInfo::labeled(Role::TextInput, true, "Find runs"));
    if state.runs.find {
        field.request_focus();
    }
    if field.changed() {
        actions.push(Action::Runs(RunsAction::Search(typed)));
    }
    field.on_hover_text("Words in a run's name, note, tags, id, date, suite, device, engines or models");
}

/// A filter: everything, or one of the options.
fn choose<T: Clone + PartialEq>(
    ui: &mut Ui,
    name: &str,
    all: &str,
    chosen: Option<&T>,
    options: &[(T, String)],
    mut choose: impl FnMut(Option<T>),
) {
    let tokens = Tokens::of(ui);
    let words = options.iter().find(|(option, _)| Some(option) == chosen).map_or(all, |(_, words)| words.as_str());
    let combo = ComboBox::from_id_salt(name).selected_text(words).truncate().width(118.0);
    let combo = combo.show_ui(ui, |ui| {
        ui.visuals_mut().selection.bg_fill = tokens.hover;
        ui.visuals_mut().selection.stroke.color = tokens.text;
        if ui.add(Button::selectable(chosen.is_none(), all)).clicked() {
            choose(None);
        }
        for (option, words) in options {
            if ui.add(Button::selectable(Some(option) == chosen, words)).clicked() {
                choose(Some(option.clone()));
            }
        }
    });
    let label = format!("{name}, {words}");
    combo.response.on_hover_text(words).widget_info(|| WidgetInfo::labeled(Role::ComboBox, true, &label));
}
