//! Gathering of columns, in the order that a matrix has them.

use super::shape::{expect, within};
use crate::{Dispatch, Error, Gpu, Recorder, Tensor};

/// Puts the columns of a tensor in another order; its meaning is [`reference::gather_columns`](crate::reference::gather_columns).
#[derive(Debug)]
pub struct GatherColumns {
    dispatch: Dispatch,
    groups: u32,
    max_rows: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    columns: u32,
    stride: u32,
    pad: [u32; 2],
}

impl GatherColumns {
    /// `x` and `out` are `[rows, columns]`; `order` are ids ([`Gpu::ids`]), of each column of `out` the column of `x`, one that x does not have
    /// counting as its last.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit; any of the GPU's errors.
    pub fn new(gpu: &Gpu, x: &Tensor, order: &Tensor, out: &Tensor) -> Result<Self, Error> {
        expect(
            "gather_columns",
            "columns of out",
            x.columns(),
            out.columns(),
        )?;
        expect("gather_columns", "rows of order", x.columns(), order.rows())?;
        expect("gather_columns", "columns of order", 1, order.stride())?;
        let variant = gpu.select("gather_columns", &[])?;
        let args = Args {
            columns: x.columns() as u32,
            stride: x.stride() as u32,
            pad: [0; 2],
        };
        let args = gpu.uniform("gather_columns args", &args)?;
        let operands = [
            ("args", args.binding()),
            ("x", x.binding()),
            ("order", order.binding()),
            ("out", out.binding()),
        ];
        Ok(GatherColumns {
            dispatch: gpu
                .pipeline(variant)?
                .bind(gpu, "gather_columns", operands)?,
            groups: (x.columns() as u32).div_ceil(variant.workgroup_size[0]),
            max_rows: x.rows().min(out.rows()),
        })
    }

    /// Gathers the first `rows` rows.
    pub fn record(&self, recorder: &mut Recorder, rows: usize) {
        if within(recorder, "gather_columns", rows, self.max_rows) {
            recorder.dispatch(&self.dispatch, [self.groups, rows as u32, 1]);
        }
    }
}
