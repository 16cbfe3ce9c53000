//! Causal attention by tiles of queries.

use super::attention::Attended;
use super::shape::{fold, within};
use crate::{Dispatch, Error, Gpu, KvCache, Recorder, StepBuffer, Tensor, reference::Heads};

/// Attention of queries that share keys and values, which are read once for all queries of a tile; its meaning is
/// [`reference::attention_tile`](crate::reference::attention_tile).
#[derive(Debug)]
pub struct AttentionTile {
    dispatch: Dispatch,
    heads: Heads,
    tile_queries: usize,
    /// Units that share a tile, each with some of its values.
    parts: usize,
    split_units: usize,
    /// Rows times splits that the partials hold.
    room: usize,
    max_rows: usize,
    pub(super) least_queries: usize,
}

impl AttentionTile {
    /// Operands as [`Attention::new`](super::Attention::new).
    ///
    /// # Errors
    /// As [`Attention::new`](super::Attention::new).
    pub fn new(
        gpu: &Gpu,
        qkv: &Tensor,
        step: &StepBuffer,
        cache: &KvCache,
        heads: Heads,
        partials: &Tensor,
        out: &Tensor,
    ) -> Result<Self, Error> {
        let operands = Attended {
            qkv,
            step,
            cache,
            heads,
            partials,
            out,
        };
        let (variant, dispatch) = operands.bind(gpu, "attention_tile")?;
        let constant = |name| variant.constant(name).unwrap_or(1) as usize;
        Ok(AttentionTile {
            dispatch,
            heads,
            tile_queries: constant("TILE_QUERIES"),
            parts: heads.head_dim.div_ceil(8 * constant("PART_OCTETS")),
            split_units: constant("SPLIT_UNITS"),
            room: partials.rows(),
            max_rows: step.layout().max_rows,
            least_queries: constant("LEAST_QUERIES"),
        })
    }

    /// Attends for the first `rows` rows of the step. With more than one split (a power of two), the results are in
    /// `partials` for [`AttentionCombine`](super::AttentionCombine), else in `out`.
    pub fn record(&self, recorder: &mut Recorder, rows: usize, splits: usize) {
        const OP: &str = "attention_tile";
        let splits = splits.max(1);
        let fits = splits == 1 || within(recorder, OP, rows * splits, self.room);
        if fits && within(recorder, OP, rows, self.max_rows) {
            let [x, y] = fold(self.units(rows) as u32);
            recorder.dispatch(&self.dispatch, [x, y, splits as u32]);
        }
    }

    /// Splits that fill the device, before length and room are asked.
    pub(super) fn splits(&self, rows: usize) -> usize {
        self.split_units / self.units(rows).max(1)
    }

    /// Workgroups of one split: as `queries_tile` of module/queries.wesl numbers them.
    fn units(&self, rows: usize) -> usize {
        let sharing = self.heads.n_heads / self.heads.n_kv_heads;
        let together = sharing.min(self.tile_queries);
        let tiles = rows.div_ceil(self.tile_queries / together);
        tiles * sharing.div_ceil(together) * self.heads.n_kv_heads * self.parts
    }
}
