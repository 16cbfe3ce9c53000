//! Q5_0 and Q5_1: five bits, the fifth of all values in a u32 of their own.

use super::q4::nibble;
use super::{BLOCK, dequantize, half_at};

/// Bytes of a Q5_0 block: scale `d` as f16, a u32 whose bit `i` is the fifth bit of value `i`, then 16 bytes as in Q4_0.
pub const Q5_0_BYTES: usize = 22;
/// Bytes of a Q5_1 block: `d`, `m`, then as Q5_0.
pub const Q5_1_BYTES: usize = 24;

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
