//! A file mapped into memory: the crate's only `unsafe`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A read-only mapping of a whole regular file.
#[derive(Debug)]
pub(crate) struct Mapping {
    path: PathBuf,
    map: memmap2::Mmap,
}

impl Mapping {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // A pipe or a device would block or never end; looking first keeps them unopened.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let file = File::open(path)?;
        #[expect(
            unsafe_code,
            reason = "mapping is what keeps a 138 GB checkpoint off the heap"
        )]
        // SAFETY: the mapping is private and read-only, and this type lends it as `&[u8]` only for its own
        // lifetime. What the compiler cannot see is another process that changes or cuts the file meanwhile; no API of the
        // system prevents that, every user of mapped files accepts it, and `Checkpoint` documents it. Bytes are never
        // interpreted by a type for which some bit pattern is invalid.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Self {
            path: path.to_owned(),
            map,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's last component, for messages.
    pub(crate) fn name(&self) -> String {
        let name = self.path.file_name();
        name.unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }
}
