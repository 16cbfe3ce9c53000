//! What a user of the packages compiles: each from its archive, with the others from theirs.

use std::path::PathBuf;
use std::{env, fs, io};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;

/// The command that does the same.
pub(super) const AGAIN: &str = "cargo xtask ci";

/// Packs the published crates and builds them unpacked: unoptimised and beside the other builds, since nothing of it is run.
pub(super) fn verify() -> Result<()> {
    forget_unpacked()?;
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
            .env("CARGO_TARGET_DIR", process::target()?.join("package-check"))
            .env("CARGO_PROFILE_DEV_DEBUG", "none"),
    )
}

/// Cargo keeps what it unpacked of the registry that `package` makes of a workspace, by name and version alone: a second run
/// would build the sources of the first.
fn forget_unpacked() -> Result<()> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
    }
    let Some(home) = cargo_home() else {
        return Ok(());
    };
    let arguments = ["metadata", "--no-deps", "--format-version", "1"];
    let output = process::read(&mut process::cargo(arguments)?)?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let registries = match fs::read_dir(home.join("registry").join("src")) {
        Ok(registries) => registries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context("cargo's registry"),
    };
    for registry in registries {
        let registry = registry.context("cargo's registry")?;
        // A registry that is a folder has no host to be named by, only a hash.
        if !registry.file_name().to_string_lossy().starts_with('-') {
            continue;
        }
        for Package { name, version } in &metadata.packages {
            let unpacked = registry.path().join(format!("{name}-{version}"));
            match fs::remove_dir_all(&unpacked) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error)
                        .with_context(|| format!("cannot remove {}", unpacked.display()));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn cargo_home() -> Option<PathBuf> {
    let home = || env::home_dir().map(|home| home.join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}
