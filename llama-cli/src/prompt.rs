//! Text, ids and chat segments on their way to the model: reading them, and turning them into ids.

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use anyhow::Result;
use llama_chat_template::Segment;
use llama_tokenizer::Tokenizer;
use llama_weights::{Checkpoint, Format};

use crate::args::PromptArgs;
use crate::failure::{BadModel, usage};
use crate::notice::Notices;

/// What a command continues or scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Prompt {
    Text(String),
    Ids(Vec<u32>),
}

impl Prompt {
    /// From the flags, else stdin.
    pub(crate) fn read(args: PromptArgs, notices: Notices) -> Result<Self> {
        Ok(match args {
            PromptArgs { ids: Some(ids), .. } => Self::Ids(ids.0),
            PromptArgs {
                prompt: Some(text), ..
            } => Self::Text(text),
            PromptArgs {
                file: Some(path), ..
            } if path != Path::new("-") => Self::Text(read_file(&path)?),
            _ => {
                if io::stdin().is_terminal() {
                    notices.note(
                        "reading the prompt from the terminal; Ctrl-D on a line of its own ends it",
                    );
                }
                Self::Text(read_stdin()?)
            }
        })
    }
}

/// The whole of stdin.
pub(crate) fn read_stdin() -> Result<String> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .map_err(|error| usage(format!("stdin: expected readable text, found: {error}")))?;
    utf8(bytes, "stdin")
}

/// A file that the command line names as input; `-` is stdin.
pub(crate) fn read_input(path: &Path) -> Result<String> {
    if path == Path::new("-") {
        read_stdin()
    } else {
        read_file(path)
    }
}

fn read_file(path: &Path) -> Result<String> {
    let shown = path.display();
    let bytes = fs::read(path).map_err(|error| {
        usage(format!(
            "{shown}: expected a readable text file, found: {error}"
        ))
    })?;
    utf8(bytes, &shown.to_string())
}

fn utf8(bytes: Vec<u8>, origin: &str) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        usage(format!(
            "{origin}: expected UTF-8 text, found another byte at offset {offset}"
        ))
    })
}

/// Ids of a text, with the ids in front and behind that the tokenizer's configuration asks for.
pub(crate) fn encode(tokenizer: &Tokenizer, text: &str, vocab_size: usize) -> Result<Vec<u32>> {
    let ids = tokenizer.encode_with_bos(text)?;
    known_to_model(&ids, vocab_size)?;
    Ok(ids)
}

/// Ids of a chat: every text on its own, as ordinary text.
pub(crate) fn encode_segments(tokenizer: &Tokenizer, segments: &[Segment]) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    for segment in segments {
        match segment {
            Segment::Text(text) => ids.extend(tokenizer.encode(text)?),
            Segment::Bos => ids.push(special(
                tokenizer.special_tokens().bos,
                "a begin-of-sequence token",
            )?),
            Segment::Eos => ids.push(special(
                tokenizer.special_tokens().eos,
                "an end-of-sequence token",
            )?),
            Segment::Control(piece) => ids.push(special(
                tokenizer.token_id(piece),
                &format!("the token {piece}"),
            )?),
        }
    }
    Ok(ids)
}

fn special(id: Option<u32>, name: &str) -> Result<u32> {
    let expected = || {
        BadModel(format!(
            "the chat template needs {name}, which the tokenizer does not have"
        ))
    };
    Ok(id.ok_or_else(expected)?)
}

/// A tokenizer may know more pieces than the model has embeddings for.
pub(crate) fn known_to_model(ids: &[u32], vocab_size: usize) -> Result<()> {
    match ids.iter().find(|&&id| id as usize >= vocab_size) {
        Some(id) => Err(BadModel(format!(
            "the tokenizer gives id {id}, expected ids below the model's vocabulary of {vocab_size}: tokenizer and weights are not of one model"
        ))
        .into()),
        None => Ok(()),
    }
}

/// Meta's files leave the vocabulary's size to the tokenizer, so both must have the same.
pub(crate) fn same_vocabulary(tokenizer: &Tokenizer, checkpoint: &Checkpoint) -> Result<()> {
    let (pieces, rows) = (
        tokenizer.vocab_size(),
        checkpoint.hyperparameters().vocab_size,
    );
    if checkpoint.format() == Format::Meta && pieces != rows {
        return Err(BadModel(format!(
            "the tokenizer has {pieces} pieces, expected the {rows} of the model's embedding: tokenizer and weights are not of one model"
        ))
        .into());
    }
    Ok(())
}

/// Ids of a command line.
pub(crate) fn within_vocabulary(ids: &[u32], vocab_size: usize) -> Result<()> {
    match ids.iter().find(|&&id| id as usize >= vocab_size) {
        Some(id) => Err(usage(format!(
            "id {id}: expected ids below the vocabulary's size of {vocab_size}"
        ))),
        None => Ok(()),
    }
}
