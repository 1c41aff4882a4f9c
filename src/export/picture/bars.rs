//! Bars from zero, one under the other: names of any length stand before them, values behind.

use super::{
    canvas::{Anchor, Canvas, Letters, Paint},
    words::{Ruler, Weight},
};
use crate::chart::{Bars, Dash, Group, Tint, ValueBar};

const LABEL: f64 = 12.5;
const HEADING: f64 = 12.5;
const ROW_MIN: f64 = 22.0;
const ROW_MAX: f64 = 34.0;
const HEADING_HEIGHT: f64 = 26.0;
const GAP: f64 = 12.0;
/// Room for the word that marks the best.
const BEST: &str = "best";
/// The room of an axis's name, or of a level's.
const LEVEL: f64 = 18.0;

/// How much height the bars need at least.
pub(super) fn height(bars: &Bars) -> f64 {
    let group = |group: &Group| heading_height(group) + group.bars.len() as f64 * ROW_MIN;
    let gaps = bars.groups.len().saturating_sub(1) as f64 * GAP;
    let level = if bars.level.is_some() { LEVEL } else { 0.0 };
    bars.groups.iter().map(group).sum::<f64>() + gaps + level
}

fn heading_height(group: &Group) -> f64 {
    if group.title.is_empty() { 0.0 } else { HEADING_HEIGHT }
}

/// What all bars share is said once, above them.
pub(super) fn shared_detail(bars: &Bars) -> Option<&str> {
    let mut details = bars.groups.iter().flat_map(|group| &group.bars).map(|bar| bar.detail.as_str());
    let first = details.next().filter(|first| !first.is_empty())?;
    details.all(|detail| detail == first).then_some(first)
}

/// Where things stand from left to right.
struct Columns {
    left: f64,
    bar: f64,
    bar_width: f64,
    /// Ink to the right of zero, and to the left of it.
    most: f64,
    least: f64,
    with_detail: bool,
    logarithmic: bool,
}

impl Columns {
    fn of(bars: &Bars, ruler: &Ruler<'_>, left: f64, width: f64) -> Self {
        let all = || bars.groups.iter().flat_map(|group| &group.bars);
        let with_detail = shared_detail(bars).is_none();
        let words = |bar: &ValueBar| name_width(ruler, bar, with_detail);
        let names = all().map(words).fold(0.0, f64::max).min(width * 0.42);
        let value = |bar: &ValueBar| value_width(ruler, bar);
        let values = all().map(value).fold(0.0, f64::max).min(width * 0.3);
        let most = all().flat_map(|bar| [bar.value, bar.range.map_or(0.0, |[_, high]| high)]);
        let least = all().flat_map(|bar| [bar.value, bar.range.map_or(0.0, |[low, _]| low)]);
        let level = bars.level.as_ref().map_or(0.0, |(level, _)| *level);
        let bar = left + names + 12.0;
        Self {
            left,
            bar,
            bar_width: (left + width - values - 8.0 - bar).max(20.0),
            most: most.filter(|value| value.is_finite()).fold(level.max(0.0), f64::max).max(f64::MIN_POSITIVE),
            least: if bars.logarithmic {
                lowest(bars)
            } else {
                least.filter(|value| value.is_finite()).fold(level.min(0.0), f64::min)
            },
            with_detail,
            logarithmic: bars.logarithmic,
        }
    }

    /// Where bars begin: at nothing, or at what they are held against.
    const fn origin(&self) -> f64 {
        if self.logarithmic { 1.0 } else { 0.0 }
    }

