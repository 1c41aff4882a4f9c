//! What is compared: a chip for each run, or each engine of the one run.

use eframe::egui::{Button, Color32, ComboBox, Frame, Margin, Role, Sense, Stroke, Ui, Vec2, WidgetInfo};

use crate::{
    analysis::comparison::{Kind, Side},
    export::origin,
    record::Run,
    ui::{
        action::Action,
        comparing::{Chosen, CompareAction, Shown},
        state::State,
        theme::{self, Tokens, space},
        views::history::when,
        widgets::{focus_ring, make_room, words_width},
    },
};

/// Longer titles are cut.
const TITLE_CHARS: usize = 28;

/// Draws the runs, what to compare of them, and the engines where they are compared.
pub(super) fn ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let comparing = &state.comparing;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = Vec2::new(space::S, space::XS);
        for (place, chosen) in comparing.chosen.iter().enumerate() {
            run_ui(ui, place, chosen, comparing.engines_of(), actions);
        }
        subject_ui(ui, state, actions);
    });
    let engines = comparing.shown.as_ref().filter(|shown| shown.compared.kind == Kind::Engines);
    if let Some(shown) = engines.filter(|_| comparing.engines_of().is_some()) {
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing = Vec2::new(space::S, space::XS);
            for (place, side) in shown.compared.sides.iter().enumerate() {
                engine_ui(ui, shown, place, side, actions);
            }
        });
    }
    super::command_ui(ui, comparing, state, actions);
}

/// "A" for the first.
fn letter(place: usize) -> char {
    char::from(b'A' + (place % 26) as u8)
}

fn run_ui(ui: &mut Ui, place: usize, chosen: &Chosen, engines_of: Option<usize>, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let leads = engines_of.map_or(place == 0, |engines| engines == place);
    let is_base = engines_of.is_none() && place == 0;
    let title = format!("{} · {}", short(&chosen.title()), moment(&chosen.run));
    let words = format!("{}  {title}", letter(place));
    make_room_for(ui, &words, is_base);
    chip(ui, leads, tokens.data(place), |ui| {
        let name = match (is_base, engines_of) {
            (true, _) => format!("Baseline {title}"),
            (false, None) => format!("Make {title} the baseline"),
            (false, Some(_)) => format!("Compared: {title}"),
        };
        let button = Button::new(theme::label(words).color(tokens.text)).frame(false);
        let hint = format!("{}: {}", crate::export::plain(&chosen.run.id), origin(&chosen.run));
        let hint = if is_base { hint } else { format!("{hint}\nClick to hold all others against it") };
        let response = ui.add(button).on_hover_text(hint);
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, leads, &name));
        focus_ring(ui, &response);
        if response.clicked() && place > 0 {
            actions.push(Action::Comparing(CompareAction::Baseline(place)));
        }
        if is_base {
            ui.label(theme::label("baseline").color(tokens.dim));
        }
        let cross = Button::new(theme::label("×").color(tokens.dim)).frame(false);
        let cross = ui.add(cross).on_hover_text("Take it out");
        cross.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("Remove {title}")));
        focus_ring(ui, &cross);
        if cross.clicked() {
            actions.push(Action::Comparing(CompareAction::Remove(place)));
        }
    });
}

fn engine_ui(ui: &mut Ui, shown: &Shown, place: usize, side: &Side, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let Some(engine) = side.engine else { return };
    let leads = place == shown.compared.baseline;
    make_room_for(ui, &side.label, leads);
    chip(ui, leads, tokens.engine(engine), |ui| {
        let name = if leads { format!("Baseline {}", side.label) } else { format!("Make {} the baseline", side.label) };
        let button = Button::new(theme::label(&side.label).color(tokens.text)).frame(false);
        let hint = if leads { "All others are held against it" } else { "Click to hold all others against it" };
        let response = ui.add(button).on_hover_text(hint);
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, leads, &name));
        focus_ring(ui, &response);
        if response.clicked() && !leads {
            actions.push(Action::Comparing(CompareAction::Lead(engine)));
        }
        if leads {
            ui.label(theme::label("baseline").color(tokens.dim));
        }
    });
}

