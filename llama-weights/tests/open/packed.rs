//! GPTQ and AWQ: what the configuration may say, and what of the tensors is refused.

use serde_json::{Value, json};

use crate::fixture::{Directory, Tensor, file};

const HIDDEN: u64 = 32;
const FFN: u64 = 64;
const KV: u64 = 16;
const QUERY: &str = "model.layers.0.self_attn.q_proj";

/// Names and shapes of the matrices, outputs first.
const MATRICES: [(&str, [u64; 2]); 7] = [
    (QUERY, [HIDDEN, HIDDEN]),
    ("model.layers.0.self_attn.k_proj", [KV, HIDDEN]),
    ("model.layers.0.self_attn.v_proj", [KV, HIDDEN]),
    ("model.layers.0.self_attn.o_proj", [HIDDEN, HIDDEN]),
    ("model.layers.0.mlp.gate_proj", [FFN, HIDDEN]),
    ("model.layers.0.mlp.up_proj", [FFN, HIDDEN]),
    ("model.layers.0.mlp.down_proj", [HIDDEN, FFN]),
];

fn tensor(name: String, dtype: &'static str, shape: &[u64], element: &[u8]) -> Tensor {
    Tensor {
        name,
        dtype,
        shape: shape.to_vec(),
        bytes: element.repeat(shape.iter().product::<u64>() as usize),
    }
}

fn words(name: String, shape: &[u64], word: u32) -> Tensor {
    tensor(name, "I32", shape, &word.to_le_bytes())
}

/// 0x3800 is ½.
fn halves(name: String, shape: &[u64]) -> Tensor {
    tensor(name, "F16", shape, &0x3800u16.to_le_bytes())
}

/// What stands beside the matrices.
fn others() -> Vec<Tensor> {
    vec![
        Tensor::f32("model.embed_tokens.weight", &[10, HIDDEN]),
        Tensor::f32("model.layers.0.input_layernorm.weight", &[HIDDEN]),
        Tensor::f32("model.layers.0.post_attention_layernorm.weight", &[HIDDEN]),
        Tensor::f32("model.norm.weight", &[HIDDEN]),
        Tensor::f32("lm_head.weight", &[10, HIDDEN]),
    ]
}

/// A good checkpoint in groups of 32: quants 9, zeros 8, scales ½, so every weight is ½.
fn gptq() -> Vec<Tensor> {
    let mut tensors = others();
    for (name, [rows, columns]) in MATRICES {
        let groups = columns / 32;
        let part = |part: &str| format!("{name}.{part}");
        tensors.push(words(part("qweight"), &[columns / 8, rows], 0x9999_9999));
        tensors.push(words(part("qzeros"), &[groups, rows / 8], 0x7777_7777));
        tensors.push(halves(part("scales"), &[groups, rows]));
        tensors.push(Tensor {
            bytes: (0..columns as u32)
                .flat_map(|column| (column / 32).to_le_bytes())
                .collect(),
            ..words(part("g_idx"), &[columns], 0)
        });
    }
    tensors
}

/// The good checkpoint in a directory.
pub(crate) fn good_gptq() -> Directory {
    directory(&gptq(), quantization("gptq"))
}

/// The same weights.
fn awq() -> Vec<Tensor> {
    let mut tensors = others();
    for (name, [rows, columns]) in MATRICES {
        let groups = columns / 32;
        let part = |part: &str| format!("{name}.{part}");
        tensors.push(words(part("qweight"), &[columns, rows / 8], 0x9999_9999));
        tensors.push(words(part("qzeros"), &[groups, rows / 8], 0x8888_8888));
        tensors.push(halves(part("scales"), &[groups, rows]));
    }
    tensors
}

fn quantization(method: &str) -> Value {
    json!({"quant_method": method, "bits": 4, "group_size": 32, "desc_act": true})
}

/// A directory of these tensors; with `null` the configuration says nothing of bits.
fn directory(tensors: &[Tensor], quantization: Value) -> Directory {
    let directory = Directory::empty();
    directory.config(json!({
        "hidden_size": HIDDEN, "intermediate_size": FFN, "quantization_config": quantization
    }));
    directory.write("model.safetensors", file(tensors));
    directory
}

