//! Timing: the same work again and again on one session, as a caller of the library would do it.
//!
//! Tokens are generated greedily through `Session::generate`, so whatever the library does ahead of time counts.

use std::time::Instant;

use anyhow::Result;
use llama_kernels::Profile;
use llama_model::{Error, GenerationOptions, Sampler, SamplerOptions, Session};

use crate::interrupt::{Interrupted, Watch};

/// One test, with its name in reports: `pp512`, `tg128`, `tg128@d4000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) kind: Kind,
    pub(crate) tokens: usize,
    /// Tokens that the cache holds when it begins.
    pub(crate) depth: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Tokens that go in together.
    Prompt,
    /// Tokens that come out one after the other.
    Generation,
}

impl std::fmt::Display for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tokens, depth, .. } = self;
        match self.kind {
            Kind::Prompt => write!(f, "pp{tokens}")?,
            Kind::Generation => write!(f, "tg{tokens}")?,
        }
        match depth {
            0 => Ok(()),
            depth => write!(f, "@d{depth}"),
        }
    }
}

impl Test {
    /// The tests of a command line, the prompts first.
    pub(crate) fn all(prompt: usize, generated: usize, depths: &[usize]) -> Vec<Self> {
        let kinds = [(Kind::Prompt, prompt), (Kind::Generation, generated)];
        let tests = kinds.into_iter().flat_map(|(kind, tokens)| {
            depths.iter().map(move |&depth| Self {
                kind,
                tokens,
                depth,
            })
        });
        tests.filter(|test| test.tokens > 0).collect()
    }

    /// Positions that a session must hold for it; `None` where no machine counts so far.
    pub(crate) fn positions(self) -> Option<usize> {
        // Generation begins with one token of a prompt.
        let prompt = usize::from(self.kind == Kind::Generation);
        self.depth.checked_add(self.tokens)?.checked_add(prompt)
    }

    /// The same with at most so many tokens, if they are generated: a prompt is one piece of work.
    pub(crate) fn shortened(self, most: usize) -> Self {
        let tokens = match self.kind {
            Kind::Prompt => self.tokens,
            Kind::Generation => self.tokens.min(most),
        };
        Self { tokens, ..self }
    }
}

/// A session to be timed.
pub(crate) struct Bench<'a> {
    session: Session,
    sampler: Sampler,
    watch: &'a Watch<'a>,
    /// What prompts are made of.
    tokens: Vec<u32>,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(session: Session, watch: &'a Watch<'a>) -> Result<Self> {
        let greedy = SamplerOptions {
            temperature: 0.0,
            ..SamplerOptions::default()
        };
        let vocabulary = session.model().hyperparameters().vocab_size as u64;
        // Ids all over the vocabulary, the same in every run.
        let tokens = (0..session.context() as u64)
            .map(|position| (position.wrapping_mul(2_654_435_761) % vocabulary) as u32)
            .collect();
        Ok(Self {
            session,
            sampler: Sampler::new(&greedy)?,
            watch,
            tokens,
        })
    }

    /// A short run, so that no kernel of the test is compiled and no memory touched first while it is timed.
    pub(crate) fn warm_up(&mut self, test: Test) -> Result<()> {
        self.seconds(test.shortened(4)).map(drop)
    }

    /// The time of one run.
    pub(crate) fn seconds(&mut self, test: Test) -> Result<f64> {
        self.stand_at(test.depth)?;
        let begin = Instant::now();
        self.run(test)?;
        Ok(begin.elapsed().as_secs_f64())
    }

    /// The time from a prompt to the first token of its answer.
    pub(crate) fn first_token_seconds(&mut self, prompt: usize) -> Result<f64> {
        self.stand_at(0)?;
        let begin = Instant::now();
        self.feed(prompt.max(1))?;
        self.generate(1)?;
        Ok(begin.elapsed().as_secs_f64())
    }

    /// The times of a run's dispatches. A profiled run is slower than one that is not: nothing in it overlaps.
    pub(crate) fn profile(&mut self, test: Test) -> Result<Profile> {
        self.stand_at(test.depth)?;
        let gpu = self.session.model().gpu().clone();
        let (_, profile) = gpu.profiled(|| self.run(test))?;
        Ok(profile)
    }

    fn run(&mut self, test: Test) -> Result<()> {
        match test.kind {
            Kind::Prompt => self.feed(test.tokens),
            Kind::Generation => {
                // As many steps as tokens: the last one generated is not fed.
                self.feed(1)?;
                self.generate(test.tokens)
            }
        }
    }

    fn stand_at(&mut self, depth: usize) -> Result<()> {
        self.session.truncate(depth);
        match depth - self.session.position() {
            0 => Ok(()),
            missing => self.feed(missing),
        }
    }

    fn feed(&mut self, count: usize) -> Result<()> {
        let position = self.session.position();
        let tokens = &self.tokens[position..position + count];
        let watch = self.watch;
        let fed = self.session.prefill_with(tokens, &mut |_, _| watch.flow());
        match (fed.map(drop), watch.noted()) {
            (Err(Error::Cancelled), Some(signal)) => Err(Interrupted(signal).into()),
            (fed, _) => Ok(fed?),
        }
    }

    fn generate(&mut self, count: usize) -> Result<()> {
        let options = GenerationOptions {
            max_tokens: Some(count),
            ignore_eos: true,
            ..GenerationOptions::default()
        };
        for token in self.session.generate(&mut self.sampler, &options) {
            token?;
            self.watch.check()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_named_by_kind_tokens_and_depth() {
        let tests = Test::all(512, 128, &[0, 4000]);
        let names: Vec<String> = tests.iter().map(Test::to_string).collect();
        assert_eq!(names, ["pp512", "pp512@d4000", "tg128", "tg128@d4000"]);
        let positions: Vec<_> = tests.iter().map(|test| test.positions()).collect();
        assert_eq!(positions, [Some(512), Some(4512), Some(129), Some(4129)]);
        assert_eq!(Test::all(0, 0, &[1]), []);
        assert_eq!(Test::all(0, 1, &[usize::MAX])[0].positions(), None);
        let shortened: Vec<String> = tests.iter().map(|t| t.shortened(4).to_string()).collect();
        assert_eq!(shortened, ["pp512", "pp512@d4000", "tg4", "tg4@d4000"]);
    }
}
