//! What cargo says of this workspace, for the tests of its rules.
#![expect(dead_code, reason = "each test program uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) rust_version: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) features: BTreeMap<String, Vec<String>>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) publish: Option<Vec<String>>,
    pub(crate) keywords: Vec<String>,
    pub(crate) description: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) readme: Option<String>,
    pub(crate) metadata: Option<serde_json::Value>,
    pub(crate) targets: Vec<Target>,
}

impl Member {
    pub(crate) fn directory(&self) -> &Path {
        self.manifest_path
            .parent()
            .expect("a manifest lies in a directory")
    }

    pub(crate) fn is_published(&self) -> bool {
        self.publish.is_none()
    }

    /// Whether it has a library to depend on.
    pub(crate) fn is_library(&self) -> bool {
        self.targets.iter().any(|target| target.kind == ["lib"])
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `dev`, `build`, or none for a normal one.
    pub(crate) kind: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
    pub(crate) src_path: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Member>,
}

pub(crate) fn root() -> &'static Path {
    xtask::process::root()
}

/// The workspace's members.
pub(crate) fn members() -> Vec<Member> {
    metadata(&["--no-deps"])
}

/// The members and everything that the lock file names.
pub(crate) fn packages() -> Vec<Member> {
    metadata(&[])
}

fn metadata(arguments: &[&str]) -> Vec<Member> {
    let json = cargo(
        &[
            &["metadata", "--locked", "--format-version", "1"],
            arguments,
        ]
        .concat(),
    );
    let metadata: Metadata = serde_json::from_str(&json).expect("cargo metadata is JSON");
    metadata.packages
}

/// The packages that `cargo tree` lists with `arguments`: name → versions.
pub(crate) fn tree(arguments: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let listing = cargo(
        &[
            &["tree", "--locked", "--prefix", "none", "--format", "{p}"],
            arguments,
        ]
        .concat(),
    );
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in listing.lines() {
        // `name v1.2.3`, then perhaps `(proc-macro)`, a path, `(*)`.
        let mut words = line.split(' ');
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            packages
                .entry(name.to_owned())
                .or_default()
                .insert(version.trim_start_matches('v').to_owned());
        }
    }
    packages
}

/// What `cargo` writes to standard output.
pub(crate) fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}
