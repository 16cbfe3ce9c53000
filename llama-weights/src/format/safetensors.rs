//! Safetensors files.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::mapping::Mapping;

/// What is wrong with a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderFault {
    /// Shorter than the 8 bytes that give the header's length.
    #[error(
        "expected at least 8 bytes, found {found}; the file is not safetensors or was cut, download it again"
    )]
    TooShort {
        /// The file's length.
        found: u64,
    },
}

/// A mapped file.
#[derive(Debug)]
pub(crate) struct File {
    path: PathBuf,
    mapping: Mapping,
}

impl File {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            path: path.to_owned(),
            mapping: Mapping::open(path).map_err(|source| Error::io(path, source))?,
        })
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.mapping.bytes()
    }
}
