//! A run as a document in Markdown: the framework comparison first, in the form that people know, then the tables that it is
//! taken from, and what speaks against them.

use std::collections::BTreeMap;

use super::{
    comparison::{NONE, gemm_dtypes, model_cells, model_headings, precisions, versus_headings, versus_rows},
    table::{footnotes, warnings},
};
use crate::{
    analysis::frameworks::{Agreement, BARRED, Column, Comparison, Row},
    machine::Machine,
    record::Run,
    units::{Quantity, Unit, duration},
    workload::{Gemm, Layout, Workload, WorkloadKind},
};

/// The whole document.
pub(super) fn document(run: &Run) -> String {
    let comparison = Comparison::of(run);
    let machine = &run.machine;
    let memory = Quantity::new(machine.memory_bytes as f64, Unit::Byte);
    let mut parts = vec![format!("# Machine learning on {} ({memory})", machine.chip)];
    parts.extend(warnings(run).into_iter().map(|warning| format!("> **Note:** {warning}.")));
    parts.extend(summary(&comparison));
    parts.push(hardware(run, machine));
    parts.extend(gemms(&comparison));
    let kinds = [
        ("Attention", WorkloadKind::Attention),
        ("Memory bandwidth", WorkloadKind::Bandwidth),
        ("Memory bandwidth by size, at the largest", WorkloadKind::BandwidthSweep),
        ("Tensor limit", WorkloadKind::TensorLimit),
        ("Loading a model", WorkloadKind::ModelLoad),
        ("Prefill and decode", WorkloadKind::Inference),
        ("Training", WorkloadKind::Training),
    ];
    parts.extend(kinds.into_iter().filter_map(|(title, kind)| section(&comparison, title, kind)));
    parts.extend(agreement(&comparison));
    parts.push(how(run, &comparison));
    parts.extend(notes(run, &comparison));
    parts.push(format!(
        "*Measured on {} by Roofline {} ({}), run {}.*",
        run.started_at.strftime("%Y-%m-%d"),
        run.app.version,
        run.app.commit,
        run.id
    ));
    parts.join("\n\n") + "\n"
}

/// A table; the first columns are words, the rest are numbers.
fn table(headings: &[String], rows: &[Vec<String>], words: usize) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        format!("| {} |", cells.join(" | "))
    };
    let rule: Vec<String> =
        (0..headings.len()).map(|index| if index < words { "---" } else { "---:" }.to_owned()).collect();
    let mut lines = vec![line(headings), line(&rule)];
    lines.extend(rows.iter().map(|row| line(row)));
    lines.join("\n")
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("- {line}")).collect::<Vec<_>>().join("\n")
}

fn bold(text: &str) -> String {
    format!("**{text}**")
}

/// The models' summary, and what is compared in it.
fn summary(comparison: &Comparison) -> Option<String> {
    let rows: Vec<Vec<String>> = comparison
        .models
        .iter()
        .flat_map(|group| group.rows.iter().map(|row| model_cells(comparison, group, row, bold)))
        .collect();
    let headings: Vec<String> = model_headings().into_iter().map(str::to_owned).collect();
    let notes = list(&comparison.model_notes());
    let explained = "Bold is clearly the best of the engines that run a model of this shape with as many bits a weight on the \
                     same device.";
    (!rows.is_empty()).then(|| format!("## Summary\n\n{}\n\n{explained}\n\n{notes}", table(&headings, &rows, 2)))
}

fn hardware(run: &Run, machine: &Machine) -> String {
    let cores: Vec<String> = machine.cpu_cores.iter().map(|group| format!("{} {}", group.count, group.kind)).collect();
    let mut lines = vec![
        format!("Chip: {}", machine.chip),
        format!("Processor cores: {} ({} logical)", cores.join(", "), machine.logical_cpus),
        format!("Memory: {}", Quantity::new(machine.memory_bytes as f64, Unit::Byte)),
        format!("System: {} {}", machine.os.name, machine.os.version),
    ];
    lines.extend(machine.gpu_cores.map(|cores| format!("GPU cores: {cores}")));
    lines.extend(run.devices.iter().map(|device| format!("Device {}: {}", device.id, device.label())));
    format!("## Hardware\n\n{}", list(&lines))
}

