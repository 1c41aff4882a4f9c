//! One metric over time: its figure in every run that is found, with intervals.

use eframe::egui::{
    Button, ComboBox, Label, Pos2, Rect, Role, ScrollArea, Sense, Sides, Stroke, TextWrapMode, Ui, Vec2, WidgetInfo,
};
use egui_plot::{AxisHints, GridMark, MarkerShape, PlotPoint, PlotResponse, PlotTransform, Points};

use super::{count, when};
use crate::{
    chart::{Chart, TrendChart, TrendPoint, day_label},
    record::{Figure, Listed, Metric},
    ui::{
        action::Action,
        listing::RunsAction,
        picturing::with_menu,
        plot::{base_plot, short},
        state::State,
        theme::{self, Tokens, space},
    },
    units::{Quantity, Scale, number},
};

/// More metrics than this are not offered at once; the filters narrow them.
const METRICS_MAX: usize = 300;

/// More points than this are drawn smaller, and their intervals fainter.
const DENSE: usize = 200;

/// A point is meant by a pointer that is so near.
const NEAR: f32 = 14.0;

/// Draws it.
pub(super) fn ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let Some(trend) = &state.runs.trend else {
        ui.label(theme::label("Reading the figures of all runs…").color(tokens.dim));
        return;
    };
    let Some(metric) = state.runs.shown_metric() else {
        ui.label(theme::label("No run has a figure yet").color(tokens.dim));
        return;
    };
    let figures = state.runs.figures();
    let chart = TrendChart::of(figures);
    let usual = chart.points.iter().map(|point| point.at[1]).fold(0.0, f64::max);
    let scale = metric.unit.scale_for(usual);
    Sides::new().height(theme::CONTROL).shrink_left().truncate().show(
        ui,
        |ui| metrics_ui(ui, state, metric, &trend.metrics, actions),
        |ui| ui.label(theme::label(scale.name).color(tokens.dim)),
    );
    ui.label(theme::label(chart.summary(figures, "hollow or crossed")).color(tokens.dim));
    ui.add_space(space::S);
    if chart.points.is_empty() {
        ui.label("No run that is found has this figure; look for others, or show all");
        return;
    }
    let mut clicked = Vec::new();
    with_menu(ui, Chart::Trend, actions, |ui| plot_ui(ui, state, metric, &chart, scale, &mut clicked));
    actions.append(&mut clicked);
}

fn metric_name(metric: &Metric) -> String {
    let parameters = if metric.parameters.is_empty() { String::new() } else { format!(", {}", metric.parameters) };
    format!("{}{parameters} · {} · {}", metric.title, metric.engine.title(), metric.device)
}

/// The metrics that the filters leave, the most often measured first.
fn metrics_ui(ui: &mut Ui, state: &State, chosen: &Metric, all: &[Metric], actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let query = &state.runs.query;
    let fits = |metric: &&Metric| {
        query.engine.is_none_or(|engine| engine == metric.engine)
            && query.workload.is_none_or(|kind| kind == metric.kind)
            && query.machine.as_ref().is_none_or(|machine| metric.device.contains(machine.as_str()))
    };
    let listed: Vec<&Metric> = all.iter().filter(fits).take(METRICS_MAX).collect();
    let name = metric_name(chosen);
    let combo = ComboBox::from_id_salt("metric").selected_text(&name).truncate().width(460.0).height(420.0);
    let combo = combo.show_ui(ui, |ui| {
        ui.visuals_mut().selection.bg_fill = tokens.hover;
        ui.visuals_mut().selection.stroke.color = tokens.text;
        if listed.is_empty() {
            ui.label(theme::label("No metric fits the filters").color(tokens.dim));
        }
        ScrollArea::vertical().show(ui, |ui| {
            for metric in listed {
                let on = metric.id == chosen.id;
                let words = (metric_name(metric), eframe::egui::Atom::grow(), theme::label(count(metric.figures)));
                let button = Button::selectable(on, words).wrap_mode(TextWrapMode::Truncate);
                if ui.add(button.min_size(Vec2::new(ui.available_width(), theme::CONTROL))).clicked() {
                    actions.push(Action::Runs(RunsAction::Metric(metric.id)));
                }
            }
        });
    });
    let label = format!("Metric, {name}");
    combo.response.on_hover_text(&name).widget_info(|| WidgetInfo::labeled(Role::ComboBox, true, &label));
}

