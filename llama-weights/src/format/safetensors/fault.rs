//! How a safetensors file can be wrong, each way with its numbers. Finding it is the business of `header`.

use super::header::HEADER_LIMIT;
use crate::error::Excerpt;

/// How a safetensors file can be wrong. Bytes of tensor data are counted from the end of the header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderFault {
    /// Shorter than the 8 bytes that give the header's length.
    #[error(
        "expected a safetensors file of at least 8 bytes, found {found}; download the file again"
    )]
    TooShort {
        /// The file's length in bytes.
        found: u64,
    },
    /// A header longer than the format allows.
    #[error(
        "expected a header of at most {HEADER_LIMIT} bytes, found a header length of {found}; \
         this is not a safetensors file, or it is damaged"
    )]
    HeaderTooLong {
        /// The length that the file gives.
        found: u64,
    },
    /// The file ends before its header or its tensors do.
    #[error(
        "expected {expected} bytes, found {found}: {} bytes are missing; download the file again",
        expected.saturating_sub(*found)
    )]
    Truncated {
        /// The length that the header asks for.
        expected: u64,
        /// The file's length.
        found: u64,
    },
    /// The header is not a JSON object.
    #[error(
        "expected a header that begins with '{{', found byte {found:#04x}; this is not a safetensors file, or it is damaged"
    )]
    NoObject {
        /// The header's first byte; 0 where the header is empty.
        found: u8,
    },
    /// The header is not text.
    #[error(
        "expected a header in UTF-8, found a wrong byte at {at} of the header; download the file again"
    )]
    NotUtf8 {
        /// Byte of the header.
        at: usize,
    },
    /// The header does not parse, or an entry is not `dtype`, `shape` and `data_offsets`.
    #[error(
        "expected a header of tensors with dtype, shape and data_offsets, found {found}; download the file again"
    )]
    Malformed {
        /// What is wrong, with the column in the header.
        found: String,
    },
    /// Two tensors of one name.
    #[error(
        "expected every name once, found {} twice; download the file again",
        Excerpt(tensor)
    )]
    Duplicate {
        /// The name.
        tensor: String,
    },
    /// A type that the format does not have.
    #[error(
        "{}: expected dtype F32, F16 or BF16, found {}; convert the checkpoint to one of these",
        Excerpt(tensor),
        Excerpt(found)
    )]
    UnknownType {
        /// The tensor.
        tensor: String,
        /// The type's name.
        found: String,
    },
    /// A shape whose bytes cannot be counted.
    #[error(
        "{}: expected a shape whose bytes fit in 64 bits, found {shape:?}; the file is damaged",
        Excerpt(tensor)
    )]
    Overflow {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<u64>,
    },
    /// Offsets that end before they begin.
    #[error(
        "{}: expected data_offsets in ascending order, found [{begin}, {end}]; the file is damaged",
        Excerpt(tensor)
    )]
    Reversed {
        /// The tensor.
        tensor: String,
        /// First byte.
        begin: u64,
        /// Byte after the last.
        end: u64,
    },
    /// Offsets that do not span what shape and type ask for.
    #[error(
        "{}: expected {expected} bytes by shape and dtype, found data_offsets that span {found}; the file is damaged",
        Excerpt(tensor)
    )]
    Span {
        /// The tensor.
        tensor: String,
        /// Bytes by shape and type.
        expected: u64,
        /// Bytes by offsets.
        found: u64,
    },
    /// Two tensors share bytes.
    #[error(
        "{}: expected data_offsets that begin at {expected}, where {} ends, found {found}: they overlap; the file is damaged",
        Excerpt(tensor),
        Excerpt(previous)
    )]
    Overlap {
        /// The tensor that begins too early.
        tensor: String,
        /// The tensor before it.
        previous: String,
        /// Where `previous` ends.
        expected: u64,
        /// Where `tensor` begins.
        found: u64,
    },
    /// Bytes between tensors that belong to none.
    #[error(
        "{}: expected data_offsets that begin at {expected}, found {found}: a hole of {} bytes; the file is damaged",
        Excerpt(tensor), found.saturating_sub(*expected)
    )]
    Hole {
        /// The tensor after the hole.
        tensor: String,
        /// Where the tensors before it end.
        expected: u64,
        /// Where it begins.
        found: u64,
    },
    /// Bytes after the last tensor.
    #[error(
        "expected {expected} bytes, found {found}: {} bytes follow the last tensor; download the file again",
        found.saturating_sub(*expected)
    )]
    Trailing {
        /// The length that the header asks for.
        expected: u64,
        /// The file's length.
        found: u64,
    },
    /// The `safetensors` crate refuses what passed all checks above.
    #[error("expected a valid safetensors header, found {found}; download the file again")]
    Refused {
        /// The crate's words.
        found: String,
    },
}