/// For each engine a table of sizes by element types, then the ratios.
fn gemms(comparison: &Comparison) -> Option<String> {
    let dtypes = gemm_dtypes(comparison);
    if dtypes.is_empty() {
        return None;
    }
    let mut parts = vec!["## GEMM".to_owned()];
    for (place, column) in comparison.columns.iter().enumerate() {
        let shapes = shapes(comparison, place);
        let text = |shape: &(Gemm, String)| {
            let cell = |dtype: &_| gemm_cell(comparison, place, &Gemm { dtype: *dtype, ..shape.0 });
            std::iter::once(shape.1.clone()).chain(dtypes.iter().map(cell)).collect::<Vec<String>>()
        };
        let rows: Vec<Vec<String>> = shapes.iter().map(text).collect();
        let headings: Vec<String> =
            std::iter::once("Size".to_owned()).chain(dtypes.iter().map(ToString::to_string)).collect();
        if !rows.is_empty() {
            parts.push(format!("### {} ({})", column.title, column.device_label));
            parts.push(table(&headings, &rows, 1));
        }
    }
    for versus in &comparison.versus {
        let rows: Vec<Vec<String>> = versus_rows(versus).into_iter().map(Vec::from).collect();
        parts.push(format!("### {}", comparison.versus_title(versus)));
        parts.push(table(&versus_headings(comparison, versus), &rows, 2));
    }
    Some(parts.join("\n\n"))
}

/// The shapes of one engine's products, each once, with its words.
fn shapes(comparison: &Comparison, column: usize) -> Vec<(Gemm, String)> {
    let mut shapes: Vec<(Gemm, String)> = Vec::new();
    for row in &comparison.rows {
        let Workload::Gemm(gemm) = &row.workload else { continue };
        let here = row.cells.get(column).is_some_and(Option::is_some);
        let text = match (gemm.m == gemm.n && gemm.n == gemm.k, gemm.layout) {
            (true, Layout::Ab) => format!("{n}×{n}", n = gemm.n),
            (true, layout) => format!("{n}×{n}, {}", layout.title(), n = gemm.n),
            (false, _) => gemm.parameters(),
        };
        if here && !shapes.iter().any(|(_, known)| *known == text) {
            shapes.push((*gemm, text));
        }
    }
    shapes.sort_by(|(a, _), (b, _)| (a.layout as u8).cmp(&(b.layout as u8)).then(a.flops().total_cmp(&b.flops())));
    shapes
}

fn gemm_cell(comparison: &Comparison, column: usize, wanted: &Gemm) -> String {
    let row = comparison.rows.iter().find(|row| matches!(&row.workload, Workload::Gemm(gemm) if gemm == wanted));
    row.map_or_else(|| NONE.to_owned(), |row| cell(row, column, Full::Yes))
}

/// Whether a cell names its unit.
#[derive(Clone, Copy, PartialEq)]
enum Full {
    Yes,
    No,
}

/// A figure, bold where it is best, with a dagger where it isn't compared; or why there is none.
fn cell(row: &Row, column: usize, full: Full) -> String {
    let Some(cell) = row.cells.get(column).and_then(Option::as_ref) else { return NONE.to_owned() };
    let Some(figure) = cell.figure else {
        let word = cell.absence.as_deref().and_then(|reason| reason.split(':').next());
        return word.unwrap_or(NONE).to_owned();
    };
    let text = if full == Full::Yes { figure.text() } else { row.scale().number(figure.value) };
    let text = if cell.best { bold(&text) } else { text };
    if cell.barred.is_some() { format!("{text} {BARRED}") } else { text }
}

