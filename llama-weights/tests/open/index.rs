//! The index and its shards.

use serde_json::json;

use crate::fixture::{Directory, Tensor, absent, file, tensors};

#[test]
fn two_good_shards_open_without_a_warning() {
    let directory = Directory::sharded();
    assert_eq!(directory.warnings(), Vec::<String>::new());
    let opened = directory.open();
    let files: Vec<_> = opened
        .files()
        .map(|f| f.file_name().unwrap().to_owned())
        .collect();
    assert_eq!(files, ["a.safetensors", "b.safetensors"]);
    assert_eq!(opened.tensors().count(), 12);
}

#[test]
fn missing_shards_are_all_listed() {
    let directory = Directory::sharded();
    directory.remove("a.safetensors");
    directory.remove("b.safetensors");
    assert_eq!(
        directory.refusal(),
        "DIR/model.safetensors.index.json: expected 2 shards beside it, found 2 missing: \"a.safetensors\", \"b.safetensors\"; \
         download them into the same directory"
    );
}

#[test]
fn a_hundred_missing_shards_are_all_listed() {
    let directory = Directory::sharded();
    let names: Vec<String> = (0..100).map(|i| format!("{i:03}.safetensors")).collect();
    directory.weight_map(
        names
            .iter()
            .map(|name| (name.clone(), json!(name)))
            .collect(),
    );
    let listed: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    assert_eq!(
        directory.refusal(),
        format!(
            "DIR/model.safetensors.index.json: expected 102 shards beside it, found 100 missing: {}; \
             download them into the same directory",
            listed.join(", ")
        )
    );
}

#[test]
fn tensor_mapped_to_a_shard_that_lacks_it() {
    let directory = Directory::sharded();
    directory.weight_map(json!({"model.norm.weight": "a.safetensors"}));
    assert_eq!(
        directory.refusal(),
        "DIR/model.safetensors.index.json: weight_map: expected \"model.norm.weight\" in \"a.safetensors\", \
         found it in \"b.safetensors\"; the index is not of these shards, download both again"
    );
}

#[test]
fn tensor_mapped_to_a_shard_and_in_none() {
    let directory = Directory::sharded();
    let tensors = tensors();
    directory.write("b.safetensors", file(&tensors[6..11]));
    assert_eq!(
        directory.refusal(),
        "DIR/model.safetensors.index.json: weight_map: expected \"lm_head.weight\" in \"b.safetensors\", \
         found it in no shard; the index is not of these shards, download both again"
    );
}

