//! Which adapter runs: enumeration, description, choice. Makes no device.

use std::time::Duration;

use wgpu::{Backend, Backends, DeviceType, Features, InstanceFlags};

use crate::{Capabilities, Error, Limits, SubgroupSizes};

/// The largest binding used whatever the adapter says: drivers are wrong above it.
const MAX_BINDING_BYTES: u64 = 2 << 30;

/// How a [`Gpu`](super::Gpu) is made. No environment variable is read.
#[derive(Debug, Clone)]
pub struct GpuOptions {
    /// The adapter.
    pub adapter: AdapterChoice,
    /// The backends looked at; by default Vulkan, Metal and DX12.
    pub backends: Backends,
    /// A smaller limit on the bytes of one binding than the adapter's, so that tests split small matrices.
    pub binding_limit: Option<u64>,
    /// The optional features that are used where the adapter has them; fewer make tests of kernels that do without.
    pub features: Features,
    /// Less memory than the adapter has, where others use it too.
    pub memory_limit: Option<u64>,
    /// Whether kernels run with wgpu's run-time checks.
    pub checks: Checks,
    /// How long one submission may take before it counts as hung; by default two minutes.
    pub timeout: Duration,
}

impl Default for GpuOptions {
    fn default() -> Self {
        Self {
            adapter: AdapterChoice::Best,
            backends: Backends::VULKAN | Backends::METAL | Backends::DX12,
            binding_limit: None,
            features: Features::all(),
            memory_limit: None,
            checks: Checks::Trusted,
            timeout: Duration::from_secs(120),
        }
    }
}

/// Which kernels run with wgpu's run-time checks: indices held inside their buffers, loops bounded, no division by zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Checks {
    /// Those without a record that they passed their trials; see [`Variant::is_trusted`](crate::Variant::is_trusted).
    #[default]
    Trusted,
    /// All.
    Always,
}

/// Which of the machine's adapters is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AdapterChoice {
    /// A discrete GPU before an integrated one before a virtual one; a software adapter only where nothing else is.
    #[default]
    Best,
    /// The adapter of this [`AdapterDescription::index`].
    Index(usize),
    /// The first adapter whose name contains this text, in any case.
    Name(String),
}

/// One adapter of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdapterDescription {
    /// Its place in [`Gpu::adapters`](super::Gpu::adapters), for [`AdapterChoice::Index`].
    pub index: usize,
    /// The device's name.
    pub name: String,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// The driver's name.
    pub driver: String,
    /// The driver's version.
    pub driver_info: String,
    /// `discrete`, `integrated`, `virtual`, `cpu` or `other`.
    pub device_type: &'static str,
    /// A CPU plays the GPU (llvmpipe, WARP).
    pub is_software: bool,
    /// On DX12, the compiler that shaders go through: `dxc`, or `fxc`, which has no subgroups and no f16.
    pub shader_compiler: Option<&'static str>,
    /// Bytes of its memory, where the driver tells: those of a GPU on Vulkan. Other programs use some of it.
    pub memory_bytes: Option<u64>,
    /// What a device of this adapter can do.
    pub capabilities: Capabilities,
}

impl std::fmt::Display for AdapterDescription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {} ({}, {})",
            self.index, self.name, self.backend, self.device_type
        )
    }
}

/// The optional wgpu features that some kernel, the profile or the pipeline cache can use.
pub(super) const WANTED_FEATURES: Features = Features::SUBGROUP
    .union(Features::SUBGROUP_BARRIER)
    .union(Features::SHADER_F16)
    .union(Features::SHADER_INT64)
    .union(Features::TIMESTAMP_QUERY)
    .union(Features::PIPELINE_CACHE);

/// The features that a device of this adapter gets: those wanted, and cooperative matrices of a size that a kernel takes.
pub(super) fn features(adapter: &wgpu::Adapter) -> Features {
    let mut wanted = WANTED_FEATURES;
    if cooperative_matrix(adapter).is_some() {
        wanted |= Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    }
    adapter.features() & wanted
}

