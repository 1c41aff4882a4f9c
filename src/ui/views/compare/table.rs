//! The rows: one column a run, each with its figure, its change and what that means.

use eframe::egui::{Align, Button, Label, Layout, RichText, Role, ScrollArea, Sense, Ui, Vec2, WidgetInfo};
use egui_extras::{Column, TableBuilder, TableRow};

use super::{Forms, side_colour, verdict_colour};
use crate::{
    analysis::comparison::{Cell, Compared, Row, Verdict},
    chart::RelativeBars,
    export::plain,
    ui::{
        action::Action,
        comparing::{CompareAction, Comparing, Shown},
        rows::{NONE, capitalised},
        theme::{self, Tokens, space},
        widgets::focus_ring,
    },
};

const ROW: f32 = 42.0;
const HEADER: f32 = 26.0;

/// The least widths of the columns.
const WORKLOAD: f32 = 168.0;
const PARAMETERS: f32 = 132.0;
const WORD: f32 = 84.0;
const BASELINE: f32 = 134.0;
const SIDE: f32 = 206.0;

/// By how much each column of words may be narrower where there is no room.
const SQUEEZED: f32 = 40.0;

/// The order of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::ui) enum Sort {
    /// As the baseline lists them.
    #[default]
    Measured,
    /// By what was measured.
    Name,
    /// What this side does worst beside the baseline first.
    Slowest(usize),
    /// What it does best first.
    Fastest(usize),
}

impl Sort {
    /// The usual order where the side that was sorted by is gone.
    pub(super) fn within(self, compared: &Compared) -> Self {
        match self {
            Self::Slowest(side) | Self::Fastest(side) if side >= compared.sides.len() || side == compared.baseline => {
                Self::Measured
            }
            other => other,
        }
    }
}

/// The rows that are listed, kept until something that chooses them changes.
#[derive(Debug, Default)]
pub(super) struct Rows {
    key: Option<(u64, String, bool, Sort)>,
    listed: Vec<usize>,
    bars: Option<RelativeBars>,
}

impl Rows {
    /// Filters and sorts anew if it is needed.
    pub(super) fn renew(&mut self, shown: &Shown, filter: &str, changed_only: bool, sort: Sort) {
        let is_same = |key: &(u64, String, bool, Sort)| {
            key.0 == shown.answers && key.1 == filter && key.2 == changed_only && key.3 == sort
        };
        if self.key.as_ref().is_some_and(is_same) {
            return;
        }
        let compared = &shown.compared;
        let typed = filter.to_lowercase();
        let has_words = |place: &usize| {
            let words = shown.words.get(*place).map_or("", String::as_str);
            typed.split_whitespace().all(|word| words.contains(word))
        };
        let is_changed = |place: &usize| {
            let cells = compared.rows.get(*place).into_iter().flat_map(|row| &row.cells);
            cells.filter_map(|cell| cell.verdict.as_ref()).any(|it| matches!(it, Verdict::Faster | Verdict::Slower))
        };
        let kept = (0..compared.rows.len()).filter(|place| (!changed_only || is_changed(place)) && has_words(place));
        self.listed = kept.collect();
        self.sort(compared, shown, sort);
        self.bars = Some(RelativeBars::of(compared, self.listed.iter().copied()));
        self.key = Some((shown.answers, filter.to_owned(), changed_only, sort));
    }

    /// Rows without a change come last.
    fn sort(&mut self, compared: &Compared, shown: &Shown, sort: Sort) {
        let speed = |place: &usize, side: usize| {
            let row = compared.rows.get(*place)?;
            Some(compared.speed(row, row.cells.get(side)?)?.0)
        };
        match sort {
            Sort::Measured => {}
            Sort::Name => self.listed.sort_by_cached_key(|place| shown.words.get(*place)),
            Sort::Slowest(side) => {
                self.listed.sort_by(|a, b| {
                    let at = |place| speed(place, side).unwrap_or(f64::INFINITY);
                    at(a).total_cmp(&at(b))
                });
            }
            Sort::Fastest(side) => {
                self.listed.sort_by(|a, b| {
                    let at = |place| speed(place, side).unwrap_or(f64::NEG_INFINITY);
                    at(b).total_cmp(&at(a))
                });
            }
        }
    }

