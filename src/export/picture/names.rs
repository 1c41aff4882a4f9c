//! Where names of points stand: beside them, over nothing else, and nearer to them than to any other; where there is no such place,
//! a line leads to the name. A name without room is left out.

/// A rectangle as (x, y, width, height).
type Rect = [f64; 4];

/// What is drawn on already.
pub(super) struct Taken {
    areas: Vec<Rect>,
    points: Vec<[f64; 2]>,
    names: Vec<Rect>,
}

/// Where a name stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Placed {
    /// Its upper left corner.
    pub(super) corner: [f64; 2],
    /// The end of a line to it, where another point is about as near.
    pub(super) lead: Option<[f64; 2]>,
}

impl Taken {
    /// The points themselves.
    pub(super) fn of(points: impl Iterator<Item = [f64; 2]>) -> Self {
        const MARKER: f64 = 4.5;
        let points: Vec<[f64; 2]> = points.collect();
        let area = |[x, y]: &[f64; 2]| [x - MARKER, y - MARKER, 2.0 * MARKER, 2.0 * MARKER];
        Self { areas: points.iter().map(area).collect(), points, names: Vec::new() }
    }

    /// A line, in pieces.
    pub(super) fn add_line(&mut self, points: &[[f64; 2]]) {
        /// The length of a piece, and the most of them: a line of thousands of points fills everything anyway.
        const PIECE: f64 = 5.0;
        const PIECES_MAX: usize = 4000;
        for pair in points.windows(2) {
            let [[ax, ay], [bx, by]] = pair else { continue };
            let pieces = ((bx - ax).hypot(by - ay) / PIECE).ceil().clamp(1.0, 1000.0) as usize;
            for piece in 0..=pieces {
                if self.areas.len() >= PIECES_MAX {
                    return;
                }
                let share = piece as f64 / pieces as f64;
                self.areas.push([ax + (bx - ax) * share - 1.5, ay + (by - ay) * share - 1.5, 3.0, 3.0]);
            }
        }
    }

    fn is_free(&self, wanted: Rect) -> bool {
        !self.areas.iter().any(|rect| overlap(*rect, wanted))
    }

    /// Whether a name there is clearly that of `own`: no other point is as near.
    fn is_clear(&self, name: Rect, own: [f64; 2]) -> bool {
        const CLEAR: f64 = 3.0;
        let other = |point: &&[f64; 2]| (point[0] - own[0]).hypot(point[1] - own[1]) > 1.0;
        let least = distance(name, own) + CLEAR;
        self.points.iter().filter(other).all(|point| distance(name, *point) >= least)
    }

    /// Whether a line from `own` to a name goes past all other points and names.
    fn is_open(&self, own: [f64; 2], end: [f64; 2]) -> bool {
        const APART: f64 = 6.0;
        const PIECES: u32 = 16;
        let others = || self.points.iter().filter(|point| (point[0] - own[0]).hypot(point[1] - own[1]) > APART);
        (1..=PIECES).map(|piece| f64::from(piece) / f64::from(PIECES)).all(|share| {
            let at = [own[0] + (end[0] - own[0]) * share, own[1] + (end[1] - own[1]) * share];
            others().all(|point| (point[0] - at[0]).hypot(point[1] - at[1]) > APART)
                && self.names.iter().all(|name| distance(*name, at) > 1.0)
        })
    }
}

/// The place of a rectangle that is nearest to a point.
fn nearest([x, y, width, height]: Rect, [at_x, at_y]: [f64; 2]) -> [f64; 2] {
    [at_x.clamp(x, x + width), at_y.clamp(y, y + height)]
}

fn distance(rect: Rect, point: [f64; 2]) -> f64 {
    let [x, y] = nearest(rect, point);
    (x - point[0]).hypot(y - point[1])
}

fn overlap([ax, ay, aw, ah]: Rect, [bx, by, bw, bh]: Rect) -> bool {
    ax < bx + bw && bx < ax + aw && ay < by + bh && by < ay + ah
}

