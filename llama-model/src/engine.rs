//! Runs rows of sequences through the model: pages, positions and angles of each row, then the step.
//!
//! It knows sequences as lists of tokens; what they are for is the business of `Session` and `Batch`.

use std::ops::ControlFlow;

use llama_kernels::{
    Bridge, Gpu, KvFormat, NO_TOKEN, ReadBehind, Recorder, StepLayout, StepRow, TokenSource, padded,
};
use llama_weights::Hyperparameters;

use crate::Error;
use crate::forward::Choice;
use crate::memory::{self, PAGE_SIZE};
use crate::model::{Model, SessionOptions};
use crate::pages::{PagePool, PageTable};
use crate::rope::Rope;
use crate::scratch::ScratchShape;
use crate::stage::Stage;

/// Steps of [`Engine::step_ahead`] under way at most: while the host looks at what the one before
/// chose, one runs. A third would only lengthen what is computed in vain behind an end.
const STEPS_AHEAD: usize = 2;

/// The GPU side of one session or batch: everything is allocated when it is made.
pub(crate) struct Engine {
    // Before the model, so that they are dropped before its weights.
    /// In the order of the layers, at least one; the last one chooses tokens.
    stages: Vec<Stage>,
    /// From each stage to the next.
    bridges: Vec<Bridge>,
    shape: ScratchShape,
    kv_format: KvFormat,
    context: usize,
    sequences: Vec<Sequence>,
    pool: PagePool,
    rope: Rope,
    /// What steps ahead chose, on its way back.
    behind: ReadBehind,
    /// Host side of the step, kept between steps.
    step_rows: Vec<StepRow>,
    angles: Vec<f32>,
    model: Model,
}

#[derive(Default)]
struct Sequence {
    /// What the cache holds.
    tokens: Vec<u32>,
    /// Positions behind those, written by steps ahead, whose tokens the host has not settled.
    ahead: usize,
    pages: PageTable,
}

/// A token to be appended to a sequence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) sequence: usize,
    pub(crate) token: u32,
    /// Length of the sequence with all of the prompt that the token belongs to; see [`Rope::append`].
    pub(crate) length: usize,
    pub(crate) wants_logits: bool,
}

impl Engine {
    pub(crate) fn new(
        model: &Model,
        options: &SessionOptions,
        n_sequences: usize,
    ) -> Result<Self, Error> {
        let h = model.hyperparameters();
        let context = options.context;
        if context == 0 {
            return Err(Error::NoContext);
        }
        let kv_format = options.kv.format(model.weight_choice());
        for gpu in model.gpus() {
            check_kv_size(gpu, h, kv_format, context, n_sequences)?;
        }
        let shape = ScratchShape::new(h, options.chunk, context, n_sequences);
        let pages_per_sequence = context.div_ceil(PAGE_SIZE);
        let layout = StepLayout {
            max_rows: shape.rows,
            max_sequences: n_sequences,
            pages_per_sequence,
            page_size: PAGE_SIZE,
            rope_pairs: h.head_dim / 2,
        };
        let stages = (model.stages().iter().enumerate())
            .map(|stage| Stage::new(h, stage, shape, layout, kv_format))
            .collect::<Result<Vec<_>, _>>()?;
        let bridges = (stages.iter().zip(&stages[1..]))
            .map(|(from, to)| Bridge::new(from.gpu(), to.gpu(), shape.rows, h.hidden_size))
            .collect::<Result<_, _>>()?;
        let gpu = last(&stages).gpu();
        gpu.reserve_read_back(4 * (shape.logit_rows * padded(h.vocab_size)) as u64)?;
        Ok(Self {
            behind: gpu.read_behind("chosen, read back", 1, STEPS_AHEAD)?,
            stages,
            bridges,
            shape,
            kv_format,
            context,
            sequences: (0..n_sequences).map(|_| Sequence::default()).collect(),
            // The cache's buffers were made, so its pages are far fewer than 2^32.
            pool: PagePool::new((n_sequences * pages_per_sequence) as u32, PAGE_SIZE),
            rope: Rope::new(h),
            step_rows: Vec::with_capacity(shape.rows),
            angles: Vec::with_capacity(shape.rows * h.head_dim),
            model: model.clone(),
        })
    }

    /// Refuses tokens that cannot stand behind `position` others.
    pub(crate) fn check(&self, position: usize, tokens: &[u32]) -> Result<(), Error> {
        let context = self.context;
        let vocab_size = self.model.hyperparameters().vocab_size;
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if tokens.len() > context - position {
            return Err(Error::ContextFull {
                tokens: tokens.len(),
                position,
                context,
            });
        }
        match tokens.iter().find(|&&token| token as usize >= vocab_size) {
            Some(&token) => Err(Error::TokenOutOfRange { token, vocab_size }),
            None => Ok(()),
        }
    }

