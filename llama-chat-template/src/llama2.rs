//! Llama 2's own chat format, as Meta's reference code writes it. It takes no template and no option.
//!
//! Every finished turn is `BOS "[INST] question [/INST] answer " EOS`, the open turn `BOS "[INST] question [/INST]"`.
//! The system message stands inside the first question, and the question is stripped after it was put there.
//! Source: `Llama.chat_completion` in `llama/generation.py` of the published reference, in its order of refusals.

use crate::python::strip;
use crate::{Error, Message, Role, Segment};

/// What structures the prompt and therefore may stand in no content.
const TAGS: [&str; 4] = ["[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"];

/// The prompt of `messages`.
pub(crate) fn render(messages: &[Message]) -> Result<Vec<Segment>, Error> {
    let (system, turns) = match messages {
        [] => {
            return Err(Error::NothingToAnswer {
                found: "an empty list",
            });
        }
        [system] if system.role == Role::System => {
            return Err(Error::NothingToAnswer {
                found: "a system message alone",
            });
        }
        [system, turns @ ..] if system.role == Role::System => (Some(system), turns),
        turns => (None, turns),
    };
    check_roles(turns, messages.len() - turns.len())?;
    check_tags(messages)?;

    let mut segments = Vec::with_capacity(3 * turns.len().div_ceil(2));
    for (turn, pair) in turns.chunks(2).enumerate() {
        let asked = &pair[0].content;
        let question = match system {
            Some(system) if turn == 0 => {
                format!("<<SYS>>\n{}\n<</SYS>>\n\n{asked}", system.content)
            }
            _ => asked.clone(),
        };
        let question = strip(&question);
        segments.push(Segment::Bos);
        if let Some(answer) = pair.get(1) {
            segments.push(Segment::Text(format!(
                "[INST] {question} [/INST] {} ",
                strip(&answer.content)
            )));
            segments.push(Segment::Eos);
        } else {
            segments.push(Segment::Text(format!("[INST] {question} [/INST]")));
        }
    }
    Ok(segments)
}

/// Roles alternate from user on, and the user has the last word; `first` messages stand before `turns`.
fn check_roles(turns: &[Message], first: usize) -> Result<(), Error> {
    for (turn, message) in turns.iter().enumerate() {
        let expected = if turn % 2 == 0 {
            Role::User
        } else {
            Role::Assistant
        };
        if message.role != expected {
            return Err(Error::RoleOrder {
                index: first + turn,
                expected,
                found: message.role.clone(),
            });
        }
    }
    match turns.last() {
        Some(last) if last.role != Role::User => Err(Error::LastRole {
            index: first + turns.len() - 1,
            found: last.role.clone(),
        }),
        _ => Ok(()),
    }
}

fn check_tags(messages: &[Message]) -> Result<(), Error> {
    for (index, message) in messages.iter().enumerate() {
        if let Some(tag) = TAGS.into_iter().find(|tag| message.content.contains(tag)) {
            return Err(Error::Tag { index, tag });
        }
    }
    Ok(())
}
