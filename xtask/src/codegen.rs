//! `cargo xtask codegen`: hand-written `wgsl/*.wesl` and `kernels.toml` become committed WGSL and a Rust table.
//!
//! [`generate`] is a pure function from the source directory to file texts; [`write()`], [`check`] and the tests
//! are its three users. It knows nothing of what a kernel computes.

mod compile;
mod manifest;
pub mod proof;
pub mod reflect;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

pub use manifest::{Device, Manifest, OverrideValue, Requirement, Variant};
use reflect::Reflection;

/// How a broken or stale tree is repaired; every message of [`check`] names it.
pub const COMMAND: &str = "cargo xtask codegen";

/// The most variants that `kernels.toml` may list.
pub const MAX_VARIANTS: usize = 200;

/// The most bytes that all generated WGSL together may have.
pub const MAX_BYTES: usize = 1 << 20;

/// One line of `kernels.toml`, compiled and reflected.
#[derive(Debug)]
pub struct Compiled {
    /// The manifest's line.
    pub variant: Variant,
    /// WGSL as committed, header comment included.
    pub wgsl: String,
    /// What naga says about it.
    pub reflection: Reflection,
}

/// Everything that codegen writes.
#[derive(Debug)]
pub struct Generated {
    /// The variants, by kernel name, then in the manifest's order.
    pub variants: Vec<Compiled>,
    /// File name in `src/generated` → text.
    pub files: BTreeMap<String, String>,
}

/// The directory of hand-written kernels.
pub fn source_directory() -> PathBuf {
    workspace().join("llama-kernels/wgsl")
}

/// The directory that codegen alone writes.
pub fn generated_directory() -> PathBuf {
    workspace().join("llama-kernels/src/generated")
}

fn workspace() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// Compiles and reflects every variant of `source`'s manifest.
///
/// # Errors
/// The first fault of the manifest, of a WESL file, or of a compiled variant, with the file and variant named.
pub fn generate(source: &Path) -> Result<Generated> {
    let manifest = Manifest::read(&source.join("kernels.toml"))?;
    let modules = compile::Modules::read(source)?;
    let mut variants = Vec::new();
    for variant in manifest.variants() {
        let id = variant.id();
        let wgsl = modules
            .compile(&variant)
            .with_context(|| format!("{id} does not compile"))?;
        let reflection = reflect::reflect(&variant, &wgsl)
            .with_context(|| format!("{id} is not a valid variant"))?;
        variants.push(Compiled {
            variant,
            wgsl,
            reflection,
        });
    }
    modules.all_used(variants.iter().map(|compiled| &compiled.variant))?;
    within_bounds(&variants)?;

    let mut files: BTreeMap<String, String> = variants
        .iter()
        .map(|compiled| (compiled.variant.file_name(), compiled.wgsl.clone()))
        .collect();
    files.insert("table.rs".to_owned(), table::write(&variants));
    Ok(Generated { variants, files })
}

fn within_bounds(variants: &[Compiled]) -> Result<()> {
    let bytes: usize = variants.iter().map(|compiled| compiled.wgsl.len()).sum();
    if variants.len() > MAX_VARIANTS || bytes > MAX_BYTES {
        bail!(
            "kernels.toml: {} variants of {bytes} bytes, where at most {MAX_VARIANTS} of {MAX_BYTES} are allowed: \
             list fewer, or turn a constant into an `override`",
            variants.len()
        );
    }
    Ok(())
}

/// Brings `llama-kernels/src/generated` up to date: writes what differs, deletes what nothing generates.
///
/// # Errors
/// Those of [`generate`], and of the file system.
pub fn write() -> Result<()> {
    let generated = generate(&source_directory())?;
    let directory = generated_directory();
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    for difference in differences(&generated.files, &directory)? {
        let path = directory.join(difference.file_name());
        match generated.files.get(difference.file_name()) {
            Some(text) => fs::write(&path, text),
            None => fs::remove_file(&path),
        }
        .with_context(|| format!("cannot update {}", path.display()))?;
        eprintln!("{difference}");
    }
    Ok(())
}

/// Fails where the committed files are not what [`generate`] gives.
///
/// # Errors
/// One line for each stale, missing or orphan file, and the command that repairs them.
pub fn check() -> Result<()> {
    check_directory(&source_directory(), &generated_directory())
}

/// [`check`] between any two directories.
///
/// # Errors
/// As [`check`].
pub fn check_directory(source: &Path, generated: &Path) -> Result<()> {
    let differences = differences(&generate(source)?.files, generated)?;
    if differences.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = differences.iter().map(Difference::to_string).collect();
    bail!(
        "generated files differ; run `{COMMAND}`\n{}",
        lines.join("\n")
    )
}

/// Proves every variant without a GPU: see [`proof`].
///
/// # Errors
/// All variants that failed, each with the step that failed.
pub fn validate() -> Result<()> {
    let generated = generate(&source_directory())?;
    let spirv_val = proof::SpirvVal::find();
    if spirv_val.is_none() {
        eprintln!(
            "spirv-val is not installed: its check is left out (Debian: apt install spirv-tools)"
        );
    }
    let mut failures = Vec::new();
    for compiled in &generated.variants {
        if let Err(error) = proof::prove(compiled, spirv_val.as_ref()) {
            failures.push(format!("{}: {error:#}", compiled.variant.id()));
        }
    }
    if let Err(error) = proof::portable_variants_exist(&generated.variants) {
        failures.push(format!("{error:#}"));
    }
    if failures.is_empty() {
        eprintln!("{} variants proved", generated.variants.len());
        return Ok(());
    }
    bail!("{} failures\n{}", failures.len(), failures.join("\n"))
}

/// How a committed file departs from what is generated.
#[derive(Debug, PartialEq, Eq)]
enum Difference {
    Stale(String),
    Missing(String),
    Orphan(String),
}

impl Difference {
    fn file_name(&self) -> &str {
        match self {
            Self::Stale(name) | Self::Missing(name) | Self::Orphan(name) => name,
        }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stale(name) => write!(f, "stale: {name}"),
            Self::Missing(name) => write!(f, "missing: {name}"),
            Self::Orphan(name) => write!(f, "orphan: {name}"),
        }
    }
}

fn differences(files: &BTreeMap<String, String>, directory: &Path) -> Result<Vec<Difference>> {
    let mut present = BTreeSet::new();
    if directory.is_dir() {
        for entry in fs::read_dir(directory)
            .with_context(|| format!("cannot list {}", directory.display()))?
        {
            present.insert(entry?.file_name().to_string_lossy().into_owned());
        }
    }
    let mut differences = Vec::new();
    for (name, text) in files {
        if !present.remove(name) {
            differences.push(Difference::Missing(name.clone()));
        } else if normalized(&fs::read_to_string(directory.join(name)).unwrap_or_default()) != *text
        {
            differences.push(Difference::Stale(name.clone()));
        }
    }
    differences.extend(present.into_iter().map(Difference::Orphan));
    Ok(differences)
}

/// Git may have checked the file out with carriage returns (Windows); they are no difference.
fn normalized(text: &str) -> String {
    text.replace("\r\n", "\n")
}
