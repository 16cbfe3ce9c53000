//! LoRA adapters: what a good one does to a checkpoint, and bad ones by name, each refusal a whole sentence and held to 2 s and 64 MiB.

mod config;
mod tensors;

use std::time::Instant;

use llama_weights::{Checkpoint, DType, Error, LayerPart, TensorRole};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixture::{ALLOCATION_LIMIT, Directory, TIME_LIMIT, Tensor, file, merge};
use crate::torch::written::Archive;

const MODEL: &str = "adapter_model.safetensors";
const PREFIX: &str = "base_model.model.model.layers.0.self_attn";

/// A directory beside the good checkpoint.
struct Adapter {
    base: Directory,
    directory: Directory,
}

/// Rank 2, alpha 6, on queries and values.
fn good_config() -> Value {
    json!({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"],
        "bias": "none", "base_model_name_or_path": "org/base", "fan_in_fan_out": false, "use_dora": false,
        "use_rslora": false, "modules_to_save": null, "rank_pattern": {}, "alpha_pattern": {}
    })
}

fn good_tensors() -> Vec<Tensor> {
    vec![
        Tensor::f32(&format!("{PREFIX}.q_proj.lora_A.weight"), &[2, 8]),
        Tensor::f32(&format!("{PREFIX}.q_proj.lora_B.weight"), &[8, 2]),
        Tensor::f32(&format!("{PREFIX}.v_proj.lora_A.weight"), &[2, 8]),
        Tensor::f32(&format!("{PREFIX}.v_proj.lora_B.weight"), &[4, 2]),
    ]
}

fn layer(part: LayerPart) -> TensorRole {
    TensorRole::Layer { index: 0, part }
}

impl Adapter {
    fn good() -> Self {
        let directory = Directory::empty();
        directory.write("adapter_config.json", good_config().to_string());
        directory.write(MODEL, file(&good_tensors()));
        Self {
            base: Directory::good(),
            directory,
        }
    }

    /// The good adapter with these keys of its configuration changed.
    fn config(changes: Value) -> Self {
        let adapter = Self::good();
        let mut config = good_config();
        merge(&mut config, changes);
        (adapter.directory).write("adapter_config.json", config.to_string());
        adapter
    }

    /// The good adapter with these tensors for its own.
    fn tensors(tensors: &[Tensor]) -> Self {
        let adapter = Self::good();
        adapter.directory.write(MODEL, file(tensors));
        adapter
    }

    fn open(&self, scale: f32) -> Checkpoint {
        let mut checkpoint = self.base.open();
        let added = checkpoint.add_lora(self.directory.path(), scale);
        added.expect("a good adapter");
        checkpoint
    }

    fn refused(&self) -> Error {
        let mut checkpoint = self.base.open();
        let path = self.directory.path();
        let start = Instant::now();
        let mut error = None;
        let allocated = allocation_counter::measure(|| {
            error = checkpoint.add_lora(path, 1.0).err();
        });
        assert!(start.elapsed() < TIME_LIMIT, "took {:?}", start.elapsed());
        assert!(allocated.bytes_max < ALLOCATION_LIMIT);
        assert_eq!(checkpoint.adapters().len(), 0);
        error.expect("a refusal")
    }

    /// The message of the refusal, with the directory's path as `DIR`.
    fn refusal(&self) -> String {
        self.directory.clean(&self.refused().to_string())
    }
}

/// Row-major, as an f64 for each element.
fn values(tensor: &Tensor) -> Vec<f64> {
    let floats = tensor.bytes.chunks_exact(4);
    floats
        .map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])))
        .collect()
}

fn read(checkpoint: &Checkpoint, role: TensorRole) -> Vec<f32> {
    let view = checkpoint.tensor(role).expect("a tensor");
    let mut floats = Vec::new();
    view.rows_f32(0..view.n_rows(), &mut floats);
    floats
}

/// `base + scale · left · right`
fn sum(base: &[f32], scale: f64, left: &[f64], right: &[f64], rank: usize) -> Vec<f64> {
    let columns = right.len() / rank;
    let element = |(index, base): (usize, &f32)| {
        let (row, column) = (index / columns, index % columns);
        let products = (0..rank).map(|k| left[row * rank + k] * right[k * columns + column]);
        f64::from(*base) + scale * products.sum::<f64>()
    };
    base.iter().enumerate().map(element).collect()
}

