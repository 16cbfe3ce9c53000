//! The globals that a state dictionary of tensors needs. There are no others: this list is the whole of what a pickle may name.

use crate::DType;

/// A name that a pickle may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks)`.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter(tensor, requires_grad, backward_hooks)`.
    RebuildParameter,
    /// `collections.OrderedDict`.
    OrderedDictionary,
    /// A storage type, only ever named in the tuple that identifies a storage.
    Storage(&'static StorageType),
}

/// What a storage holds.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct StorageType {
    /// The last part of its name.
    pub(in super::super) name: &'static str,
    pub(in super::super) element_bytes: u64,
    /// `None` is a type that no weight can have; a file may hold such tensors beside its weights.
    pub(in super::super) dtype: Option<DType>,
}

const fn storage(name: &'static str, element_bytes: u64, dtype: Option<DType>) -> StorageType {
    StorageType {
        name,
        element_bytes,
        dtype,
    }
}

static STORAGES: [StorageType; 13] = [
    storage("FloatStorage", 4, Some(DType::F32)),
    storage("HalfStorage", 2, Some(DType::F16)),
    storage("BFloat16Storage", 2, Some(DType::BF16)),
    storage("DoubleStorage", 8, None),
    storage("LongStorage", 8, None),
    storage("IntStorage", 4, None),
    storage("ShortStorage", 2, None),
    storage("CharStorage", 1, None),
    storage("ByteStorage", 1, None),
    storage("BoolStorage", 1, None),
    storage("ComplexFloatStorage", 8, None),
    storage("ComplexDoubleStorage", 16, None),
    storage(UNTYPED, 1, None),
];

/// torch 2 has it in a module of its own too.
const UNTYPED: &str = "UntypedStorage";

impl Global {
    /// The global of this name, or `None` where it is not on the list.
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("torch._utils", "_rebuild_tensor_v2") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            ("collections", "OrderedDict") => Some(Self::OrderedDictionary),
            ("torch", name) => StorageType::named(name).map(Self::Storage),
            ("torch.storage", UNTYPED) => StorageType::named(UNTYPED).map(Self::Storage),
            _ => None,
        }
    }
}

impl StorageType {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        STORAGES.iter().find(|storage| storage.name == name)
    }
}
