//! The demo model: a small chat model that this project trained, part of the program.

use std::fs;
use std::io;

use anyhow::Result;
use llama_chat_template::{ChatTemplate, TemplateSource};
use llama_tokenizer::{PieceList, Tokenizer};
use llama_weights::Checkpoint;
use tempfile::TempDir;

use crate::failure::Disk;

const ORIGIN: &str = "built-in demo model";
const CONFIG: &[u8] = include_bytes!("../demo/model/config.json");
const GENERATION_CONFIG: &[u8] = include_bytes!("../demo/model/generation_config.json");
const TOKENIZER: &[u8] = include_bytes!("../demo/model/tokenizer.json");
const TOKENIZER_CONFIG: &str = include_str!("../demo/model/tokenizer_config.json");
const WEIGHTS: &[u8] = include_bytes!("../demo/model/model.safetensors");

/// The weights, by way of a private temporary directory, since checkpoints are mapped files. Keep the
/// directory as long as the checkpoint; `None` where the system lets mapped files be removed, as Unix does.
pub(crate) fn checkpoint() -> Result<(Checkpoint, Option<TempDir>)> {
    let directory = unpack().map_err(|error| {
        let place = std::env::temp_dir();
        Disk(format!(
            "{}: expected room for the demo model, found: {error}; name a model with --model",
            place.display()
        ))
    })?;
    let checkpoint = Checkpoint::open(directory.path())?;
    Ok((checkpoint, (!cfg!(unix)).then_some(directory)))
}

fn unpack() -> io::Result<TempDir> {
    let directory = tempfile::Builder::new()
        .prefix("llama-cli-demo")
        .tempdir()?;
    let files = [
        ("config.json", CONFIG),
        ("generation_config.json", GENERATION_CONFIG),
        ("model.safetensors", WEIGHTS),
    ];
    for (name, bytes) in files {
        fs::write(directory.path().join(name), bytes)?;
    }
    Ok(directory)
}

pub(crate) fn tokenizer() -> Result<Tokenizer, llama_tokenizer::Error> {
    Tokenizer::from_json_bytes(TOKENIZER, ORIGIN)
}

pub(crate) fn template() -> Result<ChatTemplate, llama_chat_template::Error> {
    ChatTemplate::from_config_json(TOKENIZER_CONFIG, ORIGIN)
}

pub(crate) fn jinja_template() -> Result<Option<ChatTemplate>, llama_chat_template::Error> {
    ChatTemplate::jinja_from_config_json(TOKENIZER_CONFIG, ORIGIN)
}

pub(crate) fn pieces() -> Result<PieceList, llama_tokenizer::Error> {
    PieceList::from_json_bytes(TOKENIZER, ORIGIN)
}

pub(crate) fn template_source() -> Result<TemplateSource, llama_chat_template::Error> {
    TemplateSource::from_config_json(TOKENIZER_CONFIG, ORIGIN)
}