fn expect_near(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (f64::from(*found) - expected).abs() < 1e-6,
            "{found}, expected {expected}"
        );
    }
}

#[test]
fn a_product_is_added_by_alpha_over_rank_and_scale() {
    let adapter = Adapter::good();
    let (plain, tensors) = (adapter.base.open(), good_tensors());
    for scale in [1.0, 0.5, -2.0] {
        let merged = adapter.open(scale);
        for (part, a, b) in [(LayerPart::Query, 0, 1), (LayerPart::Value, 2, 3)] {
            let base = read(&plain, layer(part));
            let by = f64::from(scale) * 6.0 / 2.0;
            let (a, b) = (values(&tensors[a]), values(&tensors[b]));
            expect_near(&read(&merged, layer(part)), &sum(&base, by, &b, &a, 2));
        }
    }
}

#[test]
fn what_is_changed_is_f32_and_the_rest_is_as_it_was() {
    let adapter = Adapter::good();
    let (plain, merged) = (adapter.base.open(), adapter.open(1.0));
    for ((role, before), (_, after)) in plain.tensors().zip(merged.tensors()) {
        let changed = role == layer(LayerPart::Query) || role == layer(LayerPart::Value);
        assert_eq!(after.dtype(), DType::F32);
        assert_eq!(after.merged_from(), changed.then_some(DType::F32));
        let all = 0..after.n_rows();
        assert_eq!(before.rows(all.clone()) == after.rows(all), !changed);
    }
    let [adapter] = merged.adapters() else {
        panic!("one adapter");
    };
    assert_eq!(adapter.matrices().count(), 2);
    assert_eq!(adapter.replaced().count(), 0);
    assert_eq!(
        (adapter.rank(), adapter.alpha(), adapter.scale()),
        (2, 6.0, 1.0)
    );
    assert!(!adapter.rank_stabilized());
    assert_eq!(adapter.base_model(), Some("org/base"));
}

#[test]
fn rows_in_part_are_the_rows_of_the_whole() {
    let merged = Adapter::good().open(1.0);
    let view = merged.tensor(layer(LayerPart::Query)).expect("queries");
    let (mut whole, mut some) = (Vec::new(), Vec::new());
    view.rows_f32(0..8, &mut whole);
    view.rows_f32(3..6, &mut some);
    assert_eq!(some, whole[3 * 8..6 * 8]);
    let bytes: Vec<u8> = some.iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(*view.rows(3..6), bytes);
}

#[test]
fn adapters_add_up_in_any_order() {
    let adapter = Adapter::good();
    let mut twice = adapter.open(0.75);
    let path = adapter.directory.path();
    twice.add_lora(path, -0.25).expect("a good adapter");
    let once = adapter.open(0.5);
    for part in [LayerPart::Query, LayerPart::Value] {
        let expected: Vec<f64> = (read(&once, layer(part)).iter())
            .map(|&v| v.into())
            .collect();
        expect_near(&read(&twice, layer(part)), &expected);
    }
}

#[test]
fn a_rank_stabilized_adapter_is_scaled_by_the_root() {
    let adapter = Adapter::config(json!({"use_rslora": true, "alpha_pattern": {"v_proj": 1.5}}));
    let (plain, merged, tensors) = (adapter.base.open(), adapter.open(1.0), good_tensors());
    let base = read(&plain, layer(LayerPart::Value));
    let (a, b) = (values(&tensors[2]), values(&tensors[3]));
    let expected = sum(&base, 1.5 / 2f64.sqrt(), &b, &a, 2);
    expect_near(&read(&merged, layer(LayerPart::Value)), &expected);
    assert!(merged.adapters()[0].rank_stabilized());
}

#[test]
fn factors_of_an_embedding_are_transposed() {
    let module = "base_model.model.model.embed_tokens";
    let a = Tensor::f32(&format!("{module}.lora_embedding_A"), &[2, 10]);
    let b = Tensor::f32(&format!("{module}.lora_embedding_B"), &[8, 2]);
    let adapter = Adapter::config(json!({"target_modules": ["embed_tokens"]}));
    adapter
        .directory
        .write(MODEL, file(&[a.clone(), b.clone()]));
    let transposed = |values: &[f64], columns: usize| -> Vec<f64> {
        let rows = values.len() / columns;
        let element = |i: usize| values[i % rows * columns + i / rows];
        (0..values.len()).map(element).collect()
    };
    let base = read(&adapter.base.open(), TensorRole::Embedding);
    let (a, b) = (transposed(&values(&a), 10), transposed(&values(&b), 2));
    let expected = sum(&base, 3.0, &a, &b, 2);
    expect_near(&read(&adapter.open(1.0), TensorRole::Embedding), &expected);
}

