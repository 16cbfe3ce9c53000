//! Operands of a product with a weight matrix: what matvec and matmul share.

use super::shape::{expect, expect_at_least};
use crate::{Bind, Dispatch, Error, Gpu, Tensor, Variant, WeightMatrix, WeightPiece, padded};

/// What a product does besides `x Wᵀ`.
#[derive(Clone, Copy, Debug, Default)]
pub struct MatmulOptions<'a> {
    /// x is normed on the way.
    pub norm: Option<Norm<'a>>,
    /// `[1, rows of the matrix]`.
    pub bias: Option<&'a Tensor>,
    /// Whether what stands in `out` is kept and added to.
    pub accumulate: bool,
    /// Of any shape; holds nothing between operations, which share it. Products of a few rows of x whose tiles are too few for the
    /// device split their columns where it has room for a part of each; none do without it.
    pub partials: Option<&'a Tensor>,
}

/// The RMSNorm that stands before a product; see [`RmsNorm`](super::RmsNorm).
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// `[1, columns of x]`.
    pub scale: &'a Tensor,
    /// Added to the mean of squares.
    pub eps: f32,
    /// As large as x: where many rows are normed before they are multiplied. A few are normed on the way, and it stays
    /// as it was.
    pub normed: &'a Tensor,
}

impl MatmulOptions<'_> {
    /// An error unless operands and result fit the matrix, which makes `out_columns` columns of out.
    pub(super) fn check(
        &self,
        op: &'static str,
        weight: &WeightMatrix,
        x: &Tensor,
        out: &Tensor,
        out_columns: usize,
    ) -> Result<(), Error> {
        expect(op, "columns of x", weight.columns(), x.columns())?;
        expect(op, "columns of out", out_columns, out.columns())?;
        expect_at_least(op, "rows of out", x.rows(), out.rows())?;
        if let Some(norm) = &self.norm {
            expect(op, "columns of the norm", x.columns(), norm.scale.columns())?;
            expect(op, "columns of normed", x.columns(), norm.normed.columns())?;
            expect_at_least(op, "rows of normed", x.rows(), norm.normed.rows())?;
        }
        match self.bias {
            Some(bias) => expect(op, "columns of the bias", weight.rows(), bias.columns()),
            None => Ok(()),
        }
    }
}

/// A product before it is bound: the kernel and all that it reads and writes.
pub(super) struct Product<'a> {
    pub(super) op: &'static str,
    pub(super) kernel: &'static str,
    /// The slots that are to be filled in some way, weight aside: a piece's format fills that.
    pub(super) slots: &'a [(&'static str, &'static str)],
    /// Values of the variant's overrides.
    pub(super) overrides: &'a [(&'static str, f64)],
    pub(super) weight: &'a WeightMatrix,
    pub(super) x: &'a Tensor,
    pub(super) out: &'a Tensor,
    /// Set where `out` is for parts of the columns, which have rows of x as many and are as wide as the matrix has rows.
    pub(super) part_rows: Option<usize>,
    pub(super) options: MatmulOptions<'a>,
    /// What its variants bind besides.
    pub(super) extra: &'a [(&'static str, Bind<'a>)],
}

/// A kernel bound to one row piece of a matrix.
pub(super) struct Piece {
    pub(super) dispatch: Dispatch,
    pub(super) variant: &'static Variant,
    /// Rows of the piece.
    pub(super) rows: u32,
}

/// `MatrixPiece` of module/matrix.wesl.
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
    columns: u32,
    eps: f32,
    pad: [u32; 2],
}

impl Product<'_> {
    /// Binds the kernel to every piece of the matrix.
    pub(super) fn bind(&self, gpu: &Gpu) -> Result<Vec<Piece>, Error> {
        let Self { x, out, weight, .. } = *self;
        let MatmulOptions {
            norm,
            bias,
            accumulate,
            partials: _,
        } = self.options;
        let bound = weight.pieces().iter().map(|piece| {
            let variant = variant_for(gpu, self.kernel, piece, self.slots)?;
            let pipeline = gpu.pipeline_with(variant, self.overrides)?;
            let rows = piece.rows() as u32;
            let args = Args {
                rows,
                first_row: piece.first_row() as u32,
                matrix_rows: weight.rows() as u32,
                blocks: weight.blocks() as u32,
                x_rows: self.part_rows.unwrap_or(x.rows()) as u32,
                out_stride: match self.part_rows {
                    Some(_) => padded(weight.rows()) as u32,
                    None => out.stride() as u32,
                },
                bias: (bias.is_some() && self.part_rows.is_none()).into(),
                accumulate: (accumulate && self.part_rows.is_none()).into(),
                columns: weight.columns() as u32,
                eps: norm.map_or(0.0, |norm| norm.eps),
                pad: [0; 2],
            };
            let args = gpu.uniform(self.op, &args)?;
            // What a kernel is told not to read has to be bound all the same.
            let operands = [
                ("matrix", args.binding()),
                ("x", x.binding()),
                ("norm_scale", norm.map_or(x, |norm| norm.scale).binding()),
                ("bias", bias.unwrap_or(x).binding()),
                ("out", out.binding()),
            ];
            let bindings = operands
                .into_iter()
                .chain(piece.bindings())
                .chain(self.extra.iter().copied());
            let bindings = bindings.filter(|(name, _)| variant.binds(name));
            let dispatch = pipeline.bind(gpu, self.op, bindings)?;
            Ok(Piece {
                dispatch,
                variant,
                rows,
            })
        });
        bound.collect()
    }
}

/// The variant of a kernel for a row piece, whose format fills the slot weight; `slots` are the others.
pub(super) fn variant_for(
    gpu: &Gpu,
    kernel: &str,
    piece: &WeightPiece,
    slots: &[(&'static str, &'static str)],
) -> Result<&'static Variant, Error> {
    let weight = ("weight", piece.format().name());
    let slots: Vec<_> = std::iter::once(weight)
        .chain(slots.iter().copied())
        .collect();
    gpu.select(kernel, &slots)
}
