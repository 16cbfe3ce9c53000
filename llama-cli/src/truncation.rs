//! Files of weights that another program cuts short while they are mapped. Reading a page that is gone raises SIGBUS: here that is
//! a sentence and the exit code of a bad model file. Windows lets no mapped file be cut.

use std::path::Path;

/// From now on says so of the model at `path` and ends the process, wherever it reads.
#[cfg(unix)]
pub(crate) fn watch(path: &Path) -> std::io::Result<()> {
    use std::sync::OnceLock;

    use signal_hook::{consts::SIGBUS, low_level};

    use crate::escape;
    use crate::failure::MODEL_FILE;

    /// Made here, since nothing may be allocated in a handler. A process opens one model.
    static MESSAGE: OnceLock<String> = OnceLock::new();
    let message = format!(
        "{}: expected files that stay whole while they are used, found one cut short by another program; restore it and run again",
        path.display()
    );
    if MESSAGE
        .set(format!("error: {}\n", escape::one_line(&message)))
        .is_err()
    {
        return Ok(());
    }
    let end = || {
        if let Some(message) = MESSAGE.get() {
            // A closed stderr is no reason for another failure.
            let _ = rustix::io::write(rustix::stdio::stderr(), message.as_bytes());
        }
        low_level::exit(MODEL_FILE.into());
    };
    #[expect(
        unsafe_code,
        reason = "no other way shows a sentence before the process ends"
    )]
    // SAFETY: the action may do what is safe in a signal handler and nothing else. It reads a cell that was filled before, calls
    // write(2) and _exit(2), takes no lock, allocates nothing, does not return and does not unwind.
    unsafe { low_level::register(SIGBUS, end) }.map(drop)
}

#[cfg(not(unix))]
pub(crate) fn watch(_: &Path) -> std::io::Result<()> {
    Ok(())
}
