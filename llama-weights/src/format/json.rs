//! Small JSON files: read with a limit, a byte order mark skipped, keys kept in order.
//!
//! A byte order mark is accepted, as Python's `json.loads` of bytes does: its meaning is unambiguous and Windows editors
//! write it. Of two equal keys the last counts, as in Python; [`Pairs`] keeps both so that a warning can be given.

use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::Error;
use crate::error::OneLine;

const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// Reads a JSON file of at most `limit` bytes.
pub(super) fn read<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<T, Error> {
    let io = |source| Error::io(path, source);
    let metadata = std::fs::metadata(path).map_err(io)?;
    // A pipe or a device would block or never end; looking first keeps them unopened.
    if !metadata.is_file() {
        return Err(io(std::io::Error::other("not a regular file")));
    }
    if metadata.len() > limit {
        return Err(Error::TooLong {
            path: path.to_owned(),
            limit,
            found: metadata.len(),
        });
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(io)?;
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
    serde_json::from_slice(text).map_err(|error| Error::Json {
        path: path.to_owned(),
        found: OneLine(&error.to_string()).to_string(),
    })
}

/// An object's keys and values in the file's order, equal keys and all.
pub(super) struct Pairs<V>(pub(super) Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<V>(std::marker::PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Object<V> {
            type Value = Pairs<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Object(std::marker::PhantomData))
    }
}
