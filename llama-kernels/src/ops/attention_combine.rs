//! The parts of split attention, joined.

use super::shape::{expect, expect_at_least, within};
use crate::{Dispatch, Error, Gpu, Recorder, Tensor, kv_row, reference::Heads};

/// Joins what [`Attention`](super::Attention) left of each split; its meaning is
/// [`reference::attention_combine`](crate::reference::attention_combine).
#[derive(Debug)]
pub struct AttentionCombine {
    /// For 2, 4, 8 … splits, as many as fit `partials`.
    dispatches: Vec<Dispatch>,
    groups: u32,
    /// Rows times splits.
    room: usize,
    max_rows: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    n_heads: u32,
    head_dim: u32,
    words: u32,
    splits: u32,
    out_stride: u32,
    pad: [u32; 3],
}

impl AttentionCombine {
    /// `partials` holds a part of every head for each of its rows, the parts of one row in rows that follow each
    /// other; `out` is `[rows, n_heads · head_dim]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit; any of the GPU's errors.
    pub fn new(gpu: &Gpu, partials: &Tensor, heads: Heads, out: &Tensor) -> Result<Self, Error> {
        const OP: &str = "attention_combine";
        expect(OP, "columns of out", heads.columns(), out.columns())?;
        let columns = partial_columns(heads);
        expect_at_least(OP, "columns of partials", columns, partials.columns())?;
        let variant = gpu.select(OP, &[])?;
        let pipeline = gpu.pipeline(variant)?;
        let words = (kv_row(heads.head_dim) / 4) as u32;
        let n_heads = heads.n_heads as u32;
        let of_splits = |log2: u32| {
            let args = Args {
                n_heads,
                head_dim: heads.head_dim as u32,
                words,
                splits: 1 << log2,
                out_stride: out.stride() as u32,
                pad: [0; 3],
            };
            let args = gpu.uniform("attention_combine args", &args)?;
            let operands = [
                ("args", args.binding()),
                ("partials", partials.binding()),
                ("out", out.binding()),
            ];
            pipeline.bind(gpu, OP, operands)
        };
        let most = partials.rows().max(1).ilog2();
        Ok(AttentionCombine {
            dispatches: (1..=most).map(of_splits).collect::<Result<_, _>>()?,
            groups: (n_heads * words).div_ceil(variant.workgroup_size[0]),
            room: partials.rows(),
            max_rows: out.rows(),
        })
    }

    /// Joins `splits` parts (a power of two from 2 on) of each of the first `rows` rows.
    pub fn record(&self, recorder: &mut Recorder, rows: usize, splits: usize) {
        let most = self.max_rows.min(self.room / splits.max(1));
        if !within(recorder, "attention_combine", rows, most) {
            return;
        }
        let place = (splits.max(1).ilog2() as usize).checked_sub(1);
        match place.and_then(|place| self.dispatches.get(place)) {
            Some(dispatch) if splits.is_power_of_two() => {
                recorder.dispatch(dispatch, [self.groups, rows as u32, 1]);
            }
            _ => recorder.refuse(Error::Shape {
                op: "attention_combine",
                what: "splits".to_string(),
                expected: "a power of two from 2 on".to_string(),
                found: splits.to_string(),
            }),
        }
    }
}

/// Values of one part of every head.
pub(super) fn partial_columns(heads: Heads) -> usize {
    heads.n_heads * (4 + kv_row(heads.head_dim))
}
