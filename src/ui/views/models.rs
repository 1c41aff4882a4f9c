//! Which language models can be run here?

use eframe::egui::{Align, Label, Layout, RichText, ScrollArea, Sides, TextEdit, Ui, Vec2, WidgetInfo};
use egui_extras::{Column, TableBuilder, TableRow};

use crate::{
    run::{ListedModel, ModelForm},
    ui::{
        action::Action,
        rows::{NONE, Tone, capitalised},
        state::{Download, DownloadState, State},
        theme::{self, Tokens, space},
        widgets::{Named, action_button, bar, card, empty},
    },
    units::{Quantity, Unit, number, percent},
    workload::Origin,
};

const ROW: f32 = 30.0;

/// Narrower than this, the parameters and the size of the files are left out.
const WIDE: f32 = 760.0;

/// What is written in the fields. The token is kept nowhere else.
#[derive(Default)]
pub(in crate::ui) struct Forms {
    /// What is typed and opened in the Compare view.
    pub(in crate::ui) compare: super::compare::Forms,
    /// What the explanations remember.
    pub(in crate::ui) explain: super::explain::Page,
    /// What the report remembers.
    pub(in crate::ui) report: super::report::Page,
    /// What is being written about a saved run.
    pub(in crate::ui) runs: super::history::Words,
    /// A file or folder to add.
    pub(in crate::ui) path: String,
    /// A model to download.
    pub(in crate::ui) asked: String,
    /// What opens a private model.
    pub(in crate::ui) token: String,
}

/// A line of a table.
struct Line<'a> {
    model: &'a ListedModel,
    form: Result<&'a ModelForm, &'a str>,
}

/// Draws the view.
pub(in crate::ui) fn ui(ui: &mut Ui, state: &State, forms: &mut Forms, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    Sides::new().height(theme::CONTROL).shrink_left().truncate().show(
        ui,
        |ui| {
            ui.label(RichText::new("Models").heading());
            let device = state.found().iter().find(|found| found.engine == crate::engine::EngineId::Candle);
            let device = device.map(|found| format!("on {}", found.device.label())).unwrap_or_default();
            ui.label(RichText::new(device).color(tokens.dim));
        },
        |ui| action_button(ui, state, &Action::LookAgain, actions),
    );
    ui.add_space(space::S);
    let Some(models) = &state.models else { return empty(ui, "Looking for models…", |_| {}) };
    ScrollArea::vertical().id_salt("models").auto_shrink(false).show(ui, |ui| {
        ui.spacing_mut().item_spacing = Vec2::splat(space::M);
        let (presets, local): (Vec<_>, Vec<_>) = models.iter().partition(|model| model.path.is_none());
        card(ui, |ui| {
            title_ui(ui, "Presets", "True shapes with random weights: nothing to download, as fast as real ones");
            ui.scope(|ui| table_ui(ui, state, "presets", &presets, actions));
        });
        card(ui, |ui| {
            title_ui(ui, "On this machine", "Hugging Face's cache, and what was added: GGUF and safetensors");
            if local.is_empty() {
                ui.label(RichText::new("None yet; add a file or folder, or download one").color(tokens.faint));
            } else {
                ui.scope(|ui| table_ui(ui, state, "local", &local, actions));
            }
            add_ui(ui, state, forms, actions);
        });
        card(ui, |ui| download_ui(ui, state, forms, actions));
        ui.add_space(space::S);
    });
}

fn title_ui(ui: &mut Ui, title: &str, sentence: &str) {
    let dim = Tokens::of(ui).dim;
    ui.spacing_mut().item_spacing.y = space::XS;
    ui.label(theme::section(title));
    ui.spacing_mut().item_spacing.y = space::S;
    ui.add(Label::new(theme::label(sentence).color(dim)).wrap());
}

fn lines<'a>(models: &[&'a ListedModel]) -> Vec<Line<'a>> {
    let of = |model: &'a ListedModel| match &model.forms {
        Ok(forms) => forms.iter().map(|form| Line { model, form: Ok(form) }).collect::<Vec<_>>(),
        Err(reason) => vec![Line { model, form: Err(reason) }],
    };
    models.iter().copied().flat_map(of).collect()
}

