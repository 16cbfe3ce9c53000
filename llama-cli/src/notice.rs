//! Lines for people, on stderr: notes unless --quiet, details with --verbose. Never prompt text, never a failure.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use crate::args::OutputArgs;
use crate::escape;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Notices {
    quiet: bool,
    verbose: bool,
}

impl Notices {
    pub(crate) fn new(output: &OutputArgs) -> Self {
        Self {
            quiet: output.quiet,
            verbose: output.verbose && !output.quiet,
        }
    }

    /// Something that the user should know and did not ask for.
    pub(crate) fn note(self, message: impl Display) {
        if !self.quiet {
            line("note", message);
        }
    }

    /// Something that is likely not what the user wants.
    pub(crate) fn warn(self, message: impl Display) {
        if !self.quiet {
            line("warning", message);
        }
    }

    /// Something for those who asked.
    pub(crate) fn detail(self, message: impl Display) {
        if self.verbose {
            line("info", message);
        }
    }

    /// Whether somebody at a terminal says yes.
    #[cfg(feature = "hub")]
    pub(crate) fn asks(self, question: &str) -> bool {
        if self.quiet || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return false;
        }
        // Not to be seen is not to be agreed to.
        let shown = write!(io::stderr(), "{question}").and_then(|()| io::stderr().flush());
        let mut answer = String::new();
        shown.is_ok()
            && io::stdin().read_line(&mut answer).is_ok()
            && ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
    }

    /// Whether a progress bar may be drawn.
    pub(crate) fn may_draw(self) -> bool {
        !self.quiet
            && io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }
}

/// A line about something that went wrong without ending the process.
pub(crate) fn problem(error: &anyhow::Error) {
    line("error", error);
}

fn line(kind: &str, message: impl Display) {
    // A closed stderr is no reason to fail.
    let _ = writeln!(
        io::stderr(),
        "{kind}: {}",
        escape::one_line(&message.to_string())
    );
}
