//! `pytorch_model.bin`, alone and in shards: what the configuration and the index ask for, as with safetensors.

use serde_json::{Value, json};

use super::written::{Archive, View, bin};
use crate::fixture::{Directory, Tensor, file, tensors};

const INDEX: &str = "pytorch_model.bin.index.json";
const KEY: &str = "model.layers.0.self_attn.k_proj.weight";

/// The good checkpoint in two shards.
fn sharded() -> Directory {
    let directory = bin();
    directory.remove("pytorch_model.bin");
    let tensors = tensors();
    let (first, second) = tensors.split_at(6);
    let mut map = serde_json::Map::new();
    for (name, part) in [
        ("pytorch_model-00001-of-00002.bin", first),
        ("pytorch_model-00002-of-00002.bin", second),
    ] {
        directory.write(name, Archive::of(part).bytes());
        map.extend(part.iter().map(|tensor| (tensor.name.clone(), json!(name))));
    }
    let total: usize = tensors.iter().map(|tensor| tensor.bytes.len()).sum();
    let index = json!({"metadata": {"total_size": total}, "weight_map": Value::Object(map)});
    directory.write(INDEX, index.to_string());
    directory
}

fn key_bytes(directory: &Directory) -> Vec<u8> {
    let opened = directory.open();
    let mut views = opened.tensors().filter(|(_, view)| view.name() == KEY);
    let (_, view) = views.next().expect("the key matrix");
    view.rows(0..4).into_owned()
}

#[test]
fn every_tensor_has_its_bytes() {
    for directory in [bin(), sharded()] {
        let opened = directory.open();
        assert_eq!(opened.warnings(), [""; 0]);
        assert_eq!(opened.tensors().count(), 12);
        for ((_, view), tensor) in opened.tensors().zip(tensors()) {
            assert_eq!(view.name(), tensor.name);
            assert_eq!(*view.rows(0..view.n_rows()), tensor.bytes);
        }
    }
}

#[test]
fn views_of_one_storage() {
    let tensors = tensors();
    let mut archive = Archive::of(&tensors);
    // Rows 1 to 4 and columns 2 to 9 of a storage of 6 rows of 11.
    let wide: Vec<f32> = (0..66).map(|i| i as f32).collect();
    archive.storages[3].bytes = wide.iter().flat_map(|x| x.to_le_bytes()).collect();
    archive.storages[3].numel = 66;
    let view = archive.view(KEY);
    (view.offset, view.strides) = (13, vec![11, 1]);
    let directory = bin();
    directory.write("pytorch_model.bin", archive.bytes());
    let expected: Vec<u8> = (1..5)
        .flat_map(|row| (2..10).map(move |column| (11 * row + column) as f32))
        .flat_map(f32::to_le_bytes)
        .collect();
    assert_eq!(key_bytes(&directory), expected);
}

#[test]
fn a_transposed_view() {
    let mut archive = Archive::of(&tensors());
    archive.view(KEY).strides = vec![1, 4];
    let directory = bin();
    directory.write("pytorch_model.bin", archive.bytes());
    let stored = &tensors()[3].bytes;
    let element = |row: usize, column: usize| stored[4 * (4 * column + row)..][..4].to_vec();
    let expected: Vec<u8> = (0..4)
        .flat_map(|row| (0..8).flat_map(move |column| element(row, column)))
        .collect();
    assert_eq!(key_bytes(&directory), expected);
}

#[test]
fn safetensors_win_where_both_are() {
    let directory = bin();
    directory.write("pytorch_model.bin", "");
    directory.write("model.safetensors", file(&tensors()));
    assert_eq!(key_bytes(&directory), tensors()[3].bytes);
}

#[test]
fn types_that_weights_do_not_have() {
    let mut archive = Archive::of(&tensors());
    // Beside the weights they are ignored with a warning.
    archive.push(&Tensor {
        dtype: "I64",
        shape: vec![1],
        ..Tensor::f32("model.position_ids", &[2])
    });
    let directory = bin();
    directory.write("pytorch_model.bin", archive.bytes());
    assert_eq!(
        directory.warnings(),
        [
            "DIR: 1 tensors have no place in the configured model and are ignored, \"model.position_ids\" first"
        ]
    );
    for (kind, width) in [
        ("DoubleStorage", 8),
        ("IntStorage", 4),
        ("BoolStorage", 1),
        ("UntypedStorage", 1),
    ] {
        let mut archive = Archive::of(&tensors());
        archive.storages[3].kind = kind;
        archive.storages[3].bytes = vec![0; 32 * width];
        directory.write("pytorch_model.bin", archive.bytes());
        assert_eq!(
            directory.refusal(),
            format!(
                "DIR/pytorch_model.bin: {KEY:?}: expected F32, F16 or BF16, found {kind}; convert the checkpoint to one of these"
            )
        );
    }
}

#[test]
fn a_shape_of_another_model() {
    let mut archive = Archive::of(&tensors());
    archive.view(KEY).shape = vec![2, 16];
    archive.view(KEY).strides = vec![16, 1];
    let directory = bin();
    directory.write("pytorch_model.bin", archive.bytes());
    assert_eq!(
        directory.refusal(),
        format!(
            "DIR/pytorch_model.bin: {KEY:?}: expected shape [4, 8] by the configuration, found [2, 16]; \
             weights and configuration are of different models"
        )
    );
}

#[test]
fn shards_without_an_index() {
    let directory = sharded();
    directory.remove(INDEX);
    assert_eq!(
        directory.refusal(),
        format!(
            "DIR/{INDEX}: expected a readable file, found an error: {}; check that it exists and may be read",
            crate::fixture::absent()
        )
    );
}

#[test]
fn missing_shards_are_all_listed() {
    let directory = sharded();
    directory.remove("pytorch_model-00001-of-00002.bin");
    directory.remove("pytorch_model-00002-of-00002.bin");
    assert_eq!(
        directory.refusal(),
        format!(
            "DIR/{INDEX}: expected 2 shards beside it, found 2 missing: \"pytorch_model-00001-of-00002.bin\", \
             \"pytorch_model-00002-of-00002.bin\"; download them into the same directory"
        )
    );
}

#[test]
fn a_layer_that_is_everywhere() {
    // 100 layers whose matrices are views of one storage: a model 67 times the file.
    let mut tensors = tensors();
    for (index, shape) in [(7, [4096, 8]), (8, [4096, 8]), (9, [8, 4096])] {
        tensors[index] = Tensor::f32(&tensors[index].name, &shape);
    }
    let mut archive = Archive::of(&tensors);
    let in_layer = |view: &&View| view.name.contains("layers.0.");
    let layer: Vec<View> = archive.views.iter().filter(in_layer).cloned().collect();
    for index in 1..100 {
        archive.views.extend(layer.iter().cloned().map(|mut view| {
            view.name = view.name.replace("layers.0.", &format!("layers.{index}."));
            view
        }));
    }
    let directory = bin();
    directory.config(json!({"num_hidden_layers": 100, "intermediate_size": 4096}));
    let file = archive.bytes();
    directory.write("pytorch_model.bin", &file);
    let all: usize = tensors.iter().map(|tensor| tensor.bytes.len()).sum();
    let rest = 4 * (10 * 8 + 8 + 10 * 8);
    assert_eq!(
        directory.refusal(),
        format!(
            "DIR: expected tensors of at most twice the files' {} bytes, found {}: many are views of the same storage; \
             save the checkpoint anew, or take it from a source you trust",
            file.len(),
            100 * (all - rest) + rest
        )
    );
}
