//! How is it shown to others? The report as it will be written, and what writes it.

use eframe::egui::{
    Align, Button, Frame, Label, Layout, Margin, RichText, ScrollArea, Sides, Ui, Vec2, containers::menu::MenuButton,
};

use super::paper::{self, Item};
use crate::{
    record::{Listed, REFERENCE, RunHeader},
    ui::{
        action::Action,
        exporting::ExportFormat,
        lazy::Heights,
        reporting::{REPORT_RUNS_MAX, ReportRun},
        rows::capitalised,
        state::State,
        theme::{self, Tokens, space},
        widgets::{Named, action_button, empty, make_room, primary_button, words_width},
    },
};

/// A name in a chip is cut where it is wider than this.
const NAME: f32 = 520.0;

/// Room beside the name in its chip, and what else there is in one that can be left out.
const CHIP_PAD: f32 = 8.0;
const AROUND: f32 = 2.0 * CHIP_PAD + space::XS + 30.0;

/// The widths of the menu's button, and of the menu.
const ADD: f32 = 80.0;
const MENU: f32 = 420.0;

/// What is remembered of the view between frames.
#[derive(Debug, Default)]
pub(in crate::ui) struct Page {
    /// The parts of the report that is drawn, and what they are of.
    items: Vec<Item>,
    of: u64,
    heights: Heights,
}

/// Draws the view.
pub(in crate::ui) fn ui(ui: &mut Ui, state: &State, page: &mut Page, actions: &mut Vec<Action>) {
    header_ui(ui, state, actions);
    runs_ui(ui, state, actions);
    ui.add_space(space::S);
    let report = &state.report;
    let waits_for_one = report.chosen.contains(&ReportRun::Shown) && state.shown().or(state.latest.as_ref()).is_none();
    if let Some(why) = &report.problem {
        return empty(ui, &capitalised(why), |_| {});
    }
    match &report.preview {
        _ if state.running() => empty(ui, "The report is made when the run has ended", |_| {}),
        _ if waits_for_one && (state.history.is_none() || state.report.reading_latest) => {
            empty(ui, "Reading the latest run…", |_| {});
        }
        _ if waits_for_one => empty(ui, "There is no run to report yet; measure this machine, or open one", |ui| {
            primary_button(ui, state, &Action::RunSuite, actions);
            action_button(ui, state, &Action::OpenReference, actions);
        }),
        None => empty(ui, "The report is being made…", |_| {}),
        Some(preview) => {
            if page.of != report.made {
                (page.items, page.of) = (paper::items(&preview.documents), report.made);
                page.heights = Heights::default();
            }
            let (items, heights) = (&page.items, &mut page.heights);
            paper_ui(ui, |ui| {
                heights.show(ui, items.len(), 26.0, |ui, place| {
                    if let Some(item) = items.get(place) {
                        paper::ui(ui, &preview.documents, *item, actions);
                    }
                });
            });
        }
    }
}

/// The sheet that the report is drawn on.
fn paper_ui(ui: &mut Ui, add: impl FnOnce(&mut Ui)) {
    let tokens = Tokens::of(ui);
    ScrollArea::vertical().id_salt("report").auto_shrink(false).show(ui, |ui| {
        let frame = Frame::new().fill(tokens.panel).stroke((1.0, tokens.line)).corner_radius(10);
        frame.inner_margin(Margin::symmetric(24, 20)).show(ui, |ui| {
            ui.set_width(ui.available_width());
            add(ui);
        });
        ui.add_space(space::S);
    });
}

fn header_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    Sides::new().height(theme::CONTROL).shrink_left().truncate().show(
        ui,
        |ui| {
            ui.label(RichText::new("Report").heading());
            let doing = match (state.report.making, state.report.writing) {
                (_, Some(format)) => format!("{} is being written…", format.title()),
                (true, None) => "It is being made…".to_owned(),
                (false, None) => String::new(),
            };
            ui.label(RichText::new(doing).color(tokens.dim));
        },
        |ui| {
            ui.spacing_mut().item_spacing.x = space::XS;
            for format in ExportFormat::ALL.into_iter().rev() {
                let allowed = state.allows(&Action::Export(format));
                let several = state.report.chosen.len() > 1 && format.is_of_one();
                let hint = if several { "Holds the data of one run: choose one" } else { format.hint() };
                let button =
                    ui.add_enabled(allowed, Button::new(format.title()).min_size(Vec2::new(0.0, theme::CONTROL)));
                let name = format!("Export as {}", format.title());
                button.widget_info(|| eframe::egui::WidgetInfo::labeled(eframe::egui::Role::Button, allowed, &name));
                if button.on_hover_text(hint).on_disabled_hover_text(hint).clicked() {
                    actions.push(Action::Export(format));
                }
            }
            ui.label(theme::label("Export as").color(tokens.dim));
        },
    );
}

