//! Where a picture comes from, as it is written inside its file: runs, machine, version, and the command that makes it again.

use serde::{Deserialize, Serialize};

use super::{
    Look, PictureFormat,
    words::{escaped, plain},
};
use crate::{chart::Figure, export::names::shell_word, record::AppInfo};

/// The name of the metadata in an SVG file, and the beginning of those in a PNG file.
pub const STAMP: &str = "roofline";

/// What a picture says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The chart's heading.
    pub title: String,
    /// The chart's name on the command line.
    pub chart: String,
    /// The ids of the runs.
    pub runs: Vec<String>,
    /// The machines, one for each run.
    pub machines: Vec<String>,
    /// The days, one for each run.
    pub dates: Vec<String>,
    /// The programs that measured with their versions, one for each run; empty of published figures.
    pub measured_with: Vec<String>,
    /// The program that drew it.
    pub software: String,
    /// What makes it again; absent where a run has no name that can be typed.
    pub command: Option<String>,
}

impl Stamp {
    /// `named` are the runs as a command line finds them, `options` the flags that it needs for this figure.
    pub(super) fn of(figure: &Figure, words: [&[String]; 2], format: PictureFormat, look: &Look) -> Self {
        let origins = &figure.origins;
        let list =
            |of: &dyn Fn(&crate::chart::Origin) -> String| origins.iter().map(|origin| plain(&of(origin))).collect();
        Self {
            title: plain(&figure.title),
            chart: figure.name.to_owned(),
            runs: list(&|origin| origin.run.clone()),
            machines: list(&|origin| origin.machine.clone()),
            dates: list(&|origin| origin.date.clone()),
            measured_with: list(&|origin| origin.program.clone().unwrap_or_default()),
            software: format!("Roofline {}", AppInfo::current().version),
            command: command(figure, words, format, look),
        }
    }

    /// One line for each run.
    pub(super) fn description(figure: &Figure) -> String {
        let lines: Vec<String> = figure.origins.iter().map(|origin| plain(&origin.caption())).collect();
        lines.join("\n")
    }

    /// As the text of an element of an SVG file.
    pub(super) fn svg(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        format!("<metadata id=\"{STAMP}\">{}</metadata>\n", escaped(&text))
    }

    /// As keywords and texts of a PNG file: those that any program knows, then all.
    pub(super) fn png(&self, description: &str) -> Vec<(&'static str, String)> {
        let mut texts = vec![
            ("Title", self.title.clone()),
            ("Description", description.to_owned()),
            ("Software", self.software.clone()),
            ("Source", self.machines.join("; ")),
        ];
        texts.extend(self.command.clone().map(|command| ("Comment", command)));
        texts.push((STAMP, serde_json::to_string(self).unwrap_or_default()));
        texts
    }
}

fn command(figure: &Figure, [named, options]: [&[String]; 2], format: PictureFormat, look: &Look) -> Option<String> {
    let runs: Option<Vec<String>> = named.iter().map(|name| shell_word(name)).collect();
    let mut words = vec!["roofline chart".to_owned()];
    words.extend(runs?);
    words.push(figure.name.to_owned());
    words.extend_from_slice(options);
    words.extend(["--format".to_owned(), format.id().to_owned()]);
    if format == PictureFormat::Png {
        words.push(format!("--scale {}", look.scale));
    }
    words.push(format!("--theme {}", look.theme.id()));
    words.extend(look.height.map(|height| format!("--size {}x{height}", look.width)));
    words.push(format!("--output {}.{}", figure.name, format.id()));
    // A chart of no run in particular has no command.
    (!named.is_empty() && !figure.origins.is_empty()).then(|| words.join(" "))
}
