//! From bytes on disk to a [`Checkpoint`]: one file per format below, and here how they are told apart.
//!
//! Names of tensors as strings, and the order of query and key rows in each format, exist only in this folder.

mod assign;
mod fields;
pub(crate) mod huggingface;
mod json;
mod meta;
pub(crate) mod pickle;
pub(crate) mod safetensors;
pub(crate) mod torch_archive;

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::Path;

use crate::error::Excerpt;
use crate::mapping::Mapping;
use crate::{Checkpoint, Error};

/// What a checkpoint was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// A directory with `config.json` and safetensors files, or PyTorch's older `.bin` files.
    HuggingFace,
    /// A directory with `params.json` and `consolidated.NN.pth`, as Meta distributes.
    Meta,
    /// Random weights, no file.
    Synthetic,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Format::HuggingFace => "Hugging Face directory",
            Format::Meta => "Meta directory",
            Format::Synthetic => "synthetic weights",
        })
    }
}

const CONVERT_GGUF: &str = "give the Hugging Face directory that the file was made from";

/// Tells formats apart by what lies at `path`, and opens the checkpoint.
pub(crate) fn open(path: &Path) -> Result<Checkpoint, Error> {
    let metadata = std::fs::metadata(path).map_err(|source| Error::io(path, source))?;
    if metadata.is_dir() {
        let checkpoint = open_directory(path)?;
        refuse_repetition(path, &checkpoint)?;
        Ok(checkpoint)
    } else {
        Err(refuse_file(path, metadata.is_file())?)
    }
}

fn open_directory(path: &Path) -> Result<Checkpoint, Error> {
    let names = std::fs::read_dir(path)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect::<Result<Vec<_>, _>>()
        })
        .map_err(|source| Error::io(path, source))?;
    let has_extension = |extension: &str| {
        let matches = |name: &&OsString| Path::new(name).extension() == Some(extension.as_ref());
        names.iter().find(matches).is_some()
    };
    let not_read_yet = |format, advice| {
        Err(Error::NotReadYet {
            path: path.to_owned(),
            format,
            advice,
        })
    };
    if let Some(container) = huggingface::Container::find(&names) {
        huggingface::open(path, container)
    } else if meta::is_directory_of(&names) {
        meta::open(path)
    } else if has_extension("gguf") {
        not_read_yet("a GGUF file", CONVERT_GGUF)
    } else {
        Err(Error::UnknownFormat {
            path: path.to_owned(),
            found: listing(names),
        })
    }
}

/// Views of one storage could make a model of any size out of a small file. One tensor may well be two: an output matrix is often
/// the embedding.
fn refuse_repetition(path: &Path, checkpoint: &Checkpoint) -> Result<(), Error> {
    let length = |file: &Mapping| file.bytes().len() as u64;
    let files: u64 = checkpoint.files.iter().map(length).sum();
    let found = checkpoint.weight_bytes();
    if found > files.saturating_mul(2) {
        return Err(Error::Repetition {
            path: path.to_owned(),
            files,
            found,
        });
    }
    Ok(())
}

/// The error for a path that is a file: which one, the first bytes tell. `Err` is a file that cannot be read.
fn refuse_file(path: &Path, regular: bool) -> Result<Error, Error> {
    let mut magic = Vec::new();
    if regular {
        std::fs::File::open(path)
            .and_then(|file| file.take(4).read_to_end(&mut magic))
            .map_err(|source| Error::io(path, source))?;
    }
    let not_read_yet = |format, advice| Error::NotReadYet {
        path: path.to_owned(),
        format,
        advice,
    };
    Ok(match magic.as_slice() {
        b"GGUF" => not_read_yet("a GGUF file", CONVERT_GGUF),
        b"PK\x03\x04" => Error::OneFile {
            path: path.to_owned(),
            found: "a PyTorch archive",
        },
        _ => Error::UnknownFormat {
            path: path.to_owned(),
            found: if regular {
                "a file"
            } else {
                "neither file nor directory"
            }
            .to_owned(),
        },
    })
}

/// What a directory holds, in a message.
fn listing(mut names: Vec<OsString>) -> String {
    const SHOWN: usize = 4;
    if names.is_empty() {
        return "an empty directory".to_owned();
    }
    names.sort();
    let shown: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|name| Excerpt(&name.to_string_lossy()).to_string())
        .collect();
    let more = names.len().saturating_sub(SHOWN);
    let more = if more == 0 {
        String::new()
    } else {
        format!(" and {more} more entries")
    };
    format!("a directory with {}{more}", shown.join(", "))
}
