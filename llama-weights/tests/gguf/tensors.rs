//! What is said of tensors: sizes, types, places.

use crate::fixture::{good, refused, refused_bytes, tensor, with};
use crate::writer::Gguf;

/// The good model with its third tensor changed.
fn query(change: impl FnOnce(&mut crate::writer::Tensor)) -> Gguf {
    with(|gguf| change(&mut gguf.tensors[2]))
}

#[test]
fn no_dimensions() {
    assert_eq!(
        refused(&query(|tensor| tensor.sizes.clear())),
        "FILE: \"blk.0.attn_q.weight\": expected 1 to 4 dimensions, found 0; the file is damaged"
    );
}

#[test]
fn five_dimensions() {
    assert_eq!(
        refused(&query(|tensor| tensor.sizes = vec![1; 5])),
        "FILE: \"blk.0.attn_q.weight\": expected 1 to 4 dimensions, found 5; the file is damaged"
    );
}

#[test]
fn a_size_of_0() {
    assert_eq!(
        refused(&query(|tensor| tensor.sizes = vec![8, 0])),
        "FILE: \"blk.0.attn_q.weight\": expected sizes of at least 1 whose bytes fit in 64 bits, found [8, 0]; the file is damaged"
    );
}

#[test]
fn sizes_overflow() {
    for sizes in [[1 << 32, 1 << 32], [1 << 31, 1 << 31], [u64::MAX, 1]] {
        assert_eq!(
            refused(&query(|tensor| tensor.sizes = sizes.to_vec())),
            format!(
                "FILE: \"blk.0.attn_q.weight\": expected sizes of at least 1 whose bytes fit in 64 bits, found {sizes:?}; \
                 the file is damaged"
            )
        );
    }
}

#[test]
fn type_255() {
    assert_eq!(
        refused(&query(|tensor| tensor.kind = 255)),
        "FILE: \"blk.0.attn_q.weight\": expected F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 or Q2_K to Q6_K, found type 255; \
         download the model in one of these"
    );
}

#[test]
fn a_type_that_is_not_read_is_named() {
    assert_eq!(
        refused(&query(|tensor| tensor.kind = 23)),
        "FILE: \"blk.0.attn_q.weight\": expected F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 or Q2_K to Q6_K, \
         found type 23 (IQ4_XS); download the model in one of these"
    );
}

#[test]
fn a_row_that_is_no_multiple_of_the_block() {
    assert_eq!(
        refused(&query(|tensor| tensor.kind = 8)),
        "FILE: \"blk.0.attn_q.weight\": expected rows of a multiple of 32 for q8_0, found 8; the file is damaged"
    );
    assert_eq!(
        refused(&query(|tensor| {
            tensor.kind = 12;
            tensor.sizes = vec![288, 8];
        })),
        "FILE: \"blk.0.attn_q.weight\": expected rows of a multiple of 256 for q4_k, found 288; the file is damaged"
    );
}

#[test]
fn offset_and_size_past_the_end() {
    let file = query(|tensor| tensor.offset = Some(1 << 40));
    let length = file.bytes().len();
    let header = length as u64 - data(&file);
    let expected = header + (1 << 40) + 256;
    assert_eq!(
        refused(&file),
        format!(
            "FILE: \"blk.0.attn_q.weight\": expected {expected} bytes, found {length}: {} bytes are missing; download the file again",
            expected - length as u64
        )
    );
}

#[test]
fn an_offset_that_overflows() {
    let file = query(|tensor| tensor.offset = Some(u64::MAX - 31));
    let length = file.bytes().len();
    assert_eq!(
        refused(&file),
        format!(
            "FILE: \"blk.0.attn_q.weight\": expected 18446744073709551615 bytes, found {length}: {} bytes are missing; \
             download the file again",
            u64::MAX - length as u64
        )
    );
}

#[test]
fn truncated_by_one_byte_and_by_half() {
    let bytes = good().bytes();
    let length = bytes.len();
    for kept in [length - 1, length - 1000] {
        assert_eq!(
            refused_bytes(&bytes[..kept]),
            format!(
                "FILE: \"output.weight\": expected {length} bytes, found {kept}: {} bytes are missing; download the file again",
                length - kept
            )
        );
    }
}

