//! The few pieces that all views are made of.

use eframe::egui::{
    Align, Button, Color32, FontSelection, Frame, Layout, Margin, Response, RichText, Role, Sense, Stroke, StrokeKind,
    TextWrapMode, Ui, Vec2, WidgetInfo, WidgetText,
};

use super::{
    action::{Action, command_of},
    notes::Note,
    rows::Tone,
    state::State,
    theme::{self, Tokens, space},
};

/// The colour of a tone.
pub(super) fn tone_colour(tokens: &Tokens, tone: Tone) -> Color32 {
    match tone {
        Tone::Faint => tokens.faint,
        Tone::Dim => tokens.dim,
        Tone::Active => tokens.text,
        Tone::Good => tokens.good,
        Tone::Warn => tokens.warn,
        Tone::Bad => tokens.bad,
    }
}

/// A framed part of a view, as wide as there is room.
pub(super) fn card<R>(ui: &mut Ui, add: impl FnOnce(&mut Ui) -> R) -> R {
    let tokens = Tokens::of(ui);
    let frame = Frame::new().fill(tokens.panel).stroke(Stroke::new(1.0, tokens.line)).corner_radius(10);
    frame
        .inner_margin(Margin::same(space::L as i8))
        .show(ui, |ui| {
            ui.set_width(ui.available_width());
            add(ui)
        })
        .inner
}

/// A button for an action of the table: its words, its tooltip with the keys, off when it makes no sense now.
pub(super) fn action_button(
    ui: &mut Ui,
    state: &State,
    action: &Action,
    actions: &mut Vec<Action>,
) -> Option<Response> {
    let command = command_of(action)?;
    let button = Button::new(command.label).min_size(Vec2::new(0.0, theme::CONTROL));
    Some(press(ui, state, button, command.hint(ui.ctx()), action, actions))
}

/// The one button of a view that stands out.
pub(super) fn primary_button(
    ui: &mut Ui,
    state: &State,
    action: &Action,
    actions: &mut Vec<Action>,
) -> Option<Response> {
    let (command, tokens) = (command_of(action)?, Tokens::of(ui));
    let words = theme::medium(command.label).color(tokens.on_accent);
    let button = Button::new(words).fill(tokens.accent).min_size(Vec2::new(104.0, theme::CONTROL));
    Some(press(ui, state, button, command.hint(ui.ctx()), action, actions))
}

fn press(
    ui: &mut Ui,
    state: &State,
    button: Button<'_>,
    hint: String,
    action: &Action,
    actions: &mut Vec<Action>,
) -> Response {
    let response = ui.add_enabled(state.allows(action), button).on_hover_text(&hint).on_disabled_hover_text(hint);
    if response.clicked() {
        actions.push(action.clone());
    }
    response
}

/// A small button whose accessible name says what it is about.
pub(super) struct Named {
    /// What stands on it.
    pub(super) words: &'static str,
    /// What a screen reader says.
    pub(super) name: String,
    /// What it does.
    pub(super) hint: &'static str,
}

impl Named {
    /// Draws it, off when it makes no sense now.
    pub(super) fn ui(self, ui: &mut Ui, state: &State, action: Action, actions: &mut Vec<Action>) {
        let allowed = state.allows(&action);
        let button = Button::new(self.words).min_size(Vec2::new(0.0, 22.0));
        let response = ui.add_enabled(allowed, button).on_hover_text(self.hint).on_disabled_hover_text(self.hint);
        response.widget_info(|| WidgetInfo::labeled(Role::Button, allowed, &self.name));
        if response.clicked() {
            actions.push(action);
        }
    }
}

/// A line that warns or explains.
pub(super) fn note(ui: &mut Ui, note: &Note) {
    let tokens = Tokens::of(ui);
    ui.add(eframe::egui::Label::new(theme::label(&note.text).color(tone_colour(tokens, note.tone))).wrap());
}

/// Room before the words of a cell that can be pressed, and of its heading.
pub(super) const CELL_PAD: f32 = 6.0;

