//! From a checkpoint to weights on the GPU: row by row, joined, converted where the format differs.
//!
//! The host never holds more than a piece of a tensor: 16 MiB as stored, as f32 and as uploaded.

use std::borrow::Cow;
use std::ops::{ControlFlow, Range};

use half::f16;
use half::slice::HalfFloatSliceExt;
use llama_kernels::{Gpu, Tensor, WeightFormat, WeightMatrix, padded};
use llama_weights::{Checkpoint, LayerPart, TensorRole, TensorView, quant};

use crate::Error;
use crate::holding::{HeldOtherwise, HeldReason, WeightChoice, format_for_rows, stored_as};
use crate::matrices::{self, LayerPlan, MatrixPlan, Rows};
use crate::memory::matrix_bytes;
use crate::model::{LayerWeights, Loaded, Progress, Weights};

/// Bytes of f32 in one piece, which is at least one row.
const PIECE_BYTES: usize = 16 << 20;
/// The driver holds a copy of every uploaded byte until it is told to go on and has done so.
const IN_FLIGHT_BYTES: u64 = 32 << 20;

/// Puts every weight on the GPU; see [`crate::Model::load`].
pub(crate) fn load(
    gpu: &Gpu,
    checkpoint: &Checkpoint,
    choice: WeightChoice,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Weights, Loaded), Error> {
    let h = checkpoint.hyperparameters();
    let mut loader = Loader {
        gpu,
        checkpoint,
        choice,
        progress,
        bytes_done: 0,
        bytes_total: checkpoint.weight_bytes(),
        bytes_in_flight: 0,
        bytes_held: Vec::new(),
        held_otherwise: Vec::new(),
        staging: Staging::default(),
    };
    let embedding = loader.matrix(&matrices::embedding(h))?;
    let layers = (0..h.n_layers)
        .map(|index| loader.layer(index, &LayerPlan::layer(h, index)))
        .collect::<Result<_, _>>()?;
    let whole = Rows::Of(TensorRole::OutputNorm, 0..h.hidden_size);
    let output_norm = loader.vector("output norm", &[whole])?;
    let output = matrices::output(h)
        .map(|plan| loader.matrix(&plan))
        .transpose()?;
    loader.flush()?;
    let weights = Weights {
        embedding,
        layers,
        output_norm,
        output,
    };
    Ok((weights, loader.finish()))
}

struct Loader<'a> {
    gpu: &'a Gpu,
    checkpoint: &'a Checkpoint,
    choice: WeightChoice,
    progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    bytes_done: u64,
    bytes_total: u64,
    bytes_in_flight: u64,
    /// GPU bytes of every matrix and, as f32, vector.
    bytes_held: Vec<(WeightFormat, u64)>,
    held_otherwise: Vec<HeldOtherwise>,
    staging: Staging,
}

impl<'a> Loader<'a> {
    fn layer(&mut self, index: usize, plan: &LayerPlan) -> Result<LayerWeights, Error> {
        let role = |part| TensorRole::Layer { index, part };
        let h = self.checkpoint.hyperparameters();
        let (attention_bias, mlp_bias) = (h.attention_bias, h.mlp_bias);
        let whole = |part| vec![Rows::Of(role(part), 0..h.hidden_size)];
        let bias = |loader: &mut Self, present: bool, parts: Vec<Rows>| {
            present
                .then(|| loader.vector(&format!("layer {index} bias"), &parts))
                .transpose()
        };
        Ok(LayerWeights {
            attention_norm: self.vector(
                &format!("layer {index} attention norm"),
                &whole(LayerPart::AttentionNorm),
            )?,
            qkv: self.matrix(&plan.qkv)?,
            qkv_bias: bias(self, attention_bias, matrices::qkv_bias(h, index))?,
            attention_output: self.matrix(&plan.attention_output)?,
            attention_output_bias: bias(
                self,
                attention_bias,
                whole(LayerPart::AttentionOutputBias),
            )?,
            ffn_norm: self.vector(
                &format!("layer {index} ffn norm"),
                &whole(LayerPart::FfnNorm),
            )?,
            gate_up: self.matrix(&plan.gate_up)?,
            gate_up_bias: bias(self, mlp_bias, matrices::gate_up_bias(h, index))?,
            down: self.matrix(&plan.down)?,
            down_bias: bias(self, mlp_bias, whole(LayerPart::DownBias))?,
        })
    }

