//! Runs the programs that install and build, one at a time: told of as they go, ended when they must, and quoted when they
//! fail.

use std::{
    collections::VecDeque,
    ffi::OsString,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{InstallError, InstallProgress, ProgressUnit, place::bytes_on_disk};
use crate::{
    engine::{
        is_executable,
        supervise::{Environment, Program, Said, Supervised},
    },
    measure::Cancel,
};

/// A program that neither says anything nor writes anything for so long is ended.
const SILENCE: Duration = Duration::from_mins(30);
/// How many of the last lines are kept.
const LINES_KEPT: usize = 40;

/// What all programs of one installation share.
pub(super) struct Work<'a> {
    pub(super) cancel: &'a Cancel,
    pub(super) progress: &'a mut dyn FnMut(InstallProgress),
    pub(super) environment: Environment,
    /// Where they run: a folder with no settings of anyone's project.
    pub(super) folder: PathBuf,
}

/// What tells how far a program is.
pub(super) enum Measure {
    /// Nothing.
    None,
    /// What it puts on the disk, of an estimate.
    Growth {
        /// Where it writes.
        folders: Vec<PathBuf>,
        /// Bytes at the end.
        total: u64,
    },
    /// "[n/m]" at the beginning of its lines.
    Steps,
}

/// What is kept of a running program.
struct Heard {
    lines: VecDeque<String>,
    detail: String,
    changed: Instant,
    looked: Instant,
    cost: Duration,
    done: u64,
    total: u64,
    /// Steps were counted.
    stepped: bool,
    /// The first line that tells of an error: many more may follow from it.
    wrong: Option<String>,
}

impl Work<'_> {
    /// An error if the person wants it to end.
    pub(super) fn check(&self) -> Result<(), InstallError> {
        if self.cancel.requested() { Err(InstallError::Cancelled) } else { Ok(()) }
    }

    /// Runs a program to its end. The error quotes the end of what it said.
    pub(super) fn run(&mut self, what: &str, program: &Program, measure: &Measure) -> Result<(), InstallError> {
        const LOOK: Duration = Duration::from_millis(100);
        self.check()?;
        let failed = |said: String| InstallError::Failed { what: what.to_owned(), said };
        let program = Program {
            environment: Some(self.environment.clone()),
            folder: Some(self.folder.clone()),
            ..program.clone()
        };
        // Its standard input stays open: the end of it is what the watch waits for.
        let mut child = Supervised::start(&watched(program)).map_err(failed)?;
        let now = Instant::now();
        let mut heard = Heard {
            lines: VecDeque::new(),
            detail: String::new(),
            changed: now,
            looked: now,
            cost: Duration::ZERO,
            done: 0,
            total: 0,
            stepped: false,
            wrong: None,
        };
        self.tell_of(what, &heard, measure);
        let status = loop {
            self.check()?;
            match child.hear(LOOK) {
                Said::Line(line) => heard.hear(&line),
                Said::Closed => {
                    if let Some(status) = child.wait(LOOK) {
                        break status;
                    }
                }
                Said::Rubbish(_) | Said::Nothing => {}
            }
            if heard.look(measure, &child) {
                self.tell_of(what, &heard, measure);
            }
            if heard.changed.elapsed() > SILENCE {
                return Err(failed(format!("nothing came of it for {} minutes", SILENCE.as_secs() / 60)));
            }
        };
        if status.success() {
            return Ok(());
        }
        let obituary = child.obituary();
        let errors = child.errors();
        Err(explain(what, &obituary, &errors, heard.lines.make_contiguous(), heard.wrong.as_deref()))
    }

    fn tell_of(&mut self, what: &str, heard: &Heard, measure: &Measure) {
        let what = if heard.detail.is_empty() { what.to_owned() } else { format!("{what}: {}", heard.detail) };
        let unit = if matches!(measure, Measure::Steps) { ProgressUnit::Steps } else { ProgressUnit::Bytes };
        (self.progress)(InstallProgress { what, done: heard.done, total: heard.total, unit });
    }
}

