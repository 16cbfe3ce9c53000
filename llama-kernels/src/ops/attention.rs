//! Causal attention over the paged KV cache.

use super::attention_combine::{AttentionCombine, partial_columns};
use super::attention_tile::AttentionTile;
use super::shape::{expect, expect_at_least, expect_heads, fold, within};
use crate::{
    Dispatch, Error, Gpu, KvCache, Recorder, StepBuffer, StepRow, Tensor, Variant, kv_row,
    reference::Heads,
};

/// Units of work that fill the largest GPUs; what a step has fewer of is made up by splitting its positions.
const MOST_UNITS: usize = 512;
/// Splits at most: more parts take longer to join than to compute.
const MOST_SPLITS: usize = 64;
/// Positions that a split has at least, half of them where the sequence's length is just above a power of two.
const SPLIT_POSITIONS: usize = 128;

/// Attention of each row to its sequence's past; its meaning is
/// [`reference::attention`](crate::reference::attention).
///
/// Queries that share keys go by tiles ([`AttentionTile`]), others one by one. Where a step has too few of them to
/// fill the device, the positions are split over several units and the parts joined by a second dispatch
/// ([`AttentionCombine`]).
#[derive(Debug)]
pub struct Attention {
    dispatch: Dispatch,
    tile: AttentionTile,
    combine: AttentionCombine,
    heads: Heads,
    queries_per_group: u32,
    split_units: usize,
    /// Rows times splits that the partials hold.
    room: usize,
    max_rows: usize,
}

/// What a step asks of attention, as far as its dispatches depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Rows of the step.
    pub rows: usize,
    /// Runs of rows of one sequence that follow each other; rows of one run share keys and values.
    pub runs: usize,
    /// Positions that the furthest row attends to: its own and those before it.
    pub positions: usize,
}

impl Reach {
    /// The reach of a step's rows.
    pub fn of(rows: &[StepRow]) -> Self {
        let furthest = rows.iter().map(|row| row.position).max();
        Reach {
            rows: rows.len(),
            runs: rows.chunk_by(|a, b| a.sequence == b.sequence).count(),
            positions: furthest.map_or(0, |position| position as usize + 1),
        }
    }
}

impl Attention {
    /// `qkv` is `[rows, heads.qkv_columns()]` as [`Rope`](super::Rope) left it, `out`
    /// `[rows, n_heads · head_dim]`; positions and pages are the step's. `partials` has the shape
    /// [`Attention::partials`], or fewer rows, and holds nothing between steps: layers share it.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit or a head is longer than the kernels hold (256 values); any
    /// of the GPU's errors.
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
        let (variant, dispatch) = operands.bind(gpu, "attention")?;
        let constant = |name| variant.constant(name).unwrap_or(1);
        Ok(Attention {
            dispatch,
            tile: AttentionTile::new(gpu, qkv, step, cache, heads, partials, out)?,
            combine: AttentionCombine::new(gpu, partials, heads, out)?,
            heads,
            queries_per_group: constant("QUERIES_PER_GROUP"),
            split_units: constant("SPLIT_UNITS") as usize,
            room: partials.rows(),
            max_rows: step.layout().max_rows,
        })
    }

    /// Rows and columns of the tensor for partial results.
    pub fn partials(heads: Heads) -> (usize, usize) {
        let rows = MOST_UNITS / heads.n_kv_heads.max(1);
        (rows.clamp(1, MOST_SPLITS), partial_columns(heads))
    }

    /// Attends for the rows of the step, in two dispatches at most.
    pub fn record(&self, recorder: &mut Recorder, reach: Reach) {
        let splits = self.splits(reach);
        if self.shares_keys(reach) {
            self.tile.record(recorder, reach.rows, splits);
        } else {
            self.record_single(recorder, reach.rows, splits);
        }
        if splits > 1 {
            self.combine.record(recorder, reach.rows, splits);
        }
    }

    /// Attends query by query, the positions in so many splits: a power of two. With more than one, the results are
    /// in `partials` for [`AttentionCombine`], else in `out`.
    pub fn record_single(&self, recorder: &mut Recorder, rows: usize, splits: usize) {
        const OP: &str = "attention";
        let splits = splits.max(1);
        let fits = splits == 1 || within(recorder, OP, rows * splits, self.room);
        if fits && within(recorder, OP, rows, self.max_rows) {
            let queries = (rows * self.heads.n_heads) as u32;
            let [x, y] = fold(queries.div_ceil(self.queries_per_group));
            recorder.dispatch(&self.dispatch, [x, y, splits as u32]);
        }
    }

    /// How many splits fill the device; depends on nothing but the number of rows and runs and on the length's next
    /// power of two.
    pub fn splits(&self, reach: Reach) -> usize {
        let rows = reach.rows.max(1);
        let by_units = if self.shares_keys(reach) {
            self.tile.splits(rows)
        } else {
            self.split_units / (rows * self.heads.n_heads)
        };
        let by_length = reach.positions.next_power_of_two() / SPLIT_POSITIONS;
        let most = by_units.min(by_length).min(self.room / rows).max(1);
        1 << most.ilog2()
    }

    /// Whether enough queries share keys for a tile.
    fn shares_keys(&self, reach: Reach) -> bool {
        let of_a_row = self.heads.n_heads / self.heads.n_kv_heads;
        reach.rows * of_a_row >= self.tile.least_queries * reach.runs
    }
}

