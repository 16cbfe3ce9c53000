//! Matrix × matrix, and the choice between it and matrix × vector.

use super::matvec::Matvec;
use super::shape::{expect, expect_at_least, within};
use crate::{Dispatch, Error, Gpu, Recorder, Tensor, Variant, WeightMatrix};

/// `out = x Wᵀ (+ bias) (+ out)` for any number of rows: few go through [`Matvec`], more through the tiled
/// kernel. Its meaning is [`reference::matmul`](crate::reference::matmul).
#[derive(Debug)]
pub struct Matmul {
    few: Matvec,
    /// None where `x` has no room for as many rows as tiles pay for.
    many: Option<Tiled>,
    max_rows: usize,
}

/// What a product adds to `x Wᵀ`.
#[derive(Clone, Copy, Debug, Default)]
pub struct MatmulOptions<'a> {
    /// `[1, rows of the matrix]`.
    pub bias: Option<&'a Tensor>,
    /// Whether what stands in `out` is kept and added to.
    pub accumulate: bool,
}

#[derive(Debug)]
struct Tiled {
    /// Each with its workgroups over the rows of the piece.
    pieces: Vec<(Dispatch, u32)>,
    x_rows_per_group: u32,
    least_rows: usize,
}

impl Matmul {
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
        options.check("matmul", weight, x, out)?;
        let variant = gpu.select("matmul", &[("weight", weight.format().name())])?;
        let constant = |name| variant.constant(name).unwrap_or(1);
        let least_rows = constant("LEAST_X_ROWS") as usize;
        let few = Matvec::new(gpu, weight, x, out, options)?;
        let max_rows = x.rows();
        if max_rows < least_rows {
            return Ok(Matmul {
                few,
                many: None,
                max_rows,
            });
        }
        let rows_per_group = constant("TILE_ROWS");
        let pieces = Piece::all(gpu, variant, "matmul", weight, x, out, options)?;
        let sized = pieces.map(|piece| {
            piece.map(|Piece { dispatch, rows }| (dispatch, rows.div_ceil(rows_per_group)))
        });
        Ok(Matmul {
            few,
            many: Some(Tiled {
                pieces: sized.collect::<Result<_, Error>>()?,
                x_rows_per_group: constant("TILE_X_ROWS"),
                least_rows,
            }),
            max_rows,
        })
    }

    /// Computes the first `rows` rows of `out`.
    pub fn record(&self, recorder: &mut Recorder, rows: usize) {
        if !within(recorder, "matmul", rows, self.max_rows) {
            return;
        }
        match &self.many {
            Some(tiled) if rows >= tiled.least_rows => {
                let y = (rows as u32).div_ceil(tiled.x_rows_per_group);
                for (dispatch, x) in &tiled.pieces {
                    recorder.dispatch(dispatch, [*x, y, 1]);
                }
            }
            _ => self.few.record(recorder, rows),
        }
    }
}

impl MatmulOptions<'_> {
    /// An error unless operands and result fit the matrix.
    pub(super) fn check(
        &self,
        op: &'static str,
        weight: &WeightMatrix,
        x: &Tensor,
        out: &Tensor,
    ) -> Result<(), Error> {
        expect(op, "columns of x", weight.columns(), x.columns())?;
        expect(op, "columns of out", weight.rows(), out.columns())?;
        expect_at_least(op, "rows of out", x.rows(), out.rows())?;
        match self.bias {
            Some(bias) => expect(op, "columns of the bias", weight.rows(), bias.columns()),
            None => Ok(()),
        }
    }
}

/// A kernel bound to one row piece of a matrix.
pub(super) struct Piece {
    pub(super) dispatch: Dispatch,
    /// Rows of the piece.
    pub(super) rows: u32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    rows: u32,
    first_row: u32,
    matrix_rows: u32,
    blocks: u32,
    x_rows: u32,
    out_stride: u32,
    bias: u32,
    accumulate: u32,
}

impl Piece {
    /// A product kernel bound to every piece of `weight`.
    pub(super) fn all<'a>(
        gpu: &'a Gpu,
        variant: &'static Variant,
        op: &'static str,
        weight: &'a WeightMatrix,
        x: &'a Tensor,
        out: &'a Tensor,
        options: MatmulOptions<'a>,
    ) -> Result<impl Iterator<Item = Result<Piece, Error>> + 'a, Error> {
        let pipeline = gpu.pipeline(variant)?;
        Ok(weight.pieces().iter().map(move |piece| {
            let rows = piece.rows() as u32;
            let args = Args {
                rows,
                first_row: piece.first_row() as u32,
                matrix_rows: weight.rows() as u32,
                blocks: weight.blocks() as u32,
                x_rows: x.rows() as u32,
                out_stride: out.stride() as u32,
                bias: options.bias.is_some().into(),
                accumulate: options.accumulate.into(),
            };
            let args = gpu.uniform(op, &args)?;
            let operands = [
                ("matrix", args.binding()),
                ("x", x.binding()),
                // Without a bias the kernel reads none, but something must be bound.
                ("bias", options.bias.unwrap_or(x).binding()),
                ("out", out.binding()),
            ];
            let bindings = operands.into_iter().chain(piece.bindings());
            let dispatch = pipeline.bind(gpu, op, bindings)?;
            Ok(Piece { dispatch, rows })
        }))
    }
}
