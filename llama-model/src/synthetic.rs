//! Weights out of nothing: a model of any shape, its matrices filled with noise where they lie.
//!
//! For measuring, not for answers: the host makes and uploads no weight, so a person learns how fast a model runs before
//! downloading it.

use std::ops::ControlFlow;

use llama_kernels::ops::Fill;
use llama_kernels::{Gpu, Section, Tensor, WeightFormat, WeightMatrix, padded};
use llama_weights::{DType, Hyperparameters};

use crate::Error;
use crate::columns::Orders;
use crate::holding::{HeldOtherwise, WeightChoice, hold};
use crate::matrices::{self, LayerPlan, MatrixPlan, Rows};
use crate::memory;
use crate::model::{HeadWeights, LayerWeights, Loaded, Progress, StageWeights};
use crate::placement::Span;
use crate::stream::{self, HostMatrix, Slots, Stream};

/// Makes every weight on its GPU; see [`crate::Model::synthetic`].
pub(crate) fn synthesize(
    parts: Vec<(Gpu, Span)>,
    h: &Hyperparameters,
    choice: WeightChoice,
    seed: u64,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Vec<StageWeights>, Loaded), Error> {
    let wanted = choice.format(&[DType::F16]).unwrap_or(WeightFormat::F16);
    let plan = memory::memory_plan(h, DType::F16, choice, Default::default(), 1);
    // Seeds of neighbours share no noise: each is hashed with its rows.
    let first_seed = (seed ^ (seed >> 32)) as u32;
    let mut stages = Vec::with_capacity(parts.len());
    let (mut seed, mut bytes_done) = (first_seed, 0);
    for (gpu, span) in parts {
        let mut synthesizer = Synthesizer {
            gpu: &gpu,
            span: &span,
            choice,
            seed,
            slots: Slots::default(),
            streamed: Vec::new(),
            progress,
            bytes_done,
            bytes_total: plan.weight_bytes,
        };
        let embedding = span.is_first.then(|| matrices::embedding(h));
        let embedding = embedding.map(|plan| synthesizer.matrix(&plan, None));
        let embedding = embedding.transpose()?;
        let layers = (span.layers.clone())
            .map(|index| synthesizer.layer(h, index))
            .collect::<Result<_, _>>()?;
        let head = match span.is_last {
            true => Some(HeadWeights {
                norm: synthesizer.vector("output norm", h.hidden_size, 1.0)?,
                order: None,
                output: match (matrices::output(h), &embedding) {
                    (Some(plan), _) => synthesizer.matrix(&plan, None)?,
                    (None, Some(embedding)) => embedding.clone(),
                    (None, None) => synthesizer.copy(&matrices::embedding(h), first_seed)?,
                },
            }),
            false => None,
        };
        (seed, bytes_done) = (synthesizer.seed, synthesizer.bytes_done);
        let streamed = synthesizer.streamed;
        let stream = match streamed.is_empty() {
            true => None,
            false => Some(Stream::new(&gpu, streamed)?),
        };
        stages.push(StageWeights {
            embedding,
            layers,
            head,
            stream,
            gpu,
            span,
        });
    }
    let loaded = Loaded {
        format: most(wanted, &plan.held_otherwise, h),
        held_otherwise: plan.held_otherwise,
        weight_bytes: bytes_done,
    };
    Ok((stages, loaded))
}

/// The format of most matrices: the wanted one, unless no more than half could be held so.
fn most(wanted: WeightFormat, otherwise: &[HeldOtherwise], h: &Hyperparameters) -> WeightFormat {
    match otherwise {
        [held, ..] if 2 * otherwise.len() > matrices::all(h).count() => held.format,
        _ => wanted,
    }
}

struct Synthesizer<'a> {
    gpu: &'a Gpu,
    span: &'a Span,
    choice: WeightChoice,
    /// Of the next matrix.
    seed: u32,
    /// Where streamed layers go, and what goes there.
    slots: Slots,
    streamed: Vec<HostMatrix>,
    progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    bytes_done: u64,
    bytes_total: u64,
}

