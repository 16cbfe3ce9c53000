//! Quantizing to Q6_K: for each group of 16 a scale is searched that makes the weighted squared error small, then the scales are
//! quantized for the block.
//!
//! A value's weight is its square, as in llama.cpp's reference (`quantize_row_q6_K_ref`). What is searched goes beyond it: after the
//! scales have become integers, their neighbours are tried too.

use half::f16;

use super::{K_BLOCK, Q6_K_BYTES, inverse_or_zero, nearest, summed, whole_blocks};

const GROUP: usize = 16;
const GROUPS: usize = K_BLOCK / GROUP;
/// Quants go from −32 to 31.
const QUANT: f32 = 32.0;
/// Scales go from −128 to 127.
const SCALE: f32 = 128.0;
/// First steps tried are such that the group's extreme is 31.1 to 32.9 of them, in tenths.
const STEPS: std::ops::RangeInclusive<u16> = 311..=329;

/// Quantizes to Q6_K: see [`dequantize_q6_k`](super::dequantize_q6_k) for the layout. Values are expected finite, and `max|x| ≤ 4096 · 65504`, else
/// the scale is infinite. Blocks whose values are all below some 10⁻³ become coarse, and zero below some 10⁻⁴: the scale of their
/// scales is an f16.
///
/// # Panics
/// Where `values.len()` is no multiple of [`K_BLOCK`].
pub fn quantize_q6_k(values: &[f32], out: &mut Vec<u8>) {
    let blocks = whole_blocks(values, K_BLOCK);
    out.clear();
    out.reserve(blocks.len() * Q6_K_BYTES);
    for block in blocks {
        let group = |g| std::array::from_fn(|i| block[g * GROUP + i]);
        quantize_block(&std::array::from_fn(group), out);
    }
}

fn quantize_block(groups: &[[f32; GROUP]; GROUPS], out: &mut Vec<u8>) {
    let weights = groups.each_ref().map(weights);
    let fits: [f32; GROUPS] = std::array::from_fn(|g| fit(&groups[g], &weights[g]));
    let d = f16::from_f32(extreme(&fits) / -SCALE);
    let unit = d.to_f32();
    let scales: [f32; GROUPS] =
        std::array::from_fn(|g| choose(&groups[g], &weights[g], fits[g], unit));
    let (mut low, mut high) = ([0; 128], [0; 64]);
    for (i, x) in groups.iter().flatten().enumerate() {
        let inverse = inverse_or_zero(unit * scales[i / GROUP]);
        let quant = (quant(x * inverse) + QUANT) as u8;
        // As the dequantizer has it.
        let (half, quarter, at) = (i / 128, i / 32 % 4, i % 32);
        low[64 * half + 32 * (quarter % 2) + at] |= (quant & 15) << (quarter / 2 * 4);
        high[32 * half + at] |= quant >> 4 << (2 * quarter);
    }
    out.extend(low);
    out.extend(high);
    out.extend(scales.map(|scale| scale as i8 as u8));
    out.extend(d.to_le_bytes());
}

fn quant(steps: f32) -> f32 {
    nearest(steps, -QUANT, QUANT - 1.0)
}

/// The signed value of largest magnitude.
fn extreme<const N: usize>(x: &[f32; N]) -> f32 {
    x.iter().fold(
        0.0,
        |most: f32, &x| if x.abs() > most.abs() { x } else { most },
    )
}

/// Scaled to the largest, so that no square of a value leaves f32.
fn weights(x: &[f32; GROUP]) -> [f32; GROUP] {
    let inverse = inverse_or_zero(extreme(x));
    x.map(|x| (x * inverse) * (x * inverse))
}

/// The best scale, of either sign: quants are made with each of several steps, and the scale from them by weighted least squares.
fn fit(x: &[f32; GROUP], weights: &[f32; GROUP]) -> f32 {
    let extreme = extreme(x);
    // Also where there are NaN and infinities.
    if !(extreme.abs() > f32::MIN_POSITIVE && extreme.abs() < f32::INFINITY) {
        return 0.0;
    }
    let y = x.map(|x| x / extreme);
    let mut best = (0.0, 0.0);
    for step in STEPS {
        // The extreme becomes −32, where there is one quant more.
        let inverse = f32::from(step) / -10.0;
        let [wqq, wqy] = summed(&y, weights, |y, w| {
            let q = quant(y * inverse);
            [w * q * q, w * q * y]
        });
        // What is left of the squared error is wyy − wqy² / wqq.
        if wqy * wqy > best.0 * wqq {
            best = (wqy * wqy / wqq, wqy / wqq);
        }
    }
    best.1 * extreme
}

/// The integer of a group's scale: the nearest to the fit, or a neighbour with less error.
fn choose(x: &[f32; GROUP], weights: &[f32; GROUP], fit: f32, unit: f32) -> f32 {
    let at = nearest(fit * inverse_or_zero(unit), -SCALE, SCALE - 1.0);
    let mut best = (f32::INFINITY, at);
    for other in [at, at - 1.0, at + 1.0] {
        let scale = unit * other;
        let inverse = inverse_or_zero(scale);
        let [error] = summed(x, weights, |x, w| {
            let error = scale * quant(x * inverse) - x;
            [w * error * error]
        });
        if error < best.0 && (-SCALE..SCALE).contains(&other) {
            best = (error, other);
        }
    }
    best.1
}
