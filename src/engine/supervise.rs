//! A child process under supervision: what it says is bounded, what it started ends with it, and what went wrong is told in
//! its own words.

use std::{
    collections::{BTreeSet, VecDeque},
    ffi::OsStr,
    io::{BufRead as _, BufReader, ErrorKind, Read, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// The longest line that is read.
pub const LINE_MAX: usize = 1 << 20;
/// How many lines wait to be read before the child has to wait.
const LINES_WAITING: usize = 64;
/// How many lines wait until the child reads them. More is not told to one that doesn't.
const LINES_TOLD: usize = 4;
/// How much of standard error is kept: its end.
const ERRORS_KEPT: usize = 16 << 10;
/// The thread that keeps the end of standard error.
const ERRORS_THREAD: &str = "roofline-engine-err";
/// How long a child that was asked to end may take.
const FAREWELL: Duration = Duration::from_millis(300);

/// The groups of all children that run, by their leaders.
static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
/// The program ends, and starts no child any more.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Ends all children with everything that they started, and lets no other start: for the end of the program, which doesn't
/// wait for the threads that hold them.
pub fn end_all() {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    ENDING.store(true, Ordering::SeqCst);
    running.iter().copied().for_each(kill_group);
}

/// What comes from a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A line of standard output without its end.
    Line(String),
    /// A line that is no UTF-8 or longer than [`LINE_MAX`]; the sentence says which.
    Rubbish(String),
    /// Nothing more will come: standard output was closed.
    Closed,
    /// Nothing came in time.
    Nothing,
}

/// Variables with their values.
pub type Environment = Vec<(std::ffi::OsString, std::ffi::OsString)>;

/// A program, its arguments and its environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The program's file.
    pub file: std::path::PathBuf,
    /// Its arguments.
    pub arguments: Vec<std::ffi::OsString>,
    /// All of its environment; this program's own where absent.
    pub environment: Option<Environment>,
    /// Variables that are set beside it.
    pub set: Vec<(String, String)>,
    /// The folder it runs in; this program's if absent.
    pub folder: Option<std::path::PathBuf>,
    /// What it is called in messages; its file's name if absent.
    pub name: Option<String>,
}

impl Program {
    /// A program with arguments.
    pub fn new(file: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        Self { file: file.to_owned(), arguments, ..Self::default() }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.file);
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(environment) = &self.environment {
            command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
        }
        command.envs(self.set.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        #[cfg(unix)]
        {
            use std::os::unix::process::CommandExt as _;
            // A group of its own, so that all that it starts ends with it.
            command.process_group(0);
        }
        command
    }
}

/// A child that runs. Dropped, it ends with everything that it started.
#[derive(Debug)]
pub struct Supervised {
    child: Child,
    input: Option<SyncSender<String>>,
    lines: Receiver<Said>,
    errors: Arc<Mutex<VecDeque<u8>>>,
    threads: Vec<JoinHandle<()>>,
    ended: Option<ExitStatus>,
    name: String,
}

