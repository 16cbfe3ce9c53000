//! How much GPU memory a model and a session need, before anything is allocated.
//!
//! No adapter is asked: what a driver adds for itself (alignment, page tables) is not in these figures.

use llama_kernels::{KvFormat, WeightFormat, kv_row, padded};
use llama_weights::{DType, Hyperparameters};

use crate::holding::{HeldOtherwise, KvChoice, WeightChoice, format_for_rows};
use crate::matrices;
use crate::scratch::ScratchShape;

/// Positions per page of the KV cache: the least that the design allows, so that a sequence wastes at
/// most 15 positions.
pub(crate) const PAGE_SIZE: usize = 16;

/// GPU memory by use, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Matrices, norms and biases.
    pub weight_bytes: u64,
    /// The KV cache of one session.
    pub kv_bytes: u64,
    /// Every activation buffer of one session.
    pub activation_bytes: u64,
    /// The matrices that are held in another format than asked for, as far as shapes tell: what
    /// [`crate::HeldReason::BeyondRange`] adds is known only when the values are read.
    pub held_otherwise: Vec<HeldOtherwise>,
}

impl MemoryPlan {
    /// All of it; saturates.
    pub fn total(&self) -> u64 {
        let Self {
            weight_bytes,
            kv_bytes,
            activation_bytes,
            ..
        } = self;
        weight_bytes
            .saturating_add(*kv_bytes)
            .saturating_add(*activation_bytes)
    }
}

/// What a model of this shape, whose file stores matrices as `stored`, needs with these choices and
/// a context of `context` positions. Works for any validated shape, the largest included.
pub fn memory_plan(
    h: &Hyperparameters,
    stored: DType,
    weights: WeightChoice,
    kv: KvChoice,
    context: usize,
) -> MemoryPlan {
    let wanted = weights.format(&[stored]);
    let mut held_otherwise = Vec::new();
    let mut weight_bytes = 0u64;
    for matrix in matrices::all(h) {
        let (format, reason) = format_for_rows(wanted, matrix.columns);
        let bytes = matrix_bytes(format, matrix.rows(), matrix.columns);
        weight_bytes = weight_bytes.saturating_add(bytes);
        held_otherwise.extend(reason.map(|reason| HeldOtherwise {
            matrix: matrix.name,
            format,
            reason,
        }));
    }
    let vectors = h
        .roles()
        .filter_map(|role| match h.tensor_shape(role)?[..] {
            [length] => Some(4 * padded(length) as u64),
            _ => None,
        });
    MemoryPlan {
        weight_bytes: weight_bytes.saturating_add(vectors.sum()),
        kv_bytes: kv_bytes(h, kv.format(weights), context),
        activation_bytes: ScratchShape::new(h, None, context, 1).bytes(h),
        held_otherwise,
    }
}

/// Bytes of a matrix on the GPU; saturates.
pub(crate) fn matrix_bytes(format: WeightFormat, rows: usize, columns: usize) -> u64 {
    let row = format.data_row_bytes(columns) + format.scale_row_bytes(columns);
    (row as u64).saturating_mul(rows as u64)
}

/// Bytes of the KV cache over all layers, in whole pages; saturates.
pub(crate) fn kv_bytes(h: &Hyperparameters, format: KvFormat, context: usize) -> u64 {
    let buffers = 2 * h.n_layers as u64;
    kv_buffer_bytes(h, format, context).saturating_mul(buffers)
}

/// Bytes of K (or of V) of one layer; saturates.
pub(crate) fn kv_buffer_bytes(h: &Hyperparameters, format: KvFormat, context: usize) -> u64 {
    let positions = (context.div_ceil(PAGE_SIZE) as u64).saturating_mul(PAGE_SIZE as u64);
    positions.saturating_mul(kv_row_bytes(h, format))
}

/// Bytes of one position in K (or in V) of one layer.
pub(crate) fn kv_row_bytes(h: &Hyperparameters, format: KvFormat) -> u64 {
    (h.n_kv_heads * kv_row(h.head_dim) * format.element_bytes()) as u64
}
