//! stdout: generated text and machine output, nothing else.

use std::io::{self, IsTerminal, StdoutLock, Write};

use anyhow::Result;
use serde::Serialize;

use crate::escape;

/// stdout, locked for the life of a command.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: StdoutLock<'static>,
    is_terminal: bool,
    /// Whether the cursor stands behind text on its line.
    is_mid_line: bool,
}

impl Output {
    pub(crate) fn new() -> Self {
        let stdout = io::stdout().lock();
        Self {
            is_terminal: stdout.is_terminal(),
            stdout,
            is_mid_line: false,
        }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Text as it comes, shown at once: exact for a pipe, without control characters for a terminal.
    pub(crate) fn text(&mut self, text: &str) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.is_mid_line = !text.ends_with('\n');
        let shown = if self.is_terminal {
            escape::for_terminal(text)
        } else {
            text.into()
        };
        let written = self.stdout.write_all(shown.as_bytes());
        self.shown(written)
    }

    /// Ends a text: on a terminal the next line begins on a line of its own, a pipe gets nothing added.
    pub(crate) fn end_text(&mut self) -> Result<()> {
        if self.is_terminal && self.is_mid_line {
            self.line("")?;
        }
        Ok(())
    }

    /// A line of machine output.
    pub(crate) fn line(&mut self, line: &str) -> Result<()> {
        self.is_mid_line = false;
        let shown = if self.is_terminal {
            escape::for_terminal(line)
        } else {
            line.into()
        };
        let written = writeln!(self.stdout, "{shown}");
        self.shown(written)
    }

    /// One JSON value on a line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let json = serde_json::to_string(value)?;
        let written = writeln!(self.stdout, "{json}");
        self.shown(written)
    }

    /// Ends a write: what was written is seen at once, and an error names stdout.
    fn shown(&mut self, written: io::Result<()>) -> Result<()> {
        written.and_then(|()| self.stdout.flush()).map_err(|error| {
            let sentence = format!("stdout: expected to be written to, found: {error}");
            anyhow::Error::new(error).context(sentence)
        })
    }
}
