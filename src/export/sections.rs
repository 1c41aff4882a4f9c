//! The sections of a report, in the order of the document that Roofline began with.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    cells::{NONE, TableCell, gemm_dtypes, model_cells, model_headings, precisions, versus_headings, versus_rows},
    document::Document,
    memory,
    models::{candidates, winner},
    raw, recommend, why,
    words::{all_notes, warnings},
};
use crate::{
    analysis::{
        Ceilings,
        frameworks::{Agreement, BARRED, Column, Comparison, ModelColumn, Row},
        side_figures,
    },
    chart::{Chart, figure_with},
    machine::PowerSource,
    record::{Entry, Outcome, Run},
    units::{Quantity, Unit, duration, memory_size, number, percent, relative_error},
    workload::{Dtype, Gemm, Layout, Workload, WorkloadKind},
};

/// Beside the best of a model on a device, whatever the precision.
const STAR: &str = "★";

/// The whole report. `name` is what a command line writes for the run; empty where nothing does.
pub(super) fn document(run: &Run, name: &str) -> Document {
    let comparison = Comparison::of(run);
    let machine = &run.machine;
    let device = run.devices.first().map(|device| device.name.as_str()).unwrap_or_default();
    let chip = [machine.chip.as_str(), device].into_iter().find(|name| !name.trim().is_empty());
    let chip = chip.unwrap_or("an unknown machine");
    let accelerator = run.accelerator().map(|device| device.name.as_str()).filter(|name| *name != chip);
    let names = accelerator.into_iter().chain([chip]).collect::<Vec<_>>().join(", ");
    let mut title = format!("Machine learning on {names}");
    if machine.memory_bytes > 0 {
        title = format!("{title} ({})", memory_size(machine.memory_bytes));
    }
    let mut report = Document { title, blocks: Vec::new() };
    for warning in warnings(run) {
        report.note(sentence(&warning));
    }
    for note in &run.notes {
        report.note(note.clone());
    }
    summary(run, &comparison, &mut report);
    hardware(run, &mut report);
    gemms(run, &comparison, &mut report);
    memory::bandwidth(run, &comparison, &mut report);
    for (title, kind) in [
        ("Memory bandwidth by size, at the largest", WorkloadKind::BandwidthSweep),
        ("Attention", WorkloadKind::Attention),
    ] {
        section(&comparison, title, kind, &mut report);
    }
    report.chart(figure_with(Chart::Attention, run, &comparison));
    models(run, &comparison, &mut report);
    for chart in [Chart::Roofline, Chart::RooflineProcessor] {
        report.chart(figure_with(chart, run, &comparison));
    }
    why::section(run, &comparison, &mut report);
    memory::tensor_limit(run, &comparison, &mut report);
    memory::fit(run, &mut report);
    recommend::section(run, &comparison, &mut report);
    agreement(&comparison, &mut report);
    how(run, &comparison, &mut report);
    missing(run, &mut report);
    notes(run, &comparison, &mut report);
    raw_files(run, name, &mut report);
    report.text(origin(run));
    report.without_steering()
}

/// "Measured on 2026-11-25 by Roofline 0.1.0 (0c1e570), run 20261125T…."
fn origin(run: &Run) -> String {
    let on = run.day().map_or_else(String::new, |day| format!(" on {day}"));
    let (done, by) = if run.is_published() {
        ("Published", String::new())
    } else {
        ("Measured", format!(" by {} ({})", run.app.program(), run.app.commit))
    };
    format!("{done}{on}{by}, run {}.", run.id)
}

/// With a capital and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