impl Supervised {
    /// Starts it. The error says why it can't be started and what to do.
    pub fn start(program: &Program) -> Result<Self, String> {
        let file = || program.file.file_name().unwrap_or(program.file.as_os_str()).to_string_lossy().into_owned();
        let name = program.name.clone().unwrap_or_else(file);
        let mut child = spawn(program)?;
        let (sender, lines) = sync_channel(LINES_WAITING);
        let errors = Arc::new(Mutex::new(VecDeque::new()));
        let mut threads = Vec::new();
        if let Some(output) = child.stdout.take() {
            threads.extend(thread("roofline-engine-out", move || read_lines(BufReader::new(output), &sender)));
        }
        if let Some(output) = child.stderr.take() {
            let kept = Arc::clone(&errors);
            threads.extend(thread(ERRORS_THREAD, move || keep_end(output, &kept)));
        }
        let input = child.stdin.take().map(|input| {
            let (teller, told) = sync_channel(LINES_TOLD);
            threads.extend(thread("roofline-engine-in", move || write_lines(input, &told)));
            teller
        });
        Ok(Self { child, input, lines, errors, threads, ended: None, name })
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its standard input without waiting for it to be read: a child that hangs must not hang its parent.
    /// An error if it no longer reads.
    pub fn tell(&mut self, line: &str) -> Result<(), String> {
        let told = self.input.as_ref().is_some_and(|input| input.try_send(format!("{line}\n")).is_ok());
        if told { Ok(()) } else { Err(format!("{} no longer reads what it is told", self.name)) }
    }

    /// Closes its standard input once it has read what it was told, which tells it to end.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// The next thing it says, waiting at most so long.
    pub fn hear(&mut self, wait: Duration) -> Said {
        match self.lines.recv_timeout(wait) {
            Ok(said) => said,
            Err(RecvTimeoutError::Timeout) => Said::Nothing,
            Err(RecvTimeoutError::Disconnected) => Said::Closed,
        }
    }

    /// How it ended, if it has; waits at most so long.
    pub fn wait(&mut self, wait: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        while self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
            if self.ended.is_some() || start.elapsed() >= wait {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.ended
    }

    /// The end of what it wrote to standard error, without control characters.
    pub fn errors(&self) -> String {
        let kept = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.iter().copied().collect();
        readable(&String::from_utf8_lossy(&bytes))
    }

    /// The same of one that has ended: what it wrote before may still be on its way. Where something else holds its standard
    /// error open, no end of it comes, and it is waited for no longer than for a farewell.
    pub fn last_errors(&self) -> String {
        let start = Instant::now();
        let reads = |thread: &JoinHandle<()>| thread.thread().name() == Some(ERRORS_THREAD) && !thread.is_finished();
        while self.threads.iter().any(reads) && start.elapsed() < FAREWELL {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.errors()
    }

    /// Why it ended, in a sentence with the end of its standard error.
    pub fn obituary(&mut self) -> String {
        let status = self.wait(FAREWELL);
        let how = match status {
            Some(status) => ended_by(status),
            None => "closed its output".to_owned(),
        };
        let words = last_lines(&if status.is_some() { self.last_errors() } else { self.errors() });
        let words = if words.is_empty() { String::new() } else { format!(": {words}") };
        format!("{} {how}{words}", self.name)
    }

    /// Ends it with everything that it started: now, or after it had a moment to do so itself.
    pub fn end(&mut self, at_once: bool) {
        self.close_input();
        if !at_once {
            self.wait(FAREWELL);
        }
        // The group outlives its leader: what the child left behind ends too.
        kill_group(self.child.id());
        #[cfg(not(unix))]
        self.child.kill().ok();
        self.wait(Duration::from_secs(2));
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.child.id());
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.end(true);
        // Threads end with the pipes. One that someone outside the group still holds open is left behind.
        let start = Instant::now();
        while self.threads.iter().any(|thread| !thread.is_finished()) && start.elapsed() < FAREWELL {
            // A reader may wait for room.
            while self.lines.try_recv().is_ok() {}
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Starts a program as the leader of a group that is known to [`end_all`].
fn spawn(program: &Program) -> Result<Child, String> {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if ENDING.load(Ordering::SeqCst) {
        return Err(format!("could not start the engine, because Roofline ends: {}", program.file.display()));
    }
    let child = program.command().spawn().map_err(|error| cannot_start(&program.file, &error))?;
    running.insert(child.id());
    Ok(child)
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).ok()
}

#[cfg(unix)]
fn kill_group(leader: u32) {
    use rustix::process::{Pid, Signal, kill_process_group};
    if let Some(group) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        kill_process_group(group, Signal::KILL).ok();
    }
}

#[cfg(not(unix))]
fn kill_group(_leader: u32) {}

/// Writes lines until there are none or nobody reads them.
fn write_lines(mut input: ChildStdin, told: &Receiver<String>) {
    while let Ok(line) = told.recv() {
        if input.write_all(line.as_bytes()).and_then(|()| input.flush()).is_err() {
            return;
        }
    }
}

/// Reads lines until the end, none longer than [`LINE_MAX`]; what is longer is skipped, not kept.
fn read_lines(mut output: impl std::io::BufRead, sender: &SyncSender<Said>) {
    loop {
        let mut bytes = Vec::new();
        let Ok(count) = output.by_ref().take(LINE_MAX as u64 + 1).read_until(b'\n', &mut bytes) else { return };
        if count == 0 {
            return;
        }
        let said = if bytes.len() > LINE_MAX {
            // Told before it is skipped: it may never end.
            let told = sender.send(Said::Rubbish(format!("a line longer than {LINE_MAX} bytes")));
            if told.is_err() || skip_line(&mut output).is_err() {
                return;
            }
            continue;
        } else {
            match String::from_utf8(bytes) {
                Ok(line) => Said::Line(line.trim_end_matches(['\n', '\r']).to_owned()),
                Err(_) => Said::Rubbish("bytes that are no text".to_owned()),
            }
        };
        if sender.send(said).is_err() {
            return;
        }
    }
}

fn skip_line(output: &mut impl std::io::BufRead) -> std::io::Result<()> {
    loop {
        let buffer = output.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(buffer.len(), |at| at + 1);
        output.consume(count);
        if end.is_some() {
            return Ok(());
        }
    }
}

fn keep_end(mut output: impl Read, kept: &Mutex<VecDeque<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(count) = output.read(&mut buffer) {
        if count == 0 {
            return;
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(buffer.iter().take(count));
        let over = kept.len().saturating_sub(ERRORS_KEPT);
        kept.drain(..over);
    }
}

/// Why a program can't be started, and what to do.
fn cannot_start(file: &Path, error: &std::io::Error) -> String {
    let why = match error.kind() {
        ErrorKind::NotFound if file.exists() => missing_part(file),
        ErrorKind::NotFound => "there is no such program; choose another".to_owned(),
        ErrorKind::PermissionDenied => "it may not be executed; change its permissions or choose another".to_owned(),
        _ if error.raw_os_error() == Some(8) || error.raw_os_error() == Some(86) => {
            "it was built for another kind of processor or is no program; install one for this machine".to_owned()
        }
        _ => error.to_string(),
    };
    format!("could not start the engine: {why}: {}", file.display())
}

/// What is missing where a program is there and the system finds none: what its first line names, or its loader.
fn missing_part(file: &Path) -> String {
    let mut line = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| BufReader::new(file.take(256)).read_until(b'\n', &mut line));
    let line = String::from_utf8_lossy(&line);
    match line.strip_prefix("#!").filter(|_| read.is_ok()).map(str::trim) {
        Some(interpreter) => format!(
            "the interpreter that its first line names isn't there; install it or change the line, which is \"{}\"",
            readable(interpreter)
        ),
        None => "what loads it isn't on this system; install one that was built for it".to_owned(),
    }
}

/// How a process ended, in words.
fn ended_by(status: ExitStatus) -> String {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt as _;
        if let Some(signal) = status.signal() {
            let name = match signal {
                4 => " (illegal instruction: it was built for another processor)",
                6 => " (aborted)",
                9 => " (killed: often for want of memory)",
                11 => " (segmentation fault)",
                _ => "",
            };
            return format!("was ended by signal {signal}{name}");
        }
    }
    match status.code() {
        Some(code) => format!("ended with status {code}"),
        None => "ended".to_owned(),
    }
}

/// Text without control characters and colour codes.
fn readable(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => while rest.next().is_some_and(|c| !c.is_ascii_alphabetic()) {},
            '\n' => plain.push('\n'),
            c if c.is_control() => plain.push(' '),
            c => plain.push(c),
        }
    }
    plain
}

