//! Opening the window.

use std::path::{Path, PathBuf};

use eframe::{
    NativeOptions, Renderer,
    egui::{Context, IconData, ViewportBuilder, ViewportCommand},
};

use super::{action::Action, app::App, state::Choices};
use crate::{
    engine::{Engine, Surroundings},
    record::Store,
};

/// Why there is no window.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no screen to open it on.
    #[error("no window could be opened: there is no screen that can be reached; use `roofline run` without one")]
    NoScreen,
    /// Nothing can draw it.
    #[error(
        "no window could be drawn ({0}); install a Vulkan driver, such as mesa-vulkan-drivers, or use `roofline run`"
    )]
    NoGraphics(String),
    /// The program could not start its threads.
    #[error("the window could not be started ({0})")]
    Start(String),
}

/// Where models come from.
#[derive(Default)]
pub struct Models {
    /// The folder of Hugging Face's cache.
    pub hub: Option<PathBuf>,
    /// What opens private models, where the window isn't told.
    pub token: Option<String>,
    /// The server, where it is not Hugging Face's own.
    pub endpoint: Option<String>,
}

/// Opens the window, on a saved run if one is named, and returns when it was closed. Choices and saved runs are kept in
/// `data_folder`; engines outside the program are looked for in `here`.
pub fn open(
    data_folder: &Path,
    engines: Vec<Box<dyn Engine>>,
    run: Option<PathBuf>,
    models: Models,
    here: Surroundings,
) -> Result<(), OpenError> {
    let options = NativeOptions {
        viewport: viewport(),
        renderer: Renderer::Wgpu,
        persist_window: true,
        persistence_path: Some(data_folder.join("window.ron")),
        ..NativeOptions::default()
    };
    let store = Store::at(data_folder);
    let create = move |creation: &eframe::CreationContext<'_>| {
        let choices = creation.storage.and_then(|storage| eframe::get_value::<Choices>(storage, eframe::APP_KEY));
        let mut app = App::new(&creation.egui_ctx, engines, store, choices.unwrap_or_default())?;
        app.set_models(models);
        app.set_surroundings(here);
        close_on_signal(&creation.egui_ctx);
        if let Some(run) = run {
            app.perform(&creation.egui_ctx, Action::OpenRun(run));
        }
        Ok(Box::new(app) as Box<dyn eframe::App>)
    };
    eframe::run_native("Roofline", options, Box::new(create)).map_err(|error| explain(&error))
}

/// A signal to end closes the window as its button does: a run is cancelled and saved, choices are kept.
fn close_on_signal(context: &Context) {
    let context = context.clone();
    // Without the handler, the signal ends the program at once; finished entries are on the disk all the same.
    ctrlc::set_handler(move || {
        context.send_viewport_cmd(ViewportCommand::Close);
        context.request_repaint();
    })
    .ok();
}

fn explain(error: &eframe::Error) -> OpenError {
    match error {
        eframe::Error::Wgpu(error) => OpenError::NoGraphics(error.to_string()),
        eframe::Error::Winit(_) | eframe::Error::WinitEventLoop(_) => OpenError::NoScreen,
        eframe::Error::AppCreation(error) => OpenError::Start(error.to_string()),
    }
}

fn viewport() -> ViewportBuilder {
    let builder = ViewportBuilder::default()
        .with_title("Roofline")
        .with_app_id("roofline")
        .with_inner_size([1200.0, 780.0])
        .with_min_inner_size([900.0, 600.0]);
    let builder = match icon() {
        Some(icon) => builder.with_icon(icon),
        None => builder,
    };
    // The navigation reaches the top of the window, as in the system's own programs.
    #[cfg(target_os = "macos")]
    let builder = builder.with_fullsize_content_view(true).with_titlebar_shown(false).with_title_shown(false);
    builder
}

/// The window's icon; the bundle brings its own on macOS.
fn icon() -> Option<IconData> {
    if cfg!(target_os = "macos") {
        return None;
    }
    eframe::icon_data::from_png_bytes(include_bytes!("../../assets/icon.png")).ok()
}