/// The models' summary, and the best of the kernels.
fn summary(run: &Run, comparison: &Comparison, report: &mut Document) {
    report.heading(2, "Summary");
    let stars = stars(run, comparison);
    let mut rows = Vec::new();
    for (group_place, group) in comparison.models.iter().enumerate() {
        for (row_place, row) in group.rows.iter().enumerate() {
            let mut cells = model_cells(comparison, group, row);
            for (column, cell) in ModelColumn::ALL.into_iter().zip(cells.iter_mut().skip(3)) {
                if stars.contains(&(group_place, row_place, column as usize)) {
                    cell.text = format!("{} {STAR}", cell.text);
                }
            }
            rows.push(cells);
        }
    }
    let has_models = !rows.is_empty();
    report.table(&model_headings(), 2, rows);
    if has_models {
        report.text(format!(
            "Bold is clearly the best of the engines that run a model of this shape with as many bits a weight on the same \
             device; {STAR} the fastest there whatever the bits."
        ));
        if let Some(insight) = recommend::insight(run, comparison) {
            report.text(insight);
        }
        report.list(comparison.model_notes());
    }
    let ceilings = Ceilings::of(run);
    let best = |name: String, entry: Option<&Entry>| {
        let entry = entry?;
        let value = Quantity::from(entry.headline()?);
        let index = run.entries.iter().position(|other| std::ptr::eq(other, entry))?;
        let share = ceilings.share(index).map_or_else(|| NONE.to_owned(), |share| share.text());
        let what = format!("{} {}", entry.workload.title(), entry.workload.parameters());
        Some([name, entry.engine.title().to_owned(), what, value.to_string(), share].map(TableCell::from).into())
    };
    let mut rows: Vec<Vec<TableCell>> = gemm_dtypes(comparison)
        .into_iter()
        .filter_map(|dtype| best(format!("Arithmetic, {dtype}"), run.best_gemm(Some(dtype))))
        .collect();
    rows.extend(best("Memory bandwidth".into(), memory::best_of(run)));
    let limit = |entry: &Entry| matches!(entry.workload, Workload::TensorLimit(_));
    rows.extend(best("Largest tensor".into(), run.best(limit)));
    report.table(&["Best of", "Framework", "With", "Figure", "Of ceiling"], 3, rows);
}

/// The cells of the summary that are the fastest of a model's build, whatever the precision.
fn stars(run: &Run, comparison: &Comparison) -> BTreeSet<(usize, usize, usize)> {
    let mut found = BTreeSet::new();
    for column in [ModelColumn::Prefill, ModelColumn::Decode, ModelColumn::Training] {
        for list in candidates(run, comparison, column) {
            found.extend(winner(&list).map(|(first, _)| (first.at.0, first.at.1, column as usize)));
        }
    }
    found
}

fn hardware(run: &Run, report: &mut Document) {
    let machine = &run.machine;
    let mut rows: Vec<[String; 2]> = Vec::new();
    let mut add = |name: &str, value: String| {
        if !value.trim().is_empty() {
            rows.push([name.to_owned(), value.trim().to_owned()]);
        }
    };
    let cores: Vec<String> = machine.cpu_cores.iter().map(|group| format!("{} {}", group.count, group.kind)).collect();
    let count: u64 = machine.cpu_cores.iter().map(|group| u64::from(group.count)).sum();
    add("Chip", machine.chip.clone());
    add("Model", machine.model.clone().unwrap_or_default());
    match cores.as_slice() {
        [] => {}
        [_] => add("Processor cores", count.to_string()),
        kinds => add("Processor cores", format!("{count} ({})", kinds.join(", "))),
    }
    add("GPU cores", machine.gpu_cores.map_or_else(String::new, |cores| cores.to_string()));
    let memory = Some(machine.memory_bytes).filter(|bytes| *bytes > 0);
    let sizes = |bytes| format!("{} ({})", Quantity::new(bytes as f64, Unit::Byte), memory_size(bytes));
    add("Memory", memory.map_or_else(String::new, sizes));
    let measured = memory::best_of(run).and_then(Entry::headline).map(Quantity::from);
    add("Memory bandwidth, measured", measured.map_or_else(String::new, |best| best.to_string()));
    if let Some((peak, source)) = memory::published(run) {
        add("Memory bandwidth, theoretical", format!("{} ({source})", Quantity::new(peak, Unit::BytePerSecond)));
    }
    let os = &machine.os;
    add("System", format!("{} {} {}", os.name, os.version, os.build.as_deref().unwrap_or_default()));
    for device in &run.devices {
        let driver = format!("{} {}", device.driver, device.driver_info);
        let driver = if driver.trim().is_empty() { String::new() } else { format!(", {}", driver.trim()) };
        add(&format!("Device {}", device.id), format!("{}{driver}", device.label()));
    }
    report.heading(2, "Hardware");
    report.table(&["Part", "Is"], 2, rows.into_iter().map(|row| row.map(TableCell::from).into()).collect());
}

