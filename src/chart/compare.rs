//! Runs, or engines of one run, beside a baseline as a figure.

use super::{
    Bars, Body, Figure, Group, RelativeBars, Standing, Tint, ValueBar,
    catalogue::{Absent, Chart},
    origin::origins,
};
use crate::{
    analysis::{
        comparison::{Compared, Kind, Options},
        frameworks::times,
    },
    record::Run,
    units::percent,
};

/// Where a chart of shares becomes one of ratios.
const SHARES_MAX: f64 = 4.0;

/// The comparison of two runs or more, the first being the baseline; or why there is none.
pub fn compare_figure(runs: &[&Run], options: Options) -> Result<Figure, Absent> {
    let absent = Absent { chart: Chart::Compare };
    let compared = Compared::of_runs(runs, 0, options).map_err(|_too_few_or_many| absent)?;
    compared_figure(&compared, runs).ok_or(absent)
}

/// The figure of a comparison that was made; `None` where no row may be drawn.
pub fn compared_figure(compared: &Compared, runs: &[&Run]) -> Option<Figure> {
    let bars = RelativeBars::of(compared, 0..compared.rows.len());
    let groups = groups(compared, &bars);
    if groups.is_empty() {
        return None;
    }
    let values = || groups.iter().flat_map(|group| &group.bars).map(|bar| bar.value);
    let logarithmic = values().fold(1.0, f64::max) > SHARES_MAX;
    let baseline = bars.sides.get(bars.baseline).map_or("", |side| side.label.as_str());
    let hollow = groups.iter().flat_map(|group| &group.bars).any(|bar| bar.barred.is_some());
    let mut note = format!("speed, {baseline} = 100 %");
    if bars.groups.iter().any(|group| group.inverted) {
        note.push_str("; ↓: of what is better the less, the baseline ÷ the other");
    }
    if hollow {
        note.push_str("; hollow: nothing is decided");
    }
    if bars.left_out > 0 {
        note = format!("{note}; {} more rows are in the table", bars.left_out);
    }
    Some(Figure {
        name: Chart::Compare.id(),
        title: match compared.kind {
            Kind::Runs => Chart::Compare.title().to_owned(),
            Kind::Engines => "Engines compared".to_owned(),
        },
        note,
        body: Body::Bars(Bars {
            label: String::new(),
            groups,
            level: Some((1.0, format!("{baseline} = 100 %"))),
            logarithmic,
        }),
        origins: origins(runs),
    })
}

/// Equal work by several engines, or on several devices, is told apart in the headings.
fn groups(compared: &Compared, bars: &RelativeBars) -> Vec<Group> {
    let places = || compared.rows.iter().map(|row| &row.place);
    let several = places().next().is_some_and(|first| places().any(|place| place != first));
    let group = |group: &super::BarGroup| {
        let turned = if group.inverted { " ↓" } else { "" };
        let bar = |(side, bar): (usize, &Option<super::Bar>)| value_bar(bars, side, bar.as_ref()?);
        let engine = group.engine.map(|engine| engine.title().to_owned());
        let place = compared.rows.get(group.row).filter(|_| several).map(|row| row.place.clone());
        let words = [Some(format!("{}{turned}", group.title)), Some(group.detail.clone()), engine, place];
        Group {
            title: words.into_iter().flatten().collect::<Vec<_>>().join(" · "),
            bars: group.bars.iter().enumerate().filter_map(bar).collect(),
        }
    };
    bars.groups.iter().map(group).collect()
}

fn value_bar(bars: &RelativeBars, place: usize, bar: &super::Bar) -> Option<ValueBar> {
    let side = bars.sides.get(place)?;
    let value = if bar.value >= 9.995 { times(bar.value) } else { percent(bar.value) };
    let word = match bar.standing {
        Standing::Baseline => "",
        Standing::Faster => ", faster",
        Standing::Slower => ", slower",
        Standing::Same => ", same",
        Standing::Undecided => ", undecided",
    };
    Some(ValueBar {
        label: side.label.clone(),
        detail: String::new(),
        value: bar.value,
        text: format!("{value}{word}"),
        range: bar.interval.map(|interval| [interval.low, interval.high]),
        tint: side.engine.map_or(Tint::Data(place), Tint::of),
        marker: side.engine.map(super::Marker::of),
        best: false,
        barred: (bar.standing == Standing::Undecided).then(|| "undecided".to_owned()),
    })
}
