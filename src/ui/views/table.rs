//! The queue that becomes the table of results.

use std::borrow::Cow;

use eframe::egui::{Align, Button, Id, Key, Label, Layout, Modifiers, Popup, Pos2, Rect, RichText, Sense, Ui, Vec2};
use egui_extras::{Column, TableBuilder, TableRow};

use super::matrix;
use crate::{
    analysis::Ceilings,
    ui::{
        action::Action,
        picturing::{TableText, with_table_menu},
        rows::{NONE, Row, Tone, table_markdown, table_text},
        session::Session,
        state::State,
        theme::{self, Tokens},
        widgets::{bar, card, focus_ring, tone_colour},
    },
};

const ROW: f32 = 30.0;
/// The height of a row whose engine stands under what was measured.
const TWO_LINES: f32 = 40.0;
const HEADER: f32 = 26.0;

/// Narrower than all columns together, the error and the ceiling are only in the details.
const WIDE: f32 = 150.0 + 190.0 + 154.0 + 76.0 + 76.0 + 122.0 + 120.0;
/// The width of the engines' column.
const ENGINES: f32 = 84.0;
/// The least widths of the other columns: what, how, the value, its interval, how it stands.
const TITLE: f32 = 126.0;
const PARAMETERS: f32 = 150.0;
const VALUE: f32 = 154.0;
const INTERVAL: f32 = 76.0;
const STATE: f32 = 120.0;

/// How rows are drawn.
#[derive(Clone, Copy)]
struct Look {
    /// There is room for all columns.
    wide: bool,
    /// They have details.
    selectable: bool,
    /// Where it is shown whose each is.
    engines: Engines,
}

/// Where the engine of a row is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Engines {
    /// Nowhere: all are of one.
    Nowhere,
    /// In a column of its own.
    Column,
    /// Under what was measured: a column has no room.
    Under,
}

impl Look {
    const fn height(self) -> f32 {
        if matches!(self.engines, Engines::Under) { TWO_LINES } else { ROW }
    }
}

/// Draws the table: the entries of the run that is shown, else what the chosen suite would measure.
pub(super) fn ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let rows = Rows::of(state);
    let selected = state.shown().and_then(|session| session.selected);
    let Some(session) = state.shown() else { return card_ui(ui, state, &rows, selected, actions) };
    let text = |form| match form {
        TableText::Tsv => table_text(session),
        TableText::Markdown => table_markdown(session),
    };
    with_table_menu(ui, actions, text, |ui, actions| card_ui(ui, state, &rows, selected, actions));
}

fn card_ui(ui: &mut Ui, state: &State, rows: &Rows<'_>, selected: Option<usize>, actions: &mut Vec<Action>) {
    card(ui, |ui| {
        let title = if state.shown().is_some() { "Results" } else { "What will be measured" };
        ui.label(theme::section(title));
        if let Rows::Entries(session, ceilings) = rows
            && session.comparison.is_shared()
        {
            return matrix::ui(ui, session, ceilings, actions);
        }
        let top = ui.cursor().top() + HEADER;
        let look = look(ui, rows, state.shown().is_some());
        table_ui(ui, rows, selected, actions, look);
        keep_in_sight(ui, top, look.height(), selected, selected);
        if let Some(selected) = selected {
            actions.extend(move_by_keys(ui, selected, rows.len()));
        }
    });
}

/// The details take room from the table: a row that was just chosen is scrolled to, drawn or not.
pub(super) fn keep_in_sight(ui: &Ui, top: f32, height: f32, selected: Option<usize>, row: Option<usize>) {
    let id = Id::unique("row-in-sight");
    let last = ui.data(|data| data.get_temp::<Option<usize>>(id)).flatten();
    if last == selected {
        return;
    }
    ui.data_mut(|data| data.insert_temp(id, selected));
    if let Some(index) = row {
        let size = Vec2::new(1.0, height);
        let rect = Rect::from_min_size(Pos2::new(ui.min_rect().left(), top + height * index as f32), size);
        ui.scroll_to_rect(rect.expand2(Vec2::new(0.0, height)), None);
    }
}

/// Up and down go from row to row while the details are open.
fn move_by_keys(ui: &Ui, selected: usize, rows: usize) -> Option<Action> {
    let elsewhere = ui.memory(|memory| memory.top_modal_layer().is_some()) || Popup::is_any_open(ui.ctx());
    if elsewhere || ui.text_edit_focused() {
        return None;
    }
    let pressed = |key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key));
    let next = match (pressed(Key::ArrowUp), pressed(Key::ArrowDown)) {
        (true, _) => selected.saturating_sub(1),
        (_, true) => (selected + 1).min(rows.saturating_sub(1)),
        _ => selected,
    };
    (next != selected).then_some(Action::Select(Some(next)))
}

