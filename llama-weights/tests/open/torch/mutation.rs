//! Archives with a few bytes changed at random, or cut: they open or are refused within the limits, and never panic.

use llama_weights::Checkpoint;
use proptest::prelude::*;

use super::written::{Archive, bin};
use crate::fixture::{refusal, tensors};

/// Bytes that matter to a pickle or a zip, and any others.
fn byte() -> impl Strategy<Value = u8> {
    let known =
        b"\x80\x02}q)R(XctQKMJ\x8a\x85\x86\x87\x88\x89Nhjrsub.\n\0\x01\x08\x7fPK\x03\x04\x05\x06";
    prop_oneof![any::<u8>(), prop::sample::select(known.to_vec())]
}

/// Opens these bytes as a good checkpoint's weights, and reads every value where that works.
fn open(bytes: Vec<u8>) {
    let directory = bin();
    directory.write("pytorch_model.bin", bytes);
    match Checkpoint::open(directory.path()) {
        Ok(checkpoint) => assert_eq!(checkpoint.check_values().count(), 12),
        Err(_) => drop(refusal(directory.path())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn spoilt_anywhere(changes in prop::collection::vec((any::<prop::sample::Index>(), byte()), 1..6)) {
        let mut bytes = Archive::of(&tensors()).bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        open(bytes);
    }

    #[test]
    fn spoilt_directory(changes in prop::collection::vec((0usize..1000, byte()), 1..4)) {
        let mut bytes = Archive::of(&tensors()).bytes();
        let length = bytes.len();
        for (place, byte) in changes {
            bytes[length - 1 - place] = byte;
        }
        open(bytes);
    }

    #[test]
    fn spoilt_pickle(changes in prop::collection::vec((46usize..2400, byte()), 1..6)) {
        let mut bytes = Archive::of(&tensors()).bytes();
        for (place, byte) in changes {
            bytes[place] = byte;
        }
        open(bytes);
    }

    #[test]
    fn a_part_removed(from in any::<prop::sample::Index>(), length in 1usize..4000) {
        let mut bytes = Archive::of(&tensors()).bytes();
        let from = from.index(bytes.len());
        let to = (from + length).min(bytes.len());
        bytes.drain(from..to);
        open(bytes);
    }
}
