//! Charts as pictures from the window: what is asked for in a small sheet, drawn and written on the background lane.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc::Receiver},
};

use eframe::egui::{
    Align, ColorImage, ComboBox, Context, DragValue, Frame, Id, Label, Layout, Modal, RichText, Role, Theme, Ui,
    WidgetInfo,
};

use super::{
    action::{Action, COPIED, View},
    background::taken,
    choosing::{self, Answer},
    comparing::{RunSource, name_of},
    exporting::write_file,
    rows::capitalised,
    state::State,
    theme::{self, Tokens, space},
};
use crate::{
    analysis::comparison::{Compared, Kind},
    chart::{Chart, Figure, compared_figure, figures, trend_figure},
    export::{self, Look, PictureFormat, PictureTheme, Pixels, picture, safe_name},
    record::Run,
    run::Runner,
};

/// Everything under way; at most one of each.
#[derive(Default)]
pub(super) struct Picturing {
    sheet: Option<Sheet>,
    drawing: Option<Receiver<Vec<Figure>>>,
    asking: Option<Receiver<Answer>>,
    writing: Option<Receiver<Result<PathBuf, String>>>,
    copying: Option<Receiver<Result<Pixels, String>>>,
}

/// The sheet while it is open.
struct Sheet {
    /// The runs as a command names them.
    named: Vec<String>,
    /// The flags that it needs beside those of the look.
    options: Vec<String>,
    /// The chart that was asked for; the first if absent or not there.
    asked: Option<Chart>,
    /// The run's charts, once they were put together.
    figures: Option<Vec<Figure>>,
    chosen: usize,
    format: PictureFormat,
    look: Look,
    /// The height of a chosen size.
    height: u32,
    /// What was written last, or why nothing was.
    told: Option<Result<PathBuf, String>>,
}

impl Sheet {
    fn figure(&self) -> Option<&Figure> {
        self.figures.as_ref()?.get(self.chosen)
    }

    fn file_name(&self) -> String {
        let chart = self.figure().map_or("chart", |figure| figure.name);
        // The run's id, whatever path it was opened from.
        let run = self.figure().and_then(|figure| figure.origins.first());
        let run = run.map_or_else(String::new, |origin| format!("{}-", safe_name(&origin.run)));
        format!("{run}{chart}.{}", self.format.id())
    }
}

/// What the charts are of: the run that is shown, the comparison, or a metric over time.
struct Subject {
    runs: Vec<Arc<Run>>,
    named: Vec<String>,
    options: Vec<String>,
    /// The chart of several runs.
    of_several: Option<Figure>,
}

impl Subject {
    /// `folder` is where saved runs lie.
    fn of(state: &State, folder: &Path) -> Option<Self> {
        if state.shows_trend() {
            let of_several = trend_figure(state.runs.shown_metric()?, state.runs.figures());
            return Some(Self { runs: Vec::new(), named: Vec::new(), options: Vec::new(), of_several });
        }
        if state.choices.view != View::Compare {
            let session = state.charted()?;
            let source = session.file.clone().map(RunSource::of);
            let name = source.map_or_else(|| session.run.id.clone(), |source| name_of(&source, folder));
            let runs = vec![Arc::new(session.run.clone())];
            return Some(Self { runs, named: vec![name], options: Vec::new(), of_several: None });
        }
        let shown = state.comparing.shown.as_ref()?;
        let runs: Vec<&Run> = shown.runs.iter().map(Arc::as_ref).collect();
        let name = |run: &Arc<Run>| {
            let own = state.comparing.chosen.iter().find(|chosen| Arc::ptr_eq(&chosen.run, run));
            own.map_or_else(|| run.id.clone(), |chosen| chosen.name.clone())
        };
        Some(Self {
            of_several: compared_figure(&shown.compared, &runs),
            named: shown.runs.iter().map(name).collect(),
            options: options(&shown.compared),
            runs: Vec::new(),
        })
    }

    fn figures(self) -> Vec<Figure> {
        self.of_several.into_iter().chain(self.runs.iter().flat_map(|run| figures(run))).collect()
    }
}

/// What `roofline chart` needs to make the same comparison.
fn options(compared: &Compared) -> Vec<String> {
    let lead = compared.sides.get(compared.baseline).and_then(|side| side.engine);
    let engines = lead.filter(|_| compared.kind == Kind::Engines).map(|lead| format!("--engines --baseline {lead}"));
    engines.into_iter().chain(compared.options.all_metrics.then(|| "--all-metrics".to_owned())).collect()
}

