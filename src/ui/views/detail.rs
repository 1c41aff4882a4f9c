//! The details of one entry: how its figure was made, and what speaks against it.

use eframe::egui::{Align, Button, Frame, Label, Layout, Margin, Panel, RichText, ScrollArea, Sides, Ui};

use crate::{
    analysis::{
        Ceilings,
        explain::{Explainer, Explanation, Meaning},
        side_figures,
    },
    machine::Device,
    measure::{Clock, StopReason},
    record::{Entry, Load},
    ui::{
        action::Action,
        rows::{Row, Tone, capitalised, figures},
        session::Session,
        state::State,
        theme::{self, Tokens, space},
        widgets::tone_colour,
    },
    units::{duration, percent, relative_error},
    workload::ModelRef,
};

type Fact = (String, String);

/// Draws the panel under the table while an entry is selected.
pub(super) fn panel_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let Some(session) = state.shown() else { return };
    let Some((index, entry)) = session.selected.and_then(|index| Some((index, session.run.entries.get(index)?))) else {
        return;
    };
    let Some(row) = Row::of(session, &Ceilings::of(&session.run), index) else { return };
    let tokens = Tokens::of(ui);
    let frame = Frame::new().fill(tokens.ground).inner_margin(Margin { left: 0, right: 0, top: 12, bottom: 12 });
    Panel::bottom("detail").exact_size(196.0).resizable(false).frame(frame).show(ui, |ui| {
        Sides::new().show(
            ui,
            |ui| {
                ui.label(theme::section(&row.title));
                let whose = format!("{} · {}", row.parameters, whose(session, entry));
                ui.label(RichText::new(whose).color(tokens.dim));
            },
            |ui| {
                if ui.add(Button::new("Close details")).clicked() {
                    actions.push(Action::Select(None));
                }
            },
        );
        ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            let explanation = Explainer::of(&session.run).entry(index);
            sentences_ui(ui, session, &row, entry, explanation.as_ref());
            let share = explanation.and_then(|explanation| explanation.share);
            let ceiling = share.map(|share| ("Of ceiling", share.explanation()));
            let named = |(name, value): (&str, String)| (name.to_owned(), value);
            let first = figures(entry).into_iter().chain(ceiling).map(named);
            let facts: Vec<Fact> =
                first.chain(side_figures(entry)).chain(facts_of(entry).into_iter().map(named)).collect();
            columns_ui(ui, &facts);
        });
    });
}

/// "PyTorch on NVIDIA H100 80GB HBM3 · CUDA".
fn whose(session: &Session, entry: &Entry) -> String {
    let device = session.run.device(&entry.device);
    format!("{} on {}", entry.engine.title(), device.map_or_else(|| entry.device.clone(), Device::label))
}

/// What the model said beside what the others' said.
fn agreement(session: &Session, entry: &Entry) -> Vec<String> {
    let label = entry.workload.model().map(ModelRef::label);
    let of_model = session.comparison.agreement.iter().find(|agreement| Some(&agreement.model) == label.as_ref());
    let Some(found) = of_model.filter(|_| entry.fingerprint.is_some()) else { return Vec::new() };
    let all = found.parties.iter().zip(found.sentences());
    // The reference is told of everyone, the others of themselves.
    let own = |engine| engine == entry.engine || found.reference == entry.engine;
    all.filter(|(party, _)| own(party.engine)).map(|(_, sentence)| sentence).collect()
}

/// Everything that is a sentence: what bounds the figure and what its unit means, the reason, the doubts, the notes, what changes the speed.
fn sentences_ui(ui: &mut Ui, session: &Session, row: &Row, entry: &Entry, explanation: Option<&Explanation>) {
    let tokens = Tokens::of(ui);
    ui.spacing_mut().item_spacing.y = space::XS;
    let mut line = |tone: Tone, text: String| {
        let text = RichText::new(text).color(tone_colour(tokens, tone));
        ui.add(Label::new(text).wrap().selectable(true));
    };
    if let Some(explanation) = explanation.filter(|_| entry.headline().is_some()) {
        line(Tone::Active, explanation.text.clone());
        let meaning = Meaning::of(entry);
        line(Tone::Dim, format!("{}: {}", meaning.title(), meaning.text()));
    }
    if let Some(reason) = &row.state.reason {
        line(row.state.tone, capitalised(reason));
    }
    for (word, reason) in &row.marks {
        line(Tone::Warn, format!("{}: {reason}", capitalised(word)));
    }
    for note in entry.notes.iter().chain(&agreement(session, entry)) {
        line(Tone::Dim, capitalised(note));
    }
    let settings: Vec<String> = entry.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
    if !settings.is_empty() {
        line(Tone::Dim, format!("Versions and settings: {}", settings.join(", ")));
    }
}

