//! A comparison as CSV, for programs and spreadsheets. Values are in base units, without prefixes.

use super::{flat::no_formula, plain};
use crate::{
    analysis::comparison::{Cell, Compared, Kind, Row, Verdict},
    record::Run,
};

/// One line a row and side that is held against the baseline.
pub fn comparison_csv(runs: &[&Run], compared: &Compared) -> Result<String, csv::Error> {
    const HEADINGS: [&str; 19] = [
        "workload",
        "parameters",
        "engine",
        "on",
        "unit",
        "baseline",
        "baseline_run",
        "baseline_value",
        "side",
        "side_run",
        "side_value",
        "change_is",
        "ratio",
        "ratio_low",
        "ratio_high",
        "p",
        "threshold",
        "verdict",
        "reason",
    ];
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADINGS)?;
    for row in &compared.rows {
        for (side, cell) in row.cells.iter().enumerate().filter(|(side, _)| *side != compared.baseline) {
            writer.write_record(record(runs, compared, row, (side, cell)))?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(std::io::Error::from(error.error().kind())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn record(runs: &[&Run], compared: &Compared, row: &Row, (side, cell): (usize, &Cell)) -> [String; 19] {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let run = |side: usize| {
        let id = compared.sides.get(side).and_then(|side| runs.get(side.run)).map(|run| run.id.as_str());
        safe(id.unwrap_or_default())
    };
    let value = |cell: Option<&Cell>| number(cell.and_then(|cell| cell.figure).map(|figure| figure.median));
    let engine = match compared.kind {
        Kind::Runs => row.engine.map(|engine| engine.to_string()).unwrap_or_default(),
        Kind::Engines => String::new(),
    };
    let unit = serde_json::to_value(row.unit).ok().and_then(|unit| unit.as_str().map(str::to_owned));
    let interval = cell.change.and_then(|change| change.interval);
    let verdict = cell.verdict.as_ref();
    [
        safe(&row.title()),
        safe(&row.parameters()),
        safe(&engine),
        safe(&row.place),
        unit.unwrap_or_default(),
        safe(compared.label(compared.baseline)),
        run(compared.baseline),
        value(row.cells.get(compared.baseline)),
        safe(compared.label(side)),
        run(side),
        value(Some(cell)),
        safe(&compared.ratio_title(side).unwrap_or_default()),
        number(cell.change.map(|change| change.ratio)),
        number(interval.map(|interval| interval.low)),
        number(interval.map(|interval| interval.high)),
        number(cell.change.and_then(|change| change.p)),
        number(cell.change.map(|change| change.threshold)),
        verdict.map_or("", Verdict::id).to_owned(),
        safe(&verdict.and_then(Verdict::reason).unwrap_or_default()),
    ]
}

/// Text on one line that no spreadsheet takes for a formula.
pub(super) fn safe(text: &str) -> String {
    no_formula(&plain(text))
}
