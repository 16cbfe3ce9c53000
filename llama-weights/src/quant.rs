//! Block layouts, with the functions that define their values: dequantizers for all, quantizers for Q8_0, Q5_0, Q4_0, Q6_K and Q4_K.
//!
//! All but [`dequantize_int4`]'s are ggml's, as files store them: values equal those of the `gguf` Python package, which equal llama.cpp's reference functions; so do
//! the bytes of Q8_0, Q5_0 and Q4_0. Those of the K types are found by a search of our own, with no more error than llama.cpp's. A GPU layout (scales and
//! quants in separate planes) is not made here.
//!
//! The functions replace what `out` held and keep its capacity. In the layouts below `d` and `m` are f16, little-endian.

mod int4;
mod k;
mod q4;
mod q4_k;
mod q5;
mod q6_k;
mod q8;
mod repack;

pub use int4::{INT4_BYTES, dequantize_int4};
pub use k::{
    K_BLOCK, Q2_K_BYTES, Q3_K_BYTES, Q4_K_BYTES, Q5_K_BYTES, Q6_K_BYTES, dequantize_q2_k,
    dequantize_q3_k, dequantize_q4_k, dequantize_q5_k, dequantize_q6_k,
};
pub use q4::{Q4_0_BYTES, Q4_1_BYTES, dequantize_q4_0, dequantize_q4_1, quantize_q4_0};
pub use q4_k::quantize_q4_k;
pub use q5::{Q5_0_BYTES, Q5_1_BYTES, dequantize_q5_0, dequantize_q5_1, quantize_q5_0};
pub use q6_k::quantize_q6_k;
pub use q8::{Q8_0_BYTES, dequantize_q8_0, q4_0_to_q8_0, q5_0_to_q8_0, quantize_q8_0};
pub use repack::{q3_k_to_q6_k, q4_1_to_q5_1, q4_k_to_q5_k};

use half::f16;

/// Values per block of all but the K types, whose blocks are [`K_BLOCK`].
pub const BLOCK: usize = 32;

/// Dequantizes whole blocks of `N` bytes to `VALUES` values each.
///
/// # Panics
/// Where `bytes.len()` is no multiple of `N`.
fn dequantize<const N: usize, const VALUES: usize>(
    bytes: &[u8],
    out: &mut Vec<f32>,
    values: impl Fn(&[u8; N]) -> [f32; VALUES],
) {
    out.clear();
    out.reserve(bytes.len() / N * VALUES);
    for block in whole_blocks(bytes, N) {
        // Infallible: chunks are `N` long.
        if let Some(block) = block.first_chunk() {
            out.extend_from_slice(&values(block));
        }
    }
}

fn whole_blocks<T>(items: &[T], block: usize) -> std::slice::ChunksExact<'_, T> {
    let blocks = items.chunks_exact(block);
    assert!(
        blocks.remainder().is_empty(),
        "expected a multiple of {block} items, found {}",
        items.len()
    );
    blocks
}

/// The f16 at a byte of a block.
fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn inverse_or_zero(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// The integer nearest to `x` from `least` to `most`, both far below 2²²; ties go to the even one, and NaN becomes `least`. The sum's
/// rounding is the point: there is no integer between its values, and it is vector code where `f32::round` is a call.
fn nearest(x: f32, least: f32, most: f32) -> f32 {
    const ROUNDS: f32 = (3 << 22) as f32;
    // One instruction each, unlike `f32::max` and `f32::min`, which have another mind about NaN.
    let x = if x > least { x } else { least };
    let x = if x < most { x } else { most };
    (x + ROUNDS) - ROUNDS
}

/// Sums over the values of a group and their weights, in eight lanes each so that they are vector code. `N` is a multiple of 8.
fn summed<const N: usize, const SUMS: usize>(
    x: &[f32; N],
    weights: &[f32; N],
    terms: impl Fn(f32, f32) -> [f32; SUMS],
) -> [f32; SUMS] {
    const LANES: usize = 8;
    let mut lanes = [[0f32; LANES]; SUMS];
    for (x, weights) in x.chunks_exact(LANES).zip(weights.chunks_exact(LANES)) {
        for (lane, (&x, &weight)) in x.iter().zip(weights).enumerate() {
            for (lanes, term) in lanes.iter_mut().zip(terms(x, weight)) {
                lanes[lane] += term;
            }
        }
    }
    lanes.map(|lanes| lanes.iter().sum())
}
