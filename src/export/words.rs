//! What is said under figures: warnings, reasons, notes. Alike in a terminal and in a document.

use std::collections::HashMap;

use crate::{
    analysis::{CeilingKind, Ceilings, Share, marks, side_figures},
    machine::PowerSource,
    record::{Entry, Outcome, Run, RunState},
};

/// What an entry is called in a line: "GEMM f32 n = 4096", with its engine where there are several.
pub(crate) fn name(entry: &Entry, several: bool) -> String {
    let engine = if several { format!("{}, ", entry.engine.title()) } else { String::new() };
    format!("{engine}{} {}", entry.workload.title(), entry.workload.parameters())
}

/// Reasons and doubts of each entry under the table, then the notes: each once, with the entries that it is of.
pub(crate) fn footnotes(run: &Run, several: bool) -> Vec<String> {
    let mut lines: Vec<String> = warnings(run).into_iter().map(|warning| format!("note: {warning}")).collect();
    let ceilings = Ceilings::of(run);
    for (index, entry) in run.entries.iter().enumerate() {
        let title = name(entry, several);
        lines.extend(beside(&ceilings, index, entry).map(|text| format!("{title}: {text}")));
    }
    let reason = |entry: &Entry| {
        entry.outcome.reason().map(|reason| format!("{}: {reason}", entry.outcome.word().to_lowercase()))
    };
    lines.extend(once_each(run, several, |entry| reason(entry).into_iter().chain(doubts(run, entry)).collect()));
    lines.extend(once_each(run, several, |entry| entry.notes.clone()));
    lines
}

/// What speaks against an entry's figure.
fn doubts(run: &Run, entry: &Entry) -> Vec<String> {
    marks(run, entry).iter().map(|mark| format!("{}: {}", mark.kind.word(), mark.reason)).collect()
}

/// What speaks against figures and what a reader should know of them: each once, with the entries that it is of.
pub(super) fn all_notes(run: &Run, several: bool) -> Vec<String> {
    once_each(run, several, |entry| doubts(run, entry).into_iter().chain(entry.notes.iter().cloned()).collect())
}

/// What is said of entries, in the order in which it is first said, with those of which it is: "a; b; c and 4 more: …".
fn once_each(run: &Run, several: bool, said: impl Fn(&Entry) -> Vec<String>) -> Vec<String> {
    let mut order: Vec<(String, Vec<String>)> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for entry in &run.entries {
        for text in said(entry) {
            let place = *known.entry(text.clone()).or_insert_with(|| {
                order.push((text, Vec::new()));
                order.len() - 1
            });
            if let Some((_, names)) = order.get_mut(place) {
                names.push(name(entry, several));
            }
        }
    }
    order.into_iter().map(|(text, names)| format!("{}: {text}", some_of(&names))).collect()
}

/// "a; b; c", or the first three and how many more.
fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = names.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join("; "))
}

/// What was measured of a model beside the headline, and where its limit comes from, in one line.
fn beside(ceilings: &Ceilings<'_>, index: usize, entry: &Entry) -> Option<String> {
    let figures = side_figures(entry).into_iter().map(|(name, value)| format!("{} {value}", name.to_lowercase()));
    let limit = ceilings.share(index).filter(|share| matches!(share.kind, CeilingKind::Token { .. }));
    let told = |share: Share| {
        if share.is_beyond() {
            return format!("faster than what was measured by itself here allows, {}", share.limit().text());
        }
        share.explanation()
    };
    let all: Vec<String> = figures.chain(limit.map(told)).collect();
    (!all.is_empty()).then(|| all.join(" · "))
}

/// What a reader must know of the conditions before the figures.
pub(crate) fn warnings(run: &Run) -> Vec<String> {
    let mut list = Vec::new();
    for device in run.devices.iter().filter(|device| device.software) {
        list.push(format!("{} is emulated on the processor; its figures say nothing of a GPU", device.id));
    }
    if run.conditions.power_source == PowerSource::Battery {
        list.push("the machine runs on battery, which may lower its clocks".to_owned());
    }
    if run.conditions.low_power_mode == Some(true) {
        list.push("low-power mode is on, which lowers the clocks".to_owned());
    }
    if !run.app.optimised {
        list.push("this is a build without optimisation; use a release build for figures that count".to_owned());
    }
    if run.state == RunState::Cancelled {
        let done = run.entries.iter().filter(|entry| entry.outcome == Outcome::Done).count();
        list.push(format!("the run was cancelled; {done} of {} entries were measured before", run.entries.len()));
    }
    if run.is_published() {
        list.push("published figures, no samples: their spread, checks and conditions are not known".to_owned());
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::frameworks::tests::document;

    #[test]
    fn a_note_of_many_entries_stands_once_and_their_reasons_stand_each() {
        let mut run = document();
        for entry in &mut run.entries {
            entry.notes.push("Said of all.".to_owned());
        }
        let lines = footnotes(&run, true);
        let said: Vec<&String> = lines.iter().filter(|line| line.ends_with("Said of all.")).collect();
        let more = run.entries.len() - 3;
        assert_eq!(said.len(), 1, "{lines:?}");
        assert!(
            said[0].starts_with("PyTorch, GEMM f32 n = 1024; ") && said[0].contains(&format!(" and {more} more: "))
        );
        assert!(lines.iter().any(|line| line.contains("unsupported: llama.cpp trains no adapters")));
        assert_eq!(all_notes(&run, true).len(), 1);
    }
}
