//! What a person adds to a run: a name, a note, tags, and which run is the baseline.
//!
//! It is kept in a small file beside the run, `ID.about`, and the baseline as the name of its file in `baseline`. A run's own
//! file is never written again for a word about it: it may be in the middle of being made, be read-only, or hold fields of a
//! newer program, and its samples stay the bytes that were measured. An exported run carries the words in itself.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Store, named::taken, store::write_bytes};

/// The most characters of a name.
pub const NAME_CHARS_MAX: usize = 120;

/// The most characters of a note.
pub const NOTE_CHARS_MAX: usize = 4000;

/// The most characters of a tag.
pub const TAG_CHARS_MAX: usize = 40;

/// The most tags of a run.
pub const TAGS_MAX: usize = 16;

/// No words about a run take more than this.
const ABOUT_BYTES_MAX: u64 = 128 << 10;

/// How long a change waits for another copy of the program that makes one.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// What a person wrote about a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct About {
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// A change of what is written about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Calls it so; an empty name takes the name away.
    Name(String),
    /// Writes the note anew; an empty one takes it away.
    Note(String),
    /// Adds a tag.
    Tag(String),
    /// Takes a tag away.
    Untag(String),
    /// These tags and no others.
    Tags(Vec<String>),
}

/// Why a run could not be changed, pinned, deleted or restored.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The words are too long.
    #[error("{0}")]
    Words(String),
    /// The run isn't one of the store's, or not any more.
    #[error("there is no such saved run, or not any more: {}", .0.display())]
    Gone(PathBuf),
    /// Another copy has held the lock for long.
    #[error("another copy of Roofline is changing saved runs; try again in a moment")]
    Busy,
    /// The run goes on.
    #[error("the run goes on and was kept; cancel it first: {}", .0.display())]
    Running(PathBuf),
    /// What is there can't be read, and is left alone.
    #[error("what was written about the run can't be read ({reason}); it was left alone, move it away to write anew: {}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file can't be written or moved.
    #[error("the saved run could not be changed ({source}); look at the rights and the free space of its folder: {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl About {
    /// Nothing is written.
    pub const fn is_empty(&self) -> bool {
        self.name.is_none() && self.note.is_none() && self.tags.is_empty()
    }

    /// What a file says, held to what [`Edit`]s may write: one line for names and tags, no control characters, no more than fits.
    pub(super) fn cleaned(self) -> Option<Self> {
        let mut tags: Vec<String> = self.tags.iter().take(4 * TAGS_MAX).map(|tag| line(tag, TAG_CHARS_MAX)).collect();
        tidy_tags(&mut tags);
        tags.truncate(TAGS_MAX);
        let kept = |text: String| Some(text).filter(|text| !text.is_empty());
        let name = self.name.and_then(|name| kept(line(&name, NAME_CHARS_MAX)));
        let note = self.note.and_then(|note| kept(lines(&note, NOTE_CHARS_MAX)));
        Some(Self { name, note, tags }).filter(|about| !about.is_empty())
    }

    /// Makes the change, or says why not and changes nothing.
    pub fn apply(&mut self, edit: &Edit) -> Result<(), String> {
        let mut tags = self.tags.clone();
        match edit {
            Edit::Name(name) => {
                let name = fitting(line(name, usize::MAX), "a name", NAME_CHARS_MAX)?;
                self.name = Some(name).filter(|name| !name.is_empty());
            }
            Edit::Note(note) => {
                let note = fitting(lines(note, usize::MAX), "a note", NOTE_CHARS_MAX)?;
                self.note = Some(note).filter(|note| !note.is_empty());
            }
            Edit::Tag(tag) => tags.push(fitting(line(tag, usize::MAX), "a tag", TAG_CHARS_MAX)?),
            Edit::Untag(tag) => tags.retain(|kept| kept.to_lowercase() != line(tag, usize::MAX).to_lowercase()),
            Edit::Tags(new) => {
                let fit = |tag: &String| fitting(line(tag, usize::MAX), "a tag", TAG_CHARS_MAX);
                tags = new.iter().map(fit).collect::<Result<_, _>>()?;
            }
        }
        tidy_tags(&mut tags);
        if tags.len() > TAGS_MAX {
            return Err(format!("a run has at most {TAGS_MAX} tags; take one away first"));
        }
        self.tags = tags;
        Ok(())
    }

    /// What the file beside a run says; `None` where there is none.
    pub(super) fn beside(run: &Path) -> Result<Option<Self>, ChangeError> {
        let path = side_of(run);
        let unreadable = |reason: String| ChangeError::Unreadable { path: path.clone(), reason };
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        if !metadata.is_file() || metadata.len() > ABOUT_BYTES_MAX {
            return Err(unreadable("it is none of Roofline's".to_owned()));
        }
        let text = fs::read_to_string(&path).map_err(|error| unreadable(error.to_string()))?;
        let about: Self = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
        Ok(Some(about.cleaned().unwrap_or_default()))
    }
}

/// The file of what is written about the run in `run`.
pub(super) fn side_of(run: &Path) -> PathBuf {
    run.with_extension("about")
}

/// Control characters and line breaks become spaces, what turns the direction of text is left out; at most so many characters,
/// trimmed.
pub(super) fn line(text: &str, most: usize) -> String {
    let plain = text.chars().filter(|c| !turns(*c)).map(|c| if c.is_control() { ' ' } else { c });
    plain.skip_while(|c| c.is_whitespace()).take(most).collect::<String>().trim_end().to_owned()
}