fn table_ui(ui: &mut Ui, state: &State, id: &str, models: &[&ListedModel], actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    let lines = lines(models);
    let wide = ui.available_width() >= WIDE;
    // No gaps, so that the hairlines of a row meet.
    ui.spacing_mut().item_spacing = Vec2::ZERO;
    let mut table = TableBuilder::new(ui)
        .id_salt(id)
        .vscroll(false)
        .cell_layout(Layout::left_to_right(Align::Center))
        .column(Column::exact(if wide { 190.0 } else { 150.0 }).clip(true))
        .column(Column::exact(76.0).clip(true));
    if wide {
        table = table.column(Column::exact(84.0).clip(true)).column(Column::exact(84.0).clip(true));
    }
    let table = table
        .column(Column::exact(84.0).clip(true))
        .column(Column::remainder().at_least(100.0).clip(true))
        .column(Column::exact(138.0).clip(true));
    let names: &[&str] = if wide {
        &["Model", "Precision", "Parameters", "Weights", "Needs", "Fits this machine", ""]
    } else {
        &["Model", "Precision", "Needs", "Fits this machine", ""]
    };
    let table = table.header(26.0, |mut header| {
        for name in names {
            header.col(|ui| {
                ui.label(theme::label(*name).color(tokens.dim));
            });
        }
    });
    table.body(|body| {
        body.rows(ROW, lines.len(), |mut row| {
            row.set_overline(true);
            if let Some(line) = lines.get(row.index()) {
                line_ui(&mut row, state, line, wide, actions);
            }
        });
    });
}

fn line_ui(row: &mut TableRow<'_, '_>, state: &State, line: &Line<'_>, wide: bool, actions: &mut Vec<Action>) {
    let (form, name) = (line.form.ok(), short_name(line.model));
    let size = |bytes: u64| Quantity::new(bytes as f64, Unit::Byte).to_string();
    let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    row.col(|ui| {
        let hint = line.model.path.as_ref().map_or_else(|| name.clone(), |path| path.display().to_string());
        let text = RichText::new(&name).color(Tokens::of(ui).text);
        ui.set_max_width(ui.available_width() - space::S);
        ui.add(Label::new(text).truncate()).on_hover_text(hint);
    });
    text_cell(row, &or_none(form.map(|form| form.model.precision.to_string())));
    if wide {
        let parameters = form.map(|form| format!("{} × 10⁹", number(form.model.shape.parameters() as f64 / 1e9)));
        text_cell(row, &or_none(parameters));
        text_cell(row, &or_none(form.map(|form| size(form.model.weight_bytes))));
    }
    text_cell(row, &or_none(form.map(|form| size(form.needs_bytes))));
    row.col(|ui| fits_ui(ui, line));
    row.col(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| buttons_ui(ui, state, line, &name, actions));
    });
}

/// The last part of a path, or the whole name.
pub(super) fn short_name(model: &ListedModel) -> String {
    let added = model.path.as_ref().filter(|path| path.as_os_str() == model.asked.as_str());
    let last = added.and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
    last.unwrap_or_else(|| model.asked.clone())
}

/// "Yes", or why not with the numbers.
fn fits_ui(ui: &mut Ui, line: &Line<'_>) {
    let tokens = Tokens::of(ui);
    ui.set_max_width(ui.available_width() - space::S);
    let (text, colour) = match line.form {
        Ok(ModelForm { reason: None, .. }) => ("Yes".to_owned(), tokens.good),
        Ok(ModelForm { reason: Some(reason), .. }) => (format!("No: {reason}"), tokens.warn),
        Err(reason) => (capitalised(reason), tokens.bad),
    };
    ui.add(Label::new(theme::label(&text).color(colour)).truncate()).on_hover_text(text);
}

fn buttons_ui(ui: &mut Ui, state: &State, line: &Line<'_>, name: &str, actions: &mut Vec<Action>) {
    ui.spacing_mut().item_spacing.x = space::XS;
    ui.spacing_mut().button_padding = Vec2::new(space::M, 2.0);
    ui.spacing_mut().interact_size.y = 22.0;
    if let Ok(form) = line.form {
        let synthetic = form.model.origin == Origin::Synthetic;
        let precision = synthetic.then(|| form.model.precision.to_string());
        let run = Action::RunModel { asked: line.model.asked.clone(), precision };
        let hint = "Measure loading, prefill, decode and training of this model as the chosen suite does";
        let named = Named { words: "Run", name: format!("Run {name} {}", form.model.precision), hint };
        named.ui(ui, state, run, actions);
    }
    let added = line.model.path.as_ref().filter(|path| state.choices.model_paths.contains(path));
    if let Some(path) = added {
        let hint = "Take it off this list; the files stay where they are";
        let named = Named { words: "Forget", name: format!("Forget {name}"), hint };
        named.ui(ui, state, Action::ForgetPath(path.clone()), actions);
    }
}

