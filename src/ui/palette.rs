//! The command palette: type a few letters, choose with the arrows, press Enter.

use eframe::egui::{Align2, Area, Button, Context, Event, Id, Key, Modal, Modifiers, ScrollArea, TextEdit, Ui, Vec2};

use super::{
    action::{Action, COMMANDS, Command},
    state::State,
    theme::{self, Tokens, space},
};

/// The palette while it is open.
#[derive(Debug, Default)]
pub(super) struct Palette {
    typed: String,
    /// The command that Enter runs: none until a word was typed or an arrow pressed, so that Enter alone does nothing.
    chosen: Option<usize>,
}

/// The arrows that were pressed since the last frame, in their order: frames may be rare.
fn arrows(context: &Context) -> Vec<Key> {
    let mut found = Vec::new();
    context.input_mut(|input| {
        input.events.retain(|event| match event {
            Event::Key { key: key @ (Key::ArrowUp | Key::ArrowDown), pressed: true, modifiers, .. }
                if modifiers.is_none() =>
            {
                found.push(*key);
                false
            }
            _ => true,
        });
    });
    found
}

/// The field's name.
fn field_id() -> Id {
    Id::unique("palette-field")
}

impl Palette {
    /// Draws it; false when it is to be closed.
    ///
    /// While something is measured frames are rare, so that a whole command and Enter may come in one: the field takes the
    /// words before anything is chosen by them.
    pub(super) fn ui(&mut self, ui: &Ui, state: &State, actions: &mut Vec<Action>) -> bool {
        let context = ui.ctx().clone();
        // Taken before the text field sees them.
        let arrows = arrows(&context);
        let enter = context.input_mut(|input| input.consume_key(Modifiers::NONE, Key::Enter));
        // Before the field is drawn, so that it takes what is typed in this very frame.
        context.memory_mut(|memory| memory.request_focus(field_id()));
        let id = Id::unique("palette");
        let area =
            Area::new(id).order(eframe::egui::Order::Foreground).anchor(Align2::CENTER_TOP, Vec2::new(0.0, 96.0));
        let modal = Modal::new(id).area(area).backdrop_color(Tokens::of(ui).veil);
        let response = modal.show(&context, |ui| {
            self.field_ui(ui);
            let listed = self.listed(state);
            let steps = arrows.iter().copied().map(Some).chain([None]);
            steps.for_each(|arrow| self.choose(listed.len(), arrow));
            let clicked = self.list_ui(ui, &listed, !arrows.is_empty());
            let entered = self.chosen.filter(|_| enter).and_then(|place| listed.get(place).copied());
            clicked.or(entered)
        });
        if let Some(command) = response.inner {
            actions.push(command.action.clone());
        }
        response.inner.is_none() && !response.should_close()
    }

    /// The commands that make sense now and have the words that were typed.
    fn listed(&self, state: &State) -> Vec<&'static Command> {
        let mut listed: Vec<&Command> = COMMANDS
            .iter()
            .filter(|command| command.action != Action::Palette)
            .filter(|command| state.allows(&command.action) && command.matches(&self.typed))
            .collect();
        // Words found in the label weigh more than words in the explanation.
        listed.sort_by_key(|command| !command.is_called(&self.typed));
        listed
    }

    /// Goes on with an arrow, among so many.
    fn choose(&mut self, count: usize, arrow: Option<Key>) {
        let next = match (self.chosen, arrow) {
            (None, Some(_)) => Some(0),
            (Some(place), Some(Key::ArrowUp)) => Some(place.saturating_sub(1)),
            (Some(place), Some(_)) => Some(place + 1),
            (chosen, None) => chosen,
        };
        self.chosen = next.and_then(|place| Some(place.min(count.checked_sub(1)?)));
    }

    fn field_ui(&mut self, ui: &mut Ui) {
        let tokens = Tokens::of(ui);
        ui.set_width(480.0);
        ui.spacing_mut().item_spacing.y = 2.0;
        ui.visuals_mut().selection.stroke.color = tokens.accent_line;
        let field = TextEdit::singleline(&mut self.typed).id(field_id()).hint_text("Find a command");
        let field = field.desired_width(f32::INFINITY).margin(eframe::egui::Margin::symmetric(10, 8));
        if ui.add(field).changed() {
            self.chosen = (!self.typed.trim().is_empty()).then_some(0);
        }
        ui.add_space(space::XS);
    }

    /// The list; the command that was clicked.
    fn list_ui(&self, ui: &mut Ui, listed: &[&'static Command], moved: bool) -> Option<&'static Command> {
        let tokens = Tokens::of(ui);
        if listed.is_empty() {
            ui.label(theme::label("No command has these words").color(tokens.dim));
        }
        let mut clicked = None;
        // An area offers no more height than it had last; what was narrowed down grows again.
        let height = (ui.ctx().content_rect().height() - 200.0).clamp(120.0, 460.0);
        ScrollArea::vertical().max_height(height).min_scrolled_height(height).show(ui, |ui| {
            for (place, command) in listed.iter().enumerate() {
                let keys = command.keys(ui.ctx());
                let chosen = self.chosen == Some(place);
                let button = Button::selectable(chosen, command.label).shortcut_text(keys);
                ui.visuals_mut().selection.bg_fill = tokens.hover;
                ui.visuals_mut().selection.stroke.color = tokens.text;
                let row = ui.add(button.min_size(Vec2::new(ui.available_width(), theme::CONTROL)));
                if chosen && moved {
                    row.scroll_to_me(None);
                }
                if row.on_hover_text(command.tooltip).clicked() {
                    clicked = Some(*command);
                }
            }
        });
        clicked
    }
}