/// For each engine a table of sizes by element types, then the ratios.
fn gemms(run: &Run, comparison: &Comparison, report: &mut Document) {
    let dtypes = gemm_dtypes(comparison);
    if dtypes.is_empty() {
        return;
    }
    let rows: HashMap<Gemm, &Row> = comparison
        .rows
        .iter()
        .filter_map(|row| match &row.workload {
            Workload::Gemm(gemm) => Some((*gemm, row)),
            _ => None,
        })
        .collect();
    report.heading(2, "Compute: matrix multiplication (GEMM)");
    for (place, column) in comparison.columns.iter().enumerate() {
        let text = |(shape, words): (Gemm, String)| {
            let cell = |dtype: &Dtype| {
                rows.get(&Gemm { dtype: *dtype, ..shape }).map_or_else(|| NONE.into(), |row| cell(row, place, true))
            };
            std::iter::once(TableCell::from(words)).chain(dtypes.iter().map(cell)).collect::<Vec<_>>()
        };
        let rows: Vec<Vec<TableCell>> = shapes(comparison, place).into_iter().map(text).collect();
        let names: Vec<String> = dtypes.iter().map(ToString::to_string).collect();
        let headings: Vec<&str> = std::iter::once("Size").chain(names.iter().map(String::as_str)).collect();
        if !rows.is_empty() {
            report.heading(3, format!("{} ({})", column.title, column.device_label));
            report.table(&headings, 1, rows);
        }
    }
    for chart in [Chart::GemmBest, Chart::GemmSingles, Chart::GemmHalves] {
        report.chart(figure_with(chart, run, comparison));
    }
    for versus in &comparison.versus {
        let headings = versus_headings(comparison, versus);
        let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
        let rows = versus_rows(versus).into_iter().map(|row| row.map(TableCell::from).into()).collect();
        report.heading(3, comparison.versus_title(versus));
        report.table(&headings, 2, rows);
    }
}

/// The shapes of one engine's products, each once whatever its type, with its words.
fn shapes(comparison: &Comparison, column: usize) -> Vec<(Gemm, String)> {
    let mut known: BTreeMap<(u8, u64, String), Gemm> = BTreeMap::new();
    for row in &comparison.rows {
        let Workload::Gemm(gemm) = &row.workload else { continue };
        let text = match (gemm.m == gemm.n && gemm.n == gemm.k, gemm.layout) {
            (true, Layout::Ab) => format!("{n}×{n}", n = gemm.n),
            (true, layout) => format!("{n}×{n}, {}", layout.title(), n = gemm.n),
            (false, _) => gemm.parameters(),
        };
        if row.cells.get(column).is_some_and(Option::is_some) {
            known.entry((gemm.layout as u8, gemm.flops() as u64, text)).or_insert(*gemm);
        }
    }
    known.into_iter().map(|((.., text), gemm)| (gemm, text)).collect()
}

/// A figure with a dagger where it isn't compared; or why there is none.
pub(super) fn cell(row: &Row, column: usize, with_unit: bool) -> TableCell {
    let Some(cell) = row.cells.get(column).and_then(Option::as_ref) else { return NONE.into() };
    let Some(figure) = cell.figure else {
        let word = cell.absence.as_deref().and_then(|reason| reason.split(':').next());
        return word.unwrap_or(NONE).into();
    };
    let text = if with_unit { figure.text() } else { row.scale().number(figure.value) };
    let text = if cell.barred.is_some() { format!("{text} {BARRED}") } else { text };
    TableCell { text, best: cell.best }
}

/// Rows of one kind, one column an engine that has any.
fn section(comparison: &Comparison, title: &str, kind: WorkloadKind, report: &mut Document) {
    let rows: Vec<&Row> = comparison.rows.iter().filter(|row| row.workload.kind() == kind).collect();
    let has = |column: &usize| rows.iter().any(|row| row.cells.get(*column).is_some_and(Option::is_some));
    let columns: Vec<usize> = (0..comparison.columns.len()).filter(has).collect();
    let names = columns.iter().map(|column| comparison.title(*column));
    let headings: Vec<&str> = ["Workload", "Parameters", "Unit"].into_iter().chain(names).collect();
    let text = |row: &&Row| {
        let first = [row.workload.title(), row.workload.parameters(), row.scale().name.to_owned()];
        let cells = columns.iter().map(|column| cell(row, *column, false));
        first.into_iter().map(TableCell::from).chain(cells).collect()
    };
    if !rows.is_empty() {
        report.heading(2, title);
        report.table(&headings, 3, rows.iter().map(text).collect());
    }
}

