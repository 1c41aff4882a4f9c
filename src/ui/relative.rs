//! Draws [`RelativeBars`]: groups of bars beside the baseline's, each with its interval.

use std::sync::Arc;

use eframe::egui::{
    Align, Align2, Color32, FontSelection, Galley, Label, Pos2, Rect, Role, Sense, Shape, Stroke, StrokeKind, Ui, Vec2,
    WidgetInfo, WidgetText,
    text::{LayoutJob, TextWrapping},
};

use super::theme::{self, Tokens};
use crate::{
    analysis::frameworks::times,
    chart::{Bar, BarGroup, RelativeAxis, RelativeBars, Standing},
    export::plain,
    units::percent,
};

/// Room for the axis on the left.
const AXIS: f32 = 46.0;

/// The height of a line of words under the bars, and of what is around them.
const LINE: f32 = 14.0;
const AROUND: f32 = 4.0;

/// A title that is wider than its group goes on in a second line: its end is often all that tells it from the next one's.
const TITLE_LINES: usize = 2;

/// The least width of a group: narrower, its words can't be read.
const GROUP: f32 = 76.0;

/// No bar is wider than this.
const BAR: f32 = 34.0;

/// Draws the chart as wide as there is room; the row of the group that was clicked. `in_times` writes 1.5× instead of 150 %.
pub(super) fn ui(
    ui: &mut Ui,
    bars: &RelativeBars,
    height: f32,
    in_times: bool,
    colour: impl Fn(usize) -> Color32,
) -> Option<usize> {
    let tokens = Tokens::of(ui);
    let (rect, _) = ui.allocate_exact_size(Vec2::new(ui.available_width(), height), Sense::hover());
    if bars.groups.is_empty() {
        let words = theme::label("No row has figures that can be held against each other").color(tokens.faint);
        ui.put(rect, Label::new(words));
        return None;
    }
    let fit = fit(rect.width());
    let count = bars.groups.len().min(fit);
    let width = (rect.width() - AXIS) / count as f32;
    let words: Vec<Vec<Arc<Galley>>> = bars.groups.iter().take(fit).map(|group| words_of(ui, group, width)).collect();
    let lines = words.iter().map(|lines| lines.iter().map(|words| words.rows.len()).sum()).max().unwrap_or(0);
    let below = LINE * lines as f32 + AROUND;
    let plot = Rect::from_min_max(rect.min + Vec2::new(AXIS, 4.0), rect.max - Vec2::new(0.0, below));
    let axis = bars.axis();
    axis_ui(ui, plot, &axis, in_times);
    let mut clicked = None;
    for (place, (group, words)) in bars.groups.iter().zip(words).enumerate() {
        let left = plot.left() + width * place as f32;
        let area = Rect::from_min_max(Pos2::new(left, plot.top()), Pos2::new(left + width, rect.bottom()));
        let response = ui.interact(area, ui.scope_id().with(("bars", group.row)), Sense::click());
        let spoken = spoken(bars, group, in_times);
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &spoken));
        if response.hovered() || response.has_focus() {
            ui.painter().rect_filled(area.shrink2(Vec2::new(2.0, 0.0)), 4, tokens.hover);
        }
        let inside = Rect::from_min_max(area.min, Pos2::new(area.right(), plot.bottom()));
        group_ui(ui, inside, group, &axis, &colour);
        words_ui(ui, area, plot.bottom() + AROUND - 1.0, words);
        if response.on_hover_text(spoken.replace("; ", "\n")).clicked() {
            clicked = Some(group.row);
        }
    }
    base_line(ui, plot, &axis);
    clicked
}

/// How many groups fit into this width.
fn fit(width: f32) -> usize {
    (((width - AXIS) / GROUP) as usize).max(1)
}

/// How many rows have bars that are not drawn in this width.
pub(super) fn left_out(bars: &RelativeBars, width: f32) -> usize {
    bars.left_out + bars.groups.len().saturating_sub(fit(width))
}

