//! naga is the version that wgpu brings: a proof by another version would prove nothing about what runs.

use std::{collections::BTreeMap, fs, path::Path};

#[derive(serde::Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(serde::Deserialize)]
struct Package {
    name: String,
    version: String,
    #[serde(default)]
    dependencies: Vec<String>,
}

#[test]
fn naga_is_the_one_that_wgpu_locks() -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let lock: Lock = toml::from_str(&fs::read_to_string(path)?)?;
    let nagas: Vec<&str> = versions(&lock, "naga");
    assert_eq!(
        nagas.len(),
        1,
        "several versions of naga are locked: {nagas:?}; let xtask/Cargo.toml name wgpu's"
    );

    let users: BTreeMap<&str, bool> = ["xtask", "wgpu-core"]
        .into_iter()
        .map(|name| {
            (
                name,
                lock.package
                    .iter()
                    .any(|package| package.name == name && depends_on_naga(package)),
            )
        })
        .collect();
    assert_eq!(
        users,
        BTreeMap::from([("wgpu-core", true), ("xtask", true)])
    );

    let manifest: toml::Table = toml::from_str(include_str!("../Cargo.toml"))?;
    let named = manifest["dependencies"]["naga"]["version"].as_str();
    assert_eq!(
        named,
        Some(nagas[0]),
        "xtask/Cargo.toml names another version of naga than wgpu locks"
    );
    Ok(())
}

fn versions<'a>(lock: &'a Lock, name: &str) -> Vec<&'a str> {
    lock.package
        .iter()
        .filter(|package| package.name == name)
        .map(|package| package.version.as_str())
        .collect()
}

fn depends_on_naga(package: &Package) -> bool {
    package
        .dependencies
        .iter()
        .any(|dependency| dependency == "naga" || dependency.starts_with("naga "))
}
