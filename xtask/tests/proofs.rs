//! Every variant is proved without a GPU: validation, SPIR-V, MSL, HLSL, and the limits of any WebGPU device.

use naga::back::hlsl::ShaderModel;
use xtask::codegen::{self, Compiled, Requirement, proof};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn variants() -> anyhow::Result<Vec<Compiled>> {
    Ok(codegen::generate(&codegen::source_directory())?.variants)
}

#[test]
fn every_variant_is_written_in_every_language() -> Outcome {
    let spirv_val = proof::SpirvVal::find();
    let variants = variants()?;
    let failures: Vec<String> = (variants.iter())
        .filter_map(|compiled| {
            let error = proof::prove(compiled, spirv_val.as_ref()).err()?;
            Some(format!("{}: {error:#}", compiled.variant.id()))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(!variants.is_empty());
    Ok(())
}

#[test]
fn every_kernel_and_format_runs_on_any_webgpu_device() -> Outcome {
    Ok(proof::portable_variants_exist(&variants()?)?)
}

/// A requirement that the text does not need would hide the variant from devices that run it.
#[test]
fn no_variant_declares_more_than_it_needs() -> Outcome {
    for compiled in variants()? {
        for requirement in &compiled.variant.requires {
            let mut without = compiled.variant.clone();
            without.requires.retain(|other| other != requirement);
            let accepted = codegen::reflect::reflect(&without, &compiled.wgsl).is_ok();
            assert!(
                !accepted,
                "{} does not need {requirement:?}",
                compiled.variant.id()
            );
        }
    }
    Ok(())
}

#[test]
fn shader_models_follow_the_requirements() -> Outcome {
    for compiled in variants()? {
        let model = proof::shader_model(&compiled.variant);
        let requires = &compiled.variant.requires;
        if requires.contains(&Requirement::CooperativeMatrix) {
            // wgpu offers them on Vulkan and Metal alone.
            assert!(proof::translate(&compiled)?.hlsl.is_none());
            continue;
        }
        let expected = match (requires.contains(&Requirement::F16), requires.is_empty()) {
            (true, _) => ShaderModel::V6_2,
            (false, true) => ShaderModel::V5_1,
            (false, false) => ShaderModel::V6_0,
        };
        assert_eq!(model, expected, "{}", compiled.variant.id());
        let (written, text) = proof::translate(&compiled)?
            .hlsl
            .ok_or("no HLSL was written")?;
        assert_eq!(written, expected, "{}", compiled.variant.id());
        assert!(text.contains("[numthreads("), "{}", compiled.variant.id());
    }
    Ok(())
}