/// The refusal of the good GPTQ checkpoint with these keys of its declaration changed.
fn declared(changes: Value) -> String {
    let mut declaration = quantization("gptq");
    for (key, value) in changes.as_object().expect("an object") {
        declaration[key] = value.clone();
    }
    config_refusal(&directory(&gptq(), declaration))
}

fn config_refusal(directory: &Directory) -> String {
    let message = directory.refusal();
    let sentence = message
        .strip_prefix("DIR/config.json: quantization_config")
        .and_then(|rest| rest.strip_suffix("; correct the file or download it again"));
    sentence.unwrap_or(&message).to_owned()
}

/// The refusal of good tensors of which one is changed.
fn changed(tensors: Vec<Tensor>, part: &str, change: impl Fn(&mut Tensor)) -> String {
    let method = if tensors.iter().any(|tensor| tensor.name.ends_with("g_idx")) {
        "gptq"
    } else {
        "awq"
    };
    let mut tensors = tensors;
    let name = format!("{QUERY}.{part}");
    let found = tensors.iter_mut().find(|tensor| tensor.name == name);
    change(found.expect("the tensor"));
    directory(&tensors, quantization(method)).refusal()
}

/// The refusal of good tensors without some.
fn without(parts: &[&str]) -> String {
    let mut tensors = gptq();
    tensors.retain(|tensor| {
        !parts
            .iter()
            .any(|part| tensor.name == format!("{QUERY}.{part}"))
    });
    directory(&tensors, quantization("gptq")).refusal()
}

#[test]
fn good_ones_are_opened() {
    for (tensors, method) in [(gptq(), "gptq"), (awq(), "awq")] {
        let directory = directory(&tensors, quantization(method));
        let checkpoint = directory.open();
        assert_eq!(directory.warnings(), [""; 0]);
        let mut floats = Vec::new();
        for (_, view) in checkpoint.tensors() {
            if view.name().ends_with("qweight") {
                view.rows_f32(0..view.n_rows(), &mut floats);
                assert!(floats.iter().all(|&x| x == 0.5), "{}", view.name());
            }
        }
        // 9,216 weights in blocks of 32.
        let matrices = checkpoint
            .tensors()
            .filter(|(_, view)| view.dtype().is_quantized());
        let weights = matrices.map(|(_, view)| view.n_bytes()).sum::<u64>();
        assert_eq!(weights, 20 * 9216 / 32);
    }
}

#[test]
fn a_file_of_its_own_declares_as_well() {
    for (name, tensors, declaration) in [
        (
            "quantize_config.json",
            gptq(),
            json!({"bits": 4, "group_size": 32, "sym": true}),
        ),
        (
            "quant_config.json",
            awq(),
            json!({"w_bit": 4, "q_group_size": 32, "version": "GEMM", "zero_point": true}),
        ),
    ] {
        let directory = directory(&tensors, Value::Null);
        directory.write(name, declaration.to_string());
        directory.open();
        assert_eq!(directory.warnings(), [""; 0], "{name}");
    }
}

#[test]
fn method_of_another_name() {
    for method in ["bitsandbytes", "compressed-tensors", "fp8"] {
        assert_eq!(
            declared(json!({ "quant_method": method })),
            format!(
                ".quant_method: expected \"gptq\" or \"awq\", since no other quantization of safetensors is read, found {method:?}"
            )
        );
    }
    assert_eq!(
        declared(json!({"quant_method": null})),
        ".quant_method: expected \"gptq\" or \"awq\", since no other quantization of safetensors is read, found nothing"
    );
}

#[test]
fn bits_other_than_4() {
    for bits in [json!(2), json!(3), json!(8), json!(-4), json!(4.5)] {
        assert_eq!(
            declared(json!({ "bits": bits })),
            format!(".bits: expected 4, since GPTQ is read in four bits alone, found {bits}")
        );
    }
    assert_eq!(
        declared(json!({"bits": null})),
        ".bits: expected 4, since GPTQ is read in four bits alone, found nothing"
    );
    let declaration = json!({"quant_method": "awq", "w_bit": 3, "q_group_size": 32});
    assert_eq!(
        config_refusal(&directory(&awq(), declaration)),
        ".w_bit: expected 4, since AWQ is read in four bits alone, found 3"
    );
}

