//! How a GGUF file can be wrong, each way with its numbers. Finding it is the business of `header` and `listing`.

use crate::error::Excerpt;

/// How a GGUF file can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GgufFault {
    /// Shorter than magic, version and the two counts.
    #[error("expected a GGUF file of at least 24 bytes, found {found}; download the file again")]
    TooShort {
        /// The file's length in bytes.
        found: u64,
    },
    /// Another magic.
    #[error("expected a file that begins with \"GGUF\", found \"{}\"; this is not a GGUF file, or it is damaged", found.escape_ascii())]
    Magic {
        /// The file's first four bytes.
        found: [u8; 4],
    },
    /// A version of the format that is not read.
    #[error(
        "expected GGUF version 2 or 3, found {found}; convert the model again with a present llama.cpp, or download it in version 3"
    )]
    Version {
        /// The file's version.
        found: u32,
    },
    /// A file for machines of the other byte order.
    #[error(
        "expected a little-endian GGUF file, found a big-endian one of version {version}; download the model in little-endian form"
    )]
    BigEndian {
        /// The file's version.
        version: u32,
    },
    /// More entries than the file has bytes for, or than any model has.
    #[error(
        "expected at most {most} {what} in a file of this length, found a count of {found}; the file is damaged"
    )]
    Count {
        /// `tensors`, `metadata keys`.
        what: &'static str,
        /// The most that there could be.
        most: u64,
        /// The count that the file gives.
        found: u64,
    },
    /// The file ends within its header.
    #[error(
        "{what}: expected {expected} bytes at byte {at}, found {found} before the file ends; the file is damaged or cut, download it again"
    )]
    Ends {
        /// What was being read.
        what: String,
        /// Where it begins.
        at: u64,
        /// Bytes that it takes.
        expected: u64,
        /// Bytes that are left.
        found: u64,
    },
    /// A name longer than names may be.
    #[error(
        "{what} at byte {at}: expected at most {most} bytes, found a length of {found}; the file is damaged"
    )]
    NameTooLong {
        /// `metadata key`, `tensor name`.
        what: &'static str,
        /// Where it begins.
        at: u64,
        /// The longest that is read.
        most: u64,
        /// The length that the file gives.
        found: u64,
    },
    /// A name that is no text.
    #[error("{what} at byte {at}: expected UTF-8, found other bytes; the file is damaged")]
    NotUtf8 {
        /// `metadata key`, `tensor name`.
        what: &'static str,
        /// Where it begins.
        at: u64,
    },
    /// A value's type that the format does not have.
    #[error(
        "{}: expected a value type from 0 to 12, found {found}; the file is damaged",
        Excerpt(key)
    )]
    ValueType {
        /// The metadata key.
        key: String,
        /// The type's number.
        found: u32,
    },
    /// Arrays in arrays in arrays.
    #[error(
        "{}: expected arrays nested at most {most} deep, found more; the file is damaged",
        Excerpt(key)
    )]
    Nested {
        /// The metadata key.
        key: String,
        /// The deepest that is read.
        most: usize,
    },
    /// The same metadata key twice.
    #[error(
        "expected every metadata key once, found {} twice; download the file again",
        Excerpt(key)
    )]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// The same tensor twice.
    #[error(
        "expected every tensor once, found {} twice; download the file again",
        Excerpt(tensor)
    )]
    DuplicateTensor {
        /// The tensor.
        tensor: String,
    },
    /// A tensor without dimensions, or with too many.
    #[error(
        "{}: expected 1 to 4 dimensions, found {found}; the file is damaged",
        Excerpt(tensor)
    )]
    Rank {
        /// The tensor.
        tensor: String,
        /// How many the file gives it.
        found: u32,
    },
    /// A size of 0, or sizes whose bytes cannot be counted.
    #[error(
        "{}: expected sizes of at least 1 whose bytes fit in 64 bits, found {found:?}; the file is damaged",
        Excerpt(tensor)
    )]
    Sizes {
        /// The tensor.
        tensor: String,
        /// Its sizes in the file's order, columns first.
        found: Vec<u64>,
    },
    /// A type that is not read.
    #[error(
        "{}: expected F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 or Q2_K to Q6_K, found type {found}{}; download the model in one of these",
        Excerpt(tensor), name.map(|name| format!(" ({name})")).unwrap_or_default()
    )]
    TensorType {
        /// The tensor.
        tensor: String,
        /// The type's number.
        found: u32,
        /// Its name in ggml, where it has one.
        name: Option<&'static str>,
    },
    /// Rows that are not whole blocks.
    #[error(
        "{}: expected rows of a multiple of {block} for {dtype}, found {found}; the file is damaged",
        Excerpt(tensor)
    )]
    RowLength {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: crate::DType,
        /// Elements of a block.
        block: u64,
        /// Elements of a row.
        found: u64,
    },
    /// An offset that is no multiple of the alignment.
    #[error(
        "{}: expected an offset that is a multiple of {alignment}, found {found}; the file is damaged",
        Excerpt(tensor)
    )]
    Misaligned {
        /// The tensor.
        tensor: String,
        /// The file's alignment.
        alignment: u64,
        /// Its offset from where tensor data begins.
        found: u64,
    },
    /// A tensor that ends beyond the file.
    #[error(
        "{}: expected {expected} bytes, found {found}: {} bytes are missing; download the file again",
        Excerpt(tensor), expected.saturating_sub(*found)
    )]
    Truncated {
        /// The tensor that ends last.
        tensor: String,
        /// The length of the file that it asks for.
        expected: u64,
        /// The file's length.
        found: u64,
    },
    /// Two tensors share bytes.
    #[error(
        "{}: expected an offset of at least {expected}, where {} ends, found {found}: they overlap; the file is damaged",
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
}
