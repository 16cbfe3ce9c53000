//! Causal attention over the paged KV cache.

use super::shape::{expect, expect_at_least, expect_heads, fold, within};
use crate::{
    Dispatch, Error, Gpu, KvCache, Recorder, StepBuffer, Tensor, kv_row, reference::Heads,
};

/// Attention of each row to its sequence's past; its meaning is
/// [`reference::attention`](crate::reference::attention).
#[derive(Debug)]
pub struct Attention {
    dispatch: Dispatch,
    n_heads: u32,
    units_per_group: u32,
    max_rows: usize,
}

impl Attention {
    /// `qkv` is `[rows, heads.qkv_columns()]` as [`Rope`](super::Rope) left it, `out`
    /// `[rows, n_heads · head_dim]`; positions and pages are the step's.
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
        out: &Tensor,
    ) -> Result<Self, Error> {
        expect_heads("attention", heads, qkv, step, cache)?;
        expect(
            "attention",
            "columns of out",
            heads.columns(),
            out.columns(),
        )?;
        expect_at_least("attention", "rows of out", qkv.rows(), out.rows())?;
        let variant = gpu.select("attention", &[("kv", cache.format().name())])?;
        let longest = 4 * variant.constant("MAX_WORDS").unwrap_or(0) as usize;
        if heads.head_dim > longest {
            return Err(Error::Shape {
                op: "attention",
                what: "values per head".to_string(),
                expected: format!("at most {longest}"),
                found: heads.head_dim.to_string(),
            });
        }
        let args = HeadsArgs::new(heads, qkv, out.stride(), cache);
        let args = gpu.uniform("attention args", &args)?;
        let operands = [
            ("heads", args.binding()),
            ("step", step.binding()),
            ("qkv", qkv.binding()),
            ("kv_k", cache.k_binding()),
            ("kv_v", cache.v_binding()),
            ("out", out.binding()),
        ];
        let dispatch = gpu.pipeline(variant)?.bind(gpu, "attention", operands)?;
        let alone = variant.slot("attend") == Some("invocation");
        Ok(Attention {
            dispatch,
            n_heads: heads.n_heads as u32,
            units_per_group: if alone { variant.workgroup_size[0] } else { 1 },
            max_rows: step.layout().max_rows,
        })
    }

    /// Attends for the first `rows` rows of the step.
    pub fn record(&self, recorder: &mut Recorder, rows: usize) {
        if within(recorder, "attention", rows, self.max_rows) {
            let units = rows as u32 * self.n_heads;
            let [x, y] = fold(units.div_ceil(self.units_per_group));
            recorder.dispatch(&self.dispatch, [x, y, 1]);
        }
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
