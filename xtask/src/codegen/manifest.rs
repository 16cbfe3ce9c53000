//! `kernels.toml`: the variants, listed one by one. Nothing here multiplies one list by another.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The manifest: kernel → its variants in order of preference.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Manifest {
    kernels: BTreeMap<String, Vec<Line>>,
}

/// One line of the manifest, as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    #[serde(default)]
    slots: BTreeMap<String, String>,
    #[serde(default)]
    constants: BTreeMap<String, u32>,
    #[serde(default)]
    overrides: BTreeMap<String, OverrideValue>,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    requires: Vec<Requirement>,
    device: Option<Device>,
    subgroup_size: Option<u32>,
}

/// One variant of one kernel.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The kernel: `<kernel>.wesl`, and its entry point's name.
    pub kernel: String,
    /// The variant's name, unique within the kernel.
    pub name: String,
    /// Slot → the choice that answers it: `slot/<slot>.<choice>.wesl`.
    pub slots: BTreeMap<String, String>,
    /// Constants of the generated module `package::prelude`, all `u32`.
    pub constants: BTreeMap<String, u32>,
    /// Values for WGSL `override`s, given when the pipeline is made.
    pub overrides: BTreeMap<String, OverrideValue>,
    /// Names that are true in `@if(name)`; every other name is false.
    pub features: Vec<String>,
    /// What the device must be able to do.
    pub requires: Vec<Requirement>,
    /// The kind of adapter on which the variant is tried first.
    pub device: Option<Device>,
    /// The one subgroup size that the variant is right for; absent, every power of two from 4 to 128.
    pub subgroup_size: Option<u32>,
}

/// A value for a WGSL `override`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum OverrideValue {
    /// For `override x: bool`.
    Bool(bool),
    /// For `override x: u32` and `i32`.
    Integer(i64),
    /// For `override x: f32`.
    Float(f64),
}

impl OverrideValue {
    /// The value as WebGPU takes it.
    #[expect(
        clippy::cast_precision_loss,
        reason = "u32 and i32 are exact in f64; naga refuses what fits neither"
    )]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Bool(value) => f64::from(u8::from(value)),
            Self::Integer(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// A device ability that a variant needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Requirement {
    /// Subgroup operations.
    Subgroups,
    /// The type `f16`.
    F16,
    /// 64-bit integers.
    Int64,
    /// Cooperative matrices.
    CooperativeMatrix,
}

/// A kind of adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// A CPU that runs shaders (llvmpipe, WARP).
    Software,
    /// A GPU.
    Hardware,
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML of this form, or two variants of a kernel have one name.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let manifest: Self =
            toml::from_str(&text).with_context(|| format!("{} is malformed", path.display()))?;
        for (kernel, lines) in &manifest.kernels {
            for (index, line) in lines.iter().enumerate() {
                let id = format!("{kernel}.{}", line.name);
                if !id
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
                {
                    bail!("kernels.toml: `{id}` is no file name: use letters, digits, `_` and `.`");
                }
                if lines[..index].iter().any(|other| other.name == line.name) {
                    bail!(
                        "kernels.toml: {id} is listed twice: give each variant of a kernel its own name"
                    );
                }
            }
        }
        Ok(manifest)
    }

    /// The variants, by kernel name, then in the file's order.
    pub fn variants(&self) -> impl Iterator<Item = Variant> + '_ {
        self.kernels.iter().flat_map(|(kernel, lines)| {
            lines.iter().cloned().map(move |line| Variant {
                kernel: kernel.clone(),
                name: line.name,
                slots: line.slots,
                constants: line.constants,
                overrides: line.overrides,
                features: line.features,
                requires: line.requires,
                device: line.device,
                subgroup_size: line.subgroup_size,
            })
        })
    }
}

impl Variant {
    /// `<kernel>.<name>`, unique in the manifest.
    pub fn id(&self) -> String {
        format!("{}.{}", self.kernel, self.name)
    }

    /// The generated file's name.
    pub fn file_name(&self) -> String {
        format!("{}.wgsl", self.id())
    }
}
