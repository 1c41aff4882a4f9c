//! llama.cpp's programs as processes: started, listened to within limits, watched, and ended.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    engine::supervise::{Environment, Program, Said, Supervised},
    measure::{Context, Stop},
    units::duration,
};

/// How long is listened before Cancel is looked for.
const LISTEN: Duration = Duration::from_millis(50);

/// The most lines that are taken of one process: a log of a model with a hundred blocks has some ten thousand.
const LINES_MAX: u32 = 200_000;

/// How long a process may take to give its memory back and end, after its last word.
const FAREWELL: Duration = Duration::from_secs(30);

/// Lines of the log that go into the message when something fails.
const LAST_WORDS: usize = 4;

/// One of llama.cpp's programs, and the environment that it gets.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    /// The program.
    pub(super) file: PathBuf,
    /// All of its environment.
    pub(super) environment: Environment,
}

impl Tool {
    fn program(&self, arguments: &[impl AsRef<OsStr>], folder: Option<&Path>) -> Program {
        let mut program = Program::new(&self.file, arguments);
        program.environment = Some(self.environment.clone());
        program.folder = folder.map(Path::to_owned);
        program
    }

    /// The same with its standard output as hexadecimal bytes, for what may be no text.
    fn in_hex(&self, arguments: &[impl AsRef<OsStr>]) -> Program {
        self.through_shell(self.program(arguments, None), "\"$0\" \"$@\" | od -An -v -tx1")
    }

    /// The same with its log among the lines of its standard output. A shell joins the two and becomes the program.
    fn with_log(&self, arguments: &[impl AsRef<OsStr>], folder: Option<&Path>) -> Program {
        self.through_shell(self.program(arguments, folder), "exec \"$0\" \"$@\" 2>&1")
    }

    /// A program that a shell starts, by a script that gets it with its arguments.
    fn through_shell(&self, mut program: Program, script: &str) -> Program {
        let own = std::mem::take(&mut program.arguments);
        program.arguments = ["-c".into(), script.into(), self.file.clone().into()].into_iter().chain(own).collect();
        program.file = PathBuf::from("/bin/sh");
        program
    }
}

/// A program of llama.cpp's that runs. Dropped, it ends with everything that it started.
#[derive(Debug)]
pub(super) struct Child {
    supervised: Supervised,
    name: String,
    started: Instant,
    lines: u32,
    last_words: VecDeque<String>,
}

impl Child {
    /// Starts it. `folder` is where it runs, if not here.
    pub(super) fn start(tool: &Tool, arguments: &[impl AsRef<OsStr>], folder: Option<&Path>) -> Result<Self, Stop> {
        Self::of(tool, &tool.program(arguments, folder))
    }

    /// Starts it with its log among its lines.
    pub(super) fn start_with_log(
        tool: &Tool,
        arguments: &[impl AsRef<OsStr>],
        folder: Option<&Path>,
    ) -> Result<Self, Stop> {
        Self::of(tool, &tool.with_log(arguments, folder))
    }

    /// Starts it with what it prints as hexadecimal bytes. How it ends is not told.
    pub(super) fn start_in_hex(tool: &Tool, arguments: &[impl AsRef<OsStr>]) -> Result<Self, Stop> {
        Self::of(tool, &tool.in_hex(arguments))
    }