/// What the attention kernels are bound to.
pub(super) struct Attended<'a> {
    pub(super) qkv: &'a Tensor,
    pub(super) step: &'a StepBuffer,
    pub(super) cache: &'a KvCache,
    pub(super) heads: Heads,
    pub(super) partials: &'a Tensor,
    pub(super) out: &'a Tensor,
}

impl Attended<'_> {
    /// Checks the shapes, and binds the best variant of `kernel`.
    pub(super) fn bind(
        &self,
        gpu: &Gpu,
        kernel: &'static str,
    ) -> Result<(&'static Variant, Dispatch), Error> {
        let Attended {
            qkv,
            step,
            cache,
            heads,
            partials,
            out,
        } = *self;
        expect_heads(kernel, heads, qkv, step, cache)?;
        expect(kernel, "columns of out", heads.columns(), out.columns())?;
        expect_at_least(kernel, "rows of out", qkv.rows(), out.rows())?;
        let columns = partial_columns(heads);
        expect(kernel, "columns of partials", columns, partials.columns())?;
        let variant = gpu.select(kernel, &[("kv", cache.format().name())])?;
        let longest = 8 * variant.constant("MAX_OCTETS").unwrap_or(0) as usize;
        if heads.head_dim > longest {
            return Err(Error::Shape {
                op: kernel,
                what: "values per head".to_string(),
                expected: format!("at most {longest}"),
                found: heads.head_dim.to_string(),
            });
        }
        let args = HeadsArgs::new(heads, qkv, out.stride(), cache);
        let args = gpu.uniform(kernel, &args)?;
        let operands = [
            ("heads", args.binding()),
            ("step", step.binding()),
            ("qkv", qkv.binding()),
            ("kv_k", cache.k_binding()),
            ("kv_v", cache.v_binding()),
            ("partials", partials.binding()),
            ("out", out.binding()),
        ];
        let dispatch = gpu.pipeline(variant)?.bind(gpu, kernel, operands)?;
        Ok((variant, dispatch))
    }
}

/// `Heads` of module/heads.wesl.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct HeadsArgs {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,
    words: u32,
    qkv_stride: u32,
    out_stride: u32,
    scale: f32,
    pages: u32,
}

impl HeadsArgs {
    pub(super) fn new(heads: Heads, qkv: &Tensor, out_stride: usize, cache: &KvCache) -> Self {
        HeadsArgs {
            n_heads: heads.n_heads as u32,
            n_kv_heads: heads.n_kv_heads as u32,
            head_dim: heads.head_dim as u32,
            words: (kv_row(heads.head_dim) / 4) as u32,
            qkv_stride: qkv.stride() as u32,
            out_stride: out_stride as u32,
            scale: (1.0 / (heads.head_dim as f64).sqrt()) as f32,
            pages: cache.pages() as u32,
        }
    }
}
