//! The header of a GGUF file, read from the mapped bytes: counts, metadata, and what is said of each tensor.
//!
//! Every length and count is compared with the bytes that are left before it is used, and values stay where they are in the
//! file: what is allocated is one small entry per key and per tensor. Layout: `docs/gguf.md` of the ggml project.

use std::collections::BTreeMap;
use std::path::Path;

use super::fault::GgufFault;
use super::metadata::{Array, Metadata, Value, ValueType};

/// More keys than any file has; what the format's own limit would allow are 2⁶⁴.
const MOST_KEYS: u64 = 1 << 16;
/// More tensors than any model of [`crate::hyperparameters::limit`] has.
const MOST_TENSORS: u64 = 1 << 17;
/// The format's own limit for keys.
const LONGEST_NAME: u64 = (1 << 16) - 1;
/// Files in use have no array in an array at all.
const DEEPEST: usize = 4;
/// A key without text, a type, and the shortest value.
const LEAST_KEY_BYTES: u64 = 8 + 4 + 1;
/// A name without text, no dimension, type and offset.
const LEAST_TENSOR_BYTES: u64 = 8 + 4 + 4 + 8;

/// A header, borrowed from the file.
pub(super) struct Header<'a> {
    pub(super) metadata: Metadata<'a>,
    n_tensors: u64,
    reader: Reader<'a>,
}

/// What the header says of a tensor. Nothing is checked but that the name is text and the dimensions are few.
pub(super) struct TensorInfo<'a> {
    pub(super) name: &'a str,
    /// Columns first.
    pub(super) sizes: Vec<u64>,
    pub(super) kind: u32,
    /// From where tensor data begins.
    pub(super) offset: u64,
}

impl<'a> Header<'a> {
    /// Reads all metadata.
    pub(super) fn read(path: &'a Path, file: &'a [u8]) -> Result<Self, GgufFault> {
        let found = file.len() as u64;
        let magic = *file.first_chunk().ok_or(GgufFault::TooShort { found })?;
        if magic != super::MAGIC {
            return Err(GgufFault::Magic { found: magic });
        }
        if found < 24 {
            return Err(GgufFault::TooShort { found });
        }
        let mut reader = Reader { file, at: 4 };
        let version = reader.u32("version")?;
        match version {
            2 | 3 => {}
            // What llama.cpp takes for the other byte order: no version will have this many digits.
            _ if version != 0 && version & 0xffff == 0 => {
                return Err(GgufFault::BigEndian {
                    version: version.swap_bytes(),
                });
            }
            _ => return Err(GgufFault::Version { found: version }),
        }
        let n_tensors = reader.u64("number of tensors")?;
        let n_keys = reader.u64("number of metadata keys")?;
        reader.check_count("tensors", n_tensors, LEAST_TENSOR_BYTES, MOST_TENSORS)?;
        reader.check_count("metadata keys", n_keys, LEAST_KEY_BYTES, MOST_KEYS)?;
        let mut metadata = Metadata {
            path,
            values: BTreeMap::new(),
        };
        for _ in 0..n_keys {
            let key = reader.name("metadata key")?;
            let kind = reader.u32(key)?;
            let value = reader.value(key, kind, 0)?;
            if metadata.values.insert(key, value).is_some() {
                return Err(GgufFault::DuplicateKey {
                    key: key.to_owned(),
                });
            }
        }
        Ok(Self {
            metadata,
            n_tensors,
            reader,
        })
    }

    /// Reads what follows the metadata, and gives the byte at which the header ends.
    pub(super) fn tensors(mut self) -> Result<(Metadata<'a>, Vec<TensorInfo<'a>>, u64), GgufFault> {
        let reader = &mut self.reader;
        reader.check_count("tensors", self.n_tensors, LEAST_TENSOR_BYTES, MOST_TENSORS)?;
        let tensors = (0..self.n_tensors).map(|_| {
            let name = reader.name("tensor name")?;
            let rank = reader.u32(name)?;
            if !(1..=4).contains(&rank) {
                return Err(GgufFault::Rank {
                    tensor: name.to_owned(),
                    found: rank,
                });
            }
            Ok(TensorInfo {
                name,
                sizes: (0..rank)
                    .map(|_| reader.u64(name))
                    .collect::<Result<_, _>>()?,
                kind: reader.u32(name)?,
                offset: reader.u64(name)?,
            })
        });
        let tensors = tensors.collect::<Result<_, _>>()?;
        Ok((self.metadata, tensors, self.reader.at as u64))
    }
}

