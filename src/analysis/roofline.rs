//! The roofline of each device of a run (Williams, Waterman and Patterson, 2009): what bandwidth and arithmetic allow at each
//! arithmetic intensity, and where the run's workloads lie under it.
//!
//! Work and bytes are the algorithm's: each input read once, each output written once. Caches may make a point lie above the
//! slope; a figure that is doubted keeps its place and says so.

use super::{
    Bound, Ceiling, Ceilings, DeviceCeilings,
    ceilings::{arithmetic_type, flops_a_token},
    frameworks::Place,
    intensity,
};
use crate::{
    engine::EngineId,
    record::{Entry, Run},
    units::{Quantity, Unit, number},
    workload::Dtype,
};

/// No device has so many FLOP/s or B/s: a figure above is a file's mistake, and neither a ceiling nor drawn.
pub(super) const RATE_MAX: f64 = 1e20;

/// One device's chart as data.
#[derive(Clone, Debug, PartialEq)]
pub struct Roofline {
    /// The device.
    pub place: Place,
    /// Its bandwidth in B/s.
    pub memory: Ceiling,
    /// Its arithmetic in FLOP/s by element type, of those that are known.
    pub arithmetic: Vec<(Dtype, Ceiling)>,
    /// One for each entry that computes something and has a figure, in the order of the run.
    pub points: Vec<Point>,
}

/// A workload under the roof.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The entry's place in the run.
    pub entry: usize,
    /// Who did it.
    pub engine: EngineId,
    /// The element type whose arithmetic it needs.
    pub dtype: Dtype,
    /// FLOP/B.
    pub intensity: f64,
    /// FLOP/s that were reached.
    pub rate: f64,
    /// What bounds it.
    pub bound: Option<Bound>,
    /// Something speaks against the figure.
    pub doubted: bool,
}

/// One line of the chart: a slope that bandwidth sets, up to a level that arithmetic sets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roof {
    /// The element type of the level; absent where no arithmetic is known.
    pub dtype: Option<Dtype>,
    /// What the maker publishes; else the best of this run.
    pub published: bool,
    /// The slope in B/s.
    pub bandwidth: Option<f64>,
    /// The level in FLOP/s.
    pub peak: Option<f64>,
}

impl Roof {
    /// The intensity in FLOP/B from which on arithmetic is the limit.
    pub fn ridge(&self) -> Option<f64> {
        let ridge = self.peak? / self.bandwidth?;
        (ridge.is_finite() && ridge > 0.0).then_some(ridge)
    }

    /// FLOP/s that it allows at an intensity; infinite where nothing is known.
    pub fn at(&self, intensity: f64) -> f64 {
        let slope = self.bandwidth.map_or(f64::INFINITY, |bandwidth| bandwidth * intensity);
        slope.min(self.peak.unwrap_or(f64::INFINITY))
    }

    /// The line from one intensity to another, as (FLOP/B, FLOP/s); straight between its points on logarithmic axes.
    pub fn line(&self, from: f64, to: f64) -> Vec<[f64; 2]> {
        let ridge = self.ridge().filter(|ridge| *ridge > from && *ridge < to);
        let xs = [Some(from), ridge, Some(to)].into_iter().flatten();
        xs.map(|x| [x, self.at(x)]).filter(|[x, y]| *x > 0.0 && y.is_finite() && *y > 0.0).collect()
    }

    /// "f16 13.84 TFLOPS, 119.0 GB/s, ridge at 116.3 FLOP/B, measured".
    pub fn text(&self) -> String {
        let peak = self.peak.map(|peak| Quantity::new(peak, Unit::FlopPerSecond).to_string());
        let peak = peak.map(|peak| self.dtype.map_or_else(|| peak.clone(), |dtype| format!("{dtype} {peak}")));
        let bandwidth = self.bandwidth.map(|rate| Quantity::new(rate, Unit::BytePerSecond).to_string());
        let ridge = self.ridge().map(|ridge| format!("ridge at {} FLOP/B", number(ridge)));
        let source = Some(self.source().to_owned());
        [peak, bandwidth, ridge, source].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// "measured" or "theoretical".
    pub const fn source(&self) -> &'static str {
        if self.published { "theoretical" } else { "measured" }
    }
}

impl Roofline {
    /// Every line that can be drawn: the measured ones, then those that the maker publishes.
    pub fn roofs(&self) -> Vec<Roof> {
        [false, true].into_iter().flat_map(|published| self.roofs_of(published)).collect()
    }