    /// Appends checked rows to their sequences, in as many steps as their number asks for. `on_logits` gets
    /// the index in `rows` and the logits of each row that wants them, in order; `on_step` how many
    /// rows are done. After an error, some of the rows are appended.
    pub(crate) fn feed(
        &mut self,
        rows: &[Row],
        on_logits: &mut dyn FnMut(usize, &[f32]) -> ControlFlow<()>,
        on_step: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.forget_ahead();
        let mut done = 0;
        while done < rows.len() {
            let rows_of_step = &rows[done..done + self.step_length(&rows[done..])];
            let logits = self.run(rows_of_step)?;
            let wanting = rows_of_step.iter().enumerate().filter(|r| r.1.wants_logits);
            let vocab_size = self.model.hyperparameters().vocab_size;
            for ((i, _), logits) in wanting.zip(logits.chunks_exact(vocab_size)) {
                go_on(on_logits(done + i, logits))?;
            }
            done += rows_of_step.len();
            go_on(on_step(done))?;
        }
        Ok(())
    }

    /// Submits a step of one token behind all of a sequence, steps ahead included, that chooses the
    /// next on the GPU, where it is drawn by `draw`; waits for nothing. What it chose is
    /// [`Engine::fetch_ahead`]'s.
    pub(crate) fn step_ahead(
        &mut self,
        sequence: usize,
        token: TokenSource,
        choice: Choice,
        draw: u64,
    ) -> Result<(), Error> {
        if let (Choice::Drawn(rules), 0) = (choice, self.steps_ahead()) {
            let last = last(&self.stages);
            last.forward().set_rules(last.gpu(), sequence, &rules)?;
        }
        self.begin_step();
        let length = self.sequences[sequence].length() + 1;
        self.place(sequence, token, length, true)?;
        if let Some(row) = self.step_rows.last_mut() {
            row.draw = draw;
        }
        let recorder = self.record(choice)?;
        let last = last(&self.stages);
        self.behind.submit(last.gpu(), recorder, last.chosen(), 1)?;
        self.sequences[sequence].ahead += 1;
        Ok(())
    }

    /// Waits for the oldest step ahead, gives what it chose, and settles what it was fed: `token`.
    pub(crate) fn fetch_ahead(&mut self, sequence: usize, token: u32) -> Result<u32, Error> {
        let chosen = self.behind.fetch(last(&self.stages).gpu())?;
        let chosen = chosen.first().copied();
        let sequence = &mut self.sequences[sequence];
        sequence.tokens.push(token);
        sequence.ahead -= 1;
        Ok(chosen.unwrap_or(NO_TOKEN))
    }

    /// How many steps may run ahead. With several devices one: what it chooses has to pass through the host on its way to the
    /// device that embeds it.
    pub(crate) fn steps_ahead_at_most(&self) -> usize {
        match self.stages.len() {
            1 => STEPS_AHEAD,
            _ => 1,
        }
    }

    /// How many steps ahead are under way.
    pub(crate) fn steps_ahead(&self) -> usize {
        self.behind.under_way()
    }

    /// Cuts every sequence back to its settled tokens. Steps ahead that still run write where
    /// nothing is read before it is written anew.
    pub(crate) fn forget_ahead(&mut self) {
        self.behind.forget();
        for sequence in self.sequences.iter_mut().filter(|s| s.ahead > 0) {
            sequence.ahead = 0;
            let position = sequence.tokens.len();
            sequence.pages.truncate(&mut self.pool, position);
        }
    }

    /// Forgets what a sequence holds from `position` on.
    pub(crate) fn truncate(&mut self, sequence: usize, position: usize) {
        self.forget_ahead();
        let sequence = &mut self.sequences[sequence];
        sequence.tokens.truncate(position);
        sequence.pages.truncate(&mut self.pool, position);
    }

    pub(crate) fn tokens(&self, sequence: usize) -> &[u32] {
        &self.sequences[sequence].tokens
    }

    pub(crate) fn n_sequences(&self) -> usize {
        self.sequences.len()
    }

    pub(crate) fn context(&self) -> usize {
        self.context
    }

