//! The sum of a buffer: how fast memory is read.

use super::shape::expect;
use crate::{Bind, Dispatch, Error, Gpu, Recorder, Tensor};

/// Sums words and reads nothing twice; its meaning is [`reference::read_sum`](crate::reference::read_sum).
#[derive(Debug)]
pub struct ReadSum {
    dispatch: Dispatch,
    groups: u32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    vectors: u32,
    invocations: u32,
    pad: [u32; 2],
}

impl ReadSum {
    /// `data` is `vectors` times 16 bytes, an even number of them; `out` one id for each of as many invocations as shall read: a multiple of the kernel's
    /// workgroup.
    ///
    /// # Errors
    /// [`Error::Shape`] for an odd number of vectors, or where `out` has another number of rows; any of the GPU's errors.
    pub fn new(gpu: &Gpu, data: Bind<'_>, vectors: usize, out: &Tensor) -> Result<Self, Error> {
        let variant = gpu.select("read_sum", &[])?;
        let workgroup = variant.workgroup_size[0] as usize;
        let whole = out.rows().next_multiple_of(workgroup).max(workgroup);
        expect("read_sum", "rows of out", whole, out.rows())?;
        expect(
            "read_sum",
            "vectors of data",
            vectors.next_multiple_of(2),
            vectors,
        )?;
        let args = Args {
            vectors: vectors as u32,
            invocations: out.rows() as u32,
            pad: [0; 2],
        };
        let args = gpu.uniform("read_sum args", &args)?;
        let operands = [
            ("args", args.binding()),
            ("data", data),
            ("out", out.binding()),
        ];
        Ok(ReadSum {
            dispatch: gpu.pipeline(variant)?.bind(gpu, "read_sum", operands)?,
            groups: (out.rows() / workgroup) as u32,
        })
    }

    /// Reads it once.
    pub fn record(&self, recorder: &mut Recorder) {
        recorder.dispatch(&self.dispatch, [self.groups, 1, 1]);
    }
}
