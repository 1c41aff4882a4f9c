//! Everything that can be done, in one table: labels, tooltips and shortcuts of buttons and the command palette.

use std::path::PathBuf;

use eframe::egui::{Context, Key, KeyboardShortcut, Modifiers, ThemePreference};
use serde::{Deserialize, Serialize};

use super::{
    comparing::{CompareAction, CompareText},
    exporting::ExportFormat,
    listing::RunsAction,
    reporting::ReportRun,
};
use crate::{chart::Chart, engine::EngineId, run::SuiteName};

/// What the person wants. Views return these; only [`super::App::perform`] acts on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Measure the chosen suite on the chosen device.
    RunSuite,
    /// Measure the chosen suite's language-model part with one model.
    RunModel {
        /// What [`crate::model::resolve`] is asked.
        asked: String,
        /// The precision of synthetic weights.
        precision: Option<String>,
    },
    /// Choose the model of the next runs; the one that suits the device if absent.
    Model(Option<String>),
    /// Add the file or folder in the field to the models.
    AddModel,
    /// Choose files to add in the system's dialog.
    ChooseFiles,
    /// Choose a folder to add in the system's dialog.
    ChooseFolder,
    /// Add this file or folder to the models.
    AddPath(PathBuf),
    /// Forget an added file or folder; it stays where it is.
    ForgetPath(PathBuf),
    /// Download the model in the field, or go on with it.
    Download,
    /// Stop the download; what is there stays, to go on later.
    CancelDownload,
    /// Stop the run.
    Cancel,
    /// Go to a view.
    Show(View),
    /// Choose a suite.
    Suite(SuiteName),
    /// Choose a device by its id; each engine's best if absent.
    Device(Option<String>),
    /// Take an engine into the next runs, or leave it out.
    UseEngine(EngineId, bool),
    /// Find out what installing an engine, or updating it, would do.
    PlanEngine(EngineId),
    /// Install what was planned.
    InstallEngine,
    /// Stop the installation.
    CancelInstall,
    /// Ask whether to remove what Roofline installed of an engine.
    AskRemoveEngine(EngineId),
    /// Remove it.
    RemoveEngine(EngineId),
    /// Look an engine over.
    CheckEngine(EngineId),
    /// Choose in the system's dialog where an engine is: its program, or the folder that it is in.
    ChooseEngine(EngineId, EnginePath),
    /// Use the first that is found again.
    ForgetEngine(EngineId),
    /// Close what is told of an engine.
    CloseEngineWork,
    /// Show a folder in the system's file manager.
    OpenFolder(PathBuf),
    /// Choose light, dark, or the system's.
    Theme(ThemePreference),
    /// Copy the results as tab-separated values.
    CopyResults,
    /// Copy the results as a Markdown table.
    CopyMarkdown,
    /// Choose how a chart is exported; the one last under the pointer if absent, else the first.
    ExportChart(Option<Chart>),
    /// Choose where the chart of the open sheet goes.
    SaveChart,
    /// Write the chart of the open sheet to this file.
    SaveChartTo(PathBuf),
    /// Copy a chart as a picture; the one last under the pointer if absent, else the first.
    CopyChart(Option<Chart>),
    /// Copy the machine's facts as text.
    CopyMachine,
    /// Copy this text.
    CopyText(String),
    /// Look for devices again.
    LookAgain,
    /// Show a saved run.
    OpenRun(PathBuf),
    /// Open the reference that comes along.
    OpenReference,
    /// Take a run into the report, or leave it out.
    ReportRun(ReportRun),
    /// Choose in the system's dialog where the report goes.
    Export(ExportFormat),
    /// Write the report there.
    ExportTo(ExportFormat, PathBuf),
    /// Close the message about where the report went.
    DismissExport,
    /// Go back from a saved run to this machine.
    CloseRun,
    /// Compare these run files and show it: several take the place of what was compared, the first is what the others are held
    /// against; a single one joins what is compared already.
    Compare(Vec<PathBuf>),
    /// Do something with what is compared.
    Comparing(CompareAction),
    /// Do something with the saved runs.
    Runs(RunsAction),
    /// Show the details of an entry, or hide them.
    Select(Option<usize>),
    /// Close the banner at this place.
    DismissBanner(usize),
    /// Open or close the command palette.
    Palette,
}

