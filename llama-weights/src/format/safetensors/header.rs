//! Checks a safetensors header before anything else reads it.
//!
//! Bounds come first: nothing is parsed beyond the file's end, no number from the file sizes an allocation, and nesting
//! is refused at its third level, so that neither depth nor length costs more than the header's own bytes.

use std::borrow::Cow;
use std::fmt;

use safetensors::Dtype;
use serde::de::value::CowStrDeserializer;
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::fault::HeaderFault;
use crate::error::{Excerpt, OneLine};

/// The file begins with the header's length, a little-endian u64.
pub(super) const LENGTH_BYTES: usize = 8;
/// The format's own limit.
pub(super) const HEADER_LIMIT: u64 = 100_000_000;
/// More dimensions than any tensor of any model.
const RANK_LIMIT: usize = 8;
/// The key that is no tensor.
const METADATA: &str = "__metadata__";

/// Checks length, header and spans of a whole file.
pub(super) fn check(file: &[u8]) -> Result<(), HeaderFault> {
    let header = header_of(file)?;
    let text = std::str::from_utf8(header).map_err(|error| HeaderFault::NotUtf8 {
        at: error.valid_up_to(),
    })?;
    let listing: Listing<'_> =
        serde_json::from_str(text).map_err(|error| HeaderFault::Malformed {
            found: OneLine(&error.to_string()).to_string(),
        })?;
    let mut tensors = listing.0;
    check_names(&mut tensors)?;
    for (name, tensor) in &tensors {
        tensor.check_span(name)?;
    }
    let data = check_layout(&mut tensors)?;
    let found = file.len() as u64;
    let expected = ((LENGTH_BYTES + header.len()) as u64).saturating_add(data);
    match expected.cmp(&found) {
        std::cmp::Ordering::Greater => Err(HeaderFault::Truncated { expected, found }),
        std::cmp::Ordering::Less => Err(HeaderFault::Trailing { expected, found }),
        std::cmp::Ordering::Equal => Ok(()),
    }
}

fn header_of(file: &[u8]) -> Result<&[u8], HeaderFault> {
    let found = file.len() as u64;
    let Some((length, rest)) = file.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(HeaderFault::TooShort { found });
    };
    let length = u64::from_le_bytes(*length);
    if length > HEADER_LIMIT {
        return Err(HeaderFault::HeaderTooLong { found: length });
    }
    let header = usize::try_from(length)
        .ok()
        .and_then(|length| rest.get(..length))
        .ok_or(HeaderFault::Truncated {
            expected: LENGTH_BYTES as u64 + length,
            found,
        })?;
    match header.first() {
        Some(b'{') => Ok(header),
        first => Err(HeaderFault::NoObject {
            found: first.copied().unwrap_or(0),
        }),
    }
}

fn check_names(tensors: &mut [(Cow<'_, str>, Tensor<'_>)]) -> Result<(), HeaderFault> {
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    match tensors.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(HeaderFault::Duplicate {
            tensor: pair[0].0.to_string(),
        }),
        None => Ok(()),
    }
}

/// Checks that the spans follow each other without overlap or hole, and returns where the last one ends.
fn check_layout(tensors: &mut [(Cow<'_, str>, Tensor<'_>)]) -> Result<u64, HeaderFault> {
    tensors.sort_by_key(|(_, tensor)| tensor.data_offsets);
    let mut end = 0;
    let mut previous = "";
    for (name, tensor) in tensors.iter() {
        let found = tensor.data_offsets.0;
        if found < end {
            return Err(HeaderFault::Overlap {
                tensor: name.to_string(),
                previous: previous.to_owned(),
                expected: end,
                found,
            });
        }
        if found > end {
            return Err(HeaderFault::Hole {
                tensor: name.to_string(),
                expected: end,
                found,
            });
        }
        end = tensor.data_offsets.1;
        previous = name;
    }
    Ok(end)
}

/// One entry, as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tensor<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    #[serde(deserialize_with = "shape")]
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl Tensor<'_> {
    fn check_span(&self, name: &str) -> Result<(), HeaderFault> {
        let tensor = || name.to_owned();
        let name = CowStrDeserializer::<serde::de::value::Error>::new(Cow::Borrowed(&*self.dtype));
        let dtype = Dtype::deserialize(name).map_err(|_| HeaderFault::UnknownType {
            tensor: tensor(),
            found: self.dtype.to_string(),
        })?;
        // Bits, since the format has types of 4 and 6; a tensor of those ends within a byte only if it is damaged.
        let bits = self
            .shape
            .iter()
            .try_fold(dtype.bitsize() as u64, |bits, &n| bits.checked_mul(n))
            .ok_or_else(|| HeaderFault::Overflow {
                tensor: tensor(),
                shape: self.shape.clone(),
            })?;
        let (begin, end) = self.data_offsets;
        if begin > end {
            return Err(HeaderFault::Reversed {
                tensor: tensor(),
                begin,
                end,
            });
        }
        let expected = bits.div_ceil(8);
        if end - begin != expected {
            return Err(HeaderFault::Span {
                tensor: tensor(),
                expected,
                found: end - begin,
            });
        }
        Ok(())
    }
}

/// The header's entries in the file's order, equal names and all.
struct Listing<'a>(Vec<(Cow<'a, str>, Tensor<'a>)>);

impl<'de> Deserialize<'de> for Listing<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Listing<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut tensors = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    if name == METADATA {
                        // Free text for people; the crate checks that it is strings.
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let tensor = map.next_value::<Tensor<'_>>().map_err(|error| {
                        A::Error::custom(format_args!("{}: {error}", Excerpt(&name)))
                    })?;
                    tensors.push((name, tensor));
                }
                Ok(Listing(tensors))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn shape<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    struct Dimensions;
    impl<'de> Visitor<'de> for Dimensions {
        type Value = Vec<u64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {RANK_LIMIT} dimensions")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut shape = Vec::new();
            while let Some(n) = seq.next_element()? {
                if shape.len() == RANK_LIMIT {
                    return Err(A::Error::invalid_length(RANK_LIMIT + 1, &self));
                }
                shape.push(n);
            }
            Ok(shape)
        }
    }
    deserializer.deserialize_seq(Dimensions)
}
