//! `config.json`: what it may say, what its absence of words means, and what is refused.

use llama_weights::{DType, RopeScaling};
use serde_json::{Value, json};

use crate::fixture::{Directory, Tensor, absent, file, tensors};

/// The refusal of a good directory with these keys of `config.json` changed.
fn refused(changes: Value) -> String {
    let directory = Directory::good();
    directory.config(changes);
    let message = directory.refusal();
    let sentence = message
        .strip_prefix("DIR/config.json: ")
        .and_then(|rest| rest.strip_suffix("; correct the file or download it again"));
    sentence.unwrap_or(&message).to_owned()
}

fn opened(changes: Value) -> llama_weights::Hyperparameters {
    let directory = Directory::good();
    directory.config(changes);
    directory.open().hyperparameters().clone()
}

#[test]
fn missing() {
    let directory = Directory::good();
    directory.remove("config.json");
    let message = directory.refusal();
    assert_eq!(
        message,
        format!(
            "DIR/config.json: expected a readable file, found an error: {}; check that it exists and may be read",
            absent()
        )
    );
}

#[test]
fn not_json() {
    let directory = Directory::good();
    directory.write("config.json", "{\"model_type\": \"llama\",}");
    assert_eq!(
        directory.refusal(),
        "DIR/config.json: expected a JSON object, found trailing comma at line 1 column 24; download the file again"
    );
}

#[test]
fn nested_100_000_deep() {
    let directory = Directory::good();
    directory.write("config.json", r#"{"a":"#.repeat(100_000));
    assert_eq!(
        directory.refusal(),
        "DIR/config.json: expected a JSON object, found recursion limit exceeded at line 1 column 636; download the file again"
    );
}

#[test]
fn of_two_megabytes() {
    let directory = Directory::good();
    directory.write("config.json", " ".repeat(2_000_000));
    assert_eq!(
        directory.refusal(),
        "DIR/config.json: expected at most 1048576 bytes, found 2000000; this is not the file it is named after"
    );
}

#[test]
fn model_type_not_llama() {
    assert_eq!(
        refused(json!({"model_type": "mistral"})),
        r#"model_type: expected "llama", found "mistral""#
    );
    assert_eq!(
        refused(json!({"model_type": "(absent)"})),
        r#"model_type: expected "llama", found nothing"#
    );
}

#[test]
fn activation_not_silu() {
    assert_eq!(
        refused(json!({"hidden_act": "gelu"})),
        r#"hidden_act: expected "silu", found "gelu""#
    );
}

/// Every size that has no default, with the largest value that is accepted.
const SIZES: [(&str, u64); 5] = [
    ("hidden_size", 1 << 20),
    ("num_hidden_layers", 1 << 12),
    ("num_attention_heads", 1 << 14),
    ("intermediate_size", 1 << 24),
    ("vocab_size", 1 << 24),
];

fn each_size_refuses(value: Value, shown: &str) {
    let with_defaults = [
        ("num_key_value_heads", 1 << 14),
        ("head_dim", 1 << 12),
        ("max_position_embeddings", (1 << 31) - 1),
    ];
    for (key, most) in SIZES.into_iter().chain(with_defaults) {
        assert_eq!(
            refused(json!({key: value})),
            format!("{key}: expected an integer from 1 to {most}, found {shown}")
        );
    }
}

#[test]
fn a_size_of_0() {
    each_size_refuses(json!(0), "0");
}

#[test]
fn a_size_of_minus_1() {
    each_size_refuses(json!(-1), "-1");
}

#[test]
fn a_size_of_10_to_the_18() {
    each_size_refuses(json!(1_000_000_000_000_000_000u64), "1000000000000000000");
}

#[test]
fn a_size_that_is_a_float() {
    each_size_refuses(json!(8.0), "8.0");
}

#[test]
fn a_size_that_is_a_string() {
    each_size_refuses(json!("8"), "\"8\"");
}

#[test]
fn a_size_that_is_missing() {
    for (key, most) in SIZES {
        assert_eq!(
            refused(json!({key: "(absent)"})),
            format!("{key}: expected an integer from 1 to {most}, found nothing")
        );
    }
}

#[test]
fn heads_not_dividing_hidden() {
    assert_eq!(
        refused(json!({"num_attention_heads": 3})),
        "num_attention_heads: expected a divisor of hidden_size (8), or a head_dim beside it, found 3"
    );
}

#[test]
fn an_odd_head_dim() {
    assert_eq!(
        refused(json!({"head_dim": 5})),
        "head_dim: expected an even number, since rotary embedding turns pairs, found 5"
    );
}

#[test]
fn kv_heads_of_0() {
    assert_eq!(
        refused(json!({"num_key_value_heads": 0})),
        "num_key_value_heads: expected an integer from 1 to 16384, found 0"
    );
}

#[test]
fn kv_heads_above_heads() {
    assert_eq!(
        refused(json!({"num_key_value_heads": 4})),
        "num_key_value_heads: expected a divisor of the 2 attention heads, found 4"
    );
}

#[test]
fn kv_heads_not_dividing_heads() {
    assert_eq!(
        refused(json!({"num_attention_heads": 8, "num_key_value_heads": 3})),
        "num_key_value_heads: expected a divisor of the 8 attention heads, found 3"
    );
}

#[test]
fn vocabulary_other_than_the_embedding_rows() {
    assert_eq!(
        refused(json!({"vocab_size": 11})),
        "DIR/model.safetensors: \"model.embed_tokens.weight\": expected shape [11, 8] by the configuration, found [10, 8]; \
         weights and configuration are of different models"
    );
}

#[test]
fn unknown_rope_scaling() {
    const KNOWN: &str = r#"expected "default", "linear", "dynamic" or "llama3", since no other scaling is implemented"#;
    for (changes, field, found) in [
        (
            json!({"rope_scaling": {"type": "yarn", "factor": 4.0}}),
            "rope_scaling.type",
            "\"yarn\"",
        ),
        (
            json!({"rope_scaling": {"rope_type": "longrope", "factor": 4.0}}),
            "rope_scaling.rope_type",
            "\"longrope\"",
        ),
        (
            json!({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}),
            "rope_parameters.rope_type",
            "\"yarn\"",
        ),
        (
            json!({"rope_scaling": {"factor": 4.0}}),
            "rope_scaling.type",
            "nothing",
        ),
    ] {
        assert_eq!(refused(changes), format!("{field}: {KNOWN}, found {found}"));
    }
    assert_eq!(
        refused(json!({"rope_scaling": "linear"})),
        "rope_scaling: expected an object or null, found \"linear\""
    );
}

#[test]
fn partial_rotation() {
    for changes in [
        json!({"partial_rotary_factor": 0.5}),
        json!({"partial_rotary_factor": 0.5, "rope_scaling": {"type": "linear", "factor": 2.0}}),
    ] {
        assert_eq!(
            refused(changes),
            "partial_rotary_factor: expected 1, since every dimension of a head is rotated, found 0.5"
        );
    }
    assert_eq!(
        refused(
            json!({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.25}})
        ),
        "rope_parameters.partial_rotary_factor: expected 1, since every dimension of a head is rotated, found 0.25"
    );
}

