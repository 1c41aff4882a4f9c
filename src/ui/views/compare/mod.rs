//! Which is faster, and is it more than noise?

mod chips;
mod conditions;
mod picker;
mod samples;
mod table;

use eframe::egui::{Button, ComboBox, Label, RichText, ScrollArea, Sides, TextEdit, Ui, Vec2, WidgetInfo};

pub(in crate::ui) use self::table::Sort;
use self::{picker::Picker, table::Rows};
use crate::{
    analysis::comparison::{Kind, SIDES_MAX, Verdict},
    chart::Chart,
    ui::{
        action::{Action, command_of},
        comparing::{CompareAction, CompareText, Comparing, RunSource, Shown},
        picturing::with_menu,
        relative,
        rows::capitalised,
        state::State,
        theme::{self, Tokens, space},
        widgets::{action_button, card, empty, focus_ring},
    },
};

/// The chart, or the samples of a row in its place.
const CHART: f32 = 186.0;

/// The least that the table's card is given; beyond, the view scrolls.
const TABLE_MIN: f32 = 300.0;

/// What is in the card beside the rows: margins, the tools over them, the heading, the method under them.
const BESIDE_TABLE: f32 = 152.0;

/// What is typed and opened in this view.
#[derive(Debug, Default)]
pub(in crate::ui) struct Forms {
    filter: String,
    changed_only: bool,
    sort: Sort,
    /// Bars are in ×, not in percent.
    times: bool,
    /// All values of what differs are shown.
    conditions: bool,
    picker: Option<Picker>,
    rows: Rows,
}

impl Forms {
    /// Opens the list of runs to choose from, or closes it.
    pub(in crate::ui) fn toggle_picker(&mut self) {
        self.picker = if self.picker.is_some() { None } else { Some(Picker::default()) };
    }
}

/// Draws the view.
pub(in crate::ui) fn ui(ui: &mut Ui, state: &State, forms: &mut Forms, actions: &mut Vec<Action>) {
    let comparing = &state.comparing;
    header_ui(ui, state, actions);
    ui.add_space(space::S);
    let room = ui.available_height();
    ScrollArea::vertical().id_salt("compare").auto_shrink(false).show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = space::S;
        let top = ui.cursor().top();
        if !comparing.chosen.is_empty() {
            chips::ui(ui, state, actions);
        }
        let Some(shown) = &comparing.shown else { return nothing_ui(ui, state, actions) };
        conditions::ui(ui, shown, &mut forms.conditions);
        forms.sort = forms.sort.within(&shown.compared);
        forms.rows.renew(shown, &forms.filter, forms.changed_only, forms.sort);
        match comparing.selected.and_then(|place| Some((place, shown.compared.rows.get(place)?))) {
            Some((_, row)) => card(ui, |ui| samples::ui(ui, shown, row, CHART, actions)),
            None => card(ui, |ui| chart_ui(ui, shown, forms, actions)),
        }
        // What is left of the window, however far the view is scrolled.
        let height = (room - (ui.cursor().top() - top)).max(TABLE_MIN) - BESIDE_TABLE;
        card(ui, |ui| {
            tools_ui(ui, shown, forms);
            table::ui(ui, comparing, shown, forms, height, actions);
            method_ui(ui, shown);
        });
        ui.add_space(space::S);
    });
    if let Some(picker) = &mut forms.picker
        && !picker.ui(ui, state, actions)
    {
        forms.picker = None;
    }
}

fn header_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let (tokens, comparing) = (Tokens::of(ui), &state.comparing);
    Sides::new().height(theme::CONTROL).shrink_left().truncate().show(
        ui,
        |ui| {
            ui.label(RichText::new("Compare").heading());
            let text = match comparing.chosen.len() {
                0 => String::new(),
                1 => "1 run".to_owned(),
                count => format!("{count} runs"),
            };
            ui.label(RichText::new(text).color(tokens.dim));
            if let Some(word) = progress(state).filter(|_| comparing.shown.is_some()) {
                ui.label(theme::label(word).color(tokens.dim));
            }
        },
        |ui| {
            action_button(ui, state, &Action::Comparing(CompareAction::Pick), actions);
            if comparing.shown.is_some() {
                copy_ui(ui, state, actions);
            }
        },
    );
}

/// What goes on, or waits.
fn progress(state: &State) -> Option<&'static str> {
    let comparing = &state.comparing;
    let waits = comparing.reading || comparing.pending;
    match () {
        () if waits && (state.running() || state.starting) => Some("Goes on when the run has ended"),
        () if comparing.reading => Some("Reading…"),
        () if comparing.pending => Some("Comparing…"),
        () => None,
    }
}

