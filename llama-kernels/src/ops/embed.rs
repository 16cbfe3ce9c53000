//! Token embedding: the first kernel of a step.

use super::shape::{expect, expect_at_least, within};
use crate::{Dispatch, Error, Gpu, Recorder, StepBuffer, Tensor, WeightMatrix};

/// Rows of a table by the tokens of a step; its meaning is [`reference::embed`](crate::reference::embed).
#[derive(Debug)]
pub struct Embed {
    /// Each with its workgroups over a row.
    pieces: Vec<(Dispatch, u32)>,
    max_rows: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    rows: u32,
    first_row: u32,
    matrix_rows: u32,
    blocks: u32,
    unused: [u32; 8],
}

impl Embed {
    /// `table` is `[vocabulary, columns]`, `out` `[rows, columns]` with a row for each of the step's, `chosen`
    /// the ids that the step before chose, written by [`Argmax`](super::Argmax). A token that is not in the
    /// table gives zeros.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit; any of the GPU's errors.
    pub fn new(
        gpu: &Gpu,
        table: &WeightMatrix,
        step: &StepBuffer,
        chosen: &Tensor,
        out: &Tensor,
    ) -> Result<Self, Error> {
        expect("embed", "columns of out", table.columns(), out.columns())?;
        expect_at_least("embed", "rows of out", step.layout().max_rows, out.rows())?;
        let blocks = table.blocks() as u32;
        let pieces = table.pieces().iter().map(|piece| {
            let variant = gpu.select("embed", &[("weight", piece.format().name())])?;
            let args = Args {
                rows: piece.rows() as u32,
                first_row: piece.first_row() as u32,
                matrix_rows: table.rows() as u32,
                blocks,
                unused: [0; 8],
            };
            let args = gpu.uniform("embed args", &args)?;
            let operands = [
                ("matrix", args.binding()),
                ("step", step.binding()),
                ("chosen", chosen.binding()),
                ("out", out.binding()),
            ];
            let bindings = operands.into_iter().chain(piece.bindings());
            let dispatch = gpu.pipeline(variant)?.bind(gpu, "embed", bindings)?;
            Ok((dispatch, blocks.div_ceil(variant.workgroup_size[0])))
        });
        Ok(Embed {
            pieces: pieces.collect::<Result<_, Error>>()?,
            max_rows: step.layout().max_rows,
        })
    }

    /// Writes the first `rows` rows of `out`.
    pub fn record(&self, recorder: &mut Recorder, rows: usize) {
        if within(recorder, "embed", rows, self.max_rows) {
            for (piece, groups) in &self.pieces {
                recorder.dispatch(piece, [*groups, rows as u32, 1]);
            }
        }
    }
}
