//! The seeds of the fuzz targets, through what the targets do: on stable, and without the fuzzer.

#[path = "../fuzz/src/lib.rs"]
pub mod targets;

use std::fs;

use targets::{Room, seeds};

/// Every seed opens; cut or with one byte changed it is opened or refused, within the limits.
fn check(target: &str, run: impl Fn(&Room, &[u8]) -> bool) {
    let room = Room::new();
    let files: Vec<_> = fs::read_dir(seeds().join(target))
        .expect("seeds")
        .map(|entry| entry.expect("a seed").path())
        .collect();
    assert!(!files.is_empty());
    for path in files {
        let bytes = fs::read(&path).expect("a seed");
        assert!(run(&room, &bytes), "{}: refused", path.display());
        for at in (0..bytes.len()).step_by(bytes.len() / 50 + 1) {
            run(&room, &bytes[..at]);
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 0xff;
            run(&room, &spoilt);
        }
    }
}

#[test]
fn safetensors() {
    check("safetensors", Room::safetensors);
}

#[test]
fn torch() {
    check("torch", Room::torch);
}

#[test]
fn gguf() {
    check("gguf", Room::gguf);
}

#[test]
fn config() {
    check("config", Room::config);
}
