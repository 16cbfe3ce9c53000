//! The files beside a vocabulary: `tokenizer_config.json`, `special_tokens_map.json` and
//! `added_tokens.json`. Of the first two only special and added tokens are read, never `legacy` or
//! `add_prefix_space`: those say how a library should write a `tokenizer.json`, not what text means.

use serde_json::{Map, Value};

use crate::draft::{AddedToken, Draft};
use crate::error::{CORRECT_IT, Error, Origin, quote};

/// A file beside the vocabulary: its path and what it holds. An absent file holds nothing.
pub(crate) struct Settings {
    file: String,
    values: Map<String, Value>,
}

/// What a file says of a special token.
enum Named {
    /// Nothing.
    Absent,
    /// That there is none.
    Null,
    Piece(String),
}

impl Settings {
    /// Reads a JSON object; `None` stands for an absent file.
    pub(crate) fn read(bytes: Option<&[u8]>, file: &str) -> Result<Self, Error> {
        let values = match bytes {
            None => Map::new(),
            Some(bytes) => {
                let bytes = super::without_bom(bytes);
                serde_json::from_slice(bytes).map_err(|error| Origin(file).json(error))?
            }
        };
        Ok(Self {
            file: file.to_owned(),
            values,
        })
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, Error> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(self.invalid(key, "true, false or null", &other.to_string())),
        }
    }

    fn named(&self, key: &str) -> Result<Named, Error> {
        let Some(value) = self.values.get(key) else {
            return Ok(Named::Absent);
        };
        if value.is_null() {
            return Ok(Named::Null);
        }
        match token_text(value) {
            Some(text) => Ok(Named::Piece(text.to_owned())),
            None => {
                let expected = "a string, an object with a string `content`, or null";
                Err(self.invalid(key, expected, &value.to_string()))
            }
        }
    }

    /// The texts of all special tokens that the file names.
    fn special_texts(&self) -> impl Iterator<Item = &str> {
        let values = self
            .values
            .iter()
            .filter(|(key, _)| key.ends_with("_token"));
        let more = self
            .values
            .get("additional_special_tokens")
            .and_then(Value::as_array);
        values
            .map(|(_, value)| value)
            .chain(more.into_iter().flatten())
            .filter_map(token_text)
    }

    /// `added_tokens_decoder` of `tokenizer_config.json`: `{"32000": {"content": …, …}}`.
    fn added_tokens_decoder(&self) -> Result<Vec<(String, u64, AddedToken)>, Error> {
        let Some(tokens) = self.values.get("added_tokens_decoder") else {
            return Ok(Vec::new());
        };
        let tokens = tokens.as_object().into_iter().flatten();
        tokens
            .map(|(key, value)| {
                let field = format!("added_tokens_decoder.{}", quote(key));
                let (Ok(id), Some(content)) = (key.parse(), token_text(value)) else {
                    let expected = "an id and an object with a string `content`";
                    return Err(self.invalid(&field, expected, &value.to_string()));
                };
                let flag = |name: &str| value[name] == true;
                let token = AddedToken {
                    id: 0,
                    content: content.to_owned(),
                    control: flag("special"),
                    single_word: flag("single_word"),
                    lstrip: flag("lstrip"),
                    rstrip: flag("rstrip"),
                };
                Ok((field, id, token))
            })
            .collect()
    }

    /// `added_tokens.json`: `{"[PAD]": 32000}`. Control tokens are those that another file names as
    /// special.
    fn added_tokens(&self, special: &[&str]) -> Result<Vec<(String, u64, AddedToken)>, Error> {
        let tokens = self.values.iter();
        tokens
            .map(|(content, id)| {
                let field = quote(content);
                let Some(number) = id.as_u64() else {
                    return Err(self.invalid(&field, "an id", &id.to_string()));
                };
                let control = special.contains(&content.as_str());
                Ok((
                    field,
                    number,
                    AddedToken {
                        control,
                        ..AddedToken::plain(0, content)
                    },
                ))
            })
            .collect()
    }

    fn invalid(&self, field: &str, expected: &str, found: &str) -> Error {
        Origin(&self.file).invalid(field, expected, quote(found), CORRECT_IT)
    }
}

/// Adds the tokens that a directory without `tokenizer.json` keeps beside `tokenizer.model`.
pub(crate) fn add_tokens(
    draft: &mut Draft,
    config: &Settings,
    map: &Settings,
    added: &Settings,
) -> Result<(), Error> {
    let special: Vec<&str> = config.special_texts().chain(map.special_texts()).collect();
    let mut tokens = config.added_tokens_decoder()?;
    tokens.extend(added.added_tokens(&special)?);
    // Lower ids first, so that a gap is a gap of the files and not of their order.
    tokens.sort_by_key(|(_, id, _)| *id);
    draft.add_tokens(tokens)
}

/// Sets bos, eos and whether they are added. `tokenizer_config.json` goes before
/// `special_tokens_map.json`; where both are silent the vocabulary's own file stands.
pub(crate) fn apply(draft: &mut Draft, config: &Settings, map: &Settings) -> Result<(), Error> {
    draft.special.bos = resolve(draft, "bos_token", draft.special.bos, config, map)?;
    draft.special.eos = resolve(draft, "eos_token", draft.special.eos, config, map)?;
    draft.special.add_bos = config
        .flag("add_bos_token")?
        .unwrap_or(draft.special.add_bos);
    draft.special.add_eos = config
        .flag("add_eos_token")?
        .unwrap_or(draft.special.add_eos);
    Ok(())
}

fn resolve(
    draft: &Draft,
    key: &str,
    own: Option<u32>,
    config: &Settings,
    map: &Settings,
) -> Result<Option<u32>, Error> {
    for settings in [config, map] {
        match settings.named(key)? {
            Named::Absent => {}
            Named::Null => return Ok(None),
            Named::Piece(text) => {
                let id = draft.id_of(&text);
                let unknown = || settings.invalid(key, "a piece of the vocabulary or null", &text);
                return id.map(Some).ok_or_else(unknown);
            }
        }
    }
    Ok(own)
}

/// Both shapes of a special token: a string, or an object with `content`.
fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}
