//! The table of saved runs: only the rows in sight are drawn.

use eframe::egui::{
    Align, Button, Label, Layout, PointerButton, Pos2, Rect, Response, RichText, Role, Sense, Ui, UiBuilder, Vec2,
    WidgetInfo,
};
use egui_extras::{Column, TableBuilder, TableRow};

use super::{file_name, when};
use crate::{
    record::{Listed, RunHeader, Sort},
    ui::{
        action::Action,
        listing::{Pick, RunsAction},
        rows::{NONE, capitalised},
        session::run_state_word,
        state::State,
        theme::{self, Tokens, space},
        widgets::focus_ring,
    },
    units::{Quantity, Unit, duration},
};

const ROW: f32 = 30.0;

/// Narrower than this, the suite and the decode are left out.
const WIDE: f32 = 820.0;

/// A column: its heading, what it sorts by, and its width; the one without takes the rest.
type Heading = (&'static str, Sort, Option<f32>);

const ALL: [Heading; 8] = [
    ("Started", Sort::Started, Some(132.0)),
    ("Name", Sort::Name, None),
    ("Suite", Sort::Suite, Some(74.0)),
    ("Device", Sort::Device, Some(140.0)),
    ("Best GEMM", Sort::Gemm, Some(108.0)),
    ("Bandwidth", Sort::Bandwidth, Some(88.0)),
    ("Decode", Sort::Decode, Some(108.0)),
    ("State", Sort::State, Some(126.0)),
];

/// The columns that have room.
fn headings(width: f32) -> impl Iterator<Item = Heading> {
    let wide = width >= WIDE;
    let shown = ALL.into_iter().filter(move |(_, sort, _)| wide || !matches!(sort, Sort::Suite | Sort::Decode));
    // The device's name is cut before the run's own.
    shown.map(move |(name, sort, width)| (name, sort, if sort == Sort::Device && !wide { Some(96.0) } else { width }))
}

/// Draws it, as high as there is room.
pub(super) fn ui(ui: &mut Ui, state: &State, listed: &[Listed], height: f32, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let shown = state.runs.shown();
    if shown.is_empty() {
        ui.label(RichText::new("No saved run fits; look for other words, or show all").color(tokens.dim));
        return;
    }
    // No gaps, so that the hairlines of a row meet.
    ui.spacing_mut().item_spacing = Vec2::ZERO;
    // A picked row is quiet: the solid accent belongs to the primary button.
    ui.visuals_mut().selection.bg_fill = tokens.hover;
    ui.visuals_mut().selection.stroke.color = tokens.text;
    ui.visuals_mut().widgets.hovered.bg_fill = tokens.hover;
    let columns: Vec<Heading> = headings(ui.available_width()).collect();
    let mut table = TableBuilder::new(ui)
        .id_salt("history")
        .sense(Sense::CLICK)
        .max_scroll_height(height.max(ROW * 3.0))
        .auto_shrink([false, true])
        .cell_layout(Layout::left_to_right(Align::Center));
    for (_, _, width) in &columns {
        let column = width.map_or_else(|| Column::remainder().at_least(60.0), Column::exact);
        table = table.column(column.clip(true));
    }
    if let Some(row) = state.runs.bring {
        table = table.scroll_to_row(row, None);
    }
    let table = table.header(26.0, |mut header| {
        for (name, sort, _) in &columns {
            header.col(|ui| heading_ui(ui, state, name, *sort, actions));
        }
    });
    table.body(|body| {
        body.rows(ROW, shown.len(), |mut line| {
            line.set_overline(true);
            match shown.get(line.index()).and_then(|place| listed.get(*place)) {
                Some(Listed::Run(header)) => run_row(&mut line, state, header, &columns, actions),
                Some(one @ Listed::Unreadable { reason, .. }) => {
                    unreadable_row(&mut line, &file_name(one), &capitalised(reason), columns.len());
                }
                None => {}
            }
        });
    });
}

/// A heading sorts by its column, and the other way round when pressed again.
fn heading_ui(ui: &mut Ui, state: &State, name: &str, sort: Sort, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let query = &state.runs.query;
    let on = query.sort == sort;
    let words = theme::label(name).color(if on { tokens.text } else { tokens.dim });
    ui.spacing_mut().button_padding.x = 0.0;
    let response = ui.add(Button::new(words).frame(false));
    let order = match (on, query.reversed) {
        (false, _) => "not sorted by",
        (true, false) => "sorted",
        (true, true) => "sorted the other way round",
    };
    let label = format!("{name}, {order}");
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &label));
    focus_ring(ui, &response);
    if on {
        // A triangle of its own: fonts draw their arrows differently.
        let (center, up) = (response.rect.right_center() + Vec2::new(9.0, 0.0), query.reversed);
        let tip = if up { -3.0 } else { 3.0 };
        let corners = [Vec2::new(-3.5, -tip * 0.6), Vec2::new(3.5, -tip * 0.6), Vec2::new(0.0, tip)];
        let points = corners.map(|corner| center + corner).to_vec();
        ui.painter().add(eframe::egui::Shape::convex_polygon(points, tokens.dim, eframe::egui::Stroke::NONE));
    }
    if response.on_hover_text("Sort by this; again for the other way round").clicked() {
        actions.push(Action::Runs(RunsAction::Sort(sort)));
    }
}