struct Reader<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn left(&self) -> u64 {
        (self.file.len() - self.at) as u64
    }

    /// Bytes of something; `what` names it where the file ends before it does.
    fn take(&mut self, what: &str, bytes: u64) -> Result<&'a [u8], GgufFault> {
        let found = self.left();
        if bytes > found {
            return Err(GgufFault::Ends {
                what: crate::error::OneLine(what).to_string(),
                at: self.at as u64,
                expected: bytes,
                found,
            });
        }
        // No more than the file has, so it fits in usize.
        let taken = &self.file[self.at..self.at + bytes as usize];
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], GgufFault> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(what, N as u64)?);
        Ok(bytes)
    }

    fn u32(&mut self, what: &str) -> Result<u32, GgufFault> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64, GgufFault> {
        self.array(what).map(u64::from_le_bytes)
    }

    fn check_count(
        &self,
        what: &'static str,
        found: u64,
        least_bytes: u64,
        limit: u64,
    ) -> Result<(), GgufFault> {
        let most = (self.left() / least_bytes).min(limit);
        if found > most {
            return Err(GgufFault::Count { what, most, found });
        }
        Ok(())
    }

    fn name(&mut self, what: &'static str) -> Result<&'a str, GgufFault> {
        let length = self.u64(what)?;
        let at = self.at as u64;
        if length > LONGEST_NAME && length <= self.left() {
            return Err(GgufFault::NameTooLong {
                what,
                at,
                most: LONGEST_NAME,
                found: length,
            });
        }
        let bytes = self.take(what, length)?;
        std::str::from_utf8(bytes).map_err(|_| GgufFault::NotUtf8 { what, at })
    }

    fn text(&mut self, what: &str) -> Result<&'a [u8], GgufFault> {
        let length = self.u64(what)?;
        self.take(what, length)
    }

    fn value(&mut self, key: &str, kind: u32, depth: usize) -> Result<Value<'a>, GgufFault> {
        let kind = value_type(key, kind)?;
        Ok(match kind {
            ValueType::Text => Value::Text(self.text(key)?),
            ValueType::Array => Value::Array(self.values(key, depth)?),
            _ => {
                let width = kind.width().unwrap_or(0);
                kind.number(self.take(key, width)?)
            }
        })
    }

    fn values(&mut self, key: &str, depth: usize) -> Result<Array<'a>, GgufFault> {
        if depth == DEEPEST {
            return Err(GgufFault::Nested {
                key: key.to_owned(),
                most: DEEPEST,
            });
        }
        let kind = self.u32(key)?;
        let kind = value_type(key, kind)?;
        let count = self.u64(key)?;
        let start = self.at;
        match kind.width() {
            // Saturates to more than any file has.
            Some(width) => drop(self.take(key, count.saturating_mul(width))?),
            // The shortest of these takes 8 bytes, so a count that lies ends soon.
            None => {
                let least = count.saturating_mul(8);
                if least > self.left() {
                    self.take(key, least)?;
                }
                for _ in 0..count {
                    match kind {
                        ValueType::Text => drop(self.text(key)?),
                        _ => drop(self.values(key, depth + 1)?),
                    }
                }
            }
        }
        Ok(Array {
            kind,
            count: count as usize, // at most a value a byte
            bytes: &self.file[start..self.at],
        })
    }
}

fn value_type(key: &str, number: u32) -> Result<ValueType, GgufFault> {
    ValueType::from_number(number).ok_or_else(|| GgufFault::ValueType {
        key: key.to_owned(),
        found: number,
    })
}
