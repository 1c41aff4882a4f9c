//! The headline figures.

use eframe::egui::{RichText, Ui};

use super::run::NARROW;
use crate::{
    chart::What,
    record::Entry,
    ui::{
        rows::{NONE, Tone, row_state},
        session::Session,
        state::State,
        theme::{self, Tokens},
        widgets::{bar, card, tone_colour},
    },
    units::{Unit, duration, number, percent},
    workload::{Dtype, Workload},
};

/// One figure.
struct Stat {
    label: &'static str,
    value: String,
    unit: String,
    note: String,
    tone: Tone,
    share: Option<f32>,
}

/// Draws them four in a row, or two by two.
pub(super) fn ui(ui: &mut Ui, state: &State) {
    let figures = stats(state);
    let columns = if ui.available_width() < NARROW { 2 } else { 4 };
    for row in figures.chunks(columns) {
        ui.columns(row.len(), |parts| {
            for (part, stat) in parts.iter_mut().zip(row) {
                card(part, |ui| stat_ui(ui, stat));
            }
        });
    }
}

fn stat_ui(ui: &mut Ui, stat: &Stat) {
    let tokens = Tokens::of(ui);
    ui.spacing_mut().item_spacing.y = 3.0;
    ui.spacing_mut().interact_size.y = 0.0;
    ui.label(theme::label(stat.label).color(tokens.dim));
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        let colour = if stat.value == NONE { tokens.faint } else { tokens.text };
        ui.label(theme::value(&stat.value).color(colour));
        ui.label(RichText::new(&stat.unit).color(tokens.dim));
    });
    ui.horizontal(|ui| {
        if let Some(share) = stat.share {
            bar(ui, 56.0, share, Tone::Active);
        }
        let note = theme::label(&stat.note).color(tone_colour(tokens, stat.tone));
        ui.add(eframe::egui::Label::new(note).truncate());
    });
}

fn stats(state: &State) -> Vec<Stat> {
    let Some(session) = state.shown() else {
        let none = |label, note: &str| stat(label, NONE, "", note.to_owned());
        return vec![
            none("Best GEMM f32", "Not measured yet"),
            none("Best GEMM f16", "Not measured yet"),
            none("Best bandwidth", "Not measured yet"),
            none("Ridge point", "Best f32 rate ÷ best bandwidth"),
        ];
    };
    let of_models = session.run.entries.iter().any(|entry| entry.workload.kind().is_model());
    let of_kernels = session.run.entries.iter().any(|entry| !entry.workload.kind().is_model());
    let mut list = Vec::new();
    if of_kernels || !of_models {
        list.extend([
            best("Best GEMM f32", session.run.best_gemm(Some(Dtype::F32)), session),
            best("Best GEMM f16", session.run.best_gemm(Some(Dtype::F16)), session),
            best("Best bandwidth", session.run.best_bandwidth(), session),
            if session.live.is_some() { progress(session) } else { ridge(session) },
        ]);
    }
    if of_models {
        let tokens = |label, what| {
            // One sequence: what a person who waits for an answer sees.
            let wanted = |entry: &Entry| {
                let single = !matches!(&entry.workload, Workload::Inference(inference) if inference.batch > 1);
                single && What::of(&entry.workload) == Some(what)
            };
            best(label, session.run.best(wanted), session)
        };
        list.extend([
            tokens("Best prefill", What::Prefill),
            tokens("Best decode", What::Decode),
            tokens("Best training", What::Training),
            if session.live.is_some() && !of_kernels { progress(session) } else { first_token(session) },
        ]);
    }
    list
}

/// The shortest time to the first token.
fn first_token(session: &Session) -> Stat {
    let of = |entry: &Entry| {
        let found = entry.measurements.iter().find(|measurement| measurement.metric == "ttft")?;
        let engine = engine_of(entry, session);
        entry.headline().filter(|_| entry.is_ranked()).map(|_| (found.summary.median, engine + &entry.workload.title()))
    };
    let least = session.run.entries.iter().filter_map(of).min_by(|(a, _), (b, _)| a.total_cmp(b));
    match least {
        Some((seconds, title)) => {
            let scale = Unit::Second.scale_for(seconds);
            stat("Time to first token", &scale.number(seconds), scale.name, title)
        }
        None => stat("Time to first token", NONE, "", "Needs a prefill".to_owned()),
    }
}

fn stat(label: &'static str, value: &str, unit: &str, note: String) -> Stat {
    Stat { label, value: value.to_owned(), unit: unit.to_owned(), note, tone: Tone::Dim, share: None }
}

fn best(label: &'static str, entry: Option<&Entry>, session: &Session) -> Stat {
    let shown = entry.and_then(|entry| Some((entry, entry.headline()?)));
    let Some((entry, headline)) = shown else {
        let note = if session.live.is_some() { "Not measured yet" } else { "No result" };
        return stat(label, NONE, "", note.to_owned());
    };
    let scale = headline.unit.scale_for(headline.summary.median);
    let half = headline.summary.relative_half_width();
    let interval = half.map(|half| format!(" · ± {}", percent(half))).unwrap_or_default();
    let what = match &entry.workload {
        Workload::Bandwidth(bandwidth) => bandwidth.op.to_string(),
        Workload::Inference(inference) => format!("{} · {}", inference.title(), inference.model.name),
        Workload::Training(training) => format!("{} · {}", training.title(), training.model.name),
        other => other.parameters(),
    };
    let engine = engine_of(entry, session);
    stat(label, &scale.number(headline.summary.median), scale.name, format!("{engine}{what}{interval}"))
}

/// "PyTorch · " where several engines take part.
fn engine_of(entry: &Entry, session: &Session) -> String {
    if session.comparison.has_several() { format!("{} · ", entry.engine.title()) } else { String::new() }
}

fn progress(session: &Session) -> Stat {
    let (done, all) = session.progress();
    let current = session.live.as_ref().and_then(|live| live.current.as_ref());
    let share = current.and_then(|(index, _)| row_state(session, *index)).map_or(0.0, |state| state.share);
    let share = (done as f32 + share) / all.max(1) as f32;
    let elapsed = session.elapsed_s().map(duration).unwrap_or_default();
    Stat { share: Some(share), ..stat("Progress", &done.to_string(), &format!("of {all}"), elapsed) }
}

fn ridge(session: &Session) -> Stat {
    match session.ridge() {
        Some(ridge) => stat("Ridge point", &number(ridge), "FLOP/B", "Below it, memory is the limit".to_owned()),
        None => stat("Ridge point", NONE, "", "Needs GEMM f32 and bandwidth".to_owned()),
    }
}
