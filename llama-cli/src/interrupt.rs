//! SIGINT and SIGTERM. Outside a watched section they end the process at once with 130 and 143; inside
//! one they are noted and the section ends itself, and a second one ends the process.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The process was asked to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted(pub(crate) Signal);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Interrupt,
    Terminate,
}

impl Signal {
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    const fn number(self) -> i32 {
        match self {
            Self::Interrupt => SIGINT,
            Self::Terminate => SIGTERM,
        }
    }
}

/// The handlers of this process.
#[derive(Debug)]
pub(crate) struct Interrupts {
    /// Whether the next signal ends the process from inside its handler.
    at_once: Arc<AtomicBool>,
    /// The number of the last signal that was noted; 0 is none.
    noted: Arc<AtomicUsize>,
}

impl Interrupts {
    pub(crate) fn install() -> io::Result<Self> {
        let this = Self {
            at_once: Arc::new(AtomicBool::new(true)),
            noted: Arc::default(),
        };
        for signal in [Signal::Interrupt, Signal::Terminate] {
            let number = signal.number();
            // In this order the first signal of a watched section arms the end that the second one meets.
            flag::register_conditional_shutdown(
                number,
                signal.exit_code().into(),
                Arc::clone(&this.at_once),
            )?;
            flag::register(number, Arc::clone(&this.at_once))?;
            flag::register_usize(
                number,
                Arc::clone(&this.noted),
                number.unsigned_abs() as usize,
            )?;
        }
        Ok(this)
    }

    /// Opens a watched section, which lasts until the value is dropped.
    pub(crate) fn watch(&self) -> Watch<'_> {
        self.noted.store(0, Ordering::SeqCst);
        self.at_once.store(false, Ordering::SeqCst);
        Watch { interrupts: self }
    }
}

/// A section that asks for signals often enough to end itself.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    interrupts: &'a Interrupts,
}

impl Watch<'_> {
    /// The signal that came since the section was opened.
    pub(crate) fn noted(&self) -> Option<Signal> {
        let number = self.interrupts.noted.load(Ordering::SeqCst);
        [Signal::Interrupt, Signal::Terminate]
            .into_iter()
            .find(|signal| signal.number().unsigned_abs() as usize == number)
    }

    /// For callbacks of the libraries: break off once a signal came.
    pub(crate) fn flow(&self) -> ControlFlow<()> {
        match self.noted() {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }

    /// Ends the section; an error if a signal came in it that nobody has heeded.
    pub(crate) fn end(self) -> Result<(), Interrupted> {
        let interrupts = self.interrupts;
        // From here on a signal ends the process, so that none can come between the section's end and the look at what
        // was noted in it.
        drop(self);
        Watch { interrupts }.check()
    }

    /// The same for code of our own.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        self.noted()
            .map_or(Ok(()), |signal| Err(Interrupted(signal)))
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.interrupts.at_once.store(true, Ordering::SeqCst);
    }
}
