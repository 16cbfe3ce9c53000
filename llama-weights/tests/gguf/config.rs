//! Hyperparameters from metadata: keys that are missing, of the wrong type, out of range, or of another model.

use llama_weights::RopeScaling;

use crate::fixture::{good, open, refused, tensor, with};
use crate::writer::{Gguf, Value};

const ADVICE: &str = "convert the model again or download another file of it";

/// The good model with a key set.
fn key(key: &str, value: Value) -> Gguf {
    with(|gguf| gguf.set(key, value))
}

fn without(key: &str) -> Gguf {
    with(|gguf| gguf.remove(key))
}

fn assert_field(file: &Gguf, field: &str, expected: &str, found: &str) {
    assert_eq!(
        refused(file),
        format!("FILE: {field}: expected {expected}, found {found}; {ADVICE}")
    );
}

#[test]
fn another_architecture() {
    let field = "general.architecture";
    assert_field(&without(field), field, "\"llama\"", "nothing");
    let other = key(field, Value::Text("qwen2".to_owned()));
    assert_field(&other, field, "\"llama\"", "\"qwen2\"");
    let number = key(field, Value::U32(7));
    assert_field(&number, field, "a string in UTF-8", "7");
    let bytes = Value::Raw(8, [1u64.to_le_bytes().as_slice(), b"\xff"].concat());
    assert_field(
        &key(field, bytes),
        field,
        "a string in UTF-8",
        "text that is not UTF-8",
    );
}

#[test]
fn an_adapter_is_no_model() {
    let file = key("general.type", Value::Text("adapter".to_owned()));
    assert_field(&file, "general.type", "\"model\"", "\"adapter\"");
}

#[test]
fn a_mixture_of_experts() {
    assert_field(
        &key("llama.expert_count", Value::U32(8)),
        "llama.expert_count",
        "none, since a mixture of experts is another model",
        "8",
    );
}

#[test]
fn attention_to_what_follows() {
    assert_field(
        &key("llama.attention.causal", Value::Flag(false)),
        "llama.attention.causal",
        "true, since every position attends to those before it alone",
        "false",
    );
}

#[test]
fn sizes_that_are_missing_wrong_or_too_large() {
    for (field, most) in [
        ("llama.context_length", 2_147_483_647u64),
        ("llama.embedding_length", 1 << 20),
        ("llama.block_count", 1 << 12),
        ("llama.feed_forward_length", 1 << 24),
        ("llama.attention.head_count", 1 << 14),
    ] {
        let expected = format!("an integer from 1 to {most}");
        assert_field(&without(field), field, &expected, "nothing");
        assert_field(&key(field, Value::U32(0)), field, &expected, "0");
        assert_field(&key(field, Value::I32(-1)), field, &expected, "-1");
        assert_field(&key(field, Value::I64(-5)), field, &expected, "-5");
        assert_field(
            &key(field, Value::U64(most + 1)),
            field,
            &expected,
            &(most + 1).to_string(),
        );
        assert_field(&key(field, Value::F32(8.0)), field, &expected, "8");
        assert_field(
            &key(field, Value::I32s(vec![8; 4])),
            field,
            &expected,
            "an array of 4",
        );
    }
}

#[test]
fn every_type_of_integer_will_do() {
    for value in [
        Value::U8(64),
        Value::U16(64),
        Value::U64(64),
        Value::I64(64),
    ] {
        let opened = open(&key("llama.context_length", value));
        assert_eq!(opened.hyperparameters().max_position_embeddings, 64);
    }
}

#[test]
fn kv_heads_that_do_not_fit() {
    let field = "llama.attention.head_count_kv";
    assert_field(
        &key(field, Value::U32(0)),
        field,
        "an integer from 1 to 16384",
        "0",
    );
    let three = key(field, Value::U32(3));
    assert_field(&three, field, "a divisor of the 2 attention heads", "3");
}

#[test]
fn absent_kv_heads_are_as_many_as_heads() {
    let mut file = without("llama.attention.head_count_kv");
    file.tensors[3] = tensor("blk.0.attn_k.weight", &[8, 8]);
    file.tensors[4] = tensor("blk.0.attn_v.weight", &[8, 8]);
    assert_eq!(open(&file).hyperparameters().n_kv_heads, 2);
}

#[test]
fn heads_that_do_not_divide_the_hidden_size() {
    assert_field(
        &key("llama.attention.head_count", Value::U32(3)),
        "llama.attention.head_count",
        "a divisor of llama.embedding_length (8), or llama.attention.key_length beside it",
        "3",
    );
}

#[test]
fn values_of_another_length_than_keys() {
    assert_field(
        &key("llama.attention.value_length", Value::U32(8)),
        "llama.attention.value_length",
        "4, as long as keys",
        "8",
    );
}