/// Said when something was put on the clipboard.
pub(super) const COPIED: &str = "Copied";

impl Action {
    /// It puts words on the clipboard.
    pub(super) const fn copies(&self) -> bool {
        let copies = matches!(self, Self::CopyResults | Self::CopyMarkdown | Self::CopyMachine | Self::CopyText(_));
        copies || matches!(self, Self::Comparing(CompareAction::Copy(_)))
    }

    /// Another run is shown from now on, or this machine's own.
    pub(super) const fn shows_a_run(&self) -> bool {
        let measures = matches!(self, Self::RunSuite | Self::RunModel { .. });
        measures || matches!(self, Self::OpenRun(_) | Self::OpenReference | Self::CloseRun)
    }

    /// It is about the report, or the runs that it is made of.
    pub(super) const fn is_of_report(&self) -> bool {
        let writes = matches!(self, Self::Export(_) | Self::ExportTo(..) | Self::DismissExport);
        writes || matches!(self, Self::OpenReference | Self::ReportRun(_))
    }
}

/// What names the place of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnginePath {
    /// Its program.
    File,
    /// The folder that it is in.
    Folder,
}

/// One screen of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum View {
    /// How fast is this machine now?
    #[default]
    Run,
    /// What was measured before?
    History,
    /// Which is faster, and is it more than noise?
    Compare,
    /// Which language models can be run here?
    Models,
    /// Which frameworks can be measured here?
    Engines,
    /// What is this machine?
    Machine,
    /// Why is it so fast, and how much faster could it be?
    Explain,
    /// How is it shown to others?
    Report,
}

impl View {
    /// Every view in the order of the navigation.
    pub const ALL: [Self; 8] = [
        Self::Run,
        Self::History,
        Self::Compare,
        Self::Models,
        Self::Engines,
        Self::Machine,
        Self::Explain,
        Self::Report,
    ];

    /// Its name.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Run => "Run",
            Self::History => "History",
            Self::Compare => "Compare",
            Self::Models => "Models",
            Self::Engines => "Engines",
            Self::Machine => "Machine",
            Self::Explain => "Explain",
            Self::Report => "Report",
        }
    }
}

/// A row of the table.
#[derive(Debug)]
pub struct Command {
    /// What it does.
    pub action: Action,
    /// The words on the button and in the palette.
    pub label: &'static str,
    /// What it does, in one sentence.
    pub tooltip: &'static str,
    /// The keys.
    pub shortcut: Option<KeyboardShortcut>,
}

const fn command(
    action: Action,
    label: &'static str,
    tooltip: &'static str,
    shortcut: Option<KeyboardShortcut>,
) -> Command {
    Command { action, label, tooltip, shortcut }
}

/// ⌘ on macOS, Ctrl elsewhere.
const fn with(key: Key) -> KeyboardShortcut {
    KeyboardShortcut::new(Modifiers::COMMAND, key)
}

