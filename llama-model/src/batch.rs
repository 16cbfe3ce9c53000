//! Several sequences that share steps: each weight is read once for all of them.
//!
//! The least that a batching engine stands on; admission, scheduling and streaming are not here.

use std::ops::ControlFlow;

use crate::Error;
use crate::engine::{Engine, Row};

/// Sequences numbered from 0, each with a cache of its own. Made by [`crate::Model::batch`].
///
/// A token's logits do not depend on what else is in the batch, to rounding.
pub struct Batch {
    engine: Engine,
}

impl Batch {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine }
    }

    /// Appends tokens to sequences, all in common steps as far as they fit, and gives for each entry
    /// the logits after its last token, `[vocab_size]`. A sequence may have several entries.
    ///
    /// # Errors
    /// [`Error::NoSequence`], [`Error::EmptyPrompt`], [`Error::ContextFull`] and
    /// [`Error::TokenOutOfRange`] before anything is computed; after [`Error::Gpu`] the sequences
    /// are as before the call.
    pub fn feed(&mut self, entries: &[(usize, &[u32])]) -> Result<Vec<Vec<f32>>, Error> {
        let sequences = 0..self.n_sequences();
        let before: Vec<usize> = sequences.map(|s| self.tokens(s).len()).collect();
        let mut lengths = before.clone();
        let mut rows = Vec::new();
        for &(sequence, tokens) in entries {
            self.check_sequence(sequence)?;
            self.engine.check(lengths[sequence], tokens)?;
            lengths[sequence] += tokens.len();
            rows.extend(tokens.iter().zip(1..).map(|(&token, n)| Row {
                sequence,
                token,
                length: lengths[sequence],
                wants_logits: n == tokens.len(),
            }));
        }
        let mut logits = Vec::with_capacity(entries.len());
        let mut keep = |_: usize, of_row: &[f32]| {
            logits.push(of_row.to_vec());
            ControlFlow::Continue(())
        };
        let go_on = &mut |_| ControlFlow::Continue(());
        if let Err(error) = self.engine.feed(&rows, &mut keep, go_on) {
            for (sequence, position) in before.into_iter().enumerate() {
                self.engine.truncate(sequence, position);
            }
            return Err(error);
        }
        Ok(logits)
    }

    /// Forgets what a sequence holds from `position` on.
    ///
    /// # Errors
    /// [`Error::NoSequence`].
    pub fn truncate(&mut self, sequence: usize, position: usize) -> Result<(), Error> {
        self.check_sequence(sequence)?;
        self.engine.truncate(sequence, position);
        Ok(())
    }

    /// The tokens that a sequence holds; none where there is no such sequence.
    pub fn tokens(&self, sequence: usize) -> &[u32] {
        match self.check_sequence(sequence) {
            Ok(()) => self.engine.tokens(sequence),
            Err(_) => &[],
        }
    }

    /// How many sequences there are.
    pub fn n_sequences(&self) -> usize {
        self.engine.n_sequences()
    }

    fn check_sequence(&self, sequence: usize) -> Result<(), Error> {
        let sequences = self.n_sequences();
        if sequence < sequences {
            return Ok(());
        }
        Err(Error::NoSequence {
            sequence,
            sequences,
        })
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("n_sequences", &self.n_sequences())
            .finish_non_exhaustive()
    }
}
