//! Which frameworks can be measured here, and getting those that can't.

use eframe::egui::{Align, Button, Frame, Id, Label, Layout, Margin, Rect, RichText, ScrollArea, Sides, Ui, Vec2};

use crate::{
    engine::{EngineId, find::FoundIn},
    provision::{Check, InstallProgress, ProgressUnit},
    ui::{
        action::{Action, EnginePath},
        engine_state::{EngineStage, EngineWork, ListedEngine},
        keeping::{size, versions},
        legend::mark_ui,
        rows::{Tone, capitalised},
        state::State,
        theme::{self, Tokens, space},
        widgets::{Named, action_button, bar, card, empty, facts, tone_colour},
    },
    units::percent,
};

/// Draws the view.
pub(in crate::ui) fn ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    Sides::new().height(theme::CONTROL).shrink_left().truncate().show(
        ui,
        |ui| {
            ui.label(RichText::new("Engines").heading());
            ui.label(RichText::new("What does the work that is measured").color(tokens.dim));
        },
        |ui| action_button(ui, state, &Action::LookAgain, actions),
    );
    ui.add_space(space::S);
    ScrollArea::vertical().id_salt("engines").auto_shrink(false).show(ui, |ui| {
        ui.spacing_mut().item_spacing = Vec2::splat(space::M);
        for engine in EngineId::BUILT_IN {
            card(ui, |ui| built_in_ui(ui, state, engine));
        }
        match &state.engines {
            None => empty(ui, "Looking for engines…", |_| {}),
            Some(listed) => {
                for listed in listed {
                    card(ui, |ui| listed_ui(ui, state, listed, actions));
                }
            }
        }
        ui.add_space(space::S);
    });
}

fn built_in_ui(ui: &mut Ui, state: &State, engine: EngineId) {
    ui.spacing_mut().item_spacing.y = space::XS;
    title_ui(ui, engine, ("Part of Roofline", Tone::Good));
    describe_ui(ui, engine);
    facts(ui, &[("Devices", devices(state, engine))]);
}

fn title_ui(ui: &mut Ui, engine: EngineId, (word, tone): (&str, Tone)) {
    let tokens = Tokens::of(ui);
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = space::S;
        mark_ui(ui, engine);
        ui.label(theme::section(engine.title()).color(tokens.engine(engine)));
        ui.label(theme::label(word).color(tone_colour(tokens, tone)));
    });
}

fn describe_ui(ui: &mut Ui, engine: EngineId) {
    let dim = Tokens::of(ui).dim;
    ui.add(Label::new(theme::label(engine.description()).color(dim)).wrap());
}

/// The devices that it can measure, or why there is none.
fn devices(state: &State, engine: EngineId) -> String {
    let found = state.found().iter().filter(|found| found.engine == engine);
    let labels: Vec<String> = found.map(|found| found.device.label()).collect();
    let absent = || state.absent.iter().find(|(absent, _)| *absent == engine).map(|(_, reason)| capitalised(reason));
    if labels.is_empty() { absent().unwrap_or_else(|| "None".to_owned()) } else { labels.join(", ") }
}

fn listed_ui(ui: &mut Ui, state: &State, listed: &ListedEngine, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let engine = listed.engine;
    ui.spacing_mut().item_spacing.y = space::XS;
    title_ui(ui, engine, word(listed));
    describe_ui(ui, engine);
    match &listed.found {
        Ok(located) => {
            let place = format!("{}: {}", capitalised(located.origin.words()), located.place.file().display());
            let mut lines = vec![("Version", versions(located)), ("Where", place)];
            lines.extend(listed.installed_bytes.map(|bytes| ("Installed", size(bytes))));
            lines.push(("Devices", devices(state, engine)));
            facts(ui, &lines);
        }
        Err(missing) => {
            ui.add(Label::new(RichText::new(capitalised(&missing.reason)).color(tokens.text)).wrap());
            ui.horizontal(|ui| {
                ui.label(theme::label("Without the window").color(tokens.dim));
                let command = RichText::new(&missing.command).monospace().size(11.5).color(tokens.text);
                ui.add(Label::new(command).selectable(true).truncate());
                let hint = "Copy this command";
                let named = Named { words: "Copy", name: format!("Copy the command for {}", engine.title()), hint };
                named.ui(ui, state, Action::CopyText(missing.command.clone()), actions);
            });
        }
    }
    ui.add_space(space::XS);
    ui.horizontal_wrapped(|ui| buttons_ui(ui, state, listed, actions));
    if let Some(work) = state.engine_work.as_ref().filter(|work| work.engine == engine) {
        work_ui(ui, state, work, actions);
    }
}

