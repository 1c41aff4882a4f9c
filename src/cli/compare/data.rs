//! A comparison for programs as JSON. Values are in base units, without prefixes.

use serde_json::{Value, json};

use crate::{
    analysis::comparison::{Cell, Compared, Row, Verdict},
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
        "left_out": compared.left_out,
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