/// For each engine and model a table of what was done with it.
fn models(run: &Run, comparison: &Comparison, report: &mut Document) {
    let ceilings = Ceilings::of(run);
    let mut tables: BTreeMap<(usize, String), Vec<Vec<TableCell>>> = BTreeMap::new();
    let place: HashMap<(_, &str), usize> =
        comparison.columns.iter().enumerate().map(|(index, c)| ((c.engine, c.device.as_str()), index)).collect();
    for (index, entry) in run.entries.iter().enumerate() {
        let (Some(model), Some(column)) = (entry.workload.model(), place.get(&(entry.engine, entry.device.as_str())))
        else {
            continue;
        };
        tables.entry((*column, model.label())).or_default().push(task(&ceilings, index, entry));
    }
    if tables.is_empty() {
        return;
    }
    report.heading(2, "Language models");
    for ((column, model), rows) in tables {
        let of = comparison.columns.get(column);
        let device = of.map_or("", |column| column.device_label.as_str());
        report.heading(3, format!("{} ({device}): {model}", comparison.title(column)));
        report.table(&["Task", "Figure", "95 % ±", "Beside it", "Of its limit"], 1, rows);
    }
    for chart in [Chart::Decode, Chart::Prefill, Chart::Training, Chart::Latency, Chart::Loss] {
        report.chart(figure_with(chart, run, comparison));
    }
}

fn task(ceilings: &Ceilings<'_>, index: usize, entry: &Entry) -> Vec<TableCell> {
    let title = match &entry.workload {
        Workload::Inference(inference) => {
            let parameters = inference.parameters();
            let beside = parameters.strip_suffix(&inference.model.label()).unwrap_or_default();
            format!("{} {}", inference.title(), beside.trim_end_matches(" · "))
        }
        workload => workload.title(),
    };
    let time = entry.measurements.iter().find(|measurement| measurement.metric == "load-time");
    let shown = time.filter(|_| entry.headline().is_some()).or_else(|| entry.headline());
    let value = shown.map_or_else(|| entry.outcome.word().to_lowercase(), |shown| Quantity::from(shown).to_string());
    let width = shown.and_then(|shown| shown.summary.relative_half_width()).map_or_else(|| NONE.to_owned(), percent);
    let beside: Vec<String> = side_figures(entry)
        .into_iter()
        .filter(|(name, _)| name != "Load time")
        .map(|(name, value)| format!("{} {value}", name.to_lowercase()))
        .collect();
    let beside = if beside.is_empty() { NONE.to_owned() } else { beside.join("; ") };
    let share = ceilings.share(index).map_or_else(|| NONE.to_owned(), |share| share.short());
    [title.trim().to_owned(), value, width, beside, share].map(TableCell::from).into()
}

fn agreement(comparison: &Comparison, report: &mut Document) {
    let sentences: Vec<String> = comparison.agreement.iter().flat_map(Agreement::sentences).collect();
    if !sentences.is_empty() {
        report.heading(2, "Do the engines say the same?");
        report.list(sentences);
    }
}

/// How it was measured: the method, the conditions, versions and settings that all entries of an engine share.
fn how(run: &Run, comparison: &Comparison, report: &mut Document) {
    report.heading(2, "How it was measured");
    if run.is_published() {
        report.text("These figures were published elsewhere; how they were taken is told above and in the notes.");
    } else if run.is_foreign() {
        report.text(format!(
            "{} took these figures, and Roofline read its file. Each is the median of the repetitions that it kept; how it \
             warmed up and what it checked, and in which state the machine was, is not known.",
            run.app.program()
        ));
    } else {
        report.text(
            "Each figure is the median of batches that were timed after a warm-up, until the 95 % interval of the median \
             was within 1 % or the time was up; the interval comes from order statistics. Results that were timed are \
             compared with a reference, and a fixed short kernel before and after each entry tells whether the device \
             slowed down. All samples are in the run file.",
        );
    }
    let mut lines: Vec<String> = Vec::new();
    if !run.is_published() && !run.is_foreign() {
        lines.extend(conditions(run));
    }
    for column in &comparison.columns {
        let shared = shared_settings(run, column);
        if !shared.is_empty() {
            let text: Vec<String> = shared.iter().map(|(name, value)| format!("{name} {value}")).collect();
            lines.push(format!("{}: {}", column.title, text.join(", ")));
        }
    }
    lines.extend(precisions(run, comparison));
    lines.extend(worst_error(run));
    report.list(lines);
}

