//! The roofline of a device: logarithmic axes, ceilings as lines, workloads as points.

use eframe::egui::{Color32, Label, Role, Ui, WidgetInfo};
use egui_plot::{AxisHints, GridMark, HoverPosition, Line, LineStyle, Plot, PlotPoints, Points, Text};

use super::labels::{self, Axes, Name};
use crate::{
    analysis::{Point, Roof, Roofline},
    engine::EngineId,
    ui::{
        legend::{engine_ui, marker},
        plot,
        rows::capitalised,
        session::Session,
        theme::{self, Tokens, space},
        widgets::words_width,
    },
    units::{Quantity, Unit, number},
};

const HEIGHT: f32 = 320.0;

/// More points of a framework than these can't be told apart.
const POINTS_MAX: usize = crate::chart::POINTS_MAX;

/// Points that look alike: those of one framework, doubted or not.
struct Group<'a> {
    name: String,
    engine: EngineId,
    doubted: bool,
    points: Vec<&'a Point>,
}

impl Group<'_> {
    /// The points that are drawn.
    fn drawn(&self) -> impl Iterator<Item = &Point> {
        let step = self.points.len().div_ceil(POINTS_MAX).max(1);
        self.points.iter().step_by(step).copied()
    }

    /// Where they lie, in powers of ten.
    fn places(&self) -> Vec<[f64; 2]> {
        self.drawn().map(|point| [point.intensity.log10(), point.rate.log10()]).collect()
    }
}

/// Draws the chart with its legend, and says the same in words.
pub(super) fn ui(ui: &mut Ui, session: &Session, chart: &Roofline) {
    let tokens = Tokens::of(ui);
    let Some(extent) = chart.extent() else { return };
    let (roofs, groups) = (chart.roofs(), groups(chart));
    ui.spacing_mut().item_spacing.y = space::XS;
    ui.label(theme::section(format!("Roofline of {}", chart.place.phrase())));
    let explained = "What memory allows rises with the operations done for each byte, up to what arithmetic allows. \
                     A workload lies at its arithmetic intensity; the nearer to the line above it, the less is left to gain";
    ui.add(Label::new(theme::label(explained).color(tokens.dim)).wrap());
    legend_ui(ui, &groups, &roofs);
    plot_ui(ui, session, chart, extent, &roofs, &groups);
    for roof in &roofs {
        let text = format!("{}: {}", capitalised(roof.source()), roof_text(roof));
        ui.add(Label::new(theme::label(text).color(tokens.dim)).wrap().selectable(true));
    }
}

/// The roof without the word for its source.
fn roof_text(roof: &Roof) -> String {
    let text = roof.text();
    text.strip_suffix(&format!(", {}", roof.source())).unwrap_or(&text).to_owned()
}

fn groups(chart: &Roofline) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for point in &chart.points {
        let same = |group: &&mut Group<'_>| group.engine == point.engine && group.doubted == point.doubted;
        if let Some(group) = groups.iter_mut().find(same) {
            group.points.push(point);
        } else {
            let doubted = if point.doubted { ", doubtful" } else { "" };
            let name = format!("{}{doubted}", point.engine.title());
            groups.push(Group { name, engine: point.engine, doubted: point.doubted, points: vec![point] });
        }
    }
    groups
}

fn legend_ui(ui: &mut Ui, groups: &[Group<'_>], roofs: &[Roof]) {
    let tokens = Tokens::of(ui);
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().interact_size.y = 16.0;
        let mut engines: Vec<EngineId> = groups.iter().map(|group| group.engine).collect();
        engines.sort_unstable();
        engines.dedup();
        for engine in engines {
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = space::XS;
                engine_ui(ui, engine);
            });
        }
        let mut say = |words: &str| ui.label(theme::label(words).color(tokens.dim));
        say("FLOP/s over FLOP/B");
        if roofs.iter().any(|roof| !roof.published) {
            say("solid: measured");
        }
        if roofs.iter().any(|roof| roof.published) {
            say("dashed: theoretical");
        }
        if groups.iter().any(|group| group.doubted) {
            say("hollow: doubtful");
        }
    });
}

