//! Draws a figure as pictures and pages have it, with the window's own fonts and colours.

use eframe::egui::{
    Align2, Color32, FontFamily, FontId, Painter, Pos2, Rect, Role, Sense, Shape, Stroke, StrokeKind, Ui, Vec2,
    WidgetInfo,
};

use super::theme::{self, Tokens};
use crate::{
    chart::{Dash, Figure},
    export::{Anchor, Drawing, Element, Paint, Weight, drawing},
};

/// Draws it as wide as there is room.
pub(super) fn ui(ui: &mut Ui, figure: &Figure) {
    let Drawing { size: [width, height], elements } = drawing(figure, f64::from(ui.available_width()));
    // It is drawn larger than there is room where its words need more; then all of it is made smaller again.
    let scale = ui.available_width() / width as f32;
    let (rect, response) = ui.allocate_exact_size(Vec2::new(width as f32, height as f32) * scale, Sense::hover());
    let words = &figure.title;
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, words));
    let (tokens, painter) = (Tokens::of(ui), ui.painter_at(rect.expand(2.0)));
    let place = Place { at: rect.min, scale };
    for element in &elements {
        draw(&painter, tokens, element, place);
    }
}

/// Where a drawing lies on the screen.
#[derive(Clone, Copy)]
struct Place {
    at: Pos2,
    scale: f32,
}

impl Place {
    fn point(self, [x, y]: [f64; 2]) -> Pos2 {
        self.at + Vec2::new(x as f32, y as f32) * self.scale
    }

    fn length(self, length: f64) -> f32 {
        length as f32 * self.scale
    }
}

fn draw(painter: &Painter, tokens: &Tokens, element: &Element, place: Place) {
    let all = |points: &[[f64; 2]]| points.iter().map(|point| place.point(*point)).collect::<Vec<Pos2>>();
    match element {
        Element::Text { at, anchor, letters, text, .. } => {
            let family = match letters.weight {
                Weight::Regular => FontFamily::Proportional,
                Weight::Medium => theme::medium_family(),
            };
            let align = match anchor {
                Anchor::Start => Align2::LEFT_BOTTOM,
                Anchor::Middle => Align2::CENTER_BOTTOM,
                Anchor::End => Align2::RIGHT_BOTTOM,
            };
            let size = place.length(letters.size);
            // Pictures place words by the line that they stand on, which is above their lower edge.
            let at = place.point(*at) + Vec2::new(0.0, size * 0.26);
            painter.text(at, align, text, FontId::new(size, family), colour(tokens, letters.paint));
        }
        Element::Line { points, paint, width, dash } => {
            line(painter, &all(points), Stroke::new(place.length(*width), colour(tokens, *paint)), *dash);
        }
        // The area under a line is of any shape, which the painter can't fill; the line says all.
        Element::Area { .. } => {}
        Element::Polygon { points, paint } => {
            painter.add(Shape::convex_polygon(all(points), colour(tokens, *paint), Stroke::NONE));
        }
        Element::Disc { at, radius, paint } => {
            painter.circle_filled(place.point(*at), place.length(*radius), colour(tokens, *paint));
        }
        Element::Rect { place: [x, y, width, height], radius, paint, hollow } => {
            let rect = Rect::from_two_pos(place.point([*x, *y]), place.point([x + width, y + height]));
            let (radius, colour) = (place.length(*radius), colour(tokens, *paint));
            if *hollow {
                painter.rect_stroke(rect, radius, (1.0, colour), StrokeKind::Inside);
            } else {
                painter.rect_filled(rect, radius, colour);
            }
        }
    }
}

fn line(painter: &Painter, path: &[Pos2], stroke: Stroke, dash: Dash) {
    match dash {
        Dash::Solid => drop(painter.add(Shape::line(path.to_vec(), stroke))),
        Dash::Dashed => painter.extend(Shape::dashed_line(path, stroke, 7.0, 5.0)),
        Dash::Long => painter.extend(Shape::dashed_line(path, stroke, 14.0, 5.0)),
        Dash::Dotted => painter.extend(Shape::dotted_line(path, stroke.color, 5.0, stroke.width / 2.0)),
    }
}

fn colour(tokens: &Tokens, paint: Paint) -> Color32 {
    match paint {
        Paint::Panel => tokens.panel,
        Paint::Line => tokens.line,
        Paint::Dim => tokens.dim,
        Paint::Tint(tint) => tokens.tint(tint),
    }
}
