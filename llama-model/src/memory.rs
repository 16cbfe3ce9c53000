//! How much memory a model and a session need, and where, before anything is allocated; and what a step must read and compute.
//!
//! No adapter is asked: what a driver adds for itself (alignment, page tables) is not in these figures.

use std::convert::Infallible;
use std::ops::Range;

use llama_kernels::{KvFormat, Section, WeightFormat, padded};
use llama_weights::{Checkpoint, DType, Hyperparameters, TensorRole, TensorView};

use crate::columns::{self, Ordered};
use crate::holding::{HeldOtherwise, KvChoice, WeightChoice, hold, reason};
use crate::matrices::{self, LayerPlan, MatrixPlan, Rows};
use crate::placement::{Share, Span, spans};
use crate::scratch::ScratchShape;
use crate::stream::{self, MATRICES, SlotKey};

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

/// What lies where, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementPlan {
    /// Each device's memory, in the order of the layers.
    pub devices: Vec<DeviceMemory>,
    /// Matrices of streamed layers in host memory.
    pub host_bytes: u64,
}

/// Memory of one device, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceMemory {
    /// The layers that it computes.
    pub layers: Range<usize>,
    /// How many of those, the last ones, come from host memory in every step.
    pub streamed: usize,
    /// Matrices, norms and biases that stay there.
    pub weight_bytes: u64,
    /// What streamed layers go through: room for the matrices of two.
    pub slot_bytes: u64,
    /// Keys and values of its layers, of one session.
    pub kv_bytes: u64,
    /// Every activation buffer of one session.
    pub activation_bytes: u64,
    /// Buffers that the host maps: streamed layers come in through them, and rows pass from device to device.
    pub transfer_bytes: u64,
}

impl DeviceMemory {
    /// All of it; saturates.
    pub fn total(&self) -> u64 {
        let parts = [
            self.weight_bytes,
            self.slot_bytes,
            self.kv_bytes,
            self.activation_bytes,
            self.transfer_bytes,
        ];
        parts.into_iter().fold(0, u64::saturating_add)
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

    /// What the file stores those parts of a matrix in that LoRA adapters change.
    pub(crate) fn changed(self, matrix: &MatrixPlan) -> Vec<DType> {
        let views = self.views(matrix).into_iter();
        views.filter_map(|view| view.merged_from()).collect()
    }
}

/// Where the memory of [`memory_plan`] is, if the layers are shared so, and what sharing adds: the output has a copy of tied
/// embeddings where the first device is not the last. Works for any shares; those that are not the model's plan another one.
pub fn placement_plan<'a>(
    h: &Hyperparameters,
    stored: impl Into<Stored<'a>>,
    weights: WeightChoice,
    kv: KvChoice,
    context: usize,
    shares: &[Share],
) -> PlacementPlan {
    Sizes::new(h, stored.into(), weights).plan(kv, context, shares)
}

/// How large a model's parts are, wherever they will lie.
pub(crate) struct Sizes<'a> {
    h: &'a Hyperparameters,
    weights: WeightChoice,
    embedding: MatrixSize,
    /// The four matrices of each layer.
    layers: Vec<[MatrixSize; MATRICES]>,
    /// Where it is not the embedding.
    output: Option<MatrixSize>,
    /// Norms and biases of a layer, and the last norm.
    layer_vectors: u64,
    output_norm: u64,
    held_otherwise: Vec<HeldOtherwise>,
}

struct MatrixSize {
    sections: Vec<Section>,
    bytes: u64,
    /// Of a mapped buffer that takes it in pieces.
    stage_bytes: u64,
    /// Ids of its columns, where they have an order of their own.
    order: Option<u64>,
}

impl MatrixSize {
    /// Of a matrix; why it is held otherwise is added to `otherwise`.
    fn new(
        plan: MatrixPlan,
        stored: Stored<'_>,
        weights: WeightChoice,
        otherwise: &mut Vec<HeldOtherwise>,
    ) -> Self {
        let Ok(parts) = plan.stored(|role| Ok::<_, Infallible>(stored.dtype(role)));
        let held = hold(weights, &parts, plan.columns);
        let (sections, found, order) = columns::in_one_order(held, stored.views(&plan));
        let reason = reason(weights, found, &stored.changed(&plan));
        let bytes = |section: &Section| matrix_bytes(section.format, section.rows, plan.columns);
        let stages = (sections.iter()).map(|section| stream::stage_bytes(section, plan.columns));
        let format = sections.first().map(|first| first.format);
        let format = format.unwrap_or(WeightFormat::F16);
        otherwise.extend(reason.map(|reason| HeldOtherwise::new(plan.name, format, reason)));
        Self {
            bytes: sections.iter().map(bytes).fold(0, u64::saturating_add),
            stage_bytes: stages.max().unwrap_or(0),
            order: order.map(|order| 4 * order.len() as u64),
            sections,
        }
    }
}