#[test]
fn rope_scaling_with_bad_numbers() {
    let llama3 = |low: f64, high: f64| {
        json!({"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": low, "high_freq_factor": high,
               "original_max_position_embeddings": 32}})
    };
    for (changes, sentence) in [
        (
            json!({"rope_scaling": {"type": "linear"}}),
            "rope_scaling.factor: expected a number, found nothing",
        ),
        (
            json!({"rope_scaling": {"type": "linear", "factor": 0.5}}),
            "rope_scaling.factor: expected a finite number of at least 1, found 0.5",
        ),
        (
            json!({"rope_parameters": {"rope_type": "dynamic", "factor": -2}}),
            "rope_parameters.factor: expected a finite number of at least 1, found -2",
        ),
        (
            llama3(0.0, 4.0),
            "rope_parameters.low_freq_factor: expected a finite number above 0, found 0",
        ),
        (
            llama3(4.0, 4.0),
            "rope_parameters.high_freq_factor: expected a finite number above low_freq_factor (4), found 4",
        ),
    ] {
        assert_eq!(refused(changes), sentence);
    }
}

#[test]
fn rope_theta_and_eps_out_of_range() {
    assert_eq!(
        refused(json!({"rope_theta": 0})),
        "rope_theta: expected a finite number above 0, found 0"
    );
    assert_eq!(
        refused(json!({"rope_theta": "10000"})),
        "rope_theta: expected a number, found \"10000\""
    );
    assert_eq!(
        refused(json!({"rms_norm_eps": 0.0})),
        "rms_norm_eps: expected a number above 0 and below 1, found 0"
    );
    assert_eq!(
        refused(json!({"rms_norm_eps": 1e-60})),
        "rms_norm_eps: expected a number above 0 and below 1, found 0"
    );
}

