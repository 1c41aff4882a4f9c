//! Lists, changes and moves saved runs on the background lane, and notices what other programs do with them. Nothing here blocks.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, TryRecvError},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{
    action::{Action, View},
    background::taken,
    listing::{RunsAction, Undo},
    state::State,
};
use crate::{
    export,
    record::{self, About, ChangeError, Deleted, Edit, Listed, Restored, RunState, Store, Trend, sort_listed},
    run::{Runner, Wake},
};

/// The window is told of a listing that goes on this often.
const TELL: Duration = Duration::from_millis(200);

/// The folder of saved runs is looked at this often: one question to the system, as long as nothing is changed.
const WATCH: Duration = Duration::from_secs(1);

/// Changes are told this often while a run in the folder has not ended.
const WATCH_OPEN: Duration = Duration::from_secs(30);

/// A run that has not ended within this never will: its program died.
const OPEN_MAX: jiff::SignedDuration = jiff::SignedDuration::from_hours(6);

/// More changes at once than this are refused.
const CHANGES_MAX: usize = 64;

/// Of so many things that went wrong at once each is told.
const TOLD_MAX: usize = 3;

/// What a change came to.
enum Done {
    Edited(PathBuf, Result<About, ChangeError>),
    Pinned(Result<Option<PathBuf>, ChangeError>),
    Deleted(Result<Deleted, ChangeError>),
    Restored(Result<Restored, ChangeError>),
    Exported(Result<usize, String>),
    Revealed(Result<(), String>),
}

/// What a listing has told and nobody has taken yet.
#[derive(Default)]
struct Told {
    listed: Vec<Listed>,
    left: usize,
}

struct Going {
    told: Arc<Mutex<Told>>,
    end: Receiver<record::Listing>,
    /// All that was told, until the listing ends: what is shown stays meanwhile.
    all: Vec<Listed>,
}

/// Everything under way.
pub(super) struct Librarian {
    store: Store,
    wake: Wake,
    going: Option<Going>,
    trend: Option<Receiver<Trend>>,
    changes: Vec<Receiver<Done>>,
    /// Set while something is measured: nothing is read then.
    stop: Arc<AtomicBool>,
    /// Whether the folder was changed by anyone.
    folder: Arc<Folder>,
    /// The trend was asked for and not begun.
    wants_trend: bool,
    has_listed: bool,
}

impl Librarian {
    /// Over the runs in `store`; `wake` is called when there is news.
    pub(super) fn new(store: Store, wake: Wake) -> io::Result<Self> {
        let folder = Arc::new(Folder::default());
        let (path, watched, woken) = (store.folder().to_owned(), Arc::downgrade(&folder), Arc::clone(&wake));
        std::thread::Builder::new().name("roofline-watch".to_owned()).spawn(move || watch(&path, &watched, &woken))?;
        let stop = Arc::default();
        Ok(Self {
            store,
            wake,
            going: None,
            trend: None,
            changes: Vec::new(),
            stop,
            folder,
            wants_trend: false,
            has_listed: false,
        })
    }

    /// Whether anything is under way that ends by itself.
    pub(super) const fn waits(&self) -> bool {
        self.going.is_some() || self.trend.is_some() || !self.changes.is_empty() || self.wants_trend
    }

    /// Lists the saved runs.
    pub(super) fn list(&mut self, runner: &Runner) {
        self.folder.changed.store(false, Ordering::Release);
        let folder = Arc::clone(&self.folder);
        let told = Arc::new(Mutex::new(Told::default()));
        let (store, teller, wake, stop) =
            (self.store.clone(), Arc::clone(&told), Arc::clone(&self.wake), Arc::clone(&self.stop));
        let is_first = !std::mem::replace(&mut self.has_listed, true);
        let work = move || {
            if is_first {
                store.empty_trash();
            }
            // Before anything is looked at, so that whatever comes later is noticed.
            folder.look(store.folder());
            let mut last: Option<Instant> = None;
            store.list_with(&mut |some, left| {
                let mut told = teller.lock().unwrap_or_else(PoisonError::into_inner);
                told.listed.extend(some);
                told.left = left;
                drop(told);
                if last.is_none_or(|last| last.elapsed() >= TELL) {
                    last = Some(Instant::now());
                    wake();
                }
                !stop.load(Ordering::Acquire)
            })
        };
        self.going = Some(Going { told, end: runner.background(work), all: Vec::new() });
    }

