//! Matrices whose columns stand in another order than the model's, as GPTQ's act-order leaves them: what they are multiplied with is put in that order
//! first, one dispatch each.
//!
//! A norm before such a matrix has its scale in that order too: a sum of squares does not care. Rows of other matrices are not
//! permuted instead, since gate and up are read from files in runs of rows.

use llama_kernels::ops::GatherColumns;
use llama_kernels::{Gpu, Recorder, Section, Tensor, WeightFormat, padded};
use llama_weights::{Hyperparameters, TensorView};

use crate::Error;
use crate::holding::HeldReason;
use crate::model::{LayerWeights, StageWeights};
use crate::scratch::{Scratch, ScratchShape};
use crate::stream::MATRICES;

/// The orders of a layer's matrices, `[columns]` ids each, where they have one.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    pub(crate) qkv: Option<Tensor>,
    pub(crate) attention_output: Option<Tensor>,
    pub(crate) gate_up: Option<Tensor>,
    pub(crate) down: Option<Tensor>,
}

/// What a matrix of these tensors is held in and why, as [`hold`](crate::holding::hold) has it, and the order of its columns. Blocks in an order are
/// held so only where all that the matrix joins has this order; what is converted has the model's own.
pub(crate) fn in_one_order<'a>(
    held: (Vec<Section>, Option<HeldReason>),
    views: impl IntoIterator<Item = TensorView<'a>>,
) -> (Vec<Section>, Option<HeldReason>, Option<&'a [u32]>) {
    let (sections, reason) = held;
    let is_int4 = |section: &Section| section.format == WeightFormat::Int4;
    if !sections.iter().any(is_int4) {
        return (sections, reason, None);
    }
    let mut orders = views.into_iter().map(|view| view.column_order());
    let first = orders.next().flatten();
    if orders.all(|order| order == first) {
        return (sections, reason, first);
    }
    let format = WeightFormat::F16;
    let rows = sections.iter().map(|section| section.rows).sum();
    let reason = HeldReason::ColumnOrders;
    (vec![Section { format, rows }], Some(reason), None)
}

/// Puts an order on the GPU.
pub(crate) fn upload(gpu: &Gpu, label: &str, order: &[u32]) -> Result<Tensor, Error> {
    let ids = gpu.ids(label, order.len())?;
    gpu.write_u32(&ids, 0, order)?;
    Ok(ids)
}

/// A vector of one value a column, in a matrix's order.
pub(crate) fn arranged(values: Vec<f32>, order: Option<&[u32]>) -> Vec<f32> {
    match order {
        Some(order) => order
            .iter()
            .map(|&column| values[column as usize])
            .collect(),
        None => values,
    }
}

/// Inputs in the order of a matrix: of each kind as much as some matrix needs.
#[derive(Debug, Default)]
pub(crate) struct OrderedInputs {
    /// `[R, hidden_size]`
    pub(crate) x: Option<Tensor>,
    /// `[R, n_heads head_dim]`
    pub(crate) att: Option<Tensor>,
    /// `[R, ffn_size]`
    pub(crate) hb: Option<Tensor>,
    /// `[L, hidden_size]`
    pub(crate) xl: Option<Tensor>,
}

/// Which matrices of a device have their columns in an order of their own.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ordered {
    /// Of some layer, by the number of the matrix in it.
    pub(crate) layer: [bool; MATRICES],
    pub(crate) output: bool,
}

/// Bytes of [`OrderedInputs`] on a device.
pub(crate) fn input_bytes(h: &Hyperparameters, shape: ScratchShape, ordered: Ordered) -> u64 {
    let [qkv, attention_output, gate_up, down] = ordered.layer;
    let bytes = |needed, rows: usize, columns| {
        let rows = if needed { rows } else { 0 };
        4 * (rows * padded(columns)) as u64
    };
    bytes(qkv || gate_up, shape.rows, h.hidden_size)
        + bytes(attention_output, shape.rows, h.n_heads * h.head_dim)
        + bytes(down, shape.rows, h.ffn_size)
        + bytes(ordered.output, shape.logit_rows, h.hidden_size)
}

/// What a matrix is multiplied with, and the dispatch that makes it, if one does.
pub(crate) struct Input<'a> {
    pub(crate) tensor: &'a Tensor,
    pub(crate) gather: Option<GatherColumns>,
}

impl OrderedInputs {
    /// Buffers for what some matrix of a device needs.
    pub(crate) fn new(
        gpu: &Gpu,
        h: &Hyperparameters,
        weights: &StageWeights,
        scratch: &Scratch,
    ) -> Result<Self, Error> {
        let any = |order: fn(&LayerWeights) -> bool| weights.layers.iter().any(order);
        let like = |needed: bool, label, of: &Tensor, columns| {
            let tensor = || gpu.tensor(label, of.rows(), columns);
            Ok::<_, Error>(needed.then(tensor).transpose()?)
        };
        let heads = h.n_heads * h.head_dim;
        Ok(Self {
            x: like(
                any(|layer| layer.orders.qkv.is_some() || layer.orders.gate_up.is_some()),
                "x in order",
                &scratch.x,
                h.hidden_size,
            )?,
            att: like(
                any(|layer| layer.orders.attention_output.is_some()),
                "att in order",
                &scratch.att,
                heads,
            )?,
            hb: like(
                any(|layer| layer.orders.down.is_some()),
                "hb in order",
                &scratch.hb,
                h.ffn_size,
            )?,
            xl: match &scratch.head {
                Some(head) => like(
                    (weights.head.as_ref()).is_some_and(|head| head.order.is_some()),
                    "xl in order",
                    &head.xl,
                    h.hidden_size,
                )?,
                None => None,
            },
        })
    }
}

impl<'a> Input<'a> {
    /// `x` in an order, where there is one: then in the buffer `to`, which there is where some matrix needs it.
    pub(crate) fn new(
        gpu: &Gpu,
        x: &'a Tensor,
        order: Option<&Tensor>,
        to: Option<&'a Tensor>,
    ) -> Result<Self, Error> {
        Ok(match (order, to) {
            (Some(order), Some(to)) => Self {
                tensor: to,
                gather: Some(GatherColumns::new(gpu, x, order, to)?),
            },
            _ => Self {
                tensor: x,
                gather: None,
            },
        })
    }
}

/// Records the dispatch, if there is one.
pub(crate) fn record(gather: &Option<GatherColumns>, recorder: &mut Recorder, rows: usize) {
    if let Some(gather) = gather {
        gather.record(recorder, rows);
    }
}