#[test]
fn rope_forms_of_2023_and_of_the_present() {
    let linear = RopeScaling::Linear { factor: 4.0 };
    let dynamic = RopeScaling::Dynamic { factor: 2.0 };
    let llama3 = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 32,
    };
    let llama3_json = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                             "original_max_position_embeddings": 32});
    for (changes, scaling, theta) in [
        (json!({"rope_scaling": null}), RopeScaling::None, 1e4),
        (
            json!({"rope_scaling": {}, "rope_theta": 5e5}),
            RopeScaling::None,
            5e5,
        ),
        (
            json!({"rope_scaling": {"rope_type": "default"}}),
            RopeScaling::None,
            1e4,
        ),
        (json!({"rope_theta": "(absent)"}), RopeScaling::None, 1e4),
        (json!({"rope_theta": 1_000_000}), RopeScaling::None, 1e6),
        (
            json!({"rope_scaling": {"type": "linear", "factor": 4}}),
            linear,
            1e4,
        ),
        (
            json!({"rope_scaling": {"type": "linear", "rope_type": "dynamic", "factor": 2.0}}),
            dynamic,
            1e4,
        ),
        (json!({"rope_scaling": llama3_json}), llama3, 1e4),
        (
            json!({"rope_theta": "(absent)", "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}),
            RopeScaling::None,
            5e5,
        ),
        (
            json!({"rope_theta": "(absent)", "rope_parameters": {"rope_theta": 5e5}}),
            RopeScaling::None,
            5e5,
        ),
        (
            json!({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 3e4}}),
            dynamic,
            3e4,
        ),
        (json!({"rope_parameters": llama3_json}), llama3, 1e4),
    ] {
        let h = opened(changes.clone());
        assert_eq!(
            (h.rope_scaling, h.rope_theta),
            (scaling, theta),
            "{changes}"
        );
    }
}

#[test]
fn llama3_scaling_without_its_original_length_takes_the_model_s() {
    let h = opened(
        json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}}),
    );
    assert!(matches!(
        h.rope_scaling,
        RopeScaling::Llama3 {
            original_max_position_embeddings: 64,
            ..
        }
    ));
}

#[test]
fn defaults_of_absent_keys() {
    let directory = Directory::good();
    let mut tensors = tensors();
    tensors[3] = Tensor::f32("model.layers.0.self_attn.k_proj.weight", &[8, 8]);
    tensors[4] = Tensor::f32("model.layers.0.self_attn.v_proj.weight", &[8, 8]);
    directory.write("model.safetensors", file(&tensors));
    directory.write(
        "config.json",
        r#"{"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 12, "vocab_size": 10}"#,
    );
    let opened = directory.open();
    let h = opened.hyperparameters();
    assert_eq!(h.n_kv_heads, 2);
    assert_eq!(h.head_dim, 4);
    assert_eq!(h.max_position_embeddings, 2048);
    assert_eq!(h.rms_norm_eps, 1e-6);
    assert_eq!(h.rope_theta, 10_000.0);
    assert_eq!(h.rope_scaling, RopeScaling::None);
    assert_eq!(
        (h.tied_embeddings, h.attention_bias, h.mlp_bias),
        (false, false, false)
    );
    assert_eq!(
        (h.bos_token_id, h.eos_token_ids.as_slice()),
        (Some(1), [2].as_slice())
    );
    assert_eq!(opened.declared_dtype(), None);
}

#[test]
fn head_dim_that_differs_from_hidden_by_heads() {
    let directory = Directory::good();
    directory.config(json!({"head_dim": 6}));
    let mut tensors = tensors();
    tensors[2] = Tensor::f32("model.layers.0.self_attn.q_proj.weight", &[12, 8]);
    tensors[3] = Tensor::f32("model.layers.0.self_attn.k_proj.weight", &[6, 8]);
    tensors[4] = Tensor::f32("model.layers.0.self_attn.v_proj.weight", &[6, 8]);
    tensors[5] = Tensor::f32("model.layers.0.self_attn.o_proj.weight", &[8, 12]);
    directory.write("model.safetensors", file(&tensors));
    assert_eq!(directory.open().hyperparameters().head_dim, 6);
}

#[test]
fn biases_are_asked_for_when_the_config_says_so() {
    let directory = Directory::good();
    directory.config(json!({"attention_bias": true, "mlp_bias": true}));
    let biases = [
        ("self_attn.q_proj.bias", 8),
        ("self_attn.k_proj.bias", 4),
        ("self_attn.v_proj.bias", 4),
        ("self_attn.o_proj.bias", 8),
        ("mlp.gate_proj.bias", 12),
        ("mlp.up_proj.bias", 12),
        ("mlp.down_proj.bias", 8),
    ];
    let missing = biases.map(|(name, _)| format!("\"model.layers.0.{name}\""));
    assert_eq!(
        directory.refusal(),
        format!(
            "DIR: expected 19 tensors by the configuration, found 7 missing: {}; weights and configuration are of different \
             models, or files are missing",
            missing.join(", ")
        )
    );
    let mut tensors = tensors();
    tensors.extend(biases.map(|(name, n)| Tensor::f32(&format!("model.layers.0.{name}"), &[n])));
    directory.write("model.safetensors", file(&tensors));
    assert_eq!(directory.open().tensors().count(), 19);
}

