//! Lines and points between two axes: a horizontal grid, ticks that never touch, ranges as whiskers, names beside marks.

use super::{
    canvas::{Anchor, Canvas, Letters, Paint},
    names::{Placed, Taken, place_name},
    scale::{Scale, heading},
    words::Weight,
};
use crate::chart::{Axis, Dash, Mark, Place, Plot, Tint, Trace};

const TICK: f64 = 11.5;
/// Above the plot for the name of the upright axis, and below it for ticks and the name of the other.
const ABOVE: f64 = 24.0;
const BELOW: f64 = 44.0;

/// How much height a plot needs at least.
pub(super) const HEIGHT: f64 = 240.0;
/// How much width.
pub(super) const WIDTH: f64 = 420.0;

/// The rectangle between the axes, and what its ends stand for.
struct Field<'a> {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    over: &'a Scale,
    up: &'a Scale,
}

impl Field<'_> {
    fn at(&self, [x, y]: [f64; 2]) -> Option<[f64; 2]> {
        Some([self.x + self.over.share(x)? * self.width, self.level(y)?])
    }

    fn level(&self, y: f64) -> Option<f64> {
        Some(self.y + (1.0 - self.up.share(y)?) * self.height)
    }

    fn holds(&self, [x, y]: [f64; 2]) -> bool {
        const SLACK: f64 = 0.5;
        let across = x >= self.x - SLACK && x <= self.x + self.width + SLACK;
        across && y >= self.y - SLACK && y <= self.y + self.height + SLACK
    }
}

/// Draws the plot into (x, y, width, height).
pub(super) fn draw(canvas: &mut Canvas, plot: &Plot, [x, y, width, height]: [f64; 4]) {
    let (over, up) = (across(plot), upright(plot));
    let marks = up.ticks((height / 55.0).clamp(3.0, 8.0) as u32);
    let tick_width = |words: &str| canvas.ruler.width(words, TICK, Weight::Regular);
    let gutter = marks.iter().map(|(_, words)| tick_width(words)).fold(18.0, f64::max) + 10.0;
    let field = Field {
        x: x + gutter,
        y: y + ABOVE,
        width: (width - gutter - 12.0).max(40.0),
        height: (height - ABOVE - BELOW).max(40.0),
        over: &over,
        up: &up,
    };
    axes(canvas, plot, &field, &marks, x);
    for trace in &plot.traces {
        whiskers(canvas, trace, &field);
    }
    let single = plot.traces.len() == 1;
    for trace in &plot.traces {
        draw_trace(canvas, trace, &field, single);
    }
    let mut taken = occupied(plot, &field);
    for mark in &plot.marks {
        draw_mark(canvas, mark, &field, &mut taken);
    }
}

/// What names must not lie on: points and lines.
fn occupied(plot: &Plot, field: &Field<'_>) -> Taken {
    let marks = plot.marks.iter().filter_map(|mark| match mark.at {
        Place::Point(point) => field.at(point),
        Place::Level(_) => None,
    });
    let at = |trace: &Trace| trace.points.iter().filter_map(|point| field.at(*point)).collect::<Vec<_>>();
    let points = plot.traces.iter().filter(|trace| trace.marker.is_some()).flat_map(at);
    let mut taken = Taken::of(marks.chain(points));
    for trace in plot.traces.iter().filter(|trace| trace.dash.is_some()) {
        taken.add_line(&at(trace));
    }
    taken
}

fn across(plot: &Plot) -> Scale {
    let points = plot.traces.iter().flat_map(|trace| &trace.points).map(|[x, _]| *x);
    let marks = plot.marks.iter().filter_map(|mark| match mark.at {
        Place::Point([x, _]) => Some(x),
        Place::Level(_) => None,
    });
    Scale::of(&plot.x, points.chain(marks), 0.0)
}

fn upright(plot: &Plot) -> Scale {
    let points = plot.traces.iter().flat_map(|trace| &trace.points).map(|[_, y]| *y);
    let ranges = plot.traces.iter().flat_map(|trace| &trace.ranges).flat_map(|[_, low, high]| [*low, *high]);
    let marks = plot.marks.iter().map(|mark| match mark.at {
        Place::Point([_, y]) | Place::Level(y) => y,
    });
    Scale::of(&plot.y, points.chain(ranges).chain(marks), 0.06)
}

