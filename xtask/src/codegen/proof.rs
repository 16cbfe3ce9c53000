//! Proof of a variant without a GPU: naga validates it with exactly the declared capabilities, and each shader
//! language that wgpu may need it in can be written from it, both checked and unchecked.
//!
//! What a driver's own compiler says of the result is not proved here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use naga::{
    Module, ResourceBinding, ShaderStage,
    back::{
        hlsl::{self, ShaderModel},
        msl,
        pipeline_constants::process_overrides,
        spv::{self, Capability},
    },
    proc::{BoundsCheckPolicies, BoundsCheckPolicy},
    valid::ModuleInfo,
};

use super::{
    Compiled, Requirement, Variant,
    reflect::{self, Binding, BindingClass, Reflection},
};

/// One variant in the languages of its backends.
#[derive(Debug)]
pub struct Translations {
    /// SPIR-V words, with wgpu's run-time checks and without.
    pub spirv: [Vec<u32>; 2],
    /// Metal Shading Language.
    pub msl: String,
    /// HLSL and its shader model; `None` for cooperative matrices, which wgpu does not offer on DX12.
    pub hlsl: Option<(ShaderModel, String)>,
}

/// Proves one variant.
///
/// # Errors
/// The first step that failed, with the tool's report.
pub fn prove(compiled: &Compiled, spirv_val: Option<&SpirvVal>) -> Result<Translations> {
    let translations = translate(compiled)?;
    if let Some((ShaderModel::V5_1, text)) = &translations.hlsl {
        no_newer_words(text)?;
    }
    if let Some(spirv_val) = spirv_val {
        for words in &translations.spirv {
            spirv_val.check(&compiled.variant, words)?;
        }
    }
    Ok(translations)
}

/// Each kernel needs, for each combination of its slots' choices that changes its meaning (the weight and kv
/// slots), a variant that any WebGPU device runs.
///
/// # Errors
/// All kernels and formats that have none.
pub fn portable_variants_exist(variants: &[Compiled]) -> Result<()> {
    let mut groups: BTreeMap<String, bool> = BTreeMap::new();
    for Compiled {
        variant,
        reflection,
        ..
    } in variants
    {
        let formats: Vec<&str> = ["weight", "kv"]
            .iter()
            .filter_map(|slot| variant.slots.get(*slot))
            .map(String::as_str)
            .collect();
        let group = [&[variant.kernel.as_str()], formats.as_slice()]
            .concat()
            .join(" ");
        let portable = variant.requires.is_empty()
            && variant.subgroup_size.is_none()
            && within_default_limits(reflection);
        *groups.entry(group).or_default() |= portable;
    }
    let lacking: Vec<String> = groups
        .into_iter()
        .filter(|(_, portable)| !portable)
        .map(|(group, _)| group)
        .collect();
    if !lacking.is_empty() {
        bail!(
            "no variant within WebGPU's default limits and without requirements: {}",
            lacking.join(", ")
        );
    }
    Ok(())
}

/// WebGPU's default limits (W3C WebGPU §3.6.2), as far as a compute kernel meets them.
pub fn within_default_limits(reflection: &Reflection) -> bool {
    let count = |class: fn(&Binding) -> bool| {
        reflection
            .bindings
            .iter()
            .filter(|binding| class(binding))
            .count()
    };
    let [x, y, z] = reflection.workgroup_size;
    count(|binding| binding.class != BindingClass::Uniform) <= 8
        && count(|binding| binding.class == BindingClass::Uniform) <= 12
        && x <= 256
        && y <= 256
        && z <= 64
        && x * y * z <= 256
        && reflection.workgroup_bytes <= 16_384
}

/// The lowest shader model that wgpu asks for before it offers the variant's features on DX12.
pub fn shader_model(variant: &Variant) -> ShaderModel {
    let of = |requirement| match requirement {
        Requirement::Subgroups | Requirement::Int64 => ShaderModel::V6_0,
        Requirement::F16 => ShaderModel::V6_2,
        Requirement::CooperativeMatrix => ShaderModel::V6_8,
    };
    let models = variant.requires.iter().map(|requirement| of(*requirement));
    models.fold(ShaderModel::V5_1, |highest, model| {
        if model > highest { model } else { highest }
    })
}