/// The runs that the report is of, and a menu of others.
fn runs_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = Vec2::splat(space::XS);
        let several = state.report.chosen.len() > 1;
        let around = if several { AROUND } else { 2.0 * CHIP_PAD };
        for run in &state.report.chosen {
            let name = name_of(state, run);
            let room = NAME.min(ui.max_rect().width() - around);
            let width = words_width(ui, RichText::new(&name)).ceil().min(room);
            make_room(ui, width + around);
            let frame = Frame::new().fill(tokens.hover).corner_radius(6);
            frame.inner_margin(Margin::symmetric(CHIP_PAD as i8, 3)).show(ui, |ui| {
                ui.horizontal(|ui| {
                    ui.spacing_mut().interact_size.y = 20.0;
                    ui.scope(|ui| {
                        ui.set_max_width(width);
                        ui.add(Label::new(RichText::new(&name).color(tokens.text)).truncate());
                    });
                    if several {
                        let remove = format!("Leave out {name}");
                        let named = Named { words: "×", name: remove, hint: "Leave this run out of the report" };
                        named.ui(ui, state, Action::ReportRun(run.clone()), actions);
                    }
                });
            });
        }
        if state.report.chosen.len() < REPORT_RUNS_MAX {
            make_room(ui, ADD);
            MenuButton::from_button(Button::new("Add run")).ui(ui, |ui| menu_ui(ui, state, actions));
        }
    });
}

/// What a run is called here.
fn name_of(state: &State, run: &ReportRun) -> String {
    match run {
        ReportRun::Shown => match (state.shown(), state.latest.as_ref()) {
            (Some(session), _) => format!("Open run: {}", super::explain::subject(session)),
            (None, Some(session)) => format!("Latest run: {}", super::explain::subject(session)),
            (None, None) => "Latest run".to_owned(),
        },
        ReportRun::Reference => REFERENCE.to_owned(),
        ReportRun::Saved(path) => {
            let header = headers(state).find(|header| header.path == *path);
            let stem = || path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
            header.map_or_else(stem, header_text)
        }
    }
}

fn headers(state: &State) -> impl Iterator<Item = &RunHeader> {
    state.history.iter().flatten().filter_map(|listed| match listed {
        Listed::Run(header) => Some(header),
        Listed::Unreadable { .. } => None,
    })
}

/// The name that it was given, when it was made, what was measured and on what.
fn header_text(header: &RunHeader) -> String {
    let device = header.device.split_whitespace().collect::<Vec<_>>().join(" ");
    let parts = [super::history::when(header.started_at), capitalised(&header.suite), device];
    header.about.name.iter().cloned().chain(parts).collect::<Vec<_>>().join(" · ")
}

/// Runs that can be added; of ten thousand only those in sight are drawn.
fn menu_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let mut all: Vec<ReportRun> = vec![ReportRun::Shown, ReportRun::Reference];
    all.extend(headers(state).map(|header| ReportRun::Saved(header.path.clone())));
    all.retain(|run| !state.report.chosen.contains(run));
    ui.set_width(MENU);
    ScrollArea::vertical().max_height(320.0).show_rows(ui, theme::CONTROL, all.len(), |ui, rows| {
        for run in all.get(rows).into_iter().flatten() {
            let name = name_of(state, run);
            let button = Button::new(&name).truncate().min_size(Vec2::new(ui.available_width(), theme::CONTROL));
            if ui.add(button.frame_when_inactive(false)).clicked() {
                actions.push(Action::ReportRun(run.clone()));
                ui.close();
            }
        }
    });
}

/// Where the last export went, over every view until it is dismissed.
pub(in crate::ui) fn written_ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let Some(path) = &state.report.written else { return };
    let frame = Frame::new().fill(tokens.panel).stroke((1.0, tokens.good)).corner_radius(8);
    frame.inner_margin(Margin::symmetric(12, 6)).show(ui, |ui| {
        Sides::new().shrink_left().show(
            ui,
            |ui| {
                let text = format!("Written: {}", path.display());
                ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                    ui.add(Label::new(RichText::new(text).color(tokens.good)).wrap().selectable(true));
                });
            },
            |ui| {
                if ui.button("Dismiss").on_hover_text("Close this message").clicked() {
                    actions.push(Action::DismissExport);
                }
                let folder = if path.is_dir() { Some(path.as_path()) } else { path.parent() };
                let show = ui.button("Show in file manager").on_hover_text("Open the folder that it is in");
                if let Some(folder) = folder.filter(|_| show.clicked()) {
                    actions.push(Action::OpenFolder(folder.to_owned()));
                }
            },
        );
    });
}
