//! Where the time from the start of the process to the first token goes, for `--verbose`.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Instant;

use crate::engine::milliseconds;
use crate::notice::Notices;

static BEGIN: OnceLock<Instant> = OnceLock::new();

/// Called first of all in `main`: from here time is counted.
pub(crate) fn begin() {
    BEGIN.get_or_init(Instant::now);
}

/// The parts of the start so far, one after the other.
#[derive(Debug)]
pub(crate) struct Startup {
    begin: Instant,
    last: Instant,
    parts: String,
    ended: bool,
}

impl Startup {
    /// What came before is the part "process".
    pub(crate) fn new() -> Self {
        let begin = *BEGIN.get_or_init(Instant::now);
        let mut startup = Self {
            begin,
            last: begin,
            parts: String::new(),
            ended: false,
        };
        startup.done("process");
        startup
    }

    /// Ends a part: it took the time since the last one ended.
    pub(crate) fn done(&mut self, part: &str) {
        let separator = if self.parts.is_empty() { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(
            self.parts,
            "{separator}{part} {:.0}",
            milliseconds(self.last)
        );
        self.last = Instant::now();
    }

    /// Says once how long it took to the first token, and what for.
    pub(crate) fn first_token(&mut self, notices: Notices) {
        if !std::mem::replace(&mut self.ended, true) {
            self.done("prompt and token");
            notices.detail(format_args!(
                "first token after {:.0} ms: {}",
                milliseconds(self.begin),
                self.parts
            ));
        }
    }
}
