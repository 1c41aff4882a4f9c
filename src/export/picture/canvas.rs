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
pub(super) enum Paint {
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
    pub(super) const INK: Self = Self::Tint(Tint::Ink);
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

fn colour(palette: &Palette, paint: Paint) -> Rgb {
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
pub(super) enum Anchor {
    /// It begins there.
    Start,
    /// It is centred there.
    Middle,
    /// It ends there.
    End,
}

/// How letters look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Letters {
    pub size: f64,
    pub weight: Weight,
    pub paint: Paint,
}

impl Letters {
    pub(super) const fn new(size: f64, paint: Paint) -> Self {
        Self { size, weight: Weight::Regular, paint }
    }
}

/// The elements so far.
pub(super) struct Canvas {
    ink: Ink,
    /// Measures what is written.
    pub(super) ruler: Ruler<'static>,
    body: String,
}

impl Canvas {
    pub(super) fn new(ink: Ink) -> Self {
        Self { ink, ruler: Ruler::new(), body: String::new() }
    }

    /// The elements.
    pub(super) fn into_body(self) -> String {
        self.body
    }

    fn push(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }

    /// A text on the line at `y`, and how wide it is. Its width is written too, so that another font keeps to it.
    pub(super) fn text(&mut self, [x, y]: [f64; 2], anchor: Anchor, letters: Letters, text: &str) -> f64 {
        let text = plain(text);
        if text.is_empty() {
            return 0.0;
        }
        let width = self.ruler.width(&text, letters.size, letters.weight);
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let weight = if letters.weight == Weight::Medium { " font-weight=\"500\"" } else { "" };
        let fill = self.ink.attribute("fill", letters.paint);
        let (x, y, size, length) = (tidy(x), tidy(y), tidy(letters.size), tidy(width));
        self.push(&format!(
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\"{anchor}{weight} textLength=\"{length}\" {fill}>{}</text>",
            escaped(&text)
        ));
        width
    }

    pub(super) fn line(&mut self, [ax, ay]: [f64; 2], [bx, by]: [f64; 2], paint: Paint, width: f64, dash: Dash) {
        let (stroke, dash) = (self.ink.attribute("stroke", paint), dashes(dash));
        let [ax, ay, bx, by, width] = [ax, ay, bx, by, width].map(tidy);
        // A dot is a piece of no length with round ends.
        let cap = if dash.is_empty() { "" } else { " stroke-linecap=\"round\"" };
        self.push(&format!(
            "<line x1=\"{ax}\" y1=\"{ay}\" x2=\"{bx}\" y2=\"{by}\" stroke-width=\"{width}\"{cap}{dash} {stroke}/>"
        ));
    }

    pub(super) fn polyline(&mut self, points: &[[f64; 2]], paint: Paint, dash: Dash) {
        let (stroke, dash) = (self.ink.attribute("stroke", paint), dashes(dash));
        let points = joined(points);
        self.push(&format!(
            "<polyline points=\"{points}\" fill=\"none\" stroke-width=\"1.75\" stroke-linejoin=\"round\" \
             stroke-linecap=\"round\"{dash} {stroke}/>"
        ));
    }

    /// A faint area in the colour of its line.
    pub(super) fn area(&mut self, points: &[[f64; 2]], paint: Paint) {
        let (fill, points) = (self.ink.attribute("fill", paint), joined(points));
        self.push(&format!("<polygon points=\"{points}\" fill-opacity=\"0.08\" {fill}/>"));
    }

    /// A bar; hollow if it isn't compared.
    pub(super) fn rect(&mut self, [x, y, width, height]: [f64; 4], radius: f64, paint: Paint, hollow: bool) {
        let inset = if hollow { 0.5 } else { 0.0 };
        let place = [x + inset, y + inset, (width - 2.0 * inset).max(0.0), (height - 2.0 * inset).max(0.0)];
        let [x, y, width, height] = place.map(tidy);
        let paint = if hollow {
            format!("fill=\"none\" {}", self.ink.attribute("stroke", paint))
        } else {
            self.ink.attribute("fill", paint)
        };
        self.push(&format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{}\" {paint}/>",
            tidy(radius)
        ));
    }

    pub(super) fn marker(&mut self, [x, y]: [f64; 2], marker: Marker, radius: f64, paint: Paint) {
        let fill = self.ink.attribute("fill", paint);
        let corners: &[[f64; 2]] = match marker {
            Marker::Circle => {
                let [x, y, radius] = [x, y, radius].map(tidy);
                return self.push(&format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" {fill}/>"));
            }
            Marker::Plus => {
                self.line([x - radius, y], [x + radius, y], paint, 1.75, Dash::Solid);
                return self.line([x, y - radius], [x, y + radius], paint, 1.75, Dash::Solid);
            }
            Marker::Square => &[[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
            Marker::Diamond => &[[0.0, -1.2], [1.2, 0.0], [0.0, 1.2], [-1.2, 0.0]],
            Marker::Up => &[[0.0, -1.1], [1.1, 0.9], [-1.1, 0.9]],
            Marker::Down => &[[-1.1, -0.9], [1.1, -0.9], [0.0, 1.1]],
        };
        let at: Vec<[f64; 2]> = corners.iter().map(|[dx, dy]| [x + dx * radius, y + dy * radius]).collect();
        let points = joined(&at);
        self.push(&format!("<polygon points=\"{points}\" {fill}/>"));
    }
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
