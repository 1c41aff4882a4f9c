//! A run as JSON, as JSON lines, and as a table with one row a measurement.

use super::beside::without_steering;
use crate::record::{Entry, Run};

/// The run file.
pub fn json(run: &Run) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(run)? + "\n")
}

/// One line an entry.
pub fn jsonl(run: &Run) -> serde_json::Result<String> {
    run.entries.iter().map(|entry| json_line(&run.id, entry)).collect()
}

/// One entry with its run's id.
pub fn json_line(run_id: &str, entry: &Entry) -> serde_json::Result<String> {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        run: &'a str,
        #[serde(flatten)]
        entry: &'a Entry,
    }
    Ok(serde_json::to_string(&Line { run: run_id, entry })? + "\n")
}

const HEADINGS: [&str; 31] = [
    "run",
    "started_at",
    "roofline",
    "chip",
    "os",
    "engine",
    "device",
    "device_name",
    "workload",
    "title",
    "parameters",
    "model",
    "precision",
    "outcome",
    "reason",
    "metric",
    "at_bytes",
    "unit",
    "median",
    "low",
    "high",
    "mean",
    "stddev",
    "min",
    "max",
    "samples",
    "stop",
    "relative_error",
    "variant",
    "marks",
    "notes",
];

/// One row a measurement, and one for each entry without any. Values are in base units; what isn't known is empty.
pub fn csv(run: &Run) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADINGS)?;
    for entry in &run.entries {
        let (before, after) = around(run, entry);
        for values in measured(entry) {
            writer.write_record(before.iter().chain(&values).chain(&after))?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(std::io::Error::from(error.error().kind())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Text that a spreadsheet takes for text: a formula in a name is not run, and nothing in it steers a terminal.
pub(super) fn no_formula(text: &str) -> String {
    let text = without_steering(text);
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
}

/// What is the same for all measurements of an entry, before and after them.
fn around(run: &Run, entry: &Entry) -> (Vec<String>, Vec<String>) {
    let device = run.device(&entry.device);
    let model = entry.workload.model();
    let os = [&run.machine.os.name, &run.machine.os.version].map(String::as_str).join(" ");
    let before = [
        no_formula(&run.id),
        run.started_at.to_string(),
        no_formula(&run.app.version),
        no_formula(&run.machine.chip),
        no_formula(os.trim()),
        entry.engine.id().to_owned(),
        no_formula(&entry.device),
        device.map_or_else(String::new, |device| no_formula(&device.name)),
        entry.workload.kind().id().to_owned(),
        entry.workload.title(),
        no_formula(&entry.workload.parameters()),
        model.map_or_else(String::new, |model| no_formula(&model.name)),
        model.map_or_else(
            || entry.precision.as_deref().map_or_else(String::new, no_formula),
            |m| no_formula(m.precision.id()),
        ),
        entry.outcome.word().to_lowercase(),
        entry.outcome.reason().map_or_else(String::new, no_formula),
    ];
    let marks: Vec<&str> = entry.marks.iter().map(|mark| mark.kind.word()).collect();
    let error = entry.check.as_ref().and_then(|check| check.relative_error);
    let after = [
        error.map_or_else(String::new, |error| error.to_string()),
        entry.variant.as_deref().map_or_else(String::new, no_formula),
        marks.join("; "),
        no_formula(&entry.notes.join(" ")),
    ];
    (before.into(), after.into())
}

/// One list a measurement; one empty list where there is none.
fn measured(entry: &Entry) -> Vec<Vec<String>> {
    let named = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let number = |value: Option<f64>| value.filter(|v| v.is_finite()).map_or_else(String::new, |v| v.to_string());
    let row = |m: &crate::measure::Measurement| {
        let summary = &m.summary;
        vec![
            no_formula(&m.metric),
            m.at_bytes.map_or_else(String::new, |bytes| bytes.to_string()),
            named(serde_json::to_value(m.unit)),
            number(Some(summary.median)),
            number(summary.interval.map(|interval| interval.low)),
            number(summary.interval.map(|interval| interval.high)),
            number(Some(summary.mean)),
            number(summary.stddev),
            number(Some(summary.min)),
            number(Some(summary.max)),
            summary.count.to_string(),
            named(serde_json::to_value(m.stop)),
        ]
    };
    if entry.measurements.is_empty() {
        return vec![vec![String::new(); 12]];
    }
    entry.measurements.iter().map(row).collect()
}
