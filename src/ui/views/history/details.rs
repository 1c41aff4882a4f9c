//! What is done with the picked runs, and what is written about the one that is picked.

use std::path::PathBuf;

use eframe::egui::{Align, Align2, Label, Layout, PointerButton, Rect, Role, Sides, TextEdit, Ui, Vec2, WidgetInfo};

use super::{count, when};
use crate::{
    record::{About, Edit, Listed, NAME_CHARS_MAX, NOTE_CHARS_MAX, RunHeader, TAG_CHARS_MAX, TAGS_MAX},
    ui::{
        action::Action,
        listing::RunsAction,
        state::State,
        theme::{self, Tokens, space},
        widgets::{action_button, card},
    },
    units::duration,
};

/// The height of the card for one run, and for several, with the room before it.
const ONE: f32 = 196.0;
const SEVERAL: f32 = 92.0;

/// Narrower than this, the buttons have no room for words beside them.
const NARROW: f32 = 760.0;

/// How high the card is.
pub(super) fn height(state: &State) -> f32 {
    match state.runs.picked.len() {
        0 => 0.0,
        1 => ONE,
        _ => SEVERAL,
    }
}

/// What is being written about a run.
#[derive(Default)]
pub(in crate::ui) struct Words {
    path: Option<PathBuf>,
    /// What the list said when it was looked at last.
    seen: About,
    /// What was in the fields when they were filled, or sent on last.
    kept: [String; 3],
    /// When the card came, in seconds of the window's clock.
    came: f64,
    /// How many refusals were taken in.
    refused: u64,
    name: String,
    tags: String,
    note: String,
}

impl Words {
    /// What was changed since the fields were filled, to be sent on.
    pub(in crate::ui) fn take(&mut self) -> Option<(PathBuf, Vec<Edit>)> {
        let now = [self.name.clone(), self.tags.clone(), self.note.clone()];
        let mut edits = Vec::new();
        let [name, tags, note] = &self.kept;
        if *name != now[0] {
            edits.push(Edit::Name(self.name.clone()));
        }
        if *tags != now[1] {
            edits.push(Edit::Tags(self.tags.split(',').map(|tag| tag.trim().to_owned()).collect()));
        }
        if *note != now[2] {
            edits.push(Edit::Note(self.note.clone()));
        }
        self.kept = now;
        Some((self.path.clone()?, edits)).filter(|(_, edits)| !edits.is_empty())
    }

    fn send(&mut self, actions: &mut Vec<Action>) {
        if let Some((path, edits)) = self.take() {
            actions.push(Action::Runs(RunsAction::Edit(path, edits)));
        }
    }

    /// Sends on what was changed when the fields are no longer shown.
    pub(in crate::ui) fn flush_unless(&mut self, shown: bool, actions: &mut Vec<Action>) {
        if !shown {
            self.send(actions);
            self.path = None;
        }
    }

    /// Fills the fields for a run, or anew where another program has changed what is written and nobody writes here.
    fn show(&mut self, header: &RunHeader, refused: Option<&(PathBuf, u64)>, actions: &mut Vec<Action>) {
        let is_new = self.path.as_ref() != Some(&header.path);
        if is_new {
            self.send(actions);
        }
        if let Some((path, times)) = refused.filter(|(_, times)| *times != self.refused) {
            self.refused = *times;
            // What was sent on is not kept: the fields differ again, and another try sends them.
            if *path == header.path && !is_new {
                self.kept = words_of(&header.about);
            }
        }
        let is_touched = self.kept != [self.name.as_str(), &self.tags, &self.note];
        if is_new || (self.seen != header.about && !is_touched) {
            self.kept = words_of(&header.about);
            [self.name, self.tags, self.note] = self.kept.clone();
            self.path = Some(header.path.clone());
        }
        if self.seen != header.about {
            self.seen = header.about.clone();
        }
    }
}

/// The name, the tags and the note as they stand in the fields.
fn words_of(about: &About) -> [String; 3] {
    [about.name.clone().unwrap_or_default(), about.tags.join(", "), about.note.clone().unwrap_or_default()]
}

/// Draws the card.
pub(super) fn ui(ui: &mut Ui, state: &State, listed: &[Listed], words: &mut Words, actions: &mut Vec<Action>) {
    let Some(header) = state.runs.only(listed) else {
        words.flush_unless(false, actions);
        if !state.runs.picked.is_empty() {
            ui.add_space(space::M);
            card(ui, |ui| {
                bar_ui(ui, state, &format!("{} runs selected", count(state.runs.picked.len())), false, actions);
            });
        }
        return;
    };
    let now = ui.input(|input| input.time);
    if words.path.is_none() {
        words.came = now;
    }
    words.show(header, state.runs.refused.as_ref(), actions);
    let before = actions.len();
    let top = ui.cursor().min;
    card(ui, |ui| {
        let called = header.about.name.clone().unwrap_or_else(|| "1 run selected".to_owned());
        bar_ui(ui, state, &called, header.pinned, actions);
        let summary = summary(header);
        let label = Label::new(theme::label(&summary).color(Tokens::of(ui).dim)).truncate();
        ui.add(label).on_hover_text(summary);
        fields_ui(ui, words, actions);
    });
    // The first click of two has brought the card under the pointer: the second is meant for the row, and for no button here.
    let is_second = ui.input(|input| input.pointer.button_double_clicked(PointerButton::Primary));
    let most = ui.options(|options| options.input_options.max_double_click_delay);
    if is_second && now - words.came <= most && ui.rect_contains_pointer(Rect::from_min_max(top, ui.min_rect().max)) {
        actions.truncate(before);
        actions.push(Action::OpenRun(header.path.clone()));
    }
}

