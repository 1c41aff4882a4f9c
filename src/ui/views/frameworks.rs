//! The framework comparison of a finished run: the models' summary, the ratios, and who agrees with whom.

use eframe::egui::{Align, Grid, Label, Layout, RichText, ScrollArea, Ui, Vec2};
use egui_extras::{Column, TableBuilder};

use crate::{
    analysis::{
        Comparison,
        frameworks::{ModelColumn, ModelGroup, ModelRow, Slot, Status, Verdict, Versus},
    },
    export::{markdown_table, model_cells, model_headings},
    ui::{
        action::Action,
        legend::engine_ui,
        picturing::{TableText, with_table_menu},
        rows::{NONE, Tone, capitalised, tsv},
        session::Session,
        theme::{self, Tokens, space},
        widgets::{CELL_PAD, card, cell_button, tone_colour},
    },
    units::Unit,
};

const ROW: f32 = 40.0;
const HEADER: f32 = 26.0;
/// The widths of the columns; figures are at least so wide.
const FRAMEWORK: f32 = 112.0;
const MODEL: f32 = 158.0;
const BITS: f32 = 46.0;
const FIGURE: f32 = 94.0;
const STATUS: f32 = 112.0;

/// Draws the card, if the run has something to compare.
pub(super) fn ui(ui: &mut Ui, session: &Session, actions: &mut Vec<Action>) {
    let comparison = &session.comparison;
    let models: usize = comparison.models.iter().map(|group| group.rows.len()).sum();
    let nothing =
        models < 2 && [comparison.versus.len(), comparison.agreement.len(), comparison.fast_paths.len()] == [0; 3];
    if session.live.is_some() || !comparison.has_several() || nothing {
        return;
    }
    card(ui, |ui| {
        ui.label(theme::section("Frameworks"));
        if models > 1 {
            let text = |form| models_text(comparison, form);
            with_table_menu(ui, actions, text, |ui, actions| models_ui(ui, session, actions));
            let dim = Tokens::of(ui).dim;
            ui.spacing_mut().item_spacing.y = space::XS;
            for line in comparison.model_notes() {
                ui.add(Label::new(theme::label(line).color(dim)).wrap());
            }
        }
        agreement_ui(ui, comparison);
        fast_paths_ui(ui, comparison);
        versus_ui(ui, comparison);
    });
}

/// The summary of the models for another program.
fn models_text(comparison: &Comparison, form: TableText) -> String {
    let of = |group: &ModelGroup| -> Vec<Vec<String>> {
        let cells = |row: &ModelRow| model_cells(comparison, group, row).into_iter().map(|cell| cell.text).collect();
        group.rows.iter().map(cells).collect()
    };
    let (headings, rows) = (model_headings(), comparison.models.iter().flat_map(of).collect::<Vec<_>>());
    match form {
        TableText::Tsv => tsv(&headings, &rows),
        TableText::Markdown => markdown_table(&headings, 2..headings.len() - 1, &rows),
    }
}

/// One engine with one model.
fn rows(comparison: &Comparison) -> Vec<&ModelRow> {
    comparison.models.iter().flat_map(|group| &group.rows).collect()
}

