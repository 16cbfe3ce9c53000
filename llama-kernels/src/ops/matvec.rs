//! Matrix × vector, for one or a few rows.

use super::product::{MatmulOptions, Product, variant_for};
use super::shape::{fold, within};
use crate::{Bind, Dispatch, Error, Gpu, KvFormat, Recorder, Tensor, WeightMatrix, WeightPiece};

/// A product with each row on its own; its meaning is [`reference::matvec`](crate::reference::matvec), after
/// [`reference::rms_norm`](crate::reference::rms_norm) where a norm is asked for.
#[derive(Debug)]
pub struct Matvec {
    pieces: Vec<(Dispatch, [u32; 2])>,
    /// The same with four rows of x at once, where the device has kernels for that.
    fours: Vec<(Dispatch, [u32; 2])>,
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
        options.check("matvec", weight, x, out, weight.rows())?;
        Self::rows(gpu, "matvec", weight, x, out, options, false)
    }

    /// Of checked operands; `gated` joins pairs of rows as [`SwiGlu`](super::SwiGlu) does.
    pub(super) fn rows(
        gpu: &Gpu,
        op: &'static str,
        weight: &WeightMatrix,
        x: &Tensor,
        out: &Tensor,
        options: MatmulOptions<'_>,
        gated: bool,
    ) -> Result<Self, Error> {
        let flag = |on: bool| f64::from(u8::from(on));
        let overrides = [
            ("NORM", flag(options.norm.is_some())),
            ("GATED", flag(gated)),
        ];
        let product = |slots| Product {
            op,
            kernel: "matvec",
            slots,
            overrides: &overrides,
            weight,
            x,
            out,
            part_rows: None,
            options,
            extra: &[],
        };
        let four = [("output", "rows"), ("columns", "four")];
        let has_four = |piece: &WeightPiece| {
            // On software adapters tiles pay before it would.
            let pays = |variant| !gpu.capabilities().software || gpu.preferred() == Some(variant);
            variant_for(gpu, "matvec", piece, &four).is_ok_and(pays)
        };
        let fours = match x.rows() > 1 && weight.pieces().iter().all(has_four) {
            true => Self::bind(gpu, &product(&four))?,
            false => Vec::new(),
        };
        Ok(Matvec {
            pieces: Self::bind(gpu, &product(&[("output", "rows"), ("columns", "one")]))?,
            fours,
            max_rows: x.rows(),
        })
    }

    /// Of checked operands, with the slot output filled by `heads` for a cache's format, which binds `extra`.
    pub(super) fn heads<'a>(
        gpu: &Gpu,
        op: &'static str,
        kv: KvFormat,
        weight: &'a WeightMatrix,
        [x, out]: [&'a Tensor; 2],
        options: MatmulOptions<'a>,
        extra: &'a [(&'static str, Bind<'a>)],
    ) -> Result<Self, Error> {
        let norm = f64::from(u8::from(options.norm.is_some()));
        let product = Product {
            op,
            kernel: "matvec",
            slots: &[("output", "heads"), ("kv", kv.name()), ("columns", "one")],
            overrides: &[("NORM", norm)],
            weight,
            x,
            out,
            part_rows: None,
            options,
            extra,
        };
        Ok(Matvec {
            pieces: Self::bind(gpu, &product)?,
            fours: Vec::new(),
            max_rows: x.rows(),
        })
    }

    fn bind(gpu: &Gpu, product: &Product<'_>) -> Result<Vec<(Dispatch, [u32; 2])>, Error> {
        let pieces = product.bind(gpu)?.into_iter();
        let sized = pieces.map(|piece| {
            let alone = piece.variant.slot("split") == Some("invocation");
            let units_per_group = if alone {
                piece.variant.workgroup_size[0]
            } else {
                1
            };
            let rows_per_group = ROWS_PER_UNIT * units_per_group;
            (piece.dispatch, fold(piece.rows.div_ceil(rows_per_group)))
        });
        Ok(sized.collect())
    }

    /// Computes the first `rows` rows of `out`.
    pub fn record(&self, recorder: &mut Recorder, rows: usize) {
        if !within(recorder, "matvec", rows, self.max_rows) {
            return;
        }
        let (pieces, z) = match rows {
            2.. if self.reads_weights_once() => (&self.fours, rows.div_ceil(4)),
            _ => (&self.pieces, rows),
        };
        for (dispatch, [x, y]) in pieces {
            recorder.dispatch(dispatch, [*x, *y, z as u32]);
        }
    }

    /// Whether four rows of x share what is read of the weights.
    pub(super) fn reads_weights_once(&self) -> bool {
        !self.fours.is_empty()
    }
}
