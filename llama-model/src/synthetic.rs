//! Weights out of nothing: a model of any shape, its matrices filled with noise where they lie.
//!
//! For measuring, not for answers: the host makes and uploads no weight, so a person learns how fast a model runs before
//! downloading it.

use std::ops::ControlFlow;

use llama_kernels::ops::Fill;
use llama_kernels::{Gpu, Tensor, WeightFormat, WeightMatrix, padded};
use llama_weights::{DType, Hyperparameters};

use crate::Error;
use crate::columns::Orders;
use crate::holding::{HeldOtherwise, WeightChoice, hold};
use crate::matrices::{self, LayerPlan, MatrixPlan, Rows};
use crate::memory;
use crate::model::{LayerWeights, Loaded, Progress, Weights};

/// Makes every weight on the GPU; see [`crate::Model::synthetic`].
pub(crate) fn synthesize(
    gpu: &Gpu,
    h: &Hyperparameters,
    choice: WeightChoice,
    seed: u64,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Weights, Loaded), Error> {
    let wanted = choice.format(&[DType::F16]).unwrap_or(WeightFormat::F16);
    let plan = memory::memory_plan(h, DType::F16, choice, Default::default(), 1);
    let mut synthesizer = Synthesizer {
        gpu,
        choice,
        // Seeds of neighbours share no noise: each is hashed with its rows.
        seed: (seed ^ (seed >> 32)) as u32,
        progress,
        bytes_done: 0,
        bytes_total: plan.weight_bytes,
    };
    let embedding = synthesizer.matrix(&matrices::embedding(h))?;
    let layers = (0..h.n_layers)
        .map(|index| synthesizer.layer(h, index))
        .collect::<Result<_, _>>()?;
    let output_norm = synthesizer.vector("output norm", h.hidden_size, 1.0)?;
    let output = matrices::output(h)
        .map(|plan| synthesizer.matrix(&plan))
        .transpose()?;
    let weights = Weights {
        embedding,
        layers,
        output_norm,
        output,
        output_order: None,
    };
    let loaded = Loaded {
        format: most(wanted, &plan.held_otherwise, h),
        held_otherwise: plan.held_otherwise,
        weight_bytes: synthesizer.bytes_done,
    };
    Ok((weights, loaded))
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
    choice: WeightChoice,
    /// Of the next matrix.
    seed: u32,
    progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    bytes_done: u64,
    bytes_total: u64,
}

impl Synthesizer<'_> {
    fn layer(&mut self, h: &Hyperparameters, index: usize) -> Result<LayerWeights, Error> {
        let plan = LayerPlan::layer(h, index);
        let length = |rows: Vec<Rows>| rows.iter().map(Rows::len).sum();
        let (attention, mlp) = (h.attention_bias, h.mlp_bias);
        Ok(LayerWeights {
            attention_norm: self.vector("attention norm", h.hidden_size, 1.0)?,
            qkv: self.matrix(&plan.qkv)?,
            qkv_bias: self.bias(attention, length(matrices::qkv_bias(h, index)))?,
            attention_output: self.matrix(&plan.attention_output)?,
            attention_output_bias: self.bias(attention, h.hidden_size)?,
            ffn_norm: self.vector("ffn norm", h.hidden_size, 1.0)?,
            gate_up: self.matrix(&plan.gate_up)?,
            gate_up_bias: self.bias(mlp, length(matrices::gate_up_bias(h, index)))?,
            down: self.matrix(&plan.down)?,
            down_bias: self.bias(mlp, h.hidden_size)?,
            orders: Orders::default(),
        })
    }

    fn matrix(&mut self, plan: &MatrixPlan) -> Result<WeightMatrix, Error> {
        let (sections, _) = hold(
            self.choice,
            &[(vec![DType::F16], plan.rows())],
            plan.columns,
        );
        let matrix = WeightMatrix::of_sections(self.gpu, &plan.name, &sections, plan.columns)?;
        let mut recorder = self.gpu.recorder();
        Fill::new(self.gpu, &matrix, self.seed)?.record(&mut recorder);
        self.gpu.submit(recorder)?;
        // So that progress is of work done, and cancelling leaves no queue behind.
        self.gpu.wait()?;
        self.seed = self.seed.wrapping_add(0x9e37_79b9);
        self.advance(matrix.bytes())?;
        Ok(matrix)
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
