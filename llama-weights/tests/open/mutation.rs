//! Files with a few bytes changed at random: they open or are refused within the limits, and never panic.

use llama_weights::Checkpoint;
use proptest::prelude::*;

use crate::fixture::{Directory, refusal};
use crate::packed::good_gptq;

/// Bytes that matter to JSON, and any others.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        any::<u8>(),
        prop::sample::select(b"{}[]\",:0129-e.\\ ".to_vec())
    ]
}

/// Changes, each at a place given as a fraction of the file's length.
fn changes() -> impl Strategy<Value = Vec<(f64, u8)>> {
    prop::collection::vec((0.0..1.0f64, byte()), 1..4)
}

/// Applies the changes to the first `within` bytes, and reads every value where the result still opens.
fn open_spoilt(directory: &Directory, name: &str, within: usize, changes: &[(f64, u8)]) {
    let mut bytes = std::fs::read(directory.path().join(name)).expect("the file");
    let within = within.min(bytes.len());
    for &(place, byte) in changes {
        bytes[(place * within as f64) as usize] = byte;
    }
    directory.write(name, bytes);
    match Checkpoint::open(directory.path()) {
        Ok(checkpoint) => assert!(checkpoint.check_values().count() >= 11),
        Err(_) => drop(refusal(directory.path())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn spoilt_header(changes in changes()) {
        open_spoilt(&Directory::good(), "model.safetensors", 1200, &changes);
    }

    #[test]
    fn spoilt_config(changes in changes()) {
        open_spoilt(&Directory::good(), "config.json", usize::MAX, &changes);
    }

    #[test]
    fn spoilt_matrices_of_four_bits(changes in changes()) {
        open_spoilt(&good_gptq(), "model.safetensors", usize::MAX, &changes);
    }

    #[test]
    fn spoilt_declaration_of_four_bits(changes in changes()) {
        open_spoilt(&good_gptq(), "config.json", usize::MAX, &changes);
    }

    #[test]
    fn spoilt_index(changes in changes()) {
        open_spoilt(&Directory::sharded(), "model.safetensors.index.json", usize::MAX, &changes);
    }

    #[test]
    fn any_header(header in prop::collection::vec(byte(), 0..64)) {
        let directory = Directory::good();
        directory.write("model.safetensors", crate::fixture::raw(header, &[0; 8]));
        refusal(directory.path());
    }
}
