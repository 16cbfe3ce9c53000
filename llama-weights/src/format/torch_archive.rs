//! A PyTorch archive, as `torch.save` writes since 1.6: a zip of a pickle (`data.pkl`) and of storages (`data/0` …) that lie
//! uncompressed in the file, so that tensors are views of the mapped bytes.
//!
//! Nothing is ever unpacked, and no entry's name becomes a path. Checksums are not compared: torch itself can be told to write
//! none, and reading every storage would take as long as loading the model. What the tensors mean is not known here.

mod entries;
mod fault;

use std::path::Path;

use self::entries::Entries;
use super::assign::Entry;
use super::pickle::{self, Tensor};
use crate::Error;
use crate::error::Excerpt;
use crate::mapping::Mapping;
use crate::pieces::Piece;

pub use fault::ArchiveFault;

/// Maps an archive and reads its pickle; `file` is the index that it will have in the checkpoint. Tensors come in the order of
/// their names, and every element of each lies in the file.
pub(super) fn open(path: &Path, file: usize) -> Result<(Mapping, Vec<Entry>), Error> {
    let mapping = Mapping::open(path).map_err(|source| Error::io(path, source))?;
    let entries = read(mapping.bytes(), file).map_err(|fault| Error::Archive {
        path: path.to_owned(),
        fault,
    })?;
    Ok((mapping, entries))
}

/// Bytes of all tensors of an opened file, or `None` where some have a type that weights do not have.
pub(super) fn data_bytes(entries: &[Entry]) -> Option<u64> {
    let bytes = |entry: &Entry| {
        let element = entry.dtype.as_ref().ok()?.block_bytes();
        Some((entry.shape.iter().product::<usize>() * element) as u64)
    };
    entries.iter().map(bytes).sum()
}

fn read(bytes: &[u8], file: usize) -> Result<Vec<Entry>, ArchiveFault> {
    let entries = Entries::read(bytes)?;
    if let Some(order) = entries.get("byteorder").map(|span| &bytes[span]) {
        if order != b"little" {
            return Err(ArchiveFault::ByteOrder {
                found: Excerpt(&String::from_utf8_lossy(order)).to_string(),
            });
        }
    }
    let pickle = entries
        .get("data.pkl")
        .ok_or(ArchiveFault::NoPickle { found: "none" })?;
    let tensors = pickle::tensors(&bytes[pickle]).map_err(ArchiveFault::Pickle)?;
    let mut found = tensors
        .iter()
        .map(|tensor| place(tensor, &entries, file))
        .collect::<Result<Vec<_>, _>>()?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Finds the tensor's bytes, all of which lie in its storage.
fn place(tensor: &Tensor<'_>, entries: &Entries, file: usize) -> Result<Entry, ArchiveFault> {
    let storage = tensor.storage;
    let name = || tensor.name.to_owned();
    let key = format!("data/{}", storage.key);
    let Some(span) = entries.get(&key) else {
        return Err(ArchiveFault::NoStorage {
            tensor: name(),
            entry: key,
        });
    };
    let bytes = storage.numel.checked_mul(storage.kind.element_bytes);
    if bytes != Some(span.len() as u64) {
        return Err(ArchiveFault::StorageLength {
            tensor: name(),
            entry: key,
            expected: storage.numel,
            element_bytes: storage.kind.element_bytes,
            found: span.len() as u64,
        });
    }
    if reach(tensor) > u128::from(storage.numel) {
        return Err(ArchiveFault::View {
            tensor: name(),
            shape: tensor.shape.clone(),
            strides: tensor.strides.clone(),
            offset: tensor.offset,
            found: storage.numel,
        });
    }
    if elements(&tensor.shape) > u128::from(storage.numel) {
        return Err(ArchiveFault::Repeats {
            tensor: name(),
            shape: tensor.shape.clone(),
            found: storage.numel,
        });
    }
    // From here on every product is at most the storage's bytes, which lie in memory.
    let element = storage.kind.element_bytes as usize;
    let offset = span.start + tensor.offset as usize * element;
    Ok(Entry {
        name: name(),
        dtype: storage.kind.dtype.ok_or(storage.kind.name.to_owned()),
        shape: tensor.shape.iter().map(|&n| n as usize).collect(),
        pieces: vec![piece(tensor, file, offset, element)],
    })
}

/// Elements of the storage up to the tensor's last, that included.
fn reach(tensor: &Tensor<'_>) -> u128 {
    if tensor.shape.contains(&0) {
        return tensor.offset.into();
    }
    let steps = tensor.shape.iter().zip(&tensor.strides);
    steps
        .map(|(&n, &stride)| u128::from(n - 1) * u128::from(stride))
        .fold(u128::from(tensor.offset) + 1, u128::saturating_add)
}

fn elements(shape: &[u64]) -> u128 {
    shape
        .iter()
        .fold(1, |elements, &n| elements.saturating_mul(n.into()))
}

/// The whole tensor; what is no matrix is rows of one element.
fn piece(tensor: &Tensor<'_>, file: usize, offset: usize, element: usize) -> Piece {
    let size = |n: u64| n as usize;
    // The stride of a dimension with one index may be any number, and is never taken: a packed tensor's stands for it.
    let step = |n, stride, packed| {
        if n > 1 {
            size(stride) * element
        } else {
            packed
        }
    };
    let (rows, columns, strides) = match (&tensor.shape[..], &tensor.strides[..]) {
        (&[rows, columns], &[down, across]) if rows > 0 && columns > 0 => {
            let across = step(columns, across, element);
            let down = step(rows, down, size(columns) * element);
            (size(rows), size(columns), [down, across])
        }
        (&[length], &[stride]) => {
            let step = step(length, stride, element);
            (size(length), 1, [step, element])
        }
        // No element, or a rank that no weight has.
        _ => (0, 0, [0, 0]),
    };
    Piece {
        file,
        offset,
        strides,
        rows: 0..rows,
        blocks: 0..columns,
    }
}
