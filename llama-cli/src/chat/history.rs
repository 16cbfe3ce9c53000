//! Where the lines that were typed are kept from one chat to the next.

use std::fs;
use std::path::PathBuf;

use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};

/// The history file in the platform's place for state (`$XDG_STATE_HOME`, else `~/.local/state`, on
/// Linux; the application data elsewhere); its directory is made. `None` where there is no such place.
pub(crate) fn file() -> Option<PathBuf> {
    let places = choose_native_strategy().ok()?;
    let directory = places
        .state_dir()
        .unwrap_or_else(|| places.data_dir())
        .join("llama-cli");
    fs::create_dir_all(&directory).ok()?;
    Some(directory.join("history.txt"))
}
