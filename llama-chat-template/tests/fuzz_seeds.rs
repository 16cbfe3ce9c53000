//! The seeds of the fuzz target, through what the target does: on stable, and without the fuzzer.

#[path = "../fuzz/src/lib.rs"]
pub mod targets;

use std::fs;
use std::path::Path;

/// Every seed gives a prompt; cut or with one byte changed it gives one or an error.
#[test]
fn template() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/seeds/template");
    let files: Vec<_> = fs::read_dir(seeds)
        .expect("seeds")
        .map(|entry| entry.expect("a seed").path())
        .collect();
    assert!(!files.is_empty());
    for path in files {
        let bytes = fs::read(&path).expect("a seed");
        assert!(targets::template(&bytes), "{}: refused", path.display());
        for at in (0..bytes.len()).step_by(bytes.len() / 50 + 1) {
            targets::template(&bytes[..at]);
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 0x7f;
            targets::template(&spoilt);
        }
    }
}
