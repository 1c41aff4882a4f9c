//! How fast is this machine now? Idle, running and finished are one place.

use eframe::egui::{Button, ComboBox, Frame, Margin, RichText, ScrollArea, Sides, Ui, Vec2};

use super::{detail, stats, table};
use crate::{
    run::SuiteName,
    ui::{
        action::Action,
        notes, plot,
        rows::capitalised,
        session::Session,
        state::{Devices, State},
        theme::{self, Tokens, space},
        widgets::{action_button, empty, note, primary_button},
    },
    units::{Unit, duration},
};

/// Narrower than this, charts stand under each other and figures two by two.
pub(super) const NARROW: f32 = 776.0;

/// Draws the view.
pub(in crate::ui) fn ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    header_ui(ui, state, actions);
    if state.shown().is_none() {
        match &state.devices {
            Devices::Looking => return empty(ui, "Looking for devices…", |_| {}),
            Devices::Missing(reason) => return missing_ui(ui, state, reason, actions),
            Devices::Found(_) => {}
        }
    }
    chooser_ui(ui, state, actions);
    for line in notes_of(state) {
        note(ui, &line);
    }
    detail::panel_ui(ui, state, actions);
    ui.add_space(space::XS);
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        ui.spacing_mut().item_spacing = Vec2::splat(space::M);
        stats::ui(ui, state);
        charts_ui(ui, state.shown());
        table::ui(ui, state, actions);
        ui.add_space(space::S);
    });
}

fn notes_of(state: &State) -> Vec<notes::Note> {
    match (state.shown(), state.device()) {
        (Some(session), _) if session.live.is_none() => notes::after(session),
        (_, Some(device)) => notes::before(device, state.machine.as_ref(), state.conditions.as_ref()),
        (_, None) => Vec::new(),
    }
}

/// The title, what it is about, and what can be done.
fn header_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let (title, subject) = titles(state);
    Sides::new().height(theme::CONTROL).shrink_left().truncate().show(
        ui,
        |ui| {
            ui.label(RichText::new(title).heading());
            ui.label(RichText::new(subject).color(tokens.dim));
        },
        |ui| {
            if state.running() || state.starting {
                action_button(ui, state, &Action::Cancel, actions);
            } else {
                primary_button(ui, state, &Action::RunSuite, actions);
            }
            if state.opened.is_some() {
                action_button(ui, state, &Action::CloseRun, actions);
            }
            if state.shown().is_some_and(|session| session.live.is_none()) {
                action_button(ui, state, &Action::CopyResults, actions);
            }
        },
    );
}

fn titles(state: &State) -> (String, String) {
    let Some(session) = state.shown() else {
        let title = format!("{} suite", state.choices.suite().title());
        return (title, state.device().map(crate::machine::Device::label).unwrap_or_default());
    };
    let device = session.run.devices.first().map(crate::machine::Device::label).unwrap_or_default();
    let when = if state.opened.is_some() {
        format!("{} · ", super::history::when(session.run.started_at))
    } else {
        String::new()
    };
    (format!("{} suite", capitalised(&session.run.suite.name)), format!("{when}{device}"))
}

/// Suite and device for the next run, and how long it takes; while one goes on, how it goes.
fn chooser_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    ui.horizontal(|ui| {
        ui.add_enabled_ui(state.allows(&Action::LookAgain), |ui| {
            suites_ui(ui, state, actions);
            devices_ui(ui, state, actions);
        });
        let live = state.current.as_ref().filter(|session| session.live.is_some() && state.opened.is_none());
        match live {
            Some(session) => {
                let elapsed = session.elapsed_s().map(duration).unwrap_or_default();
                ui.label(theme::label(format!("{} · {elapsed}", session.state_word())).color(tokens.dim));
            }
            None => idle_text_ui(ui, state, actions),
        }
    });
}

fn suites_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let chosen = state.choices.suite();
    Frame::new().fill(tokens.hover).corner_radius(7).inner_margin(Margin::same(2)).show(ui, |ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        ui.spacing_mut().interact_size.y = 24.0;
        for suite in SuiteName::ALL {
            let on = suite == chosen;
            let words = RichText::new(suite.title()).color(if on { tokens.text } else { tokens.dim });
            let mut button = Button::selectable(on, words).corner_radius(5).min_size(Vec2::new(0.0, 24.0));
            if on {
                button = button.fill(tokens.panel);
            }
            if ui.add(button).on_hover_text(suite.description()).clicked() {
                actions.push(Action::Suite(suite));
            }
        }
    });
}

fn devices_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let Devices::Found(devices) = &state.devices else { return };
    let Some(chosen) = state.device().filter(|_| devices.len() > 1) else { return };
    let tokens = Tokens::of(ui);
    let combo = ComboBox::from_id_salt("device").selected_text(chosen.label()).truncate().width(260.0);
    let combo = combo.show_ui(ui, |ui| {
        ui.visuals_mut().selection.bg_fill = tokens.hover;
        ui.visuals_mut().selection.stroke.color = tokens.text;
        for device in devices {
            if ui.selectable_label(device.id == chosen.id, device.label()).clicked() {
                actions.push(Action::Device(device.id.clone()));
            }
        }
    });
    let name = format!("Device, {}", chosen.label());
    combo.response.widget_info(|| eframe::egui::WidgetInfo::labeled(eframe::egui::Role::ComboBox, true, &name));
}

fn idle_text_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let Some(device) = state.device() else { return };
    let entries = state.choices.suite().kernels(device).len();
    let text =
        if state.starting { "Starting…".to_owned() } else { format!("{entries} entries · {}", state.expected()) };
    ui.label(theme::label(text).color(tokens.dim));
    if let Some(last) = state.last_run().filter(|_| state.shown().is_none()) {
        let hint = format!("{} · {}", super::history::when(last.started_at), last.headline());
        if ui.button("Show last run").on_hover_text(hint).clicked() {
            actions.push(Action::OpenRun(last.path.clone()));
        }
    }
}

fn missing_ui(ui: &mut Ui, state: &State, reason: &str, actions: &mut Vec<Action>) {
    ui.add_space(space::XL);
    ui.vertical_centered(|ui| ui.label(theme::section("There is no device to measure")));
    empty(ui, &capitalised(reason), |ui| {
        action_button(ui, state, &Action::LookAgain, actions);
    });
}

/// The charts side by side, or under each other in a narrow window.
fn charts_ui(ui: &mut Ui, session: Option<&Session>) {
    let width = ui.available_width();
    let sweep = session.filter(|session| session.live.is_none()).and_then(Session::sweep);
    let count = if sweep.is_some() { 3 } else { 2 };
    let chart = |ui: &mut Ui, place: usize| match (place, session) {
        (0, Some(session)) => plot::timeline_chart(ui, session, "Throughput", Unit::FlopPerSecond),
        (1, Some(session)) => plot::timeline_chart(ui, session, "Bandwidth", Unit::BytePerSecond),
        (0, None) => plot::empty_chart(ui, "Throughput", "Appears while matrices are multiplied"),
        (1, None) => plot::empty_chart(ui, "Bandwidth", "Appears while arrays are read and written"),
        _ => {
            if let Some(entry) = sweep {
                plot::sweep_chart(ui, entry);
            }
        }
    };
    let columns = match () {
        () if width < NARROW => 1,
        () if width < 900.0 => 2,
        () => count,
    };
    let places: Vec<usize> = (0..count).collect();
    for row in places.chunks(columns) {
        ui.columns(row.len(), |parts| {
            for (part, place) in parts.iter_mut().zip(row) {
                chart(part, *place);
            }
        });
    }
}
