//! What goes wrong on the device outside any call: loss, and errors that no scope caught. wgpu's default for both is
//! to panic.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use wgpu::ErrorFilter;

use crate::Error;

/// The faults of one device; its callbacks write, every call of the runtime reads.
#[derive(Debug, Default)]
pub(super) struct Faults {
    lost: OnceLock<String>,
    uncaptured: Mutex<Option<Error>>,
}

impl Faults {
    /// Takes the place of wgpu's panicking handlers.
    pub(super) fn watch(device: &wgpu::Device) -> Arc<Self> {
        let faults = Arc::new(Self::default());
        let of_errors = Arc::clone(&faults);
        device.on_uncaptured_error(Arc::new(move |error| of_errors.uncaptured(&error)));
        let of_loss = Arc::clone(&faults);
        device.set_device_lost_callback(move |reason, message| {
            of_loss.lose(&format!("{reason:?}, {message}"))
        });
        faults
    }

    /// The device's loss, or the first error since the last call; an error is given once, loss always.
    pub(super) fn check(&self) -> Result<(), Error> {
        if let Some(reason) = self.lost.get() {
            return Err(Error::DeviceLost {
                reason: reason.clone(),
            });
        }
        match self
            .uncaptured
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Runs a call of wgpu that panics when the device is lost, and turns the panic into that loss.
    ///
    /// With `panic = "abort"` such a panic cannot be caught; the check before the call then sees most losses.
    pub(super) fn guard<T>(&self, call: impl FnOnce() -> T) -> Result<T, Error> {
        self.check()?;
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(value) => Ok(value),
            Err(panic) => {
                let message = (panic.downcast_ref::<String>().map(String::as_str))
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("wgpu panicked");
                self.lose(message);
                Err(self.check().err().unwrap_or(Error::DeviceLost {
                    reason: message.to_owned(),
                }))
            }
        }
    }

    /// Runs a call, and turns what its error scopes caught into an error.
    pub(super) fn scoped<T>(
        &self,
        device: &wgpu::Device,
        call: impl FnOnce() -> T,
        error: impl FnOnce(String) -> Error,
    ) -> Result<T, Error> {
        let (value, caught) = self.guard(|| {
            let scopes = [
                ErrorFilter::OutOfMemory,
                ErrorFilter::Internal,
                ErrorFilter::Validation,
            ]
            .map(|filter| device.push_error_scope(filter));
            let value = call();
            let caught: Vec<_> = scopes
                .into_iter()
                .rev()
                .map(|scope| pollster::block_on(scope.pop()))
                .collect();
            (value, caught.into_iter().flatten().next())
        })?;
        self.heed(device)?;
        match caught {
            Some(caught) => Err(error(one_line(&caught.to_string()))),
            None => Ok(value),
        }
    }

    /// The faults so far. wgpu tells of a loss only when it is polled; until then its calls on a lost device do nothing.
    pub(super) fn heed(&self, device: &wgpu::Device) -> Result<(), Error> {
        // A poll that does not wait can only fail by loss, which the guard and the callback see.
        let _ = self.guard(|| device.poll(wgpu::PollType::Poll))?;
        self.check()
    }

    fn lose(&self, reason: &str) {
        // Only the first reason counts: later ones follow from it.
        let _ = self.lost.set(one_line(reason));
    }

    fn uncaptured(&self, error: &wgpu::Error) {
        let mut first = self
            .uncaptured
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| describe(error, "a command", 0, 0));
    }
}

/// wgpu's error as ours; `label`, `asked` and `allocated` are for the case that memory ran out.
pub(super) fn describe(error: &wgpu::Error, label: &str, asked: u64, allocated: u64) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory {
            label: label.to_owned(),
            asked,
            allocated,
        },
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            Error::Driver {
                reason: one_line(description),
            }
        }
    }
}

/// wgpu writes trees over several lines.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_guarded_call_is_device_loss_from_then_on() {
        let faults = Faults::default();
        let lost = Error::DeviceLost {
            reason: "Parent device is lost".to_owned(),
        };
        assert_eq!(
            faults.guard(|| panic!("Parent device\n is lost")),
            Err::<(), _>(lost.clone())
        );
        assert_eq!(faults.check(), Err(lost.clone()));
        assert_eq!(faults.guard(|| 1), Err(lost));
    }

    #[test]
    fn an_uncaptured_error_is_given_once_and_the_first_counts() {
        let faults = Faults::default();
        let error = |description: &str| wgpu::Error::Validation {
            source: Box::from(String::new()),
            description: description.to_owned(),
        };
        faults.uncaptured(&error("first\n  cause"));
        faults.uncaptured(&error("second"));
        let message = faults.check().unwrap_err().to_string();
        assert_eq!(message, "the GPU refused a command: first cause");
        assert_eq!(faults.check(), Ok(()));
    }

    #[test]
    fn out_of_memory_keeps_its_numbers() {
        let error = wgpu::Error::OutOfMemory {
            source: Box::from(String::new()),
        };
        assert_eq!(
            describe(&error, "kv cache", 1024, 4096).to_string(),
            "out of GPU memory: kv cache needs 1024 bytes and 4096 are in use; choose a smaller weight format or a \
             shorter context"
        );
    }
}
