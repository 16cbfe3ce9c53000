//! Query, key and value projection with RoPE and the write to the KV cache.

use crate::ops::attention::HeadsArgs;
use crate::ops::matvec::Matvec;
use crate::ops::product::{MatmulOptions, variant_for};
use crate::ops::shape::{expect_heads, expect_no_sum, within};
use crate::ops::{Matmul, Rope};
use crate::{Error, Gpu, KvCache, Recorder, StepBuffer, Tensor, WeightMatrix, reference::Heads};

/// `qkv = rope(norm(x) Wᵀ (+ bias))`, with turned k, and v, written to the cache. Its meaning is
/// [`reference::rms_norm`](crate::reference::rms_norm), [`reference::matmul`](crate::reference::matmul) and
/// [`reference::rope`](crate::reference::rope), one after the other; of `qkv` only the part of q is meant.
#[derive(Debug)]
pub struct HeadsMatmul {
    /// None with a bias, or a cache in a format that comes not with the weights': no kernel does those at once. Nor for formats
    /// of weights that are rare.
    few: Option<Matvec>,
    many: Matmul,
    rope: Rope,
    /// Rows from which on the other way pays.
    least_rows: usize,
    max_rows: usize,
}

impl HeadsMatmul {
    /// `x` is `[rows, columns]`, `weight` `[heads.qkv_columns(), columns]` with the values that RoPE turns together
    /// adjacent, `qkv` `[rows, heads.qkv_columns()]`; positions, pages and angles are the step's.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit, or `accumulate` is set; any of the GPU's errors.
    pub fn new(
        gpu: &Gpu,
        weight: &WeightMatrix,
        [x, qkv]: [&Tensor; 2],
        options: MatmulOptions<'_>,
        step: &StepBuffer,
        cache: &KvCache,
        heads: Heads,
    ) -> Result<Self, Error> {
        const OP: &str = "heads matmul";
        options.check(OP, weight, x, qkv, heads.qkv_columns())?;
        expect_heads(OP, heads, qkv, step, cache)?;
        expect_no_sum(OP, options.accumulate)?;
        let slots = [("output", "heads"), ("kv", cache.format().name())];
        let has_kernel = |piece| variant_for(gpu, "matvec", piece, &slots).is_ok();
        let fused = options.bias.is_none() && weight.pieces().iter().all(has_kernel);
        let few = match fused {
            true => {
                let args = gpu.uniform(OP, &HeadsArgs::new(heads, qkv, 0, cache))?;
                let extra = [
                    ("heads", args.binding()),
                    ("step", step.binding()),
                    ("kv_k", cache.k_binding()),
                    ("kv_v", cache.v_binding()),
                ];
                let operands = [x, qkv];
                let fused =
                    Matvec::heads(gpu, OP, cache.format(), weight, operands, options, &extra)?;
                Some(fused)
            }
            false => None,
        };
        let many = Matmul::new(gpu, weight, x, qkv, options)?;
        Ok(Self {
            few,
            least_rows: many.least_shared_rows(),
            many,
            rope: Rope::new(gpu, qkv, step, cache, heads)?,
            max_rows: x.rows().min(step.layout().max_rows),
        })
    }

    /// Computes the first `rows` rows of the step.
    pub fn record(&self, recorder: &mut Recorder, rows: usize) {
        if !within(recorder, "heads matmul", rows, self.max_rows) {
            return;
        }
        match &self.few {
            Some(few) if rows < self.least_rows => few.record(recorder, rows),
            _ => {
                self.many.record(recorder, rows);
                self.rope.record(recorder, rows);
            }
        }
    }
}
