//! Generated files are what codegen gives, and codegen's own promises.

use std::{fs, path::Path};

use tempfile::TempDir;
use xtask::codegen;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[test]
fn generated_files_are_current() -> Outcome {
    Ok(codegen::check()?)
}

#[test]
fn two_runs_give_the_same_bytes() -> Outcome {
    let source = codegen::source_directory();
    assert_eq!(
        codegen::generate(&source)?.files,
        codegen::generate(&source)?.files
    );
    Ok(())
}

#[test]
fn variants_stay_few_and_small() -> Outcome {
    let generated = codegen::generate(&codegen::source_directory())?;
    let bytes: usize = generated
        .variants
        .iter()
        .map(|compiled| compiled.wgsl.len())
        .sum();
    println!(
        "{} variants of {bytes} bytes in all",
        generated.variants.len()
    );
    assert!(generated.variants.len() <= codegen::MAX_VARIANTS);
    assert!(bytes <= codegen::MAX_BYTES);
    Ok(())
}

/// A source directory of one kernel that uses a slot, a constant, a condition and an override.
fn small_source() -> Result<TempDir, Box<dyn std::error::Error>> {
    let source = tempfile::tempdir()?;
    fs::create_dir(source.path().join("slot"))?;
    let files = [
        (
            "kernels.toml",
            "double = [\n  { name = \"plain\", slots = { sign = \"plus\" }, constants = { SIZE = 32 }, overrides = { ADD = 2 } },\n]\n",
        ),
        (
            "double.wesl",
            "import package::prelude::{SIZE};\n\
             import package::slot::sign::{sign_of};\n\
             override ADD: u32 = 1u;\n\
             @group(0) @binding(0) var<storage, read_write> values: array<u32>;\n\
             @if(rounded) var<private> rounding: u32;\n\
             @compute @workgroup_size(SIZE)\n\
             fn double(@builtin(global_invocation_id) id: vec3<u32>) {\n\
               values[id.x] = sign_of(values[id.x]) * 2u + ADD;\n\
             }\n",
        ),
        (
            "slot/sign.plus.wesl",
            "fn sign_of(value: u32) -> u32 {\n  return value;\n}\n",
        ),
    ];
    for (name, text) in files {
        fs::write(source.path().join(name), text)?;
    }
    Ok(source)
}

fn write_all(source: &Path, target: &Path) -> Outcome {
    for (name, text) in codegen::generate(source)?.files {
        fs::write(target.join(name), text)?;
    }
    Ok(())
}

fn message(result: anyhow::Result<()>) -> String {
    match result {
        Ok(()) => "success".to_owned(),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn stale_missing_and_orphan_files_are_named_with_the_command() -> Outcome {
    let (source, target) = (small_source()?, tempfile::tempdir()?);
    write_all(source.path(), target.path())?;
    codegen::check_directory(source.path(), target.path())?;

    fs::write(target.path().join("table.rs"), "")?;
    fs::remove_file(target.path().join("double.plain.wgsl"))?;
    fs::write(target.path().join("triple.plain.wgsl"), "")?;
    assert_eq!(
        message(codegen::check_directory(source.path(), target.path())),
        "generated files differ; run `cargo xtask codegen`\n\
         missing: double.plain.wgsl\n\
         stale: table.rs\n\
         orphan: triple.plain.wgsl"
    );
    Ok(())
}

#[test]
fn a_checkout_with_carriage_returns_is_current() -> Outcome {
    let (source, target) = (small_source()?, tempfile::tempdir()?);
    for (name, text) in codegen::generate(source.path())?.files {
        fs::write(target.path().join(name), text.replace('\n', "\r\n"))?;
    }
    codegen::check_directory(source.path(), target.path())?;
    Ok(())
}

#[test]
fn a_small_kernel_is_reflected_whole() -> Outcome {
    let source = small_source()?;
    let generated = codegen::generate(source.path())?;
    insta::assert_snapshot!(generated.files["double.plain.wgsl"]);
    insta::assert_snapshot!(generated.files["table.rs"]);
    Ok(())
}

/// What goes wrong when one file of the small source is another.
fn broken(file: &str, text: &str) -> Result<String, Box<dyn std::error::Error>> {
    let source = small_source()?;
    fs::write(source.path().join(file), text)?;
    let error = codegen::generate(source.path())
        .err()
        .ok_or("it was accepted")?;
    Ok(format!("{error:#}"))
}

#[test]
fn a_slot_file_that_no_variant_uses_is_an_error() -> Outcome {
    assert_eq!(
        broken("slot/sign.minus.wesl", "")?,
        "wgsl/slot/sign.minus.wesl: no line of kernels.toml uses it; add one or delete the file"
    );
    Ok(())
}

#[test]
fn a_missing_slot_file_is_named() -> Outcome {
    let manifest =
        "double = [{ name = \"plain\", slots = { sign = \"minus\" }, constants = { SIZE = 32 } }]";
    assert_eq!(
        broken("kernels.toml", manifest)?,
        "double.plain does not compile: wgsl/slot/sign.minus.wesl does not exist"
    );
    Ok(())
}

#[test]
fn two_variants_of_one_name_are_an_error() -> Outcome {
    let manifest = "double = [{ name = \"plain\" }, { name = \"plain\" }]";
    assert_eq!(
        broken("kernels.toml", manifest)?,
        "kernels.toml: double.plain is listed twice: give each variant of a kernel its own name"
    );
    Ok(())
}

#[test]
fn a_misspelt_key_of_the_manifest_is_an_error() -> Outcome {
    let message = broken(
        "kernels.toml",
        "double = [{ name = \"plain\", slot = { sign = \"plus\" } }]",
    )?;
    assert!(message.contains("unknown field `slot`"), "{message}");
    Ok(())
}

#[test]
fn an_override_that_the_kernel_lacks_is_an_error() -> Outcome {
    let manifest = "double = [{ name = \"plain\", slots = { sign = \"plus\" }, constants = { SIZE = 32 }, overrides = { SUB = 1 } }]";
    assert_eq!(
        broken("kernels.toml", manifest)?,
        "double.plain is not a valid variant: kernels.toml gives override `SUB`, which the kernel does not declare"
    );
    Ok(())
}

#[test]
fn one_name_in_two_modules_is_an_error() -> Outcome {
    let slot = "const ADD: u32 = 3u;\nfn sign_of(value: u32) -> u32 {\n  return value * ADD;\n}\n";
    let message = broken("slot/sign.plus.wesl", slot)?;
    assert!(
        message.contains("duplicate declaration of `package::slot::sign::ADD`"),
        "{message}"
    );
    Ok(())
}

#[test]
fn a_capability_that_is_not_declared_is_an_error() -> Outcome {
    let slot = "fn sign_of(value: u32) -> u32 {\n  return subgroupAdd(value);\n}\n";
    let message = broken("slot/sign.plus.wesl", slot)?;
    assert!(
        message.starts_with("double.plain is not a valid variant: error"),
        "{message}"
    );
    assert!(message.contains("SUBGROUP"), "{message}");
    Ok(())
}

#[test]
fn a_binding_outside_group_0_is_an_error() -> Outcome {
    let source = small_source()?;
    let kernel =
        fs::read_to_string(source.path().join("double.wesl"))?.replace("@group(0)", "@group(1)");
    assert_eq!(
        broken("double.wesl", &kernel)?,
        "double.plain is not a valid variant: `values` is in group 1: expected group 0, the only one that is bound"
    );
    Ok(())
}
