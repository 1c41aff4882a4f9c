//! The plateaus of a bandwidth sweep: ranges of array sizes with nearly the same rate, which are the caches and the memory.

/// A range of sizes with nearly the same rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plateau {
    /// The smallest array on it.
    pub from_bytes: u64,
    /// The largest array on it.
    pub to_bytes: u64,
    /// The mean rate in bytes per second.
    pub value: f64,
}

/// Neighbours on a plateau differ by at most this much from its mean.
const FLATNESS: f64 = 0.10;
/// Fewer points than this are a slope, not a plateau.
const POINTS_MIN: usize = 3;

/// Finds the plateaus among (size, rate) points in ascending order of size.
pub fn plateaus(points: &[(u64, f64)]) -> Vec<Plateau> {
    let mut found = Vec::new();
    let mut rest = points;
    while !rest.is_empty() {
        let length = flat_prefix(rest);
        let (group, after) = rest.split_at(length);
        if let (true, Some(first), Some(last)) = (length >= POINTS_MIN, group.first(), group.last()) {
            found.push(Plateau { from_bytes: first.0, to_bytes: last.0, value: mean(group) });
            rest = after;
        } else {
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    found
}

/// How many points from the first on stay near their common mean.
fn flat_prefix(points: &[(u64, f64)]) -> usize {
    let flat = |length: &usize| {
        let group = points.get(..*length).unwrap_or_default();
        let mean = mean(group);
        group.iter().all(|(_, value)| (value - mean).abs() <= FLATNESS * mean)
    };
    (1..=points.len()).take_while(flat).last().unwrap_or(1)
}

fn mean(points: &[(u64, f64)]) -> f64 {
    points.iter().map(|(_, value)| value).sum::<f64>() / points.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_and_the_memory_are_found_and_the_slope_between_is_not() {
        let rates = [400.0, 410.0, 405.0, 400.0, 300.0, 180.0, 100.0, 101.0, 99.0];
        let points: Vec<(u64, f64)> = rates.iter().enumerate().map(|(i, rate)| (1024_u64 << i, *rate)).collect();
        let found = plateaus(&points);
        let ranges: Vec<(u64, u64)> = found.iter().map(|p| (p.from_bytes >> 10, p.to_bytes >> 10)).collect();
        assert_eq!(ranges, [(1, 8), (64, 256)]);
        assert!((found[1].value - 100.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_and_a_slope_have_no_plateau() {
        assert!(plateaus(&[]).is_empty());
        let slope: Vec<(u64, f64)> = (0..10).map(|i| (1 << i, 2_f64.powi(i))).collect();
        assert!(plateaus(&slope).is_empty());
    }
}