/// The last lines, in one: where a traceback ends stands what went wrong.
fn last_lines(text: &str) -> String {
    const LINES: usize = 4;
    const MOST: usize = 600;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join(" · ");
    let over = last.chars().count().saturating_sub(MOST);
    last.chars().skip(over).collect()
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Supervised {
        Supervised::start(&Program::new(Path::new("/bin/sh"), ["-c", script])).unwrap()
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn lines_come_as_they_were_said_and_rubbish_is_named() {
        let mut child = shell(
            "read x; echo \"heard $x\"; printf '\\377\\n'; head -c 1200000 /dev/zero | tr '\\0' a; echo; echo end",
        );
        child.tell("you").unwrap();
        assert_eq!(child.hear(LONG), Said::Line("heard you".into()));
        assert!(matches!(child.hear(LONG), Said::Rubbish(why) if why.contains("no text")));
        assert!(matches!(child.hear(LONG), Said::Rubbish(why) if why.contains("longer")));
        assert_eq!(child.hear(LONG), Said::Line("end".into()));
        assert_eq!(child.hear(LONG), Said::Closed);
    }

    #[test]
    fn an_end_is_told_in_the_childs_own_words() {
        let mut child = shell("printf 'Traceback\\n\\033[31mImportError: no module\\033[0m\\n' >&2; exit 3");
        assert_eq!(child.hear(LONG), Said::Closed);
        let told = child.obituary();
        assert!(
            told.contains("status 3") && told.contains("ImportError: no module") && !told.contains('\u{1b}'),
            "{told}"
        );
        let mut child = shell("kill -SEGV $$");
        assert_eq!(child.hear(LONG), Said::Closed);
        assert!(child.obituary().contains("signal 11 (segmentation fault)"));
    }

    #[test]
    fn what_it_started_ends_with_it() {
        let mut child = shell("sleep 1000 & echo $!; wait");
        let Said::Line(grandchild) = child.hear(LONG) else { panic!("it said nothing") };
        let runs = |id: &str| {
            // A process that ended but was not waited for yet counts as ended.
            let listed = Command::new("ps").args(["-o", "stat=", "-p", id]).output().unwrap();
            let state = String::from_utf8(listed.stdout).unwrap();
            !state.trim().is_empty() && !state.trim().starts_with('Z')
        };
        assert!(runs(&grandchild));
        drop(child);
        let start = Instant::now();
        while runs(&grandchild) && start.elapsed() < LONG {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!runs(&grandchild));
    }

    #[test]
    fn a_child_that_never_stops_talking_is_ended_all_the_same() {
        let mut child = shell("yes");
        assert_eq!(child.hear(LONG), Said::Line("y".into()));
        let start = Instant::now();
        drop(child);
        assert!(start.elapsed() < LONG);
    }

    #[test]
    fn a_child_that_does_not_read_keeps_nobody_waiting() {
        let mut child = shell("sleep 1000");
        let start = Instant::now();
        let line = "x".repeat(LINE_MAX);
        let told = (0..=LINES_TOLD + 1).map(|_| child.tell(&line)).find(Result::is_err);
        assert!(told.is_some_and(|told| told.unwrap_err().contains("no longer reads")));
        drop(child);
        assert!(start.elapsed() < LONG);
    }

    #[test]
    fn what_can_not_be_started_is_said_with_what_to_do() {
        let error = Supervised::start(&Program::new(Path::new("/no/such/program"), ["x"])).unwrap_err();
        assert!(error.contains("no such program") && error.ends_with("/no/such/program"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("it's a \"file\"");
        std::fs::write(&file, "text").unwrap();
        let error = Supervised::start(&Program::new(&file, ["x"])).unwrap_err();
        assert!(error.contains("may not be executed"), "{error}");
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(&file, "#!/no/such/python -u\nprint()\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = Supervised::start(&Program::new(&file, ["x"])).unwrap_err();
        assert!(error.contains("interpreter") && error.contains("\"/no/such/python -u\""), "{error}");
    }
}
