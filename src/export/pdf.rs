//! The report as PDF: the same blocks as the page and the Markdown, laid out on sheets of A4, with charts as lines and words as
//! words.

use super::{
    cells::TableCell,
    document::{Block, Document, Table},
    picture::{Anchor, Element, Letters, Paint, PictureError, Piece, Ruler, Weight, drawing, paper},
};
use crate::chart::Dash;

/// A4 on its side, in points: the summary has ten columns.
const PAGE: [f64; 2] = [842.0, 595.0];
const MARGIN: f64 = 42.0;
const ROOM: f64 = PAGE[0] - 2.0 * MARGIN;

/// Letters of paragraphs and of tables, in points.
const BODY: f64 = 9.0;
const SMALL: f64 = 7.5;
/// Lines beneath each other, as a multiple of the letters.
const LEADING: f64 = 1.4;

/// Free space beside a cell's text.
const PAD: f64 = 4.0;
/// A column of words is never made narrower than this.
const COLUMN_MIN: f64 = 48.0;
/// A cell has no more lines; the last is cut.
const LINES_MAX: usize = 12;

/// What charts are laid out for, and how wide they become.
const CHART: f64 = 960.0;
const CHART_ROOM: f64 = 560.0;

/// The documents one after the other, each from a new page.
pub(super) fn file(documents: &[Document]) -> Result<Vec<u8>, PictureError> {
    let mut sheets =
        Sheets { ruler: Ruler::new(), done: Vec::new(), page: Piece::blank(), drawn: Vec::new(), y: MARGIN };
    for (place, document) in documents.iter().enumerate() {
        if place > 0 {
            sheets.turn();
        }
        sheets.paragraph(&document.title, MARGIN, Style { size: 18.0, weight: Weight::Medium, paint: Paint::INK });
        for block in &document.blocks {
            sheets.block(block);
        }
    }
    let title = documents.first().map_or("Roofline", |document| document.title.as_str());
    paper(&sheets.finish(), PAGE, title)
}

impl Piece {
    fn blank() -> Self {
        Self { scale: 1.0, ..Self::default() }
    }
}

/// How a text looks.
#[derive(Clone, Copy)]
struct Style {
    size: f64,
    weight: Weight,
    paint: Paint,
}

impl Style {
    const fn body(size: f64) -> Self {
        Self { size, weight: Weight::Regular, paint: Paint::INK }
    }

    const fn letters(self) -> Letters {
        Letters { size: self.size, weight: self.weight, paint: self.paint }
    }

    const fn line(self) -> f64 {
        self.size * LEADING
    }
}

/// The pages so far, and how far down the last one is written.
struct Sheets {
    ruler: Ruler<'static>,
    done: Vec<Vec<Piece>>,
    page: Piece,
    drawn: Vec<Piece>,
    y: f64,
}

impl Sheets {
    fn finish(mut self) -> Vec<Vec<Piece>> {
        self.turn();
        let count = self.done.len();
        for (place, page) in self.done.iter_mut().enumerate() {
            let style = Style { paint: Paint::Dim, ..Style::body(SMALL) };
            let text = format!("{} of {count}", place + 1);
            let width = self.ruler.width(&text, SMALL, Weight::Regular);
            let at = [PAGE[0] - MARGIN, PAGE[1] - MARGIN / 2.0];
            let number = Element::Text { at, anchor: Anchor::End, letters: style.letters(), text, width };
            page.push(Piece { elements: vec![number], ..Piece::blank() });
        }
        self.done
    }

    /// Begins a new page.
    fn turn(&mut self) {
        let mut pieces = vec![std::mem::replace(&mut self.page, Piece::blank())];
        pieces.append(&mut self.drawn);
        self.done.push(pieces);
        self.y = MARGIN;
    }