    /// The places of the rows in the comparison.
    pub(super) fn listed(&self) -> &[usize] {
        &self.listed
    }

    /// Their bars.
    pub(super) fn bars(&self) -> Option<&RelativeBars> {
        self.bars.as_ref()
    }
}

/// Draws the rows that are listed.
pub(super) fn ui(
    ui: &mut Ui,
    comparing: &Comparing,
    shown: &Shown,
    forms: &Forms,
    height: f32,
    actions: &mut Vec<Action>,
) {
    let listed = forms.rows.listed();
    if listed.is_empty() {
        let words =
            if shown.compared.rows.is_empty() { "There is nothing to compare" } else { "No row fits the filter" };
        ui.add_space(space::M);
        ui.label(theme::label(words).color(Tokens::of(ui).dim));
        return;
    }
    ScrollArea::horizontal().id_salt("sides").auto_shrink([false, true]).show(ui, |ui| {
        table_ui(ui, comparing, shown, listed, height, actions);
    });
}

fn table_ui(
    ui: &mut Ui,
    comparing: &Comparing,
    shown: &Shown,
    listed: &[usize],
    height: f32,
    actions: &mut Vec<Action>,
) {
    let tokens = Tokens::of(ui);
    let compared = &shown.compared;
    ui.spacing_mut().item_spacing = Vec2::ZERO;
    ui.visuals_mut().selection.bg_fill = tokens.hover;
    ui.visuals_mut().selection.stroke.color = tokens.text;
    ui.visuals_mut().widgets.hovered.bg_fill = tokens.hover;
    let words = usize::from(shown.columns.engines) + usize::from(shown.columns.places);
    let others = compared.sides.len().saturating_sub(1) as f32;
    let least = WORKLOAD + PARAMETERS + WORD * words as f32 + BASELINE + SIDE * others;
    // What is left over goes to the words, and what is missing comes from them, so that two runs fit the smallest window.
    let spare = ((ui.available_width() - least) / 2.0).clamp(-SQUEEZED, 160.0);
    let mut table = TableBuilder::new(ui)
        .id_salt("comparison")
        .sense(Sense::CLICK)
        .max_scroll_height(height.max(ROW * 2.5))
        .auto_shrink([false, true])
        .cell_layout(Layout::left_to_right(Align::Center))
        .column(Column::exact(WORKLOAD + spare).clip(true))
        .column(Column::exact(PARAMETERS + spare).clip(true))
        .columns(Column::exact(WORD).clip(true), words);
    for side in 0..compared.sides.len() {
        table = table.column(Column::exact(if side == compared.baseline { BASELINE } else { SIDE }).clip(true));
    }
    let table = table.header(HEADER, |mut header| {
        let names = [
            Some("Workload"),
            Some("Parameters"),
            shown.columns.engines.then_some("Engine"),
            shown.columns.places.then_some("On"),
        ];
        for name in names.into_iter().flatten() {
            header.col(|ui| {
                ui.label(theme::label(name).color(tokens.dim));
            });
        }
        for side in 0..compared.sides.len() {
            header.col(|ui| heading_ui(ui, shown, side));
        }
    });
    table.body(|body| {
        body.rows(ROW, listed.len(), |mut line| {
            let Some(place) = listed.get(line.index()).copied() else { return };
            let Some(row) = compared.rows.get(place) else { return };
            let on = comparing.selected == Some(place);
            line.set_selected(on);
            line.set_overline(true);
            let clicked = row_ui(&mut line, shown, row, on);
            if clicked || line.response().clicked() {
                actions.push(Action::Comparing(CompareAction::Select(Some(place).filter(|_| !on))));
            }
        });
    });
}

