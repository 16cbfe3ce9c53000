//! Noise in place of weights: a model of any size without a file.

use std::borrow::Cow;
use std::ops::Range;

use crate::{Planes, WeightFormat, padded};

/// The noise of one plane: which bits vary, and how values lie in a row.
///
/// Weights of all formats are about ± 0.02: f32 and f16 from ± [2⁻⁷, 2⁻⁵); quants take every value, and scales are such that their
/// products are of that size, and least values such that the mean is near 0. All scales are normal numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noise {
    /// What the words of a record are, one after the other; those behind the last are as that.
    pub(crate) parts: [Words; 3],
    /// Words of a record.
    pub(crate) record: usize,
    /// Values in a word: 1, or 2 halves.
    pub(crate) packed: usize,
    /// Values in a row; what is behind them is 0.
    pub(crate) values: usize,
    /// Words in a row, a multiple of 4.
    pub(crate) words: usize,
}

/// Some words of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Words {
    /// The word of the record behind them.
    pub(crate) end: usize,
    /// Bits that vary.
    pub(crate) mask: u32,
    /// Bits that are always set.
    pub(crate) base: u32,
}

/// Words of quants, in which every bit varies.
const QUANTS: Words = Words {
    end: usize::MAX,
    mask: u32::MAX,
    base: 0,
};

impl Noise {
    /// Of the plane of values or quants.
    pub(crate) fn data(format: WeightFormat, columns: usize) -> Self {
        let words = format.data_row_bytes(columns) / 4;
        let of_floats = |mask, base| Words {
            end: usize::MAX,
            mask,
            base,
        };
        let (part, packed, values) = match format {
            // Sign, lowest bit of the exponent, fraction.
            WeightFormat::F32 => (of_floats(0x80ff_ffff, 0x3c00_0000), 1, columns),
            WeightFormat::F16 => (of_floats(0x87ff_87ff, 0x2000_2000), 2, columns),
            _ => (QUANTS, 1, words),
        };
        Self {
            parts: [part; 3],
            record: 1,
            packed,
            values,
            words,
        }
    }

    /// Of the plane of scales, where the format has one.
    pub(crate) fn scales(format: WeightFormat, columns: usize) -> Option<Self> {
        let blocks = padded(columns) / crate::BLOCK;
        let words = |end, mask, base| Words { end, mask, base };
        let all = |mask, base| [words(usize::MAX, mask, base); 3];
        let (parts, packed, values) = match format {
            WeightFormat::F32 | WeightFormat::F16 => return None,
            // From [2⁻¹², 2⁻¹¹) and [2⁻⁸, 2⁻⁷).
            WeightFormat::Q8_0 => (all(0x03ff_03ff, 0x0c00_0c00), 2, blocks),
            WeightFormat::Q4_0 => (all(0x03ff_03ff, 0x1c00_1c00), 2, blocks),
            // From [2⁻⁹, 2⁻⁸), and zero points from 0 to 15.
            WeightFormat::Int4 => (all(0x000f_03ff, 0x0000_1800), 1, blocks),
            // d near 2⁻⁹, m near -15.5 d.
            WeightFormat::Q5_1 => {
                let halves = words(1, 0x00ff_00ff, 0xa800_1800);
                ([halves, QUANTS, QUANTS], 1, 2 * blocks)
            }
            // d near 1.4 · 2⁻¹⁰, m near 1.5 d.
            WeightFormat::Q2K => {
                let halves = words(5, 0x003f_00ff, 0x1800_1500);
                ([words(4, u32::MAX, 0), halves, halves], 1, blocks / 8 * 5)
            }
            // d from 2⁻¹⁴ on, m near 7.5 d.
            WeightFormat::Q4K => {
                let halves = words(1, 0x000f_007f, 0x1000_0400);
                ([halves, QUANTS, QUANTS], 1, blocks / 8 * 4)
            }
            // d near 2⁻¹⁴, m near 15.5 d.
            WeightFormat::Q5K => {
                let halves = words(1, 0x000f_000f, 0x13c0_0400);
                ([halves, QUANTS, QUANTS], 1, blocks / 8 * 12)
            }
            // s from 0 to 15, d near 2⁻¹³.
            WeightFormat::Q6K => {
                let (small, halves) = (words(4, 0x0f0f_0f0f, 0), words(21, 0x0000_00ff, 0x0800));
                ([small, words(20, u32::MAX, 0), halves], 1, blocks / 8 * 21)
            }
        };
        Some(Self {
            parts,
            record: (format.record_bytes() / 4).max(1),
            packed,
            values,
            words: format.scale_row_bytes(columns) / 4,
        })
    }

