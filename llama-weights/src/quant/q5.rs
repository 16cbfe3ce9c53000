//! Q5_0 and Q5_1: five bits, the fifth of all values in a u32 of their own.

use half::f16;

use super::q4::nibble;
use super::{BLOCK, dequantize, half_at, inverse_or_zero, whole_blocks};

/// Bytes of a Q5_0 block: scale `d` as f16, a u32 whose bit `i` is the fifth bit of value `i`, then 16 bytes as in Q4_0.
pub const Q5_0_BYTES: usize = 22;
/// Bytes of a Q5_1 block: `d`, `m`, then as Q5_0.
pub const Q5_1_BYTES: usize = 24;

/// Quantizes to Q5_0: `m` is the signed value of largest magnitude (the first of equals), `d = m / −16`,
/// `q = min(31, ⌊x / d + 16.5⌋)`. The quants are made with the f32 scale; the stored scale is its f16 rounding.
/// Values are expected finite, and `max|x| ≤ 16 · 65504`, else the scale is infinite.
///
/// # Panics
/// Where `values.len()` is no multiple of [`BLOCK`].
pub fn quantize_q5_0(values: &[f32], out: &mut Vec<u8>) {
    let blocks = whole_blocks(values, BLOCK);
    out.clear();
    out.reserve(blocks.len() * Q5_0_BYTES);
    for block in blocks {
        let larger = |most: f32, &x: &f32| if x.abs() > most.abs() { x } else { most };
        let scale = block.iter().fold(block[0], larger) / -16.0;
        let inverse = inverse_or_zero(scale);
        // x / d lies in -16 ..= 16, so the sum is positive and the cast truncates as ⌊⌋ does.
        let quants: [u8; BLOCK] =
            std::array::from_fn(|i| ((block[i] * inverse + 16.5) as u8).min(31));
        let fifths = (0..).zip(quants).map(|(i, q)| u32::from(q >> 4) << i);
        out.extend(f16::from_f32(scale).to_le_bytes());
        out.extend(fifths.sum::<u32>().to_le_bytes());
        let (low, high) = quants.split_at(BLOCK / 2);
        out.extend(low.iter().zip(high).map(|(l, h)| l & 15 | (h & 15) << 4));
    }
}

/// Dequantizes Q5_0: `x = d · (q − 16)`.
///
/// # Panics
/// Where `bytes.len()` is no multiple of [`Q5_0_BYTES`].
pub fn dequantize_q5_0(bytes: &[u8], out: &mut Vec<f32>) {
    dequantize(bytes, out, |block: &[u8; Q5_0_BYTES]| {
        let d = half_at(block, 0);
        std::array::from_fn::<f32, BLOCK, _>(|i| f32::from(quant(&block[2..], i) as i8 - 16) * d)
    });
}

/// Dequantizes Q5_1: `x = d · q + m`.
///
/// # Panics
/// Where `bytes.len()` is no multiple of [`Q5_1_BYTES`].
pub fn dequantize_q5_1(bytes: &[u8], out: &mut Vec<f32>) {
    dequantize(bytes, out, |block: &[u8; Q5_1_BYTES]| {
        let (d, m) = (half_at(block, 0), half_at(block, 2));
        std::array::from_fn::<f32, BLOCK, _>(|i| f32::from(quant(&block[4..], i)) * d + m)
    });
}

/// Quant `i` of the u32 of fifth bits and 16 bytes of nibbles: 0 to 31.
pub(super) fn quant(bits: &[u8], i: usize) -> u8 {
    nibble(&bits[4..], i) | (bits[i / 8] >> (i % 8) & 1) << 4
}
