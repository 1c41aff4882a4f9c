//! The keyboard in the list of runs, as in a file manager's.

use eframe::egui::{Key, Modifiers, Popup, Ui};

use crate::{
    record::Listed,
    ui::{
        action::Action,
        listing::{Pick, RunsAction},
        state::State,
    },
};

/// So many rows up or down with Page Up and Page Down.
const PAGE: i64 = 12;

/// Takes the keys that are meant for the list: none while something else has the focus.
pub(super) fn take(ui: &Ui, state: &State, listed: &[Listed], actions: &mut Vec<Action>) {
    let elsewhere = ui.memory(|memory| memory.top_modal_layer().is_some() || memory.focused().is_some());
    if elsewhere || Popup::is_any_open(ui.ctx()) {
        return;
    }
    let pressed = |modifiers, key| ui.input_mut(|input| input.consume_key(modifiers, key));
    let end = i64::try_from(listed.len()).unwrap_or(i64::MAX);
    let steps = [
        (Key::ArrowUp, -1),
        (Key::ArrowDown, 1),
        (Key::PageUp, -PAGE),
        (Key::PageDown, PAGE),
        (Key::Home, -end),
        (Key::End, end),
    ];
    for (key, rows) in steps {
        // The narrower first: without it, Shift is held for nothing. A key that repeats may be there several times.
        for (modifiers, pick) in [(Modifiers::SHIFT, Pick::Through), (Modifiers::NONE, Pick::Only)] {
            let times = ui.input_mut(|input| input.count_and_consume_key(modifiers, key));
            if times > 0 {
                actions
                    .push(Action::Runs(RunsAction::Move(rows.saturating_mul(i64::try_from(times).unwrap_or(1)), pick)));
            }
        }
    }
    let keys = [
        (Modifiers::COMMAND, Key::A, RunsAction::PickAll),
        (Modifiers::COMMAND, Key::Z, RunsAction::Undo),
        (Modifiers::NONE, Key::Escape, RunsAction::PickNone),
        (Modifiers::NONE, Key::Enter, RunsAction::Open),
        (Modifiers::NONE, Key::Delete, RunsAction::Delete),
        (Modifiers::NONE, Key::Backspace, RunsAction::Delete),
    ];
    for (modifiers, key, action) in keys {
        // Backspace deletes on keyboards that have no other key for it.
        let meant = key != Key::Backspace || cfg!(target_os = "macos");
        let action = Action::Runs(action);
        if meant && state.allows(&action) && pressed(modifiers, key) {
            actions.push(action);
        }
    }
}
