//! Chooses a token from logits: repeat penalty, temperature, top-k, top-p, min-p, one draw.
//!
//! It knows nothing of models, sessions or text; beams and grammars are not here.

use llama_kernels::reference::{DrawRules, place_of};

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
/// A token's probability is a whole number, its weight: 2^31 for the largest logit, e^((logit − largest) /
/// temperature) of that for the others, rounded down to about 2e-8 of itself; a token of weight 0 is
/// never drawn. Equal weights count in the order of ids, and the draw too goes through the tokens in
/// that order. It is the arithmetic of the GPU's kernel, in integers on both sides
/// ([`DrawRules`]): who chooses makes no difference.
///
/// The generator is xoshiro256++ seeded by SplitMix64 and advances once per drawn token, never for
/// a greedy one: the same seed, options, logits and history give the same tokens.
#[derive(Debug, Clone)]
pub struct Sampler {
    options: SamplerOptions,
    /// The options as the arithmetic takes them; of no meaning where the temperature is 0.
    rules: DrawRules,
    random: Random,
    /// Both kept between calls, so that a call allocates nothing.
    penalized: Vec<f32>,
    candidates: Vec<Weighted>,
}

/// A token and its weight.
#[derive(Debug, Clone, Copy)]
struct Weighted {
    token: u32,
    weight: u32,
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
        let SamplerOptions {
            temperature,
            top_k,
            top_p,
            min_p,
            ..
        } = *options;
        Ok(Self {
            rules: DrawRules::new(temperature, top_k, top_p, min_p),
            random: Random::new(options.seed),
            options: options.clone(),
            penalized: Vec::new(),
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
        let candidates = &mut self.candidates;
        candidates.sort_unstable_by_key(|candidate| candidate.token);
        let mut place = place_of(self.random.next_u64(), sum(candidates));
        let mut chosen = 0;
        for candidate in candidates {
            chosen = candidate.token;
            match place.checked_sub(candidate.weight.into()) {
                Some(rest) => place = rest,
                None => break,
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
        self.candidates.sort_unstable_by(heaviest_first);
        let total = sum(&self.candidates) as f64;
        let share = |c: &Weighted| Candidate {
            token: c.token,
            probability: f64::from(c.weight) / total,
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
        if repeat_penalty != 1.0 {
            Choice::OnHost
        } else if temperature == 0.0 {
            Choice::Largest
        } else {
            Choice::Drawn(self.rules)
        }
    }

    /// The random numbers to come.
    pub(crate) fn draws(&self) -> Random {
        self.random.clone()
    }

    /// A token was drawn elsewhere, by the next of [`Sampler::draws`].
    pub(crate) fn note_drawn(&mut self) {
        self.random.next_u64();
    }

    /// Rules 1 to 5: the greedy token, or `None` with what may be drawn in `self.candidates`.
    fn filter(&mut self, logits: &[f32], history: &[u32]) -> Result<Option<u32>, Error> {
        check(logits)?;
        let mut logits = logits;
        if self.options.repeat_penalty != 1.0 {
            penalize(logits, history, &self.options, &mut self.penalized);
            logits = &self.penalized;
        }
        let mut best = (0, f32::NEG_INFINITY);
        for (token, &logit) in (0..).zip(logits) {
            if logit > best.1 {
                best = (token, logit);
            }
        }
        if self.options.temperature == 0.0 {
            return Ok(Some(best.0));
        }
        let candidates = &mut self.candidates;
        candidates.clear();
        let all = logits.iter().zip(0..).map(|(&logit, token)| Weighted {
            token,
            weight: self.rules.weight(best.1, logit),
        });
        candidates.extend(all.filter(|candidate| candidate.weight > 0));
        if let Some(top_k) = self.rules.top_k().filter(|top_k| *top_k < candidates.len()) {
            candidates.select_nth_unstable_by(top_k - 1, heaviest_first);
            candidates.truncate(top_k);
        }
        let total = sum(candidates);
        if let Some(most) = self.rules.top_p_of(total) {
            keep_top_p(candidates, total, most);
        }
        candidates.retain(|candidate| candidate.weight >= self.rules.least());
        Ok(None)
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
    if logits.is_empty() {
        return Err(Error::Logits { found: "no value" });
    }
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
    if largest == f32::NEG_INFINITY {
        return Err(Error::Logits {
            found: "only -infinity",
        });
    }
    Ok(())
}

/// Rule 1: every token's logit, penalized. No finite logit becomes an infinity.
fn penalize(logits: &[f32], history: &[u32], options: &SamplerOptions, penalized: &mut Vec<f32>) {
    penalized.clear();
    penalized.extend_from_slice(logits);
    let penalty = options.repeat_penalty;
    let window = &history[history.len().saturating_sub(options.repeat_last_n)..];
    for &token in window {
        // From the original logit, so that a token seen twice is penalized once.
        let Some(&logit) = logits.get(token as usize) else {
            continue;
        };
        let moved = if logit > 0.0 {
            logit / penalty
        } else {
            logit * penalty
        };
        if logit.is_finite() {
            penalized[token as usize] = moved.clamp(f32::MIN, f32::MAX);
        }
    }
}

/// Rule 4, on weights in any order; leaves them in falling order. Those stay before which the sum is
/// at most `most` of `total`.
fn keep_top_p(candidates: &mut Vec<Weighted>, total: u64, most: u64) {
    // A token lighter than the mean share of what goes has at most n − 1 tokens no heavier at or behind
    // it, which come to less than what goes, so more than `most` before it: it need not be sorted.
    // (32,000 tokens sort in 2 ms, the usual rest in microseconds.)
    let lightest = (total - most).div_ceil(candidates.len().max(1) as u64);
    candidates.retain(|candidate| u64::from(candidate.weight) >= lightest);
    candidates.sort_unstable_by(heaviest_first);
    let mut before = 0;
    let kept = candidates
        .iter()
        .take_while(|candidate| {
            let stays = before <= most;
            before += u64::from(candidate.weight);
            stays
        })
        .count();
    candidates.truncate(kept);
}

fn sum(candidates: &[Weighted]) -> u64 {
    candidates.iter().map(|c| u64::from(c.weight)).sum()
}

/// Falling weight, then rising id: a total order, so sorting is deterministic.
fn heaviest_first(a: &Weighted, b: &Weighted) -> std::cmp::Ordering {
    b.weight.cmp(&a.weight).then(a.token.cmp(&b.token))
}