fn conditions(run: &Run) -> Vec<String> {
    let conditions = &run.conditions;
    let mut lines = vec![format!("Suite {}, at most {}", run.suite.name, duration(run.suite.budget_s))];
    match conditions.power_source {
        PowerSource::Mains => lines.push("On mains power".to_owned()),
        PowerSource::Battery => lines.push("On battery".to_owned()),
        PowerSource::Unknown => {}
    }
    lines.extend(conditions.load_average.map(|load| format!("Load average at the start: {load:.2}")));
    if conditions.available_memory_bytes > 0 {
        let free = Quantity::new(conditions.available_memory_bytes as f64, Unit::Byte);
        lines.push(format!("Memory free at the start: {free}"));
    }
    lines.push(if conditions.window_open { "The window was open" } else { "No window was open" }.to_owned());
    lines
}

fn worst_error(run: &Run) -> Option<String> {
    let errors: Vec<f64> = run
        .entries
        .iter()
        .filter(|entry| entry.outcome == Outcome::Done)
        .filter_map(|entry| entry.check.as_ref()?.relative_error)
        .collect();
    let worst = errors.iter().copied().reduce(f64::max)?;
    Some(format!("{} results were checked; the largest relative error is {}", errors.len(), relative_error(worst)))
}

fn shared_settings(run: &Run, column: &Column) -> BTreeMap<String, String> {
    let mut own = run
        .entries
        .iter()
        .filter(|entry| entry.engine == column.engine && entry.device == column.device && entry.headline().is_some());
    let mut shared = own.next().map(|entry| entry.settings.clone()).unwrap_or_default();
    for entry in own {
        shared.retain(|name, value| entry.settings.get(name) == Some(value));
    }
    shared
}

/// What was not measured, with its reason.
fn missing(run: &Run, report: &mut Document) {
    let absent = run.entries.iter().filter(|entry| entry.outcome != Outcome::Done);
    let row = |entry: &Entry| {
        let reason = entry.outcome.reason().unwrap_or(NONE).to_owned();
        let estimate =
            entry.estimate_s.map_or_else(String::new, |seconds| format!(" ({} s estimated)", number(seconds)));
        let cells = [
            entry.workload.title(),
            entry.workload.parameters(),
            entry.engine.title().to_owned(),
            entry.outcome.word().to_owned(),
            reason + &estimate,
        ];
        cells.map(TableCell::from).into()
    };
    let rows: Vec<Vec<TableCell>> = absent.map(row).collect();
    if !rows.is_empty() {
        report.heading(2, "What was not measured");
        report.table(&["Workload", "Parameters", "Framework", "State", "Reason"], 5, rows);
    }
}

/// What speaks against figures, each sentence once with all that it holds for.
fn notes(run: &Run, comparison: &Comparison, report: &mut Document) {
    let notes = all_notes(run, comparison.has_several());
    if !notes.is_empty() {
        report.heading(2, "Notes");
        if comparison.rows.iter().flat_map(|row| row.cells.iter().flatten()).any(|cell| cell.barred.is_some()) {
            report.text(format!("{BARRED} shown, and not compared for a reason that is given here."));
        }
        report.list(notes);
    }
}

fn raw_files(run: &Run, name: &str, report: &mut Document) {
    let folder = raw::raw_folder(run);
    let row = |file: raw::RawFile| [file.name, file.holds.to_owned()].map(TableCell::from).into();
    report.heading(2, "Raw data files");
    if name.is_empty() {
        report.text(format!("What the raw export of this run writes to {}/:", folder.display()));
    } else {
        report.text(format!("Written to {}/ by:", folder.display()));
        report.code("bash", format!("roofline export {name} --format raw --output ."));
    }
    report.table(&["File", "Contents"], 2, raw::raw(run).into_iter().map(row).collect());
}
