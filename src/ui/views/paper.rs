//! A report on the screen: its blocks, taken apart into pieces so small that only those in sight need to be drawn.

use eframe::egui::{Align, Frame, Label, Layout, RichText, Sides, Ui, Vec2};

use crate::{
    export::{Block, Document, Table, TableCell},
    ui::{
        action::Action,
        figure,
        theme::{self, Tokens, space},
    },
};

/// One piece of a report, by its places in the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// The title of a report.
    Title(usize),
    /// A whole block.
    Block(usize, usize),
    /// A line of a list.
    Line(usize, usize, usize),
    /// The headings of a table.
    Head(usize, usize),
    /// A row of a table.
    Row(usize, usize, usize),
}

/// All pieces, in order.
pub(super) fn items(documents: &[Document]) -> Vec<Item> {
    let mut items = Vec::new();
    for (place, document) in documents.iter().enumerate() {
        items.push(Item::Title(place));
        for (block, content) in document.blocks.iter().enumerate() {
            match content {
                Block::Table(table) => {
                    items.push(Item::Head(place, block));
                    items.extend((0..table.rows.len()).map(|row| Item::Row(place, block, row)));
                }
                Block::List { lines } => items.extend((0..lines.len()).map(|line| Item::Line(place, block, line))),
                _ => items.push(Item::Block(place, block)),
            }
        }
    }
    items
}

/// Draws a piece.
pub(super) fn ui(ui: &mut Ui, documents: &[Document], item: Item, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let block_at = |document: usize, block: usize| documents.get(document).and_then(|d| d.blocks.get(block));
    match item {
        Item::Title(place) => {
            ui.add_space(if place > 0 { space::XL } else { 0.0 });
            let title = documents.get(place).map_or("", |document| document.title.as_str());
            ui.add(Label::new(RichText::new(title).heading()).wrap().selectable(true));
            ui.add_space(space::S);
        }
        Item::Block(document, block) => {
            if let Some(block) = block_at(document, block) {
                block_ui(ui, block, actions);
            }
        }
        Item::Line(document, block, line) => {
            let Some(Block::List { lines }) = block_at(document, block) else { return };
            let Some(text) = lines.get(line) else { return };
            ui.horizontal_top(|ui| {
                ui.spacing_mut().item_spacing.x = space::S;
                ui.label(RichText::new("•").color(tokens.dim));
                ui.add(Label::new(RichText::new(text).color(tokens.text)).wrap().selectable(true));
            });
            ui.add_space(2.0);
        }
        Item::Head(document, block) => {
            let Some(Block::Table(table)) = block_at(document, block) else { return };
            let cells: Vec<TableCell> = table.headings.iter().map(|heading| heading.as_str().into()).collect();
            ui.add_space(space::S);
            row_ui(ui, table, &cells, true);
        }
        Item::Row(document, block, row) => {
            let Some(Block::Table(table)) = block_at(document, block) else { return };
            if let Some(cells) = table.rows.get(row) {
                row_ui(ui, table, cells, false);
            }
            if row + 1 == table.rows.len() {
                ui.add_space(space::M);
            }
        }
    }
}

fn block_ui(ui: &mut Ui, block: &Block, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    match block {
        Block::Heading { level, text } => {
            ui.add_space(if *level <= 2 { space::XL } else { space::M });
            let text = if *level <= 2 { theme::section(text).size(16.0) } else { theme::section(text) };
            ui.add(Label::new(text.color(tokens.text)).wrap().selectable(true));
            if *level <= 2 {
                ui.separator();
            }
            ui.add_space(space::XS);
        }
        Block::Text { text } => {
            ui.add(Label::new(RichText::new(text).color(tokens.text)).wrap().selectable(true));
            ui.add_space(space::S);
        }
        Block::Note { text } => {
            let frame = Frame::new().fill(tokens.ground).inner_margin(space::S as i8).corner_radius(6);
            frame.show(ui, |ui| {
                ui.set_width(ui.available_width());
                ui.add(Label::new(RichText::new(text).color(tokens.warn)).wrap().selectable(true));
            });
            ui.add_space(space::S);
        }
        Block::Code { text, .. } => code_ui(ui, text, actions),
        Block::Chart(chart) => {
            ui.add_space(space::S);
            ui.add(Label::new(theme::label(&chart.title).color(tokens.dim)).wrap());
            figure::ui(ui, &chart.figure);
            ui.add_space(space::M);
        }
        Block::Table(_) | Block::List { .. } => {}
    }
}

fn code_ui(ui: &mut Ui, text: &str, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    Frame::new().fill(tokens.ground).inner_margin(space::S as i8).corner_radius(6).show(ui, |ui| {
        Sides::new().shrink_left().show(
            ui,
            |ui| {
                ui.add(Label::new(RichText::new(text).monospace().color(tokens.text)).wrap().selectable(true));
            },
            |ui| {
                if ui.button("Copy").on_hover_text("Copy what is to be typed").clicked() {
                    actions.push(Action::CopyText(text.to_owned()));
                }
            },
        );
    });
    ui.add_space(space::S);
}