/// Writes a variant in every language of its backends.
///
/// # Errors
/// naga cannot validate or write it.
pub fn translate(compiled: &Compiled) -> Result<Translations> {
    let Compiled {
        variant,
        wgsl,
        reflection,
    } = compiled;
    let (module, info) = reflect::validate(wgsl, reflect::capabilities(variant))?;
    let constants = variant
        .overrides
        .iter()
        .map(|(name, value)| (name.clone(), value.as_f64()))
        .collect();
    let entry = (ShaderStage::Compute, reflection.entry.as_str());
    let (module, info) = process_overrides(&module, &info, Some(entry), &constants)
        .context("its overrides cannot be applied")?;

    let cooperative = variant.requires.contains(&Requirement::CooperativeMatrix);
    Ok(Translations {
        spirv: [
            spirv(variant, &module, &info, &reflection.entry, true)?,
            spirv(variant, &module, &info, &reflection.entry, false)?,
        ],
        msl: msl(variant, &module, &info, reflection)?,
        hlsl: if cooperative {
            None
        } else {
            Some(hlsl(variant, &module, &info, reflection)?)
        },
    })
}

fn spirv(
    variant: &Variant,
    module: &Module,
    info: &ModuleInfo,
    entry: &str,
    checked: bool,
) -> Result<Vec<u32>> {
    let mut capabilities = vec![Capability::Shader, Capability::Matrix];
    for requirement in &variant.requires {
        capabilities.extend_from_slice(match requirement {
            Requirement::Subgroups => &[
                Capability::GroupNonUniform,
                Capability::GroupNonUniformVote,
                Capability::GroupNonUniformArithmetic,
                Capability::GroupNonUniformBallot,
                Capability::GroupNonUniformShuffle,
                Capability::GroupNonUniformShuffleRelative,
                Capability::GroupNonUniformQuad,
            ],
            Requirement::F16 => &[
                Capability::Float16,
                Capability::StorageBuffer16BitAccess,
                Capability::UniformAndStorageBuffer16BitAccess,
            ],
            Requirement::Int64 => &[Capability::Int64],
            Requirement::CooperativeMatrix => &[
                Capability::CooperativeMatrixKHR,
                Capability::VulkanMemoryModel,
            ],
        });
    }
    let policy = if checked {
        BoundsCheckPolicy::Restrict
    } else {
        BoundsCheckPolicy::Unchecked
    };
    let options = spv::Options {
        // Vulkan 1.1 knows SPIR-V 1.3, the first with subgroup operations; cooperative matrices ask for 1.6.
        lang_version: if variant.requires.contains(&Requirement::CooperativeMatrix) {
            (1, 6)
        } else {
            (1, 3)
        },
        capabilities: Some(capabilities.into_iter().collect()),
        bounds_check_policies: BoundsCheckPolicies {
            index: policy,
            buffer: policy,
            ..Default::default()
        },
        force_loop_bounding: checked,
        ..Default::default()
    };
    let pipeline = spv::PipelineOptions {
        shader_stage: ShaderStage::Compute,
        entry_point: entry.to_owned(),
    };
    spv::write_vec(module, info, &options, Some(&pipeline))
        .context("it cannot be written as SPIR-V")
}

fn msl(
    variant: &Variant,
    module: &Module,
    info: &ModuleInfo,
    reflection: &Reflection,
) -> Result<String> {
    let mut resources = msl::EntryPointResources::default();
    for (slot, binding) in (0..).zip(&reflection.bindings) {
        let target = msl::BindTarget {
            buffer: Some(slot),
            mutable: binding.class == BindingClass::ReadWrite,
            ..Default::default()
        };
        resources.resources.insert(
            ResourceBinding {
                group: binding.group,
                binding: binding.binding,
            },
            target,
        );
    }
    resources.sizes_buffer = Some(30);
    let options = msl::Options {
        // 2.3 is the first with cooperative ("simdgroup") matrices; 2.1 the first with simd-group reductions; wgpu asks
        // for 2.3 before it offers 64-bit integers.
        lang_version: if variant.requires.is_empty() {
            (2, 0)
        } else {
            (2, 3)
        },
        per_entry_point_map: BTreeMap::from([(reflection.entry.clone(), resources)]),
        fake_missing_bindings: false,
        bounds_check_policies: BoundsCheckPolicies {
            index: BoundsCheckPolicy::Restrict,
            buffer: BoundsCheckPolicy::Restrict,
            ..Default::default()
        },
        ..Default::default()
    };
    let pipeline = msl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, reflection.entry.clone())),
        ..Default::default()
    };
    let (text, translated) = msl::write_string(module, info, &options, &pipeline)
        .context("it cannot be written as MSL")?;
    for name in translated.entry_point_names {
        name.context("it cannot be written as MSL")?;
    }
    Ok(text)
}

