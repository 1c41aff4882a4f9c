//! How fast is this machine now? Idle, running and finished are one place.

use eframe::egui::{Button, Checkbox, ComboBox, Frame, Label, Margin, RichText, ScrollArea, Sides, Stroke, Ui, Vec2};

use super::{charts, detail, frameworks, stats, table};
use crate::{
    machine::Device,
    run::SuiteName,
    ui::{
        action::Action,
        comparing::CompareAction,
        notes,
        rows::capitalised,
        state::{Devices, State},
        theme::{self, Tokens, space},
        widgets::{action_button, empty, note, primary_button},
    },
    units::duration,
};

/// Narrower than this, charts stand under each other and figures two by two.
pub(super) const NARROW: f32 = 776.0;

/// Draws the view.
pub(in crate::ui) fn ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    header_ui(ui, state, actions);
    if state.shown().is_none() {
        if state.opening.is_some() {
            return empty(ui, "Opening the run…", |_| {});
        }
        match &state.devices {
            Devices::Looking => return empty(ui, "Looking for devices…", |_| {}),
            Devices::Missing(reason) => return missing_ui(ui, state, reason, actions),
            Devices::Found(_) => {}
        }
    }
    chooser_ui(ui, state, actions);
    engines_ui(ui, state, actions);
    for line in notes_of(state) {
        note(ui, &line);
    }
    detail::panel_ui(ui, state, actions);
    ui.add_space(space::XS);
    // Another run begins at its top.
    let run = state.shown().map(|session| session.run.id.as_str());
    ScrollArea::vertical().id_salt(("run", run)).auto_shrink(false).show(ui, |ui| {
        ui.spacing_mut().item_spacing = Vec2::splat(space::M);
        stats::ui(ui, state);
        if let Some(session) = state.shown() {
            frameworks::ui(ui, session, actions);
        }
        charts::ui(ui, state.shown(), actions);
        table::ui(ui, state, actions);
        ui.add_space(space::S);
    });
}

fn notes_of(state: &State) -> Vec<notes::Note> {
    match (state.shown(), state.device()) {
        (Some(session), _) if session.live.is_none() => notes::after(session),
        (Some(session), _) => {
            let devices: Vec<&Device> = session.run.devices.iter().collect();
            notes::before(&devices, state.machine.as_ref(), state.conditions.as_ref())
        }
        (None, Some(_)) => notes::before(&state.taking_part(), state.machine.as_ref(), state.conditions.as_ref()),
        (None, None) => Vec::new(),
    }
}

/// The title, what it is about, and what can be done.
fn header_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let (title, subject) = titles(state);
    // The buttons of a run that ended leave no room for what it is beside them.
    let is_apart = ui.available_width() < NARROW && state.shown().is_some_and(|session| session.live.is_none());
    Sides::new().height(theme::CONTROL).shrink_left().truncate().show(
        ui,
        |ui| {
            ui.label(RichText::new(title).heading());
            if !is_apart {
                ui.label(RichText::new(&subject).color(tokens.dim));
            }
        },
        |ui| {
            if is_apart {
                ui.spacing_mut().button_padding.x = space::S;
                ui.spacing_mut().item_spacing.x = space::XS;
            }
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
                action_button(ui, state, &Action::Comparing(CompareAction::Shown), actions);
            }
        },
    );
    if is_apart {
        ui.add(Label::new(RichText::new(subject).color(tokens.dim)).truncate());
    }
}

fn titles(state: &State) -> (String, String) {
    let opening = if state.opening.is_some() { " · another run is being opened" } else { "" };
    let Some(session) = state.shown() else {
        let title = format!("{} suite", state.choices.suite().title());
        return (title, labels(&state.taking_part()));
    };
    let device = labels(&session.run.devices.iter().collect::<Vec<_>>());
    let when = if state.opened.is_some() {
        format!("{} · ", super::history::when(session.run.started_at))
    } else {
        String::new()
    };
    let suite = format!("{} suite", capitalised(&session.run.suite.name));
    match session.run.about.as_ref().and_then(|about| about.name.clone()) {
        Some(name) => (name, format!("{suite} · {when}{device}{opening}")),
        None => (suite, format!("{when}{device}{opening}")),
    }
}

/// The devices' labels; one card that two engines know is named once.
fn labels(devices: &[&Device]) -> String {
    let mut list: Vec<String> = Vec::new();
    for device in devices {
        let label = if devices.len() == 1 { device.label() } else { device.name.clone() };
        if !list.contains(&label) {
            list.push(label);
        }
    }
    list.join(" + ")
}

