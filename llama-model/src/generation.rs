//! Generation: an iterator of tokens, and why it ended.
//!
//! No text here: decoding is the tokenizer's business, stop strings are [`crate::StopStrings`]'.

use crate::{Error, Sampler, Session};

/// When a generation ends, apart from the end of the context.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GenerationOptions {
    /// How many tokens at most; `None` is no limit but the context.
    pub max_tokens: Option<usize>,
    /// Treats the model's end-of-sequence tokens as ordinary: they may be chosen and do not end it.
    pub ignore_eos: bool,
    /// Further tokens that end it; like an end of sequence, they are not given out.
    pub stop_ids: Vec<u32>,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// `max_tokens` were given, or the context is full.
    Length,
    /// The model chose an end-of-sequence token.
    Eos,
    /// A stop id was chosen, or [`Generation::stop`] was called: a stop string.
    Stop,
    /// [`Generation::cancel`] was called.
    Cancelled,
}

/// Gives one chosen token per call of `next`, until it ends; made by [`Session::generate`].
///
/// Prompt and tokens together never exceed the context. The last token given out is fed to the
/// model only when another one is asked for, so after the end the session may hold one less than
/// was given out. An error ends it.
#[derive(Debug)]
pub struct Generation<'a> {
    session: &'a mut Session,
    sampler: &'a mut Sampler,
    options: GenerationOptions,
    /// Given out, and not yet fed to the model.
    pending: Option<u32>,
    given: usize,
    finish: Option<FinishReason>,
    failed: bool,
}

impl<'a> Generation<'a> {
    pub(crate) fn new(
        session: &'a mut Session,
        sampler: &'a mut Sampler,
        options: GenerationOptions,
    ) -> Self {
        Self {
            session,
            sampler,
            options,
            pending: None,
            given: 0,
            finish: None,
            failed: false,
        }
    }

    /// Why it ended; `None` while it runs, and after an error.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish
    }

    /// Ends it because the text came to a stop string.
    pub fn stop(&mut self) {
        self.finish.get_or_insert(FinishReason::Stop);
    }

    /// Ends it because nobody wants more.
    pub fn cancel(&mut self) {
        self.finish.get_or_insert(FinishReason::Cancelled);
    }

    /// The next token, or `None` with `self.finish` set.
    fn advance(&mut self) -> Result<Option<u32>, Error> {
        let length = self.session.position() + usize::from(self.pending.is_some());
        if self.options.max_tokens == Some(self.given) || length >= self.session.context() {
            self.finish = Some(FinishReason::Length);
            return Ok(None);
        }
        if let Some(token) = self.pending.take() {
            self.session.decode(token)?;
        }
        let logits = self.session.logits().ok_or(Error::NoLogits)?;
        let token = self.sampler.sample(logits, self.session.tokens())?;
        if !self.options.ignore_eos && self.session.model().eos_token_ids().contains(&token) {
            self.finish = Some(FinishReason::Eos);
            return Ok(None);
        }
        if self.options.stop_ids.contains(&token) {
            self.finish = Some(FinishReason::Stop);
            return Ok(None);
        }
        self.pending = Some(token);
        self.given += 1;
        Ok(Some(token))
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<u32, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finish.is_some() || self.failed {
            return None;
        }
        let next = self.advance();
        self.failed = next.is_err();
        next.transpose()
    }
}

impl std::iter::FusedIterator for Generation<'_> {}