    /// Begins a new page if so much doesn't fit on this one; what is higher than a page stands at the top of one.
    fn make_room(&mut self, height: f64) {
        if self.y + height > PAGE[1] - MARGIN && self.y > MARGIN {
            self.turn();
        }
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Heading { level, text } => {
                let size = if *level <= 2 { 14.0 } else { 11.0 };
                // Never alone at the foot of a page.
                self.make_room(size * 2.5 + 60.0);
                self.y += size;
                self.paragraph(text, MARGIN, Style { size, weight: Weight::Medium, paint: Paint::INK });
            }
            Block::Text { text } => self.paragraph(text, MARGIN, Style::body(BODY)),
            Block::Note { text } => {
                self.paragraph(&format!("Note: {text}"), MARGIN, Style { weight: Weight::Medium, ..Style::body(BODY) });
            }
            Block::List { lines } => {
                for line in lines {
                    self.paragraph(&format!("• {line}"), MARGIN, Style::body(BODY));
                }
            }
            Block::Code { text, .. } => {
                for line in text.lines() {
                    self.paragraph(line, MARGIN + 2.0 * PAD, Style { paint: Paint::Dim, ..Style::body(BODY) });
                }
            }
            Block::Table(table) => self.table(table),
            Block::Chart(chart) => {
                let style = Style { weight: Weight::Medium, ..Style::body(BODY) };
                let drawn = drawing(&chart.figure, CHART);
                let most = PAGE[1] - 2.0 * MARGIN - 2.0 * style.line();
                let scale = (CHART_ROOM / drawn.size[0].max(1.0)).min(most / drawn.size[1].max(1.0));
                self.make_room(drawn.size[1] * scale + 2.0 * style.line());
                self.paragraph(&chart.title, MARGIN, style);
                self.drawn.push(Piece { at: [MARGIN, self.y], scale, elements: drawn.elements });
                self.y += drawn.size[1] * scale + BODY;
            }
        }
    }

    /// A text in as many lines as it takes, and a gap below.
    fn paragraph(&mut self, text: &str, x: f64, style: Style) {
        for line in self.wrapped(text, style, ROOM - (x - MARGIN), usize::MAX) {
            self.make_room(style.line());
            self.y += style.line();
            self.put(line, [x, self.y - style.size * 0.35], Anchor::Start, style);
        }
        self.y += style.size * 0.5;
    }

    fn put(&mut self, text: String, at: [f64; 2], anchor: Anchor, style: Style) {
        let width = self.ruler.width(&text, style.size, style.weight);
        self.page.elements.push(Element::Text { at, anchor, letters: style.letters(), text, width });
    }

    /// The lines of a text; a word that is wider than there is room is broken, and what is beyond the last line is cut.
    fn wrapped(&self, text: &str, style: Style, room: f64, most: usize) -> Vec<String> {
        let width = |text: &str| self.ruler.width(text, style.size, style.weight);
        let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0.0);
        for word in text.split_whitespace() {
            let mut rest = word;
            // What is beyond the last line is cut, however much it is.
            while !rest.is_empty() && lines.len() <= most {
                let gap = if line.is_empty() { 0.0 } else { width(" ") };
                if used + gap + width(rest) <= room {
                    line.extend((gap > 0.0).then_some(' '));
                    line.push_str(rest);
                    used += gap + width(rest);
                    break;
                }
                if !line.is_empty() {
                    lines.push(std::mem::take(&mut line));
                    used = 0.0;
                    continue;
                }
                let (head, tail) = rest.split_at(self.fitting(rest, style, room));
                lines.push(head.to_owned());
                rest = tail;
            }
        }
        if !line.is_empty() || lines.is_empty() {
            lines.push(line);
        }
        if lines.len() > most {
            lines.truncate(most);
            if let Some(last) = lines.last_mut() {
                *last = self.ruler.cut(&format!("{last} …"), style.size, style.weight, room);
            }
        }
        lines
    }

    /// How many bytes of a word fit; one letter at least.
    fn fitting(&self, word: &str, style: Style, room: f64) -> usize {
        let mut used = 0.0;
        for (place, letter) in word.char_indices() {
            used += self.ruler.width(letter.encode_utf8(&mut [0; 4]), style.size, style.weight);
            if used > room && place > 0 {
                return place;
            }
        }
        word.len()
    }

    fn table(&mut self, table: &Table) {
        let widths = self.columns(table);
        let headings: Vec<TableCell> = table.headings.iter().cloned().map(TableCell::from).collect();
        // The heading, and a row below it.
        self.make_room(4.0 * SMALL * LEADING);
        self.row(table, &headings, &widths, true);
        for row in &table.rows {
            let lines = self.lines(row, &widths, false);
            let height = height_of(&lines);
            if self.y + height > PAGE[1] - MARGIN && self.y > MARGIN {
                self.turn();
                self.row(table, &headings, &widths, true);
            }
            self.row(table, row, &widths, false);
        }
        self.y += BODY;
    }

    /// As wide as what they hold; where that is too much, columns of words share what numbers leave.
    fn columns(&self, table: &Table) -> Vec<f64> {
        let natural = |place: usize| {
            let heading = table.headings.get(place).map_or(0.0, |text| self.ruler.width(text, SMALL, Weight::Medium));
            let cells = table.rows.iter().filter_map(|row| row.get(place));
            let cells = cells.map(|cell| self.ruler.width(&cell.text, SMALL, Weight::Medium));
            // Widths are sums in another order when lines are broken.
            cells.fold(heading, f64::max) + 2.0 * PAD + 0.5
        };
        let mut widths: Vec<f64> = (0..table.headings.len()).map(natural).collect();
        let is_number = |place: usize| table.numeric.get(place).copied().unwrap_or(false);
        let numbers: f64 =
            widths.iter().enumerate().filter(|(place, _)| is_number(*place)).map(|(_, width)| width).sum();
        let words = widths.iter().sum::<f64>() - numbers;
        if numbers + words <= ROOM {
            return widths;
        }
        // The widest give way first: each column of words gets what it asks for up to a level that makes all fit.
        let wanted: Vec<f64> = widths.clone();
        let (mut low, mut high) = (COLUMN_MIN, ROOM);
        let fits = |level: f64| {
            let capped = |(place, width): (usize, &f64)| if is_number(place) { *width } else { width.min(level) };
            wanted.iter().enumerate().map(capped).sum::<f64>() <= ROOM
        };
        for _ in 0..30 {
            let middle = f64::midpoint(low, high);
            if fits(middle) { low = middle } else { high = middle }
        }
        for (place, width) in widths.iter_mut().enumerate() {
            if !is_number(place) {
                *width = width.min(low);
            }
        }
        // Numbers alone may be too many; then all become narrower, and wrap.
        let all: f64 = widths.iter().sum();
        if all > ROOM {
            for width in &mut widths {
                *width *= ROOM / all;
            }
        }
        widths
    }

    fn lines(&self, cells: &[TableCell], widths: &[f64], is_heading: bool) -> Vec<Vec<String>> {
        let of = |(cell, width): (&TableCell, &f64)| {
            let style = Style { weight: weight_of(cell, is_heading), ..Style::body(SMALL) };
            self.wrapped(&cell.text, style, (width - 2.0 * PAD).max(SMALL), LINES_MAX)
        };
        cells.iter().zip(widths).map(of).collect()
    }

    fn row(&mut self, table: &Table, cells: &[TableCell], widths: &[f64], is_heading: bool) {
        let lines = self.lines(cells, widths, is_heading);
        let mut x = MARGIN;
        for (place, ((cell, lines), width)) in cells.iter().zip(&lines).zip(widths).enumerate() {
            let paint = if is_heading { Paint::Dim } else { Paint::INK };
            let style = Style { size: SMALL, weight: weight_of(cell, is_heading), paint };
            let right = table.numeric.get(place).copied().unwrap_or(false);
            let (anchor, from) = if right { (Anchor::End, x + width - PAD) } else { (Anchor::Start, x + PAD) };
            for (line, text) in lines.iter().enumerate() {
                let y = self.y + PAD + SMALL + line as f64 * SMALL * LEADING;
                self.put(text.clone(), [from, y], anchor, style);
            }
            x += width;
        }
        self.y += height_of(&lines);
        let points = vec![[MARGIN, self.y], [x, self.y]];
        self.page.elements.push(Element::Line { points, paint: Paint::Line, width: 0.5, dash: Dash::Solid });
    }
}

