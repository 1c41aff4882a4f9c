//! What is in the store: from the index what it knows, from their files the rest.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::{
    Listed, LoadError, RunHeader, Store,
    about::side_of,
    figures::{self, Figures},
    header::sort_listed,
    index::{self, Known, Stamp},
};

/// So many files are read at once, before what they hold is told.
const BATCH: usize = 64;

/// The index is written whenever so many files were read, so that a first listing that is cut off isn't lost.
const WRITE_EVERY: usize = 2048;

/// How a listing went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Files in the store.
    pub files: usize,
    /// Those that had to be read, since the index didn't know them.
    pub read: usize,
    /// Those that were left unread, since the listing was stopped.
    pub left: usize,
}

/// A run file in the folder.
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Its name and what it is now; absent where it can't be looked at, is no file, or has no name in Unicode: such ones are read
    /// each time.
    pub(super) now: Option<(String, Stamp)>,
    about: Option<Stamp>,
}

impl Found {
    fn is_known_as(&self, known: &Known) -> bool {
        self.now.as_ref().is_some_and(|(_, stamp)| *stamp == known.stamp) && self.about == known.about
    }
}

impl Store {
    /// Every file in the store, newest first, unreadable ones last.
    pub fn list(&self) -> Vec<Listed> {
        let mut all = Vec::new();
        self.list_with(&mut |some, _left| {
            all.extend(some);
            true
        });
        sort_listed(&mut all);
        all
    }

    /// Lists the store: `told` is given what the index knows first, then the rest as it is read, newest first, each time with
    /// how many files are left. It is in no order. Where `told` returns false, the rest is left unread.
    pub fn list_with(&self, told: &mut dyn FnMut(Vec<Listed>, usize) -> bool) -> Listing {
        if let Some(unreadable) = self.unreadable() {
            told(vec![unreadable], 0);
            return Listing::default();
        }
        let files = self.files();
        let mut index: HashMap<String, Known> =
            index::read(&self.index_path()).into_iter().map(|known| (known.file.clone(), known)).collect();
        let baseline = self.baseline();
        let (mut known, mut stale): (Vec<Known>, Vec<&Found>) = (Vec::new(), Vec::new());
        for file in &files {
            match file.now.as_ref().and_then(|(name, _)| index.remove(name)).filter(|known| file.is_known_as(known)) {
                Some(one) => known.push(one),
                None => stale.push(file),
            }
        }
        let mut summary = Listing { files: files.len(), read: 0, left: stale.len() };
        let first = known.iter().map(|known| self.shown(known, baseline.as_deref())).collect();
        let mut goes_on = told(first, stale.len());
        let mut fresh = Figures::default();
        // What is gone is left out of the index when something else is written too.
        stale.sort_by(|a, b| b.path.cmp(&a.path));
        for batch in stale.chunks(BATCH) {
            if !goes_on {
                break;
            }
            let read: Vec<_> = batch.par_iter().map(|found| read_one(found)).collect();
            let mut listed = Vec::with_capacity(read.len());
            for (one, lines, figures) in read {
                listed.push(marked(one, baseline.as_deref()));
                known.extend(lines);
                fresh.add(figures);
            }
            (summary.read, summary.left) = (summary.read + batch.len(), summary.left - batch.len());
            goes_on = told(listed, summary.left);
            if fresh.runs() >= WRITE_EVERY {
                self.write_index(&files, &known, std::mem::take(&mut fresh));
            }
        }
        if fresh.runs() > 0 || (summary.read == 0 && !index.is_empty()) {
            self.write_index(&files, &known, fresh);
        }
        summary
    }

    /// The folder itself, where it is there and can't be read: its runs aren't gone, and the index of them stays.
    fn unreadable(&self) -> Option<Listed> {
        let error = fs::read_dir(self.folder()).err().filter(|error| error.kind() != io::ErrorKind::NotFound)?;
        let path = self.folder().to_owned();
        let reason = format!(
            "the folder of saved runs can't be read ({error}); give yourself the right to, or choose another with \
             --data-dir: {}",
            path.display()
        );
        Some(Listed::Unreadable { path, reason })
    }

    /// The run files in the folder, and what is written about them. Nothing is read.
    pub(super) fn files(&self) -> Vec<Found> {
        let (mut runs, mut abouts) = (Vec::new(), HashMap::new());
        for entry in fs::read_dir(self.folder()).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            match path.extension().and_then(std::ffi::OsStr::to_str) {
                Some("json") => runs.push(path),
                Some("about") => {
                    let stamp = fs::metadata(&path).map_or_else(|_| Stamp::default(), |metadata| Stamp::of(&metadata));
                    abouts.insert(path, stamp);
                }
                _ => {}
            }
        }
        let found = |path: PathBuf| {
            let about = abouts.get(&side_of(&path)).copied();
            let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file);
            let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
            let now = name.zip(metadata).map(|(name, metadata)| (name, Stamp::of(&metadata)));
            Found { path, now, about }
        };
        runs.into_iter().map(found).collect()
    }

    fn shown(&self, known: &Known, baseline: Option<&Path>) -> Listed {
        let path = self.folder().join(&known.file);
        let one = match &known.shown {
            Ok(header) => {
                let mut header = RunHeader { path, ..header.clone() };
                header.renew_words();
                Listed::Run(header)
            }
            Err(reason) => Listed::Unreadable { reason: format!("{reason}{}", path.display()), path },
        };
        marked(one, baseline)
    }

    /// Writes what is known for the next listing. Where that can't be, the next one reads more, and nothing else is lost.
    fn write_index(&self, files: &[Found], known: &[Known], fresh: Figures) {
        let lines: Vec<&Known> = known.iter().collect();
        index::write(&self.index_path(), &lines).ok();
        figures::merge(&self.figures_path(), files, fresh).ok();
    }

    fn index_path(&self) -> PathBuf {
        self.folder().with_file_name("runs.index")
    }

    pub(super) fn figures_path(&self) -> PathBuf {
        self.folder().with_file_name("figures.index")
    }
}

fn marked(mut one: Listed, baseline: Option<&Path>) -> Listed {
    if let Listed::Run(header) = &mut one {
        header.set_pinned(baseline == Some(&header.path));
    }
    one
}

/// Reads a file: what a list shows, what the index keeps of it, and its figures.
fn read_one(found: &Found) -> (Listed, Option<Known>, Figures) {
    let keep = |shown| {
        let (file, stamp) = found.now.clone()?;
        Some(Known { file, stamp, about: found.about, shown })
    };
    match Store::load(&found.path) {
        Ok(run) => {
            let header = RunHeader::of(&found.path, &run);
            let figures = Figures::of(found, &run);
            (Listed::Run(header.clone()), keep(Ok(header)), figures)
        }
        Err(error) => {
            let reason = error.to_string();
            // What the system refused now it may allow the next time.
            let lasts = !matches!(error, LoadError::Io { .. });
            let end = found.path.display().to_string();
            let known = reason.strip_suffix(&end).filter(|_| lasts).and_then(|start| keep(Err(start.to_owned())));
            let figures = Figures::none(found);
            (Listed::Unreadable { path: found.path.clone(), reason }, known, figures)
        }
    }
}
