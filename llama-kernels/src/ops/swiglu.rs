//! SwiGLU.

use super::shape::{expect, expect_at_least, within};
use crate::{Dispatch, Error, Gpu, Recorder, Tensor};

/// The gate of the feed-forward part; its meaning is [`reference::swiglu`](crate::reference::swiglu).
#[derive(Debug)]
pub struct SwiGlu {
    dispatch: Dispatch,
    groups: u32,
    max_rows: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    ffn: u32,
    in_stride: u32,
    out_stride: u32,
    pad: u32,
}

impl SwiGlu {
    /// `gate_up` is `[rows, 2 · ffn]`, gate and up alternating; `out` is `[rows, ffn]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit; any of the GPU's errors.
    pub fn new(gpu: &Gpu, gate_up: &Tensor, out: &Tensor) -> Result<Self, Error> {
        let ffn = out.columns();
        expect("swiglu", "columns of gate_up", 2 * ffn, gate_up.columns())?;
        expect_at_least("swiglu", "rows of out", gate_up.rows(), out.rows())?;
        let variant = gpu.select("swiglu", &[])?;
        let args = Args {
            ffn: ffn as u32,
            in_stride: (gate_up.stride() / 2) as u32,
            out_stride: out.stride() as u32,
            pad: 0,
        };
        let args = gpu.uniform("swiglu args", &args)?;
        let operands = [
            ("args", args.binding()),
            ("gate_up", gate_up.binding()),
            ("out", out.binding()),
        ];
        Ok(SwiGlu {
            dispatch: gpu.pipeline(variant)?.bind(gpu, "swiglu", operands)?,
            groups: (ffn as u32).div_ceil(variant.workgroup_size[0]),
            max_rows: gate_up.rows(),
        })
    }

    /// Computes the first `rows` rows.
    pub fn record(&self, recorder: &mut Recorder, rows: usize) {
        if within(recorder, "swiglu", rows, self.max_rows) {
            recorder.dispatch(&self.dispatch, [self.groups, rows as u32, 1]);
        }
    }
}
