//! The header and length of a safetensors file.

use serde_json::json;

use crate::fixture::{Directory, Tensor, file, raw, tensors};

/// The refusal of a good directory with this `model.safetensors`.
fn refused(bytes: impl AsRef<[u8]>) -> String {
    let directory = Directory::good();
    directory.write("model.safetensors", bytes);
    let message = directory.refusal();
    let sentence = message.strip_prefix("DIR/model.safetensors: ");
    sentence.expect("the file's path first").to_owned()
}

fn spans(first: [u64; 2], second: [u64; 2], data: usize) -> String {
    let header = json!({
        "a": {"dtype": "U8", "shape": [first[1] - first[0]], "data_offsets": first},
        "b": {"dtype": "U8", "shape": [second[1] - second[0]], "data_offsets": second},
    });
    refused(raw(header.to_string(), &vec![0; data]))
}

#[test]
fn empty_file() {
    assert_eq!(
        refused([]),
        "expected a safetensors file of at least 8 bytes, found 0; download the file again"
    );
}

#[test]
fn seven_bytes() {
    assert_eq!(
        refused([0; 7]),
        "expected a safetensors file of at least 8 bytes, found 7; download the file again"
    );
}

#[test]
fn header_length_u64_max() {
    let mut bytes = file(&tensors());
    bytes[..8].fill(0xff);
    assert_eq!(
        refused(bytes),
        "expected a header of at most 100000000 bytes, found a header length of 18446744073709551615; \
         this is not a safetensors file, or it is damaged"
    );
}

#[test]
fn header_length_100_000_001() {
    let mut bytes = file(&tensors());
    bytes[..8].copy_from_slice(&100_000_001u64.to_le_bytes());
    assert_eq!(
        refused(bytes),
        "expected a header of at most 100000000 bytes, found a header length of 100000001; \
         this is not a safetensors file, or it is damaged"
    );
}

#[test]
fn header_longer_than_the_file() {
    let mut bytes = raw("{}", &[]);
    bytes[..8].copy_from_slice(&100_000_000u64.to_le_bytes());
    assert_eq!(
        refused(bytes),
        "expected 100000008 bytes, found 10: 99999998 bytes are missing; download the file again"
    );
}

#[test]
fn header_empty() {
    assert_eq!(
        refused(raw("", &[])),
        "expected a header that begins with '{', found byte 0x00; this is not a safetensors file, or it is damaged"
    );
}

#[test]
fn header_not_utf8() {
    assert_eq!(
        refused(raw(b"{\"a\xff\": 1}", &[])),
        "expected a header in UTF-8, found a wrong byte at 3 of the header; download the file again"
    );
}

#[test]
fn header_not_json() {
    assert_eq!(
        refused(raw("{\"a\": nonsense}", &[])),
        "expected a header of tensors with dtype, shape and data_offsets, found \"a\": expected ident at line 1 column 8; \
         download the file again"
    );
}

#[test]
fn header_followed_by_text() {
    assert_eq!(
        refused(raw("{} {}", &[])),
        "expected a header of tensors with dtype, shape and data_offsets, found trailing characters at line 1 column 4; \
         download the file again"
    );
}

