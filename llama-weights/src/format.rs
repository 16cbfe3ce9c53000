//! From bytes on disk to a [`Checkpoint`]: one file per format below, and here how they are told apart.
//!
//! Names of tensors as strings, and the order of query and key rows in each format, exist only in this folder.

mod assign;
mod fields;
pub(crate) mod gguf;
pub(crate) mod huggingface;
mod json;
mod meta;
pub(crate) mod peft;
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
    /// A GGUF file, or several parts of one.
    Gguf,
    /// Random weights, no file.
    Synthetic,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Format::HuggingFace => "Hugging Face directory",
            Format::Meta => "Meta directory",
            Format::Gguf => "GGUF file",
            Format::Synthetic => "synthetic weights",
        })
    }
}

/// Tells formats apart by what lies at `path`, and opens the checkpoint.
pub(crate) fn open(path: &Path) -> Result<Checkpoint, Error> {
    let metadata = std::fs::metadata(path).map_err(|source| Error::io(path, source))?;
    if metadata.is_dir() {
        let checkpoint = open_directory(path)?;
        refuse_repetition(path, &checkpoint)?;
        Ok(checkpoint)
    } else {
        open_file(path, metadata.is_file())
    }
}

/// The vocabulary of a GGUF file, or of the one in a directory that is opened as such; `None` for whatever else lies there.
pub(crate) fn vocabulary(path: &Path) -> Result<Option<gguf::Vocabulary>, Error> {
    let metadata = std::fs::metadata(path).map_err(|source| Error::io(path, source))?;
    if metadata.is_dir() {
        return match form(&names_in(path)?) {
            Some(Form::Gguf(names)) => gguf::vocabulary(&gguf::only_one(path, &names)?),
            _ => Ok(None),
        };
    }
    match first_bytes(path, metadata.is_file())?.as_slice() {
        gguf::MAGIC => gguf::vocabulary(path),
        _ => Ok(None),
    }
}

/// What a directory is opened as.
enum Form {
    HuggingFace(huggingface::Container),
    Meta,
    /// Its GGUF files, in order.
    Gguf(Vec<String>),
}

/// The first of the forms that a directory with these names has; `None` where it has none.
fn form(names: &[OsString]) -> Option<Form> {
    if let Some(container) = huggingface::Container::find(names) {
        return Some(Form::HuggingFace(container));
    }
    if meta::is_directory_of(names) {
        return Some(Form::Meta);
    }
    let mut gguf: Vec<String> = names
        .iter()
        .filter(|name| Path::new(name).extension() == Some("gguf".as_ref()))
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    gguf.sort();
    (!gguf.is_empty()).then_some(Form::Gguf(gguf))
}

fn names_in(directory: &Path) -> Result<Vec<OsString>, Error> {
    std::fs::read_dir(directory)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect()
        })
        .map_err(|source| Error::io(directory, source))
}

fn open_directory(path: &Path) -> Result<Checkpoint, Error> {
    let names = names_in(path)?;
    match form(&names) {
        Some(Form::HuggingFace(container)) => huggingface::open(path, container),
        Some(Form::Meta) => meta::open(path),
        Some(Form::Gguf(names)) => gguf::open(&gguf::only_one(path, &names)?),
        None => Err(Error::UnknownFormat {
            path: path.to_owned(),
            found: listing(names),
        }),
    }
}

/// Views of one storage could make a model of any size out of a small file. One tensor may well be two: an output matrix is often
/// the embedding.
fn refuse_repetition(path: &Path, checkpoint: &Checkpoint) -> Result<(), Error> {
    let length = |file: &Mapping| file.bytes().len() as u64;
    let files: u64 = checkpoint.files.iter().map(length).sum();
    let found = checkpoint.stored_bytes();
    if found > files.saturating_mul(2) {
        return Err(Error::Repetition {
            path: path.to_owned(),
            files,
            found,
        });
    }
    Ok(())
}

/// Which format a file has, its first bytes tell.
fn open_file(path: &Path, regular: bool) -> Result<Checkpoint, Error> {
    match first_bytes(path, regular)?.as_slice() {
        gguf::MAGIC => gguf::open(path),
        // Named so, it is one that is damaged or no download at all: its own reader says what is there.
        _ if regular && path.extension() == Some("gguf".as_ref()) => gguf::open(path),
        b"PK\x03\x04" => Err(Error::OneFile {
            path: path.to_owned(),
            found: "a PyTorch archive",
        }),
        _ => Err(Error::UnknownFormat {
            path: path.to_owned(),
            found: if regular {
                "a file"
            } else {
                "neither file nor directory"
            }
            .to_owned(),
        }),
    }
}

/// The first four bytes of a regular file, or fewer where it has no more.
fn first_bytes(path: &Path, regular: bool) -> Result<Vec<u8>, Error> {
    let mut magic = Vec::new();
    if regular {
        std::fs::File::open(path)
            .and_then(|file| file.take(4).read_to_end(&mut magic))
            .map_err(|source| Error::io(path, source))?;
    }
    Ok(magic)
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
