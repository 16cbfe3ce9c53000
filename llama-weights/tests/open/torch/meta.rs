//! Meta's directories: `params.json`, and which shards there must be.

use llama_weights::{Checkpoint, Format};
use serde_json::{Value, json};

use super::written::{Archive, meta_shard, meta_tensors, params};
use crate::fixture::{Directory, Tensor, absent};

/// The good model in this many shards.
fn meta(shards: usize) -> Directory {
    let directory = Directory::empty();
    directory.write("params.json", params().to_string());
    for number in 0..shards {
        write_shard(
            &directory,
            number,
            &meta_shard(&meta_tensors(), number, shards),
        );
    }
    directory
}

fn write_shard(directory: &Directory, number: usize, tensors: &[Tensor]) {
    directory.write(
        &format!("consolidated.{number:02}.pth"),
        Archive::of(tensors).bytes(),
    );
}

/// The good model with these parameters changed; `null` removes one.
fn changed(changes: Value) -> Directory {
    let directory = meta(1);
    let mut params = params();
    for (key, value) in changes.as_object().expect("an object") {
        params[key] = value.clone();
    }
    directory.write("params.json", params.to_string());
    directory
}

fn values(checkpoint: &Checkpoint) -> Vec<(String, Vec<u8>)> {
    let rows = |view: &llama_weights::TensorView<'_>| view.rows(0..view.n_rows()).into_owned();
    checkpoint
        .tensors()
        .map(|(_, view)| (view.name().to_owned(), rows(&view)))
        .collect()
}

#[test]
fn shards_give_what_one_file_gives() {
    let one = meta(1).open();
    assert_eq!(one.format(), Format::Meta);
    assert_eq!(one.warnings(), [""; 0]);
    assert_eq!(values(&meta(2).open()), values(&one));
    let stored = meta_tensors();
    for ((name, bytes), tensor) in values(&one).iter().zip(&stored) {
        assert_eq!(name, &tensor.name);
        let turned = name.contains("wq") || name.contains("wk");
        assert_eq!(*bytes == tensor.bytes, !turned, "{name}");
    }
    // Heads of 4 rows: 0, 1, 2, 3 are the pairs (0, 1) and (2, 3).
    let (_, query) = &values(&one)[2];
    let expected: Vec<u8> = [0, 2, 1, 3, 4, 6, 5, 7]
        .iter()
        .flat_map(|row| stored[2].bytes[row * 32..][..32].to_vec())
        .collect();
    assert_eq!(*query, expected);
}

#[test]
fn consolidated_01_missing() {
    let directory = meta(2);
    directory.remove("consolidated.01.pth");
    assert_eq!(
        directory.refusal(),
        "DIR/params.json: expected 2 shards beside it, found 1 missing: \"consolidated.01.pth\"; \
         download them into the same directory"
    );
}

#[test]
fn missing_shards_are_all_listed() {
    let directory = meta(2);
    directory.remove("consolidated.00.pth");
    assert_eq!(
        directory.refusal(),
        "DIR/params.json: expected 2 shards beside it, found 1 missing: \"consolidated.00.pth\"; \
         download them into the same directory"
    );
    directory.remove("consolidated.01.pth");
    assert_eq!(
        directory.refusal(),
        "DIR/params.json: expected 1 shards beside it, found 1 missing: \"consolidated.00.pth\"; \
         download them into the same directory"
    );
    write_shard(&directory, 4, &meta_tensors());
    assert_eq!(
        directory.refusal(),
        "DIR/params.json: expected 5 shards beside it, found 4 missing: \"consolidated.00.pth\", \"consolidated.01.pth\", \
         \"consolidated.02.pth\", \"consolidated.03.pth\"; download them into the same directory"
    );
}

#[test]
fn a_shard_too_many() {
    let directory = meta(1);
    write_shard(&directory, 1, &meta_tensors());
    assert_eq!(
        directory.refusal(),
        "DIR/consolidated.00.pth: \"tok_embeddings.weight\": expected shape [10, 4] by the configuration, found [10, 8]; \
         weights and configuration are of different models"
    );
}

#[test]
fn other_names_are_no_shards() {
    let directory = meta(1);
    for name in [
        "consolidated.1.pth",
        "consolidated.001.pth",
        "consolidated.+1.pth",
        "consolidated.100.pth",
        "consolidated.pth",
    ] {
        directory.write(name, "no shard");
    }
    assert_eq!(directory.open().files().count(), 1);
}

#[test]
fn shards_that_cut_unevenly() {
    let directory = Directory::empty();
    directory.write("params.json", params().to_string());
    for number in 0..4 {
        // The embedding says four; a vocabulary of 10 has no quarter.
        let quarter: Vec<Tensor> = meta_shard(&meta_tensors(), 0, 4);
        write_shard(&directory, number, &quarter);
    }
    assert_eq!(
        directory.refusal(),
        "DIR: \"output.weight\": expected a size that 4 shards divide, found 10; \
         the shards are not of this checkpoint, download them again"
    );
}

#[test]
fn shards_of_different_types() {
    let directory = meta(2);
    let mut second = meta_shard(&meta_tensors(), 1, 2);
    second[0].dtype = "F16";
    let half = second[0].bytes.len() / 2;
    second[0].bytes.truncate(half);
    write_shard(&directory, 1, &second);
    assert_eq!(
        directory.refusal(),
        "DIR/consolidated.01.pth: \"tok_embeddings.weight\": expected F32 as in \"consolidated.00.pth\", found F16; \
         the shards are of different checkpoints, download them again"
    );
}

