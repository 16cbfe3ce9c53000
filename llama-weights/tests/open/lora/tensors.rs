//! An adapter's directory and tensors by their ways to be wrong.

use serde_json::json;

use super::{Adapter, MODEL, PREFIX, good_tensors};
use crate::fixture::{Directory, Tensor, file};
use crate::torch::written::{Archive, zip};

/// What is said of the good adapter with these tensors.
#[track_caller]
fn refused(tensors: &[Tensor]) -> String {
    of_the_file(&Adapter::tensors(tensors))
}

#[track_caller]
fn of_the_file(adapter: &Adapter) -> String {
    let message = adapter.refusal();
    let sentence = message.strip_prefix(&format!("DIR/{MODEL}: "));
    sentence.unwrap_or_else(|| panic!("{message}")).to_owned()
}

#[test]
fn a_directory_that_is_none() {
    let needed = "expected the directory of a LoRA adapter, with adapter_config.json and adapter_model.safetensors or \
                  adapter_model.bin";
    let adapter = Adapter::good();
    adapter.directory.remove(MODEL);
    assert_eq!(
        adapter.refusal(),
        format!(
            "DIR: {needed}, found a directory with \"adapter_config.json\"; give the directory that peft saved"
        )
    );
    adapter.directory.remove("adapter_config.json");
    assert_eq!(
        adapter.refusal(),
        format!("DIR: {needed}, found an empty directory; give the directory that peft saved")
    );
    let file = Directory::empty();
    file.write("adapter_model.safetensors", "");
    let mut base = Directory::good().open();
    let path = file.path().join(MODEL);
    let message = base
        .add_lora(&path, 1.0)
        .expect_err("a refusal")
        .to_string();
    assert_eq!(
        file.clean(&message),
        format!("DIR/{MODEL}: {needed}, found no directory; give the directory that peft saved")
    );
    let path = file.path().join("absent");
    let message = base
        .add_lora(&path, 1.0)
        .expect_err("a refusal")
        .to_string();
    assert_eq!(
        file.clean(&message),
        format!(
            "DIR/absent: expected a readable file, found an error: {}; check that it exists and may be read",
            crate::fixture::absent()
        )
    );
}

#[test]
fn tensors_without_a_place() {
    for name in [
        "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.qkv_proj.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_embedding_A",
        "base_model.model.model.layers.0.self_attn.q_proj.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.bias",
        "base_model.model.model.layers.0.self_attn.q_proj.base_layer.bias",
        "base_model.model.model.norm.base_layer.weight",
        "model.layers.0.self_attn.q_proj.lora_A.weight",
        "../../etc/passwd\n",
        "",
    ] {
        let mut tensors = good_tensors();
        tensors.push(Tensor::f32(name, &[2, 8]));
        assert_eq!(
            refused(&tensors),
            format!(
                "{name:?}: expected a tensor for a module of the base model, by the name that peft gives it, found another; \
                 the adapter is for a larger model or another architecture, or it was not saved by peft"
            )
        );
    }
}

#[test]
fn a_module_that_the_configuration_does_not_name() {
    for (module, changes) in [
        ("k_proj", json!({})),
        ("v_proj", json!({"target_modules": ["q_proj"]})),
        ("q_proj", json!({"modules_to_save": ["self_attn"]})),
        ("q_proj", json!({"exclude_modules": ["q_proj"]})),
        ("q_proj", json!({"layers_to_transform": [1]})),
    ] {
        let adapter = Adapter::config(changes);
        let name = format!("{PREFIX}.{module}.lora_A.weight");
        let mut tensors = good_tensors();
        tensors.retain(|tensor| tensor.name != name);
        tensors.insert(0, Tensor::f32(&name, &[2, 8]));
        adapter.directory.write(MODEL, file(&tensors));
        assert_eq!(
            of_the_file(&adapter),
            format!(
                "{name:?}: expected factors for the modules that adapter_config.json names, found one for another; \
                 the two files are not of one adapter, download both again"
            )
        );
    }
}