fn models_ui(ui: &mut Ui, session: &Session, actions: &mut Vec<Action>) {
    let rows = rows(&session.comparison);
    // What is left of the width goes to the models' names and the figures.
    let fixed = FRAMEWORK + BITS + STATUS;
    let figure = ((ui.available_width() - fixed - MODEL) / 6.0).clamp(FIGURE, 112.0);
    ScrollArea::horizontal().id_salt("models-summary").auto_shrink([false, true]).show(ui, |ui| {
        ui.spacing_mut().item_spacing = Vec2::ZERO;
        let mut table = TableBuilder::new(ui)
            .id_salt("summary")
            .vscroll(false)
            .cell_layout(Layout::left_to_right(Align::Center))
            .column(Column::exact(FRAMEWORK).clip(true))
            .column(Column::exact(MODEL).clip(true))
            .column(Column::exact(BITS).clip(true));
        for _ in ModelColumn::ALL {
            table = table.column(Column::exact(figure).clip(true));
        }
        let names = ["Framework", "Model", "Bits"].into_iter().chain(ModelColumn::ALL.map(ModelColumn::title));
        let table = table.column(Column::exact(STATUS).clip(true)).header(HEADER, |mut header| {
            for (place, name) in names.chain(["Status"]).enumerate() {
                header.col(|ui| {
                    ui.add_space(if (3..9).contains(&place) { CELL_PAD } else { 0.0 });
                    let dim = Tokens::of(ui).dim;
                    ui.label(theme::label(name).color(dim));
                });
            }
        });
        table.body(|body| {
            body.rows(ROW, rows.len(), |mut line| {
                let Some(row) = rows.get(line.index()) else { return };
                line.set_overline(true);
                line.col(|ui| framework_ui(ui, &session.comparison, row));
                line.col(|ui| text_ui(ui, &row.model_label(), &row.model_label()));
                line.col(|ui| text_ui(ui, &row.bits_text(), "True bits a weight, scales included"));
                for (column, slot) in ModelColumn::ALL.into_iter().zip(&row.slots) {
                    line.col(|ui| slot_ui(ui, session, row, (column, slot), actions));
                }
                line.col(|ui| status_ui(ui, row));
            });
        });
    });
}

fn framework_ui(ui: &mut Ui, comparison: &Comparison, row: &ModelRow) {
    let Some(column) = comparison.columns.get(row.column) else { return };
    let dim = Tokens::of(ui).dim;
    ui.spacing_mut().item_spacing = Vec2::new(4.0, 1.0);
    // One device is named above.
    if comparison.columns.iter().all(|other| other.place == column.place) {
        engine_ui(ui, column.engine);
        return;
    }
    ui.vertical(|ui| {
        ui.spacing_mut().interact_size.y = 16.0;
        ui.add_space(3.0);
        ui.horizontal(|ui| engine_ui(ui, column.engine));
        ui.add(Label::new(theme::label(capitalised(&column.place.label())).color(dim)).truncate());
    });
}

fn text_ui(ui: &mut Ui, text: &str, hint: &str) {
    let colour = Tokens::of(ui).text;
    ui.add(Label::new(RichText::new(text).color(colour)).truncate()).on_hover_text(hint);
}

fn slot_ui(
    ui: &mut Ui,
    session: &Session,
    row: &ModelRow,
    (column, slot): (ModelColumn, &Slot),
    actions: &mut Vec<Action>,
) {
    let tokens = Tokens::of(ui);
    let Some(figure) = slot.figure else {
        ui.add_space(CELL_PAD);
        let refused = slot.absence.as_deref().is_some_and(|reason| reason.starts_with("unsupported"));
        let text = ui.label(RichText::new(if refused { "n/a" } else { NONE }).color(tokens.faint));
        if let Some(reason) = &slot.absence {
            text.on_hover_text(capitalised(reason));
        }
        return;
    };
    let colour = if row.barred.is_some() { tokens.faint } else { tokens.text };
    let text = figure.text();
    let two_lines = |ui: &mut Ui| {
        ui.vertical(|ui| {
            ui.spacing_mut().item_spacing.y = 1.0;
            ui.add_space(if slot.best { 3.0 } else { 11.0 });
            ui.add(Label::new(RichText::new(&text).monospace().size(11.5).color(colour)).truncate());
            if slot.best {
                ui.label(theme::label("best").color(tokens.good));
            }
        });
    };
    let Some(entry) = slot.entry else {
        ui.add_space(CELL_PAD);
        two_lines(ui);
        return;
    };
    let on = session.selected == Some(entry);
    let best = if slot.best { ", best" } else { "" };
    let title = session.comparison.title(row.column);
    let name = format!("{title}, {}, {}: {text}{best}", row.model_label(), column.title().to_lowercase());
    if cell_button(ui, on, &name, two_lines).clicked() {
        actions.push(Action::Select(Some(entry).filter(|_| !on)));
    }
}