impl Picturing {
    /// Does what is wanted of charts as pictures. `folder` is where saved runs lie.
    pub(super) fn perform(&mut self, runner: &Runner, context: &Context, state: &State, folder: &Path, action: Action) {
        match action {
            Action::ExportChart(chart) => self.open(runner, context, Subject::of(state, folder), chart),
            Action::CopyChart(chart) => self.copy(runner, context, Subject::of(state, folder), chart),
            Action::SaveChart => self.ask(runner),
            Action::SaveChartTo(path) => self.write(runner, path),
            _ => {}
        }
    }

    /// Whether anything is under way that ends by itself.
    pub(super) const fn waits(&self) -> bool {
        self.drawing.is_some() || self.writing.is_some() || self.copying.is_some()
    }

    /// Opens the sheet for a chart of what is shown: the one asked for, else the one last under the pointer, else the first.
    fn open(&mut self, runner: &Runner, context: &Context, subject: Option<Subject>, asked: Option<Chart>) {
        let Some(subject) = subject else { return };
        let look = Look { theme: ground(context), scale: 2, ..Look::default() };
        self.sheet = Some(Sheet {
            named: subject.named.clone(),
            options: subject.options.clone(),
            asked: asked.or_else(|| hovered(context)),
            figures: None,
            chosen: 0,
            format: PictureFormat::Png,
            look,
            height: 540,
            told: None,
        });
        self.drawing = Some(runner.background(move || subject.figures()));
    }

    /// Draws a chart for the clipboard.
    fn copy(&mut self, runner: &Runner, context: &Context, subject: Option<Subject>, asked: Option<Chart>) {
        let Some(subject) = subject else { return };
        let asked = asked.or_else(|| hovered(context));
        let look = Look { theme: ground(context), scale: 2, ..Look::default() };
        let work = move || {
            let mut all = subject.figures();
            let own = all.iter().position(|figure| asked.is_some_and(|chart| chart.id() == figure.name));
            let figure = (!all.is_empty()).then(|| all.swap_remove(own.unwrap_or_default()));
            let figure = figure.ok_or("there is no chart to copy: no entry of this run has a figure")?;
            export::pixels(&figure, &look).map_err(|error| error.to_string())
        };
        self.copying = Some(runner.background(work));
    }

    /// Asks in the system's dialog where the picture goes; it asks before it replaces a file.
    fn ask(&mut self, runner: &Runner) {
        let Some(sheet) = self.sheet.as_ref().filter(|_| self.asking.is_none()) else { return };
        let dialog = rfd::AsyncFileDialog::new().set_title("Export chart").set_file_name(sheet.file_name());
        let dialog = match sheet.format {
            PictureFormat::Svg => dialog.add_filter("SVG", &["svg"]),
            PictureFormat::Png => dialog.add_filter("PNG", &["png"]),
        };
        self.asking = Some(choosing::wait(runner, choosing::single(dialog.save_file())));
    }

    /// Writes the picture that the sheet describes to a file, over one that is there.
    fn write(&mut self, runner: &Runner, path: PathBuf) {
        let Some((sheet, figure)) = self.sheet.as_ref().and_then(|sheet| Some((sheet, sheet.figure()?.clone()))) else {
            return;
        };
        let (look, named, options) = (sheet.look, sheet.named.clone(), sheet.options.clone());
        let format = format_of(&path).unwrap_or(sheet.format);
        let work = move || {
            let bytes = picture(&figure, format, &look, &named, &options).map_err(|error| error.to_string())?;
            write_file(&path, &bytes)?;
            Ok(path)
        };
        self.writing = Some(runner.background(work));
    }