#[test]
fn one_factor_without_the_other() {
    for (index, lone, missing) in [(1, "A", "B"), (0, "B", "A")] {
        let mut tensors = good_tensors();
        tensors.remove(index);
        assert_eq!(
            refused(&tensors),
            format!(
                "\"{PREFIX}.q_proj.lora_{lone}.weight\": expected \"{PREFIX}.q_proj.lora_{missing}.weight\" beside it, found none; \
                 download the adapter again"
            )
        );
    }
}

#[test]
fn modules_without_factors() {
    let advice = "the two files are not of one adapter, or the base model is another";
    assert_eq!(
        refused(&good_tensors()[..2]),
        format!(
            "expected factors for 2 modules by adapter_config.json, found 1 missing: \"model.layers.0.self_attn.v_proj\"; {advice}"
        )
    );
    assert_eq!(
        refused(&[]),
        format!(
            "expected factors for 2 modules by adapter_config.json, found 2 missing: \"model.layers.0.self_attn.q_proj\", \
             \"model.layers.0.self_attn.v_proj\"; {advice}"
        )
    );
    let adapter = Adapter::config(json!({"target_modules": ["query_key_value"]}));
    adapter.directory.write(MODEL, file(&[]));
    assert_eq!(
        of_the_file(&adapter),
        format!("expected factors for 0 modules by adapter_config.json, found 0 missing; {advice}")
    );
}

#[test]
fn shapes_of_another_rank_or_base() {
    let advice =
        "the adapter was trained on another base model, or its two files are not of one adapter";
    let cases: [(usize, &str, &[u64], [usize; 2]); 5] = [
        (0, "lora_A", &[4, 8], [2, 8]),
        (0, "lora_A", &[2, 16], [2, 8]),
        (0, "lora_A", &[8, 2], [2, 8]),
        (0, "lora_A", &[0], [2, 8]),
        (1, "lora_B", &[16, 2], [8, 2]),
    ];
    for (index, factor, found, expected) in cases {
        let mut tensors = good_tensors();
        tensors[index] = Tensor::f32(&tensors[index].name, found);
        assert_eq!(
            refused(&tensors),
            format!(
                "\"{PREFIX}.q_proj.{factor}.weight\": expected shape {expected:?} by the base model and adapter_config.json, found \
                 {found:?}; {advice}"
            )
        );
    }
    let mut tensors = good_tensors();
    tensors.push(Tensor::f32("base_model.model.lm_head.weight", &[11, 8]));
    assert_eq!(
        refused(&tensors),
        format!(
            "\"base_model.model.lm_head.weight\": expected shape [10, 8] by the base model and adapter_config.json, found [11, 8]; {advice}"
        )
    );
}

#[test]
fn values_that_are_no_numbers() {
    for (value, nan, infinite) in [(f32::NAN, 1, 0), (f32::NEG_INFINITY, 0, 1)] {
        let mut tensors = good_tensors();
        tensors[3].bytes[4..8].copy_from_slice(&value.to_le_bytes());
        assert_eq!(
            refused(&tensors),
            format!(
                "\"{PREFIX}.v_proj.lora_B.weight\": expected finite values, found {nan} NaN and {infinite} infinite; \
                 the training diverged, or the file is damaged"
            )
        );
    }
}

#[test]
fn types_that_are_not_read() {
    let mut tensors = good_tensors();
    tensors[0] = Tensor {
        dtype: "I8",
        bytes: vec![0; 16],
        ..tensors[0].clone()
    };
    assert_eq!(
        refused(&tensors),
        format!(
            "\"{PREFIX}.q_proj.lora_A.weight\": expected F32, F16 or BF16, found I8; convert the checkpoint to one of these"
        )
    );
}