fn copy_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let all = [
        ("As TSV, for a spreadsheet", CompareText::Tsv),
        ("As Markdown", CompareText::Markdown),
        ("The command line", CompareText::Command),
    ];
    let menu = eframe::egui::containers::menu::MenuButton::new("Copy");
    let (response, _) = menu.ui(ui, |ui| {
        for (words, text) in all {
            let action = Action::Comparing(CompareAction::Copy(text));
            let hint = command_of(&action).map_or("", |command| command.tooltip);
            if ui.add_enabled(state.allows(&action), Button::new(words)).on_hover_text(hint).clicked() {
                actions.push(action);
                ui.close();
            }
        }
    });
    response.on_hover_text("Copy the comparison, or the command line that makes it");
}

/// Why there is nothing to show, and what to do about it.
fn nothing_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let comparing = &state.comparing;
    if let Some(sentence) = progress(state) {
        return empty(ui, sentence, |_| {});
    }
    if let Some(error) = &comparing.error {
        return empty(ui, &capitalised(error), |_| {});
    }
    let sentence = match comparing.chosen.len() {
        0 => format!(
            "Choose two to {SIDES_MAX} runs to hold against each other, or one whose engines are compared; run files and \
             llama-bench's JSON can be dropped here"
        ),
        _ => "One more run is needed; this one has a single engine".to_owned(),
    };
    empty(ui, &sentence, |ui| {
        action_button(ui, state, &Action::Comparing(CompareAction::Pick), actions);
        if comparing.chosen.is_empty() {
            let button = ui.button("Engines of the Apple M5 reference");
            let hint = "Compare PyTorch, MLX and llama.cpp by the figures that were published for an Apple M5";
            if button.on_hover_text(hint).clicked() {
                actions.push(Action::Comparing(CompareAction::Add(vec![RunSource::Reference])));
            }
        }
    });
}

fn chart_ui(ui: &mut Ui, shown: &Shown, forms: &mut Forms, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let (compared, width) = (&shown.compared, ui.available_width());
    Sides::new().height(22.0).shrink_left().truncate().show(
        ui,
        |ui| {
            let base = compared.label(compared.baseline);
            ui.label(theme::section(format!("Speed relative to {base}")));
            let groups = forms.rows.bars().into_iter().flat_map(|bars| &bars.groups);
            let inverted = groups.into_iter().any(|group| group.inverted);
            let words = if inverted {
                "higher is better; times (s) and memory, of which less is better, are turned round"
            } else {
                "higher is better"
            };
            ui.label(theme::label(words).color(tokens.dim));
            let more = forms.rows.bars().map_or(0, |bars| relative::left_out(bars, width));
            if more > 0 {
                ui.label(theme::label(format!("· {more} more rows in the table")).color(tokens.faint));
            }
        },
        |ui| {
            ui.visuals_mut().selection.bg_fill = tokens.hover;
            ui.visuals_mut().selection.stroke.color = tokens.text;
            // As high as the button that closes the samples, so that nothing moves when they are opened.
            ui.spacing_mut().interact_size.y = 22.0;
            ui.spacing_mut().button_padding.y = 2.0;
            for (on, words, hint) in [(true, "×", "Bars as multiples"), (false, "%", "Bars in percent")] {
                let button = Button::selectable(forms.times == on, words).min_size(Vec2::new(28.0, 22.0));
                let response = ui.add(button).on_hover_text(hint);
                response
                    .widget_info(|| WidgetInfo::selected(eframe::egui::Role::Button, true, forms.times == on, hint));
                if response.clicked() {
                    forms.times = on;
                }
            }
        },
    );
    let Some(bars) = forms.rows.bars() else { return };
    let colours = |side: usize| side_colour(tokens, shown, side);
    let mut clicked = None;
    with_menu(ui, Chart::Compare, actions, |ui| {
        clicked = relative::ui(ui, bars, CHART - 30.0, forms.times, colours);
    });
    if let Some(row) = clicked {
        actions.push(Action::Comparing(CompareAction::Select(Some(row))));
    }
}

