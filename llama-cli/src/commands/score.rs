//! `score`: how likely a model finds a text, token by token.

use std::ops::ControlFlow;

use anyhow::{Result, bail};
use llama_model::{log_probability, perplexity};
use serde::Serialize;

use crate::args::ScoreArgs;
use crate::engine::{self, Engine};
use crate::interrupt::Interrupts;
use crate::logits_file::LogitsFile;
use crate::notice::Notices;
use crate::opening::Opening;
use crate::output::Output;
use crate::prompt::{self, Prompt};
use crate::source::Source;
use crate::startup::Startup;

#[derive(Debug, Serialize)]
struct Scores {
    ids: Vec<u32>,
    /// One per id: natural logarithms; the first has nothing before it.
    logprobs: Vec<Option<f64>>,
    perplexity: Option<f64>,
}

pub(crate) fn run(args: ScoreArgs, interrupts: &Interrupts) -> Result<()> {
    let notices = Notices::new(&args.output);
    let prompt = Prompt::read(args.prompt, notices)?;
    let source = Source::new(args.model, notices)?;
    let checkpoint = source.checkpoint(&args.lora, notices)?;
    let opening = Opening::begin(&args.device.adapter)?;
    let h = checkpoint.hyperparameters();
    let ids = match prompt {
        Prompt::Text(text) => {
            let tokenizer = source.tokenizer()?;
            prompt::same_vocabulary(&tokenizer, &checkpoint)?;
            prompt::encode(&tokenizer, &text, h.vocab_size)?
        }
        Prompt::Ids(ids) => {
            prompt::within_vocabulary(&ids, h.vocab_size)?;
            ids
        }
    };
    let context = engine::context_size(args.device.memory.ctx_size.map(Into::into), h, notices);
    engine::fits(&ids, context)?;
    let mut file = args
        .logits
        .as_deref()
        .map(|path| LogitsFile::create(path, [ids.len(), h.vocab_size]))
        .transpose()?;

    let mut engine = Engine::start(
        &checkpoint,
        opening,
        &args.device,
        context,
        notices,
        interrupts,
        &mut Startup::new(),
    )?;
    let mut logprobs = vec![None];
    let mut take = |index: usize, logits: &[f32]| -> Result<()> {
        if let Some(&next) = ids.get(index + 1) {
            logprobs.push(Some(number(log_probability(logits, next), index)?));
        }
        file.as_mut().map_or(Ok(()), |file| file.write(logits))
    };
    let watch = interrupts.watch();
    let mut fault = None;
    let scored = engine.session.logits_of_all(&ids, &mut |index, logits| {
        fault = watch
            .check()
            .map_err(Into::into)
            .and_then(|()| take(index, logits))
            .err();
        if fault.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    fault.map_or(Ok(()), Err)?;
    scored?;
    file.map_or(Ok(()), LogitsFile::finish)?;

    let known: Vec<f64> = logprobs.iter().copied().flatten().collect();
    let scores = Scores {
        ids,
        logprobs,
        perplexity: perplexity(&known),
    };
    let mut output = Output::new();
    if args.output.json {
        return output.json(&scores);
    }
    for (id, logprob) in scores.ids.iter().zip(&scores.logprobs) {
        let logprob = logprob.map_or_else(|| "-".to_owned(), |value| format!("{value:.6}"));
        output.line(&format!("{id}\t{logprob}"))?;
    }
    let perplexity = scores
        .perplexity
        .map_or_else(|| "-".to_owned(), |value| format!("{value:.6}"));
    output.line(&format!("perplexity\t{perplexity}"))
}

/// A log-probability that is a number; minus infinity is one.
fn number(logprob: f64, index: usize) -> Result<f64> {
    if logprob.is_nan() {
        bail!(
            "the logits at position {index} are no numbers: the weights are damaged (`inspect --check` names the tensor) or the device computes wrongly"
        );
    }
    Ok(logprob)
}
