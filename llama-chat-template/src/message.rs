//! Messages and how they are read from JSON. Whether their order makes sense is the format's business.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::Error;
use crate::object::Object;

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message of `role`.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
        }
    }
}

/// Who speaks. Upper and lower case differ, as in the reference: `User` is [`Role::Other`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions for the whole chat, in front of it.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// Any other name, such as `tool`: some Jinja templates know it, Llama 2's own format refuses it.
    Other(String),
}

impl Role {
    /// The role's name as in JSON.
    pub fn as_str(&self) -> &str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Other(name) => name,
        }
    }
}

impl From<String> for Role {
    fn from(name: String) -> Self {
        match name.as_str() {
            "system" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            _ => Role::Other(name),
        }
    }
}

impl FromStr for Role {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(Role::from(name.to_owned()))
    }
}

/// The name; one that is not ours is quoted and escaped, since it goes into error messages.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Other(name) => write!(f, "{name:?}"),
            known => f.write_str(known.as_str()),
        }
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Role::from)
    }
}

/// Reads a JSON list of `{"role": …, "content": …}`; further fields are left aside, a byte order mark is skipped.
///
/// # Errors
///
/// [`Error::Message`] names the message and the field: content that is null, missing or a list of parts is refused,
/// since none of the formats here can show an image or a tool call.
pub fn parse_messages(json: &str) -> Result<Vec<Message>, Error> {
    let json = json.strip_prefix('\u{feff}').unwrap_or(json);
    let malformed = |found: String| Error::Message {
        place: "messages".to_owned(),
        expected: "a JSON list of {\"role\", \"content\"} objects",
        found,
    };
    if let Some(kind @ ("an object" | "a string")) = json.trim_start().chars().next().map(opened_by)
    {
        return Err(malformed(kind.to_owned()));
    }
    let entries: Vec<Object<Entry>> =
        serde_json::from_str(json).map_err(|error| malformed(error.to_string()))?;
    entries
        .into_iter()
        .enumerate()
        .map(|(index, Object(entry))| entry.checked(index))
        .collect()
}

fn opened_by(character: char) -> &'static str {
    match character {
        '{' => "an object",
        '"' => "a string",
        _ => "something else",
    }
}

/// A message before its fields are checked; serde refuses a field given twice.
#[derive(Deserialize)]
struct Entry {
    #[serde(default, deserialize_with = "present")]
    role: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    content: Option<Value>,
}

impl Entry {
    fn checked(self, index: usize) -> Result<Message, Error> {
        let role = text(self.role, index, "role", "a role such as \"user\"")?;
        let content = text(self.content, index, "content", "a string")?;
        Ok(Message {
            role: Role::from(role),
            content,
        })
    }
}

/// Keeps a null apart from an absent field.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

fn text(
    value: Option<Value>,
    index: usize,
    field: &str,
    expected: &'static str,
) -> Result<String, Error> {
    let found = match value {
        Some(Value::String(text)) => return Ok(text),
        Some(other) => kind(&other),
        None => "nothing",
    };
    Err(Error::Message {
        place: format!("messages[{index}].{field}"),
        expected,
        found: found.to_owned(),
    })
}

/// What a JSON value is, in words for an error.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