    fn rows(self, rows: Range<usize>, seed: u32) -> Vec<u8> {
        let words = rows.flat_map(|row| {
            let key = hash(seed ^ hash(row as u32));
            (0..self.words).map(move |w| self.word(key, w))
        });
        words.flat_map(u32::to_le_bytes).collect()
    }

    fn word(self, key: u32, w: usize) -> u32 {
        let [first, second, third] = self.parts;
        let part = match w % self.record {
            at if at < first.end => first,
            at if at < second.end => second,
            _ => third,
        };
        let noise = hash(key.wrapping_add(w as u32)) & part.mask | part.base;
        match self.values.saturating_sub(w * self.packed) {
            0 => 0,
            1 if self.packed == 2 => noise & 0xffff,
            _ => noise,
        }
    }
}

/// The seed of the scales, given the seed of a matrix.
pub(crate) fn scale_seed(seed: u32) -> u32 {
    !seed
}

/// The planes of some rows of a weight matrix full of noise: each word is
/// `hash(hash(seed ^ hash(row)) + word) & mask | base`, where mask and base of a word of a record make weights of about 0.02.
/// The same bits on every platform.
///
/// # Panics
/// If the format cannot have this many columns.
pub fn fill(
    format: WeightFormat,
    columns: usize,
    rows: Range<usize>,
    seed: u32,
) -> Planes<'static> {
    assert!(
        format.takes_columns(columns),
        "{} rows have no {columns} columns",
        format.name()
    );
    Planes {
        data: Cow::Owned(Noise::data(format, columns).rows(rows.clone(), seed)),
        scales: Noise::scales(format, columns)
            .map(|noise| noise.rows(rows, scale_seed(seed)))
            .unwrap_or_default(),
    }
}

/// The output permutation of PCG (Jarzynski and Olano, "Hash Functions for GPU Rendering", 2020).
fn hash(value: u32) -> u32 {
    let state = value.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
    (word >> 22) ^ word
}

#[cfg(test)]
mod tests {
    use super::fill;
    use crate::{WeightFormat, padded, reference::decode_rows};

    fn decoded(format: WeightFormat, columns: usize, rows: usize, seed: u32) -> Vec<f32> {
        let file = fill(format, columns, 0..rows, seed).unpack(format, columns);
        let mut out = Vec::new();
        decode_rows(format, columns, &file, &mut out);
        out
    }

    #[test]
    fn weights_are_small_finite_and_balanced() {
        for format in WeightFormat::ALL {
            let weights = decoded(format, 1024, 64, 7);
            let count = weights.len() as f32;
            // The longest tail is Q5_K's, with products of three numbers.
            assert!(weights.iter().all(|w| w.is_finite() && w.abs() <= 0.13));
            let mean = weights.iter().sum::<f32>() / count;
            let square = weights.iter().map(|w| w * w).sum::<f32>() / count;
            // Q4_0's nibbles run from -8 to 7: their mean is half a step of 0.006 below 0.
            assert!(mean.abs() < 0.004, "{}: mean {mean}", format.name());
            let deviation = square.sqrt();
            assert!(
                (0.015..0.035).contains(&deviation),
                "{}: {deviation}",
                format.name()
            );
        }
    }

    #[test]
    fn rows_seeds_and_columns_differ_and_padding_is_zero() {
        let a = decoded(WeightFormat::F16, 33, 2, 1);
        let stride = padded(33);
        assert_ne!(a[..33], a[stride..stride + 33]);
        assert_ne!(a, decoded(WeightFormat::F16, 33, 2, 2));
        let planes = fill(WeightFormat::F16, 33, 0..2, 1);
        assert!(planes.data[66..2 * stride].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn rows_do_not_depend_on_which_are_asked_for() {
        for format in WeightFormat::ALL {
            let all = fill(format, 256, 0..8, 3);
            let last = fill(format, 256, 7..8, 3);
            assert!(all.data.ends_with(&last.data));
            assert!(all.scales.ends_with(&last.scales));
        }
    }
}