/// A cell of a table that is pressed as a whole; `name` is what a screen reader says of it.
pub(super) fn cell_button(ui: &mut Ui, on: bool, name: &str, add: impl FnOnce(&mut Ui)) -> Response {
    let tokens = Tokens::of(ui);
    let rect = ui.max_rect().shrink2(Vec2::new(0.0, 2.0));
    let response = ui.interact(rect, ui.scope_id().with("cell"), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, on, name));
    if on || response.hovered() {
        ui.painter().rect_filled(rect, 4, tokens.hover);
    }
    if response.has_focus() {
        ui.painter().rect_stroke(rect, 4, (1.5, tokens.accent_line), StrokeKind::Inside);
    }
    ui.add_space(CELL_PAD);
    add(ui);
    response
}

/// Shows that a button without a frame has the focus: nothing else of it tells. Cells of a table end where their words begin,
/// so that the ring may reach a little over a cell's sides; over and under it, it stays inside.
pub(super) fn focus_ring(ui: &Ui, response: &Response) {
    if response.has_focus() {
        let room = ui.clip_rect();
        let mut rect = response.rect.expand2(Vec2::new(4.0, -1.0));
        rect.min.y = rect.min.y.max(room.top() + 2.0);
        rect.max.y = rect.max.y.min(room.bottom() - 2.0).max(rect.min.y);
        let mut painter = ui.painter().clone();
        painter.set_clip_rect(room.expand2(Vec2::new(6.0, 0.0)));
        painter.rect_stroke(rect, 4, (1.5, Tokens::of(ui).accent_line), StrokeKind::Outside);
    }
}

/// How wide words are in one line.
pub(super) fn words_width(ui: &Ui, words: RichText) -> f32 {
    let words = WidgetText::from(words);
    words.into_galley(ui, Some(TextWrapMode::Extend), f32::INFINITY, FontSelection::Default).size().x
}

/// Goes to the next line of a layout that wraps where something so wide doesn't fit into this one: lines are broken between
/// widgets alone, not before a frame or a group of them.
pub(super) fn make_room(ui: &mut Ui, needed: f32) {
    let is_begun = ui.cursor().left() > ui.max_rect().left();
    if is_begun && ui.available_size_before_wrap().x < needed {
        ui.end_row();
    }
}

/// How far something is, as a thin bar.
pub(super) fn bar(ui: &mut Ui, width: f32, share: f32, tone: Tone) {
    let tokens = Tokens::of(ui);
    let (rect, _) = ui.allocate_exact_size(Vec2::new(width, 4.0), Sense::hover());
    ui.painter().rect_filled(rect, 2, tokens.hover);
    if share > 0.0 {
        let colour = if tone == Tone::Active { tokens.accent_line } else { tone_colour(tokens, tone) };
        let mut filled = rect;
        filled.set_width(rect.width() * share.clamp(0.0, 1.0));
        ui.painter().rect_filled(filled, 2, colour);
    }
}

/// Facts as name and value, one a line.
pub(super) fn facts(ui: &mut Ui, facts: &[(&'static str, String)]) {
    let tokens = Tokens::of(ui);
    let names = 132.0;
    for (name, value) in facts {
        ui.horizontal_top(|ui| {
            ui.allocate_ui_with_layout(Vec2::new(names, 18.0), Layout::left_to_right(Align::Min), |ui| {
                ui.set_width(names);
                ui.label(eframe::egui::RichText::new(*name).color(tokens.dim));
            });
            let value = eframe::egui::RichText::new(value).color(tokens.text);
            ui.add(eframe::egui::Label::new(value).wrap().selectable(true));
        });
    }
}

/// A view that has nothing to show: one sentence, and room for one action under it.
pub(super) fn empty(ui: &mut Ui, sentence: &str, add: impl FnOnce(&mut Ui)) {
    let tokens = Tokens::of(ui);
    ui.vertical_centered(|ui| {
        ui.add_space(space::XL);
        ui.label(eframe::egui::RichText::new(sentence).color(tokens.dim));
        ui.add_space(space::S);
        add(ui);
        ui.add_space(space::XL);
    });
}