/// The rows, of which those in sight are made: a run may have ten thousand.
enum Rows<'a> {
    /// What the chosen suite would measure.
    Planned(Vec<Row>),
    /// The entries of the run that is shown, and its ceilings, found once.
    Entries(&'a Session, Ceilings<'a>),
}

impl<'a> Rows<'a> {
    fn of(state: &'a State) -> Self {
        match state.shown() {
            Some(session) => Self::Entries(session, Ceilings::of(&session.run)),
            None => Self::Planned(Row::planned(&state.planned())),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Planned(rows) => rows.len(),
            Self::Entries(session, _) => session.run.entries.len(),
        }
    }

    fn get(&self, index: usize) -> Option<Cow<'_, Row>> {
        match self {
            Self::Planned(rows) => rows.get(index).map(Cow::Borrowed),
            Self::Entries(session, ceilings) => Row::of(session, ceilings, index).map(Cow::Owned),
        }
    }

    /// They are of different engines, or one is of several.
    fn have_several_engines(&self) -> bool {
        match self {
            Self::Planned(rows) => {
                let first = rows.first();
                rows.iter().any(|row| row.engines.contains(',') || first.is_some_and(|one| one.engines != row.engines))
            }
            Self::Entries(session, _) => {
                let mut engines = session.run.entries.iter().map(|entry| entry.engine);
                engines.next().is_some_and(|first| engines.any(|engine| engine != first))
            }
        }
    }
}

/// How the rows are drawn in the room there is.
fn look(ui: &Ui, rows: &Rows<'_>, selectable: bool) -> Look {
    let several = rows.have_several_engines();
    let wide = ui.available_width() >= WIDE + if several { ENGINES } else { 0.0 };
    let engines = match (several, selectable && !wide) {
        (false, _) => Engines::Nowhere,
        (true, false) => Engines::Column,
        (true, true) => Engines::Under,
    };
    Look { wide, selectable, engines }
}

fn table_ui(ui: &mut Ui, rows: &Rows<'_>, selected: Option<usize>, actions: &mut Vec<Action>, look: Look) {
    let tokens = Tokens::of(ui);
    let Look { wide, selectable, engines } = look;
    let several = engines != Engines::Nowhere;
    // Before a run, the figures' columns are empty and the engines of a row may be many.
    let planned = (ui.available_width() - TITLE - PARAMETERS - INTERVAL - STATE).clamp(ENGINES, ENGINES + VALUE);
    // No gaps, so that the hairlines of a row meet.
    ui.spacing_mut().item_spacing = Vec2::ZERO;
    // A chosen row is quiet: the solid accent belongs to the primary button.
    ui.visuals_mut().selection.bg_fill = tokens.hover;
    ui.visuals_mut().selection.stroke.color = tokens.text;
    ui.visuals_mut().widgets.hovered.bg_fill = tokens.hover;
    let mut table = TableBuilder::new(ui)
        .id_salt("results")
        .vscroll(false)
        .cell_layout(Layout::left_to_right(Align::Center))
        .column(Column::exact(if wide { 150.0 } else { TITLE }).clip(true))
        .column(Column::exact(if wide { 190.0 } else { PARAMETERS }).clip(true));
    if engines == Engines::Column {
        table = table.column(Column::exact(if selectable { ENGINES } else { planned }).clip(true));
    }
    if selectable || !several {
        table = table.column(Column::exact(VALUE));
    }
    table = table.column(Column::exact(INTERVAL));
    if selectable {
        table = table.sense(Sense::CLICK);
    }
    if wide {
        table = table.column(Column::exact(76.0)).column(Column::exact(122.0));
    }
    let mut names = vec!["Workload", "Parameters"];
    names.extend((engines == Engines::Column).then_some(if selectable { "Engine" } else { "Engines" }));
    names.extend((selectable || !several).then_some("       Value"));
    names.push("± 95 %");
    names.extend(["Rel. error", "Of ceiling"].into_iter().filter(|_| wide));
    names.push("State");
    let table = table.column(Column::remainder().at_least(STATE).clip(true)).header(HEADER, |mut header| {
        for name in &names {
            header.col(|ui| header_ui(ui, name));
        }
    });
    table.body(|body| {
        body.rows(look.height(), rows.len(), |mut line| {
            let index = line.index();
            let Some(row) = rows.get(index) else { return };
            line.set_selected(selected == Some(index));
            line.set_overline(true);
            let clicked = row_ui(&mut line, &row, selected == Some(index), look);
            if clicked || (selectable && line.response().clicked()) {
                actions.push(Action::Select(Some(index).filter(|_| selected != Some(index))));
            }
        });
    });
}

