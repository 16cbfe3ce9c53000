//! Chooses a token from logits: repeat penalty, temperature, top-k, top-p, min-p, one draw.
//!
//! It knows nothing of models, sessions or text; beams and grammars are not here.

use crate::Error;
use crate::forward::Choice;
use crate::random::Random;

/// Chooses one token per call, by these rules in this order:
///
/// 1. **Repeat penalty** (CTRL, <https://arxiv.org/abs/1909.05858>): the logit of every distinct
///    token in the last `repeat_last_n` of the history is divided by the penalty where it is
///    positive and multiplied by it otherwise.
/// 2. **Temperature**: 0 takes the largest logit (the lowest id of equals) and ends here; otherwise
///    logits are divided by it and become probabilities.
/// 3. **Top-k**: only the `top_k` most probable tokens stay.
/// 4. **Top-p**, by the rule of Meta's reference code: with the rest in falling order, a token goes
///    when the sum of the probabilities *before* it exceeds `top_p`. The token that crosses the
///    line stays, so at least one always does, and 0 is greedy.
/// 5. **Min-p**: a token goes when its probability is below `min_p` times the largest.
/// 6. One uniform number chooses among the rest by their probability.
///
/// Equal probabilities count in the order of their ids everywhere. The arithmetic is f64.
/// The generator is xoshiro256++ seeded by SplitMix64 and advances once per drawn token, never for
/// a greedy one: the same seed, options, logits and history give the same tokens.
#[derive(Debug, Clone)]
pub struct Sampler {
    options: SamplerOptions,
    random: Random,
    /// Kept between calls, so that a call allocates nothing.
    candidates: Vec<Candidate>,
}

/// What a [`Sampler`] obeys. The default is Llama 2's generation config.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplerOptions {
    /// 0 is greedy; otherwise any finite positive number. Default 0.6.
    pub temperature: f32,
    /// How many tokens stay at most; 0 (the default) is off, more than the vocabulary too.
    pub top_k: usize,
    /// 0 to 1; 0 is greedy, 1 is off. Default 0.9.
    pub top_p: f32,
    /// 0 to 1; 0 (the default) is off.
    pub min_p: f32,
    /// Any finite positive number; 1 (the default) is off.
    pub repeat_penalty: f32,
    /// How many of the history's last tokens the penalty sees; 0 is off. Default 64.
    pub repeat_last_n: usize,
    /// Any number is a good seed. Default 0.
    pub seed: u64,
}

/// A token that may be drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The token's id: its index in the logits.
    pub token: u32,
    /// Its share of the draw; a list's shares add up to 1.
    pub probability: f64,
}

impl Sampler {
    /// A sampler at the start of its seed's stream.
    ///
    /// # Errors
    /// [`Error::SamplerOption`] names the first option outside its range.
    pub fn new(options: &SamplerOptions) -> Result<Self, Error> {
        options.validate()?;
        Ok(Self {
            random: Random::new(options.seed),
            options: options.clone(),
            candidates: Vec::new(),
        })
    }

    /// The options it was made with.
    pub fn options(&self) -> &SamplerOptions {
        &self.options
    }

    /// Chooses a token. `logits` has one value per id; `history` is the sequence so far, prompt
    /// included, oldest first (ids beyond the vocabulary in it are ignored).
    ///
    /// # Errors
    /// [`Error::Logits`] where `logits` is empty, holds NaN or +∞, or only −∞.
    pub fn sample(&mut self, logits: &[f32], history: &[u32]) -> Result<u32, Error> {
        if let Some(token) = self.filter(logits, history)? {
            return Ok(token);
        }
        let total: f64 = self.candidates.iter().map(|c| c.probability).sum();
        let drawn = self.random.next_unit() * total;
        let mut sum = 0.0;
        let mut chosen = 0;
        for candidate in self.candidates.iter().filter(|c| c.probability > 0.0) {
            chosen = candidate.token;
            sum += candidate.probability;
            if drawn < sum {
                break;
            }
        }
        Ok(chosen)
    }