fn hlsl(
    variant: &Variant,
    module: &Module,
    info: &ModuleInfo,
    reflection: &Reflection,
) -> Result<(ShaderModel, String)> {
    let target = |register| hlsl::BindTarget {
        register,
        restrict_indexing: true,
        ..Default::default()
    };
    let binding_map = (0..)
        .zip(&reflection.bindings)
        .map(|(register, binding)| {
            (
                ResourceBinding {
                    group: binding.group,
                    binding: binding.binding,
                },
                target(register),
            )
        })
        .collect();
    let shader_model = shader_model(variant);
    let options = hlsl::Options {
        shader_model,
        binding_map,
        fake_missing_bindings: false,
        // Where wgpu puts the number of workgroups, which HLSL has no name for.
        special_constants_binding: Some(hlsl::BindTarget {
            space: 1,
            ..target(0)
        }),
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, reflection.entry.clone())),
    };
    let mut text = String::new();
    let written = hlsl::Writer::new(&mut text, &options, &pipeline)
        .write(module, info, None)
        .context("it cannot be written as HLSL")?;
    for name in written.entry_point_names {
        name.context("it cannot be written as HLSL")?;
    }
    Ok((shader_model, text))
}

/// Words of later shader models, which naga writes without a check of the model.
fn no_newer_words(hlsl: &str) -> Result<()> {
    let words: BTreeSet<&str> = hlsl
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("Wave") || word.strip_prefix("half").is_some_and(is_shape))
        .collect();
    if words.is_empty() {
        return Ok(());
    }
    let mut message = "its HLSL for shader model 5.1 has words of later models:".to_owned();
    for word in words {
        let _ = write!(message, " {word}");
    }
    bail!(message)
}

/// The end of `half`, `half2`, `half4x4`.
fn is_shape(suffix: &str) -> bool {
    suffix.chars().all(|c| c.is_ascii_digit() || c == 'x')
}

/// The SPIR-V validator of the SPIRV-Tools, when it is installed.
#[derive(Debug)]
pub struct SpirvVal {
    program: PathBuf,
}

impl SpirvVal {
    /// Finds it on the path.
    pub fn find() -> Option<Self> {
        let program = PathBuf::from("spirv-val");
        let ran = Command::new(&program)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        ran.is_ok_and(|status| status.success())
            .then_some(Self { program })
    }

    fn check(&self, variant: &Variant, words: &[u32]) -> Result<()> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let file =
            std::env::temp_dir().join(format!("{}.{}.spv", variant.id(), std::process::id()));
        fs::write(&file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
        let environment = if variant.requires.contains(&Requirement::CooperativeMatrix) {
            "vulkan1.3"
        } else {
            "vulkan1.1"
        };
        let output = Command::new(&self.program)
            .args(["--target-env", environment])
            .arg(&file)
            .output();
        let removed = fs::remove_file(&file);
        let output = output.context("spirv-val does not start")?;
        removed.with_context(|| format!("cannot remove {}", file.display()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let said = said.trim();
        if environment == "vulkan1.3" && said.contains("Invalid capability operand: 6022") {
            eprintln!(
                "{}: not judged by spirv-val, which is older than cooperative matrices",
                variant.id()
            );
            return Ok(());
        }
        bail!("spirv-val: {said}");
    }
}

#[cfg(test)]
mod tests {
    use super::no_newer_words;

    #[test]
    fn words_of_later_shader_models_are_found() {
        let error = no_newer_words("half4 a = WaveActiveSum(x); float halfway; WaveGetLaneCount()")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "its HLSL for shader model 5.1 has words of later models: WaveActiveSum WaveGetLaneCount half4"
        );
        assert!(no_newer_words("float halfway = f16tof32(x); // wave").is_ok());
    }
}