/// The actions that need no further choice, in the palette's order.
pub static COMMANDS: [Command; 50] = [
    command(Action::RunSuite, "Run suite", "Measure the chosen suite on the chosen device", Some(with(Key::R))),
    command(
        Action::Cancel,
        "Cancel",
        "Stop after the current batch; entries that are done are kept",
        Some(with(Key::Period)),
    ),
    command(Action::Show(View::Run), "Show Run", "How fast is this machine now?", Some(with(Key::Num1))),
    command(Action::Show(View::History), "Show History", "What was measured before?", Some(with(Key::Num2))),
    command(
        Action::Show(View::Compare),
        "Show Compare",
        "Which is faster, and is it more than noise?",
        Some(with(Key::Num3)),
    ),
    command(Action::Show(View::Models), "Show Models", "Which language models can be run here?", Some(with(Key::Num4))),
    command(
        Action::Show(View::Engines),
        "Show Engines",
        "Which frameworks can be measured here?",
        Some(with(Key::Num5)),
    ),
    command(Action::Show(View::Machine), "Show Machine", "What is this machine?", Some(with(Key::Num6))),
    command(
        Action::Comparing(CompareAction::Shown),
        "Compare with baseline",
        "Hold the run that is shown against the baseline, or against runs that you choose then",
        Some(with(Key::D)),
    ),
    command(
        Action::Comparing(CompareAction::Pick),
        "Add runs…",
        "Choose saved runs, the reference or files to compare",
        None,
    ),
    command(
        Action::Comparing(CompareAction::ChooseFiles),
        "Add files to compare…",
        "Choose run files, or what llama-bench -o json or jsonl wrote",
        None,
    ),
    command(
        Action::Comparing(CompareAction::Copy(CompareText::Tsv)),
        "Copy comparison",
        "Copy the comparison as tab-separated values, for a spreadsheet",
        None,
    ),
    command(
        Action::Comparing(CompareAction::Copy(CompareText::Markdown)),
        "Copy comparison as Markdown",
        "Copy the comparison as a Markdown document: rows, method, what differs",
        None,
    ),
    command(
        Action::Comparing(CompareAction::Copy(CompareText::Command)),
        "Copy compare command",
        "Copy the command line that makes the same comparison",
        None,
    ),
    command(
        Action::Show(View::Explain),
        "Show Explain",
        "Why is it so fast, and how much faster could it be?",
        Some(with(Key::Num7)),
    ),
    command(Action::Show(View::Report), "Show Report", "How is it shown to others?", Some(with(Key::Num8))),
    command(Action::OpenReference, "Open apple-m5", "Show the figures that were published for an Apple M5", None),
    command(Action::Export(ExportFormat::Markdown), "Export as Markdown…", ExportFormat::Markdown.hint(), None),
    command(Action::Export(ExportFormat::Html), "Export as HTML…", ExportFormat::Html.hint(), None),
    command(Action::Export(ExportFormat::Pdf), "Export as PDF…", ExportFormat::Pdf.hint(), None),
    command(Action::Export(ExportFormat::Json), "Export as JSON…", ExportFormat::Json.hint(), None),
    command(Action::Export(ExportFormat::Csv), "Export as CSV…", ExportFormat::Csv.hint(), None),
    command(Action::Export(ExportFormat::Raw), "Export as raw folder…", ExportFormat::Raw.hint(), None),
    command(Action::Runs(RunsAction::Find), "Find runs", "Write words to find saved runs by", Some(with(Key::F))),
    command(Action::Runs(RunsAction::PickAll), "Select all runs", "Select all saved runs that are listed", None),
    command(Action::Runs(RunsAction::Open), "Open run", "Show the selected run", None),
    command(
        Action::Runs(RunsAction::Compare),
        "Compare runs",
        "Compare the selected runs, one with the baseline",
        None,
    ),
    command(
        Action::Runs(RunsAction::Export),
        "Export runs…",
        "Write the selected runs into a folder, one JSON file each, over none that is there",
        None,
    ),
    command(
        Action::Runs(RunsAction::Delete),
        "Delete runs",
        "Move the selected runs to the trash, where they stay for 30 days (Delete)",
        None,
    ),
    command(Action::Runs(RunsAction::Undo), "Undo delete", "Get back the runs that were deleted last", None),
    command(
        Action::Runs(RunsAction::Pin),
        "Pin as baseline",
        "Make the selected run the one that others are compared with, or no longer",
        None,
    ),
    command(Action::Runs(RunsAction::Reveal), "Reveal file", "Show the selected run's file in the file manager", None),
    command(Action::CancelInstall, "Cancel installation", "Stop installing; what was downloaded is kept", None),
    command(Action::Suite(SuiteName::Quick), "Suite: Quick", SuiteName::Quick.description(), None),
    command(Action::Suite(SuiteName::Standard), "Suite: Standard", SuiteName::Standard.description(), None),
    command(Action::Suite(SuiteName::Full), "Suite: Full", SuiteName::Full.description(), None),
    command(
        Action::CopyResults,
        "Copy results",
        "Copy the table as tab-separated values, for a spreadsheet",
        Some(with(Key::C)),
    ),
    command(Action::CopyMarkdown, "Copy results as Markdown", "Copy the table for a document or an issue", None),
    command(
        Action::ExportChart(None),
        "Export chart…",
        "Save a chart as SVG or PNG: the one last under the pointer",
        Some(with(Key::E)),
    ),
    command(Action::CopyChart(None), "Copy chart as picture", "Copy the chart that was last under the pointer", None),
    command(Action::CopyMachine, "Copy machine", "Copy the facts of this machine as text", None),
    command(Action::CloseRun, "Back to this machine", "Close the saved run", Some(with(Key::B))),
    command(Action::ChooseFiles, "Add files…", "Add model files: GGUF or safetensors", None),
    command(Action::ChooseFolder, "Add folder…", "Add a folder with models", None),
    command(
        Action::CancelDownload,
        "Cancel download",
        "Stop the download; what is there stays, to go on with later",
        None,
    ),
    command(Action::LookAgain, "Look for devices again", "Ask the drivers again which devices there are", None),
    command(Action::Theme(ThemePreference::System), "Theme: System", "Follow the system's appearance", None),
    command(Action::Theme(ThemePreference::Light), "Theme: Light", "Always light", None),
    command(Action::Theme(ThemePreference::Dark), "Theme: Dark", "Always dark", None),
    command(Action::Palette, "Commands", "Find and run any command", Some(with(Key::K))),
];

