//! Gate and up projection with SwiGLU.

use crate::ops::SwiGlu;
use crate::ops::matmul::Tiled;
use crate::ops::matvec::Matvec;
use crate::ops::product::MatmulOptions;
use crate::ops::shape::{expect, expect_at_least, expect_no_sum, within};
use crate::{Error, Gpu, Recorder, Tensor, WeightMatrix};

/// `out = swiglu(norm(x) Wᵀ (+ bias))`, where the rows of W are the gate's and up's, alternating. Its meaning is
/// [`reference::rms_norm`](crate::reference::rms_norm), [`reference::matmul`](crate::reference::matmul) and
/// [`reference::swiglu`](crate::reference::swiglu), one after the other.
#[derive(Debug)]
pub struct GatedMatmul {
    few: Matvec,
    many: Option<(Tiled, SwiGlu)>,
    max_rows: usize,
}

impl GatedMatmul {
    /// `x` is `[rows, columns]`, `weight` `[2 · ffn, columns]`, `out` `[rows, ffn]`; in `gate_up`, `[rows, 2 · ffn]`, many
    /// rows are left before SwiGLU.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit, or `accumulate` is set; any of the GPU's errors.
    pub fn new(
        gpu: &Gpu,
        weight: &WeightMatrix,
        x: &Tensor,
        gate_up: &Tensor,
        out: &Tensor,
        options: MatmulOptions<'_>,
    ) -> Result<Self, Error> {
        const OP: &str = "gated matmul";
        expect(OP, "rows of the matrix", 2 * out.columns(), weight.rows())?;
        options.check(OP, weight, x, gate_up, weight.rows())?;
        expect_at_least(OP, "rows of out", x.rows(), out.rows())?;
        expect_no_sum(OP, options.accumulate)?;
        let many = match Tiled::new(gpu, OP, weight, x, gate_up, options)? {
            Some(tiled) => Some((tiled, SwiGlu::new(gpu, gate_up, out)?)),
            None => None,
        };
        Ok(Self {
            few: Matvec::rows(gpu, OP, weight, x, out, options, true)?,
            many,
            max_rows: x.rows(),
        })
    }

    /// Computes the first `rows` rows of `out`.
    pub fn record(&self, recorder: &mut Recorder, rows: usize) {
        if !within(recorder, "gated matmul", rows, self.max_rows) {
            return;
        }
        match &self.many {
            Some((tiled, swiglu)) if tiled.pays_for(rows) => {
                tiled.record(recorder, rows);
                swiglu.record(recorder, rows);
            }
            _ => self.few.record(recorder, rows),
        }
    }
}