/// A row of a table: words on the left, numbers on the right of their columns.
fn row_ui(ui: &mut Ui, table: &Table, cells: &[TableCell], head: bool) {
    let tokens = Tokens::of(ui);
    let widths = widths(table, ui.available_width());
    ui.spacing_mut().item_spacing.y = space::XS;
    if !head {
        ui.separator();
    }
    ui.horizontal_top(|ui| {
        ui.spacing_mut().item_spacing = Vec2::ZERO;
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let align = if table.numeric.get(column) == Some(&true) { Align::Max } else { Align::Min };
            let inner = (*width - space::S).max(8.0);
            ui.allocate_ui_with_layout(Vec2::new(inner, 0.0), Layout::top_down(align), |ui| {
                ui.set_width(inner);
                let text = if cell.best { theme::medium(&cell.text) } else { RichText::new(&cell.text) };
                let text = text.size(11.5).color(if head { tokens.dim } else { tokens.text });
                ui.add(Label::new(text).wrap().selectable(!head));
            });
            ui.add_space(*width - inner);
        }
    });
    ui.add_space(2.0);
}

/// Each column has room for its longest word; what is left is shared by how much the columns hold. Where there is less than
/// the columns would like, numbers break from their units before any word breaks.
fn widths(table: &Table, width: f32) -> Vec<f32> {
    /// Rows that are looked at: the others are alike.
    const LOOKED: usize = 64;
    const LETTER: f32 = 7.4;
    /// What letters take at least: few words are made of wide ones alone.
    const NARROW: f32 = 6.6;
    /// A number with its unit stays in one line.
    const NUMBER: usize = 14;
    let letters = |text: &str, most: usize| text.chars().count().clamp(3, most) as f32 * LETTER;
    let words = |text: &str, letter: f32| {
        let words = text.split([' ', '/', '-']).map(|word| word.chars().count().clamp(3, NUMBER));
        words.max().unwrap_or(0) as f32 * letter
    };
    let word = |text: &str| words(text, LETTER);
    let column = |place: usize| {
        let cells = table.rows.iter().take(LOOKED).filter_map(|row| Some(row.get(place)?.text.as_str()));
        let heading = table.headings.get(place).map_or("", String::as_str);
        let most = |wide: &dyn Fn(&str) -> f32, least: f32| cells.clone().map(wide).fold(least, f32::max);
        let is_number = table.numeric.get(place) == Some(&true);
        let least = |text: &str| if is_number { letters(text, NUMBER) } else { word(text) };
        let unbroken = most(&|text| words(text, NARROW), words(heading, NARROW)) + space::S;
        let need = most(&least, word(heading)) + space::S;
        [unbroken, need, most(&|text| letters(text, 48), need)]
    };
    let columns: Vec<[f32; 3]> = (0..table.headings.len()).map(column).collect();
    let sum = |step: usize| columns.iter().filter_map(|column| column.get(step)).sum::<f32>();
    let (unbroken, needed, wished) = (sum(0).max(1.0), sum(1), sum(2));
    let share = |[least, need, want]: [f32; 3]| match width {
        width if width <= unbroken => width * least / unbroken,
        width if width <= needed => least + (need - least) * (width - unbroken) / (needed - unbroken),
        width if wished <= needed => need + (width - needed) / columns.len().max(1) as f32,
        width => need + (want - need) * (width - needed) / (wished - needed),
    };
    columns.iter().map(|column| share(*column)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(headings: &[&str], rows: &[&[&str]]) -> Table {
        Table {
            headings: headings.iter().map(|&heading| heading.to_owned()).collect(),
            numeric: vec![false; headings.len()],
            rows: rows.iter().map(|row| row.iter().map(|&cell| cell.into()).collect()).collect(),
        }
    }

    #[test]
    fn columns_fill_the_width_and_words_the_widest() {
        let table = table(&["Model", "Bits"], &[&["a rather long name of a model", "4.5"], &["b", "16"]]);
        for width in [80.0, 600.0, 2000.0] {
            let widths = widths(&table, width);
            assert!((widths.iter().sum::<f32>() - width).abs() < 0.5, "{widths:?}");
            assert!(widths[0] > widths[1], "{widths:?}");
        }
        assert!(widths(&self::table(&[], &[]), 100.0).is_empty());
    }

    #[test]
    fn no_word_is_broken_while_a_number_can_be_parted_from_its_unit() {
        let mut table = table(
            &["Model", "Prefill", "Decode", "Peak memory"],
            &[&["mistral-7b", "12345 tokens/s", "123.4 tokens/s", "12.34 GB"]],
        );
        table.numeric = vec![false, true, true, true];
        let all = widths(&table, 10_000.0).len() as f32 * space::S;
        for width in [280.0, 300.0, 340.0] {
            let widths = widths(&table, width);
            assert!((widths.iter().sum::<f32>() - width).abs() < 0.5 && width > all, "{widths:?}");
            assert!(widths[0] >= 46.0 + space::S && widths[3] >= 39.0 + space::S, "{width}: {widths:?}");
        }
    }

    #[test]
    fn a_report_is_taken_apart_into_lines_and_rows() {
        let run = crate::record::reference().unwrap();
        let documents = crate::export::documents(&[run.clone(), run], &[]);
        let items = items(&documents);
        assert_eq!(items.iter().filter(|item| matches!(item, Item::Title(_))).count(), 2);
        let rows = items.iter().filter(|item| matches!(item, Item::Row(..))).count();
        let heads = items.iter().filter(|item| matches!(item, Item::Head(..))).count();
        assert!(rows > 2 * heads && heads > 20, "{rows} {heads}");
    }
}
