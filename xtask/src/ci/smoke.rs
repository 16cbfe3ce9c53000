//! The program as a person starts it: the demo model inside it, on the adapter of this machine.

use std::io::Write;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::process;
use crate::setup::Build;

/// The command line, with its input.
pub(super) const AGAIN: &str = r#"echo '[{"role": "user", "content": "Hello"}]' | cargo run --package llama-cli -- chat --json --temp 0"#;

#[derive(Deserialize)]
struct Answer {
    text: String,
    ids: Vec<u32>,
    finish_reason: String,
}

/// Asks the demo model something and expects an answer that it ended itself.
pub(super) fn demo_model_answers() -> Result<()> {
    let mut command = process::command(Build::Workspace.executable("llama-cli")?)?;
    command.args(["chat", "--json", "--temp", "0"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    stdin.write_all(br#"[{"role": "user", "content": "Hello"}]"#)?;
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{}", output.status);
    }
    let answer: Answer = serde_json::from_slice(&output.stdout).context("not the chat's JSON")?;
    eprintln!("{:?}", answer.text);
    if answer.text.trim().is_empty() || answer.ids.is_empty() || answer.finish_reason != "eos" {
        bail!(
            "expected a short answer, found {} ids, finish_reason {}",
            answer.ids.len(),
            answer.finish_reason
        );
    }
    Ok(())
}
