//! What a user of the packages compiles: each from its archive, with the others from theirs.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;

/// The command that does the same.
pub(super) const AGAIN: &str = "cargo xtask ci";

/// Packs the published crates and builds them unpacked: unoptimised and beside the other builds, since nothing of it is run.
pub(super) fn verify() -> Result<()> {
    let target = process::target()?.join("package-check");
    forget_unpacked(&target)?;
    let arguments = [
        "package",
        "--workspace",
        "--exclude",
        "xtask",
        "--locked",
        "--allow-dirty",
    ];
    let mut command = process::cargo(arguments)?;
    process::run(
        command
            .env("CARGO_TARGET_DIR", target)
            .env("CARGO_PROFILE_DEV_DEBUG", "none"),
    )
}

/// Cargo keeps what it unpacked, and built, of the registry that `package` makes of a workspace, by name and version alone: a
/// second run would take the sources, or the libraries, of the first.
fn forget_unpacked(target: &Path) -> Result<()> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
    }
    let arguments = ["metadata", "--no-deps", "--format-version", "1"];
    let output = process::read(&mut process::cargo(arguments)?)?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let packages = &metadata.packages;
    remove_folders(&target.join("debug").join(".fingerprint"), |folder| {
        let of = |package: &Package| folder.starts_with(&format!("{}-", package.name));
        packages.iter().any(of)
    })?;
    let Some(home) = cargo_home() else {
        return Ok(());
    };
    for registry in folders(&home.join("registry").join("src"))? {
        // A registry that is a folder has no host to be named by, only a hash.
        let name = registry.file_name().unwrap_or_default();
        if name.to_string_lossy().starts_with('-') {
            remove_folders(&registry, |folder| {
                let is =
                    |package: &Package| *folder == format!("{}-{}", package.name, package.version);
                packages.iter().any(is)
            })?;
        }
    }
    Ok(())
}

/// Removes the folders whose names are asked for.
fn remove_folders(parent: &Path, asked: impl Fn(&str) -> bool) -> Result<()> {
    for folder in folders(parent)? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        if asked(&name) {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot remove {}", folder.display()))?;
        }
    }
    Ok(())
}

/// What is in a folder; nothing where there is none.
fn folders(parent: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries,
    };
    let paths = entries.and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    paths.with_context(|| format!("cannot read {}", parent.display()))
}

fn cargo_home() -> Option<PathBuf> {
    let home = || env::home_dir().map(|home| home.join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}