impl Synthesizer<'_> {
    fn layer(&mut self, h: &Hyperparameters, index: usize) -> Result<LayerWeights, Error> {
        let plan = LayerPlan::layer(h, index);
        // Counted among the device's streamed layers.
        let resident = self.span.layers.end - self.span.streamed;
        let streamed = index.checked_sub(resident);
        let slot = |kind| streamed.map(|layer| (layer, kind));
        let length = |rows: Vec<Rows>| rows.iter().map(Rows::len).sum();
        let (attention, mlp) = (h.attention_bias, h.mlp_bias);
        Ok(LayerWeights {
            attention_norm: self.vector("attention norm", h.hidden_size, 1.0)?,
            qkv: self.matrix(&plan.qkv, slot(0))?,
            qkv_bias: self.bias(attention, length(matrices::qkv_bias(h, index)))?,
            attention_output: self.matrix(&plan.attention_output, slot(1))?,
            attention_output_bias: self.bias(attention, h.hidden_size)?,
            ffn_norm: self.vector("ffn norm", h.hidden_size, 1.0)?,
            gate_up: self.matrix(&plan.gate_up, slot(2))?,
            gate_up_bias: self.bias(mlp, length(matrices::gate_up_bias(h, index)))?,
            down: self.matrix(&plan.down, slot(3))?,
            down_bias: self.bias(mlp, h.hidden_size)?,
            orders: Orders::default(),
        })
    }

    /// A matrix of noise on the device; or of layer and kind, in its slot, and kept in host memory.
    fn matrix(
        &mut self,
        plan: &MatrixPlan,
        slot: Option<(usize, usize)>,
    ) -> Result<WeightMatrix, Error> {
        let sections = self.sections(plan);
        let matrix = match slot {
            None => WeightMatrix::of_sections(self.gpu, &plan.name, &sections, plan.columns)?,
            Some((layer, kind)) => self.slots.matrix(self.gpu, layer, kind, &sections, plan)?,
        };
        self.fill(&matrix, self.seed)?;
        if slot.is_some() {
            let mut pieces = Vec::new();
            let mut first = 0;
            while let Some(format) = matrix.format_at(first) {
                let at_once = stream::rows_at_once(format, plan.columns);
                let end = matrix.format_end(first).min(first + at_once);
                pieces.push((first, self.gpu.read_rows(&matrix, first..end)?));
                first = end;
            }
            self.streamed.push(HostMatrix {
                matrix: matrix.clone(),
                pieces,
            });
        }
        self.seed = self.seed.wrapping_add(0x9e37_79b9);
        self.advance(matrix.bytes())?;
        Ok(matrix)
    }

    /// A matrix that another device has too; it is not counted.
    fn copy(&self, plan: &MatrixPlan, seed: u32) -> Result<WeightMatrix, Error> {
        let sections = self.sections(plan);
        let matrix = WeightMatrix::of_sections(self.gpu, &plan.name, &sections, plan.columns)?;
        self.fill(&matrix, seed)?;
        Ok(matrix)
    }

    fn sections(&self, plan: &MatrixPlan) -> Vec<Section> {
        let stored = [(vec![DType::F16], plan.rows())];
        hold(self.choice, &stored, plan.columns).0
    }

    fn fill(&self, matrix: &WeightMatrix, seed: u32) -> Result<(), Error> {
        let mut recorder = self.gpu.recorder();
        Fill::new(self.gpu, matrix, seed)?.record(&mut recorder);
        self.gpu.submit(recorder)?;
        // So that progress is of work done, and cancelling leaves no queue behind.
        Ok(self.gpu.wait()?)
    }

    fn bias(&mut self, present: bool, length: usize) -> Result<Option<Tensor>, Error> {
        present
            .then(|| self.vector("bias", length, 0.0))
            .transpose()
    }

    /// `[1, length]` of one value.
    fn vector(&mut self, label: &str, length: usize, value: f32) -> Result<Tensor, Error> {
        let tensor = self.gpu.tensor(label, 1, length)?;
        self.gpu.write_f32(&tensor, 0, &vec![value; length])?;
        self.advance(4 * padded(length) as u64)?;
        Ok(tensor)
    }

    fn advance(&mut self, bytes: u64) -> Result<(), Error> {
        self.bytes_done += bytes;
        let progress = Progress {
            bytes_done: self.bytes_done,
            bytes_total: self.bytes_total,
        };
        match (self.progress)(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }
}