#[test]
fn a_tensor_that_is_held_whole_stands_for_the_bases() {
    let norm = Tensor::f32("base_model.model.model.norm.weight", &[8]);
    let mut tensors = good_tensors();
    tensors.push(norm.clone());
    let adapter = Adapter::tensors(&tensors);
    let base = read(&adapter.base.open(), TensorRole::OutputNorm);
    let own: Vec<f32> = values(&norm).iter().map(|&value| value as f32).collect();
    assert_eq!(read(&adapter.open(1.0), TensorRole::OutputNorm), own);
    let half = read(&adapter.open(0.5), TensorRole::OutputNorm);
    let expected: Vec<f64> = (base.iter().zip(&own))
        .map(|(base, own)| (f64::from(*base) + f64::from(*own)) / 2.0)
        .collect();
    expect_near(&half, &expected);
    let replaced: Vec<TensorRole> = adapter.open(1.0).adapters()[0].replaced().collect();
    assert_eq!(replaced, [TensorRole::OutputNorm]);
}

#[test]
fn a_bin_file_is_read_where_there_is_no_safetensors_file() {
    let adapter = Adapter::good();
    let expected = read(&adapter.open(1.0), layer(LayerPart::Query));
    adapter.directory.remove(MODEL);
    let archive = Archive::of(&good_tensors()).bytes();
    adapter.directory.write("adapter_model.bin", archive);
    assert_eq!(read(&adapter.open(1.0), layer(LayerPart::Query)), expected);
}

#[test]
fn modules_by_expression_by_default_and_by_layer() {
    for changes in [
        json!({"target_modules": r".*self_attn\.(q|v)_proj"}),
        json!({"target_modules": "(absent)"}),
        json!({"target_modules": null}),
        json!({"layers_to_transform": 0}),
        json!({"layers_to_transform": [0, 7]}),
        json!({"layers_to_transform": []}),
        json!({"target_modules": ["q_proj", "k_proj", "v_proj"], "exclude_modules": ["k_proj"]}),
        json!({"target_modules": ["q_proj", "k_proj", "v_proj"], "exclude_modules": r".*\.k_proj"}),
        json!({"target_modules": ["q_proj", "k_proj", "v_proj"], "modules_to_save": ["k_proj"]}),
        json!({"r": 5, "rank_pattern": {"q_proj": 2, "self_attn.v_proj": 2}}),
        json!({"r": "(absent)", "rank_pattern": {"[qv]_proj": 2}}),
        json!({"init_lora_weights": "gaussian", "task_type": null, "bias": null}),
        json!({"peft_version": "99", "anything else": {"a": [1]}, "loftq_config": {}}),
    ] {
        let merged = Adapter::config(changes.clone()).open(1.0);
        assert_eq!(merged.adapters()[0].matrices().count(), 2, "{changes}");
    }
}

#[test]
fn a_scale_that_is_no_finite_number() {
    let adapter = Adapter::good();
    for (scale, found) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        let mut checkpoint = adapter.base.open();
        let refused = checkpoint.add_lora(adapter.directory.path(), scale);
        let message = refused.expect_err("a refusal").to_string();
        assert_eq!(
            adapter.directory.clean(&message),
            format!(
                "DIR: scale: expected a finite number, found {found}; give the adapter another scale"
            )
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// A few bytes changed: it opens and every value can be read, or is refused within the limits.
    #[test]
    fn spoilt_files(config: bool, changes in prop::collection::vec((0.0..1.0f64, any::<u8>()), 1..4)) {
        let adapter = Adapter::good();
        let name = if config { "adapter_config.json" } else { MODEL };
        let mut bytes = std::fs::read(adapter.directory.path().join(name)).expect("the file");
        let within = bytes.len().min(700);
        for (place, byte) in changes {
            bytes[(place * within as f64) as usize] = byte;
        }
        adapter.directory.write(name, bytes);
        let mut checkpoint = adapter.base.open();
        if checkpoint.add_lora(adapter.directory.path(), 1.0).is_ok() {
            prop_assert_eq!(checkpoint.check_values().count(), 12);
        } else {
            adapter.refusal();
        }
    }
}
