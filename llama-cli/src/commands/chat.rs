//! `chat`: talks over several turns. Which way depends on who is there: a program with --json, a person at a
//! terminal, or lines from a pipe.

use std::io::{self, BufRead, IsTerminal};

use anyhow::Result;
use llama_chat_template::{Message, Role, parse_messages};

use crate::answer::{AnswerJson, Finish};
use crate::args::ChatArgs;
use crate::chat::conversation::Conversation;
use crate::chat::partner::Partner;
use crate::chat::terminal;
use crate::engine;
use crate::failure::usage;
use crate::interrupt::{Interrupted, Interrupts};
use crate::notice::Notices;
use crate::output::Output;
use crate::prompt;

pub(crate) fn run(args: ChatArgs, interrupts: &Interrupts) -> Result<()> {
    if args.output.json {
        answer_once(args, interrupts)
    } else if io::stdin().is_terminal() {
        terminal::run(args, interrupts)
    } else {
        answer_lines(args, interrupts)
    }
}

/// One list of messages in, one object out.
fn answer_once(args: ChatArgs, interrupts: &Interrupts) -> Result<()> {
    let notices = Notices::new(&args.output);
    let mut messages = parse_messages(&prompt::read_stdin()?)?;
    if let Some(text) = &args.system {
        if messages
            .first()
            .is_some_and(|message| message.role == Role::System)
        {
            return Err(usage(
                "--system: expected messages without a system message of their own, found one",
            ));
        }
        messages.insert(0, Message::new(Role::System, text));
    }
    let mut partner = Partner::new(args, notices)?;
    let prompt_ids = partner.prompt_ids(&messages)?;
    engine::fits(&prompt_ids, partner.context())?;
    partner.start(interrupts)?;
    let answer = partner.answer(&prompt_ids, interrupts, &mut |_| Ok(()))?;
    if let Finish::Interrupted(signal) = answer.finish {
        return Err(Interrupted(signal).into());
    }
    Output::new().json(&AnswerJson {
        text: answer.text.as_deref(),
        prompt_ids: &prompt_ids,
        ids: &answer.ids,
        finish_reason: answer.finish,
        seed: partner.seed(),
        timings: answer.timings,
        adapter: partner.adapter()?,
        lora: partner.lora(),
    })
}

/// Every line of stdin is a turn of the user's; blank ones are passed over. The first error ends it.
fn answer_lines(args: ChatArgs, interrupts: &Interrupts) -> Result<()> {
    let notices = Notices::new(&args.output);
    let mut conversation = Conversation::new(args.system.clone());
    let mut partner = Partner::new(args, notices)?;
    partner.start(interrupts)?;
    let mut output = Output::new();
    for (index, line) in io::stdin().lock().lines().enumerate() {
        let line = line.map_err(|error| {
            usage(format!(
                "stdin line {}: expected UTF-8 text, found: {error}",
                index + 1
            ))
        })?;
        if line.trim().is_empty() {
            continue;
        }
        conversation.ask(line);
        let answer = partner.reply(&mut conversation, interrupts, &mut output)?;
        if let Finish::Interrupted(signal) = answer.finish {
            return Err(Interrupted(signal).into());
        }
        output.line("")?;
    }
    Ok(())
}
