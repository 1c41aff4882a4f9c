//! A report before it is Markdown or HTML: its blocks, in order. All text is plain; each form escapes it in its own way.

use serde::Serialize;

use super::{beside::without_steering, cells::TableCell, picture::page_svg};
use crate::chart::Figure;

/// A whole report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Document {
    /// The title.
    pub title: String,
    /// What stands under it.
    pub blocks: Vec<Block>,
}

/// One piece of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Block {
    /// A heading, 2 for a section and 3 for what is in it.
    Heading { level: u8, text: String },
    /// A paragraph.
    Text { text: String },
    /// What a reader must know before the figures.
    Note { text: String },
    /// Sentences.
    List { lines: Vec<String> },
    /// A table.
    Table(Table),
    /// What can be typed.
    Code { language: &'static str, text: String },
    /// A chart; a form that can't draw leaves it out, since a table beside it has the same figures.
    Chart(Box<Drawn>),
}

/// A chart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Drawn {
    /// What it shows.
    pub title: String,
    /// As a page has it.
    pub svg: String,
    /// What is drawn.
    #[serde(skip)]
    pub figure: Figure,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Table {
    /// One for each column.
    pub headings: Vec<String>,
    /// Whether each column holds numbers, which stand right; others hold words.
    pub numeric: Vec<bool>,
    /// The rows.
    pub rows: Vec<Vec<TableCell>>,
}

impl Document {
    /// The same without characters that steer a terminal, turn the direction of what follows, or are forbidden in pages: names
    /// and reasons come from files. Only what can be typed keeps its lines.
    pub(super) fn without_steering(mut self) -> Self {
        steady(&mut self.title);
        for block in &mut self.blocks {
            match block {
                Block::Heading { text, .. } | Block::Text { text } | Block::Note { text } => steady(text),
                Block::List { lines } => lines.iter_mut().for_each(steady),
                Block::Table(table) => {
                    table.headings.iter_mut().for_each(steady);
                    table.rows.iter_mut().flatten().for_each(|cell| steady(&mut cell.text));
                }
                Block::Code { text, .. } => {
                    *text = text.lines().map(without_steering).collect::<Vec<_>>().join("\n");
                }
                // Pictures have their own rules.
                Block::Chart(_) => {}
            }
        }
        self
    }

    pub(super) fn heading(&mut self, level: u8, text: impl Into<String>) {
        self.blocks.push(Block::Heading { level, text: text.into() });
    }

    pub(super) fn text(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Text { text: text.into() });
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Note { text: text.into() });
    }

    /// Nothing if there are no lines.
    pub(super) fn list(&mut self, lines: Vec<String>) {
        if !lines.is_empty() {
            self.blocks.push(Block::List { lines });
        }
    }

    /// Nothing if there are no rows. After so many columns of words come numbers, but where a text is too long for one.
    pub(super) fn table(&mut self, headings: &[&str], words: usize, rows: Vec<Vec<TableCell>>) {
        if !rows.is_empty() {
            const NUMBER_MAX: usize = 24;
            let short = |row: &Vec<TableCell>, column: usize| {
                row.get(column).is_none_or(|cell| cell.text.chars().count() <= NUMBER_MAX)
            };
            let is_numeric = |column: usize| column >= words && rows.iter().all(|row| short(row, column));
            let numeric = (0..headings.len()).map(is_numeric).collect();
            let headings = headings.iter().map(|&heading| heading.to_owned()).collect();
            self.blocks.push(Block::Table(Table { headings, numeric, rows }));
        }
    }

    pub(super) fn code(&mut self, language: &'static str, text: String) {
        self.blocks.push(Block::Code { language, text });
    }

    /// Nothing if there is no chart, or one bar alone.
    pub(super) fn chart(&mut self, chart: Option<Figure>) {
        /// In points; a page shows it as wide as there is room.
        const WIDTH: u32 = 820;
        let chart = chart.filter(Figure::shows_several);
        let drawn = |figure: Figure| Drawn { title: figure.title.clone(), svg: page_svg(&figure, WIDTH), figure };
        self.blocks.extend(chart.map(|figure| Block::Chart(Box::new(drawn(figure)))));
    }
}

/// Most texts have nothing to be taken away.
fn steady(text: &mut String) {
    let shown = without_steering(text);
    if shown != *text {
        *text = shown;
    }
}