    pub(crate) fn kv_format(&self) -> KvFormat {
        self.kv_format
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// How many of `rows` go into the next step.
    fn step_length(&self, rows: &[Row]) -> usize {
        let mut logit_rows = 0;
        let fitting = rows.iter().take(self.shape.rows).take_while(|row| {
            logit_rows += usize::from(row.wants_logits);
            logit_rows <= self.shape.logit_rows
        });
        fitting.count()
    }

    /// One step: the logits of the rows that want them, end to end.
    fn run(&mut self, rows: &[Row]) -> Result<Vec<f32>, Error> {
        self.begin_step();
        for row in rows {
            let token = TokenSource::Id(row.token);
            self.place(row.sequence, token, row.length, row.wants_logits)?;
            self.sequences[row.sequence].tokens.push(row.token);
        }
        let recorder = self.record(Choice::OnHost)?;
        let last = last(&self.stages);
        let gpu = last.gpu();
        gpu.submit(recorder)?;
        let logit_rows = rows.iter().filter(|row| row.wants_logits).count();
        match last.logits() {
            Some(logits) if logit_rows > 0 => Ok(gpu.read_f32(logits, 0..logit_rows)?),
            _ => {
                // Progress is then of work done, and cancelling leaves no queue of steps behind.
                gpu.wait()?;
                Ok(Vec::new())
            }
        }
    }

    fn begin_step(&mut self) {
        self.step_rows.clear();
        self.angles.clear();
    }

    /// Adds a row to the step: a token behind all that its sequence has, and a page for it.
    fn place(
        &mut self,
        sequence: usize,
        token: TokenSource,
        length: usize,
        wants_logits: bool,
    ) -> Result<(), Error> {
        let of = &mut self.sequences[sequence];
        let position = of.length();
        if position == self.context || !of.pages.reserve(&mut self.pool, position + 1) {
            return Err(Error::ContextFull {
                tokens: 1,
                position,
                context: self.context,
            });
        }
        self.rope.append(position, length, &mut self.angles);
        self.step_rows.push(StepRow {
            token,
            // Below the context, whose pages were numbered in u32.
            position: position as u32,
            sequence: sequence as u32,
            wants_logits,
            draw: 0,
        });
        Ok(())
    }

    /// Runs the step that was begun through all stages but the last, whose commands it records.
    fn record(&mut self, choice: Choice) -> Result<Recorder, Error> {
        let tables: Vec<&[u32]> = self.sequences.iter().map(|s| s.pages.pages()).collect();
        let (rows, angles) = (&self.step_rows, &self.angles);
        let record = |stage: &Stage| stage.record(&self.model, rows, &tables, angles, choice);
        let pairs = self.stages.iter().zip(&self.stages[1..]);
        for ((from, to), bridge) in pairs.zip(&mut self.bridges) {
            let recorder = record(from)?;
            bridge.cross(recorder, from.residual(), to.residual(), rows.len())?;
        }
        record(last(&self.stages))
    }
}

/// The stage that chooses tokens. A placement without any was refused.
fn last(stages: &[Stage]) -> &Stage {
    &stages[stages.len() - 1]
}

impl Sequence {
    /// Positions that are taken.
    fn length(&self) -> usize {
        self.tokens.len() + self.ahead
    }
}

fn go_on(flow: ControlFlow<()>) -> Result<(), Error> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Cancelled),
    }
}

/// Refuses a cache that the adapter cannot hold, before any of it is allocated.
fn check_kv_size(
    gpu: &Gpu,
    h: &Hyperparameters,
    format: KvFormat,
    context: usize,
    n_sequences: usize,
) -> Result<(), Error> {
    const GIB: f64 = (1u64 << 30) as f64;
    const MIB: f64 = (1u64 << 20) as f64;
    let limit = gpu.capabilities().limits.binding_bytes;
    let sequences = n_sequences as u64;
    let buffer = memory::kv_buffer_bytes(h, format, context).saturating_mul(sequences);
    if buffer <= limit {
        return Ok(());
    }
    let per_page = memory::kv_row_bytes(h, format) * PAGE_SIZE as u64;
    let half_would_do = memory::kv_buffer_bytes(h, KvFormat::F16, context) <= limit / sequences;
    Err(Error::KvTooLarge {
        context,
        needed_gib: memory::kv_bytes(h, format, context) as f64 * sequences as f64 / GIB,
        layer_mib: buffer as f64 / MIB,
        buffers: 2 * h.n_layers,
        limit_mib: limit as f64 / MIB,
        possible: (limit / per_page / sequences) as usize * PAGE_SIZE,
        f16_hint: match half_would_do {
            true => ", or for a cache in f16",
            false => "",
        },
    })
}
