//! Draws the charts of [`crate::chart`] with egui_plot: readouts, neither dragged nor zoomed.

use eframe::egui::{Role, Sense, Sides, Ui, Vec2, WidgetInfo};
use egui_plot::{AxisHints, GridMark, HoverPosition, Line, Plot, PlotPoints, Points, Span};

use super::{
    legend::{legend_ui, line_style, marker},
    session::Session,
    theme::{self, Tokens},
    widgets::card,
};
use crate::{
    chart::{
        Curve, Over, POINTS_MAX, Point, Segment, Series, What, are_several, sweep_curve, thin, ticks, tint_of,
        without_pauses,
    },
    record::Entry,
    units::{Quantity, Scale, Unit, binary_size, number},
};

const HEIGHT: f32 = 148.0;

/// The least span of the time axis in seconds, so that a run's start doesn't leap.
const SPAN_MIN_S: f64 = 6.0;

/// What is left of the pauses between jobs, in seconds.
const PAUSE_S: f64 = 0.4;

/// A chart's card: its name, its lines' names in their colours, its unit, and the plot. Lines of several engines have the
/// engines' colours, and a legend of their own under the name.
fn chart_card(ui: &mut Ui, title: &str, unit: &str, series: &[Series], add: impl FnOnce(&mut Ui)) {
    let several = are_several(series);
    card(ui, |ui| {
        let tokens = Tokens::of(ui);
        Sides::new().shrink_left().truncate().show(
            ui,
            |ui| {
                ui.label(theme::section(title));
                for series in series.iter().filter(|_| !several) {
                    ui.label(theme::label(series.label(false)).color(tokens.data(series.what.colour())));
                }
            },
            |ui| ui.label(theme::label(unit).color(tokens.dim)),
        );
        if several {
            legend_ui(ui, series);
        }
        add(ui);
    });
}

/// A chart without a run.
pub(super) fn empty_chart(ui: &mut Ui, title: &str, sentence: &str) {
    chart_card(ui, title, "", &[], |ui| {
        let tokens = Tokens::of(ui);
        let (rect, _) = ui.allocate_exact_size(Vec2::new(ui.available_width(), HEIGHT), Sense::hover());
        let label = eframe::egui::Label::new(theme::label(sentence).color(tokens.faint)).wrap();
        ui.put(rect, label);
    });
}

/// Rates of one unit over the time spent measuring.
pub(super) fn timeline_chart(ui: &mut Ui, session: &Session, title: &'static str, unit: Unit) {
    // An ended sweep has a chart of its own; its caches would only press the other lines down here.
    let live = session.live.is_some();
    let shown = |segment: &&Segment| live || !matches!(segment.series.what, What::Sweep(_));
    let segments: Vec<&Segment> = session.timeline.segments(unit).filter(shown).collect();
    let segments = without_pauses(&segments, PAUSE_S);
    let max = segments.iter().flat_map(|segment| &segment.points).map(|[_, y]| *y).reduce(f64::max);
    let Some(max) = max else {
        return empty_chart(ui, title, if live { "Not measured yet" } else { "No values" });
    };
    let scale = unit.scale_for(max);
    let mut series = session.timeline.series(unit);
    series.retain(|series| !matches!(series.what, What::Sweep(_)));
    let several = are_several(&series);
    let words = format!("{title} over the time measured, at most {}", Quantity::new(max, unit));
    chart_card(ui, title, scale.name, &series, |ui| {
        let end = segments.iter().filter_map(|segment| segment.points.last()).map(|last| last[0]).fold(0.0, f64::max);
        let tokens = Tokens::of(ui);
        // The corner belongs to the other axis's zero.
        let seconds = AxisHints::new_x()
            .formatter(|mark, _| if mark.value > 0.0 { format!("{} s", short(mark.value)) } else { String::new() });
        let plot = base_plot(ui, title, seconds)
            .x_grid_spacer(|input| marks(input.bounds, 6))
            .label_formatter(move |at| hover_text(at, scale.name));
        let shown = plot.show(ui, |plot| {
            plot.set_plot_bounds_x(0.0..=end.max(SPAN_MIN_S));
            plot.set_plot_bounds_y(0.0..=max / scale.factor * 1.1);
            for segment in &segments {
                let points = scaled(&segment.points, scale);
                let (first, last) = (points.first().map_or(0.0, |p| p[0]), points.last().map_or(0.0, |p| p[0]));
                let own = tokens.tint(tint_of(segment.series, several));
                let colour = if segment.warm_up { tokens.faint } else { own };
                if segment.warm_up {
                    plot.span(Span::new("", first..=last).fill(tokens.hover).border_width(0.0));
                }
                let name = if segment.warm_up { "warm-up".to_owned() } else { segment.series.label(several) };
                if let Some(last) = points.last().filter(|_| several && !segment.warm_up) {
                    let shape = marker(segment.series.engine);
                    plot.points(Points::new(name.clone(), vec![*last]).color(colour).radius(3.0).shape(shape));
                }
                if points.len() == 1 {
                    plot.points(Points::new(name, PlotPoints::from(points)).color(colour).radius(2.0));
                } else {
                    let drawn = Line::new(name, PlotPoints::from(points)).color(colour).width(1.75).allow_band(false);
                    plot.line(if segment.warm_up || several { drawn } else { drawn.fill(0.0).fill_alpha(0.07) });
                }
            }
        });
        shown.response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &words));
    });
}

