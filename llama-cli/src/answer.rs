//! One answer: a prompt's ids through the session, tokens chosen until an end, text as it becomes safe to show.
//!
//! What the session already holds of the prompt is not computed again.

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::Result;
use llama_model::{Error, FinishReason, Sampler, Session, StopStrings};
use llama_tokenizer::Tokenizer;
use serde::{Serialize, Serializer};

use crate::devices::Adapter;
use crate::engine::milliseconds;
use crate::interrupt::{Signal, Watch};
use crate::lora::InUse;
use crate::sampling::Sampling;

/// What came of a prompt.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The text of `ids`, up to a stop string; `None` without a tokenizer.
    pub(crate) text: Option<String>,
    /// What was chosen; an end-of-sequence id that ended it is not among them.
    pub(crate) ids: Vec<u32>,
    pub(crate) finish: Finish,
    pub(crate) timings: Timings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// As many tokens as were asked for, or as the context holds.
    Length,
    Eos,
    /// A stop string.
    Stop,
    Interrupted(Signal),
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Timings {
    pub(crate) load_ms: f64,
    /// Tokens of the prompt that were computed: those that the session held already do not count.
    prompt_tokens: usize,
    prompt_ms: f64,
    decode_tokens: usize,
    decode_ms: f64,
}

/// A part of an answer as it is made.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Piece<'a> {
    Text(&'a str),
    /// Without a tokenizer.
    Id(u32),
}

/// `generate --json` and `chat --json`.
#[derive(Debug, Serialize)]
pub(crate) struct AnswerJson<'a> {
    pub(crate) text: Option<&'a str>,
    pub(crate) prompt_ids: &'a [u32],
    pub(crate) ids: &'a [u32],
    pub(crate) finish_reason: Finish,
    pub(crate) seed: u64,
    pub(crate) timings: Timings,
    pub(crate) adapter: &'a Adapter,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) lora: Vec<InUse>,
}

impl Serialize for Finish {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Length => "length",
            Self::Eos => "eos",
            Self::Stop => "stop",
            Self::Interrupted(_) => "interrupted",
        })
    }
}

/// Answers `prompt_ids`, which fit the session's context. `show` is given every piece once it is certain.
pub(crate) fn answer(
    session: &mut Session,
    tokenizer: Option<&Tokenizer>,
    prompt_ids: &[u32],
    sampler: &mut Sampler,
    sampling: &Sampling,
    watch: &Watch<'_>,
    show: &mut dyn FnMut(Piece<'_>) -> Result<()>,
) -> Result<Answer> {
    let begin = Instant::now();
    let held = keep_common_prefix(session, prompt_ids);
    let mut timings = Timings {
        prompt_tokens: prompt_ids.len() - held,
        ..Timings::default()
    };
    let mut writer = Writer::new(tokenizer, prompt_ids, &sampling.stops, show)?;
    let read = session.prefill_with(&prompt_ids[held..], &mut |_, _| watch.flow());
    timings.prompt_ms = milliseconds(begin);
    let begin = Instant::now();
    let finish = match (read.map(|_| ()), watch.noted()) {
        (Ok(()), _) => generate(session, sampler, sampling, watch, &mut writer)?,
        (Err(Error::Cancelled), Some(signal)) => Finish::Interrupted(signal),
        (Err(error), _) => return Err(error.into()),
    };
    writer.finish()?;
    let Writer { text, ids, .. } = writer;
    timings.decode_ms = milliseconds(begin);
    timings.decode_tokens = ids.len();
    Ok(Answer {
        text: tokenizer.map(|_| text),
        ids,
        finish,
        timings,
    })
}

/// Cuts the session back to the ids that it shares with the prompt, and gives their number. The
/// prompt's last id is always left to be computed: its logits choose the first token.
fn keep_common_prefix(session: &mut Session, prompt_ids: &[u32]) -> usize {
    let common = session
        .tokens()
        .iter()
        .zip(prompt_ids)
        .take_while(|(held, asked)| held == asked)
        .count();
    let common = common.min(prompt_ids.len().saturating_sub(1));
    session.truncate(common);
    common
}

fn generate(
    session: &mut Session,
    sampler: &mut Sampler,
    sampling: &Sampling,
    watch: &Watch<'_>,
    writer: &mut Writer<'_>,
) -> Result<Finish> {
    let mut generation = session.generate(sampler, &sampling.generation);
    let mut stop_string_came = false;
    while let Some(id) = generation.next() {
        if writer.push(id?)?.is_break() {
            stop_string_came = true;
            generation.stop();
        }
        if watch.flow().is_break() {
            generation.cancel();
        }
    }
    Ok(match (generation.finish_reason(), watch.noted()) {
        (Some(FinishReason::Cancelled), Some(signal)) => Finish::Interrupted(signal),
        (Some(FinishReason::Stop), _) if stop_string_came => Finish::Stop,
        (Some(FinishReason::Eos | FinishReason::Stop), _) => Finish::Eos,
        _ => Finish::Length,
    })
}

/// Turns ids into pieces: decodes them behind the prompt and holds back what may become a stop string.
struct Writer<'a> {
    decoder: Option<llama_tokenizer::StreamDecoder>,
    stops: StopStrings,
    text: String,
    ids: Vec<u32>,
    show: &'a mut dyn FnMut(Piece<'_>) -> Result<()>,
}

impl<'a> Writer<'a> {
    fn new(
        tokenizer: Option<&Tokenizer>,
        prompt_ids: &[u32],
        stops: &[String],
        show: &'a mut dyn FnMut(Piece<'_>) -> Result<()>,
    ) -> Result<Self> {
        Ok(Self {
            decoder: tokenizer.map(|tokenizer| tokenizer.stream(prompt_ids)),
            stops: StopStrings::new(stops)?,
            text: String::new(),
            ids: Vec::new(),
            show,
        })
    }

    /// Breaks where a stop string is complete.
    fn push(&mut self, id: u32) -> Result<ControlFlow<()>> {
        self.ids.push(id);
        let Some(decoder) = &mut self.decoder else {
            (self.show)(Piece::Id(id))?;
            return Ok(ControlFlow::Continue(()));
        };
        let held = self.stops.push(&decoder.push(id)?);
        self.write(&held.text)?;
        Ok(if held.stopped {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }

    /// What was held back and never became a character or a stop string.
    fn finish(&mut self) -> Result<()> {
        let Some(decoder) = &mut self.decoder else {
            return Ok(());
        };
        let rest = self.stops.push(&decoder.finish()).text + &self.stops.finish();
        self.write(&rest)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        if !text.is_empty() {
            self.text.push_str(text);
            (self.show)(Piece::Text(text))?;
        }
        Ok(())
    }
}

impl Timings {
    /// For `-v`.
    pub(crate) fn summary(&self) -> String {
        let rate = |tokens: usize, ms: f64| {
            if ms > 0.0 {
                tokens as f64 * 1e3 / ms
            } else {
                0.0
            }
        };
        format!(
            "prompt: {} tokens in {:.0} ms ({:.1} a second); answer: {} tokens in {:.0} ms ({:.1} a second)",
            self.prompt_tokens,
            self.prompt_ms,
            rate(self.prompt_tokens, self.prompt_ms),
            self.decode_tokens,
            self.decode_ms,
            rate(self.decode_tokens, self.decode_ms),
        )
    }
}
