//! What a user of crates.io would get: packages that are complete and build on one another, not on strangers.

mod workspace;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use workspace::{Member, cargo, members, root};

fn published() -> impl Iterator<Item = Member> {
    members().into_iter().filter(Member::is_published)
}

#[test]
fn xtask_alone_is_not_published() {
    let kept: Vec<String> = members()
        .into_iter()
        .filter(|member| !member.is_published())
        .map(|member| member.name)
        .collect();
    assert_eq!(kept, ["xtask"]);
}

#[test]
fn manifests_are_complete() {
    for member in published() {
        let name = &member.name;
        assert!(
            member.description.is_some_and(|text| text.len() > 20),
            "{name}: description"
        );
        assert_eq!(
            member.license.as_deref(),
            Some("MIT OR Apache-2.0"),
            "{name}: license"
        );
        assert_eq!(
            member.readme.as_deref(),
            Some("README.md"),
            "{name}: readme"
        );
        assert!(
            (3..=5).contains(&member.keywords.len()),
            "{name}: crates.io takes up to five keywords"
        );
        let docs = member
            .metadata
            .as_ref()
            .is_some_and(|metadata| metadata["docs"]["rs"].is_object());
        assert!(docs, "{name}: [package.metadata.docs.rs]");
    }
}

/// Members are versioned apart: none inherits, and the changelog has a section for each.
#[test]
fn each_member_has_its_own_version_and_changelog() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    for member in published() {
        let manifest: toml::Table = fs::read_to_string(&member.manifest_path)
            .unwrap()
            .parse()
            .unwrap();
        assert!(
            manifest["package"]["version"].is_str(),
            "{}: a version of its own",
            member.name
        );
        assert!(
            changelog.contains(&member.name),
            "CHANGELOG.md: a section for {}",
            member.name
        );
    }
}

#[test]
fn the_readme_is_the_crate_s_documentation() {
    for member in published().filter(Member::is_library) {
        let library = fs::read_to_string(member.directory().join("src/lib.rs")).unwrap();
        assert!(
            library.contains(r#"#![doc = include_str!("../README.md")]"#),
            "{}: src/lib.rs",
            member.name
        );
        let readme = fs::read_to_string(member.directory().join("README.md")).unwrap();
        let mut fences = readme.lines().filter_map(|line| line.strip_prefix("```"));
        let example =
            fences.any(|kind| ["rust", "no_run"].iter().any(|rust| kind.starts_with(rust)));
        assert!(example, "{}: an example in README.md", member.name);
        assert!(
            readme.contains("git = \""),
            "{}: how to depend on it by git in README.md",
            member.name
        );
    }
}

#[test]
fn every_library_has_one_short_example() {
    for member in published().filter(Member::is_library) {
        let examples: Vec<_> = member
            .targets
            .iter()
            .filter(|target| target.kind == ["example"])
            .collect();
        assert!(!examples.is_empty(), "{}: an example", member.name);
        for example in examples {
            let lines = fs::read_to_string(&example.src_path)
                .unwrap()
                .lines()
                .count();
            assert!(
                lines < 60,
                "{}/{}: {lines} lines, expected fewer than 60",
                member.name,
                example.name
            );
        }
    }
}

/// The members' `.crate` files, made without a network: name → path.
fn package(directory: &Path) -> BTreeMap<String, std::path::PathBuf> {
    let target = directory.to_str().expect("a UTF-8 path");
    let command = [
        "package",
        "--workspace",
        "--no-verify",
        "--allow-dirty",
        "--offline",
        "--quiet",
    ];
    cargo(&[&command[..], &["--target-dir", target]].concat());
    let file = |member: &Member| {
        directory
            .join("package")
            .join(format!("{}-{}.crate", member.name, member.version))
    };
    published()
        .map(|member| (member.name.clone(), file(&member)))
        .collect()
}

/// One file of a package.
fn unpack(package: &Path, name: &str) -> Option<Vec<u8>> {
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(package).expect("a package")));
    for entry in archive.entries().expect("a tar archive") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").into_owned();
        // Below the directory `name-version/`.
        if path.iter().skip(1).eq(Path::new(name).iter()) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("an entry's bytes");
            return Some(bytes);
        }
    }
    None
}

/// Another `llama-tokenizer` is on crates.io. In the lock file of a package each of our names must stand with the
/// checksum of the package that was made here.
#[test]
fn packages_are_complete_and_depend_on_no_stranger_of_our_name() {
    let directory = tempfile::tempdir().unwrap();
    let packages = package(directory.path());
    let checksums: BTreeMap<&str, String> = packages
        .iter()
        .map(|(name, path)| {
            (
                name.as_str(),
                hex(&Sha256::digest(fs::read(path).expect("a package"))),
            )
        })
        .collect();
    let mut compared = 0;
    for (name, path) in &packages {
        for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
            assert!(
                unpack(path, file).is_some_and(|bytes| !bytes.is_empty()),
                "{name}: {file} in the package"
            );
        }
        assert!(
            fs::metadata(path).unwrap().len() < 10 << 20,
            "{name}: crates.io takes up to 10 MiB"
        );
        let lock = String::from_utf8(unpack(path, "Cargo.lock").expect("a lock file")).unwrap();
        let lock: toml::Table = lock.parse().unwrap();
        for locked in lock["package"].as_array().unwrap() {
            let Some(checksum) = checksums.get(locked["name"].as_str().unwrap()) else {
                continue;
            };
            if locked.get("source").is_some() {
                assert_eq!(
                    locked["checksum"].as_str(),
                    Some(checksum.as_str()),
                    "{name} locks {locked:?}"
                );
                compared += 1;
            }
        }
    }
    // llama-model locks two of ours, llama-cli five.
    assert_eq!(compared, 7);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
