//! Progress on standard error: a bar on a terminal, one line an entry elsewhere.

use std::io::{self, IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{run::REDRAW, table};
use crate::{
    export::{name, warnings},
    measure::Progress,
    record::{Entry, Run},
    units::Quantity,
};

/// The progress of one run.
pub(super) struct Bar {
    drawn: Option<ProgressBar>,
    titles: Vec<String>,
    /// More than one engine takes part, so that lines name it.
    several: bool,
    current: usize,
}

impl Bar {
    pub(super) fn new() -> Self {
        Self { drawn: None, titles: Vec::new(), several: false, current: 0 }
    }

    pub(super) fn begin(&mut self, run: &Run) {
        let engine = run.entries.first().map(|entry| entry.engine);
        let several = run.entries.iter().any(|entry| Some(entry.engine) != engine);
        self.several = several;
        self.titles = run.entries.iter().map(|entry| name(entry, several)).collect();
        self.say(&format!("suite {} on {}", run.suite.name, table::devices(run)));
        for warning in warnings(run) {
            self.say(&format!("note: {warning}"));
        }
        if io::stderr().is_terminal() {
            // Drawn by this thread between events and never by a ticking one: nothing runs beside a timed batch.
            let hertz = (1.0 / REDRAW.as_secs_f64()) as u8;
            let target = ProgressDrawTarget::stderr_with_hz(hertz.max(1));
            let bar = ProgressBar::with_draw_target(Some(run.entries.len() as u64), target);
            if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}") {
                bar.set_style(style);
            }
            self.drawn = Some(bar);
        }
    }

    pub(super) fn start(&mut self, index: usize) {
        self.current = index;
        self.message("preparing");
    }

    pub(super) fn progress(&mut self, progress: &Progress) {
        match progress {
            Progress::Phase(phase) => self.message(&phase.to_string()),
            Progress::Value { unit, value, .. } => self.message(&Quantity::new(*value, *unit).to_string()),
        }
    }

    fn message(&self, text: &str) {
        if let (Some(bar), Some(title)) = (&self.drawn, self.titles.get(self.current)) {
            bar.set_message(format!("{title} · {text}"));
        }
    }

    pub(super) fn entry(&mut self, entry: &Entry) {
        let place = format!("[{}/{}]", self.current + 1, self.titles.len());
        self.say(&format!("{place} {}", table::one_line(entry, self.several)));
        if let Some(bar) = &self.drawn {
            bar.inc(1);
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.drawn {
            bar.finish_and_clear();
        }
    }

    /// A line above the bar, or a plain one.
    pub(super) fn say(&self, text: &str) {
        match &self.drawn {
            Some(bar) if !bar.is_finished() => bar.println(text),
            _ => {
                writeln!(io::stderr(), "{text}").ok();
            }
        }
    }
}