#[test]
fn header_nested_100_000_deep() {
    let depth = 100_000;
    let header = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    assert_eq!(
        refused(raw(header, &[])),
        "expected a header of tensors with dtype, shape and data_offsets, found \"a\": unknown field `a`, expected one of \
         `dtype`, `shape`, `data_offsets` at line 1 column 9; download the file again"
    );
    let header = format!(r#"{{"a":{{"dtype":"F32","shape":{}"#, "[".repeat(depth));
    assert_eq!(
        refused(raw(header, &[])),
        "expected a header of tensors with dtype, shape and data_offsets, found \"a\": invalid type: sequence, expected \
         u64 at line 1 column 29; download the file again"
    );
}

#[test]
fn metadata_nested_100_000_deep() {
    let header = format!(
        r#"{{"__metadata__":{{"a":{}{}}}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(
        refused(raw(header, &[])),
        "expected a valid safetensors header, found invalid JSON in header: invalid type: sequence, expected a string \
         at line 1 column 21; download the file again"
    );
}

#[test]
fn first_byte_is_no_brace() {
    assert_eq!(
        refused(raw("[]", &[])),
        "expected a header that begins with '{', found byte 0x5b; this is not a safetensors file, or it is damaged"
    );
    assert_eq!(
        refused(raw(" {}", &[])),
        "expected a header that begins with '{', found byte 0x20; this is not a safetensors file, or it is damaged"
    );
}

#[test]
fn duplicate_tensor_name() {
    let header = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
    assert_eq!(
        refused(raw(header, &[0; 2])),
        "expected every name once, found \"a\" twice; download the file again"
    );
}

#[test]
fn duplicate_tensor_name_written_with_an_escape() {
    let header = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
    assert_eq!(
        refused(raw(header, &[0; 2])),
        "expected every name once, found \"a\" twice; download the file again"
    );
}

#[test]
fn overlapping_offsets() {
    assert_eq!(
        spans([0, 8], [4, 12], 12),
        "\"b\": expected data_offsets that begin at 8, where \"a\" ends, found 4: they overlap; the file is damaged"
    );
}

#[test]
fn a_hole() {
    assert_eq!(
        spans([0, 8], [12, 16], 16),
        "\"b\": expected data_offsets that begin at 8, found 12: a hole of 4 bytes; the file is damaged"
    );
    assert_eq!(
        spans([1, 8], [8, 16], 16),
        "\"a\": expected data_offsets that begin at 0, found 1: a hole of 1 bytes; the file is damaged"
    );
}

#[test]
fn bytes_after_the_last_tensor() {
    let mut bytes = file(&tensors());
    let whole = bytes.len();
    bytes.extend_from_slice(b"PK\x03\x04");
    assert_eq!(
        refused(bytes),
        format!(
            "expected {whole} bytes, found {}: 4 bytes follow the last tensor; download the file again",
            whole + 4
        )
    );
}

#[test]
fn truncated_by_one_byte() {
    let mut bytes = file(&tensors());
    let whole = bytes.len();
    bytes.pop();
    assert_eq!(
        refused(bytes),
        format!(
            "expected {whole} bytes, found {}: 1 bytes are missing; download the file again",
            whole - 1
        )
    );
}

#[test]
fn truncated_by_half() {
    let mut bytes = file(&tensors());
    let whole = bytes.len();
    let half = whole / 2;
    bytes.truncate(half);
    assert_eq!(
        refused(bytes),
        format!(
            "expected {whole} bytes, found {half}: {} bytes are missing; download the file again",
            whole - half
        )
    );
}

#[test]
fn shape_product_overflows() {
    let header =
        json!({"a": {"dtype": "F32", "shape": [1u64 << 40, 1u64 << 40], "data_offsets": [0, 0]}});
    assert_eq!(
        refused(raw(header.to_string(), &[])),
        "\"a\": expected a shape whose bytes fit in 64 bits, found [1099511627776, 1099511627776]; the file is damaged"
    );
}

#[test]
fn shape_times_dtype_overflows() {
    let header = json!({"a": {"dtype": "F32", "shape": [u64::MAX / 16], "data_offsets": [0, 0]}});
    assert_eq!(
        refused(raw(header.to_string(), &[])),
        "\"a\": expected a shape whose bytes fit in 64 bits, found [1152921504606846975]; the file is damaged"
    );
}

#[test]
fn shape_of_many_dimensions() {
    let header = json!({"a": {"dtype": "F32", "shape": [1, 1, 1, 1, 1, 1, 1, 1, 1], "data_offsets": [0, 4]}});
    assert_eq!(
        refused(raw(header.to_string(), &[0; 4])),
        "expected a header of tensors with dtype, shape and data_offsets, found \"a\": invalid length 9, expected at most 8 \
         dimensions at line 1 column 68; download the file again"
    );
}

#[test]
fn negative_dimension() {
    let header = r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#;
    assert_eq!(
        refused(raw(header, &[0; 4])),
        "expected a header of tensors with dtype, shape and data_offsets, found \"a\": invalid value: integer `-1`, expected \
         u64 at line 1 column 31; download the file again"
    );
}

#[test]
fn shape_times_dtype_is_not_the_span() {
    let header = json!({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 20]}});
    assert_eq!(
        refused(raw(header.to_string(), &[0; 20])),
        "\"a\": expected 24 bytes by shape and dtype, found data_offsets that span 20; the file is damaged"
    );
}

#[test]
fn offsets_end_before_they_begin() {
    let header = json!({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}});
    assert_eq!(
        refused(raw(header.to_string(), &[0; 8])),
        "\"a\": expected data_offsets in ascending order, found [8, 0]; the file is damaged"
    );
}

