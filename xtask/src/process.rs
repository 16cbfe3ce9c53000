//! Running other programs: where, with what environment, and what to say when one fails.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The workspace's root.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Cargo's target directory for this workspace.
///
/// # Errors
/// `cargo metadata` fails.
pub fn target() -> Result<&'static Path> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    if let Some(target) = TARGET.get() {
        return Ok(target);
    }
    let mut command = Command::new(program("cargo"));
    command
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root());
    let output = read(&mut command)?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    Ok(TARGET.get_or_init(|| metadata.target_directory))
}

/// The cargo that runs this program, as [`command`].
///
/// # Errors
/// As [`target`].
pub fn cargo<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(arguments: I) -> Result<Command> {
    let mut command = command(program("cargo"))?;
    command.args(arguments);
    Ok(command)
}

/// A program in the workspace's root, with a shader cache of the workspace's own: a test run neither reads what another
/// project compiled nor leaves anything behind.
///
/// # Errors
/// As [`target`].
pub fn command(program: impl AsRef<OsStr>) -> Result<Command> {
    let mut command = Command::new(program);
    command
        .current_dir(root())
        .env("MESA_SHADER_CACHE_DIR", target()?.join("mesa-shader-cache"));
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // Mesa's layer that chooses a device by the window system calls it an error that there is none, at every start.
        command.env("NODEVICE_SELECT", "1");
    }
    Ok(command)
}

fn program(name: &str) -> String {
    std::env::var("CARGO").unwrap_or_else(|_| name.to_owned())
}

/// Runs `command` with our standard streams.
///
/// # Errors
/// It cannot be started, or it fails; the error is the command line.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Runs `command` and returns what it wrote to standard output; standard error stays ours.
///
/// # Errors
/// As [`run`].
pub fn read(command: &mut Command) -> Result<Output> {
    let output = read_any(command)?;
    if !output.status.success() {
        bail!("`{}` failed: {}", line(command), output.status);
    }
    Ok(output)
}

/// As [`read`], whatever the exit status.
///
/// # Errors
/// It cannot be started.
pub fn read_any(command: &mut Command) -> Result<Output> {
    command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", line(command)))
}

/// A command as one would type it.
pub fn line(command: &Command) -> String {
    let name = Path::new(command.get_program())
        .file_stem()
        .unwrap_or_default();
    let words = std::iter::once(name).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
