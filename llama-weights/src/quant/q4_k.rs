//! Quantizing to Q4_K: for each group of 32 a scale and a least value are searched that make the weighted squared error small, then
//! both are quantized for the block.
//!
//! A value's weight is the root mean square of its group plus its own magnitude, as in llama.cpp's reference (`quantize_row_q4_K_ref`).
//! What is searched goes beyond it: after the scales have become integers, their neighbours are tried too.

use half::f16;

use super::{K_BLOCK, Q4_K_BYTES, inverse_or_zero, nearest, summed, whole_blocks};

const GROUP: usize = 32;
const GROUPS: usize = K_BLOCK / GROUP;
/// Largest quant.
const QUANT: f32 = 15.0;
/// Largest scale and least value of a group, as six-bit integers.
const SCALE: f32 = 63.0;
/// First steps tried are such that the group's range takes 14 to 16 of them, in tenths.
const STEPS: std::ops::RangeInclusive<u8> = 140..=160;

/// Quantizes to Q4_K: see [`dequantize_q4_k`](super::dequantize_q4_k) for the layout. Values are expected finite, and `max|x| ≤ 63 · 65504`, else
/// a scale is infinite. Blocks whose values are all below some 3 · 10⁻⁵ become coarse, and zero below some 10⁻⁶: the scale of their
/// scales is an f16.
///
/// # Panics
/// Where `values.len()` is no multiple of [`K_BLOCK`].
pub fn quantize_q4_k(values: &[f32], out: &mut Vec<u8>) {
    let blocks = whole_blocks(values, K_BLOCK);
    out.clear();
    out.reserve(blocks.len() * Q4_K_BYTES);
    for block in blocks {
        let group = |g| std::array::from_fn(|i| block[g * GROUP + i]);
        quantize_block(&std::array::from_fn(group), out);
    }
}

fn quantize_block(groups: &[[f32; GROUP]; GROUPS], out: &mut Vec<u8>) {
    let weights = groups.each_ref().map(weights);
    let fits: [Line; GROUPS] = std::array::from_fn(|g| fit(&groups[g], &weights[g]));
    let largest = |part: fn(&Line) -> f32| fits.iter().map(part).fold(0.0, f32::max);
    let first = Line {
        scale: largest(|fit| fit.scale) / SCALE,
        least: largest(|fit| fit.least) / SCALE,
    };
    let block = Block {
        groups,
        weights: &weights,
        fits: &fits,
    };
    let mut best = block.numbers(first.rounded());
    // One group of large scale makes the others' coarse: then the block's units are worth a fit of their own.
    let again = block.numbers(block.units(&best).rounded());
    if again.error < best.error {
        best = again;
    }
    let (units, chosen) = (best.units, best.chosen);
    out.extend(f16::from_f32(units.scale).to_le_bytes());
    out.extend(f16::from_f32(units.least).to_le_bytes());
    out.extend(packed(&chosen.map(|numbers| numbers.map(|n| n as u8))));
    for (pair, chosen) in groups.chunks_exact(2).zip(chosen.chunks_exact(2)) {
        let [low, high] = [0, 1].map(|at| {
            let line = units.times(chosen[at]);
            let inverse = inverse_or_zero(line.scale);
            pair[at].map(|x| line.quant(x, inverse) as u8)
        });
        out.extend(low.iter().zip(high).map(|(&l, h)| l | h << 4));
    }
}

/// `x ≈ scale · q − least`, neither of them negative.
#[derive(Clone, Copy)]
struct Line {
    scale: f32,
    least: f32,
}

/// A block's values, and the best line of each group alone.
struct Block<'a> {
    groups: &'a [[f32; GROUP]; GROUPS],
    weights: &'a [[f32; GROUP]; GROUPS],
    fits: &'a [Line; GROUPS],
}

/// What a block is written as, but for its quants.
struct Numbers {
    error: f32,
    units: Line,
    /// Scale and least value of every group, in units.
    chosen: [[f32; 2]; GROUPS],
}

impl Block<'_> {
    /// The integers of every group, given the block's units.
    fn numbers(&self, units: Line) -> Numbers {
        let mut error = 0.0;
        let chosen = std::array::from_fn(|g| {
            let largest = self.groups[g]
                .iter()
                .fold(0.0, |most: f32, x| most.max(x.abs()));
            let (least, chosen) = choose(&self.groups[g], &self.weights[g], &self.fits[g], &units);
            // Weights are relative to their group's largest value.
            error += largest * least;
            chosen
        });
        Numbers {
            error,
            units,
            chosen,
        }
    }

    /// The units that fit best where quants and integers stay as they are, by weighted least squares.
    fn units(&self, numbers: &Numbers) -> Line {
        let mut sums = [0.0; 5];
        for g in 0..GROUPS {
            let [scale, least] = numbers.chosen[g];
            let line = numbers.units.times(numbers.chosen[g]);
            let inverse = inverse_or_zero(line.scale);
            let largest = self.groups[g]
                .iter()
                .fold(0.0, |most: f32, x| most.max(x.abs()));
            let of_group = summed(&self.groups[g], &self.weights[g], |x, weight| {
                let (a, b, w) = (scale * line.quant(x, inverse), -least, largest * weight);
                [w * a * a, w * a * b, w * b * b, w * a * x, w * b * x]
            });
            for (sum, of_group) in sums.iter_mut().zip(of_group) {
                *sum += of_group;
            }
        }
        let [aa, ab, bb, ax, bx] = sums;
        let determinant = aa * bb - ab * ab;
        let fitted = if determinant > 1e-6 * aa * bb {
            Line {
                scale: (bb * ax - ab * bx) / determinant,
                least: (aa * bx - ab * ax) / determinant,
            }
        } else {
            Line {
                scale: ax / aa,
                least: numbers.units.least,
            }
        };
        if fitted.scale > 0.0 && fitted.least >= 0.0 {
            fitted
        } else {
            numbers.units
        }
    }
}