    /// The tokens among which [`Sampler::sample`] would draw now, most probable first, without
    /// drawing. Greedy options give one token.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn candidates(&mut self, logits: &[f32], history: &[u32]) -> Result<Vec<Candidate>, Error> {
        if let Some(token) = self.filter(logits, history)? {
            return Ok(vec![Candidate {
                token,
                probability: 1.0,
            }]);
        }
        self.candidates.sort_unstable_by(most_probable_first);
        let total: f64 = self.candidates.iter().map(|c| c.probability).sum();
        let share = |c: &Candidate| Candidate {
            token: c.token,
            probability: c.probability / total,
        };
        Ok(self.candidates.iter().map(share).collect())
    }

    /// Who can choose by these options: the repeat penalty needs the history, which only the host has.
    pub(crate) fn choice(&self) -> Choice {
        let SamplerOptions {
            temperature,
            repeat_penalty,
            ..
        } = self.options;
        if repeat_penalty == 1.0 && temperature == 0.0 {
            Choice::Largest
        } else {
            Choice::OnHost
        }
    }

    /// Rules 1 to 5: the greedy token, or `None` with what may be drawn in `self.candidates`, its
    /// probabilities relative to the largest, which is 1.
    fn filter(&mut self, logits: &[f32], history: &[u32]) -> Result<Option<u32>, Error> {
        self.penalize(logits, history)?;
        let SamplerOptions {
            temperature,
            top_k,
            top_p,
            min_p,
            ..
        } = self.options;
        let candidates = &mut self.candidates;
        let Some(best) = candidates.iter().copied().min_by(most_probable_first) else {
            return Err(Error::Logits { found: "no value" });
        };
        if temperature == 0.0 {
            return Ok(Some(best.token));
        }
        for candidate in candidates.iter_mut() {
            let below_best = candidate.probability - best.probability;
            candidate.probability = (below_best / f64::from(temperature)).exp();
        }
        if top_k != 0 && top_k < candidates.len() {
            candidates.select_nth_unstable_by(top_k - 1, most_probable_first);
            candidates.truncate(top_k);
        }
        if top_p < 1.0 {
            keep_top_p(candidates, f64::from(top_p));
        }
        if min_p > 0.0 {
            candidates.retain(|candidate| candidate.probability >= f64::from(min_p));
        }
        Ok(None)
    }

    /// Rule 1: fills the candidates with every token's logit, penalized.
    fn penalize(&mut self, logits: &[f32], history: &[u32]) -> Result<(), Error> {
        check(logits)?;
        self.candidates.clear();
        let all = logits.iter().zip(0u32..);
        self.candidates.extend(all.map(|(&logit, token)| Candidate {
            token,
            probability: f64::from(logit),
        }));
        let penalty = f64::from(self.options.repeat_penalty);
        if penalty == 1.0 {
            return Ok(());
        }
        let window = &history[history.len().saturating_sub(self.options.repeat_last_n)..];
        for &token in window {
            let Some(&logit) = logits.get(token as usize) else {
                continue;
            };
            // From the original logit, so that a token seen twice is penalized once.
            let logit = f64::from(logit);
            self.candidates[token as usize].probability = if logit > 0.0 {
                logit / penalty
            } else {
                logit * penalty
            };
        }
        Ok(())
    }
}

impl SamplerOptions {
    /// Checks every option against its range.
    ///
    /// # Errors
    /// [`Error::SamplerOption`] names the first one outside.
    pub fn validate(&self) -> Result<(), Error> {
        let unit = "a number from 0 to 1";
        let check = |name, value: f32, good: bool, expected| {
            if good {
                return Ok(());
            }
            Err(Error::SamplerOption {
                name,
                value,
                expected,
            })
        };
        let is_unit = |value: f32| (0.0..=1.0).contains(&value);
        check(
            "temperature",
            self.temperature,
            self.temperature.is_finite() && self.temperature >= 0.0,
            "0 (greedy) or a finite positive number",
        )?;
        check("top_p", self.top_p, is_unit(self.top_p), unit)?;
        check("min_p", self.min_p, is_unit(self.min_p), unit)?;
        check(
            "repeat_penalty",
            self.repeat_penalty,
            self.repeat_penalty.is_finite() && self.repeat_penalty > 0.0,
            "a finite positive number (1 is off)",
        )
    }
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self {
            temperature: 0.6,
            top_k: 0,
            top_p: 0.9,
            min_p: 0.0,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            seed: 0,
        }
    }
}

/// Refuses what no rule can make sense of. A −∞ is a token that cannot be chosen, and is fine.
fn check(logits: &[f32]) -> Result<(), Error> {
    let mut largest = f32::NEG_INFINITY;
    for &logit in logits {
        if logit.is_nan() {
            return Err(Error::Logits { found: "NaN" });
        }
        largest = largest.max(logit);
    }
    if largest == f32::INFINITY {
        return Err(Error::Logits { found: "+infinity" });
    }
    if largest == f32::NEG_INFINITY && !logits.is_empty() {
        return Err(Error::Logits {
            found: "only -infinity",
        });
    }
    Ok(())
}

/// Rule 4, on probabilities in any order, relative to the largest; leaves them in falling order.
fn keep_top_p(candidates: &mut Vec<Candidate>, top_p: f64) {
    let total: f64 = candidates.iter().map(|c| c.probability).sum();
    // A token that is not the first and below this share has at most n − 1 of its kind at or behind
    // it, so more than top_p before it: it cannot stay, and need not be sorted. (32,000 tokens sort
    // in 2 ms, the usual rest in microseconds.) The factor leaves room for the sums' rounding; the
    // first has probability 1.
    let others = candidates.len().saturating_sub(1).max(1) as f64;
    let cannot_stay = (1.0 - top_p) / others * total * 0.999;
    candidates.retain(|c| c.probability >= cannot_stay.min(1.0));
    candidates.sort_unstable_by(most_probable_first);
    let mut before = 0.0;
    let kept = candidates
        .iter()
        .take_while(|candidate| {
            let stays = before <= top_p * total;
            before += candidate.probability;
            stays
        })
        .count();
    candidates.truncate(kept);
}

/// Falling probability, then rising id: a total order, so sorting is deterministic.
fn most_probable_first(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    let by_probability = b.probability.total_cmp(&a.probability);
    by_probability.then(a.token.cmp(&b.token))
}