fn status_ui(ui: &mut Ui, row: &ModelRow) {
    let tokens = Tokens::of(ui);
    let tone = match row.status {
        Status::Works => Tone::Good,
        Status::Partly(_) => Tone::Warn,
        Status::Cut(_) | Status::Unmeasured(_) => Tone::Dim,
        Status::Fails(_) => Tone::Bad,
        Status::Waits => Tone::Faint,
    };
    let text = RichText::new(capitalised(row.status.word())).color(tone_colour(tokens, tone));
    let label = ui.add(Label::new(text).truncate());
    if let Some(reason) = row.status.reason() {
        label.on_hover_text(capitalised(reason));
    }
}

fn agreement_ui(ui: &mut Ui, comparison: &Comparison) {
    let tokens = Tokens::of(ui);
    ui.spacing_mut().item_spacing.y = space::XS;
    for agreement in &comparison.agreement {
        for (party, sentence) in agreement.parties.iter().zip(agreement.sentences()) {
            let tone = if party.objection.is_none() { Tone::Dim } else { Tone::Warn };
            let label = Label::new(theme::label(sentence).color(tone_colour(tokens, tone))).wrap();
            let label = ui.add(label);
            if let Some(reason) = &party.objection {
                label.on_hover_text(capitalised(reason));
            }
        }
    }
}

/// Who uses the device's matrix units: what is wrong stands out.
pub(super) fn fast_paths_ui(ui: &mut Ui, comparison: &Comparison) {
    let tokens = Tokens::of(ui);
    for (path, sentence) in comparison.fast_paths.iter().zip(comparison.fast_path_sentences()) {
        let tone = if path.verdict == Verdict::Unused { Tone::Warn } else { Tone::Dim };
        ui.add(Label::new(theme::label(sentence).color(tone_colour(tokens, tone))).wrap());
    }
}

/// The ratios of every two engines, side by side where there is room.
fn versus_ui(ui: &mut Ui, comparison: &Comparison) {
    if comparison.versus.is_empty() {
        return;
    }
    ui.add_space(space::S);
    let columns = ((ui.available_width() / VERSUS) as usize).clamp(1, 3);
    for row in comparison.versus.chunks(columns) {
        ui.columns(columns, |parts| {
            for (part, versus) in parts.iter_mut().zip(row) {
                one_versus_ui(part, comparison, versus);
            }
        });
    }
}

/// The width of a table of ratios.
const VERSUS: f32 = 400.0;

fn one_versus_ui(ui: &mut Ui, comparison: &Comparison, versus: &Versus) {
    let tokens = Tokens::of(ui);
    let title = comparison.versus_title(versus);
    ui.add(Label::new(RichText::new(&title).color(tokens.text)).truncate()).on_hover_text(&title);
    let most = versus.ratios.iter().map(|ratio| ratio.baseline.value.max(ratio.other.value)).fold(0.0, f64::max);
    let scale = Unit::FlopPerSecond.scale_for(most);
    let titles = [versus.baseline, versus.other].map(|column| comparison.title(column));
    let [ours, theirs] = titles;
    Grid::new(&title).num_columns(4).min_col_width(40.0).spacing(Vec2::new(space::M, 2.0)).show(ui, |ui| {
        for name in [scale.name, ours, theirs, "Ratio"] {
            ui.label(theme::label(name).color(tokens.dim));
        }
        ui.end_row();
        for ratio in &versus.ratios {
            let number = |text: String| RichText::new(text).monospace().size(11.5).color(tokens.text);
            let product = format!("{} {}", ratio.gemm.dtype, ratio.gemm.parameters());
            ui.label(theme::label(product).color(tokens.dim));
            ui.label(number(scale.number(ratio.baseline.value)));
            ui.label(number(scale.number(ratio.other.value)));
            ui.label(number(ratio.text()));
            ui.end_row();
        }
    });
}
