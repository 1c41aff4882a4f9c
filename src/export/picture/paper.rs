//! Pages of what pictures are made of, as PDF: lines, areas and words, with the fonts that come along inside.

use krilla::{
    Document,
    color::rgb,
    geom::{Path, PathBuilder, Point, Transform},
    metadata::Metadata,
    num::NormalizedF32,
    page::PageSettings,
    paint::{Fill, LineCap, LineJoin, Stroke, StrokeDash},
    surface::Surface,
    text::{Font, TextDirection},
};

use super::{
    PictureError,
    canvas::{Anchor, Element, Paint, colour},
    words::{MEDIUM, REGULAR, Weight},
};
use crate::chart::{Dash, palette::LIGHT};

/// What stands on a page: elements, moved to a place and made smaller.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Piece {
    /// Where their origin is, in points from the top left.
    pub(crate) at: [f64; 2],
    /// How much smaller they are.
    pub(crate) scale: f64,
    /// From the lowest to the topmost.
    pub(crate) elements: Vec<Element>,
}

/// How far a circle's handles are from its points, as a share of its radius: 4 ÷ 3 · (√2 − 1).
const HANDLE: f64 = 0.552_285;

/// The pages as a PDF file, each so many points wide and high.
pub(crate) fn pdf(pages: &[Vec<Piece>], [width, height]: [f64; 2], title: &str) -> Result<Vec<u8>, PictureError> {
    let failed = |what: &str| PictureError::Drawing(what.to_owned());
    let font = |bytes: &'static [u8]| Font::new(bytes.into(), 0).ok_or_else(|| failed("a font can't be read"));
    let fonts = Fonts { regular: font(REGULAR)?, medium: font(MEDIUM)? };
    let mut document = Document::new();
    document.set_metadata(
        Metadata::new().title(title.to_owned()).creator(format!("Roofline {}", env!("CARGO_PKG_VERSION"))),
    );
    for pieces in pages {
        let size = PageSettings::from_wh(width as f32, height as f32).ok_or_else(|| failed("the page has no size"))?;
        let mut page = document.start_page_with(size);
        let mut surface = page.surface();
        for piece in pieces {
            let [x, y] = piece.at.map(|side| side as f32);
            surface.push_transform(&Transform::from_row(piece.scale as f32, 0.0, 0.0, piece.scale as f32, x, y));
            for element in &piece.elements {
                draw(&mut surface, &fonts, element);
            }
            surface.pop();
        }
        surface.finish();
        page.finish();
    }
    document.finish().map_err(|error| PictureError::Drawing(format!("{error:?}")))
}

struct Fonts {
    regular: Font,
    medium: Font,
}

fn draw(surface: &mut Surface<'_>, fonts: &Fonts, element: &Element) {
    match element {
        Element::Text { at: [x, y], anchor, letters, text, width } => {
            let back = match anchor {
                Anchor::Start => 0.0,
                Anchor::Middle => width / 2.0,
                Anchor::End => *width,
            };
            let font = match letters.weight {
                Weight::Regular => &fonts.regular,
                Weight::Medium => &fonts.medium,
            };
            filled(surface, letters.paint, 1.0);
            let start = Point::from_xy((x - back) as f32, *y as f32);
            surface.draw_text(start, font.clone(), letters.size as f32, text, false, TextDirection::LeftToRight);
        }
        Element::Line { points, paint, width, dash } => {
            stroked(surface, *paint, *width, *dash);
            draw_path(surface, open(points));
        }
        Element::Area { points, paint } => {
            filled(surface, *paint, 0.08);
            draw_path(surface, closed(points));
        }
        Element::Polygon { points, paint } => {
            filled(surface, *paint, 1.0);
            draw_path(surface, closed(points));
        }
        Element::Rect { place: [x, y, width, height], radius, paint, hollow } => {
            if *hollow {
                stroked(surface, *paint, 1.0, Dash::Solid);
            } else {
                filled(surface, *paint, 1.0);
            }
            draw_path(surface, rounded([*x, *y, *width, *height], *radius));
        }
        Element::Disc { at: [x, y], radius, paint } => {
            filled(surface, *paint, 1.0);
            draw_path(surface, rounded([x - radius, y - radius, 2.0 * radius, 2.0 * radius], *radius));
        }
    }
}

fn ink(paint: Paint) -> krilla::paint::Paint {
    let [_, red, green, blue] = colour(&LIGHT, paint).to_be_bytes();
    rgb::Color::new(red, green, blue).into()
}

fn filled(surface: &mut Surface<'_>, paint: Paint, opacity: f32) {
    let opacity = NormalizedF32::new(opacity).unwrap_or(NormalizedF32::ONE);
    surface.set_stroke(None);
    surface.set_fill(Some(Fill { paint: ink(paint), opacity, ..Fill::default() }));
}

fn stroked(surface: &mut Surface<'_>, paint: Paint, width: f64, dash: Dash) {
    let dashes: &[f32] = match dash {
        Dash::Solid => &[],
        Dash::Dashed => &[7.0, 5.0],
        Dash::Long => &[14.0, 5.0],
        Dash::Dotted => &[0.1, 4.0],
    };
    surface.set_fill(None);
    surface.set_stroke(Some(Stroke {
        paint: ink(paint),
        width: width as f32,
        line_cap: if dash == Dash::Dotted { LineCap::Round } else { LineCap::Butt },
        line_join: LineJoin::Round,
        dash: (!dashes.is_empty()).then(|| StrokeDash { array: dashes.to_vec(), offset: 0.0 }),
        ..Stroke::default()
    }));
}

/// Nothing is drawn of a path that has no extent.
fn draw_path(surface: &mut Surface<'_>, path: Option<Path>) {
    if let Some(path) = path {
        surface.draw_path(&path);
    }
}

fn open(points: &[[f64; 2]]) -> Option<Path> {
    traced(points).finish()
}

fn closed(points: &[[f64; 2]]) -> Option<Path> {
    let mut builder = traced(points);
    builder.close();
    builder.finish()
}

fn traced(points: &[[f64; 2]]) -> PathBuilder {
    let mut builder = PathBuilder::new();
    for (place, [x, y]) in points.iter().enumerate() {
        let (x, y) = (*x as f32, *y as f32);
        if place == 0 { builder.move_to(x, y) } else { builder.line_to(x, y) }
    }
    builder
}

/// A rectangle with round corners; a disc where the radius is half of its sides.
fn rounded([x, y, width, height]: [f64; 4], radius: f64) -> Option<Path> {
    let radius = radius.min(width / 2.0).min(height / 2.0).max(0.0);
    let (right, bottom, handle) = (x + width, y + height, radius * (1.0 - HANDLE));
    let mut builder = PathBuilder::new();
    let f = |value: f64| value as f32;
    builder.move_to(f(x + radius), f(y));
    // Each side, then the corner after it: its two handles and its end.
    for (side, [first, second, end]) in [
        ([right - radius, y], [[right - handle, y], [right, y + handle], [right, y + radius]]),
        ([right, bottom - radius], [[right, bottom - handle], [right - handle, bottom], [right - radius, bottom]]),
        ([x + radius, bottom], [[x + handle, bottom], [x, bottom - handle], [x, bottom - radius]]),
        ([x, y + radius], [[x, y + handle], [x + handle, y], [x + radius, y]]),
    ] {
        builder.line_to(f(side[0]), f(side[1]));
        builder.cubic_to(f(first[0]), f(first[1]), f(second[0]), f(second[1]), f(end[0]), f(end[1]));
    }
    builder.close();
    builder.finish()
}