    /// Takes over what has arrived: a path that was chosen is returned, to write to.
    pub(super) fn poll(&mut self, context: &Context, state: &mut State) -> Option<PathBuf> {
        if let (Some(Ok(figures)), Some(sheet)) = (taken(&mut self.drawing), &mut self.sheet) {
            let asked = |figure: &Figure| sheet.asked.is_some_and(|chart| chart.id() == figure.name);
            sheet.chosen = figures.iter().position(asked).unwrap_or_default();
            sheet.figures = Some(figures);
        }
        match taken(&mut self.copying) {
            Some(Ok(Ok(pixels))) => {
                let size = [pixels.width as usize, pixels.height as usize];
                context.copy_image(ColorImage::from_rgba_unmultiplied(size, &pixels.rgba));
                state.said = Some(COPIED);
            }
            Some(Ok(Err(why))) => state.warn(&why),
            Some(Err(())) => state.warn("the chart could not be copied; try again"),
            None => {}
        }
        let told = match taken(&mut self.writing) {
            Some(Ok(told)) => Some(told),
            Some(Err(())) => Some(Err("the chart could not be drawn; try again".to_owned())),
            None => None,
        };
        if told.is_some() {
            match (&mut self.sheet, told) {
                (Some(sheet), told) => sheet.told = told,
                (None, Some(Err(why))) => state.warn(&why),
                (None, _) => {}
            }
        }
        taken(&mut self.asking)?.ok()?.paths(state).pop()
    }

    /// Draws the sheet, if it is open.
    pub(super) fn ui(&mut self, ui: &Ui, actions: &mut Vec<Action>) {
        let busy = self.writing.is_some() || self.asking.is_some();
        let Some(sheet) = &mut self.sheet else { return };
        let modal = Modal::new(Id::unique("export-chart")).backdrop_color(Tokens::of(ui).veil);
        let modal = modal.frame(Frame::popup(ui.style()).inner_margin(space::L as i8));
        let response = modal.show(ui.ctx(), |ui| sheet_ui(ui, sheet, busy, actions));
        if response.inner || response.should_close() {
            self.sheet = None;
        }
    }
}

/// The choices; true when it is to be closed.
fn sheet_ui(ui: &mut Ui, sheet: &mut Sheet, busy: bool, actions: &mut Vec<Action>) -> bool {
    let tokens = Tokens::of(ui);
    ui.set_width(380.0);
    ui.spacing_mut().item_spacing.y = space::S;
    // What is chosen is quiet: the solid accent belongs to the primary button.
    ui.visuals_mut().selection.bg_fill = tokens.line;
    ui.visuals_mut().selection.stroke.color = tokens.text;
    ui.label(theme::section("Export chart"));
    match &sheet.figures {
        None => drop(ui.label(RichText::new("Putting the charts together…").color(tokens.dim))),
        Some(figures) if figures.is_empty() => {
            ui.label(RichText::new("This run has no chart yet: no entry of it has a figure").color(tokens.dim));
        }
        Some(figures) => choices_ui(ui, figures, &mut sheet.chosen),
    }
    row_ui(ui, "Format", |ui| {
        ui.selectable_value(&mut sheet.format, PictureFormat::Png, "PNG");
        ui.selectable_value(&mut sheet.format, PictureFormat::Svg, "SVG");
    });
    let dots = sheet.format == PictureFormat::Png;
    row_ui(ui, "Scale", |ui| {
        ui.add_enabled_ui(dots, |ui| {
            for scale in 1..=Look::SCALE_MAX {
                ui.selectable_value(&mut sheet.look.scale, scale, format!("{scale}×"));
            }
        });
    });
    row_ui(ui, "Theme", |ui| {
        ui.selectable_value(&mut sheet.look.theme, PictureTheme::Light, "Light");
        ui.selectable_value(&mut sheet.look.theme, PictureTheme::Dark, "Dark");
    });
    size_ui(ui, sheet);
    told_ui(ui, sheet, actions);
    ui.horizontal(|ui| {
        let ready = sheet.figure().is_some() && !busy;
        let words = theme::medium("Save…").color(tokens.on_accent);
        let save = eframe::egui::Button::new(words).fill(tokens.accent);
        if ui.add_enabled(ready, save).on_hover_text("Choose where the picture goes").clicked() {
            actions.push(Action::SaveChart);
        }
        ui.button("Close").clicked()
    })
    .inner
}

fn choices_ui(ui: &mut Ui, figures: &[Figure], chosen: &mut usize) {
    let title = |place: usize| figures.get(place).map_or("", |figure| figure.title.as_str());
    let combo = ComboBox::from_id_salt("chart").width(300.0).selected_text(title(*chosen));
    let response = combo.show_ui(ui, |ui| {
        for place in 0..figures.len() {
            ui.selectable_value(chosen, place, title(place));
        }
    });
    let words = format!("Chart: {}", title(*chosen));
    response.response.widget_info(|| WidgetInfo::labeled(Role::ComboBox, true, &words));
}

