//! What is drawn, as SVG: the only place that writes its elements.

use std::fmt::Write as _;

use super::words::{Ruler, Weight, escaped, plain};
use crate::chart::{
    Dash, Marker, Tint,
    palette::{DARK, LIGHT, Palette, Rgb},
};

/// The colours of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// A file of its own.
    File(&'static Palette),
    /// Part of a page, whose style sheet names the colours.
    Page,
}

/// The light theme's.
pub(super) const ON_LIGHT: Ink = Ink::File(&LIGHT);
/// The dark theme's.
pub(super) const ON_DARK: Ink = Ink::File(&DARK);

/// What a colour is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Behind all.
    Panel,
    /// Grids.
    Line,
    /// What explains.
    Dim,
    /// What a figure says.
    Tint(Tint),
}

impl Paint {
    pub(crate) const INK: Self = Self::Tint(Tint::Ink);
    pub(super) const FAINT: Self = Self::Tint(Tint::Faint);
}

impl Ink {
    /// `fill="#…"`, or the page's own for it.
    fn attribute(self, what: &str, paint: Paint) -> String {
        match self {
            Self::File(palette) => format!("{what}=\"#{:06X}\"", colour(palette, paint)),
            Self::Page => format!("style=\"{what}:var(--{})\"", role(paint)),
        }
    }
}

pub(super) fn colour(palette: &Palette, paint: Paint) -> Rgb {
    match paint {
        Paint::Panel => palette.panel,
        Paint::Line => palette.line,
        Paint::Dim => palette.dim,
        Paint::Tint(Tint::Data(place)) => {
            palette.series.get(place % palette.series.len()).copied().unwrap_or(palette.text)
        }
        Paint::Tint(Tint::Faint) => palette.faint,
        Paint::Tint(Tint::Ink) => palette.text,
        Paint::Tint(Tint::Good) => palette.good,
        Paint::Tint(Tint::Bad) => palette.bad,
    }
}

fn role(paint: Paint) -> String {
    match paint {
        Paint::Panel => "page".to_owned(),
        Paint::Line => "line".to_owned(),
        Paint::Dim | Paint::Tint(Tint::Faint) => "soft".to_owned(),
        Paint::Tint(Tint::Data(place)) => format!("b{}", place % 6),
        Paint::Tint(Tint::Ink) => "ink".to_owned(),
        Paint::Tint(Tint::Good) => "good".to_owned(),
        Paint::Tint(Tint::Bad) => "bad".to_owned(),
    }
}

/// Where a text stands beside its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// It begins there.
    Start,
    /// It is centred there.
    Middle,
    /// It ends there.
    End,
}

/// How letters look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Letters {
    pub size: f64,
    pub weight: Weight,
    pub paint: Paint,
}

impl Letters {
    pub(crate) const fn new(size: f64, paint: Paint) -> Self {
        Self { size, weight: Weight::Regular, paint }
    }
}

/// One thing that is drawn. Coordinates are in points from the upper left.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Element {
    /// Words on a line, and how wide they are.
    Text { at: [f64; 2], anchor: Anchor, letters: Letters, text: String, width: f64 },
    /// A line from point to point.
    Line { points: Vec<[f64; 2]>, paint: Paint, width: f64, dash: Dash },
    /// A faint area in the colour of its line.
    Area { points: Vec<[f64; 2]>, paint: Paint },
    /// A rectangle as (x, y, width, height); hollow if it isn't compared.
    Rect { place: [f64; 4], radius: f64, paint: Paint, hollow: bool },
    /// A disc.
    Disc { at: [f64; 2], radius: f64, paint: Paint },
    /// A filled shape without dents.
    Polygon { points: Vec<[f64; 2]>, paint: Paint },
}

/// The elements so far.
pub(super) struct Canvas {
    /// Measures what is written.
    pub(super) ruler: Ruler<'static>,
    elements: Vec<Element>,
}

impl Canvas {
    pub(super) fn new() -> Self {
        Self { ruler: Ruler::new(), elements: Vec::new() }
    }

    /// The elements.
    pub(super) fn into_elements(self) -> Vec<Element> {
        self.elements
    }

    /// A text on the line at `y`, and how wide it is.
    pub(super) fn text(&mut self, at: [f64; 2], anchor: Anchor, letters: Letters, text: &str) -> f64 {
        let text = plain(text);
        if text.is_empty() {
            return 0.0;
        }
        let width = self.ruler.width(&text, letters.size, letters.weight);
        self.elements.push(Element::Text { at, anchor, letters, text, width });
        width
    }

    pub(super) fn line(&mut self, from: [f64; 2], to: [f64; 2], paint: Paint, width: f64, dash: Dash) {
        self.elements.push(Element::Line { points: vec![from, to], paint, width, dash });
    }

    pub(super) fn polyline(&mut self, points: &[[f64; 2]], paint: Paint, dash: Dash) {
        self.elements.push(Element::Line { points: points.to_vec(), paint, width: 1.75, dash });
    }

    pub(super) fn area(&mut self, points: Vec<[f64; 2]>, paint: Paint) {
        self.elements.push(Element::Area { points, paint });
    }

