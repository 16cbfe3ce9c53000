//! Files with a few bytes changed at random, or cut: they open or are refused within the limits, and never panic.

use llama_weights::{Checkpoint, Vocabulary};
use proptest::prelude::*;

use crate::fixture::{Directory, good, refusal};

/// Bytes that matter to lengths and types, and any others.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        any::<u8>(),
        prop::sample::select(vec![0, 1, 8, 9, 12, 0x7f, 0x80, 0xff])
    ]
}

/// Changes, each at a place given as a fraction of the header's length.
fn changes() -> impl Strategy<Value = Vec<(f64, u8)>> {
    prop::collection::vec((0.0..1.0f64, byte()), 1..5)
}

/// Reads all that there is, or holds the refusal to its limits.
fn open(bytes: &[u8]) {
    let directory = Directory::empty();
    let path = directory.write("model.gguf", bytes);
    match Checkpoint::open(&path) {
        Ok(checkpoint) => {
            assert!(checkpoint.check_values().count() >= 11);
            drop(checkpoint.vocabulary());
        }
        Err(_) => drop(refusal(&path)),
    }
    drop(Vocabulary::open(&path));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn spoilt_header(changes in changes()) {
        let mut bytes = good().bytes();
        let within = bytes.len() - 2656;
        for (place, byte) in changes {
            bytes[(place * within as f64) as usize] = byte;
        }
        open(&bytes);
    }

    #[test]
    fn cut(place in 0.0..1.0f64) {
        let bytes = good().bytes();
        open(&bytes[..(place * bytes.len() as f64) as usize]);
    }

    #[test]
    fn anything_after_the_magic(rest in prop::collection::vec(byte(), 0..200)) {
        open(&[b"GGUF\x03\0\0\0", rest.as_slice()].concat());
    }
}
