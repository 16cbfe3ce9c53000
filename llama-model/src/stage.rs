//! What one device computes of a step, with its part of the KV cache: everything is allocated when it is made.
//!
//! Which rows, where in their sequences, is the engine's to say.

use llama_kernels::ops::Reach;
use llama_kernels::{Gpu, KvCache, KvFormat, Recorder, StepBuffer, StepLayout, StepRow, Tensor};
use llama_weights::Hyperparameters;

use crate::Error;
use crate::forward::{Choice, Forward};
use crate::model::{Model, StageWeights};
use crate::scratch::{Scratch, ScratchShape};

pub(crate) struct Stage {
    // Before the weights, so that they are dropped before them.
    forward: Forward,
    step: StepBuffer,
    scratch: Scratch,
    #[expect(
        dead_code,
        reason = "bind groups hold the buffers; this holds their place in `Gpu::allocated_bytes`"
    )]
    caches: Vec<KvCache>,
    gpu: Gpu,
    /// Which of the model's.
    index: usize,
}

impl Stage {
    pub(crate) fn new(
        h: &Hyperparameters,
        (index, weights): (usize, &StageWeights),
        shape: ScratchShape,
        layout: StepLayout,
        kv_format: KvFormat,
    ) -> Result<Self, Error> {
        let gpu = &weights.gpu;
        let n_pages = layout.max_sequences * layout.pages_per_sequence;
        let caches = (weights.span.layers.clone())
            .map(|layer| {
                let label = format!("layer {layer} cache");
                let (heads, dim) = (h.n_kv_heads, h.head_dim);
                KvCache::new(
                    gpu,
                    &label,
                    kv_format,
                    n_pages,
                    layout.page_size,
                    heads,
                    dim,
                )
            })
            .collect::<Result<Vec<_>, _>>()?;
        let step = StepBuffer::new(gpu, layout)?;
        let scratch = Scratch::new(gpu, h, shape, weights.span.is_last)?;
        let forward = Forward::new(h, weights, &scratch, &step, &caches)?;
        gpu.finish_pipelines()?;
        Ok(Self {
            forward,
            step,
            scratch,
            caches,
            gpu: gpu.clone(),
            index,
        })
    }

    /// Records one step; its last submission is left to the caller. See [`Forward::record`].
    pub(crate) fn record(
        &self,
        model: &Model,
        rows: &[StepRow],
        page_tables: &[&[u32]],
        angles: &[f32],
        choice: Choice,
    ) -> Result<Recorder, Error> {
        self.step.write(&self.gpu, rows, page_tables, angles)?;
        let logit_rows = rows.iter().filter(|row| row.wants_logits).count();
        let stream = model.stages()[self.index].stream.as_ref();
        self.forward
            .record(&self.gpu, stream, Reach::of(rows), logit_rows, choice)
    }

    pub(crate) fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    pub(crate) fn forward(&self) -> &Forward {
        &self.forward
    }

    /// The residual stream, `[R, hidden_size]`: what the stage before leaves, and what this one does.
    pub(crate) fn residual(&self) -> &Tensor {
        &self.scratch.x
    }

    /// What is chosen by the logits, `[L]`; of the last stage.
    pub(crate) fn chosen(&self) -> &Tensor {
        &self.scratch.chosen
    }

    /// `[L, vocab_size]`; `None` of all stages but the last.
    pub(crate) fn logits(&self) -> Option<&Tensor> {
        self.scratch.head.as_ref().map(|head| &head.logits)
    }
}
