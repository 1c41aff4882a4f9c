//! The window. The only room, beside `main`, that knows egui.
//!
//! Views read the [`State`] and return [`Action`]s; [`App::perform`] acts on them; news from the runner comes in through
//! [`State::apply`]. Nothing animates, and while something is timed the window paints only when the measuring lane asks.

mod action;
mod app;
mod background;
mod bars;
mod choosing;
mod comparer;
mod comparing;
mod engine_state;
mod exporting;
mod fetching;
mod figure;
mod keeping;
mod lazy;
mod legend;
mod librarian;
mod listing;
mod machine_text;
mod notes;
mod open;
mod palette;
mod picturing;
mod plot;
mod relative;
mod reporting;
mod rows;
mod session;
mod shell;
mod state;
pub mod theme;
mod views;
mod widgets;

pub use self::{
    action::{Action, COMMANDS, Command, EnginePath, View},
    app::App,
    comparing::{Chosen, CompareAction, CompareText, Comparing, RunSource, Shown},
    engine_state::{EngineStage, EngineWork, ListedEngine},
    exporting::ExportFormat,
    listing::{Listing, Pick, RunsAction, Undo},
    open::{Models, OpenError, open},
    reporting::{REPORT_RUNS_MAX, Report, ReportRun},
    session::{Live, Session},
    state::{Choices, Devices, Download, DownloadState, State, ThemeChoice},
};