fn word(listed: &ListedEngine) -> (&'static str, Tone) {
    match &listed.found {
        Ok(located) if located.origin == FoundIn::Installed => ("Installed", Tone::Good),
        Ok(_) => ("Found", Tone::Good),
        Err(_) => ("Not found", Tone::Faint),
    }
}

/// What can be done with it.
fn buttons_ui(ui: &mut Ui, state: &State, listed: &ListedEngine, actions: &mut Vec<Action>) {
    let (engine, title) = (listed.engine, listed.engine.title());
    ui.spacing_mut().item_spacing = Vec2::splat(space::XS);
    let mut button = |words: &'static str, hint: &'static str, action: Action| {
        let name = format!("{} {title}", words.trim_end_matches('…'));
        Named { words, name, hint }.ui(ui, state, action, actions);
    };
    let known = EngineId::ALL.contains(&engine);
    if known && listed.installed_bytes.is_some() {
        button("Update", "Bring it to the versions that this Roofline pins", Action::PlanEngine(engine));
        button("Remove…", "Delete what Roofline installed of it", Action::AskRemoveEngine(engine));
    } else if known {
        button("Install…", "Shows what that does and how large it is first", Action::PlanEngine(engine));
    }
    if known {
        let file = "Choose the program: the Python that holds it, or llama-bench";
        button("Choose program…", file, Action::ChooseEngine(engine, EnginePath::File));
        let folder = "Choose the folder: the environment that holds it, or that of llama-bench";
        button("Choose folder…", folder, Action::ChooseEngine(engine, EnginePath::Folder));
    }
    if listed.chosen {
        button("Forget choice", "Use the first that is found again", Action::ForgetEngine(engine));
    }
    if let Some(folder) = &listed.folder {
        button("Open folder", "Show Roofline's folder of it", Action::OpenFolder(folder.clone()));
    }
    button("Check", "Start it, and say what is wrong with it", Action::CheckEngine(engine));
}

/// What goes on, what is asked, or how it ended.
fn work_ui(ui: &mut Ui, state: &State, work: &EngineWork, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let title = work.engine.title();
    let line = |ui: &mut Ui, tone: Tone, text: String| {
        ui.add(Label::new(RichText::new(text).color(tone_colour(tokens, tone))).wrap().selectable(true));
    };
    let frame = Frame::new().fill(tokens.ground).corner_radius(8).inner_margin(Margin::same(12));
    let shown = frame.show(ui, |ui| {
        ui.set_width(ui.available_width());
        ui.spacing_mut().item_spacing.y = space::S;
        match &work.stage {
            EngineStage::Planning => line(ui, Tone::Dim, "Finding out what that would do…".to_owned()),
            EngineStage::Planned(text) => {
                let shown = RichText::new(text.trim_end()).monospace().size(11.5).color(tokens.text);
                ui.add(Label::new(shown).wrap().selectable(true));
                let hint = "Begin; it can be cancelled at any time";
                choice_ui(ui, state, ("Install", format!("Install {title} now"), hint), Action::InstallEngine, actions);
            }
            EngineStage::Installing(progress) => {
                progress_ui(ui, progress.as_ref());
                action_button(ui, state, &Action::CancelInstall, actions);
            }
            EngineStage::AskRemove(bytes) => {
                line(ui, Tone::Warn, format!("Remove {title}, with its downloads? That frees {}", size(*bytes)));
                let (name, hint) = (format!("Remove {title} now"), "Delete it");
                choice_ui(ui, state, ("Remove", name, hint), Action::RemoveEngine(work.engine), actions);
            }
            EngineStage::Removing => line(ui, Tone::Dim, "Removing…".to_owned()),
            EngineStage::Checking => line(ui, Tone::Dim, "Checking…".to_owned()),
            EngineStage::Checked(checks) => checks_ui(ui, checks),
            EngineStage::Current => line(ui, Tone::Good, "It is up to date".to_owned()),
            EngineStage::Installed(text) => line(ui, Tone::Good, format!("Installed: {text}")),
            EngineStage::Cancelled => {
                line(ui, Tone::Dim, "Cancelled; what was downloaded is kept for the next time".to_owned());
            }
            EngineStage::Removed(bytes) => line(ui, Tone::Good, format!("Removed: {} are free again", size(*bytes))),
            EngineStage::Failed(sentence) => line(ui, Tone::Bad, capitalised(sentence)),
        }
        let asks = matches!(work.stage, EngineStage::Planned(_) | EngineStage::AskRemove(_));
        if !asks && !work.goes_on() {
            let named = Named { words: "Close", name: format!("Close what is told of {title}"), hint: "Close this" };
            named.ui(ui, state, Action::CloseEngineWork, actions);
        }
    });
    bring_into_sight(ui, work, shown.response.rect);
}