impl<'a> Sizes<'a> {
    pub(crate) fn new(h: &'a Hyperparameters, stored: Stored<'_>, weights: WeightChoice) -> Self {
        let mut held_otherwise = Vec::new();
        let mut size = |plan| MatrixSize::new(plan, stored, weights, &mut held_otherwise);
        let embedding = size(matrices::embedding(h));
        let mut layers = Vec::with_capacity(h.n_layers);
        for index in 0..h.n_layers {
            let LayerPlan {
                qkv,
                attention_output,
                gate_up,
                down,
            } = LayerPlan::layer(h, index);
            layers.push([qkv, attention_output, gate_up, down].map(&mut size));
        }
        let output = matrices::output(h).map(&mut size);
        let vector = |role: TensorRole| match h.tensor_shape(role).as_deref() {
            Some(&[length]) => 4 * padded(length) as u64,
            _ => 0,
        };
        let of_first = |role: &TensorRole| matches!(role, TensorRole::Layer { index: 0, .. });
        Self {
            embedding,
            layers,
            output,
            layer_vectors: h.roles().filter(of_first).map(vector).sum(),
            output_norm: vector(TensorRole::OutputNorm),
            held_otherwise,
            h,
            weights,
        }
    }

    /// What lies where with these shares.
    pub(crate) fn plan(&self, kv: KvChoice, context: usize, shares: &[Share]) -> PlacementPlan {
        let mut host_bytes = 0u64;
        let spans = spans(shares);
        let devices = spans.map(|span| {
            let (device, host) = self.device(kv, context, span);
            host_bytes = host_bytes.saturating_add(host);
            device
        });
        PlacementPlan {
            devices: devices.collect(),
            host_bytes,
        }
    }

    /// What one more layer takes on a device, its keys and values included: of the average layer.
    pub(crate) fn layer_bytes(&self, kv: KvChoice, context: usize) -> u64 {
        let matrices = self.layers.iter().flatten().map(|matrix| matrix.bytes);
        let all = matrices.fold(0, u64::saturating_add);
        (all / self.layers.len().max(1) as u64)
            .saturating_add(self.layer_vectors)
            .saturating_add(self.kv_layer_bytes(kv, context))
    }

    fn kv_layer_bytes(&self, kv: KvChoice, context: usize) -> u64 {
        kv_buffer_bytes(self.h, kv.format(self.weights), context).saturating_mul(2)
    }

    /// A device's memory, and the host's for it.
    fn device(&self, kv: KvChoice, context: usize, span: Span) -> (DeviceMemory, u64) {
        let h = self.h;
        let shape = ScratchShape::new(h, None, context, 1);
        let count = span.layers.len() as u64;
        let resident = span.layers.end - span.streamed;
        let (mut host, mut slots, mut stage) = (0u64, 0u64, 0u64);
        let mut keys: Vec<SlotKey> = Vec::new();
        let mut ordered = Ordered::default();
        let mut weights = self.layer_vectors.saturating_mul(count);
        if span.is_first {
            weights = weights.saturating_add(self.embedding.bytes);
        }
        if span.is_last {
            let copied = (!span.is_first).then_some(&self.embedding);
            let output = self.output.as_ref().or(copied).map_or(0, |size| size.bytes);
            weights = weights
                .saturating_add(output)
                .saturating_add(self.output_norm);
            if let Some(order) = self.output.as_ref().and_then(|size| size.order) {
                weights = weights.saturating_add(order);
                ordered.output = true;
            }
        }
        let of_span = (self.layers.iter().enumerate())
            .skip(span.layers.start)
            .take(span.layers.len());
        for (index, layer) in of_span {
            for (kind, matrix) in layer.iter().enumerate() {
                // The ids stay on the device, also of a streamed layer.
                weights = weights.saturating_add(matrix.order.unwrap_or(0));
                ordered.layer[kind] |= matrix.order.is_some();
                let Some(streamed) = index.checked_sub(resident) else {
                    weights = weights.saturating_add(matrix.bytes);
                    continue;
                };
                host = host.saturating_add(matrix.bytes);
                stage = stage.max(matrix.stage_bytes);
                let key = (streamed % stream::SLOTS, kind, matrix.sections.clone());
                if !keys.contains(&key) {
                    slots = slots.saturating_add(matrix.bytes);
                    keys.push(key);
                }
            }
        }
        let row = 4 * (shape.rows * padded(h.hidden_size)) as u64;
        let bridges = u64::from(!span.is_first) + u64::from(!span.is_last);
        let memory = DeviceMemory {
            weight_bytes: weights,
            slot_bytes: slots,
            kv_bytes: self.kv_layer_bytes(kv, context).saturating_mul(count),
            activation_bytes: shape.bytes(h, span.is_last)
                + columns::input_bytes(h, shape, ordered),
            transfer_bytes: (stage.saturating_mul(stream::STAGES as u64))
                .saturating_add(bridges * row),
            streamed: span.streamed,
            layers: span.layers,
        };
        (memory, host)
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
    let sizes = Sizes::new(h, stored.into(), weights);
    let whole = Span {
        layers: 0..h.n_layers,
        streamed: 0,
        is_first: true,
        is_last: true,
    };
    let (memory, _) = sizes.device(kv, context, whole);
    MemoryPlan {
        weight_bytes: memory.weight_bytes,
        kv_bytes: memory.kv_bytes,
        activation_bytes: memory.activation_bytes,
        held_otherwise: sizes.held_otherwise,
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
