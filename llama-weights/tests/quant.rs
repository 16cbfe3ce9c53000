//! Block types against the `gguf` Python package (see `golden/quant/generate.py` and `golden/blocks/generate.py`), and the round trips of
//! those that are written.

use half::f16;
use llama_weights::quant::{
    BLOCK, Q4_0_BYTES, Q8_0_BYTES, dequantize_q2_k, dequantize_q3_k, dequantize_q4_0,
    dequantize_q4_1, dequantize_q4_k, dequantize_q5_0, dequantize_q5_1, dequantize_q5_k,
    dequantize_q6_k, dequantize_q8_0, q3_k_to_q6_k, q4_0_to_q8_0, q4_1_to_q5_1, q4_k_to_q5_k,
    q5_0_to_q8_0, quantize_q4_0, quantize_q8_0,
};
use proptest::prelude::*;
use safetensors::SafeTensors;

const GOLDEN: &[u8] = include_bytes!("golden/quant/quant.safetensors");
const BLOCKS: &[u8] = include_bytes!("golden/blocks/blocks.safetensors");

fn bytes_of(file: &[u8], name: &str) -> Vec<u8> {
    let file = SafeTensors::deserialize(file).expect("the golden file");
    file.tensor(name).expect(name).data().to_vec()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let floats = bytes.chunks_exact(4);
    floats
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

fn golden_bytes(name: &str) -> Vec<u8> {
    bytes_of(GOLDEN, name)
}

fn golden_floats(name: &str) -> Vec<f32> {
    floats(&golden_bytes(name))
}

/// Names the first block that differs: a diff of 40,000 bytes helps nobody.
fn assert_blocks_equal(found: &[u8], expected: &[u8], block: usize) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.chunks(block).zip(expected.chunks(block)).enumerate() {
        assert_eq!(found, expected, "block {i}");
    }
}

#[test]
fn q8_0_bytes_equal_gguf_s() {
    let mut found = Vec::new();
    quantize_q8_0(&golden_floats("values"), &mut found);
    assert_blocks_equal(&found, &golden_bytes("q8_0"), Q8_0_BYTES);
}

#[test]
fn q4_0_bytes_equal_gguf_s() {
    let mut found = Vec::new();
    quantize_q4_0(&golden_floats("values"), &mut found);
    assert_blocks_equal(&found, &golden_bytes("q4_0"), Q4_0_BYTES);
}

#[test]
fn q8_0_values_equal_gguf_s() {
    let mut found = Vec::new();
    dequantize_q8_0(&golden_bytes("q8_0"), &mut found);
    assert_eq!(found, golden_floats("q8_0_values"));
}

#[test]
fn q4_0_values_equal_gguf_s() {
    let mut found = Vec::new();
    dequantize_q4_0(&golden_bytes("q4_0"), &mut found);
    assert_eq!(found, golden_floats("q4_0_values"));
}

/// Equal to the bit, the sign of zero aside: numpy and we may differ in whether 0 · −d is made.
fn assert_values_equal_gguf_s(name: &str, dequantize: fn(&[u8], &mut Vec<f32>)) {
    let expected = floats(&bytes_of(BLOCKS, &format!("{name}_values")));
    assert_eq!(expected.len(), 4096);
    let mut found = vec![7.0];
    dequantize(&bytes_of(BLOCKS, name), &mut found);
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found, expected, "{name}: value {i}");
    }
}

#[test]
fn q4_1_values_equal_gguf_s() {
    assert_values_equal_gguf_s("q4_1", dequantize_q4_1);
}

#[test]
fn q5_0_values_equal_gguf_s() {
    assert_values_equal_gguf_s("q5_0", dequantize_q5_0);
}

#[test]
fn q5_1_values_equal_gguf_s() {
    assert_values_equal_gguf_s("q5_1", dequantize_q5_1);
}

#[test]
fn q2_k_values_equal_gguf_s() {
    assert_values_equal_gguf_s("q2_k", dequantize_q2_k);
}

#[test]
fn q3_k_values_equal_gguf_s() {
    assert_values_equal_gguf_s("q3_k", dequantize_q3_k);
}

#[test]
fn q4_k_values_equal_gguf_s() {
    assert_values_equal_gguf_s("q4_k", dequantize_q4_k);
}

#[test]
fn q5_k_values_equal_gguf_s() {
    assert_values_equal_gguf_s("q5_k", dequantize_q5_k);
}

#[test]
fn q6_k_values_equal_gguf_s() {
    assert_values_equal_gguf_s("q6_k", dequantize_q6_k);
}

