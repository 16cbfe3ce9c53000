//! The table of variants and the choice among them, each as one snapshot. Needs neither a GPU nor wgpu.

use std::fmt::Write as _;

use llama_kernels::{
    BindingClass, Capabilities, Device, KernelSource, KvFormat, Limits, SubgroupSizes,
    WeightFormat, select, selection, variants,
};

#[test]
fn the_manifest() {
    let mut table = String::new();
    let mut bytes = 0;
    for variant in variants() {
        let [x, y, z] = variant.workgroup_size;
        let bindings: Vec<String> = (variant.bindings.iter())
            .map(|binding| {
                let sign = match binding.class {
                    BindingClass::Uniform => "uniform ",
                    BindingClass::Read => "",
                    BindingClass::ReadWrite => "mut ",
                };
                format!("{sign}{}", binding.name)
            })
            .collect();
        let device = match variant.device {
            None => "",
            Some(Device::Software) => " software",
            Some(Device::Hardware) => " hardware",
        };
        let requires: String = variant
            .requires
            .iter()
            .map(|requirement| format!(" {requirement:?}"))
            .collect();
        let _ = writeln!(
            table,
            "{:28} {x}×{y}×{z} {:5} B ({}){requires}{device}",
            variant.id(),
            variant.workgroup_bytes,
            bindings.join(", ")
        );
        bytes += KernelSource::of(variant).wgsl().len();
    }
    println!("{} variants, {bytes} bytes", variants().len());
    insta::assert_snapshot!(table);
}

/// Devices that differ in what decides: each line below is one of them.
fn devices() -> Vec<(&'static str, Capabilities)> {
    let sized = |min, max| Capabilities {
        subgroups: Some(SubgroupSizes { min, max }),
        ..Capabilities::default()
    };
    vec![
        ("any WebGPU device", Capabilities::default()),
        ("GPU with subgroups of 32", sized(32, 32)),
        ("GPU with subgroups of 8 to 32", sized(8, 32)),
        (
            "llvmpipe",
            Capabilities {
                software: true,
                f16: true,
                int64: true,
                ..sized(8, 8)
            },
        ),
        (
            "software without subgroups",
            Capabilities {
                software: true,
                ..Capabilities::default()
            },
        ),
        (
            "GPU with workgroups of at most 128",
            Capabilities {
                limits: Limits {
                    workgroup_size: [128, 128, 64],
                    workgroup_invocations: 128,
                    ..Limits::default()
                },
                ..sized(32, 32)
            },
        ),
    ]
}

#[test]
fn the_selection() {
    let mut table = String::new();
    for (name, capabilities) in devices() {
        let _ = writeln!(table, "{name}");
        for (weight, kv) in WeightFormat::ALL.into_iter().zip(
            [KvFormat::F32, KvFormat::F16, KvFormat::Q8_0]
                .into_iter()
                .cycle(),
        ) {
            for chosen in selection(&capabilities, weight, kv) {
                // Kernels without formats, and those of the three kv formats, are said once.
                let repeated = match chosen.format {
                    None => weight != WeightFormat::F32,
                    Some(_) if matches!(chosen.kernel, "rope" | "attention" | "attention_tile") => {
                        WeightFormat::ALL[3..].contains(&weight)
                    }
                    Some(_) => false,
                };
                if !repeated {
                    let variant = chosen.variant.map_or("none", |variant| variant.name);
                    let _ = writeln!(
                        table,
                        "  {:12} {:5} {variant}",
                        chosen.kernel,
                        chosen.format.unwrap_or("")
                    );
                }
            }
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_device_that_lacks_an_ability_is_told_which() {
    let subgroup = variants()
        .iter()
        .find(|variant| variant.slot("reduce") == Some("subgroup"));
    let lacking = subgroup.and_then(|variant| Capabilities::default().missing(variant));
    assert_eq!(lacking.as_deref(), Some("the adapter has no subgroups"));

    let small = Limits {
        storage_buffers: 1,
        ..Limits::default()
    };
    let lacking =
        (select("embed", &[("weight", "q8_0")], &Capabilities::default())).and_then(|variant| {
            Capabilities {
                limits: small,
                ..Capabilities::default()
            }
            .missing(variant)
        });
    assert_eq!(
        lacking.as_deref(),
        Some("it needs 5 storage buffers, the adapter has 1")
    );
}

#[test]
fn a_request_that_nothing_answers_selects_nothing() {
    assert_eq!(
        select("matvec", &[("weight", "q3_k")], &Capabilities::default()),
        None
    );
    assert_eq!(
        select("no such kernel", &[], &Capabilities::default()),
        None
    );
}

#[test]
fn sources_are_found_by_id_and_hold_their_entry_point() {
    assert_eq!(KernelSource::find("no.such"), None);
    for source in KernelSource::all() {
        let variant = source.variant();
        assert_eq!(KernelSource::find(&variant.id()), Some(source));
        assert!(
            source.wgsl().contains(&format!("fn {}(", variant.entry)),
            "{}",
            variant.id()
        );
        assert_eq!(variant.entry, variant.kernel);
    }
}

#[test]
fn every_format_of_a_kernel_has_a_variant_for_any_device() {
    for weight in WeightFormat::ALL {
        for kv in KvFormat::ALL {
            for chosen in selection(&Capabilities::default(), weight, kv) {
                assert!(
                    chosen.variant.is_some(),
                    "{} {:?}",
                    chosen.kernel,
                    chosen.format
                );
            }
        }
    }
}
