//! Matrix × matrix, and the choice between it and matrix × vector.

use super::RmsNorm;
use super::matvec::Matvec;
use super::product::{MatmulOptions, Product};
use super::shape::within;
use crate::{Dispatch, Error, Gpu, Recorder, Tensor, Variant, WeightMatrix, WeightPiece};

/// `out = x Wᵀ (+ bias) (+ out)` for any number of rows, x normed before where that is asked for: few go through
/// [`Matvec`], more through the tiled kernel. Its meaning is [`reference::matmul`](crate::reference::matmul).
#[derive(Debug)]
pub struct Matmul {
    few: Matvec,
    /// None where `x` has no room for as many rows as tiles pay for.
    many: Option<Tiled>,
    max_rows: usize,
}

/// The tiled kernel, for as many rows as pay for it.
#[derive(Debug)]
pub(super) struct Tiled {
    norm: Option<RmsNorm>,
    pieces: Vec<TiledPiece>,
    least_rows: usize,
}

#[derive(Debug)]
struct TiledPiece {
    dispatch: Dispatch,
    /// Workgroups over the rows of the piece.
    groups: u32,
    x_rows_per_group: u32,
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
        options.check("matmul", weight, x, out, weight.rows())?;
        Ok(Matmul {
            few: Matvec::rows(gpu, "matmul", weight, x, out, options, false)?,
            many: Tiled::new(gpu, "matmul", weight, x, out, options)?,
            max_rows: x.rows(),
        })
    }

    /// Computes the first `rows` rows of `out`.
    pub fn record(&self, recorder: &mut Recorder, rows: usize) {
        if within(recorder, "matmul", rows, self.max_rows) {
            match &self.many {
                Some(tiled) if tiled.pays_for(rows) => tiled.record(recorder, rows),
                _ => self.few.record(recorder, rows),
            }
        }
    }

    /// Rows from which on the tiled kernel does them.
    pub(super) fn least_tiled_rows(&self) -> usize {
        self.many
            .as_ref()
            .map_or(usize::MAX, |tiled| tiled.least_rows)
    }
}

impl Tiled {
    /// Of checked operands; `None` where `x` has no room for enough rows.
    pub(super) fn new(
        gpu: &Gpu,
        op: &'static str,
        weight: &WeightMatrix,
        x: &Tensor,
        out: &Tensor,
        options: MatmulOptions<'_>,
    ) -> Result<Option<Self>, Error> {
        let constant = |variant: &Variant, name| variant.constant(name).unwrap_or(1);
        let least = |piece: &WeightPiece| {
            let variant = gpu.select("matmul", &[("weight", piece.format().name())])?;
            Ok(constant(variant, "LEAST_X_ROWS") as usize)
        };
        let least_rows: Vec<usize> =
            (weight.pieces().iter().map(least)).collect::<Result<_, Error>>()?;
        // Formats of one device's kernels hardly differ here.
        let least_rows = least_rows.into_iter().max().unwrap_or(1);
        if x.rows() < least_rows {
            return Ok(None);
        }
        let norm = options
            .norm
            .map(|norm| RmsNorm::new(gpu, x, norm.scale, norm.normed, norm.eps))
            .transpose()?;
        let product = Product {
            op,
            kernel: "matmul",
            slots: &[],
            overrides: &[],
            weight,
            x: options.norm.map_or(x, |norm| norm.normed),
            out,
            options,
            extra: &[],
        };
        let pieces = product.bind(gpu)?.into_iter();
        let sized = pieces.map(|piece| TiledPiece {
            dispatch: piece.dispatch,
            groups: piece.rows.div_ceil(constant(piece.variant, "TILE_ROWS")),
            x_rows_per_group: constant(piece.variant, "TILE_X_ROWS"),
        });
        Ok(Some(Self {
            norm,
            pieces: sized.collect(),
            least_rows,
        }))
    }

    /// Whether it is the better one for this many rows.
    pub(super) fn pays_for(&self, rows: usize) -> bool {
        rows >= self.least_rows
    }

    /// Computes the first `rows` rows, which x has.
    pub(super) fn record(&self, recorder: &mut Recorder, rows: usize) {
        if let Some(norm) = &self.norm {
            norm.record(recorder, rows);
        }
        for piece in &self.pieces {
            let y = (rows as u32).div_ceil(piece.x_rows_per_group);
            recorder.dispatch(&piece.dispatch, [piece.groups, y, 1]);
        }
    }
}
