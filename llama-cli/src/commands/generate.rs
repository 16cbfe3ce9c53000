//! `generate`: continues a text.

use anyhow::Result;
use llama_model::Sampler;
use llama_tokenizer::Tokenizer;
use llama_weights::Checkpoint;

use crate::answer::{self, AnswerJson, Finish, Piece};
use crate::args::GenerateArgs;
use crate::engine::{self, Engine};
use crate::failure::usage;
use crate::interrupt::{Interrupted, Interrupts};
use crate::lora;
use crate::notice::Notices;
use crate::opening::Opening;
use crate::output::Output;
use crate::prompt::{self, Prompt};
use crate::sampling::Sampling;
use crate::source::Source;
use crate::startup::Startup;

pub(crate) fn run(args: GenerateArgs, interrupts: &Interrupts) -> Result<()> {
    let notices = Notices::new(&args.output);
    let prompt = Prompt::read(args.prompt, notices)?;
    let source = Source::new(args.model, notices)?;
    let mut startup = Startup::new();
    let checkpoint = source.checkpoint(&args.lora, notices)?;
    let h = checkpoint.hyperparameters();
    let mut sampling = Sampling::new(args.sampling, checkpoint.generation_config())?;
    startup.done("model");
    let opening = Opening::begin(&args.device.adapter)?;
    let (prompt_ids, tokenizer) = prompt_ids(prompt, &source, &checkpoint)?;
    let end = tokenizer
        .as_ref()
        .and_then(|tokenizer| tokenizer.special_tokens().eos);
    sampling.fall_back_to_eos(&checkpoint.eos_token_ids(), end);
    if tokenizer.is_none() && !sampling.stops.is_empty() {
        return Err(usage(
            "--stop: expected a model with a tokenizer, found none: ids have no text to stop at",
        ));
    }
    let context = engine::context_size(args.device.memory.ctx_size.map(Into::into), h, notices);
    engine::fits(&prompt_ids, context)?;

    startup.done("tokenizer");

    let mut engine = Engine::start(
        &checkpoint,
        opening,
        &args.device,
        context,
        notices,
        interrupts,
        &mut startup,
    )?;
    notices.detail(format_args!("seed: {}", sampling.options.seed));
    let mut sampler = Sampler::new(&sampling.options)?;
    let mut output = Output::new();
    let mut separator = "";
    let mut show = |piece: Piece<'_>| -> Result<()> {
        startup.first_token(notices);
        match piece {
            _ if args.output.json => {}
            Piece::Text(text) => output.text(text)?,
            Piece::Id(id) => {
                output.text(&format!("{separator}{id}"))?;
                separator = ",";
            }
        }
        Ok(())
    };
    let watch = interrupts.watch();
    let mut answer = answer::answer(
        &mut engine.session,
        tokenizer.as_ref(),
        &prompt_ids,
        &mut sampler,
        &sampling,
        &watch,
        &mut show,
    )?;
    answer.timings.load_ms = engine.load_ms;
    notices.detail(answer.timings.summary());
    output.end_text()?;
    if let Finish::Interrupted(signal) = answer.finish {
        return Err(Interrupted(signal).into());
    }
    if args.output.json {
        output.json(&AnswerJson {
            text: answer.text.as_deref(),
            prompt_ids: &prompt_ids,
            ids: &answer.ids,
            finish_reason: answer.finish,
            seed: sampling.options.seed,
            timings: answer.timings,
            adapter: &engine.adapter,
            lora: lora::in_use(&checkpoint),
        })?;
    }
    Ok(())
}

/// The prompt's ids, and the tokenizer that turns the answer into text: ids alone need none.
fn prompt_ids(
    prompt: Prompt,
    source: &Source,
    checkpoint: &Checkpoint,
) -> Result<(Vec<u32>, Option<Tokenizer>)> {
    let vocab_size = checkpoint.hyperparameters().vocab_size;
    match prompt {
        Prompt::Text(text) => {
            let tokenizer = source.tokenizer()?;
            prompt::same_vocabulary(&tokenizer, checkpoint)?;
            Ok((
                prompt::encode(&tokenizer, &text, vocab_size)?,
                Some(tokenizer),
            ))
        }
        Prompt::Ids(ids) => {
            prompt::within_vocabulary(&ids, vocab_size)?;
            let tokenizer = source.tokenizer_if_any()?;
            if let Some(tokenizer) = &tokenizer {
                prompt::same_vocabulary(tokenizer, checkpoint)?;
            }
            Ok((ids, tokenizer))
        }
    }
}
