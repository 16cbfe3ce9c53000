//! `cargo xtask golden`: reruns the Python generators of the tests' golden data. Never part of `ci`: the
//! generators need torch and transformers, several GB.
//!
//! A generator is a `generate.py` anywhere under a crate's `tests/golden`, with the `requirements.txt` beside it that
//! pins what it imports. Each gets a virtual environment of its own under the target directory.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// Runs the generators whose path holds one of `wanted`, all without one. What changed, `git status` shows.
///
/// # Errors
/// There is no such generator, Python is absent, or a generator fails.
pub fn golden(wanted: &[&str]) -> Result<()> {
    let generators: Vec<PathBuf> = generators(process::root())?
        .into_iter()
        .filter(|path| {
            wanted.is_empty()
                || wanted
                    .iter()
                    .any(|part| path.to_string_lossy().contains(part))
        })
        .collect();
    if generators.is_empty() {
        bail!(
            "expected a tests/golden/**/generate.py whose path holds {}, found none",
            wanted.join(" or ")
        );
    }
    for generator in generators {
        run(&generator)?;
    }
    Ok(())
}

/// All generators under `root`, in order.
///
/// # Errors
/// A directory cannot be read.
pub fn generators(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in read_sorted(root)? {
        let golden = entry.join("tests").join("golden");
        if golden.is_dir() {
            collect(&golden, &mut found)?;
        }
    }
    Ok(found)
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in read_sorted(directory)? {
        if entry.is_dir() {
            collect(&entry, found)?;
        } else if entry.file_name() == Some(OsStr::new("generate.py")) {
            found.push(entry);
        }
    }
    Ok(())
}

fn read_sorted(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

fn run(generator: &Path) -> Result<()> {
    let directory = generator
        .parent()
        .context("a generator lies in a directory")?;
    let shown = directory.strip_prefix(process::root()).unwrap_or(directory);
    eprintln!("golden: {}", shown.display());
    let requirements = directory.join("requirements.txt");
    if !requirements.is_file() {
        bail!(
            "{}: expected a requirements.txt beside generate.py, found none",
            shown.display()
        );
    }
    let name = shown
        .iter()
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join("-");
    let environment = process::target()?.join("golden").join(name);
    let python = environment.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    if !python.is_file() {
        let system = if cfg!(windows) { "python" } else { "python3" };
        process::run(Command::new(system).args(["-m", "venv"]).arg(&environment))?;
    }
    process::run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(&requirements),
    )?;
    process::run(Command::new(&python).arg(generator).current_dir(directory))
}