    /// Does what is wanted of the saved runs; gives back what is to be done beside that.
    pub(super) fn act(&mut self, runner: &Runner, state: &mut State, action: RunsAction) -> Option<Action> {
        if state.runs.look(&action) {
            return None;
        }
        let history = state.history.as_deref().unwrap_or_default();
        match action {
            RunsAction::Pick(path, how) => state.runs.pick(history, path, how),
            RunsAction::PickAll => state.runs.pick_all(history),
            RunsAction::PickNone => state.runs.picked.clear(),
            RunsAction::Move(rows, how) => state.runs.step(history, rows, how),
            RunsAction::Open => return state.runs.picked.first().cloned().map(Action::OpenRun),
            RunsAction::Compare => return Some(Action::Compare(state.runs.to_compare(history))),
            RunsAction::Find => {
                state.runs.find = true;
                return Some(Action::Show(View::History));
            }
            RunsAction::Delete => {
                let paths = state.runs.picked_in_order(history);
                self.change(runner, state, move |store| Done::Deleted(store.delete(&paths)));
            }
            RunsAction::Undo => {
                if let Some(Undo { folder, .. }) = state.runs.undo.clone() {
                    self.change(runner, state, move |store| Done::Restored(store.restore(&folder)));
                }
            }
            RunsAction::CloseUndo => state.runs.undo = None,
            RunsAction::Edit(path, edits) => {
                if self.changes.len() >= CHANGES_MAX {
                    state.runs.refuse(path.clone());
                }
                self.change(runner, state, move |store| {
                    let about = store.edit(&path, &edits);
                    Done::Edited(path, about)
                });
            }
            RunsAction::Pin => {
                let path = state.runs.only(history).map(|header| (header.path.clone(), header.pinned));
                let path = path.and_then(|(path, pinned)| (!pinned).then_some(path));
                self.change(runner, state, move |store| Done::Pinned(store.pin(path.as_deref()).map(|()| path)));
            }
            RunsAction::Reveal => {
                if let Some(path) = state.runs.picked.first().cloned().filter(|_| self.changes.len() < CHANGES_MAX) {
                    self.changes.push(runner.aside(move || Done::Revealed(reveal(&path))));
                }
            }
            RunsAction::Trend(on) => {
                state.runs.trends = on;
                state.runs.touch();
                self.wants_trend |= on;
            }
            RunsAction::Metric(metric) => {
                state.runs.metric = Some(metric);
                self.wants_trend = true;
            }
            _ => {}
        }
        None
    }

    /// Writes it at once, for a window that closes.
    pub(super) fn edit_now(&self, path: &Path, edits: &[Edit]) {
        self.store.edit(path, edits).ok();
    }

    /// Writes the picked runs into a folder, each as one JSON file, over none that is there.
    pub(super) fn export(&mut self, runner: &Runner, state: &mut State, folder: PathBuf) {
        let paths = state.runs.picked_in_order(state.history.as_deref().unwrap_or_default());
        self.change(runner, state, move |_| Done::Exported(export_all(&paths, &folder)));
    }

    fn change(&mut self, runner: &Runner, state: &mut State, work: impl FnOnce(&Store) -> Done + Send + 'static) {
        if self.changes.len() >= CHANGES_MAX {
            return state.warn("much is under way already; wait a moment");
        }
        let store = self.store.clone();
        self.changes.push(runner.background(move || work(&store)));
    }

    /// Takes over what has arrived, and begins what waits: never while something is measured.
    pub(super) fn poll(&mut self, runner: &Runner, state: &mut State) {
        let busy = state.running() || state.starting;
        self.stop.store(busy, Ordering::Release);
        self.poll_changes(state);
        self.poll_listing(state);
        if let Some(Ok(trend)) = taken(&mut self.trend) {
            state.runs.set_trend(trend);
        }
        if busy {
            return;
        }
        if self.going.is_none() && self.folder.changed.load(Ordering::Acquire) {
            self.list(runner);
        }
        if self.wants_trend && self.trend.is_none() && self.going.is_none() {
            self.wants_trend = false;
            let (store, chosen, stop) = (self.store.clone(), state.runs.metric, Arc::clone(&self.stop));
            self.trend = Some(runner.background(move || store.trend(chosen, &|| !stop.load(Ordering::Acquire))));
        }
    }