    fn roofs_of(&self, published: bool) -> Vec<Roof> {
        let rate = |ceiling: &Ceiling| {
            if published { ceiling.published } else { ceiling.measured.map(|best| best.rate) }
        };
        let bandwidth = rate(&self.memory);
        let level = |(dtype, ceiling): &(Dtype, Ceiling)| {
            Some(Roof { dtype: Some(*dtype), published, bandwidth, peak: Some(rate(ceiling)?) })
        };
        let levels: Vec<Roof> = self.arithmetic.iter().filter_map(level).collect();
        if levels.is_empty() && bandwidth.is_some() {
            return vec![Roof { dtype: None, published, bandwidth, peak: None }];
        }
        levels
    }

    /// What axes from power of ten to power of ten must show: the least and the greatest FLOP/B, then FLOP/s. `None` where
    /// there is nothing to draw.
    pub fn extent(&self) -> Option<[[f64; 2]; 2]> {
        let roofs = self.roofs();
        let ridges = roofs.iter().filter_map(Roof::ridge);
        let xs: Vec<f64> = self.points.iter().map(|point| point.intensity).chain(ridges).collect();
        if xs.is_empty() && roofs.is_empty() {
            return None;
        }
        let [low, high] = decades(&xs, [0.1, 1000.0]);
        // A slope without a level has no end of its own: it runs out of the chart.
        let level = |roof: &&Roof| roof.peak.is_some();
        let bounded: Vec<&Roof> = roofs.iter().filter(level).collect();
        let shown = if bounded.is_empty() { roofs.iter().collect() } else { bounded };
        let ends = shown.into_iter().flat_map(|roof| roof.line(low, high)).map(|[_, y]| y);
        let ys: Vec<f64> = self.points.iter().map(|point| point.rate).chain(ends).collect();
        Some([[low, high], decades(&ys, [1e9, 1e12])])
    }

    /// The chart in words, for who can't see it: its ceilings and how many workloads lie under them.
    pub fn text(&self) -> String {
        let roofs: Vec<String> = self.roofs().iter().map(Roof::text).collect();
        let roofs = if roofs.is_empty() { "no ceiling is known".to_owned() } else { roofs.join("; ") };
        let count = self.points.len();
        let points = if count == 1 { "1 workload".to_owned() } else { format!("{count} workloads") };
        format!("Roofline of {}: {roofs}; {points}", self.place.phrase())
    }
}

/// The powers of ten around values, with room for a factor of two.
fn decades(values: &[f64], usual: [f64; 2]) -> [f64; 2] {
    let (low, high) = values.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), v| (low.min(*v), high.max(*v)));
    if !low.is_finite() || !high.is_finite() || low <= 0.0 {
        return usual;
    }
    let (from, to) = ((low.log10() - 0.3).floor(), (high.log10() + 0.3).ceil());
    [10_f64.powf(from), 10_f64.powf(to.max(from + 1.0))]
}

/// The chart of every device of a run that has anything to draw.
pub fn rooflines(run: &Run) -> Vec<Roofline> {
    let ceilings = Ceilings::of(run);
    let mut charts: Vec<Roofline> = ceilings.devices().iter().map(chart).collect();
    for (index, entry) in run.entries.iter().enumerate() {
        let chart = ceilings.device_of(entry).and_then(|place| charts.get_mut(place));
        if let Some((chart, point)) = chart.zip(point(&ceilings, index, entry)) {
            chart.points.push(point);
        }
    }
    charts.retain(|chart| chart.extent().is_some());
    // What is emulated comes after real devices.
    charts.sort_by_key(|chart| matches!(chart.place, Place::Emulated(_)));
    charts
}

fn chart(device: &DeviceCeilings) -> Roofline {
    let known = |ceiling: &Ceiling| ceiling.measured.is_some() || ceiling.published.is_some();
    let arithmetic = Dtype::ALL.into_iter().zip(device.arithmetic).filter(|(_, ceiling)| known(ceiling));
    Roofline {
        place: device.place.clone(),
        memory: device.memory,
        arithmetic: arithmetic.collect(),
        points: Vec::new(),
    }
}

