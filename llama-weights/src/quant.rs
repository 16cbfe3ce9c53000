//! Q8_0 and Q4_0: ggml's block layouts as files store them, with the quantizer and dequantizer that define them.
//!
//! Bytes equal those of the `gguf` Python package, which equal llama.cpp's reference functions. A GPU layout
//! (scales and quants in separate planes) is not made here.
//!
//! The functions replace what `out` held and keep its capacity.

use half::f16;

/// Values per block.
pub const BLOCK: usize = 32;
/// Bytes of a Q8_0 block: scale `d` as f16, then 32 × i8.
pub const Q8_0_BYTES: usize = 34;
/// Bytes of a Q4_0 block: scale `d` as f16, then 16 bytes, value `i` in the low nibble of byte `i`, value `i + 16` in its high nibble.
pub const Q4_0_BYTES: usize = 18;

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

/// Dequantizes Q8_0: `x = d · q`.
///
/// # Panics
/// Where `bytes.len()` is no multiple of [`Q8_0_BYTES`].
pub fn dequantize_q8_0(bytes: &[u8], out: &mut Vec<f32>) {
    let blocks = whole_blocks(bytes, Q8_0_BYTES);
    out.clear();
    out.reserve(blocks.len() * BLOCK);
    for block in blocks {
        let scale = block_scale(block);
        out.extend(block[2..].iter().map(|&q| f32::from(q as i8) * scale));
    }
}

/// Dequantizes Q4_0: `x = d · (q − 8)`.
///
/// # Panics
/// Where `bytes.len()` is no multiple of [`Q4_0_BYTES`].
pub fn dequantize_q4_0(bytes: &[u8], out: &mut Vec<f32>) {
    let blocks = whole_blocks(bytes, Q4_0_BYTES);
    out.clear();
    out.reserve(blocks.len() * BLOCK);
    for block in blocks {
        let scale = block_scale(block);
        let value = |nibble: u8| f32::from(nibble as i8 - 8) * scale;
        out.extend(block[2..].iter().map(|&byte| value(byte & 15)));
        out.extend(block[2..].iter().map(|&byte| value(byte >> 4)));
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

/// Rounds half away from zero, as C's `roundf`, to −127 … 127. `f32::round` is a library call on x86-64 without SSE 4.1;
/// this becomes vector code there.
fn round_i8(x: f32) -> i8 {
    let x = x.clamp(-127.0, 127.0);
    let whole = x as i32;
    let rest = x - whole as f32; // exact
    (whole + i32::from(rest >= 0.5) - i32::from(rest <= -0.5)) as i8
}

fn block_scale(block: &[u8]) -> f32 {
    f16::from_le_bytes([block[0], block[1]]).to_f32()
}

fn inverse_or_zero(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}
