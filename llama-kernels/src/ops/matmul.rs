//! Matrix × matrix, and the choice between it and matrix × vector.

use super::RmsNorm;
use super::matmul_combine::{MOST_PARTS, MatmulCombine, parts_in};
use super::matvec::Matvec;
use super::product::{MatmulOptions, Piece, Product, variant_for};
use super::shape::within;
use crate::{Dispatch, Error, Gpu, Recorder, Tensor, WeightMatrix, WeightPiece};

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
    /// Of a row of the matrix.
    blocks: usize,
    split: Option<Split>,
    least_rows: usize,
}

/// The same for few rows of x, its columns split in parts that are added up after.
#[derive(Debug)]
struct Split {
    pieces: Vec<TiledPiece>,
    combine: MatmulCombine,
    /// Rows that a part has room for.
    part_rows: usize,
    /// Parts at most.
    most: usize,
    /// Tiles from which on nothing is split.
    tiles: u32,
}

/// Blocks of 32 columns that a part has at least: with less, adding up costs more than the split saves. A matrix with fewer than
/// four times as many is not split.
const PART_BLOCKS: usize = 16;

#[derive(Debug)]
struct TiledPiece {
    dispatch: Dispatch,
    /// Workgroups over the rows of the piece.
    groups: u32,
    x_rows_per_group: u32,
}

impl TiledPiece {
    fn new(piece: Piece) -> Self {
        let constant = |name| piece.variant.constant(name).unwrap_or(1);
        Self {
            groups: piece.rows.div_ceil(constant("TILE_ROWS")),
            x_rows_per_group: constant("TILE_X_ROWS"),
            dispatch: piece.dispatch,
        }
    }

    fn tiles(&self, rows: usize) -> [u32; 2] {
        [self.groups, (rows as u32).div_ceil(self.x_rows_per_group)]
    }

    fn record(&self, recorder: &mut Recorder, rows: usize, parts: usize) {
        let [x, y] = self.tiles(rows);
        recorder.dispatch(&self.dispatch, [x, y, parts as u32]);
    }
}

impl Split {
    /// In how many parts to split so many blocks of columns for so many rows of x: a power of two.
    fn parts(&self, rows: usize, blocks: usize) -> usize {
        if rows > self.part_rows {
            return 1;
        }
        let tiles = |piece: &TiledPiece| piece.tiles(rows).iter().product::<u32>();
        let tiles: u32 = self.pieces.iter().map(tiles).sum();
        let wanted = (self.tiles / tiles.max(1)) as usize;
        let parts = wanted.min(self.most).min(blocks / PART_BLOCKS);
        1 << parts.max(1).ilog2()
    }
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

    /// Rows from which on a row of weights is read once for several of x.
    pub(super) fn least_shared_rows(&self) -> usize {
        let tiled = (self.many.as_ref()).map_or(usize::MAX, |tiled| tiled.least_rows);
        match self.few.reads_weights_once() {
            true => tiled.min(2),
            false => tiled,
        }
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
        let least = |piece: &WeightPiece| {
            let variant = variant_for(gpu, "matmul", piece, &[])?;
            Ok(variant.constant("LEAST_X_ROWS").unwrap_or(1) as usize)
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
        let product = |out, part_rows| Product {
            op,
            kernel: "matmul",
            slots: &[],
            overrides: &[],
            weight,
            x: options.norm.map_or(x, |norm| norm.normed),
            out,
            part_rows,
            options,
            extra: &[],
        };
        let bound = product(out, None).bind(gpu)?;
        let tiles = |piece: &Piece| piece.variant.constant("SPLIT_TILES");
        let tiles = bound.iter().map(tiles).min().flatten();
        let pieces: Vec<TiledPiece> = bound.into_iter().map(TiledPiece::new).collect();
        let mut split = None;
        if let (Some(partials), Some(tiles)) = (options.partials, tiles) {
            let tile = pieces.iter().map(|piece| piece.x_rows_per_group as usize);
            let part_rows = tile.max().unwrap_or(1).min(x.rows());
            let most = parts_in(partials, part_rows, weight.rows()).min(MOST_PARTS);
            if weight.blocks() >= 4 * PART_BLOCKS && most > 1 {
                let parts = product(partials, Some(part_rows)).bind(gpu)?.into_iter();
                split = Some(Split {
                    pieces: parts.map(TiledPiece::new).collect(),
                    combine: MatmulCombine::new(gpu, partials, part_rows, out, options)?,
                    part_rows,
                    most,
                    tiles,
                });
            }
        }
        Ok(Some(Self {
            norm,
            blocks: weight.blocks(),
            pieces,
            split,
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
        let split = (self.split.as_ref()).map(|split| (split, split.parts(rows, self.blocks)));
        match split {
            Some((split, parts @ 2..)) => {
                (split.pieces.iter()).for_each(|piece| piece.record(recorder, rows, parts));
                split.combine.record(recorder, rows, parts);
            }
            _ => (self.pieces.iter()).for_each(|piece| piece.record(recorder, rows, 1)),
        }
    }
}