/// A side's label in its colour, and what its changes are.
fn heading_ui(ui: &mut Ui, shown: &Shown, side: usize) {
    let (tokens, compared) = (Tokens::of(ui), &shown.compared);
    ui.spacing_mut().item_spacing.x = space::S;
    ui.label(theme::label(plain(compared.label(side))).color(side_colour(tokens, shown, side)));
    let words = compared.ratio_title(side).unwrap_or_else(|| "baseline".to_owned());
    ui.label(theme::label(plain(&words)).color(tokens.dim));
}

fn row_ui(line: &mut TableRow<'_, '_>, shown: &Shown, row: &Row, on: bool) -> bool {
    let mut clicked = false;
    let title = plain(&row.title());
    let parameters = plain(&row.parameters());
    line.col(|ui| {
        ui.spacing_mut().button_padding.x = 0.0;
        let words = RichText::new(&title).color(Tokens::of(ui).text);
        let response = ui.add(Button::selectable(on, words).frame(false).truncate());
        let name = format!("Samples of {title}, {parameters}");
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, on, &name));
        focus_ring(ui, &response);
        clicked = response.clicked();
    });
    dim_cell(line, &parameters);
    if shown.columns.engines {
        dim_cell(line, row.engine.as_ref().map_or("", |engine| engine.title()));
    }
    if shown.columns.places {
        dim_cell(line, &plain(&row.place));
    }
    for (side, cell) in row.cells.iter().enumerate() {
        line.col(|ui| cell_ui(ui, shown, row, side, cell));
    }
    clicked
}

fn dim_cell(line: &mut TableRow<'_, '_>, text: &str) {
    line.col(|ui| {
        ui.set_max_width(ui.available_width() - space::S);
        ui.add(Label::new(RichText::new(text).color(Tokens::of(ui).dim)).truncate());
    });
}

/// The figure and its verdict over the change; or why there is none.
fn cell_ui(ui: &mut Ui, shown: &Shown, row: &Row, side: usize, cell: &Cell) {
    let tokens = Tokens::of(ui);
    ui.set_max_width(ui.available_width() - space::S);
    let reason = cell.verdict.as_ref().and_then(Verdict::reason).map(|reason| plain(&capitalised(&reason)));
    let hint: Vec<String> =
        reason.iter().cloned().chain(cell.notes.iter().map(|note| plain(&capitalised(note)))).collect();
    let doubt = if cell.notes.is_empty() { "" } else { " ?" };
    let response = ui.vertical(|ui| {
        ui.spacing_mut().item_spacing.y = 1.0;
        ui.spacing_mut().interact_size.y = 16.0;
        ui.add_space(3.0);
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = space::S;
            let figure = cell.figure.map_or_else(|| NONE.to_owned(), |figure| figure.value_text());
            ui.add(Label::new(RichText::new(figure).monospace().size(12.0).color(tokens.text)).extend());
            if let Some(verdict) = &cell.verdict {
                let words = format!("{} {}{doubt}", verdict.sign(), verdict.word(row.unit));
                ui.add(Label::new(theme::label(words).color(verdict_colour(tokens, verdict))).truncate());
            } else if !doubt.is_empty() {
                ui.label(theme::label("?").color(tokens.warn));
            }
        });
        let change = cell.change.map(|change| change.text(shown.compared.kind));
        let width = cell.figure.filter(|_| side == shown.compared.baseline).and_then(|figure| figure.width_text());
        let second = change.or(reason).or(width).unwrap_or_default();
        ui.add(Label::new(RichText::new(second).monospace().size(10.5).color(tokens.dim)).truncate());
    });
    if !hint.is_empty() {
        response.response.on_hover_text(hint.join("\n"));
    }
}
