//! Long work that is no run, on standard error: a bar on a terminal, a line now and then elsewhere, and Ctrl-C.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::{self, Error};
use crate::measure::Cancel;

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    Bytes,
    Steps,
}

/// How far long work is, and whether Ctrl-C was pressed.
pub(super) struct Shown {
    pub(super) cancel: Cancel,
    bar: Option<(ProgressBar, Counted)>,
    next_line: Instant,
}

impl Shown {
    /// From here on Ctrl-C asks for a stop instead of ending the program.
    pub(super) fn begin() -> Result<Self, Error> {
        let cancel = Cancel::default();
        let heard = cancel.clone();
        ctrlc::set_handler(move || heard.request()).map_err(Error::failure)?;
        let drawn = io::stderr().is_terminal();
        let bar = drawn.then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
            (styled(&bar, Counted::Bytes), Counted::Bytes)
        });
        Ok(Self { cancel, bar, next_line: Instant::now() })
    }

    /// Tells how far it is; a total of 0 is not known.
    pub(super) fn tell(&mut self, what: &str, done: u64, total: u64, counted: Counted) {
        const EVERY: Duration = Duration::from_secs(5);
        if let Some((bar, drawn)) = &mut self.bar {
            if *drawn != counted {
                *drawn = counted;
                *bar = styled(bar, counted);
            }
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(what.to_owned());
        } else if Instant::now() >= self.next_line {
            self.next_line = Instant::now() + EVERY;
            let amount = match counted {
                _ if total == 0 => String::new(),
                Counted::Bytes => format!(": {} of {}", DecimalBytes(done), DecimalBytes(total)),
                Counted::Steps => format!(": step {done} of {total}"),
            };
            output::complain(&format!("{what}{amount}"));
        }
    }

    /// Takes the bar away, so that what became of it can be said.
    pub(super) fn clear(&self) {
        if let Some((bar, _)) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn styled(bar: &ProgressBar, counted: Counted) -> ProgressBar {
    let style = match counted {
        Counted::Bytes => "{bar:24} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {wide_msg}",
        Counted::Steps => "{bar:24} {pos}/{len} {wide_msg}",
    };
    ProgressStyle::with_template(style).map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
}