#[test]
fn shard_names_that_leave_the_directory() {
    let hostile = [
        ("../../etc/passwd", r#""../../etc/passwd""#),
        ("/etc/passwd", r#""/etc/passwd""#),
        ("b.safetensors\0", r#""b.safetensors\0""#),
        ("..\\b.safetensors", r#""..\\b.safetensors""#),
        ("C:b.safetensors", r#""C:b.safetensors""#),
        ("C:\\b.safetensors", r#""C:\\b.safetensors""#),
        ("sub/b.safetensors", r#""sub/b.safetensors""#),
        ("..", r#""..""#),
        (".", r#"".""#),
        ("", r#""""#),
    ];
    for (name, shown) in hostile {
        let directory = Directory::sharded();
        directory.weight_map(json!({"model.norm.weight": name}));
        assert_eq!(
            directory.refusal(),
            format!(
                "DIR/model.safetensors.index.json: weight_map[\"model.norm.weight\"]: expected the name of a file in the same \
                 directory, found {shown}; the index is damaged or hostile, take the checkpoint from a source you trust"
            )
        );
    }
}

#[test]
fn the_same_tensor_in_two_shards() {
    let directory = Directory::sharded();
    let tensors = tensors();
    directory.write("b.safetensors", file(&tensors[5..]));
    assert_eq!(
        directory.refusal(),
        "DIR/model.safetensors.index.json: expected \"model.layers.0.self_attn.o_proj.weight\" in one shard, \
         found it in \"a.safetensors\" and in \"b.safetensors\"; download the checkpoint again"
    );
}

#[test]
fn the_same_tensor_mapped_to_two_shards() {
    let directory = Directory::sharded();
    directory.write(
        "model.safetensors.index.json",
        r#"{"weight_map": {"x": "a.safetensors", "x": "b.safetensors"}}"#,
    );
    assert_eq!(
        directory.refusal(),
        "DIR/model.safetensors.index.json: expected \"x\" in one shard, found it in \"a.safetensors\" and in \"b.safetensors\"; \
         download the checkpoint again"
    );
}

#[test]
fn inverse_frequencies_are_ignored_even_in_both_shards() {
    let directory = Directory::sharded();
    let tensors = tensors();
    let extra = Tensor::f32("model.layers.0.self_attn.rotary_emb.inv_freq", &[2]);
    for (name, range) in [("a.safetensors", 0..6), ("b.safetensors", 6..12)] {
        let mut shard = tensors[range].to_vec();
        shard.push(extra.clone());
        directory.write(name, file(&shard));
    }
    let opened = directory.open();
    assert_eq!(opened.tensors().count(), 12);
    assert_eq!(
        directory.warnings(),
        [
            "DIR/model.safetensors.index.json: metadata.total_size: expected 2672, the bytes of all shards, found 2656; ignored"
        ]
    );
}

#[test]
fn other_extra_tensors_are_ignored_with_a_warning() {
    let directory = Directory::good();
    let mut extra = tensors();
    extra.push(Tensor::f32("model.layers.0.self_attn.q_proj.bias", &[8]));
    extra.push(Tensor {
        dtype: "I64",
        shape: vec![1],
        ..Tensor::f32("model.layers.1.position_ids", &[2])
    });
    directory.write("model.safetensors", file(&extra));
    assert_eq!(
        directory.warnings(),
        [
            "DIR: 2 tensors have no place in the configured model and are ignored, \"model.layers.0.self_attn.q_proj.bias\" first"
        ]
    );
}

#[test]
fn wrong_total_size_is_a_warning() {
    let directory = Directory::sharded();
    let path = directory.path().join("model.safetensors.index.json");
    let text = std::fs::read_to_string(&path).expect("the index");
    directory.write("model.safetensors.index.json", text.replace("2656", "99"));
    assert_eq!(
        directory.warnings(),
        [
            "DIR/model.safetensors.index.json: metadata.total_size: expected 2656, the bytes of all shards, found 99; ignored"
        ]
    );
}

#[test]
fn shards_of_different_shapes() {
    let directory = Directory::sharded();
    let mut tensors = tensors();
    tensors[11] = Tensor::f32("lm_head.weight", &[10, 16]);
    directory.write("b.safetensors", file(&tensors[6..]));
    assert_eq!(
        directory.refusal(),
        "DIR/b.safetensors: \"lm_head.weight\": expected shape [10, 8] by the configuration, found [10, 16]; \
         weights and configuration are of different models"
    );
}

#[test]
fn index_without_a_weight_map() {
    let directory = Directory::sharded();
    directory.write("model.safetensors.index.json", "{}");
    assert_eq!(
        directory.refusal(),
        "DIR/model.safetensors.index.json: expected a JSON object, found missing field `weight_map` at line 1 column 2; \
         download the file again"
    );
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_is_a_missing_file() {
    let directory = Directory::good();
    directory.remove("model.safetensors");
    let link = directory.path().join("model.safetensors");
    std::os::unix::fs::symlink("../../blobs/absent", link).expect("a link");
    assert_eq!(
        directory.refusal(),
        format!(
            "DIR/model.safetensors: expected a readable file, found an error: {}; check that it exists and may be read",
            absent()
        )
    );
}

#[test]
fn a_shard_that_is_damaged_is_named() {
    let directory = Directory::sharded();
    directory.write("b.safetensors", [1, 2, 3]);
    assert_eq!(
        directory.refusal(),
        "DIR/b.safetensors: expected a safetensors file of at least 8 bytes, found 3; download the file again"
    );
}
