//! What can be compiled: for which targets, with or without rustup, and whether with parts in C.

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

/// Whether the crate `cc` will find a compiler for this machine.
pub(super) fn c_compiler() -> bool {
    // Where Rust links with Microsoft's tools, their compiler lies beside the linker and in no PATH.
    if cfg!(target_env = "msvc") {
        return true;
    }
    let named = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    // `CC` may hold flags too.
    let program = named.split_whitespace().next().unwrap_or("cc");
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}