/// Rates of several engines over sizes: a colour and a marker an engine, a kind of line an element type.
pub(super) fn curves_chart(ui: &mut Ui, title: &'static str, over: Over, curves: &[Curve]) {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let max = points().map(|[_, y]| *y).fold(0.0, f64::max);
    let (first, last) = points().fold((f64::INFINITY, 0.0_f64), |(low, high), [x, _]| (low.min(*x), high.max(*x)));
    let Some(unit) = curves.first().map(|curve| curve.series.what.unit()) else { return };
    let scale = unit.scale_for(max);
    let series: Vec<Series> = curves.iter().map(|curve| curve.series).collect();
    let words = format!("{title}, at most {}", Quantity::new(max, unit));
    chart_card(ui, title, scale.name, &series, |ui| {
        let tokens = Tokens::of(ui);
        let sizes = AxisHints::new_x().formatter(|mark, _| format!("{}", mark.value.exp2().round()));
        let plot = base_plot(ui, title, sizes)
            .x_grid_spacer(|input| powers(input.bounds))
            .label_formatter(move |at| over_text(at, over, scale.name));
        let shown = plot.show(ui, |plot| {
            plot.set_plot_bounds_x(first - 0.3..=last + 0.3);
            plot.set_plot_bounds_y(0.0..=(max / scale.factor * 1.1).max(1e-9));
            for curve in curves {
                let (name, colour) = (curve.series.label(true), tokens.engine(curve.series.engine));
                let points = scaled(&curve.points, scale);
                let line = Line::new(name.clone(), PlotPoints::from(points.clone())).color(colour).width(1.75);
                plot.line(line.style(line_style(curve.series.what)).allow_band(false));
                let shape = marker(curve.series.engine);
                plot.points(Points::new(name, PlotPoints::from(points)).color(colour).radius(3.5).shape(shape));
            }
        });
        shown.response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &words));
    });
}

/// Bandwidth over the size of the array.
pub(super) fn sweep_chart(ui: &mut Ui, entry: &Entry) {
    let curve = sweep_curve(entry);
    let max = curve.iter().map(|[_, y]| *y).fold(0.0, f64::max);
    let scale = Unit::BytePerSecond.scale_for(max);
    let series = Series::of(entry);
    let words = format!("{}, at most {}", entry.workload.title(), Quantity::new(max, Unit::BytePerSecond));
    let (first, last) = (curve.first().map_or(16.0, |p| p[0]), curve.last().map_or(30.0, |p| p[0]));
    let listed: Vec<Series> = series.into_iter().collect();
    chart_card(ui, "Bandwidth by size", scale.name, &listed, |ui| {
        let tokens = Tokens::of(ui);
        let sizes = AxisHints::new_x().formatter(|mark, _| size_at(mark.value));
        let plot = base_plot(ui, "sweep", sizes)
            .x_grid_spacer(|input| octaves(input.bounds))
            .label_formatter(move |at| size_text(at, scale.name));
        let shown = plot.show(ui, |plot| {
            plot.set_plot_bounds_x(first - 0.4..=last + 0.7);
            plot.set_plot_bounds_y(0.0..=(max / scale.factor * 1.1).max(1e-9));
            let (colour, points) =
                (tokens.data(series.map_or(0, |series| series.what.colour())), scaled(&curve, scale));
            let line = Line::new("", PlotPoints::from(points.clone())).color(colour).width(1.75);
            plot.line(line.fill(0.0).fill_alpha(0.07));
            plot.points(Points::new("", PlotPoints::from(points)).color(colour).radius(2.5));
        });
        shown.response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &words));
    });
}

