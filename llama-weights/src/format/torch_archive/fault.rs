//! How a PyTorch archive can be wrong, each way with its numbers. Finding it is the business of the modules beside.

use super::entries::NAME_LIMIT;
use crate::error::Excerpt;
use crate::format::pickle::PickleFault;

/// How a PyTorch archive can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveFault {
    /// Neither a zip nor another format of torch.
    #[error("expected a PyTorch archive (a zip file), found {found}; download the file again")]
    NoArchive {
        /// The file's first bytes.
        found: String,
    },
    /// The format of `torch.save` before torch 1.6.
    #[error(
        "expected a PyTorch archive (a zip file), found a bare pickle, as torch wrote before 1.6; \
         load it with torch and save it again, or download a safetensors form"
    )]
    Legacy,
    /// The format of `torch.save` before torch 0.2.
    #[error(
        "expected a PyTorch archive (a zip file), found a TAR file, as torch wrote before 0.2; \
         load it with torch and save it again, or download a safetensors form"
    )]
    Tar,
    /// A zip without its end.
    #[error(
        "expected the directory of a zip at the file's end, found none: the file is cut short; download it again"
    )]
    NoDirectory,
    /// A directory that does not parse.
    #[error("expected the directory of a zip, found {found}; download the file again")]
    Directory {
        /// What is wrong.
        found: String,
    },
    /// The directory's end promises another number of entries.
    #[error(
        "expected {expected} entries in the directory of the zip, found {found}; download the file again"
    )]
    EntryCount {
        /// What is promised.
        expected: u64,
        /// How many there are.
        found: String,
    },
    /// More entries than any checkpoint has.
    #[error("expected at most {limit} entries in the zip, found {found}; this is no checkpoint")]
    TooManyEntries {
        /// Most entries.
        limit: u64,
        /// How many are promised.
        found: u64,
    },
    /// A name that leaves the archive or is none.
    #[error(
        "expected entries with plain names of at most {NAME_LIMIT} bytes, found {}; the file is hostile, take it from a source you trust",
        Excerpt(entry)
    )]
    EntryName {
        /// The name.
        entry: String,
    },
    /// Two entries of one name.
    #[error(
        "expected every entry once, found {} twice; the file is damaged or hostile, take it from a source you trust",
        Excerpt(entry)
    )]
    DuplicateEntry {
        /// The name.
        entry: String,
    },
    /// An encrypted entry.
    #[error(
        "{}: expected an entry stored as it is, found it encrypted; save the checkpoint with torch.save",
        Excerpt(entry)
    )]
    Encrypted {
        /// The entry.
        entry: String,
    },
    /// A compressed entry, which torch never writes and which may be a bomb.
    #[error(
        "{}: expected an entry stored as it is, found {stored} bytes that expand to {expanded}; save the checkpoint with torch.save, \
         which compresses nothing",
        Excerpt(entry)
    )]
    Compressed {
        /// The entry.
        entry: String,
        /// Bytes in the file.
        stored: u64,
        /// Bytes that the directory promises.
        expanded: u64,
    },
    /// An entry that does not lie in the file.
    #[error(
        "{}: expected {bytes} bytes behind a header at {header}, found a file of {found} bytes without them; download the file again",
        Excerpt(entry)
    )]
    OutOfFile {
        /// The entry.
        entry: String,
        /// Where its header should be.
        header: u64,
        /// Its length.
        bytes: u64,
        /// The file's length.
        found: u64,
    },
    /// Two entries share bytes.
    #[error(
        "{}: expected bytes of its own, found them shared with {}; the file is damaged or hostile, take it from a source you trust",
        Excerpt(entry),
        Excerpt(other)
    )]
    Overlap {
        /// The entry that begins too early.
        entry: String,
        /// What lies there.
        other: String,
    },
    /// No pickle, or several.
    #[error(
        "expected one data.pkl in a folder of the zip, found {found}; this is no file of torch.save"
    )]
    NoPickle {
        /// `none` or `several`.
        found: &'static str,
    },
    /// Numbers in the order of another machine.
    #[error(
        "byteorder: expected \"little\", found {found}; save the checkpoint on a little-endian machine"
    )]
    ByteOrder {
        /// What the entry says.
        found: String,
    },
    /// The pickle is no dictionary of tensors.
    #[error("data.pkl: {0}")]
    Pickle(PickleFault),
    /// A tensor whose storage is not in the archive.
    #[error(
        "{}: expected its storage {} in the zip, found none; download the file again",
        Excerpt(tensor),
        Excerpt(entry)
    )]
    NoStorage {
        /// The tensor.
        tensor: String,
        /// The entry.
        entry: String,
    },
    /// A storage of another length than the pickle says.
    #[error(
        "{}: expected {expected} elements of {element_bytes} bytes in {}, found {found} bytes; download the file again",
        Excerpt(tensor),
        Excerpt(entry)
    )]
    StorageLength {
        /// The tensor.
        tensor: String,
        /// The entry.
        entry: String,
        /// Elements by the pickle.
        expected: u64,
        /// Bytes of one.
        element_bytes: u64,
        /// Bytes of the entry.
        found: u64,
    },
    /// A tensor that reaches beyond its storage.
    #[error(
        "{}: expected shape {shape:?} with strides {strides:?} from element {offset} within its storage, found a storage of {found} elements; \
         the file is damaged",
        Excerpt(tensor)
    )]
    View {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<u64>,
        /// Its strides in elements.
        strides: Vec<u64>,
        /// Its first element.
        offset: u64,
        /// Elements of the storage.
        found: u64,
    },
    /// A tensor that shows elements of its storage more than once.
    #[error(
        "{}: expected a storage with an element for each of shape {shape:?}, found a storage of {found} elements; \
         save the tensor after contiguous()",
        Excerpt(tensor)
    )]
    Repeats {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<u64>,
        /// Elements of the storage.
        found: u64,
    },
}
