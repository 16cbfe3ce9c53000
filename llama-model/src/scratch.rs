//! Every activation buffer of a session, allocated once.
//!
//! Sizes follow from the model's shape and a budget, never from a prompt.

use llama_kernels::ops::Attention;
use llama_kernels::reference::Heads;
use llama_kernels::{Gpu, Tensor, padded};
use llama_weights::Hyperparameters;

use crate::Error;

/// Activation bytes that the rows of one step may take: enough that the matrices, not the launches,
/// take the time (512 rows of the 7B shape need 115 MiB).
const STEP_BYTES: u64 = 128 << 20;
/// Bytes of logits that one step may leave behind.
const LOGITS_BYTES: u64 = 16 << 20;
/// Rows of a step at most, and logits rows at most.
const MAX_ROWS: usize = 512;
const MAX_LOGIT_ROWS: usize = 64;

/// How many rows a step has at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScratchShape {
    /// Rows of a step, R.
    pub(crate) rows: usize,
    /// Rows of a step whose logits are wanted, L.
    pub(crate) logit_rows: usize,
}

/// The buffers, by the letters of llama2.c.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Residual stream, `[R, hidden_size]`
    pub(crate) x: Tensor,
    /// Normed residual stream, `[R, hidden_size]`
    pub(crate) xb: Tensor,
    /// Queries, keys and values, `[R, (n_heads + 2 n_kv_heads) head_dim]`
    pub(crate) qkv: Tensor,
    /// What the heads attended to, `[R, n_heads head_dim]`
    pub(crate) att: Tensor,
    /// Parts of att where its positions are split, `[P, n_heads · (4 + head_dim)]`
    pub(crate) att_partials: Tensor,
    /// Parts of products whose columns are split, `[4 · min(R, 64), hidden_size]`
    pub(crate) product_partials: Tensor,
    /// Gate and up projections, `[R, 2 ffn_size]`
    pub(crate) gate_up: Tensor,
    /// Gated hidden layer of the FFN, `[R, ffn_size]`
    pub(crate) hb: Tensor,
    /// What is chosen by each row of logits, `[L]`
    pub(crate) chosen: Tensor,
    /// Where logits are computed
    pub(crate) head: Option<HeadScratch>,
}

/// The buffers of the output.
#[derive(Debug)]
pub(crate) struct HeadScratch {
    /// Residual stream of the rows whose logits are wanted, `[L, hidden_size]`
    pub(crate) xl: Tensor,
    /// The same, normed, `[L, hidden_size]`
    pub(crate) xlb: Tensor,
    /// `[L, vocab_size]`
    pub(crate) logits: Tensor,
}

impl ScratchShape {
    /// The shape for `chunk` rows a step, or for as many as the budget allows, but no more than all
    /// of `sequences` can hold in `context` positions each, and no fewer than one row of each.
    pub(crate) fn new(
        h: &Hyperparameters,
        chunk: Option<usize>,
        context: usize,
        sequences: usize,
    ) -> Self {
        let affordable = STEP_BYTES / row_bytes(h);
        let affordable = usize::try_from(affordable).unwrap_or(MAX_ROWS);
        // A power of two, so that tiles of a matrix kernel are full.
        let budget = 1 << affordable.clamp(1, MAX_ROWS).ilog2();
        let rows = chunk.unwrap_or(budget).clamp(1, MAX_ROWS);
        let rows = rows.min(context.saturating_mul(sequences)).max(sequences);
        let logits = LOGITS_BYTES / (4 * padded(h.vocab_size) as u64);
        let logits = usize::try_from(logits).unwrap_or(MAX_LOGIT_ROWS);
        Self {
            rows,
            logit_rows: logits.clamp(1, MAX_LOGIT_ROWS).min(rows),
        }
    }

    /// Bytes of all buffers, on a device that computes logits or on one that does not.
    pub(crate) fn bytes(&self, h: &Hyperparameters, has_head: bool) -> u64 {
        let logit_row = 4 * (2 * padded(h.hidden_size) + padded(h.vocab_size)) as u64;
        let (rows, columns) = Attention::partials(heads(h));
        let partials = 4 * (rows * padded(columns)) as u64;
        // What drawing a token needs: three words for each that may be drawn.
        let drawing = 12 * padded(h.vocab_size) as u64;
        let product_partials = 4 * (self.partial_rows() * padded(h.hidden_size)) as u64;
        let by_row = self.rows as u64 * row_bytes(h) + partials + product_partials;
        match has_head {
            true => by_row + self.logit_rows as u64 * logit_row + drawing,
            false => by_row,
        }
    }

    /// Four parts of a tile of rows.
    fn partial_rows(&self) -> usize {
        4 * self.rows.min(64)
    }
}

impl Scratch {
    pub(crate) fn new(
        gpu: &Gpu,
        h: &Hyperparameters,
        shape: ScratchShape,
        has_head: bool,
    ) -> Result<Self, Error> {
        let ScratchShape { rows, logit_rows } = shape;
        let head = || {
            Ok::<_, Error>(HeadScratch {
                xl: gpu.tensor("xl", logit_rows, h.hidden_size)?,
                xlb: gpu.tensor("xlb", logit_rows, h.hidden_size)?,
                logits: gpu.tensor("logits", logit_rows, h.vocab_size)?,
            })
        };
        Ok(Self {
            x: gpu.tensor("x", rows, h.hidden_size)?,
            xb: gpu.tensor("xb", rows, h.hidden_size)?,
            qkv: gpu.tensor("qkv", rows, qkv_columns(h))?,
            att: gpu.tensor("att", rows, h.n_heads * h.head_dim)?,
            att_partials: {
                let (rows, columns) = Attention::partials(heads(h));
                // With fewer rows there are fewer splits.
                let bindable =
                    gpu.capabilities().limits.binding_bytes / (4 * padded(columns) as u64);
                let rows = rows.min(bindable.max(1) as usize);
                gpu.tensor("att_partials", rows, columns)?
            },
            product_partials: {
                // With less room columns are split in fewer parts.
                let bindable =
                    gpu.capabilities().limits.binding_bytes / (4 * padded(h.hidden_size) as u64);
                let rows = shape.partial_rows().min(bindable.max(1) as usize);
                gpu.tensor("product_partials", rows, h.hidden_size)?
            },
            gate_up: gpu.tensor("gate_up", rows, 2 * h.ffn_size)?,
            hb: gpu.tensor("hb", rows, h.ffn_size)?,
            chosen: gpu.ids("chosen", logit_rows)?,
            head: has_head.then(head).transpose()?,
        })
    }
}

/// The shape of attention.
pub(crate) fn heads(h: &Hyperparameters) -> Heads {
    Heads {
        n_heads: h.n_heads,
        n_kv_heads: h.n_kv_heads,
        head_dim: h.head_dim,
    }
}

fn qkv_columns(h: &Hyperparameters) -> usize {
    (h.n_heads + 2 * h.n_kv_heads) * h.head_dim
}

/// Activation bytes of one row.
fn row_bytes(h: &Hyperparameters) -> u64 {
    let columns = [
        h.hidden_size,
        h.hidden_size,
        qkv_columns(h),
        h.n_heads * h.head_dim,
        2 * h.ffn_size,
        h.ffn_size,
    ];
    let activations: usize = columns.into_iter().map(padded).sum();
    // And the row's angles, in the step buffer.
    4 * (activations + h.head_dim) as u64
}
