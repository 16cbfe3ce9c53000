//! Metadata values where they lie in the file, and typed access to them with errors that name file, key, expected and found.

use std::collections::BTreeMap;
use std::path::Path;

use crate::Error;
use crate::error::Excerpt;
use crate::format::fields::Integers;

const ADVICE: &str = "convert the model again or download another file of it";

/// The values of a file by key.
#[derive(Debug)]
pub(super) struct Metadata<'a> {
    pub(super) path: &'a Path,
    pub(super) values: BTreeMap<&'a str, Value<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    /// 1 is true; files in use have no byte but 0 and 1.
    Flag(bool),
    /// UTF-8, as far as nobody asks.
    Text(&'a [u8]),
    Array(Array<'a>),
}

/// Values one after the other; walked when they are asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Array<'a> {
    pub(super) kind: ValueType,
    pub(super) count: usize,
    /// All of them, checked to be within the file.
    pub(super) bytes: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Flag,
    Text,
    Array,
    U64,
    I64,
    F64,
}

impl ValueType {
    pub(super) fn from_number(number: u32) -> Option<Self> {
        const ALL: [ValueType; 13] = [
            ValueType::U8,
            ValueType::I8,
            ValueType::U16,
            ValueType::I16,
            ValueType::U32,
            ValueType::I32,
            ValueType::F32,
            ValueType::Flag,
            ValueType::Text,
            ValueType::Array,
            ValueType::U64,
            ValueType::I64,
            ValueType::F64,
        ];
        ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// Bytes of a value, or `None` where they vary.
    pub(super) fn width(self) -> Option<u64> {
        match self {
            Self::U8 | Self::I8 | Self::Flag => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Text | Self::Array => None,
        }
    }

    /// A value of as many bytes as [`ValueType::width`] says.
    pub(super) fn number<'a>(self, bytes: &[u8]) -> Value<'a> {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let bits = u64::from_le_bytes(wide);
        match self {
            Self::I8 => Value::Signed(i64::from(bits as i8)),
            Self::I16 => Value::Signed(i64::from(bits as i16)),
            Self::I32 => Value::Signed(i64::from(bits as i32)),
            Self::I64 => Value::Signed(bits as i64),
            Self::F32 => Value::Float(f64::from(f32::from_bits(bits as u32))),
            Self::F64 => Value::Float(f64::from_bits(bits)),
            Self::Flag => Value::Flag(bits != 0),
            _ => Value::Unsigned(bits),
        }
    }
}

impl<'a> Array<'a> {
    /// The values of an array of numbers or flags; none of another.
    pub(super) fn numbers(self) -> impl Iterator<Item = Value<'a>> {
        let width = self.kind.width().unwrap_or(0) as usize;
        let bytes = if width == 0 { &[] } else { self.bytes };
        bytes
            .chunks_exact(width.max(1))
            .map(move |bytes| self.kind.number(bytes))
    }

    /// The values of an array of texts; none of another.
    pub(super) fn texts(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = match self.kind {
            ValueType::Text => self.bytes,
            _ => &[],
        };
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk()?;
            // Within the file: the header's reader walked over it.
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            let text = after.get(..length)?;
            rest = &after[length..];
            Some(text)
        })
    }
}

impl Integers for Metadata<'_> {
    fn unsigned(&self, key: &str) -> Option<Option<u64>> {
        self.get(key).map(Value::as_u64)
    }

    fn fault(&self, key: &str, expected: impl Into<String>) -> Error {
        self.fault_found(key, expected, shown(self.get(key)))
    }
}

impl<'a> Metadata<'a> {
    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        self.values.get(key).copied()
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, Error> {
        self.get(key)
            .map(|value| match value {
                Value::Float(number) => Ok(number),
                Value::Unsigned(number) => Ok(number as f64),
                Value::Signed(number) => Ok(number as f64),
                _ => Err(self.fault(key, "a number")),
            })
            .transpose()
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, Error> {
        self.get(key)
            .map(|value| match value {
                Value::Flag(flag) => Ok(flag),
                _ => Err(self.fault(key, "true or false")),
            })
            .transpose()
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, Error> {
        self.get(key)
            .map(|value| {
                let text = match value {
                    Value::Text(bytes) => std::str::from_utf8(bytes).ok(),
                    _ => None,
                };
                text.ok_or_else(|| self.fault(key, "a string in UTF-8"))
            })
            .transpose()
    }

    pub(super) fn fault_found(
        &self,
        key: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Error {
        Error::Field {
            origin: self.path.display().to_string(),
            field: key.to_owned(),
            expected: expected.into(),
            found: found.into(),
            advice: ADVICE,
        }
    }
}

impl Value<'_> {
    pub(super) fn as_u64(self) -> Option<u64> {
        match self {
            Self::Unsigned(number) => Some(number),
            Self::Signed(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }
}

/// A value in a message.
pub(super) fn shown(value: Option<Value<'_>>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::Unsigned(number)) => number.to_string(),
        Some(Value::Signed(number)) => number.to_string(),
        Some(Value::Float(number)) => number.to_string(),
        Some(Value::Flag(flag)) => flag.to_string(),
        Some(Value::Text(text)) => match std::str::from_utf8(text) {
            Ok(text) => Excerpt(text).to_string(),
            Err(_) => "text that is not UTF-8".to_owned(),
        },
        Some(Value::Array(array)) => format!("an array of {}", array.count),
    }
}
