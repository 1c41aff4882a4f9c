//! What was measured before?

use eframe::egui::{Align, Button, Label, Layout, Pos2, Rect, RichText, Sense, Ui, UiBuilder};
use egui_extras::{Column, TableBuilder, TableRow};
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    record::{Listed, RunHeader},
    ui::{
        action::Action,
        rows::{NONE, capitalised},
        session::run_state_word,
        state::State,
        theme::{self, Tokens, space},
        widgets::{card, empty, primary_button},
    },
    units::{Quantity, Unit, duration},
};

const ROW: f32 = 30.0;

/// Narrower than this, only the figures and the state fit.
const WIDE: f32 = 780.0;

/// A moment for people, in the local time zone.
pub(super) fn when(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%-d %b %Y %H:%M").to_string()
}

/// Draws the view.
pub(in crate::ui) fn ui(ui: &mut Ui, state: &State, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let listed = state.history.as_deref();
    ui.horizontal(|ui| {
        ui.set_height(theme::CONTROL);
        ui.label(RichText::new("History").heading());
        let count = listed.map_or(0, <[Listed]>::len);
        if count > 0 {
            let runs = if count == 1 { "1 saved run".to_owned() } else { format!("{count} saved runs") };
            ui.label(RichText::new(runs).color(tokens.dim));
        }
    });
    ui.add_space(space::S);
    match listed {
        None => empty(ui, "Reading the saved runs…", |_| {}),
        Some([]) if state.running() => empty(ui, "The first run goes on; it stands here when it has ended", |_| {}),
        Some([]) => empty(ui, "Nothing was measured yet; each run is kept here", |ui| {
            primary_button(ui, state, &Action::RunSuite, actions);
        }),
        Some(listed) => {
            card(ui, |ui| table_ui(ui, listed, actions));
            ui.add_space(space::M);
        }
    }
}

fn table_ui(ui: &mut Ui, listed: &[Listed], actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    // No gaps, so that the hairlines of a row meet.
    ui.spacing_mut().item_spacing = eframe::egui::Vec2::ZERO;
    ui.visuals_mut().widgets.hovered.bg_fill = tokens.hover;
    let wide = ui.available_width() >= WIDE;
    let height = (ui.available_height() - space::XL).max(ROW * 3.0);
    let table = TableBuilder::new(ui)
        .id_salt("history")
        .sense(Sense::CLICK)
        .max_scroll_height(height)
        .auto_shrink([false, true])
        .cell_layout(Layout::left_to_right(Align::Center))
        .column(Column::exact(146.0).clip(true))
        .column(Column::exact(80.0).clip(true))
        .column(Column::remainder().at_least(100.0).clip(true))
        .columns(Column::exact(116.0), 2)
        .columns(Column::exact(84.0), if wide { 3 } else { 1 });
    let names: &[&str] = if wide {
        &["Started", "Suite", "Device", "Best GEMM", "Bandwidth", "State", "Done", "Took"]
    } else {
        &["Started", "Suite", "Device", "Best GEMM", "Bandwidth", "State"]
    };
    let table = table.header(26.0, |mut header| {
        for name in names {
            header.col(|ui| {
                ui.label(theme::label(*name).color(tokens.dim));
            });
        }
    });
    table.body(|body| {
        body.rows(ROW, listed.len(), |mut line| {
            line.set_overline(true);
            match listed.get(line.index()) {
                Some(Listed::Run(header)) => run_row(&mut line, header, wide, actions),
                Some(Listed::Unreadable { path, reason }) => {
                    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                    unreadable_row(&mut line, &name, &capitalised(reason), if wide { 5 } else { 3 });
                }
                None => {}
            }
        });
    });
}

fn run_row(line: &mut TableRow<'_, '_>, header: &RunHeader, wide: bool, actions: &mut Vec<Action>) {
    let mut clicked = false;
    let started = when(header.started_at);
    line.col(|ui| {
        ui.spacing_mut().button_padding.x = 0.0;
        let words = RichText::new(&started).color(Tokens::of(ui).text);
        let name = format!("Open {started}, {}, {}", header.suite, header.device);
        let response = ui.add(Button::new(words).frame(false)).on_hover_text("Show this run");
        response.widget_info(|| eframe::egui::WidgetInfo::labeled(eframe::egui::Role::Button, true, &name));
        clicked = response.clicked();
    });
    let quantity = |value: Option<f64>, unit| value.map_or(NONE.to_owned(), |v| Quantity::new(v, unit).to_string());
    let (done, all) = header.done;
    text_cell(line, &capitalised(&header.suite), false);
    text_cell(line, &header.device, false);
    text_cell(line, &quantity(header.best_flops, Unit::FlopPerSecond), true);
    text_cell(line, &quantity(header.best_bandwidth, Unit::BytePerSecond), true);
    text_cell(line, run_state_word(header.state), false);
    if wide {
        text_cell(line, &format!("{done} of {all}"), false);
        text_cell(line, &header.duration_s.map_or(NONE.to_owned(), duration), false);
    }
    if clicked || line.response().clicked() {
        actions.push(Action::OpenRun(header.path.clone()));
    }
}

/// The reason takes the place of the device and of all that follows. It is drawn with the last cell, over the empty ones.
fn unreadable_row(line: &mut TableRow<'_, '_>, name: &str, reason: &str, rest: usize) {
    line.col(|ui| {
        ui.add(Label::new(RichText::new(name).color(Tokens::of(ui).dim)).truncate());
    });
    line.col(|ui| {
        ui.label(theme::label("Unreadable").color(Tokens::of(ui).warn));
    });
    let mut start = None;
    for place in 0..=rest {
        line.col(|ui| {
            let cell = ui.max_rect();
            let left = *start.get_or_insert(cell.left());
            if place == rest {
                let room = Rect::from_min_max(Pos2::new(left, cell.top()), cell.max);
                let layout = Layout::left_to_right(Align::Center);
                let mut wide = ui.new_child(UiBuilder::new().max_rect(room).layout(layout));
                wide.set_clip_rect(room);
                wide.add(Label::new(theme::label(reason).color(Tokens::of(&wide).dim)).truncate());
            }
        });
    }
}

fn text_cell(line: &mut TableRow<'_, '_>, text: &str, number: bool) {
    line.col(|ui| {
        ui.set_max_width(ui.available_width() - space::S);
        let tokens = Tokens::of(ui);
        let words = RichText::new(text).color(if number { tokens.text } else { tokens.dim });
        ui.add(Label::new(if number { words.monospace().size(12.0) } else { words }).truncate());
    });
}
