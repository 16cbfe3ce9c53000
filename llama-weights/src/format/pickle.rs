//! The pickle of a PyTorch state dictionary, read without running anything.
//!
//! A pickle is a program for a stack machine, and Python's own reader calls whatever function the file names. Here the machine
//! knows only the instructions that `torch.save` writes for a dictionary of tensors ([`opcode`]) and only the globals that such a
//! dictionary needs ([`global`]); a global is a value of an enum, and "calling" one puts numbers into a struct. Everything else is
//! refused by name, with no fallback. Where the tensors' bytes lie is not known here.

mod fault;
mod global;
mod machine;
mod opcode;

use std::collections::HashSet;

use self::machine::{Machine, Value};

pub use fault::PickleFault;
pub(super) use global::StorageType;

/// A tensor as a state dictionary describes it. Numbers are the file's: nothing has been compared with the storage's length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tensor<'a> {
    pub(super) name: &'a str,
    pub(super) storage: Storage<'a>,
    /// Elements of the storage before the tensor's first.
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    /// Elements of the storage from one index of a dimension to the next, as many as dimensions.
    pub(super) strides: Vec<u64>,
}

/// A run of elements that tensors are views of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Storage<'a> {
    pub(super) kind: &'static StorageType,
    /// The name that the archive has it under.
    pub(super) key: &'a str,
    /// Number of elements.
    pub(super) numel: u64,
}

/// Every tensor of the dictionary that `pickle` builds, in its order. Values that are no tensors are left out.
pub(super) fn tensors(pickle: &[u8]) -> Result<Vec<Tensor<'_>>, PickleFault> {
    let machine = Machine::run(pickle)?;
    let Value::Dictionary(root) = machine.result else {
        return Err(PickleFault::NoDictionary {
            found: machine.result.to_string(),
        });
    };
    let mut names = HashSet::new();
    let mut found = Vec::new();
    for &(key, value) in &machine.dictionaries[root].pairs {
        let (Value::Text(name), Value::Tensor(tensor)) = (key, value) else {
            continue;
        };
        if !names.insert(name) {
            return Err(PickleFault::Duplicate {
                tensor: name.to_owned(),
            });
        }
        found.push(Tensor {
            name,
            ..machine.tensors[tensor].clone()
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::machine::INSTRUCTION_LIMIT;
    use super::*;

    /// What torch 2.9 writes for one f16 view of a storage, the instructions that only fill the memo left out.
    fn one_tensor() -> Vec<u8> {
        let mut pickle = b"\x80\x02ccollections\nOrderedDict\nq\x00)R(X\x01\0\0\0aq\x01ctorch._utils\n_rebuild_tensor_v2\n((".to_vec();
        pickle.extend(b"X\x07\0\0\0storagectorch\nHalfStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x0ctQK\x02K\x02K\x03\x86K\x04K\x01\x86\x89h\x00)Rt");
        pickle.extend(b"Ru.");
        pickle
    }

    #[test]
    fn a_view_of_a_storage() {
        let pickle = one_tensor();
        let found = tensors(&pickle).expect("a state dictionary");
        assert_eq!(
            found,
            [Tensor {
                name: "a",
                storage: Storage {
                    kind: StorageType::named("HalfStorage").expect("a storage"),
                    key: "0",
                    numel: 12
                },
                offset: 2,
                shape: vec![2, 3],
                strides: vec![4, 1]
            }]
        );
    }

    #[test]
    fn integers_of_every_width() {
        let width = |integer: &[u8]| {
            let head =
                b"\x80\x02(X\x07\0\0\0storagectorch\nByteStorage\nX\x01\0\0\x000X\x03\0\0\0cpu";
            let pickle = [head.as_slice(), integer, b"tQ."].concat();
            let machine = Machine::run(&pickle).expect("a storage");
            machine.storages[0].numel
        };
        assert_eq!(width(b"K\xff"), 255);
        assert_eq!(width(b"M\x00\x01"), 256);
        assert_eq!(width(b"J\x00\x00\x01\x00"), 65_536);
        assert_eq!(width(b"\x8a\x05\x00\x00\x00\x00\x01"), 1 << 32);
        assert_eq!(width(b"\x8a\x00"), 0);
    }

    #[test]
    fn a_dictionary_that_holds_itself_is_no_loop() {
        assert_eq!(tensors(b"\x80\x02}q\x00X\x01\0\0\0ah\x00s."), Ok(vec![]));
    }

    #[test]
    fn every_prefix_is_refused() {
        let pickle = one_tensor();
        for length in 0..pickle.len() {
            assert!(tensors(&pickle[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn memory_follows_the_limit_of_instructions() {
        // A tuple of a million values from one memo entry, a million memo entries of one value, a million dictionaries.
        for (head, repeated) in [
            (b"\x80\x02}q\x00(".as_slice(), b"h\x00".as_slice()),
            (b"\x80\x02}", b"r"),
            (b"\x80\x02", b"}"),
        ] {
            let mut pickle = head.to_vec();
            for index in 0..1_000_000u32 {
                pickle.extend_from_slice(repeated);
                if repeated == b"r" {
                    pickle.extend(index.to_le_bytes());
                }
            }
            let mut result = None;
            let allocated = allocation_counter::measure(|| result = Some(tensors(&pickle).err()));
            let limit = INSTRUCTION_LIMIT;
            assert_eq!(result, Some(Some(PickleFault::TooLong { limit })));
            assert!(allocated.bytes_max < 48 << 20, "{}", allocated.bytes_max);
        }
    }

    /// Instructions of the subset, and any bytes.
    fn byte() -> impl Strategy<Value = u8> {
        let known = b"\x80\x02}q)R(XctQKMJ\x8a\x85\x86\x87\x88\x89Nhjrsub.\n\0\x01";
        prop_oneof![any::<u8>(), prop::sample::select(known.to_vec())]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_bytes_give_an_answer(rest in prop::collection::vec(byte(), 0..64)) {
            let _ = tensors(&[b"\x80\x02".as_slice(), &rest].concat());
        }

        #[test]
        fn a_spoilt_pickle_gives_an_answer(changes in prop::collection::vec((any::<prop::sample::Index>(), byte()), 1..4)) {
            let mut pickle = one_tensor();
            for (place, byte) in changes {
                let place = place.index(pickle.len());
                pickle[place] = byte;
            }
            let _ = tensors(&pickle);
        }
    }
}