/// Where a name of this size stands beside a point: right of it, left, above or below, whichever is free first and clearly its own;
/// else further away with a line to it.
pub(super) fn place_name(
    own @ [x, y]: [f64; 2],
    [width, height]: [f64; 2],
    [left, top, across, down]: Rect,
    taken: &mut Taken,
) -> Option<Placed> {
    const GAP: f64 = 8.0;
    let (half, middle) = (width / 2.0, height / 2.0);
    let corners = [
        [x + GAP, y - middle],
        [x - GAP - width, y - middle],
        [x - half, y - GAP - height],
        [x - half, y + GAP],
        [x + GAP, y - GAP - height],
        [x + GAP, y + GAP],
        [x - GAP - width, y - GAP - height],
        [x - GAP - width, y + GAP],
        [x - half, y - 2.5 * GAP - height],
        [x - half, y + 2.5 * GAP],
    ];
    let inside =
        |[cx, cy]: [f64; 2]| cx >= left && cx + width <= left + across && cy >= top && cy + height <= top + down;
    let rect = |[cx, cy]: [f64; 2]| [cx, cy, width, height];
    let is_free = |corner: &[f64; 2]| inside(*corner) && taken.is_free(rect(*corner));
    let far = [24.0, 36.0, 52.0].into_iter().flat_map(|gap| {
        let (left, right, up, down) = (x - gap - width, x + gap, y - gap - height, y + gap);
        [
            [right, up],
            [right, down],
            [left, up],
            [left, down],
            [x - half, up],
            [x - half, down],
            [right, y - middle],
            [left, y - middle],
        ]
    });
    let clear = corners.into_iter().find(|corner| is_free(corner) && taken.is_clear(rect(*corner), own));
    let is_open = |corner: &[f64; 2]| is_free(corner) && taken.is_open(own, nearest(rect(*corner), own));
    let further = || far.clone().find(is_open).or_else(|| far.chain(corners).find(is_free));
    let corner = clear.or_else(further)?;
    let lead = clear.is_none().then(|| nearest(rect(corner), own));
    taken.areas.push(rect(corner));
    taken.names.push(rect(corner));
    if let Some(end) = lead {
        taken.add_line(&[own, end]);
    }
    Some(Placed { corner, lead })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_apart_and_inside() {
        let points: Vec<[f64; 2]> =
            (0..40).map(|at| [50.0 + f64::from(at % 7) * 3.0, 50.0 + f64::from(at) * 2.0]).collect();
        let mut taken = Taken::of(points.iter().copied());
        let size = [60.0, 14.0];
        let bounds = [0.0, 0.0, 400.0, 200.0];
        let placed = points.iter().filter_map(|point| place_name(*point, size, bounds, &mut taken));
        let corners: Vec<[f64; 2]> = placed.map(|placed| placed.corner).collect();
        assert!(corners.len() >= 2);
        for (place, a) in corners.iter().enumerate() {
            assert!(a[0] >= 0.0 && a[0] + 60.0 <= 400.0 && a[1] >= 0.0 && a[1] + 14.0 <= 200.0);
            for b in corners.iter().skip(place + 1) {
                assert!(!overlap([a[0], a[1], 60.0, 14.0], [b[0], b[1], 60.0, 14.0]), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_name_beside_another_point_has_a_line_to_its_own() {
        let (own, size, bounds) = ([100.0, 100.0], [60.0, 14.0], [0.0, 0.0, 400.0, 200.0]);
        let mut alone = Taken::of([own].into_iter());
        let placed = place_name(own, size, bounds, &mut alone).unwrap();
        assert_eq!(placed, Placed { corner: [108.0, 93.0], lead: None });
        // A neighbour just right of where the name would end: the name goes to the other side.
        let mut taken = Taken::of([own, [175.0, 100.0]].into_iter());
        let placed = place_name(own, size, bounds, &mut taken).unwrap();
        assert!(placed.lead.is_none() && placed.corner[0] < 100.0, "{placed:?}");
        // A ring of others: each place beside the point is as near to one of them.
        let ring = (0..16).map(|at| f64::from(at) * std::f64::consts::TAU / 16.0);
        let ring = ring.map(|angle| [100.0 + 14.0 * angle.cos(), 100.0 + 14.0 * angle.sin()]);
        let mut taken = Taken::of(std::iter::once(own).chain(ring));
        let placed = place_name(own, size, bounds, &mut taken).unwrap();
        assert!(placed.lead.is_some(), "{placed:?}");
    }
}
