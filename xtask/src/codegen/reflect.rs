//! What naga says of a compiled variant: entry point, bindings, workgroup, overrides. Also the one place that
//! maps a manifest's requirements to naga's capabilities.

use anyhow::{Context, Result, anyhow, bail};
use naga::{
    AddressSpace, Literal, Module, ShaderStage, StorageAccess,
    valid::{Capabilities, ModuleInfo, ValidationFlags, Validator},
};

use super::{Requirement, Variant};

/// The interface of one compiled variant.
#[derive(Debug, Clone, PartialEq)]
pub struct Reflection {
    /// The entry point, which has the kernel's name.
    pub entry: String,
    /// The bindings that the entry point uses, by group and number.
    pub bindings: Vec<Binding>,
    /// Invocations per workgroup in x, y, z.
    pub workgroup_size: [u32; 3],
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// WGSL `override`s.
    pub overrides: Vec<Override>,
}

/// One buffer that a variant binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The WGSL variable's name.
    pub name: String,
    /// `@group`.
    pub group: u32,
    /// `@binding`.
    pub binding: u32,
    /// How the shader reaches it.
    pub class: BindingClass,
    /// Bytes that the buffer must have at least; a runtime-sized array counts one element.
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

/// One WGSL `override`.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// Its name.
    pub name: String,
    /// The value when a pipeline gives none; `None` where WGSL has no literal default.
    pub default: Option<f64>,
    /// The value of this variant's line in the manifest.
    pub value: Option<f64>,
}

/// The naga capabilities that a variant declares, and no more. Every WebGPU device unpacks f16 (`unpack2x16float` is
/// core WGSL); naga counts it because some OpenGL devices do not.
pub fn capabilities(variant: &Variant) -> Capabilities {
    (variant.requires.iter()).fold(
        Capabilities::SHADER_FLOAT16_IN_FLOAT32,
        |sum, requirement| {
            sum | match requirement {
                Requirement::Subgroups => Capabilities::SUBGROUP | Capabilities::SUBGROUP_BARRIER,
                Requirement::F16 => Capabilities::SHADER_FLOAT16,
                Requirement::Int64 => Capabilities::SHADER_INT64,
                Requirement::CooperativeMatrix => Capabilities::COOPERATIVE_MATRIX,
            }
        },
    )
}

/// Parses and validates with exactly the declared capabilities.
///
/// # Errors
/// naga's report, with the place in the text.
pub fn validate(wgsl: &str, capabilities: Capabilities) -> Result<(Module, ModuleInfo)> {
    // Extensions that a text enables have to be among the declared capabilities, or parsing fails.
    let options = naga::front::wgsl::Options {
        parse_doc_comments: false,
        capabilities,
    };
    let module = naga::front::wgsl::Frontend::new_with_options(options)
        .parse(wgsl)
        .map_err(|error| anyhow!("{}", error.emit_to_string(wgsl)))?;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|error| anyhow!("{}", error.emit_to_string(wgsl)))?;
    Ok((module, info))
}

/// Reflects a compiled variant.
///
/// # Errors
/// The text is invalid; it has not exactly one entry point, a compute one with the kernel's name; it binds
/// something other than buffers; or the manifest gives an override that the text lacks.
pub fn reflect(variant: &Variant, wgsl: &str) -> Result<Reflection> {
    let (module, info) = validate(wgsl, capabilities(variant))?;
    let [entry] = module.entry_points.as_slice() else {
        bail!(
            "it has {} entry points, where exactly one is expected",
            module.entry_points.len()
        );
    };
    if entry.name != variant.kernel || entry.stage != ShaderStage::Compute {
        bail!(
            "its entry point is `{}`: expected a compute function `{}`",
            entry.name,
            variant.kernel
        );
    }
    if entry.workgroup_size_overrides.is_some() {
        bail!("its workgroup size is an override: expected constants of package::prelude");
    }

    let function = info.get_entry_point(0);
    let mut bindings = Vec::new();
    let mut workgroup_bytes = 0;
    for (handle, variable) in module.global_variables.iter() {
        if function[handle].is_empty() {
            continue;
        }
        let name = variable
            .name
            .clone()
            .context("a global variable has no name")?;
        let size = module.types[variable.ty].inner.size(module.to_ctx());
        let class = match variable.space {
            AddressSpace::WorkGroup => {
                workgroup_bytes += size.next_multiple_of(16);
                continue;
            }
            AddressSpace::Private => continue,
            AddressSpace::Uniform => BindingClass::Uniform,
            AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => {
                BindingClass::ReadWrite
            }
            AddressSpace::Storage { .. } => BindingClass::Read,
            other => bail!(
                "`{name}` is in address space {other:?}: expected a uniform or storage buffer"
            ),
        };
        let at = variable
            .binding
            .with_context(|| format!("`{name}` has no @group and @binding"))?;
        if at.group != 0 {
            bail!(
                "`{name}` is in group {}: expected group 0, the only one that is bound",
                at.group
            );
        }
        bindings.push(Binding {
            name,
            group: at.group,
            binding: at.binding,
            class,
            min_size: size,
        });
    }
    bindings.sort_by_key(|binding| (binding.group, binding.binding));

    Ok(Reflection {
        entry: entry.name.clone(),
        bindings,
        workgroup_size: entry.workgroup_size,
        workgroup_bytes,
        overrides: overrides(variant, &module)?,
    })
}

fn overrides(variant: &Variant, module: &Module) -> Result<Vec<Override>> {
    let mut overrides = Vec::new();
    for (_, declared) in module.overrides.iter() {
        let name = declared.name.clone().context("an override has no name")?;
        let default = declared
            .init
            .and_then(|init| match module.global_expressions[init] {
                naga::Expression::Literal(literal) => literal_value(literal),
                _ => None,
            });
        let value = variant.overrides.get(&name).map(|value| value.as_f64());
        overrides.push(Override {
            name,
            default,
            value,
        });
    }
    for name in variant.overrides.keys() {
        if !overrides.iter().any(|declared| declared.name == *name) {
            bail!("kernels.toml gives override `{name}`, which the kernel does not declare");
        }
    }
    Ok(overrides)
}

fn literal_value(literal: Literal) -> Option<f64> {
    match literal {
        Literal::F32(value) => Some(f64::from(value)),
        Literal::U32(value) => Some(f64::from(value)),
        Literal::I32(value) => Some(f64::from(value)),
        Literal::Bool(value) => Some(f64::from(u8::from(value))),
        _ => None,
    }
}
