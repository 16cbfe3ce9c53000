//! How much GPU memory a model and a session need, before anything is allocated; and what a step must read and compute.
//!
//! No adapter is asked: what a driver adds for itself (alignment, page tables) is not in these figures.

use std::convert::Infallible;

use llama_kernels::{KvFormat, WeightFormat, padded};
use llama_weights::{Checkpoint, DType, Hyperparameters, TensorRole, TensorView};

use crate::columns;
use crate::holding::{HeldOtherwise, KvChoice, WeightChoice, hold};
use crate::matrices::{self, MatrixPlan, Rows};
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

/// What a file stores tensors in.
#[derive(Debug, Clone, Copy)]
pub enum Stored<'a> {
    /// All in this type.
    In(DType),
    /// Each as a checkpoint says.
    As(&'a Checkpoint),
}

impl From<DType> for Stored<'_> {
    fn from(dtype: DType) -> Self {
        Self::In(dtype)
    }
}

impl<'a> From<&'a Checkpoint> for Stored<'a> {
    fn from(checkpoint: &'a Checkpoint) -> Self {
        Self::As(checkpoint)
    }
}

impl<'a> Stored<'a> {
    /// The tensors that a matrix joins, where there are any.
    fn views(self, matrix: &MatrixPlan) -> Vec<TensorView<'a>> {
        let Self::As(checkpoint) = self else {
            return Vec::new();
        };
        let roles = matrix.parts.iter().flat_map(Rows::roles);
        roles.filter_map(|role| checkpoint.tensor(role)).collect()
    }

    fn dtype(self, role: TensorRole) -> DType {
        match self {
            Self::In(dtype) => dtype,
            // A checkpoint without the tensor does not load; the figure is then of no use.
            Self::As(checkpoint) => checkpoint
                .tensor(role)
                .map_or(DType::F32, |view| view.dtype()),
        }
    }
}

