//! Where a model directory keeps its chat template and its special tokens. The template is not compiled here.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::message::kind;
use crate::object::Object;
use crate::{Error, SpecialTokens};

/// A template's text, if there is one, and what it may call special.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) template: Option<String>,
    pub(crate) tokens: SpecialTokens,
    /// Where the template came from, for errors.
    pub(crate) origin: String,
}

/// The fields of `tokenizer_config.json` that matter here; `special_tokens_map.json` has a part of them.
/// serde refuses a field given twice.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    chat_template: Option<Value>,
    bos_token: Option<Value>,
    eos_token: Option<Value>,
    unk_token: Option<Value>,
    pad_token: Option<Value>,
    sep_token: Option<Value>,
    cls_token: Option<Value>,
    mask_token: Option<Value>,
    additional_special_tokens: Option<Value>,
    extra_special_tokens: Option<Value>,
    added_tokens_decoder: Option<BTreeMap<String, AddedToken>>,
}

/// `tokenizer.json`, of which only the added tokens are read.
#[derive(Deserialize)]
struct TokenizerJson {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
struct AddedToken {
    content: String,
    #[serde(default)]
    special: bool,
}

impl Config {
    /// What `tokenizer_config.json` alone says.
    pub(crate) fn parse(json: &str, origin: &str) -> Result<Self, Error> {
        let settings: Settings = parse_json(json, origin)?;
        let template = choose_template(settings.chat_template.as_ref(), origin)?;
        let tokens = special_tokens(&settings, origin)?;
        Ok(Self {
            template,
            tokens,
            origin: origin.to_owned(),
        })
    }

    /// What the files of a directory say together, each of them optional: `chat_template.jinja` comes before the
    /// template in `tokenizer_config.json`, whose tokens come before those of `special_tokens_map.json`; special
    /// tokens that only `tokenizer.json` knows are added.
    pub(crate) fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("tokenizer_config.json");
        let json = read(&path)?.unwrap_or_else(|| "{}".to_owned());
        let mut config = Self::parse(&json, &path.display().to_string())?;

        let path = dir.join("special_tokens_map.json");
        if let Some(json) = read(&path)? {
            config.complete(Self::parse(&json, &path.display().to_string())?.tokens);
        }
        let path = dir.join("tokenizer.json");
        if let Some(json) = read(&path)? {
            let tokenizer: TokenizerJson = parse_json(&json, &path.display().to_string())?;
            config.tokens.others.extend(
                tokenizer
                    .added_tokens
                    .into_iter()
                    .filter(|t| t.special)
                    .map(|t| t.content),
            );
        }
        let path = dir.join("chat_template.jinja");
        if let Some(template) = read(&path)? {
            config.template = Some(template);
            config.origin = path.display().to_string();
        }
        Ok(config)
    }

    fn complete(&mut self, other: SpecialTokens) {
        let tokens = &mut self.tokens;
        tokens.bos = tokens.bos.take().or(other.bos);
        tokens.eos = tokens.eos.take().or(other.eos);
        for (name, text) in other.named {
            if !tokens.named.iter().any(|(known, _)| *known == name) {
                tokens.named.push((name, text));
            }
        }
        tokens.others.extend(other.others);
    }
}

/// A file's text, `None` where there is no such file.
fn read(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

fn parse_json<T: DeserializeOwned>(json: &str, origin: &str) -> Result<T, Error> {
    match serde_json::from_str(json.strip_prefix('\u{feff}').unwrap_or(json)) {
        Ok(Object(value)) => Ok(value),
        Err(source) => Err(Error::Json {
            origin: origin.to_owned(),
            source,
        }),
    }
}

/// The template itself, or the one named `default` of a list.
fn choose_template(value: Option<&Value>, origin: &str) -> Result<Option<String>, Error> {
    let list = match value {
        None => return Ok(None),
        Some(Value::String(template)) => return Ok(Some(template.clone())),
        Some(Value::Array(list)) => list,
        Some(other) => {
            return Err(fault(
                origin,
                "chat_template",
                "a string or a list of {name, template}",
                kind(other),
            ));
        }
    };
    let mut names = Vec::new();
    for (index, entry) in list.iter().enumerate() {
        match (&entry["name"], &entry["template"]) {
            (Value::String(name), Value::String(template)) if name == "default" => {
                return Ok(Some(template.clone()));
            }
            (Value::String(name), Value::String(_)) => names.push(format!("{name:?}")),
            _ => {
                return Err(fault(
                    origin,
                    &format!("chat_template[{index}]"),
                    "{name, template}",
                    kind(entry),
                ));
            }
        }
    }
    let found = if names.is_empty() {
        "an empty list".to_owned()
    } else {
        names.join(", ")
    };
    Err(fault(
        origin,
        "chat_template",
        "a template named \"default\"",
        &found,
    ))
}

fn special_tokens(settings: &Settings, origin: &str) -> Result<SpecialTokens, Error> {
    let one = |field: &str, value: &Option<Value>| match value {
        Some(value) => token(value, field, origin).map(Some),
        None => Ok(None),
    };
    let mut tokens = SpecialTokens {
        bos: one("bos_token", &settings.bos_token)?,
        eos: one("eos_token", &settings.eos_token)?,
        ..SpecialTokens::default()
    };
    for (field, value) in [
        ("unk_token", &settings.unk_token),
        ("pad_token", &settings.pad_token),
        ("sep_token", &settings.sep_token),
        ("cls_token", &settings.cls_token),
        ("mask_token", &settings.mask_token),
    ] {
        tokens
            .named
            .extend(one(field, value)?.map(|text| (field.to_owned(), text)));
    }
    for (field, value) in [
        (
            "additional_special_tokens",
            &settings.additional_special_tokens,
        ),
        ("extra_special_tokens", &settings.extra_special_tokens),
    ] {
        match value {
            None => {}
            Some(Value::Array(list)) => {
                for value in list {
                    tokens.others.push(token(value, field, origin)?);
                }
            }
            Some(Value::Object(map)) => {
                for (name, value) in map {
                    tokens
                        .named
                        .push((name.clone(), token(value, field, origin)?));
                }
            }
            Some(other) => return Err(fault(origin, field, "a list of tokens", kind(other))),
        }
    }
    let added = settings
        .added_tokens_decoder
        .iter()
        .flat_map(BTreeMap::values);
    tokens.others.extend(
        added
            .filter(|token| token.special)
            .map(|token| token.content.clone()),
    );
    Ok(tokens)
}

/// A token's text: a string, or an object's `content`.
fn token(value: &Value, field: &str, origin: &str) -> Result<String, Error> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Object(object) => match object.get("content") {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(fault(
                origin,
                &format!("{field}.content"),
                "a string",
                kind(other),
            )),
            None => Err(fault(
                origin,
                &format!("{field}.content"),
                "a string",
                "nothing",
            )),
        },
        other => Err(fault(
            origin,
            field,
            "a string or an object with content",
            kind(other),
        )),
    }
}

fn fault(origin: &str, field: &str, expected: &str, found: &str) -> Error {
    Error::Config {
        origin: origin.to_owned(),
        field: field.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}
