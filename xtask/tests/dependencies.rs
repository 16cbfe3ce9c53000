//! Who may know whom, held by `cargo metadata` and `cargo tree`: a wall that only prose holds does not stand long.

mod workspace;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use workspace::{Dependency, Member, members, root, tree};

/// What each member may depend on, of ours.
const MAY_KNOW: [(&str, &[&str]); 7] = [
    ("llama-tokenizer", &[]),
    ("llama-weights", &[]),
    ("llama-chat-template", &[]),
    ("llama-kernels", &[]),
    ("llama-model", &["llama-kernels", "llama-weights"]),
    (
        "llama-cli",
        &[
            "llama-chat-template",
            "llama-kernels",
            "llama-model",
            "llama-tokenizer",
            "llama-weights",
        ],
    ),
    ("xtask", &[]),
];

#[test]
fn the_members_are_these_seven() {
    let expected: BTreeSet<&str> = MAY_KNOW.iter().map(|(name, _)| *name).collect();
    let found: BTreeSet<String> = members().into_iter().map(|member| member.name).collect();
    assert_eq!(found, expected.into_iter().map(str::to_owned).collect());
}

/// Development dependencies are free, except xtask's: it must run, and be tested, while generated files are broken.
#[test]
fn members_know_only_whom_they_may() {
    for member in members() {
        let (_, allowed) = MAY_KNOW
            .iter()
            .find(|(name, _)| *name == member.name)
            .expect("one of the seven");
        let counts = |dependency: &&Dependency| {
            dependency.kind.as_deref() != Some("dev") || member.name == "xtask"
        };
        let known: BTreeSet<&str> = member
            .dependencies
            .iter()
            .filter(counts)
            .map(|dependency| dependency.name.as_str())
            .filter(|name| MAY_KNOW.iter().any(|(ours, _)| ours == name))
            .collect();
        assert_eq!(known, allowed.iter().copied().collect(), "{}", member.name);
    }
}

/// Members whose manifest names `crate_name`, as a dependency of any kind or under another name.
fn naming(crate_name: &str) -> Vec<String> {
    let names = |member: &Member| {
        member
            .dependencies
            .iter()
            .any(|dependency| dependency.name == crate_name)
    };
    members()
        .into_iter()
        .filter(names)
        .map(|member| member.name)
        .collect()
}

#[test]
fn wgpu_is_named_in_one_member() {
    assert_eq!(naming("wgpu"), ["llama-kernels"]);
}

#[test]
fn naga_is_named_in_one_member() {
    assert_eq!(naming("naga"), ["xtask"]);
}

/// Their private parts, with which a member could reach around wgpu.
#[test]
fn no_member_names_a_part_of_wgpu() {
    for part in [
        "wgpu-core",
        "wgpu-hal",
        "wgpu-types",
        "ash",
        "metal",
        "d3d12",
    ] {
        assert_eq!(naming(part), [""; 0], "{part}");
    }
}

#[test]
fn the_workspace_shares_neither_wgpu_nor_naga() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let shared = manifest["workspace"]["dependencies"].as_table().unwrap();
    for name in ["wgpu", "naga"] {
        assert!(
            !shared.contains_key(name),
            "{name} belongs in one member's manifest, not in [workspace.dependencies]"
        );
    }
}

#[test]
fn only_llama_kernels_has_a_feature_named_wgpu() {
    let with: Vec<String> = members()
        .into_iter()
        .filter(|member| member.features.contains_key("wgpu"))
        .map(|member| member.name)
        .collect();
    assert_eq!(with, ["llama-kernels"]);
}

#[test]
fn wgpu_is_a_default_feature_of_llama_kernels_and_optional() {
    let kernels = members()
        .into_iter()
        .find(|member| member.name == "llama-kernels")
        .unwrap();
    assert_eq!(kernels.features["default"], ["wgpu"]);
    let lean = tree(&[
        "--package",
        "llama-kernels",
        "--no-default-features",
        "--edges",
        "normal,build",
    ]);
    let gpu: Vec<&String> = lean
        .keys()
        .filter(|name| name.contains("wgpu") || *name == "naga")
        .collect();
    assert!(gpu.is_empty(), "without the feature there is still {gpu:?}");
}

