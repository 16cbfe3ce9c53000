//! What may pass and what will not, and how long to wait for it.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::failure::Network;

/// How often something is tried in a row without a byte gained.
pub(super) const TRIES: u32 = 5;
/// The pause before the second try; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The Hub counts requests in windows of five minutes.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Why a request did not give what was asked for.
#[derive(Debug)]
pub(super) enum Fault {
    /// Worth another try, after `pause` where the server said so.
    Passing {
        what: String,
        pause: Option<Duration>,
    },
    /// The same next time.
    Lasting(anyhow::Error),
}

impl Fault {
    pub(super) fn passing(what: String) -> Self {
        Self::Passing { what, pause: None }
    }

    /// A server that does not do as the Hub does: exit code 5.
    pub(super) fn lasting(what: String) -> Self {
        Self::Lasting(Network(what).into())
    }
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        Self::Lasting(error)
    }
}

/// Tries that are left.
pub(super) struct Patience<'a> {
    failed: u32,
    /// Told of every wait.
    say: &'a dyn Fn(String),
}

impl<'a> Patience<'a> {
    pub(super) fn new(say: &'a dyn Fn(String)) -> Self {
        Self { failed: 0, say }
    }

    /// Something came of a try.
    pub(super) fn renew(&mut self) {
        self.failed = 0;
    }

    /// Waits until another try makes sense.
    ///
    /// # Errors
    /// None does.
    pub(super) fn wait(&mut self, fault: Fault) -> Result<()> {
        let (what, asked) = match fault {
            Fault::Lasting(error) => return Err(error),
            Fault::Passing { what, pause } => (what, pause),
        };
        self.failed += 1;
        if self.failed == TRIES {
            return Err(Network(format!(
                "{what}, {TRIES} times in a row; run the command again to go on from there"
            ))
            .into());
        }
        let pause = asked.unwrap_or(FIRST_PAUSE * (1 << (self.failed - 1)));
        if pause > LONGEST_PAUSE {
            return Err(Network(format!(
                "{what}, which asks for {} seconds; run the command again after them",
                pause.as_secs()
            ))
            .into());
        }
        (self.say)(format!(
            "{what}; trying again in {:.1} s",
            pause.as_secs_f64()
        ));
        thread::sleep(pause);
        Ok(())
    }

    /// The first answer that is none to wait for.
    pub(super) fn until<T>(&mut self, mut ask: impl FnMut() -> Result<T, Fault>) -> Result<T> {
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(fault) => self.wait(fault)?,
            }
        }
    }
}