    fn poll_listing(&mut self, state: &mut State) {
        let Some(going) = &mut self.going else { return };
        // Asked before what was told is taken, so that nothing is told after it.
        let end = going.end.try_recv();
        let mut told = going.told.lock().unwrap_or_else(PoisonError::into_inner);
        going.all.append(&mut told.listed);
        let ended = !matches!(end, Err(TryRecvError::Empty));
        state.runs.left = if ended { 0 } else { told.left };
        drop(told);
        // The first time, what is known is shown at once; later, what is shown stays until all is known.
        let is_first = state.history.is_none() || state.runs.filling;
        if is_first && (ended || !going.all.is_empty()) {
            let mut all = state.history.take().unwrap_or_default();
            all.append(&mut going.all);
            sort_listed(&mut all);
            state.history = Some(all);
            state.runs.filling = !ended;
            state.runs.touch();
        }
        if !ended {
            return;
        }
        let listed = if is_first { state.history.as_deref().unwrap_or_default() } else { &going.all };
        let is_open = listed.iter().filter_map(Listed::header).any(|header| {
            let age = jiff::Timestamp::now().duration_since(header.started_at);
            header.state == RunState::Running && age < OPEN_MAX
        });
        self.folder.is_open.store(is_open, Ordering::Release);
        let all = self.going.take().map(|going| going.all).unwrap_or_default();
        // Stopped for a run, a listing is no list; the run's end asks for another.
        let is_whole = end.is_ok_and(|listing| listing.left == 0);
        if !is_first && is_whole {
            let mut all = all;
            sort_listed(&mut all);
            state.history = Some(all);
            state.runs.touch();
        }
        if state.runs.trends {
            self.wants_trend = true;
        }
    }

    fn poll_changes(&mut self, state: &mut State) {
        let mut done = Vec::new();
        self.changes.retain(|change| match change.try_recv() {
            Err(TryRecvError::Empty) => true,
            Ok(one) => {
                done.push(one);
                false
            }
            Err(TryRecvError::Disconnected) => false,
        });
        for one in done {
            self.take(state, one);
        }
    }

    fn take(&self, state: &mut State, done: Done) {
        let refused = match done {
            Done::Edited(path, Ok(about)) => {
                edited(state, &path, &about);
                None
            }
            Done::Pinned(Ok(pinned)) => {
                for one in state.history.iter_mut().flatten() {
                    if let Listed::Run(header) = one {
                        header.set_pinned(pinned.as_ref() == Some(&header.path));
                    }
                }
                state.runs.touch();
                None
            }
            Done::Deleted(Ok(deleted)) => {
                for error in deleted.kept.iter().take(TOLD_MAX) {
                    state.warn(&error.to_string());
                }
                if let (Some(history), Some(folder)) = (&mut state.history, deleted.folder) {
                    let gone: std::collections::HashSet<PathBuf> = deleted.runs.into_iter().collect();
                    history.retain(|one| !gone.contains(one.path()));
                    state.runs.undo = Some(Undo { folder, runs: gone.len() });
                }
                state.runs.touch();
                None
            }
            Done::Restored(Ok(restored)) => {
                state.runs.undo = None;
                if !restored.in_the_way.is_empty() {
                    state.warn("some deleted runs stay in the trash, since there are runs of the same names now");
                }
                self.folder.changed.store(true, Ordering::Release);
                None
            }
            Done::Edited(path, Err(error)) => {
                state.runs.refuse(path);
                self.folder.changed.store(true, Ordering::Release);
                Some(error.to_string())
            }
            Done::Pinned(Err(error)) | Done::Deleted(Err(error)) | Done::Restored(Err(error)) => {
                self.folder.changed.store(true, Ordering::Release);
                Some(error.to_string())
            }
            Done::Exported(Err(error)) | Done::Revealed(Err(error)) => Some(error),
            Done::Exported(Ok(_)) | Done::Revealed(Ok(())) => None,
        };
        if let Some(sentence) = refused {
            state.warn(&sentence);
        }
    }
}

/// Shows at once what is written about a run now.
fn edited(state: &mut State, path: &Path, about: &About) {
    for one in state.history.iter_mut().flatten() {
        if let Listed::Run(header) = one
            && header.path == path
        {
            header.set_about(about.clone());
        }
    }
    let shown = [&mut state.opened, &mut state.current, &mut state.latest].into_iter().flatten();
    for session in shown.filter(|session| session.file.as_deref() == Some(path)) {
        session.run.about = Some(about.clone()).filter(|about| !about.is_empty());
    }
    for chosen in state.comparing.chosen.iter_mut().filter(|chosen| chosen.source.is_file(path)) {
        chosen.given.clone_from(&about.name);
    }
    state.runs.touch();
}

