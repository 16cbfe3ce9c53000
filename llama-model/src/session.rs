//! One sequence and its KV cache: what was said so far, and the logits of what may follow.

use std::ops::ControlFlow;

use llama_kernels::{KvFormat, TokenSource};

use crate::engine::{Engine, Row};
use crate::forward::Choice;
use crate::memory;
use crate::random::Random;
use crate::{Error, Generation, GenerationOptions, Model, Sampler};

/// A sequence that grows token by token and can be cut back. Made by [`Model::session`].
///
/// After an error (a cancelled prefill too) it holds what it held before the call; where computing
/// had begun, [`Session::logits`] are gone.
pub struct Session {
    engine: Engine,
    /// Of the last token fed, `[vocab_size]`; empty where there are none.
    logits: Vec<f32>,
}

/// The only sequence of the session's engine.
const SEQUENCE: usize = 0;

impl Session {
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            engine,
            logits: Vec::new(),
        }
    }

    /// Appends a prompt, or more of one, and gives the logits after its last token, `[vocab_size]`.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::ContextFull`], [`Error::TokenOutOfRange`] before anything is
    /// computed; [`Error::Gpu`].
    pub fn prefill(&mut self, tokens: &[u32]) -> Result<&[f32], Error> {
        self.prefill_with(tokens, &mut |_, _| ControlFlow::Continue(()))
    }

    /// As [`Session::prefill`]; `on_chunk` is told after each chunk how many of the tokens are done,
    /// and of how many.
    ///
    /// # Errors
    /// As [`Session::prefill`], and [`Error::Cancelled`] where `on_chunk` breaks.
    pub fn prefill_with(
        &mut self,
        tokens: &[u32],
        on_chunk: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<&[f32], Error> {
        self.engine.check(self.position(), tokens)?;
        let mut logits = std::mem::take(&mut self.logits);
        let mut keep = |_: usize, last: &[f32]| {
            logits.clear();
            logits.extend_from_slice(last);
            ControlFlow::Continue(())
        };
        let last = tokens.len() - 1;
        self.append(tokens, &|index| index == last, &mut keep, on_chunk)?;
        self.logits = logits;
        Ok(&self.logits)
    }

    /// Appends one token and gives the logits after it, `[vocab_size]`.
    ///
    /// # Errors
    /// As [`Session::prefill`].
    pub fn decode(&mut self, token: u32) -> Result<&[f32], Error> {
        self.prefill(&[token])
    }

    /// Appends tokens and gives `on_logits` the index and the logits of every one, in order; for
    /// scoring a text. Breaking is [`Error::Cancelled`].
    ///
    /// # Errors
    /// As [`Session::prefill_with`].
    pub fn logits_of_all(
        &mut self,
        tokens: &[u32],
        on_logits: &mut dyn FnMut(usize, &[f32]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.engine.check(self.position(), tokens)?;
        let mut last = std::mem::take(&mut self.logits);
        let n_tokens = tokens.len();
        let mut keep_last = |index: usize, logits: &[f32]| {
            if index + 1 == n_tokens {
                last.clear();
                last.extend_from_slice(logits);
            }
            on_logits(index, logits)
        };
        let go_on = &mut |_, _| ControlFlow::Continue(());
        self.append(tokens, &|_| true, &mut keep_last, go_on)?;
        self.logits = last;
        Ok(())
    }

    /// Generates from where the session stands: from [`Session::logits`], so something must have
    /// been fed since it was made, cut back or generated from, or the first item is
    /// [`Error::NoLogits`].
    pub fn generate<'a>(
        &'a mut self,
        sampler: &'a mut Sampler,
        options: &GenerationOptions,
    ) -> Generation<'a> {
        Generation::new(self, sampler, options.clone())
    }

    /// The logits after the last token, `[vocab_size]`; `None` where nothing was fed since the
    /// session was made, cut back, or fed by a [`Generation`]: that chooses on the GPU, and what it
    /// chose by is not read.
    pub fn logits(&self) -> Option<&[f32]> {
        (!self.logits.is_empty()).then_some(&self.logits)
    }

    /// How many tokens the session holds.
    pub fn position(&self) -> usize {
        self.tokens().len()
    }

    /// How many tokens it can hold.
    pub fn context(&self) -> usize {
        self.engine.context()
    }

    /// The tokens that the session holds.
    pub fn tokens(&self) -> &[u32] {
        self.engine.tokens(SEQUENCE)
    }

    /// Forgets every token from `position` on; does nothing where there is none. Keys that stay
    /// keep the rotation they were cached with (see dynamic NTK scaling in the crate's documentation).
    pub fn truncate(&mut self, position: usize) {
        if position < self.position() {
            self.engine.truncate(SEQUENCE, position);
            self.logits.clear();
        }
    }

    /// Begins a [`Generation`]: what another one left running is forgotten.
    pub(crate) fn begin_generation(&mut self) {
        self.engine.forget_ahead();
    }

    /// Submits steps ahead until enough are under way, but no more than `wanted`. The first is fed
    /// `token`, each further one what the one before it chose; each draws by the next of `draws`.
    pub(crate) fn run_ahead(
        &mut self,
        token: u32,
        wanted: usize,
        choice: Choice,
        draws: &mut Random,
    ) -> Result<(), Error> {
        let wanted = wanted.min(self.engine.steps_ahead_at_most());
        while self.steps_ahead() < wanted {
            let source = match self.steps_ahead() {
                0 => TokenSource::Id(token),
                _ => TokenSource::Chosen(0),
            };
            let draw = match choice {
                Choice::Drawn(_) => draws.next_u64(),
                Choice::OnHost | Choice::Largest => 0,
            };
            self.engine.step_ahead(SEQUENCE, source, choice, draw)?;
        }
        Ok(())
    }

    /// How many steps ahead are under way.
    pub(crate) fn steps_ahead(&self) -> usize {
        self.engine.steps_ahead()
    }

    /// Waits for the oldest step ahead, which was fed `token`, and gives what it chose: the token,
    /// now held, is followed by that. [`NO_TOKEN`](llama_kernels::NO_TOKEN) where the logits are
    /// such that nothing can be chosen.
    pub(crate) fn settle(&mut self, token: u32) -> Result<u32, Error> {
        let chosen = self.engine.fetch_ahead(SEQUENCE, token)?;
        self.logits.clear();
        Ok(chosen)
    }

    /// [`Session::logits`] of a generation that chose by them.
    pub(crate) fn forget_logits(&mut self) {
        self.logits.clear();
    }

    /// How the KV cache is held.
    pub fn kv_format(&self) -> KvFormat {
        self.engine.kv_format()
    }

    /// GPU memory of the KV cache, in bytes.
    pub fn kv_bytes(&self) -> u64 {
        let h = self.model().hyperparameters();
        memory::kv_bytes(h, self.kv_format(), self.context())
    }

    /// The model that it talks to.
    pub fn model(&self) -> &Model {
        self.engine.model()
    }

    /// Appends checked tokens, all or none.
    fn append(
        &mut self,
        tokens: &[u32],
        wants_logits: &dyn Fn(usize) -> bool,
        on_logits: &mut dyn FnMut(usize, &[f32]) -> ControlFlow<()>,
        on_chunk: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let position = self.position();
        let row = |(index, &token)| Row {
            sequence: SEQUENCE,
            token,
            length: position + tokens.len(),
            wants_logits: wants_logits(index),
        };
        let rows: Vec<Row> = tokens.iter().enumerate().map(row).collect();
        let on_step = &mut |done| on_chunk(done, tokens.len());
        let fed = self.engine.feed(&rows, on_logits, on_step);
        if fed.is_err() {
            self.engine.truncate(SEQUENCE, position);
        }
        fed
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("position", &self.position())
            .field("context", &self.context())
            .field("kv_format", &self.kv_format())
            .finish_non_exhaustive()
    }
}