    fn of(tool: &Tool, program: &Program) -> Result<Self, Stop> {
        let started = Instant::now();
        let mut supervised = Supervised::start(program).map_err(Stop::Failed)?;
        supervised.close_input();
        let name = tool.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { supervised, name, started, lines: 0, last_words: VecDeque::new() })
    }

    /// Seconds since it was started.
    pub(super) fn passed_s(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Its next line; `None` when its output is closed. `meanwhile` is called every now and then while it is silent, which
    /// it may be for `silence` at most.
    pub(super) fn line(
        &mut self,
        context: &Context,
        silence: Duration,
        meanwhile: &mut dyn FnMut() -> Result<(), Stop>,
    ) -> Result<Option<String>, Stop> {
        let since = Instant::now();
        loop {
            context.check()?;
            match self.supervised.hear(LISTEN) {
                Said::Line(_) if self.lines >= LINES_MAX => {
                    return Err(self.wrong(&format!("it printed more than {LINES_MAX} lines")));
                }
                Said::Line(line) => {
                    self.lines += 1;
                    return Ok(Some(line));
                }
                Said::Rubbish(what) => return Err(self.wrong(&format!("it printed {what}"))),
                Said::Closed => return Ok(None),
                Said::Nothing => meanwhile()?,
            }
            if since.elapsed() > silence {
                let how_long = duration(silence.as_secs_f64());
                return Err(self.wrong(&format!("it said nothing for {how_long} and was ended")));
            }
        }
    }

    /// Keeps a line of its log for the message that says why it failed.
    pub(super) fn remember(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if self.last_words.len() >= LAST_WORDS {
            self.last_words.pop_front();
        }
        self.last_words.push_back(super::bench::cut(line));
    }

    /// Waits for its end, and gives the end of its standard error. A status other than success is a failure.
    pub(super) fn finish(mut self, context: &Context) -> Result<String, Stop> {
        let since = Instant::now();
        loop {
            context.check()?;
            match self.supervised.wait(LISTEN) {
                Some(status) if status.success() => return Ok(self.supervised.last_errors()),
                Some(_) => return Err(self.failed()),
                None if since.elapsed() > FAREWELL => {
                    return Err(self.wrong("it closed its output and did not end"));
                }
                None => {}
            }
        }
    }

    /// Why it ended before it was done.
    pub(super) fn failed(&mut self) -> Stop {
        let told = self.supervised.obituary();
        // A shell in between became the program.
        let told = told.strip_prefix("sh ").map_or_else(|| told.clone(), |how| format!("{} {how}", self.name));
        if self.last_words.is_empty() {
            return Stop::Failed(told);
        }
        let words: Vec<&str> = self.last_words.iter().map(String::as_str).collect();
        Stop::Failed(format!("{told}: {}", words.join(" · ")))
    }

    /// What it said can't be used.
    pub(super) fn wrong(&self, why: &str) -> Stop {
        Stop::Failed(format!("{} gave no figure that can be used: {why}", self.name))
    }

    /// Ends it now.
    pub(super) fn end(mut self) {
        self.supervised.end(true);
    }

    /// What it used of the machine until now.
    pub(super) fn usage(&self) -> Usage {
        Usage::of(self.supervised.id())
    }
}

/// What a process used of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// The most memory that was resident, in bytes: since its start on Linux, at the time of looking elsewhere.
    pub(super) resident_bytes: Option<u64>,
    /// Time on processors, in seconds.
    pub(super) processor_s: Option<f64>,
}

impl Usage {
    fn of(id: u32) -> Self {
        use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
        let Ok(mut system) = System::new() else { return Self::default() };
        let (pid, kind) = (Pid::from_u32(id), ProcessRefreshKind::nothing().with_memory().with_cpu().without_tasks());
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, kind);
        let Some(process) = system.process(pid) else { return Self::default() };
        let now = Some(process.memory()).filter(|bytes| *bytes > 0);
        let spent_s = process.accumulated_cpu_time() as f64 / 1e3;
        Self { resident_bytes: high_water(id).max(now), processor_s: Some(spent_s).filter(|seconds| *seconds > 0.0) }
    }

    /// The larger memory of two looks, and the later time.
    pub(super) fn and(self, later: Self) -> Self {
        Self {
            resident_bytes: self.resident_bytes.max(later.resident_bytes),
            processor_s: later.processor_s.or(self.processor_s),
        }
    }
}

/// The peak that Linux keeps for every process.
fn high_water(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes.saturating_mul(1024))
}
