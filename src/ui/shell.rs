//! The frame around all views: navigation, banners, status line.

use eframe::egui::{
    Align, Atom, Button, CentralPanel, Frame, Label, Layout, Margin, Panel, Rect, RichText, Sides, Ui, Vec2,
};

use super::{
    action::{Action, View, command_of},
    state::{Devices, State},
    theme::{self, Tokens, space},
    views::{self, models::Forms},
};
use crate::units::duration;

const NAV_WIDTH: f32 = 176.0;

/// Left free for the system's window buttons, which lie on the navigation on macOS.
const NAV_TOP: i8 = if cfg!(target_os = "macos") { 44 } else { 16 };

/// Draws the whole window.
pub(super) fn ui(ui: &mut Ui, state: &State, forms: &mut Forms, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let margin = Margin { left: 12, right: 12, top: NAV_TOP, bottom: 12 };
    let nav = Panel::left("nav").exact_size(NAV_WIDTH).resizable(false);
    nav.frame(Frame::new().fill(tokens.panel).inner_margin(margin)).show(ui, |ui| nav_ui(ui, state, actions));
    let status = Panel::bottom("status").exact_size(28.0).resizable(false);
    let frame = Frame::new().fill(tokens.panel).inner_margin(Margin::symmetric(24, 4));
    status.frame(frame).show(ui, |ui| status_ui(ui, state));
    let frame = Frame::new().fill(tokens.ground).inner_margin(Margin { left: 24, right: 24, top: 16, bottom: 0 });
    CentralPanel::default().frame(frame).show(ui, |ui| {
        banners_ui(ui, state, actions);
        views::report::written_ui(ui, state, actions);
        match state.choices.view {
            View::Run => views::run::ui(ui, state, actions),
            View::History => views::history::ui(ui, state, &mut forms.runs, actions),
            View::Compare => views::compare::ui(ui, state, &mut forms.compare, actions),
            View::Models => views::models::ui(ui, state, forms, actions),
            View::Engines => views::engines::ui(ui, state, actions),
            View::Machine => views::machine::ui(ui, state, actions),
            View::Explain => views::explain::ui(ui, state, &mut forms.explain, actions),
            View::Report => views::report::ui(ui, state, &mut forms.report, actions),
        }
    });
}

fn nav_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    ui.spacing_mut().item_spacing.y = 2.0;
    ui.add_space(space::XS);
    ui.horizontal(|ui| {
        ui.add_space(space::M);
        ui.label(theme::section("Roofline").color(tokens.text));
    });
    ui.add_space(space::S);
    for view in View::ALL {
        let action = Action::Show(view);
        let on = state.choices.view == view;
        let hint = command_of(&action).map(|command| command.hint(ui.ctx())).unwrap_or_default();
        if nav_button(ui, on, view.title()).on_hover_text(hint).clicked() {
            actions.push(action);
        }
    }
    ui.with_layout(Layout::bottom_up(Align::Min), |ui| {
        let build = concat!(env!("CARGO_PKG_VERSION"), " · ", env!("ROOFLINE_COMMIT"));
        ui.horizontal(|ui| {
            ui.add_space(space::M);
            let version = theme::label(concat!("Version ", env!("CARGO_PKG_VERSION"))).color(tokens.faint);
            ui.label(version).on_hover_text(build);
        });
        ui.add_space(space::XS);
        if let Some(command) = command_of(&Action::Palette) {
            let keys = command.keys(ui.ctx());
            let button = Button::selectable(false, command.label).shortcut_text(keys);
            let button = ui.add(button.min_size(Vec2::new(ui.available_width(), theme::CONTROL)));
            if button.on_hover_text(command.tooltip).clicked() {
                actions.push(Action::Palette);
            }
        }
    });
}

/// An item of the navigation: the chosen one has a bar in the accent's colour.
fn nav_button(ui: &mut Ui, on: bool, title: &str) -> eframe::egui::Response {
    let tokens = Tokens::of(ui);
    let words = if on { theme::medium(title).color(tokens.text) } else { RichText::new(title).color(tokens.dim) };
    let mut button = Button::selectable(on, (words, Atom::grow()));
    if on {
        button = button.fill(tokens.hover);
    }
    let response = ui.add(button.min_size(Vec2::new(ui.available_width(), 30.0)));
    if on {
        let rect = response.rect;
        let bar = Rect::from_min_size(rect.min + Vec2::new(0.0, 7.0), Vec2::new(3.0, rect.height() - 14.0));
        ui.painter().rect_filled(bar, 1.5, tokens.accent_line);
    }
    response
}

fn banners_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    for (place, sentence) in state.banners.iter().enumerate() {
        let frame = Frame::new().fill(tokens.panel).stroke((1.0, tokens.warn)).corner_radius(8);
        frame.inner_margin(Margin::symmetric(12, 6)).show(ui, |ui| {
            Sides::new().shrink_left().show(
                ui,
                |ui| {
                    ui.add(Label::new(RichText::new(sentence).color(tokens.warn)).wrap());
                },
                |ui| {
                    if ui.button("Dismiss").on_hover_text("Close this message").clicked() {
                        actions.push(Action::DismissBanner(place));
                    }
                    if ui.button("Copy").on_hover_text("Copy this message").clicked() {
                        actions.push(Action::CopyText(sentence.clone()));
                    }
                },
            );
        });
    }
}

fn status_ui(ui: &mut Ui, state: &State) {
    let tokens = Tokens::of(ui);
    let (left, right) = status_text(state);
    Sides::new().height(20.0).shrink_left().truncate().show(
        ui,
        |ui| {
            if let Some(word) = state.said {
                ui.label(theme::label(word).color(tokens.good));
            }
            ui.label(theme::label(left).color(tokens.dim));
        },
        |ui| {
            ui.label(theme::label(right).color(tokens.dim));
        },
    );
}

/// What is going on, and for how long.
fn status_text(state: &State) -> (String, String) {
    if let Some(session) = state.current.as_ref().filter(|session| session.live.is_some()) {
        let (done, all) = session.progress();
        let mut parts = vec![format!("{done} of {all} done")];
        let current = session.live.as_ref().and_then(|live| live.current.as_ref());
        if let Some((entry, phase)) = current.and_then(|(index, phase)| Some((session.run.entries.get(*index)?, phase)))
        {
            parts.push(format!("{} {}", entry.workload.title(), entry.workload.parameters()));
            parts.push(phase.to_string());
        }
        return (parts.join(" · "), session.elapsed_s().map(duration).unwrap_or_default());
    }
    if state.starting {
        return ("Starting the run".to_owned(), String::new());
    }
    if let Some(session) = state.shown() {
        let file = session.file.as_ref().map_or_else(|| "Not saved".to_owned(), |path| path.display().to_string());
        let took = session.elapsed_s().map(duration).unwrap_or_default();
        return (format!("{} · {file}", session.state_word()), took);
    }
    match &state.devices {
        Devices::Looking => ("Looking for devices…".to_owned(), String::new()),
        Devices::Found(devices) if devices.len() == 1 => ("Ready · 1 device".to_owned(), String::new()),
        Devices::Found(devices) => (format!("Ready · {} devices", devices.len()), String::new()),
        Devices::Missing(_) => ("No device to measure".to_owned(), String::new()),
    }
}