    /// Elements of one-dimensional tensors, arranged as said, in f32: `[1, length]`.
    fn vector(&mut self, label: &str, parts: &[Rows]) -> Result<Tensor, Error> {
        let mut joined = Vec::new();
        let mut stored_bytes = 0;
        for part in parts {
            match part {
                Rows::Of(role, range) => {
                    joined.extend_from_slice(&self.floats(*role)?[range.clone()]);
                }
                Rows::Alternating([(first, firsts), (second, seconds)]) => {
                    let first = self.floats(*first)?[firsts.clone()].to_vec();
                    let second = &self.floats(*second)?[seconds.clone()];
                    joined.extend(first.iter().zip(second).flat_map(|(a, b)| [*a, *b]));
                }
            }
            let elements = part.len() as u64;
            let view = part
                .roles()
                .next()
                .map(|role| self.view(role))
                .transpose()?;
            let width = view.map_or(0, |view| view.n_bytes() / view.n_columns() as u64);
            stored_bytes += elements * width;
        }
        let tensor = self.gpu.tensor(label, 1, joined.len())?;
        self.gpu.write_f32(&tensor, 0, &joined)?;
        let held_bytes = 4 * padded(joined.len()) as u64;
        self.bytes_held.push((WeightFormat::F32, held_bytes));
        self.advance(stored_bytes)?;
        Ok(tensor)
    }

    /// A matrix, in the wanted format or the one that can hold it.
    fn matrix(&mut self, plan: &MatrixPlan) -> Result<WeightMatrix, Error> {
        let roles = plan.parts.iter().flat_map(Rows::roles);
        let stored = roles.map(|role| Ok(self.view(role)?.dtype()));
        let stored: Vec<_> = stored.collect::<Result<_, Error>>()?;
        let (mut format, mut reason) = format_for_rows(self.choice.format(&stored), plan.columns);
        let before = self.bytes_done;
        let matrix = match self.fill(plan, format)? {
            Some(matrix) => matrix,
            None => {
                // Rare: found while converting, so that the usual file is read once.
                self.bytes_done = before;
                (format, reason) = (WeightFormat::F32, Some(HeldReason::BeyondRange));
                // f32 holds everything.
                self.fill(plan, format)?
                    .ok_or_else(|| missing(TensorRole::Embedding))?
            }
        };
        let held_bytes = matrix_bytes(format, plan.rows(), plan.columns);
        self.bytes_held.push((format, held_bytes));
        self.held_otherwise
            .extend(reason.map(|reason| HeldOtherwise {
                matrix: plan.name.clone(),
                format,
                reason,
            }));
        Ok(matrix)
    }

    /// The matrix, or `None` where a weight is beyond the format's range.
    fn fill(
        &mut self,
        plan: &MatrixPlan,
        format: WeightFormat,
    ) -> Result<Option<WeightMatrix>, Error> {
        let matrix = WeightMatrix::new(self.gpu, &plan.name, format, plan.rows(), plan.columns)?;
        let rows_at_once = (PIECE_BYTES / (4 * plan.columns)).max(1);
        let row_bytes = format.file_row_bytes(plan.columns);
        let mut to = 0;
        for part in &plan.parts {
            match part {
                Rows::Of(role, rows) => {
                    let view = self.view(*role)?;
                    for rows in pieces(rows, rows_at_once) {
                        let Some(bytes) = self.staging.rows(&view, rows.clone(), format) else {
                            return Ok(None);
                        };
                        matrix.write_rows(self.gpu, to, &bytes)?;
                        to += rows.len();
                        self.advance((rows.len() * view.row_bytes()) as u64)?;
                    }
                }
                Rows::Alternating([(first, firsts), (second, seconds)]) => {
                    let (first, second) = (self.view(*first)?, self.view(*second)?);
                    let half = (rows_at_once / 2).max(1);
                    let mut joined = Vec::new();
                    for (firsts, seconds) in pieces(firsts, half).zip(pieces(seconds, half)) {
                        let n_rows = firsts.len() + seconds.len();
                        joined.resize(n_rows * row_bytes, 0);
                        let halves = [(&first, firsts, 0), (&second, seconds, 1)];
                        for (view, rows, place) in halves {
                            let Some(bytes) = self.staging.rows(view, rows, format) else {
                                return Ok(None);
                            };
                            let places = joined.chunks_exact_mut(row_bytes).skip(place).step_by(2);
                            for (to, from) in places.zip(bytes.chunks_exact(row_bytes)) {
                                to.copy_from_slice(from);
                            }
                        }
                        matrix.write_rows(self.gpu, to, &joined)?;
                        to += n_rows;
                        let stored = first.row_bytes() + second.row_bytes();
                        self.advance((n_rows / 2 * stored) as u64)?;
                    }
                }
            }
        }
        Ok(Some(matrix))
    }