fn row_ui(ui: &mut Ui, name: &str, add: impl FnOnce(&mut Ui)) {
    let dim = Tokens::of(ui).dim;
    ui.horizontal(|ui| {
        let size = eframe::egui::vec2(64.0, theme::CONTROL);
        ui.allocate_ui_with_layout(size, Layout::left_to_right(Align::Center), |ui| {
            ui.set_width(size.x);
            ui.label(RichText::new(name).color(dim));
        });
        add(ui);
    });
}

fn size_ui(ui: &mut Ui, sheet: &mut Sheet) {
    row_ui(ui, "Size", |ui| {
        let mut free = sheet.look.height.is_none();
        ui.selectable_value(&mut free, true, "As needed")
            .on_hover_text("960 points wide, and as high as the chart needs");
        ui.selectable_value(&mut free, false, "Chosen").on_hover_text("Width and height in points");
        if free {
            (sheet.look.width, sheet.look.height) = (Look::WIDTH, None);
            return;
        }
        for (name, side) in [("Width", &mut sheet.look.width), ("Height", &mut sheet.height)] {
            let value = DragValue::new(side).range(Look::SIDE_MIN..=Look::SIDE_MAX);
            let response = ui.add(value).on_hover_text(format!("{name} in points"));
            let now = f64::from(*side);
            response
                .widget_info(|| WidgetInfo { value: Some(now), ..WidgetInfo::labeled(Role::SpinButton, true, name) });
        }
        sheet.look.height = Some(sheet.height);
    });
}

fn told_ui(ui: &mut Ui, sheet: &Sheet, actions: &mut Vec<Action>) {
    let tokens = Tokens::of(ui);
    match &sheet.told {
        None => {}
        Some(Err(why)) => drop(ui.add(Label::new(RichText::new(capitalised(why)).color(tokens.bad)).wrap())),
        Some(Ok(path)) => {
            ui.add(Label::new(RichText::new(format!("Written: {}", path.display())).color(tokens.dim)).wrap());
            if let Some(folder) = path.parent().filter(|_| ui.button("Show folder").clicked()) {
                actions.push(Action::OpenFolder(folder.to_owned()));
            }
        }
    }
}

/// A chart with its menu: what is added is drawn as it is, and a click with the other button opens the menu.
pub(super) fn with_menu(ui: &mut Ui, chart: Chart, actions: &mut Vec<Action>, add: impl FnOnce(&mut Ui)) {
    let response = ui.scope(add).response;
    let words = format!("Chart {}", chart.id());
    response.widget_info(|| WidgetInfo::labeled(Role::Group, true, &words));
    if response.container_contains_pointer() {
        ui.data_mut(|data| data.insert_temp(Id::unique(HOVERED), chart));
    }
    response.container_context_menu(|ui| {
        if ui.button("Export chart…").clicked() {
            actions.push(Action::ExportChart(Some(chart)));
            ui.close();
        }
        if ui.button("Copy chart as picture").clicked() {
            actions.push(Action::CopyChart(Some(chart)));
            ui.close();
        }
    });
}

/// A table with its menu: `text` gives it as tab-separated values, or as Markdown.
pub(super) fn with_table_menu(
    ui: &mut Ui,
    actions: &mut Vec<Action>,
    text: impl Fn(TableText) -> String,
    add: impl FnOnce(&mut Ui, &mut Vec<Action>),
) {
    let response = ui.scope(|ui| add(ui, actions)).response;
    response.container_context_menu(|ui| {
        for (words, form) in [("Copy table", TableText::Tsv), ("Copy table as Markdown", TableText::Markdown)] {
            if ui.button(words).clicked() {
                actions.push(Action::CopyText(text(form)));
                ui.close();
            }
        }
    });
}

/// As what a table is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableText {
    /// For a spreadsheet.
    Tsv,
    /// For a document.
    Markdown,
}

const HOVERED: &str = "chart-last-hovered";

/// The chart that was last under the pointer.
fn hovered(context: &Context) -> Option<Chart> {
    context.data(|data| data.get_temp(Id::unique(HOVERED)))
}

fn ground(context: &Context) -> PictureTheme {
    match context.theme() {
        Theme::Dark => PictureTheme::Dark,
        Theme::Light => PictureTheme::Light,
    }
}

/// The format that a file's name asks for.
fn format_of(path: &Path) -> Option<PictureFormat> {
    match path.extension()?.to_string_lossy().to_lowercase().as_str() {
        "svg" => Some(PictureFormat::Svg),
        "png" => Some(PictureFormat::Png),
        _ => None,
    }
}
