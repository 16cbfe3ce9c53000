//! Writes `table.rs`: the Rust text of `static VARIANTS`, of the types in `llama-kernels/src/kernel.rs`.

use std::fmt::Write as _;

use super::{COMMAND, Compiled, Device, Requirement, reflect::BindingClass};

pub(super) fn write(variants: &[Compiled]) -> String {
    let mut text = format!(
        "// Written by `{COMMAND}` from wgsl/kernels.toml and naga's reflection of each variant.\n\n\
         use super::{{Binding, BindingClass, Device, Requirement, Variant}};\n\n\
         pub(super) static VARIANTS: &[Variant] = &[\n"
    );
    for compiled in variants {
        // Writing to a String cannot fail.
        let _ = write_variant(&mut text, compiled);
    }
    text + "];\n"
}

fn write_variant(out: &mut String, compiled: &Compiled) -> std::fmt::Result {
    let Compiled {
        variant,
        reflection,
        ..
    } = compiled;
    writeln!(out, "    Variant {{")?;
    writeln!(out, "        kernel: {:?},", variant.kernel)?;
    writeln!(out, "        name: {:?},", variant.name)?;
    writeln!(
        out,
        "        slots: &{},",
        list(variant.slots.iter().map(|slot| format!("{slot:?}")))
    )?;
    writeln!(
        out,
        "        constants: &{},",
        list(
            variant
                .constants
                .iter()
                .map(|constant| format!("{constant:?}"))
        )
    )?;
    writeln!(
        out,
        "        requires: &{},",
        list(variant.requires.iter().map(|r| requirement(*r).to_owned()))
    )?;
    writeln!(out, "        device: {},", device(variant.device))?;
    writeln!(out, "        subgroup_size: {:?},", variant.subgroup_size)?;
    writeln!(out, "        entry: {:?},", reflection.entry)?;
    writeln!(
        out,
        "        workgroup_size: {:?},",
        reflection.workgroup_size
    )?;
    writeln!(
        out,
        "        workgroup_bytes: {},",
        reflection.workgroup_bytes
    )?;
    writeln!(out, "        bindings: &[")?;
    for binding in &reflection.bindings {
        let class = match binding.class {
            BindingClass::Uniform => "BindingClass::Uniform",
            BindingClass::Read => "BindingClass::Read",
            BindingClass::ReadWrite => "BindingClass::ReadWrite",
        };
        writeln!(
            out,
            "            Binding {{ name: {:?}, group: {}, binding: {}, class: {class}, min_size: {} }},",
            binding.name, binding.group, binding.binding, binding.min_size
        )?;
    }
    writeln!(out, "        ],")?;
    let overrides = reflection.overrides.iter().map(|declared| {
        format!(
            "super::Override {{ name: {:?}, default: {:?}, value: {:?} }}",
            declared.name, declared.default, declared.value
        )
    });
    writeln!(out, "        overrides: &{},", list(overrides))?;
    writeln!(
        out,
        "        wgsl: include_str!({:?}),",
        variant.file_name()
    )?;
    writeln!(out, "    }},")
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn requirement(requirement: Requirement) -> &'static str {
    match requirement {
        Requirement::Subgroups => "Requirement::Subgroups",
        Requirement::F16 => "Requirement::F16",
        Requirement::Int64 => "Requirement::Int64",
        Requirement::CooperativeMatrix => "Requirement::CooperativeMatrix",
    }
}

fn device(device: Option<Device>) -> &'static str {
    match device {
        None => "None",
        Some(Device::Software) => "Some(Device::Software)",
        Some(Device::Hardware) => "Some(Device::Hardware)",
    }
}