/// Suite and device for the next run, and how long it takes; while one goes on, how it goes.
fn chooser_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    ui.horizontal(|ui| {
        ui.add_enabled_ui(state.allows(&Action::LookAgain), |ui| {
            suites_ui(ui, state, actions);
            devices_ui(ui, state, actions);
            models_ui(ui, state, actions);
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

/// One of several, or the automatic choice.
struct Chooser<'a> {
    /// What is chosen, for screen readers.
    name: &'a str,
    /// What is chosen now; nothing is the automatic choice.
    chosen: Option<&'a str>,
    /// What the automatic choice means.
    automatic: &'a str,
    /// The id and the words of each.
    options: Vec<(String, String)>,
    width: f32,
}

impl Chooser<'_> {
    fn ui(&self, ui: &mut Ui, mut choose: impl FnMut(Option<String>)) {
        let tokens = Tokens::of(ui);
        let words =
            self.options.iter().find(|(id, _)| Some(id.as_str()) == self.chosen).map(|(_, words)| words.as_str());
        let words = words.or(self.chosen).unwrap_or("Automatic");
        let shown = if self.chosen.is_none() { format!("{}: automatic", self.name) } else { words.to_owned() };
        let combo = ComboBox::from_id_salt(self.name).selected_text(shown).truncate().width(self.width);
        let combo = combo.show_ui(ui, |ui| {
            ui.visuals_mut().selection.bg_fill = tokens.hover;
            ui.visuals_mut().selection.stroke.color = tokens.text;
            if ui.selectable_label(self.chosen.is_none(), "Automatic").on_hover_text(self.automatic).clicked() {
                choose(None);
            }
            for (id, words) in &self.options {
                if ui.selectable_label(Some(id.as_str()) == self.chosen, words).clicked() {
                    choose(Some(id.clone()));
                }
            }
        });
        let name = format!("{}, {words}", self.name);
        let hint = if self.chosen.is_none() { self.automatic } else { words };
        combo
            .response
            .on_hover_text(hint)
            .widget_info(|| eframe::egui::WidgetInfo::labeled(eframe::egui::Role::ComboBox, true, &name));
    }
}

fn devices_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let mut options: Vec<(String, String)> = Vec::new();
    for found in state.found() {
        // One that two engines know by the same id is chosen for both.
        if !options.iter().any(|(id, _)| *id == found.device.id) {
            options.push((found.device.id.clone(), found.device.label()));
        }
    }
    if options.len() < 2 {
        return;
    }
    let chosen = state.chosen_device().map(|found| found.device.id.as_str());
    let automatic = "The best device of each engine";
    let chooser = Chooser { name: "Device", chosen, automatic, options, width: 190.0 };
    chooser.ui(ui, |id| actions.push(Action::Device(id)));
}

/// Which engines take part in the next run. Those that are not there say why.
fn engines_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let known = state.known_engines();
    if known.len() < 2 || state.running() {
        return;
    }
    let tokens = Tokens::of(ui);
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = Vec2::new(space::M, 2.0);
        ui.spacing_mut().interact_size.y = 22.0;
        // An empty box would hardly be seen by its fill.
        ui.visuals_mut().widgets.inactive.bg_stroke = Stroke::new(1.0, tokens.faint);
        ui.label(theme::label("Engines").color(tokens.dim));
        for (engine, absent) in known {
            let allowed = absent.is_none() && state.allows(&Action::UseEngine(engine, true));
            let mut on = absent.is_none() && state.wants_engine(engine);
            let words = RichText::new(engine.title()).color(if absent.is_none() { tokens.text } else { tokens.faint });
            let response = ui.add_enabled(allowed, Checkbox::new(&mut on, words));
            if response.changed() {
                actions.push(Action::UseEngine(engine, on));
            }
            match absent {
                Some(reason) => response.on_disabled_hover_text(capitalised(reason)),
                None => response.on_hover_text(engine.description()),
            };
        }
    });
}

fn models_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let Some(models) = &state.models else { return };
    let usable = models.iter().filter(|model| model.forms.is_ok());
    let options = usable.map(|model| (model.asked.clone(), super::models::short_name(model))).collect();
    let (chosen, automatic) = (state.choices.model.as_deref(), "The language model that suits the device");
    let chooser = Chooser { name: "Model", chosen, automatic, options, width: 150.0 };
    chooser.ui(ui, |asked| actions.push(Action::Model(asked)));
}

fn idle_text_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    if state.device().is_none() {
        return;
    }
    let text = match () {
        () if state.starting => "Starting…".to_owned(),
        () if state.downloading() => "A download goes on; cancel it to measure".to_owned(),
        () => format!("{} entries · {}", state.planned().len(), state.expected()),
    };
    ui.add(Label::new(theme::label(text).color(tokens.dim)).truncate());
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
