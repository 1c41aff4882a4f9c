//! What the person chose about engines: a small JSON file in the engines folder, which may hold more than is known here.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use crate::engine::{EngineId, Surroundings};

/// A settings file larger than this is none.
const BYTES_MAX: u64 = 1 << 20;

/// The settings, with everything in the file that is not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    file: Option<PathBuf>,
    json: Map<String, Value>,
}

impl Settings {
    /// Where they are kept.
    pub fn file(surroundings: &Surroundings) -> Option<PathBuf> {
        Some(surroundings.engines()?.join("settings.json"))
    }

    /// Reads them; without a file they are empty. An error for a file that can't be read, which is left alone.
    pub fn read(surroundings: &Surroundings) -> Result<Self, String> {
        let Some(file) = Self::file(surroundings) else { return Ok(Self { file: None, json: Map::new() }) };
        let unreadable = |why: &dyn std::fmt::Display| {
            format!(
                "the settings of engines could not be read ({why}); correct the file or delete it: {}",
                file.display()
            )
        };
        let json = match fs::metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
            Err(error) => return Err(unreadable(&error)),
            Ok(about) if !about.is_file() => return Err(unreadable(&"it is no file")),
            Ok(about) if about.len() > BYTES_MAX => return Err(unreadable(&"it is too large")),
            Ok(_) => {
                let text = fs::read_to_string(&file).map_err(|error| unreadable(&error))?;
                serde_json::from_str(&text).map_err(|error| unreadable(&error))?
            }
        };
        Ok(Self { file: Some(file), json })
    }

    /// The path that was chosen for an engine. An error where something else than a path stands there.
    pub fn path(&self, engine: EngineId) -> Result<Option<PathBuf>, String> {
        let value = self.json.get("engines").and_then(|engines| engines.get(engine.id())?.get("path"));
        match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(path)) if !path.is_empty() => Ok(Some(PathBuf::from(path))),
            Some(other) => Err(format!(
                "the settings of engines name no path for {engine} but {}; correct the file or delete it: {}",
                other.to_string().chars().take(40).collect::<String>(),
                self.file.as_deref().unwrap_or(Path::new("")).display()
            )),
        }
    }

    /// Chooses a path for an engine, or none, and writes the file.
    pub fn choose(&mut self, engine: EngineId, path: Option<&Path>) -> Result<(), String> {
        let text = path.map(|path| {
            path.to_str()
                .ok_or_else(|| format!("this path is no UTF-8 and can't be kept; choose another: {}", path.display()))
        });
        let text = text.transpose()?;
        let engines = self.json.entry("engines").or_insert_with(|| json!({}));
        if !engines.is_object() {
            *engines = json!({});
        }
        if let Some(engines) = engines.as_object_mut() {
            let entry = engines.entry(engine.id()).or_insert_with(|| json!({}));
            match (entry.as_object_mut(), text) {
                (Some(entry), Some(text)) => drop(entry.insert("path".to_owned(), text.into())),
                (Some(entry), None) => drop(entry.remove("path")),
                (None, text) => *entry = json!({ "path": text }),
            }
            if engines.get(engine.id()).and_then(Value::as_object).is_some_and(Map::is_empty) {
                engines.remove(engine.id());
            }
        }
        self.write()
    }

    fn write(&self) -> Result<(), String> {
        let Some(file) = &self.file else { return Err("without a data folder no settings are kept".to_owned()) };
        write_json(file, &self.json).map_err(|error| {
            format!(
                "the settings of engines could not be written ({error}); free some space or choose another data folder: {}",
                file.display()
            )
        })
    }
}

/// Writes JSON through a file beside it, so that whatever fails leaves the file before it whole.
pub(super) fn write_json(file: &Path, json: &impl serde::Serialize) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut text = serde_json::to_vec_pretty(json)?;
    text.push(b'\n');
    let builder = tempfile::Builder::new().prefix(".saving-").suffix(".tmp").tempfile_in(folder);
    let mut beside = builder.map_err(|error| io::Error::from(error.kind()))?;
    beside.write_all(&text)?;
    beside.as_file().sync_all()?;
    beside.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_kept_beside_what_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let here = Surroundings { data: Some(folder.path().to_owned()), ..Surroundings::default() };
        let file = Settings::file(&here).unwrap();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, r#"{"later": 1, "engines": {"mlx": {"x": 2}, "pytorch": 3}}"#).unwrap();
        let mut settings = Settings::read(&here).unwrap();
        settings.choose(EngineId::Pytorch, Some(Path::new("/a b/\"c\" ü"))).unwrap();
        settings.choose(EngineId::Mlx, Some(Path::new("/m"))).unwrap();
        let mut again = Settings::read(&here).unwrap();
        assert_eq!(again.path(EngineId::Pytorch), Ok(Some(PathBuf::from("/a b/\"c\" ü"))));
        again.choose(EngineId::Pytorch, None).unwrap();
        again.choose(EngineId::Mlx, None).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains("later") && text.contains("\"x\": 2") && !text.contains("pytorch"), "{text}");
    }

    #[test]
    fn settings_that_are_none_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let here = Surroundings { data: Some(folder.path().to_owned()), ..Surroundings::default() };
        let file = Settings::file(&here).unwrap();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        for wrong in ["", "[1]", "{\"engines\"", "\u{0}"] {
            fs::write(&file, wrong).unwrap();
            let error = Settings::read(&here).unwrap_err();
            assert!(error.contains("could not be read") && error.ends_with("settings.json"), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), wrong);
        }
        fs::write(&file, r#"{"engines": {"mlx": {"path": 5}}}"#).unwrap();
        assert!(Settings::read(&here).unwrap().path(EngineId::Mlx).unwrap_err().contains("no path for mlx but 5"));
    }
}
