//! RMSNorm.

use super::shape::{expect, fold, within};
use crate::{Dispatch, Error, Gpu, Recorder, Tensor};

/// A norm of rows; its meaning is [`reference::rms_norm`](crate::reference::rms_norm).
#[derive(Debug)]
pub struct RmsNorm {
    dispatch: Dispatch,
    rows_per_group: u32,
    max_rows: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    max_rows: u32,
    words: u32,
    columns: u32,
    eps: f32,
}

impl RmsNorm {
    /// `x` and `out` are `[rows, columns]`, `scale` is `[1, columns]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit; any of the GPU's errors.
    pub fn new(
        gpu: &Gpu,
        x: &Tensor,
        scale: &Tensor,
        out: &Tensor,
        eps: f32,
    ) -> Result<Self, Error> {
        expect("rms_norm", "columns of scale", x.columns(), scale.columns())?;
        expect("rms_norm", "columns of out", x.columns(), out.columns())?;
        let variant = gpu.select("rms_norm", &[])?;
        let max_rows = x.rows().min(out.rows());
        let args = Args {
            max_rows: max_rows as u32,
            words: (x.stride() / 4) as u32,
            columns: x.columns() as u32,
            eps,
        };
        let args = gpu.uniform("rms_norm args", &args)?;
        let operands = [
            ("args", args.binding()),
            ("x", x.binding()),
            ("scale", scale.binding()),
            ("out", out.binding()),
        ];
        let dispatch = gpu.pipeline(variant)?.bind(gpu, "rms_norm", operands)?;
        let alone = variant.slot("split") == Some("invocation");
        Ok(RmsNorm {
            dispatch,
            rows_per_group: if alone { variant.workgroup_size[0] } else { 1 },
            max_rows,
        })
    }

    /// Norms the first `rows` rows.
    pub fn record(&self, recorder: &mut Recorder, rows: usize) {
        if within(recorder, "rms_norm", rows, self.max_rows) {
            let [x, y] = fold((rows as u32).div_ceil(self.rows_per_group));
            recorder.dispatch(&self.dispatch, [x, y, 1]);
        }
    }
}