fn text_cell(row: &mut TableRow<'_, '_>, text: &str) {
    row.col(|ui| {
        let dim = Tokens::of(ui).dim;
        ui.add(Label::new(RichText::new(text).color(dim)).truncate());
    });
}

/// A line to write in, with a name for screen readers. True when Enter was pressed in it.
fn field(ui: &mut Ui, text: &mut String, name: &str, hint: &str, width: f32) -> bool {
    let edit = TextEdit::singleline(text).hint_text(hint).desired_width(width);
    let secret = name == TOKEN;
    let response = ui.add(edit.password(secret).margin(eframe::egui::Margin::symmetric(8, 5)));
    let shown = text.clone();
    response.widget_info(|| {
        // What is secret is not read out either.
        let value = if secret { "•".repeat(shown.chars().count()) } else { shown.clone() };
        let mut info = WidgetInfo::text_edit(true, value.clone(), value, hint);
        info.label = Some(name.to_owned());
        info
    });
    response.lost_focus() && ui.input(|input| input.key_pressed(eframe::egui::Key::Enter))
}

const TOKEN: &str = "Token of Hugging Face";

/// The field for a file or folder; both can also be dropped on the window.
fn add_ui(ui: &mut Ui, state: &State, forms: &mut Forms, actions: &mut Vec<Action>) {
    ui.horizontal(|ui| {
        ui.visuals_mut().extreme_bg_color = Tokens::of(ui).ground;
        let width = (ui.available_width() - 256.0).max(120.0);
        let hint = "Path of a GGUF or safetensors file or folder; or drop it here";
        let entered = field(ui, &mut forms.path, "File or folder", hint, width - space::L);
        let named = Named { words: "Add", name: "Add file or folder".to_owned(), hint: "Show it in this list" };
        named.ui(ui, state, Action::AddModel, actions);
        action_button(ui, state, &Action::ChooseFiles, actions);
        action_button(ui, state, &Action::ChooseFolder, actions);
        if entered && state.allows(&Action::AddModel) {
            actions.push(Action::AddModel);
        }
    });
}

fn download_ui(ui: &mut Ui, state: &State, forms: &mut Forms, actions: &mut Vec<Action>) {
    title_ui(ui, "Download", "From Hugging Face into its cache, checked by checksum; what was cut off is gone on with");
    ui.horizontal(|ui| {
        ui.visuals_mut().extreme_bg_color = Tokens::of(ui).ground;
        let button = if state.downloading() { 148.0 } else { 70.0 };
        let width = ((ui.available_width() - button) / 2.0).max(120.0) - space::L - space::XS;
        let entered = field(ui, &mut forms.asked, "Model to download", "org/name, or org/name/file.gguf", width);
        field(ui, &mut forms.token, TOKEN, "Token, for private and gated models", width);
        if state.downloading() {
            action_button(ui, state, &Action::CancelDownload, actions);
        } else {
            let hint = "Load its files from huggingface.co";
            let named = Named { words: "Download", name: "Download model".to_owned(), hint };
            named.ui(ui, state, Action::Download, actions);
            if entered && state.allows(&Action::Download) {
                actions.push(Action::Download);
            }
        }
    });
    if let Some(download) = &state.download {
        progress_ui(ui, download);
    }
}

/// How far the download is, or how it ended.
fn progress_ui(ui: &mut Ui, download: &Download) {
    let tokens = Tokens::of(ui);
    let size = |bytes: u64| Quantity::new(bytes as f64, Unit::Byte).to_string();
    let share = download.done_bytes as f64 / download.total_bytes.max(1) as f64;
    let there = format!("{} of {}", size(download.done_bytes), size(download.total_bytes));
    let (text, tone) = match &download.state {
        DownloadState::Going if download.total_bytes == 0 => {
            (format!("{}: {}", download.asked, download.file), Tone::Dim)
        }
        DownloadState::Going => {
            (format!("{}: {} · {there} · {}", download.asked, download.file, percent(share)), Tone::Active)
        }
        DownloadState::Done => (format!("{} is on this machine and whole", download.asked), Tone::Good),
        DownloadState::Cancelled => {
            (format!("{}: cancelled; Download goes on where it stopped", download.asked), Tone::Dim)
        }
        DownloadState::Failed(sentence) => (capitalised(sentence), Tone::Bad),
    };
    ui.horizontal(|ui| {
        if download.state == DownloadState::Going {
            bar(ui, 120.0, share as f32, Tone::Active);
        }
        let colour = crate::ui::widgets::tone_colour(tokens, tone);
        ui.add(Label::new(theme::label(text).color(colour)).wrap());
    });
}
