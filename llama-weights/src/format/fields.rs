//! Typed access to the fields of a JSON object, with errors that name file, field, expected and found.
//!
//! `null` and an absent key mean the same everywhere, as they do to transformers.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::json::{self, Pairs};
use crate::Error;
use crate::error::Excerpt;

/// No configuration of any model comes near this length.
const LIMIT: u64 = 1 << 20;
const ADVICE: &str = "correct the file or download it again";

/// A JSON object of a file, or an object within it.
pub(super) struct Fields {
    path: PathBuf,
    /// Put before a field's name in messages: empty, or `rope_scaling.`.
    prefix: String,
    object: Map<String, Value>,
}

/// Integers by key, in whatever a file keeps its values.
pub(super) trait Integers {
    /// The value at a key: `None` where there is none, `Some(None)` where it is no integer from 0 on.
    fn unsigned(&self, key: &str) -> Option<Option<u64>>;

    /// An error about a key whose value is there, or absent.
    fn fault(&self, key: &str, expected: impl Into<String>) -> Error;

    /// An integer from `least` to `most`.
    fn integer(&self, key: &str, least: u64, most: u64) -> Result<Option<usize>, Error> {
        self.unsigned(key)
            .map(|value| {
                value
                    .filter(|n| (least..=most).contains(n))
                    .and_then(|n| usize::try_from(n).ok())
                    .ok_or_else(|| self.fault(key, format!("an integer from {least} to {most}")))
            })
            .transpose()
    }

    /// A size: an integer from 1 to `most` that must be there.
    fn size(&self, key: &str, most: u64) -> Result<usize, Error> {
        self.integer(key, 1, most)?
            .ok_or_else(|| self.fault(key, format!("an integer from 1 to {most}")))
    }
}

impl Integers for Fields {
    fn unsigned(&self, key: &str) -> Option<Option<u64>> {
        self.get(key).map(Value::as_u64)
    }

    fn fault(&self, key: &str, expected: impl Into<String>) -> Error {
        self.fault_found(key, expected, shown(self.get(key)))
    }
}

impl Fields {
    /// Reads a file; equal keys add a warning.
    pub(super) fn read(path: &Path, warnings: &mut Vec<String>) -> Result<Self, Error> {
        let Pairs(pairs) = json::read::<Pairs<Value>>(path, LIMIT)?;
        let mut object = Map::new();
        for (key, value) in pairs {
            if object.insert(key.clone(), value).is_some() {
                warnings.push(format!(
                    "{}: {} appears twice; the last one counts",
                    path.display(),
                    Excerpt(&key)
                ));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            prefix: String::new(),
            object,
        })
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn fault_found(
        &self,
        key: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Error {
        Error::Field {
            origin: self.path.display().to_string(),
            field: format!("{}{}", self.prefix, plain(key)),
            expected: expected.into(),
            found: found.into(),
            advice: ADVICE,
        }
    }

    /// An error about a key whose value is right in itself and not supported, with what to do instead.
    pub(super) fn fault_advised(&self, key: &str, expected: &str, advice: &'static str) -> Error {
        Error::Field {
            origin: self.path.display().to_string(),
            field: format!("{}{}", self.prefix, plain(key)),
            expected: expected.to_owned(),
            found: shown(self.get(key)),
            advice,
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.object.keys().map(String::as_str)
    }

    /// Whether a value is absent, or a list or an object of nothing, or false.
    pub(super) fn is_empty(&self, key: &str) -> bool {
        match self.get(key) {
            None | Some(Value::Bool(false)) => true,
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(object)) => object.is_empty(),
            Some(_) => false,
        }
    }

    /// A list of strings; `None` where the value is none.
    pub(super) fn texts(&self, key: &str) -> Option<Vec<String>> {
        let list = self.get(key)?.as_array()?.iter();
        list.map(|text| Some(text.as_str()?.to_owned())).collect()
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, Error> {
        self.get(key)
            .map(|value| value.as_f64().ok_or_else(|| self.fault(key, "a number")))
            .transpose()
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, Error> {
        self.get(key)
            .map(|value| {
                value
                    .as_bool()
                    .ok_or_else(|| self.fault(key, "true or false"))
            })
            .transpose()
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        self.get(key)
            .map(|value| value.as_str().ok_or_else(|| self.fault(key, "a string")))
            .transpose()
    }

    /// Token ids below `vocab_size`: one number or a list. `Some` of an empty list where the value is `null`, `None` where the key
    /// is absent: only here the two differ, since an absent id has a default.
    pub(super) fn ids(&self, key: &str, vocab_size: usize) -> Result<Option<Vec<u32>>, Error> {
        let expected = || format!("a token id below vocab_size ({vocab_size}) or a list of them");
        let id = |value: &Value| {
            value
                .as_u64()
                .filter(|&id| id < vocab_size as u64)
                .and_then(|id| u32::try_from(id).ok())
                .ok_or_else(|| self.fault_found(key, expected(), shown(Some(value))))
        };
        match self.object.get(key) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(Vec::new())),
            Some(Value::Array(list)) => list.iter().map(id).collect::<Result<_, _>>().map(Some),
            Some(value) => Ok(Some(vec![id(value)?])),
        }
    }

    /// An object within this one; absent where it is empty.
    pub(super) fn nested(&self, key: &str) -> Result<Option<Fields>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(object)) if object.is_empty() => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Fields {
                path: self.path.clone(),
                prefix: format!("{}{key}.", self.prefix),
                object: object.clone(),
            })),
            Some(_) => Err(self.fault(key, "an object or null")),
        }
    }
}

/// A key in a message: as it is where it is a word, since some objects have a file's own names for keys.
fn plain(key: &str) -> String {
    let is_word = key.len() <= 80 && key.bytes().all(|byte| byte.is_ascii_graphic());
    match is_word {
        true => key.to_owned(),
        false => Excerpt(key).to_string(),
    }
}

/// A value in a message.
fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "nothing".to_owned(),
        Some(Value::String(text)) => Excerpt(text).to_string(),
        Some(Value::Array(_)) => "a list".to_owned(),
        Some(Value::Object(_)) => "an object".to_owned(),
        Some(value) => value.to_string(),
    }
}
