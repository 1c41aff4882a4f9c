//! A comparison for programs: JSON and CSV. Values are in base units, without prefixes.

use serde_json::{Value, json};

use crate::{
    analysis::comparison::{Cell, Compared, Kind, Row, Verdict},
    export::plain,
    record::{AppInfo, Run},
};

/// The version of the JSON's layout. Fields are only added.
const FORMAT_VERSION: u32 = 1;

/// The whole comparison as one JSON object.
pub(super) fn json(runs: &[&Run], compared: &Compared) -> String {
    let sides: Vec<Value> = (0..compared.sides.len()).filter_map(|side| side_json(runs, compared, side)).collect();
    let rows: Vec<Value> = compared.rows.iter().map(|row| row_json(compared, row)).collect();
    let app = AppInfo::current();
    let document = json!({
        "format": "roofline-comparison",
        "format_version": FORMAT_VERSION,
        "app": { "version": app.version, "commit": app.commit },
        "kind": compared.kind,
        "sides": sides,
        "baseline": compared.label(compared.baseline),
        "threshold": compared.options.threshold,
        "method": compared.method().join(" "),
        "counts": compared.counts(),
        "conditions": compared.conditions,
        "rows": rows,
    });
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

fn side_json(runs: &[&Run], compared: &Compared, side: usize) -> Option<Value> {
    let own = compared.sides.get(side)?;
    let run = runs.get(own.run)?;
    Some(json!({
        "label": own.label,
        "run": run.id,
        "engine": own.engine,
        "started_at": run.started_at,
        "chip": run.machine.chip,
        "app": run.app,
        "published": run.is_published(),
    }))
}

fn row_json(compared: &Compared, row: &Row) -> Value {
    let cells: Vec<Value> =
        row.cells.iter().enumerate().map(|(side, cell)| cell_json(compared, row, side, cell)).collect();
    json!({
        "title": row.title(),
        "parameters": row.parameters(),
        "workload": row.workload,
        "engine": row.engine,
        "on": row.place,
        "metric": row.metric,
        "at_bytes": row.at_bytes,
        "apart": row.apart,
        "unit": row.unit,
        "cells": cells,
    })
}

fn cell_json(compared: &Compared, row: &Row, side: usize, cell: &Cell) -> Value {
    json!({
        "side": compared.label(side),
        "entry": cell.entry,
        "also": cell.also,
        "value": cell.figure.map(|figure| figure.median),
        "interval": cell.figure.and_then(|figure| figure.interval),
        "samples": cell.figure.map(|figure| figure.samples),
        "absence": cell.absence,
        "notes": cell.notes,
        "change_is": compared.ratio_title(side),
        "change": cell.change,
        "verdict": cell.verdict.as_ref().map(Verdict::id),
        "reason": cell.verdict.as_ref().and_then(Verdict::reason),
        "word": cell.verdict.as_ref().map(|verdict| verdict.word(row.unit)),
    })
}

/// One line a row and side that is held against the baseline.
pub(super) fn csv(runs: &[&Run], compared: &Compared) -> Result<String, String> {
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
    let cannot = |error: csv::Error| format!("the comparison could not be written as CSV ({error})");
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADINGS).map_err(cannot)?;
    for row in &compared.rows {
        for (side, cell) in row.cells.iter().enumerate().filter(|(side, _)| *side != compared.baseline) {
            writer.write_record(record(runs, compared, row, (side, cell))).map_err(cannot)?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
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

/// Text that no spreadsheet takes for a formula.
fn safe(text: &str) -> String {
    let text = plain(text);
    if text.starts_with(['=', '+', '-', '@', '\t']) { format!("'{text}") } else { text }
}