/// A tick as short as it can be.
fn tick_text(tick: f64, in_times: bool) -> String {
    let (value, sign) = if in_times { (tick, "×") } else { (tick * 100.0, " %") };
    let text = format!("{value:.4}");
    format!("{}{sign}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A share as it is written.
fn value_text(value: f64, in_times: bool) -> String {
    if in_times || value >= 9.995 { times(value) } else { percent(value) }
}

/// Horizontal lines and what they mean.
fn axis_ui(ui: &Ui, plot: Rect, axis: &RelativeAxis, in_times: bool) {
    let tokens = Tokens::of(ui);
    let y = |value: f64| plot.bottom() - axis.place(value) as f32 * plot.height();
    let mut last = f32::INFINITY;
    for tick in &axis.ticks {
        let at = y(*tick);
        ui.painter().line_segment([Pos2::new(plot.left(), at), Pos2::new(plot.right(), at)], (1.0, tokens.line));
        // Words that would lie on each other are left out.
        if last - at >= 13.0 {
            let place = Pos2::new(plot.left() - 6.0, at);
            ui.painter().text(place, Align2::RIGHT_CENTER, tick_text(*tick, in_times), theme::tick_font(), tokens.dim);
            last = at;
        }
    }
}

/// The baseline across all groups.
fn base_line(ui: &Ui, plot: Rect, axis: &RelativeAxis) {
    let tokens = Tokens::of(ui);
    let y = plot.bottom() - axis.place(1.0) as f32 * plot.height();
    let line = [Pos2::new(plot.left(), y), Pos2::new(plot.right(), y)];
    ui.painter().extend(Shape::dashed_line(&line, Stroke::new(1.0, tokens.dim), 4.0, 4.0));
}

fn group_ui(ui: &Ui, area: Rect, group: &BarGroup, axis: &RelativeAxis, colour: &impl Fn(usize) -> Color32) {
    let (tokens, painter) = (Tokens::of(ui), ui.painter());
    let y = |value: f64| area.bottom() - axis.place(value) as f32 * area.height();
    let step = ((area.width() - 12.0) / group.bars.len().max(1) as f32).min(BAR + 3.0);
    let start = area.center().x - step * group.bars.len() as f32 / 2.0;
    for (side, bar) in group.bars.iter().enumerate() {
        let Some(bar) = bar else { continue };
        let left = start + step * side as f32;
        let (one, other) = (y(bar.value), y(axis.origin()));
        // A bar that is no longer than nothing is still seen.
        let (top, bottom) = (one.min(other), one.max(other).max(one.min(other) + 1.5));
        let drawn = Rect::from_min_max(Pos2::new(left + 1.0, top), Pos2::new(left + step - 2.0, bottom));
        let own = colour(side);
        if bar.standing == Standing::Undecided {
            painter.rect(drawn, 2, own.gamma_multiply(0.35), Stroke::new(1.0, own), StrokeKind::Inside);
        } else {
            painter.rect_filled(drawn, 2, own);
        }
        if let Some(interval) = bar.interval {
            let x = drawn.center().x;
            let stroke = Stroke::new(1.25, tokens.text);
            let (low, high) = (y(interval.low), y(interval.high));
            painter.line_segment([Pos2::new(x, low), Pos2::new(x, high)], stroke);
            let cap = (step / 5.0).min(4.0);
            for end in [low, high] {
                painter.line_segment([Pos2::new(x - cap, end), Pos2::new(x + cap, end)], stroke);
            }
        }
    }
}

/// What was measured, how, and by whom where that differs, for a group so wide.
fn words_of(ui: &Ui, group: &BarGroup, width: f32) -> Vec<Arc<Galley>> {
    let tokens = Tokens::of(ui);
    let turned = if group.inverted { " ↓" } else { "" };
    let engine = group.engine.map(|engine| (engine.title().to_owned(), tokens.dim));
    let lines = [(format!("{}{turned}", plain(&group.title)), tokens.text), (plain(&group.detail), tokens.dim)];
    let words = |(place, (text, colour)): (usize, (String, Color32))| {
        let text = WidgetText::from(theme::label(text).color(colour).line_height(Some(LINE)));
        let job = text.into_layout_job(ui.style(), FontSelection::Default, Align::Min);
        let mut job = LayoutJob::clone(&job);
        job.halign = Align::Center;
        job.wrap = TextWrapping { max_width: width - 8.0, ..TextWrapping::default() };
        job.wrap.max_rows = if place == 0 { TITLE_LINES } else { 1 };
        // Between words alone where it may go on.
        job.wrap.break_anywhere = place > 0;
        ui.fonts_mut(|fonts| fonts.layout_job(job))
    };
    lines.into_iter().chain(engine).enumerate().map(words).collect()
}

/// Words under the group.
fn words_ui(ui: &Ui, area: Rect, mut top: f32, words: Vec<Arc<Galley>>) {
    let colour = Tokens::of(ui).text;
    for galley in words {
        let below = top + LINE * galley.rows.len() as f32;
        ui.painter().galley(Pos2::new(area.center().x, top), galley, colour);
        top = below;
    }
}

/// "GEMM f16, n = 4096; B 103 % (101 % to 105 %), faster".
fn spoken(bars: &RelativeBars, group: &BarGroup, in_times: bool) -> String {
    let one = |(side, bar): (usize, &Option<Bar>)| {
        let label = bars.sides.get(side).map(|side| plain(&side.label)).unwrap_or_default();
        let Some(bar) = bar else { return format!("{label}: no bar") };
        let text = |value: f64| value_text(value, in_times);
        let range = bar.interval.map(|interval| format!(" ({} to {})", text(interval.low), text(interval.high)));
        let word = match bar.standing {
            Standing::Baseline => "baseline",
            Standing::Faster => "faster",
            Standing::Slower => "slower",
            Standing::Same => "same",
            Standing::Undecided => "undecided",
        };
        format!("{label}: {}{}, {word}", text(bar.value), range.unwrap_or_default())
    };
    let turned = if group.inverted { ", less is better and turned round" } else { "" };
    let all: Vec<String> = group.bars.iter().enumerate().map(one).collect();
    let turned = group.engine.map_or(turned.to_owned(), |engine| format!(", {}{turned}", engine.title()));
    format!("{}, {}{turned}; {}", plain(&group.title), plain(&group.detail), all.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_told_apart_by_its_end() {
        let context = eframe::egui::Context::default();
        theme::apply(&context);
        let output = context.run_ui(eframe::egui::RawInput::default(), |ui| {
            let group = |title: &str| BarGroup {
                row: 0,
                title: title.to_owned(),
                detail: "512 MiB an array and more words".to_owned(),
                engine: None,
                unit: crate::units::Unit::BytePerSecond,
                inverted: false,
                bars: Vec::new(),
            };
            let lines = |title: &str| words_of(ui, &group(title), GROUP);
            for title in ["Bandwidth read", "Bandwidth triad"] {
                let words = lines(title);
                assert!(words[0].rows.len() == 2 && !words[0].elided, "{title}");
                assert!(words[0].size().x <= GROUP && words[1].rows.len() == 1, "{title}");
            }
            assert_eq!(lines("GEMM").first().unwrap().rows.len(), 1);
            assert!(lines("a title of very many words that nobody has room for")[0].elided);
        });
        output.drop_without_applying_deltas();
    }
}