/// The edge of square cooperative matrices that multiply f16 into f32: 16 where there is a choice.
fn cooperative_matrix(adapter: &wgpu::Adapter) -> Option<u32> {
    use wgpu::CooperativeScalarType::{F16, F32};
    let found = adapter.cooperative_matrix_properties();
    [16, 8].into_iter().find(|edge| {
        found.iter().any(|one| {
            [one.m_size, one.n_size, one.k_size] == [*edge; 3]
                && (one.ab_type, one.cr_type) == (F16, F32)
        })
    })
}

impl AdapterDescription {
    pub(super) fn new(index: usize, adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        let features = adapter.features();
        let shader_compiler =
            (info.backend == Backend::Dx12).then_some(if features.contains(Features::SUBGROUP) {
                "dxc"
            } else {
                "fxc"
            });
        Self {
            index,
            memory_bytes: memory_bytes(adapter, info.device_type),
            capabilities: Capabilities {
                cooperative_matrix: cooperative_matrix(adapter),
                ..capabilities(&info, features & WANTED_FEATURES, &adapter.limits())
            },
            backend: info.backend.to_str().to_owned(),
            device_type: match info.device_type {
                DeviceType::DiscreteGpu => "discrete",
                DeviceType::IntegratedGpu => "integrated",
                DeviceType::VirtualGpu => "virtual",
                DeviceType::Cpu => "cpu",
                DeviceType::Other => "other",
            },
            is_software: info.device_type == DeviceType::Cpu,
            name: info.name,
            driver: info.driver,
            driver_info: info.driver_info,
            shader_compiler,
        }
    }

    fn rank(&self) -> usize {
        ["discrete", "integrated", "virtual", "other", "cpu"]
            .iter()
            .position(|kind| *kind == self.device_type)
            .unwrap_or(4)
    }
}

/// What a device with these features and limits can do, cooperative matrices aside: their sizes the adapter knows.
pub(super) fn capabilities(
    info: &wgpu::AdapterInfo,
    features: Features,
    limits: &wgpu::Limits,
) -> Capabilities {
    let sizes = SubgroupSizes {
        min: info.subgroup_min_size,
        max: info.subgroup_max_size,
    };
    let subgroups =
        features.contains(Features::SUBGROUP | Features::SUBGROUP_BARRIER) && sizes.min >= 4;
    Capabilities {
        subgroups: subgroups.then_some(sizes),
        f16: features.contains(Features::SHADER_F16),
        int64: features.contains(Features::SHADER_INT64),
        cooperative_matrix: None,
        timestamps: features.contains(Features::TIMESTAMP_QUERY),
        software: info.device_type == DeviceType::Cpu,
        limits: Limits {
            binding_bytes: limits
                .max_storage_buffer_binding_size
                .min(limits.max_buffer_size)
                .min(MAX_BINDING_BYTES),
            buffer_bytes: limits.max_buffer_size,
            uniform_bytes: limits.max_uniform_buffer_binding_size,
            storage_buffers: limits.max_storage_buffers_per_shader_stage,
            workgroup_size: [
                limits.max_compute_workgroup_size_x,
                limits.max_compute_workgroup_size_y,
                limits.max_compute_workgroup_size_z,
            ],
            workgroup_invocations: limits.max_compute_invocations_per_workgroup,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            workgroups: limits.max_compute_workgroups_per_dimension,
        },
    }
}

/// The largest heap that is the GPU's own. `None` where wgpu gives no way to ask, and for software adapters, which
/// say what they like.
#[cfg(not(any(target_os = "macos", target_os = "ios")))]
#[expect(unsafe_code, reason = "wgpu has no query for memory; Vulkan has")]
fn memory_bytes(adapter: &wgpu::Adapter, kind: DeviceType) -> Option<u64> {
    if kind == DeviceType::Cpu {
        return None;
    }
    // SAFETY: the handle is only asked for properties, and nothing of it is kept or destroyed.
    let vulkan = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let instance = vulkan.shared_instance().raw_instance();
    // SAFETY: both handles are alive while `vulkan` is, and the device is of this instance.
    let properties =
        unsafe { instance.get_physical_device_memory_properties(vulkan.raw_physical_device()) };
    let heaps = properties.memory_heaps.iter();
    let heaps = heaps.take(properties.memory_heap_count as usize);
    // VK_MEMORY_HEAP_DEVICE_LOCAL_BIT
    let own = heaps.filter(|heap| heap.flags.as_raw() & 1 != 0);
    own.map(|heap| heap.size).max()
}