fn header_ui(ui: &mut Ui, name: &str) {
    let dim = Tokens::of(ui).dim;
    let hint = match name.trim() {
        "± 95 %" => "Half the 95 % interval of the median",
        "Rel. error" => "The relative error of the timed result against a reference",
        "Of ceiling" => "The share of the data sheet's figure where it is known, else of the best in this run",
        _ => "",
    };
    let text = theme::label(name.trim()).color(dim);
    let response = if name.starts_with(' ') {
        ui.add_space(24.0);
        ui.label(text)
    } else {
        ui.label(text)
    };
    if !hint.is_empty() {
        response.on_hover_text(hint);
    }
}

fn row_ui(line: &mut TableRow<'_, '_>, row: &Row, on: bool, look: Look) -> bool {
    let mut clicked = false;
    line.col(|ui| clicked = title_ui(ui, row, look.selectable.then_some(on), look.engines == Engines::Under));
    line.col(|ui| cell(ui, RichText::new(&row.parameters).color(Tokens::of(ui).dim)));
    if look.engines == Engines::Column {
        line.col(|ui| cell(ui, RichText::new(&row.engines).color(Tokens::of(ui).dim)));
    }
    if look.selectable || look.engines == Engines::Nowhere {
        line.col(|ui| value_ui(ui, row));
    }
    line.col(|ui| number_cell(ui, &row.interval));
    if look.wide {
        line.col(|ui| number_cell(ui, &row.error));
        line.col(|ui| number_cell(ui, &row.ceiling));
    }
    line.col(|ui| state_ui(ui, row));
    clicked
}

/// The name, which the keyboard can reach to show the details: `chosen` says whether they are shown, if there are any. The
/// engine stands under it where they are stacked.
fn title_ui(ui: &mut Ui, row: &Row, chosen: Option<bool>, stacked: bool) -> bool {
    if !stacked {
        return name_ui(ui, row, chosen);
    }
    let shown = ui.vertical(|ui| {
        ui.spacing_mut().item_spacing.y = 1.0;
        ui.spacing_mut().interact_size.y = 16.0;
        ui.spacing_mut().button_padding.y = 0.0;
        ui.add_space(3.0);
        let clicked = name_ui(ui, row, chosen);
        ui.add(Label::new(theme::label(&row.engines).color(Tokens::of(ui).dim)).truncate());
        clicked
    });
    shown.inner
}

fn name_ui(ui: &mut Ui, row: &Row, chosen: Option<bool>) -> bool {
    let words = RichText::new(&row.title).color(Tokens::of(ui).text);
    let Some(on) = chosen else {
        cell(ui, words);
        return false;
    };
    ui.spacing_mut().button_padding.x = 0.0;
    let response = ui.add(Button::selectable(on, words).frame(false).truncate());
    let name = row.name();
    response.widget_info(|| eframe::egui::WidgetInfo::selected(eframe::egui::Role::Button, true, on, &name));
    focus_ring(ui, &response);
    response.clicked()
}

fn cell(ui: &mut Ui, text: RichText) {
    ui.add(Label::new(text).truncate());
}

fn number_cell(ui: &mut Ui, text: &str) {
    let tokens = Tokens::of(ui);
    let colour = if text == NONE { tokens.faint } else { tokens.dim };
    ui.label(RichText::new(text).monospace().size(11.5).color(colour));
}

fn value_ui(ui: &mut Ui, row: &Row) {
    let tokens = Tokens::of(ui);
    let colour = if row.number == NONE { tokens.faint } else { tokens.text };
    ui.spacing_mut().item_spacing.x = theme::space::S;
    ui.label(RichText::new(row.aligned_number()).monospace().color(colour));
    ui.label(theme::label(row.unit).color(tokens.dim));
}

fn state_ui(ui: &mut Ui, row: &Row) {
    let tokens = Tokens::of(ui);
    ui.spacing_mut().item_spacing.x = theme::space::S;
    // A reason, or several doubts, take the room of the bar.
    if row.state.reason.is_none() && row.marks.len() < 2 {
        bar(ui, 44.0, row.state.share, row.state.tone);
    }
    let colour = match row.state.tone {
        Tone::Good => tokens.dim,
        tone => tone_colour(tokens, tone),
    };
    let label = Label::new(theme::label(&row.state.text).color(colour));
    let label = ui.add(if row.marks.is_empty() { label.truncate() } else { label.extend() });
    if let Some(reason) = &row.state.reason {
        label.on_hover_text(reason);
    }
    for (word, reason) in &row.marks {
        ui.label(theme::label(*word).color(tokens.warn)).on_hover_text(reason);
    }
}
