//! SIGTERM at a chat's prompt: the line editor holds the terminal in raw mode, which must not outlive the process.
//! Where there are no such signals there is nothing to do.

use std::io;

#[cfg(unix)]
pub(super) fn terminal_on_terminate() -> io::Result<()> {
    use std::io::Write;

    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
    use signal_hook::consts::{SIGHUP, SIGTERM};
    use signal_hook::iterator::Signals;

    use crate::interrupt::Signal;

    let found = tcgetattr(io::stdin())?;
    let mut signals = Signals::new([SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &found);
            // The editor had also asked for marks around pasted text.
            let _ = io::stderr().write_all(b"\x1b[?2004l\r\n");
            signal_hook::low_level::exit(Signal::Terminate.exit_code().into());
        }
    });
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn terminal_on_terminate() -> io::Result<()> {
    Ok(())
}
