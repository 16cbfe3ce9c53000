//! A file mapped into memory: the crate's only `unsafe`.

use std::fs::File;
use std::io;
use std::path::Path;

/// A read-only mapping of a whole regular file.
#[derive(Debug)]
pub(crate) struct Mapping {
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
        Ok(Self { map })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }
}
