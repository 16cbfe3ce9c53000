//! From bytes on disk to a [`Checkpoint`]: one file per format below, and here how they are told apart.
//!
//! Names of tensors as strings, and the order of query and key rows in each format, exist only in this folder.

pub(crate) mod huggingface;
pub(crate) mod safetensors;

use std::fmt;
use std::path::Path;

use crate::{Checkpoint, Error};

/// What a checkpoint was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// A directory with `config.json` and safetensors files.
    HuggingFace,
    /// Random weights, no file.
    Synthetic,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Format::HuggingFace => "Hugging Face directory",
            Format::Synthetic => "synthetic weights",
        })
    }
}

pub(crate) fn open(path: &Path) -> Result<Checkpoint, Error> {
    huggingface::open(path)
}
