//! One safetensors file: mapped, its header checked, its tensors listed.
//!
//! The header is checked by our own visitor first ([`header`]), because the `safetensors` crate keeps the last of two equal
//! names and its errors carry no numbers. Then the crate reads it. What the tensors mean is not known here.

mod fault;
mod header;

use std::path::Path;

use safetensors::tensor::TensorInfo;
use safetensors::{Dtype, SafeTensors};

use super::assign::Entry;
use crate::error::OneLine;
use crate::mapping::Mapping;
use crate::pieces::Piece;
use crate::{DType, Error};

pub use fault::HeaderFault;

/// Maps a file and reads its header; `file` is the index that it will have in the checkpoint.
pub(crate) fn open(path: &Path, file: usize) -> Result<(Mapping, Vec<Entry>), Error> {
    let fault = |fault| Error::Header {
        path: path.to_owned(),
        fault,
    };
    let mapping = Mapping::open(path).map_err(|source| Error::io(path, source))?;
    header::check(mapping.bytes()).map_err(fault)?;
    let entries = read(mapping.bytes(), file).map_err(fault)?;
    Ok((mapping, entries))
}

/// Bytes of all tensors of an opened file, which begin after the header and leave no hole.
pub(crate) fn data_bytes(file: &Mapping) -> u64 {
    let bytes = file.bytes();
    let header = bytes
        .first_chunk()
        .map_or(0, |length| u64::from_le_bytes(*length));
    (bytes.len() as u64).saturating_sub(header.saturating_add(header::LENGTH_BYTES as u64))
}

fn read(bytes: &[u8], file: usize) -> Result<Vec<Entry>, HeaderFault> {
    let (header, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| HeaderFault::Refused {
            found: OneLine(&error.to_string()).to_string(),
        })?;
    let data = header::LENGTH_BYTES + header;
    let mut entries: Vec<Entry> = metadata
        .tensors()
        .into_iter()
        .map(|(name, info)| Entry {
            name,
            pieces: vec![piece(file, data + info.data_offsets.0, info)],
            dtype: dtype(info.dtype).ok_or_else(|| info.dtype.to_string()),
            shape: info.shape.clone(),
        })
        .collect();
    // The crate's map has no order; errors and warnings shall.
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn dtype(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        _ => None,
    }
}

/// The tensor's bytes, which lie within the file and are as many as shape and type ask for.
fn piece(file: usize, offset: usize, info: &TensorInfo) -> Piece {
    let element = info.dtype.bitsize() / 8;
    match info.shape[..] {
        [rows, columns] => Piece::whole(file, offset, rows, columns, element),
        _ => Piece::whole(file, offset, info.shape.iter().product(), 1, element),
    }
}
