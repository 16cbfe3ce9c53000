//! Multiply-adds in registers: how fast a matrix product could be.

use super::shape::expect;
use crate::{Dispatch, Error, Gpu, Recorder, Tensor};

/// Multiplies and adds, and touches no memory; its meaning is
/// [`reference::multiply_peak`](crate::reference::multiply_peak).
#[derive(Debug)]
pub struct MultiplyPeak {
    dispatch: Dispatch,
    groups: u32,
    operations: u64,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    loops: u32,
    factor: f32,
    addend: f32,
    pad: u32,
}

impl MultiplyPeak {
    /// `out` is `[invocations, 1]` ids wide, one f32 each, a multiple of the kernel's workgroup.
    ///
    /// # Errors
    /// [`Error::Shape`] where `out` has another number of rows; any of the GPU's errors.
    pub fn new(
        gpu: &Gpu,
        loops: u32,
        [factor, addend]: [f32; 2],
        out: &Tensor,
    ) -> Result<Self, Error> {
        let variant = gpu.select("multiply_peak", &[])?;
        let workgroup = variant.workgroup_size[0] as usize;
        let whole = out.rows().next_multiple_of(workgroup).max(workgroup);
        expect("multiply_peak", "rows of out", whole, out.rows())?;
        expect("multiply_peak", "stride of out", 1, out.stride())?;
        let args = Args {
            loops,
            factor,
            addend,
            pad: 0,
        };
        let args = gpu.uniform("multiply_peak args", &args)?;
        let operands = [("args", args.binding()), ("out", out.binding())];
        let in_loop = variant.constant("OPERATIONS").unwrap_or(0);
        Ok(MultiplyPeak {
            dispatch: (gpu.pipeline(variant)?).bind(gpu, "multiply_peak", operands)?,
            groups: (out.rows() / workgroup) as u32,
            operations: u64::from(in_loop) * u64::from(loops) * out.rows() as u64,
        })
    }

    /// Floating-point operations of one run; a multiply-add is two.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// Runs it once.
    pub fn record(&self, recorder: &mut Recorder) {
        recorder.dispatch(&self.dispatch, [self.groups, 1, 1]);
    }
}
