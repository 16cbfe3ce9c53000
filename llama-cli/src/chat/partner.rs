//! The model that answers in a chat: template, tokenizer, sampler and engine together.

use anyhow::{Result, anyhow};
use llama_chat_template::{ChatTemplate, Message, RenderOptions};
use llama_model::Sampler;
use llama_tokenizer::Tokenizer;

use crate::answer::{self, Answer, Finish, Piece};
use crate::args::{ChatArgs, DeviceArgs};
use crate::chat::conversation::Conversation;
use crate::devices::Adapter;
use crate::engine::{self, Engine};
use crate::interrupt::Interrupts;
use crate::lora::{self, InUse};
use crate::notice::Notices;
use crate::opening::Opening;
use crate::output::Output;
use crate::prompt;
use crate::sampling::Sampling;
use crate::source::{Opened, Source};
use crate::startup::Startup;

pub(crate) struct Partner {
    checkpoint: Opened,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    sampling: Sampling,
    sampler: Sampler,
    device: DeviceArgs,
    context: usize,
    notices: Notices,
    /// Absent from `start` on.
    opening: Option<Opening>,
    /// Absent until `start`: a prompt can be refused before anything is loaded.
    engine: Option<Engine>,
}

impl Partner {
    /// Opens the model's files.
    pub(crate) fn new(args: ChatArgs, notices: Notices) -> Result<Self> {
        let source = Source::new(args.model, notices)?;
        let checkpoint = source.checkpoint(&args.lora, notices)?;
        let opening = Some(Opening::begin(&args.device.adapter)?);
        let (tokenizer, template) = source.tokenizer_and_template(None)?;
        prompt::same_vocabulary(&tokenizer, &checkpoint)?;
        let mut sampling = Sampling::new(args.sampling, checkpoint.generation_config())?;
        sampling.fall_back_to_eos(&checkpoint.eos_token_ids(), tokenizer.special_tokens().eos);
        let asked = args.device.memory.ctx_size.map(Into::into);
        Ok(Self {
            tokenizer,
            template,
            sampler: Sampler::new(&sampling.options)?,
            context: engine::context_size(asked, checkpoint.hyperparameters(), notices),
            sampling,
            checkpoint,
            device: args.device,
            notices,
            opening,
            engine: None,
        })
    }

    /// Loads the weights.
    pub(crate) fn start(&mut self, interrupts: &Interrupts) -> Result<()> {
        let opening = match self.opening.take() {
            Some(opening) => opening,
            None => Opening::begin(&self.device.adapter)?,
        };
        let engine = Engine::start(
            &self.checkpoint,
            opening,
            &self.device,
            self.context,
            self.notices,
            interrupts,
            &mut Startup::new(),
        )?;
        self.notices
            .detail(format_args!("chat format: {}", self.template.name()));
        self.notices.detail(format_args!("seed: {}", self.seed()));
        self.engine = Some(engine);
        Ok(())
    }

    pub(crate) fn context(&self) -> usize {
        self.context
    }

    pub(crate) fn seed(&self) -> u64 {
        self.sampling.options.seed
    }

    pub(crate) fn adapter(&self) -> Result<&Adapter> {
        self.engine
            .as_ref()
            .map(|engine| &engine.adapter)
            .ok_or_else(not_started)
    }

    pub(crate) fn lora(&self) -> Vec<InUse> {
        lora::in_use(&self.checkpoint)
    }

    /// Exactly what `template` gives for these messages.
    pub(crate) fn prompt_ids(&self, messages: &[Message]) -> Result<Vec<u32>> {
        let segments = self.template.render(messages, &RenderOptions::default())?;
        let ids = prompt::encode_segments(&self.tokenizer, &segments)?;
        prompt::known_to_model(&ids, self.checkpoint.hyperparameters().vocab_size)?;
        Ok(ids)
    }

    /// Answers the conversation's last message, writes the answer as it comes, and adds it. An answer that was
    /// stopped before its first character takes the question with it.
    pub(crate) fn reply(
        &mut self,
        conversation: &mut Conversation,
        interrupts: &Interrupts,
        output: &mut Output,
    ) -> Result<Answer> {
        let fitted = conversation.fit(self.context, |messages| self.prompt_ids(messages))?;
        if fitted.dropped_pairs > 0 {
            self.notices.note(format_args!(
                "the conversation no longer fits the context of {}: the model forgets its {} oldest question(s) and answer(s)",
                self.context, fitted.dropped_pairs
            ));
        }
        // Answers of Llama 2 begin with a space, which on a terminal would stand there as an indent.
        let mut at_start = output.is_terminal();
        let answer = self.answer(&fitted.ids, interrupts, &mut |piece| {
            let Piece::Text(text) = piece else {
                return Ok(());
            };
            let text = if at_start { text.trim_start() } else { text };
            at_start &= text.is_empty();
            output.text(text)
        })?;
        match answer.finish {
            Finish::Interrupted(_) if answer.ids.is_empty() => conversation.take_back(),
            _ => conversation.answered(answer.text.clone().unwrap_or_default()),
        }
        Ok(answer)
    }

    /// Answers a prompt that fits.
    pub(crate) fn answer(
        &mut self,
        prompt_ids: &[u32],
        interrupts: &Interrupts,
        show: &mut dyn FnMut(Piece<'_>) -> Result<()>,
    ) -> Result<Answer> {
        let engine = self.engine.as_mut().ok_or_else(not_started)?;
        let mut answer = answer::answer(
            &mut engine.session,
            Some(&self.tokenizer),
            prompt_ids,
            &mut self.sampler,
            &self.sampling,
            &interrupts.watch(),
            show,
        )?;
        answer.timings.load_ms = engine.load_ms;
        self.notices.detail(answer.timings.summary());
        Ok(answer)
    }
}

fn not_started() -> anyhow::Error {
    anyhow!("the model is not loaded yet")
}