    pub(super) fn rect(&mut self, place: [f64; 4], radius: f64, paint: Paint, hollow: bool) {
        self.elements.push(Element::Rect { place, radius, paint, hollow });
    }

    pub(super) fn marker(&mut self, at: [f64; 2], marker: Marker, radius: f64, paint: Paint) {
        let [x, y] = at;
        let corners: &[[f64; 2]] = match marker {
            Marker::Circle => return self.elements.push(Element::Disc { at, radius, paint }),
            Marker::Plus => {
                self.line([x - radius, y], [x + radius, y], paint, 1.75, Dash::Solid);
                return self.line([x, y - radius], [x, y + radius], paint, 1.75, Dash::Solid);
            }
            Marker::Square => &[[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
            Marker::Diamond => &[[0.0, -1.2], [1.2, 0.0], [0.0, 1.2], [-1.2, 0.0]],
            Marker::Up => &[[0.0, -1.1], [1.1, 0.9], [-1.1, 0.9]],
            Marker::Down => &[[-1.1, -0.9], [1.1, -0.9], [0.0, 1.1]],
        };
        let points = corners.iter().map(|[dx, dy]| [x + dx * radius, y + dy * radius]).collect();
        self.elements.push(Element::Polygon { points, paint });
    }
}

/// The elements as SVG, one a line.
pub(super) fn svg(elements: &[Element], ink: Ink) -> String {
    elements.iter().map(|element| element.svg(ink) + "\n").collect()
}

impl Element {
    fn svg(&self, ink: Ink) -> String {
        match self {
            Self::Text { at, anchor, letters, text, width } => text_svg(ink, *at, *anchor, *letters, (text, *width)),
            Self::Line { points, paint, width, dash } => {
                let (stroke, dash) = (ink.attribute("stroke", *paint), dashes(*dash));
                // A dot is a piece of no length with round ends; hairlines end where they end.
                let ends = if dash.is_empty() && points.len() == 2 { "" } else { " stroke-linecap=\"round\"" };
                format!(
                    "<polyline points=\"{}\" fill=\"none\" stroke-width=\"{}\" stroke-linejoin=\"round\"{ends}{dash} {stroke}/>",
                    joined(points),
                    tidy(*width)
                )
            }
            Self::Area { points, paint } => {
                let fill = ink.attribute("fill", *paint);
                format!("<polygon points=\"{}\" fill-opacity=\"0.08\" {fill}/>", joined(points))
            }
            Self::Polygon { points, paint } => {
                format!("<polygon points=\"{}\" {}/>", joined(points), ink.attribute("fill", *paint))
            }
            Self::Disc { at: [x, y], radius, paint } => {
                let ([x, y, radius], fill) = ([*x, *y, *radius].map(tidy), ink.attribute("fill", *paint));
                format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" {fill}/>")
            }
            Self::Rect { place, radius, paint, hollow } => rect_svg(ink, *place, *radius, *paint, *hollow),
        }
    }
}

/// The width is written too, so that another font keeps to it.
fn text_svg(ink: Ink, [x, y]: [f64; 2], anchor: Anchor, letters: Letters, (text, width): (&str, f64)) -> String {
    let anchor = match anchor {
        Anchor::Start => "",
        Anchor::Middle => " text-anchor=\"middle\"",
        Anchor::End => " text-anchor=\"end\"",
    };
    let weight = if letters.weight == Weight::Medium { " font-weight=\"500\"" } else { "" };
    let fill = ink.attribute("fill", letters.paint);
    let [x, y, size, length] = [x, y, letters.size, width].map(tidy);
    format!(
        "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\"{anchor}{weight} textLength=\"{length}\" {fill}>{}</text>",
        escaped(text)
    )
}

fn rect_svg(ink: Ink, [x, y, width, height]: [f64; 4], radius: f64, paint: Paint, hollow: bool) -> String {
    let inset = if hollow { 0.5 } else { 0.0 };
    let place = [x + inset, y + inset, (width - 2.0 * inset).max(0.0), (height - 2.0 * inset).max(0.0), radius];
    let [x, y, width, height, radius] = place.map(tidy);
    let paint =
        if hollow { format!("fill=\"none\" {}", ink.attribute("stroke", paint)) } else { ink.attribute("fill", paint) };
    format!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{radius}\" {paint}/>")
}

const fn dashes(dash: Dash) -> &'static str {
    match dash {
        Dash::Solid => "",
        Dash::Dashed => " stroke-dasharray=\"7 5\"",
        Dash::Long => " stroke-dasharray=\"14 5\"",
        Dash::Dotted => " stroke-dasharray=\"0.1 5\"",
    }
}

fn joined(points: &[[f64; 2]]) -> String {
    let mut out = String::new();
    for [x, y] in points {
        let gap = if out.is_empty() { "" } else { " " };
        write!(out, "{gap}{},{}", tidy(*x), tidy(*y)).ok();
    }
    out
}

/// A coordinate with two digits at most. What is no number can't be drawn, and is not written.
fn tidy(value: f64) -> String {
    let text = format!("{:.2}", if value.is_finite() { value } else { 0.0 });
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}
