//! One module for each kind of file; each reads bytes into a `Draft` or changes one.

pub(crate) mod huggingface;
pub(crate) mod pipeline;
pub(crate) mod protobuf;
pub(crate) mod sentencepiece;
pub(crate) mod settings;

use crate::error::{Error, Origin};

/// Refuses the text that stands for a large file in a repository cloned without Git LFS.
fn refuse_pointer(bytes: &[u8], origin: Origin<'_>) -> Result<(), Error> {
    if bytes.starts_with(b"version https://git-lfs") {
        let (expected, found) = ("a tokenizer", "a Git LFS pointer");
        return Err(origin.invalid(
            "content",
            expected,
            found,
            "fetch the file with `git lfs pull`",
        ));
    }
    Ok(())
}

/// The JSON after a byte order mark, which some editors write.
fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}