/// What is told of an engine may begin under the window's end: each stage is scrolled to when it is first told.
fn bring_into_sight(ui: &Ui, work: &EngineWork, rect: Rect) {
    let id = Id::unique("engine-work-in-sight");
    let now = (work.engine, std::mem::discriminant(&work.stage));
    if ui.data(|data| data.get_temp(id)) == Some(now) {
        return;
    }
    ui.data_mut(|data| data.insert_temp(id, now));
    // Of what is higher than the window, the beginning is shown.
    let is_higher = rect.height() > ui.clip_rect().height();
    ui.scroll_to_rect(rect, is_higher.then_some(Align::Min));
}

/// Yes in the accent's colour, and no.
fn choice_ui(
    ui: &mut Ui,
    state: &State,
    (words, name, hint): (&'static str, String, &'static str),
    action: Action,
    actions: &mut Vec<Action>,
) {
    let tokens = Tokens::of(ui);
    ui.horizontal(|ui| {
        let text = theme::medium(words).color(tokens.on_accent);
        let button = Button::new(text).fill(tokens.accent).min_size(Vec2::new(88.0, theme::CONTROL));
        let allowed = state.allows(&action);
        let response = ui.add_enabled(allowed, button).on_hover_text(hint);
        response.widget_info(|| eframe::egui::WidgetInfo::labeled(eframe::egui::Role::Button, allowed, &name));
        if response.clicked() {
            actions.push(action);
        }
        if ui.add(Button::new("Leave it").min_size(Vec2::new(0.0, theme::CONTROL))).clicked() {
            actions.push(Action::CloseEngineWork);
        }
    });
}

/// How far an installation is.
fn progress_ui(ui: &mut Ui, progress: Option<&InstallProgress>) {
    let tokens = Tokens::of(ui);
    let Some(progress) = progress else {
        ui.label(RichText::new("Beginning…").color(tokens.dim));
        return;
    };
    let share = if progress.total > 0 { progress.done as f64 / progress.total as f64 } else { 0.0 };
    let counted = match progress.unit {
        _ if progress.total == 0 => String::new(),
        ProgressUnit::Bytes => format!(" · {} of about {}", size(progress.done), size(progress.total)),
        ProgressUnit::Steps => format!(" · {} of {} · {}", progress.done, progress.total, percent(share)),
    };
    ui.horizontal(|ui| {
        bar(ui, 120.0, share as f32, Tone::Active);
        let text = format!("{}{counted}", capitalised(&progress.what));
        ui.add(Label::new(theme::label(text).color(tokens.text)).truncate());
    });
}

/// One line a check, and what to do about what is wrong.
fn checks_ui(ui: &mut Ui, checks: &[Check]) {
    let tokens = Tokens::of(ui);
    ui.spacing_mut().item_spacing.y = space::XS;
    for check in checks {
        let (word, tone, text) = match &check.found {
            Ok(found) => ("ok", Tone::Good, found),
            Err(wrong) => ("wrong", Tone::Bad, wrong),
        };
        ui.horizontal_top(|ui| {
            ui.allocate_ui_with_layout(Vec2::new(96.0, 18.0), Layout::left_to_right(Align::Min), |ui| {
                ui.set_width(96.0);
                ui.label(RichText::new(capitalised(check.what)).color(tokens.dim));
            });
            ui.label(theme::label(word).color(tone_colour(tokens, tone)));
            let remedy = check.remedy.as_ref().map_or_else(String::new, |remedy| format!("; do: {remedy}"));
            let text = RichText::new(format!("{text}{remedy}")).color(tokens.text);
            ui.add(Label::new(text).wrap().selectable(true));
        });
    }
}