#[test]
fn heads_that_are_rotated_in_part() {
    assert_field(
        &key("llama.rope.dimension_count", Value::U32(2)),
        "llama.rope.dimension_count",
        "4, since every dimension of a head is rotated",
        "2",
    );
}

#[test]
fn an_epsilon_that_is_missing_or_none() {
    let field = "llama.attention.layer_norm_rms_epsilon";
    assert_field(&without(field), field, "a number", "nothing");
    let zero = key(field, Value::F32(0.0));
    assert_field(&zero, field, "a number above 0 and below 1", "0");
    let nan = key(field, Value::F32(f32::NAN));
    assert_field(&nan, field, "a number above 0 and below 1", "NaN");
}

#[test]
fn a_rope_base_that_is_none() {
    assert_field(
        &key("llama.rope.freq_base", Value::F32(f32::INFINITY)),
        "llama.rope.freq_base",
        "a finite number above 0",
        "inf",
    );
    assert_eq!(open(&good()).hyperparameters().rope_theta, 10_000.0);
    for value in [Value::F32(1e6), Value::F64(1e6), Value::U32(1_000_000)] {
        let million = open(&key("llama.rope.freq_base", value));
        assert_eq!(million.hyperparameters().rope_theta, 1e6);
    }
}

#[test]
fn linear_scaling_in_its_present_and_its_old_form() {
    let linear = Value::Text("linear".to_owned());
    let mut present = key("llama.rope.scaling.type", linear);
    present.set("llama.rope.scaling.factor", Value::F32(4.0));
    let old = key("llama.rope.scale_linear", Value::F32(4.0));
    for file in [present, old] {
        let scaling = open(&file).hyperparameters().rope_scaling;
        assert_eq!(scaling, RopeScaling::Linear { factor: 4.0 });
    }
    let none = key("llama.rope.scaling.type", Value::Text("none".to_owned()));
    assert_eq!(
        open(&none).hyperparameters().rope_scaling,
        RopeScaling::None
    );
    let half = key("llama.rope.scaling.factor", Value::F32(0.5));
    let field = "llama.rope.scaling.factor";
    assert_field(&half, field, "a finite number of at least 1", "0.5");
}

#[test]
fn another_scaling_is_named() {
    assert_field(
        &key("llama.rope.scaling.type", Value::Text("yarn".to_owned())),
        "llama.rope.scaling.type",
        "\"none\" or \"linear\", since no other scaling of a GGUF file is implemented",
        "\"yarn\"",
    );
}

#[test]
fn factors_of_rotary_frequencies_unless_they_are_1() {
    let factors = |values: [f32; 2]| {
        with(|gguf| {
            let mut tensor = tensor("rope_freqs.weight", &[2]);
            tensor.bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            gguf.tensors.push(tensor);
        })
    };
    assert!(open(&factors([1.0, 1.0])).warnings().is_empty());
    assert_field(
        &factors([1.0, 8.0]),
        "rope_freqs.weight",
        "none, since factors of the rotary frequencies are not read from GGUF files",
        "a tensor of shape [2]",
    );
}

#[test]
fn a_vocabulary_of_another_size_than_the_embedding() {
    assert_eq!(
        refused(&key("llama.vocab_size", Value::U32(11))),
        "FILE: \"token_embd.weight\": expected shape [11, 8] by the configuration, found [10, 8]; \
         weights and configuration are of different models"
    );
    assert_eq!(open(&good()).hyperparameters().vocab_size, 10);
    assert_field(
        &with(|gguf| drop(gguf.tensors.remove(0))),
        "llama.vocab_size",
        "an integer from 1 to 16777216",
        "nothing, and no token_embd.weight",
    );
}

#[test]
fn special_ids() {
    let field = "tokenizer.ggml.eos_token_id";
    assert_field(
        &key(field, Value::U32(10)),
        field,
        "an integer from 0 to 9",
        "10",
    );
    let ends = |file: &Gguf| open(file).eos_token_ids();
    assert_eq!(ends(&good()), [2]);
    assert_eq!(ends(&without(field)), [2]);
    assert_eq!(
        ends(&key("tokenizer.ggml.eot_token_id", Value::U32(5))),
        [2, 5]
    );
    // What converters write where there is none: the default stands, as in llama.cpp.
    assert_eq!(ends(&key(field, Value::U32(u32::MAX))), [2]);
    assert_eq!(open(&good()).hyperparameters().bos_token_id, Some(1));
}

#[test]
fn alignments_0_3_and_2_to_the_31() {
    for alignment in [0u64, 3, 1 << 31] {
        assert_field(
            &key("general.alignment", Value::U64(alignment)),
            "general.alignment",
            "a power of two from 8 to 1048576",
            &alignment.to_string(),
        );
    }
    let wide = with(|gguf| {
        gguf.set("general.alignment", Value::U32(256));
        gguf.alignment = 256;
    });
    assert_eq!(open(&wide).weight_bytes(), open(&good()).weight_bytes());
}
