//! Where the levels of a roofline are named: over their lines, before their corners or under them, where nothing else is drawn.

use eframe::egui::{Align2, Vec2};
use egui_plot::PlotPoint;

use crate::analysis::Roof;

/// The height of a name, its distance from its line, from the slope before it, and from points, in points of the window.
const HEIGHT: f64 = 15.0;
const GAP: f64 = 2.0;
const BEGINS: f64 = 8.0;
const AROUND_POINT: f64 = 6.0;

/// Under its line, a name needs so much more room: nearer to the next lower line, it would be read as that one's.
const APART: f64 = 10.0;

/// Less than any distance that is seen.
const NOTHING: f64 = 1e-9;

/// By so much a name is put further to the right until it finds room, and so often.
const STEP: f64 = 12.0;
const STEPS_MAX: usize = 100;

/// Before a corner it stays near, in half steps.
const CORNER_STEPS: usize = 8;

/// What is drawn in which room: the ends of both axes in powers of ten.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axes {
    pub(super) x: [f64; 2],
    pub(super) y: [f64; 2],
    /// The room in points of the window.
    pub(super) size: Vec2,
}

impl Axes {
    /// How many powers of ten a point of the window is.
    fn scale(&self) -> [f64; 2] {
        let of = |[from, to]: [f64; 2], points: f32| (to - from) / f64::from(points.max(1.0));
        [of(self.x, self.size.x), of(self.y, self.size.y)]
    }
}

/// The name of a level.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Name<'a> {
    pub(super) roof: &'a Roof,
    pub(super) text: String,
    /// How wide it is in points of the window.
    pub(super) width: f32,
}

/// Room in powers of ten.
#[derive(Clone, Copy, Debug)]
struct Area {
    x: [f64; 2],
    y: [f64; 2],
}

impl Area {
    fn meets(&self, other: &Self) -> bool {
        let meet = |[a, b]: [f64; 2], [c, d]: [f64; 2]| a < d && c < b;
        meet(self.x, other.x) && meet(self.y, other.y)
    }

    fn holds(&self, other: &Self) -> bool {
        let holds = |[a, b]: [f64; 2], [c, d]: [f64; 2]| a <= c && d <= b;
        holds(self.x, other.x) && holds(self.y, other.y)
    }

    /// A roof never falls: it goes through what lies between its heights at both sides.
    fn is_crossed_by(&self, roof: &Roof) -> bool {
        let [left, right] = self.x.map(|x| roof.at(10_f64.powf(x)).log10());
        left <= self.y[1] && right >= self.y[0]
    }
}

