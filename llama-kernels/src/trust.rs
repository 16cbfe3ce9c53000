//! Which variants run without wgpu's run-time checks: those whose exact text passed its trials with the checks on and off.
//!
//! The record, `trusted.txt`, is written by the trials alone (`LLAMA_TRIALS=record cargo test -p llama-kernels --test numeric`).
//! A line is a variant's id and the fingerprint of what was tried; a kernel that changed since has another fingerprint and
//! runs checked until its trials have passed again. What a kernel must keep to is in ARCHITECTURE.md.

use crate::{Variant, checksum::fnv1a};

const RECORD: &str = include_str!("trusted.txt");

impl Variant {
    /// Whether this text of the variant passed its trials with and without run-time checks.
    pub fn is_trusted(&self) -> bool {
        vouches(RECORD, &self.id(), self.fingerprint())
    }

    /// FNV-1a of the WGSL text and of the values that its overrides get. Line ends do not count.
    pub fn fingerprint(&self) -> u64 {
        let text = self.wgsl().bytes().filter(|byte| *byte != b'\r');
        let overrides = (self.overrides.iter()).flat_map(|one| {
            let value = one
                .value
                .map_or([0; 8], |value| value.to_bits().to_le_bytes());
            one.name.bytes().chain(value)
        });
        fnv1a(text.chain(overrides))
    }
}

/// Whether a line of the record is of this id and this fingerprint.
fn vouches(record: &str, id: &str, fingerprint: u64) -> bool {
    record
        .lines()
        .filter_map(|line| line.split_once(' '))
        .any(|(name, hash)| name == id && u64::from_str_radix(hash.trim(), 16) == Ok(fingerprint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_that_was_tried_is_trusted() {
        let record = "# comment\nmatvec.f16 00000000000000ff\r\nmatmul.f16 nonsense\n";
        assert!(vouches(record, "matvec.f16", 0xff));
        assert!(!vouches(record, "matvec.f16", 0xfe));
        assert!(!vouches(record, "matvec", 0xff));
        assert!(!vouches(record, "matmul.f16", 0));
        assert!(!vouches("", "matvec.f16", 0xff));
    }

    #[test]
    fn fingerprints_differ_between_variants() {
        let mut prints: Vec<u64> = crate::variants().iter().map(Variant::fingerprint).collect();
        prints.sort_unstable();
        prints.dedup();
        assert_eq!(prints.len(), crate::variants().len());
    }
}