impl Line {
    /// As an f16 holds it.
    fn rounded(self) -> Self {
        let [scale, least] = [self.scale, self.least].map(|x| f16::from_f32(x).to_f32());
        Self { scale, least }
    }

    fn times(&self, [scale, least]: [f32; 2]) -> Self {
        Self {
            scale: self.scale * scale,
            least: self.least * least,
        }
    }

    /// The nearest quant; `inverse` is that of the scale, or 0.
    fn quant(&self, x: f32, inverse: f32) -> f32 {
        nearest((x + self.least) * inverse, 0.0, QUANT)
    }

    fn error(&self, x: &[f32; GROUP], weights: &[f32; GROUP]) -> f32 {
        let inverse = inverse_or_zero(self.scale);
        let [error] = summed(x, weights, |x, weight| {
            let error = self.scale * self.quant(x, inverse) - self.least - x;
            [weight * error * error]
        });
        error
    }
}

/// Scaled to the largest, so that no square of a value leaves f32.
fn weights(x: &[f32; GROUP]) -> [f32; GROUP] {
    let largest = x.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
    let inverse = inverse_or_zero(largest);
    let squares: f32 = x.iter().map(|x| (x * inverse) * (x * inverse)).sum();
    let mean = (squares / GROUP as f32).sqrt();
    x.map(|x| mean + (x * inverse).abs())
}

/// The best line: quants are made with each of several steps, and the line through them by weighted least squares.
fn fit(x: &[f32; GROUP], weights: &[f32; GROUP]) -> Line {
    let (least, most) = (x.iter()).fold((0f32, f32::MIN), |(l, m), &x| (l.min(x), m.max(x)));
    let range = most - least;
    // Also where there are NaN and infinities.
    if !(range > f32::MIN_POSITIVE && range < f32::INFINITY) {
        return Line {
            scale: 0.0,
            least: -least,
        };
    }
    // From 0 to 1, so that sums lose nothing to a common offset.
    let y = x.map(|x| (x - least) / range);
    let floor = -least / range;
    let [w, wy, wyy] = summed(&y, weights, |y, w| [w, w * y, w * y * y]);
    let mut best = (f32::INFINITY, 0.0, 0.0);
    for step in STEPS {
        let inverse = f32::from(step) / 10.0;
        let [wq, wqq, wqy] = summed(&y, weights, |y, w| {
            let q = nearest(y * inverse, 0.0, QUANT);
            [w * q, w * q * q, w * q * y]
        });
        let determinant = w * wqq - wq * wq;
        let mut offset = (wqq * wy - wq * wqy) / determinant;
        // Where all quants are equal, determined by rounding alone, any line through them is as good.
        if determinant <= 1e-6 * w * wqq {
            offset = 0.0;
        }
        // A least value above zero cannot be said.
        offset = offset.min(floor);
        let slope = (wqy - offset * wq) / wqq;
        let error = slope * (slope * wqq + 2.0 * (offset * wq - wqy))
            + offset * (offset * w - 2.0 * wy)
            + wyy;
        if error < best.0 {
            best = (error, slope, offset);
        }
    }
    let (_, slope, offset) = best;
    Line {
        scale: (slope * range).max(0.0),
        least: ((floor - offset) * range).max(0.0),
    }
}

/// The integers of a group with their error: those nearest to the fit, or a neighbour with less.
fn choose(x: &[f32; GROUP], weights: &[f32; GROUP], fit: &Line, units: &Line) -> (f32, [f32; 2]) {
    let at = [
        nearest(fit.scale * inverse_or_zero(units.scale), 0.0, SCALE),
        nearest(fit.least * inverse_or_zero(units.least), 0.0, SCALE),
    ];
    let error = |at| units.times(at).error(x, weights);
    let mut best = (error(at), at);
    for scale in [-1.0, 0.0, 1.0] {
        for least in [-1.0, 0.0, 1.0] {
            let other = [at[0] + scale, at[1] + least];
            if other == at || other.iter().any(|n| !(0.0..=SCALE).contains(n)) {
                continue;
            }
            let error = error(other);
            if error < best.0 {
                best = (error, other);
            }
        }
    }
    best
}

/// The inverse of how the dequantizer reads them.
fn packed(numbers: &[[u8; 2]; GROUPS]) -> [u8; 12] {
    let mut packed = [0; 12];
    for (group, &[scale, least]) in numbers.iter().enumerate() {
        if group < 4 {
            packed[group] |= scale;
            packed[group + 4] |= least;
        } else {
            packed[group + 4] = scale & 15 | least << 4;
            packed[group - 4] |= scale >> 4 << 6;
            packed[group] |= least >> 4 << 6;
        }
    }
    packed
}
