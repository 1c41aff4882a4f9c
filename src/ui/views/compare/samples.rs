//! The samples of a row: a strip with a box for each side.

use eframe::egui::{
    Align2, Button, Label, Pos2, Rect, Role, ScrollArea, Sense, Sides, Stroke, StrokeKind, Ui, Vec2, WidgetInfo,
};

use super::{side_colour, verdict_colour};
use crate::{
    analysis::comparison::{Cell, Row},
    chart::ticks,
    export::plain,
    measure::Measurement,
    stats::{median_interval, quantile, sorted_finite},
    ui::{
        action::Action,
        comparing::{CompareAction, Shown},
        rows::capitalised,
        theme::{self, Tokens},
    },
    units::{Scale, Unit, number},
};

/// More samples than this are thinned, evenly over the ordered ones.
const DRAWN_MAX: usize = 400;

/// Room for the labels on the left.
const LABELS: f32 = 148.0;

/// Sides whose medians lie further apart than this would be dots on one axis.
const TOGETHER_MAX: f64 = 1.3;

/// The values of one side.
struct Strip {
    side: usize,
    /// Ascending.
    sorted: Vec<f64>,
    median: f64,
    unit: Unit,
    /// Published, or found once: there is a figure and no samples.
    alone: bool,
}

/// Draws the samples of a row, and what is to be known of it.
pub(super) fn ui(ui: &mut Ui, shown: &Shown, row: &Row, height: f32, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let scale = scale(row);
    let strips: Vec<Strip> = (0..row.cells.len()).filter_map(|side| strip(shown, row, side)).collect();
    let around = are_far_apart(&strips);
    Sides::new().height(22.0).shrink_left().truncate().show(
        ui,
        |ui| {
            ui.label(theme::section(plain(&row.title())));
            let better = if row.higher_is_better() { "more is better" } else { "less is better" };
            let unit = if around { "each as % of its own median".to_owned() } else { format!("in {}", scale.name) };
            let words = format!("{} · samples {unit}, {better}", plain(&row.parameters()));
            ui.label(theme::label(words).color(tokens.dim));
        },
        |ui| {
            let button = Button::new("Close samples").min_size(Vec2::new(0.0, 22.0));
            ui.spacing_mut().button_padding.y = 2.0;
            ui.spacing_mut().interact_size.y = 22.0;
            if ui.add(button).on_hover_text("Show the chart again").clicked() {
                actions.push(Action::Comparing(CompareAction::Select(None)));
            }
        },
    );
    let texts: Vec<(usize, &Cell)> = row.cells.iter().enumerate().filter(|(_, cell)| has_words(cell)).collect();
    let notes = if texts.is_empty() { 0.0 } else { (16.0 * texts.len() as f32 + 4.0).min(44.0) };
    let beside = if texts.is_empty() { 30.0 } else { 38.0 + notes };
    strips_ui(ui, shown, &strips, if around { None } else { Some(scale) }, height - beside);
    if !texts.is_empty() {
        ScrollArea::vertical().id_salt("notes").max_height(notes).min_scrolled_height(notes).auto_shrink(false).show(
            ui,
            |ui| {
                ui.spacing_mut().item_spacing.y = 2.0;
                for (side, cell) in texts {
                    words_ui(ui, shown, row, side, cell);
                }
            },
        );
    }
}

fn has_words(cell: &Cell) -> bool {
    cell.verdict.as_ref().is_some_and(|verdict| verdict.reason().is_some()) || !cell.notes.is_empty()
}

fn words_ui(ui: &mut Ui, shown: &Shown, row: &Row, side: usize, cell: &Cell) {
    let tokens = Tokens::of(ui);
    let label = plain(shown.compared.label(side));
    let verdict = cell.verdict.as_ref().and_then(|verdict| Some((verdict, verdict.reason()?)));
    if let Some((verdict, reason)) = verdict {
        let text = format!("{label}: {} {}: {}", verdict.sign(), verdict.word(row.unit), plain(&reason));
        ui.add(Label::new(theme::label(text).color(verdict_colour(tokens, verdict))).wrap());
    }
    for note in &cell.notes {
        ui.add(Label::new(theme::label(format!("{label}: {}", plain(&capitalised(note)))).color(tokens.dim)).wrap());
    }
}

/// The scale of the row's figures.
fn scale(row: &Row) -> Scale {
    let medians = row.cells.iter().filter_map(|cell| cell.figure).map(|figure| figure.median);
    row.unit.scale_for(medians.filter(|median| median.is_finite()).fold(0.0, f64::max))
}

/// The samples of a side; nothing where they are of another unit or absent.
fn strip(shown: &Shown, row: &Row, side: usize) -> Option<Strip> {
    let run = shown.runs.get(shown.compared.sides.get(side)?.run)?;
    let measurement: &Measurement = row.measurement(run.entries.get(row.cells.get(side)?.entry?)?)?;
    if measurement.unit != row.unit {
        return None;
    }
    let values: Vec<f64> = measurement.samples.iter().map(|sample| sample.value).collect();
    let mut sorted = sorted_finite(&values);
    let alone = sorted.len() < 2;
    if alone {
        sorted = sorted_finite(&[measurement.summary.median]);
    }
    let median = quantile(&sorted, 0.5)?;
    Some(Strip { side, sorted, median, unit: row.unit, alone })
}

/// Whether the sides don't fit on one axis.
fn are_far_apart(strips: &[Strip]) -> bool {
    let medians = || strips.iter().map(|strip| strip.median);
    let (low, high) = (medians().fold(f64::INFINITY, f64::min), medians().fold(f64::NEG_INFINITY, f64::max));
    low > 0.0 && high / low > TOGETHER_MAX
}

