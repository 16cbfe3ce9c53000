//! Noise in place of weights: a model of any size without a file.

use std::borrow::Cow;
use std::ops::Range;

use crate::{Planes, WeightFormat, padded, scale_stride};

/// The noise of one plane: which bits vary, and how values lie in a row.
///
/// f32 and f16 weights are ± [2⁻⁷, 2⁻⁵), with an average magnitude of 0.018. Quants take every value; scales are positive, from
/// [2⁻¹², 2⁻¹¹) for Q8_0 and [2⁻⁸, 2⁻⁷) for Q4_0, so that weights are of the same size. All are normal numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noise {
    /// Bits of a word that vary.
    pub(crate) mask: u32,
    /// Bits that are always set.
    pub(crate) base: u32,
    /// Values in a word: 1, or 2 halves.
    pub(crate) packed: usize,
    /// Values in a row; what is behind them is 0.
    pub(crate) values: usize,
    /// Words in a row, a multiple of 4.
    pub(crate) words: usize,
}

impl Noise {
    /// Of the plane of values or quants.
    pub(crate) fn data(format: WeightFormat, columns: usize) -> Self {
        let words = format.data_row_bytes(columns) / 4;
        let (mask, base, packed, values) = match format {
            // Sign, lowest bit of the exponent, fraction.
            WeightFormat::F32 => (0x80ff_ffff, 0x3c00_0000, 1, columns),
            WeightFormat::F16 => (0x87ff_87ff, 0x2000_2000, 2, columns),
            WeightFormat::Q8_0 | WeightFormat::Q4_0 => (u32::MAX, 0, 1, words),
        };
        Self {
            mask,
            base,
            packed,
            values,
            words,
        }
    }

    /// Of the plane of scales, where the format has one.
    pub(crate) fn scales(format: WeightFormat, columns: usize) -> Option<Self> {
        let base = match format {
            WeightFormat::F32 | WeightFormat::F16 => return None,
            WeightFormat::Q8_0 => 0x0c00_0c00,
            WeightFormat::Q4_0 => 0x1c00_1c00,
        };
        let blocks = padded(columns) / crate::BLOCK;
        Some(Self {
            mask: 0x03ff_03ff,
            base,
            packed: 2,
            values: blocks,
            words: scale_stride(blocks) / 2,
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
        let noise = hash(key.wrapping_add(w as u32)) & self.mask | self.base;
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
/// `hash(hash(seed ^ hash(row)) + word) & mask | base`, where the bits of `mask` make a number of about 0.02 of whatever they are.
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
            assert!(weights.iter().all(|w| w.is_finite() && w.abs() <= 0.07));
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
            let all = fill(format, 64, 0..8, 3);
            let last = fill(format, 64, 7..8, 3);
            assert!(all.data.ends_with(&last.data));
            assert!(all.scales.ends_with(&last.scales));
        }
    }
}
