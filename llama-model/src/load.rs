//! From a checkpoint to weights on the GPU: joined, converted where the format differs, through one ring of buffers.
//! Several devices are filled one after the other. Layers that are streamed go the same way and end in host memory.
//!
//! Every matrix of a device is allocated first. Then workers fill the ring's buffers, piece by piece, while the GPU copies from those
//! that are full: reading, converting and copying go on at once, and the host holds the ring and little else.

use std::any::Any;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use llama_kernels::{Gpu, Section, Stage, Tensor, Upload, WeightFormat, WeightMatrix, padded};
use llama_weights::{Checkpoint, LayerPart, TensorRole, TensorView};

use crate::Error;
use crate::columns::{self, Orders};
use crate::convert::Converter;
use crate::holding::{HeldOtherwise, HeldReason, WeightChoice, hold, reason};
use crate::matrices::{self, MatrixPlan, Rows};
use crate::memory::matrix_bytes;
use crate::model::{HeadWeights, LayerWeights, Loaded, Progress, StageWeights};
use crate::pieces::{Bounds, Piece, Segment, pieces};
use crate::placement::Span;
use crate::stream::{self, HostMatrix, Pieces, Slots, Stream};

/// Bytes of one buffer of the ring, which holds two rows at least.
const STAGE_BYTES: usize = 8 << 20;
/// Buffers of the ring besides those that workers fill: one waits, two are copied from.
const SPARE_STAGES: usize = 3;
/// Threads that convert at most: eight do 10 GB/s, which is what disks and buses give.
const MAX_WORKERS: usize = 8;

/// Puts every weight where its part of the placement has it; see [`crate::Model::load`].
pub(crate) fn load(
    parts: Vec<(Gpu, Span)>,
    checkpoint: &Checkpoint,
    choice: WeightChoice,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Vec<StageWeights>, Loaded), Error> {
    let h = checkpoint.hyperparameters();
    let mut tally = Tally {
        bytes_total: checkpoint.weight_bytes(),
        ..Tally::default()
    };
    if parts.len() > 1 && h.tied_embeddings {
        // It is the first device's embedding and the last one's output.
        let embedding = checkpoint.tensor(TensorRole::Embedding);
        tally.bytes_total += embedding.map_or(0, |view| view.n_bytes());
    }
    let mut stages = Vec::with_capacity(parts.len());
    for (gpu, span) in &parts {
        let mut loader = Loader {
            gpu,
            span,
            checkpoint,
            progress,
            tally: &mut tally,
            slots: Slots::default(),
            held: Vec::new(),
        };
        for (index, plan) in matrices::of_span(h, span).enumerate() {
            let held = loader.empty(index, plan, choice)?;
            loader.held.push(held);
        }
        let all: Vec<usize> = (0..loader.held.len()).collect();
        // Rare: found while converting, so that the usual file is read once. f32 holds everything.
        let beyond_range = loader.fill(&all)?;
        for &index in &beyond_range {
            loader.widen(index)?;
        }
        loader.fill(&beyond_range)?;
        stages.push(loader.finish()?);
    }
    Ok((stages, tally.loaded()))
}

/// The loader of one device's weights, and of those that are streamed to it.
struct Loader<'a> {
    gpu: &'a Gpu,
    span: &'a Span,
    checkpoint: &'a Checkpoint,
    progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    tally: &'a mut Tally,
    /// Where streamed layers go.
    slots: Slots,
    /// Every matrix, in the order of [`matrices::of_span`].
    held: Vec<Held<'a>>,
}

/// A matrix on the GPU, and what it is to hold.
struct Held<'a> {
    plan: MatrixPlan,
    matrix: WeightMatrix,
    /// Of a streamed layer: its values, of which the matrix is the slot.
    host: Option<Pieces>,
    /// The order of its columns, where it is not the model's own.
    order: Option<&'a [u32]>,
    /// Why it is in another format than was asked for.
    reason: Option<HeldReason>,
}

/// What was done so far, on all devices.
#[derive(Default)]
struct Tally {
    bytes_done: u64,
    bytes_total: u64,
    bytes_held: Vec<(WeightFormat, u64)>,
    held_otherwise: Vec<HeldOtherwise>,
}