/// Finds a place for each name, the highest level first, where no line, no point and no other name is; a name without one is
/// left out, since the list under the chart has them all. `points` are in powers of ten.
pub(super) fn place<'a>(
    names: &'a [Name<'_>],
    roofs: &[Roof],
    points: &[[f64; 2]],
    axes: &Axes,
) -> Vec<(&'a str, PlotPoint, Align2)> {
    let mut names: Vec<(&Name<'_>, f64)> =
        names.iter().filter_map(|name| Some((name, name.roof.peak?.log10()))).collect();
    names.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let ([across, up], room) = (axes.scale(), Area { x: axes.x, y: axes.y });
    let mut taken: Vec<Area> = Vec::new();
    let mut placed = Vec::new();
    for (name, level) in names {
        let width = f64::from(name.width) * across;
        let ridge = name.roof.ridge().map_or(axes.x[0], f64::log10).max(axes.x[0]);
        let starts = (0..STEPS_MAX).map(|step| ridge + (BEGINS + STEP * step as f64) * across);
        let over = |x: f64| Area { x: [x, x + width], y: [level + GAP * up, level + (GAP + HEIGHT) * up] };
        let under = |x: f64| Area { x: [x, x + width], y: [level - (GAP + HEIGHT) * up, level - GAP * up] };
        // No other line is between a name and its own, which is not looked at itself.
        let to_line = |[low, high]: [f64; 2]| [low.min(level + NOTHING), high.max(level - NOTHING)];
        let near = |area: &Area, [x, y]: &[f64; 2]| {
            let point = [AROUND_POINT * across, AROUND_POINT * up];
            area.meets(&Area { x: [x - point[0], x + point[0]], y: [y - point[1], y + point[1]] })
        };
        let is_free = |area: &Area| {
            room.holds(area)
                && !taken.iter().any(|other| other.meets(area))
                && !points.iter().any(|point| near(area, point))
                && !roofs.iter().any(|roof| Area { y: to_line(area.y), ..*area }.is_crossed_by(roof))
        };
        let is_apart = |area: &Area| {
            let lower = Area { y: to_line([area.y[0] - APART * up, area.y[1]]), ..*area };
            !roofs.iter().any(|roof| lower.is_crossed_by(roof))
        };
        let before = |step: usize| {
            let end = ridge - (BEGINS + STEP / 2.0 * step as f64) * across;
            Area { x: [end - width, end], y: [level - HEIGHT / 2.0 * up, level + HEIGHT / 2.0 * up] }
        };
        let found = starts.clone().map(over).find(is_free).map(|area| (area, Align2::LEFT_BOTTOM));
        let found = found.or_else(|| {
            let area = (0..CORNER_STEPS).map(before).find(is_free);
            area.map(|area| (area, Align2::RIGHT_CENTER))
        });
        let found = found.or_else(|| {
            let area = starts.clone().map(under).find(|area| is_free(area) && is_apart(area));
            area.map(|area| (area, Align2::LEFT_TOP))
        });
        if let Some((area, anchor)) = found {
            taken.push(area);
            let x = if anchor == Align2::RIGHT_CENTER { area.x[1] } else { area.x[0] };
            let y = match anchor {
                Align2::LEFT_BOTTOM => area.y[0],
                Align2::LEFT_TOP => area.y[1],
                _ => level,
            };
            placed.push((name.text.as_str(), PlotPoint::new(x, y), anchor));
        }
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXES: Axes = Axes { x: [-1.0, 4.0], y: [9.0, 14.0], size: Vec2::new(600.0, 300.0) };

    fn roof(published: bool, peak: f64) -> Roof {
        Roof { dtype: None, published, bandwidth: Some(1e11), peak: Some(peak) }
    }

    const OVER: Align2 = Align2::LEFT_BOTTOM;
    const UNDER: Align2 = Align2::LEFT_TOP;
    const BEFORE: Align2 = Align2::RIGHT_CENTER;

    /// The peaks that find room, and on which side of their lines.
    fn named(peaks: &[f64], published: &[f64], points: &[[f64; 2]]) -> Vec<(String, Align2)> {
        let measured = peaks.iter().map(|peak| roof(false, *peak));
        let roofs: Vec<Roof> = measured.chain(published.iter().map(|peak| roof(true, *peak))).collect();
        let names: Vec<Name<'_>> = roofs
            .iter()
            .filter(|roof| !roof.published)
            .map(|roof| Name { roof, text: format!("{:e}", roof.peak.unwrap()), width: 90.0 })
            .collect();
        let placed = place(&names, &roofs, points, &AXES);
        let areas: Vec<Area> = placed.iter().map(|(_, at, anchor)| area_of(at, *anchor)).collect();
        for (place, area) in areas.iter().enumerate() {
            assert!(!roofs.iter().any(|roof| area.is_crossed_by(roof)), "a line runs through {:?}", placed[place]);
            assert!(!areas[..place].iter().any(|other| other.meets(area)), "names on each other");
            for [x, y] in points {
                assert!(!area.holds(&Area { x: [*x, *x], y: [*y, *y] }), "a point on {:?}", placed[place]);
            }
        }
        placed.into_iter().map(|(text, _, anchor)| (text.to_owned(), anchor)).collect()
    }

    fn area_of(at: &PlotPoint, anchor: Align2) -> Area {
        let ([across, up], width) = (AXES.scale(), 90.0);
        let (left, low) = match anchor {
            Align2::LEFT_BOTTOM => (at.x, at.y),
            Align2::LEFT_TOP => (at.x, at.y - HEIGHT * up),
            _ => (at.x - width * across, at.y - HEIGHT / 2.0 * up),
        };
        Area { x: [left, left + width * across], y: [low, low + HEIGHT * up] }
    }

    fn wanted(names: &[(&str, Align2)]) -> Vec<(String, Align2)> {
        names.iter().map(|(text, anchor)| ((*text).to_owned(), *anchor)).collect()
    }

    #[test]
    fn levels_that_are_near_each_other_are_named_apart() {
        let found = named(&[1.0e12, 1.1e12, 1.05e12, 1.04e12, 5e12], &[], &[]);
        let names = [("5e12", OVER), ("1.1e12", OVER), ("1.05e12", BEFORE), ("1e12", UNDER)];
        assert_eq!(found, wanted(&names), "one of four has no room");
    }

    #[test]
    fn no_name_is_put_on_the_line_of_another() {
        // A name under the upper line would stand on the lower one.
        let points: Vec<[f64; 2]> = (0..60).map(|step| [-1.0 + 0.05 * f64::from(step), 12.8]).collect();
        assert_eq!(named(&[6.9e12, 4.4e12], &[7.5e12], &points), wanted(&[("4.4e12", UNDER)]));
    }

    #[test]
    fn published_lines_and_points_are_not_written_over() {
        assert_eq!(named(&[1e12], &[1.2e12], &[]), wanted(&[("1e12", BEFORE)]));
        let corner = [[0.5, 12.0], [0.2, 12.0]];
        assert_eq!(named(&[1e12], &[1.2e12], &corner), wanted(&[("1e12", UNDER)]));
        assert_eq!(named(&[1e12], &[1.2e12, 0.8e12], &corner), wanted(&[]));
        let points: Vec<[f64; 2]> = (0..40).map(|step| [1.0 + 0.05 * f64::from(step), 12.1]).collect();
        assert_eq!(named(&[1e12], &[], &points), wanted(&[("1e12", OVER)]), "right of the points");
        assert_eq!(named(&[f64::NAN, 1e300], &[f64::INFINITY], &[[f64::NAN; 2]]), wanted(&[]), "absurd levels");
    }
}