/// Rows of one kind, one column an engine that has any.
fn section(comparison: &Comparison, title: &str, kind: WorkloadKind) -> Option<String> {
    let rows: Vec<&Row> = comparison.rows.iter().filter(|row| row.workload.kind() == kind).collect();
    let has = |column: &usize| rows.iter().any(|row| row.cells.get(*column).is_some_and(Option::is_some));
    let columns: Vec<usize> = (0..comparison.columns.len()).filter(has).collect();
    let named =
        |column: &usize| comparison.columns.get(*column).map_or_else(String::new, |column| column.title.clone());
    let headings: Vec<String> =
        ["Workload", "Parameters", "Unit"].map(str::to_owned).into_iter().chain(columns.iter().map(named)).collect();
    let text = |row: &&Row| {
        let first = [row.workload.title(), row.workload.parameters(), row.scale().name.to_owned()];
        first.into_iter().chain(columns.iter().map(|column| cell(row, *column, Full::No))).collect::<Vec<String>>()
    };
    let lines: Vec<Vec<String>> = rows.iter().map(text).collect();
    (!lines.is_empty()).then(|| format!("## {title}\n\n{}", table(&headings, &lines, 3)))
}

fn agreement(comparison: &Comparison) -> Option<String> {
    let sentences: Vec<String> = comparison.agreement.iter().flat_map(Agreement::sentences).collect();
    (!sentences.is_empty()).then(|| format!("## Do the engines say the same?\n\n{}", list(&sentences)))
}

/// How it was measured: versions and settings that all entries of an engine share, and the arithmetic really used.
fn how(run: &Run, comparison: &Comparison) -> String {
    let mut lines: Vec<String> = Vec::new();
    for column in &comparison.columns {
        let shared = shared_settings(run, column);
        if !shared.is_empty() {
            let text: Vec<String> = shared.iter().map(|(name, value)| format!("{name} {value}")).collect();
            lines.push(format!("{}: {}", column.title, text.join(", ")));
        }
    }
    lines.extend(precisions(run, comparison));
    lines.push(format!("Suite {}, at most {}", run.suite.name, duration(run.suite.budget_s)));
    format!("## How it was measured\n\n{}", list(&lines))
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

/// What speaks against figures, and why some are missing.
fn notes(run: &Run, comparison: &Comparison) -> Option<String> {
    let lines = footnotes(run, comparison.has_several());
    let lines: Vec<String> = lines.into_iter().filter(|line| !line.starts_with("note: ")).collect();
    (!lines.is_empty()).then(|| format!("## Notes\n\n{}", list(&lines)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::frameworks::tests::document as measured;

    #[test]
    fn the_founding_document_comes_out_of_its_own_figures() {
        let text = document(&measured());
        let has = |line: &str| assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        has("## Summary");
        has(
            "| PyTorch on Apple M5 | mistral-7b f16 | 16.00 | 14.48 GB | 14.48 GB | 48.00 s | — | 7.700 t/s | 174.0 t/s | works |",
        );
        has(
            "| MLX on Apple M5 | mistral-7b MLX-4bit | 4.50 | 4.073 GB | 7.500 GB | **800.0 ms** | — | **26.50 t/s** | 130.0 t/s | works |",
        );
        has(
            "| llama.cpp on Apple M5 | mistral-7b Q4_K_M | 4.90 | 4.436 GB | **6.000 GB** | 1.600 s | — | 24.00 t/s | n/a | works |",
        );
        has("- 16 bits on Apple M5: Decode 128 at depth 0, LoRA 1 × 512; nothing else of as many bits to compare with");
        has("- llama.cpp with mistral-7b Q4_K_M: unsupported: llama.cpp trains no adapters");
        has("### PyTorch (Apple M5 · Vulkan)");
        has("| 4096×4096 | 3.160 TFLOPS | **13.84 TFLOPS** |");
        has("### GEMM: PyTorch beside MLX");
        has("| f32 | n = 4096 | 3.160 TFLOPS | 3.250 TFLOPS | 0.97× (same) |");
        has("| f16 | n = 4096 | 13.84 TFLOPS | 3.620 TFLOPS | 3.82× |");
    }

    #[test]
    fn nothing_in_a_cell_breaks_a_table() {
        let headings = ["a|b".to_owned(), "c".to_owned()];
        assert_eq!(
            table(&headings, &[vec!["x\ny".into(), "1".into()]], 1),
            "| a\\|b | c |\n| --- | ---: |\n| x y | 1 |"
        );
    }
}
