//! What a device can do, as far as it decides which kernel variants run. Plain data: tests write any device down.

use crate::kernel::{BindingClass, Requirement, Variant};

/// Abilities and limits of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Subgroup operations and the sizes a subgroup may have; `None` without them.
    pub subgroups: Option<SubgroupSizes>,
    /// The WGSL type `f16`.
    pub f16: bool,
    /// 64-bit integers in WGSL.
    pub int64: bool,
    /// The edge, 16 or 8, of square cooperative matrices that multiply f16 into f32; `None` without them.
    pub cooperative_matrix: Option<u32>,
    /// Timestamps around a compute pass, which profiling needs.
    pub timestamps: bool,
    /// The adapter is a CPU (llvmpipe, WARP): other work splits are fast there.
    pub software: bool,
    /// Sizes and counts.
    pub limits: Limits,
}

/// The invocations that a subgroup may have, both powers of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubgroupSizes {
    /// The smallest size.
    pub min: u32,
    /// The largest size.
    pub max: u32,
}

/// The limits that kernels and buffers meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one storage binding; a larger weight matrix becomes several row pieces.
    pub binding_bytes: u64,
    /// Bytes of one buffer.
    pub buffer_bytes: u64,
    /// Bytes of one uniform binding.
    pub uniform_bytes: u64,
    /// Storage buffers of one kernel.
    pub storage_buffers: u32,
    /// Invocations of a workgroup in x, y and z.
    pub workgroup_size: [u32; 3],
    /// Invocations of a workgroup in all.
    pub workgroup_invocations: u32,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Workgroups of a dispatch in each dimension.
    pub workgroups: u32,
}

impl Default for Limits {
    /// The limits that every WebGPU device has (W3C WebGPU §3.6.2).
    fn default() -> Self {
        Self {
            binding_bytes: 128 << 20,
            buffer_bytes: 256 << 20,
            uniform_bytes: 64 << 10,
            storage_buffers: 8,
            workgroup_size: [256, 256, 64],
            workgroup_invocations: 256,
            workgroup_bytes: 16 << 10,
            workgroups: 65_535,
        }
    }
}

impl Default for Capabilities {
    /// A GPU with WebGPU's default limits and no optional ability.
    fn default() -> Self {
        Self {
            subgroups: None,
            f16: false,
            int64: false,
            cooperative_matrix: None,
            timestamps: false,
            software: false,
            limits: Limits::default(),
        }
    }
}

impl Capabilities {
    /// The names of the optional abilities that are there.
    pub fn features(&self) -> Vec<&'static str> {
        [
            ("subgroups", self.subgroups.is_some()),
            ("f16", self.f16),
            ("int64", self.int64),
            ("cooperative_matrix", self.cooperative_matrix.is_some()),
            ("timestamps", self.timestamps),
        ]
        .into_iter()
        .filter_map(|(name, present)| present.then_some(name))
        .collect()
    }

    /// Every limit by name, the subgroup sizes included.
    pub fn limit_values(&self) -> Vec<(&'static str, u64)> {
        let Limits {
            binding_bytes,
            buffer_bytes,
            uniform_bytes,
            storage_buffers,
            workgroup_size,
            ..
        } = self.limits;
        let mut values = vec![
            ("binding_bytes", binding_bytes),
            ("buffer_bytes", buffer_bytes),
            ("uniform_bytes", uniform_bytes),
            ("storage_buffers", storage_buffers.into()),
            ("workgroup_size_x", workgroup_size[0].into()),
            ("workgroup_size_y", workgroup_size[1].into()),
            ("workgroup_size_z", workgroup_size[2].into()),
            (
                "workgroup_invocations",
                self.limits.workgroup_invocations.into(),
            ),
            ("workgroup_bytes", self.limits.workgroup_bytes.into()),
            ("workgroups", self.limits.workgroups.into()),
        ];
        if let Some(sizes) = self.subgroups {
            values.extend([
                ("subgroup_min_size", sizes.min.into()),
                ("subgroup_max_size", sizes.max.into()),
            ]);
        }
        values
    }

    /// Why this device cannot run a variant, in words; `None` where it can.
    pub fn missing(&self, variant: &Variant) -> Option<String> {
        for requirement in variant.requires {
            let (present, name) = match requirement {
                Requirement::Subgroups => (self.subgroups.is_some(), "subgroups"),
                Requirement::F16 => (self.f16, "f16"),
                Requirement::Int64 => (self.int64, "64-bit integers"),
                Requirement::CooperativeMatrix => (
                    self.cooperative_matrix.is_some()
                        && self.cooperative_matrix == variant.constant("UNIT"),
                    "cooperative matrices of this size",
                ),
            };
            if !present {
                return Some(format!("the adapter has no {name}"));
            }
        }
        if let Some(size) = variant.subgroup_size {
            if self.subgroups
                != Some(SubgroupSizes {
                    min: size,
                    max: size,
                })
            {
                return Some(format!(
                    "the adapter's subgroups are not always of {size} invocations"
                ));
            }
        }
        let limits = &self.limits;
        let [x, y, z] = variant.workgroup_size;
        let uniform_bytes = (variant.bindings.iter())
            .filter(|binding| binding.class == BindingClass::Uniform)
            .map(|binding| u64::from(binding.min_size))
            .max()
            .unwrap_or(0);
        let demands: [(&str, u64, u64); 7] = [
            (
                "storage buffers",
                variant.storage_buffers() as u64,
                limits.storage_buffers.into(),
            ),
            (
                "invocations per workgroup in x",
                x.into(),
                limits.workgroup_size[0].into(),
            ),
            (
                "invocations per workgroup in y",
                y.into(),
                limits.workgroup_size[1].into(),
            ),
            (
                "invocations per workgroup in z",
                z.into(),
                limits.workgroup_size[2].into(),
            ),
            (
                "invocations per workgroup",
                u64::from(x) * u64::from(y) * u64::from(z),
                limits.workgroup_invocations.into(),
            ),
            (
                "bytes of workgroup memory",
                variant.workgroup_bytes.into(),
                limits.workgroup_bytes.into(),
            ),
            (
                "bytes of a uniform buffer",
                uniform_bytes,
                limits.uniform_bytes,
            ),
        ];
        let exceeded = demands
            .into_iter()
            .find(|(_, needed, limit)| needed > limit)?;
        let (what, needed, limit) = exceeded;
        Some(format!("it needs {needed} {what}, the adapter has {limit}"))
    }
}