#[test]
fn a_tensor_that_one_shard_lacks() {
    let directory = meta(2);
    let mut second = meta_shard(&meta_tensors(), 1, 2);
    second.remove(5);
    write_shard(&directory, 1, &second);
    assert_eq!(
        directory.refusal(),
        "DIR/consolidated.01.pth: expected 12 tensors by the configuration, found 1 missing: \"layers.0.attention.wo.weight\"; \
         the shards are not of one checkpoint, download them again"
    );
}

#[test]
fn a_damaged_shard_is_named() {
    let directory = meta(2);
    directory.write("consolidated.01.pth", "PK");
    assert_eq!(
        directory.refusal(),
        "DIR/consolidated.01.pth: expected the directory of a zip at the file's end, found none: the file is cut short; \
         download it again"
    );
}

#[test]
fn rope_freqs_are_ignored_and_other_tensors_with_a_warning() {
    let directory = meta(1);
    let mut tensors = meta_tensors();
    tensors.push(Tensor::f32("rope.freqs", &[2]));
    write_shard(&directory, 0, &tensors);
    assert_eq!(directory.warnings(), [""; 0]);
    tensors.push(Tensor::f32("layers.1.attention.wq.weight", &[8, 8]));
    write_shard(&directory, 0, &tensors);
    assert_eq!(
        directory.warnings(),
        [
            "DIR: 1 tensors have no place in the configured model and are ignored, \"layers.1.attention.wq.weight\" first"
        ]
    );
}

#[test]
fn params_json_is_not_there() {
    let directory = meta(1);
    directory.remove("params.json");
    assert_eq!(
        directory.refusal(),
        format!(
            "DIR/params.json: expected a readable file, found an error: {}; check that it exists and may be read",
            absent()
        )
    );
}

#[test]
fn defaults_are_those_of_meta_s_code() {
    let directory = changed(
        json!({"n_kv_heads": null, "norm_eps": null, "vocab_size": null, "rope_theta": null}),
    );
    let opened = directory.open();
    let h = opened.hyperparameters();
    assert_eq!(
        (h.n_kv_heads, h.vocab_size, h.ffn_size, h.head_dim),
        (2, 10, 24, 4)
    );
    assert_eq!(
        (h.rms_norm_eps, h.rope_theta, h.max_position_embeddings),
        (1e-5, 10_000.0, 4096)
    );
    assert_eq!((h.bos_token_id, opened.eos_token_ids()), (Some(1), vec![2]));
    let opened = changed(json!({"rope_theta": 1_000_000, "norm_eps": 1e-6, "vocab_size": 10, "use_scaled_rope": false})).open();
    let h = opened.hyperparameters();
    assert_eq!((h.rope_theta, h.rms_norm_eps), (1e6, 1e-6));
}

#[test]
fn sizes_that_cannot_be() {
    let advice = "correct the file or download it again";
    for (change, sentence) in [
        (
            json!({"dim": 0}),
            "dim: expected an integer from 1 to 1048576, found 0",
        ),
        (
            json!({"dim": null}),
            "dim: expected an integer from 1 to 1048576, found nothing",
        ),
        (
            json!({"dim": 1e18}),
            "dim: expected an integer from 1 to 1048576, found 1e+18",
        ),
        (
            json!({"dim": "8"}),
            "dim: expected an integer from 1 to 1048576, found \"8\"",
        ),
        (
            json!({"dim": 7}),
            "n_heads: expected a divisor of dim (7), found 2",
        ),
        (
            json!({"n_heads": 8}),
            "n_kv_heads: expected a divisor of the 8 attention heads, found 3",
        ),
        (
            json!({"n_layers": -1}),
            "n_layers: expected an integer from 1 to 4096, found -1",
        ),
        (
            json!({"n_kv_heads": 0}),
            "n_kv_heads: expected an integer from 1 to 16384, found 0",
        ),
        (
            json!({"multiple_of": 0}),
            "multiple_of: expected an integer from 1 to 16777216, found 0",
        ),
        (
            json!({"vocab_size": 0}),
            "vocab_size: expected -1, or an integer from 1 to 16777216, found 0",
        ),
        (
            json!({"vocab_size": -2}),
            "vocab_size: expected -1, or an integer from 1 to 16777216, found -2",
        ),
        (
            json!({"norm_eps": 0}),
            "norm_eps: expected a number above 0 and below 1, found 0",
        ),
        (
            json!({"rope_theta": -1}),
            "rope_theta: expected a finite number above 0, found -1",
        ),
        (
            json!({"ffn_dim_multiplier": 0}),
            "ffn_dim_multiplier: expected a number that makes 8/3 of dim (21) a size from 1 to 16777216, found 0",
        ),
        (
            json!({"ffn_dim_multiplier": 1e300}),
            "ffn_dim_multiplier: expected a number that makes 8/3 of dim (21) a size from 1 to 16777216, found 1e+300",
        ),
        (
            json!({"use_scaled_rope": true}),
            "use_scaled_rope: expected false or none, since the file does not say by how much, found true",
        ),
    ] {
        let mut change = change;
        if change.get("n_heads").is_some() {
            change["n_kv_heads"] = json!(3);
        }
        assert_eq!(
            changed(change).refusal(),
            format!("DIR/params.json: {sentence}; {advice}")
        );
    }
}

#[test]
fn a_vocabulary_of_another_size_than_the_embedding() {
    assert_eq!(
        changed(json!({"vocab_size": 12})).refusal(),
        "DIR/consolidated.00.pth: \"tok_embeddings.weight\": expected shape [12, 8] by the configuration, found [10, 8]; \
         weights and configuration are of different models"
    );
}

#[test]
fn params_of_another_ffn_size() {
    assert_eq!(
        changed(json!({"ffn_dim_multiplier": 1.3})).refusal(),
        "DIR/consolidated.00.pth: \"layers.0.feed_forward.w1.weight\": expected shape [32, 8] by the configuration, found [24, 8]; \
         weights and configuration are of different models"
    );
}