/// A piece for a worker to fill.
struct Job<'a> {
    /// The matrix's index.
    index: usize,
    first_row: usize,
    stored_bytes: u64,
    parts: Vec<(TensorView<'a>, Segment)>,
    stage: Stage,
}

/// A piece that a worker is done with.
struct Done {
    index: usize,
    first_row: usize,
    stored_bytes: u64,
    stage: Stage,
    /// False where a weight is beyond the format's range.
    fits: bool,
}

type Outcome = Result<Done, Box<dyn Any + Send>>;

impl<'a> Loader<'a> {
    /// A matrix without its values, in the wanted format or the one that rows of this length can have.
    fn empty(
        &mut self,
        index: usize,
        plan: MatrixPlan,
        choice: WeightChoice,
    ) -> Result<Held<'a>, Error> {
        let stored = plan.stored(|role| Ok::<_, Error>(self.view(role)?.dtype()))?;
        let roles = plan.parts.iter().flat_map(Rows::roles);
        let views: Vec<_> = roles
            .map(|role| self.view(role))
            .collect::<Result<_, _>>()?;
        let held = hold(choice, &stored, plan.columns);
        let changed: Vec<_> = views.iter().filter_map(TensorView::merged_from).collect();
        let (sections, found, order) = columns::in_one_order(held, views);
        let reason = reason(choice, found, &changed);
        let (matrix, host) = self.place(index, &plan, &sections)?;
        Ok(Held {
            plan,
            matrix,
            host,
            order,
            reason,
        })
    }

    /// Memory for a matrix, counted among those of the device: its own, or a slot, and then a place on the host.
    fn place(
        &mut self,
        index: usize,
        plan: &MatrixPlan,
        sections: &[Section],
    ) -> Result<(WeightMatrix, Option<Pieces>), Error> {
        let streamed = self.span.streamed_matrix(index);
        let Some((layer, kind)) = streamed else {
            let matrix = WeightMatrix::of_sections(self.gpu, &plan.name, sections, plan.columns)?;
            return Ok((matrix, None));
        };
        let slot = self.slots.matrix(self.gpu, layer, kind, sections, plan)?;
        Ok((slot, Some(Vec::new())))
    }

    /// Begins a matrix again in f32.
    fn widen(&mut self, index: usize) -> Result<(), Error> {
        let plan = self.held[index].plan.clone();
        let rows = plan.rows();
        let whole = Bounds {
            end: rows,
            at_once: rows.max(2),
        };
        self.tally.bytes_done -= self.stored_bytes(&pieces(&plan, &[whole]))?;
        let format = WeightFormat::F32;
        let (matrix, host) = self.place(index, &plan, &[Section { format, rows }])?;
        self.held[index] = Held {
            plan,
            matrix,
            host,
            order: None,
            reason: Some(HeldReason::BeyondRange),
        };
        Ok(())
    }

    /// Fills matrices, and gives those that hold a weight beyond their format's range.
    fn fill(&mut self, wanted: &[usize]) -> Result<Vec<usize>, Error> {
        let row_bytes = |index: &usize| {
            let Held { plan, matrix, .. } = &self.held[*index];
            let pieces = matrix.pieces().iter();
            let rows = pieces.map(|piece| matrix_bytes(piece.format(), 1, plan.columns) as usize);
            rows.max()
        };
        let Some(longest_row) = wanted.iter().filter_map(row_bytes).max() else {
            return Ok(Vec::new());
        };
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let workers = workers.min(MAX_WORKERS);
        let stage_bytes = STAGE_BYTES.max(2 * longest_row);
        let mut upload = self.gpu.upload(workers + SPARE_STAGES, stage_bytes)?;
        let (jobs, taken) = channel();
        let taken = Mutex::new(taken);
        let (told, outcomes) = channel();
        let failed = thread::scope(|scope| {
            for _ in 0..workers {
                let (taken, told) = (&taken, told.clone());
                scope.spawn(move || work(taken, &told));
            }
            // Gone when this is left, by an error too: then the workers end.
            let jobs = jobs;
            self.stream(wanted, &mut upload, workers, &jobs, &outcomes)
        })?;
        upload.finish()?;
        Ok(failed.into_iter().collect())
    }

    /// Hands out what is to be filled, as long as there are buffers for it, and sends on what was filled.
    fn stream(
        &mut self,
        wanted: &[usize],
        upload: &mut Upload,
        workers: usize,
        jobs: &Sender<Job<'a>>,
        outcomes: &Receiver<Outcome>,
    ) -> Result<BTreeSet<usize>, Error> {
        let mut failed = BTreeSet::new();
        let mut being_filled = 0;
        let mut waiting = Waiting::new(wanted);
        loop {
            while let Some((index, piece)) = waiting.next(&self.held, upload) {
                let Held { matrix, host, .. } = &self.held[index];
                let stage = match host {
                    None => upload.stage(matrix, piece.first_row, piece.rows)?,
                    Some(_) if being_filled > workers => None,
                    Some(_) => matrix
                        .format_at(piece.first_row)
                        .map(|format| Stage::in_host_memory(format, matrix.columns(), piece.rows)),
                };
                let Some(stage) = stage else {
                    waiting.put_back(index, piece);
                    break;
                };
                // Workers end after this only.
                let _ = jobs.send(self.job(index, piece, stage)?);
                being_filled += 1;
            }
            if being_filled == 0 {
                if waiting.is_empty() {
                    return Ok(failed);
                }
                upload.wait()?;
                continue;
            }
            let Ok(outcome) = outcomes.recv() else {
                return Ok(failed); // Impossible: this side holds a sender's copy.
            };
            being_filled -= 1;
            let done = outcome.unwrap_or_else(|panic| resume_unwind(panic));
            let Held { matrix, host, .. } = &mut self.held[done.index];
            match (done.fits, host) {
                (true, None) => upload.send(done.stage, matrix, done.first_row)?,
                (true, Some(host)) => {
                    let rows = done.stage.into_host_rows();
                    host.extend(rows.map(|rows| (done.first_row, rows)));
                }
                (false, _) => {
                    upload.give_back(done.stage);
                    failed.insert(done.index);
                }
            }
            self.advance(done.stored_bytes)?;
        }
    }

    fn job(&self, index: usize, piece: Piece, stage: Stage) -> Result<Job<'a>, Error> {
        let stored_bytes = self.stored_bytes(std::slice::from_ref(&piece))?;
        let parts = (piece.segments.into_iter())
            .map(|segment| Ok((self.view(segment.role)?, segment)))
            .collect::<Result<_, Error>>()?;
        Ok(Job {
            index,
            first_row: piece.first_row,
            stored_bytes,
            parts,
            stage,
        })
    }

    /// Bytes that the file has of these rows.
    fn stored_bytes(&self, pieces: &[Piece]) -> Result<u64, Error> {
        let segments = pieces.iter().flat_map(|piece| &piece.segments);
        let bytes = segments.map(|segment| {
            let row = self.view(segment.role)?.row_bytes();
            Ok((segment.rows.len() * row) as u64)
        });
        bytes.sum()
    }

    fn finish(mut self) -> Result<StageWeights, Error> {
        let h = self.checkpoint.hyperparameters();
        let mut streamed = Vec::new();
        let mut matrices = Vec::new();
        for held in std::mem::take(&mut self.held) {
            self.tally.add(&held, self.span);
            let matrix = held.matrix;
            streamed.extend(held.host.map(|pieces| HostMatrix {
                matrix: matrix.clone(),
                pieces,
            }));
            matrices.push((matrix, held.order));
        }
        let mut matrices = matrices.into_iter();
        // In the order of `matrices::of_span`.
        let mut next = || matrices.next().ok_or_else(|| missing(TensorRole::Output));
        let embedding = self.span.is_first.then(&mut next).transpose()?;
        let embedding = embedding.map(|(matrix, _)| matrix);
        let layers = (self.span.layers.clone())
            .map(|index| self.layer(index, [next()?, next()?, next()?, next()?]))
            .collect::<Result<_, _>>()?;
        let whole = Rows::Of(TensorRole::OutputNorm, 0..h.hidden_size);
        let head = match self.span.is_last {
            true => {
                let own = || embedding.clone().map(|matrix| (matrix, None));
                let (output, order) = next().or_else(|missing| own().ok_or(missing))?;
                Some(HeadWeights {
                    norm: self.vector("output norm", &[whole], order)?,
                    output,
                    order: self.order(h.n_layers, order)?,
                })
            }
            false => None,
        };
        let stream = match streamed.is_empty() {
            true => None,
            false => Some(Stream::new(self.gpu, streamed)?),
        };
        // What was given to the queue is taken.
        self.gpu.submit(self.gpu.recorder())?;
        self.gpu.wait()?;
        Ok(StageWeights {
            gpu: self.gpu.clone(),
            span: self.span.clone(),
            embedding,
            layers,
            head,
            stream,
        })
    }

    fn layer(
        &mut self,
        index: usize,
        [qkv, attention_output, gate_up, down]: [(WeightMatrix, Option<&[u32]>); 4],
    ) -> Result<LayerWeights, Error> {
        let role = |part| TensorRole::Layer { index, part };
        let h = self.checkpoint.hyperparameters();
        let (attention_bias, mlp_bias) = (h.attention_bias, h.mlp_bias);
        let whole = |part| vec![Rows::Of(role(part), 0..h.hidden_size)];
        let mut bias = |present: bool, parts: Vec<Rows>| {
            present
                .then(|| self.vector(&format!("layer {index} bias"), &parts, None))
                .transpose()
        };
        Ok(LayerWeights {
            qkv_bias: bias(attention_bias, matrices::qkv_bias(h, index))?,
            attention_output_bias: bias(attention_bias, whole(LayerPart::AttentionOutputBias))?,
            gate_up_bias: bias(mlp_bias, matrices::gate_up_bias(h, index))?,
            down_bias: bias(mlp_bias, whole(LayerPart::DownBias))?,
            attention_norm: self.vector(
                &format!("layer {index} attention norm"),
                &whole(LayerPart::AttentionNorm),
                qkv.1,
            )?,
            ffn_norm: self.vector(
                &format!("layer {index} ffn norm"),
                &whole(LayerPart::FfnNorm),
                gate_up.1,
            )?,
            orders: Orders {
                qkv: self.order(index, qkv.1)?,
                attention_output: self.order(index, attention_output.1)?,
                gate_up: self.order(index, gate_up.1)?,
                down: self.order(index, down.1)?,
            },
            qkv: qkv.0,
            attention_output: attention_output.0,
            gate_up: gate_up.0,
            down: down.0,
        })
    }

    /// The order of a matrix's columns on the GPU.
    fn order(&mut self, layer: usize, order: Option<&[u32]>) -> Result<Option<Tensor>, Error> {
        let Some(order) = order else {
            return Ok(None);
        };
        let held = 4 * order.len() as u64;
        self.tally.bytes_held.push((WeightFormat::F32, held));
        columns::upload(self.gpu, &format!("layer {layer} order"), order).map(Some)
    }

    /// Elements of one-dimensional tensors, arranged as said and then in an order, in f32: `[1, length]`.
    fn vector(
        &mut self,
        label: &str,
        parts: &[Rows],
        order: Option<&[u32]>,
    ) -> Result<Tensor, Error> {
        let mut joined = Vec::new();
        let mut stored_bytes = 0;
        for part in parts {
            match part {
                Rows::Of(role, range) => {
                    joined.extend_from_slice(&self.floats(*role)?[range.clone()]);
                }
                Rows::Alternating([(first, firsts), (second, seconds)]) => {
                    let (first, second) = (self.floats(*first)?, self.floats(*second)?);
                    let both = first[firsts.clone()].iter().zip(&second[seconds.clone()]);
                    joined.extend(both.flat_map(|(a, b)| [*a, *b]));
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
        let joined = columns::arranged(joined, order);
        let tensor = self.gpu.tensor(label, 1, joined.len())?;
        self.gpu.write_f32(&tensor, 0, &joined)?;
        let held = 4 * padded(joined.len()) as u64;
        self.tally.bytes_held.push((WeightFormat::F32, held));
        self.advance(stored_bytes)?;
        Ok(tensor)
    }

    /// A whole one-dimensional tensor in f32.
    fn floats(&self, role: TensorRole) -> Result<Vec<f32>, Error> {
        let view = self.view(role)?;
        let mut floats = Vec::new();
        view.rows_f32(0..view.n_rows(), &mut floats);
        Ok(floats)
    }

    fn view(&self, role: TensorRole) -> Result<TensorView<'a>, Error> {
        self.checkpoint.tensor(role).ok_or_else(|| missing(role))
    }

    fn advance(&mut self, stored_bytes: u64) -> Result<(), Error> {
        self.tally.bytes_done += stored_bytes;
        let progress = Progress {
            bytes_done: self.tally.bytes_done,
            bytes_total: self.tally.bytes_total,
        };
        match (self.progress)(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }
}

impl Tally {
    /// Counts a matrix, but no copy of one.
    fn add(&mut self, held: &Held<'_>, span: &Span) {
        let Held {
            plan,
            matrix,
            reason,
            ..
        } = held;
        let role = plan.parts.iter().flat_map(Rows::roles).next();
        if role == Some(TensorRole::Embedding) && !span.is_first {
            return;
        }
        for piece in matrix.pieces() {
            let format = piece.format();
            let bytes = matrix_bytes(format, piece.rows(), plan.columns);
            self.bytes_held.push((format, bytes));
        }
        // What is held otherwise is held in one format, but for what adapters change.
        let format = matrix.format_at(0).unwrap_or(WeightFormat::F16);
        self.held_otherwise
            .extend(reason.map(|reason| HeldOtherwise::new(plan.name.clone(), format, reason)));
    }

    fn loaded(self) -> Loaded {
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

/// The pieces that are still to be handed out, made matrix by matrix.
struct Waiting<'a> {
    matrices: std::slice::Iter<'a, usize>,
    /// Of one matrix, the next one last.
    pieces: Vec<(usize, Piece)>,
}

impl<'a> Waiting<'a> {
    fn new(matrices: &'a [usize]) -> Self {
        Self {
            matrices: matrices.iter(),
            pieces: Vec::new(),
        }
    }

    fn next(&mut self, held: &[Held<'_>], upload: &Upload) -> Option<(usize, Piece)> {
        while self.pieces.is_empty() {
            let index = *self.matrices.next()?;
            let Held {
                plan, matrix, host, ..
            } = &held[index];
            let at_once = |format| match host {
                None => upload.rows_at_once(format, plan.columns),
                Some(_) => stream::rows_at_once(format, plan.columns),
            };
            let bounds: Vec<Bounds> = (matrix.pieces().iter())
                .map(|piece| Bounds {
                    end: matrix.format_end(piece.first_row()),
                    at_once: at_once(piece.format()),
                })
                .collect();
            let pieces = pieces(plan, &bounds).into_iter().rev();
            self.pieces = pieces.map(|piece| (index, piece)).collect();
        }
        self.pieces.pop()
    }

    fn put_back(&mut self, index: usize, piece: Piece) {
        self.pieces.push((index, piece));
    }

    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.matrices.len() == 0
    }
}

/// A worker: fills pieces until there are no more.
fn work(jobs: &Mutex<Receiver<Job<'_>>>, told: &Sender<Outcome>) {
    let mut converter = Converter::default();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else {
            return;
        };
        // A panic is the loader's: it would wait for this piece otherwise.
        let outcome = catch_unwind(AssertUnwindSafe(|| job.fill(&mut converter)));
        if told.send(outcome).is_err() {
            return;
        }
    }
}

impl Job<'_> {
    fn fill(self, converter: &mut Converter) -> Done {
        let Self {
            index,
            first_row,
            stored_bytes,
            parts,
            mut stage,
        } = self;
        let fits = (parts.into_iter())
            .all(|(view, segment)| converter.put(&view, segment.rows, &mut stage, segment.place));
        Done {
            index,
            first_row,
            stored_bytes,
            stage,
            fits,
        }
    }
}

fn missing(role: TensorRole) -> Error {
    Error::MissingTensor {
        tensor: format!("{role:?}"),
    }
}