#[test]
fn group_size_that_is_none() {
    for size in [
        json!(0),
        json!(-2),
        json!(1.5),
        json!("128"),
        json!(1u64 << 60),
    ] {
        assert_eq!(
            declared(json!({ "group_size": size })),
            format!(".group_size: expected -1 or an integer from 1 to 16777216, found {size}")
        );
    }
    assert_eq!(
        declared(json!({"group_size": null})),
        ".group_size: expected -1 or an integer from 1 to 16777216, found nothing"
    );
}

#[test]
fn layouts_that_are_not_read() {
    for format in ["marlin", "bitblas"] {
        assert_eq!(
            declared(json!({ "checkpoint_format": format })),
            format!(
                ".checkpoint_format: expected \"gptq\" or \"gptq_v2\", since no other layout of GPTQ is read, found {format:?}"
            )
        );
    }
    assert_eq!(
        declared(json!({"is_marlin_format": true})),
        ".is_marlin_format: expected false, since GPTQ's layout for Marlin is not read, found true"
    );
    for version in ["gemv", "gemv_fast", "marlin"] {
        assert_eq!(
            declared(json!({"quant_method": "awq", "version": version})),
            format!(
                ".version: expected \"gemm\", since no other layout of AWQ is read, found {version:?}"
            )
        );
    }
    assert_eq!(
        declared(json!({"quant_method": "awq", "backend": "llm-awq"})),
        ".backend: expected \"autoawq\", since no other packing of AWQ is read, found \"llm-awq\""
    );
    assert_eq!(
        declared(json!({"quant_method": "awq", "zero_point": false})),
        ".zero_point: expected true, since AWQ is read with its zeros alone, found false"
    );
}

#[test]
fn declared_and_not_there() {
    let directory = Directory::good();
    directory.config(json!({"quantization_config": quantization("gptq")}));
    assert_eq!(
        directory.refusal(),
        "DIR/config.json: quantization_config: expected tensors named *.qweight by quant_method \"gptq\", found none; weights and \
         configuration are of different models, or files are missing"
    );
    let directory = Directory::good();
    directory.write("quantize_config.json", r#"{"bits": 4, "group_size": 128}"#);
    assert_eq!(
        directory.warnings(),
        ["DIR: a file describes 4-bit tensors, of which there are none; ignored"]
    );
}

#[test]
fn there_and_not_declared() {
    assert_eq!(
        directory(&gptq(), Value::Null).refusal(),
        "DIR/config.json: quantization_config: expected quant_method, bits and group_size, here or in quantize_config.json, since \
         \"model.layers.0.self_attn.q_proj.qweight\" is there, found nothing; download the configuration from where the weights are"
    );
}

#[test]
fn parts_that_are_missing() {
    let sentence = |parts: &[&str]| {
        let names: Vec<String> = parts
            .iter()
            .map(|part| format!("\"{QUERY}.{part}\""))
            .collect();
        format!(
            "DIR: expected 28 tensors by the configuration, found {} missing: {}; files are missing or of another form of the \
             model, download it again",
            parts.len(),
            names.join(", ")
        )
    };
    for parts in [
        &["qzeros"][..],
        &["scales"],
        &["g_idx"],
        &["qweight"],
        &["scales", "g_idx"],
    ] {
        assert_eq!(without(parts), sentence(parts), "{parts:?}");
    }
}

#[test]
fn groups_of_neighbours_need_no_g_idx() {
    let mut tensors = gptq();
    tensors.retain(|tensor| !tensor.name.ends_with("g_idx"));
    let mut declaration = quantization("gptq");
    declaration["desc_act"] = json!(false);
    directory(&tensors, declaration).open();
}

#[test]
fn one_matrix_may_be_left_as_it_was() {
    let mut tensors = gptq();
    tensors.retain(|tensor| !tensor.name.starts_with(QUERY));
    tensors.push(Tensor::f32(&format!("{QUERY}.weight"), &[HIDDEN, HIDDEN]));
    let directory = directory(&tensors, quantization("gptq"));
    directory.open();
    assert_eq!(directory.warnings(), [""; 0]);
}

#[test]
fn shapes_that_are_wrong() {
    /// The checkpoint, which part is changed, the shape it gets and the one it should have.
    type Case<'a> = (Vec<Tensor>, &'a str, &'a [u64], &'a [u64]);
    let cases: [Case<'_>; 6] = [
        (gptq(), "qweight", &[32, 4], &[4, 32]),
        (gptq(), "qzeros", &[2, 2], &[1, 4]),
        (gptq(), "scales", &[32], &[1, 32]),
        (gptq(), "g_idx", &[16, 2], &[32]),
        (awq(), "qweight", &[4, 32], &[32, 4]),
        (awq(), "scales", &[2, 16], &[1, 32]),
    ];
    for (tensors, part, found, expected) in cases {
        assert_eq!(
            changed(tensors, part, |tensor| tensor.shape = found.to_vec()),
            format!(
                "DIR/model.safetensors: \"{QUERY}.{part}\": expected shape {expected:?} by the configuration, found {found:?}; weights \
                 and configuration are of different models"
            )
        );
    }
}

