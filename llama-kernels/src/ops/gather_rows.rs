//! Gathering of the rows whose logits are wanted.

use super::shape::{expect, expect_at_least, within};
use crate::{Dispatch, Error, Gpu, Recorder, StepBuffer, Tensor};

/// Packs the wanted rows of a step; its meaning is [`reference::gather_rows`](crate::reference::gather_rows).
#[derive(Debug)]
pub struct GatherRows {
    dispatch: Dispatch,
    groups: u32,
    max_rows: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    words: u32,
    pad: [u32; 3],
}

impl GatherRows {
    /// `x` is `[rows, columns]`, `out` `[wanted rows, columns]`; which rows are wanted is the step's.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit; any of the GPU's errors.
    pub fn new(gpu: &Gpu, x: &Tensor, step: &StepBuffer, out: &Tensor) -> Result<Self, Error> {
        expect("gather_rows", "columns of out", x.columns(), out.columns())?;
        expect_at_least("gather_rows", "rows of x", step.layout().max_rows, x.rows())?;
        let variant = gpu.select("gather_rows", &[])?;
        let words = (x.stride() / 4) as u32;
        let args = Args { words, pad: [0; 3] };
        let args = gpu.uniform("gather_rows args", &args)?;
        let operands = [
            ("args", args.binding()),
            ("step", step.binding()),
            ("x", x.binding()),
            ("out", out.binding()),
        ];
        Ok(GatherRows {
            dispatch: gpu.pipeline(variant)?.bind(gpu, "gather_rows", operands)?,
            groups: words.div_ceil(variant.workgroup_size[0]),
            max_rows: out.rows().min(step.layout().max_rows),
        })
    }

    /// Gathers the first `wanted` of the step's wanted rows.
    pub fn record(&self, recorder: &mut Recorder, wanted: usize) {
        if within(recorder, "gather_rows", wanted, self.max_rows) {
            recorder.dispatch(&self.dispatch, [self.groups, wanted as u32, 1]);
        }
    }
}
