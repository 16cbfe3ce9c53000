//! Q4_0 and Q4_1: nibbles with a scale, and with a scale and a least value.

use half::f16;

use super::{BLOCK, dequantize, half_at, inverse_or_zero, whole_blocks};

/// Bytes of a Q4_0 block: scale `d` as f16, then 16 bytes, value `i` in the low nibble of byte `i`, value `i + 16` in its high nibble.
pub const Q4_0_BYTES: usize = 18;
/// Bytes of a Q4_1 block: `d`, `m`, then 16 bytes as in Q4_0.
pub const Q4_1_BYTES: usize = 20;

/// Quantizes to Q4_0: `m` is the signed value of largest magnitude (the first of equals), `d = m / −8`,
/// `q = min(15, ⌊x / d + 8.5⌋)`. The quants are made with the f32 scale; the stored scale is its f16 rounding.
/// Values are expected finite.
///
/// # Panics
/// Where `values.len()` is no multiple of [`BLOCK`].
pub fn quantize_q4_0(values: &[f32], out: &mut Vec<u8>) {
    let blocks = whole_blocks(values, BLOCK);
    out.clear();
    out.reserve(blocks.len() * Q4_0_BYTES);
    for block in blocks {
        let extreme = block.iter().fold(
            block[0],
            |most, &x| {
                if x.abs() > most.abs() { x } else { most }
            },
        );
        let scale = extreme / -8.0;
        let inverse = inverse_or_zero(scale);
        // x / d lies in -8 ..= 8, so the sum is positive and the cast truncates as ⌊⌋ does.
        let quant = |x: f32| ((x * inverse + 8.5) as u8).min(15);
        out.extend(f16::from_f32(scale).to_le_bytes());
        let (low, high) = block.split_at(BLOCK / 2);
        out.extend(
            low.iter()
                .zip(high)
                .map(|(&l, &h)| quant(l) | quant(h) << 4),
        );
    }
}

/// Dequantizes Q4_0: `x = d · (q − 8)`.
///
/// # Panics
/// Where `bytes.len()` is no multiple of [`Q4_0_BYTES`].
pub fn dequantize_q4_0(bytes: &[u8], out: &mut Vec<f32>) {
    dequantize(bytes, out, |block: &[u8; Q4_0_BYTES]| {
        let d = half_at(block, 0);
        std::array::from_fn::<f32, BLOCK, _>(|i| f32::from(nibble(&block[2..], i) as i8 - 8) * d)
    });
}

/// Dequantizes Q4_1: `x = d · q + m`.
///
/// # Panics
/// Where `bytes.len()` is no multiple of [`Q4_1_BYTES`].
pub fn dequantize_q4_1(bytes: &[u8], out: &mut Vec<f32>) {
    dequantize(bytes, out, |block: &[u8; Q4_1_BYTES]| {
        let (d, m) = (half_at(block, 0), half_at(block, 2));
        std::array::from_fn::<f32, BLOCK, _>(|i| f32::from(nibble(&block[4..], i)) * d + m)
    });
}

/// Quant `i` of 16 bytes: low nibbles first.
pub(super) fn nibble(quants: &[u8], i: usize) -> u8 {
    if i < BLOCK / 2 {
        quants[i] & 15
    } else {
        quants[i - BLOCK / 2] >> 4
    }
}