#[test]
fn offsets_beyond_the_file() {
    let header =
        json!({"a": {"dtype": "U8", "shape": [u64::MAX / 8], "data_offsets": [0, u64::MAX / 8]}})
            .to_string();
    let expected = 8 + header.len() as u64 + u64::MAX / 8;
    let found = 8 + header.len() as u64;
    assert_eq!(
        refused(raw(header, &[])),
        format!(
            "expected {expected} bytes, found {found}: {} bytes are missing; download the file again",
            u64::MAX / 8
        )
    );
}

#[test]
fn unsupported_dtype_of_a_used_tensor() {
    let mut spoilt = tensors();
    spoilt[0].dtype = "I32";
    assert_eq!(
        refused(file(&spoilt)),
        "\"model.embed_tokens.weight\": expected F32, F16 or BF16, found I32; convert the checkpoint to one of these"
    );
}

#[test]
fn dtype_that_the_format_does_not_have() {
    let mut spoilt = tensors();
    spoilt[0].dtype = "Q4_K";
    assert_eq!(
        refused(file(&spoilt)),
        "\"model.embed_tokens.weight\": expected dtype F32, F16 or BF16, found \"Q4_K\"; convert the checkpoint to one of these"
    );
}

#[test]
fn terminal_escapes_and_long_names_are_kept_out_of_messages() {
    let mut spoilt = tensors();
    spoilt[0].name = format!("\x1b[31m{}", "x".repeat(10_000));
    spoilt[0].dtype = "Q4_K";
    let escaped = format!("\"\\u{{1b}}[31m{}\"…", "x".repeat(75));
    assert_eq!(
        refused(file(&spoilt)),
        format!(
            "{escaped}: expected dtype F32, F16 or BF16, found \"Q4_K\"; convert the checkpoint to one of these"
        )
    );
}

#[test]
fn nan_and_infinite_weights_open_and_check_values_names_them() {
    let mut spoilt = tensors();
    spoilt[0].bytes[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
    spoilt[3].bytes[..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    spoilt[3].bytes[124..128].copy_from_slice(&f32::NEG_INFINITY.to_le_bytes());
    let directory = Directory::good();
    directory.write("model.safetensors", file(&spoilt));
    let found: Vec<(String, u64, u64)> = directory
        .open()
        .check_values()
        .filter(|values| !values.is_finite())
        .map(|values| (values.name, values.nan, values.infinite))
        .collect();
    assert_eq!(
        found,
        [
            ("model.embed_tokens.weight".to_owned(), 1, 0),
            ("model.layers.0.self_attn.k_proj.weight".to_owned(), 0, 2),
        ]
    );
}

#[test]
fn a_missing_tensor() {
    let mut spoilt = tensors();
    spoilt.retain(|tensor| !tensor.name.contains("norm"));
    let directory = Directory::good();
    directory.write("model.safetensors", file(&spoilt));
    assert_eq!(
        directory.refusal(),
        "DIR: expected 12 tensors by the configuration, found 3 missing: \"model.layers.0.input_layernorm.weight\", \
         \"model.layers.0.post_attention_layernorm.weight\", \"model.norm.weight\"; \
         weights and configuration are of different models, or files are missing"
    );
}

#[test]
fn a_missing_output_of_a_model_that_is_not_tied() {
    let mut spoilt = tensors();
    spoilt.pop();
    let directory = Directory::good();
    directory.write("model.safetensors", file(&spoilt));
    assert_eq!(
        directory.refusal(),
        "DIR: expected 12 tensors by the configuration, found 1 missing: \"lm_head.weight\"; \
         if the model's output is its embedding, set tie_word_embeddings to true in config.json"
    );
}

#[test]
fn a_tensor_of_another_shape() {
    let mut spoilt = tensors();
    spoilt[9] = Tensor::f32("model.layers.0.mlp.down_proj.weight", &[12, 8]);
    assert_eq!(
        refused(file(&spoilt)),
        "\"model.layers.0.mlp.down_proj.weight\": expected shape [8, 12] by the configuration, found [12, 8]; \
         weights and configuration are of different models"
    );
}

#[test]
fn a_directory_in_the_place_of_the_file() {
    let directory = Directory::good();
    directory.remove("model.safetensors");
    std::fs::create_dir(directory.path().join("model.safetensors")).expect("a directory");
    assert_eq!(
        directory.refusal(),
        "DIR/model.safetensors: expected a readable file, found an error: not a regular file; \
         check that it exists and may be read"
    );
}