impl Heard {
    fn hear(&mut self, line: &str) {
        self.changed = Instant::now();
        if let Some((done, total, what)) = steps(line) {
            (self.done, self.total, self.stepped) = (done, total, true);
            // "Building CXX object a/b/c.o": the file's name tells enough.
            self.detail = short(what.rsplit(['/', ' ']).next().unwrap_or_default());
        } else if !self.stepped {
            // Between the steps of a build come compilers' warnings.
            self.detail = short(line);
        }
        const WRONG: [&str; 3] = ["error:", "Error:", "undefined reference"];
        let line: String = line.chars().take(2000).collect();
        if self.wrong.is_none() && WRONG.iter().any(|word| line.contains(word)) {
            self.wrong = Some(line.chars().filter(|c| !c.is_control()).take(300).collect());
        }
        self.lines.push_back(line);
        if self.lines.len() > LINES_KEPT {
            self.lines.pop_front();
        }
    }

    /// Looks at what it wrote, not too often; whether there may be something to tell.
    fn look(&mut self, measure: &Measure, child: &Supervised) -> bool {
        const EVERY: Duration = Duration::from_millis(500);
        if self.looked.elapsed() < EVERY.max(self.cost * 10) {
            return false;
        }
        let start = Instant::now();
        // uv says what it does on standard error.
        let errors = child.errors();
        if let Some(line) = errors.lines().rev().find(|line| !line.trim().is_empty()).filter(|_| self.lines.is_empty())
            && self.detail != short(line)
        {
            self.detail = short(line);
            self.changed = start;
        }
        if let Measure::Growth { folders, total } = measure {
            let bytes = bytes_on_disk(folders);
            if bytes != self.done {
                self.changed = start;
            }
            // Installers delete what they no longer need; the bar doesn't go back for it, nor beyond its end.
            (self.done, self.total) = (bytes.max(self.done).min(*total), *total);
        }
        self.looked = Instant::now();
        self.cost = start.elapsed();
        true
    }
}

/// Runs "$@" with nothing to read, and ends it with all that it started when standard input ends before: then this program is
/// gone, however it went, and nobody would clear away what comes of it. A signal that ended the work ends the shell too, so that
/// it is told of as such. Only what the shell has built in is used: installers run with a PATH of their own.
const WATCH: &str = r#"exec 3<&0
"$@" 3<&- </dev/null & work=$!
{ while read -r line; do :; done <&3; kill -KILL 0; } >/dev/null 2>&1 & watch=$!
exec 3<&-
wait "$work"; status=$?
kill -KILL "$watch" 2>/dev/null
if [ "$status" -gt 128 ]; then kill "-$((status - 128))" $$; fi
exit "$status""#;

/// The program under a watch that ends it when this one is gone. One that isn't there is left as it is, to be told of.
fn watched(program: Program) -> Program {
    let shell = Path::new("/bin/sh");
    if !cfg!(unix) || !is_executable(&program.file) || !shell.exists() {
        return program;
    }
    let name = program.file.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut arguments: Vec<OsString> = ["-c", WATCH, "sh"].map(OsString::from).into();
    arguments.push(program.file.clone().into());
    arguments.extend(program.arguments);
    Program { file: shell.to_owned(), arguments, name, ..program }
}

/// "[12/138] Building" as 12 of 138, and what is done.
fn steps(line: &str) -> Option<(u64, u64, &str)> {
    let (count, what) = line.strip_prefix('[')?.split_once(']')?;
    let (done, total) = count.split_once('/')?;
    Some((done.trim().parse().ok()?, total.trim().parse().ok()?, what.trim()))
}

/// The beginning of a line, without the colours that some programs use anywhere.
fn short(line: &str) -> String {
    const MOST: usize = 60;
    let line: String = line.trim().chars().filter(|c| !c.is_control()).collect();
    if line.chars().count() <= MOST { line } else { line.chars().take(MOST).chain(['…']).collect() }
}