#[test]
fn an_embedding_that_is_the_output() {
    let adapter = Adapter::good();
    adapter.base.config(json!({"tie_word_embeddings": true}));
    for name in [
        "model.embed_tokens.lora_embedding_A",
        "lm_head.lora_A.weight",
        "lm_head.weight",
    ] {
        let mut tensors = good_tensors();
        tensors.push(Tensor::f32(&format!("base_model.model.{name}"), &[2, 10]));
        adapter.directory.write(MODEL, file(&tensors));
        assert_eq!(
            of_the_file(&adapter),
            format!(
                "\"base_model.model.{name}\": expected no change to an embedding that is the base model's output, too, found one; \
                 merge the adapter into its base with peft and give the merged model"
            )
        );
    }
}

#[test]
fn a_tensor_that_two_adapters_replace() {
    let with_norm = |value: f32| {
        let mut norm = Tensor::f32("base_model.model.model.norm.weight", &[8]);
        norm.bytes = value.to_le_bytes().repeat(8);
        let mut tensors = good_tensors();
        tensors.push(norm);
        Adapter::tensors(&tensors)
    };
    let (first, second, equal) = (with_norm(1.0), with_norm(2.0), with_norm(1.0));
    let mut checkpoint = first.open(1.0);
    let message = (checkpoint.add_lora(second.directory.path(), 0.5))
        .expect_err("a refusal")
        .to_string();
    let earlier = first.directory.path().display().to_string();
    assert_eq!(
        second.directory.clean(&message),
        format!(
            "DIR: \"base_model.model.model.norm.weight\": expected at most one adapter that replaces this tensor, found another in \
             {earlier:?}; give one of the two"
        )
    );
    assert_eq!(checkpoint.adapters().len(), 1);
    (checkpoint.add_lora(equal.directory.path(), 0.5)).expect("the same values");
}

/// The container's own faults are those of every file of its kind.
#[test]
fn files_that_lie() {
    let adapter = Adapter::good();
    let good = std::fs::read(adapter.directory.path().join(MODEL)).expect("the file");
    adapter.directory.write(MODEL, &good[..good.len() - 1]);
    assert!(
        of_the_file(&adapter).contains("1 byte"),
        "{}",
        of_the_file(&adapter)
    );
    adapter.directory.write(MODEL, "");
    assert!(
        of_the_file(&adapter).contains("found 0"),
        "{}",
        of_the_file(&adapter)
    );

    adapter.directory.remove(MODEL);
    let mut entries = Archive::of(&good_tensors()).entries();
    entries[0].data = b"\x80\x02cos\nsystem\n(X\x04\0\0\0truetR.".to_vec();
    adapter.directory.write("adapter_model.bin", zip(&entries));
    let message = adapter.refusal();
    assert!(
        message.starts_with(
            "DIR/adapter_model.bin: data.pkl: byte 2: expected a global that rebuilds tensors"
        ) && message.contains("found \"os.system\"; nothing was run"),
        "{message}"
    );
}

/// A hundred views of one storage of 16 KiB.
#[test]
fn factors_that_repeat() {
    let adapter = Adapter::good();
    adapter.directory.remove(MODEL);
    let mut archive = Archive::of(&good_tensors());
    let large = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight";
    archive.push(&Tensor::f32(large, &[64, 64]));
    for index in 0..99 {
        let mut view = archive.view(large).clone();
        view.name = format!("view {index}");
        archive.views.push(view);
    }
    let bytes = archive.bytes();
    adapter.directory.write("adapter_model.bin", &bytes);
    // The good factors take 224 bytes.
    assert_eq!(
        adapter.refusal(),
        format!(
            "DIR/adapter_model.bin: expected tensors of at most twice the files' {} bytes, found {}: many are views of the same \
             storage; save the checkpoint anew, or take it from a source you trust",
            bytes.len(),
            224 + 100 * 64 * 64 * 4
        )
    );
}