#[test]
fn tied_embeddings_have_no_output_even_where_the_file_has_one() {
    let directory = Directory::good();
    directory.config(json!({"tie_word_embeddings": true}));
    let opened = directory.open();
    assert!(opened.tensor(llama_weights::TensorRole::Output).is_none());
    assert_eq!(opened.tensors().count(), 11);
    assert_eq!(directory.warnings(), Vec::<String>::new());
}

#[test]
fn flags_that_are_no_flags() {
    assert_eq!(
        refused(json!({"tie_word_embeddings": "true"})),
        "tie_word_embeddings: expected true or false, found \"true\""
    );
}

#[test]
fn declared_dtype_under_both_names() {
    for (changes, dtype) in [
        (json!({"torch_dtype": "float16"}), Some(DType::F16)),
        (
            json!({"torch_dtype": "(absent)", "dtype": "bfloat16"}),
            Some(DType::BF16),
        ),
        (
            json!({"torch_dtype": "float16", "dtype": "bfloat16"}),
            Some(DType::BF16),
        ),
        (json!({"torch_dtype": "torch.float32"}), Some(DType::F32)),
        (json!({"torch_dtype": "float8_e4m3fn"}), None),
    ] {
        let directory = Directory::good();
        directory.config(changes);
        assert_eq!(directory.open().declared_dtype(), dtype);
    }
}

#[test]
fn eos_token_id_a_list_a_number_null_and_missing() {
    for (value, ids) in [
        (json!([2, 7]), vec![2, 7]),
        (json!(7), vec![7]),
        (json!(null), vec![]),
        (json!([]), vec![]),
        (json!("(absent)"), vec![2]),
    ] {
        assert_eq!(opened(json!({"eos_token_id": value})).eos_token_ids, ids);
    }
}

#[test]
fn eos_token_id_out_of_range() {
    for (value, shown) in [
        (json!(10), "10"),
        (json!([2, 32000]), "32000"),
        (json!(-1), "-1"),
        (json!("2"), "\"2\""),
        (json!([[2]]), "a list"),
    ] {
        assert_eq!(
            refused(json!({"eos_token_id": value})),
            format!(
                "eos_token_id: expected a token id below vocab_size (10) or a list of them, found {shown}"
            )
        );
    }
}

#[test]
fn bos_token_id_out_of_range() {
    assert_eq!(
        refused(json!({"bos_token_id": 10})),
        "bos_token_id: expected a token id below vocab_size (10) or a list of them, found 10"
    );
}

#[test]
fn default_ids_out_of_range() {
    let message = refused(json!({"vocab_size": 2, "eos_token_id": "(absent)"}));
    assert_eq!(
        message,
        "eos_token_id: expected an id below vocab_size (2), found 2"
    );
}

#[test]
fn kv_size_is_counted_in_u64() {
    let h = opened(json!({"max_position_embeddings": 2_147_483_647}));
    // 2 (K and V) · 1 layer · 1 kv head · head_dim 4 · 2 bytes
    assert_eq!(h.kv_bytes_per_position(2), 16);
    assert_eq!(h.kv_cache_bytes(2_147_483_647, 2), Some(16 * 2_147_483_647));
    assert_eq!(h.kv_cache_bytes(u64::MAX, 2), None);
}

#[test]
fn byte_order_mark_is_accepted() {
    let directory = Directory::good();
    let text = std::fs::read(directory.path().join("config.json")).expect("the config");
    directory.write("config.json", [b"\xef\xbb\xbf".as_slice(), &text].concat());
    assert_eq!(directory.warnings(), Vec::<String>::new());
}

#[test]
fn of_duplicate_keys_the_last_counts_with_a_warning() {
    let directory = Directory::good();
    let path = directory.path().join("config.json");
    let text = std::fs::read_to_string(path).expect("the config");
    directory.write(
        "config.json",
        text.replacen('{', r#"{"vocab_size": 99, "#, 1),
    );
    assert_eq!(directory.open().hyperparameters().vocab_size, 10);
    assert_eq!(
        directory.warnings(),
        [r#"DIR/config.json: "vocab_size" appears twice; the last one counts"#]
    );
}
