//! The list of runs to choose from: type a few letters, click as many as fit.

use eframe::egui::{
    Align2, Area, Atom, AtomExt as _, Button, Id, Margin, Modal, Order, RichText, Role, ScrollArea, Sides, TextEdit,
    Ui, Vec2, WidgetInfo,
};

use crate::{
    analysis::comparison::SIDES_MAX,
    record::{Listed, REFERENCE, RunHeader},
    ui::{
        action::Action,
        comparing::{CompareAction, RunSource},
        rows::capitalised,
        state::State,
        theme::{self, Tokens, space},
        views::history::when,
    },
};

const ROW: f32 = 28.0;

/// What is told of a run after its title is at most so wide.
const ABOUT: f32 = 340.0;

/// The list while it is open.
#[derive(Debug, Default)]
pub(super) struct Picker {
    typed: String,
    /// The places of the saved runs that have the words typed, for so many saved runs.
    found: Option<(usize, Vec<usize>)>,
}

impl Picker {
    /// Draws it; false when it is to be closed.
    pub(super) fn ui(&mut self, ui: &Ui, state: &State, actions: &mut Vec<Action>) -> bool {
        let context = ui.ctx().clone();
        let id = Id::unique("run-picker");
        let area = Area::new(id).order(Order::Foreground).anchor(Align2::CENTER_TOP, Vec2::new(0.0, 72.0));
        let modal = Modal::new(id).area(area).backdrop_color(Tokens::of(ui).veil);
        let mut open = true;
        let response = modal.show(&context, |ui| open = self.content_ui(ui, state, actions));
        open && !response.should_close()
    }

    fn content_ui(&mut self, ui: &mut Ui, state: &State, actions: &mut Vec<Action>) -> bool {
        let tokens = Tokens::of(ui);
        ui.set_width(560.0);
        ui.spacing_mut().item_spacing.y = 2.0;
        ui.visuals_mut().selection.stroke.color = tokens.accent_line;
        let field = TextEdit::singleline(&mut self.typed).hint_text("Find a run").desired_width(f32::INFINITY);
        let field = ui.add(field.margin(Margin::symmetric(10, 8)));
        field.widget_info(|| WidgetInfo::labeled(Role::TextInput, true, "Find a run"));
        field.request_focus();
        ui.add_space(space::XS);
        let runs = runs(state);
        if field.changed() || self.found.as_ref().is_none_or(|(count, _)| *count != runs.len()) {
            let typed = self.typed.to_lowercase();
            let found = runs.iter().enumerate().filter(|(_, header)| matches(header, &typed));
            self.found = Some((runs.len(), found.map(|(place, _)| place).collect()));
        }
        let found: &[usize] = self.found.as_ref().map_or(&[], |(_, found)| found);
        ui.visuals_mut().selection.bg_fill = tokens.hover;
        ui.visuals_mut().selection.stroke.color = tokens.text;
        let reference = self.typed.is_empty() || REFERENCE.contains(&self.typed.to_lowercase());
        if reference {
            let words = ("Reference: Apple M5", "published figures, with PyTorch, MLX and llama.cpp");
            row_ui(ui, state, RunSource::Reference, words, actions);
        }
        if found.is_empty() && !reference {
            ui.label(theme::label("No saved run has these words").color(tokens.dim));
        }
        // An area offers no more height than it had last; what was narrowed down grows again.
        let height = (ui.ctx().content_rect().height() - 220.0).clamp(120.0, 360.0);
        ScrollArea::vertical().max_height(height).min_scrolled_height(height).show_rows(
            ui,
            ROW,
            found.len(),
            |ui, range| {
                for header in found.get(range).into_iter().flatten().filter_map(|place| runs.get(*place)) {
                    let started = when(header.started_at);
                    let about = format!("{} · {}", capitalised(&header.suite), header.device);
                    let (title, about) = match &header.about.name {
                        Some(name) => (name.clone(), format!("{started} · {about}")),
                        None => (started, about),
                    };
                    row_ui(ui, state, RunSource::File(header.path.clone()), (&title, &about), actions);
                }
            },
        );
        ui.add_space(space::S);
        footer_ui(ui, state, actions)
    }
}

/// What else can be taken, and how many are; false when the list is to be closed.
fn footer_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) -> bool {
    let tokens = Tokens::of(ui);
    let open = std::cell::Cell::new(true);
    Sides::new().height(theme::CONTROL).show(
        ui,
        |ui| {
            let hint = "Run files, or what llama-bench -o json or jsonl wrote; they can be dropped on the window too";
            if ui.button("From files…").on_hover_text(hint).clicked() {
                actions.push(Action::Comparing(CompareAction::ChooseFiles));
                open.set(false);
            }
            let count = state.comparing.chosen.len();
            ui.label(theme::label(format!("{count} of {} chosen", count + state.comparing.room())).color(tokens.dim));
        },
        |ui| {
            if ui.button("Close list").clicked() {
                open.set(false);
            }
        },
    );
    open.get()
}

fn runs(state: &State) -> Vec<&RunHeader> {
    state.history.iter().flatten().filter_map(Listed::header).collect()
}

/// Whether all words typed are in what a search looks at, or in the time as it is shown.
fn matches(header: &RunHeader, typed: &str) -> bool {
    let started = when(header.started_at).to_lowercase();
    typed.split_whitespace().all(|word| header.has_word(word) || started.contains(word))
}

/// A run: a click takes it in, or out again.
fn row_ui(ui: &mut Ui, state: &State, source: RunSource, (title, about): (&str, &str), actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let place = state.comparing.chosen.iter().position(|chosen| chosen.source == source);
    let allowed = place.is_some() || state.comparing.room() > 0;
    let mark = place.map_or_else(|| "   ".to_owned(), |place| format!("{}  ", char::from(b'A' + place as u8)));
    let words = (
        theme::label(mark).monospace().color(tokens.accent_line),
        // Where there is no room for all, the title is cut, and not the letter before it.
        RichText::new(title).color(if allowed { tokens.text } else { tokens.faint }).atom_shrink(true),
        theme::label(about).color(tokens.dim).atom_max_width(ABOUT),
        Atom::grow(),
    );
    let button =
        Button::selectable(place.is_some(), words).truncate().min_size(Vec2::new(ui.available_width(), ROW - 2.0));
    let response = ui
        .add_enabled(allowed, button)
        .on_disabled_hover_text(format!("{SIDES_MAX} runs are compared; take one out first"));
    let name = format!("{title}, {about}");
    response.widget_info(|| WidgetInfo::selected(Role::Button, allowed, place.is_some(), &name));
    if response.clicked() {
        actions.push(Action::Comparing(match place {
            Some(place) => CompareAction::Remove(place),
            None => CompareAction::Add(vec![source]),
        }));
    }
}