fn point(ceilings: &Ceilings<'_>, index: usize, entry: &Entry) -> Option<Point> {
    let headline = entry.headline()?;
    let (dtype, intensity) = (arithmetic_type(&entry.workload)?, intensity(&entry.workload)?);
    let value = headline.summary.median;
    let rate = match headline.unit {
        Unit::FlopPerSecond => value,
        Unit::BytePerSecond => value * intensity,
        Unit::TokenPerSecond => value * flops_a_token(&entry.workload)?,
        Unit::Byte | Unit::Second | Unit::Nat => return None,
    };
    let (bound, doubted) = (ceilings.bound(index), !entry.marks.is_empty());
    let point = Point { entry: index, engine: entry.engine, dtype, intensity, rate, bound, doubted };
    (rate > 0.0 && rate < RATE_MAX).then_some(point)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{measure::Measurement, record::reference};

    fn only(run: &Run) -> Roofline {
        let charts = rooflines(run);
        let [chart] = charts.as_slice() else { panic!("{} charts", charts.len()) };
        chart.clone()
    }

    #[test]
    fn an_m5_has_one_chart_whatever_its_frameworks_call_it() {
        let run = reference().unwrap();
        let chart = only(&run);
        assert_eq!(chart.memory.measured.map(|best| best.rate), Some(119e9));
        assert_eq!(chart.memory.published, Some(153.6e9));
        let roofs = chart.roofs();
        let measured: Vec<_> = roofs.iter().filter(|roof| !roof.published).collect();
        assert_eq!(measured.iter().map(|roof| roof.dtype).collect::<Vec<_>>(), [Some(Dtype::F32), Some(Dtype::F16)]);
        assert_eq!(measured[1].peak, Some(13.84e12));
        assert!((measured[1].ridge().unwrap() - 116.3).abs() < 0.1);
        // Apple publishes no arithmetic.
        assert!(roofs.iter().any(|roof| roof.published && roof.dtype.is_none() && roof.peak.is_none()));
        // 12 products, one read, three decodes and two trainings: writing and copying compute nothing.
        assert_eq!(chart.points.len(), 18);
        let decode = chart.points.iter().find(|point| point.entry == 17).unwrap();
        assert_eq!(decode.bound, Some(Bound::Memory));
        assert!((0.9..1.1).contains(&decode.intensity), "two FLOPs for two bytes: {decode:?}");
        assert!(decode.rate < roofs[1].at(decode.intensity));
        let training = chart.points.iter().find(|point| point.entry == 18).unwrap();
        assert_eq!(training.bound, Some(Bound::Compute));
        assert_eq!(chart.extent(), Some([[0.1, 1e4], [1e9, 1e14]]), "the published slope runs out of it");
        assert!(
            chart.text().contains("f16 13.84 TFLOPS, 119.0 GB/s, ridge at 116.3 FLOP/B, measured"),
            "{}",
            chart.text()
        );
    }

    #[test]
    fn a_roof_bends_at_its_ridge() {
        let roof = Roof { dtype: Some(Dtype::F32), published: false, bandwidth: Some(1e11), peak: Some(1e12) };
        assert_eq!(roof.ridge(), Some(10.0));
        assert_eq!(roof.line(1.0, 100.0), [[1.0, 1e11], [10.0, 1e12], [100.0, 1e12]]);
        assert_eq!(roof.line(20.0, 100.0).len(), 2, "the ridge lies outside");
        let level = Roof { bandwidth: None, ..roof };
        assert_eq!((level.ridge(), level.at(0.001)), (None, 1e12));
        assert!(Roof { peak: None, ..level }.line(1.0, 10.0).is_empty(), "nothing is known");
    }

    #[test]
    fn absurd_figures_are_no_points_and_no_ceilings() {
        let sound = reference().unwrap();
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0] {
            let mut run = sound.clone();
            for entry in &mut run.entries {
                for measurement in &mut entry.measurements {
                    measurement.summary.median = value;
                }
            }
            let chart = only(&run);
            assert!(chart.points.is_empty(), "{value}");
            assert!(chart.memory.measured.is_none() && chart.arithmetic.is_empty(), "{value}");
            assert_eq!(chart.extent().map(|[x, _]| x), Some([0.1, 1000.0]), "the published slope is still there");
        }
    }

    #[test]
    fn a_run_without_figures_has_nothing_to_draw() {
        let mut run = reference().unwrap();
        run.devices.clear();
        run.entries.clear();
        assert!(rooflines(&run).is_empty());
        run = reference().unwrap();
        run.entries.truncate(1);
        run.entries[0].measurements = vec![Measurement::single("rate", Unit::FlopPerSecond, 1e300, 1.0).unwrap()];
        assert!(only(&run).extent().unwrap().iter().flatten().all(|end| end.is_finite()));
    }
}
