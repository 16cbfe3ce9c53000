//! Which targets can be compiled for, with or without rustup.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process;

/// Whether the standard library of `target` is installed.
pub(super) fn target(target: &str) -> Result<bool> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output =
        process::read(Command::new(rustc).args(["--print", "target-libdir", "--target", target]))?;
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}
