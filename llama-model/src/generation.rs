//! Generation: an iterator of tokens, and why it ended.
//!
//! No text here: decoding is the tokenizer's business, stop strings are [`crate::StopStrings`]'.

use llama_kernels::NO_TOKEN;

use crate::forward::Choice;
use crate::random::Random;
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
///
/// Where the sampler's options allow it, tokens are chosen on the GPU and steps run ahead of what is
/// given out; the session holds nothing of those past the end, whenever that is and however it
/// comes. The tokens, the session's and the sampler's state are the same either way.
#[derive(Debug)]
pub struct Generation<'a> {
    session: &'a mut Session,
    sampler: &'a mut Sampler,
    options: GenerationOptions,
    /// Who chooses; not the first token, whose logits the host has.
    choice: Choice,
    /// The sampler's random numbers from the next step on: those of steps under way are taken.
    draws: Random,
    /// Given out, and not yet held by the session.
    pending: Option<u32>,
    given: usize,
    finish: Option<FinishReason>,
    failed: bool,
    /// Of a step ahead: told when its token is asked for.
    failure: Option<Error>,
}

impl<'a> Generation<'a> {
    pub(crate) fn new(
        session: &'a mut Session,
        sampler: &'a mut Sampler,
        options: GenerationOptions,
    ) -> Self {
        session.begin_generation();
        Self {
            choice: sampler.choice(),
            draws: sampler.draws(),
            session,
            sampler,
            options,
            pending: None,
            given: 0,
            finish: None,
            failed: false,
            failure: None,
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
        if self.wanted() == 0 {
            self.finish = Some(FinishReason::Length);
            return Ok(None);
        }
        let token = match self.pending {
            None => self.choose_on_host()?,
            Some(last) => self.choose_after(last)?,
        };
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
        // The next steps run while the caller looks at this token, which is good whatever comes of them.
        self.failure = self.run_ahead(token).err();
        Ok(Some(token))
    }

    /// How many more tokens may be given.
    fn wanted(&self) -> usize {
        let length = self.session.position() + usize::from(self.pending.is_some());
        let room = self.session.context().saturating_sub(length);
        match self.options.max_tokens {
            Some(most) => room.min(most - self.given),
            None => room,
        }
    }

    /// Feeds the token given out last, and gives the one that follows it.
    fn choose_after(&mut self, last: u32) -> Result<u32, Error> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if self.choice != Choice::OnHost {
            self.run_ahead(last)?;
            let chosen = self.session.settle(last)?;
            if chosen != NO_TOKEN {
                if let Choice::Drawn(_) = self.choice {
                    self.sampler.note_drawn();
                }
                return Ok(chosen);
            }
            // What is wrong with the logits is for the host to say: the step once more.
            self.session.truncate(self.session.position() - 1);
        }
        self.session.decode(last)?;
        let token = self.choose_on_host();
        self.session.forget_logits();
        token
    }

    fn choose_on_host(&mut self) -> Result<u32, Error> {
        let logits = self.session.logits().ok_or(Error::NoLogits)?;
        self.sampler.sample(logits, self.session.tokens())
    }

    /// Keeps the GPU busy behind `token`, the last that is known.
    fn run_ahead(&mut self, token: u32) -> Result<(), Error> {
        if self.choice == Choice::OnHost {
            return Ok(());
        }
        if self.session.steps_ahead() == 0 {
            self.draws = self.sampler.draws();
        }
        let wanted = self.wanted();
        self.session
            .run_ahead(token, wanted, self.choice, &mut self.draws)
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
