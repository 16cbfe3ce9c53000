//! The seeds of the fuzz targets, through what the targets do: on stable, and without the fuzzer.

#[path = "../fuzz/src/lib.rs"]
pub mod targets;

use std::fs;
use std::path::Path;

/// Every seed is accepted; cut or with one byte changed it is accepted or refused, within the limits.
fn check(target: &str, run: fn(&[u8]) -> bool) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/seeds");
    let files: Vec<_> = fs::read_dir(seeds.join(target))
        .expect("seeds")
        .map(|entry| entry.expect("a seed").path())
        .collect();
    assert!(!files.is_empty());
    for path in files {
        let bytes = fs::read(&path).expect("a seed");
        assert!(run(&bytes), "{}: refused", path.display());
        for at in (0..bytes.len()).step_by(bytes.len() / 50 + 1) {
            run(&bytes[..at]);
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 0xff;
            run(&spoilt);
        }
    }
}

#[test]
fn sentencepiece() {
    check("sentencepiece", targets::sentencepiece);
}

#[test]
fn json() {
    check("json", targets::json);
}