/// Only xtask knows the template language of the kernels; users of llama-kernels get WGSL.
#[test]
fn wesl_is_named_in_xtask_only() {
    assert_eq!(naming("wesl"), ["xtask"]);
}

/// Programs and system libraries whose crates would need a C compiler, or a library that is not there.
const C_TOOLS: [&str; 8] = [
    "cc",
    "cmake",
    "bindgen",
    "pkg-config",
    "autotools",
    "nasm-rs",
    "vcpkg",
    "cxx-build",
];

/// `-sys` crates that build nothing: each holds declarations only.
const DECLARATIONS: [&str; 5] = [
    "linux-raw-sys", // the kernel's constants, for rustix
    "windows-sys",   // windows.h; its import libraries come ready made
    "renderdoc-sys", // a header of constants, the library is loaded when it is there
    "js-sys",        // imports of a browser, for wasm targets
    "web-sys",       // the same, of plotters
];

#[test]
fn nothing_in_the_default_tree_needs_a_c_compiler() {
    let tree = tree(&["--workspace", "--edges", "normal,build", "--target", "all"]);
    let needs_c = |name: &str| {
        C_TOOLS.contains(&name) || (name.ends_with("-sys") && !DECLARATIONS.contains(&name))
    };
    let found: Vec<&String> = tree.keys().filter(|name| needs_c(name)).collect();
    assert!(
        found.is_empty(),
        "{found:?} would need a C compiler or a system library"
    );
}

/// What a release is built from, on every target.
const WITH_HUB: [&str; 7] = [
    "--workspace",
    "--features",
    "llama-cli/hub",
    "--edges",
    "normal,build",
    "--target",
    "all",
];

/// A C compiler and nothing else: no cmake, no system library.
#[test]
fn the_hub_needs_a_c_compiler_at_most() {
    let tree = tree(&WITH_HUB);
    let needs_c = |name: &str| {
        C_TOOLS.contains(&name) || (name.ends_with("-sys") && !DECLARATIONS.contains(&name))
    };
    let found: Vec<&String> = tree.keys().filter(|name| needs_c(name)).collect();
    assert_eq!(found, ["cc"]);
    let client: Vec<&str> = ["ureq", "hf-hub", "reqwest", "tokio", "openssl"]
        .into_iter()
        .filter(|name| tree.contains_key(*name))
        .collect();
    assert_eq!(client, ["ureq"], "one HTTP client, without a runtime");
}

/// `rust-version` promises what the dependencies ask for, no more and no less.
#[test]
fn rust_version_is_the_highest_that_a_dependency_asks_for() {
    let tree = tree(&WITH_HUB);
    let ours: BTreeSet<&str> = MAY_KNOW.iter().map(|(name, _)| *name).collect();
    let mut highest = BTreeMap::new();
    for package in workspace::packages() {
        let used = tree
            .get(&package.name)
            .is_some_and(|versions| versions.contains(&package.version));
        if let (true, false, Some(version)) = (
            used,
            ours.contains(package.name.as_str()),
            &package.rust_version,
        ) {
            highest.insert(
                minor(version),
                format!("{} {}", package.name, package.version),
            );
        }
    }
    let (asked, by) = highest
        .last_key_value()
        .expect("some dependency says what it needs");
    for member in members() {
        let promised = member.rust_version.as_deref().map(minor);
        assert_eq!(
            promised,
            Some(*asked),
            "{} (the highest is asked for by {by})",
            member.name
        );
    }
}

/// Major and minor: `1.87.0` and `1.87` are the same promise.
fn minor(version: &str) -> (u32, u32) {
    let mut numbers = version
        .split('.')
        .map(|number| number.parse().expect("a version"));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
