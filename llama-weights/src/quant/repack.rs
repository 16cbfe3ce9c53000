//! Blocks of one type as blocks of another with the same values, bit for bit: the second can say all that the first can.

use super::k::{Q3_K_BYTES, Q4_K_BYTES, Q5_K_BYTES, Q6_K_BYTES, q3_k_quants, q3_k_scales};
use super::q4::Q4_1_BYTES;
use super::q5::Q5_1_BYTES;
use super::whole_blocks;

/// Repacks Q4_1 as Q5_1: scale, least value and nibbles stay, every fifth bit is 0.
///
/// # Panics
/// Where `bytes.len()` is no multiple of [`Q4_1_BYTES`].
pub fn q4_1_to_q5_1(bytes: &[u8], out: &mut Vec<u8>) {
    let blocks = whole_blocks(bytes, Q4_1_BYTES);
    out.clear();
    out.reserve(blocks.len() * Q5_1_BYTES);
    for block in blocks {
        out.extend_from_slice(&block[..4]);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&block[4..]);
    }
}

/// Repacks Q4_K as Q5_K: scales and nibbles stay, every fifth bit is 0.
///
/// # Panics
/// Where `bytes.len()` is no multiple of [`Q4_K_BYTES`].
pub fn q4_k_to_q5_k(bytes: &[u8], out: &mut Vec<u8>) {
    let blocks = whole_blocks(bytes, Q4_K_BYTES);
    out.clear();
    out.reserve(blocks.len() * Q5_K_BYTES);
    for block in blocks {
        out.extend_from_slice(&block[..16]);
        out.extend_from_slice(&[0; 32]);
        out.extend_from_slice(&block[16..]);
    }
}

/// Repacks Q3_K as Q6_K: `d` stays, a scale `s` becomes `s − 32`, a quant `q` becomes `q − 4 + 32`.
///
/// # Panics
/// Where `bytes.len()` is no multiple of [`Q3_K_BYTES`].
pub fn q3_k_to_q6_k(bytes: &[u8], out: &mut Vec<u8>) {
    let blocks = whole_blocks(bytes, Q3_K_BYTES);
    out.clear();
    out.reserve(blocks.len() * Q6_K_BYTES);
    for block in blocks {
        let quants = q3_k_quants(block).map(|quant| (quant + 32) as u8);
        // Of 128 values, bytes of the low nibbles hold i and 64 + i, those of the two bits above i, 32 + i, 64 + i and 96 + i.
        for half in quants.chunks_exact(128) {
            out.extend((0..64).map(|i| half[i] & 15 | half[64 + i] << 4));
        }
        for half in quants.chunks_exact(128) {
            let above = |i| {
                (0..4usize).fold(0, |bits, part| {
                    bits | half[32 * part + i] >> 4 << (2 * part)
                })
            };
            out.extend((0..32).map(above));
        }
        out.extend(q3_k_scales(block).map(|scale| scale as u8));
        out.extend_from_slice(&block[Q3_K_BYTES - 2..]);
    }
}