/// Where and how it was made, in a line.
fn summary(header: &RunHeader) -> String {
    let mut parts = vec![when(header.started_at), header.device.clone()];
    parts.extend(Some(header.machine.clone()).filter(|machine| *machine != header.device));
    parts.extend(header.duration_s.map(|seconds| format!("took {}", duration(seconds))));
    let engines: Vec<&str> = header.engines.iter().map(crate::engine::EngineId::title).collect();
    parts.push(engines.join(", "));
    parts.push(header.models.join(", "));
    parts.push(header.file_id());
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}

/// What is picked, and what can be done with it.
fn bar_ui(ui: &mut Ui, state: &State, words: &str, pinned: bool, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    // The buttons come first where there is little room.
    let words = if ui.available_width() < NARROW && state.runs.picked.len() == 1 { "" } else { words };
    ui.spacing_mut().button_padding.x = space::S;
    Sides::new().height(theme::CONTROL).shrink_left().truncate().show(
        ui,
        |ui| {
            ui.label(eframe::egui::RichText::new(words).color(tokens.text));
        },
        |ui| {
            // From right to left.
            use RunsAction::{Compare, Delete, Export, Open, Pin, Reveal};
            for action in [Delete, Export, Reveal, Pin, Compare, Open] {
                let action = Action::Runs(action);
                if !state.allows(&action) && matches!(action, Action::Runs(Reveal | Pin | Open)) {
                    continue;
                }
                if pinned && action == Action::Runs(Pin) {
                    if ui.button("Unpin").on_hover_text("No run is the baseline any more").clicked() {
                        actions.push(action);
                    }
                } else {
                    action_button(ui, state, &action, actions);
                }
            }
        },
    );
}

/// The name, the tags and the note. They are kept when Enter is pressed or another place is clicked.
fn fields_ui(ui: &mut Ui, words: &mut Words, actions: &mut Vec<Action>) {
    let mut done = false;
    ui.horizontal(|ui| {
        let half = (ui.available_width() - 2.0 * LABEL - 3.0 * space::S) / 2.0;
        done |= field_ui(ui, "Name", &mut words.name, (NAME_CHARS_MAX, half), "What this run is called");
        let most = TAGS_MAX * (TAG_CHARS_MAX + 2);
        done |= field_ui(ui, "Tags", &mut words.tags, (most, half), "Words with commas between them, to find it by");
    });
    ui.horizontal_top(|ui| {
        label_ui(ui, "Note");
        let field = TextEdit::multiline(&mut words.note).desired_rows(2).char_limit(NOTE_CHARS_MAX);
        let field = field.background_color(Tokens::of(ui).ground);
        let width = ui.available_width();
        // A long note scrolls in its place.
        let scroll = eframe::egui::ScrollArea::vertical().max_height(44.0).min_scrolled_height(44.0);
        let field = scroll.show(ui, |ui| ui.add(field.desired_width(width))).inner;
        field.widget_info(|| WidgetInfo::labeled(Role::MultilineTextInput, true, "Note"));
        done |= field.lost_focus();
    });
    if done {
        words.send(actions);
    }
}

const LABEL: f32 = 40.0;

fn label_ui(ui: &mut Ui, name: &str) {
    let tokens = Tokens::of(ui);
    let size = Vec2::new(LABEL, theme::CONTROL);
    ui.allocate_ui_with_layout(size, Layout::left_to_right(Align::Center), |ui| {
        ui.set_min_width(LABEL);
        ui.label(theme::label(name).color(tokens.dim));
    });
}

/// A field of one line; true when it was left, or Enter was pressed in it.
fn field_ui(ui: &mut Ui, name: &str, text: &mut String, (most, width): (usize, f32), hint: &str) -> bool {
    label_ui(ui, name);
    let field = TextEdit::singleline(text).char_limit(most).desired_width(width).align(Align2::LEFT_CENTER);
    let field = field.background_color(Tokens::of(ui).ground);
    let field = ui.add(field.min_size(Vec2::new(0.0, theme::CONTROL)));
    field.widget_info(|| WidgetInfo::labeled(Role::TextInput, true, name));
    let left = field.lost_focus();
    field.on_hover_text(hint);
    left
}
