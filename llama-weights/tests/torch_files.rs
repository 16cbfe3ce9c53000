//! Files that torch and transformers wrote (see `golden/torch/generate.py`): Meta's directory in one and two shards, `.bin` files
//! alone and sharded. Each gives the values that transformers' own converter made of them, to the bit.

use std::path::{Path, PathBuf};

use llama_weights::{Checkpoint, DType, Format, Hyperparameters, LayerPart, TensorRole};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/torch")
        .join(name)
}

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(&folder(name)).expect(name)
}

/// Every tensor equals the safetensors form's: whole, row by row, and in runs that begin and end within heads and shards.
fn assert_equal_values(name: &str, dtype: DType) {
    let (found, expected) = (open(name), open("hf"));
    assert_eq!(found.warnings(), [""; 0]);
    assert_eq!(found.tensors().count(), expected.tensors().count());
    for (role, view) in found.tensors() {
        let expected = expected.tensor(role).expect("the same tensors");
        assert_eq!((view.shape(), view.dtype()), (expected.shape(), dtype));
        let (mut values, mut wanted) = (Vec::new(), Vec::new());
        let n = view.n_rows();
        let ones = (0..n).map(|row| row..row + 1);
        for rows in ones.chain([0..n, n / 3..n - n / 4, n..n]) {
            view.rows_f32(rows.clone(), &mut values);
            expected.rows_f32(rows.clone(), &mut wanted);
            assert_eq!(values, wanted, "{name}: rows {rows:?} of {role:?}");
        }
    }
}

#[test]
fn meta_in_one_file() {
    assert_equal_values("meta-1", DType::BF16);
}

#[test]
fn meta_in_two_shards() {
    assert_equal_values("meta-2", DType::F16);
}

#[test]
fn pytorch_model_bin() {
    assert_equal_values("bin-1", DType::F16);
}

#[test]
fn pytorch_model_bin_in_shards() {
    assert_equal_values("bin-2", DType::BF16);
}

#[test]
fn hyperparameters_are_those_of_the_converted_configuration() {
    let expected = open("hf");
    for name in ["meta-1", "meta-2", "bin-1", "bin-2"] {
        let found = open(name);
        let expected: &Hyperparameters = expected.hyperparameters();
        assert_eq!(found.hyperparameters(), expected, "{name}");
        assert_eq!(found.hyperparameters().ffn_size, 112);
        let meta = name.starts_with("meta");
        let format = if meta {
            Format::Meta
        } else {
            Format::HuggingFace
        };
        assert_eq!(found.format(), format);
        assert_eq!(found.generation_config().is_none(), meta);
        assert_eq!(found.eos_token_ids(), [2]);
    }
}

#[test]
fn what_one_file_has_in_order_is_borrowed() {
    let borrowed = |name: &str, part| {
        let opened = open(name);
        let view = opened.tensor(TensorRole::Layer { index: 1, part });
        let view = view.expect("a tensor of the layer");
        matches!(view.rows(0..view.n_rows()), std::borrow::Cow::Borrowed(_))
    };
    for part in [LayerPart::Query, LayerPart::Value, LayerPart::Down] {
        assert!(borrowed("bin-1", part), "{part:?}");
        assert!(borrowed("bin-2", part), "{part:?}");
        // Query rows are interleaved in Meta's files; a shard has some rows of Value and some columns of Down.
        assert_eq!(borrowed("meta-1", part), part != LayerPart::Query);
        assert!(!borrowed("meta-2", part), "{part:?}");
    }
}
