//! The command palette: type a few letters, choose with the arrows, press Enter.

use eframe::egui::{Align2, Area, Button, Id, Key, Modal, Modifiers, ScrollArea, TextEdit, Ui, Vec2};

use super::{
    action::{Action, COMMANDS, Command},
    state::State,
    theme::{self, Tokens, space},
};

/// The palette while it is open.
#[derive(Debug, Default)]
pub(super) struct Palette {
    typed: String,
    chosen: usize,
}

impl Palette {
    /// Draws it; false when it is to be closed.
    pub(super) fn ui(&mut self, ui: &Ui, state: &State, actions: &mut Vec<Action>) -> bool {
        let context = ui.ctx().clone();
        // Taken before the text field sees them.
        let [up, down, enter] = [Key::ArrowUp, Key::ArrowDown, Key::Enter]
            .map(|key| context.input_mut(|input| input.consume_key(Modifiers::NONE, key)));
        let mut listed: Vec<&Command> = COMMANDS
            .iter()
            .filter(|command| command.action != Action::Palette)
            .filter(|command| state.allows(&command.action) && command.matches(&self.typed))
            .collect();
        // Words found in the label weigh more than words in the explanation.
        listed.sort_by_key(|command| !command.is_called(&self.typed));
        let last = listed.len().saturating_sub(1);
        self.chosen = match (up, down) {
            (true, _) => self.chosen.saturating_sub(1),
            (_, true) => self.chosen + 1,
            _ => self.chosen,
        }
        .min(last);
        let id = Id::unique("palette");
        let area =
            Area::new(id).order(eframe::egui::Order::Foreground).anchor(Align2::CENTER_TOP, Vec2::new(0.0, 96.0));
        let modal = Modal::new(id).area(area).backdrop_color(Tokens::of(ui).veil);
        let response = modal.show(&context, |ui| self.content_ui(ui, &listed, up || down));
        let run = if enter { listed.get(self.chosen).copied() } else { response.inner };
        if let Some(command) = run {
            actions.push(command.action.clone());
        }
        run.is_none() && !response.should_close()
    }

    /// The field and the list; the command that was clicked.
    fn content_ui<'a>(&mut self, ui: &mut Ui, listed: &[&'a Command], moved: bool) -> Option<&'a Command> {
        let tokens = Tokens::of(ui);
        ui.set_width(480.0);
        ui.spacing_mut().item_spacing.y = 2.0;
        ui.visuals_mut().selection.stroke.color = tokens.accent_line;
        let field = TextEdit::singleline(&mut self.typed).hint_text("Find a command").desired_width(f32::INFINITY);
        let field = ui.add(field.margin(eframe::egui::Margin::symmetric(10, 8)));
        field.request_focus();
        if field.changed() {
            self.chosen = 0;
        }
        ui.add_space(space::XS);
        if listed.is_empty() {
            ui.label(theme::label("No command has these words").color(tokens.dim));
        }
        let mut clicked = None;
        ScrollArea::vertical().max_height(460.0).show(ui, |ui| {
            for (place, command) in listed.iter().enumerate() {
                let keys = command.keys(ui.ctx());
                let button = Button::selectable(place == self.chosen, command.label).shortcut_text(keys);
                ui.visuals_mut().selection.bg_fill = tokens.hover;
                ui.visuals_mut().selection.stroke.color = tokens.text;
                let row = ui.add(button.min_size(Vec2::new(ui.available_width(), theme::CONTROL)));
                if place == self.chosen && moved {
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