/// Metal's answer would need its own crates.
#[cfg(any(target_os = "macos", target_os = "ios"))]
fn memory_bytes(_: &wgpu::Adapter, _: DeviceType) -> Option<u64> {
    None
}

/// Every adapter of the backends that runs compute shaders, in wgpu's order.
pub(super) fn enumerate(backends: Backends) -> Vec<(wgpu::Adapter, AdapterDescription)> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    // VALIDATION_INDIRECT_CALL would clamp buffers to 4 GiB; the others look for layers that a user does not have.
    descriptor.flags = InstanceFlags::empty();
    let instance = wgpu::Instance::new(descriptor);
    pollster::block_on(instance.enumerate_adapters(backends))
        .into_iter()
        .filter(|adapter| {
            adapter
                .get_downlevel_capabilities()
                .flags
                .contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
        })
        .enumerate()
        .map(|(index, adapter)| {
            let description = AdapterDescription::new(index, &adapter);
            (adapter, description)
        })
        .collect()
}

/// The place of the chosen adapter among `found`.
///
/// # Errors
/// [`Error::NoAdapter`] with the names of those there are.
pub(super) fn choose(choice: &AdapterChoice, found: &[AdapterDescription]) -> Result<usize, Error> {
    let (place, wanted) = match choice {
        AdapterChoice::Best => {
            let best = found.iter().min_by_key(|adapter| adapter.rank());
            (best.map(|adapter| adapter.index), "of any kind".to_owned())
        }
        AdapterChoice::Index(index) => (
            (*index < found.len()).then_some(*index),
            format!("of index {index}"),
        ),
        AdapterChoice::Name(name) => {
            let name = name.to_lowercase();
            let named = found
                .iter()
                .find(|adapter| adapter.name.to_lowercase().contains(&name));
            (
                named.map(|adapter| adapter.index),
                format!("named `{name}`"),
            )
        }
    };
    place.ok_or_else(|| {
        let names: Vec<String> = found.iter().map(ToString::to_string).collect();
        Error::NoAdapter {
            wanted,
            found: if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(index: usize, name: &str, device_type: &'static str) -> AdapterDescription {
        AdapterDescription {
            index,
            name: name.to_owned(),
            backend: "vulkan".to_owned(),
            driver: String::new(),
            driver_info: String::new(),
            device_type,
            is_software: device_type == "cpu",
            shader_compiler: None,
            memory_bytes: None,
            capabilities: Capabilities::default(),
        }
    }

    #[test]
    fn a_software_adapter_is_chosen_only_alone() {
        let found = [
            adapter(0, "llvmpipe", "cpu"),
            adapter(1, "Iris", "integrated"),
            adapter(2, "H200", "discrete"),
        ];
        assert_eq!(choose(&AdapterChoice::Best, &found), Ok(2));
        assert_eq!(choose(&AdapterChoice::Best, &found[..2]), Ok(1));
        assert_eq!(choose(&AdapterChoice::Best, &found[..1]), Ok(0));
    }

    #[test]
    fn an_adapter_is_chosen_by_index_or_part_of_its_name() {
        let found = [
            adapter(0, "llvmpipe (LLVM 15)", "cpu"),
            adapter(1, "NVIDIA H200", "discrete"),
        ];
        assert_eq!(choose(&AdapterChoice::Index(0), &found), Ok(0));
        assert_eq!(
            choose(&AdapterChoice::Name("LLVMpipe".to_owned()), &found),
            Ok(0)
        );
        let error = choose(&AdapterChoice::Index(2), &found).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no GPU adapter of index 2: found 0 llvmpipe (LLVM 15) (vulkan, cpu), 1 NVIDIA H200 (vulkan, discrete); \
             install a Vulkan driver (Debian: apt install mesa-vulkan-drivers) or choose another adapter"
        );
    }

    #[test]
    fn no_adapter_at_all_says_so() {
        let error = choose(&AdapterChoice::Best, &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no GPU adapter of any kind: found none; install a Vulkan driver (Debian: apt install mesa-vulkan-drivers) \
             or choose another adapter"
        );
    }
}
