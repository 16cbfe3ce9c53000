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
use crate::model::{LayerWeights, Weights};
use crate::scratch::{Scratch, ScratchShape};

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

/// Bytes of [`OrderedInputs`] where the matrices of these places in [`matrices::all`](crate::matrices::all) have an order.
pub(crate) fn input_bytes(h: &Hyperparameters, shape: ScratchShape, ordered: &[usize]) -> u64 {
    let output = 1 + 4 * h.n_layers;
    let of_layers = |parts: &[usize]| {
        let mut places = ordered.iter().filter(|&&place| place < output);
        places.any(|place| parts.contains(&(place.wrapping_sub(1) % 4)))
    };
    let bytes = |needed, rows: usize, columns| {
        let rows = if needed { rows } else { 0 };
        4 * (rows * padded(columns)) as u64
    };
    bytes(of_layers(&[0, 2]), shape.rows, h.hidden_size)
        + bytes(of_layers(&[1]), shape.rows, h.n_heads * h.head_dim)
        + bytes(of_layers(&[3]), shape.rows, h.ffn_size)
        + bytes(ordered.contains(&output), shape.logit_rows, h.hidden_size)
}

/// What a matrix is multiplied with, and the dispatch that makes it, if one does.
pub(crate) struct Input<'a> {
    pub(crate) tensor: &'a Tensor,
    pub(crate) gather: Option<GatherColumns>,
}

impl OrderedInputs {
    /// Buffers for what some matrix of these weights needs.
    pub(crate) fn new(
        gpu: &Gpu,
        h: &Hyperparameters,
        weights: &Weights,
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
            xl: like(
                weights.output_order.is_some(),
                "xl in order",
                &scratch.xl,
                h.hidden_size,
            )?,
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