#[test]
fn a_misaligned_offset() {
    assert_eq!(
        refused(&query(|tensor| tensor.offset = Some(24))),
        "FILE: \"blk.0.attn_q.weight\": expected an offset that is a multiple of 32, found 24; the file is damaged"
    );
}

#[test]
fn duplicate_names() {
    let file = with(|gguf| gguf.tensors.push(tensor("output.weight", &[8, 10])));
    assert_eq!(
        refused(&file),
        "FILE: expected every tensor once, found \"output.weight\" twice; download the file again"
    );
}

#[test]
fn overlapping_tensors() {
    // token_embd is 320 bytes; the norm after it begins within.
    let file = with(|gguf| gguf.tensors[1].offset = Some(288));
    assert_eq!(
        refused(&file),
        "FILE: \"blk.0.attn_norm.weight\": expected an offset of at least 320, where \"token_embd.weight\" ends, found 288: \
         they overlap; the file is damaged"
    );
}

#[test]
fn a_missing_tensor() {
    let file = with(|gguf| drop(gguf.tensors.remove(2)));
    assert_eq!(
        refused(&file),
        "FILE: expected 12 tensors by the configuration, found 1 missing: \"blk.0.attn_q.weight\"; \
         weights and configuration are of different models, or files are missing"
    );
}

/// Found by fuzzing: every missing name is made for the error, which the limit of 4,096 layers bounds to some 4 MiB.
#[test]
fn more_layers_than_the_file_has_tensors() {
    let file = with(|gguf| gguf.set("llama.block_count", crate::writer::Value::U32(4096)));
    let parts = [
        "attn_norm",
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "ffn_norm",
        "ffn_gate",
        "ffn_up",
        "ffn_down",
    ];
    let names = (1..).flat_map(|layer| parts.map(|part| format!("\"blk.{layer}.{part}.weight\"")));
    let listed: Vec<String> = names.take(16).collect();
    assert_eq!(
        refused(&file),
        format!(
            "FILE: expected 36867 tensors by the configuration, found 36855 missing: {} and 36839 more; \
             weights and configuration are of different models, or files are missing",
            listed.join(", ")
        )
    );
}

#[test]
fn a_tensor_of_another_shape() {
    assert_eq!(
        refused(&query(|tensor| tensor.sizes = vec![4, 16])),
        "FILE: \"blk.0.attn_q.weight\": expected shape [8, 8] by the configuration, found [16, 4]; \
         weights and configuration are of different models"
    );
}

#[test]
fn a_quantized_bias_of_queries() {
    // Its elements are put in order one by one.
    let mut file = with(|gguf| {
        use crate::writer::Value;
        gguf.set("llama.attention.head_count", Value::U32(1));
        gguf.set("llama.attention.key_length", Value::U32(32));
        gguf.set("llama.rope.dimension_count", Value::U32(32));
        gguf.tensors[2] = tensor("blk.0.attn_q.weight", &[8, 32]);
        gguf.tensors[3] = tensor("blk.0.attn_k.weight", &[8, 32]);
        gguf.tensors[4] = tensor("blk.0.attn_v.weight", &[8, 32]);
        gguf.tensors[5] = tensor("blk.0.attn_output.weight", &[32, 8]);
    });
    for (name, size) in [("q", 32), ("k", 32), ("v", 32), ("output", 8)] {
        let name = format!("blk.0.attn_{name}.bias");
        file.tensors.push(tensor(&name, &[size]));
    }
    let bias = &mut file.tensors[12];
    bias.kind = 8;
    bias.bytes.truncate(34);
    assert_eq!(
        refused(&file),
        "FILE: \"blk.0.attn_q.bias\": expected F32, F16 or BF16, found Q8_0; convert the checkpoint to one of these"
    );
}

/// Bytes of tensor data.
fn data(file: &Gguf) -> u64 {
    let padded = |bytes: usize| bytes.next_multiple_of(32) as u64;
    let last = file.tensors.len() - 1;
    let tensors = file.tensors.iter().enumerate();
    tensors
        .map(|(i, tensor)| match i == last {
            true => tensor.bytes.len() as u64,
            false => padded(tensor.bytes.len()),
        })
        .sum()
}
