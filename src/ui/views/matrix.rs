//! The results of several engines: one row a workload, one column an engine.

use eframe::egui::{Align, Key, Label, Layout, Modifiers, Popup, RichText, ScrollArea, Ui, Vec2};
use egui_extras::{Column, TableBuilder};

use super::table::keep_in_sight;
use crate::{
    analysis::{
        Ceilings, Comparison,
        frameworks::{Cell, Row, times},
    },
    record::Entry,
    ui::{
        action::Action,
        legend::engine_ui,
        rows::{NONE, Row as Words, Tone, capitalised},
        session::Session,
        theme::{self, Tokens},
        widgets::{CELL_PAD, cell_button, tone_colour},
    },
    units::{Scale, percent},
};

/// The height of a row: two lines.
const ROW: f32 = 40.0;
const HEADER: f32 = 38.0;
/// The width of what is measured, and of the unit.
const NAME: f32 = 226.0;
const UNIT: f32 = 64.0;
/// An engine's column is at least and at most so wide.
const ENGINE: f32 = 122.0;
const ENGINE_MOST: f32 = 168.0;
/// The same in a narrow window.
const NAME_NARROW: f32 = 166.0;
const UNIT_NARROW: f32 = 56.0;
const ENGINE_NARROW: f32 = 104.0;

/// Draws the table.
pub(super) fn ui(ui: &mut Ui, session: &Session, ceilings: &Ceilings<'_>, actions: &mut Vec<Action>) {
    let comparison = &session.comparison;
    legend_ui(ui, comparison);
    let chosen = session.selected.and_then(|selected| comparison.place_of(selected));
    let top = ui.cursor().top() + HEADER;
    let count = comparison.columns.len().max(1) as f32;
    // Where all would not fit, each has a little less.
    let is_narrow = ui.available_width() < NAME + UNIT + count * ENGINE;
    let (name, unit, engine) = if is_narrow { (NAME_NARROW, UNIT_NARROW, ENGINE_NARROW) } else { (NAME, UNIT, ENGINE) };
    let width = ((ui.available_width() - name - unit) / count).clamp(engine, ENGINE_MOST);
    ScrollArea::horizontal().id_salt(("matrix", session.run.id.as_str())).auto_shrink([false, true]).show(ui, |ui| {
        // No gaps, so that the hairlines of a row meet.
        ui.spacing_mut().item_spacing = Vec2::ZERO;
        let mut table = TableBuilder::new(ui)
            .id_salt("engines")
            .vscroll(false)
            .cell_layout(Layout::left_to_right(Align::Center))
            .column(Column::exact(name).clip(true))
            .column(Column::exact(unit).clip(true));
        for _ in &comparison.columns {
            table = table.column(Column::exact(width).clip(true));
        }
        let table = table.header(HEADER, |mut header| {
            for name in ["Workload", "Unit"] {
                header.col(|ui| {
                    let dim = Tokens::of(ui).dim;
                    ui.label(theme::label(name).color(dim));
                });
            }
            for index in 0..comparison.columns.len() {
                header.col(|ui| heading_ui(ui, comparison, index));
            }
        });
        table.body(|body| {
            body.rows(ROW, comparison.rows.len(), |mut line| {
                let Some(row) = comparison.rows.get(line.index()) else { return };
                line.set_overline(true);
                line.col(|ui| name_ui(ui, row));
                let scale = row.scale();
                line.col(|ui| {
                    let dim = Tokens::of(ui).dim;
                    ui.label(theme::label(scale.name).color(dim));
                });
                for column in 0..comparison.columns.len() {
                    line.col(|ui| cell_ui(ui, session, ceilings, (row, column), scale, actions));
                }
            });
        });
    });
    keep_in_sight(ui, top, ROW, session.selected, chosen.map(|(row, _)| row));
    if let Some(chosen) = chosen {
        actions.extend(move_by_keys(ui, comparison, chosen));
    }
}