const fn weight_of(cell: &TableCell, is_heading: bool) -> Weight {
    if cell.best || is_heading { Weight::Medium } else { Weight::Regular }
}

fn height_of(lines: &[Vec<String>]) -> f64 {
    let most = lines.iter().map(Vec::len).max().unwrap_or(1);
    most as f64 * SMALL * LEADING + 2.0 * PAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{export::sections, record::reference};

    fn sheets(document: &Document) -> Vec<Vec<Piece>> {
        let mut sheets =
            Sheets { ruler: Ruler::new(), done: Vec::new(), page: Piece::blank(), drawn: Vec::new(), y: MARGIN };
        document.blocks.iter().for_each(|block| sheets.block(block));
        sheets.finish()
    }

    fn words(pages: &[Vec<Piece>]) -> String {
        let elements = pages.iter().flatten().flat_map(|piece| &piece.elements);
        let text = |element: &Element| if let Element::Text { text, .. } = element { Some(text.clone()) } else { None };
        elements.filter_map(text).collect::<Vec<_>>().join(" ")
    }

    /// Where texts of a page begin and end, across and down.
    fn bounds(pages: &[Vec<Piece>]) -> impl Iterator<Item = [f64; 3]> {
        pages.iter().flatten().filter(|piece| piece.scale == 1.0).flat_map(|piece| &piece.elements).filter_map(
            |element| match element {
                Element::Text { at: [x, y], anchor: Anchor::End, width, .. } => Some([x - width, *x, *y]),
                Element::Text { at: [x, y], width, .. } => Some([*x, x + width, *y]),
                _ => None,
            },
        )
    }

    #[test]
    fn all_words_are_on_the_sheets_and_none_beyond_their_edge() {
        let document = sections::document(&reference().unwrap(), "apple-m5");
        let pages = sheets(&document);
        let written = words(&pages);
        for word in ["3.82×", "0.97×", "77.5", "Recommendations", "Tensor limit"] {
            assert!(written.contains(word), "{word}");
        }
        assert!(pages.len() > 3);
        for [left, right, y] in bounds(&pages) {
            assert!(left >= MARGIN - 1.0 && right <= PAGE[0] - MARGIN + 1.0 && y < PAGE[1], "{left} {right} {y}");
        }
    }

    #[test]
    fn words_and_tables_without_end_stay_on_the_sheets() {
        let long = "x".repeat(5000);
        let cell = || vec![TableCell::from(long.clone()), TableCell::from("1".repeat(400))];
        let table = Table {
            headings: vec![long.clone(), "Figure".to_owned()],
            numeric: vec![false, true],
            rows: (0..60).map(|_| cell()).collect(),
        };
        let blocks = vec![Block::Text { text: long.clone() }, Block::Table(table), Block::Text { text: String::new() }];
        let pages = sheets(&Document { title: long, blocks });
        assert!(pages.len() > 10);
        for [left, right, y] in bounds(&pages) {
            assert!(left >= MARGIN - 1.0 && right <= PAGE[0] - MARGIN + 1.0 && y < PAGE[1], "{left} {right} {y}");
        }
    }
}
