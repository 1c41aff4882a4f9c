//! What is this machine?

use eframe::egui::{RichText, ScrollArea, Sides, Ui, Vec2};

use super::run::NARROW;
use crate::ui::{
    action::Action,
    machine_text::{condition_facts, device_facts, machine_facts},
    notes,
    rows::{Tone, capitalised},
    state::{Devices, State},
    theme::{self, Tokens, space},
    widgets::{action_button, card, empty, facts, note},
};

/// Draws the view: the machine on the left, its devices on the right.
pub(in crate::ui) fn ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let chip = state.machine.as_ref().map(|machine| machine.chip.clone()).unwrap_or_default();
    Sides::new().height(theme::CONTROL).shrink_left().truncate().show(
        ui,
        |ui| {
            ui.label(RichText::new("Machine").heading());
            ui.label(RichText::new(chip).color(tokens.dim));
        },
        |ui| {
            action_button(ui, state, &Action::CopyMachine, actions);
            action_button(ui, state, &Action::LookAgain, actions);
        },
    );
    ui.add_space(space::S);
    if state.machine.is_none() {
        return empty(ui, "Looking at the machine…", |_| {});
    }
    ScrollArea::vertical().id_salt("machine").auto_shrink(false).show(ui, |ui| {
        ui.spacing_mut().item_spacing = Vec2::splat(space::M);
        if ui.available_width() < NARROW {
            machine_ui(ui, state);
            devices_ui(ui, state);
        } else {
            ui.columns_const(|[left, right]| {
                machine_ui(left, state);
                devices_ui(right, state);
            });
        }
        ui.add_space(space::S);
    });
}

fn facts_card(ui: &mut Ui, title: &str, list: &[(&'static str, String)]) {
    card(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 6.0;
        ui.label(theme::section(title));
        ui.add_space(2.0);
        facts(ui, list);
    });
}

fn machine_ui(ui: &mut Ui, state: &State) {
    if let Some(machine) = &state.machine {
        facts_card(ui, "Hardware and system", &machine_facts(machine));
    }
    if let Some(conditions) = &state.conditions {
        facts_card(ui, "Now", &condition_facts(conditions));
    }
}

fn devices_ui(ui: &mut Ui, state: &State) {
    match &state.devices {
        Devices::Looking => empty(ui, "Looking for devices…", |_| {}),
        Devices::Missing(reason) => card(ui, |ui| {
            ui.label(theme::section("No device to measure"));
            note(ui, &notes::Note { tone: Tone::Warn, text: capitalised(reason) });
        }),
        Devices::Found(devices) => {
            for found in devices {
                facts_card(ui, &found.device.name, &device_facts(found));
            }
        }
    }
}