/// The loss of a training over its steps.
pub(super) fn loss_chart(ui: &mut Ui, title: &str, curve: &[Point]) {
    let (low, high) = curve.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), [_, y]| (low.min(*y), high.max(*y)));
    let last = curve.last().map_or([1.0, 0.0], |last| *last);
    let words = format!("Loss of {title}, {} after {} steps", Quantity::new(last[1], Unit::Nat), last[0]);
    chart_card(ui, "Loss", "nats", &[], |ui| {
        let tokens = Tokens::of(ui);
        let steps = AxisHints::new_x().formatter(|mark, _| short(mark.value));
        let plot =
            base_plot(ui, "loss", steps).x_grid_spacer(|input| marks(input.bounds, 6)).label_formatter(|at| match at {
                HoverPosition::NearDataPoint { position, .. } => {
                    Some(format!("{} nats at step {}", number(position.y), position.x.round()))
                }
                HoverPosition::Elsewhere { .. } => None,
            });
        let shown = plot.show(ui, |plot| {
            plot.set_plot_bounds_x(1.0..=last[0].max(2.0));
            plot.set_plot_bounds_y((low * 0.9).min(0.0)..=(high * 1.1).max(1e-9));
            let points = thin(curve, POINTS_MAX);
            let line = Line::new("loss", PlotPoints::from(points)).width(1.75);
            plot.line(line.color(tokens.data(What::Training.colour())));
        });
        shown.response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &words));
    });
}

/// A plot that is neither dragged nor zoomed.
pub(super) fn base_plot<'a>(ui: &Ui, id: &str, x_axis: AxisHints<'a>) -> Plot<'a> {
    let tokens = Tokens::of(ui);
    let dress = |axis: AxisHints<'a>| axis.tick_label_color(tokens.faint).tick_label_font(theme::tick_font());
    let y_axis = AxisHints::new_y().formatter(|mark, _| short(mark.value)).min_thickness(40.0);
    Plot::new(id)
        .height(HEIGHT)
        .show_background(false)
        .allow_drag(false)
        .allow_zoom(false)
        .allow_scroll(false)
        .allow_boxed_zoom(false)
        .allow_axis_zoom_drag(false)
        .allow_double_click_reset(false)
        .show_grid([false, true])
        .grid_color(tokens.line)
        .cursor_color(tokens.line)
        .sense(Sense::hover())
        .y_grid_spacer(|input| marks(input.bounds, 4))
        .custom_x_axes(vec![dress(x_axis).label_spacing(24.0..=36.0)])
        .custom_y_axes(vec![dress(y_axis)])
}

fn scaled(points: &[Point], scale: Scale) -> Vec<Point> {
    thin(points, POINTS_MAX).into_iter().map(|[x, y]| [x, y / scale.factor]).collect()
}

/// A tick's number without needless digits.
pub(super) fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn hover_text(at: &HoverPosition<'_>, unit: &str) -> Option<String> {
    match at {
        HoverPosition::NearDataPoint { plot_name, position, .. } => {
            Some(format!("{plot_name}\n{} {unit} after {:.1} s of measuring", number(position.y), position.x))
        }
        HoverPosition::Elsewhere { .. } => None,
    }
}

fn size_text(at: &HoverPosition<'_>, unit: &str) -> Option<String> {
    match at {
        HoverPosition::NearDataPoint { position, .. } => {
            Some(format!("{} {unit} at {}", number(position.y), binary_size(position.x.exp2().round() as u64)))
        }
        HoverPosition::Elsewhere { .. } => None,
    }
}

fn over_text(at: &HoverPosition<'_>, over: Over, unit: &str) -> Option<String> {
    let HoverPosition::NearDataPoint { plot_name, position, .. } = at else { return None };
    let size = position.x.exp2().round();
    let place = match over {
        Over::Singles | Over::Halves => format!("n = {size}"),
        Over::Sequence => format!("{size} positions"),
    };
    Some(format!("{plot_name}\n{} {unit} at {place}", number(position.y)))
}

fn size_at(log2: f64) -> String {
    if (log2 - log2.round()).abs() > 1e-6 { String::new() } else { binary_size(log2.exp2().round() as u64) }
}

/// Round marks, all of one rank.
fn marks(bounds: (f64, f64), most: u32) -> Vec<GridMark> {
    let list = ticks(bounds.0, bounds.1, most);
    let step_size = list.get(1).zip(list.first()).map_or(1.0, |(second, first)| second - first);
    list.into_iter().map(|value| GridMark { value, step_size }).collect()
}

/// A mark at every power of two.
fn powers(bounds: (f64, f64)) -> Vec<GridMark> {
    let (low, high) = (bounds.0.ceil() as i32, bounds.1.floor() as i32);
    (low..=high).map(|power| GridMark { value: f64::from(power), step_size: 1.0 }).collect()
}

/// A mark at every fourth power of two, as 256 KiB, 4 MiB, 64 MiB, 1 GiB: room for the words, none in the corner.
fn octaves(bounds: (f64, f64)) -> Vec<GridMark> {
    let (low, high) = (bounds.0.ceil() as i32, bounds.1.floor() as i32);
    let marks = (low..=high).filter(|power| power % 4 == 2);
    marks.map(|power| GridMark { value: f64::from(power), step_size: 4.0 }).collect()
}
