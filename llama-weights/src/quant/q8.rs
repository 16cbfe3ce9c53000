//! Q8_0: signed bytes with a scale.

use half::f16;

use super::{
    BLOCK, Q4_0_BYTES, Q5_0_BYTES, dequantize, half_at, inverse_or_zero, q4, q5, whole_blocks,
};

/// Bytes of a Q8_0 block: scale `d` as f16, then 32 × i8.
pub const Q8_0_BYTES: usize = 34;

/// Quantizes to Q8_0: `d = max|x| / 127`, `q = round(x / d)` half away from zero. The quants are made with the f32 scale;
/// the stored scale is its f16 rounding. Values are expected finite, and `max|x| ≤ 127 · 65504`, else the scale is infinite.
///
/// # Panics
/// Where `values.len()` is no multiple of [`BLOCK`].
pub fn quantize_q8_0(values: &[f32], out: &mut Vec<u8>) {
    let blocks = whole_blocks(values, BLOCK);
    out.clear();
    out.reserve(blocks.len() * Q8_0_BYTES);
    for block in blocks {
        let largest = block.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
        let scale = largest / 127.0;
        let inverse = inverse_or_zero(scale);
        out.extend(f16::from_f32(scale).to_le_bytes());
        let quants: [i8; BLOCK] = std::array::from_fn(|i| round_i8(block[i] * inverse));
        out.extend_from_slice(&quants.map(|q| q as u8));
    }
}

/// Dequantizes Q8_0: `x = d · q`.
///
/// # Panics
/// Where `bytes.len()` is no multiple of [`Q8_0_BYTES`].
pub fn dequantize_q8_0(bytes: &[u8], out: &mut Vec<f32>) {
    dequantize(bytes, out, |block: &[u8; Q8_0_BYTES]| {
        let d = half_at(block, 0);
        std::array::from_fn::<f32, BLOCK, _>(|i| f32::from(block[2 + i] as i8) * d)
    });
}

/// Repacks Q4_0 as Q8_0 of the same values: the scale stays, a quant `q` becomes `q − 8`.
///
/// # Panics
/// Where `bytes.len()` is no multiple of [`Q4_0_BYTES`].
pub fn q4_0_to_q8_0(bytes: &[u8], out: &mut Vec<u8>) {
    repack(bytes, Q4_0_BYTES, out, |block, i| {
        q4::nibble(&block[2..], i).wrapping_sub(8)
    });
}

/// Repacks Q5_0 as Q8_0 of the same values: the scale stays, a quant `q` becomes `q − 16`.
///
/// # Panics
/// Where `bytes.len()` is no multiple of [`Q5_0_BYTES`].
pub fn q5_0_to_q8_0(bytes: &[u8], out: &mut Vec<u8>) {
    repack(bytes, Q5_0_BYTES, out, |block, i| {
        q5::quant(&block[2..], i).wrapping_sub(16)
    });
}

/// Blocks with the same scale and other quants, as two's complement.
fn repack(bytes: &[u8], block_bytes: usize, out: &mut Vec<u8>, quant: impl Fn(&[u8], usize) -> u8) {
    let blocks = whole_blocks(bytes, block_bytes);
    out.clear();
    out.reserve(blocks.len() * Q8_0_BYTES);
    for block in blocks {
        out.extend_from_slice(&block[..2]);
        out.extend_from_slice(&std::array::from_fn::<u8, BLOCK, _>(|i| quant(block, i)));
    }
}

/// Rounds half away from zero, as C's `roundf`, to −127 … 127. `f32::round` is a library call on x86-64 without SSE 4.1;
/// this becomes vector code there.
fn round_i8(x: f32) -> i8 {
    let x = x.clamp(-127.0, 127.0);
    let whole = x as i32;
    let rest = x - whole as f32; // exact
    (whole + i32::from(rest >= 0.5) - i32::from(rest <= -0.5)) as i8
}
