//! Why is it so fast, and how much faster could it be?

mod entries;
mod fit;
mod labels;
mod meanings;
mod roofline;

use std::collections::BTreeSet;

use eframe::egui::{Label, RichText, ScrollArea, Sides, Ui, Vec2};

use super::frameworks::fast_paths_ui;
use crate::{
    analysis::{
        Roofline,
        explain::{Explainer, Explanation, Fit, fits},
        rooflines,
    },
    chart::roofline_chart,
    export::{Recommendation, recommendations},
    record::Run,
    ui::{
        action::Action,
        lazy::Heights,
        picturing::with_menu,
        session::Session,
        state::State,
        theme::{self, Tokens, space},
        widgets::{Named, action_button, card, empty, primary_button},
    },
};

/// What is remembered of the view between frames.
#[derive(Debug, Default)]
pub(in crate::ui) struct Page {
    known: Option<(Key, Known)>,
    heights: Heights,
    /// Meanings that are open, by their place.
    open: BTreeSet<usize>,
}

/// What the answers were worked out from.
type Key = (String, usize, usize);

/// The answers.
#[derive(Debug)]
struct Known {
    charts: Vec<Roofline>,
    explanations: Vec<Explanation>,
    fits: Vec<Fit>,
    recommendations: Vec<Recommendation>,
}

impl Page {
    /// Works the answers out, unless they are there.
    fn know(&mut self, session: &Session) {
        let key = (session.run.id.clone(), session.progress().0, session.run.entries.len());
        if self.known.as_ref().is_none_or(|(known, _)| *known != key) {
            self.known = Some((key, Known::of(session)));
            self.heights = Heights::default();
        }
    }
}

impl Known {
    fn of(session: &Session) -> Self {
        let run: &Run = &session.run;
        Self {
            charts: rooflines(run),
            explanations: Explainer::of(run).all(),
            fits: fits(run),
            recommendations: recommendations(run, &session.comparison),
        }
    }
}

/// Draws the view.
pub(in crate::ui) fn ui(ui: &mut Ui, state: &State, page: &mut Page, actions: &mut Vec<Action>) {
    let session = state.shown().or(state.latest.as_ref());
    header_ui(ui, state, session, actions);
    ui.add_space(space::S);
    let Some(session) = session else { return none_ui(ui, state, actions) };
    page.know(session);
    let Some((_, known)) = &page.known else { return };
    let (heights, open) = (&mut page.heights, &mut page.open);
    ScrollArea::vertical().id_salt(("explain", session.run.id.as_str())).auto_shrink(false).show(ui, |ui| {
        ui.spacing_mut().item_spacing = Vec2::splat(space::M);
        for chart in &known.charts {
            match roofline_chart(&known.charts, chart) {
                Some(name) => {
                    with_menu(ui, name, actions, |ui| card(ui, |ui| roofline::ui(ui, session, chart)));
                }
                None => card(ui, |ui| roofline::ui(ui, session, chart)),
            }
        }
        if !session.comparison.fast_paths.is_empty() {
            card(ui, |ui| {
                ui.label(theme::section("Matrix units"));
                fast_paths_ui(ui, &session.comparison);
            });
        }
        if !known.recommendations.is_empty() {
            card(ui, |ui| recommendations_ui(ui, state, &known.recommendations, actions));
        }
        card(ui, |ui| meanings::ui(ui, open));
        if !known.fits.is_empty() {
            card(ui, |ui| fit::ui(ui, &known.fits));
        }
        card(ui, |ui| entries::ui(ui, session, &known.explanations, heights, actions));
        ui.add_space(space::S);
    });
}

fn header_ui(ui: &mut Ui, state: &State, session: Option<&Session>, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    Sides::new().height(theme::CONTROL).shrink_left().truncate().show(
        ui,
        |ui| {
            ui.label(RichText::new("Explain").heading());
            ui.label(RichText::new(session.map(subject).unwrap_or_default()).color(tokens.dim));
        },
        |ui| {
            if state.opened.is_some() {
                action_button(ui, state, &Action::CloseRun, actions);
            }
        },
    );
}

/// "Fans off · Apple M5 · 22 Jan 2026 12:00": the name that the run was given, what was measured, when, and what it still does.
pub(in crate::ui) fn subject(session: &Session) -> String {
    let run = &session.run;
    let name = run.about.as_ref().and_then(|about| about.name.clone());
    let going = session.live.is_some().then(|| "as far as it is measured".to_owned());
    let parts = [name, Some(run.measured()), Some(super::history::when(run.started_at)), going];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn none_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    if state.history.is_none() || state.report.reading_latest {
        return empty(ui, "Reading the latest run…", |_| {});
    }
    empty(ui, "There is no run to explain yet; measure this machine, or open one", |ui| {
        primary_button(ui, state, &Action::RunSuite, actions);
        action_button(ui, state, &Action::OpenReference, actions);
    });
}

fn recommendations_ui(ui: &mut Ui, state: &State, all: &[Recommendation], actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    ui.spacing_mut().item_spacing.y = space::XS;
    ui.label(theme::section("Recommendations"));
    let note = "From this run's figures alone; where they tie, are doubted or stand alone, nothing is recommended";
    ui.add(Label::new(theme::label(note).color(tokens.dim)).wrap());
    for (place, one) in all.iter().enumerate() {
        ui.add_space(space::XS);
        ui.add(Label::new(theme::medium(&one.title).color(tokens.text)).wrap());
        ui.add(Label::new(RichText::new(&one.text).color(tokens.text)).wrap().selectable(true));
        let Some((_, command)) = &one.command else { continue };
        ui.push_id(place, |ui| command_ui(ui, state, &one.title, command, actions));
    }
}

fn command_ui(ui: &mut Ui, state: &State, title: &str, command: &str, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let frame = eframe::egui::Frame::new().fill(tokens.ground).corner_radius(6).inner_margin(space::S as i8);
    frame.show(ui, |ui| {
        Sides::new().shrink_left().show(
            ui,
            |ui| {
                let text = RichText::new(command).monospace().color(tokens.text);
                ui.add(Label::new(text).wrap().selectable(true));
            },
            |ui| {
                let named =
                    Named { words: "Copy", name: format!("Copy the command: {title}"), hint: "Copy the command" };
                named.ui(ui, state, Action::CopyText(command.to_owned()), actions);
            },
        );
    });
}
