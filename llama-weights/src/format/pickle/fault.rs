//! How the pickle of a state dictionary can be wrong. Finding it is the business of `machine`.

use crate::error::Excerpt;

/// How the pickle of a state dictionary can be wrong. Positions are bytes of the pickle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleFault {
    /// A global that no state dictionary of tensors needs.
    #[error(
        "byte {at}: expected a global that rebuilds tensors (torch._utils._rebuild_tensor_v2, torch._utils._rebuild_parameter, \
         collections.OrderedDict or a storage type of torch), found {}; nothing was run, take the checkpoint from a source you trust",
        Excerpt(global)
    )]
    Global {
        /// Where it is named.
        at: usize,
        /// Module and name, joined by a dot.
        global: String,
    },
    /// An instruction that no state dictionary of tensors needs.
    #[error(
        "byte {at}: expected an instruction of a dictionary of tensors, found {found:#04x} ({name}); \
         save the checkpoint as torch.save(model.state_dict()) does, or take it from a source you trust"
    )]
    Instruction {
        /// Where it is.
        at: usize,
        /// The instruction's byte.
        found: u8,
        /// Its name in Python's `pickletools`.
        name: &'static str,
    },
    /// Another protocol than torch writes.
    #[error(
        "expected a pickle of protocol 2, as torch.save writes, found {found}; save the checkpoint without pickle_protocol"
    )]
    Protocol {
        /// What is there.
        found: String,
    },
    /// The pickle ends within an instruction or before the last one.
    #[error("byte {at}: expected more of the pickle, found its end; download the file again")]
    Truncated {
        /// The instruction that has no end, or the place where one is missing.
        at: usize,
    },
    /// An instruction whose operands are not what it needs.
    #[error(
        "byte {at}: expected {expected}, found {found}; the file is damaged or hostile, take it from a source you trust"
    )]
    Operand {
        /// Where the instruction is.
        at: usize,
        /// What it needs.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Tuples or dictionaries within each other, further than any checkpoint has them.
    #[error(
        "byte {at}: expected values nested at most {limit} deep, found one more; take the checkpoint from a source you trust"
    )]
    TooDeep {
        /// Where the limit is passed.
        at: usize,
        /// Most levels.
        limit: u32,
    },
    /// More instructions than any checkpoint needs.
    #[error(
        "expected at most {limit} instructions, found more; no checkpoint of this architecture has so many"
    )]
    TooLong {
        /// Most instructions.
        limit: usize,
    },
    /// The pickle builds something else than a dictionary.
    #[error(
        "expected a dictionary of tensors, found {found}; save the checkpoint as torch.save(model.state_dict()) does"
    )]
    NoDictionary {
        /// What it builds.
        found: String,
    },
    /// Two tensors of one name.
    #[error(
        "expected every name once, found {} twice; download the file again",
        Excerpt(tensor)
    )]
    Duplicate {
        /// The name.
        tensor: String,
    },
}
