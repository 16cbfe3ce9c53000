//! The K types: super-blocks of 256 values, whose groups of 16 or 32 have scales that are quantized themselves.
//!
//! In all of them value `i` belongs to group `i / 16` (Q2_K, Q3_K, Q6_K) or `i / 32` (Q4_K, Q5_K). Scales are multiplied out before
//! quants, in f32, as ggml does: the last bit depends on it.

use super::{dequantize, half_at};

/// Values per block of a K type.
pub const K_BLOCK: usize = 256;
/// Bytes of a Q2_K block: 16 bytes of 4-bit scale (low) and least value (high), 64 bytes of 2-bit quants, `d`, `m`.
pub const Q2_K_BYTES: usize = 84;
/// Bytes of a Q3_K block: 32 bytes of third bits, 64 bytes of 2-bit quants, 12 bytes of 6-bit scales, `d`.
pub const Q3_K_BYTES: usize = 110;
/// Bytes of a Q4_K block: `d`, `m`, 12 bytes of 6-bit scales and least values, 128 bytes of nibbles.
pub const Q4_K_BYTES: usize = 144;
/// Bytes of a Q5_K block: as Q4_K, with 32 bytes of fifth bits before the nibbles.
pub const Q5_K_BYTES: usize = 176;
/// Bytes of a Q6_K block: 128 bytes of nibbles, 64 bytes of two bits each, 16 × i8 scales, `d`.
pub const Q6_K_BYTES: usize = 210;

/// Dequantizes Q2_K: `x = d · s · q − m · l`, with `q` from 0 to 3, and scale `s` and least value `l` from 0 to 15 for 16 values.
///
/// # Panics
/// Where `bytes.len()` is no multiple of [`Q2_K_BYTES`].
pub fn dequantize_q2_k(bytes: &[u8], out: &mut Vec<f32>) {
    dequantize(bytes, out, |block: &[u8; Q2_K_BYTES]| {
        let (scales, quants) = (&block[..16], &block[16..80]);
        let (d, m) = (half_at(block, 80), half_at(block, 82));
        std::array::from_fn::<f32, K_BLOCK, _>(|i| {
            let (scale, least) = (scales[i / 16] & 15, scales[i / 16] >> 4);
            let quant = two_bits(quants, i);
            d * f32::from(scale) * f32::from(quant) - m * f32::from(least)
        })
    });
}

/// Dequantizes Q3_K: `x = d · (s − 32) · (q − 4)`, with `q` from 0 to 7, and scale `s` from 0 to 63 for 16 values.
///
/// # Panics
/// Where `bytes.len()` is no multiple of [`Q3_K_BYTES`].
pub fn dequantize_q3_k(bytes: &[u8], out: &mut Vec<f32>) {
    dequantize(bytes, out, |block: &[u8; Q3_K_BYTES]| {
        let d = half_at(block, 108);
        let scales = q3_k_scales(block).map(|scale| d * f32::from(scale));
        let quants = q3_k_quants(block);
        std::array::from_fn::<f32, K_BLOCK, _>(|i| scales[i / 16] * f32::from(quants[i]))
    });
}

/// Of each group of 16 in a Q3_K block, `s − 32`.
pub(super) fn q3_k_scales(block: &[u8]) -> [i8; 16] {
    let packed = &block[96..108];
    std::array::from_fn(|group| {
        let low = packed[group % 8] >> (group / 8 * 4) & 15;
        let high = packed[8 + group % 4] >> (group / 4 * 2) & 3;
        (low | high << 4) as i8 - 32
    })
}

/// Of each value in a Q3_K block, `q − 4`.
pub(super) fn q3_k_quants(block: &[u8]) -> [i8; K_BLOCK] {
    let (third, quants) = (&block[..32], &block[32..96]);
    std::array::from_fn(|i| {
        let quant = two_bits(quants, i) | (third[i % 32] >> (i / 32) & 1) << 2;
        quant as i8 - 4
    })
}

/// Dequantizes Q4_K: `x = d · s · q − m · l`, with `q` from 0 to 15, and scale `s` and least value `l` from 0 to 63 for 32 values.
///
/// # Panics
/// Where `bytes.len()` is no multiple of [`Q4_K_BYTES`].
pub fn dequantize_q4_k(bytes: &[u8], out: &mut Vec<f32>) {
    dequantize(bytes, out, |block: &[u8; Q4_K_BYTES]| {
        let groups = scales_and_leasts(block);
        std::array::from_fn::<f32, K_BLOCK, _>(|i| {
            let (scale, least) = groups[i / 32];
            scale * f32::from(nibble(&block[16..], i)) - least
        })
    });
}

/// Dequantizes Q5_K: as Q4_K, with `q` from 0 to 31.
///
/// # Panics
/// Where `bytes.len()` is no multiple of [`Q5_K_BYTES`].
pub fn dequantize_q5_k(bytes: &[u8], out: &mut Vec<f32>) {
    dequantize(bytes, out, |block: &[u8; Q5_K_BYTES]| {
        let groups = scales_and_leasts(block);
        std::array::from_fn::<f32, K_BLOCK, _>(|i| {
            let (scale, least) = groups[i / 32];
            let fifth = block[16 + i % 32] >> (i / 32) & 1;
            scale * f32::from(nibble(&block[48..], i) | fifth << 4) - least
        })
    });
}

/// Dequantizes Q6_K: `x = d · s · (q − 32)`, with `q` from 0 to 63, and scale `s` from −128 to 127 for 16 values.
///
/// # Panics
/// Where `bytes.len()` is no multiple of [`Q6_K_BYTES`].
pub fn dequantize_q6_k(bytes: &[u8], out: &mut Vec<f32>) {
    dequantize(bytes, out, |block: &[u8; Q6_K_BYTES]| {
        let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
        let d = half_at(block, 208);
        std::array::from_fn::<f32, K_BLOCK, _>(|i| {
            // Halves of 128 values; of each, four quarters of 32: nibbles of the first two are low, of the others high.
            let (half, quarter, at) = (i / 128, i / 32 % 4, i % 32);
            let nibble = low[64 * half + 32 * (quarter % 2) + at] >> (quarter / 2 * 4) & 15;
            let quant = nibble | (high[32 * half + at] >> (2 * quarter) & 3) << 4;
            d * f32::from(scales[i / 16] as i8) * f32::from(quant as i8 - 32)
        })
    });
}

/// Of each group of 32, `d · s` and `m · l`. The 6-bit numbers of the first four groups lie in the low bits of bytes 0 to 7; those of
/// the last four in nibbles of bytes 8 to 11 and in the upper two bits of bytes 0 to 7.
fn scales_and_leasts(block: &[u8]) -> [(f32, f32); 8] {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    let packed = &block[4..16];
    std::array::from_fn(|group| {
        let (scale, least) = if group < 4 {
            (packed[group] & 63, packed[group + 4] & 63)
        } else {
            (
                packed[group + 4] & 15 | packed[group - 4] >> 6 << 4,
                packed[group + 4] >> 4 | packed[group] >> 6 << 4,
            )
        };
        (d * f32::from(scale), m * f32::from(least))
    })
}

/// Quant `i` of 64 bytes: each 32 bytes hold 128 values, the first 32 of them in the lowest bits.
fn two_bits(quants: &[u8], i: usize) -> u8 {
    quants[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3
}

/// Quant `i` of 128 bytes: each 32 bytes hold 64 values, the first 32 of them in the low nibbles.
fn nibble(quants: &[u8], i: usize) -> u8 {
    quants[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15
}