/// The row of an action, if it is in the table.
pub(super) fn command_of(action: &Action) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.action == *action)
}

impl Command {
    /// The keys in the system's notation, or nothing.
    pub fn keys(&self, context: &Context) -> String {
        self.shortcut.map(|shortcut| context.format_shortcut(&shortcut)).unwrap_or_default()
    }

    /// The tooltip with the keys.
    pub fn hint(&self, context: &Context) -> String {
        match self.shortcut {
            Some(_) => format!("{}  ({})", self.tooltip, self.keys(context)),
            None => self.tooltip.to_owned(),
        }
    }

    /// Whether all words typed are in the label, whatever the case.
    pub fn is_called(&self, typed: &str) -> bool {
        let label = self.label.to_lowercase();
        typed.to_lowercase().split_whitespace().all(|word| label.contains(word))
    }

    /// Whether all words typed are in the label or the tooltip, whatever the case.
    pub fn matches(&self, typed: &str) -> bool {
        let text = format!("{} {}", self.label, self.tooltip).to_lowercase();
        typed.to_lowercase().split_whitespace().all(|word| text.contains(word))
    }
}

/// The action whose shortcut was pressed in this frame.
pub(super) fn pressed(context: &Context) -> Vec<Action> {
    let writing = context.text_edit_focused();
    // All of them: in a slow frame, Run suite and Cancel may come together.
    let mut actions: Vec<Action> = context.input_mut(|input| {
        let mut hit = |command: &Command| {
            let copies = command.action == Action::CopyResults;
            command.shortcut.is_some_and(|shortcut| !(copies && writing) && input.consume_shortcut(&shortcut))
        };
        COMMANDS.iter().filter(|command| hit(command)).map(|command| command.action.clone()).collect()
    });
    // The platform sends ⌘C as an event of its own and not as keys.
    if !writing && context.input(|input| input.events.contains(&eframe::egui::Event::Copy)) {
        actions.push(Action::CopyResults);
    }
    actions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_commands_share_keys_or_words() {
        for (place, command) in COMMANDS.iter().enumerate() {
            for other in COMMANDS.iter().skip(place + 1) {
                assert_ne!(command.label, other.label);
                assert!(command.shortcut.is_none() || command.shortcut != other.shortcut, "{}", command.label);
            }
            assert!(!command.tooltip.ends_with('.'), "{}", command.tooltip);
        }
    }

    #[test]
    fn filtering_takes_words_in_any_order_and_case() {
        let matching = |typed: &str| COMMANDS.iter().filter(|command| command.matches(typed)).count();
        assert_eq!(matching("dark THEME"), 1);
        assert_eq!(matching(""), COMMANDS.len());
        assert_eq!(matching("no such words"), 0);
    }
}