#[test]
fn repacked_blocks_have_the_same_values() {
    type Dequantize = fn(&[u8], &mut Vec<f32>);
    type Repack = fn(&[u8], &mut Vec<u8>);
    let cases: [(Vec<u8>, Dequantize, Repack, Dequantize); 5] = [
        (
            golden_bytes("q4_0"),
            dequantize_q4_0,
            q4_0_to_q8_0,
            dequantize_q8_0,
        ),
        (
            bytes_of(BLOCKS, "q5_0"),
            dequantize_q5_0,
            q5_0_to_q8_0,
            dequantize_q8_0,
        ),
        (
            bytes_of(BLOCKS, "q4_1"),
            dequantize_q4_1,
            q4_1_to_q5_1,
            dequantize_q5_1,
        ),
        (
            bytes_of(BLOCKS, "q3_k"),
            dequantize_q3_k,
            q3_k_to_q6_k,
            dequantize_q6_k,
        ),
        (
            bytes_of(BLOCKS, "q4_k"),
            dequantize_q4_k,
            q4_k_to_q5_k,
            dequantize_q5_k,
        ),
    ];
    for (bytes, dequantize, repack, dequantize_repacked) in cases {
        let (mut expected, mut blocks, mut found) = (Vec::new(), vec![7], Vec::new());
        dequantize(&bytes, &mut expected);
        repack(&bytes, &mut blocks);
        dequantize_repacked(&blocks, &mut found);
        assert_eq!(found.len(), expected.len());
        let differs = (found.iter().zip(&expected)).position(|(a, b)| a.to_bits() != b.to_bits());
        assert_eq!(differs, None);
    }
}

#[test]
fn what_the_buffer_held_is_replaced() {
    let mut bytes = vec![7; 100];
    quantize_q8_0(&[0.0; BLOCK], &mut bytes);
    assert_eq!(bytes, [0; Q8_0_BYTES]);
    let mut floats = vec![7.0; 100];
    dequantize_q8_0(&bytes, &mut floats);
    assert_eq!(floats, [0.0; BLOCK]);
}

#[test]
#[should_panic(expected = "expected a multiple of 32 items, found 33")]
fn part_of_a_block_panics() {
    quantize_q4_0(&[0.0; 33], &mut Vec::new());
}

/// Values from 2⁻¹² to 2¹²: scales are normal f16, so that the bounds below hold.
fn values() -> impl Strategy<Value = Vec<f32>> {
    let value = (-12i32..12, -1.0f32..1.0).prop_map(|(exponent, x)| x * 2f32.powi(exponent));
    prop::collection::vec(value, BLOCK..=4 * BLOCK)
        .prop_map(|mut values| {
            values.truncate(values.len() / BLOCK * BLOCK);
            values
        })
        .prop_filter("scales are normal", |values| {
            values.chunks(BLOCK).all(|block| largest(block) > 0.01)
        })
}

fn largest(block: &[f32]) -> f32 {
    block.iter().fold(0.0, |most, x| x.abs().max(most))
}

/// Of each block, the error relative to its largest magnitude.
fn worst(values: &[f32], back: &[f32]) -> f32 {
    let blocks = values.chunks(BLOCK).zip(back.chunks(BLOCK));
    blocks
        .map(|(block, back)| {
            let error = block.iter().zip(back).map(|(x, y)| (x - y).abs());
            error.fold(0.0, f32::max) / largest(block)
        })
        .fold(0.0, f32::max)
}

proptest! {
    #[test]
    fn q8_0_round_trip(values in values()) {
        let (mut bytes, mut back) = (Vec::new(), Vec::new());
        quantize_q8_0(&values, &mut bytes);
        prop_assert_eq!(bytes.len(), values.len() / BLOCK * Q8_0_BYTES);
        dequantize_q8_0(&bytes, &mut back);
        // Half a step of 1/127, and the f16 rounding of the scale: 2⁻¹¹ of the value.
        prop_assert!(worst(&values, &back) <= 0.5 / 127.0 + 0.0005);
    }

    #[test]
    fn q4_0_round_trip(values in values()) {
        let (mut bytes, mut back) = (Vec::new(), Vec::new());
        quantize_q4_0(&values, &mut bytes);
        prop_assert_eq!(bytes.len(), values.len() / BLOCK * Q4_0_BYTES);
        dequantize_q4_0(&bytes, &mut back);
        // A whole step of 1/8 at the end opposite to the extreme (8 is cut to 7), and the scale's rounding.
        prop_assert!(worst(&values, &back) <= 1.0 / 8.0 + 0.0005);
    }

    #[test]
    fn q8_0_of_q8_0_values_is_a_fixed_point(values in values()) {
        let (mut bytes, mut back, mut again) = (Vec::new(), Vec::new(), Vec::new());
        quantize_q8_0(&values, &mut bytes);
        dequantize_q8_0(&bytes, &mut back);
        quantize_q8_0(&back, &mut again);
        prop_assert_eq!(bytes, again);
    }

    #[test]
    fn any_floats_quantize(values in prop::collection::vec(any::<f32>(), 2 * BLOCK)) {
        // NaN and infinities included: the result means nothing, but there is one.
        let mut bytes = Vec::new();
        quantize_q8_0(&values, &mut bytes);
        prop_assert_eq!(bytes.len(), 2 * Q8_0_BYTES);
        quantize_q4_0(&values, &mut bytes);
        prop_assert_eq!(bytes.len(), 2 * Q4_0_BYTES);
    }

    #[test]
    fn any_block_bytes_dequantize(bytes in prop::collection::vec(any::<u8>(), 306)) {
        // 306 is 9 blocks of Q8_0 and 17 of Q4_0.
        let mut out = Vec::new();
        dequantize_q8_0(&bytes, &mut out);
        prop_assert_eq!(out.len(), 9 * BLOCK);
        let scale = f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
        prop_assert!(scale.is_nan() || out[0] == scale * f32::from(bytes[2] as i8) || out[0].is_nan());
        dequantize_q4_0(&bytes, &mut out);
        prop_assert_eq!(out.len(), 17 * BLOCK);
    }
}