/// What is known of the folder of saved runs.
#[derive(Default)]
struct Folder {
    /// When it was changed last, as the last listing found it; every save, deletion and new name changes that.
    time: Mutex<Option<SystemTime>>,
    /// It was changed since, or is to be listed for another reason.
    changed: AtomicBool,
    /// A run in it has not ended: another program may be measuring, and is disturbed by every listing.
    is_open: AtomicBool,
}

impl Folder {
    /// Takes in when it was changed; what that was before.
    fn look(&self, path: &Path) -> (Option<SystemTime>, Option<SystemTime>) {
        let now = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let mut time = self.time.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::replace(&mut *time, now), now)
    }
}

/// Looks at the folder until nobody wants to know any more.
fn watch(path: &Path, folder: &Weak<Folder>, wake: &Wake) {
    let (mut is_other, mut told) = (false, Instant::now());
    loop {
        std::thread::sleep(WATCH);
        let Some(folder) = folder.upgrade() else { return };
        let (before, now) = folder.look(path);
        is_other |= before.is_some() && before != now;
        let pause = if folder.is_open.load(Ordering::Acquire) { WATCH_OPEN } else { WATCH };
        if is_other && told.elapsed() >= pause {
            (is_other, told) = (false, Instant::now());
            folder.changed.store(true, Ordering::Release);
            wake();
        }
    }
}

/// Writes each run into the folder; how many were written.
fn export_all(paths: &[PathBuf], folder: &Path) -> Result<usize, String> {
    if !folder.is_dir() {
        return Err(format!("the folder to export to isn't there, or not any more: {}", folder.display()));
    }
    for path in paths {
        let run = Store::load(path).map_err(|error| error.to_string())?;
        let text = export::json(&run).map_err(|error| error.to_string())?;
        let stem = path.file_stem().map_or_else(|| run.id.clone(), |stem| stem.to_string_lossy().into_owned());
        write_beside(folder, &export::safe_name(&stem), text.as_bytes())
            .map_err(|error| format!("the run could not be exported ({error}): {}", folder.display()))?;
    }
    Ok(paths.len())
}

/// Writes a new file: NAME.json, or NAME-2.json where there is one already.
fn write_beside(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    const TRIES: usize = 1000;
    for number in 1..=TRIES {
        let name = if number == 1 { format!("{name}.json") } else { format!("{name}-{number}.json") };
        match fs::File::options().write(true).create_new(true).open(folder.join(&name)) {
            Ok(mut file) => {
                let written = io::Write::write_all(&mut file, bytes);
                if written.is_err() {
                    fs::remove_file(folder.join(name)).ok();
                }
                return written;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Asks the file manager to show a file; where it can't be asked, its folder is opened.
fn reveal(path: &Path) -> Result<(), String> {
    if path.symlink_metadata().is_err() {
        return Err(format!("the file isn't there any more: {}", path.display()));
    }
    let succeeds = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let shown = if cfg!(target_os = "macos") {
        succeeds(Command::new("open").arg("-R").arg(path))
    } else {
        let manager =
            ["--session", "--print-reply", "--dest=org.freedesktop.FileManager1", "/org/freedesktop/FileManager1"];
        let file = format!("array:string:{}", file_address(path));
        let ask = ["org.freedesktop.FileManager1.ShowItems", &file, "string:"];
        let folder = path.parent().unwrap_or(path);
        succeeds(Command::new("dbus-send").args(manager).args(ask)) || succeeds(Command::new("xdg-open").arg(folder))
    };
    if shown {
        return Ok(());
    }
    Err(format!("no file manager could be asked to show the file; look for it by its path: {}", path.display()))
}

/// "file:///data/runs/a%20b.json": every byte that isn't plain is written as a number.
fn file_address(path: &Path) -> String {
    let mut address = "file://".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => address.push(char::from(*byte)),
            other => drop(write!(address, "%{other:02X}")),
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_writes_over_nothing_and_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let path = store.save(&record::reference().unwrap()).unwrap();
        let out = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            assert_eq!(export_all(std::slice::from_ref(&path), out.path()), Ok(1));
        }
        let mut names: Vec<String> =
            fs::read_dir(out.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["apple-m5-2.json", "apple-m5.json"]);
        assert!(export_all(&[store.path_of("gone")], out.path()).unwrap_err().contains("could not be read"));
        assert!(export_all(&[path], &out.path().join("gone")).unwrap_err().contains("isn't there"));
        assert!(reveal(&store.path_of("gone")).unwrap_err().contains("isn't there"));
        assert_eq!(file_address(Path::new("/a b/ü,c.json")), "file:///a%20b/%C3%BC%2Cc.json");
    }
}