    /// Where a value stands.
    fn x(&self, value: f64) -> f64 {
        let place = |value: f64| if self.logarithmic { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let share = (place(value) - place(self.least)) / (place(self.most) - place(self.least));
        let share = if share.is_finite() { share } else { 0.0 };
        self.bar + share.clamp(0.0, 1.0) * self.bar_width
    }
}

/// Where an axis of ratios begins: a little below the least, so that it is a bar too.
fn lowest(bars: &Bars) -> f64 {
    let values = bars.groups.iter().flat_map(|group| &group.bars).map(|bar| bar.value);
    let least = values.filter(|value| value.is_finite() && *value > 0.0).fold(1.0, f64::min);
    (least / 1.3).max(1e-4)
}

fn name_width(ruler: &Ruler<'_>, bar: &ValueBar, with_detail: bool) -> f64 {
    let marker = if bar.marker.is_some() { 16.0 } else { 0.0 };
    let detail = if with_detail && !bar.detail.is_empty() { 8.0 + words(ruler, &bar.detail) } else { 0.0 };
    // A little more than the sum, which rounding may exceed.
    marker + words(ruler, &bar.label) + detail + 1.0
}

fn value_width(ruler: &Ruler<'_>, bar: &ValueBar) -> f64 {
    let best = if bar.best { 8.0 + words(ruler, BEST) } else { 0.0 };
    words(ruler, &bar.text) + best
}

fn words(ruler: &Ruler<'_>, text: &str) -> f64 {
    ruler.width(text, LABEL, Weight::Regular)
}

/// Draws the bars into (x, y, width, height).
pub(super) fn draw(canvas: &mut Canvas, bars: &Bars, [x, y, width, room]: [f64; 4]) {
    let columns = Columns::of(bars, &canvas.ruler, x, width);
    let count = bars.groups.iter().map(|group| group.bars.len()).sum::<usize>().max(1);
    let row = (ROW_MIN + (room - height(bars)).max(0.0) / count as f64).min(ROW_MAX);
    let mut at = y;
    if let Some((level, name)) = &bars.level {
        let place = columns.x(*level);
        canvas.text([place, at + 11.0], Anchor::Middle, Letters::new(11.0, Paint::Dim), name);
        at += LEVEL;
        let used = height(bars) + (row - ROW_MIN) * count as f64;
        canvas.line([place, at], [place, y + used], Paint::Line, 1.0, Dash::Solid);
    }
    for group in &bars.groups {
        if !group.title.is_empty() {
            let title = canvas.ruler.cut(&group.title, HEADING, Weight::Medium, width);
            let letters = Letters { weight: Weight::Medium, ..Letters::new(HEADING, Paint::INK) };
            canvas.text([x, at + 15.0], Anchor::Start, letters, &title);
            at += HEADING_HEIGHT;
        }
        for bar in &group.bars {
            draw_bar(canvas, bar, &columns, at, row);
            at += row;
        }
        at += GAP;
    }
}

fn draw_bar(canvas: &mut Canvas, bar: &ValueBar, columns: &Columns, y: f64, row: f64) {
    let (middle, base) = (y + row / 2.0, y + row / 2.0 + LABEL * 0.36);
    draw_name(canvas, bar, columns, middle, base);
    let thick = (row * 0.62).min(18.0);
    let (zero, end) = (columns.x(columns.origin()), columns.x(bar.value));
    let (from, long) = (zero.min(end), (end - zero).abs().max(1.0));
    let paint = Paint::Tint(bar.tint);
    canvas.rect([from, middle - thick / 2.0, long, thick], 2.0, paint, bar.barred.is_some());
    let mut behind = zero.max(end);
    if let Some([low, high]) = bar.range {
        let (low, high) = (columns.x(low), columns.x(high));
        canvas.line([low, middle], [high, middle], Paint::INK, 1.0, Dash::Solid);
        for end in [low, high] {
            canvas.line([end, middle - 3.0], [end, middle + 3.0], Paint::INK, 1.0, Dash::Solid);
        }
        behind = behind.max(high);
    }
    let paint = if bar.barred.is_some() { Paint::FAINT } else { Paint::INK };
    let width = canvas.text([behind + 8.0, base], Anchor::Start, Letters::new(LABEL, paint), &bar.text);
    if bar.best {
        let letters = Letters::new(LABEL, Paint::Tint(Tint::Good));
        canvas.text([behind + width + 16.0, base], Anchor::Start, letters, BEST);
    }
}

/// The marker, the name, and what tells it from others; both are cut where they are too long together.
fn draw_name(canvas: &mut Canvas, bar: &ValueBar, columns: &Columns, middle: f64, base: f64) {
    let mut x = columns.left;
    if let Some(marker) = bar.marker {
        canvas.marker([x + 5.0, middle], marker, 4.0, Paint::Tint(bar.tint));
        x += 16.0;
    }
    let detail = if columns.with_detail { bar.detail.as_str() } else { "" };
    let room = columns.bar - 12.0 - x;
    let wanted = if detail.is_empty() { 0.0 } else { 8.0 + words(&canvas.ruler, detail) };
    let name_room = (room - wanted).max(room * 0.5);
    let name = canvas.ruler.cut(&bar.label, LABEL, Weight::Regular, name_room);
    let used = canvas.text([x, base], Anchor::Start, Letters::new(LABEL, Paint::INK), &name);
    let left = room - used - 8.0;
    if !detail.is_empty() && left > 20.0 {
        let detail = canvas.ruler.cut(detail, LABEL, Weight::Regular, left);
        canvas.text([x + used + 8.0, base], Anchor::Start, Letters::new(LABEL, Paint::Dim), &detail);
    }
}