/// Goes to the next line where these words, with what is around them in a chip, don't fit into this one.
fn make_room_for(ui: &mut Ui, words: &str, is_base: bool) {
    const AROUND: f32 = 64.0;
    let base = if is_base { words_width(ui, theme::label("baseline")) + 6.0 } else { 0.0 };
    let needed = words_width(ui, theme::label(words)) + base + AROUND;
    make_room(ui, needed);
}

/// A rounded frame with a dot in the colour of the data.
fn chip(ui: &mut Ui, leads: bool, colour: Color32, add: impl FnOnce(&mut Ui)) {
    let tokens = Tokens::of(ui);
    let stroke = Stroke::new(1.0, if leads { tokens.accent_line } else { tokens.line });
    let frame = Frame::new().fill(tokens.panel).stroke(stroke).corner_radius(14);
    frame.inner_margin(Margin::symmetric(10, 1)).show(ui, |ui| {
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = 6.0;
            ui.spacing_mut().interact_size.y = 24.0;
            ui.spacing_mut().button_padding = Vec2::new(2.0, 3.0);
            let (rect, _) = ui.allocate_exact_size(Vec2::splat(9.0), Sense::hover());
            ui.painter().circle_filled(rect.center(), 4.5, colour);
            add(ui);
        });
    });
}

/// What is compared: the runs, or the engines of one of them; and whether every metric is.
fn subject_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let comparing = &state.comparing;
    let several = comparing.chosen.len() > 1;
    let engines = comparing.chosen.iter().enumerate().filter(|(_, chosen)| chosen.has_several_engines());
    let options: Vec<(Option<usize>, String)> = several
        .then(|| (None, "Runs".to_owned()))
        .into_iter()
        .chain(engines.map(|(place, _)| (Some(place), format!("Engines of {}", letter(place)))))
        .collect();
    if options.len() > 1 {
        let current = comparing.engines_of();
        let words = options.iter().find(|(place, _)| *place == current).map_or("Runs", |(_, words)| words.as_str());
        let combo = ComboBox::from_id_salt("subject").selected_text(words.to_owned()).width(120.0).show_ui(ui, |ui| {
            let tokens = Tokens::of(ui);
            ui.visuals_mut().selection.bg_fill = tokens.hover;
            ui.visuals_mut().selection.stroke.color = tokens.text;
            for (place, words) in &options {
                if ui.selectable_label(*place == current, words).clicked() {
                    actions.push(Action::Comparing(CompareAction::Engines(*place)));
                }
            }
        });
        let name = format!("Compare, {words}");
        let response = combo.response.on_hover_text("Compare the runs, or the engines of one of them");
        response.widget_info(|| WidgetInfo::labeled(Role::ComboBox, true, &name));
    }
    let mut all = comparing.all_metrics;
    ui.visuals_mut().widgets.inactive.bg_stroke = Stroke::new(1.0, Tokens::of(ui).faint);
    let check = ui.checkbox(&mut all, "All metrics");
    if check.on_hover_text("A row for every metric, not only for each entry's first").changed() {
        actions.push(Action::Comparing(CompareAction::AllMetrics(all)));
    }
}

fn moment(run: &Run) -> String {
    match (run.is_published(), run.started_at == jiff::Timestamp::UNIX_EPOCH) {
        (true, _) => "published".to_owned(),
        (false, true) => crate::export::plain(&run.suite.name),
        (false, false) => when(run.started_at),
    }
}

fn short(text: &str) -> String {
    if text.chars().count() <= TITLE_CHARS {
        return text.to_owned();
    }
    text.chars().take(TITLE_CHARS - 1).chain(['…']).collect()
}
