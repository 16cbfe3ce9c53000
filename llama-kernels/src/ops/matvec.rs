//! Matrix × vector, for one or a few rows.

use super::matmul::{MatmulOptions, Piece};
use super::shape::{fold, within};
use crate::{Dispatch, Error, Gpu, Recorder, Tensor, WeightMatrix};

/// A product with each row on its own; its meaning is [`reference::matvec`](crate::reference::matvec).
#[derive(Debug)]
pub struct Matvec {
    pieces: Vec<(Dispatch, [u32; 2])>,
    max_rows: usize,
}

/// Rows of the matrix that an invocation, or a workgroup, of the kernel computes.
const ROWS_PER_UNIT: u32 = 4;

impl Matvec {
    /// `x` is `[rows, columns]`, `out` `[rows, rows of the matrix]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit; any of the GPU's errors.
    pub fn new(
        gpu: &Gpu,
        weight: &WeightMatrix,
        x: &Tensor,
        out: &Tensor,
        options: MatmulOptions<'_>,
    ) -> Result<Self, Error> {
        options.check("matvec", weight, x, out)?;
        let variant = gpu.select("matvec", &[("weight", weight.format().name())])?;
        let alone = variant.slot("split") == Some("invocation");
        let units_per_group = if alone { variant.workgroup_size[0] } else { 1 };
        let rows_per_group = ROWS_PER_UNIT * units_per_group;
        let pieces = Piece::all(gpu, variant, "matvec", weight, x, out, options)?;
        let sized = pieces.map(|piece| {
            piece.map(|Piece { dispatch, rows }| (dispatch, fold(rows.div_ceil(rows_per_group))))
        });
        Ok(Matvec {
            pieces: sized.collect::<Result<_, Error>>()?,
            max_rows: x.rows(),
        })
    }

    /// Computes the first `rows` rows of `out`.
    pub fn record(&self, recorder: &mut Recorder, rows: usize) {
        if within(recorder, "matvec", rows, self.max_rows) {
            for (dispatch, [x, y]) in &self.pieces {
                recorder.dispatch(dispatch, [*x, *y, rows as u32]);
            }
        }
    }
}