/// What the ratios are to.
fn legend_ui(ui: &mut Ui, comparison: &Comparison) {
    let mut baselines: Vec<&str> = Vec::new();
    for column in 0..comparison.columns.len() {
        let title = comparison.baseline_of(column).map(|baseline| comparison.title(baseline));
        baselines.extend(title.filter(|title| !baselines.contains(title)));
    }
    if !baselines.is_empty() {
        let dim = Tokens::of(ui).dim;
        let text =
            format!("× is the ratio to {} on the same device; best is clearly the best there", baselines.join(", "));
        ui.add(Label::new(theme::label(text).color(dim)).wrap());
    }
}

/// An engine in its colour, and its device where there are several.
fn heading_ui(ui: &mut Ui, comparison: &Comparison, index: usize) {
    let Some(column) = comparison.columns.get(index) else { return };
    let several = comparison.columns.iter().any(|other| other.place != column.place);
    let dim = Tokens::of(ui).dim;
    ui.add_space(CELL_PAD);
    let shown = ui.vertical(|ui| {
        ui.spacing_mut().item_spacing = Vec2::new(4.0, 1.0);
        ui.spacing_mut().interact_size.y = 14.0;
        ui.add_space(if several { 2.0 } else { 10.0 });
        ui.horizontal(|ui| engine_ui(ui, column.engine));
        if several {
            ui.add(Label::new(theme::label(capitalised(&column.place.label())).color(dim)).truncate());
        }
    });
    shown.response.on_hover_text(format!("{} on {}", column.title, column.device_label));
}

fn name_ui(ui: &mut Ui, row: &Row) {
    let tokens = Tokens::of(ui);
    ui.vertical(|ui| {
        ui.set_max_width(ui.available_width() - 10.0);
        ui.spacing_mut().item_spacing.y = 1.0;
        ui.add_space(3.0);
        ui.add(Label::new(RichText::new(row.workload.title()).color(tokens.text)).truncate());
        ui.add(Label::new(theme::label(row.workload.parameters()).color(tokens.dim)).truncate());
    });
}

fn cell_ui(
    ui: &mut Ui,
    session: &Session,
    ceilings: &Ceilings<'_>,
    (row, column): (&Row, usize),
    scale: Scale,
    actions: &mut Vec<Action>,
) {
    let tokens = Tokens::of(ui);
    let found = row.cells.get(column).and_then(Option::as_ref);
    let entry = found.and_then(|cell| session.run.entries.get(cell.entry));
    let words = found.and_then(|cell| Words::of(session, ceilings, cell.entry));
    let (Some(cell), Some(entry), Some(words)) = (found, entry, words) else {
        ui.add_space(CELL_PAD);
        let none = ui.label(RichText::new(NONE).color(tokens.faint));
        none.on_hover_text(capitalised(&session.comparison.absence(column, &row.workload)));
        return;
    };
    let shown = Shown::of(&session.comparison, cell, entry, &words, column, scale);
    let on = session.selected.is_some_and(|selected| cell.holds(selected));
    let name = format!(
        "{}, {}, {}: {}",
        session.comparison.title(column),
        row.workload.title(),
        row.workload.parameters(),
        shown.spoken
    );
    let response = cell_button(ui, on, &name, |ui| shown.ui(ui));
    if response.on_hover_text(&shown.hint).clicked() {
        actions.push(Action::Select(Some(cell.entry).filter(|_| !on)));
    }
}

/// What a cell says.
struct Shown {
    /// The number, or how it stands.
    first: (String, Tone, bool),
    /// The interval and the ratio, or the doubts.
    second: (String, Tone),
    best: bool,
    spoken: String,
    hint: String,
}

