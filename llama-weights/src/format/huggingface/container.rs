//! The two containers that transformers has written weights in. Names of tensors and the configuration are the same in both.

use std::ffi::OsString;
use std::path::Path;

use crate::Error;
use crate::format::assign::Entry;
use crate::format::{safetensors, torch_archive};
use crate::mapping::Mapping;

/// How the files of a directory hold tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) enum Container {
    /// `model.safetensors`.
    Safetensors,
    /// `pytorch_model.bin`, until 2023.
    Torch,
}

impl Container {
    /// What lies in a directory of these names; safetensors where both do, as in transformers.
    pub(in crate::format) fn find(names: &[OsString]) -> Option<Self> {
        let has = |name: &str| names.iter().any(|other| other == name);
        let has_bin = || {
            let mut names = names.iter().map(|name| name.to_string_lossy());
            names.any(|name| name.starts_with("pytorch_model-") && name.ends_with(".bin"))
        };
        if has(Self::Safetensors.single()) || has(Self::Safetensors.index()) {
            Some(Self::Safetensors)
        } else if has(Self::Torch.single()) || has(Self::Torch.index()) || has_bin() {
            Some(Self::Torch)
        } else {
            None
        }
    }

    /// The file that holds all tensors.
    pub(super) fn single(self) -> &'static str {
        match self {
            Self::Safetensors => "model.safetensors",
            Self::Torch => "pytorch_model.bin",
        }
    }

    /// The file that names the shards.
    pub(super) fn index(self) -> &'static str {
        match self {
            Self::Safetensors => "model.safetensors.index.json",
            Self::Torch => "pytorch_model.bin.index.json",
        }
    }

    /// Whether the index leads to the weights: where the file of all tensors is not there.
    pub(super) fn is_sharded(self, directory: &Path) -> bool {
        let single = directory.join(self.single());
        // A dangling link to the single file is that file's error where there is no index.
        !single.exists() && (directory.join(self.index()).exists() || !single.is_symlink())
    }

    /// Maps a file, which will have the index `file` in the checkpoint, and lists its tensors.
    pub(super) fn open(self, path: &Path, file: usize) -> Result<(Mapping, Vec<Entry>), Error> {
        match self {
            Self::Safetensors => safetensors::open(path, file),
            Self::Torch => torch_archive::open(path, file),
        }
    }

    /// Bytes of all tensors of an opened file, where they can be counted.
    pub(super) fn data_bytes(self, file: &Mapping, entries: &[Entry]) -> Option<u64> {
        match self {
            Self::Safetensors => Some(safetensors::data_bytes(file)),
            Self::Torch => torch_archive::data_bytes(entries),
        }
    }
}
