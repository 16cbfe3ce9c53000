//! GGUF files, versions 2 and 3, little-endian: one, or several that were split.
//!
//! Query and key rows are interleaved here, as Meta has them; they are handed out half-split. Specification: `docs/gguf.md` of the
//! ggml project.

mod config;
mod fault;
mod header;
mod listing;
mod metadata;
mod names;
mod split;
mod vocabulary;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::header::Header;
use self::metadata::Metadata;
use super::Format;
use super::assign::{Entries, Naming};
use crate::format::fields::Integers;
use crate::mapping::Mapping;
use crate::pieces::{MappedRows, RowOrder};
use crate::{Checkpoint, Error};

pub use fault::GgufFault;
pub use vocabulary::{Vocabulary, VocabularyPiece};
pub use write::{GgufOptions, GgufTensor, GgufWriteError, GgufWriter};

pub(super) const MAGIC: &[u8] = b"GGUF";

/// llama.cpp's names and row order.
const NAMING: Naming = Naming {
    tensor_name: names::tensor_name,
    is_redundant: names::is_redundant,
    interleaved: true,
    // Never missing alone: a file without it is one whose output is its embedding.
    without_output: "download the file again",
};

/// Opens a file that [`super::open`] took for this format, and the other parts where it was split.
pub(super) fn open(path: &Path) -> Result<Checkpoint, Error> {
    let parts = split::parts(path, &map(path)?)?;
    let mut entries = Entries {
        path,
        files: Vec::new(),
        by_name: BTreeMap::new(),
        packed: BTreeMap::new(),
    };
    for (number, part) in parts.iter().enumerate() {
        let file = map(part)?;
        add_part(&mut entries, part, &file, parts.len(), number)?;
        entries.files.push(file);
    }
    // The first part has the metadata of the whole.
    let metadata = read_metadata(&parts[0], &entries.files[0])?;
    split::check_tensor_count(&metadata, entries.by_name.len())?;
    let h = config::read(&metadata, &entries.by_name)?;
    refuse_rope_factors(&metadata, &entries)?;
    let mut warnings = Vec::new();
    let (files, tensors) = entries.assign(&NAMING, &h, &mut warnings)?;
    Ok(Checkpoint {
        format: Format::Gguf,
        hyperparameters: h,
        generation_config: None,
        declared_dtype: None,
        warnings,
        files,
        tensors,
        adapters: Vec::new(),
    })
}

/// The vocabulary of a file, or of the first of its parts; nothing but its metadata is read.
pub(super) fn vocabulary(path: &Path) -> Result<Option<Vocabulary>, Error> {
    let file = map(path)?;
    let metadata = read_metadata(path, &file)?;
    let first = split::first_part(path, &metadata)?;
    if first == path {
        return vocabulary::read(&metadata);
    }
    vocabulary_of(&map(&first)?)
}

/// The vocabulary of a mapped file.
pub(crate) fn vocabulary_of(file: &Mapping) -> Result<Option<Vocabulary>, Error> {
    vocabulary::read(&read_metadata(file.path(), file)?)
}

fn map(path: &Path) -> Result<Mapping, Error> {
    Mapping::open(path).map_err(|source| Error::io(path, source))
}

fn at(path: &Path) -> impl FnOnce(GgufFault) -> Error {
    let path = path.to_owned();
    move |fault| Error::Gguf { path, fault }
}

fn read_metadata<'a>(path: &'a Path, file: &'a Mapping) -> Result<Metadata<'a>, Error> {
    let header = Header::read(path, file.bytes()).map_err(at(path))?;
    Ok(header.metadata)
}

/// Lists the tensors of one file among those of the others.
fn add_part(
    entries: &mut Entries<'_>,
    path: &Path,
    file: &Mapping,
    n_parts: usize,
    number: usize,
) -> Result<(), Error> {
    let header = Header::read(path, file.bytes()).map_err(at(path))?;
    let (metadata, tensors, end) = header.tensors().map_err(at(path))?;
    split::check_part(&metadata, n_parts, number)?;
    let alignment = listing::alignment(&metadata)
        .ok_or_else(|| metadata.fault(listing::ALIGNMENT_KEY, listing::alignments()))?;
    let length = file.bytes().len() as u64;
    let listed = listing::entries(tensors, end, alignment, number, length).map_err(at(path))?;
    for entry in listed {
        let name = entry.name.clone();
        if let Some(other) = entries.by_name.insert(name.clone(), entry) {
            return Err(Error::TensorInTwoShards {
                path: entries.path.to_owned(),
                tensor: name,
                first: (other.pieces.first())
                    .map(|piece| entries.files[piece.file].name())
                    .unwrap_or_default(),
                second: file.name(),
            });
        }
    }
    Ok(())
}

/// Factors of the rotary frequencies (Llama 3.1) are no scaling that is implemented, unless they change nothing.
fn refuse_rope_factors(metadata: &Metadata<'_>, entries: &Entries<'_>) -> Result<(), Error> {
    let Some(entry) = entries.by_name.get(names::ROPE_FACTORS) else {
        return Ok(());
    };
    let is_one = |bytes: &[u8]| bytes == 1f32.to_le_bytes();
    let rows = MappedRows {
        files: &entries.files,
        pieces: &entry.pieces,
        order: RowOrder::HalfSplit,
        row_bytes: 4,
        block_bytes: 4,
    };
    match (&entry.dtype, &entry.shape[..]) {
        (Ok(crate::DType::F32), &[length]) if rows.get(0..length).chunks(4).all(is_one) => Ok(()),
        _ => Err(metadata.fault_found(
            names::ROPE_FACTORS,
            "none, since factors of the rotary frequencies are not read from GGUF files",
            format!("a tensor of shape {:?}", entry.shape),
        )),
    }
}

/// The file to open of a directory with these GGUF files: the only one, or the first part of the only one that was split.
pub(super) fn only_one(directory: &Path, names: &[String]) -> Result<PathBuf, Error> {
    split::only_one(names)
        .map(|name| directory.join(name))
        .ok_or_else(|| Error::SeveralModels {
            path: directory.to_owned(),
            found: names.to_vec(),
        })
}