fn plot_ui(ui: &mut Ui, state: &State, metric: &Metric, chart: &TrendChart, scale: Scale, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let height = (ui.available_height() - space::L - space::M).max(160.0);
    let (start, is_short) = (chart.start_s, chart.is_short());
    let days = AxisHints::new_x().formatter(move |mark, _| day_label(start, mark.value, is_short));
    let marks: Vec<f64> = chart.day_marks(6);
    let step_size = marks.get(1).zip(marks.first()).map_or(1.0, |(second, first)| second - first);
    let mark = move |value: f64| GridMark { value, step_size };
    let values = AxisHints::new_y().formatter(|mark, _| short(mark.value)).min_thickness(40.0);
    let values = values.tick_label_color(tokens.faint).tick_label_font(theme::tick_font());
    let plot = base_plot(ui, "trend", days)
        .height(height)
        .sense(Sense::click())
        .custom_y_axes(vec![values])
        .x_grid_spacer(move |_| marks.iter().copied().map(mark).collect())
        .label_formatter(|_| None);
    let shown = plot.show(ui, |plot| {
        let room = (chart.days * 0.03).max(0.02);
        plot.set_plot_bounds_x(-room..=chart.days + room);
        plot.set_plot_bounds_y(chart.range.0 / scale.factor..=chart.range.1 / scale.factor);
        let of = |wanted: (bool, bool)| -> Vec<[f64; 2]> {
            let points = chart.points.iter().filter(|point| (point.doubted, point.barred) == wanted);
            points.map(|point| [point.at[0], point.at[1] / scale.factor]).collect()
        };
        let radius = if chart.points.len() > DENSE { 2.0 } else { 3.5 };
        let dots = |points: Vec<[f64; 2]>| Points::new("", points).radius(radius).allow_hover(false);
        plot.points(dots(of((false, false))).color(tokens.engine(metric.engine)));
        plot.points(dots(of((true, false))).color(tokens.warn).filled(false));
        plot.points(dots(of((true, true))).color(tokens.bad).radius(radius + 1.5).shape(MarkerShape::Cross));
    });
    intervals_ui(ui, metric, chart, scale, &shown);
    let last = chart.points.last().map_or(0.0, |point| point.at[1]);
    let words = format!(
        "{} over time, {} figures, the last {}",
        metric_name(metric),
        count(chart.points.len()),
        Quantity::new(last, metric.unit)
    );
    shown.response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &words));
    let Some(near) = shown.response.hover_pos().and_then(|at| near(chart, scale, &shown.transform, at)) else { return };
    let Some(figure) = state.runs.figures().get(near.place) else { return };
    let center = place(&shown.transform, near.at[0], near.at[1] / scale.factor);
    ui.painter().circle_stroke(center, 6.0, Stroke::new(1.5, tokens.text));
    if shown.response.clicked() {
        actions.push(Action::OpenRun(figure.path.clone()));
    }
    let text = figure_text(state, figure, scale);
    shown.response.on_hover_ui_at_pointer(|ui| {
        ui.add(Label::new(text).wrap_mode(TextWrapMode::Extend));
    });
}

/// A line for each interval, under the pointer's reach: thousands of them cost little so.
fn intervals_ui<T>(ui: &Ui, metric: &Metric, chart: &TrendChart, scale: Scale, shown: &PlotResponse<T>) {
    let tokens = Tokens::of(ui);
    let frame: Rect = *shown.transform.frame();
    let painter = ui.painter_at(frame);
    let strength = if chart.points.len() > DENSE { 0.2 } else { 0.6 };
    for point in &chart.points {
        let Some((low, high)) = point.interval else { continue };
        let ends = [low, high].map(|y| place(&shown.transform, point.at[0], y / scale.factor));
        let colour = if point.doubted { tokens.warn } else { tokens.engine(metric.engine) };
        painter.line_segment(ends, Stroke::new(1.0, colour.gamma_multiply(strength)));
    }
}

fn place(transform: &PlotTransform, x: f64, y: f64) -> Pos2 {
    transform.position_from_point(&PlotPoint::new(x, y))
}

fn near<'a>(chart: &'a TrendChart, scale: Scale, transform: &PlotTransform, at: Pos2) -> Option<&'a TrendPoint> {
    let distance = |point: &TrendPoint| place(transform, point.at[0], point.at[1] / scale.factor).distance(at);
    chart.nearest(distance).filter(|(_, distance)| *distance <= NEAR).map(|(point, _)| point)
}

/// What stands beside the pointer.
fn figure_text(state: &State, figure: &Figure, scale: Scale) -> String {
    let headers = state.history.iter().flatten().filter_map(Listed::header);
    let called = headers.filter(|header| header.path == figure.path).find_map(|header| header.about.name.clone());
    let mut lines: Vec<String> = called.into_iter().collect();
    lines.push(when(figure.at));
    let interval = figure
        .interval
        .map_or_else(String::new, |(low, high)| format!(", 95 % from {} to {}", scale.number(low), scale.number(high)));
    lines.push(format!("{} {}{interval}", number(figure.median / scale.factor), scale.name));
    lines.extend(figure.marks.iter().map(|mark| mark.word().to_owned()));
    lines.push("Click to open the run".to_owned());
    lines.join("\n")
}