fn columns_ui(ui: &mut Ui, facts: &[Fact]) {
    let tokens = Tokens::of(ui);
    let columns = ((ui.available_width() / 230.0) as usize).clamp(2, 4);
    for row in facts.chunks(columns) {
        ui.columns(columns, |parts| {
            for (part, (name, value)) in parts.iter_mut().zip(row) {
                part.with_layout(Layout::top_down(Align::Min), |ui| {
                    ui.spacing_mut().item_spacing.y = 1.0;
                    ui.label(theme::label(name).color(tokens.faint));
                    ui.add(Label::new(RichText::new(value).color(tokens.text)).truncate());
                });
            }
        });
    }
}

fn facts_of(entry: &Entry) -> Vec<(&'static str, String)> {
    let mut list = Vec::new();
    if let Some(headline) = entry.headline() {
        let summary = &headline.summary;
        let outliers = if summary.outliers > 0 { format!(", {} outliers", summary.outliers) } else { String::new() };
        list.push(("Samples", format!("{}{outliers}, {}", summary.count, stop_words(headline.stop))));
        list.push(("Clock", clock_words(headline.clock).to_owned()));
        if let Some(warm_up) = headline.warm_up {
            let steady = if warm_up.steady { "steady" } else { "not steady" };
            list.push(("Warm-up", format!("{}, {steady}", duration(warm_up.seconds))));
        }
    }
    let texts = [("Precision", &entry.precision), ("Kernel", &entry.variant)];
    list.extend(texts.into_iter().filter_map(|(name, text)| Some((name, text.clone()?))));
    if let Some(check) = &entry.check {
        if !check.counted {
            let error = check.relative_error.map_or("not a number".to_owned(), relative_error);
            list.push(("Relative error", format!("{error}, {:.1e} allowed", check.tolerance)));
        }
        list.push((
            "Checked",
            format!("{} {}, {}", check.compared, if check.compared == 1 { "output" } else { "outputs" }, check.method),
        ));
    }
    if let Some(canary) = entry.canary {
        let drift = canary.drift();
        let words = if drift >= 0.0 { "slower" } else { "faster" };
        list.push(("Canary after it", format!("{} {words}", percent(drift.abs()))));
    }
    if let Some(seconds) = entry.duration_s {
        list.push(("Took", duration(seconds)));
    }
    list.extend(entry.load.map(load_facts).into_iter().flatten());
    list
}

/// How busy the machine was.
fn load_facts(load: Load) -> Vec<(&'static str, String)> {
    let average = match (load.average_before, load.average_after) {
        (Some(before), Some(after)) => Some(format!("{before:.1} before, {after:.1} after")),
        (Some(one), None) | (None, Some(one)) => Some(format!("{one:.1}")),
        (None, None) => None,
    };
    let used = load.processors_used.map(|used| ("Processors used", format!("{used:.2} while it was timed")));
    average.map(|average| ("Load average", average)).into_iter().chain(used).collect()
}

const fn clock_words(clock: Clock) -> &'static str {
    match clock {
        Clock::DeviceTimestamps => "Device timestamps",
        Clock::HostWall => "Wall time of the host",
    }
}

const fn stop_words(stop: StopReason) -> &'static str {
    match stop {
        StopReason::Converged => "interval narrow enough",
        StopReason::SampleLimit => "sample limit reached",
        StopReason::TimeBudget => "time was up",
        StopReason::Single => "found once",
        StopReason::Published => "published, no samples",
    }
}
