//! A panic is a defect of ours and ends like any error: one line, exit code 1.
//!
//! The line has the place and never the panic's own words: those can quote a prompt.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;

use anyhow::{Result, anyhow};

static PLACE: Mutex<Option<String>> = Mutex::new(None);

/// Runs `work`; a panic in it comes back as an error. A panic that a library catches itself stays unseen.
pub(crate) fn caught(work: impl FnOnce() -> Result<()>) -> Result<()> {
    panic::set_hook(Box::new(|panic| {
        if let (Ok(mut place), Some(location)) = (PLACE.lock(), panic.location()) {
            *place = Some(location.to_string());
        }
    }));
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let place = PLACE.lock().ok().and_then(|mut place| place.take());
        let place = place.as_deref().unwrap_or("an unknown place");
        Err(anyhow!(
            "internal fault at {place}: this is a defect of llama-cli; please report this line"
        ))
    })
}
