//! `cargo xtask dist --bench-kit DIR`: a folder that is carried to another machine of this architecture, tries the kernels and measures
//! there without cargo, and brings back one folder of results.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{process, report};

/// The script that runs on the other machine.
pub const RUN: &str = include_str!("kit/run.sh");
const README: &str = include_str!("kit/README.txt");

/// So that a kit can be sent: stripped release programs take a third of it.
const MOST_BYTES: u64 = 60 << 20;

/// A program of the kit: its name there, and what cargo builds it with.
struct Part {
    name: &'static str,
    cargo: &'static [&'static str],
    target: &'static str,
}

const PARTS: [Part; 3] = [
    Part {
        name: "llama-cli",
        cargo: &["build", "--release", "--package", "llama-cli"],
        target: "llama-cli",
    },
    Part {
        name: "trials",
        cargo: &[
            "test",
            "--release",
            "--no-run",
            "--package",
            "llama-kernels",
            "--test",
            "numeric",
        ],
        target: "numeric",
    },
    Part {
        name: "kernels",
        cargo: &[
            "bench",
            "--no-run",
            "--package",
            "llama-kernels",
            "--bench",
            "kernels",
        ],
        target: "kernels",
    },
];

/// Builds the kit into `directory`, which is made where it is missing.
///
/// # Errors
/// Something does not build, a file cannot be written, or the kit is too large to send.
pub fn bench_kit(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let mut bytes = 0;
    for Part {
        name,
        cargo,
        target,
    } in &PARTS
    {
        let built = build(cargo, target)?;
        let to = directory.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        // Permissions come along.
        bytes += fs::copy(&built, &to)
            .with_context(|| format!("{} to {}", built.display(), to.display()))?;
    }
    fs::write(directory.join("README.txt"), README)?;
    script(directory)?;
    if bytes > MOST_BYTES {
        bail!("the kit's programs take {bytes} bytes: expected at most {MOST_BYTES}");
    }
    eprintln!("kit: {} ({} MiB)", directory.display(), bytes >> 20);
    Ok(())
}

/// Builds the kit and runs it here, then the comparison with plain CPU loops where the adapter is a software one; writes tables and
/// plots. A failing step is in the table, not an error.
///
/// # Errors
/// Something does not build, there is no adapter, or a file cannot be written.
pub fn benchmarks(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let directory = directory
        .canonicalize()
        .with_context(|| directory.display().to_string())?;
    let kit = process::target()?.join("bench-kit");
    bench_kit(&kit)?;
    process::run(
        process::command(kit.join("run.sh"))?
            .args(["models", "depths"])
            .env("OUT", &directory),
    )?;
    let json = directory.join(report::RATIOS);
    let mut software = process::cargo([
        "bench",
        "--locked",
        "--package",
        "llama-model",
        "--bench",
        "software",
        "--",
        "--json",
    ])?;
    process::run(software.arg(&json))?;
    report::report(&directory)
}

/// Writes the script, executable.
fn script(directory: &Path) -> Result<()> {
    let path = directory.join("run.sh");
    fs::write(&path, RUN)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Builds, and gives the executable that cargo names.
fn build(arguments: &[&str], target: &str) -> Result<PathBuf> {
    let mut command = process::cargo(arguments)?;
    command.args(["--locked", "--message-format", "json-render-diagnostics"]);
    let output = process::read(&mut command)?;
    let messages = String::from_utf8_lossy(&output.stdout);
    executable(&messages, target)
        .with_context(|| format!("`{}` named no executable {target}", process::line(&command)))
}

/// The executable of a target in cargo's messages.
fn executable(messages: &str, target: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        target: Option<Target>,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages
        .filter(|message| {
            message
                .target
                .as_ref()
                .is_some_and(|found| found.name == target)
        })
        .filter_map(|message| message.executable)
        .next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_the_targets_own() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"kernels"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/t/other"}"#,
            "\nno JSON\n",
            r#"{"reason":"compiler-artifact","target":{"name":"kernels"},"executable":"/t/kernels-1"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(
            executable(messages, "kernels"),
            Some(PathBuf::from("/t/kernels-1"))
        );
        assert_eq!(executable(messages, "numeric"), None);
    }
}