fn plot_ui(
    ui: &mut Ui,
    session: &Session,
    chart: &Roofline,
    [[left, right], [low, high]]: [[f64; 2]; 2],
    roofs: &[Roof],
    groups: &[Group<'_>],
) {
    let tokens = Tokens::of(ui);
    let hovered: Vec<(String, Vec<String>)> =
        groups.iter().map(|group| (group.name.clone(), hover(session, group))).collect();
    let plot = log_plot(ui, &format!("roofline {}", chart.place.label())).label_formatter(move |at| match at {
        HoverPosition::NearDataPoint { plot_name, index, .. } => {
            let words = hovered.iter().find(|(name, _)| name == plot_name).and_then(|(_, words)| words.get(*index));
            Some(words.cloned().unwrap_or_else(|| (*plot_name).to_owned()))
        }
        HoverPosition::Elsewhere { .. } => None,
    });
    let (names, drawn) = (names(ui, roofs), groups.iter().flat_map(Group::places).collect::<Vec<_>>());
    let shown = plot.show(ui, |plot| {
        plot.set_plot_bounds_x(left.log10()..=right.log10());
        plot.set_plot_bounds_y(low.log10()..=high.log10());
        for roof in roofs {
            let (colour, style) = dress(tokens, roof);
            let line: Vec<[f64; 2]> = roof.line(left, right).iter().map(|[x, y]| [x.log10(), y.log10()]).collect();
            let line = Line::new(roof.text(), PlotPoints::from(line)).color(colour).width(1.5).style(style);
            plot.line(line.allow_band(false));
        }
        let axes = Axes {
            x: [left.log10(), right.log10()],
            y: [low.log10(), high.log10()],
            size: plot.response().rect.size(),
        };
        for (text, at, anchor) in labels::place(&names, roofs, &drawn, &axes) {
            let words = theme::label(text);
            plot.text(Text::new("", at, words).color(tokens.dim).anchor(anchor).allow_hover(false));
        }
        for group in groups {
            let points = Points::new(group.name.clone(), PlotPoints::from(group.places())).radius(4.5);
            let points = points.shape(marker(group.engine)).filled(!group.doubted);
            plot.points(points.color(tokens.engine(group.engine)));
        }
    });
    shown.response.widget_info(|| WidgetInfo::labeled(Role::Image, true, chart.text()));
}

/// The measured levels by their names, which the list under the chart has all.
fn names<'a>(ui: &Ui, roofs: &'a [Roof]) -> Vec<Name<'a>> {
    let name = |roof: &'a Roof| {
        let dtype = roof.dtype.map(|dtype| format!("{dtype} ")).unwrap_or_default();
        let text = format!("{dtype}{}", Quantity::new(roof.peak?, Unit::FlopPerSecond));
        let width = words_width(ui, theme::label(&text));
        Some(Name { roof, text, width })
    };
    roofs.iter().filter(|roof| !roof.published).filter_map(name).collect()
}

/// What is read at each point that is drawn.
fn hover(session: &Session, group: &Group<'_>) -> Vec<String> {
    let words = |point: &Point| {
        let entry = session.run.entries.get(point.entry);
        let name = entry.map(|entry| format!("{} {}", entry.workload.title(), entry.workload.parameters()));
        let bound = point.bound.map_or_else(String::new, |bound| format!("\nbound by {}", bound.word()));
        let doubted = if point.doubted { "\ndoubtful" } else { "" };
        format!(
            "{}: {}\n{} at {} FLOP/B{bound}{doubted}",
            point.engine.title(),
            name.unwrap_or_default(),
            Quantity::new(point.rate, Unit::FlopPerSecond),
            number(point.intensity)
        )
    };
    group.drawn().map(words).collect()
}

/// Measured lines are solid and plain to see, theoretical ones dashed and faint.
const fn dress(tokens: &Tokens, roof: &Roof) -> (Color32, LineStyle) {
    if roof.published { (tokens.faint, LineStyle::Dashed { length: 7.0 }) } else { (tokens.text, LineStyle::Solid) }
}

/// Both axes count powers of ten.
fn log_plot<'a>(ui: &Ui, id: &str) -> Plot<'a> {
    let tokens = Tokens::of(ui);
    let dress = |axis: AxisHints<'a>| axis.tick_label_color(tokens.faint).tick_label_font(theme::tick_font());
    let x_axis = AxisHints::new_x().formatter(|mark, range| {
        // The corner belongs to the other axis, and the end is not in the card.
        let inside = mark.value > range.start() + 0.1 && mark.value < range.end() - 0.1;
        if inside { power(mark.value) } else { String::new() }
    });
    let y_axis = AxisHints::new_y().min_thickness(72.0).formatter(|mark, _| rate(mark.value));
    plot::base_plot(ui, id, x_axis)
        .height(HEIGHT)
        .show_grid([true, true])
        .x_grid_spacer(|input| decades(input.bounds))
        .y_grid_spacer(|input| decades(input.bounds))
        .custom_y_axes(vec![dress(y_axis)])
}

/// A mark at every power of ten.
fn decades(bounds: (f64, f64)) -> Vec<GridMark> {
    let (low, high) = (bounds.0.ceil().max(-300.0) as i32, bounds.1.floor().min(300.0) as i32);
    let step = ((high - low) / 8).max(1);
    let marks = (low..=high).filter(|power| (power - low) % step == 0);
    marks.map(|power| GridMark { value: f64::from(power), step_size: f64::from(step) }).collect()
}

/// "0.1", "1", "1000" of its logarithm.
fn power(log: f64) -> String {
    let value = 10_f64.powf(log);
    if (1e-3..1e5).contains(&value) {
        format!("{value:.*}", (-log.min(0.0)).round() as usize)
    } else {
        format!("{value:e}")
    }
}

/// "1 TFLOPS" of its logarithm.
fn rate(log: f64) -> String {
    let value = 10_f64.powf(log);
    let scale = Unit::FlopPerSecond.scale_for(value * (1.0 + 1e-9));
    format!("{:.0} {}", value / scale.factor, scale.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_ten_are_written_as_people_do() {
        assert_eq!([-2.0, -1.0, 0.0, 3.0].map(power), ["0.01", "0.1", "1", "1000"]);
        assert_eq!([9.0, 11.0, 12.0, 13.0].map(rate), ["1 GFLOPS", "100 GFLOPS", "1 TFLOPS", "10 TFLOPS"]);
        assert!(decades((f64::NEG_INFINITY, f64::INFINITY)).len() < 20, "absurd bounds have few marks");
    }
}
