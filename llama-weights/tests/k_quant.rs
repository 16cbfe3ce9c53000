//! Quantizing to Q4_K and Q6_K beside llama.cpp's reference functions, and to Q5_0 beside the `gguf` Python package (`golden/k_quant/generate.py`);
//! bounds of the errors, and what becomes of odd values.

use llama_weights::quant::{
    BLOCK, K_BLOCK, Q4_K_BYTES, Q5_0_BYTES, Q6_K_BYTES, dequantize_q4_k, dequantize_q5_0,
    dequantize_q6_k, quantize_q4_k, quantize_q5_0, quantize_q6_k,
};
use proptest::prelude::*;
use safetensors::SafeTensors;

const GOLDEN: &[u8] = include_bytes!("golden/k_quant/k_quant.safetensors");

fn golden(name: &str) -> Vec<u8> {
    let file = SafeTensors::deserialize(GOLDEN).expect("the golden file");
    file.tensor(name).expect(name).data().to_vec()
}

fn golden_floats(name: &str) -> Vec<f32> {
    let bytes = golden(name);
    let floats = bytes.chunks_exact(4);
    floats
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

type Quantize = fn(&[f32], &mut Vec<u8>);
type Dequantize = fn(&[u8], &mut Vec<f32>);

struct Kind {
    name: &'static str,
    quantize: Quantize,
    dequantize: Dequantize,
    bytes: usize,
    /// The weights of a block's values in llama.cpp's search.
    weights: fn(&[f32]) -> Vec<f64>,
}

const KINDS: [Kind; 2] = [
    Kind {
        name: "q4_k",
        quantize: quantize_q4_k,
        dequantize: dequantize_q4_k,
        bytes: Q4_K_BYTES,
        weights: |block| {
            let of_group = |group: &[f32]| {
                let squares: f64 = group.iter().map(|&x| f64::from(x).powi(2)).sum();
                let mean = (squares / group.len() as f64).sqrt();
                group
                    .iter()
                    .map(|&x| mean + f64::from(x).abs())
                    .collect::<Vec<_>>()
            };
            block.chunks(32).flat_map(of_group).collect()
        },
    },
    Kind {
        name: "q6_k",
        quantize: quantize_q6_k,
        dequantize: dequantize_q6_k,
        bytes: Q6_K_BYTES,
        weights: |block| block.iter().map(|&x| f64::from(x).powi(2)).collect(),
    },
];

impl Kind {
    fn round_trip(&self, values: &[f32]) -> Vec<f32> {
        let (mut bytes, mut back) = (vec![7], vec![7.0]);
        (self.quantize)(values, &mut bytes);
        assert_eq!(bytes.len(), values.len() / K_BLOCK * self.bytes);
        (self.dequantize)(&bytes, &mut back);
        back
    }
}

/// The weighted squared error of a block, relative to its weighted square.
fn error(values: &[f32], found: &[f32], weights: &[f64]) -> f64 {
    let sum = |term: &dyn Fn(usize) -> f64| -> f64 {
        let indices = 0..values.len();
        indices.map(|i| weights[i] * term(i).powi(2)).sum()
    };
    let errors = sum(&|i| f64::from(values[i]) - f64::from(found[i]));
    errors / sum(&|i| f64::from(values[i]))
}

/// Of every block: llama.cpp's error and ours.
fn errors(kind: &Kind, weights: fn(&[f32]) -> Vec<f64>) -> Vec<[f64; 2]> {
    let values = golden_floats("values");
    let theirs = golden_floats(&format!("{}_values", kind.name));
    let ours = kind.round_trip(&values);
    let blocks = values.chunks(K_BLOCK).zip(theirs.chunks(K_BLOCK));
    let blocks = blocks.zip(ours.chunks(K_BLOCK));
    blocks
        .map(|((values, theirs), ours)| {
            let weights = weights(values);
            [theirs, ours].map(|found| error(values, found, &weights))
        })
        .collect()
}

#[test]
fn the_error_is_no_larger_than_llama_cpp_s() {
    for kind in KINDS {
        for (weighted, weights) in [
            (true, kind.weights),
            (false, |block: &[f32]| vec![1.0; block.len()]),
        ] {
            let errors = errors(&kind, weights);
            let mean = |which: usize| {
                errors.iter().map(|pair| pair[which]).sum::<f64>() / errors.len() as f64
            };
            let ratio = (mean(1) / mean(0)).sqrt();
            assert!(ratio <= 1.0, "{} {weighted}: {ratio}", kind.name);
            // Of single blocks some are worse by chance.
            let worse = errors.iter().filter(|[theirs, ours]| ours > theirs);
            assert!(worse.count() * 5 < errors.len(), "{}", kind.name);
            let worst = errors.iter().map(|[theirs, ours]| (ours / theirs).sqrt());
            assert!(worst.fold(0.0, f64::max) < 1.3, "{}", kind.name);
        }
    }
}

#[test]
fn q5_0_bytes_equal_gguf_s() {
    let (values, expected) = (golden_floats("values"), golden("q5_0"));
    let mut found = vec![7];
    quantize_q5_0(&values, &mut found);
    assert_eq!(found.len(), expected.len());
    let blocks = found.chunks(Q5_0_BYTES).zip(expected.chunks(Q5_0_BYTES));
    for (i, (found, expected)) in blocks.enumerate() {
        assert_eq!(found, expected, "block {i}");
    }
}

#[test]
fn zeros_stay_zeros() {
    for kind in KINDS {
        for zeros in [[0.0; K_BLOCK], [-0.0; K_BLOCK]] {
            assert_eq!(kind.round_trip(&zeros), [0.0; K_BLOCK], "{}", kind.name);
        }
    }
}

#[test]
fn constant_rows_stay_constant() {
    for kind in KINDS {
        for constant in [1.0, -1.0, 0.02, -0.3, 1000.0, -65504.0] {
            let back = kind.round_trip(&[constant; K_BLOCK]);
            for x in back {
                // The scale's rounding to f16 (of Q6_K's, below 0.25, to a subnormal one).
                let precision = if constant.abs() < 0.25 { 4e-3 } else { 1e-3 };
                assert!(
                    (x - constant).abs() <= constant.abs() * precision,
                    "{} {constant}: {x}",
                    kind.name
                );
            }
        }
    }
}

/// A group of another size than the others does not spoil them: it is what scales of groups are for.
#[test]
fn groups_have_scales_of_their_own() {
    let mut values = [0.0; K_BLOCK];
    for (i, x) in values.iter_mut().enumerate() {
        *x = ((i * 37) % 64) as f32 / 32.0 - 1.0;
        if i / 32 == 3 {
            *x *= 1.0 / 16.0;
        }
    }
    for kind in KINDS {
        let back = kind.round_trip(&values);
        let group = 96..128;
        let most = group
            .map(|i| (values[i] - back[i]).abs())
            .fold(0.0, f32::max);
        assert!(most < 1.0 / 16.0 / 4.0, "{}: {most}", kind.name);
    }
}

#[test]
fn values_too_small_for_the_scale_become_zero_or_coarse() {
    for kind in KINDS {
        for tiny in [f32::MIN_POSITIVE, 1e-45, 1e-20, 1e-9] {
            let mut values = [tiny; K_BLOCK];
            values[7] = -tiny;
            let back = kind.round_trip(&values);
            assert!(
                back.iter().all(|x| x.abs() <= 2.0 * tiny),
                "{} {tiny}",
                kind.name
            );
        }
        let values: [f32; K_BLOCK] = std::array::from_fn(|i| (i as f32 - 128.0) * 1e-5);
        let back = kind.round_trip(&values);
        let most = values
            .iter()
            .zip(back)
            .map(|(x, y)| (x - y).abs())
            .fold(0.0, f32::max);
        assert!(most <= 1.28e-3 / 10.0, "{}: {most}", kind.name);
    }
}

#[test]
fn huge_values_keep_their_precision_as_long_as_the_scale_is_finite() {
    for (kind, most) in KINDS.iter().zip([63.0 * 65504.0, 4096.0 * 65504.0]) {
        let values: [f32; K_BLOCK] = std::array::from_fn(|i| (i as f32 / 127.5 - 1.0) * most);
        let back = kind.round_trip(&values);
        for (x, y) in values.iter().zip(back) {
            assert!((x - y).abs() <= most / 12.0, "{}: {x} {y}", kind.name);
        }
        // And beyond it there is a result, which means nothing.
        kind.round_trip(&[3e38; K_BLOCK]);
        kind.round_trip(&std::array::from_fn::<f32, K_BLOCK, _>(|i| {
            if i % 2 == 0 { f32::MAX } else { f32::MIN }
        }));
    }
}

#[test]
#[should_panic(expected = "expected a multiple of 256 items, found 255")]
fn part_of_a_block_panics() {
    quantize_q6_k(&[0.0; 255], &mut Vec::new());
}

/// Values from 2⁻⁸ to 2¹², so that scales of scales are normal f16.
fn values() -> impl Strategy<Value = Vec<f32>> {
    let value = (-4i32..12, -1.0f32..1.0).prop_map(|(exponent, x)| x * 2f32.powi(exponent));
    prop::collection::vec(value, K_BLOCK).prop_filter("not too small", |values| {
        values.iter().any(|x| x.abs() > 0.5)
    })
}

/// Of each group, the largest error relative to the block's largest magnitude.
fn worst(values: &[f32], back: &[f32]) -> f32 {
    let largest = values.iter().fold(0.0, |most: f32, x| x.abs().max(most));
    let errors = values.iter().zip(back).map(|(x, y)| (x - y).abs());
    errors.fold(0.0, f32::max) / largest
}

proptest! {
    #[test]
    fn q4_k_error_is_bounded(values in values()) {
        // A group's range is at most twice the largest magnitude and has 15 steps: half of one, and as much again for the steps of scale and least
        // value, and for a fit that leaves its ends out.
        prop_assert!(worst(&values, &KINDS[0].round_trip(&values)) <= 2.0 / 15.0);
    }

    #[test]
    fn q6_k_error_is_bounded(values in values()) {
        // A step of 1/32 of a group's extreme; at the end opposite to it one step is lost; the scale's own steps of 1/128.
        prop_assert!(worst(&values, &KINDS[1].round_trip(&values)) <= 2.0 / 32.0);
    }

    #[test]
    fn q5_0_error_is_bounded(values in values()) {
        let (mut bytes, mut back) = (Vec::new(), Vec::new());
        quantize_q5_0(&values, &mut bytes);
        dequantize_q5_0(&bytes, &mut back);
        for (values, back) in values.chunks(BLOCK).zip(back.chunks(BLOCK)) {
            let largest = values.iter().fold(0.0, |most: f32, x| x.abs().max(most));
            for (x, y) in values.iter().zip(back) {
                // A whole step at the end opposite to the extreme, and the scale's rounding (subnormal below 1e-3).
                prop_assert!((x - y).abs() <= largest * (1.0 / 16.0 + 0.0005) + 1e-6);
            }
        }
    }

    #[test]
    fn any_floats_quantize(values in prop::collection::vec(any::<f32>(), 2 * K_BLOCK)) {
        // NaN and infinities included: the result means nothing, but there is one.
        for kind in KINDS {
            prop_assert_eq!(kind.round_trip(&values).len(), 2 * K_BLOCK);
        }
        let mut bytes = Vec::new();
        quantize_q5_0(&values, &mut bytes);
        prop_assert_eq!(bytes.len(), 16 * Q5_0_BYTES);
    }
}