fn run_row(
    line: &mut TableRow<'_, '_>,
    state: &State,
    header: &RunHeader,
    columns: &[Heading],
    actions: &mut Vec<Action>,
) {
    let on = state.runs.picked.contains(&header.path);
    line.set_selected(on);
    let mut date = None;
    for (_, sort, _) in columns {
        match sort {
            Sort::Started => {
                line.col(|ui| date = Some(started_ui(ui, header, on)));
            }
            Sort::Name => {
                line.col(|ui| name_ui(ui, header));
            }
            other => cell(line, header, *other),
        }
    }
    let response = line.response();
    let modifiers = line_modifiers(&response);
    let how = match (modifiers.shift, modifiers.command) {
        (true, _) => Pick::Through,
        (false, true) => Pick::Toggle,
        (false, false) => Pick::Only,
    };
    // The date is a link, by the keyboard too. With Shift or Ctrl, a click on it picks as one beside it does.
    let follows = date.as_ref().is_some_and(Response::clicked);
    let is_pointed = date.as_ref().is_some_and(|date| date.clicked_by(PointerButton::Primary));
    let picks = is_pointed && how != Pick::Only;
    if follows && !picks {
        actions.push(Action::OpenRun(header.path.clone()));
    } else if response.double_clicked() && how == Pick::Only {
        // The first click may have moved the rows to make room for what is told of the run: that one is meant.
        let meant = state.runs.cursor.as_ref().unwrap_or(&header.path);
        actions.push(Action::OpenRun(meant.clone()));
    } else if picks || response.clicked() {
        actions.push(Action::Runs(RunsAction::Pick(header.path.clone(), how)));
    }
}

fn line_modifiers(response: &Response) -> eframe::egui::Modifiers {
    response.ctx.input(|input| input.modifiers)
}

/// When it was started, by which the run is opened.
fn started_ui(ui: &mut Ui, header: &RunHeader, on: bool) -> Response {
    ui.spacing_mut().button_padding.x = 0.0;
    let started = when(header.started_at);
    let called = header.about.name.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
    let name = format!("Open {started}{called}, {}, {}", header.suite, header.device);
    let words = RichText::new(&started).color(Tokens::of(ui).text);
    let response = ui.add(Button::new(words).frame(false)).on_hover_text("Show this run");
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, on, &name));
    focus_ring(ui, &response);
    response
}

/// The name, that it is the baseline, and its tags.
fn name_ui(ui: &mut Ui, header: &RunHeader) {
    let tokens = Tokens::of(ui);
    ui.set_max_width(ui.available_width() - space::S);
    ui.spacing_mut().item_spacing.x = space::XS;
    let about = &header.about;
    if header.pinned {
        ui.label(theme::label("baseline").color(tokens.accent_line)).on_hover_text("Others are compared with it");
    }
    if let Some(name) = &about.name {
        let label = ui.add(Label::new(RichText::new(name).color(tokens.text)).truncate());
        if let Some(note) = &about.note {
            label.on_hover_text(note);
        }
    }
    if !about.tags.is_empty() {
        let tags: Vec<String> = about.tags.iter().map(|tag| format!("#{tag}")).collect();
        ui.add(Label::new(theme::label(tags.join(" ")).color(tokens.dim)).truncate());
    }
    if about.name.is_none()
        && let Some(note) = &about.note
    {
        let first = note.lines().next().unwrap_or_default();
        ui.add(Label::new(theme::label(first).color(tokens.faint)).truncate()).on_hover_text(note);
    }
}

fn cell(line: &mut TableRow<'_, '_>, header: &RunHeader, sort: Sort) {
    let quantity = |value: Option<f64>, unit| value.map_or(NONE.to_owned(), |v| Quantity::new(v, unit).to_string());
    let text = match sort {
        Sort::Suite => capitalised(&header.suite),
        Sort::Device => header.device.clone(),
        Sort::Gemm => quantity(header.best_flops, Unit::FlopPerSecond),
        Sort::Bandwidth => quantity(header.best_bandwidth, Unit::BytePerSecond),
        Sort::Decode => quantity(header.best_decode, Unit::TokenPerSecond),
        Sort::Took => header.duration_s.map_or(NONE.to_owned(), duration),
        Sort::Started | Sort::Name | Sort::State => {
            let (done, all) = header.done;
            format!("{}, {done} of {all}", run_state_word(header.state))
        }
    };
    let number = matches!(sort, Sort::Gemm | Sort::Bandwidth | Sort::Decode);
    line.col(|ui| {
        ui.set_max_width(ui.available_width() - space::S);
        let tokens = Tokens::of(ui);
        let colour = if number && text != NONE { tokens.text } else { tokens.dim };
        let words = RichText::new(text).color(colour);
        ui.add(Label::new(if number { words.monospace().size(12.0) } else { words }).truncate());
    });
}

/// The reason takes the place of all that follows. It is drawn with the last cell, over the empty ones.
fn unreadable_row(line: &mut TableRow<'_, '_>, name: &str, reason: &str, columns: usize) {
    line.col(|ui| {
        ui.add(Label::new(RichText::new(name).color(Tokens::of(ui).dim)).truncate());
    });
    line.col(|ui| {
        ui.label(theme::label("Unreadable").color(Tokens::of(ui).warn));
    });
    let rest = columns.saturating_sub(3);
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
                wide.add(Label::new(theme::label(reason).color(Tokens::of(&wide).dim)).truncate())
                    .on_hover_text(reason);
            }
        });
    }
}