    /// A whole tensor in f32.
    fn floats(&mut self, role: TensorRole) -> Result<&[f32], Error> {
        let view = self.view(role)?;
        view.rows_f32(0..view.n_rows(), &mut self.staging.floats);
        Ok(&self.staging.floats)
    }

    fn view(&self, role: TensorRole) -> Result<TensorView<'a>, Error> {
        self.checkpoint.tensor(role).ok_or_else(|| missing(role))
    }

    fn advance(&mut self, stored_bytes: u64) -> Result<(), Error> {
        self.bytes_done += stored_bytes;
        self.bytes_in_flight += stored_bytes;
        if self.bytes_in_flight >= IN_FLIGHT_BYTES {
            self.flush()?;
        }
        let progress = Progress {
            bytes_done: self.bytes_done,
            bytes_total: self.bytes_total,
        };
        match (self.progress)(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }

    /// Lets the GPU take what was uploaded, so that the host can let go of it.
    fn flush(&mut self) -> Result<(), Error> {
        self.gpu.submit(self.gpu.recorder())?;
        self.gpu.wait()?;
        self.bytes_in_flight = 0;
        Ok(())
    }

    fn finish(self) -> Loaded {
        let total_of = |format| {
            let of_format = self.bytes_held.iter().filter(|held| held.0 == format);
            of_format.map(|held| held.1).sum::<u64>()
        };
        let formats = self.bytes_held.iter().map(|held| held.0);
        Loaded {
            format: formats
                .max_by_key(|&format| total_of(format))
                .unwrap_or(WeightFormat::F32),
            weight_bytes: self.bytes_held.iter().map(|held| held.1).sum(),
            held_otherwise: self.held_otherwise,
        }
    }
}

/// A range in pieces of at most `at_once`.
fn pieces(rows: &Range<usize>, at_once: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    let end = rows.end;
    let starts = rows.clone().step_by(at_once);
    starts.map(move |start| start..end.min(start + at_once))
}

fn missing(role: TensorRole) -> Error {
    Error::MissingTensor {
        tensor: format!("{role:?}"),
    }
}

/// Buffers for one piece, kept between pieces.
#[derive(Default)]
struct Staging {
    floats: Vec<f32>,
    halves: Vec<f16>,
    blocks: Vec<u8>,
}

impl Staging {
    /// Rows in the layout that a matrix of `format` takes, borrowed where the file has it; `None` where a weight is too
    /// large for it.
    fn rows<'s>(
        &'s mut self,
        view: &TensorView<'s>,
        rows: Range<usize>,
        format: WeightFormat,
    ) -> Option<Cow<'s, [u8]>> {
        if view.dtype() == stored_as(format) {
            return Some(view.rows(rows));
        }
        self.convert(view, rows, format).map(Cow::Borrowed)
    }

    /// Rows in the layout that a matrix of `format` takes, or `None` where a weight is too large for it.
    /// Little-endian, as every host that wgpu has a GPU on.
    fn convert(
        &mut self,
        view: &TensorView<'_>,
        rows: Range<usize>,
        format: WeightFormat,
    ) -> Option<&[u8]> {
        view.rows_f32(rows, &mut self.floats);
        // NaN and infinities are the file's own, and pass: `inspect --check` names them.
        let finite = self.floats.iter().copied().filter(|w| w.is_finite());
        let largest = finite.fold(0.0, |largest: f32, weight| largest.max(weight.abs()));
        if largest > largest_weight(format) {
            return None;
        }
        Some(match format {
            WeightFormat::F32 => bytemuck::cast_slice(&self.floats),
            WeightFormat::F16 => {
                self.halves.resize(self.floats.len(), f16::ZERO);
                self.halves.convert_from_f32_slice(&self.floats);
                bytemuck::cast_slice(&self.halves)
            }
            WeightFormat::Q8_0 => {
                quant::quantize_q8_0(&self.floats, &mut self.blocks);
                &self.blocks
            }
            WeightFormat::Q4_0 => {
                quant::quantize_q4_0(&self.floats, &mut self.blocks);
                &self.blocks
            }
        })
    }
}

/// The largest magnitude that a format holds; a block's scale is an f16.
fn largest_weight(format: WeightFormat) -> f32 {
    let half = f16::MAX.to_f32();
    match format {
        WeightFormat::F32 => f32::MAX,
        WeightFormat::F16 => half,
        WeightFormat::Q8_0 => 127.0 * half,
        WeightFormat::Q4_0 => 8.0 * half,
    }
}
