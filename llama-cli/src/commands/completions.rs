//! `completions`: a completion script for a shell.

use std::io::{self, Write};

use anyhow::Result;

use crate::args::{self, CompletionsArgs};

pub(crate) fn run(args: CompletionsArgs) -> Result<()> {
    // clap_complete panics where its writer fails, and a closed pipe is one: it writes to memory first.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(), "llama-cli", &mut script);
    Ok(io::stdout().lock().write_all(&script)?)
}