/// All strips over one axis: of figures in this scale, else of shares of each side's own median.
fn strips_ui(ui: &mut Ui, shown: &Shown, strips: &[Strip], scale: Option<Scale>, height: f32) {
    let tokens = Tokens::of(ui);
    let (rect, response) = ui.allocate_exact_size(Vec2::new(ui.available_width(), height), Sense::hover());
    let on_axis = |strip: &Strip, value: f64| match scale {
        Some(scale) => value / scale.factor,
        None => 100.0 * value / strip.median,
    };
    let ends = strips.iter().flat_map(|strip| {
        [strip.sorted.first(), strip.sorted.last()].into_iter().flatten().map(|value| on_axis(strip, *value))
    });
    let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), value| (l.min(value), h.max(value)));
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, spoken(shown, strips)));
    if !low.is_finite() || !high.is_finite() {
        let words = theme::label("No samples that can be drawn").color(tokens.faint);
        ui.put(rect, Label::new(words));
        return;
    }
    let margin = ((high - low) * 0.04).max(high.abs() * 1e-3).max(f64::MIN_POSITIVE);
    let (low, high) = (low - margin, high + margin);
    let plot = Rect::from_min_max(rect.min + Vec2::new(LABELS, 0.0), rect.max - Vec2::new(8.0, 20.0));
    let x = |value: f64| plot.left() + ((value - low) / (high - low)) as f32 * plot.width();
    for tick in ticks(low, high, 6) {
        let at = x(tick);
        ui.painter().line_segment([Pos2::new(at, plot.top()), Pos2::new(at, plot.bottom())], (1.0, tokens.line));
        let text = format!("{}{}", number(tick), if scale.is_none() { " %" } else { "" });
        ui.painter().text(Pos2::new(at, rect.bottom()), Align2::CENTER_BOTTOM, text, theme::tick_font(), tokens.dim);
    }
    let lane = plot.height() / strips.len().max(1) as f32;
    for (place, strip) in strips.iter().enumerate() {
        let top = plot.top() + lane * place as f32;
        let lane = Rect::from_min_max(Pos2::new(plot.left(), top), Pos2::new(plot.right(), top + lane));
        strip_ui(ui, shown, strip, lane, &|value| x(on_axis(strip, value)));
    }
}

/// Points, a box from the first quartile to the third, the median, and its interval as a bar under it.
fn strip_ui(ui: &Ui, shown: &Shown, strip: &Strip, lane: Rect, x: &impl Fn(f64) -> f32) {
    let (tokens, painter) = (Tokens::of(ui), ui.painter());
    let colour = side_colour(tokens, shown, strip.side);
    let label = plain(shown.compared.label(strip.side));
    let count = if strip.alone { "no samples".to_owned() } else { format!("n = {}", strip.sorted.len()) };
    let text = Pos2::new(lane.left() - LABELS, lane.center().y);
    let font = theme::tick_font();
    painter.text(text, Align2::LEFT_CENTER, label, font.clone(), colour);
    painter.text(Pos2::new(lane.left() - 10.0, text.y), Align2::RIGHT_CENTER, count, font, tokens.dim);
    let middle = lane.center().y;
    let half = (lane.height() / 2.0 - 3.0).clamp(3.0, 14.0);
    let at = |share: f64| quantile(&strip.sorted, share).map(x);
    if let (false, Some(first), Some(third)) = (strip.alone, at(0.25), at(0.75)) {
        let quartiles = Rect::from_min_max(Pos2::new(first, middle - half), Pos2::new(third, middle + half));
        painter.rect(quartiles, 2, colour.gamma_multiply(0.16), Stroke::new(1.0, colour), StrokeKind::Inside);
        let step = strip.sorted.len().div_ceil(DRAWN_MAX);
        for (number, value) in strip.sorted.iter().step_by(step).enumerate() {
            // Spread over the height, so that equal values are seen as several.
            let shift = ((number * 7) % 11) as f32 / 10.0 - 0.5;
            painter.circle_filled(Pos2::new(x(*value), middle + shift * half * 1.4), 2.0, colour.gamma_multiply(0.75));
        }
        if let Some(interval) = median_interval(&strip.sorted) {
            let y = middle + half + 2.0;
            let ends = [Pos2::new(x(interval.low), y), Pos2::new(x(interval.high), y)];
            painter.line_segment(ends, Stroke::new(3.0, colour));
        }
    }
    if let Some(median) = at(0.5) {
        let ends = [Pos2::new(median, middle - half), Pos2::new(median, middle + half)];
        painter.line_segment(ends, Stroke::new(2.0, tokens.text));
    }
}

/// The strips in words.
fn spoken(shown: &Shown, strips: &[Strip]) -> String {
    let one = |strip: &Strip| {
        let scale = strip.unit.scale_for(strip.median);
        let value = |share: f64| quantile(&strip.sorted, share).map_or_else(String::new, |value| scale.number(value));
        let label = plain(shown.compared.label(strip.side));
        if strip.alone {
            return format!("{label} {} {}, no samples", value(0.5), scale.name);
        }
        let (count, unit) = (strip.sorted.len(), scale.name);
        format!("{label} median {} {unit} of {count} samples from {} to {}", value(0.5), value(0.0), value(1.0))
    };
    let all: Vec<String> = strips.iter().map(one).collect();
    format!("Samples: {}", all.join("; "))
}