fn axes(canvas: &mut Canvas, plot: &Plot, field: &Field<'_>, marks: &[(f64, String)], left: f64) {
    let letters = Letters::new(TICK, Paint::FAINT);
    let right = field.x + field.width;
    let name = canvas.ruler.cut(&heading(&plot.y, field.up), TICK, Weight::Regular, right - left);
    canvas.text([left, field.y - 12.0], Anchor::Start, Letters::new(TICK, Paint::Dim), &name);
    for (share, words) in marks {
        let y = field.y + (1.0 - share) * field.height;
        canvas.line([field.x, y], [right, y], Paint::Line, 1.0, Dash::Solid);
        canvas.text([field.x - 8.0, y + TICK * 0.36], Anchor::End, letters, words);
    }
    let bottom = field.y + field.height;
    canvas.line([field.x, bottom], [right, bottom], Paint::Line, 1.0, Dash::Solid);
    for (share, words) in spread(canvas, &plot.x, field) {
        let x = field.x + share * field.width;
        canvas.line([x, bottom], [x, bottom + 4.0], Paint::Line, 1.0, Dash::Solid);
        canvas.text([x, bottom + 18.0], Anchor::Middle, letters, &words);
    }
    let name = canvas.ruler.cut(&heading(&plot.x, field.over), TICK, Weight::Regular, field.width);
    let letters = Letters::new(TICK, Paint::Dim);
    canvas.text([field.x + field.width / 2.0, bottom + 38.0], Anchor::Middle, letters, &name);
}

/// The ticks of the axis to the right: as many as stand apart, each a step of the same length from the next.
fn spread(canvas: &Canvas, axis: &Axis, field: &Field<'_>) -> Vec<(f64, String)> {
    let most = (field.width / 90.0).clamp(2.0, 10.0) as u32;
    let all = field.over.ticks(most);
    let width = |words: &str| canvas.ruler.width(words, TICK, Weight::Regular);
    let widest = all.iter().map(|(_, words)| width(words)).fold(0.0, f64::max) + 14.0;
    let step = match all.as_slice() {
        [(first, _), (second, _), ..] => (second - first) * field.width,
        _ => widest,
    };
    let every = if axis.spacing.is_even() { 1 } else { (widest / step.max(1e-9)).ceil().max(1.0) as usize };
    all.into_iter().step_by(every).collect()
}

fn whiskers(canvas: &mut Canvas, trace: &Trace, field: &Field<'_>) {
    /// Ends nearer than this are not seen beside their point.
    const SEEN: f64 = 2.0;
    for [x, low, high] in &trace.ranges {
        let (Some(low), Some(high)) = (field.at([*x, *low]), field.at([*x, *high])) else { continue };
        if (low[1] - high[1]).abs() < SEEN {
            continue;
        }
        let paint = Paint::Tint(trace.tint);
        canvas.line(low, high, paint, 1.0, Dash::Solid);
        for [x, y] in [low, high] {
            canvas.line([x - 3.0, y], [x + 3.0, y], paint, 1.0, Dash::Solid);
        }
    }
}

fn draw_trace(canvas: &mut Canvas, trace: &Trace, field: &Field<'_>, single: bool) {
    let points: Vec<[f64; 2]> = trace.points.iter().filter_map(|point| field.at(*point)).collect();
    let paint = Paint::Tint(trace.tint);
    if let (Some(dash), [first, .., last]) = (trace.dash, points.as_slice()) {
        if single && trace.tint != Tint::Faint {
            let bottom = field.y + field.height;
            let ends = [[last[0], bottom], [first[0], bottom]];
            canvas.area(points.iter().copied().chain(ends).collect(), paint);
        }
        canvas.polyline(&points, paint, dash);
    }
    let alone = trace.dash.is_some() && points.len() == 1;
    let marker = trace.marker.or_else(|| alone.then_some(crate::chart::Marker::Circle));
    if let Some(marker) = marker {
        for point in points.iter().filter(|point| field.holds(**point)) {
            canvas.marker(*point, marker, if alone && trace.marker.is_none() { 2.0 } else { 3.5 }, paint);
        }
    }
}

fn draw_mark(canvas: &mut Canvas, mark: &Mark, field: &Field<'_>, taken: &mut Taken) {
    let paint = Paint::Tint(mark.tint);
    match mark.at {
        Place::Level(y) => {
            let Some(y) = field.level(y) else { return };
            let right = field.x + field.width;
            canvas.line([field.x, y], [right, y], paint, 1.25, Dash::Dashed);
            let name = canvas.ruler.cut(&mark.label, TICK, Weight::Regular, field.width);
            canvas.text([right, y - 5.0], Anchor::End, Letters::new(TICK, Paint::Dim), &name);
        }
        Place::Point(spot) => {
            let Some(at) = field.at(spot).filter(|at| field.holds(*at)) else { return };
            canvas.marker(at, mark.marker, 4.0, paint);
            let width = canvas.ruler.width(&mark.label, TICK, Weight::Regular);
            let bounds = [field.x, field.y - ABOVE / 2.0, field.width, field.height + ABOVE / 2.0];
            if let Some(Placed { corner, lead }) = place_name(at, [width, TICK + 3.0], bounds, taken) {
                if let Some(end) = lead {
                    canvas.line(at, end, Paint::FAINT, 1.0, Dash::Solid);
                }
                canvas.text([corner[0], corner[1] + TICK], Anchor::Start, Letters::new(TICK, Paint::INK), &mark.label);
            }
        }
    }
}
