//! Greedy choice on the GPU.

use super::shape::{expect_at_least, fold, within};
use crate::{Dispatch, Error, Gpu, Recorder, Tensor};

/// The largest value's index of each row; its meaning is [`reference::argmax`](crate::reference::argmax).
#[derive(Debug)]
pub struct Argmax {
    dispatch: Dispatch,
    max_rows: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    rows: u32,
    columns: u32,
    stride: u32,
    pad: u32,
}

impl Argmax {
    /// `logits` is `[rows, vocabulary]`, `chosen` a tensor of ids with a place for each row.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit; any of the GPU's errors.
    pub fn new(gpu: &Gpu, logits: &Tensor, chosen: &Tensor) -> Result<Self, Error> {
        expect_at_least("argmax", "rows of chosen", logits.rows(), chosen.rows())?;
        let variant = gpu.select("argmax", &[])?;
        let args = Args {
            rows: logits.rows() as u32,
            columns: logits.columns() as u32,
            stride: (logits.stride() / 4) as u32,
            pad: 0,
        };
        let args = gpu.uniform("argmax args", &args)?;
        let operands = [
            ("args", args.binding()),
            ("logits", logits.binding()),
            ("chosen", chosen.binding()),
        ];
        Ok(Argmax {
            dispatch: gpu.pipeline(variant)?.bind(gpu, "argmax", operands)?,
            max_rows: logits.rows(),
        })
    }

    /// Chooses for the first `rows` rows.
    pub fn record(&self, recorder: &mut Recorder, rows: usize) {
        if within(recorder, "argmax", rows, self.max_rows) {
            let [x, y] = fold(rows as u32);
            recorder.dispatch(&self.dispatch, [x, y, 1]);
        }
    }
}