#[test]
fn types_that_are_wrong() {
    for (part, expected, dtype, found) in [
        ("qweight", "I32", "F32", "F32"),
        ("qzeros", "I32", "U32", "\"U32\""),
        ("g_idx", "I32", "F32", "F32"),
        ("scales", "F16, BF16 or F32", "I16", "\"I16\""),
    ] {
        assert_eq!(
            changed(gptq(), part, |tensor| tensor.dtype = dtype),
            format!(
                "DIR/model.safetensors: \"{QUERY}.{part}\": expected {expected}, found {found}; the file is damaged or of another model, \
                 download it again"
            )
        );
    }
}

#[test]
fn a_group_that_is_not_there() {
    for (group, found) in [(1u32, "1"), (u32::MAX, "-1"), (1 << 31, "-2147483648")] {
        assert_eq!(
            changed(gptq(), "g_idx", |tensor| {
                tensor.bytes[4 * 17..4 * 18].copy_from_slice(&group.to_le_bytes());
            }),
            format!(
                "DIR/model.safetensors: \"{QUERY}.g_idx\": expected groups below 1 by the configuration, found {found} at 17; the file is \
                 damaged or of another model, download it again"
            )
        );
    }
}

#[test]
fn sizes_that_no_word_divides() {
    // 2 heads of 18: 36 outputs of the query.
    for (tensors, method) in [(gptq(), "gptq"), (awq(), "awq")] {
        let directory = directory(&tensors, Value::Null);
        directory.config(json!({
            "hidden_size": HIDDEN, "intermediate_size": FFN, "head_dim": 18, "quantization_config": quantization(method)
        }));
        assert_eq!(
            directory.refusal(),
            format!(
                "DIR/config.json: quantization_config: expected matrices whose sizes are multiples of 8, since a word holds as many \
                 weights, found a shape of [36, 32] for \"{QUERY}.weight\"; weights and configuration are of different models"
            )
        );
    }
}

#[test]
fn hostile_sizes() {
    // The largest configuration there is, over a file of a few KB.
    let directory = directory(&gptq(), Value::Null);
    directory.config(json!({
        "hidden_size": 1 << 20, "intermediate_size": 1 << 24, "num_attention_heads": 1 << 8, "num_key_value_heads": 1 << 8,
        "quantization_config": quantization("gptq")
    }));
    assert_eq!(
        directory.refusal(),
        format!(
            "DIR/model.safetensors: \"{QUERY}.qweight\": expected shape [131072, 1048576] by the configuration, found [4, 32]; weights \
             and configuration are of different models"
        )
    );
}

#[test]
fn scales_without_end_are_named_when_values_are_checked() {
    let mut tensors = gptq();
    let scales = tensors
        .iter_mut()
        .find(|tensor| tensor.name == format!("{QUERY}.scales"));
    // The scale of row 3: infinity.
    scales.expect("the tensor").bytes[6..8].copy_from_slice(&0x7c00u16.to_le_bytes());
    let checkpoint = directory(&tensors, quantization("gptq")).open();
    let found: Vec<_> = (checkpoint.check_values())
        .filter(|values| !values.is_finite())
        .collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name, format!("{QUERY}.qweight"));
    assert_eq!((found[0].infinite, found[0].nan), (HIDDEN, 0));
}

