//! The wire format of protocol buffers, as far as a reader of one message needs it: fields with
//! their numbers, nothing copied, no length believed before it is compared with what is left.
//! Source: <https://protobuf.dev/programming-guides/encoding/>. Groups, which proto2 deprecated
//! before SentencePiece existed, are refused.

use crate::Error;
use crate::error::{DOWNLOAD_AGAIN, Origin};

/// The fields of one message that are left.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    origin: Origin<'a>,
    /// What the message is, for errors.
    name: &'static str,
    /// Where `rest` begins in the file.
    at: usize,
    rest: &'a [u8],
}

/// A field: its number and its value.
pub(crate) struct Field<'a> {
    pub(crate) number: u64,
    pub(crate) value: Value<'a>,
}

pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64,
    Fixed32([u8; 4]),
    /// Text, bytes or a message, and where it begins in the file.
    Bytes(&'a [u8], usize),
}

impl<'a> Message<'a> {
    pub(crate) fn new(origin: Origin<'a>, name: &'static str, bytes: &'a [u8]) -> Self {
        Self {
            origin,
            name,
            at: 0,
            rest: bytes,
        }
    }

    /// The message inside a field of this one.
    pub(crate) fn inner(self, name: &'static str, value: &Value<'a>) -> Result<Self, Error> {
        match *value {
            Value::Bytes(rest, at) => Ok(Self {
                origin: self.origin,
                name,
                at,
                rest,
            }),
            _ => Err(self.broken(format!("a message {name}"), "a number")),
        }
    }

    /// The next field; `None` at the end.
    pub(crate) fn next_field(&mut self) -> Result<Option<Field<'a>>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let length = self.varint()?;
                let at = self.at;
                Value::Bytes(self.take(length)?, at)
            }
            5 => {
                let bytes = self.take(4)?;
                Value::Fixed32([bytes[0], bytes[1], bytes[2], bytes[3]])
            }
            other => {
                return Err(self.broken("a wire type of 0, 1, 2 or 5", other.to_string()));
            }
        };
        Ok(Some(Field {
            number: key >> 3,
            value,
        }))
    }

    /// Bytes of a field as UTF-8.
    pub(crate) fn text(self, value: &Value<'a>) -> Result<&'a str, Error> {
        match *value {
            Value::Bytes(bytes, _) => {
                std::str::from_utf8(bytes).map_err(|error| self.broken("UTF-8", error.to_string()))
            }
            _ => Err(self.broken("a text", "a number")),
        }
    }

    /// A varint field.
    pub(crate) fn number(self, value: &Value<'_>) -> Result<u64, Error> {
        match *value {
            Value::Varint(number) => Ok(number),
            _ => Err(self.broken("a number", "another type")),
        }
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let mut number = 0;
        for (shift, &byte) in (0..64).step_by(7).zip(self.rest) {
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                let length = shift as usize / 7 + 1;
                self.rest = &self.rest[length..];
                self.at += length;
                return Ok(number);
            }
        }
        let found = if self.rest.len() < 10 {
            "the end of the file"
        } else {
            "an endless one"
        };
        Err(self.broken("a number of at most 10 bytes", found))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Error> {
        let taken = usize::try_from(length)
            .ok()
            .and_then(|n| self.rest.split_at_checked(n));
        let Some((bytes, rest)) = taken else {
            let expected = format!("at most the {} bytes that are left", self.rest.len());
            return Err(self.broken(expected, format!("a length of {length}")));
        };
        self.rest = rest;
        self.at += bytes.len();
        Ok(bytes)
    }

    pub(crate) fn broken(self, expected: impl Into<String>, found: impl Into<String>) -> Error {
        let field = format!("{} at byte {}", self.name, self.at);
        self.origin.invalid(field, expected, found, DOWNLOAD_AGAIN)
    }
}
