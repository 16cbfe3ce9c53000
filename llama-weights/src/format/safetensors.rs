//! One safetensors file: mapped, its header checked, its tensors listed.
//!
//! The header is checked by our own visitor first ([`header`]), because the `safetensors` crate keeps the last of two equal
//! names and its errors carry no numbers. Then the crate reads it. What the tensors mean is not known here.

mod fault;
mod header;

use std::ops::Range;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::Error;
use crate::error::OneLine;
use crate::mapping::Mapping;

pub use fault::HeaderFault;

/// A tensor as the header lists it; its span lies within the file and is as long as shape and type ask for.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Bytes of the file.
    pub(crate) span: Range<usize>,
}

/// Maps a file and reads its header.
pub(crate) fn open(path: &Path) -> Result<(Mapping, Vec<Entry>), Error> {
    let fault = |fault| Error::Header {
        path: path.to_owned(),
        fault,
    };
    let mapping = Mapping::open(path).map_err(|source| Error::io(path, source))?;
    header::check(mapping.bytes()).map_err(fault)?;
    let entries = read(mapping.bytes()).map_err(fault)?;
    Ok((mapping, entries))
}

fn read(bytes: &[u8]) -> Result<Vec<Entry>, HeaderFault> {
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
            dtype: info.dtype,
            shape: info.shape.clone(),
            span: data + info.data_offsets.0..data + info.data_offsets.1,
        })
        .collect();
    // The crate's map has no order; errors and warnings shall.
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}