#[test]
fn a_scale_that_f16_does_not_hold_makes_f32() {
    let mut tensors = gptq();
    let name = format!("{QUERY}.scales");
    let scales = tensors
        .iter_mut()
        .find(|tensor| tensor.name == name)
        .expect("the tensor");
    *scales = tensor(name, "F32", &[1, HIDDEN], &1e-9f32.to_le_bytes());
    let directory = directory(&tensors, quantization("gptq"));
    let checkpoint = directory.open();
    let found = checkpoint
        .tensors()
        .find(|(_, view)| view.name().starts_with(QUERY));
    let (_, view) = found.expect("the tensor");
    assert_eq!(view.dtype(), llama_weights::DType::F32);
    let mut floats = Vec::new();
    view.rows_f32(0..3, &mut floats);
    assert_eq!(floats, [1e-9; 96]);
    assert_eq!(
        directory.warnings(),
        [format!(
            "DIR: 1 matrices of four bits are read as f32, \"{QUERY}.qweight\" first: f16 does not hold all scales exactly"
        )]
    );
}

#[test]
fn zeros_stored_less_one_with_the_borrow_come_back() {
    // A zero of 0 among others: 0x88888088 − 0x11111111 borrows from its neighbour.
    let mut tensors = gptq();
    for tensor in tensors
        .iter_mut()
        .filter(|tensor| tensor.name.ends_with("qzeros"))
    {
        let stored = 0x8888_8088u32 - 0x1111_1111;
        tensor.bytes = stored.to_le_bytes().repeat(tensor.bytes.len() / 4);
    }
    let checkpoint = directory(&tensors, quantization("gptq")).open();
    let found = checkpoint
        .tensors()
        .find(|(_, view)| view.name().starts_with(QUERY));
    let mut floats = Vec::new();
    found
        .expect("the tensor")
        .1
        .rows_f32(0..HIDDEN as usize, &mut floats);
    for (row, values) in floats.chunks(HIDDEN as usize).enumerate() {
        let expected = if row % 8 == 2 { 4.5 } else { 0.5 };
        assert!(values.iter().all(|&x| x == expected), "row {row}");
    }
}

#[test]
fn biases_of_zeros_carry_nothing_and_others_are_named() {
    for (value, warnings) in [
        (0u16, &[][..]),
        (
            0x3800,
            &[
                "DIR: 1 tensors have no place in the configured model and are ignored, \"model.layers.0.self_attn.q_proj.bias\" first",
            ],
        ),
    ] {
        let mut tensors = gptq();
        tensors.push(tensor(
            format!("{QUERY}.bias"),
            "F16",
            &[HIDDEN],
            &value.to_le_bytes(),
        ));
        let directory = directory(&tensors, quantization("gptq"));
        directory.open();
        assert_eq!(directory.warnings(), warnings);
    }
}

#[test]
fn a_shard_that_lacks_a_part_is_named() {
    let tensors = gptq();
    let directory = directory(&[], quantization("gptq"));
    directory.remove("model.safetensors");
    let (first, second) = tensors.split_at(9);
    directory.write("a.safetensors", file(first));
    directory.write("b.safetensors", file(second));
    let mut map = serde_json::Map::new();
    for (index, tensor) in tensors.iter().enumerate() {
        map.insert(
            tensor.name.clone(),
            json!(if index < 9 {
                "a.safetensors"
            } else {
                "b.safetensors"
            }),
        );
    }
    let index = |map: &serde_json::Map<String, Value>| json!({"weight_map": map}).to_string();
    directory.write("model.safetensors.index.json", index(&map));
    directory.open();
    let name = format!("{QUERY}.scales");
    map.insert(name.clone(), json!("b.safetensors"));
    directory.write("model.safetensors.index.json", index(&map));
    assert_eq!(
        directory.refusal(),
        format!(
            "DIR/model.safetensors.index.json: weight_map: expected \"{name}\" in \"b.safetensors\", found it in \"a.safetensors\"; the \
             index is not of these shards, download both again"
        )
    );
}
