//! How lines of several engines are told apart: by colour and marker whose, by the kind of line of what.

use eframe::egui::{Color32, Pos2, Rect, Sense, Shape, Stroke, Ui, Vec2, pos2};
use egui_plot::{LineStyle, MarkerShape};

use super::{
    theme::{self, Tokens, space},
    widgets::{make_room, words_width},
};
use crate::{
    chart::{Dash, Marker, Series, What},
    engine::EngineId,
};

/// The marker of an engine, as plots draw it.
pub(super) const fn marker(engine: EngineId) -> MarkerShape {
    match Marker::of(engine) {
        Marker::Circle => MarkerShape::Circle,
        Marker::Square => MarkerShape::Square,
        Marker::Diamond => MarkerShape::Diamond,
        Marker::Up => MarkerShape::Up,
        Marker::Down => MarkerShape::Down,
        Marker::Plus => MarkerShape::Plus,
    }
}

/// The kind of line of an element type, an operation or a task, as plots draw it.
pub(super) const fn line_style(what: What) -> LineStyle {
    match Dash::of(what) {
        Dash::Solid => LineStyle::Solid,
        Dash::Dashed => LineStyle::Dashed { length: 7.0 },
        Dash::Long => LineStyle::Dashed { length: 14.0 },
        Dash::Dotted => LineStyle::Dotted { spacing: 4.0 },
    }
}

/// Engines with their colours and markers, then kinds of line with what they mean.
pub(super) fn legend_ui(ui: &mut Ui, series: &[Series]) {
    let tokens = Tokens::of(ui);
    let mut engines: Vec<EngineId> = series.iter().map(|series| series.engine).collect();
    engines.sort_unstable();
    engines.dedup();
    let mut kinds: Vec<What> = series.iter().map(|series| series.what).collect();
    kinds.sort_unstable();
    kinds.dedup();
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = Vec2::new(space::XS, 2.0);
        ui.spacing_mut().interact_size.y = 14.0;
        for engine in engines {
            together(ui, 10.0, engine.title());
            ui.horizontal(|ui| engine_ui(ui, engine));
            ui.add_space(space::XS);
        }
        for kind in kinds.iter().filter(|_| kinds.len() > 1) {
            together(ui, 20.0, &kind.label());
            ui.horizontal(|ui| {
                let (rect, _) = ui.allocate_exact_size(Vec2::new(20.0, 14.0), Sense::hover());
                line_sample(ui, rect, line_style(*kind), tokens.dim);
                ui.label(theme::label(kind.label()).color(tokens.dim));
            });
            ui.add_space(space::XS);
        }
    });
}

/// Begins a new line where a mark so wide and the words after it would not fit into this one.
fn together(ui: &mut Ui, mark: f32, words: &str) {
    let width = mark + ui.spacing().item_spacing.x + words_width(ui, theme::label(words));
    make_room(ui, width);
}

/// An engine's marker and name in its colour.
pub(super) fn engine_ui(ui: &mut Ui, engine: EngineId) {
    mark_ui(ui, engine);
    ui.label(theme::label(engine.title()).color(Tokens::of(ui).engine(engine)));
}

/// An engine's marker in its colour.
pub(super) fn mark_ui(ui: &mut Ui, engine: EngineId) {
    let colour = Tokens::of(ui).engine(engine);
    let (rect, _) = ui.allocate_exact_size(Vec2::splat(10.0), Sense::hover());
    marker_ui(ui, rect.center(), Marker::of(engine), colour);
}

/// A marker as charts draw it.
pub(super) fn marker_ui(ui: &Ui, at: Pos2, shape: Marker, colour: Color32) {
    let radius = 3.5;
    let painter = ui.painter();
    let polygon = |corners: &[(f32, f32)]| {
        let points = corners.iter().map(|(x, y)| pos2(at.x + x * radius, at.y + y * radius)).collect();
        painter.add(Shape::convex_polygon(points, colour, Stroke::NONE));
    };
    match shape {
        Marker::Square => polygon(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
        Marker::Diamond => polygon(&[(0.0, -1.2), (1.2, 0.0), (0.0, 1.2), (-1.2, 0.0)]),
        Marker::Up => polygon(&[(0.0, -1.1), (1.1, 0.9), (-1.1, 0.9)]),
        Marker::Down => polygon(&[(-1.1, -0.9), (1.1, -0.9), (0.0, 1.1)]),
        Marker::Plus => {
            for end in [Vec2::new(radius, 0.0), Vec2::new(0.0, radius)] {
                painter.line_segment([at - end, at + end], Stroke::new(1.75, colour));
            }
        }
        Marker::Circle => {
            painter.circle_filled(at, radius, colour);
        }
    }
}

fn line_sample(ui: &Ui, rect: Rect, style: LineStyle, colour: Color32) {
    let path = [rect.left_center(), rect.right_center()];
    let stroke = Stroke::new(1.75, colour);
    let shapes = match style {
        LineStyle::Solid => vec![Shape::line_segment(path, stroke)],
        LineStyle::Dashed { length } => Shape::dashed_line(&path, stroke, length * 0.7, length * 0.4),
        LineStyle::Dotted { spacing } => Shape::dotted_line(&path, colour, spacing, 1.0),
    };
    ui.painter().extend(shapes);
}