/// What went wrong, from what was said.
fn explain(what: &str, obituary: &str, errors: &str, lines: &[String], wrong: Option<&str>) -> InstallError {
    // Compilers' complaints come on ninja's standard output.
    let all = format!("{}\n{errors}", lines.join("\n"));
    let said = if errors.trim().is_empty() { end_of(&lines.join("\n")) } else { end_of(errors) };
    let has = |words: &[&str]| words.iter().any(|word| all.contains(word));
    let failed = |said: String| InstallError::Failed { what: what.to_owned(), said };
    if has(&["DO NOT MATCH THE HASHES", "Hash mismatch", "hash mismatch"]) {
        return failed(format!(
            "a package that arrived is not the one that was pinned; run it again, and if it stays so, don't trust the \
             network: {said}"
        ));
    }
    if has(&["No space left on device", "Disk quota exceeded", "os error 28"]) {
        return failed(format!("the disk is full; free some space and run it again: {said}"));
    }
    if has(&UNREACHABLE) {
        return InstallError::Offline { said };
    }
    if has(&["No matching distribution found", "no wheels with a matching", "has no usable wheels"]) {
        return failed(format!(
            "there is no build of a package for this Python; choose another with --python, such as 3.12: {said}"
        ));
    }
    if has(&["No module named venv", "ensurepip is not available", "No module named ensurepip"]) {
        return failed(format!("this Python can't make virtual environments; choose another with --python: {said}"));
    }
    // The obituary quotes standard error itself.
    let quoted = errors.trim().is_empty() && !said.is_empty();
    failed(if quoted { format!("{obituary}: {}", wrong.unwrap_or(&said)) } else { obituary.to_owned() })
}

/// What pip, uv and the system say where there is no connection.
const UNREACHABLE: [&str; 18] = [
    "NewConnectionError",
    "NameResolutionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProxyError",
    "name resolution",
    "Name or service not known",
    "nodename nor servname",
    "failed to lookup address",
    "dns error",
    "Network is unreachable",
    "No route to host",
    "Connection refused",
    "Connection reset",
    "error sending request",
    "Could not connect",
    "Connection broken",
    "IncompleteRead",
];

/// The last lines, in one.
fn end_of(text: &str) -> String {
    const LINES: usize = 4;
    const MOST: usize = 600;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // Of where Python was when it failed, only what failed matters.
    let kept = if text.contains("Traceback (most recent call last)") { 1 } else { LINES };
    let last = lines.get(lines.len().saturating_sub(kept)..).unwrap_or_default().join(" · ");
    let over = last.chars().count().saturating_sub(MOST);
    last.chars().filter(|c| !c.is_control()).skip(over).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_from_lines() {
        assert_eq!(steps("[12/138] Building CXX object a.o"), Some((12, 138, "Building CXX object a.o")));
        assert_eq!(steps("[1/x] "), None);
        assert_eq!(steps("-- Configuring"), None);
    }

    #[test]
    fn failures_are_told_apart() {
        let explained = |errors: &str| explain("installing packages", "pip ended with status 1: x", errors, &[], None);
        let offline = "WARNING: Retrying after connection broken by 'NewConnectionError(...)'\nERROR: No matching \
                       distribution found for torch==2.15.0";
        assert!(matches!(explained(offline), InstallError::Offline { said } if said.contains("torch==2.15.0")));
        let uv = "error: Request failed\n  Caused by: dns error\n  Caused by: failed to lookup address information";
        assert!(matches!(explained(uv), InstallError::Offline { .. }));
        for (errors, hint) in [
            ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "pinned"),
            ("ERROR: Could not install packages: [Errno 28] No space left on device", "disk is full"),
            ("ERROR: No matching distribution found for torch==2.15.0", "--python"),
            ("something else", "pip ended with status 1"),
        ] {
            let told = explained(errors).to_string();
            assert!(told.starts_with("installing packages failed") && told.contains(hint), "{told}");
        }
    }

    #[test]
    fn of_a_traceback_only_the_error_is_quoted() {
        let said = "Traceback (most recent call last):\n  File \"download.py\", line 3, in save\n    out.write(part)\n    \
                    ^^^^^^^\nOSError: [Errno 28] No space left on device\n";
        let told = explain("installing packages", "pip ended with status 2", said, &[], None).to_string();
        assert!(told.contains("the disk is full") && told.ends_with("No space left on device"), "{told}");
        assert!(!told.contains('^') && !told.contains("download.py"), "{told}");
    }

    #[test]
    fn a_compilers_words_are_found_on_either_output() {
        let lines = ["[3/9] Building x.o".to_owned(), "x.cpp:1: error: no such thing".to_owned()];
        let told = explain("building", "ninja ended with status 1", "", &lines, None).to_string();
        assert!(told.contains("status 1") && told.contains("no such thing"), "{told}");
        let told = explain("building", "ninja ended with status 1", "", &lines, Some("the first error: x")).to_string();
        assert!(told.ends_with("status 1: the first error: x"), "{told}");
    }
}
