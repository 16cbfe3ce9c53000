//! `cargo xtask try`: from a fresh machine to a chat with the demo model, with nothing to decide.

use anyhow::Result;

use crate::process;
use crate::setup::{Build, Consent, setup};

/// Finds an adapter, builds the program and chats with the model inside it.
///
/// # Errors
/// There is no adapter, the build fails, or the chat does.
pub fn try_demo(consent: Consent) -> Result<()> {
    setup(consent, Build::Release)?;
    let mut chat = process::command(Build::Release.executable("llama-cli")?)?;
    process::run(chat.arg("chat"))
}