/// What a model of this shape, whose file stores matrices as `stored`, needs with these choices and
/// a context of `context` positions. Works for any validated shape, the largest included.
pub fn memory_plan<'a>(
    h: &Hyperparameters,
    stored: impl Into<Stored<'a>>,
    weights: WeightChoice,
    kv: KvChoice,
    context: usize,
) -> MemoryPlan {
    let mut held_otherwise = Vec::new();
    let mut weight_bytes = 0u64;
    let stored = stored.into();
    let mut ordered = Vec::new();
    for (place, matrix) in matrices::all(h).enumerate() {
        let Ok(parts) = matrix.stored(|role| Ok::<_, Infallible>(stored.dtype(role)));
        let held = hold(weights, &parts, matrix.columns);
        let (sections, reason, order) = columns::in_one_order(held, stored.views(&matrix));
        if let Some(order) = order {
            weight_bytes = weight_bytes.saturating_add(4 * order.len() as u64);
            ordered.push(place);
        }
        for section in &sections {
            let bytes = matrix_bytes(section.format, section.rows, matrix.columns);
            weight_bytes = weight_bytes.saturating_add(bytes);
        }
        let format = sections
            .first()
            .map_or(WeightFormat::F16, |first| first.format);
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
    let shape = ScratchShape::new(h, None, context, 1);
    MemoryPlan {
        weight_bytes: weight_bytes.saturating_add(vectors.sum()),
        kv_bytes: kv_bytes(h, kv.format(weights), context),
        activation_bytes: shape.bytes(h) + columns::input_bytes(h, shape, &ordered),
        held_otherwise,
    }
}

/// Bytes that a decode step reads; see [`crate::Model::decode_bytes`]. `embedding` is its format where the output has a
/// matrix of its own: then one row of it is read; a tied one is read whole, as the output.
pub(crate) fn decode_bytes(
    h: &Hyperparameters,
    weight_bytes: u64,
    embedding: Option<WeightFormat>,
    kv: KvFormat,
    position: usize,
) -> u64 {
    let unread = embedding.map_or(0, |format| {
        matrix_bytes(format, h.vocab_size.saturating_sub(1), h.hidden_size)
    });
    let kv_position = (2 * h.n_layers as u64).saturating_mul(kv_row_bytes(h, kv));
    weight_bytes
        .saturating_sub(unread)
        .saturating_add(kv_position.saturating_mul(position as u64))
}

/// Operations of a prompt; see [`crate::Model::prefill_operations`]. Saturates.
pub(crate) fn prefill_operations(h: &Hyperparameters, tokens: usize, position: usize) -> u64 {
    let (tokens, position) = (tokens as u128, position as u128);
    let output = (h.vocab_size * h.hidden_size) as u128;
    let layers: u128 = matrices::all(h)
        .skip(1)
        .take(4 * h.n_layers)
        .map(|matrix| matrix.rows() as u128 * matrix.columns as u128)
        .sum();
    // Token i attends to itself and to what is before it.
    let attended =
        (tokens.saturating_mul(position)).saturating_add(tokens.saturating_mul(tokens + 1) / 2);
    let pair = 4 * (h.n_layers * h.n_heads * h.head_dim) as u128;
    let outputs = if tokens > 0 { 2 * output } else { 0 };
    let operations = (2 * layers)
        .saturating_mul(tokens)
        .saturating_add(pair.saturating_mul(attended))
        .saturating_add(outputs);
    u64::try_from(operations).unwrap_or(u64::MAX)
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
    (h.n_kv_heads * format.row_bytes(h.head_dim)) as u64
}

#[cfg(test)]
mod tests {
    use llama_weights::RopeScaling;

    use super::*;

    /// Llama 2 7B.
    fn seven() -> Hyperparameters {
        Hyperparameters {
            hidden_size: 4096,
            n_layers: 32,
            n_heads: 32,
            n_kv_heads: 32,
            head_dim: 128,
            ffn_size: 11_008,
            vocab_size: 32_000,
            max_position_embeddings: 4096,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            rope_scaling: RopeScaling::None,
            tied_embeddings: false,
            attention_bias: false,
            mlp_bias: false,
            bos_token_id: None,
            eos_token_ids: Vec::new(),
        }
    }

    #[test]
    fn a_decode_step_reads_all_but_the_embedding_and_every_key_and_value() {
        let h = seven();
        let plan = memory_plan(&h, DType::F16, WeightChoice::F16, KvChoice::F16, 1);
        let read = |embedding, position| {
            decode_bytes(&h, plan.weight_bytes, embedding, KvFormat::F16, position)
        };
        let row = 2 * 4096;
        let own = read(Some(WeightFormat::F16), 0);
        // 6,607,343,616 weights of layers and output in f16, 65 norms in f32, and a row of the embedding.
        assert_eq!(own, 2 * 6_607_077_376 + 65 * 4 * 4096 + row);
        // Tied, the whole embedding is read as the output: here it adds to an output of its own.
        assert_eq!(read(None, 0), plan.weight_bytes);
        // 32 layers, keys and values, 4096 halves each: 512 KiB a position.
        assert_eq!(read(None, 4000) - read(None, 0), 4000 * (512 << 10));
    }

    #[test]
    fn a_prompt_costs_two_operations_a_weight_and_attention_grows_with_the_square() {
        let h = seven();
        let layers = 2 * 6_476_005_376u64;
        let output = 2 * 131_072_000u64;
        let pair = 4 * 32 * 4096u64;
        assert_eq!(prefill_operations(&h, 0, 100), 0);
        assert_eq!(prefill_operations(&h, 1, 0), layers + output + pair);
        let long = prefill_operations(&h, 512, 0);
        assert_eq!(long, 512 * layers + output + pair * 512 * 513 / 2);
        let deep = prefill_operations(&h, 512, 1000);
        assert_eq!(deep - long, pair * 512 * 1000);
        assert_eq!(prefill_operations(&h, usize::MAX, 0), u64::MAX);
    }
}
