//! Rotary position embedding and the write to the KV cache.

use super::attention::HeadsArgs;
use super::shape::{expect_heads, within};
use crate::{
    Dispatch, Error, Gpu, KvCache, Recorder, StepBuffer, Tensor, kv_row, reference::Heads,
};

/// Rotates q in place, writes rotated k and v to the cache; its meaning is
/// [`reference::rope`](crate::reference::rope).
#[derive(Debug)]
pub struct Rope {
    dispatch: Dispatch,
    groups: u32,
    max_rows: usize,
}

impl Rope {
    /// `qkv` is `[rows, heads.qkv_columns()]`; positions, pages and angles are the step's.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit; any of the GPU's errors.
    pub fn new(
        gpu: &Gpu,
        qkv: &Tensor,
        step: &StepBuffer,
        cache: &KvCache,
        heads: Heads,
    ) -> Result<Self, Error> {
        expect_heads("rope", heads, qkv, step, cache)?;
        let variant = gpu.select("rope", &[("kv", cache.format().name())])?;
        let args = gpu.uniform("rope args", &HeadsArgs::new(heads, qkv, 0, cache))?;
        let operands = [
            ("heads", args.binding()),
            ("step", step.binding()),
            ("qkv", qkv.binding()),
            ("kv_k", cache.k_binding()),
            ("kv_v", cache.v_binding()),
        ];
        let dispatch = gpu.pipeline(variant)?.bind(gpu, "rope", operands)?;
        let pairs = heads.n_heads * heads.head_dim / 2;
        let words = kv_row(heads.head_dim) / 4;
        let unit_words = variant.constant("UNIT_WORDS").unwrap_or(1) as usize;
        let units = (pairs + 2 * heads.n_kv_heads * words.div_ceil(unit_words)) as u32;
        Ok(Rope {
            dispatch,
            groups: units.div_ceil(variant.workgroup_size[0]),
            max_rows: step.layout().max_rows,
        })
    }

    /// Rotates and stores the first `rows` rows of the step.
    pub fn record(&self, recorder: &mut Recorder, rows: usize) {
        if within(recorder, "rope", rows, self.max_rows) {
            recorder.dispatch(&self.dispatch, [self.groups, rows as u32, 1]);
        }
    }
}