/// The filter, and how the verdicts are spread.
fn tools_ui(ui: &mut Ui, shown: &Shown, forms: &mut Forms) {
    let tokens = Tokens::of(ui);
    ui.horizontal_wrapped(|ui| {
        ui.visuals_mut().widgets.inactive.bg_stroke = eframe::egui::Stroke::new(1.0, tokens.line);
        let field = TextEdit::singleline(&mut forms.filter).hint_text("Filter rows").desired_width(160.0);
        let field = ui.add(field.margin(eframe::egui::Margin::symmetric(8, 4)));
        field.widget_info(|| WidgetInfo::labeled(eframe::egui::Role::TextInput, true, "Filter rows"));
        ui.scope(|ui| {
            ui.visuals_mut().widgets.inactive.bg_stroke = eframe::egui::Stroke::new(1.0, tokens.faint);
            ui.checkbox(&mut forms.changed_only, "Changed only").on_hover_text("Only rows that are faster or slower");
        });
        sort_ui(ui, shown, forms);
        let (listed, all) = (forms.rows.listed().len(), shown.compared.rows.len());
        let rows = if listed == all { format!("{all} rows") } else { format!("{listed} of {all} rows") };
        ui.label(theme::label(rows).color(tokens.dim));
        let counts = shown.compared.counts();
        let words = [
            (counts.faster, "▲", "faster", tokens.good),
            (counts.slower, "▼", "slower", tokens.bad),
            (counts.same, "=", "same", tokens.dim),
            (counts.not_comparable, "–", "not comparable", tokens.warn),
        ];
        for (count, sign, word, colour) in words.into_iter().filter(|(count, ..)| *count > 0) {
            ui.add(Label::new(theme::label(format!("{sign} {count} {word}")).color(colour)).extend());
        }
    });
}

fn sort_ui(ui: &mut Ui, shown: &Shown, forms: &mut Forms) {
    let compared = &shown.compared;
    let mut options = vec![(Sort::Measured, "As measured".to_owned()), (Sort::Name, "By name".to_owned())];
    for side in (0..compared.sides.len()).filter(|side| *side != compared.baseline) {
        let label = compared.label(side);
        options.push((Sort::Slowest(side), format!("{label}: slowest first")));
        options.push((Sort::Fastest(side), format!("{label}: fastest first")));
    }
    let chosen =
        options.iter().find(|(sort, _)| *sort == forms.sort).map_or("As measured", |(_, words)| words.as_str());
    let combo = ComboBox::from_id_salt("sort").selected_text(chosen.to_owned()).truncate().width(130.0);
    let response = combo.show_ui(ui, |ui| {
        let tokens = Tokens::of(ui);
        ui.visuals_mut().selection.bg_fill = tokens.hover;
        ui.visuals_mut().selection.stroke.color = tokens.text;
        for (sort, words) in &options {
            if ui.selectable_label(forms.sort == *sort, words).clicked() {
                forms.sort = *sort;
            }
        }
    });
    let name = format!("Order, {chosen}");
    let response = response.response.on_hover_text("The order of the rows, and of the bars");
    response.widget_info(|| WidgetInfo::labeled(eframe::egui::Role::ComboBox, true, &name));
}

/// How it was compared, and the command that does the same.
fn method_ui(ui: &mut Ui, shown: &Shown) {
    let tokens = Tokens::of(ui);
    ui.add_space(space::XS);
    let line = Label::new(theme::label(shown.compared.method_line()).color(tokens.faint)).wrap();
    ui.add(line).on_hover_text(shown.compared.method().join("\n"));
}

/// The colour of a verdict; sign and word say the same.
fn verdict_colour(tokens: &Tokens, verdict: &Verdict) -> eframe::egui::Color32 {
    use crate::analysis::comparison::Why;
    match verdict {
        Verdict::Faster => tokens.good,
        Verdict::Slower => tokens.bad,
        Verdict::Same | Verdict::NotComparable(Why::Missing(_) | Why::NoSamples) => tokens.dim,
        Verdict::NotComparable(_) => tokens.warn,
    }
}

/// The colour of a side: a run's place, or the engine's own.
fn side_colour(tokens: &Tokens, shown: &Shown, side: usize) -> eframe::egui::Color32 {
    let engine = shown.compared.sides.get(side).and_then(|side| side.engine);
    match engine.filter(|_| shown.compared.kind == Kind::Engines) {
        Some(engine) => tokens.engine(engine),
        None => tokens.data(side),
    }
}

/// The line under the chips: what the same comparison is called on a command line.
fn command_ui(ui: &mut Ui, comparing: &Comparing, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let command = comparing.command();
    let action = Action::Comparing(CompareAction::Copy(CompareText::Command));
    let words = RichText::new(&command).monospace().size(11.0).color(tokens.faint);
    let button = Button::new(words).frame(false).truncate();
    ui.scope(|ui| {
        ui.spacing_mut().interact_size.y = 16.0;
        ui.spacing_mut().button_padding = Vec2::ZERO;
        let response = ui.add_enabled(state.allows(&action), button).on_hover_text(format!("{command}\nClick to copy"));
        response.widget_info(|| WidgetInfo::labeled(eframe::egui::Role::Button, true, format!("Copy {command}")));
        focus_ring(ui, &response);
        if response.clicked() {
            actions.push(action);
        }
    });
}
