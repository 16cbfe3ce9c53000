//! `completions`: a completion script for a shell.

use anyhow::Result;

use crate::args::{self, CompletionsArgs};
use crate::output::Output;

pub(crate) fn run(args: CompletionsArgs) -> Result<()> {
    // clap_complete panics where its writer fails, and a closed pipe is one: it writes to memory first.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(), "llama-cli", &mut script);
    Output::new().text(&String::from_utf8(script)?)
}
