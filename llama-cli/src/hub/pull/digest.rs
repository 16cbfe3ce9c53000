//! What the Hub calls a file by is its hash: sha256 for large files (LFS), git's own for small ones.

use std::fmt;

use sha1::{Digest, Sha1};
use sha2::Sha256;

use crate::hub::repository::is_hexadecimal;

/// 40 or 64 lower-case hexadecimal digits: also a harmless file name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Etag(String);

impl Etag {
    /// Of a header `ETag` or `X-Linked-Etag`, with its quotes and the mark of a weak one; `None` where it is no hash.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let text = header.trim();
        let text = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
        let is_hash = matches!(text.len(), 40 | 64) && is_hexadecimal(text);
        is_hash.then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// What its digits are.
    pub(super) fn kind(&self) -> &'static str {
        if self.0.len() == 64 {
            "sha256"
        } else {
            "git hash"
        }
    }

    /// A hasher for the file of this name.
    ///
    /// `bytes` is the file's whole length, which git hashes in front of it.
    pub(super) fn hasher(&self, bytes: u64) -> Hasher {
        if self.0.len() == 64 {
            return Hasher::Sha256(Sha256::new());
        }
        let mut hasher = Sha1::new();
        hasher.update(format!("blob {bytes}\0"));
        Hasher::Git(hasher)
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone)]
pub(super) enum Hasher {
    Sha256(Sha256),
    Git(Sha1),
}

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Git(hasher) => hasher.update(bytes),
        }
    }

    /// In the digits of an [`Etag`].
    pub(super) fn finish(self) -> Etag {
        let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Etag(match self {
            Self::Sha256(hasher) => hexadecimal(&hasher.finalize()),
            Self::Git(hasher) => hexadecimal(&hasher.finalize()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `git hash-object` and `sha256sum` of "hello\n".
    #[test]
    fn hashes_are_gits_and_sha256() {
        for name in [
            "ce013625030ba8dba906f756967f9e9ca394464a",
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        ] {
            let etag = Etag::parse(&format!("\"{name}\"")).unwrap();
            let mut hasher = etag.hasher(6);
            hasher.update(b"hel");
            hasher.update(b"lo\n");
            assert_eq!(hasher.finish(), etag);
            assert_eq!(Etag::parse(&format!("W/\"{name}\"")), Some(etag));
        }
    }

    #[test]
    fn an_etag_that_is_no_hash_is_none() {
        for bad in [
            "",
            "\"\"",
            "../../../etc/passwd",
            "CE013625030BA8DBA906F756967F9E9CA394464A",
            "ce013625030ba8dba906f756967f9e9ca394464a-gzip",
            "ce013625030ba8dba906f756967f9e9ca39446/a",
        ] {
            assert_eq!(Etag::parse(bad), None, "{bad}");
        }
    }
}