/// The same with line breaks kept.
fn lines(text: &str, most: usize) -> String {
    let plain = text.chars().filter(|c| *c != '\r' && !turns(*c));
    let plain = plain.map(|c| if c.is_control() && c != '\n' { ' ' } else { c });
    plain.skip_while(|c| c.is_whitespace()).take(most).collect::<String>().trim_end().to_owned()
}

/// Makes text read otherwise than it is written.
const fn turns(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn fitting(text: String, what: &str, most: usize) -> Result<String, String> {
    match text.chars().count() {
        count if count > most => Err(format!("{what} has at most {most} characters, this one has {count}")),
        _ => Ok(text),
    }
}

/// No empty ones, and none twice, whatever the case.
fn tidy_tags(tags: &mut Vec<String>) {
    let mut seen: Vec<String> = Vec::new();
    tags.retain(|tag| {
        let lower = tag.to_lowercase();
        let is_new = !tag.is_empty() && !seen.contains(&lower);
        seen.push(lower);
        is_new
    });
}

impl Store {
    /// Changes what is written about the saved run in `path`, all or nothing, and gives what is written then.
    pub fn edit(&self, path: &Path, edits: &[Edit]) -> Result<About, ChangeError> {
        let _lock = self.lock_changes()?;
        self.check_here(path)?;
        let mut about = match About::beside(path)? {
            Some(about) => about,
            // An imported run may bring words of its own.
            None => Self::load(path).ok().and_then(|run| run.about).unwrap_or_default(),
        };
        for edit in edits {
            about.apply(edit).map_err(ChangeError::Words)?;
            if let (Edit::Name(_), Some(name)) = (edit, &about.name)
                && let Some(why) = taken(self, path, name)
            {
                return Err(ChangeError::Words(why));
            }
        }
        let side = side_of(path);
        let mut text = serde_json::to_vec_pretty(&about).unwrap_or_default();
        text.push(b'\n');
        write_bytes(&side, &text).map_err(|source| ChangeError::Io { path: side, source })?;
        Ok(about)
    }

    /// Pins a run as the baseline, the only one, or takes the pin away.
    pub fn pin(&self, path: Option<&Path>) -> Result<(), ChangeError> {
        let _lock = self.lock_changes()?;
        let file = self.folder().join("baseline");
        let failed = |source| ChangeError::Io { path: file.clone(), source };
        let Some(path) = path else {
            return match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
                _ => Ok(()),
            };
        };
        self.check_here(path)?;
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| ChangeError::Gone(path.to_owned()))?;
        write_bytes(&file, format!("{name}\n").as_bytes()).map_err(failed)
    }

    /// The file of the run that is pinned as the baseline, if it is there.
    pub fn baseline(&self) -> Option<PathBuf> {
        let file = self.folder().join("baseline");
        fs::metadata(&file).ok().filter(|metadata| metadata.is_file() && metadata.len() <= 4096)?;
        let text = fs::read_to_string(&file).ok()?;
        let name = text.trim_end_matches('\n');
        let is_plain = !name.is_empty() && !name.contains(['/', '\\']);
        Some(self.folder().join(name)).filter(|path| is_plain && self.check_here(path).is_ok())
    }

    /// A run file directly in the store, and there.
    pub(super) fn check_here(&self, path: &Path) -> Result<(), ChangeError> {
        let is_run = path.extension().is_some_and(|extension| extension == "json");
        let is_here = path.parent() == Some(self.folder()) && path.symlink_metadata().is_ok();
        if is_run && is_here { Ok(()) } else { Err(ChangeError::Gone(path.to_owned())) }
    }

    /// Held while something is changed, so that two copies of the program don't lose each other's words.
    pub(super) fn lock_changes(&self) -> Result<File, ChangeError> {
        let path = self.folder().join("changing.lock");
        let failed = |source| ChangeError::Io { path: path.clone(), source };
        fs::create_dir_all(self.folder()).map_err(failed)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
                Err(fs::TryLockError::WouldBlock) if start.elapsed() >= LOCK_WAIT => return Err(ChangeError::Busy),
                Err(fs::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_held_to_their_bounds() {
        let mut about = About::default();
        about.apply(&Edit::Name("  a/b\n<b>c\u{1b}[2J\u{202e}\t ".into())).unwrap();
        assert_eq!(about.name.as_deref(), Some("a/b <b>c [2J"));
        let before = about.clone();
        let long = "x".repeat(10_000);
        for edit in [Edit::Name(long.clone()), Edit::Note(long.clone()), Edit::Tag(long.clone())] {
            assert!(about.apply(&edit).unwrap_err().contains("10000"));
        }
        assert!(about.apply(&Edit::Tags((0..17).map(|n| n.to_string()).collect())).is_err());
        assert_eq!(about, before, "what is refused changes nothing");
        about.apply(&Edit::Note("one\r\ntwo".into())).unwrap();
        about.apply(&Edit::Tags(vec!["Fan".into(), "fan".into(), String::new()])).unwrap();
        assert_eq!((about.note.as_deref(), about.tags.as_slice()), (Some("one\ntwo"), ["Fan".to_owned()].as_slice()));
        about.apply(&Edit::Untag("FAN".into())).unwrap();
        about.apply(&Edit::Name(" ".into())).unwrap();
        about.apply(&Edit::Note(String::new())).unwrap();
        assert!(about.is_empty());
    }

    #[test]
    fn absurd_words_in_a_file_are_cut() {
        let wild = About {
            name: Some("n\n".repeat(9000)),
            note: Some("\u{7}".into()),
            tags: (0..10_000).map(|n| n.to_string()).collect(),
        };
        let about = wild.cleaned().unwrap();
        assert!(about.name.unwrap().chars().count() <= NAME_CHARS_MAX);
        assert_eq!((about.note, about.tags.len()), (None, TAGS_MAX));
    }
}