impl Shown {
    fn of(comparison: &Comparison, cell: &Cell, entry: &Entry, words: &Words, column: usize, scale: Scale) -> Self {
        let Some(figure) = cell.figure else {
            let text = entry.outcome.word().to_owned();
            let text = if words.state.tone == Tone::Active { words.state.text.clone() } else { text };
            let reason = words.state.reason.clone().map_or_else(|| text.clone(), |reason| capitalised(&reason));
            let first = (text.clone(), words.state.tone, false);
            return Self { first, second: (String::new(), Tone::Dim), best: false, spoken: text, hint: reason };
        };
        let number = scale.number(figure.value);
        let width = entry.headline().and_then(|m| m.summary.relative_half_width());
        let width = width.map(|width| format!("± {}", percent(width)));
        let ratio = cell.ratio.map(times);
        let marks: Vec<&str> = words.marks.iter().map(|(word, _)| *word).collect();
        let barred = cell.barred.as_ref().filter(|_| marks.is_empty()).map(|_| "not compared");
        let second = match (marks.is_empty(), barred) {
            (true, None) => (ratio.iter().chain(&width).cloned().collect::<Vec<_>>().join(" · "), Tone::Dim),
            (_, barred) => (marks.into_iter().chain(barred).collect::<Vec<_>>().join(", "), Tone::Warn),
        };
        let tone = if cell.barred.is_some() { Tone::Faint } else { Tone::Active };
        let best = if cell.best { ", best" } else { "" };
        let spoken = format!("{number} {}{best}, {}", scale.name, second.0);
        let hint = hint(comparison, cell, words, column, &format!("{number} {}", scale.name));
        Self { first: (number, tone, true), second, best: cell.best, spoken, hint }
    }

    fn ui(&self, ui: &mut Ui) {
        let tokens = Tokens::of(ui);
        ui.vertical(|ui| {
            ui.spacing_mut().item_spacing = Vec2::new(6.0, 1.0);
            ui.spacing_mut().interact_size.y = 16.0;
            ui.add_space(if self.second.0.is_empty() { 11.0 } else { 3.0 });
            let (text, tone, number) = &self.first;
            let text = RichText::new(text).color(tone_colour(tokens, *tone));
            ui.horizontal(|ui| {
                ui.add(Label::new(if *number { text.monospace() } else { text }).truncate());
                if self.best {
                    ui.label(theme::label("best").color(tokens.good));
                }
            });
            let (text, tone) = &self.second;
            if !text.is_empty() {
                ui.add(Label::new(theme::label(text).color(tone_colour(tokens, *tone))).truncate());
            }
        });
    }
}

/// All that is known of a figure, one a line.
fn hint(comparison: &Comparison, cell: &Cell, words: &Words, column: usize, value: &str) -> String {
    let mut lines = vec![format!("{} · {value} {}", comparison.title(column), words.interval)];
    let baseline = comparison.baseline_of(column).map(|baseline| comparison.title(baseline));
    let ratio = cell.ratio.map(times).zip(baseline);
    lines.extend(ratio.map(|(ratio, baseline)| format!("{ratio} the figure of {baseline}")));
    let told = [("Of ceiling", &words.ceiling), ("Relative error", &words.error)];
    lines.extend(told.iter().filter(|(_, text)| *text != NONE).map(|(name, text)| format!("{name}: {text}")));
    lines.extend(words.marks.iter().map(|(word, reason)| format!("{}: {reason}", capitalised(word))));
    let barred = cell.barred.as_ref().filter(|_| words.marks.is_empty());
    lines.extend(barred.map(|reason| format!("Not compared, {reason}")));
    if !cell.also.is_empty() {
        lines.push(format!("{} more of the same work; the best is shown", cell.also.len()));
    }
    lines.join("\n")
}

/// The arrows go from cell to cell while the details are open.
fn move_by_keys(ui: &Ui, comparison: &Comparison, (row, column): (usize, usize)) -> Option<Action> {
    let elsewhere = ui.memory(|memory| memory.top_modal_layer().is_some()) || Popup::is_any_open(ui.ctx());
    if elsewhere || ui.text_edit_focused() {
        return None;
    }
    let pressed = |key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key));
    let at = |row: usize, column: usize| comparison.rows.get(row)?.cells.get(column)?.as_ref().map(|cell| cell.entry);
    let next = if pressed(Key::ArrowUp) {
        (0..row).rev().find_map(|row| at(row, column))
    } else if pressed(Key::ArrowDown) {
        (row + 1..comparison.rows.len()).find_map(|row| at(row, column))
    } else if pressed(Key::ArrowLeft) {
        (0..column).rev().find_map(|column| at(row, column))
    } else if pressed(Key::ArrowRight) {
        (column + 1..comparison.columns.len()).find_map(|column| at(row, column))
    } else {
        None
    };
    next.map(|entry| Action::Select(Some(entry)))
}
