//! The table of kernel variants and the choice among them. Knows nothing of wgpu: a device is its [`Capabilities`].

use crate::{Capabilities, KvFormat, WeightFormat};

#[rustfmt::skip]
#[path = "generated/table.rs"]
mod table;

/// One compiled variant of one kernel: a line of `kernels.toml` and what naga reflected of its WGSL.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub struct Variant {
    /// The kernel's name.
    pub kernel: &'static str,
    /// The variant's name, unique within the kernel.
    pub name: &'static str,
    /// Slot and the choice that fills it, by slot name.
    pub slots: &'static [(&'static str, &'static str)],
    /// The sizes it was compiled with, by name.
    pub constants: &'static [(&'static str, u32)],
    /// What a device must be able to do.
    pub requires: &'static [Requirement],
    /// The kind of adapter on which it is tried before variants without this mark.
    pub device: Option<Device>,
    /// The one subgroup size it is right for; `None`, any.
    pub subgroup_size: Option<u32>,
    /// The entry point's name.
    pub entry: &'static str,
    /// Invocations per workgroup in x, y and z.
    pub workgroup_size: [u32; 3],
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Buffers to bind, by group and number.
    pub bindings: &'static [Binding],
    /// WGSL `override`s.
    pub overrides: &'static [Override],
    wgsl: &'static str,
}

/// One buffer that a variant binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// The WGSL variable's name, by which Rust binds.
    pub name: &'static str,
    /// `@group`.
    pub group: u32,
    /// `@binding`.
    pub binding: u32,
    /// How the shader reaches the buffer.
    pub class: BindingClass,
    /// Bytes the buffer must have at least; a runtime-sized array counts one element.
    pub min_size: u32,
}

/// How a shader reaches a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingClass {
    /// `var<uniform>`.
    Uniform,
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    ReadWrite,
}

/// A constant that is set when the pipeline is made.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Override {
    /// Its WGSL name.
    pub name: &'static str,
    /// The value in the text, where it is a literal.
    pub default: Option<f64>,
    /// The value of this variant.
    pub value: Option<f64>,
}

/// A device ability that a variant may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// A CPU that runs shaders (llvmpipe, WARP).
    Software,
    /// A GPU.
    Hardware,
}

impl Variant {
    /// `<kernel>.<name>`, unique in the table.
    pub fn id(&self) -> String {
        format!("{}.{}", self.kernel, self.name)
    }

    /// The choice that fills a slot, `None` where the variant has no such slot.
    pub fn slot(&self, slot: &str) -> Option<&'static str> {
        self.slots
            .iter()
            .find(|(name, _)| *name == slot)
            .map(|(_, choice)| *choice)
    }

    /// A size that the variant was compiled with.
    pub fn constant(&self, name: &str) -> Option<u32> {
        self.constants
            .iter()
            .find(|(constant, _)| *constant == name)
            .map(|(_, value)| *value)
    }

    /// How many storage buffers it binds.
    pub fn storage_buffers(&self) -> usize {
        self.bindings
            .iter()
            .filter(|binding| binding.class != BindingClass::Uniform)
            .count()
    }

    pub(crate) fn wgsl(&self) -> &'static str {
        self.wgsl
    }

    /// Whether it binds a buffer of this name.
    pub fn binds(&self, name: &str) -> bool {
        self.bindings.iter().any(|binding| binding.name == name)
    }

    fn fills(&self, slots: &[(&str, &str)]) -> bool {
        slots
            .iter()
            .all(|(slot, choice)| self.slot(slot) == Some(*choice))
    }
}

/// All variants: by kernel, then in order of preference.
pub fn variants() -> &'static [Variant] {
    table::VARIANTS
}

/// The best variant of a kernel whose `slots` have the given choices (others are free) and that a device runs:
/// the first in the order of `kernels.toml`, where those marked for the device's kind come first and those marked
/// for the other kind last. `None` where there is none.
pub fn select(
    kernel: &str,
    slots: &[(&str, &str)],
    capabilities: &Capabilities,
) -> Option<&'static Variant> {
    let device = if capabilities.software {
        Device::Software
    } else {
        Device::Hardware
    };
    let preference = |variant: &Variant| match variant.device {
        Some(marked) if marked == device => 0,
        None => 1,
        Some(_) => 2,
    };
    variants()
        .iter()
        .filter(|variant| variant.kernel == kernel && variant.fills(slots))
        .filter(|variant| capabilities.missing(variant).is_none())
        .min_by_key(|variant| preference(variant))
}

/// What one kernel would run as; see [`selection`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Selection {
    /// The kernel.
    pub kernel: &'static str,
    /// The weight or cache format that was asked for, where the kernel has variants by format.
    pub format: Option<&'static str>,
    /// The variant; `None` where the device runs none.
    pub variant: Option<&'static Variant>,
}

/// The variant that every kernel would get on a device for these formats, in the table's order.
pub fn selection(
    capabilities: &Capabilities,
    weight: WeightFormat,
    kv: KvFormat,
) -> Vec<Selection> {
    let mut selections: Vec<Selection> = Vec::new();
    for candidate in variants() {
        if selections
            .last()
            .is_some_and(|last| last.kernel == candidate.kernel)
        {
            continue;
        }
        let format = ["weight", "kv"]
            .into_iter()
            .zip([weight.name(), kv.name()])
            .find(|(slot, _)| candidate.slot(slot).is_some());
        selections.push(Selection {
            kernel: candidate.kernel,
            format: format.map(|(_, name)| name),
            variant: select(candidate.kernel, format.as_slice(), capabilities),
        });
    }
    selections
}

/// The WGSL of one variant, for programs that run kernels by their own means; needs no wgpu.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KernelSource {
    variant: &'static Variant,
}

impl KernelSource {
    /// The source of the variant with this [`Variant::id`].
    pub fn find(id: &str) -> Option<Self> {
        variants()
            .iter()
            .find(|variant| variant.id() == id)
            .map(|variant| Self { variant })
    }

    /// The source of a variant.
    pub fn of(variant: &'static Variant) -> Self {
        Self { variant }
    }

    /// Every source, in the table's order.
    pub fn all() -> impl Iterator<Item = Self> {
        variants().iter().map(Self::of)
    }

    /// The WGSL text: complete, without imports.
    pub fn wgsl(&self) -> &'static str {
        self.variant.wgsl
    }

    /// The table's entry: entry point, bindings, sizes, requirements.
    pub fn variant(&self) -> &'static Variant {
        self.variant
    }
}
