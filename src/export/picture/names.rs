//! Where names of points stand: beside them, over nothing else. A name without room is left out.

/// A rectangle as (x, y, width, height).
type Rect = [f64; 4];

/// What is drawn on already.
pub(super) struct Taken(Vec<Rect>);

impl Taken {
    /// The points themselves.
    pub(super) fn of(points: impl Iterator<Item = [f64; 2]>) -> Self {
        const MARKER: f64 = 4.5;
        Self(points.map(|[x, y]| [x - MARKER, y - MARKER, 2.0 * MARKER, 2.0 * MARKER]).collect())
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
                if self.0.len() >= PIECES_MAX {
                    return;
                }
                let share = piece as f64 / pieces as f64;
                self.0.push([ax + (bx - ax) * share - 1.5, ay + (by - ay) * share - 1.5, 3.0, 3.0]);
            }
        }
    }

    fn is_free(&self, wanted: Rect) -> bool {
        !self.0.iter().any(|rect| overlap(*rect, wanted))
    }
}

fn overlap([ax, ay, aw, ah]: Rect, [bx, by, bw, bh]: Rect) -> bool {
    ax < bx + bw && bx < ax + aw && ay < by + bh && by < ay + ah
}

/// The upper left corner of a name of this size beside a point: right of it, left, above or below, whichever is free first.
pub(super) fn place_name(
    [x, y]: [f64; 2],
    [width, height]: [f64; 2],
    [left, top, across, down]: Rect,
    taken: &mut Taken,
) -> Option<[f64; 2]> {
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
    let corner = corners.into_iter().find(|[cx, cy]| inside([*cx, *cy]) && taken.is_free([*cx, *cy, width, height]))?;
    taken.0.push([corner[0], corner[1], width, height]);
    Some(corner)
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
        let corners: Vec<[f64; 2]> =
            points.iter().filter_map(|point| place_name(*point, size, bounds, &mut taken)).collect();
        assert!(corners.len() >= 2);
        for (place, a) in corners.iter().enumerate() {
            assert!(a[0] >= 0.0 && a[0] + 60.0 <= 400.0 && a[1] >= 0.0 && a[1] + 14.0 <= 200.0);
            for b in corners.iter().skip(place + 1) {
                assert!(!overlap([a[0], a[1], 60.0, 14.0], [b[0], b[1], 60.0, 14.0]), "{a:?} {b:?}");
            }
        }
    }
}
